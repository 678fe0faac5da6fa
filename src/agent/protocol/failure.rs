//! Why a provider gave no answer, from its error: the same for all protocols, because gateways mix the dialects.
//!
//! Known shapes: `{error: {message, code, type}}` (OpenAI), `{error: {message, code, status, details}}` and an array of
//! it (Google), `{type: "error", error: {type, message}}` (Anthropic), `{error: "…"}` (xAI, Ollama), `{message}`
//! (Mistral, Cohere), `{detail}` (FastAPI), and `{error: {message, metadata: {raw}}}` (OpenRouter).

use serde_json::Value;

use crate::agent::Failure;

/// How much of a provider's message is kept, in characters.
const LONGEST: usize = 500;

/// The failure that a status outside 2xx means. The body may be anything.
pub(super) fn failure(status: u16, retry_after: Option<f64>, body: &[u8]) -> Failure {
    let error = match serde_json::from_slice(body) {
        Ok(body) => Error::of(&body),
        Err(_) => Error::of_text(&String::from_utf8_lossy(body)),
    };
    error.class(status, retry_after, format!("the model answered {status}"))
}

/// The failure that a body of a 2xx tells of, in `error`: `code` is a status (OpenRouter) or a name (Responses).
pub(super) fn inside(body: &Value) -> Failure {
    let error = Error::of(body);
    let status = match body["error"]["code"].as_u64().and_then(|code| u16::try_from(code).ok()) {
        Some(status) => status,
        None if error.says(&["rate_limit", "insufficient_quota"]) => 429,
        None if error.kind.trim().is_empty() || error.says(&["server_error", "timeout", "overloaded"]) => 500,
        None => 400,
    };
    error.class(status, None, "the model failed".to_owned())
}

/// The JSON of a 2xx. No JSON is a gateway's hiccup, so it is worth another try.
pub(super) fn parse(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body).map_err(|e| Failure::Later(None, format!("the model's answer is no JSON: {e}")))
}

/// What an error says.
struct Error {
    /// For people, without keys.
    message: String,
    /// Its code, type and status, in lower case.
    kind: String,
    /// Kind and message, in lower case, to look for phrases in.
    words: String,
    /// Seconds until another try, by Google's `RetryInfo`.
    delay: Option<f64>,
}

impl Error {
    fn of(body: &Value) -> Self {
        let body = if body.is_array() { &body[0] } else { body };
        let error = &body["error"];
        let message = [&error["message"], error, &body["message"], &body["detail"]];
        let mut message = match message.iter().find_map(|m| m.as_str()) {
            Some(message) => message.to_owned(),
            // FastAPI lists what is wrong with the fields.
            None if body["detail"].is_array() => body["detail"].to_string(),
            None => "no message".to_owned(),
        };
        // OpenRouter's own message is only "Provider returned error".
        if let Some(raw) = error["metadata"]["raw"].as_str() {
            message = format!("{message}: {raw}");
        }
        let kind = [&error["code"], &error["type"], &error["status"], &body["code"], &body["type"]];
        let kind: Vec<_> = kind.into_iter().filter(|k| !k.is_null()).map(|k| k.to_string().replace('"', "")).collect();
        let delay = error["details"].as_array().into_iter().flatten().find_map(|d| d["retryDelay"].as_str()?.strip_suffix('s')?.parse().ok());
        Self::new(&message, kind.join(" "), delay)
    }

    fn of_text(text: &str) -> Self {
        let text = text.trim();
        // A page of HTML is a gateway's and says no more than its status.
        let message = if text.is_empty() || text.starts_with('<') { "no message" } else { text };
        Self::new(message, String::new(), None)
    }

    fn new(message: &str, kind: String, delay: Option<f64>) -> Self {
        let kind = kind.to_lowercase();
        let words = format!("{kind} {}", message.to_lowercase());
        Self { message: without_keys(message).chars().take(LONGEST).collect(), kind, words, delay }
    }

