//! A connection to a database server that a tenant named: to permitted addresses only, and never more than so many bytes
//! from it. Whoever answers there may be hostile, so nothing here trusts a length or a count of his.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use ipnet::IpNet;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

use super::SqlConfig;
use crate::{db, outbound::permitted};

/// How many bytes one call takes from a server, and so the longest row.
pub const MOST: usize = 32 << 20;

/// How long finding and reaching the server may take.
const CONNECT: Duration = Duration::from_secs(5);

/// What is read from and written to.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection, plain or with TLS.
pub struct Wire {
    stream: BufReader<Box<dyn Duplex>>,
    /// The name that its certificate must hold.
    host: String,
    /// Whether it speaks TLS.
    pub secure: bool,
}

impl Wire {
    /// Connects to the configured host. Errors tell no address: it would tell a tenant what our names resolve to.
    pub async fn connect(allow: &[IpNet], config: &SqlConfig, default_port: u16) -> Result<Self, String> {
        let host = config.host.as_deref().unwrap_or_default().trim();
        if host.is_empty() {
            return Err("the configuration of this tool names no host".to_owned());
        }
        let host = host.trim_matches(['[', ']']);
        match timeout(CONNECT, reach(allow, host, config.port.unwrap_or(default_port))).await {
            Ok(stream) => Ok(Self::over(stream?, host)),
            Err(_) => Err("the database server did not answer within 5 seconds".to_owned()),
        }
    }

    /// Over any stream.
    pub(super) fn over(stream: impl Duplex + 'static, host: &str) -> Self {
        Self { stream: BufReader::new(Box::new(Bounded { stream, left: MOST })), host: host.to_owned(), secure: false }
    }

    /// The same connection with TLS from here on; its certificate is verified by the host's name.
    pub async fn encrypt(self) -> Result<Self, String> {
        // What came in clear text must not count as said under TLS.
        if !self.stream.buffer().is_empty() {
            return Err("the database server spoke before TLS began".to_owned());
        }
        let mut tls = db::tls().map_err(|_| "TLS is not available here".to_owned())?;
        let plain = self.stream.into_inner();
        let connect = MakeTlsConnect::<Box<dyn Duplex>>::make_tls_connect(&mut tls, &self.host);
        let connect = connect.map_err(|_| "the host's name cannot stand in a certificate".to_owned())?;
        let stream = connect.connect(plain).await.map_err(|e| format!("no TLS with the database server: {e} (\"tls\": false turns it off)"))?;
        Ok(Self { stream: BufReader::new(Box::new(stream)), host: self.host, secure: true })
    }

    /// Fills `bytes`.
    pub async fn read(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        self.stream.read_exact(bytes).await.map(drop).map_err(broken)
    }

    /// The next bytes, as many as the server says there are.
    pub async fn take(&mut self, length: usize) -> Result<Vec<u8>, String> {
        if length > MOST {
            return Err(too_much().to_string());
        }
        // Grows with what comes, not with what was announced.
        let mut bytes = Vec::with_capacity(length.min(64 << 10));
        (&mut self.stream).take(length as u64).read_to_end(&mut bytes).await.map_err(broken)?;
        if bytes.len() < length { Err(broken(io::ErrorKind::UnexpectedEof.into())) } else { Ok(bytes) }
    }

    /// Sends.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)
    }
}

/// Whether a configuration wants TLS: unless it says otherwise, except to this machine and to literal addresses of the
/// operator's networks.
pub fn wants_tls(config: &SqlConfig, allow: &[IpNet]) -> bool {
    let host = config.host.as_deref().unwrap_or_default().trim().trim_matches(['[', ']']);
    let near = match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback() || allow.iter().any(|net| net.contains(&ip.to_canonical())),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    };
    config.tls.unwrap_or(!near)
}

async fn reach(allow: &[IpNet], host: &str, port: u16) -> Result<TcpStream, String> {
    let found = lookup_host((host, port)).await.map_err(|_| "the database's host is not known: there is no such name".to_owned())?;
    let judged: Vec<SocketAddr> = found.filter(|a| permitted(a.ip(), allow)).collect();
    if judged.is_empty() {
        return Err("the database's host has no public address, and is in none of the networks that the operator allows (OUTBOUND_ALLOW)".to_owned());
    }
    let stream = TcpStream::connect(judged.as_slice()).await.map_err(|e| format!("could not connect to the database server: {}", e.kind()))?;
    stream.set_nodelay(true).map_err(broken)?;
    Ok(stream)
}

fn broken(error: io::Error) -> String {
    match error.get_ref() {
        Some(inner) if inner.is::<TooMuch>() => inner.to_string(),
        _ => format!("the connection to the database server broke: {}", error.kind()),
    }
}

/// The server sent more than is taken from it.
#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than {} MB: ask for less of it", MOST >> 20)]
struct TooMuch;

fn too_much() -> io::Error {
    io::Error::other(TooMuch)
}

/// A stream that ends in an error after so many bytes.
struct Bounded<S> {
    stream: S,
    left: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        match self.left.checked_sub(read) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(too_much())),
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tls_is_the_rule() {
        let allow: [IpNet; 1] = ["10.1.0.0/16".parse().expect("a network")];
        for (host, tls, wanted) in [
            ("db.example", None, true),
            ("8.8.8.8", None, true),
            ("127.0.0.1", None, false),
            ("[::1]", None, false),
            ("localhost", None, false),
            ("10.1.2.3", None, false),
            ("10.2.2.3", None, true),
            ("db.example", Some(false), false),
            ("127.0.0.1", Some(true), true),
        ] {
            let config = json!({"driver": "postgres", "host": host, "tls": tls});
            assert_eq!(wants_tls(&serde_json::from_value(config).expect("a configuration"), &allow), wanted, "{host}");
        }
    }

    #[tokio::test]
    async fn no_more_than_so_much_is_taken() {
        let mut wire = Wire::over(tokio::io::join(tokio::io::repeat(0), tokio::io::sink()), "db.test");
        assert!(wire.take(MOST + 1).await.is_err());
        assert_eq!(wire.take(MOST - 10_000).await.map(|b| b.len()), Ok(MOST - 10_000));
        assert!(wire.take(1 << 16).await.is_err_and(|e| e.contains("longer than 32 MB")));
    }
}
