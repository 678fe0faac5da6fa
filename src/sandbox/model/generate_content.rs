//! Google's Gemini API: `POST …/models/{model}:generateContent`. What it refuses is worded as Google words it.

use serde_json::{Value, json};

use super::{
    Turn,
    api::{Api, Asked, Checked, Heard, Refusal, Usage, id, items, plain, refuse, unknown},
    understand::size,
};

pub(super) struct GenerateContent;

/// Comes with calls and has to come back with them, from models of the third generation on. Base64.
const SIGNATURE: &str = "c2FuZGJveCBzaWduYXR1cmU=";
/// Stand for the signature of calls that another model made.
const NO_SIGNATURE: [&str; 2] = ["skip_thought_signature_validator", "context_engineering_is_the_way_to_go"];

const KNOWN: &str = "cachedContent contents generationConfig model safetySettings serviceTier systemInstruction toolConfig tools";
const CONFIG: &str = "candidateCount enableEnhancedCivicAnswers frequencyPenalty logprobs maxOutputTokens mediaResolution presencePenalty \
    responseJsonSchema responseLogprobs responseMimeType responseModalities responseSchema seed speechConfig stopSequences \
    temperature thinkingConfig topK topP";
const PART: &str = "codeExecutionResult executableCode fileData functionCall functionResponse inlineData mediaResolution text thought \
    thoughtSignature videoMetadata";
/// What the API's own kind of schemas has; JSON Schema has more.
const SCHEMA: &str = "anyOf default description enum example format items maxItems maxLength maxProperties maximum minItems minLength minProperties \
    minimum nullable pattern properties propertyOrdering required title type";

impl Api for GenerateContent {
    const NAME: &'static str = "generate_content";

    fn key<'a>(asked: &'a Asked) -> &'a str {
        let header = asked.header("x-goog-api-key");
        if header.is_empty() { asked.query.get("key").map_or("", String::as_str) } else { header }
    }

    fn check(asked: &Asked) -> Checked {
        let body = &asked.body;
        known(body, KNOWN, "")?;
        known(&body["generationConfig"], CONFIG, "generation_config")?;
        let thinking = &body["generationConfig"]["thinkingConfig"];
        if !thinking["thinkingLevel"].is_null() && !thinking["thinkingBudget"].is_null() {
            return refuse("You can only set only one of thinking budget and thinking level.");
        }
        if !body["systemInstruction"].is_null() {
            check_parts(&body["systemInstruction"], "system_instruction")?;
        }
        for (at, tool) in items(&body["tools"]).iter().enumerate() {
            for (n, function) in items(&tool["functionDeclarations"]).iter().enumerate() {
                check_function(function, &format!("tools[{at}].function_declarations[{n}]"))?;
            }
        }
        let contents = items(&body["contents"]);
        check_contents(contents)?;
        if asked.model.contains("gemini-2") || asked.model.contains("gemini-1") { Ok(()) } else { check_signatures(contents) }
    }

    fn heard(body: &Value) -> Heard {
        let mut heard = Heard::default();
        for content in items(&body["contents"]) {
            if content["role"] == "model" {
                heard = Heard::default();
                continue;
            }
            for part in items(&content["parts"]) {
                if let Some(text) = part["text"].as_str() {
                    heard.text(text);
                } else if part["functionResponse"].is_object() {
                    heard.result(&part["functionResponse"]["response"]);
                } else {
                    let file = if part["inlineData"].is_null() { &part["fileData"] } else { &part["inlineData"] };
                    heard.file(file["mimeType"].as_str().unwrap_or_default());
                }
            }
        }
        heard
    }

    fn answer(asked: &Asked, turn: &Turn, usage: Usage) -> Value {
        let mut parts: Vec<Value> = turn.text.iter().filter(|text| !text.is_empty()).map(|text| json!({"text": text})).collect();
        for (at, call) in turn.calls.iter().enumerate() {
            let mut part = json!({"functionCall": {"name": call.name, "args": call.object()}});
            if at == 0 {
                part["thoughtSignature"] = json!(SIGNATURE);
            }
            if asked.model.contains("gemini-3") {
                part["functionCall"]["id"] = json!(id(""));
            }
            parts.push(part);
        }
        let finish = match turn.finish.as_deref() {
            None => "STOP",
            Some("length") => "MAX_TOKENS",
            Some("content_filter") => "SAFETY",
            Some(word) => word,
        };
        let mut content = json!({"role": "model"});
        if !parts.is_empty() {
            content["parts"] = json!(parts);
        }
        let mut candidate = json!({"finishReason": finish, "index": 0, "content": content});
        if finish == "SAFETY"
            && let Some(candidate) = candidate.as_object_mut()
        {
            candidate.remove("content");
        }
        json!({"candidates": [candidate], "modelVersion": asked.model, "responseId": id(""),
            "usageMetadata": {"promptTokenCount": usage.input, "candidatesTokenCount": usage.output, "totalTokenCount": usage.total(),
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input}]}})
    }

    fn error(refusal: &Refusal) -> Value {
        let status = match refusal.status {
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            429 => "RESOURCE_EXHAUSTED",
            503 => "UNAVAILABLE",
            504 => "DEADLINE_EXCEEDED",
            500.. => "INTERNAL",
            _ => "INVALID_ARGUMENT",
        };
        json!({"error": {"code": refusal.status, "message": refusal.message, "status": status}})
    }

    fn too_long(tokens: usize, most: usize) -> Refusal {
        Refusal::new(400, format!("The input token count ({tokens}) exceeds the maximum number of tokens allowed ({most})."))
    }

    /// The original answers 403 and 400 where the others answer 401.
    fn keyless(missing: bool) -> Refusal {
        let missed = "Request is missing required authentication credential. Expected OAuth 2 access token or other valid credential.";
        Refusal::new(401, if missing { missed } else { "API key not valid. Please pass a valid API key." })
    }

    fn understanding(body: &Value) -> Option<Value> {
        let data = items(&body["contents"]).iter().flat_map(|content| items(&content["parts"])).find_map(|part| part.get("inlineData"))?;
        let bytes = size(data["data"].as_str().unwrap_or_default()).unwrap_or(0);
        let kind = data["mimeType"].as_str().unwrap_or_default();
        (body["generationConfig"]["responseMimeType"] == "application/json")
            .then(|| json!({"description": format!("A file of type {kind}"), "transcription": format!("{bytes} bytes")}))
    }
}

