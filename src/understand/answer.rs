//! What models answer, whoever they are: findings as JSON, or an error.

use serde_json::Value;

use super::{
    Findings,
    text::{clip, head},
};
use crate::{agent::Failure, model::parse_json};

/// Characters kept of a text that was to be JSON and is not.
const MOST_RAW: usize = 4_000;

/// The findings in what a model wrote. It was told to write JSON; what is none is taken for a description, unless it is
/// JSON that was cut off, of which is kept what there is.
pub fn findings(text: &str) -> Findings {
    let text = text.trim();
    // Some fence their JSON, whatever they are told.
    let inner = text.strip_prefix("```json").or(text.strip_prefix("```")).map_or(text, |inner| inner.trim_end_matches("```")).trim();
    let read = |json: &str| parse_json(json.as_bytes()).ok().and_then(from_json);
    let found = read(inner).or_else(|| closed(inner).iter().find_map(|json| read(json)));
    found.unwrap_or_else(|| Findings { description: Some(clip(text.to_owned(), MOST_RAW)), ..Findings::default() }).tidied()
}

/// Leniently: numbers are taken for their text, and what is of another kind is left out.
fn from_json(json: Value) -> Option<Findings> {
    let object = json.as_object()?;
    let known = ["transcription", "description", "table"].iter().any(|key| object.contains_key(*key));
    // Models write the word where null is meant.
    let text = |key: &str| object.get(key).and_then(Value::as_str).filter(|text| *text != "null").map(str::to_owned);
    let cell = |cell: &Value| match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let rows = object.get("table").and_then(Value::as_array);
    let table = rows.map(|rows| rows.iter().filter_map(Value::as_array).map(|row| row.iter().map(cell).collect()).collect());
    known.then(|| Findings { transcription: text("transcription"), description: text("description"), table })
}

/// An object that was cut off, closed: where it ends, and failing that before the member that it ends in.
fn closed(json: &str) -> [String; 2] {
    let mut open = Vec::new();
    let (mut quoted, mut member) = (false, 0);
    // Where the last escape began, and whether the character after its backslash is still to come.
    let (mut escape, mut escaping) = (0, false);
    for (at, character) in json.char_indices() {
        match character {
            _ if escaping => escaping = false,
            '\\' if quoted => (escape, escaping) = (at, true),
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' => open.push('}'),
            '[' => open.push(']'),
            '}' | ']' => drop(open.pop()),
            ',' if open.len() == 1 => member = at,
            _ => {}
        }
    }
    let half = escaping || json[escape..].starts_with("\\u") && json.len() < escape + 6;
    let mut text = if quoted && half { &json[..escape] } else { json }.trim_end_matches([',', ' ', '\n']).to_owned();
    text.extend(quoted.then_some('"'));
    text.extend(open.iter().rev());
    [text, json[..member].to_owned() + "}"]
}

/// Why there is no answer, of a response that is none. `retry_after` is the header's, in seconds.
///
/// Errors differ: `{error: {message, code, type}}` with OpenAI, `{error: {code, status, message, details}}` with
/// Google, alone or in an array.
pub fn failure(status: u16, retry_after: Option<f64>, body: &[u8]) -> Failure {
    let body = parse_json(body).unwrap_or_default();
    let error = if body.is_array() { &body[0]["error"] } else { &body["error"] };
    let message = error["message"].as_str().or(error.as_str()).unwrap_or("no message");
    let text = format!("the model that reads media answered {status}: {}", head(message, 500).0);
    let later = retry_after.or_else(|| delay(error));
    match status {
        429 if used_up(error, message, later.is_some()) => Failure::Hopeless(text),
        408 | 409 | 425 | 429 | 500.. => Failure::Later(later, text),
        _ => Failure::Hopeless(text),
    }
}

/// Google's `google.rpc.RetryInfo`, e.g. `{"retryDelay": "36s"}`, in seconds.
fn delay(error: &Value) -> Option<f64> {
    let details = error["details"].as_array()?;
    details.iter().find_map(|detail| detail["retryDelay"].as_str()?.strip_suffix('s')?.parse().ok())
}

