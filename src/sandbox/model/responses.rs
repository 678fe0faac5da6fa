//! OpenAI's Responses: `POST …/responses`. Nothing is stored here: as with `store: false`, all that was said comes along.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{
    Turn,
    api::{Api, Asked, Checked, Heard, Refusal, Usage, id, items, refuse, unknown},
    chat_completions::{ChatCompletions, check_name, check_settings, check_tool, invalid, invalid_type, limited, missing, now},
};

pub(super) struct Responses;

/// What reasoning that may come back begins with.
const REASONING: &str = "gAAAAA-sandbox-";

const KNOWN: &str = "background context_management conversation include input instructions max_output_tokens max_tool_calls metadata model \
    parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_retention reasoning safety_identifier \
    service_tier store stream stream_options temperature text tool_choice tools top_logprobs top_p truncation user";

impl Api for Responses {
    const NAME: &'static str = "responses";

    fn key<'a>(asked: &'a Asked) -> &'a str {
        asked.token
    }

    fn check(asked: &Asked) -> Checked {
        let body = &asked.body;
        check_settings(body, KNOWN)?;
        if let Some(previous) = body["previous_response_id"].as_str() {
            let text = format!("Previous response with id '{previous}' not found.");
            return Err(Refusal::new(400, text).code("previous_response_not_found"));
        }
        if let Some(most) = body["max_output_tokens"].as_i64().filter(|most| *most < 16) {
            let text = format!("Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got {most} instead.");
            return Err(Refusal::new(400, text).code("integer_below_min_value"));
        }
        for (at, tool) in items(&body["tools"]).iter().enumerate() {
            if tool["type"] != "function" {
                return Err(missing(&format!("tools[{at}].type")));
            }
            check_tool(tool, &format!("tools[{at}]"))?;
        }
        match &body["input"] {
            Value::String(_) => Ok(()),
            Value::Array(all) if !all.is_empty() => check_items(all),
            _ => Err(missing("input")),
        }
    }

    fn heard(body: &Value) -> Heard {
        let mut heard = Heard::default();
        body["input"].as_str().into_iter().for_each(|text| heard.text(text));
        for item in items(&body["input"]) {
            match item["type"].as_str() {
                Some("function_call" | "reasoning") => heard = Heard::default(),
                Some("function_call_output") => heard.result(&item["output"]),
                _ if item["role"] == "assistant" => heard = Heard::default(),
                _ if item["role"] == "user" => {
                    item["content"].as_str().into_iter().for_each(|text| heard.text(text));
                    for part in items(&item["content"]) {
                        match part["type"].as_str() {
                            Some("input_text") => heard.text(part["text"].as_str().unwrap_or_default()),
                            Some("input_image") => heard.file("image/"),
                            _ => heard.file(""),
                        }
                    }
                }
                _ => {}
            }
        }
        heard
    }

    fn answer(asked: &Asked, turn: &Turn, usage: Usage) -> Value {
        let body = &asked.body;
        let (status, details) = match turn.finish.as_deref() {
            Some("length" | "max_output_tokens") => ("incomplete", json!({"reason": "max_output_tokens"})),
            Some("content_filter") => ("incomplete", json!({"reason": "content_filter"})),
            Some("failed") => ("failed", Value::Null),
            _ => ("completed", Value::Null),
        };
        let error = if status == "failed" { json!({"code": "server_error", "message": turn.text()}) } else { Value::Null };
        let or = |name: &str, default: Value| if body[name].is_null() { default } else { body[name].clone() };
        json!({"id": id("resp_"), "object": "response", "created_at": now(), "status": status, "error": error, "incomplete_details": details,
            "model": body["model"], "output": output(body, turn, status), "instructions": body["instructions"],
            "max_output_tokens": body["max_output_tokens"], "metadata": {}, "parallel_tool_calls": or("parallel_tool_calls", json!(true)),
            "previous_response_id": null, "reasoning": or("reasoning", json!({"effort": null, "summary": null})), "store": or("store", json!(true)),
            "temperature": or("temperature", json!(1.0)), "text": {"format": {"type": "text"}}, "tool_choice": or("tool_choice", json!("auto")),
            "tools": or("tools", json!([])), "top_p": or("top_p", json!(1.0)), "truncation": "disabled", "service_tier": "default",
            "usage": {"input_tokens": usage.input, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": usage.output,
                "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": usage.total()}})
    }

    fn error(refusal: &Refusal) -> Value {
        ChatCompletions::error(refusal)
    }

    fn too_long(_tokens: usize, _most: usize) -> Refusal {
        let text = "Your input exceeds the context window of this model. Please adjust your input and try again.";
        Refusal::new(400, text).code("context_length_exceeded")
    }

    fn keyless(missing: bool) -> Refusal {
        ChatCompletions::keyless(missing)
    }
}

