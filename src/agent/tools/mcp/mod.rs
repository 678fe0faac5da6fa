//! Tools of MCP servers: what a server offers, and one call of one of its tools. Each takes a session of its own over
//! Streamable HTTP (MCP revisions 2025-03-26 to 2026-07-28), with bounds on time and on what the server may send.

mod meter;
mod output;
mod visit;
mod wire;

use std::time::Duration;

use rmcp::{
    model::{CallToolRequestParams, CallToolResponse, PaginatedRequestParams},
    service::ServiceError,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

pub use self::output::{McpOutput, McpPart};
use self::visit::{Session, Visit, close};
use super::http::headers;
use crate::outbound::Guarded;

/// For a session that lists tools, and for one that calls a tool.
const LIST: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(60);

/// Pages that are read and tools that are taken at most.
const PAGES: usize = 10;
const TOOLS: usize = 200;

/// The configuration of a `mcp` tool: `{"url", "headers"?: {…}, "allowed_tools"?: […]}`.
#[derive(Clone, Deserialize)]
pub struct McpConfig {
    /// The server's endpoint.
    pub url: String,
    /// Sent with every request. May hold secrets.
    #[serde(default, deserialize_with = "headers")]
    pub headers: Vec<(String, String)>,
    /// Names, as the server has them; empty for all.
    #[serde(default, deserialize_with = "names")]
    pub allowed_tools: Vec<String>,
}

fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(from)?.unwrap_or_default())
}

impl McpConfig {
    fn allows(&self, tool: &str) -> bool {
        self.allowed_tools.is_empty() || self.allowed_tools.iter().any(|name| name == tool)
    }
}

/// A tool that a server offers. Made to be kept: the list need not be asked for on every run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct McpTool {
    /// As the server has it; of any form.
    pub name: String,
    /// Empty where the server gives none.
    pub description: String,
    /// JSON Schema of the arguments; an object's.
    pub parameters: Value,
    /// Whether the server says that a call changes nothing. It may be wrong.
    pub read_only: bool,
}

/// The tools that the server offers and the configuration allows, 200 at most, in the server's order. `label` is the
/// tool's in the agent's configuration. Takes 30 seconds at most; the error names the server by its label.
pub async fn list(web: &Guarded, label: &str, config: &McpConfig) -> Result<Vec<McpTool>, String> {
    let visit = Visit::new(web, label, config, LIST)?;
    let session = visit.open().await?;
    let result = visit.within(tools(&session, config)).await;
    close(session).await;
    result
}

/// Calls a tool, by the server's name of it, with an object of arguments. What the server says of its own failure is an
/// output with `is_error`; the error is for where there is no output. Takes 60 seconds at most.
pub async fn call(web: &Guarded, label: &str, config: &McpConfig, tool: &str, arguments: &Value) -> Result<McpOutput, String> {
    if !config.allows(tool) {
        return Err(format!("{tool} is not among the allowed tools of {label}"));
    }
    let arguments = match arguments {
        Value::Null => Map::new(),
        Value::Object(arguments) => arguments.clone(),
        _ => return Err(format!("the arguments of {tool} have to be an object")),
    };
    let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
    let visit = Visit::new(web, label, config, CALL)?;
    let session = visit.open().await?;
    let result = visit.within(respond(&session, config, params)).await;
    close(session).await;
    match result? {
        CallToolResponse::Complete(result) => Ok(output::collect(result)),
        // Nobody is there to be asked, and nobody comes back later.
        CallToolResponse::InputRequired(_) => Err(visit.failed("asks for more than the arguments, which nobody can give here")),
        _ => Err(visit.failed("answered with a task to wait for instead of a result")),
    }
}

async fn respond(session: &Session, config: &McpConfig, params: CallToolRequestParams) -> Result<CallToolResponse, ServiceError> {
    // From 2026-07-28 on, some arguments travel in headers too; the transport learns which from the list.
    if session.peer_info().is_some_and(|server| !server.protocol_version.has_initialize()) {
        tools(session, config).await?;
    }
    session.call_tool_once(params).await
}

async fn tools(session: &Session, config: &McpConfig) -> Result<Vec<McpTool>, ServiceError> {
    let mut tools: Vec<McpTool> = Vec::new();
    let mut cursor = None;
    for _ in 0..PAGES {
        let page = session.list_tools(Some(PaginatedRequestParams::default().with_cursor(cursor))).await?;
        for tool in page.tools {
            if tools.len() < TOOLS && config.allows(&tool.name) && !tools.iter().any(|t| t.name == tool.name) {
                tools.push(McpTool::from(tool));
            }
        }
        cursor = page.next_cursor.filter(|c| !c.is_empty());
        if cursor.is_none() || tools.len() == TOOLS {
            break;
        }
    }
    Ok(tools)
}

impl From<rmcp::model::Tool> for McpTool {
    fn from(tool: rmcp::model::Tool) -> Self {
        let mut parameters = Value::Object((*tool.input_schema).clone());
        // It has to be there, and providers insist on it.
        if parameters["type"].is_null() {
            parameters["type"] = "object".into();
        }
        McpTool {
            name: tool.name.into_owned(),
            description: tool.description.map(|d| d.into_owned()).unwrap_or_default(),
            parameters,
            read_only: tool.annotations.and_then(|a| a.read_only_hint).unwrap_or(false),
        }
    }
}

#[cfg(test)]
mod tests;
