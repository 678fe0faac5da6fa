//! Agent: conversations that wait for an answer get one.

use std::time::Duration;

use chrono::Utc;
use metrics::counter;
use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};
use tokio_postgres::Row;
use tracing::{debug, info, warn};

use crate::{
    agent::{Context, Endpoint, Failure, Keys, Prompt, endpoint, protocol::chat_completions},
    bus::{Task, Work},
    db::Db,
    model::Sealer,
    outbound::{self, Guarded},
    whatsapp,
};

/// How long a model may take to answer.
const TIMEOUT: Duration = Duration::from_secs(90);
/// More than any answer that could be sent on.
const ANSWER: usize = 2 * 1024 * 1024;
/// What the customer is told, where the organization wants him to be told anything.
const APOLOGY: &str = "Sorry, I cannot answer right now. Please try again later.";

/// The loop.
pub struct Agent {
    trusted: reqwest::Client,
    guarded: Guarded,
    sealer: Sealer,
    keys: Keys,
}

/// A conversation to answer, or why not to.
pub enum Job {
    /// The agent keeps quiet.
    Quiet(String),
    /// It answers.
    Answer(Box<Context>),
}

impl Agent {
    /// `allow`: networks that agents' URLs may reach besides public ones.
    pub fn new(sealer: Sealer, keys: Keys, allow: Vec<ipnet::IpNet>) -> anyhow::Result<Self> {
        Ok(Self { trusted: outbound::trusted(TIMEOUT)?, guarded: Guarded::new(TIMEOUT, allow)?, sealer, keys })
    }

    /// The model's answer to a conversation, with whether memory is to go; `None` when there is nothing to answer.
    async fn answer(&self, context: &Context) -> Result<Option<(String, bool)>, Failure> {
        let Some(prompt) = context.prompt(Utc::now()) else { return Ok(None) };
        if let Some(protocol) = context.agent.text("protocol").filter(|p| *p != "chat_completions") {
            return Err(Failure::Hopeless(format!(
                "the agent {} has the protocol {protocol}; chat_completions is the one there is",
                context.agent.name
            )));
        }
        let own_key = context.credential.as_ref().map(|c| self.sealer.open(c)).transpose().map_err(|e| Failure::Hopeless(e.to_string()))?;
        let endpoint = endpoint(&context.agent, own_key, &self.keys).map_err(Failure::Hopeless)?;
        let text = self.ask(&endpoint, context, &prompt).await?;
        Ok((!text.is_empty()).then_some((text, prompt.forget)))
    }

    async fn ask(&self, endpoint: &Endpoint, context: &Context, prompt: &Prompt) -> Result<String, Failure> {
        let url = format!("{}/chat/completions", endpoint.base);
        let mut request = if endpoint.trusted { self.trusted.post(url) } else { self.guarded.post(&url).map_err(Failure::Hopeless)? };
        if let Some(key) = &endpoint.key {
            request = request.bearer_auth(key);
        }
        let away = |text: String| Failure::Later(None, format!("the model could not be asked: {text}"));
        let response = request.json(&chat_completions::request(endpoint, &context.agent, prompt)).send().await;
        let response =
            response.map_err(|e| if outbound::is_refused(&e) { Failure::Hopeless(outbound::describe(&e)) } else { away(outbound::describe(&e)) })?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
        let body = outbound::read(response, ANSWER).await.map_err(away)?;
        chat_completions::response(status, retry_after, &body)
    }
}

impl Work for Agent {
    const QUEUE: &'static str = "agent";
    const CLAIM: &'static str = "select * from bus.claim_agent($1, $2, $3, $4)";
    const CONCURRENCY: usize = 256;
    const BATCH: usize = 16;
    const HEARTBEAT: Duration = Duration::from_secs(2);

    type Job = Job;
    type Done = Value;

    fn read(&self, row: &Row) -> anyhow::Result<Job> {
        let payload = super::payload(row)?;
        if let Some(error) = payload["error"].as_str() {
            anyhow::bail!("no context: {error}");
        }
        Ok(match payload["gate"].as_str() {
            Some(gate) => Job::Quiet(gate.to_owned()),
            None => Job::Answer(Box::new(serde_json::from_value(payload)?)),
        })
    }

    async fn run(&self, task: Task, job: Job) -> Value {
        let context = match job {
            Job::Quiet(reason) => {
                debug!(conversation_id = %task.key, organization_id = %task.organization_id, reason, "no answer");
                counter!("tidings_answers_total", "outcome" => "quiet").increment(1);
                return json!({});
            }
            Job::Answer(context) => context,
        };
        let answer = tokio::select! {
            answer = self.answer(&context) => answer,
            () = task.outdated.cancelled() => {
                counter!("tidings_answers_total", "outcome" => "outdated").increment(1);
                return json!({"outcome": "retry", "after": 0.0, "error": "interrupted"});
            }
        };
        let (conversation_id, organization_id, agent_id) = (context.conversation.id, context.organization.id, context.agent.id);
        let (name, outcome) = match answer {
            Ok(None) => ("nothing", json!({})),
            Ok(Some((text, forget))) => {
                info!(%conversation_id, %organization_id, %agent_id, "answered");
                ("answered", json!({"agent_id": agent_id, "answer": contents(&text), "forget": forget}))
            }
            Err(Failure::Later(after, text)) => {
                warn!(%conversation_id, %organization_id, %agent_id, error = text, attempt = task.attempt, "the model is away");
                ("later", json!({"outcome": "retry", "after": after, "error": text}))
            }
            Err(Failure::Hopeless(text)) => {
                warn!(%conversation_id, %organization_id, %agent_id, error = text, "no answer possible");
                let mut outcome = json!({"outcome": "dead", "agent_id": agent_id, "error": text});
                if context.organization.text("error_messages_direction") == Some("outgoing") {
                    outcome["apology"] = contents(APOLOGY);
                }
                ("failed", outcome)
            }
        };
        counter!("tidings_answers_total", "outcome" => name).increment(1);
        outcome
    }

    async fn finish(&self, db: &Db, batch: &[(Task, Value)]) -> anyhow::Result<()> {
        super::finish(db, "select bus.finish_agent($1)", batch).await
    }

    fn broken(&self, error: String) -> Value {
        super::retry(&error)
    }
}

/// An answer as rows: one message, or several where it is longer than one takes.
fn contents(text: &str) -> Value {
    whatsapp::split(text).into_iter().map(|part| json!({"version": "1", "type": "text", "kind": "text", "text": part})).collect()
}
