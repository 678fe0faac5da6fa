//! The loops. Each file is one: claim (a SQL function), do (here), finish (a SQL function).

mod agent;
mod dispatch;
mod intake;
mod receipts;
mod seal;

pub use agent::Agent;
pub use dispatch::Dispatch;
pub use intake::Intake;
pub use receipts::Receipts;
pub use seal::Seal;

use serde_json::{Value, json};
use tokio_postgres::Row;

use crate::{
    bus::Task,
    db::Db,
    model::{Credential, Sealer, without_nul},
};

/// The token a number sends with: its own, or the system user's.
struct Tokens {
    sealer: Sealer,
    fallback: Option<String>,
}

impl Tokens {
    fn of(&self, credential: Option<&Credential>) -> Result<String, String> {
        match credential {
            Some(credential) => self.sealer.open(credential).map_err(|e| e.to_string()),
            None => self.fallback.clone().ok_or_else(|| "the number has no access token, and META_SYSTEM_USER_ACCESS_TOKEN is not set".to_owned()),
        }
    }
}

fn payload(row: &Row) -> anyhow::Result<Value> {
    Ok(row.try_get::<_, Option<Value>>("payload")?.unwrap_or_default())
}

/// Hands a batch of outcomes to a finish function that takes them as one JSON array.
async fn finish(db: &Db, sql: &str, batch: &[(Task, Value)]) -> anyhow::Result<()> {
    let results: Value = batch.iter().map(|(task, outcome)| without_nul(task.result(outcome.clone()))).collect();
    db.query(sql, &[&results]).await.map(drop)
}

fn retry(error: &str) -> Value {
    json!({"outcome": "retry", "error": error})
}
