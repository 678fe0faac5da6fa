//! A session with an MCP server: opening it, working in it within its time, closing it; and what went wrong, in words.

use std::time::Duration;

use rmcp::{
    RoleClient,
    model::{ClientCapabilities, ClientConfig, ErrorData, Implementation, ProtocolVersion},
    service::{ClientInitializeError, ClientLifecycleMode, ClientServiceExt, RunningService, ServiceError},
    transport::{StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig},
};
use tokio::time::{Instant, timeout_at};

use super::{super::http::header_map, McpConfig, wire::Wire};
use crate::outbound::Guarded;

/// An open session. The server's requests in it (samples, questions to people) are all declined.
pub type Session = RunningService<RoleClient, ClientConfig>;

/// For the farewell, of a visit's time.
const CLOSE: Duration = Duration::from_secs(2);

/// Characters of an error at most: servers write the better part of it.
const ERROR: usize = 400;

/// One visit to a server.
pub struct Visit<'a> {
    wire: Wire,
    label: &'a str,
    config: &'a McpConfig,
    limit: Duration,
    end: Instant,
}

impl<'a> Visit<'a> {
    /// `limit` is for the whole of it. The error says why the server must not be called, or with which header it cannot.
    pub fn new(web: &Guarded, label: &'a str, config: &'a McpConfig, limit: Duration) -> Result<Self, String> {
        let unreachable = |why: String| format!("the MCP server {label} cannot be reached: {why}");
        let (client, url) = web.client_for(config.url.trim()).map_err(unreachable)?;
        let headers = header_map(&config.headers).map_err(unreachable)?;
        let wire = Wire::new(client.clone(), url, headers, limit);
        Ok(Self { wire, label, config, limit, end: Instant::now() + limit - CLOSE })
    }

    /// Opens the session.
    pub async fn open(&self) -> Result<Session, String> {
        let opened = timeout_at(self.end, async {
            match self.start(ClientLifecycleMode::Initialize).await {
                // Revision 2026-07-28 has no such handshake. Most servers of today know both, and older ones only this.
                Err(refused @ ClientInitializeError::JsonRpcError(_)) => {
                    let discover = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
                    self.start(discover).await.map_err(|_| refused)
                }
                result => result,
            }
        });
        match opened.await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(ClientInitializeError::JsonRpcError(error))) => Err(self.failed(&said(&error))),
            Ok(Err(error)) => Err(self.failed(&self.wire.trouble().unwrap_or_else(|| format!("opened no session: {error}")))),
            Err(_) => Err(self.late()),
        }
    }

    async fn start(&self, lifecycle: ClientLifecycleMode) -> Result<Session, ClientInitializeError> {
        let me = Implementation::new(self.label, env!("CARGO_PKG_VERSION"));
        let config = ClientConfig::new(ClientCapabilities::default(), me);
        // A session that is lost is not taken up again: a call might be made twice.
        let transport = StreamableHttpClientTransportConfig::with_uri(self.wire.url()).reinit_on_expired_session(false);
        config.serve_with_lifecycle(StreamableHttpClientTransport::with_client(self.wire.clone(), transport), lifecycle).await
    }

    /// Waits for work in the session.
    pub async fn within<T>(&self, work: impl Future<Output = Result<T, ServiceError>>) -> Result<T, String> {
        match timeout_at(self.end, work).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(ServiceError::McpError(error))) => Err(self.failed(&said(&error))),
            Ok(Err(error)) => Err(self.failed(&self.wire.trouble().unwrap_or_else(|| match error {
                ServiceError::TransportClosed => "ended its answer before there was a result".to_owned(),
                ServiceError::UnexpectedResponse => "gave a result that is none of MCP's".to_owned(),
                error => format!("gave no result: {error}"),
            }))),
            Err(_) => Err(self.late()),
        }
    }

    fn late(&self) -> String {
        self.failed(&self.wire.trouble().unwrap_or_else(|| format!("gave no answer within {} s", self.limit.as_secs())))
    }

    /// An error from what comes after "the MCP server …": short, and without the values of headers, which servers may
    /// repeat in what they say.
    pub fn failed(&self, what: &str) -> String {
        let mut what = what.to_owned();
        for (_, value) in &self.config.headers {
            for secret in value.split_whitespace().filter(|s| s.len() >= 6 && !s.eq_ignore_ascii_case("bearer")) {
                what = what.replace(secret, "…");
            }
        }
        if let Some((end, _)) = what.char_indices().nth(ERROR) {
            what.truncate(end);
            what.push('…');
        }
        format!("the MCP server {} {what}", self.label)
    }
}

fn said(error: &ErrorData) -> String {
    format!("answered with an error: {} ({})", error.message, error.code.0)
}

/// Closes a session. How that goes matters to nobody.
pub async fn close(mut session: Session) {
    let _ = session.close_with_timeout(CLOSE).await;
}
