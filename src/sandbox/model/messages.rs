//! Anthropic's Messages: `POST …/v1/messages`. What it refuses is worded as Anthropic words it.

use serde_json::{Value, json};

use super::{
    Turn,
    api::{Api, Asked, Checked, Heard, Refusal, Usage, id, items, plain, refuse, unknown},
    understand::size,
};

pub(super) struct Messages;

/// What the signatures of thoughts begin with.
const SIGNATURE: &str = "sandbox-";

const KNOWN: &str = "cache_control container context_management inference_geo max_tokens mcp_servers messages metadata model output_config \
    output_format service_tier speed stop_sequences stream system temperature thinking tool_choice tools top_k top_p";

impl Api for Messages {
    const NAME: &'static str = "messages";

    fn key<'a>(asked: &'a Asked) -> &'a str {
        asked.header("x-api-key")
    }

    fn check(asked: &Asked) -> Checked {
        let body = &asked.body;
        if asked.header("anthropic-version").is_empty() {
            return refuse("anthropic-version: header is required");
        }
        check_settings(body)?;
        for (at, tool) in items(&body["tools"]).iter().enumerate() {
            check_tool(tool, at)?;
        }
        check_messages(items(&body["messages"]), body["thinking"]["type"] == "enabled")
    }

    fn heard(body: &Value) -> Heard {
        let mut heard = Heard::default();
        for message in items(&body["messages"]) {
            if message["role"] == "assistant" {
                heard = Heard::default();
                continue;
            }
            message["content"].as_str().into_iter().for_each(|text| heard.text(text));
            for block in items(&message["content"]) {
                match block["type"].as_str() {
                    Some("text") => heard.text(block["text"].as_str().unwrap_or_default()),
                    Some("tool_result") => heard.result(if block["content"].is_array() { &block["content"][0]["text"] } else { &block["content"] }),
                    Some("image") => heard.file("image/"),
                    _ => heard.file(""),
                }
            }
        }
        heard
    }

    fn answer(asked: &Asked, turn: &Turn, usage: Usage) -> Value {
        let mut content = Vec::new();
        if ["enabled", "adaptive"].iter().any(|kind| asked.body["thinking"]["type"] == *kind) {
            content.push(json!({"type": "thinking", "thinking": "Hm.", "signature": id(SIGNATURE)}));
        }
        if !turn.text().is_empty() {
            content.push(json!({"type": "text", "text": turn.text()}));
        }
        content.extend(turn.calls.iter().map(|call| json!({"type": "tool_use", "id": id("toolu_"), "name": call.name, "input": call.object()})));
        let stop = match turn.finish.as_deref() {
            None if turn.calls.is_empty() => "end_turn",
            None => "tool_use",
            Some("length") => "max_tokens",
            Some("content_filter") => "refusal",
            Some(word) => word,
        };
        json!({"id": id("msg_"), "type": "message", "role": "assistant", "model": asked.body["model"], "content": content,
            "stop_reason": stop, "stop_sequence": null,
            "usage": {"input_tokens": usage.input, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                "output_tokens": usage.output, "service_tier": "standard"}})
    }

    fn error(refusal: &Refusal) -> Value {
        let kind = match refusal.status {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            504 => "timeout_error",
            529 => "overloaded_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        };
        json!({"type": "error", "error": {"type": kind, "message": refusal.message}, "request_id": id("req_")})
    }

    fn too_long(tokens: usize, most: usize) -> Refusal {
        Refusal::new(400, format!("prompt is too long: {tokens} tokens > {most} maximum"))
    }

    fn keyless(missing: bool) -> Refusal {
        Refusal::new(401, if missing { "x-api-key header is required" } else { "invalid x-api-key" })
    }
}

fn check_settings(body: &Value) -> Checked {
    if body["stream"] == true {
        return refuse("stream: the sandbox does not stream");
    }
    if let Some(name) = ["model", "max_tokens", "messages"].iter().find(|name| body[**name].is_null()) {
        return refuse(format!("{name}: Field required"));
    }
    if let Some(name) = unknown(body, KNOWN) {
        return refuse(format!("{name}: Extra inputs are not permitted"));
    }
    let Some(most) = body["max_tokens"].as_u64().filter(|most| *most > 0) else {
        return refuse("max_tokens: Input should be greater than or equal to 1");
    };
    let temperature = &body["temperature"];
    if !temperature.is_null() && temperature.as_f64().is_none_or(|t| !(0.0..=1.0).contains(&t)) {
        return refuse("temperature: range: 0..1");
    }
    if !body["tool_choice"].is_null() && items(&body["tools"]).is_empty() {
        return refuse("tool_choice: tools must be provided when tool_choice is given");
    }
    if items(&body["system"]).iter().any(|block| block["text"].as_str().is_none_or(str::is_empty)) {
        return refuse("system: text content blocks must be non-empty");
    }
    match body["thinking"]["type"].as_str() {
        Some("enabled") => check_thinking(body, most),
        Some("adaptive" | "disabled") => Ok(()),
        _ if body["thinking"].is_null() => Ok(()),
        _ => refuse("thinking: Input tag does not match any of the expected tags: 'adaptive', 'disabled', 'enabled'"),
    }
}

