//! OpenAI's Responses, without anything stored there: `POST {base}/responses`. OpenAI, Groq, xAI, OpenRouter and some
//! servers speak it. The reference is <https://platform.openai.com/docs/api-reference/responses>; that reasoning is kept
//! and handed back encrypted is from <https://platform.openai.com/docs/guides/reasoning>.

use serde_json::{Value, json};

use super::{bearer, call, data_url, essence, failure, pdf_name};
use crate::agent::{Call, Failure, Part, Prompt, Reply, Role, Turn, Usage};

/// What marks a state as this protocol's.
const NAME: &str = "responses";

/// Where a request goes; the model is in its body.
pub fn url(base: &str, _model: &str) -> String {
    format!("{base}/responses")
}

/// The key, where there is one.
pub fn headers(key: &str) -> Vec<(&'static str, String)> {
    bearer(key)
}

/// The body of a request.
pub fn request(prompt: &Prompt) -> Value {
    let input: Vec<_> = prompt.turns.iter().flat_map(items).collect();
    let mut body = json!({"model": prompt.model, "input": input, "store": false});
    if !prompt.system.is_empty() {
        body["instructions"] = json!(prompt.system);
    }
    if !prompt.tools.is_empty() {
        let tools = prompt.tools.iter().map(|tool| {
            // The protocol's default is strict, which takes only a small part of JSON Schema.
            json!({"type": "function", "name": tool.name, "description": tool.description, "strict": false, "parameters": tool.parameters})
        });
        body["tools"] = tools.collect();
        body["tool_choice"] = json!("auto");
        body["parallel_tool_calls"] = json!(true);
    }
    if let Some(temperature) = prompt.temperature {
        body["temperature"] = json!(temperature);
    }
    if let Some(tokens) = prompt.max_tokens {
        body["max_output_tokens"] = json!(tokens);
    }
    if let Some(thinking) = prompt.thinking {
        body["reasoning"] = json!({"effort": thinking});
        // What is not stored there has to come along. Models that do not think refuse to include it.
        body["include"] = json!(["reasoning.encrypted_content"]);
    }
    body
}

/// The input items of a turn.
fn items(turn: &Turn) -> Vec<Value> {
    match turn {
        Turn::Said { role: Role::User, parts } => {
            let content: Vec<_> = parts.iter().filter_map(input_part).collect();
            if content.is_empty() { Vec::new() } else { vec![json!({"role": "user", "content": content})] }
        }
        Turn::Said { role: Role::Assistant, parts } => {
            let texts = parts.iter().filter_map(|part| match part {
                Part::Text { text } => Some(text.as_str()),
                Part::File { .. } => None,
            });
            texts.map(assistant).collect()
        }
        Turn::Calls { text, calls, state } => {
            let kept = state.as_ref().filter(|state| state["protocol"] == NAME).and_then(|state| state["items"].as_array());
            let mut items = kept.cloned().unwrap_or_default();
            if !text.is_empty() {
                items.push(assistant(text));
            }
            items.extend(calls.iter().map(|call| {
                let arguments = call.object().to_string();
                json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments})
            }));
            items
        }
        Turn::Results { results } => results.iter().map(|r| json!({"type": "function_call_output", "call_id": r.id, "output": r.content})).collect(),
    }
}

/// A message of the business.
fn assistant(text: &str) -> Value {
    json!({"role": "assistant", "content": [{"type": "output_text", "text": text}]})
}

/// One part of a customer's message; none for a file of a kind that the protocol does not carry. The text tells of that
/// one already.
fn input_part(part: &Part) -> Option<Value> {
    let (mime_type, name, data) = match part {
        Part::Text { text } => return Some(json!({"type": "input_text", "text": text})),
        Part::File { mime_type, name, data } => (essence(mime_type), name.as_deref(), data),
    };
    let url = data_url(&mime_type, data);
    match mime_type.as_str() {
        image if image.starts_with("image/") => Some(json!({"type": "input_image", "image_url": url})),
        "application/pdf" => Some(json!({"type": "input_file", "filename": pdf_name(name), "file_data": url})),
        _ => None,
    }
}

/// What came back. A cut answer is an answer as long as it says or calls something.
pub fn response(status: u16, retry_after: Option<f64>, body: &[u8]) -> Result<Reply, Failure> {
    if !(200..300).contains(&status) {
        return Err(failure::failure(status, retry_after, body));
    }
    let body = failure::parse(body)?;
    let progress = body["status"].as_str().unwrap_or("completed");
    if !body["error"].is_null() || progress == "failed" {
        return Err(failure::inside(&body));
    }
    let output = match body["output"].as_array() {
        Some(output) if matches!(progress, "completed" | "incomplete") => output,
        _ => return Err(Failure::Later(None, format!("the model's answer holds no output (status {progress})"))),
    };
    let calls = calls(output);
    let text = text(output);
    if calls.is_empty() && progress == "incomplete" {
        finished(body["incomplete_details"]["reason"].as_str().unwrap_or_default(), text.is_empty())?;
    }
    let state = if calls.is_empty() { None } else { state(output) };
    Ok(Reply { text, calls, state, usage: usage(&body["usage"]) })
}

