//! From a connector's batch to events. Unlike Meta's payloads a batch speaks our own terms already: contents are stored as
//! they are given.
//!
//! `{organization_address, messages: [{external_id, direction, contact_address?, group_address?, thread_id?, content,
//! status?, timestamp}], statuses: [{external_id, status}], contacts: [{address, extra?}], groups: [{address, name?}],
//! edits: [{original_message_id, text, timestamp}], revokes: [{original_message_id, timestamp}]}`

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::model::parse_json;

/// Reads a batch of a service's connector.
pub fn events(journal: i64, service: &str, body: &[u8]) -> Vec<Value> {
    let mut events = Vec::new();
    match parse_json(body) {
        Err(problem) => events.push(json!({"type": "park", "reason": "no_json", "detail": problem, "raw": null})),
        Ok(body) => read(&body, &mut events),
    }
    for (n, event) in events.iter_mut().enumerate() {
        event["service"] = json!(service);
        event["journal"] = json!(journal);
        event["n"] = json!(journal.saturating_mul(100_000) + i64::try_from(n).unwrap_or(i64::MAX));
    }
    events
}

type Reader = fn(&Value) -> Option<Vec<Value>>;

fn read(body: &Value, events: &mut Vec<Value>) {
    let address = &body["organization_address"];
    let readers: [(&str, Reader); 6] =
        [("contacts", contact), ("messages", message), ("statuses", statuses), ("groups", group), ("edits", edit), ("revokes", revoke)];
    for (part, reader) in readers {
        for item in body[part].as_array().into_iter().flatten() {
            let read = reader(item).unwrap_or_else(|| {
                vec![json!({"type": "park", "reason": "other_shape", "detail": format!("{part}: something required is missing"), "raw": {part: [item], "organization_address": address}})]
            });
            events.extend(read.into_iter().map(|mut event| {
                event["address"] = address.clone();
                event
            }));
        }
    }
    if events.is_empty() {
        events.push(json!({"type": "park", "address": address, "reason": "empty", "detail": "nothing in the batch", "raw": body}));
    }
}

fn some(value: &Value) -> Option<&str> {
    value.as_str().filter(|s| !s.is_empty())
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(value.as_str()?).ok()?.to_utc())
}

fn contact(item: &Value) -> Option<Vec<Value>> {
    let extra = if item["extra"].is_object() { item["extra"].clone() } else { json!({}) };
    Some(vec![json!({"type": "contact", "contact": some(&item["address"])?, "extra": extra, "creates": true})])
}

fn message(item: &Value) -> Option<Vec<Value>> {
    let direction = some(&item["direction"]).filter(|d| matches!(*d, "incoming" | "outgoing"))?;
    let (contact, group) = (some(&item["contact_address"]), some(&item["group_address"]));
    if contact.is_none() && group.is_none() || !item["content"].is_object() {
        return None;
    }
    let mut event = json!({
        "type": "message", "direction": direction, "external_id": some(&item["external_id"])?, "contact": contact, "group": group,
        "thread": some(&item["thread_id"]), "content": item["content"], "timestamp": time(&item["timestamp"])?,
    });
    // With a status it is history, or an echo, and arms nothing. What was sent already must not be sent.
    if item["status"].is_object() {
        event["status"] = item["status"].clone();
    } else if direction == "outgoing" {
        event["status"] = json!({"sent": event["timestamp"]});
    }
    Some(vec![event])
}

fn statuses(item: &Value) -> Option<Vec<Value>> {
    let (id, states) = (some(&item["external_id"])?, item["status"].as_object()?);
    let mut events: Vec<Value> =
        states.iter().filter_map(|(state, at)| Some(json!({"type": "status", "external_id": id, "state": state, "timestamp": time(at)?}))).collect();
    if let (Some(first), Some(errors)) = (events.first_mut(), states.get("errors").and_then(Value::as_array).filter(|e| !e.is_empty())) {
        first["errors"] = json!(errors);
    }
    (!events.is_empty()).then_some(events)
}

fn group(item: &Value) -> Option<Vec<Value>> {
    Some(vec![json!({"type": "group", "group": some(&item["address"])?, "name": some(&item["name"]), "patch": {}})])
}

fn edit(item: &Value) -> Option<Vec<Value>> {
    let (id, text) = (some(&item["original_message_id"])?, item["text"].as_str()?);
    Some(vec![json!({"type": "edit", "external_id": id, "patch": {"text": text}, "timestamp": time(&item["timestamp"])?})])
}

fn revoke(item: &Value) -> Option<Vec<Value>> {
    Some(vec![json!({"type": "revoke", "external_id": some(&item["original_message_id"])?, "timestamp": time(&item["timestamp"])?})])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_in_our_own_terms() {
        let body = json!({"organization_address": "549", "messages": [
            {"external_id": "a", "direction": "incoming", "contact_address": "1", "content": {"version": "1"}, "timestamp": "2026-01-01T00:00:00Z"},
            {"external_id": "b", "direction": "outgoing", "group_address": "g", "content": {"version": "1"}, "timestamp": "2026-01-01T00:00:00Z"},
            {"external_id": "c", "direction": "sideways"}],
            "statuses": [{"external_id": "a", "status": {"read": "2026-01-01T00:00:00Z"}}]});
        let events = events(1, "whatsapp-web", body.to_string().as_bytes());
        let types: Vec<_> = events.iter().map(|e| e["type"].as_str().unwrap_or_default()).collect();
        assert_eq!(types, ["message", "message", "park", "status"]);
        assert_eq!(events[0].get("status"), None);
        assert!(events[1]["status"]["sent"].is_string());
        assert_eq!(events[3]["service"], "whatsapp-web");
    }
}
