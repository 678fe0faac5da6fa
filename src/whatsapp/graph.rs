//! The client of Meta's Graph API.

use std::time::Duration;

use reqwest::{
    Client,
    header::{HeaderMap, RETRY_AFTER},
};
use serde_json::{Value, json};

use super::Failure;
use crate::outbound;

/// How long a call may take. Shorter than the leases of the queues that make it.
const TIMEOUT: Duration = Duration::from_secs(20);
/// More than any answer of the endpoints used here.
const ANSWER: usize = 256 * 1024;

/// Graph at one address and version.
pub struct Graph {
    client: Client,
    base: String,
}

/// A message that Graph took on. It is accepted, not sent: receipts tell the rest.
#[derive(Debug, PartialEq)]
pub struct Accepted {
    /// The wamid.
    pub external_id: String,
    /// `accepted`, `held_for_quality_assessment` or `paused`.
    pub state: String,
}

impl Graph {
    /// `base` is `GRAPH_API_URL`, `version` `GRAPH_API_VERSION`.
    pub fn new(base: &str, version: &str) -> anyhow::Result<Self> {
        Ok(Self { client: outbound::trusted(TIMEOUT)?, base: format!("{}/{version}", base.trim_end_matches('/')) })
    }

    /// Sends a message over a number.
    pub async fn send(&self, number: &str, token: &str, body: &Value) -> Result<Accepted, Failure> {
        let answer = self.post(number, token, body).await?;
        let message = &answer["messages"][0];
        match message["id"].as_str() {
            Some(id) if !id.is_empty() => {
                let state = message["message_status"].as_str().unwrap_or("accepted").to_owned();
                Ok(Accepted { external_id: id.to_owned(), state })
            }
            // 200 without an id: taken on, as far as anyone can tell.
            _ => Err(Failure::unanswered("the answer holds no message id".to_owned())),
        }
    }

    /// Marks a message (and those before it) as read, and shows that an answer is being written.
    pub async fn mark_read(&self, number: &str, token: &str, external_id: &str, typing: bool) -> Result<(), Failure> {
        let mut body = json!({"messaging_product": "whatsapp", "status": "read", "message_id": external_id});
        if typing {
            body["typing_indicator"] = json!({"type": "text"});
        }
        self.post(number, token, &body).await.map(drop)
    }

    async fn post(&self, number: &str, token: &str, body: &Value) -> Result<Value, Failure> {
        let sent = self.client.post(format!("{}/{number}/messages", self.base)).bearer_auth(token).json(body).send().await;
        let response = match sent {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_builder() => return Err(Failure::unreachable(outbound::describe(&error))),
            Err(error) => return Err(Failure::unanswered(outbound::describe(&error))),
        };
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let body = outbound::read(response, ANSWER).await;
        if status.is_success() {
            let body = body.map_err(Failure::unanswered)?;
            serde_json::from_slice(&body).map_err(|e| Failure::unanswered(format!("the answer is no JSON: {e}")))
        } else if status.is_redirection() {
            Err(Failure::unreachable(format!("GRAPH_API_URL answered with a redirect ({status})")))
        } else {
            Err(Failure::from_answer(status.as_u16(), retry_after, &body.unwrap_or_default()))
        }
    }
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