/// Google takes its fields' names in both spellings; this product writes one of them.
fn known(object: &Value, names: &str, place: &str) -> Checked {
    let Some(name) = unknown(object, names) else { return Ok(()) };
    let at = if place.is_empty() { String::new() } else { format!(" at '{place}'") };
    refuse(format!("Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field."))
}

fn check_function(function: &Value, place: &str) -> Checked {
    known(function, "name description parameters parametersJsonSchema response responseJsonSchema behavior", place)?;
    let name = function["name"].as_str().unwrap_or_default();
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins || !plain(&name.replace(['.', ':'], "_")) || name.len() > 64 {
        let rule =
            "Must start with a letter or an underscore. Must be alphanumeric, underscores, dots, colons or dashes, with a maximum length of 64.";
        return refuse(format!("* GenerateContentRequest.{place}.name: [FIELD_INVALID] Invalid function name. {rule}\n"));
    }
    if !function["parameters"].is_null() && !function["parametersJsonSchema"].is_null() {
        return refuse(format!("* GenerateContentRequest.{place}: parameters and parameters_json_schema must not both be set.\n"));
    }
    check_schema(&function["parameters"], &format!("{place}.parameters"))
}

fn check_schema(schema: &Value, place: &str) -> Checked {
    known(schema, SCHEMA, place)?;
    if schema["type"].is_array() {
        return refuse(format!(
            "Invalid JSON payload received. Unknown name \"type\" at '{place}': Proto field is not repeating, cannot start list."
        ));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        check_schema(property, &format!("{place}.properties[{name}]"))?;
    }
    for (at, choice) in items(&schema["anyOf"]).iter().enumerate() {
        check_schema(choice, &format!("{place}.any_of[{at}]"))?;
    }
    check_schema_of_items(&schema["items"], place)
}

fn check_schema_of_items(schema: &Value, place: &str) -> Checked {
    if schema.is_null() { Ok(()) } else { check_schema(schema, &format!("{place}.items")) }
}

