//! A Meta and a model to develop and test against: the part of the Graph API that this product calls, phones that
//! receive, read and write, signed webhooks, a model that speaks five protocols, and what its tools reach. All of it
//! misbehaves on request.
//!
//! The model repeats what it was told, or says what a script has for it; faults on `model` strike:
//!
//! - `POST …/chat/completions`, `POST …/responses`: OpenAI's protocols, with any base.
//! - `POST …/v1/messages`, and `POST /anthropic/…/messages`: Anthropic's.
//! - `POST …/models/{model}:generateContent`: Google's.
//! - `POST /a2a/{name}`: A2A, `message/send` or `tasks/send`, `tasks/get` and `tasks/cancel`.
//!
//! Files to understand, with faults on `understand`: `generateContent` with `inlineData` and JSON as its
//! `responseMimeType`, chat completions with `json_schema` as its `response_format`, `POST …/audio/transcriptions`.
//!
//! What tools reach:
//!
//! - `POST /mcp/{name}`: an MCP server with the tools `add`, `note`, `fail`, `picture`, `big` and `slow`; faults on `mcp` strike.
//! - `/web/echo`, `/web/redirect?to=…&status=302`, `/web/big?bytes=N` (`&length=0`: its length is not told), `/web/slow?ms=N`,
//!   `/web/status/{n}`, `/web/html`: pages, for any method.
//!
//! Besides Meta's paths and these it has its own, under `/sandbox`:
//!
//! - `POST say` `{from, number, text, name?, reply_to?}`: somebody writes to a number; answers `{id}`.
//! - `GET phone/{address}?after=N&wait_ms=M`: what is on a phone; with no more than N entries it waits for news first.
//! - `POST deliver` with any JSON body: a signed webhook with just that body.
//! - `GET sent`, `GET asked`, `DELETE sent`: what Graph took on, what the model was asked; forget both.
//! - `POST script` (one [`Turn`] or a list), `GET script` (what is left of it), `DELETE script`.
//! - `GET understood`, `GET noted`, `GET hits`: files that were understood, what the tool `note` was given, requests to
//!   `/web` and `/mcp`. `DELETE sent` forgets them, too.
//! - `POST faults` (one [`Fault`] or a list), `DELETE faults`.
//! - `POST settings`: any of [`Settings`].

pub mod bridge;
mod check;
mod check_interactive;
mod fault;
mod graph;
pub mod instagram;
pub mod manage;
pub mod media;
mod model;
pub mod phone;
mod templates;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, http::request::Parts, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify};

pub use fault::Fault;
use fault::Faults;
pub use model::{ToolCall, Turn};

/// How the sandbox behaves when nothing is wrong.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Where webhooks go.
    pub webhook_url: String,
    /// What they are signed with.
    pub app_secret: String,
    /// Whether statuses follow a message.
    pub receipts: bool,
    /// Milliseconds from one status to the next.
    pub receipt_ms: u64,
    /// Messages a second that a number may send; 0 for no limit.
    pub rate: usize,
    /// Whether pairs of numbers are limited to one message in 6 s, 45 in a burst.
    pub pairs: bool,
    /// How long the model thinks.
    pub think_ms: u64,
    /// The only token that Graph takes; empty for any.
    pub token: String,
    /// Whether what was sent is kept for `GET sent`.
    pub keep: bool,
    /// Business accounts that there are, and their numbers.
    pub accounts: BTreeMap<String, Vec<String>>,
    /// The only token the connector takes; empty for any.
    pub bridge_token: String,
    /// The only key the model takes, in whatever header its API has it; empty for any and none.
    pub model_key: String,
    /// The most tokens (four characters of a request each) that the model reads; 0 for no limit.
    pub context_tokens: usize,
    /// What agents behind A2A speak: `message`, `tasks` or `both`.
    pub a2a_dialect: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            webhook_url: String::new(),
            app_secret: String::new(),
            receipts: true,
            receipt_ms: 30,
            rate: 80,
            pairs: true,
            think_ms: 0,
            token: String::new(),
            keep: true,
            accounts: BTreeMap::new(),
            bridge_token: String::new(),
            model_key: String::new(),
            context_tokens: 0,
            a2a_dialect: "both".to_owned(),
        }
    }
}

/// What happened so far. Behind a standard mutex, held for moments.
#[derive(Default)]
struct State {
    settings: Settings,
    faults: Faults,
    /// Accepted messages: `{at_us, number, token, body, wamid}`.
    sent: Vec<Value>,
    /// Requests to the model, and read receipts.
    asked: Vec<Value>,
    read: Vec<Value>,
    model: model::Model,
    phones: HashMap<String, Vec<Value>>,
    recent: HashMap<String, VecDeque<Instant>>,
    pairs: HashMap<String, (f64, Instant)>,
    count: u64,
    accounts: manage::Accounts,
    media: media::Media,
    bridge: bridge::Bridge,
    instagram: instagram::Instagram,
}

/// The sandbox. Clones are the same one.
#[derive(Clone, Default)]
pub struct Sandbox {
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
    client: reqwest::Client,
}

type Answer = Response<media::Body>;

