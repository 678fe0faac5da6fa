//! From a webhook's body to events: one for each contact, message and status in it, and one `park` for each thing that
//! is not understood (yet). Nothing is dropped, and nothing in it can stop its neighbours.
//!
//! Shapes: Cloud API webhooks, `messages` field. Envelope `{object, entry: [{id, changes: [{field, value}]}]}`.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{is_bsuid, to_markdown};
use crate::model::without_nul;

/// Reads a body. Events are what `bus.finish_intake` takes: `{type, journal, n, service, address, …, raw}`.
pub fn events(journal: i64, body: &[u8]) -> Vec<Value> {
    let mut events = Vec::new();
    match parse(body) {
        Err(problem) => events.push(park(&Place::default(), "no_json", &problem, Value::Null)),
        Ok(body) => match body["entry"].as_array() {
            Some(entries) if body["object"] == "whatsapp_business_account" => {
                for entry in entries {
                    read_entry(entry, &mut events);
                }
                if events.is_empty() {
                    events.push(park(&Place::default(), "empty", "no changes in it", body.clone()));
                }
            }
            _ => events.push(park(&Place::default(), "other_shape", "not a whatsapp_business_account webhook", body)),
        },
    }
    for (n, event) in events.iter_mut().enumerate() {
        event["journal"] = json!(journal);
        // Unique across the entries of a batch, and in the order of arrival.
        event["n"] = json!(journal.saturating_mul(100_000) + i64::try_from(n).unwrap_or(i64::MAX));
    }
    events
}

/// JSON, leniently: halves of surrogate pairs, which PostgreSQL and UTF-8 cannot hold, become U+FFFD, and so does NUL.
fn parse(body: &[u8]) -> Result<Value, String> {
    let value = serde_json::from_slice(body).or_else(|error| {
        let text = std::str::from_utf8(body).map_err(|e| e.to_string())?;
        serde_json::from_str(&mend(text)).map_err(|_| error.to_string())
    });
    value.map(without_nul)
}

/// Replaces escapes of lone surrogates.
fn mend(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    let unit = |s: &str| s.strip_prefix("\\u").and_then(|h| u16::from_str_radix(h.get(..4)?, 16).ok());
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at..];
        let (take, lone) = match unit(escape) {
            Some(0xD800..=0xDBFF) if escape.get(6..).and_then(unit).is_some_and(|low| (0xDC00..=0xDFFF).contains(&low)) => (12, false),
            Some(0xD800..=0xDFFF) => (6, true),
            Some(_) => (6, false),
            None => (1 + escape[1..].chars().next().map_or(0, char::len_utf8), false),
        };
        result.push_str(&rest[..at]);
        result.push_str(if lone { "\\uFFFD" } else { &escape[..take] });
        rest = &escape[take..];
    }
    result + rest
}

/// Where in the payload something stands: enough to make a parked piece a payload of its own.
#[derive(Default, Clone)]
struct Place {
    waba: Value,
    field: String,
    metadata: Value,
    address: Option<String>,
}

fn read_entry(entry: &Value, events: &mut Vec<Value>) {
    let Some(changes) = entry["changes"].as_array() else {
        events.push(park(&Place::default(), "other_shape", "an entry without changes", entry.clone()));
        return;
    };
    for change in changes {
        let value = &change["value"];
        let place = Place {
            waba: entry["id"].clone(),
            field: change["field"].as_str().unwrap_or_default().to_owned(),
            metadata: value["metadata"].clone(),
            address: value["metadata"]["phone_number_id"].as_str().filter(|a| !a.is_empty()).map(str::to_owned),
        };
        if place.field != "messages" {
            events.push(park(&place, "unknown_field", &place.field, change.clone()));
        } else if place.address.is_none() {
            events.push(park(&place, "other_shape", "no metadata.phone_number_id", change.clone()));
        } else {
            read_messages(value, &place, events);
        }
    }
}

