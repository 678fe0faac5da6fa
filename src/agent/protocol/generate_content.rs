//! Google's Gemini API: `POST {base}/models/{model}:generateContent`. What it accepts is described at
//! <https://ai.google.dev/api/generate-content> and, for signatures, <https://ai.google.dev/gemini-api/docs/thought-signatures>.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::failure::{failure, parse};
use super::{call, essence};
use crate::agent::{Call, CallResult, Failure, Part, Prompt, Reply, Role, Thinking, Turn, Usage};

/// Google's word for a call that no Gemini model made: Gemini 3 and later refuse a call without a signature.
const NO_SIGNATURE: &str = "context_engineering_is_the_way_to_go";

/// Where it is asked; `base` ends in the version, e.g. `https://generativelanguage.googleapis.com/v1beta`. The model may be named as
/// `gemini-…` or `models/gemini-…`.
pub fn url(base: &str, model: &str) -> String {
    let mut url = format!("{base}/models/");
    for byte in bare(model).bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url + ":generateContent"
}

/// The headers beside `content-type`; they hold the key.
pub fn headers(key: &str) -> Vec<(&'static str, String)> {
    vec![("x-goog-api-key", key.to_owned())]
}

/// The body of the request.
pub fn request(prompt: &Prompt) -> Value {
    // Older models do not ask for signatures, and might not know the word.
    let signed = generation(&prompt.model).is_none_or(|generation| generation >= 3);
    let mut body = json!({"contents": conversation(&prompt.turns, signed)});
    if !prompt.system.trim().is_empty() {
        body["systemInstruction"] = json!({"parts": [{"text": prompt.system}]});
    }
    if !prompt.tools.is_empty() {
        let functions: Vec<Value> =
            prompt.tools.iter().map(|t| json!({"name": t.name, "description": t.description, "parametersJsonSchema": t.parameters})).collect();
        body["tools"] = json!([{"functionDeclarations": functions}]);
        body["toolConfig"] = json!({"functionCallingConfig": {"mode": "AUTO"}});
    }
    let mut config = Map::new();
    if let Some(temperature) = prompt.temperature {
        config.insert("temperature".to_owned(), json!(temperature));
    }
    if let Some(tokens) = prompt.max_tokens {
        config.insert("maxOutputTokens".to_owned(), json!(tokens));
    }
    if let Some(thinking) = prompt.thinking {
        config.insert("thinkingConfig".to_owned(), thinking_config(bare(&prompt.model), thinking));
    }
    if !config.is_empty() {
        body["generationConfig"] = Value::Object(config);
    }
    body
}

fn bare(model: &str) -> &str {
    model.strip_prefix("models/").unwrap_or(model)
}

/// E.g. 3 of `gemini-3.5-flash`; none for other names, `gemini-flash-latest` among them.
fn generation(model: &str) -> Option<u32> {
    bare(model).strip_prefix("gemini-")?.split(['.', '-']).next()?.parse().ok()
}

/// Generations from 3 on take a level, others a number of tokens.
fn thinking_config(model: &str, thinking: Thinking) -> Value {
    if generation(model).is_some_and(|generation| generation >= 3) {
        // All know low, medium and high; only these know minimal.
        let least = model.contains("flash-lite") || model.starts_with("gemini-3-flash") || model.starts_with("gemini-3.5-flash");
        return json!({"thinkingLevel": match thinking {
            Thinking::Minimal if least => "minimal",
            Thinking::Minimal | Thinking::Low => "low",
            Thinking::Medium => "medium",
            Thinking::High => "high",
        }});
    }
    // Within what each of the 2.5 family takes.
    json!({"thinkingBudget": match thinking {
        Thinking::Minimal => 512,
        Thinking::Low => 1024,
        Thinking::Medium => 8192,
        Thinking::High => 24576,
    }})
}

#[derive(Serialize)]
struct Content {
    role: &'static str,
    parts: Vec<Value>,
}

