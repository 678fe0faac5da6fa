//! Tools that work in the database: what the model is told of them. What they do stands in `sql/agent/tools.sql`.

use serde_json::{Value, json};

use super::Effect;
use crate::agent::turn::Tool;

/// The tool of this name, and what it may do.
pub fn tool(name: &str) -> Option<(Tool, Effect)> {
    let (description, effect, parameters) = match name {
        "transfer_to_human_agent" => (
            "Hands this conversation over to a person of the business, and ends your part in it. Use it when the customer asks for a person, or when you cannot help.",
            Effect::Write,
            object(json!({"reason": text("Why, in a few words."), "note": text("What the person should know.")}), &["reason"]),
        ),
        "pass_to_agent" => (
            "Passes this conversation to another AI agent of the business, which answers from here on.",
            Effect::Write,
            object(json!({"agent": text("The agent's name."), "note": text("What it should know.")}), &["agent"]),
        ),
        "remember" => (
            "Remembers a fact about this customer for later conversations (a name, a size, a preference). A null value forgets it.",
            Effect::Write,
            object(
                json!({"key": text("What it is about, in a word or two."), "value": {"type": ["string", "null"], "description": "The fact."}}),
                &["key", "value"],
            ),
        ),
        "attach_file" => (
            "Sends a stored file to the customer.",
            Effect::External,
            object(
                json!({"file_uri": text("As it stands in the conversation or a tool's result: internal://media/…"), "name": text("What the file is called."),
                    "caption": text("Said with it.")}),
                &["file_uri"],
            ),
        ),
        "search_contacts" => (
            "Finds people whom the business knows, by name or phone number. At most 20.",
            Effect::Read,
            object(json!({"query": text("Part of a name, or digits of a phone number.")}), &["query"]),
        ),
        "get_conversation" => (
            "Reads the newest messages with a contact of the business, whether the 24-hour window is open, and how much is unread.",
            Effect::Read,
            object(
                json!({"contact": text("A phone number, or a contact_address of search_contacts."), "limit": {"type": "integer", "minimum": 1, "maximum": 50}}),
                &["contact"],
            ),
        ),
        "send_message" => (
            "Writes to another contact of the business: not to the customer of this conversation. Outside the 24-hour window only a template gets through.",
            Effect::External,
            object(
                json!({"contact": text("A phone number, or a contact_address of search_contacts."), "text": text("A text."),
                    "template": {"type": "object", "description": "Instead of text: {name, language: {code}, components?} of an approved template."}}),
                &["contact"],
            ),
        ),
        "get_status" => (
            "Tells what became of a message that was sent: accepted, sent, delivered, read or failed, with times.",
            Effect::Read,
            object(json!({"message_id": text("As send_message returned it.")}), &["message_id"]),
        ),
        _ => return None,
    };
    Some((Tool { name: name.to_owned(), description: description.to_owned(), parameters }, effect))
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}
