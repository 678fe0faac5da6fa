//! Agent: conversations that wait for an answer get one, a step at a time. A step asks a model once, or makes the calls
//! that it asked for; its end is stored before the next begins, so a run that is killed goes on where it was.

mod calls;
mod remote;
mod servers;
mod turn;

use std::time::Duration;

use metrics::counter;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_postgres::Row;
use tracing::{debug, info, warn};

use super::files::Files;
use crate::{
    agent::{Context, Failure, Keys, Models, answer},
    bus::{Task, Work},
    db::Db,
    media::Links,
    model::Sealer,
    outbound::Guarded,
};
use servers::Servers;
pub(super) use turn::usage;

/// What the customer is told, where the organization wants him to be told anything.
const APOLOGY: &str = "Sorry, I cannot answer right now. Please try again later.";
/// How long a tool of a tenant's may take for a call.
const TOOL: Duration = Duration::from_secs(60);
/// How many runs may hold files in memory at once.
const WITH_FILES: usize = 8;

/// The loop.
pub struct Agent {
    models: Models,
    /// For tools.
    web: Guarded,
    allow: Vec<ipnet::IpNet>,
    servers: Servers,
    files: Files,
    links: Links,
    sealer: Sealer,
    keys: Keys,
    with_files: Semaphore,
}

/// A step to take, or why not to.
pub enum Job {
    /// The agent keeps quiet.
    Quiet(String),
    /// It asks its model, or makes calls.
    Step(Box<Context>),
}

impl Agent {
    /// `allow`: networks that agents' URLs may reach besides public ones.
    pub fn new(sealer: Sealer, keys: Keys, models: Models, files: Files, links: Links, allow: Vec<ipnet::IpNet>) -> anyhow::Result<Self> {
        Ok(Self {
            models,
            web: Guarded::new(TOOL, allow.clone())?,
            allow,
            servers: Servers::default(),
            files,
            links,
            sealer,
            keys,
            with_files: Semaphore::new(WITH_FILES),
        })
    }

    /// A secret of the agent's settings.
    fn secret(&self, context: &Context, path: &str) -> Option<String> {
        let credential = context.credentials.as_ref()?.get(path)?;
        self.sealer.open(credential).inspect_err(|error| warn!(agent_id = %context.agent.id, path, %error, "a secret cannot be opened")).ok()
    }

    /// The agent's own key. One that is there and cannot be read is no reason to use another's.
    fn own_key(&self, context: &Context) -> Result<Option<String>, Failure> {
        let credential = context.credentials.as_ref().and_then(|c| c.get("api_key"));
        credential.map(|c| self.sealer.open(c)).transpose().map_err(|error| Failure::Hopeless(format!("the agent's api_key cannot be read: {error}")))
    }

    /// What came of asking, for `bus.finish_agent`.
    fn outcome(&self, task: &Task, context: &Context, result: Result<Value, Failure>) -> Value {
        let (conversation_id, organization_id, agent_id) = (context.conversation.id, context.organization.id, context.agent.id);
        let (name, mut outcome) = match result {
            Ok(outcome) if outcome["answer"].is_array() => {
                info!(%conversation_id, %organization_id, %agent_id, "answered");
                ("answered", outcome)
            }
            Ok(outcome) if outcome["turn"].is_object() => ("called", outcome),
            Ok(outcome) => ("nothing", outcome),
            Err(Failure::Later(after, text)) => {
                warn!(%conversation_id, %organization_id, %agent_id, error = text, attempt = task.attempt, "the model is away");
                ("later", json!({"outcome": "retry", "after": after, "error": text}))
            }
            Err(Failure::Hopeless(text) | Failure::TooLong(text)) => {
                warn!(%conversation_id, %organization_id, %agent_id, error = text, "no answer possible");
                let mut outcome = json!({"outcome": "dead", "error": text});
                if context.organization.text("error_messages_direction") == Some("outgoing") {
                    outcome["apology"] = Value::Array(answer::text(APOLOGY));
                }
                ("failed", outcome)
            }
        };
        outcome["agent_id"] = json!(agent_id);
        counter!("tidings_answers_total", "outcome" => name).increment(1);
        outcome
    }
}

impl Work for Agent {
    const QUEUE: &'static str = "agent";
    const CLAIM: &'static str = "select * from bus.claim_agent($1, $2, $3, $4)";
    // Nearly all of them wait for a model: what bounds them is the memory that their conversations take.
    const CONCURRENCY: usize = 4096;
    const BATCH: usize = 64;
    const HEARTBEAT: Duration = Duration::from_secs(2);
    const WATCHES: bool = true;

    type Job = Job;
    type Done = Value;

    fn read(&self, row: &Row) -> anyhow::Result<Job> {
        let payload = super::payload(row)?;
        if let Some(error) = payload["error"].as_str() {
            anyhow::bail!("no context: {error}");
        }
        Ok(match payload["gate"].as_str() {
            Some(gate) => Job::Quiet(gate.to_owned()),
            None => Job::Step(Box::new(serde_json::from_value(payload)?)),
        })
    }

    async fn run(&self, task: Task, job: Job) -> Value {
        let context = match job {
            Job::Quiet(reason) => {
                debug!(conversation_id = %task.key, organization_id = %task.organization_id, reason, "no answer");
                counter!("tidings_answers_total", "outcome" => "quiet").increment(1);
                return json!({});
            }
            Job::Step(context) => context,
        };
        if !context.calls.is_empty() {
            return self.make_calls(&task, &context).await;
        }
        let asked =
            async { if context.agent.text("protocol") == Some("a2a") { self.ask_agent(&context).await } else { self.ask_model(&context).await } };
        tokio::select! {
            result = asked => self.outcome(&task, &context, result),
            () = task.outdated.cancelled() => {
                counter!("tidings_answers_total", "outcome" => "outdated").increment(1);
                json!({"outcome": "again"})
            }
        }
    }

    async fn finish(&self, db: &Db, batch: &[(Task, Value)]) -> anyhow::Result<()> {
        super::finish(db, "select bus.finish_agent($1)", batch).await
    }

    fn broken(&self, error: String) -> Value {
        super::retry(&error)
    }
}
