//! OpenAI and who speaks like it as readers of media: pictures and PDFs by `POST {base}/chat/completions`, recordings
//! by `POST {base}/audio/transcriptions` (platform.openai.com/docs/api-reference).

use serde_json::{Value, json};

use super::{
    Ask, Findings,
    answer::{failure, findings, unreadable},
    kind::mime,
    prompt::{RULES, task},
};
use crate::{
    agent::{Failure, Usage},
    model::parse_json,
};

/// How a file is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Its speech is written down: [`fields`] and the file as a multipart form, answered by [`transcript`].
    Transcribe,
    /// It is looked at: [`request`], answered by [`response`].
    See,
}

/// In which way files of this type are read; none where they are not.
pub fn supports(mime_type: &str) -> Option<Way> {
    match mime("", mime_type, None).as_str() {
        "image/png" | "image/jpeg" | "image/webp" | "image/gif" | "application/pdf" => Some(Way::See),
        other => file(other).map(|_| Way::Transcribe),
    }
}

/// Where the request goes.
pub fn url(base: &str, way: Way) -> String {
    let path = match way {
        Way::Transcribe => "audio/transcriptions",
        Way::See => "chat/completions",
    };
    format!("{}/{path}", base.trim_end_matches('/'))
}

/// The body of the request to look at a file.
pub fn request(model: &str, ask: &Ask) -> Value {
    let mime_type = mime(ask.kind, ask.mime_type, ask.name);
    let url = format!("data:{mime_type};base64,{}", ask.data);
    let task = json!({"type": "text", "text": task(ask)});
    let content = if mime_type == "application/pdf" {
        // The name is only for the model, which has it in the task as well; without one the file is refused.
        json!([task, {"type": "file", "file": {"filename": "document.pdf", "file_data": url}}])
    } else {
        json!([{"type": "image_url", "image_url": {"url": url}}, task])
    };
    json!({
        "model": model,
        "messages": [{"role": "system", "content": RULES}, {"role": "user", "content": content}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "findings", "strict": true, "schema": {
            "type": "object",
            "properties": {
                // What is short comes first: the rest may be cut off.
                "description": {"type": ["string", "null"]},
                "table": {"type": ["array", "null"], "items": {"type": "array", "items": {"type": "string"}}},
                "transcription": {"type": ["string", "null"]},
            },
            "required": ["description", "table", "transcription"],
            "additionalProperties": false,
        }}},
    })
}