/// How many calls and how many responses a content holds.
fn check_parts(content: &Value, place: &str) -> Result<(usize, usize), Refusal> {
    let refused = |text: String| Err(Refusal::new(400, text));
    known(content, "role parts", place)?;
    let parts = items(&content["parts"]);
    if parts.is_empty() {
        return refused(format!("* GenerateContentRequest.{place}.parts: contents.parts must not be empty.\n"));
    }
    let (mut calls, mut responses) = (0, 0);
    for (n, part) in parts.iter().enumerate() {
        let place = format!("{place}.parts[{n}]");
        known(part, PART, &place)?;
        let structure = |name: &str, field: &Value| {
            let text = format!("Invalid value at '{place}.{name}' (type.googleapis.com/google.protobuf.Struct), {field}");
            if field.is_object() { Ok(()) } else { Err(Refusal::new(400, text)) }
        };
        let (call, response, file) = (&part["functionCall"], &part["functionResponse"], &part["inlineData"]);
        if call.is_object() {
            calls += 1;
            if !call["args"].is_null() {
                structure("function_call.args", &call["args"])?;
            }
        } else if response.is_object() {
            responses += 1;
            structure("function_response.response", &response["response"])?;
        } else if file.is_object() {
            if file["mimeType"].as_str().is_none_or(str::is_empty) {
                return refused(format!("* GenerateContentRequest.{place}.inline_data.mime_type: mime_type must be set.\n"));
            }
            if file["data"].as_str().is_none_or(|data| data.starts_with("data:") || size(data).is_none()) {
                return refused(format!("Invalid value at '{place}.inline_data.data' (TYPE_BYTES), Base64 decoding failed."));
            }
        } else if !part["fileData"].is_object() && part["text"].as_str().is_none_or(str::is_empty) {
            return refused(format!("* GenerateContentRequest.{place}.data: required oneof field 'data' must have one initialized field\n"));
        }
        let nameless = |what: &Value| what.is_object() && what["name"].as_str().is_none_or(str::is_empty);
        if nameless(call) || nameless(response) {
            return refused(format!("* GenerateContentRequest.{place}: [REQUIRED_FIELD_MISSING] the function's name must be set.\n"));
        }
    }
    Ok((calls, responses))
}

/// The turn of calls comes after the user's or after responses, and as many responses directly after it.
fn check_contents(contents: &[Value]) -> Checked {
    if contents.is_empty() {
        return refuse("* GenerateContentRequest.contents: contents is not specified\n");
    }
    let (mut before, mut open) = ("", 0);
    for (at, content) in contents.iter().enumerate() {
        let role = match content["role"].as_str() {
            None if contents.len() == 1 => "user",
            Some("function") => "user",
            Some(role @ ("user" | "model")) => role,
            _ => return refuse("Please use a valid role: user, model."),
        };
        let (calls, responses) = check_parts(content, &format!("contents[{at}]"))?;
        if responses > 0 && (open == 0 || role == "model") {
            return refuse("Please ensure that function response turn comes immediately after a function call turn.");
        }
        if responses != open {
            let text =
                "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.";
            return refuse(text);
        }
        if calls > 0 && (role != "model" || before != "user") {
            return refuse("Please ensure that function call turn comes immediately after a user turn or after a function response turn.");
        }
        (before, open) = (role, calls);
    }
    if before == "model" {
        return refuse("Please ensure that multiturn requests end with a user role or a function response.");
    }
    Ok(())
}

