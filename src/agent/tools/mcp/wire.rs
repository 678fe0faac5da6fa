//! HTTP below an MCP session. `rmcp` has the protocol; this carries its messages, and bounds what a server may send in a
//! session, after decompression, and how many requests it can make us make.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::BoxStream};
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use rmcp::{
    model::{ClientJsonRpcMessage, JsonRpcMessage, ServerJsonRpcMessage},
    transport::streamable_http_client::{SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse},
};
use sse_stream::{Sse, SseStream};

use super::meter::{Meter, Trouble};
use crate::outbound::describe;

const SESSION: &str = "mcp-session-id";
const RESUME: &str = "last-event-id";
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// Headers that the protocol sets itself.
const PROTOCOL: [&str; 5] = ["accept", "content-type", SESSION, RESUME, "mcp-protocol-version"];

type Failure = StreamableHttpError<Trouble>;

/// The way to one server, for one session.
#[derive(Clone)]
pub struct Wire {
    client: Client,
    url: Url,
    headers: HeaderMap,
    timeout: Duration,
    meter: Arc<Meter>,
}

impl Wire {
    /// `client` may call `url`, and sends `headers` with every request; `timeout` is for each.
    pub fn new(client: Client, url: Url, headers: HeaderMap, timeout: Duration) -> Self {
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name?, value)));
        let headers = headers.filter(|(name, _)| !PROTOCOL.contains(&name.as_str())).collect();
        Self { client, url, headers, timeout, meter: Arc::default() }
    }

    /// Where the server is.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// What last went wrong.
    pub fn trouble(&self) -> Option<String> {
        self.meter.last().map(|trouble| trouble.to_string())
    }

    fn failure(&self, what: impl Into<String>) -> Failure {
        Failure::Client(self.meter.trouble(what))
    }

    /// A request with the configured headers, and those of the protocol over them.
    fn request(&self, method: Method, session: Option<Arc<str>>, headers: HashMap<HeaderName, HeaderValue>) -> RequestBuilder {
        let mut all = self.headers.clone();
        all.extend(headers.into_iter().map(|(name, value)| (Some(name), value)));
        all.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        let request = self.client.request(method, self.url.clone()).timeout(self.timeout).headers(all);
        match session {
            Some(session) => request.header(SESSION, &*session),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        request.send().await.map_err(|e| self.failure(format!("cannot be reached: {}", describe(&e))))
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.failure(format!("broke off: {}", describe(&e))))? {
            self.meter.bytes(&chunk).map_err(Failure::Client)?;
            body.extend_from_slice(&chunk);
        }
        self.meter.values(&body).map_err(Failure::Client)?;
        Ok(body)
    }

    fn events(&self, response: Response) -> BoxStream<'static, Result<Sse, SseError>> {
        let (meter, weigher) = (self.meter.clone(), self.meter.clone());
        let bytes = response.bytes_stream().map(move |chunk| {
            let chunk = chunk.map_err(|e| meter.trouble(format!("broke off: {}", describe(&e))))?;
            meter.bytes(&chunk).map(|()| chunk)
        });
        let events = SseStream::from_bytes_stream(bytes).map(move |event| {
            let event = event?;
            weigher.values(event.data.as_deref().unwrap_or_default().as_bytes()).map_err(|e| SseError::Body(Box::new(e)))?;
            Ok(event)
        });
        events.boxed()
    }
}

impl StreamableHttpClient for Wire {
    type Error = Trouble;

    async fn post_message(
        &self,
        _url: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _authorization: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        self.meter.request().map_err(Failure::Client)?;
        let response = self.send(self.request(Method::POST, session, headers).json(&message)).await?;
        let asked = matches!(message, ClientJsonRpcMessage::Request(_));
        let status = response.status();
        let session = response.headers().get(SESSION).and_then(|v| v.to_str().ok()).map(str::to_owned);
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) || (status.is_success() && !asked) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        match content_type(&response).as_str() {
            EVENTS if status.is_success() => Ok(StreamableHttpPostResponse::Sse(self.events(response), session)),
            // Errors of the protocol come with statuses of failure, but whoever wants credentials is not asking in it.
            JSON if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                let parsed = serde_json::from_slice(&self.read(response).await?);
                match parsed {
                    Ok(answer) if status.is_success() => Ok(StreamableHttpPostResponse::Json(addressed(answer, &message), session)),
                    Ok(answer @ JsonRpcMessage::Error(_)) => Ok(StreamableHttpPostResponse::Json(addressed(answer, &message), None)),
                    Err(e) if status.is_success() => Err(self.failure(format!("answered with JSON that is no MCP message: {e}"))),
                    _ => Err(self.failure(refusal(status))),
                }
            }
            other if status.is_success() => Err(self.failure(format!("answered with {other:?} instead of JSON or an event stream"))),
            _ => Err(self.failure(refusal(status))),
        }
    }

    async fn delete_session(
        &self,
        _url: Arc<str>,
        session: Arc<str>,
        _authorization: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failure> {
        // A courtesy. Servers without an end of sessions answer 405.
        let _ = self.request(Method::DELETE, Some(session), headers).send().await;
        Ok(())
    }

    async fn get_stream(
        &self,
        _url: Arc<str>,
        session: Option<Arc<str>>,
        event: Option<String>,
        _authorization: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failure> {
        // What a server says unasked is of no use in so short a session. The rest of an answer is.
        let Some(event) = event else {
            return Err(Failure::ServerDoesNotSupportSse);
        };
        // Of all failures, this one is not tried again.
        if self.meter.exhausted() || self.meter.request().is_err() {
            return Err(Failure::ServerDoesNotSupportSse);
        }
        let response = self.send(self.request(Method::GET, session, headers).header(RESUME, event)).await?;
        if !response.status().is_success() || content_type(&response) != EVENTS {
            self.meter.trouble("broke off its answer and does not resume it");
            return Err(Failure::ServerDoesNotSupportSse);
        }
        Ok(self.events(response))
    }
}

/// Without its parameters, in lower case.
fn content_type(response: &Response) -> String {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// An error that a server could not tell the request of answers the one that it came back for: else, it would be waited
/// for until the end.
fn addressed(answer: ServerJsonRpcMessage, message: &ClientJsonRpcMessage) -> ServerJsonRpcMessage {
    match (answer, message) {
        (JsonRpcMessage::Error(mut error), ClientJsonRpcMessage::Request(request)) => {
            error.id = error.id.or_else(|| Some(request.id.clone()));
            JsonRpcMessage::Error(error)
        }
        (answer, _) => answer,
    }
}

fn refusal(status: StatusCode) -> String {
    let hint = match status.as_u16() {
        300..=399 => ": redirects are not followed, so configure the URL that it leads to",
        401 | 403 => ": it wants other credentials in the headers of its configuration",
        404 | 405 => ": its URL seems not to be one of an MCP server with Streamable HTTP",
        429 => ": it is called too often",
        _ => "",
    };
    format!("answered HTTP {}{hint}", status.as_u16())
}
