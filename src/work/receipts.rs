//! Receipts: read receipts and typing indicators that rows ask for.

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::Row;
use tracing::debug;

use super::Tokens;
use crate::{
    bus::{Task, Work},
    connector::Connectors,
    db::Db,
    instagram::{self, Instagram},
    model::Credential,
    whatsapp::{Failure, Graph, Verdict, check_id},
};

/// The loop.
pub struct Receipts {
    /// WhatsApp.
    pub graph: Graph,
    /// Instagram.
    pub instagram: Instagram,
    /// Other channels.
    pub connectors: Connectors,
    /// What numbers use.
    pub tokens: Tokens,
}

/// A message that was read.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Job {
    external_id: Option<String>,
    service: Option<String>,
    contact_address: Option<String>,
    typing: bool,
    record: Value,
    credential: Option<Credential>,
}

impl Receipts {
    async fn tell(&self, task: &Task, job: &Job, id: &str) -> Result<(), Failure> {
        let refused = |text| Failure::refused("no_token", text);
        match job.service.as_deref().unwrap_or_default() {
            "whatsapp" => {
                check_id(&task.lane)?;
                let token = self.tokens.of(job.credential.as_ref()).map_err(refused)?;
                self.graph.mark_read(&task.lane, &token, id, job.typing).await
            }
            "instagram" => {
                let token = self.tokens.own(job.credential.as_ref()).map_err(refused)?;
                let contact = job.contact_address.as_deref().unwrap_or_default();
                self.instagram.send(&task.lane, &token, &instagram::read(contact)).await?;
                if job.typing {
                    self.instagram.send(&task.lane, &token, &instagram::typing(contact)).await?;
                }
                Ok(())
            }
            service => match self.connectors.of(service) {
                Some(connector) => connector.status(&job.record).await,
                None => Ok(()),
            },
        }
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
        let Some(id) = &job.external_id else { return json!({}) };
        match self.tell(&task, &job, id).await {
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
