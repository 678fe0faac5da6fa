//! OpenAI's Chat Completions, as OpenAI, Anthropic, Google, Groq, OpenRouter and many servers speak it:
//! `POST {base}/chat/completions`. The reference is <https://platform.openai.com/docs/api-reference/chat>; where a
//! provider strays from it, a comment says so.

use serde_json::{Map, Value, json};

use super::{bearer, call, data_url, essence, failure, pdf_name};
use crate::agent::{Call, Failure, Part, Prompt, Reply, Role, Turn, Usage};

/// What marks a state as this protocol's.
const NAME: &str = "chat_completions";

/// Fields of an answer that providers want back beside its calls. Without them DeepSeek (`reasoning_content`) and
/// Google (`extra_content`, which holds a signature) refuse the history; OpenRouter (`reasoning_details`) thinks anew.
const KEPT: [&str; 3] = ["reasoning_content", "reasoning_details", "extra_content"];

/// Where a request goes; the model is in its body.
pub fn url(base: &str, _model: &str) -> String {
    format!("{base}/chat/completions")
}

/// The key, where there is one.
pub fn headers(key: &str) -> Vec<(&'static str, String)> {
    bearer(key)
}

/// The body of a request.
pub fn request(prompt: &Prompt) -> Value {
    let mut messages = Vec::new();
    if !prompt.system.is_empty() {
        messages.push(json!({"role": "system", "content": prompt.system}));
    }
    for turn in &prompt.turns {
        match turn {
            Turn::Said { role: Role::User, parts } => messages.push(json!({"role": "user", "content": user_content(parts)})),
            Turn::Said { role: Role::Assistant, parts } => messages.push(json!({"role": "assistant", "content": texts(parts)})),
            Turn::Calls { text, calls, state } => messages.push(called(text, calls, state.as_ref())),
            // Nothing marks a result as failed here: its text tells.
            Turn::Results { results } => {
                messages.extend(results.iter().map(|r| json!({"role": "tool", "tool_call_id": r.id, "content": r.content})));
            }
        }
    }
    let mut body = json!({"model": prompt.model, "messages": messages});
    if !prompt.tools.is_empty() {
        let tools = prompt.tools.iter().map(|tool| json!({"type": "function", "function": tool}));
        body["tools"] = tools.collect();
        body["tool_choice"] = json!("auto");
        body["parallel_tool_calls"] = json!(true);
    }
    if let Some(temperature) = prompt.temperature {
        body["temperature"] = json!(temperature);
    }
    if let Some(tokens) = prompt.max_tokens {
        body["max_completion_tokens"] = json!(tokens);
    }
    if let Some(thinking) = prompt.thinking {
        body["reasoning_effort"] = json!(thinking);
    }
    body
}

