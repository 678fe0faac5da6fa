//! The loops. Each file is one: claim (a SQL function), do (here), finish (a SQL function).

mod agent;
mod dispatch;
mod files;
mod intake;
mod manage;
mod media;
mod preprocess;
mod receipts;
mod seal;
mod summarise;
mod sweep;
mod upload;

pub use agent::Agent;
pub use dispatch::Dispatch;
pub use files::Files;
pub use intake::Intake;
pub use manage::Manage;
pub use media::Media;
pub use preprocess::Preprocess;
pub use receipts::Receipts;
pub use seal::Seal;
pub use summarise::Summarise;
pub use sweep::Sweep;
pub use upload::Upload;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_postgres::Row;

use crate::{
    bus::Task,
    db::Db,
    model::{Credential, Sealer, without_nul},
};

/// The tokens that numbers use: their own, or the system user's. Clones are the same.
#[derive(Clone)]
pub struct Tokens {
    /// Opens credentials.
    pub sealer: Arc<Sealer>,
    /// The system user's token.
    pub fallback: Option<String>,
}

impl Tokens {
    fn own(&self, credential: Option<&Credential>) -> Result<String, String> {
        match credential {
            Some(credential) => self.sealer.open(credential).map_err(|e| e.to_string()),
            None => Err("the account has no access token".to_owned()),
        }
    }

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
    let results: Value = batch.iter().map(|(task, outcome)| without_nul(task.result(bounded(outcome.clone())))).collect();
    db.query(sql, &[&results]).await.map(drop)
}

/// An outcome whose next attempt is within a day: what others say of the time to wait is not to be trusted further.
fn bounded(mut outcome: Value) -> Value {
    if let Some(after) = outcome["after"].as_f64() {
        outcome["after"] = json!(after.clamp(0.0, 86_400.0));
    }
    outcome
}

fn retry(error: &str) -> Value {
    json!({"outcome": "retry", "error": error})
}