/// Reasoning, where it was asked for; then what is said; then the calls.
fn output(body: &Value, turn: &Turn, status: &str) -> Vec<Value> {
    if status == "failed" {
        return Vec::new();
    }
    let mut output = Vec::new();
    let encrypted = items(&body["include"]).iter().any(|what| what == "reasoning.encrypted_content");
    if encrypted || !body["reasoning"].is_null() {
        let mut reasoning = json!({"id": id("rs_"), "type": "reasoning", "summary": []});
        if encrypted {
            reasoning["encrypted_content"] = json!(id(REASONING));
        }
        output.push(reasoning);
    }
    if turn.calls.is_empty() || !turn.text().is_empty() {
        let part = match turn.finish.as_deref() {
            Some("refusal") => json!({"type": "refusal", "refusal": turn.text()}),
            _ => json!({"type": "output_text", "text": turn.text(), "annotations": [], "logprobs": []}),
        };
        output.push(json!({"id": id("msg_"), "type": "message", "status": status, "role": "assistant", "content": [part]}));
    }
    output.extend(turn.calls.iter().map(|call| {
        json!({"id": id("fc_"), "type": "function_call", "status": status, "call_id": id("call_"), "name": call.name, "arguments": call.raw()})
    }));
    output
}

/// Every call has its output somewhere after it, and every output its call before it.
fn check_items(all: &[Value]) -> Checked {
    let (mut calls, mut outputs) = (HashSet::new(), HashSet::new());
    for (at, item) in all.iter().enumerate() {
        let place = format!("input[{at}]");
        let kind = item["type"].as_str().unwrap_or("message");
        check_fields(item, kind, &place)?;
        match kind {
            "message" => check_message(item, &place)?,
            "function_call" => {
                check_name(item["name"].as_str(), &format!("{place}.name"))?;
                if !item["arguments"].is_string() {
                    return Err(invalid_type(&format!("{place}.arguments"), "a string", &item["arguments"]));
                }
                calls.insert(call_id(item, &place)?);
            }
            "function_call_output" => {
                let call = call_id(item, &place)?;
                if !calls.contains(call) {
                    return refuse(format!("No tool call found for function call output with call_id {call}."));
                }
                if !item["output"].is_string() && !item["output"].is_array() {
                    return Err(invalid_type(&format!("{place}.output"), "a string or an array", &item["output"]));
                }
                outputs.insert(call);
            }
            _ => check_reasoning(item, all.get(at + 1))?,
        }
    }
    match calls.difference(&outputs).min() {
        Some(call) => refuse(format!("No tool output found for function call {call}.")),
        None => Ok(()),
    }
}

fn check_fields(item: &Value, kind: &str, place: &str) -> Checked {
    let (known, prefix) = match kind {
        "message" => ("type role content id status phase", "msg"),
        "function_call" => ("type call_id name arguments id status", "fc"),
        "function_call_output" => ("type call_id output id status", "fc"),
        "reasoning" => ("type id summary content encrypted_content status", "rs"),
        other => return Err(invalid(format!("Invalid value: '{other}' at '{place}.type'. The sandbox knows no such items."))),
    };
    if let Some(name) = unknown(item, known) {
        return Err(Refusal::new(400, format!("Unknown parameter: '{place}.{name}'.")).code("unknown_parameter"));
    }
    match item["id"].as_str() {
        Some(id) if !id.starts_with(prefix) => Err(invalid(format!("Invalid '{place}.id': '{id}'. Expected an ID that begins with '{prefix}'."))),
        _ => Ok(()),
    }
}

fn call_id<'a>(item: &'a Value, place: &str) -> Result<&'a str, Refusal> {
    let id = item["call_id"].as_str().ok_or_else(|| missing(&format!("{place}.call_id")))?;
    limited(id, 64, &format!("{place}.call_id"))?;
    Ok(id)
}

fn check_message(item: &Value, place: &str) -> Checked {
    let kinds: &[&str] = match item["role"].as_str() {
        Some("user" | "system" | "developer") => &["input_text", "input_image", "input_file"],
        Some("assistant") => &["output_text", "refusal"],
        _ => {
            let known = "'assistant', 'system', 'developer', and 'user'";
            return Err(invalid(format!("Invalid value: {} at '{place}.role'. Supported values are: {known}.", item["role"])));
        }
    };
    if item["content"].is_string() {
        return Ok(());
    }
    let Some(parts) = item["content"].as_array() else {
        return Err(invalid_type(&format!("{place}.content"), "a string or an array", &item["content"]));
    };
    for (n, part) in parts.iter().enumerate() {
        let kind = part["type"].as_str().unwrap_or_default();
        if !kinds.contains(&kind) {
            return Err(invalid(format!("Invalid value: '{kind}' at '{place}.content[{n}].type'. Supported values are: '{}'.", kinds.join("', '"))));
        }
        let good = match kind {
            "input_image" => part["image_url"].as_str().is_some_and(|url| url.starts_with("http") || url.starts_with("data:image/")),
            "input_file" => {
                let inline = part["file_data"].as_str().is_some_and(|data| data.starts_with("data:"));
                part["file_url"].is_string() || part["file_id"].is_string() || part["filename"].is_string() && inline
            }
            "refusal" => part["refusal"].is_string(),
            _ => part["text"].is_string(),
        };
        if !good {
            return Err(invalid(format!("Invalid '{place}.content[{n}]': what a part of the type {kind} holds is missing or malformed.")));
        }
    }
    Ok(())
}