    fn says(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.words.contains(phrase))
    }

    fn class(self, status: u16, retry_after: Option<f64>, prefix: String) -> Failure {
        let text = format!("{prefix}: {}", self.message);
        match status {
            413 => Failure::TooLong(text),
            400 | 422 if self.too_long() => Failure::TooLong(text),
            // OpenAI's word for one request beyond the tokens of a whole minute: waiting does not help, less does.
            429 if self.says(&["request too large"]) => Failure::TooLong(text),
            429 if self.unpaid() => Failure::Hopeless(text),
            // Groq refuses a call that its model wrote badly; the next one may be well-formed.
            400 if self.says(&["tool_use_failed"]) => Failure::Later(retry_after, text),
            408 | 409 | 425 | 429 | 500.. => Failure::Later(retry_after.or(self.delay), text),
            _ => Failure::Hopeless(text),
        }
    }

    /// Whether there is more to read than the model can.
    fn too_long(&self) -> bool {
        const PHRASES: [&str; 13] = [
            "context_length_exceeded",
            "request_too_large",
            "exceed_context_size",
            "maximum context length",
            "maximum prompt length",
            "exceeds the context window",
            "exceed context limit",
            "exceeds the available context size",
            "prompt is too long",
            "input is too long",
            "too many tokens",
            "request too large",
            "reduce the length of the messages",
        ];
        self.says(&PHRASES) || self.says(&["input token count"]) && self.says(&["exceeds"])
    }

    /// Whether it is money that lacks, which no waiting brings. The mere word "billing" says nothing: Groq's and Google's
    /// limits per minute link to a page of that name, and Google's quotas, which do refill, have the very sentence that
    /// OpenAI has for an empty account.
    fn unpaid(&self) -> bool {
        let kind = ["insufficient_quota", "billing"].iter().any(|k| self.kind.contains(k));
        let refills = self.kind.contains("resource_exhausted");
        kind || self.says(&["credit balance", "credits are depleted", "insufficient credit", "insufficient balance", "insufficient_quota"])
            || !refills && self.says(&["billing details"])
    }
}

