//! What the model says next, whichever protocol it is asked in.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::sandbox::Sandbox;

/// One answer of the model's. Fields that are not given do nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Turn {
    /// Only for a request that holds this text, as it is or as JSON writes it; others pass this answer over.
    pub when: Option<String>,
    /// What the model says.
    pub text: Option<String>,
    /// What it calls, offered or not: models do make tools up.
    pub calls: Vec<ToolCall>,
    /// How long it thinks, in place of the setting.
    pub think_ms: Option<u64>,
    /// An error with this HTTP status, in the shape of the API that was asked. A2A: a JSON-RPC error, also with 200.
    pub status: Option<u16>,
    /// What the error says.
    pub message: Option<String>,
    /// Why it stopped: `length`, `content_filter`, or a word of the API's own; as usual when not given.
    pub finish: Option<String>,
    /// A2A: the state that the task comes to; `working` without `polls` or `push` stays so for good. `completed` when not given.
    pub state: Option<String>,
    /// A2A: what the task makes: a text, or a part such as `{"data": {…}}` or `{"file": {"name", "mimeType", "bytes"}}`.
    pub artifact: Option<Value>,
    /// A2A: the task is working at first and done at this many'th `tasks/get`.
    pub polls: u32,
    /// A2A: the task is working at first and done after `think_ms`; whoever asked to be notified is, once.
    pub push: bool,
}

/// A tool that the model calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// The tool.
    pub name: String,
    /// An object, or a text that is sent as it is and may be unreadable.
    pub arguments: Value,
}

impl Turn {
    /// The model says something.
    pub fn says(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    /// The model calls these tools, in parallel.
    pub fn calls<'a>(calls: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let calls = calls.into_iter().map(|(name, arguments)| ToolCall { name: name.to_owned(), arguments }).collect();
        Self { calls, ..Self::default() }
    }

    /// The model fails.
    pub fn fails(status: u16, message: impl Into<String>) -> Self {
        Self { status: Some(status), message: Some(message.into()), ..Self::default() }
    }

    /// Only for a request that holds this text.
    #[must_use]
    pub fn when(self, text: impl Into<String>) -> Self {
        Self { when: Some(text.into()), ..self }
    }

    /// What is said; often nothing beside calls.
    pub(super) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    /// All that is written, for what it costs.
    pub(super) fn written(&self) -> String {
        let calls = self.calls.iter().map(|call| format!("{}{}", call.name, call.raw()));
        calls.fold(self.text().to_owned(), |all, call| all + &call)
    }

    fn fits(&self, request: &str) -> bool {
        self.when.as_ref().is_none_or(|when| {
            let quoted = json!(when).to_string();
            request.contains(when.as_str()) || request.contains(quoted.trim_matches('"'))
        })
    }
}

impl ToolCall {
    /// The arguments in a string, as OpenAI's protocols have them.
    pub(super) fn raw(&self) -> String {
        self.arguments.as_str().map_or_else(|| self.arguments.to_string(), str::to_owned)
    }

    /// The arguments as an object, as Anthropic and Google have them; a text that is none stays one.
    pub(super) fn object(&self) -> Value {
        let read = self.arguments.as_str().and_then(|raw| serde_json::from_str::<Value>(raw).ok());
        read.filter(Value::is_object).unwrap_or_else(|| self.arguments.clone())
    }
}

/// The answers to come.
#[derive(Default)]
pub(super) struct Script(VecDeque<Turn>);

impl Script {
    /// The first that fits the request: used up by it.
    pub fn take(&mut self, request: &str) -> Option<Turn> {
        let at = self.0.iter().position(|turn| turn.fits(request))?;
        self.0.remove(at)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Sandbox {
    /// What the model says next, after what it was told to say before. With nothing left it repeats what it hears.
    pub fn script(&self, turns: Vec<Turn>) {
        self.lock().model.script.0.extend(turns);
    }

    /// What is left of the script.
    pub fn scripted(&self) -> Vec<Turn> {
        self.lock().model.script.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_in_order_where_they_fit() {
        let mut script = Script::default();
        script.0.extend([Turn::says("1").when("say \"one\""), Turn::says("2"), Turn::says("3")]);
        let mut take = |request: &Value| script.take(&request.to_string()).map(|turn| turn.text().to_owned());
        assert_eq!(take(&json!({"a": "b"})).as_deref(), Some("2"));
        assert_eq!(take(&json!({"a": "please say \"one\""})).as_deref(), Some("1"));
        assert_eq!(take(&json!({})).as_deref(), Some("3"));
        assert_eq!(take(&json!({})), None);
    }

    #[test]
    fn arguments_as_objects_and_as_texts() {
        let call = |arguments: Value| ToolCall { name: "t".into(), arguments };
        assert_eq!((call(json!({"a": 1})).raw(), call(json!("{\"a\":")).raw()), ("{\"a\":1}".into(), "{\"a\":".into()));
        assert_eq!((call(json!("{\"a\":1}")).object(), call(json!("{\"a\":")).object()), (json!({"a": 1}), json!("{\"a\":")));
    }
}
