//! What a model answers with, as contents of messages (version "1", see docs/content.md).
//!
//! A plain text is one message, or several where it is too long for one. Everything else comes by the pseudo-tool
//! `respond`: its arguments are the messages. Their limits are WhatsApp's, as schema/content.json has them; whoever
//! exceeds one is told the field and the limit, so that a model can correct itself. Markdown stays as it is.

mod contents;
mod interactive;
mod markers;
mod tool;

pub use contents::contents;
pub use tool::{Template, tool};

use serde_json::{Value, json};

/// The most bytes of a text: some ten messages.
const MOST: usize = 40_000;

/// The contents of a plain text: several where it is longer than a message, none where it says nothing. Markers of ours
/// that the model imitates are removed.
pub fn text(text: &str) -> Vec<Value> {
    // Longer than anybody reads on a phone: a model that writes so much has lost its way.
    let end = (0..=MOST.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    let text = markers::without(&text[..end]);
    if text.is_empty() {
        return Vec::new();
    }
    let parts = crate::whatsapp::split(&text);
    parts.into_iter().map(|part| json!({"version": "1", "type": "text", "kind": "text", "text": part})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_text() {
        assert_eq!(text(" **Hi**\n"), [json!({"version": "1", "type": "text", "kind": "text", "text": "**Hi**"})]);
        assert_eq!(text("<colleague name=\"Ana\">Hi</colleague>")[0]["text"], "Hi");
        assert_eq!(text("  \n"), Vec::<Value>::new());
        assert_eq!(text("<time>10:00</time>"), Vec::<Value>::new());
    }

    #[test]
    fn a_long_text() {
        let parts = text(&"word ".repeat(2000));
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(|p| p["text"].as_str().is_some_and(|t| t.len() <= 4096)));
    }
}
