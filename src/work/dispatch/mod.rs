//! Dispatch: outgoing rows go to their channel, at most once each.

mod connector;
mod instagram;
mod whatsapp;

use std::time::Instant;

use metrics::counter;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::Row;
use tracing::{info, warn};
use uuid::Uuid;

use super::Tokens;
use crate::{
    bus::{Task, Work},
    connector::Connectors,
    db::Db,
    instagram::Instagram,
    media::Links,
    model::{Credential, now},
    whatsapp::{Failure, Graph, Message, Verdict},
};

/// The loop.
pub struct Dispatch {
    /// WhatsApp.
    pub graph: Graph,
    /// Instagram.
    pub instagram: Instagram,
    /// Other channels.
    pub connectors: Connectors,
    /// Addresses for stored files, for channels that fetch them.
    pub links: Links,
    /// What numbers send with.
    pub tokens: Tokens,
}

/// A message to send.
#[derive(Deserialize)]
pub struct Job {
    #[serde(flatten)]
    message: Message,
    service: String,
    #[serde(default)]
    bsuid: Option<String>,
    /// The whole row, for channels other than WhatsApp.
    #[serde(default)]
    record: Value,
    credential: Option<Credential>,
}

impl Dispatch {
    async fn send(&self, task: &Task, job: &Job) -> Result<Value, Failure> {
        match job.service.as_str() {
            "whatsapp" => self.to_whatsapp(task, job).await,
            "instagram" => self.to_instagram(task, job).await,
            service => self.to_connector(task, service, job).await,
        }
    }

    /// The number's token. Without one nothing goes out over it until somebody has given it one.
    fn token(&self, credential: Option<&Credential>, fallback: bool) -> Result<String, Failure> {
        let token = if fallback { self.tokens.of(credential) } else { self.tokens.own(credential) };
        token.map_err(|text| Failure {
            verdict: Verdict::Pause,
            error: json!({"code": "no_token", "title": "Not sent", "message": text}),
            text,
            answer: None,
        })
    }

    /// Where others can fetch a stored file for an hour; none for one that is not stored here.
    fn link(&self, task: &Task, content: &Value) -> Option<String> {
        let name = content["file"]["uri"].as_str()?.strip_prefix("internal://media/")?;
        name.starts_with(&format!("organizations/{}/", task.organization_id)).then(|| self.links.sign(name))
    }
}

/// What was taken on. `status` grows by `state`, and what earlier attempts left behind goes.
fn accepted(task: &Task, external_id: Option<&str>, state: &str) -> Value {
    let mut status = json!({ state: now() });
    if task.attempt > 1 {
        status["errors"] = Value::Null;
    }
    json!({"outcome": "accepted", "external_id": external_id, "status": status})
}

impl Work for Dispatch {
    const QUEUE: &'static str = "dispatch";
    const CLAIM: &'static str = "select * from bus.claim_dispatch($1, $2, $3, $4)";
    const CONCURRENCY: usize = 256;
    const BATCH: usize = 128;

    type Job = Job;
    type Done = Value;

    fn read(&self, row: &Row) -> anyhow::Result<Job> {
        Ok(serde_json::from_value(super::payload(row)?)?)
    }

    async fn run(&self, task: Task, job: Job) -> Value {
        let began = Instant::now();
        let id: Uuid = job.message.message_id;
        let mut outcome = match self.send(&task, &job).await {
            Ok(done) => done,
            Err(failure) => {
                warn!(message_id = %id, organization_id = %task.organization_id, number = %task.lane, attempt = task.attempt, error = %failure.text, "not sent");
                unsent(&failure)
            }
        };
        outcome["message_id"] = json!(id);
        outcome["age"] = json!(began.elapsed().as_secs_f64());
        let name = outcome["outcome"].as_str().unwrap_or_default().to_owned();
        if name == "accepted" {
            info!(message_id = %id, organization_id = %task.organization_id, external_id = outcome["external_id"].as_str(), "sent");
        }
        counter!("tidings_sends_total", "outcome" => name).increment(1);
        outcome
    }

    async fn finish(&self, db: &Db, batch: &[(Task, Value)]) -> anyhow::Result<()> {
        super::finish(db, "select bus.finish_dispatch($1)", batch).await
    }

    fn broken(&self, error: String) -> Value {
        // Whether it had been sent by then is anyone's guess.
        json!({"outcome": "unknown", "error": error})
    }
}

/// What `bus.finish_unsent` makes of a failure.
fn unsent(failure: &Failure) -> Value {
    let errors = json!([failure.error]);
    let seconds = |d: Option<std::time::Duration>| d.map(|d| d.as_secs_f64());
    let mut outcome = json!({"error": failure.text, "status": {"errors": errors}});
    let (name, holds) = match failure.verdict {
        Verdict::Permanent => {
            outcome["status"]["failed"] = json!(now());
            ("failed", false)
        }
        Verdict::Retry(after) => {
            outcome["after"] = json!(seconds(after));
            ("retry", false)
        }
        Verdict::Wait(after) => {
            outcome["lane_after"] = json!(seconds(after));
            ("wait", true)
        }
        Verdict::Unknown(rest) => ("unknown", rest),
        Verdict::Pause => {
            outcome["lane_reason"] = json!(failure.text);
            ("wait", true)
        }
    };
    outcome["outcome"] = json!(name);
    outcome["holds"] = json!(holds);
    outcome
}