fn check_thinking(body: &Value, most: u64) -> Checked {
    match body["thinking"]["budget_tokens"].as_u64() {
        None => return refuse("thinking.enabled.budget_tokens: Field required"),
        Some(..1024) => return refuse("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"),
        Some(budget) if budget >= most => return refuse("`max_tokens` must be greater than `thinking.budget_tokens`."),
        Some(_) => {}
    }
    if body["temperature"].as_f64().is_some_and(|temperature| temperature < 1.0) {
        return refuse("`temperature` may only be set to 1 when thinking is enabled.");
    }
    if ["any", "tool"].iter().any(|kind| body["tool_choice"]["type"] == *kind) {
        return refuse("Thinking may not be enabled when tool_choice forces tool use.");
    }
    Ok(())
}

fn check_tool(tool: &Value, at: usize) -> Checked {
    if !tool["name"].as_str().is_some_and(|name| plain(name) && name.len() <= 128) {
        return refuse(format!("tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"));
    }
    if !tool["input_schema"].is_object() {
        return refuse(format!("tools.{at}.custom.input_schema: Field required"));
    }
    if tool["input_schema"]["type"] != "object" {
        return refuse(format!("tools.{at}.custom.input_schema.type: Input should be 'object'"));
    }
    match unknown(tool, "name description input_schema cache_control strict type") {
        Some(name) => refuse(format!("tools.{at}.custom.{name}: Extra inputs are not permitted")),
        None => Ok(()),
    }
}

/// Roles take turns, from the user to the user; what is used has its result in the very next message.
fn check_messages(messages: &[Value], thinks: bool) -> Checked {
    if messages.is_empty() {
        return refuse("messages: at least one message is required");
    }
    let (mut last, mut used): (_, Vec<&str>) = ("assistant", Vec::new());
    for (at, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        match role {
            "user" | "assistant" => {}
            "system" => return refuse("messages: Unexpected role \"system\". The Messages API accepts a top-level `system` parameter."),
            _ => return refuse(format!("messages.{at}.role: Input should be 'user' or 'assistant'")),
        }
        if role == last {
            return refuse(match at {
                0 => "messages: first message must use the \"user\" role".to_owned(),
                _ => format!("messages: roles must alternate between \"user\" and \"assistant\", but found multiple \"{role}\" roles in a row"),
            });
        }
        if let Some(name) = unknown(message, "role content") {
            return refuse(format!("messages.{at}.{name}: Extra inputs are not permitted"));
        }
        let blocks = check_content(message, at)?;
        check_results(blocks, &used, at)?;
        used = if role == "assistant" { check_uses(blocks, at)? } else { Vec::new() };
        if thinks && role == "assistant" && !used.is_empty() && at + 2 == messages.len() {
            check_thought(&blocks[0], at)?;
        }
        last = role;
    }
    if last == "assistant" {
        return refuse("This model does not support assistant message prefill. The conversation must end with a user message.");
    }
    Ok(())
}

/// The blocks of a message's content; none when it is a plain text.
fn check_content(message: &Value, at: usize) -> Result<&[Value], Refusal> {
    let refused = |text: String| Err(Refusal::new(400, text));
    let blocks = match &message["content"] {
        Value::String(text) if !text.trim().is_empty() => return Ok(&[]),
        Value::Array(blocks) if !blocks.is_empty() => blocks,
        Value::String(_) | Value::Array(_) => return refused(format!("messages.{at}: user messages must have non-empty content")),
        _ => return refused(format!("messages.{at}.content: Input should be a valid list")),
    };
    let own = message["role"] == "assistant";
    for (n, block) in blocks.iter().enumerate() {
        let place = format!("messages.{at}.content.{n}");
        match (own, block["type"].as_str().unwrap_or_default()) {
            (_, "text") => match block["text"].as_str() {
                None => return refused(format!("{place}.text.text: Field required")),
                Some("") => return refused("messages: text content blocks must be non-empty".to_owned()),
                Some(text) if text.trim().is_empty() => return refused("messages: text content blocks must contain non-whitespace text".to_owned()),
                Some(_) => {}
            },
            (false, "image" | "document") => check_source(block, &place)?,
            (false, "tool_result") | (true, "tool_use" | "redacted_thinking") => {}
            (true, "thinking") if block["signature"].as_str().is_some_and(|signature| signature.starts_with(SIGNATURE)) => {}
            (true, "thinking") => return refused(format!("{place}: Invalid `signature` in `thinking` block")),
            (_, kind) => return refused(format!("{place}: blocks of the type '{kind}' are not allowed in a message of this role")),
        }
    }
    Ok(blocks)
}

