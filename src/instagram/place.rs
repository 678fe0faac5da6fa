//! Where in a webhook something stands, and the events that are made of it there.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// Why something is parked: a reason, and the detail.
pub(super) type Problem = (&'static str, String);

/// Where in the payload an event stands, and between whom it is.
pub(super) struct Place {
    /// The entry's id, which is the account's.
    entry: Option<String>,
    /// The account: whom the event went to, or who sent it when it is the account's own.
    pub(super) address: Option<String>,
    /// The other side.
    pub(super) contact: Option<String>,
    /// Whether it is the account's own.
    pub(super) ours: bool,
    /// A body of its own for the event.
    raw: Value,
}

impl Place {
    /// Of an event, which is (in) an item of one of the entry's lists.
    pub(super) fn new(entry: &Value, list: &str, item: &Value, event: &Value) -> Self {
        let account = id(&entry["id"]);
        let (sender, recipient) = (id(&event["sender"]["id"]), id(&event["recipient"]["id"]));
        let message = &event["message"];
        // What the account sends to itself counts as received.
        let ours = message["is_self"] != true && (message["is_echo"] == true || (sender.is_some() && sender == account && recipient != account));
        let (address, contact) = if ours { (sender, recipient) } else { (recipient, sender) };
        let address = address.or_else(|| account.clone());
        Self { entry: account, address, contact, ours, raw: body(entry, list, json!([item])) }
    }

    /// An event of a kind about a message.
    pub(super) fn event(&self, kind: &str, external_id: &str, at: DateTime<Utc>) -> Value {
        json!({"type": kind, "service": "instagram", "address": self.address, "external_id": external_id, "timestamp": at, "raw": self.raw})
    }

    /// A message with this content.
    pub(super) fn message(&self, external_id: &str, content: Value, at: DateTime<Utc>) -> Result<Value, Problem> {
        let contact = self.contact.as_deref().ok_or_else(|| shape("a message without sender or recipient"))?;
        let mut event = self.event("message", external_id, at);
        event["contact"] = json!(contact);
        event["content"] = content;
        event["direction"] = json!(if self.ours { "outgoing" } else { "incoming" });
        if self.ours {
            // It has gone out: nobody is to send it, or to answer it.
            event["status"] = json!({"sent": at});
        }
        Ok(event)
    }

    /// The other side, unless the account writes to itself.
    pub(super) fn person(&self) -> Option<Value> {
        let contact = self.contact.as_deref().filter(|contact| Some(*contact) != self.address.as_deref())?;
        Some(json!({"type": "contact", "service": "instagram", "address": self.address, "contact": contact, "extra": {}}))
    }

    /// An external id for what has none.
    pub(super) fn made_up(&self, kind: &str, at: DateTime<Utc>) -> String {
        let account = self.entry.as_deref().or(self.address.as_deref()).unwrap_or_default();
        format!("{account}#{kind}#{}", at.timestamp_millis())
    }

    /// What is not understood.
    pub(super) fn park(&self, reason: &str, detail: &str) -> Value {
        park(self.address.as_deref(), reason, detail, self.raw.clone())
    }
}

/// An id, which Meta writes as a string; a number will do.
pub(super) fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// Milliseconds since 1970, as a number (mostly) or a string. The test events of Meta's app dashboard have seconds.
pub(super) fn timestamp(value: &Value) -> Option<DateTime<Utc>> {
    match value.as_i64().or_else(|| value.as_str()?.parse().ok())? {
        seconds @ 1_000_000_000..=9_999_999_999 => DateTime::from_timestamp(seconds, 0),
        millis @ 1_000_000_000_000..=9_999_999_999_999 => DateTime::from_timestamp_millis(millis),
        // Beyond what a timestamp of PostgreSQL, or a sender in his right mind, can mean.
        _ => None,
    }
}

/// A body with nothing but this part of an entry in it.
pub(super) fn body(entry: &Value, key: &str, part: Value) -> Value {
    let mut alone = json!({"id": entry["id"]});
    alone[key] = part;
    json!({"object": "instagram", "entry": [alone]})
}

/// What is not of the form it should have.
pub(super) fn shape(problem: &str) -> Problem {
    ("other_shape", problem.to_owned())
}

/// Something that is kept for later, with a body that has it alone.
pub(super) fn park(address: Option<&str>, reason: &str, detail: &str, raw: Value) -> Value {
    json!({"type": "park", "service": "instagram", "address": address, "reason": reason, "detail": detail, "raw": raw})
}