/// What the response of one that looked says, and what it cost. `retry_after` is the header's, in seconds.
pub fn response(status: u16, retry_after: Option<f64>, body: &[u8]) -> Result<(Findings, Usage), Failure> {
    let body = body_of(status, retry_after, body)?;
    let choice = &body["choices"][0];
    if let Some(refusal) = choice["message"]["refusal"].as_str().filter(|refusal| !refusal.is_empty()) {
        return Err(Failure::Hopeless(format!("the model refuses to read the file: {}", super::text::head(refusal, 500).0)));
    }
    let text = match &choice["message"]["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    };
    if !text.trim().is_empty() {
        return Ok((findings(&text), usage(&body["usage"])));
    }
    Err(match choice["finish_reason"].as_str() {
        Some("content_filter") => Failure::Hopeless("the provider withholds what the model wrote about the file (content_filter)".to_owned()),
        Some("length") => Failure::Hopeless("the model used up its tokens before it wrote anything about the file".to_owned()),
        _ => unreadable("is empty"),
    })
}

/// The name and the media type under which a recording is sent: what it is, is told by the extension. None for what is
/// not transcribed. Films are, where they are of a container that also holds sound alone.
pub fn file(mime_type: &str) -> Option<(&'static str, &'static str)> {
    Some(match mime("", mime_type, None).as_str() {
        "audio/mp3" => ("audio.mp3", "audio/mpeg"),
        "audio/mp4" => ("audio.m4a", "audio/mp4"),
        "audio/ogg" => ("audio.ogg", "audio/ogg"),
        "audio/wav" => ("audio.wav", "audio/wav"),
        "audio/webm" => ("audio.webm", "audio/webm"),
        "audio/flac" => ("audio.flac", "audio/flac"),
        "video/mp4" => ("video.mp4", "video/mp4"),
        "video/webm" => ("video.webm", "video/webm"),
        "video/mpeg" | "video/mpg" => ("video.mpeg", "video/mpeg"),
        _ => return None,
    })
}

/// The fields of the form beside `file`, which comes under the name and type of [`file()`]. The language is that of the
/// speech as ISO 639-1, where it is known.
pub fn fields(model: &str, language_code: Option<&str>) -> Vec<(&'static str, String)> {
    // All models know this format.
    let mut fields = vec![("model", model.to_owned()), ("response_format", "json".to_owned())];
    fields.extend(language_code.map(|code| ("language", code.to_owned())));
    fields
}

/// What the response of one that transcribed says, and what it cost: `{text, usage}`. Where nobody speaks, nothing is
/// found. Models that are paid by duration report no tokens.
pub fn transcript(status: u16, retry_after: Option<f64>, body: &[u8]) -> Result<(Findings, Usage), Failure> {
    let body = body_of(status, retry_after, body)?;
    let text = body["text"].as_str().ok_or_else(|| unreadable("holds no text"))?;
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let usage = &body["usage"];
    let usage = Usage {
        input: count(&usage["input_tokens"]),
        audio_input: count(&usage["input_token_details"]["audio_tokens"]),
        output: count(&usage["output_tokens"]),
        ..Usage::default()
    };
    let transcription = Some(text.trim().to_owned());
    Ok((Findings { transcription, ..Findings::default() }.tidied(), usage))
}

fn body_of(status: u16, retry_after: Option<f64>, body: &[u8]) -> Result<Value, Failure> {
    if !(200..300).contains(&status) {
        return Err(failure(status, retry_after, body));
    }
    parse_json(body).map_err(|error| unreadable(&format!("is no JSON: {error}")))
}

fn usage(usage: &Value) -> Usage {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    Usage {
        input: count(&usage["prompt_tokens"]),
        cache_read: count(&usage["prompt_tokens_details"]["cached_tokens"]),
        audio_input: count(&usage["prompt_tokens_details"]["audio_tokens"]),
        output: count(&usage["completion_tokens"]),
        reasoning: count(&usage["completion_tokens_details"]["reasoning_tokens"]),
        audio_output: count(&usage["completion_tokens_details"]["audio_tokens"]),
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::understand::fixtures;

    #[test]
    fn requests() {
        fixtures::check("openai", |ask| (supports(ask.mime_type) == Some(Way::See)).then(|| request("gpt-5-mini", ask)));
    }

    #[test]
    fn ways() {
        assert_eq!(["image/jpg", "image/gif", "application/pdf"].map(supports), [Some(Way::See); 3]);
        assert_eq!(["audio/ogg; codecs=opus", "audio/mpeg", "video/mp4"].map(supports), [Some(Way::Transcribe); 3]);
        assert_eq!(["audio/amr", "audio/aac", "image/heic", "text/plain", "video/quicktime"].map(supports), [None; 5]);
        assert_eq!(url("https://h/v1/", Way::Transcribe), "https://h/v1/audio/transcriptions");
        assert_eq!(file("audio/x-m4a"), Some(("audio.m4a", "audio/mp4")));
        assert_eq!(fields("whisper-1", Some("de")), [("model", "whisper-1".into()), ("response_format", "json".into()), ("language", "de".into())]);
    }

    #[test]
    fn seen() {
        let usage = json!({"prompt_tokens": 9, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 2}});
        let body = |message: Value, reason: &str| json!({"choices": [{"message": message, "finish_reason": reason}], "usage": usage}).to_string();
        let text = json!({"content": "{\"description\":\"a cat\",\"table\":null,\"transcription\":null}"});
        let (found, usage) = response(200, None, body(text, "stop").as_bytes()).expect("found");
        assert_eq!((found.description.as_deref(), found.transcription, usage.output, usage.reasoning), (Some("a cat"), None, 5, 2));
        for (message, reason) in [(json!({"refusal": "no"}), "stop"), (json!({"content": null}), "length"), (json!({}), "content_filter")] {
            assert!(matches!(response(200, None, body(message, reason).as_bytes()), Err(Failure::Hopeless(_))));
        }
        assert!(matches!(response(200, None, b"{}"), Err(Failure::Later(..))));
    }

    #[test]
    fn transcribed() {
        let body = json!({"text": " Hello. ", "language": "english", "duration": 1.0, "segments": [],
            "usage": {"type": "tokens", "input_tokens": 14, "input_token_details": {"audio_tokens": 10}, "output_tokens": 4}});
        let (found, usage) = transcript(200, None, body.to_string().as_bytes()).expect("found");
        assert_eq!((found.transcription.as_deref(), usage.audio_input, usage.output), (Some("Hello."), 10, 4));
        assert_eq!(transcript(200, None, br#"{"text": ""}"#).expect("found").0, Findings::default());
        assert!(matches!(transcript(200, None, b"{}"), Err(Failure::Later(..))));
        assert!(matches!(transcript(413, None, b"{}"), Err(Failure::Hopeless(_))));
    }
}