fn check_source(block: &Value, place: &str) -> Checked {
    let (kind, source) = (block["type"].as_str().unwrap_or_default(), &block["source"]);
    let types: &[&str] = if kind == "image" { &["image/jpeg", "image/png", "image/gif", "image/webp"] } else { &["application/pdf"] };
    match source["type"].as_str() {
        Some("base64") if !types.iter().any(|known| source["media_type"] == *known) => {
            refuse(format!("{place}.{kind}.source.base64.media_type: Input should be '{}'", types.join("', '")))
        }
        Some("base64") if size(source["data"].as_str().unwrap_or_default()).is_none_or(|size| size == 0) => {
            refuse(format!("{place}.{kind}.source.base64: invalid base64 data"))
        }
        Some("text") if kind == "document" && source["media_type"] != "text/plain" => {
            refuse(format!("{place}.document.source.text.media_type: Input should be 'text/plain'"))
        }
        Some("base64" | "url" | "file" | "text" | "content") => Ok(()),
        _ => refuse(format!("{place}.{kind}.source: Field required")),
    }
}

/// The ids of what is used.
fn check_uses(blocks: &[Value], at: usize) -> Result<Vec<&str>, Refusal> {
    let mut used = Vec::new();
    for (n, block) in blocks.iter().enumerate().filter(|(_, block)| block["type"] == "tool_use") {
        let place = format!("messages.{at}.content.{n}.tool_use");
        let refused = |text: &str| Err(Refusal::new(400, format!("{place}.{text}")));
        if !block["input"].is_object() {
            return refused("input: Input should be a valid dictionary");
        }
        if !block["name"].as_str().is_some_and(plain) {
            return refused("name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'");
        }
        match block["id"].as_str().filter(|id| plain(id)) {
            Some(id) if used.contains(&id) => return refused("id: `tool_use` ids must be unique"),
            Some(id) => used.push(id),
            None => return refused("id: String should match pattern '^[a-zA-Z0-9_-]+$'"),
        }
    }
    Ok(used)
}

/// The results of what the message before used come first, one for each.
fn check_results(blocks: &[Value], used: &[&str], at: usize) -> Checked {
    let mut found: Vec<&str> = Vec::new();
    for (n, block) in blocks.iter().enumerate().filter(|(_, block)| block["type"] == "tool_result") {
        let place = format!("messages.{at}.content.{n}");
        let id = block["tool_use_id"].as_str().unwrap_or_default();
        if !used.contains(&id) {
            let rule = "Each `tool_result` block must have a corresponding `tool_use` block in the previous message.";
            return refuse(format!("{place}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. {rule}"));
        }
        if found.contains(&id) {
            let rule = "each `tool_use` must have a single result.";
            return refuse(format!("{place}: {rule} Found multiple `tool_result` blocks with id: {id}"));
        }
        if block["is_error"] == true && matches!(&block["content"], content if content.is_null() || content == "") {
            return refuse(format!("{place}.tool_result: content cannot be empty if `is_error` is true"));
        }
        // One behind something else counts as missing.
        if n == found.len() {
            found.push(id);
        }
    }
    let open: Vec<&str> = used.iter().copied().filter(|id| !found.contains(id)).collect();
    if open.is_empty() {
        return Ok(());
    }
    let rule = "Each `tool_use` block must have a corresponding `tool_result` block in the next message.";
    let text = format!("`tool_use` ids were found without `tool_result` blocks immediately after: {}. {rule}", open.join(", "));
    refuse(format!("messages.{}: {text}", at - 1))
}

