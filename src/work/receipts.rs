//! Receipts: read receipts and typing indicators that rows ask for.

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::Row;
use tracing::debug;

use super::Tokens;
use crate::{
    bus::{Task, Work},
    db::Db,
    model::{Credential, Sealer},
    whatsapp::{Graph, Verdict},
};

/// The loop.
pub struct Receipts {
    graph: Graph,
    tokens: Tokens,
}

/// A message that was read.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Job {
    external_id: Option<String>,
    service: Option<String>,
    typing: bool,
    credential: Option<Credential>,
}

impl Receipts {
    /// `fallback`: the token of numbers that have none.
    pub fn new(graph: Graph, sealer: Sealer, fallback: Option<String>) -> Self {
        Self { graph, tokens: Tokens { sealer, fallback } }
    }
}

impl Work for Receipts {
    const QUEUE: &'static str = "receipts";
    const CLAIM: &'static str = "select * from bus.claim_receipts($1, $2, $3, $4)";
    const CONCURRENCY: usize = 32;
    const BATCH: usize = 32;

    type Job = Job;
    type Done = Value;

    fn read(&self, row: &Row) -> anyhow::Result<Job> {
        Ok(serde_json::from_value(super::payload(row)?)?)
    }

    async fn run(&self, task: Task, job: Job) -> Value {
        let (Some(id), Some("whatsapp")) = (&job.external_id, job.service.as_deref()) else { return json!({}) };
        let token = match self.tokens.of(job.credential.as_ref()) {
            Ok(token) => token,
            Err(error) => return json!({"outcome": "dead", "error": error}),
        };
        match self.graph.mark_read(&task.lane, &token, id, job.typing).await {
            Ok(()) => json!({}),
            Err(failure) => {
                debug!(task = task.id, organization_id = %task.organization_id, error = %failure.text, "no read receipt");
                match failure.verdict {
                    // Repeating it does no harm, unlike a message.
                    Verdict::Retry(after) | Verdict::Wait(after) => {
                        json!({"outcome": "retry", "after": after.map(|d| d.as_secs_f64()), "error": failure.text})
                    }
                    Verdict::Unknown(_) => super::retry(&failure.text),
                    Verdict::Pause | Verdict::Permanent => json!({"outcome": "dead", "error": failure.text}),
                }
            }
        }
    }

    async fn finish(&self, db: &Db, batch: &[(Task, Value)]) -> anyhow::Result<()> {
        super::finish(db, "select bus.finish($1)", batch).await
    }

    fn broken(&self, error: String) -> Value {
        super::retry(&error)
    }
}