impl Sandbox {
    /// With these settings.
    pub fn new(settings: Settings) -> Self {
        let sandbox = Self::default();
        sandbox.lock().settings = settings;
        sandbox
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the settings.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.lock().settings);
    }

    /// Makes something go wrong.
    pub fn fault(&self, fault: Fault) {
        self.lock().faults.add(fault);
    }

    /// Everything goes right again.
    pub fn heal(&self) {
        self.lock().faults = Faults::default();
    }

    /// What Graph took on, in order.
    pub fn sent(&self) -> Vec<Value> {
        self.lock().sent.clone()
    }

    /// How many messages Graph took on and phones wrote, kept or not.
    pub fn count(&self) -> u64 {
        self.lock().count
    }

    /// Forgets what was sent, asked, read, understood, noted and hit.
    pub fn forget(&self) {
        let mut state = self.lock();
        state.sent.clear();
        state.asked.clear();
        state.read.clear();
        state.accounts.calls.clear();
        state.media.uploads.clear();
        state.media.downloads.clear();
        state.bridge.calls.clear();
        state.bridge.dispatched.clear();
        state.instagram.calls.clear();
        state.instagram.sent.clear();
        state.model.forget();
    }

    /// What the model was asked, in order.
    pub fn asked(&self) -> Vec<Value> {
        self.lock().asked.clone()
    }

    /// The read receipts that came.
    pub fn read(&self) -> Vec<Value> {
        self.lock().read.clone()
    }

    /// Serves until dropped.
    pub async fn run(self, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            let sandbox = self.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let sandbox = sandbox.clone();
                    async move { sandbox.route(request).await }
                });
                // A fault that cuts the connection ends here as an error.
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    async fn route(&self, request: Request<Incoming>) -> io::Result<Answer> {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, 110 * 1024 * 1024).collect().await.map_err(io::Error::other)?.to_bytes();
        let token =
            parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
        let segments: Vec<&str> = parts.uri.path().split('/').filter(|s| !s.is_empty()).collect();
        if let Some(answer) = self.route_model(&parts, &segments, token, &body).await {
            return answer;
        }
        let value = || serde_json::from_slice::<Value>(&body).unwrap_or_default();
        match (&parts.method, segments.as_slice()) {
            (&Method::POST, ["sandbox", "say"]) => Ok(json_answer(200, &self.say(&value()).await)),
            (&Method::POST, ["sandbox", "deliver"]) => Ok(json_answer(200, &json!({"status": self.deliver(&value()).await}))),
            (&Method::GET, ["sandbox", "phone", address]) => {
                let query = parts.uri.query().unwrap_or_default();
                let number = |name: &str| form_urlencoded::parse(query.as_bytes()).find(|(k, _)| k == name).and_then(|(_, v)| v.parse::<u64>().ok());
                Ok(json_answer(
                    200,
                    &self.inbox(address, usize::try_from(number("after").unwrap_or(0)).unwrap_or(0), number("wait_ms").unwrap_or(0)).await,
                ))
            }
            (&Method::GET, ["sandbox", "sent"]) => Ok(json_answer(200, &json!(self.sent()))),
            (&Method::GET, ["sandbox", "asked"]) => Ok(json_answer(200, &json!(self.asked()))),
            (&Method::DELETE, ["sandbox", "sent"]) => {
                self.forget();
                Ok(json_answer(200, &json!({})))
            }
            (&Method::POST, ["sandbox", "faults"]) => Ok(self.add_faults(value())),
            (&Method::DELETE, ["sandbox", "faults"]) => {
                self.heal();
                Ok(json_answer(200, &json!({})))
            }
            (&Method::POST, ["sandbox", "settings"]) => Ok(self.change_settings(value())),
            (&Method::POST, [version, number, "messages" | "marketing_messages"]) if version.starts_with('v') => {
                self.messages(number, token, value()).await
            }
            _ => self.others(&parts, &segments, token, &body).await,
        }
    }

    /// What the modules of their own answer: connector, Instagram, files, and what is about accounts.
    async fn others(&self, parts: &Parts, segments: &[&str], token: &str, body: &Bytes) -> io::Result<Answer> {
        let query: HashMap<String, String> = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let graph = match segments {
            [v, rest @ ..] if v.strip_prefix('v').is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit())) => rest,
            all => all,
        };
        let (method, headers) = (&parts.method, &parts.headers);
        if let Some(answer) = self.route_bridge(method, segments, &query, token, body, headers).await {
            return answer;
        }
        if let Some(answer) = self.route_instagram(method, segments, &query, token, body, headers).await {
            return answer;
        }
        if let Some(answer) = self.route_media(method, graph, &query, token, body, headers).await {
            return answer;
        }
        if let Some(answer) = self.manage(method, graph, &query, token, body, headers).await {
            return answer;
        }
        Ok(json_answer(404, &json!({"error": {"message": "the sandbox has nothing there", "code": 100}})))
    }

    fn add_faults(&self, value: Value) -> Answer {
        let list = if value.is_array() { value } else { json!([value]) };
        match serde_json::from_value::<Vec<Fault>>(list) {
            Ok(faults) => {
                faults.into_iter().for_each(|f| self.fault(f));
                json_answer(200, &json!({}))
            }
            Err(error) => json_answer(400, &json!({"error": {"message": error.to_string()}})),
        }
    }

    fn change_settings(&self, value: Value) -> Answer {
        let mut state = self.lock();
        let mut all = json!(state.settings);
        if let (Value::Object(all), Value::Object(change)) = (&mut all, value) {
            all.extend(change);
        }
        match serde_json::from_value(all) {
            Ok(settings) => {
                state.settings = settings;
                json_answer(200, &json!(state.settings))
            }
            Err(error) => json_answer(400, &json!({"error": {"message": error.to_string()}})),
        }
    }
}

fn json_answer(status: u16, body: &Value) -> Answer {
    let mut answer = Response::new(media::whole(Bytes::from(body.to_string())));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}