/// All text of some parts.
fn texts(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text { text } => Some(text.as_str()),
        Part::File { .. } => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// A string unless there is a file that the protocol carries: servers for text alone take nothing but strings.
fn user_content(parts: &[Part]) -> Value {
    if !parts.iter().any(|part| matches!(part, Part::File { .. }) && content_part(part).is_some()) {
        return json!(texts(parts));
    }
    parts.iter().filter_map(content_part).collect()
}

/// One part; none for a file of a kind that the protocol does not carry. The text tells of that one already.
fn content_part(part: &Part) -> Option<Value> {
    let (mime_type, name, data) = match part {
        Part::Text { text } => return Some(json!({"type": "text", "text": text})),
        Part::File { mime_type, name, data } => (essence(mime_type), name.as_deref(), data),
    };
    let audio = |format: &str| Some(json!({"type": "input_audio", "input_audio": {"data": data, "format": format}}));
    match mime_type.as_str() {
        image if image.starts_with("image/") => Some(json!({"type": "image_url", "image_url": {"url": data_url(image, data)}})),
        "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => audio("wav"),
        "audio/mpeg" | "audio/mp3" => audio("mp3"),
        "application/pdf" => Some(json!({"type": "file", "file": {"filename": pdf_name(name), "file_data": data_url(&mime_type, data)}})),
        _ => None,
    }
}

/// A turn of calls, with what the provider wants back where this protocol kept it.
fn called(text: &str, calls: &[Call], state: Option<&Value>) -> Value {
    let kept = state.filter(|state| state["protocol"] == NAME).map_or(&Value::Null, |state| &state["message"]);
    let content = if text.is_empty() { Value::Null } else { json!(text) };
    let mut message = json!({"role": "assistant", "content": content});
    for field in KEPT {
        if let Some(value) = kept.get(field) {
            message[field] = value.clone();
        }
    }
    let tool_calls = calls.iter().map(|call| {
        let function = json!({"name": call.name, "arguments": call.object().to_string()});
        let mut tool_call = json!({"id": call.id, "type": "function", "function": function});
        let kept = kept["tool_calls"].as_array().into_iter().flatten().find(|kept| kept["id"] == call.id.as_str());
        if let Some(extra) = kept.and_then(|kept| kept.get("extra_content")) {
            tool_call["extra_content"] = extra.clone();
        }
        tool_call
    });
    message["tool_calls"] = tool_calls.collect();
    message
}

/// What came back. A cut answer is an answer as long as it says or calls something.
pub fn response(status: u16, retry_after: Option<f64>, body: &[u8]) -> Result<Reply, Failure> {
    if !(200..300).contains(&status) {
        return Err(failure::failure(status, retry_after, body));
    }
    let body = failure::parse(body)?;
    let choice = &body["choices"][0];
    // OpenRouter reports what happened behind it inside of a 200, beside the choices or in one.
    for place in [&body, choice] {
        if !place["error"].is_null() {
            return Err(failure::inside(place));
        }
    }
    if choice.is_null() {
        return Err(Failure::Later(None, "the model's answer holds no choices".to_owned()));
    }
    let message = &choice["message"];
    let calls = calls(message);
    let text = text(message);
    if calls.is_empty() {
        finished(choice["finish_reason"].as_str().unwrap_or_default(), text.is_empty())?;
    }
    Ok(Reply { state: state(message, &calls), text, calls, usage: usage(&body) })
}

/// Whether an answer without calls counts, by how it ended.
fn finished(reason: &str, is_empty: bool) -> Result<(), Failure> {
    match reason {
        // Google appends its own reason after a colon.
        filter if filter.starts_with("content_filter") => Err(Failure::Hopeless(format!("the model's provider withheld the answer ({filter})"))),
        // Google's word for a call that its model wrote badly; its text, if any, is that call and nothing for customers.
        filter if filter.starts_with("function_call_filter") => Err(Failure::Later(None, format!("the model called a tool badly ({filter})"))),
        "length" if is_empty => {
            Err(Failure::Hopeless("the model used up its tokens before it said anything (finish_reason length): raise max_tokens".to_owned()))
        }
        // OpenRouter's and DeepSeek's words for a provider that broke off.
        "error" | "insufficient_system_resource" => Err(Failure::Later(None, format!("the model's provider broke off (finish_reason {reason})"))),
        _ => Ok(()),
    }
}

/// What was said, or why the model would not say it: a refusal is an answer to the customer.
fn text(message: &Value) -> String {
    let content = match &message["content"] {
        Value::String(text) => text.clone(),
        // Mistral puts its thinking beside the text, in parts of another shape.
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    };
    let said = without_thinking(&content);
    if said.is_empty() { message["refusal"].as_str().unwrap_or_default().trim().to_owned() } else { said.to_owned() }
}

/// Open models begin with their thinking where the server does not take it out. It is not for customers.
fn without_thinking(content: &str) -> &str {
    let content = content.trim();
    match content.strip_prefix("<think>") {
        Some(thinking) => thinking.split_once("</think>").map_or("", |(_, said)| said.trim()),
        None => content,
    }
}

/// What was called, whatever the `finish_reason`: servers disagree about it. `function_call` is the form of old servers.
fn calls(message: &Value) -> Vec<Call> {
    let calls = message["tool_calls"].as_array().into_iter().flatten().map(|call| (&call["id"], &call["function"]));
    let calls = calls.chain([(&Value::Null, &message["function_call"])]);
    let calls = calls.filter_map(|(id, function)| Some((id, function["name"].as_str()?, &function["arguments"])));
    calls.enumerate().map(|(index, (id, name, arguments))| call(id, name, arguments, index)).collect()
}

/// What the provider wants back with the calls, in the shape that [`called`] reads.
fn state(message: &Value, calls: &[Call]) -> Option<Value> {
    if calls.is_empty() {
        return None;
    }
    let mut kept = Map::new();
    for field in KEPT {
        if let Some(value) = message.get(field).filter(|value| !value.is_null()) {
            kept.insert(field.to_owned(), value.clone());
        }
    }
    let named = message["tool_calls"].as_array().into_iter().flatten().filter(|call| call["function"]["name"].is_string());
    let tool_calls = named.zip(calls).filter(|(sent, _)| sent["extra_content"].is_object());
    let tool_calls: Vec<_> = tool_calls.map(|(sent, call)| json!({"id": call.id, "extra_content": sent["extra_content"]})).collect();
    if !tool_calls.is_empty() {
        kept.insert("tool_calls".to_owned(), json!(tool_calls));
    }
    (!kept.is_empty()).then(|| json!({"protocol": NAME, "message": kept}))
}

/// Tokens. xAI and Google leave thinking out of `completion_tokens`, so that only the total is complete.
fn usage(body: &Value) -> Usage {
    let usage = if body["usage"].is_object() { &body["usage"] } else { &body["x_groq"]["usage"] };
    let count = |value: &Value| value.as_u64().unwrap_or_default();
    let (read, wrote) = (&usage["prompt_tokens_details"], &usage["completion_tokens_details"]);
    let (input, completion) = (count(&usage["prompt_tokens"]), count(&usage["completion_tokens"]));
    let unlisted = count(&usage["total_tokens"]).saturating_sub(input + completion);
    Usage {
        input,
        cache_read: count(&read["cached_tokens"]),
        cache_write: count(&read["cache_write_tokens"]),
        audio_input: count(&read["audio_tokens"]),
        output: completion + unlisted,
        reasoning: count(&wrote["reasoning_tokens"]).max(unlisted),
        audio_output: count(&wrote["audio_tokens"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::CallResult;

    fn prompt(turns: Vec<Turn>) -> Prompt {
        Prompt { model: "m".to_owned(), turns, ..Prompt::default() }
    }

    fn answer(message: &Value) -> Reply {
        response(200, None, json!({"choices": [{"message": message}]}).to_string().as_bytes()).expect("a reply")
    }

    #[test]
    fn what_providers_want_back_returns() {
        let signature = json!({"google": {"thought_signature": "c2ln"}});
        let reply = answer(&json!({"content": null, "reasoning_content": "hm", "reasoning": "hm", "tool_calls": [
            {"type": "function", "function": {"name": "a", "arguments": "{}"}, "extra_content": signature},
            {"id": "call_2", "type": "function", "function": {"name": "b", "arguments": "{}"}}]}));
        let turn = Turn::Calls { text: reply.text, calls: reply.calls, state: reply.state };
        let message = &request(&prompt(vec![turn]))["messages"][0];
        assert_eq!(message["reasoning_content"], "hm");
        assert_eq!(message.get("reasoning"), None);
        assert_eq!(message["tool_calls"][0]["extra_content"], signature);
        assert_eq!(message["tool_calls"][1].get("extra_content"), None);
    }

    #[test]
    fn what_another_protocol_kept_stays_away() {
        let calls = vec![Call { id: "1".to_owned(), name: "a".to_owned(), arguments: json!({}) }];
        let state = Some(json!({"protocol": "messages", "message": {"reasoning_content": "hm"}}));
        let turns = vec![
            Turn::Calls { text: String::new(), calls, state },
            Turn::Results { results: vec![CallResult { id: "1".to_owned(), name: "a".to_owned(), content: "ok".to_owned(), is_error: false }] },
        ];
        let function = json!({"name": "a", "arguments": "{}"});
        assert_eq!(
            request(&prompt(turns))["messages"],
            json!([
                {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function": function}]},
                {"role": "tool", "tool_call_id": "1", "content": "ok"}
            ])
        );
    }

    #[test]
    fn sound_goes_where_the_protocol_carries_it() {
        let file = |mime_type: &str| Part::File { mime_type: mime_type.to_owned(), name: None, data: "AA==".to_owned() };
        let said = |mime_type: &str| {
            let parts = vec![Part::Text { text: "<audio/>".to_owned() }, file(mime_type)];
            request(&prompt(vec![Turn::Said { role: Role::User, parts }]))["messages"][0]["content"].clone()
        };
        assert_eq!(said("audio/mpeg")[1], json!({"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}}));
        assert_eq!(said("audio/WAV; codecs=1")[1]["input_audio"]["format"], "wav");
        assert_eq!(said("audio/ogg; codecs=opus"), json!("<audio/>"));
        assert_eq!(said("application/pdf")[1]["file"]["filename"], "document.pdf");
    }

    #[test]
    fn thinking_is_not_said() {
        assert_eq!(answer(&json!({"content": "<think>\nhm\n</think>\n\nHi"})).text, "Hi");
        assert_eq!(answer(&json!({"content": "<think>never done"})).text, "");
        assert_eq!(answer(&json!({"content": [{"type": "thinking", "thinking": [{"text": "hm"}]}, {"type": "text", "text": "Hi"}]})).text, "Hi");
    }
}
