//! OpenAI's Chat Completions: `POST …/chat/completions`. What it refuses is worded as OpenAI words it; and what OpenAI's
//! two protocols share.

use serde_json::{Value, json};

use super::{
    ToolCall, Turn,
    api::{Api, Asked, Checked, Heard, Refusal, Usage, id, items, plain, refuse, unknown},
};

pub(super) struct ChatCompletions;

const KNOWN: &str = "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages metadata \
    modalities model n parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_retention reasoning_effort \
    response_format safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools \
    top_logprobs top_p user verbosity web_search_options";

impl Api for ChatCompletions {
    const NAME: &'static str = "chat_completions";

    fn key<'a>(asked: &'a Asked) -> &'a str {
        asked.token
    }

    fn check(asked: &Asked) -> Checked {
        let body = &asked.body;
        check_settings(body, KNOWN)?;
        let messages = items(&body["messages"]);
        if messages.is_empty() {
            return Err(empty_array("messages"));
        }
        for (at, tool) in items(&body["tools"]).iter().enumerate() {
            check_tool(&tool["function"], &format!("tools[{at}].function"))?;
        }
        check_messages(messages)
    }

    fn heard(body: &Value) -> Heard {
        let mut heard = Heard::default();
        for message in items(&body["messages"]) {
            let content = &message["content"];
            match message["role"].as_str() {
                Some("assistant") => heard = Heard::default(),
                Some("tool") => heard.result(&content.as_array().map_or_else(|| content.clone(), |parts| parts[0]["text"].clone())),
                Some("user") => {
                    content.as_str().into_iter().for_each(|text| heard.text(text));
                    items(content).iter().for_each(|part| hear(&mut heard, part));
                }
                _ => {}
            }
        }
        heard
    }

    fn answer(asked: &Asked, turn: &Turn, usage: Usage) -> Value {
        let mut message = json!({"role": "assistant", "content": turn.text(), "refusal": null, "annotations": []});
        if !turn.calls.is_empty() {
            let call = |call: &ToolCall| json!({"id": id("call_"), "type": "function", "function": {"name": call.name, "arguments": call.raw()}});
            message["tool_calls"] = turn.calls.iter().map(call).collect();
            message["content"] = json!(turn.text);
        }
        let finish = turn.finish.as_deref().unwrap_or(if turn.calls.is_empty() { "stop" } else { "tool_calls" });
        json!({"id": id("chatcmpl-"), "object": "chat.completion", "created": now(), "model": asked.body["model"],
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish}],
            "usage": {"prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": usage.total(),
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0}},
            "service_tier": "default", "system_fingerprint": null})
    }

    fn error(refusal: &Refusal) -> Value {
        let (kind, code) = match refusal.status {
            429 => ("requests", json!("rate_limit_exceeded")),
            500.. => ("server_error", Value::Null),
            _ => ("invalid_request_error", Value::Null),
        };
        let code = if refusal.code.is_null() { code } else { refusal.code.clone() };
        json!({"error": {"message": refusal.message, "type": kind, "param": null, "code": code}})
    }

    fn too_long(tokens: usize, most: usize) -> Refusal {
        let text = format!("This model's maximum context length is {most} tokens. However, your messages resulted in {tokens} tokens.");
        Refusal::new(400, text + " Please reduce the length of the messages.").code("context_length_exceeded")
    }

    fn keyless(missing: bool) -> Refusal {
        if missing {
            return Refusal::new(
                401,
                "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth.",
            );
        }
        Refusal::new(401, "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.")
            .code("invalid_api_key")
    }

    fn understanding(body: &Value) -> Option<Value> {
        (body["response_format"]["type"] == "json_schema").then(|| json!({"description": "seen"}))
    }
}

fn hear(heard: &mut Heard, part: &Value) {
    match part["type"].as_str() {
        Some("text") => heard.text(part["text"].as_str().unwrap_or_default()),
        Some("image_url") => heard.file("image/"),
        Some("input_audio") => heard.file("audio/"),
        _ => heard.file(""),
    }
}

/// Every call is answered by a message of the role `tool`, directly after the message that made it.
fn check_messages(messages: &[Value]) -> Checked {
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if role != "tool" {
            answered(&open)?;
        }
        match role {
            "system" | "developer" => check_content(message, at, &["text"])?,
            "user" => check_content(message, at, &["text", "image_url", "input_audio", "file"])?,
            "assistant" => open = check_assistant(message, at)?,
            "tool" => {
                check_content(message, at, &["text"])?;
                let Some(answers) = open.iter().position(|call| message["tool_call_id"] == *call) else {
                    return refuse("Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.");
                };
                open.remove(answers);
            }
            _ => {
                let known = "'system', 'assistant', 'user', 'function', 'tool', and 'developer'";
                return Err(invalid(format!("Invalid value: '{role}' at 'messages[{at}].role'. Supported values are: {known}.")));
            }
        }
    }
    answered(&open)
}

