//! The Agent2Agent protocol (A2A): another agent answers in a model's place. JSON-RPC 2.0 over HTTP POST.
//!
//! Two dialects are spoken: `tasks/send` of the draft of spring 2025, and `message/send` of versions 0.2 and 0.3
//! (a2a-protocol.org, `specification/json/a2a.json`). Of version 1.0 (`specification/a2a.proto`) what differs in answers
//! is read as well: states like `TASK_STATE_COMPLETED`, parts without `kind`, results in `{task}` or `{message}`.
//!
//! The other agent learns what the customer says in this turn and what the caller puts into [`Outgoing::context`], which
//! goes out as `metadata.tidings`; no history, no settings, no keys.

mod request;
mod response;

pub use request::{get, send};
pub use response::receive;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agent::Failure;

/// Which version of the protocol the other agent speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// The draft of 2025: `tasks/send`; the client names the task.
    Tasks,
    /// Versions 0.2 and 0.3: `message/send`; the server names the task, or answers without one.
    Message,
}

impl Dialect {
    /// By the method that sends: `tasks/send` or `message/send`.
    pub fn parse(method: &str) -> Option<Self> {
        [Dialect::Tasks, Dialect::Message].into_iter().find(|d| d.method() == method)
    }

    /// The method that sends.
    pub fn method(self) -> &'static str {
        match self {
            Dialect::Tasks => "tasks/send",
            Dialect::Message => "message/send",
        }
    }

    /// The one to try after [`Refusal::UnknownMethod`].
    pub fn other(self) -> Self {
        match self {
            Dialect::Tasks => Dialect::Message,
            Dialect::Message => Dialect::Tasks,
        }
    }
}

/// A task at the other agent, as `content.task` of our rows holds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RemoteTask {
    /// The task's id; the context's where the other agent answered with a message and made no task.
    pub id: String,
    /// submitted, working, input-required, auth-required or completed.
    #[serde(default)]
    pub status: String,
    /// What holds the tasks of a conversation together: `sessionId` of the draft, `contextId` since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
}

impl RemoteTask {
    /// Whether it waits for the customer: what is said next belongs to it.
    pub fn waits(&self) -> bool {
        matches!(self.status.as_str(), "input-required" | "auth-required") && !self.id.is_empty()
    }
}

/// A part of a message. `kind` is that of our contents; of pieces read it follows from the type.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "piece", rename_all = "snake_case")]
pub enum Piece {
    /// Text.
    Text {
        /// Never empty when read, and trimmed.
        text: String,
        /// `text`, or e.g. `caption`, `transcription`.
        kind: String,
    },
    /// JSON.
    Data {
        /// Any JSON but null.
        data: Value,
        /// `data`, or e.g. `location`.
        kind: String,
    },
    /// A file, within the message or elsewhere.
    File {
        /// With its extension, where it has one.
        name: Option<String>,
        /// `application/octet-stream` where nothing is known.
        mime_type: String,
        /// The file, in base64.
        bytes: Option<String>,
        /// Where the file is, if it is not in `bytes`. One that was read is whatever the other agent wrote.
        uri: Option<String>,
        /// audio, image, video or document.
        kind: String,
        /// In bytes. Not read.
        size: Option<u64>,
    },
}

/// What is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Of the JSON-RPC call.
    pub request_id: &'a str,
    /// Of the message. The same when it is sent again, so that the other agent can tell.
    pub message_id: &'a str,
    /// What the customer said, in order.
    pub pieces: &'a [Piece],
    /// The conversation's last task.
    pub task: Option<&'a RemoteTask>,
    /// For a task that begins, where the client names it (the draft).
    pub new_task_id: &'a str,
    /// For a session that begins, where the client names it (the draft).
    pub new_session_id: &'a str,
    /// Where to report the task's progress, and the token to show there: a URL, a secret.
    pub push: Option<(&'a str, &'a str)>,
    /// What the other agent may know of the circumstances:
    /// `{organization_id, conversation_id, contact: {name?}, now}`. Goes out as it is, and nothing beside it.
    pub context: &'a Value,
}

/// What the other agent answered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Incoming {
    /// For the customer, in order. Empty while the task is not done, and when the other agent has nothing to say.
    pub pieces: Vec<Piece>,
    /// To be kept with the pieces, and to be asked about while it is not done.
    pub task: Option<RemoteTask>,
    /// Whether nothing more is to come before the customer writes again.
    pub done: bool,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Refusal {
    /// The other agent does not know the method: the other dialect may do.
    UnknownMethod,
    /// It is away, refuses, or has failed.
    Failure(Failure),
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    pub(super) fn folder() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/protocols/a2a"))
    }

    pub(super) fn read(file: &str) -> Value {
        let text = fs::read_to_string(folder().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"))
    }

    /// Compares with a file; with UPDATE_FIXTURES=1 writes it, to be read before it is believed.
    pub(super) fn golden(file: &str, actual: &Value) {
        if std::env::var("UPDATE_FIXTURES").is_ok() {
            fs::write(folder().join(file), format!("{actual:#}\n")).expect("a file");
        }
        assert_eq!(&read(file), actual, "{file}");
    }

    #[test]
    fn dialects() {
        for dialect in [Dialect::Tasks, Dialect::Message] {
            assert_eq!(Dialect::parse(dialect.method()), Some(dialect));
            assert_eq!(dialect.other().other(), dialect);
        }
        assert_eq!(Dialect::parse("tasks/get"), None);
    }

    #[test]
    fn tasks_of_rows() {
        let task: RemoteTask = serde_json::from_str(r#"{"id": "t"}"#).expect("a task");
        assert!(!task.waits());
        assert_eq!(serde_json::to_value(&task).expect("JSON"), serde_json::json!({"id": "t", "status": ""}));
    }
}
