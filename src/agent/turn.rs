//! A conversation with a model, in the terms that all protocols share. Every protocol turns a [`Prompt`] into its
//! request and its response into a [`Reply`]; nothing else knows its dialect.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Who says something, in a model's terms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The customer.
    User,
    /// The business: this agent, another one, or a person.
    Assistant,
}

/// A piece of what was said.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum Part {
    /// Text, with markers for what is no plain text.
    Text {
        /// Never empty.
        text: String,
    },
    /// A file, for models that read it themselves.
    File {
        /// E.g. `image/png`.
        mime_type: String,
        /// With its extension, where it has one.
        name: Option<String>,
        /// Base64, padded.
        data: String,
    },
}

/// A tool call that a model asked for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Call {
    /// The model's id of the call, or one of ours where the protocol has none. Unique within the conversation.
    pub id: String,
    /// The tool, as it was offered.
    pub name: String,
    /// An object; a string with the raw text where the model's arguments were none.
    pub arguments: Value,
}

impl Call {
    /// The arguments as an object, as every provider accepts them in the history: what was none is quoted in one.
    pub fn object(&self) -> Value {
        match &self.arguments {
            Value::Object(_) => self.arguments.clone(),
            Value::String(raw) => json!({"unreadable_arguments": raw}),
            other => json!({"unreadable_arguments": other.to_string()}),
        }
    }

    /// Arguments as a provider sent them, in a string: an object where they are one, the string otherwise.
    pub fn parse(raw: &str) -> Value {
        let raw = if raw.trim().is_empty() { "{}" } else { raw };
        serde_json::from_str::<Map<String, Value>>(raw).map_or_else(|_| Value::String(raw.to_owned()), Value::Object)
    }
}

/// What a call came to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CallResult {
    /// The call's.
    pub id: String,
    /// The tool, as it was offered.
    pub name: String,
    /// For the model to read: JSON or text.
    pub content: String,
    /// Whether it failed.
    #[serde(default)]
    pub is_error: bool,
}

/// One turn of the conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "turn", rename_all = "snake_case")]
pub enum Turn {
    /// Something was said. Neighbours may have the same role.
    Said {
        /// By whom.
        role: Role,
        /// What; never empty.
        parts: Vec<Part>,
    },
    /// The model called tools. Directly followed by their `Results`, one for each call, in the same order.
    Calls {
        /// What it said beside the calls; often empty.
        #[serde(default)]
        text: String,
        /// Never empty.
        calls: Vec<Call>,
        /// What the protocol wants back with the history (reasoning, signatures): as [`Reply::state`] held it.
        #[serde(default)]
        state: Option<Value>,
    },
    /// What the calls of the turn before came to.
    Results {
        /// One for each call.
        results: Vec<CallResult>,
    },
}

impl Turn {
    /// A turn of plain text.
    pub fn said(role: Role, text: impl Into<String>) -> Self {
        Turn::Said { role, parts: vec![Part::Text { text: text.into() }] }
    }
}

/// A tool that the model may call.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Tool {
    /// `[a-zA-Z0-9_-]`, at most 64 characters.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of the arguments; an object's.
    pub parameters: Value,
}

/// How hard a model thinks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Thinking {
    Minimal,
    Low,
    Medium,
    High,
}

/// What is put to the model.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Prompt {
    /// The model's name.
    pub model: String,
    /// Instructions and circumstances.
    pub system: String,
    /// The conversation. The last turn is the customer's, or results.
    pub turns: Vec<Turn>,
    /// What it may call; none for none.
    #[serde(default)]
    pub tools: Vec<Tool>,
    /// 0 to 2.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// How many tokens the answer may take, thinking included.
    #[serde(default)]
    pub max_tokens: Option<u64>,
    /// How hard it thinks; by the provider's default otherwise.
    #[serde(default)]
    pub thinking: Option<Thinking>,
}

/// Tokens of one call, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// All that was read, what came from a cache or was written to one included.
    pub input: u64,
    /// Of the input: read from a cache.
    pub cache_read: u64,
    /// Of the input: written to a cache.
    pub cache_write: u64,
    /// Of the input: sound.
    pub audio_input: u64,
    /// All that was written, thinking included.
    pub output: u64,
    /// Of the output: thinking.
    pub reasoning: u64,
    /// Of the output: sound.
    pub audio_output: u64,
}

/// What a model answered.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Reply {
    /// What it said, trimmed; empty when it only called tools, or decided to say nothing.
    #[serde(default)]
    pub text: String,
    /// What it called.
    #[serde(default)]
    pub calls: Vec<Call>,
    /// `{"protocol": …}` and what that protocol wants back with the calls; only beside calls.
    #[serde(default)]
    pub state: Option<Value>,
    /// What it cost in tokens.
    #[serde(default)]
    pub usage: Usage,
}

/// Why a model gave no answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "failure", content = "text", rename_all = "snake_case")]
pub enum Failure {
    /// It is away or busy: ask again, after so many seconds where it said so.
    Later(Option<f64>, String),
    /// Asking again would not help: the organization has to change something.
    Hopeless(String),
    /// The conversation is longer than the model reads: less of it may do.
    TooLong(String),
}

impl Failure {
    /// In words.
    pub fn text(&self) -> &str {
        match self {
            Failure::Later(_, text) | Failure::Hopeless(text) | Failure::TooLong(text) => text,
        }
    }
}
