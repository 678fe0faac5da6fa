//! An MCP server, `POST /mcp/{name}`: Streamable HTTP without sessions, every answer plain JSON. Every name has the same
//! tools; calls of `note` are remembered.

use std::{collections::HashMap, io, time::Duration};

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{ALLOW, HeaderValue},
    http::request::Parts,
};
use serde_json::{Value, json};

use super::web::Hit;
use crate::sandbox::{Answer, Sandbox, json_answer, media::whole};

/// Tools on one page of the list.
const PAGE: usize = 4;
/// How long the text of `big` is.
const BIG: usize = 200_000;
/// A picture of one pixel.
const PICTURE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;

impl Sandbox {
    /// What the tool `note` was given, in order.
    pub fn noted(&self) -> Vec<String> {
        self.lock().model.noted.clone()
    }

    pub(super) async fn serve_tools(&self, name: &str, parts: &Parts, query: &HashMap<String, String>, bytes: &Bytes) -> io::Result<Answer> {
        let hit = Hit::new(parts, query, bytes);
        self.keep_hit(&hit);
        if parts.method != "POST" {
            let mut answer = Response::new(whole(Bytes::new()));
            *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return Ok(answer);
        }
        self.under_faults("mcp", &hit.body, async { Ok(self.tool_server(name, parts, &hit.body).await) }).await
    }

    async fn tool_server(&self, name: &str, parts: &Parts, request: &Value) -> Answer {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !header("content-type").starts_with("application/json") {
            return failure(415, &Value::Null, -32000, "Unsupported Media Type: Content-Type must be application/json");
        }
        if !["application/json", "text/event-stream"].iter().all(|kind| header("accept").contains(kind)) {
            return failure(406, &Value::Null, -32000, "Not Acceptable: Client must accept both application/json and text/event-stream");
        }
        let (id, method, params) = (&request["id"], request["method"].as_str(), &request["params"]);
        let (true, Some(method)) = (request["jsonrpc"] == "2.0", method) else {
            return failure(400, id, INVALID_REQUEST, "Invalid Request: one JSON-RPC message, no batch");
        };
        if id.is_null() {
            let mut answer = Response::new(whole(Bytes::new()));
            *answer.status_mut() = StatusCode::ACCEPTED;
            return answer;
        }
        let result = match method {
            "initialize" => initialize(name, params),
            "ping" => Ok(json!({})),
            "tools/list" => list(params),
            "tools/call" => self.call(params).await,
            other => Err((METHOD_NOT_FOUND, format!("Method not found: {other}"))),
        };
        match result {
            Ok(result) => json_answer(200, &json!({"jsonrpc": "2.0", "id": id, "result": result})),
            Err((code, message)) => failure(200, id, code, &message),
        }
    }

    /// A tool at work. What is wrong with its arguments is for the model to read: an error of the tool's.
    async fn call(&self, params: &Value) -> Reply {
        let arguments = &params["arguments"];
        let text = |text: &str| json!({"content": [{"type": "text", "text": text}], "isError": false});
        let wrong = |text: &str| json!({"content": [{"type": "text", "text": text}], "isError": true});
        Ok(match params["name"].as_str().unwrap_or_default() {
            "add" => match (arguments["a"].as_f64(), arguments["b"].as_f64()) {
                (Some(a), Some(b)) => {
                    let sum = a + b;
                    let sum = json!({"sum": if sum.fract() == 0.0 { json!(sum as i64) } else { json!(sum) }});
                    json!({"content": [{"type": "text", "text": sum.to_string()}], "structuredContent": sum, "isError": false})
                }
                _ => wrong("a and b must be numbers"),
            },
            "note" => match arguments["text"].as_str() {
                Some(note) => {
                    self.lock().model.noted.push(note.to_owned());
                    text("noted")
                }
                None => wrong("text must be a string"),
            },
            "fail" => wrong("it failed, as it always does"),
            "picture" => json!({"content": [{"type": "image", "data": PICTURE, "mimeType": "image/png"}], "isError": false}),
            "big" => text(&"big ".repeat(BIG / 4)),
            "slow" => {
                tokio::time::sleep(Duration::from_millis(arguments["ms"].as_u64().unwrap_or(1000))).await;
                text("at last")
            }
            other => return Err((INVALID_PARAMS, format!("Unknown tool: {other}"))),
        })
    }
}

/// A result, or a code and a message.
type Reply = Result<Value, (i64, String)>;

/// Whatever version the client speaks, this server does, too.
fn initialize(name: &str, params: &Value) -> Reply {
    if !params["protocolVersion"].is_string() || !params["clientInfo"]["name"].is_string() || !params["capabilities"].is_object() {
        return Err((INVALID_PARAMS, "protocolVersion, capabilities and clientInfo are required".to_owned()));
    }
    Ok(json!({"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {"listChanged": false}},
        "serverInfo": {"name": format!("sandbox-{name}"), "version": "1.0.0"}, "instructions": "Tools to develop and test against."}))
}

fn list(params: &Value) -> Reply {
    let tools = tools();
    let start = match params["cursor"].as_str().map(str::parse::<usize>) {
        None => 0,
        Some(Ok(start)) if start < tools.len() => start,
        Some(_) => return Err((INVALID_PARAMS, "Invalid cursor".to_owned())),
    };
    let end = tools.len().min(start + PAGE);
    let mut page = json!({"tools": tools[start..end]});
    if end < tools.len() {
        page["nextCursor"] = json!(end.to_string());
    }
    Ok(page)
}

fn tools() -> Vec<Value> {
    let tool = |name: &str, about: &str, properties: Value, reads: bool| {
        let required: Vec<&String> = properties.as_object().into_iter().flat_map(serde_json::Map::keys).collect();
        let schema = json!({"type": "object", "properties": properties, "required": required});
        json!({"name": name, "description": about, "inputSchema": schema, "annotations": {"readOnlyHint": reads}})
    };
    let mut add = tool("add", "Adds two numbers.", json!({"a": {"type": "number"}, "b": {"type": "number"}}), true);
    add["outputSchema"] = json!({"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]});
    vec![
        add,
        tool("note", "Writes something down.", json!({"text": {"type": "string"}}), false),
        tool("fail", "Fails.", json!({}), true),
        tool("picture", "Draws a picture.", json!({}), true),
        tool("big", "Says a lot.", json!({}), true),
        tool("slow", "Takes its time.", json!({"ms": {"type": "integer"}}), true),
    ]
}

fn failure(status: u16, id: &Value, code: i64, message: &str) -> Answer {
    json_answer(status, &json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}))
}
