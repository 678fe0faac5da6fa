//! The client of Meta's Graph API.

mod media;

use std::time::Duration;

use reqwest::{
    Client, RequestBuilder, Response,
    header::{HeaderMap, RETRY_AFTER},
};
use serde_json::{Value, json};

use super::Failure;
use crate::outbound;

/// How long a call may take. Shorter than the leases of the queues that make it.
const TIMEOUT: Duration = Duration::from_secs(20);
/// More than any answer of the endpoints used here: a page of templates is the largest.
const ANSWER: usize = 4 * 1024 * 1024;

/// Graph at one address and version.
#[derive(Clone)]
pub struct Graph {
    client: Client,
    files: Client,
    base: String,
}

/// A message that Graph took on. It is accepted, not sent: receipts tell the rest.
#[derive(Debug, PartialEq)]
pub struct Accepted {
    /// The wamid.
    pub external_id: String,
    /// `accepted`, `held_for_quality_assessment` or `paused`.
    pub state: String,
    /// The phone that the recipient really has, which may be written otherwise than it was dialled.
    pub wa_id: Option<String>,
    /// The recipient's business-scoped user id.
    pub user_id: Option<String>,
}

impl Graph {
    /// `base` is `GRAPH_API_URL`, `version` `GRAPH_API_VERSION`.
    pub fn new(base: &str, version: &str) -> anyhow::Result<Self> {
        Ok(Self { client: outbound::trusted(TIMEOUT)?, files: outbound::streaming()?, base: format!("{}/{version}", base.trim_end_matches('/')) })
    }

    /// Sends a message over a number. `path` is `messages` or `marketing_messages`.
    pub async fn send(&self, number: &str, path: &str, token: &str, body: &Value) -> Result<Accepted, Failure> {
        let answer = self.post(&format!("{number}/{path}"), token, body).await?;
        let (message, contact) = (&answer["messages"][0], &answer["contacts"][0]);
        let text = |v: &Value| v.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
        match text(&message["id"]) {
            Some(external_id) => Ok(Accepted {
                external_id,
                state: text(&message["message_status"]).unwrap_or_else(|| "accepted".to_owned()),
                wa_id: text(&contact["wa_id"]),
                user_id: text(&contact["user_id"]),
            }),
            // 200 without an id: taken on, as far as anyone can tell.
            None => Err(Failure::unanswered("the answer holds no message id".to_owned())),
        }
    }

    /// Marks a message (and those before it) as read, and shows that an answer is being written.
    pub async fn mark_read(&self, number: &str, token: &str, external_id: &str, typing: bool) -> Result<(), Failure> {
        let mut body = json!({"messaging_product": "whatsapp", "status": "read", "message_id": external_id});
        if typing {
            body["typing_indicator"] = json!({"type": "text"});
        }
        self.post(&format!("{number}/messages"), token, &body).await.map(drop)
    }

    /// `POST /{path}` with a JSON body.
    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Result<Value, Failure> {
        self.answer(self.client.post(self.url(path, &[])).bearer_auth(token).json(body)).await
    }

    /// `GET /{path}`. Without a token for the one call that gets one.
    pub async fn get(&self, path: &str, token: Option<&str>, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let request = self.client.get(self.url(path, query));
        self.answer(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
        .await
    }

    /// `DELETE /{path}`, with a body where the endpoint takes one.
    pub async fn delete(&self, path: &str, token: &str, query: &[(&str, &str)], body: Option<&Value>) -> Result<Value, Failure> {
        let request = self.client.delete(self.url(path, query)).bearer_auth(token);
        self.answer(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> String {
        // Ids come from rows: none of them begins a query of its own.
        let mut url = format!("{}/{}", self.base, path.replace('?', "%3F").replace('#', "%23"));
        if !query.is_empty() {
            let pairs = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
            url.push('?');
            url.push_str(&pairs);
        }
        url
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let response = sent(request).await?;
        let body = outbound::read(response, ANSWER).await.map_err(Failure::unanswered)?;
        serde_json::from_slice(&body).map_err(|e| Failure::unanswered(format!("the answer is no JSON: {e}")))
    }
}

/// That an id from a row is one, and not the rest of a path: letters, digits, `_` and `-`.
pub fn check_id(id: &str) -> Result<(), Failure> {
    let plain = !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if plain { Ok(()) } else { Err(Failure::refused("input", "this is no id of Meta's")) }
}

/// Sends a request and returns an answer that is 2xx; any other is a failure.
async fn sent(request: RequestBuilder) -> Result<Response, Failure> {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() || error.is_builder() => return Err(Failure::unreachable(outbound::describe(&error))),
        Err(error) => return Err(Failure::unanswered(outbound::describe(&error))),
    };
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    if status.is_redirection() {
        return Err(Failure::unreachable(format!("GRAPH_API_URL answered with a redirect ({status})")));
    }
    let retry_after = retry_after(response.headers());
    let body = outbound::read(response, ANSWER).await;
    Err(Failure::from_answer(status.as_u16(), retry_after, &body.unwrap_or_default()))
}

/// Seconds to wait, by `Retry-After` or by Meta's own header: `X-Business-Use-Case-Usage: {"<id>": [{…,
/// "estimated_time_to_regain_access": <minutes>}]}`.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if let Some(seconds) = text(RETRY_AFTER.as_str()).and_then(|v| v.trim().parse().ok()) {
        return Some(seconds);
    }
    let usage: Value = serde_json::from_str(text("x-business-use-case-usage")?).ok()?;
    let minutes = usage.as_object()?.values().filter_map(Value::as_array).flatten();
    let longest = minutes.filter_map(|u| u["estimated_time_to_regain_access"].as_u64()).max()?;
    (longest > 0).then_some(longest * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_to_wait() {
        let headers = |name: &'static str, value: &str| HeaderMap::from_iter([(name.parse().expect("a name"), value.parse().expect("a value"))]);
        assert_eq!(retry_after(&headers("retry-after", "7")), Some(7));
        let usage = r#"{"1": [{"type": "messaging", "call_count": 100, "estimated_time_to_regain_access": 3}], "2": [{}]}"#;
        assert_eq!(retry_after(&headers("x-business-use-case-usage", usage)), Some(180));
        assert_eq!(retry_after(&headers("x-business-use-case-usage", "{}")), None);
    }
}
