//! HTTP clients for calls to others. One for addresses that the operator set, one for URLs that tenants supply, which
//! reaches public addresses only: names are judged after resolution, so no name can point it inside.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use reqwest::{
    Client, ClientBuilder, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};

const USER_AGENT: &str = concat!("tidings/", env!("CARGO_PKG_VERSION"));

fn builder(timeout: Duration) -> ClientBuilder {
    Client::builder()
        .user_agent(USER_AGENT)
        .timeout(timeout)
        .connect_timeout(Duration::from_secs(5))
        .redirect(Policy::none())
        .tcp_nodelay(true)
        .pool_idle_timeout(Duration::from_secs(60))
}

/// A client for URLs that come from the settings.
pub fn trusted(timeout: Duration) -> anyhow::Result<Client> {
    Ok(builder(timeout).build()?)
}

/// A client for files to and from addresses that come from the settings, or from whom they name: no limit on the whole,
/// for a file may be large, but on every silence within it.
pub fn streaming() -> anyhow::Result<Client> {
    Ok(builder(Duration::from_secs(900)).read_timeout(Duration::from_secs(30)).build()?)
}

/// A client for URLs that come from tenants, and the check their literal addresses need besides.
#[derive(Clone)]
pub struct Guarded {
    client: Client,
    allow: Arc<Vec<IpNet>>,
}

impl Guarded {
    /// `allow`: networks it may reach besides public ones.
    pub fn new(timeout: Duration, allow: Vec<IpNet>) -> anyhow::Result<Self> {
        let allow = Arc::new(allow);
        let client = builder(timeout).no_proxy().dns_resolver(Arc::new(Resolver { allow: allow.clone() })).build()?;
        Ok(Self { client, allow })
    }

    /// The same for files: no limit on the whole, but on every silence within it.
    pub fn streaming(allow: Vec<IpNet>) -> anyhow::Result<Self> {
        let allow = Arc::new(allow);
        let resolver = Arc::new(Resolver { allow: allow.clone() });
        let client = builder(Duration::from_secs(900)).read_timeout(Duration::from_secs(30)).no_proxy().dns_resolver(resolver).build()?;
        Ok(Self { client, allow })
    }

    /// A POST to `url`, when it is one that a tenant may have us call. The error says why not.
    pub fn post(&self, url: &str) -> Result<reqwest::RequestBuilder, String> {
        Ok(self.client.post(self.check(url)?))
    }

    /// A GET of `url`, likewise.
    pub fn get(&self, url: &str) -> Result<reqwest::RequestBuilder, String> {
        Ok(self.client.get(self.check(url)?))
    }

    /// Any other request to `url`, likewise.
    pub fn request(&self, method: reqwest::Method, url: &str) -> Result<reqwest::RequestBuilder, String> {
        Ok(self.client.request(method, self.check(url)?))
    }

    /// The client itself, for code that builds its own requests, and `url`, the only one that it may be used for: the
    /// literal address of another would not be refused.
    pub fn client_for(&self, url: &str) -> Result<(&Client, Url), String> {
        Ok((&self.client, self.check(url)?))
    }

    fn check(&self, url: &str) -> Result<Url, String> {
        let url = Url::parse(url).map_err(|e| format!("{url} is no URL: {e}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{}: only http and https URLs are called", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL must not hold a user name or a password".to_owned());
        }
        // A literal address never reaches the resolver.
        let literal = url.host_str().and_then(|h| h.trim_matches(['[', ']']).parse::<IpAddr>().ok());
        if let Some(ip) = literal
            && !permitted(ip, &self.allow)
        {
            return Err(format!("{ip} is no public address (OUTBOUND_ALLOW)"));
        }
        Ok(url)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0} has no public address (OUTBOUND_ALLOW)")]
struct NotPublic(String);

/// Whether a call failed because its name leads to no public address: trying again will not help.
pub fn is_refused(error: &reqwest::Error) -> bool {
    std::iter::successors(std::error::Error::source(error), |e| e.source()).any(|e| e.is::<NotPublic>())
}

struct Resolver {
    allow: Arc<Vec<IpNet>>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow = self.allow.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> = found.into_iter().filter(|a| permitted(a.ip(), &allow)).collect();
            if public.is_empty() {
                return Err(NotPublic(name.as_str().to_owned()).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether a tenant's URL may lead there: public unicast, or in `allow`.
pub fn permitted(ip: IpAddr, allow: &[IpNet]) -> bool {
    let ip = ip.to_canonical();
    allow.iter().any(|net| net.contains(&ip)) || public(ip)
}

fn public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let special = v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b)) // shared address space of carriers
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (18..20).contains(&b)); // benchmarking
            !special
        }
        IpAddr::V6(v6) => {
            // Global unicast only, without the ranges that wrap or document other addresses.
            let [a, b, ..] = v6.segments();
            (0x2000..0x4000).contains(&a) && !(a == 0x2001 && (b == 0xdb8 || b < 0x200)) && a != 0x2002
        }
    }
}

/// Reads a body up to `limit` bytes; an error beyond.
pub async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| describe(&e))? {
        if body.len() + chunk.len() > limit {
            return Err(format!("the answer is longer than {limit} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An error with its causes and without its URL, which may hold a secret.
pub fn describe(error: &reqwest::Error) -> String {
    let mut text = match error {
        e if e.is_timeout() => "timed out".to_owned(),
        e if e.is_connect() => "could not connect".to_owned(),
        _ => "request failed".to_owned(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses() {
        for inside in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.3.4",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "255.255.255.255",
        ] {
            assert!(!permitted(inside.parse().expect("an address"), &[]), "{inside}");
        }
        for outside in ["1.1.1.1", "157.240.1.1", "2a03:2880::1"] {
            assert!(permitted(outside.parse().expect("an address"), &[]), "{outside}");
        }
        assert!(permitted("127.0.0.1".parse().expect("an address"), &["127.0.0.0/8".parse().expect("a network")]));
    }

    #[tokio::test]
    async fn names_are_judged_after_resolution() {
        let guarded = Guarded::new(Duration::from_secs(2), vec![]).expect("a client");
        let error = guarded.post("http://localhost:9/").expect("a name passes").send().await.expect_err("localhost is inside");
        assert!(is_refused(&error), "{}", describe(&error));
        assert!(guarded.post("http://127.0.0.1:9/").is_err());
        assert!(guarded.post("http://[::1]:9/").is_err());
        assert!(guarded.post("ftp://example.com/").is_err());
        assert!(guarded.post("http://user:word@example.com/").is_err());
    }
}
