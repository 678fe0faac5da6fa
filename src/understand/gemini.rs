//! Google's Gemini as a reader of media: `POST {base}/models/{model}:generateContent` with the file inline
//! (ai.google.dev/api/generate-content). The key belongs in the header `x-goog-api-key`, never in the URL.

use serde_json::{Value, json};

use super::{
    Ask, Findings,
    answer::{failure, findings, unreadable},
    kind::mime,
    prompt::{RULES, Sort, sort, task},
};
use crate::{
    agent::{Failure, Usage},
    model::parse_json,
};

/// The API that keys of Google AI Studio are for.
pub const BASE: &str = "https://generativelanguage.googleapis.com/v1beta";

/// The most characters of base64 that a request may hold: with all the rest, it may have 20 MB.
pub const MOST_DATA: usize = 19_000_000;

/// Whether it reads files of this type.
pub fn supports(mime_type: &str) -> bool {
    let mime_type = mime("", mime_type, None);
    match mime_type.split_once('/') {
        Some(("audio", kind)) => matches!(kind, "wav" | "mp3" | "aiff" | "aac" | "ogg" | "flac" | "mp4" | "webm"),
        Some(("image", kind)) => matches!(kind, "png" | "jpeg" | "webp" | "heic" | "heif"),
        Some(("video", kind)) => matches!(kind, "mp4" | "mpeg" | "mov" | "avi" | "x-flv" | "mpg" | "webm" | "wmv" | "3gpp"),
        Some(("text", _)) => true,
        Some(("application", "pdf" | "json" | "xml" | "javascript" | "x-javascript" | "sql" | "x-sql" | "rtf")) => true,
        _ => false,
    }
}

/// Where the request goes. The model is the organization's to name, so that it cannot lead elsewhere.
pub fn url(base: &str, model: &str) -> String {
    let model = model.trim().trim_start_matches("models/");
    let model: String = model.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).collect();
    format!("{}/models/{}:generateContent", base.trim_end_matches('/'), model.trim_matches('.'))
}

/// The body of the request.
pub fn request(ask: &Ask) -> Value {
    let mime_type = mime(ask.kind, ask.mime_type, ask.name);
    let file = json!({"inlineData": {"mimeType": mime_type, "data": ask.data}});
    let task = json!({"text": task(ask)});
    // Google's advice: a single picture comes before the text.
    let parts = if sort(&mime_type) == Sort::Image { [file, task] } else { [task, file] };
    let text = json!({"type": "STRING", "nullable": true});
    json!({
        "systemInstruction": {"parts": [{"text": RULES}]},
        "contents": [{"role": "user", "parts": parts}],
        "generationConfig": {
            "responseMimeType": "application/json",
            "responseSchema": {
                "type": "OBJECT",
                "properties": {
                    "description": text,
                    "transcription": text,
                    "table": {"type": "ARRAY", "nullable": true, "items": {"type": "ARRAY", "items": {"type": "STRING"}}},
                },
                // What is short comes first: the rest may be cut off.
                "propertyOrdering": ["description", "table", "transcription"],
            },
        },
    })
}

/// What the response says, and what it cost. `retry_after` is the header's, in seconds.
pub fn response(status: u16, retry_after: Option<f64>, body: &[u8]) -> Result<(Findings, Usage), Failure> {
    if !(200..300).contains(&status) {
        return Err(failure(status, retry_after, body));
    }
    let body = parse_json(body).map_err(|error| unreadable(&format!("is no JSON: {error}")))?;
    if let Some(reason) = body["promptFeedback"]["blockReason"].as_str() {
        return Err(Failure::Hopeless(format!("Google refuses to have the file read (blockReason {reason})")));
    }
    let candidate = &body["candidates"][0];
    let parts = candidate["content"]["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text: String = parts.iter().filter(|part| part["thought"] != true).filter_map(|part| part["text"].as_str()).collect();
    if !text.trim().is_empty() {
        return Ok((findings(&text), usage(&body["usageMetadata"])));
    }
    Err(match candidate["finishReason"].as_str() {
        Some("MAX_TOKENS") => Failure::Hopeless("the model used up its tokens before it wrote anything about the file".to_owned()),
        Some(reason) if reason != "STOP" && reason != "OTHER" => {
            Failure::Hopeless(format!("Google withholds what the model wrote about the file (finishReason {reason})"))
        }
        _ => unreadable("is empty"),
    })
}

/// `usageMetadata`: its output does not contain the thinking, and its input contains what came from a cache.
fn usage(metadata: &Value) -> Usage {
    let count = |key: &str| metadata[key].as_u64().unwrap_or(0);
    let details = metadata["promptTokensDetails"].as_array().map(Vec::as_slice).unwrap_or_default();
    let audio = details.iter().filter(|detail| detail["modality"] == "AUDIO").filter_map(|detail| detail["tokenCount"].as_u64());
    let reasoning = count("thoughtsTokenCount");
    Usage {
        input: count("promptTokenCount"),
        cache_read: count("cachedContentTokenCount"),
        audio_input: audio.sum(),
        output: count("candidatesTokenCount") + reasoning,
        reasoning,
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::understand::fixtures;

    #[test]
    fn requests() {
        fixtures::check("gemini", |ask| Some(request(ask)));
    }

    #[test]
    fn types_and_urls() {
        let known = ["audio/ogg; codecs=opus", "audio/mpeg", "image/heic", "video/quicktime", "text/csv", "application/pdf", "application/json"];
        assert!(known.into_iter().all(supports));
        let unknown = ["audio/amr", "image/gif", "image/svg+xml", "application/zip", "", "application/msword"];
        assert!(!unknown.into_iter().any(supports));
        assert_eq!(url(BASE, "gemini-2.5-flash"), format!("{BASE}/models/gemini-2.5-flash:generateContent"));
        assert_eq!(url("https://h/v1beta/", "models/../../x?y#z"), "https://h/v1beta/models/xyz:generateContent");
    }

    fn answered(body: Value) -> Result<(Findings, Usage), Failure> {
        response(200, None, body.to_string().as_bytes())
    }

    #[test]
    fn responses() {
        let content = json!({"parts": [{"text": "hm", "thought": true}, {"text": "{\"description\""}, {"text": ": \"a cat\"}"}]});
        let metadata = json!({"promptTokenCount": 100, "candidatesTokenCount": 10, "thoughtsTokenCount": 5, "cachedContentTokenCount": 3,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 60}, {"modality": "AUDIO", "tokenCount": 40}]});
        let (found, usage) =
            answered(json!({"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": metadata})).expect("found");
        assert_eq!(found, Findings { description: Some("a cat".to_owned()), ..Findings::default() });
        assert_eq!(usage, Usage { input: 100, cache_read: 3, audio_input: 40, output: 15, reasoning: 5, ..Usage::default() });
        for body in [json!({"promptFeedback": {"blockReason": "SAFETY"}}), json!({"candidates": [{"finishReason": "RECITATION"}]})] {
            assert!(matches!(answered(body), Err(Failure::Hopeless(_))));
        }
        assert!(matches!(answered(json!({"candidates": [{"finishReason": "STOP"}]})), Err(Failure::Later(..))));
        assert!(matches!(response(200, None, b"<html>"), Err(Failure::Later(..))));
        assert!(matches!(response(400, None, b"{}"), Err(Failure::Hopeless(_))));
    }
}