fn answered(open: &[&str]) -> Checked {
    if open.is_empty() {
        return Ok(());
    }
    let rule = "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.";
    refuse(format!("{rule} The following tool_call_ids did not have response messages: {}", open.join(", ")))
}

/// The ids of what an assistant's message calls.
fn check_assistant(message: &Value, at: usize) -> Result<Vec<&str>, Refusal> {
    let place = format!("messages[{at}].tool_calls");
    if message["tool_calls"].is_null() {
        check_content(message, at, &["text", "refusal"])?;
        return Ok(Vec::new());
    }
    if !message["content"].is_null() {
        check_content(message, at, &["text", "refusal"])?;
    }
    let calls = items(&message["tool_calls"]);
    if calls.is_empty() {
        return Err(empty_array(&place));
    }
    let mut ids = Vec::new();
    for (n, call) in calls.iter().enumerate() {
        let Some(id) = call["id"].as_str() else { return Err(missing(&format!("{place}[{n}].id"))) };
        limited(id, 40, &format!("{place}[{n}].id"))?;
        if call["type"] != "function" {
            return Err(missing(&format!("{place}[{n}].type")));
        }
        check_name(call["function"]["name"].as_str(), &format!("{place}[{n}].function.name"))?;
        if !call["function"]["arguments"].is_string() {
            return Err(invalid_type(&format!("{place}[{n}].function.arguments"), "a string", &call["function"]["arguments"]));
        }
        ids.push(id);
    }
    Ok(ids)
}

