//! Manage: what rows of `operations` ask of Meta about numbers, templates and contacts. Every step that has an effect is
//! noted when it is done, so that a repeated operation goes on after it.

mod check;
mod draft;
mod instagram;
mod number;
mod signup;
mod template;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::Row;
use tracing::{info, warn};
use uuid::Uuid;

use super::Tokens;
use crate::{
    agent::{Keys, Models},
    bus::{Task, Work},
    config::App,
    db::Db,
    instagram::Instagram,
    media::Store,
    model::Credential,
    whatsapp::{Failure, Graph, Verdict, check_id},
};

/// The loop.
pub struct Manage {
    /// Meta.
    pub graph: Graph,
    /// Instagram, for profiles.
    pub instagram: Instagram,
    /// For the examples of templates.
    pub store: Store,
    /// What numbers use.
    pub tokens: Tokens,
    /// Where steps are noted.
    pub db: Db,
    /// The Meta apps, for signups and uploads.
    pub apps: Vec<App>,
    /// The Instagram apps, and where their logins get tokens.
    pub instagram_apps: Vec<App>,
    /// `INSTAGRAM_LOGIN_URL`.
    pub instagram_login: String,
    /// For drafts: the models' addresses and keys.
    pub models: Models,
    /// Keys of providers for agents that have none.
    pub keys: Keys,
}

/// An operation.
#[derive(Deserialize)]
pub struct Job {
    id: Uuid,
    organization_id: Uuid,
    organization_address: Option<String>,
    kind: String,
    created_at: DateTime<Utc>,
    input: Value,
    steps: Value,
    #[serde(default)]
    number: Value,
    credential: Option<Credential>,
    #[serde(default)]
    secrets: Option<HashMap<String, Credential>>,
    pin: Option<Credential>,
    #[serde(default)]
    template: Value,
    #[serde(default)]
    agent: Value,
    agent_credential: Option<Credential>,
}

type Outcome = Result<Value, Failure>;

impl Job {
    fn address(&self) -> Result<&str, Failure> {
        let address = self.organization_address.as_deref().ok_or_else(|| Failure::refused("input", "operations.organization_address is missing"))?;
        check_id(address)?;
        // Without a row there is no right: the system user's token would open any number to anyone.
        if self.number.is_object() { Ok(address) } else { Err(Failure::refused("forbidden", "the organization has no such number")) }
    }

    /// The business account of the number.
    fn waba(&self) -> Result<&str, Failure> {
        let waba = self.number["extra"]["waba_id"].as_str().filter(|w| !w.is_empty());
        let waba = waba.ok_or_else(|| Failure::refused("input", "the number has no waba_id in organizations_addresses.extra"))?;
        check_id(waba)?;
        Ok(waba)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.input[key].as_str().filter(|s| !s.is_empty())
    }

    fn require(&self, key: &str) -> Result<&str, Failure> {
        self.text(key).ok_or_else(|| Failure::refused("input", format!("operations.input.{key} is missing")))
    }

    fn done(&self, step: &str) -> bool {
        self.steps[step].is_object()
    }
}

impl Manage {
    async fn operate(&self, job: &Job) -> Outcome {
        match job.kind.as_str() {
            "signup" => self.signup(job).await,
            "deregister" => self.deregister(job).await,
            "check" => self.check(job).await,
            "refresh" => self.refresh(job).await,
            "profile" | "settings" => self.change(job).await,
            "sync_phone" => self.sync_phone(job).await,
            "templates" => self.list_templates(job).await,
            "template_submit" => self.submit_template(job).await,
            "template_edit" => self.edit_template(job).await,
            "template_delete" => self.delete_template(job).await,
            "template_draft" => self.draft_template(job).await,
            "block" | "unblock" => self.block(job).await,
            "login" => self.login(job).await,
            "login_refresh" => self.refresh_login(job).await,
            "contact_profile" => self.contact_profile(job).await,
            kind => Err(Failure::refused("input", format!("there is no operation {kind}"))),
        }
    }

    /// The number's token.
    fn token(&self, job: &Job) -> Result<String, Failure> {
        self.tokens.of(job.credential.as_ref()).map_err(|text| Failure::refused("no_token", text))
    }

    async fn step(&self, job: &Job, step: &str, value: &Value) -> Result<(), Failure> {
        self.run_sql("select bus.step($1, $2, $3, $4)", &[&job.organization_id, &job.id, &step, value]).await.map(drop)
    }

    /// A statement on the way. A database that is away is a reason to come back.
    async fn run_sql(&self, sql: &str, parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        self.db.query(sql, parameters).await.map_err(|e| match crate::db::refusal(&e) {
            Some(refusal) if !refusal.code().code().starts_with(['4', '5']) => Failure::refused("database", refusal.message()),
            _ => Failure::unreachable(format!("the database: {e:#}")),
        })
    }
}

impl Work for Manage {
    const QUEUE: &'static str = "manage";
    const CLAIM: &'static str = "select * from bus.claim_manage($1, $2, $3, $4)";
    const CONCURRENCY: usize = 16;
    const BATCH: usize = 16;

    type Job = Option<Job>;
    type Done = Value;

    fn read(&self, row: &Row) -> anyhow::Result<Self::Job> {
        // Finished already, or gone.
        Ok(match super::payload(row)? {
            Value::Null => None,
            payload => Some(serde_json::from_value(payload)?),
        })
    }

    async fn run(&self, task: Task, job: Self::Job) -> Value {
        let Some(job) = job else { return json!({}) };
        let mut outcome = match self.operate(&job).await {
            Ok(output) => {
                info!(operation_id = %job.id, organization_id = %job.organization_id, kind = job.kind, "done");
                json!({"output": output})
            }
            Err(failure) => {
                warn!(operation_id = %job.id, organization_id = %job.organization_id, kind = job.kind, attempt = task.attempt, error = %failure.text, "failed");
                failed(&failure)
            }
        };
        outcome["operation_id"] = json!(job.id);
        outcome
    }

    async fn finish(&self, db: &Db, batch: &[(Task, Value)]) -> anyhow::Result<()> {
        super::finish(db, "select bus.finish_manage($1)", batch).await
    }

    fn broken(&self, error: String) -> Value {
        super::retry(&error)
    }
}

/// Operations can be repeated, so whatever may pass is tried again.
fn failed(failure: &Failure) -> Value {
    let mut error = failure.error.clone();
    if let Some((status, body)) = &failure.answer {
        error["status"] = json!(status);
        error["cause"] = body.clone();
    }
    match failure.verdict {
        Verdict::Permanent | Verdict::Pause => json!({"outcome": "dead", "error": failure.text, "failure": error}),
        Verdict::Retry(after) | Verdict::Wait(after) => {
            json!({"outcome": "retry", "after": after.map(|d| d.as_secs_f64()), "error": failure.text, "failure": error})
        }
        Verdict::Unknown(_) => json!({"outcome": "retry", "error": failure.text, "failure": error}),
    }
}
