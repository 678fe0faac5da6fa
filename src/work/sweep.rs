//! Sweep: files whose last reference is gone leave the store.

use serde_json::{Value, json};
use tokio_postgres::Row;

use crate::{
    bus::{Task, Work},
    db::Db,
    media::Store,
};

/// The loop.
pub struct Sweep(pub Store);

impl Work for Sweep {
    const QUEUE: &'static str = "sweep";
    const CLAIM: &'static str = "select * from bus.claim_sweep($1, $2, $3, $4)";
    const CONCURRENCY: usize = 8;
    const BATCH: usize = 32;

    type Job = Option<String>;
    type Done = Value;

    fn read(&self, row: &Row) -> anyhow::Result<Self::Job> {
        Ok(super::payload(row)?["name"].as_str().map(str::to_owned))
    }

    async fn run(&self, _task: Task, name: Self::Job) -> Value {
        let Some(name) = name else { return json!({}) };
        match self.0.delete(&name).await {
            Ok(()) => json!({}),
            Err(error) => super::retry(&format!("{error:#}")),
        }
    }

    async fn finish(&self, db: &Db, batch: &[(Task, Value)]) -> anyhow::Result<()> {
        super::finish(db, "select bus.finish($1)", batch).await
    }

    fn broken(&self, error: String) -> Value {
        super::retry(&error)
    }
}