/// With thinking, what used tools last begins with the thought that led to it.
fn check_thought(first: &Value, at: usize) -> Checked {
    let kind = first["type"].as_str().unwrap_or_default();
    if kind == "thinking" || kind == "redacted_thinking" {
        return Ok(());
    }
    let rule = "When `thinking` is enabled, a final `assistant` message must start with a thinking block.";
    refuse(format!("messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{kind}`. {rule}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::model::tests::refusal;

    fn with(name: &str, value: Value) -> String {
        let mut body = json!({"model": "m", "max_tokens": 2000, "messages": [{"role": "user", "content": "hi"}]});
        body[name] = value;
        refusal::<Messages>("", body).unwrap_or_default()
    }

    fn refused(messages: Value) -> String {
        with("messages", messages)
    }

    #[test]
    fn roles_take_turns() {
        let (user, assistant) = (json!({"role": "user", "content": "hi"}), json!({"role": "assistant", "content": "ho"}));
        assert_eq!(refused(json!([user, assistant, user])), "");
        assert!(refused(json!([assistant, user])).contains("first message must use"));
        assert!(refused(json!([user, user])).contains("multiple \"user\" roles in a row"));
        assert!(refused(json!([user, assistant])).contains("must end with a user message"));
        assert!(refused(json!([{"role": "system", "content": "hi"}])).contains("top-level `system`"));
        assert!(refused(json!([])).contains("at least one message"));
        for empty in [json!(""), json!([]), json!([{"type": "text", "text": ""}]), json!([{"type": "text", "text": " "}])] {
            assert_ne!(refused(json!([{"role": "user", "content": empty}])), "");
        }
    }

    #[test]
    fn every_use_has_its_result_in_the_next_message() {
        let tool = |id: &str| json!({"type": "tool_use", "id": id, "name": "add", "input": {}});
        let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "r"});
        let text = json!({"type": "text", "text": "hi"});
        let after = |used: Value, content: Value| {
            refused(json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": used}, {"role": "user", "content": content}]))
        };
        let both = json!([tool("a"), tool("b")]);
        assert_eq!(after(both.clone(), json!([result("b"), result("a"), text])), "");
        assert!(after(both.clone(), json!([result("a"), text])).contains("immediately after: b."));
        assert!(after(both.clone(), json!([result("a"), text, result("b")])).contains("immediately after: b."));
        assert!(after(both.clone(), json!("hi")).contains("messages.1: `tool_use` ids were found without"));
        assert!(after(both, json!([result("c")])).contains("unexpected `tool_use_id`"));
        assert!(after(json!([tool("a")]), json!([result("a"), result("a")])).contains("single result"));
        assert!(after(json!([tool("a"), tool("a")]), json!([result("a")])).contains("must be unique"));
        assert!(after(json!([tool("a.b")]), json!([result("a.b")])).contains("should match pattern"));
        let raw = json!({"type": "tool_use", "id": "a", "name": "add", "input": "{"});
        assert!(after(json!([raw]), json!([result("a")])).contains("valid dictionary"));
    }

    #[test]
    fn thoughts_come_back() {
        let thought = |signature: &str| json!({"type": "thinking", "thinking": "", "signature": signature});
        let tool = json!({"type": "tool_use", "id": "a", "name": "add", "input": {}});
        let result = json!([{"type": "tool_result", "tool_use_id": "a", "content": "r"}]);
        let after = |content: Value| {
            let messages = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": content}, {"role": "user", "content": result}]);
            let thinking = json!({"type": "enabled", "budget_tokens": 1024});
            refusal::<Messages>("", json!({"model": "m", "max_tokens": 2000, "thinking": thinking, "messages": messages})).unwrap_or_default()
        };
        assert_eq!(after(json!([thought("sandbox-1"), tool])), "");
        assert!(after(json!([thought("else"), tool])).contains("Invalid `signature`"));
        assert!(after(json!([tool])).contains("but found `tool_use`"));
    }

    #[test]
    fn what_is_beside_the_messages() {
        assert_eq!(with("tools", json!([{"name": "add", "description": "", "input_schema": {"type": "object"}}])), "");
        assert!(with("tools", json!([{"name": "add", "parameters": {"type": "object"}}])).contains("input_schema: Field required"));
        assert!(with("tools", json!([{"name": "a b", "input_schema": {"type": "object"}}])).contains("should match pattern"));
        assert_eq!(with("max_tokens", Value::Null), "max_tokens: Field required");
        assert_eq!(with("temperature", json!(1.5)), "temperature: range: 0..1");
        assert_eq!(with("max_completion_tokens", json!(9)), "max_completion_tokens: Extra inputs are not permitted");
        assert!(with("thinking", json!({"type": "enabled", "budget_tokens": 1000})).contains("1024"));
        assert!(with("thinking", json!({"type": "enabled", "budget_tokens": 2000})).contains("must be greater than"));
        let image =
            |kind: &str| json!([{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": kind, "data": "AAAA"}}]}]);
        assert_eq!(refused(image("image/png")), "");
        assert!(refused(image("image/heic")).contains("media_type"));
    }
}