fn read_messages(value: &Value, place: &Place, events: &mut Vec<Value>) {
    let list = |key: &str| value[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let before = events.len();
    for contact in list("contacts") {
        events.extend(read_contact(contact, place));
    }
    let contacts = events.len();
    for message in list("messages") {
        events.push(read_message(message, value, place).unwrap_or_else(|(reason, detail)| park(place, reason, &detail, message.clone())));
    }
    for status in list("statuses") {
        events.push(read_status(status, place).unwrap_or_else(|detail| park(place, "other_shape", &detail, status.clone())));
    }
    for error in list("errors") {
        events.push(park(
            place,
            "number_error",
            error["message"].as_str().or(error["title"].as_str()).unwrap_or("an error of the number"),
            error.clone(),
        ));
    }
    let known = ["messaging_product", "metadata", "contacts", "messages", "statuses", "errors"];
    if let Some(object) = value.as_object() {
        for (key, other) in object.iter().filter(|(k, _)| !known.contains(&k.as_str())) {
            events.push(park(place, "unknown_part", key, other.clone()));
        }
    }
    if events.len() == before || (events.len() == contacts && list("contacts").is_empty()) {
        events.push(park(place, "empty", "neither messages nor statuses in it", value.clone()));
    }
}

/// The address by which a person is known: digits of the phone, else the business-scoped user id.
fn address_of<'a>(phone: &'a Value, user_id: &'a Value) -> Option<&'a str> {
    let text = |v: &'a Value| v.as_str().filter(|s| !s.is_empty());
    text(phone).or_else(|| text(user_id))
}

fn read_contact(contact: &Value, place: &Place) -> Option<Value> {
    let address = address_of(&contact["wa_id"], &contact["user_id"])?;
    let mut extra = json!({"address_type": if is_bsuid(address) { "bsuid" } else { "phone" }});
    for (key, value) in [
        ("name", &contact["profile"]["name"]),
        ("username", &contact["profile"]["username"]),
        ("phone_number", &contact["wa_id"]),
        ("bsuid", &contact["user_id"]),
    ] {
        if value.as_str().is_some_and(|v| !v.is_empty()) {
            extra[key] = value.clone();
        }
    }
    Some(json!({"type": "contact", "service": "whatsapp", "address": place.address, "contact": address, "extra": extra}))
}

fn read_message(message: &Value, value: &Value, place: &Place) -> Result<Value, (&'static str, String)> {
    let shape = |problem: &str| ("other_shape", problem.to_owned());
    let id = message["id"].as_str().filter(|s| !s.is_empty()).ok_or_else(|| shape("a message without id"))?;
    let kind = message["type"].as_str().ok_or_else(|| shape("a message without type"))?;
    let at = timestamp(&message["timestamp"]).ok_or_else(|| shape("a message without timestamp"))?;
    // `from` may be missing: then the one contact of the value is who wrote.
    let only = if value["contacts"].as_array().is_some_and(|c| c.len() == 1) { &value["contacts"][0] } else { &Value::Null };
    let from = address_of(&message["from"], &message["from_user_id"])
        .or_else(|| address_of(&only["wa_id"], &only["user_id"]))
        .ok_or_else(|| shape("a message without from and from_user_id"))?;
    if message["group_id"].is_string() {
        return Err(("unknown_type", "a message in a group".to_owned()));
    }
    if kind != "text" {
        return Err(("unknown_type", kind.to_owned()));
    }
    let body = message["text"]["body"].as_str().ok_or_else(|| shape("a text without body"))?;
    let mut content = json!({"version": "1", "type": "text", "kind": "text", "text": to_markdown(body)});
    let context = &message["context"];
    if let Some(original) = context["id"].as_str() {
        content["re_message_id"] = json!(original);
    }
    if context["forwarded"] == true || context["frequently_forwarded"] == true {
        content["forwarded"] = json!(true);
    }
    if context["referred_product"].is_object() {
        content["referred_product"] = context["referred_product"].clone();
    }
    if message["referral"].is_object() {
        content["referral"] = message["referral"].clone();
    }
    Ok(json!({
        "type": "message", "service": "whatsapp", "address": place.address, "contact": from, "external_id": id,
        "timestamp": at, "content": content, "raw": wrap(place, &json!({"messages": [message], "contacts": value["contacts"]})),
    }))
}

fn read_status(status: &Value, place: &Place) -> Result<Value, String> {
    let id = status["id"].as_str().filter(|s| !s.is_empty()).ok_or("a status without id")?;
    let state = status["status"].as_str().filter(|s| !s.is_empty()).ok_or("a status without status")?;
    let at = timestamp(&status["timestamp"]).ok_or("a status without timestamp")?;
    let mut event = json!({
        "type": "status", "service": "whatsapp", "address": place.address, "external_id": id, "state": state, "timestamp": at,
        "raw": wrap(place, &json!({"statuses": [status]})),
    });
    if let Some(errors) = status["errors"].as_array().filter(|e| !e.is_empty()) {
        event["errors"] = json!(errors);
    }
    if let Some(ours) = status["biz_opaque_callback_data"].as_str().and_then(|s| Uuid::try_parse(s).ok()) {
        event["message_id"] = json!(ours);
    }
    Ok(event)
}

/// Seconds since 1970, as a string (mostly) or a number.
fn timestamp(value: &Value) -> Option<DateTime<Utc>> {
    let seconds = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
    // Beyond what a timestamp of PostgreSQL, or a sender in his right mind, can mean.
    DateTime::from_timestamp(seconds, 0).filter(|t| (1_000_000_000..=9_999_999_999).contains(&t.timestamp()))
}

fn wrap(place: &Place, value: &Value) -> Value {
    json!({"id": place.waba, "field": place.field, "metadata": place.metadata, "value": value})
}

fn park(place: &Place, reason: &str, detail: &str, raw: Value) -> Value {
    json!({"type": "park", "service": "whatsapp", "address": place.address, "reason": reason, "detail": detail, "raw": wrap(place, &raw)})
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
        assert_eq!(types(&body), ["park:other_shape", "message", "park:other_shape", "park:unknown_type", "park:other_shape", "park:unknown_part"]);
    }

    #[test]
    fn what_is_no_webhook_is_parked() {
        assert_eq!(events(1, b"{").len(), 1);
        assert_eq!(types(&json!([1])), ["park:other_shape"]);
        assert_eq!(types(&json!({"object": "page", "entry": []})), ["park:other_shape"]);
        assert_eq!(
            types(&json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"field": "security", "value": {}}]}]})),
            ["park:unknown_field"]
        );
    }

    #[test]
    fn half_emoji_and_nul() {
        let body =
            webhook(json!({"messages": [{"id": "wamid.1", "from": "549", "timestamp": "1780000000", "type": "text", "text": {"body": "HERE"}}]}))
                .to_string();
        let events = events(1, body.replace("HERE", "a\\\\ud83d\\ud83d\\u0000\\ud83d\\ude00").as_bytes());
        assert_eq!(events[0]["content"]["text"], "a\\ud83d\u{FFFD}\u{FFFD}😀");
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
