//! Messages to a bridge: `POST {URL}/dispatch` with the service's token.

use std::{collections::HashMap, sync::Arc, time::Duration};

use reqwest::Client;
use serde_json::{Value, json};

use crate::{outbound, whatsapp::Failure};

/// How long a bridge may take. Shorter than the lease of dispatch.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The most bytes of an answer: a QR code as a picture, at most.
const ANSWER: usize = 1024 * 1024;

/// States of a message that are not a bridge's to say.
const OURS: [&str; 5] = ["pending", "failed", "canceled", "errors", "fallback"];

fn is_state(text: &str) -> bool {
    !text.is_empty() && text.len() <= 40 && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && !OURS.contains(&text)
}

/// A bridge, by the settings `{SERVICE}_URL` and `{SERVICE}_TOKEN`.
#[derive(Clone)]
pub struct Connector {
    client: Client,
    url: String,
    token: String,
}

/// All of them, by service. Clones are the same.
#[derive(Clone, Default)]
pub struct Connectors(Arc<HashMap<String, Connector>>);

/// What a bridge took on.
pub struct Taken {
    /// Its id for the message, where it has one already.
    pub external_id: Option<String>,
    /// `sent`, unless it says otherwise.
    pub state: String,
}

impl Connectors {
    /// `bridges`: service, URL, token.
    pub fn new(bridges: Vec<(String, String, String)>) -> anyhow::Result<Self> {
        let client = outbound::trusted(TIMEOUT)?;
        let connector = |(service, url, token): (String, String, String)| {
            (service, Connector { client: client.clone(), url: url.trim_end_matches('/').to_owned(), token })
        };
        Ok(Self(Arc::new(bridges.into_iter().map(connector).collect())))
    }

    /// The bridge of a service.
    pub fn of(&self, service: &str) -> Option<&Connector> {
        self.0.get(service)
    }
}

impl Connector {
    /// The token, which the bridge shows us as well.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Gives it a message to send. 4xx is a refusal for good; anything unclear is an unknown outcome, as everywhere.
    pub async fn dispatch(&self, record: &Value, media_url: Option<&str>) -> Result<Taken, Failure> {
        let mut body = json!({"type": "message", "record": record});
        if let Some(url) = media_url {
            body["media_url"] = json!(url);
        }
        let answer = self.call(reqwest::Method::POST, "dispatch", Some(&body)).await?.1;
        Ok(Taken {
            external_id: answer["external_id"].as_str().filter(|s| !s.is_empty()).map(str::to_owned),
            state: answer["status"].as_str().filter(|s| is_state(s)).unwrap_or("sent").to_owned(),
        })
    }

    /// Tells it that a message that came in was read, or that somebody is typing.
    pub async fn status(&self, record: &Value) -> Result<(), Failure> {
        self.call(reqwest::Method::POST, "dispatch", Some(&json!({"type": "status", "record": record}))).await.map(drop)
    }

    /// Any call. Returns status and JSON of an answer that is 2xx.
    pub async fn call(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Result<(u16, Value), Failure> {
        let request = self.client.request(method, format!("{}/{path}", self.url)).bearer_auth(&self.token);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_builder() => return Err(Failure::unreachable(outbound::describe(&error))),
            Err(error) => return Err(Failure::unanswered(outbound::describe(&error))),
        };
        let status = response.status();
        let bytes = outbound::read(response, ANSWER).await.map_err(Failure::unanswered)?;
        if status.is_success() {
            return Ok((status.as_u16(), serde_json::from_slice(&bytes).unwrap_or_default()));
        }
        let text = format!("the connector answered {status}: {}", String::from_utf8_lossy(&bytes).chars().take(500).collect::<String>());
        Err(match status.as_u16() {
            // The token, the address, the hour: nothing that is the message's fault.
            401 | 403 | 404 | 408 | 429 | 503 => Failure::unreachable(text),
            400..500 => Failure::refused("connector", text),
            _ => Failure::unanswered(text),
        })
    }
}
