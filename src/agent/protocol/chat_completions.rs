//! OpenAI's Chat Completions, as OpenAI, Anthropic, Google, Groq and many servers speak it:
//! `POST {base}/chat/completions`.

use serde_json::{Value, json};

use crate::agent::{Endpoint, Failure, Prompt, Role, context::Named};

/// The body of the request.
pub fn request(endpoint: &Endpoint, agent: &Named, prompt: &Prompt) -> Value {
    let mut messages = vec![json!({"role": "system", "content": prompt.system})];
    messages.extend(prompt.turns.iter().map(|turn| {
        let role = match turn.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        json!({"role": role, "content": turn.text})
    }));
    let mut body = json!({"model": endpoint.model, "messages": messages});
    if let Some(temperature) = agent.setting("temperature").and_then(Value::as_f64) {
        body["temperature"] = json!(temperature);
    }
    if let Some(tokens) = agent.setting("max_tokens").and_then(Value::as_u64) {
        body["max_completion_tokens"] = json!(tokens);
    }
    body
}

/// The text of an answer; an empty one is the model's decision to say nothing.
pub fn response(status: u16, retry_after: Option<f64>, body: &[u8]) -> Result<String, Failure> {
    let parsed: Result<Value, _> = serde_json::from_slice(body);
    if !(200..300).contains(&status) {
        let body = parsed.unwrap_or_default();
        // Providers differ: {error: {message}}, {error: "…"}, [{error: {message}}].
        let error = if body.is_array() { &body[0]["error"] } else { &body["error"] };
        let message = error["message"].as_str().or(error.as_str()).unwrap_or("no message");
        let text = format!("the model answered {status}: {}", message.chars().take(500).collect::<String>());
        return Err(match status {
            408 | 409 | 425 | 429 | 500.. => Failure::Later(retry_after, text),
            _ => Failure::Hopeless(text),
        });
    }
    let body = parsed.map_err(|e| Failure::Later(None, format!("the model's answer is no JSON: {e}")))?;
    let choice = &body["choices"][0];
    let content = match &choice["message"]["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|p| p["text"].as_str()).collect(),
        _ => String::new(),
    };
    let content = content.trim();
    match choice["finish_reason"].as_str() {
        Some("content_filter") => Err(Failure::Hopeless("the model's provider withheld the answer (content_filter)".to_owned())),
        Some("length") if content.is_empty() => {
            Err(Failure::Hopeless("the model used up its tokens before it said anything (finish_reason length): raise max_tokens".to_owned()))
        }
        Some("tool_calls" | "function_call") if content.is_empty() => {
            Err(Failure::Hopeless("the model called a tool, but it was offered none".to_owned()))
        }
        _ if choice.is_null() => Err(Failure::Later(None, "the model's answer holds no choices".to_owned())),
        _ => Ok(content.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Turn;

    #[test]
    fn a_request() {
        let endpoint = Endpoint { base: String::new(), key: None, model: "m".into(), trusted: true };
        let agent: Named =
            serde_json::from_value(json!({"id": uuid::Uuid::nil(), "name": "A", "extra": {"temperature": 0.5, "max_tokens": 9}})).expect("an agent");
        let prompt = Prompt { system: "s".into(), turns: vec![Turn { role: Role::User, text: "hi".into() }], forget: false };
        assert_eq!(
            request(&endpoint, &agent, &prompt),
            json!({"model": "m", "temperature": 0.5, "max_completion_tokens": 9,
                "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]})
        );
    }

    fn answer(body: Value) -> Result<String, Failure> {
        response(200, None, body.to_string().as_bytes())
    }

    #[test]
    fn answers() {
        assert_eq!(answer(json!({"choices": [{"message": {"content": " hi "}, "finish_reason": "stop"}]})), Ok("hi".into()));
        assert_eq!(answer(json!({"choices": [{"message": {"content": [{"type": "text", "text": "hi"}]}}]})), Ok("hi".into()));
        assert_eq!(answer(json!({"choices": [{"message": {"content": "cut of"}, "finish_reason": "length"}]})), Ok("cut of".into()));
        assert!(matches!(answer(json!({"choices": [{"message": {"content": null}, "finish_reason": "length"}]})), Err(Failure::Hopeless(_))));
        assert!(matches!(answer(json!({"choices": []})), Err(Failure::Later(..))));
    }

    #[test]
    fn errors() {
        assert!(matches!(response(429, Some(3.0), b"{}"), Err(Failure::Later(Some(_), _))));
        assert!(matches!(response(503, None, b"<html>"), Err(Failure::Later(None, _))));
        let Err(Failure::Hopeless(text)) = response(401, None, br#"{"error":{"message":"bad key"}}"#) else { panic!("hopeless") };
        assert_eq!(text, "the model answered 401: bad key");
    }
}