/// Reasoning comes back as it was, with what it led to behind it.
fn check_reasoning(item: &Value, next: Option<&Value>) -> Checked {
    let id = item["id"].as_str().unwrap_or_default();
    if !item["summary"].is_array() {
        return Err(missing("summary"));
    }
    match item["encrypted_content"].as_str() {
        None => {
            let why = "Items are not persisted when `store` is set to false.";
            let text = format!("Item with id '{id}' not found. {why} Try again with `store` set to true, or remove this item from your input.");
            return Err(Refusal::new(404, text));
        }
        Some(content) if !content.starts_with(REASONING) => {
            return Err(Refusal::new(400, "The encrypted content could not be verified.").code("invalid_encrypted_content"));
        }
        Some(_) => {}
    }
    if next.is_some_and(|next| next["type"] == "function_call" || next["role"] == "assistant") {
        return Ok(());
    }
    refuse(format!("Item '{id}' of type 'reasoning' was provided without its required following item."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::model::tests::refusal;

    fn refused(input: Value) -> String {
        refusal::<Responses>("", json!({"model": "m", "input": input})).unwrap_or_default()
    }

    #[test]
    fn every_call_has_its_output() {
        let call = |id: &str| json!({"type": "function_call", "call_id": id, "name": "add", "arguments": "{}"});
        let output = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": "r"});
        let user = json!({"role": "user", "content": "hi"});
        assert_eq!(refused(json!([user, call("a"), call("b"), output("b"), output("a"), user])), "");
        assert_eq!(refused(json!([user, call("a"), user])), "No tool output found for function call a.");
        assert_eq!(refused(json!([user, output("a"), call("a")])), "No tool call found for function call output with call_id a.");
        let mut wrong = call("a");
        wrong["arguments"] = json!({});
        assert!(refused(json!([wrong])).contains("expected a string, but got an object"));
        wrong = call("a");
        wrong["id"] = json!("call_1");
        assert!(refused(json!([wrong])).contains("begins with 'fc'"));
    }

    #[test]
    fn reasoning_comes_back_whole() {
        let call = json!({"type": "function_call", "call_id": "a", "name": "add", "arguments": "{}"});
        let output = json!({"type": "function_call_output", "call_id": "a", "output": "r"});
        let reasoning = |content: Value| json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": content});
        let ours = json!(format!("{REASONING}1"));
        assert_eq!(refused(json!([reasoning(ours.clone()), call, output])), "");
        assert!(refused(json!([reasoning(Value::Null), call, output])).contains("Items are not persisted"));
        assert!(refused(json!([reasoning(json!("else")), call, output])).contains("could not be verified"));
        assert!(refused(json!([reasoning(ours), {"role": "user", "content": "hi"}])).contains("required following item"));
    }

    #[test]
    fn what_items_hold() {
        let part = |role: &str, part: Value| refused(json!([{"role": role, "content": [part]}]));
        assert_eq!(part("user", json!({"type": "input_text", "text": "hi"})), "");
        assert_eq!(part("assistant", json!({"type": "output_text", "text": "hi"})), "");
        assert_eq!(part("user", json!({"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"})), "");
        assert!(part("assistant", json!({"type": "input_text", "text": "hi"})).contains("'output_text', 'refusal'"));
        assert!(part("user", json!({"type": "text", "text": "hi"})).contains("Invalid value: 'text'"));
        assert!(part("user", json!({"type": "input_image", "image_url": {"url": "data:image/png;base64,AAAA"}})).contains("malformed"));
        assert!(part("tool", json!({"type": "input_text", "text": "hi"})).contains("Supported values"));
        assert!(refused(json!([{"role": "assistant", "content": "", "tool_calls": []}])).contains("'input[0].tool_calls'"));
        assert!(refused(json!([])).contains("'input'"));
        let with = |name: &str, value: Value| {
            let mut body = json!({"model": "m", "input": "hi"});
            body[name] = value;
            refusal::<Responses>("", body).unwrap_or_default()
        };
        assert_eq!(with("tools", json!([{"type": "function", "name": "add", "parameters": {"type": "object"}}])), "");
        assert_eq!(with("tools", json!([{"type": "function", "function": {"name": "add"}}])), "Missing required parameter: 'tools[0].name'.");
        assert!(with("max_completion_tokens", json!(9)).starts_with("Unknown parameter"));
        assert!(with("max_output_tokens", json!(9)).contains(">= 16"));
    }
}
