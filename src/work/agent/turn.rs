//! A turn of the model: the prompt from the history, and the rows from its reply.

use std::{collections::HashMap, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{sync::SemaphorePermit, time::timeout};

use super::Agent;
use crate::agent::{
    Call, Context, Endpoint, Failure, History, Part, Prompt, Reply, Role, Turn, answer, budget, endpoint, harmless,
    tools::{self, Effect, Toolbox},
};

/// How often a model is asked for one answer, where the agent does not say.
const STEPS: usize = 10;
/// How many calls of one reply are made; a model that asks for more has lost its way.
const CALLS: usize = 32;
/// How long a run waits for the leave to hold files in memory before it goes on without them: others' models may be slow.
const LEAVE: Duration = Duration::from_secs(5);
/// How many files a model gets to read itself.
const FILES: usize = 5;

impl Agent {
    /// Asks the model once.
    pub(super) async fn ask_model(&self, context: &Context) -> Result<Value, Failure> {
        let history = context.history();
        let (forget, reply_to, seen) = (history.forget, history.reply_to.clone(), history.seen.clone());
        if !history.open {
            return Ok(json!({"forget": forget}));
        }
        let steps = context.agent.count("max_turns").unwrap_or(STEPS);
        if history.steps > steps {
            return Err(Failure::Hopeless(format!("the model called tools {steps} times without an answer (max_turns)")));
        }
        let endpoint = endpoint(&context.agent, self.own_key(context)?, &self.keys).map_err(Failure::Hopeless)?;
        // Who has asked often enough, or has handed over, may only answer.
        let answers_only = history.steps == steps || context.last_words || context.no_tools;
        let toolbox = if answers_only { Toolbox::default() } else { self.toolbox(context).await };
        let (prompt, permit) = self.prompt(context, history, &endpoint, &toolbox, usize::MAX).await;
        let mut put: usize = prompt.turns.iter().map(budget::tokens).sum();
        let mut reply = self.models.ask(&endpoint, prompt).await;
        drop(permit);
        for _ in 0..4 {
            let Err(Failure::TooLong(_)) = reply else { break };
            // Half of what was too much.
            let (prompt, _permit) = self.prompt(context, context.history(), &endpoint, &toolbox, put / 2).await;
            put = prompt.turns.iter().map(budget::tokens).sum();
            reply = self.models.ask(&endpoint, prompt).await;
        }
        let mut outcome = outcome(&reply?, &toolbox, reply_to.as_deref(), &endpoint);
        outcome["forget"] = json!(forget);
        outcome["seen"] = json!(seen);
        Ok(outcome)
    }

    async fn toolbox(&self, context: &Context) -> Toolbox {
        let tools = tools::configured(context.agent.extra.as_ref(), &|path| self.secret(context, path));
        let mut listed = HashMap::new();
        for config in tools.iter().filter(|t| t["type"] == "mcp") {
            let label = config["label"].as_str().unwrap_or("mcp");
            listed.insert(label.to_owned(), self.servers.list(&self.web, context.agent.id, label, &config["config"]).await);
        }
        Toolbox::new(&tools, &listed)
    }

    /// What is put to the model, with at most so many tokens of conversation, and the leave to hold its files in memory.
    async fn prompt(
        &self,
        context: &Context,
        history: History,
        endpoint: &Endpoint,
        toolbox: &Toolbox,
        most: usize,
    ) -> (Prompt, Option<SemaphorePermit<'_>>) {
        let agent = &context.agent;
        let system = context.system(Timestamp::now(), &history, &toolbox.away);
        let mut tools: Vec<_> = toolbox.offered.iter().map(|o| o.tool.clone()).collect();
        tools.push(answer::tool(context.window.is_some(), &templates(context)));
        let cost = (system.len() + tools.iter().map(|t| t.description.len() + t.parameters.to_string().len()).sum::<usize>()) / 4;
        let all = agent.count("context_tokens").unwrap_or(budget::TOKENS);
        // However many tools there are, half of it is for what was said.
        let room = all.saturating_sub(cost).max(all / 2).min(most);
        let mut turns = history.turns;
        // The question stays, whatever its tools have said since.
        let question = turns.iter().rposition(|t| matches!(t, Turn::Said { role: Role::User, .. })).unwrap_or(usize::MAX);
        let excess = budget::excess(&turns, agent.count("max_messages").unwrap_or(usize::MAX), room).min(question);
        turns.drain(..excess);
        let files = history.files.into_iter().filter_map(|(at, file)| Some((at.checked_sub(excess)?, file))).collect();
        let permit = self.load(context, endpoint, &mut turns, files).await;
        let number = |key: &str| agent.setting(key).and_then(Value::as_f64);
        let thinking = agent.setting("thinking").and_then(|t| serde_json::from_value(t.clone()).ok());
        let max_tokens = agent.count("max_tokens").map(|n| n as u64);
        (Prompt { model: endpoint.model.clone(), system, turns, tools, temperature: number("temperature"), max_tokens, thinking }, permit)
    }

    /// Puts the newest files into the turns in which they came, as far as the agent wants that and the model reads them.
    async fn load(&self, context: &Context, endpoint: &Endpoint, turns: &mut [Turn], mut files: Vec<(usize, Value)>) -> Option<SemaphorePermit<'_>> {
        let megabytes = context.agent.setting("send_inline_files_up_to_size_mb").and_then(Value::as_f64);
        // Models of these providers see; of others one has to know.
        let megabytes = megabytes.unwrap_or(if matches!(endpoint.provider, "openai" | "anthropic" | "google") { 5.0 } else { 0.0 });
        let limit = (megabytes.clamp(0.0, 20.0) * 1_048_576.0) as u64;
        files.retain(|(_, f)| {
            let mime = f["mime_type"].as_str().unwrap_or_default();
            let read = matches!(mime, "image/jpeg" | "image/png" | "image/webp" | "image/gif" | "application/pdf")
                || (mime.starts_with("audio/") && endpoint.provider == "google");
            limit > 0 && read && f["size"].as_u64().is_none_or(|size| size <= limit)
        });
        if files.is_empty() {
            return None;
        }
        let permit = timeout(LEAVE, self.with_files.acquire()).await.ok()?.ok();
        for (at, file) in files.into_iter().rev().take(FILES) {
            let Ok(bytes) = self.files.read(context.organization.id, file["uri"].as_str().unwrap_or_default(), limit).await else { continue };
            if let Some(Turn::Said { parts, .. }) = turns.get_mut(at) {
                parts.push(Part::File {
                    mime_type: file["mime_type"].as_str().unwrap_or_default().to_owned(),
                    name: file["name"].as_str().map(|n| harmless(n).chars().filter(|c| !c.is_control()).take(100).collect()),
                    data: BASE64_STANDARD.encode(bytes),
                });
            }
        }
        permit
    }
}

