//! From a webhook's body to events: one for each contact, message, status, log line … in it, and one `park` for each thing
//! that is not understood (yet). Nothing is dropped, and nothing in it can stop its neighbours. `docs/webhooks.md` lists
//! what becomes of every field and type.
//!
//! Shapes: Cloud API webhooks. Envelope `{object, entry: [{id, time?, changes: [{field, value}]}]}`.

mod account;
mod contact;
mod content;
mod history;
mod message;
mod status;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::model::parse_json;

/// Reads a body. Events are what `bus.finish_intake` takes: `{type, journal, n, service, address | waba, …}`.
pub fn events(journal: i64, body: &[u8]) -> Vec<Value> {
    let mut events = Vec::new();
    match parse_json(body) {
        Err(problem) => events.push(Place::default().park("no_json", &problem, Value::Null)),
        Ok(body) => match body["entry"].as_array() {
            Some(entries) if body["object"] == "whatsapp_business_account" => {
                for entry in entries {
                    read_entry(entry, &mut events);
                }
                if events.is_empty() {
                    events.push(Place::default().park("empty", "no changes in it", body.clone()));
                }
            }
            _ => events.push(Place::default().park("other_shape", "not a whatsapp_business_account webhook", body)),
        },
    }
    for (n, event) in events.iter_mut().enumerate() {
        event["journal"] = json!(journal);
        // Unique across the entries of a batch, and in the order of arrival.
        event["n"] = json!(journal.saturating_mul(100_000) + i64::try_from(n).unwrap_or(i64::MAX));
    }
    events
}

/// Where in the payload something stands.
#[derive(Default, Clone)]
struct Place {
    waba: Option<String>,
    time: Value,
    field: String,
    metadata: Value,
    address: Option<String>,
}

impl Place {
    fn of(entry: &Value, change: &Value) -> Self {
        let metadata = change["value"]["metadata"].clone();
        Self {
            waba: entry["id"].as_str().filter(|w| !w.is_empty()).map(str::to_owned),
            time: entry["time"].clone(),
            field: change["field"].as_str().unwrap_or_default().to_owned(),
            address: metadata["phone_number_id"].as_str().filter(|a| !a.is_empty()).map(str::to_owned),
            metadata,
        }
    }

    /// An event of this place.
    fn event(&self, kind: &str, more: Value) -> Value {
        let mut event = json!({"type": kind, "service": "whatsapp", "address": self.address});
        if self.address.is_none() {
            event["waba"] = json!(self.waba);
        }
        if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
            event.extend(more);
        }
        event
    }

    fn park(&self, reason: &str, detail: &str, raw: Value) -> Value {
        self.event("park", json!({"reason": reason, "detail": detail, "raw": self.raw(raw)}))
    }

    /// A piece of the payload as Meta has it, with what it takes to understand it by itself.
    fn raw(&self, value: Value) -> Value {
        json!({"id": self.waba, "field": self.field, "metadata": self.metadata, "value": value})
    }

    /// A line for the organization's log. The same thing said twice is one line: its id is made of what it says.
    fn log(&self, level: &str, message: &str, metadata: &Value) -> Value {
        // Where the payload has no time, the same words on another day are news.
        let time = if self.time.is_null() { json!(Utc::now().date_naive()) } else { self.time.clone() };
        let said = json!([self.waba, self.address, self.field, time, message, metadata]).to_string();
        let digest = Sha256::digest(said.as_bytes());
        let id = Uuid::from_slice(&digest[..16]).unwrap_or_default();
        self.event("log", json!({"id": id, "level": level, "category": self.field, "message": message, "metadata": metadata}))
    }

    /// When it happened, as far as the entry says so: seconds since 1970.
    fn at(&self) -> DateTime<Utc> {
        timestamp(&self.time).unwrap_or_else(Utc::now)
    }
}

