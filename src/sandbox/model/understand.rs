//! Files to understand: the model describes or transcribes them, in the protocols that can be asked to.

use std::io;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    Turn,
    api::{Api, Asked, Checked, Refusal, Usage},
    chat_completions::ChatCompletions,
};
use crate::sandbox::{Answer, Sandbox, bridge, json_answer};

impl Sandbox {
    /// The files that the model was to understand, in order: `{api, model, body}`, with sizes in the place of data. The
    /// body of a transcription is `{file: {name, mime_type, bytes}}` and the other fields of its form.
    pub fn understood(&self) -> Vec<Value> {
        self.lock().model.understood.clone()
    }

    /// The answer to a request that is about a file. Faults on `understand` strike.
    pub(super) async fn understand<A: Api>(&self, asked: &Asked<'_>, checked: Checked, understanding: &Value) -> io::Result<Answer> {
        let model = if asked.model.is_empty() { asked.body["model"].as_str().unwrap_or_default() } else { asked.model };
        let record = json!({"api": A::NAME, "model": model, "body": without_data(&asked.body)});
        let turn = Turn::says(understanding.to_string());
        let act = async {
            Ok(match checked {
                Ok(()) => json_answer(200, &A::answer(asked, &turn, Usage::new(asked, &turn))),
                Err(refusal) => json_answer(refusal.status, &A::error(&refusal)),
            })
        };
        self.keep_understood(&record);
        self.under_faults("understand", &record, act).await
    }

    /// OpenAI's `POST …/audio/transcriptions`.
    pub(super) async fn transcribe(&self, asked: &Asked<'_>, bytes: &Bytes) -> io::Result<Answer> {
        let parts = bridge::parts(asked.header("content-type"), bytes).unwrap_or_default();
        let mut body = Map::new();
        for part in &parts {
            let value = match part.name.as_str() {
                "file" => json!({"name": part.name_of_file, "mime_type": part.mime_type, "bytes": part.bytes.len()}),
                _ => json!(String::from_utf8_lossy(&part.bytes)),
            };
            body.insert(part.name.clone(), value);
        }
        let record = json!({"api": "transcriptions", "model": body.get("model"), "body": body});
        self.keep_understood(&record);
        let key = self.lock().settings.model_key.clone();
        let act = async {
            let missing = ["file", "model"].into_iter().find(|field| !body.contains_key(*field));
            let refusal = match missing {
                _ if !key.is_empty() && asked.token != key => ChatCompletions::keyless(asked.token.is_empty()),
                Some(field) => Refusal::new(400, format!("Missing required parameter: '{field}'.")).code("missing_required_parameter"),
                None => return Ok(json_answer(200, &transcription(&body["file"]["bytes"]))),
            };
            Ok(json_answer(refusal.status, &ChatCompletions::error(&refusal)))
        };
        self.under_faults("understand", &record, act).await
    }

    fn keep_understood(&self, record: &Value) {
        let mut state = self.lock();
        if state.settings.keep {
            state.model.understood.push(record.clone());
        }
    }
}

fn transcription(bytes: &Value) -> Value {
    let text = format!("transcribed {bytes} bytes");
    let (input, output) = ((bytes.as_u64().unwrap_or(0) / 4).max(1), Usage::tokens(&text) as u64);
    json!({"text": text, "usage": {"type": "tokens", "input_tokens": input, "input_token_details": {"text_tokens": 0, "audio_tokens": input},
        "output_tokens": output, "total_tokens": input + output}})
}

/// How many bytes some base64 is, with or without what precedes it in a data URL; nothing when it is none.
pub(super) fn size(data: &str) -> Option<usize> {
    let base64 = data.split_once(";base64,").map_or(data, |(_, base64)| base64);
    BASE64_STANDARD.decode(base64).ok().map(|bytes| bytes.len())
}

/// A body with `<n bytes>` in the place of files, however the protocol names them.
fn without_data(value: &Value) -> Value {
    let file = |name: &str, data: &str| matches!(name, "data" | "file_data") || name == "url" && data.starts_with("data:");
    match value {
        Value::Array(all) => all.iter().map(without_data).collect(),
        Value::Object(all) => {
            let field = |(name, value): (&String, &Value)| {
                let shown = match value.as_str().filter(|data| file(name, data)) {
                    Some(data) => json!(size(data).map_or_else(|| "<no base64>".to_owned(), |bytes| format!("<{bytes} bytes>"))),
                    None => without_data(value),
                };
                (name.clone(), shown)
            };
            Value::Object(all.iter().map(field).collect())
        }
        other => other.clone(),
    }
}