/// A provider's message with everything that looks like a key replaced by an ellipsis: some quote the key they refuse.
fn without_keys(message: &str) -> String {
    let mut clean = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        let begins = !clean.ends_with(|c: char| c.is_ascii_alphanumeric());
        if begins && let Some(length) = key_length(rest) {
            clean.push('…');
            rest = &rest[length..];
        } else {
            clean.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    clean
}

/// How many bytes at the beginning of a text look like a key, if any.
fn key_length(text: &str) -> Option<usize> {
    let prefix = ["Bearer ", "sk-", "AIza", "gsk_", "xai-"].into_iter().find(|prefix| {
        let start = text.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    })?;
    let key = &text[prefix.len()..];
    let end = key.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.*~+/=".contains(c)).unwrap_or(key.len());
    // A full stop ends the sentence, not the key.
    Some(prefix.len() + key[..end].trim_end_matches('.').len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(status: u16, body: Value) -> Failure {
        failure(status, None, body.to_string().as_bytes())
    }

    #[test]
    fn messages_of_all_shapes() {
        for body in [
            json!({"error": {"message": "no"}}),
            json!({"error": "no"}),
            json!([{"error": {"code": 403, "message": "no", "status": "PERMISSION_DENIED"}}]),
            json!({"type": "error", "error": {"type": "permission_error", "message": "no"}}),
            json!({"message": "no"}),
            json!({"detail": "no"}),
        ] {
            assert_eq!(of(403, body), Failure::Hopeless("the model answered 403: no".to_owned()));
        }
        assert_eq!(failure(502, None, b"upstream reset").text(), "the model answered 502: upstream reset");
        assert_eq!(failure(502, None, b"<html>").text(), "the model answered 502: no message");
        assert!(of(422, json!({"detail": [{"loc": ["body"], "msg": "field required"}]})).text().contains("field required"));
        assert_eq!(of(400, json!({"error": {"message": "ä".repeat(600)}})).text().chars().count(), "the model answered 400: ".len() + 500);
    }

    #[test]
    fn some_come_back() {
        for status in [408, 409, 425, 429, 500, 503, 529] {
            assert_eq!(failure(status, Some(3.0), b"{}"), Failure::Later(Some(3.0), format!("the model answered {status}: no message")));
        }
        let google = json!([{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED",
            "message": "You exceeded your current quota, please check your plan and billing details.",
            "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "26.5s"}]}}]);
        assert!(matches!(of(429, google), Failure::Later(Some(26.5), _)));
        let groq = json!({"error": {"message": "Rate limit reached. Please try again in 5s. Upgrade at https://console.groq.com/settings/billing",
            "type": "tokens", "code": "rate_limit_exceeded"}});
        assert!(matches!(of(429, groq), Failure::Later(..)));
        assert!(matches!(of(400, json!({"error": {"message": "Failed to call a function.", "code": "tool_use_failed"}})), Failure::Later(..)));
    }

    #[test]
    fn some_want_money() {
        for error in [
            json!({"message": "You exceeded your current quota, please check your plan and billing details.", "code": "insufficient_quota"}),
            json!({"message": "Your account is not active", "code": "billing_not_active"}),
            json!({"message": "Your credit balance is too low"}),
            json!({"message": "Your prepayment credits are depleted.", "status": "RESOURCE_EXHAUSTED"}),
        ] {
            assert!(matches!(of(429, json!({"error": error})), Failure::Hopeless(_)), "{error}");
        }
    }

    #[test]
    fn some_are_too_long() {
        for (status, error) in [
            (400, json!({"message": "Too much.", "code": "context_length_exceeded"})),
            (400, json!({"message": "prompt is too long: 210000 tokens > 200000 maximum"})),
            (400, json!({"message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."})),
            (413, json!({"type": "request_too_large", "message": "Request exceeds the maximum size"})),
            (429, json!({"message": "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 342389."})),
        ] {
            assert!(matches!(of(status, json!({"error": error})), Failure::TooLong(_)), "{error}");
        }
        let tokens = json!({"error": {"message": "max_tokens is too large: 99999. This model supports at most 16384 completion tokens"}});
        assert!(matches!(of(400, tokens), Failure::Hopeless(_)));
        assert!(matches!(of(429, json!({"error": "Too many tokens for team and model. Your limit is per minute."})), Failure::Later(..)));
    }

    #[test]
    fn errors_inside_an_answer() {
        assert!(matches!(inside(&json!({"error": {"code": 502, "message": "Provider returned error"}})), Failure::Later(..)));
        assert!(matches!(inside(&json!({"error": {"code": "server_error", "message": "Sorry"}})), Failure::Later(..)));
        assert!(matches!(inside(&json!({"error": {"code": "rate_limit_exceeded", "message": "Slow"}})), Failure::Later(..)));
        assert!(matches!(inside(&json!({"error": {"code": "insufficient_quota", "message": "Pay"}})), Failure::Hopeless(_)));
        assert!(matches!(inside(&json!({"error": {"code": "context_length_exceeded", "message": "Much"}})), Failure::TooLong(_)));
        assert_eq!(inside(&json!({"error": {"code": "invalid_prompt", "message": "Bad"}})), Failure::Hopeless("the model failed: Bad".to_owned()));
        assert!(matches!(inside(&json!({"error": {"message": "Unknown"}})), Failure::Later(..)));
    }

    #[test]
    fn keys_do_not_leak() {
        for (message, clean) in [
            ("Incorrect API key provided: sk-proj-ab_c1234. See https://h", "Incorrect API key provided: …. See https://h"),
            ("bad key (sk-ant-api03-AbC), and key=AIzaSyD-9_x&alt=json", "bad key (…), and key=…&alt=json"),
            ("\"Authorization: Bearer abc.def-123==\"", "\"Authorization: …\""),
            ("ask-me, risk-free, Ärger: gsk_1", "ask-me, risk-free, Ärger: …"),
        ] {
            assert_eq!(without_keys(message), clean);
        }
        let cut = of(401, json!({"error": {"message": format!("{}sk-{}", "x ".repeat(245), "a".repeat(60))}}));
        assert!(!cut.text().contains("sk-"));
    }
}