/// Whether what was paid for, or is free for a day, is used up, so that asking again within hours would not help.
/// Google answers 429 `RESOURCE_EXHAUSTED` of limits per minute as well; its `google.rpc.QuotaFailure` tells which.
fn used_up(error: &Value, message: &str, has_delay: bool) -> bool {
    let kinds = [&error["code"], &error["type"]];
    if kinds.iter().any(|kind| matches!(kind.as_str(), Some("insufficient_quota" | "billing_hard_limit_reached"))) {
        return true;
    }
    let details = error["details"].as_array().map(Vec::as_slice).unwrap_or_default();
    let violations: Vec<&Value> = details.iter().filter_map(|detail| detail["violations"].as_array()).flatten().collect();
    if !violations.is_empty() {
        return violations.iter().any(|v| v["quotaId"].as_str().is_some_and(|id| id.contains("PerDay")) || v["quotaValue"] == "0");
    }
    !has_delay && ["plan and billing", "credit", "spending"].iter().any(|word| message.contains(word))
}

/// Why a response without findings is none, of one that is no JSON or has no answer in it.
pub fn unreadable(what: &str) -> Failure {
    Failure::Later(None, format!("the answer of the model that reads media {what}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers() {
        let found = findings(r#"{"transcription": "a\u0000b", "description": " ", "table": [["n", 1, null], []]}"#);
        let rows = vec![vec!["n".to_owned(), "1".to_owned()]];
        assert_eq!(found, Findings { transcription: Some("a\u{FFFD}b".to_owned()), description: None, table: Some(rows) });
        assert_eq!(findings("```json\n{\"description\": \"d\"}\n```").description.as_deref(), Some("d"));
        assert_eq!(findings("It is a cat.").description.as_deref(), Some("It is a cat."));
        assert_eq!(findings("{\"cat\": 1}").description.as_deref(), Some("{\"cat\": 1}"));
        assert_eq!(findings(""), Findings::default());
    }

    #[test]
    fn answers_that_were_cut_off() {
        let whole = r#"{"description": "d 😀", "table": [["a", "b"], ["c"]], "transcription": "one \"two\" \ud83d\ude00 \\ three"}"#;
        for (end, _) in whole.char_indices().filter(|(at, _)| *at > r#"{"description": "d 😀""#.len()) {
            assert_eq!(findings(&whole[..end]).description.as_deref(), Some("d 😀"), "{}", &whole[..end]);
        }
        let cut = findings(r#"{"description": "d", "transcription": "one \"tw"#);
        assert_eq!((cut.description.as_deref(), cut.transcription.as_deref()), (Some("d"), Some("one \"tw")));
        let escape = findings(r#"{"transcription": "one \ud83d\u"#);
        assert!(escape.transcription.is_some_and(|t| t.starts_with("one ")));
        assert_eq!(findings(r#"{"table": [["a", "b"], ["c"#).table.map(|rows| rows.len()), Some(2));
        assert_eq!(findings(r#"{"transcription": "a\"#).transcription.as_deref(), Some("a"));
    }

    fn refused(status: u16, error: Value) -> Failure {
        failure(status, None, json!({"error": error}).to_string().as_bytes())
    }

    #[test]
    fn limits_and_plans() {
        let exhausted = |id: &str| {
            json!({"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota, please check your plan and billing details.",
                "details": [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": id, "quotaValue": "20"}]},
                    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "36.5s"}]})
        };
        assert!(matches!(refused(429, exhausted("GenerateRequestsPerDayPerProjectPerModel-FreeTier")), Failure::Hopeless(_)));
        assert!(matches!(refused(429, exhausted("GenerateRequestsPerMinutePerProjectPerModel-FreeTier")), Failure::Later(Some(36.5), _)));
        let unclear = json!({"status": "RESOURCE_EXHAUSTED", "message": "Resource has been exhausted (e.g. check quota)."});
        assert!(matches!(refused(429, unclear), Failure::Later(None, _)));
        assert!(matches!(refused(429, json!({"message": "please check your plan and billing details"})), Failure::Hopeless(_)));
        assert!(matches!(refused(429, json!({"message": "x", "code": "insufficient_quota"})), Failure::Hopeless(_)));
        assert!(matches!(refused(429, json!({"message": "x", "code": "rate_limit_exceeded"})), Failure::Later(None, _)));
        assert!(matches!(failure(503, Some(2.0), b"<html>"), Failure::Later(Some(2.0), _)));
        let Failure::Hopeless(text) = failure(400, None, br#"[{"error": {"message": "bad key"}}]"#) else { panic!("hopeless") };
        assert_eq!(text, "the model that reads media answered 400: bad key");
    }
}
