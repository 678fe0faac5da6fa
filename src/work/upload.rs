//! Upload: stored files are given to WhatsApp, once for each number, before the first message that needs them.

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::Row;
use tracing::warn;

use super::Tokens;
use crate::{
    bus::{Task, Work},
    db::Db,
    media::Store,
    model::Credential,
    whatsapp::{self, Failure, Graph, Verdict},
};

/// The loop.
pub struct Upload {
    /// Where files go.
    pub graph: Graph,
    /// Where they lie.
    pub store: Store,
    /// What numbers send with.
    pub tokens: Tokens,
}

/// A file to hand over.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Job {
    name: Option<String>,
    file_name: Option<String>,
    mime_type: Option<String>,
    /// Handed over already.
    media_id: Option<String>,
    credential: Option<Credential>,
}

impl Upload {
    async fn hand_over(&self, task: &Task, job: &Job) -> Result<String, Failure> {
        if let Some(id) = &job.media_id {
            return Ok(id.clone());
        }
        let name = job.name.as_deref().ok_or_else(|| Failure::refused("media", "the file is not stored any more"))?;
        // Without a token the messages wait, as texts do.
        let token = self.tokens.of(job.credential.as_ref()).map_err(Failure::unreachable)?;
        whatsapp::check_id(&task.lane)?;
        let unreadable = |e: anyhow::Error| Failure::unreachable(format!("the store cannot be read: {e:#}"));
        let (size, bytes) =
            self.store.get(name).await.map_err(unreadable)?.ok_or_else(|| Failure::refused("media", "the file is not in the store any more"))?;
        // What is text of any kind WhatsApp knows as plain text only.
        let mime_type = job.mime_type.as_deref().unwrap_or("application/octet-stream");
        let mime_type = if mime_type.starts_with("text/") { "text/plain" } else { mime_type };
        self.graph.upload(&task.lane, &token, mime_type, job.file_name.as_deref().unwrap_or("file"), size, bytes).await
    }
}

impl Work for Upload {
    const QUEUE: &'static str = "upload";
    const CLAIM: &'static str = "select * from bus.claim_upload($1, $2, $3, $4)";
    const CONCURRENCY: usize = 8;
    const BATCH: usize = 8;

    type Job = Job;
    type Done = Value;

    fn read(&self, row: &Row) -> anyhow::Result<Job> {
        Ok(serde_json::from_value(super::payload(row)?)?)
    }

    async fn run(&self, task: Task, job: Job) -> Value {
        let mut outcome = match self.hand_over(&task, &job).await {
            Ok(id) => json!({"media_id": id}),
            Err(failure) => {
                warn!(organization_id = %task.organization_id, number = %task.lane, error = %failure.text, attempt = task.attempt, "file not handed over");
                match failure.verdict {
                    Verdict::Permanent => json!({"outcome": "dead", "error": failure.text, "refusal": failure.error}),
                    Verdict::Retry(after) | Verdict::Wait(after) => {
                        json!({"outcome": "retry", "after": after.map(|d| d.as_secs_f64()), "error": failure.text, "refusal": failure.error})
                    }
                    // To hand it over twice does no harm.
                    Verdict::Unknown(_) | Verdict::Pause => json!({"outcome": "retry", "error": failure.text, "refusal": failure.error}),
                }
            }
        };
        // Where it went: the task's own lane is empty.
        outcome["lane"] = json!(task.lane);
        outcome
    }

    async fn finish(&self, db: &Db, batch: &[(Task, Value)]) -> anyhow::Result<()> {
        super::finish(db, "select bus.finish_upload($1)", batch).await
    }

    fn broken(&self, error: String) -> Value {
        super::retry(&error)
    }
}