/// Since the user spoke last, the first call of every step has its signature.
fn check_signatures(contents: &[Value]) -> Checked {
    let speaks = |content: &Value| content["role"] != "model" && items(&content["parts"]).iter().any(|part| part["functionResponse"].is_null());
    let begin = contents.iter().rposition(speaks).unwrap_or(0);
    for (at, content) in contents.iter().enumerate().skip(begin) {
        let Some(part) = items(&content["parts"]).iter().find(|part| part["functionCall"].is_object()) else { continue };
        let name = part["functionCall"]["name"].as_str().unwrap_or_default();
        match part["thoughtSignature"].as_str() {
            Some(signature) if signature == SIGNATURE || NO_SIGNATURE.contains(&signature) => {}
            Some(_) => return refuse("Corrupted thought signature."),
            None => {
                let why = "This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance.";
                let place = format!("Additional data, function call `default_api:{name}` , position {}.", at + 1);
                return refuse(format!("Function call is missing a thought_signature in functionCall parts. {why} {place}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::model::tests::refusal;

    fn refused(contents: Value) -> String {
        refusal::<GenerateContent>("gemini-3-flash-preview", json!({"contents": contents})).unwrap_or_default()
    }

    #[test]
    fn as_many_responses_as_calls() {
        let call = json!({"functionCall": {"name": "add", "args": {}}, "thoughtSignature": SIGNATURE});
        let response = json!({"functionResponse": {"name": "add", "response": {"r": 1}}});
        let text = json!({"text": "hi"});
        let user = |parts: Value| json!({"role": "user", "parts": parts});
        let model = |parts: Value| json!({"role": "model", "parts": parts});
        assert_eq!(refused(json!([user(json!([text])), model(json!([text, call, call])), user(json!([response, response, text]))])), "");
        for wrong in [json!([response]), json!([text]), json!([response, response, response])] {
            let contents = json!([user(json!([text])), model(json!([call, call])), user(wrong)]);
            assert!(refused(contents).contains("the number of function response parts"));
        }
        assert!(refused(json!([user(json!([response]))])).contains("immediately after a function call turn"));
        assert!(refused(json!([model(json!([call])), user(json!([response]))])).contains("immediately after a user turn"));
        assert!(refused(json!([user(json!([text])), model(json!([text]))])).contains("end with a user role"));
        assert!(refused(json!([{"role": "assistant", "parts": [text]}])).contains("valid role"));
        assert!(refused(json!([])).contains("contents is not specified"));
    }

    #[test]
    fn signatures_come_back_in_the_current_turn() {
        let call = json!({"functionCall": {"name": "add", "args": {}}});
        let step = |call: &Value| {
            [json!({"role": "model", "parts": [call]}), json!({"role": "user", "parts": [{"functionResponse": {"name": "add", "response": {}}}]})]
        };
        let user = json!({"role": "user", "parts": [{"text": "hi"}]});
        let [calls, results] = step(&call);
        assert!(refused(json!([user, calls, results])).contains("missing a thought_signature"));
        assert_eq!(refused(json!([user, calls, results, {"role": "model", "parts": [{"text": "ho"}]}, user])), "");
        for (signature, fine) in [(NO_SIGNATURE[0], true), (SIGNATURE, true), ("ZWxzZQ==", false)] {
            let mut signed = call.clone();
            signed["thoughtSignature"] = json!(signature);
            let [calls, results] = step(&signed);
            assert_eq!(refused(json!([user, calls, results])).is_empty(), fine);
        }
    }

    #[test]
    fn what_parts_hold() {
        let part = |part: Value| refused(json!([{"parts": [part]}]));
        assert_eq!(part(json!({"inlineData": {"mimeType": "audio/ogg", "data": "AAAA"}})), "");
        assert!(part(json!({"inlineData": {"mimeType": "audio/ogg", "data": "data:audio/ogg;base64,AAAA"}})).contains("Base64"));
        assert!(part(json!({"text": ""})).contains("required oneof field"));
        assert!(part(json!({"type": "text", "text": "hi"})).contains("Unknown name \"type\" at 'contents[0].parts[0]'"));
        let user = json!({"role": "user", "parts": [{"text": "hi"}]});
        let call = json!({"role": "model", "parts": [{"functionCall": {"name": "add", "args": "{"}}]});
        assert!(refused(json!([user, call])).contains("google.protobuf.Struct"));
    }

    #[test]
    fn what_is_beside_the_contents() {
        let tool = |function: Value| {
            let body = json!({"contents": [{"parts": [{"text": "hi"}]}], "tools": [{"functionDeclarations": [function]}]});
            refusal::<GenerateContent>("", body).unwrap_or_default()
        };
        let closed = json!({"type": "object", "properties": {}, "additionalProperties": false});
        assert_eq!(tool(json!({"name": "add", "parametersJsonSchema": closed})), "");
        assert!(tool(json!({"name": "add", "parameters": closed})).contains("Unknown name \"additionalProperties\""));
        let inner = json!({"type": "object", "properties": {"a": {"type": ["string", "null"]}}});
        assert!(tool(json!({"name": "add", "parameters": inner})).contains("properties[a]"));
        assert!(tool(json!({"name": "1 add"})).contains("Invalid function name"));
        let body = json!({"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"max_tokens": 9}});
        assert!(refusal::<GenerateContent>("", body).unwrap_or_default().contains("max_tokens"));
    }
}
