//! The client of Instagram's messaging API (Instagram API with Instagram Login).

use std::time::Duration;

use reqwest::{Client, RequestBuilder, header::RETRY_AFTER};
use serde_json::Value;

use super::failure;
use crate::{outbound, whatsapp::Failure};

/// How long a call may take. Shorter than the leases of the queues that make it.
const TIMEOUT: Duration = Duration::from_secs(20);
/// More than any answer of the endpoints used here.
const ANSWER: usize = 256 * 1024;

/// The API at one address and version.
#[derive(Clone)]
pub struct Instagram {
    client: Client,
    root: String,
    base: String,
}

impl Instagram {
    /// `base` is `INSTAGRAM_API_URL`, `version` `INSTAGRAM_API_VERSION`.
    pub fn new(base: &str, version: &str) -> anyhow::Result<Self> {
        let root = base.trim_end_matches('/').to_owned();
        Ok(Self { client: outbound::trusted(TIMEOUT)?, base: format!("{root}/{version}"), root })
    }

    /// Posts one body for an account. Returns the message's id, where the answer has one: reactions have none.
    pub async fn send(&self, account: &str, token: &str, body: &Value) -> Result<Option<String>, Failure> {
        let answer = self.answer(self.client.post(format!("{}/{account}/messages", self.base)).bearer_auth(token).json(body)).await?;
        Ok(answer["message_id"].as_str().filter(|s| !s.is_empty()).map(str::to_owned))
    }

    /// `GET /{version}/{path}`.
    pub async fn get(&self, path: &str, query: &[(&str, &str)], token: &str) -> Result<Value, Failure> {
        self.answer(self.client.get(format!("{}/{path}", self.base)).query(query).bearer_auth(token)).await
    }

    /// `POST /{version}/{path}`.
    pub async fn post(&self, path: &str, query: &[(&str, &str)], token: &str) -> Result<Value, Failure> {
        self.answer(self.client.post(format!("{}/{path}", self.base)).query(query).bearer_auth(token)).await
    }

    /// A call of the login, which has no version: a form where one is given, otherwise a query.
    pub async fn login(&self, url: Option<&str>, path: &str, form: Option<&[(&str, &str)]>, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let url = format!("{}/{path}", url.unwrap_or(&self.root));
        self.answer(match form {
            Some(form) => self.client.post(url).form(form),
            None => self.client.get(url).query(query),
        })
        .await
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_builder() => return Err(Failure::unreachable(outbound::describe(&error))),
            Err(error) => return Err(Failure::unanswered(outbound::describe(&error))),
        };
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| v.trim().parse().ok());
        let body = outbound::read(response, ANSWER).await.map_err(Failure::unanswered)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|e| Failure::unanswered(format!("the answer is no JSON: {e}")));
        }
        Err(failure(status.as_u16(), retry_after, &body))
    }
}
