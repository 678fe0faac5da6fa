//! Tool calls: what reads is made together, what may change something alone. Whatever comes of one is a result, also an
//! error: the model decides what to make of it.

use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::Agent;
use crate::{
    agent::{
        Context,
        context::OpenCall,
        shorten,
        tools::{self, calculator, calendar, http, mcp, sql},
    },
    bus::Task,
};

/// The largest file that a tool reads: what bulkInsert loads.
const FILE: u64 = 20 * 1024 * 1024;
/// How many calls are made at once.
const TOGETHER: usize = 8;
/// The most bytes of a result that are kept.
const RESULT: usize = 64 * 1024;

impl Agent {
    /// Makes the calls of a step.
    pub(super) async fn make_calls(&self, task: &Task, context: &Context) -> Value {
        let configured = tools::configured(context.agent.extra.as_ref(), &|path| self.secret(context, path));
        // A few at a time: each may hold a file.
        let mut outcomes = Vec::new();
        for some in context.calls.chunks(TOGETHER) {
            outcomes.extend(join_all(some.iter().map(|call| self.make(task, context, &configured, call))).await);
        }
        let (mut results, mut unstarted) = (Vec::new(), Vec::new());
        for (call, outcome) in context.calls.iter().zip(outcomes) {
            match outcome {
                Some(Ok(result)) => results.push(json!({"message_id": call.message_id, "result": result})),
                Some(Err(error)) => results.push(json!({"message_id": call.message_id, "result": error, "is_error": true})),
                None => unstarted.push(call.message_id),
            }
        }
        json!({"agent_id": context.agent.id, "results": results, "unstarted": unstarted})
    }

    /// One call; None when it was not begun, or does no harm when it is made again.
    async fn make(&self, task: &Task, context: &Context, configured: &[Value], call: &OpenCall) -> Option<Result<Value, String>> {
        if task.outdated.is_cancelled() {
            return None;
        }
        let tool = call.tool["offered"].as_str().unwrap_or_default();
        let made = self.call(context, configured, call);
        let result = if call.tool["effect"] == "read" {
            tokio::select! {
                result = made => result,
                () = task.outdated.cancelled() => return None,
            }
        } else {
            // Begun, it goes on to its end, wanted or not: otherwise nobody would know whether it had its effect.
            made.await
        };
        let (conversation_id, organization_id) = (context.conversation.id, context.organization.id);
        match &result {
            Ok(_) => info!(%conversation_id, %organization_id, tool, "called"),
            Err(_) => warn!(%conversation_id, %organization_id, tool, "a call failed"),
        }
        Some(result.map(bounded).map_err(|error| shorten(&error, RESULT)))
    }

    async fn call(&self, context: &Context, configured: &[Value], call: &OpenCall) -> Result<Value, String> {
        let (kind, label, name) = (&call.tool["type"], &call.tool["label"], call.tool["name"].as_str().unwrap_or_default());
        if kind == "function" {
            return self.function(context, name, &call.arguments).await;
        }
        let config = configured.iter().find(|t| &t["type"] == kind && (&t["label"] == label || (t["label"].is_null() && label == kind)));
        let config = config.map(|t| t["config"].clone()).ok_or("this tool is not configured any more")?;
        // Not in serde's words: they quote what they do not like, and that may be a secret.
        let unreadable = |_: serde_json::Error| "the tool's configuration cannot be read".to_owned();
        match kind.as_str().unwrap_or_default() {
            "http" => http::run(&self.web, &serde_json::from_value(config).map_err(unreadable)?, &call.arguments).await,
            "sql" => self.sql(context, call, &serde_json::from_value(config).map_err(unreadable)?, name).await,
            "mcp" => {
                let label = label.as_str().unwrap_or_default();
                let config = serde_json::from_value(config).map_err(unreadable)?;
                let output = mcp::call(&self.web, label, &config, name, &call.arguments).await?;
                self.mcp(context, call, output).await
            }
            other => Err(format!("there are no tools of type {other}")),
        }
    }

    async fn function(&self, context: &Context, name: &str, arguments: &Value) -> Result<Value, String> {
        match name {
            "calculator" => {
                let expression = arguments["expression"].as_str().ok_or("expression: give one as a string")?.to_owned();
                // It may think for a fifth of a second.
                let result = tokio::task::spawn_blocking(move || calculator::evaluate(&expression)).await;
                result.map_err(|_| "the expression could not be computed".to_owned())?.map(|result| json!({"result": result}))
            }
            "calendar" => {
                let zone = context.zone();
                calendar::run(arguments, Timestamp::now(), zone.iana_name().unwrap_or("UTC"))
            }
            other => Err(format!("there is no function {other}")),
        }
    }

    async fn sql(&self, context: &Context, call: &OpenCall, config: &sql::SqlConfig, name: &str) -> Result<Value, String> {
        let csv = match call.arguments["file_uri"].as_str() {
            Some(uri) => Some(self.files.read(context.organization.id, uri, FILE).await?),
            None => None,
        };
        let output = sql::run(&sql::Reach { allow: &self.allow, web: &self.web }, config, name, &call.arguments, csv).await?;
        let mut data = output.data;
        if let Some((file_name, bytes)) = output.file {
            data["file_uri"] = json!(self.keep(context, call, &file_name, "text/csv", bytes).await?);
        }
        Ok(data)
    }

    /// What an MCP server answered. Its files are kept, and sent to nobody unless the model decides so.
    async fn mcp(&self, context: &Context, call: &OpenCall, output: mcp::McpOutput) -> Result<Value, String> {
        let mut parts = Vec::new();
        for part in output.content {
            parts.push(match part {
                mcp::McpPart::Data(data) => data,
                mcp::McpPart::Text(text) => Value::String(text),
                mcp::McpPart::Link { uri, name, mime_type } => json!({"uri": uri, "name": name, "mime_type": mime_type}),
                mcp::McpPart::File { name, mime_type, bytes } => {
                    let name = name.unwrap_or_else(|| "file".to_owned());
                    json!({"file_uri": self.keep(context, call, &name, &mime_type, bytes).await?, "mime_type": mime_type})
                }
            });
        }
        let result = if parts.len() == 1 { parts.remove(0) } else { Value::Array(parts) };
        match (output.is_error, result) {
            (false, result) => Ok(result),
            (true, Value::String(text)) => Err(text),
            (true, other) => Err(other.to_string()),
        }
    }

    async fn keep(&self, context: &Context, call: &OpenCall, name: &str, mime_type: &str, bytes: Vec<u8>) -> Result<String, String> {
        let kept = self.files.keep(context.organization.id, call.message_id, name, mime_type, bytes).await;
        kept.map_err(|error| format!("the file could not be stored: {error:#}"))
    }
}

/// A result that can be kept and read: what is longer becomes a text that ends early and says so.
fn bounded(result: Value) -> Value {
    let text = result.as_str().map_or_else(|| result.to_string(), str::to_owned);
    if text.len() <= RESULT {
        return result;
    }
    Value::String(shorten(&text, RESULT))
}
