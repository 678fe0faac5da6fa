//! PostgreSQL's messages and login (PostgreSQL's documentation, chapter "Frontend/Backend Protocol", "Start-up").

use std::io;

use bytes::BytesMut;
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    },
    message::{
        backend::{ErrorFields, Message},
        frontend,
    },
};
use tokio_postgres::fallible_iterator::FallibleIterator;

use super::{
    SqlConfig,
    wire::{MOST, Wire},
};

/// A connection as messages.
pub struct Messages {
    wire: Wire,
}

impl Messages {
    /// Logs in, with TLS where it is wanted.
    pub async fn login(mut wire: Wire, tls: bool, config: &SqlConfig) -> Result<Self, String> {
        if tls {
            let mut request = BytesMut::new();
            frontend::ssl_request(&mut request);
            wire.write(&request).await?;
            let mut answer = [0];
            wire.read(&mut answer).await?;
            if answer != *b"S" {
                return Err("the database server does not speak TLS (\"tls\": false turns it off)".to_owned());
            }
            wire = wire.encrypt().await?;
        }
        let mut messages = Self { wire };
        messages.start(config).await?;
        Ok(messages)
    }

    async fn start(&mut self, config: &SqlConfig) -> Result<(), String> {
        let user = config.user.as_deref().unwrap_or("postgres");
        let password = config.password.as_deref().unwrap_or_default();
        let mut parameters = vec![("user", user), ("client_encoding", "UTF8"), ("application_name", "tidings")];
        parameters.extend(config.database.as_deref().map(|d| ("database", d)));
        self.send(|buffer| frontend::startup_message(parameters, buffer)).await?;
        let (mut scram, mut proven) = (None, true);
        loop {
            match self.receive().await? {
                Message::AuthenticationOk if proven => {}
                Message::BackendKeyData(_) => {}
                Message::AuthenticationCleartextPassword if self.wire.secure => {
                    self.send(|b| frontend::password_message(password.as_bytes(), b)).await?
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(user.as_bytes(), password.as_bytes(), body.salt());
                    self.send(|b| frontend::password_message(hash.as_bytes(), b)).await?;
                }
                // Once: each round is work that the server can have us do.
                Message::AuthenticationSasl(body) if scram.is_none() => {
                    if !body.mechanisms().any(|m| Ok(m == SCRAM_SHA_256)).map_err(garbled)? {
                        return Err("the database server offers no way of logging in that is supported (scram-sha-256, md5)".to_owned());
                    }
                    let first = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
                    self.send(|b| frontend::sasl_initial_response(SCRAM_SHA_256, first.message(), b)).await?;
                    (scram, proven) = (Some(first), false);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let scram = scram.as_mut().ok_or_else(unexpected)?;
                    scram.update(body.data()).map_err(garbled)?;
                    self.send(|b| frontend::sasl_response(scram.message(), b)).await?;
                }
                // Here the server proves that it knows the password too.
                Message::AuthenticationSaslFinal(body) => {
                    scram.as_mut().ok_or_else(unexpected)?.finish(body.data()).map_err(garbled)?;
                    proven = true;
                }
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(body) => return Err(refused_login(body.fields())),
                _ => return Err("the database server wants a way of logging in that is not supported (scram-sha-256 and md5 are)".to_owned()),
            }
        }
    }

    /// Sends what this writes.
    pub async fn send(&mut self, fill: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<(), String> {
        let mut buffer = BytesMut::new();
        fill(&mut buffer).map_err(|e| format!("the statement cannot be sent: {e}"))?;
        self.wire.write(&buffer).await
    }

    /// The next message that answers something.
    pub async fn receive(&mut self) -> Result<Message, String> {
        loop {
            let mut header = [0; 5];
            self.wire.read(&mut header).await?;
            let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
            if !(4..=MOST).contains(&length) {
                return Err(if length > MOST { format!("a row is longer than {} MB: ask for less of it", MOST >> 20) } else { unexpected() });
            }
            let mut bytes = BytesMut::from(&header[..]);
            bytes.extend_from_slice(&self.wire.take(length - 4).await?);
            match Message::parse(&mut bytes).map_err(garbled)?.ok_or_else(unexpected)? {
                Message::NoticeResponse(_) | Message::ParameterStatus(_) | Message::NotificationResponse(_) => {}
                message => return Ok(message),
            }
        }
    }
}

/// Why nobody could log in. The server's words name the user, and the address that we came from.
fn refused_login(mut fields: ErrorFields<'_>) -> String {
    let code = fields.find(|f| Ok(f.type_() == b'C')).ok().flatten().map(|f| String::from_utf8_lossy(f.value_bytes()).into_owned());
    match code.as_deref().unwrap_or_default() {
        "28P01" => "the database server refused the user or the password (SQLSTATE 28P01)".to_owned(),
        "28000" => "the database server lets this user not in from here: pg_hba.conf, or it wants TLS (SQLSTATE 28000)".to_owned(),
        "3D000" => "there is no database of this name (SQLSTATE 3D000)".to_owned(),
        "53300" => "the database server has too many connections (SQLSTATE 53300)".to_owned(),
        code => format!("the database server refused the connection (SQLSTATE {code})"),
    }
}

/// What is said of what cannot be read.
pub fn garbled(_: io::Error) -> String {
    unexpected()
}

/// What is said of what no server should send.
pub fn unexpected() -> String {
    "the database server sent what PostgreSQL's protocol does not expect here".to_owned()
}