fn check_content(message: &Value, at: usize, kinds: &[&str]) -> Checked {
    let content = &message["content"];
    if content.is_string() {
        return Ok(());
    }
    let Some(parts) = content.as_array().filter(|parts| !parts.is_empty()) else {
        return Err(invalid_type(&format!("messages[{at}].content"), "a string or a non-empty array", content));
    };
    for (n, part) in parts.iter().enumerate() {
        let kind = part["type"].as_str().unwrap_or_default();
        let place = format!("messages[{at}].content[{n}]");
        if !kinds.contains(&kind) {
            return Err(invalid(format!("Invalid value: '{kind}' at '{place}.type'. Supported values are: '{}'.", kinds.join("', '"))));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let url = text(&part["image_url"]["url"]);
        let good = match kind {
            "image_url" => url.starts_with("http") || url.starts_with("data:image/"),
            "input_audio" => part["input_audio"]["data"].is_string() && ["wav", "mp3"].contains(&text(&part["input_audio"]["format"]).as_str()),
            "file" => {
                part["file"]["file_id"].is_string() || part["file"]["filename"].is_string() && text(&part["file"]["file_data"]).starts_with("data:")
            }
            _ => part[kind].is_string(),
        };
        if !good {
            return Err(invalid(format!("Invalid '{place}.{kind}': it is missing, or is not one that the API supports.")));
        }
    }
    Ok(())
}

/// What both of OpenAI's protocols demand of the fields beside the conversation.
pub(super) fn check_settings(body: &Value, known: &str) -> Checked {
    if body["stream"] == true {
        return refuse("The sandbox does not stream: leave 'stream' out.");
    }
    if let Some(name) = unknown(body, known) {
        return Err(Refusal::new(400, format!("Unknown parameter: '{name}'.")).code("unknown_parameter"));
    }
    if body["model"].as_str().is_none_or(str::is_empty) {
        return Err(missing("model"));
    }
    let temperature = &body["temperature"];
    if !temperature.is_null() && temperature.as_f64().is_none_or(|t| !(0.0..=2.0).contains(&t)) {
        return Err(invalid(format!("Invalid 'temperature': expected a decimal between 0 and 2, but got {temperature} instead.")));
    }
    if body["tools"].as_array().is_some_and(Vec::is_empty) {
        return Err(empty_array("tools"));
    }
    if body["tools"].is_null() && !body["tool_choice"].is_null() {
        return refuse("Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.");
    }
    Ok(())
}

/// A function that is offered.
pub(super) fn check_tool(function: &Value, place: &str) -> Checked {
    check_name(function["name"].as_str(), &format!("{place}.name"))?;
    let parameters = &function["parameters"];
    if !parameters.is_null() && parameters["type"] != "object" {
        let text = format!("schema must be a JSON Schema of 'type: \"object\"', got 'type: {}'.", parameters["type"]);
        return Err(Refusal::new(400, format!("Invalid schema for function {}: {text}", function["name"])).code("invalid_function_parameters"));
    }
    Ok(())
}

pub(super) fn check_name(name: Option<&str>, place: &str) -> Checked {
    let Some(name) = name else { return Err(missing(place)) };
    if !plain(name) {
        let expected = "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.";
        return Err(invalid(format!("Invalid '{place}': string does not match pattern. {expected}")));
    }
    limited(name, 64, place)
}

pub(super) fn limited(text: &str, most: usize, place: &str) -> Checked {
    let length = text.chars().count();
    if length <= most {
        return Ok(());
    }
    let expected = format!("Expected a string with maximum length {most}, but got a string with length {length} instead.");
    Err(Refusal::new(400, format!("Invalid '{place}': string too long. {expected}")).code("string_above_max_length"))
}

pub(super) fn missing(place: &str) -> Refusal {
    Refusal::new(400, format!("Missing required parameter: '{place}'.")).code("missing_required_parameter")
}

pub(super) fn invalid(message: String) -> Refusal {
    Refusal::new(400, message).code("invalid_value")
}

pub(super) fn invalid_type(place: &str, expected: &str, value: &Value) -> Refusal {
    let got = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Refusal::new(400, format!("Invalid type for '{place}': expected {expected}, but got {got} instead.")).code("invalid_type")
}

fn empty_array(place: &str) -> Refusal {
    let expected = "Expected an array with minimum length 1, but got an empty array instead.";
    Refusal::new(400, format!("Invalid '{place}': empty array. {expected}")).code("empty_array")
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::model::tests::refusal;

    fn refused(messages: Value) -> String {
        refusal::<ChatCompletions>("", json!({"model": "m", "messages": messages})).unwrap_or_default()
    }

    #[test]
    fn every_call_is_answered_directly() {
        let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "add", "arguments": "{}"}});
        let calls = json!({"role": "assistant", "content": null, "tool_calls": [call("a"), call("b")]});
        let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "r"});
        let user = json!({"role": "user", "content": "hi"});
        assert_eq!(refused(json!([user, calls, result("b"), result("a"), user])), "");
        assert!(refused(json!([user, calls, result("a"), user, result("b")])).ends_with("did not have response messages: b"));
        assert!(refused(json!([user, calls])).ends_with("did not have response messages: a, b"));
        assert!(refused(json!([user, result("a")])).contains("must be a response to a preceeding message"));
        assert!(refused(json!([user, calls, result("a"), result("b"), result("b")])).contains("must be a response"));
    }

    #[test]
    fn what_messages_hold() {
        let part = |part: Value| refused(json!([{"role": "user", "content": [part]}]));
        assert_eq!(part(json!({"type": "text", "text": "hi"})), "");
        assert_eq!(part(json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}})), "");
        assert_eq!(part(json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}})), "");
        for wrong in [
            json!({"type": "input_text", "text": "hi"}),
            json!({"type": "image_url", "image_url": {"url": "AAAA"}}),
            json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "ogg"}}),
            json!({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}),
        ] {
            assert!(part(wrong).starts_with("Invalid"));
        }
        let assistant = |calls: Value| refused(json!([{"role": "assistant", "content": "", "tool_calls": calls}]));
        assert!(assistant(json!([])).contains("empty array"));
        let call =
            |arguments: Value, name: &str| assistant(json!([{"id": "a", "type": "function", "function": {"name": name, "arguments": arguments}}]));
        assert!(call(json!({}), "add").contains("expected a string, but got an object"));
        assert!(call(json!("{}"), "a b").contains("does not match pattern"));
        assert!(refused(json!([{"role": "assistant", "content": null}])).contains("but got null"));
        assert!(refused(json!([{"role": "model", "content": "hi"}])).contains("Supported values are"));
        assert!(refused(json!([])).contains("empty array"));
    }

    #[test]
    fn what_is_beside_the_messages() {
        let with = |name: &str, value: Value| {
            let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
            body[name] = value;
            refusal::<ChatCompletions>("", body).unwrap_or_default()
        };
        let tool = |name: String, parameters: Value| json!([{"type": "function", "function": {"name": name, "parameters": parameters}}]);
        assert_eq!(with("tools", tool("a".repeat(64), json!({"type": "object"}))), "");
        assert!(with("tools", tool("a".repeat(65), json!({"type": "object"}))).contains("maximum length 64"));
        assert!(with("tools", tool("add".into(), json!({"type": "string"}))).contains("Invalid schema"));
        assert!(with("tools", json!([])).contains("empty array"));
        assert!(with("tool_choice", json!("auto")).contains("only allowed when"));
        assert!(with("temperature", json!(2.5)).contains("between 0 and 2"));
        assert_eq!(with("max_output_tokens", json!(9)), "Unknown parameter: 'max_output_tokens'.");
        assert_eq!(with("model", Value::Null), "Missing required parameter: 'model'.");
    }
}