fn templates(context: &Context) -> Vec<answer::Template> {
    let found = context.window.iter().flat_map(|w| &w.templates);
    found
        .map(|t| {
            let body =
                t["components"].as_array().and_then(|c| c.iter().find(|c| c["type"] == "BODY")).and_then(|b| b["text"].as_str()).unwrap_or_default();
            let mut parameters: Vec<String> = body.split("{{").skip(1).filter_map(|p| Some(p.split_once("}}")?.0.trim().to_owned())).collect();
            parameters.dedup();
            let string = |key: &str| t[key].as_str().unwrap_or_default().to_owned();
            answer::Template { name: string("name"), language: string("language"), body: body.to_owned(), parameters }
        })
        .collect()
}

/// What is to be stored of a reply: `answer`, `turn` (calls), `usage`.
fn outcome(reply: &Reply, toolbox: &Toolbox, reply_to: Option<&str>, endpoint: &Endpoint) -> Value {
    let (responses, others): (Vec<&Call>, Vec<&Call>) = reply.calls.iter().take(CALLS).partition(|c| c.name == "respond");
    let mut said: Vec<Value> = Vec::new();
    let mut calls: Vec<Value> = others.iter().map(|c| call(c, toolbox)).collect();
    for response in responses {
        match answer::contents(&response.object(), reply_to) {
            Ok(contents) => said.extend(contents),
            // The model learns what is wrong with it, and tries again.
            Err(error) => calls.push(json!({"id": response.id, "name": response.name, "arguments": response.arguments, "effect": Effect::Read,
                "tool": {"type": "function", "name": "respond"}, "error": error})),
        }
    }
    if reply.calls.is_empty() && !reply.text.is_empty() {
        said = answer::text(&reply.text);
    }
    let mut outcome = json!({"usage": usage(reply, endpoint)});
    if !said.is_empty() {
        outcome["answer"] = json!(said);
    }
    if !calls.is_empty() {
        // What the protocol wants back holds all calls: it goes with all of them, or not at all.
        let state = reply.state.as_ref().filter(|_| calls.len() == reply.calls.len());
        outcome["turn"] = json!({"calls": calls, "text": reply.text, "state": state});
    }
    outcome
}

pub(in crate::work) fn usage(reply: &Reply, endpoint: &Endpoint) -> Value {
    let mut usage = json!(reply.usage);
    usage["provider"] = json!(endpoint.provider);
    usage["model"] = json!(endpoint.model);
    usage["billable"] = json!(endpoint.billable);
    usage
}

/// A call as it is stored: with the tool it is of, what it may do, or why it cannot be made.
fn call(call: &Call, toolbox: &Toolbox) -> Value {
    let mut stored = json!({"id": call.id, "name": call.name, "arguments": call.arguments});
    match toolbox.find(&call.name) {
        Some(offered) => {
            stored["tool"] = offered.origin.clone();
            stored["effect"] = json!(tools::effect_of(offered, &call.arguments));
            stored["here"] = json!(offered.here);
            if !call.arguments.is_object() {
                stored["error"] = json!("the arguments are no JSON object");
            }
        }
        None => {
            let known: Vec<&str> = toolbox.offered.iter().map(|o| o.tool.name.as_str()).chain(["respond"]).collect();
            // Providers refuse a history with a name that they would not offer.
            stored["name"] = json!(tools::presentable(&call.name));
            stored["tool"] = json!({"type": "function", "name": call.name});
            stored["effect"] = json!(Effect::Read);
            stored["error"] = json!(format!("there is no tool {}; there are: {}", call.name, known.join(", ")));
        }
    }
    stored
}
