//! Dispatch: outgoing rows go to the Graph API, at most once each.

use std::time::Instant;

use metrics::counter;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::Row;
use tracing::{info, warn};

use super::Tokens;
use crate::{
    bus::{Task, Work},
    db::Db,
    model::{Credential, Sealer, now},
    whatsapp::{self, Failure, Graph, Message, Verdict},
};

/// The loop.
pub struct Dispatch {
    graph: Graph,
    tokens: Tokens,
}

/// A message to send.
#[derive(Deserialize)]
pub struct Job {
    #[serde(flatten)]
    message: Message,
    service: String,
    credential: Option<Credential>,
}

impl Dispatch {
    /// `fallback`: the token of numbers that have none.
    pub fn new(graph: Graph, sealer: Sealer, fallback: Option<String>) -> Self {
        Self { graph, tokens: Tokens { sealer, fallback } }
    }

    async fn send(&self, task: &Task, job: &Job) -> Result<Value, Failure> {
        if job.service != "whatsapp" {
            return Err(Failure::refused("unsupported", format!("there is no channel for the service {}", job.service)));
        }
        let content = &job.message.content;
        if content["type"] == "text" && content["kind"] == "text" {
            let text = content["text"].as_str().unwrap_or_default();
            let parts = whatsapp::split(text);
            if parts.len() > 1 || parts.iter().any(|part| part != text) {
                return Ok(json!({"outcome": "split", "parts": parts}));
            }
        }
        let body = whatsapp::request(&job.message)?;
        let token = self.tokens.of(job.credential.as_ref()).map_err(|text| Failure {
            verdict: Verdict::Pause,
            error: json!({"code": "no_token", "title": "Not sent", "message": text}),
            text,
        })?;
        let accepted = self.graph.send(&task.lane, &token, &body).await?;
        let mut status = json!({ accepted.state: now() });
        if task.attempt > 1 {
            // What earlier attempts left behind.
            status["errors"] = Value::Null;
        }
        Ok(json!({"outcome": "accepted", "external_id": accepted.external_id, "status": status}))
    }
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
        let id = job.message.message_id;
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
