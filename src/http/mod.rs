//! The edges: HTTP requests become rows and answers.

mod callback;
mod connector;
mod health;
mod instagram;
mod journal;
mod management;
mod onboard;
mod operation;
mod rest;
mod sessions;
mod storage;
mod templates;
mod webhook;

use std::{convert::Infallible, sync::Arc, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, combinators::UnsyncBoxBody};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use journal::Journal;

use crate::{
    bus::Health,
    config::{App, Config},
    connector::Connectors,
    db::Db,
    media::{Links, Store},
};

/// An answer of the edges. Files are streamed.
pub type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// How long a client may take to send its request.
const SLOW_CLIENT: Duration = Duration::from_secs(30);

/// What the handlers share.
pub struct Edge {
    db: Db,
    journal: Journal,
    apps: Vec<App>,
    verify_token: String,
    instagram: instagram::Login,
    connectors: Connectors,
    store: Store,
    /// None without SECRETS_KEY: then there are no links to open.
    links: Option<Links>,
    upload_limit: u64,
    /// `PUBLIC_URL`.
    public: String,
    health: Health,
    metrics: PrometheusHandle,
}

impl Edge {
    /// With the settings of the process. Must be made within a runtime.
    pub fn new(config: &Config, db: Db, health: Health, metrics: PrometheusHandle) -> anyhow::Result<Self> {
        Ok(Self {
            journal: Journal::new(db.clone()),
            db,
            apps: config.apps().map_err(anyhow::Error::msg)?,
            verify_token: config.whatsapp_verify_token.clone(),
            instagram: instagram::Login::new(config)?,
            connectors: Connectors::new(config.bridges())?,
            store: Store::new(&config.storage())?,
            links: config.key().map_err(anyhow::Error::msg)?.map(|key| Links::new(&key, &config.public())),
            upload_limit: config.max_storage_upload_size,
            public: config.public().trim_end_matches('/').to_owned(),
            health,
            metrics,
        })
    }

    async fn route(&self, request: Request<Incoming>) -> Answer {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
        match (segments.as_slice(), &method) {
            (["functions", "v1", "whatsapp-webhook"], &Method::POST) => webhook::receive(self, request).await,
            (["functions", "v1", "whatsapp-webhook"], &Method::GET) => webhook::verify(self, &request),
            (["functions", "v1", "whatsapp-webhook"], _) => not_allowed("GET, POST"),
            (["functions", "v1", "instagram-webhook"], &Method::POST) => instagram::receive(self, request).await,
            (["functions", "v1", "instagram-webhook"], &Method::GET) => instagram::verify(self, &request),
            (["functions", "v1", "instagram-webhook"], _) => not_allowed("GET, POST"),
            (["functions", "v1", _, ..], &Method::OPTIONS) => cors(text(StatusCode::NO_CONTENT, "")),
            (["functions", "v1", "whatsapp-management", rest @ ..], _) => cors(management::route(self, &method, rest, request).await),
            (["functions", "v1", "instagram-management", rest @ ..], _) => cors(instagram::manage(self, &method, rest, request).await),
            (["functions", "v1", "whatsapp-web-management", rest @ ..], _) => cors(sessions::route(self, &method, rest, request).await),
            (["functions", "v1", "agent-callback", organization, conversation], &Method::POST) => {
                callback::receive(self, organization, conversation, &request).await
            }
            (["functions", "v1", "generic-webhook", service, rest @ ..], _) => connector::route(self, &method, service, rest, request).await,
            (["functions", "v1", name, rest @ ..], _) if name.ends_with("-webhook") => {
                connector::route(self, &method, name.trim_end_matches("-webhook"), rest, request).await
            }
            (["storage", "v1", "object", "sign", "media", name @ ..], &Method::GET | &Method::HEAD) => {
                storage::serve(self, &name.join("/"), &request).await
            }
            (["storage", "v1", "object", "sign", "media", name @ ..], &Method::POST) => cors(storage::sign(self, &name.join("/"), &request).await),
            (["storage", "v1", "object", "media", name @ ..], &Method::POST) => cors(storage::upload(self, &name.join("/"), request).await),
            (["storage", "v1", "object", "media" | "authenticated", name @ ..], &Method::GET) => {
                cors(storage::read(self, name.join("/").trim_start_matches("media/"), &request).await)
            }
            (["storage", "v1", ..], &Method::OPTIONS) => cors(text(StatusCode::NO_CONTENT, "")),
            (["rest", "v1", "messages"], &Method::POST) => rest::insert(self, request).await,
            (["rest", "v1", "messages"], _) => not_allowed("POST"),
            (["healthz"], &Method::GET | &Method::HEAD) => text(StatusCode::OK, "alive\n"),
            (["readyz"], &Method::GET | &Method::HEAD) => health::ready(self).await,
            (["metrics"], &Method::GET) => health::metrics(self).await,
            (["healthz" | "readyz" | "metrics"], _) => not_allowed("GET"),
            _ => problem(StatusCode::NOT_FOUND, "not_found", &format!("there is nothing at {path}")),
        }
    }
}

