//! Misbehaviour on request.

use std::{io, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Answer, json_answer};

/// Something that goes wrong. Fields that are not given do nothing; given ones add up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// Where: `messages` (sends), `read` (receipts that come in), `model`, `webhook` (what goes out), `manage`,
    /// `media`, `bridge`, `instagram`.
    pub on: String,
    /// How many times it happens; for ever when not given.
    pub times: Option<u32>,
    /// Only for requests whose body holds this text.
    pub matching: Option<String>,
    /// Answers with this HTTP status …
    pub status: Option<u16>,
    /// … and this Graph code …
    pub code: Option<i64>,
    /// … and this header, in seconds.
    pub retry_after: Option<u64>,
    /// Does what was asked first, and only then misbehaves.
    pub accept: bool,
    /// Waits before anything else; with `accept`, after it has done what was asked.
    pub delay_ms: u64,
    /// Never answers.
    pub hang: bool,
    /// Closes the connection without an answer.
    pub cut: bool,
    /// Webhooks: this many more copies.
    pub duplicate: u32,
    /// Webhooks: never sent.
    pub lose: bool,
    /// Webhooks: each is late by a random time up to this, so that they overtake each other.
    pub reorder_ms: u64,
}

#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// The fault that strikes now, if any: used up by it.
    pub fn strike(&mut self, on: &str, body: &Value) -> Fault {
        if self.0.is_empty() {
            return Fault::default();
        }
        let text = body.to_string();
        let hit = |f: &Fault| f.on == on && f.times != Some(0) && f.matching.as_ref().is_none_or(|m| text.contains(m.as_str()));
        let Some(fault) = self.0.iter_mut().find(|f| hit(f)) else { return Fault::default() };
        if let Some(times) = &mut fault.times {
            *times -= 1;
        }
        fault.clone()
    }
}

impl Fault {
    /// Waits, as far as the fault says so.
    pub async fn delay(&self) {
        if self.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.delay_ms)).await;
        }
    }

    /// Goes wrong: the answer to give instead of the right one, or an error that cuts the connection.
    pub async fn answer(&self) -> io::Result<Option<Answer>> {
        if self.hang {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        if self.cut {
            return Err(io::Error::other("cut"));
        }
        let Some(status) = self.status.or(self.code.map(|_| 400)) else { return Ok(None) };
        let body = match self.code {
            Some(code) => graph_error(code, "as requested"),
            None => json!("misbehaving as requested"),
        };
        let mut answer = json_answer(status, &body);
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert("retry-after", seconds.into());
        }
        Ok(Some(answer))
    }
}

pub(super) fn graph_error(code: i64, details: &str) -> Value {
    json!({"error": {"message": format!("(#{code}) sandbox error"), "type": "OAuthException", "code": code,
        "error_data": {"messaging_product": "whatsapp", "details": details}, "fbtrace_id": "sandbox"}})
}
