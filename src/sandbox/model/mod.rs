//! A model that repeats what it was told, or says what a [script](Turn) has for it, in the protocols of five APIs. They
//! check requests as their originals do: a malformed history is an error here, too. Beside it, what its tools reach: an
//! MCP server and a few web pages.

mod a2a;
mod api;
mod chat_completions;
mod generate_content;
mod mcp;
mod messages;
mod responses;
mod script;
#[cfg(test)]
mod tests;
mod understand;
mod web;

use std::{
    collections::HashMap,
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use hyper::{Method, http::request::Parts};
use serde_json::{Value, json};

use api::{Api, Asked, Checked, Refusal, Usage};
pub use script::{ToolCall, Turn};

use super::{Answer, Fault, Sandbox, json_answer};

/// What the model was told and what its tools did. Behind the sandbox's mutex.
#[derive(Default)]
pub(super) struct Model {
    script: script::Script,
    /// When it was asked and when it answered what, in microseconds since 1970.
    thoughts: Vec<Value>,
    /// Files that it was to understand.
    understood: Vec<Value>,
    /// Requests to the web pages and the MCP server.
    hits: Vec<Value>,
    /// What the tool `note` was given.
    noted: Vec<String>,
    /// A2A's, by id.
    tasks: HashMap<String, a2a::Task>,
}

impl Model {
    /// Forgets what was recorded; what is to come stays.
    pub fn forget(&mut self) {
        self.thoughts.clear();
        self.understood.clear();
        self.hits.clear();
        self.noted.clear();
    }
}

/// How the model takes a request.
enum Thought {
    Answers(Turn),
    Refuses(Refusal),
    /// A fault's answer.
    Misbehaves(Answer),
}

impl Sandbox {
    /// What belongs to the model and its tools.
    pub(super) async fn route_model(&self, parts: &Parts, segments: &[&str], token: &str, bytes: &Bytes) -> Option<io::Result<Answer>> {
        let query: HashMap<String, String> = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let headers = &parts.headers;
        let asked = |model| Asked::new(serde_json::from_slice(bytes).unwrap_or_default(), model, token, headers, &query);
        Some(match (parts.method.as_str(), segments) {
            ("POST", [.., "chat", "completions"]) => self.ask::<chat_completions::ChatCompletions>(&asked("")).await,
            ("POST", [.., "responses"]) => self.ask::<responses::Responses>(&asked("")).await,
            ("POST", ["anthropic", .., "messages"] | [.., "v1", "messages"]) => self.ask::<messages::Messages>(&asked("")).await,
            ("POST", [.., "models", call]) if call.ends_with(":generateContent") => {
                self.ask::<generate_content::GenerateContent>(&asked(call.trim_end_matches(":generateContent"))).await
            }
            ("POST", [.., "audio", "transcriptions"]) => self.transcribe(&asked(""), bytes).await,
            ("POST", ["a2a", _]) => self.converse(&asked("")).await,
            (_, ["mcp", name]) => self.serve_tools(name, parts, &query, bytes).await,
            (_, ["web", page @ ..]) => self.serve_page(page, parts, &query, bytes).await,
            (_, ["sandbox", name @ ("script" | "understood" | "noted" | "hits")]) => return self.tell_of_model(&parts.method, name, bytes).map(Ok),
            _ => return None,
        })
    }

    /// The sandbox's own paths.
    fn tell_of_model(&self, method: &Method, name: &str, bytes: &Bytes) -> Option<Answer> {
        let body = match (method.as_str(), name) {
            ("POST", "script") => {
                let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
                match serde_json::from_value(if value.is_array() { value } else { json!([value]) }) {
                    Ok(turns) => self.script(turns),
                    Err(error) => return Some(json_answer(400, &json!({"error": {"message": error.to_string()}}))),
                }
                json!({})
            }
            ("DELETE", "script") => {
                self.lock().model.script.clear();
                json!({})
            }
            ("GET", "script") => json!(self.scripted()),
            ("GET", "understood") => json!(self.understood()),
            ("GET", "noted") => json!(self.noted()),
            ("GET", "hits") => json!(self.hits()),
            _ => return None,
        };
        Some(json_answer(200, &body))
    }

    async fn ask<A: Api>(&self, asked: &Asked<'_>) -> io::Result<Answer> {
        let checked = self.admit::<A>(asked);
        if let Some(understanding) = A::understanding(&asked.body) {
            return self.understand::<A>(asked, checked, &understanding).await;
        }
        Ok(match self.think(asked, checked, || A::heard(&asked.body).echo()).await? {
            Thought::Answers(turn) => json_answer(200, &A::answer(asked, &turn, Usage::new(asked, &turn))),
            Thought::Refuses(refusal) => json_answer(refusal.status, &A::error(&refusal)),
            Thought::Misbehaves(answer) => answer,
        })
    }

    /// Whether the API takes a request at all.
    fn admit<A: Api>(&self, asked: &Asked) -> Checked {
        let (key, most) = {
            let settings = &self.lock().settings;
            (settings.model_key.clone(), settings.context_tokens)
        };
        let given = A::key(asked);
        if !key.is_empty() && given != key {
            return Err(A::keyless(given.is_empty()));
        }
        A::check(asked)?;
        let tokens = Usage::tokens(&asked.text);
        if most > 0 && tokens > most { Err(A::too_long(tokens, most)) } else { Ok(()) }
    }

    /// Records a request and thinks about it: what the script has, or an echo.
    async fn think(&self, asked: &Asked<'_>, checked: Checked, echo: impl FnOnce() -> Turn) -> io::Result<Thought> {
        let asked_us = micros();
        let (fault, thought, pause) = {
            let mut state = self.lock();
            let state = &mut *state;
            if state.settings.keep {
                state.asked.push(asked.body.clone());
            }
            let fault = state.faults.strike("model", &asked.body);
            let turn = match checked {
                Err(refusal) => Err(refusal),
                // What was scripted is for the request that gets an answer.
                Ok(()) if silences(&fault) => Ok(Turn::default()),
                Ok(()) => Ok(state.model.script.take(&asked.text).unwrap_or_else(echo)),
            };
            let usual = state.settings.think_ms;
            let pause = turn.as_ref().map_or(usual, |turn| if turn.push { 0 } else { turn.think_ms.unwrap_or(usual) });
            (fault, turn.map_or_else(Thought::Refuses, thought), pause)
        };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        fault.delay().await;
        if let Thought::Answers(turn) = &thought {
            let mut state = self.lock();
            if state.settings.keep {
                state.model.thoughts.push(json!({"asked_us": asked_us, "answered_us": micros(), "text": turn.text}));
            }
        }
        Ok(fault.answer().await?.map_or(thought, Thought::Misbehaves))
    }

    /// When the model was asked and when it answered what: `{asked_us, answered_us, text}`.
    pub fn thoughts(&self) -> Vec<Value> {
        self.lock().model.thoughts.clone()
    }
}

fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

/// Whether a fault leaves no room for an answer.
fn silences(fault: &Fault) -> bool {
    fault.hang || fault.cut || fault.status.is_some() || fault.code.is_some()
}

fn thought(turn: Turn) -> Thought {
    match turn.status {
        Some(status) => Thought::Refuses(Refusal::new(status, turn.message.unwrap_or_else(|| "failing as scripted".to_owned()))),
        None => Thought::Answers(turn),
    }
}
