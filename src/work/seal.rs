//! Seal: credentials that triggers took out of rows are encrypted.

use serde_json::{Value, json};
use tokio_postgres::Row;

use crate::{
    bus::{Task, Work},
    db::Db,
    model::{Credential, Sealer},
};

/// The loop.
pub struct Seal(pub Sealer);

impl Work for Seal {
    const QUEUE: &'static str = "seal";
    const CLAIM: &'static str = "select * from bus.claim_seal($1, $2, $3, $4)";
    const CONCURRENCY: usize = 64;
    const BATCH: usize = 64;

    type Job = Option<Credential>;
    type Done = Value;

    fn read(&self, row: &Row) -> anyhow::Result<Self::Job> {
        let payload = super::payload(row)?;
        // Nothing left to seal: it was changed or deleted meanwhile.
        if payload["plain"].is_null() { Ok(None) } else { Ok(serde_json::from_value(payload)?) }
    }

    async fn run(&self, _task: Task, job: Self::Job) -> Value {
        let Some(credential) = job else { return json!({}) };
        let plain = credential.plain.clone().unwrap_or_default();
        match self.0.seal(&credential, &plain) {
            Ok(sealed) => json!({
                "subject": credential.subject, "subject_key": credential.subject_key, "path": credential.path,
                "plain": plain, "sealed": sealed,
            }),
            Err(error) => super::retry(&error.to_string()),
        }
    }

    async fn finish(&self, db: &Db, batch: &[(Task, Value)]) -> anyhow::Result<()> {
        super::finish(db, "select bus.finish_seal($1)", batch).await
    }

    fn broken(&self, error: String) -> Value {
        super::retry(&error)
    }
}
