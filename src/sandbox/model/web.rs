//! Pages for tools that fetch something, and for what must not be fetched: `/web/…`. All requests to them are
//! remembered, and those to the MCP server.

use std::{collections::HashMap, io, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    HeaderMap, Response, StatusCode,
    body::Frame,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION},
    http::request::Parts,
};
use serde_json::{Map, Value, json};

use crate::sandbox::{Answer, Sandbox, json_answer, media::whole};

/// Bytes are sent in pieces of this size.
const PIECE: usize = 64 * 1024;
static TEXT: [u8; PIECE] = [b'x'; PIECE];
const HTML: &str = "<!doctype html><html><head><title>A page</title><script>let hidden = 1;</script></head>\
    <body><h1>A page</h1><p>With a <a href=\"/web/echo\">link</a> &amp; some text.</p></body></html>";

/// A request, as far as it can be told.
pub(super) struct Hit {
    all: Value,
    /// JSON, or the text; null when there is none.
    pub body: Value,
}

impl Hit {
    pub fn new(parts: &Parts, query: &HashMap<String, String>, bytes: &Bytes) -> Self {
        let text = || json!(String::from_utf8_lossy(bytes));
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(bytes).unwrap_or_else(|_| text()) };
        let all = json!({"path": parts.uri.path(), "method": parts.method.as_str(), "headers": shown(&parts.headers), "query": query, "body": body});
        Self { all, body }
    }
}

impl Sandbox {
    /// Requests to the web pages and the MCP server, in order: `{path, method, headers, query, body}`, names of headers in
    /// lower case.
    pub fn hits(&self) -> Vec<Value> {
        self.lock().model.hits.clone()
    }

    pub(super) fn keep_hit(&self, hit: &Hit) {
        let mut state = self.lock();
        if state.settings.keep {
            state.model.hits.push(hit.all.clone());
        }
    }

    pub(super) async fn serve_page(&self, page: &[&str], parts: &Parts, query: &HashMap<String, String>, bytes: &Bytes) -> io::Result<Answer> {
        let hit = Hit::new(parts, query, bytes);
        self.keep_hit(&hit);
        let number = |name: &str| query.get(name).and_then(|value| value.parse::<u64>().ok());
        Ok(match page {
            ["echo"] => json_answer(200, &json!({"method": hit.all["method"], "headers": hit.all["headers"], "query": query, "body": hit.body})),
            ["redirect"] => redirect(query.get("to").map_or("/web/echo", String::as_str), number("status")),
            ["big"] => big(number("bytes").unwrap_or(1_000_000), query.get("length").is_none_or(|length| length != "0")),
            ["slow"] => {
                let ms = number("ms").unwrap_or(1000);
                tokio::time::sleep(Duration::from_millis(ms)).await;
                json_answer(200, &json!({"slow": ms}))
            }
            ["status", status] => match status.parse().ok().filter(|status| (200..600).contains(status)) {
                Some(status @ (204 | 304)) => bare(status),
                Some(status) => json_answer(status, &json!({"status": status})),
                None => json_answer(400, &json!({"error": "a status is a number from 200 to 599"})),
            },
            ["html"] => {
                let mut answer = Response::new(whole(Bytes::from_static(HTML.as_bytes())));
                answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
                answer
            }
            _ => json_answer(404, &json!({"error": "there is no such page"})),
        })
    }
}

/// Headers as an object; the values of one that comes twice are joined.
fn shown(headers: &HeaderMap) -> Value {
    let mut all: Map<String, Value> = Map::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let shown = match all.get(name.as_str()).and_then(Value::as_str) {
            Some(before) => format!("{before}, {value}"),
            None => value,
        };
        all.insert(name.as_str().to_owned(), json!(shown));
    }
    Value::Object(all)
}

/// An answer without a body.
fn bare(status: u16) -> Answer {
    let mut answer = Response::new(whole(Bytes::new()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

fn redirect(to: &str, status: Option<u64>) -> Answer {
    let status = status.and_then(|status| u16::try_from(status).ok()).filter(|status| (300..400).contains(status));
    let Ok(to) = HeaderValue::from_str(to) else { return json_answer(400, &json!({"error": "to is no address"})) };
    let mut answer = bare(status.unwrap_or(302));
    answer.headers_mut().insert(LOCATION, to);
    answer
}

/// So many bytes, piece by piece: a limit has to hold also where the length is not told.
fn big(bytes: u64, told: bool) -> Answer {
    let pieces = stream::unfold(bytes, |left| async move {
        let piece = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        (piece > 0).then(|| (Ok(Frame::data(Bytes::from_static(&TEXT[..piece]))), left - piece as u64))
    });
    let mut answer = Response::new(StreamBody::new(pieces).boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if told {
        answer.headers_mut().insert(CONTENT_LENGTH, bytes.into());
    }
    answer
}