/// The turns, the user first and last, and in alternation; `signed` for models that want each call signed.
fn conversation(turns: &[Turn], signed: bool) -> Vec<Content> {
    let mut contents: Vec<Content> = Vec::new();
    for turn in turns {
        match turn {
            Turn::Said { role: Role::User, parts } => push(&mut contents, "user", parts.iter().filter_map(part).collect()),
            // Files are the user's only.
            Turn::Said { role: Role::Assistant, parts } => {
                let texts = parts.iter().filter(|part| matches!(part, Part::Text { .. }));
                push(&mut contents, "model", texts.filter_map(part).collect());
            }
            Turn::Calls { text, calls, state } => push(&mut contents, "model", call_parts(text, calls, state.as_ref(), signed)),
            Turn::Results { results } => {
                let asked = contents.last().map_or(&[][..], |content| &content.parts);
                let answers = results.iter().map(|result| result_part(result, asked)).collect();
                push(&mut contents, "user", answers);
            }
        }
    }
    if contents.first().is_some_and(|content| content.role == "model") {
        contents.insert(0, Content { role: "user", parts: vec![json!({"text": "(the conversation begins with our message)"})] });
    }
    if contents.last().is_none_or(|content| content.role == "model") {
        push(&mut contents, "user", vec![json!({"text": "(continue)"})]);
    }
    contents
}

fn push(contents: &mut Vec<Content>, role: &'static str, parts: Vec<Value>) {
    match contents.last_mut() {
        _ if parts.is_empty() => {}
        Some(last) if last.role == role => last.parts.extend(parts),
        _ => contents.push(Content { role, parts }),
    }
}

/// What the model can read of it. A kind of file that Gemini does not know fails the whole request.
fn part(part: &Part) -> Option<Value> {
    match part {
        Part::Text { text } => (!text.trim().is_empty()).then(|| json!({"text": text})),
        Part::File { mime_type, data, .. } => {
            let mime_type = essence(mime_type);
            let readable = match mime_type.split_once('/') {
                Some(("image", kind)) => !matches!(kind, "gif" | "svg+xml"),
                Some((kind, _)) => matches!(kind, "audio" | "video" | "text") || mime_type == "application/pdf",
                None => false,
            };
            readable.then(|| json!({"inlineData": {"mimeType": mime_type, "data": data}}))
        }
    }
}

/// The calls with what the model said beside them: as the model sent them, signatures and all, where that still holds the same calls.
fn call_parts(text: &str, calls: &[Call], state: Option<&Value>, signed: bool) -> Vec<Value> {
    let ours = state.filter(|state| state["protocol"] == "generate_content").and_then(|state| state["parts"].as_array());
    if let Some(parts) = ours {
        let names = parts.iter().filter_map(|part| part["functionCall"]["name"].as_str());
        if names.eq(calls.iter().map(|call| call.name.as_str())) {
            return parts.clone();
        }
    }
    let mut parts = Vec::new();
    if !text.trim().is_empty() {
        parts.push(json!({"text": text}));
    }
    for (index, call) in calls.iter().enumerate() {
        let mut part = json!({"functionCall": {"id": call.id, "name": call.name, "args": call.object()}});
        // Of calls side by side the first alone bears a signature.
        if signed && index == 0 {
            part["thoughtSignature"] = json!(NO_SIGNATURE);
        }
        parts.push(part);
    }
    parts
}

/// The answer to one of the calls in `asked`. It has an id where the call went with one: ids of ours are unknown to Gemini.
fn result_part(result: &CallResult, asked: &[Value]) -> Value {
    let response = match serde_json::from_str(&result.content) {
        _ if result.is_error => json!({"error": result.content}),
        Ok(Value::Object(object)) => Value::Object(object),
        _ => json!({"result": result.content}),
    };
    let mut function = json!({"name": result.name, "response": response});
    if asked.iter().any(|part| part["functionCall"]["id"] == *result.id) {
        function["id"] = json!(result.id);
    }
    json!({"functionResponse": function})
}