/// Whether an incomplete answer without calls counts, by what cut it.
fn finished(reason: &str, is_empty: bool) -> Result<(), Failure> {
    match reason {
        "content_filter" => Err(Failure::Hopeless("the model's provider withheld the answer (content_filter)".to_owned())),
        "max_output_tokens" if is_empty => {
            Err(Failure::Hopeless("the model used up its tokens before it said anything (max_output_tokens): raise max_tokens".to_owned()))
        }
        _ if is_empty => Err(Failure::Later(None, format!("the model's answer is incomplete ({reason})"))),
        _ => Ok(()),
    }
}

/// Items of one type, in order.
fn of_type<'a>(output: &'a [Value], name: &'a str) -> impl Iterator<Item = &'a Value> {
    output.iter().filter(move |item| item["type"] == name)
}

/// What was said, or why the model would not say it: a refusal is an answer to the customer.
fn text(output: &[Value]) -> String {
    let content = of_type(output, "message").flat_map(|message| message["content"].as_array().into_iter().flatten());
    let texts: Vec<_> = content.filter_map(|part| part["text"].as_str().or(part["refusal"].as_str())).collect();
    texts.join("\n").trim().to_owned()
}

fn calls(output: &[Value]) -> Vec<Call> {
    let named = of_type(output, "function_call").filter_map(|item| Some((item, item["name"].as_str()?)));
    named.enumerate().map(|(index, (item, name))| call(&item["call_id"], name, &item["arguments"], index)).collect()
}

/// The reasoning that can be handed back. Without its encrypted content it is only known by an id of what was never
/// stored, and refused.
fn state(output: &[Value]) -> Option<Value> {
    let kept = of_type(output, "reasoning").filter(|item| item["encrypted_content"].is_string());
    let kept: Vec<Value> = kept
        .map(|item| {
            let mut item = item.clone();
            if let Some(fields) = item.as_object_mut() {
                // Answers spell absent fields out as null; requests may not.
                fields.retain(|_, value| !value.is_null());
            }
            item
        })
        .collect();
    (!kept.is_empty()).then(|| json!({"protocol": NAME, "items": kept}))
}

fn usage(usage: &Value) -> Usage {
    let count = |value: &Value| value.as_u64().unwrap_or_default();
    Usage {
        input: count(&usage["input_tokens"]),
        cache_read: count(&usage["input_tokens_details"]["cached_tokens"]),
        output: count(&usage["output_tokens"]),
        reasoning: count(&usage["output_tokens_details"]["reasoning_tokens"]),
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_returns_before_its_calls() {
        let reasoning = json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA", "status": null});
        let message = json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "One moment."}]});
        let called = json!({"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "a", "arguments": "{\"x\":1}"});
        let body = json!({"status": "completed", "error": null, "output": [reasoning, message, called]});
        let reply = response(200, None, body.to_string().as_bytes()).expect("a reply");
        let turns = vec![Turn::Calls { text: reply.text, calls: reply.calls, state: reply.state }];
        assert_eq!(
            request(&Prompt { turns, ..Prompt::default() })["input"],
            json!([
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
                {"role": "assistant", "content": [{"type": "output_text", "text": "One moment."}]},
                {"type": "function_call", "call_id": "call_1", "name": "a", "arguments": "{\"x\":1}"}
            ])
        );
    }

    #[test]
    fn what_another_protocol_kept_stays_away() {
        let calls = vec![Call { id: "1".to_owned(), name: "a".to_owned(), arguments: json!("{") }];
        let turn = Turn::Calls { text: String::new(), calls, state: Some(json!({"protocol": "messages", "items": [{}]})) };
        let arguments = json!({"unreadable_arguments": "{"}).to_string();
        assert_eq!(items(&turn), [json!({"type": "function_call", "call_id": "1", "name": "a", "arguments": arguments})]);
    }

    #[test]
    fn what_never_became_an_answer() {
        let answer = |body: Value| response(200, None, body.to_string().as_bytes());
        assert!(matches!(answer(json!({"status": "queued", "output": []})), Err(Failure::Later(..))));
        assert!(matches!(answer(json!({"status": "completed"})), Err(Failure::Later(..))));
        assert!(matches!(answer(json!({"status": "failed", "error": null})), Err(Failure::Later(..))));
        assert!(matches!(answer(json!([])), Err(Failure::Later(..))));
    }
}