/// Serves until stopped; then lets open requests end.
pub async fn run(listener: TcpListener, edge: Arc<Edge>, stop: CancellationToken) -> anyhow::Result<()> {
    let graceful = GracefulShutdown::new();
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(SLOW_CLIENT);
    info!(address = %listener.local_addr().context("the socket has no address")?, "listening for HTTP");
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, mostly: others have to go first.
                    warn!(%error, "cannot accept connections");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        let _ = stream.set_nodelay(true);
        let edge = edge.clone();
        let service = service_fn(move |request| {
            let edge = edge.clone();
            async move {
                // In a task of its own: a panic ends the request and not the connection's worker.
                let answer = tokio::spawn(async move { edge.route(request).await }).await;
                Ok::<_, Infallible>(answer.unwrap_or_else(|error| {
                    warn!(%error, "a request failed");
                    problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "internal error")
                }))
            }
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(Duration::from_secs(20), graceful.shutdown()).await;
    Ok(())
}

/// The whole body, up to `limit` bytes; otherwise the answer to give.
async fn body(request: Request<Incoming>, limit: usize) -> Result<Bytes, Answer> {
    let collect = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(SLOW_CLIENT, collect).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &format!("the body is larger than {limit} bytes")))
        }
        Ok(Err(_)) => Err(problem(StatusCode::BAD_REQUEST, "bad_request", "the body broke off")),
        Err(_) => Err(problem(StatusCode::REQUEST_TIMEOUT, "timeout", "the body took too long")),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = text(status, body.to_string());
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json; charset=utf-8"));
    answer
}

/// Browsers of other origins may call: who may do what is decided by the key.
fn cors(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, header::HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        header::HeaderValue::from_static("authorization, x-client-info, apikey, api-key, content-type"),
    );
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, header::HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, OPTIONS"));
    answer
}

/// An error in the shape that the management endpoints have always had: what, and Meta's own words where it has some.
fn caused(status: StatusCode, message: &str, cause: Value) -> Answer {
    json_answer(status, &json!({"message": message, "cause": cause}))
}

/// A parameter of the query.
fn parameter(request: &Request<Incoming>, name: &str) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Compares without telling by its duration where two texts differ.
fn same(a: &str, b: &str) -> bool {
    let tag = |text: &str| Hmac::<Sha256>::new_from_slice(b"compare").ok().map(|mac| mac.chain_update(text));
    match (tag(a), tag(b)) {
        (Some(a), Some(b)) => b.verify_slice(&a.finalize().into_bytes()).is_ok(),
        _ => false,
    }
}

/// An error in the shape that PostgREST's clients know.
fn problem(status: StatusCode, code: &str, message: &str) -> Answer {
    json_answer(status, &json!({"code": code, "message": message, "details": null, "hint": null}))
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &format!("allowed here: {methods}"));
    answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(methods));
    answer
}
