//! Intake: journal entries become rows.

use serde_json::Value;
use tokio_postgres::Row;

use crate::{
    bus::{Task, Work},
    db::Db,
    whatsapp,
};

/// The loop.
pub struct Intake;

impl Work for Intake {
    const QUEUE: &'static str = "intake";
    const CLAIM: &'static str = "select * from bus.claim_intake($1, $2, $3, $4)";
    const CONCURRENCY: usize = 256;
    const BATCH: usize = 128;

    type Job = Option<Vec<u8>>;
    /// The events of an entry, or why there are none.
    type Done = Result<Vec<Value>, String>;

    fn read(&self, row: &Row) -> anyhow::Result<Self::Job> {
        Ok(row.try_get("payload")?)
    }

    async fn run(&self, task: Task, body: Self::Job) -> Self::Done {
        let body = body.ok_or("its journal entry is gone")?;
        let journal = task.key.parse().map_err(|_| "its key is no journal entry".to_owned())?;
        Ok(whatsapp::events(journal, &body))
    }

    async fn finish(&self, db: &Db, batch: &[(Task, Self::Done)]) -> anyhow::Result<()> {
        let results: Value = batch
            .iter()
            .map(|(task, done)| match done {
                Ok(_) => task.reference(),
                Err(error) => task.result(super::retry(error)),
            })
            .collect();
        let events: Value = batch.iter().filter_map(|(_, done)| done.as_ref().ok()).flatten().cloned().collect();
        db.query("select bus.finish_intake($1, $2)", &[&results, &events]).await.map(drop)
    }

    fn broken(&self, error: String) -> Self::Done {
        Err(error)
    }
}