/// What the model answered, from the status, the seconds of `retry-after` and the body.
///
/// # Errors
/// See [`Failure`].
pub fn response(status: u16, retry_after: Option<f64>, body: &[u8]) -> Result<Reply, Failure> {
    if !(200..300).contains(&status) {
        return Err(failure(status, retry_after, body));
    }
    let body = parse(body)?;
    if let Some(reason) = body["promptFeedback"]["blockReason"].as_str() {
        return Err(Failure::Hopeless(format!("the model's provider refused the conversation (blockReason {reason})")));
    }
    let candidate = &body["candidates"][0];
    if candidate.is_null() {
        return Err(Failure::Later(None, "the model's answer holds no candidates".to_owned()));
    }
    let parts = candidate["content"]["parts"].as_array().map_or(&[][..], Vec::as_slice);
    let text: String = parts.iter().filter(|part| part["thought"] != true).filter_map(|part| part["text"].as_str()).collect();
    let text = text.trim().to_owned();
    let functions = parts.iter().map(|part| &part["functionCall"]).filter(|function| function.is_object()).enumerate();
    // Models before Gemini 3 give no ids.
    let calls: Vec<Call> = functions.map(|(index, f)| call(&f["id"], f["name"].as_str().unwrap_or_default(), &f["args"], index)).collect();
    finished(candidate["finishReason"].as_str().unwrap_or_default(), text.is_empty() && calls.is_empty())?;

    let state = (!calls.is_empty()).then(|| json!({"protocol": "generate_content", "parts": parts}));
    Ok(Reply { text, calls, state, usage: usage(&body["usageMetadata"]) })
}

/// Whether the answer is one; `nothing` when it neither says nor calls anything.
fn finished(reason: &str, nothing: bool) -> Result<(), Failure> {
    match reason {
        "SAFETY" | "RECITATION" | "PROHIBITED_CONTENT" | "BLOCKLIST" | "SPII" | "LANGUAGE" => {
            Err(Failure::Hopeless(format!("the model's provider withheld the answer (finishReason {reason})")))
        }
        "MAX_TOKENS" if nothing => {
            Err(Failure::Hopeless("the model used up its tokens before it had answered (finishReason MAX_TOKENS): raise max_tokens".to_owned()))
        }
        // It did not get a call right; the next attempt often does.
        "MALFORMED_FUNCTION_CALL" => Err(Failure::Later(None, format!("the model called a tool in no proper form (finishReason {reason})"))),
        // A stop without words is its decision to say nothing.
        "STOP" | "MAX_TOKENS" | "" => Ok(()),
        _ if nothing => Err(Failure::Later(None, format!("the model stopped before it had said anything (finishReason {reason})"))),
        _ => Ok(()),
    }
}

