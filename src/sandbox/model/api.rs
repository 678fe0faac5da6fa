//! What all protocols share: how a request is read, refused and measured, and what is heard in it.

use std::collections::HashMap;

use hyper::HeaderMap;
use serde_json::Value;

use super::Turn;

/// A request to the model.
pub(super) struct Asked<'a> {
    pub body: Value,
    /// The body as compact JSON.
    pub text: String,
    /// The model's name, where it is in the path.
    pub model: &'a str,
    /// The bearer token.
    pub token: &'a str,
    pub headers: &'a HeaderMap,
    pub query: &'a HashMap<String, String>,
}

impl<'a> Asked<'a> {
    pub fn new(body: Value, model: &'a str, token: &'a str, headers: &'a HeaderMap, query: &'a HashMap<String, String>) -> Self {
        Self { text: body.to_string(), body, model, token, headers, query }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Why an API does not answer.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: u16,
    pub message: String,
    /// The API's own, where it has one.
    pub code: Value,
}

impl Refusal {
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), code: Value::Null }
    }

    pub fn code(self, code: impl Into<Value>) -> Self {
        Self { code: code.into(), ..self }
    }
}

pub(super) type Checked = Result<(), Refusal>;

/// What is wrong with a request.
pub(super) fn refuse(message: impl Into<String>) -> Checked {
    Err(Refusal::new(400, message))
}

/// Tokens by rule of thumb: four characters are one.
#[derive(Clone, Copy)]
pub(super) struct Usage {
    pub input: usize,
    pub output: usize,
}

impl Usage {
    pub fn tokens(text: &str) -> usize {
        (text.chars().count() / 4).max(1)
    }

    pub fn new(asked: &Asked, turn: &Turn) -> Self {
        Self { input: Self::tokens(&asked.text), output: Self::tokens(&turn.written()) }
    }

    pub fn total(self) -> usize {
        self.input + self.output
    }
}

/// What was said and done since the model spoke last.
#[derive(Default)]
pub(super) struct Heard {
    pub said: String,
    pub results: Vec<String>,
}

impl Heard {
    pub fn text(&mut self, text: &str) {
        if !self.said.is_empty() {
            self.said += " / ";
        }
        self.said += text;
    }

    pub fn file(&mut self, mime_type: &str) {
        let kind = mime_type.split('/').next().filter(|kind| ["image", "audio", "video"].contains(kind)).unwrap_or("file");
        if !self.said.is_empty() {
            self.said.push(' ');
        }
        self.said += &format!("[{kind}]");
    }

    pub fn result(&mut self, result: &Value) {
        self.results.push(result.as_str().map_or_else(|| result.to_string(), str::to_owned));
    }

    pub fn echo(&self) -> Turn {
        Turn::says(match self.results.as_slice() {
            results @ [_, ..] if self.said.is_empty() => format!("The tools said: {}", results.join(" / ")),
            _ => format!("You said: {}", self.said),
        })
    }
}

/// A protocol: how an API is asked and how it answers.
pub(super) trait Api {
    /// For the records.
    const NAME: &'static str;

    /// The key that came along; empty when none did.
    fn key<'a>(asked: &'a Asked) -> &'a str;

    /// What the original would refuse.
    fn check(asked: &Asked) -> Checked;

    /// What was said since the model spoke last.
    fn heard(body: &Value) -> Heard;

    /// The answer's body.
    fn answer(asked: &Asked, turn: &Turn, usage: Usage) -> Value;

    /// An error's body.
    fn error(refusal: &Refusal) -> Value;

    /// The request has more tokens than the model reads.
    fn too_long(tokens: usize, most: usize) -> Refusal;

    /// The key is missing, or is not the one.
    fn keyless(missing: bool) -> Refusal;

    /// What the model makes of a file, when that is what it was asked for.
    fn understanding(_body: &Value) -> Option<Value> {
        None
    }
}

/// A fresh id as APIs make them, such as `call_1f…`.
pub(super) fn id(prefix: &str) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{prefix}{}", &random[..24])
}

/// An array's items; none when it is no array.
pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The first field of an object that is none of these, which are separated by spaces.
pub(super) fn unknown<'a>(object: &'a Value, known: &str) -> Option<&'a str> {
    object.as_object()?.keys().map(String::as_str).find(|name| !known.split(' ').any(|known| known == *name))
}

/// Whether a name of a tool is one of letters, digits, `_` and `-`, as most APIs demand.
pub(super) fn plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}
