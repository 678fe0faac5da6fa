//! Asking a model: one POST, by whichever protocol it speaks.

use std::time::Duration;

use ipnet::IpNet;
use reqwest::header::RETRY_AFTER;
use serde_json::Value;

use super::{
    provider::Endpoint,
    turn::{Failure, Prompt, Reply},
};
use crate::outbound::{self, Guarded};

/// How long a model may take to answer.
const TIMEOUT: Duration = Duration::from_secs(90);
/// More than any answer that could be sent on.
const ANSWER: usize = 4 * 1024 * 1024;

/// The clients that models are asked with. Clones are the same.
#[derive(Clone)]
pub struct Models {
    trusted: reqwest::Client,
    guarded: Guarded,
}

impl Models {
    /// `allow`: networks that agents' URLs may reach besides public ones.
    pub fn new(allow: Vec<IpNet>) -> anyhow::Result<Self> {
        Ok(Self { trusted: outbound::trusted(TIMEOUT)?, guarded: Guarded::new(TIMEOUT, allow)? })
    }

    /// One answer. The prompt is gone before the wait begins: thousands of them would be in memory otherwise.
    pub async fn ask(&self, endpoint: &Endpoint, prompt: Prompt) -> Result<Reply, Failure> {
        let url = endpoint.protocol.url(&endpoint.base, &prompt.model);
        let mut request = self.request(&url, endpoint.trusted)?;
        for (name, value) in endpoint.protocol.headers(endpoint.key.as_deref().unwrap_or_default()) {
            request = request.header(name, value);
        }
        let body = endpoint.protocol.request(&prompt);
        drop(prompt);
        let request = request.json(&body);
        drop(body);
        let (status, retry_after, body) = self.send(request).await?;
        endpoint.protocol.response(status, retry_after, &body)
    }

    /// A POST with JSON, bounded in time and size: status, Retry-After in seconds, body.
    pub async fn post(
        &self,
        url: &str,
        trusted: bool,
        headers: Vec<(&'static str, String)>,
        body: &Value,
    ) -> Result<(u16, Option<f64>, Vec<u8>), Failure> {
        let mut request = self.request(url, trusted)?;
        for (name, value) in headers {
            request = request.header(name, value);
        }
        self.send(request.json(body)).await
    }

    /// The same for a request that is made already.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<(u16, Option<f64>, Vec<u8>), Failure> {
        let away = |text: String| Failure::Later(None, format!("the model could not be asked: {text}"));
        let response = request.send().await;
        let response =
            response.map_err(|e| if outbound::is_refused(&e) { Failure::Hopeless(outbound::describe(&e)) } else { away(outbound::describe(&e)) })?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse::<f64>().ok());
        // An hour at most, whatever it says.
        let retry_after = retry_after.filter(|s| s.is_finite()).map(|s| s.clamp(0.0, 3600.0));
        Ok((status, retry_after, outbound::read(response, ANSWER).await.map_err(away)?))
    }

    /// A request to an address of the settings, or of a tenant.
    pub fn request(&self, url: &str, trusted: bool) -> Result<reqwest::RequestBuilder, Failure> {
        if trusted { Ok(self.trusted.post(url)) } else { self.guarded.post(url).map_err(Failure::Hopeless) }
    }
}