fn usage(usage: &Value) -> Usage {
    let tokens = |key: &str| usage[key].as_u64().unwrap_or_default();
    let audio = |key: &str| {
        let details = usage[key].as_array().map_or(&[][..], Vec::as_slice);
        details.iter().filter(|detail| detail["modality"] == "AUDIO").filter_map(|detail| detail["tokenCount"].as_u64()).sum()
    };
    Usage {
        input: tokens("promptTokenCount"),
        cache_read: tokens("cachedContentTokenCount"),
        cache_write: 0,
        audio_input: audio("promptTokensDetails"),
        // The API counts thoughts beside the answer.
        output: tokens("candidatesTokenCount") + tokens("thoughtsTokenCount"),
        reasoning: tokens("thoughtsTokenCount"),
        audio_output: audio("candidatesTokensDetails"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(url("https://h/v1beta", "models/gemini-3-flash"), "https://h/v1beta/models/gemini-3-flash:generateContent");
        assert_eq!(url("https://h/v1beta", "../a b?ü"), "https://h/v1beta/models/..%2Fa%20b%3F%C3%BC:generateContent");
    }

    #[test]
    fn levels_and_budgets() {
        let config = |model: &str, thinking| request(&Prompt { model: model.into(), thinking: Some(thinking), ..Prompt::default() });
        for (model, thinking, expected) in [
            ("models/gemini-3-flash-preview", Thinking::Minimal, json!({"thinkingLevel": "minimal"})),
            ("gemini-3.1-pro-preview", Thinking::Minimal, json!({"thinkingLevel": "low"})),
            ("gemini-4-argon", Thinking::High, json!({"thinkingLevel": "high"})),
            ("gemini-2.5-flash", Thinking::Minimal, json!({"thinkingBudget": 512})),
            ("gemini-flash-latest", Thinking::High, json!({"thinkingBudget": 24576})),
        ] {
            assert_eq!(config(model, thinking)["generationConfig"]["thinkingConfig"], expected, "{model}");
        }
    }

    fn calls(ids: [&str; 2], state: Option<Value>) -> [Turn; 3] {
        let calls = ids.map(|id| Call { id: id.into(), name: "t".into(), arguments: json!({"a": 1}) });
        let results = ids.map(|id| CallResult { id: id.into(), name: "t".into(), content: "5".into(), is_error: false });
        [Turn::said(Role::User, "a"), Turn::Calls { text: " ".into(), calls: calls.into(), state }, Turn::Results { results: results.into() }]
    }

    fn asked(model: &str, turns: [Turn; 3]) -> Value {
        request(&Prompt { model: model.into(), turns: turns.into(), ..Prompt::default() })["contents"].take()
    }

    #[test]
    fn its_own_calls_return_as_they_came() {
        let parts = json!([{"text": "Hm.", "thought": true}, {"functionCall": {"name": "t", "args": {"a": 1}, "id": "g1"}, "thoughtSignature": "sig="},
            {"functionCall": {"name": "t", "args": {"a": 2}}}]);
        let state = || Some(json!({"protocol": "generate_content", "parts": parts}));
        let contents = asked("gemini-3-flash", calls(["g1", "call_1_ours"], state()));
        assert_eq!(contents[1], json!({"role": "model", "parts": parts}));
        let responses = &contents[2]["parts"];
        assert_eq!(responses[0]["functionResponse"], json!({"name": "t", "id": "g1", "response": {"result": "5"}}));
        assert_eq!(responses[1]["functionResponse"], json!({"name": "t", "response": {"result": "5"}}));
        // A call was left out since: as many answers as calls have to go.
        let [said, mut turn, results] = calls(["g1", "g2"], state());
        if let Turn::Calls { calls, .. } = &mut turn {
            calls.pop();
        }
        assert_eq!(asked("gemini-3-flash", [said, turn, results])[1]["parts"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn calls_of_other_models_are_marked() {
        let state = || Some(json!({"protocol": "messages", "content": []}));
        let parts = asked("gemini-3-flash", calls(["c1", "c2"], state()))[1]["parts"].take();
        assert_eq!(
            parts,
            json!([{"functionCall": {"id": "c1", "name": "t", "args": {"a": 1}}, "thoughtSignature": NO_SIGNATURE},
                {"functionCall": {"id": "c2", "name": "t", "args": {"a": 1}}}])
        );
        assert_eq!(asked("gemini-2.5-flash", calls(["c1", "c2"], state()))[1]["parts"][0].get("thoughtSignature"), None);
    }

    #[test]
    fn files_it_cannot_read_stay_away() {
        let file = |mime: &str| part(&Part::File { mime_type: mime.into(), name: None, data: "AA==".into() });
        let readable = ["image/webp", "audio/ogg; codecs=opus", "video/mp4", "text/csv", "application/pdf"];
        assert!(readable.iter().all(|mime| file(mime).is_some_and(|part| !part["inlineData"]["mimeType"].to_string().contains(';'))));
        assert!(["image/gif", "application/zip", "font/otf", ""].iter().all(|mime| file(mime).is_none()));
    }
}