fn read_entry(entry: &Value, events: &mut Vec<Value>) {
    let Some(changes) = entry["changes"].as_array() else {
        events.push(Place::default().park("other_shape", "an entry without changes", entry.clone()));
        return;
    };
    for change in changes {
        let place = Place::of(entry, change);
        match (place.field.as_str(), &place.address) {
            ("messages" | "smb_message_echoes" | "standby" | "history" | "smb_app_state_sync", None) => {
                events.push(place.park("other_shape", "no metadata.phone_number_id", change["value"].clone()));
            }
            ("standby", Some(_)) if change["value"]["standby"].is_object() => read_standby(&change["value"]["standby"], &place, events),
            ("messages" | "smb_message_echoes" | "standby", Some(_)) => read_messages(&change["value"], &place, events),
            ("history", Some(_)) => history::read(&change["value"], &place, events),
            ("smb_app_state_sync", Some(_)) => contact::read_sync(&change["value"], &place, events),
            _ => account::read(&change["value"], &place, events),
        }
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What passes while Meta's own agent has the conversation: nobody here answers it. An echo holds the request that sent it.
fn read_standby(standby: &Value, place: &Place, events: &mut Vec<Value>) {
    let mut value = standby.clone();
    for echo in value["message_echoes"].as_array_mut().into_iter().flatten() {
        if let (Some(id), Value::Object(mut sent)) = (echo["id"].as_str(), echo["message"].clone()) {
            sent.insert("id".to_owned(), json!(id));
            sent.insert("timestamp".to_owned(), echo["timestamp"].clone());
            if let Some(reply_to) = sent.get("context").map(|c| c["message_id"].clone()).filter(Value::is_string) {
                sent.insert("context".to_owned(), json!({"id": reply_to}));
            }
            *echo = Value::Object(sent);
        }
    }
    read_messages(&value, place, events);
}

/// The parts of a value that carry messages, their people and their receipts.
const PARTS: [&str; 7] = ["messaging_product", "metadata", "contacts", "messages", "message_echoes", "statuses", "errors"];

fn read_messages(value: &Value, place: &Place, events: &mut Vec<Value>) {
    let before = events.len();
    let statuses = list(value, "statuses");
    for person in list(value, "contacts") {
        // Receipts name people too; they may complete what is known, but they introduce nobody.
        events.extend(contact::read(person, place, statuses.is_empty() || !list(value, "messages").is_empty()));
    }
    let people = events.len();
    for message in list(value, "messages") {
        message::read(message, value, place, message::Origin::incoming(&place.field), events);
    }
    for message in list(value, "message_echoes") {
        message::read(message, value, place, message::Origin::Echo, events);
    }
    for status in statuses {
        events.push(status::read(status, place).unwrap_or_else(|detail| place.park("other_shape", &detail, status.clone())));
    }
    for error in list(value, "errors") {
        events.push(place.log("error", &error_text(error), error));
    }
    if let Some(object) = value.as_object() {
        for (key, other) in object.iter().filter(|(k, _)| !PARTS.contains(&k.as_str())) {
            events.push(place.park("unknown_part", key, other.clone()));
        }
    }
    if events.len() == before || (events.len() == people && list(value, "contacts").is_empty()) {
        events.push(place.park("empty", "neither messages nor statuses in it", value.clone()));
    }
}

/// An error of Meta's in words. Any of its parts may be missing; the cause is in the details.
fn error_text(error: &Value) -> String {
    let words = error["message"].as_str().or(error["title"].as_str());
    match (words, error["error_data"]["details"].as_str()) {
        (Some(words), Some(details)) if !details.contains(words) => format!("{words}: {details}"),
        (_, Some(details)) => details.to_owned(),
        (words, None) => words.unwrap_or("an error without words").to_owned(),
    }
}

/// Seconds since 1970, as a string (mostly) or a number.
fn timestamp(value: &Value) -> Option<DateTime<Utc>> {
    let seconds = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
    // Beyond what a timestamp of PostgreSQL, or a sender in his right mind, can mean.
    DateTime::from_timestamp(seconds, 0).filter(|t| (1_000_000_000..=9_999_999_999).contains(&t.timestamp()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn types(body: &Value) -> Vec<String> {
        events(1, body.to_string().as_bytes())
            .iter()
            .map(|e| format!("{}{}", e["type"].as_str().unwrap_or("?"), e["reason"].as_str().map(|r| format!(":{r}")).unwrap_or_default()))
            .collect()
    }

    fn webhook(value: Value) -> Value {
        let mut value = value;
        value["metadata"] = json!({"phone_number_id": "111"});
        json!({"object": "whatsapp_business_account", "entry": [{"id": "w", "changes": [{"field": "messages", "value": value}]}]})
    }

    #[test]
    fn a_text_with_its_contact() {
        let body = webhook(json!({
            "contacts": [{"profile": {"name": "Ana"}, "wa_id": "549", "user_id": "AR.1"}],
            "messages": [{"id": "wamid.1", "from": "549", "timestamp": "1780000000", "type": "text", "text": {"body": "*hola*"}, "context": {"id": "wamid.0"}}],
        }));
        let events = events(7, body.to_string().as_bytes());
        assert_eq!(events[0]["extra"], json!({"address_type": "phone", "name": "Ana", "phone_number": "549", "bsuid": "AR.1"}));
        assert_eq!(events[1]["content"], json!({"version": "1", "type": "text", "kind": "text", "text": "**hola**", "re_message_id": "wamid.0"}));
        assert_eq!(events[1]["contact"], "549");
    }

    #[test]
    fn people_without_profile_or_phone() {
        let body = webhook(json!({
            "contacts": [{"user_id": "US.2"}],
            "messages": [{"id": "wamid.1", "from_user_id": "US.2", "timestamp": "1780000000", "type": "text", "text": {"body": "x"}}],
        }));
        let events = events(7, body.to_string().as_bytes());
        assert_eq!((&events[0]["contact"], &events[1]["contact"]), (&json!("US.2"), &json!("US.2")));
    }

    #[test]
    fn one_bad_item_does_not_hold_up_its_neighbours() {
        let good = json!({"id": "wamid.1", "from": "549", "timestamp": "1780000000", "type": "text", "text": {"body": "x"}});
        let body = webhook(json!({"messages": [{}, good, {"id": "wamid.2", "from": "549", "timestamp": "soon", "type": "text"},
            {"id": "wamid.3", "from": "549", "timestamp": "1780000000", "type": "hologram"}], "statuses": [7], "novelty": 1}));
        let expected = ["park:other_shape", "contact", "message", "park:other_shape", "contact", "message", "park:other_shape", "park:unknown_part"];
        assert_eq!(types(&body), expected);
    }

    #[test]
    fn what_is_no_webhook_is_parked() {
        assert_eq!(events(1, b"{").len(), 1);
        assert_eq!(types(&json!([1])), ["park:other_shape"]);
        assert_eq!(types(&json!({"object": "page", "entry": []})), ["park:other_shape"]);
    }

    #[test]
    fn a_field_nobody_has_heard_of_is_kept_and_said() {
        let body = json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"field": "quantum", "value": {}}]}]});
        assert_eq!(types(&body), ["log", "park:unknown_field"]);
    }

    proptest! {
        #[test]
        fn never_panics_and_never_loses(text in any::<Vec<u8>>(), kind in "[a-z]{0,6}", id in any::<Option<u32>>()) {
            prop_assert!(!events(1, &text).is_empty());
            let body = webhook(json!({"messages": [{"id": id, "type": kind, "timestamp": id, "from": kind}]}));
            prop_assert_eq!(events(i64::MAX, body.to_string().as_bytes()).len(), 1);
        }
    }
}
