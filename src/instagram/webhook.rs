//! From a webhook's body to events: one for each person, message, receipt, edit and deletion in it, and one `park` for each
//! thing that is not understood (yet). Nothing is dropped, and nothing in it can stop its neighbours.
//!
//! Shapes: Instagram Platform, "Webhook Notification Examples" and "Webhooks for Instagram Messaging". Envelope
//! `{object, entry: [{id, time, messaging: [event], changes: [{field, value: event}]}]}`; an event is
//! `{sender, recipient, timestamp}` and one of message, postback, reaction, read, message_edit, referral.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    content::{button, data, parts_of, refer, text},
    place::{Place, Problem, body, id, park, shape, timestamp},
};
use crate::model::parse_json;

/// Fields of `changes` whose values are events like those in `messaging`.
const FIELDS: [&str; 6] = ["messages", "messaging_postbacks", "messaging_seen", "message_reactions", "message_edit", "messaging_referral"];

/// Reads a body. Events are what `bus.finish_intake` takes: `{type, journal, n, service, address, …, raw}`. What comes in
/// `messaging` and again in `changes` is one event.
pub fn events(journal: i64, body: &[u8]) -> Vec<Value> {
    let mut events = Vec::new();
    match parse_json(body) {
        Err(problem) => events.push(park(None, "no_json", &problem, Value::Null)),
        Ok(body) => match body["entry"].as_array() {
            Some(entries) if body["object"] == "instagram" => {
                for entry in entries {
                    read_entry(entry, &mut events);
                }
                if events.is_empty() {
                    events.push(park(None, "empty", "no entries in it", body.clone()));
                }
            }
            _ => events.push(park(None, "other_shape", "not an instagram webhook", body)),
        },
    }
    let mut seen = HashSet::new();
    events.retain(|event| identity(event).is_none_or(|identity| seen.insert(identity)));
    for (n, event) in events.iter_mut().enumerate() {
        event["journal"] = json!(journal);
        // Unique across the entries of a batch, and in the order of arrival.
        event["n"] = json!(journal.saturating_mul(100_000).saturating_add(i64::try_from(n).unwrap_or(i64::MAX)));
    }
    events
}

/// What two copies of one event have in common. None for what is parked: better twice than not at all.
fn identity(event: &Value) -> Option<String> {
    let details: &[&str] = match event["type"].as_str()? {
        "contact" => &["contact"],
        "message" | "revoke" => &["external_id"],
        "status" => &["external_id", "state"],
        "edit" => &["external_id", "timestamp", "text"],
        _ => return None,
    };
    Some(["type", "address"].iter().chain(details).map(|key| event[*key].to_string()).collect())
}

fn read_entry(entry: &Value, events: &mut Vec<Value>) {
    let account = id(&entry["id"]);
    let whole = || json!({"object": "instagram", "entry": [entry]});
    let (messaging, changes) = (entry["messaging"].as_array(), entry["changes"].as_array());
    if messaging.is_none() && changes.is_none() {
        events.push(park(account.as_deref(), "other_shape", "an entry without messaging and changes", whole()));
        return;
    }
    let before = events.len();
    for event in messaging.into_iter().flatten() {
        read_event(event, &Place::new(entry, "messaging", event, event), events);
    }
    for change in changes.into_iter().flatten() {
        let field = change["field"].as_str().unwrap_or_default();
        let place = Place::new(entry, "changes", change, &change["value"]);
        if FIELDS.contains(&field) {
            read_event(&change["value"], &place, events);
        } else {
            events.push(place.park("unknown_field", field));
        }
    }
    for (key, other) in entry.as_object().into_iter().flatten() {
        let known = match key.as_str() {
            "id" | "time" => true,
            "messaging" => messaging.is_some(),
            "changes" => changes.is_some(),
            _ => false,
        };
        if !known && !other.is_null() {
            events.push(park(account.as_deref(), "unknown_part", key, body(entry, key, other.clone())));
        }
    }
    if events.len() == before {
        events.push(park(account.as_deref(), "empty", "no events in it", whole()));
    }
}

fn read_event(event: &Value, place: &Place, events: &mut Vec<Value>) {
    match translate(event, place) {
        Ok(found) => {
            events.extend(place.person());
            events.extend(found);
        }
        Err((reason, detail)) => events.push(place.park(reason, &detail)),
    }
}

fn translate(event: &Value, place: &Place) -> Result<Vec<Value>, Problem> {
    let at = timestamp(&event["timestamp"]).ok_or_else(|| shape("an event without timestamp"))?;
    if place.address.is_none() {
        return Err(shape("an event without recipient"));
    }
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for (name, part) in event.as_object().into_iter().flatten() {
        match name.as_str() {
            "sender" | "recipient" | "timestamp" => {}
            _ if part.is_null() => {}
            "message" => found.extend(read_message(event, place, at)?),
            "postback" => found.push(read_postback(event, place, at)?),
            "reaction" => found.push(read_reaction(part, place, at)?),
            // Of a message or a tapped button it is a detail, which their readers take.
            "referral" if event["message"].is_object() || event["postback"].is_object() => {}
            "referral" => found.push(place.message(&place.made_up("referral", at), data("referral", part.clone()), at)?),
            "message_edit" => found.push(read_edit(part, place, at)?),
            "read" if !place.ours => {
                let mid = id(&part["mid"]).ok_or_else(|| shape("a read without mid"))?;
                let mut status = place.event("status", &mid, at);
                status["state"] = json!("read");
                found.push(status);
            }
            other => unknown.push(other),
        }
    }
    match (found.is_empty(), unknown.is_empty()) {
        (false, _) => Ok(found),
        (true, false) => Err(("unknown_type", unknown.join(", "))),
        (true, true) => Err(("empty", "an event with nothing in it".to_owned())),
    }
}

fn read_message(event: &Value, place: &Place, at: DateTime<Utc>) -> Result<Vec<Value>, Problem> {
    let message = &event["message"];
    let mid = id(&message["mid"]).ok_or_else(|| shape("a message without mid"))?;
    if message["is_deleted"] == true {
        return Ok(vec![place.event("revoke", &mid, at)]);
    }
    let mut parts = parts_of(message);
    let first = parts.first_mut().ok_or_else(|| ("unknown_type", "a message with neither text nor attachments".to_owned()))?;
    let reply_to = &message["reply_to"];
    if let Some(original) = id(&reply_to["mid"]).or_else(|| id(&reply_to["story"]["id"])) {
        first["re_message_id"] = json!(original);
    }
    refer(first, &message["referral"], &event["referral"]);
    let ids = (1..).map(|n| if n == 1 { mid.clone() } else { format!("{mid}#{n}") });
    ids.zip(parts).map(|(external_id, content)| place.message(&external_id, content, at)).collect()
}

fn read_postback(event: &Value, place: &Place, at: DateTime<Utc>) -> Result<Value, Problem> {
    let postback = &event["postback"];
    let title = text(&postback["title"]).or_else(|| text(&postback["payload"])).ok_or_else(|| shape("a postback without title"))?;
    let external_id =
        id(&postback["mid"]).unwrap_or_else(|| format!("{}#{}", place.made_up("postback", at), place.contact.as_deref().unwrap_or_default()));
    let mut content = button(title, &postback["payload"]);
    refer(&mut content, &postback["referral"], &event["referral"]);
    place.message(&external_id, content, at)
}

fn read_reaction(reaction: &Value, place: &Place, at: DateTime<Utc>) -> Result<Value, Problem> {
    let mid = id(&reaction["mid"]).ok_or_else(|| shape("a reaction without mid"))?;
    let emoji = match reaction["action"].as_str() {
        // An empty text is a reaction taken back.
        Some("unreact") => "",
        _ => text(&reaction["emoji"]).or_else(|| text(&reaction["reaction"])).ok_or_else(|| shape("a reaction without emoji"))?,
    };
    let external_id = format!("{mid}#reaction#{}", at.timestamp_millis());
    place.message(&external_id, json!({"version": "1", "type": "text", "kind": "reaction", "text": emoji, "re_message_id": mid}), at)
}

fn read_edit(edit: &Value, place: &Place, at: DateTime<Utc>) -> Result<Value, Problem> {
    let mid = id(&edit["mid"]).ok_or_else(|| shape("an edit without mid"))?;
    let words = edit["text"].as_str().ok_or_else(|| shape("an edit without text"))?;
    let mut event = place.event("edit", &mid, at);
    event["text"] = json!(words);
    // What it changes in the row's content: without it, it would be taken for a revocation.
    event["patch"] = json!({"text": words});
    Ok(event)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: i64 = 1_780_000_000_123;

    fn event(sender: &str, recipient: &str, kind: &str, part: Value) -> Value {
        let mut event = json!({"sender": {"id": sender}, "recipient": {"id": recipient}, "timestamp": AT});
        event[kind] = part;
        event
    }

    fn read(messaging: Value, changes: Value) -> Vec<Value> {
        let body = json!({"object": "instagram", "entry": [{"id": "acct", "time": AT, "messaging": messaging, "changes": changes}]});
        events(7, body.to_string().as_bytes())
    }

    fn types(events: &[Value]) -> Vec<String> {
        let name = |e: &Value| format!("{}{}", e["type"].as_str().unwrap_or("?"), e["reason"].as_str().map(|r| format!(":{r}")).unwrap_or_default());
        events.iter().map(name).collect()
    }

    #[test]
    fn a_message_that_comes_in_both_lists_is_one() {
        let message = event(
            "ana",
            "acct",
            "message",
            json!({"mid": "m1", "text": "hi", "reply_to": {"mid": "m0"}, "referral": {"source": "ADS", "ad_id": "9"}}),
        );
        let found = read(json!([message]), json!([{"field": "messages", "value": message}]));
        assert_eq!(types(&found), ["contact", "message"]);
        assert_eq!((&found[0]["contact"], &found[0]["address"], &found[0]["extra"]), (&json!("ana"), &json!("acct"), &json!({})));
        let m = &found[1];
        assert_eq!((&m["contact"], &m["external_id"], &m["direction"], m.get("status")), (&json!("ana"), &json!("m1"), &json!("incoming"), None));
        assert_eq!(m["timestamp"], "2026-05-28T20:26:40.123Z");
        assert_eq!((&m["content"]["re_message_id"], &m["content"]["referral"]["ad_id"]), (&json!("m0"), &json!("9")));
        assert_eq!((&m["journal"], &m["n"]), (&json!(7), &json!(700_001)));
        assert_eq!(types(&events(7, m["raw"].to_string().as_bytes())), ["contact", "message"]);
    }

    #[test]
    fn several_attachments_are_several_messages() {
        let image = |n: u8| json!({"type": "image", "payload": {"url": format!("https://cdn/{n}")}});
        let found = read(json!([event("ana", "acct", "message", json!({"mid": "m1", "attachments": [image(1), image(2)]}))]), json!([]));
        assert_eq!(types(&found), ["contact", "message", "message"]);
        assert_eq!((&found[1]["external_id"], &found[2]["external_id"]), (&json!("m1"), &json!("m1#2")));
    }

    #[test]
    fn echoes_are_ours_and_notes_to_oneself_are_not() {
        let found = read(json!([event("acct", "ana", "message", json!({"mid": "m1", "text": "hi", "is_echo": true}))]), json!(null));
        assert_eq!(types(&found), ["contact", "message"]);
        assert_eq!((&found[1]["contact"], &found[1]["address"], &found[1]["direction"]), (&json!("ana"), &json!("acct"), &json!("outgoing")));
        assert_eq!(found[1]["status"], json!({"sent": "2026-05-28T20:26:40.123Z"}));
        let found = read(json!([event("acct", "acct", "message", json!({"mid": "m2", "text": "x", "is_echo": true, "is_self": true}))]), json!([]));
        assert_eq!(types(&found), ["message"]);
        assert_eq!((&found[0]["direction"], found[0].get("status")), (&json!("incoming"), None));
    }

    #[test]
    fn what_happens_to_messages() {
        let found = read(
            json!([
                event("ana", "acct", "read", json!({"mid": "m1"})),
                event("ana", "acct", "message_edit", json!({"mid": "m2", "text": "b", "num_edit": 1})),
                event("ana", "acct", "message_edit", json!({"mid": "m2", "text": "c", "num_edit": 2})),
                event("ana", "acct", "message", json!({"mid": "m2", "is_deleted": true})),
                event("ana", "acct", "reaction", json!({"mid": "m1", "action": "react", "reaction": "love", "emoji": "❤"})),
                event("bob", "acct", "reaction", json!({"mid": "m3", "action": "unreact"})),
            ]),
            json!([]),
        );
        assert_eq!(types(&found), ["contact", "status", "edit", "edit", "revoke", "message", "contact", "message"]);
        assert_eq!((&found[1]["external_id"], &found[1]["state"]), (&json!("m1"), &json!("read")));
        assert_eq!((&found[3]["text"], &found[3]["patch"]), (&json!("c"), &json!({"text": "c"})));
        assert_eq!(found[5]["external_id"], format!("m1#reaction#{AT}"));
        assert_eq!(found[5]["content"], json!({"version": "1", "type": "text", "kind": "reaction", "text": "❤", "re_message_id": "m1"}));
        assert_eq!(found[7]["content"]["text"], "");
    }

    #[test]
    fn taps_and_links() {
        let found = read(
            json!([
                event("ana", "acct", "postback", json!({"mid": "m1", "title": "Start", "payload": "GO"})),
                event("ana", "acct", "postback", json!({"title": "Start"})),
                event("ana", "acct", "referral", json!({"ref": "r", "source": "IGME"})),
            ]),
            json!([]),
        );
        let ids: Vec<_> = found[1..].iter().map(|e| e["external_id"].as_str().unwrap_or_default().to_owned()).collect();
        assert_eq!(ids, ["m1".to_owned(), format!("acct#postback#{AT}#ana"), format!("acct#referral#{AT}")]);
        assert_eq!((&found[1]["content"]["text"], &found[1]["content"]["data"]["payload"]), (&json!("Start"), &json!("GO")));
        assert_eq!((&found[3]["content"]["kind"], &found[3]["content"]["data"]["ref"]), (&json!("referral"), &json!("r")));
    }

    #[test]
    fn one_bad_item_does_not_hold_up_its_neighbours() {
        let good = event("ana", "acct", "message", json!({"mid": "m1", "text": "hi"}));
        let found = read(
            json!([7, {"timestamp": AT}, good, event("ana", "acct", "hologram", json!({}))]),
            json!([{"field": "comments", "value": {"id": "c"}}, 7]),
        );
        let parked = ["park:other_shape", "park:empty", "contact", "message", "park:unknown_type", "park:unknown_field", "park:unknown_field"];
        assert_eq!(types(&found), parked);
        assert_eq!(found[1]["address"], "acct");
        assert_eq!(found[6]["raw"], json!({"object": "instagram", "entry": [{"id": "acct", "changes": [7]}]}));
    }

    #[test]
    fn the_dashboard_tests_in_seconds() {
        let value = json!({"sender": {"id": "12334"}, "recipient": {"id": "23245"}, "timestamp": "1780000000", "message": {"mid": "m", "text": "t"}});
        let found = read(json!([]), json!([{"field": "messages", "value": value}]));
        assert_eq!((&found[1]["address"], &found[1]["timestamp"]), (&json!("23245"), &json!("2026-05-28T20:26:40Z")));
    }

    #[test]
    fn what_is_no_webhook_is_parked() {
        assert_eq!(types(&events(1, b"{")), ["park:no_json"]);
        assert_eq!(types(&events(1, br#"{"object": "page", "entry": []}"#)), ["park:other_shape"]);
        assert_eq!(types(&events(1, br#"{"object": "instagram", "entry": []}"#)), ["park:empty"]);
        assert_eq!(types(&events(1, br#"{"object": "instagram", "entry": [{"id": "a"}]}"#)), ["park:other_shape"]);
        assert_eq!(types(&events(1, br#"{"object": "instagram", "entry": [{"messaging": [], "standby": [1]}]}"#)), ["park:unknown_part"]);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), Just(json!(AT)), any::<bool>().prop_map(Value::Bool), "[a-z]{0,4}".prop_map(Value::String)];
        let keys = "id|message|mid|text|attachments|type|payload|url|reply_to|story|quick_reply|postback|title|reaction|emoji|read|message_edit";
        leaf.prop_recursive(4, 40, 6, move |inner| {
            let object = prop::collection::btree_map(keys, inner.clone(), 0..6);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::Array),
                object.prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn never_panics_and_never_loses(noise in any::<Vec<u8>>(), one in any_json(), other in any_json()) {
            let mut known = one;
            if known.is_object() {
                known["timestamp"] = json!(AT);
                known["sender"] = json!({"id": "ana"});
            }
            let found = read(json!([known]), json!([{"field": "messages", "value": known}, other]));
            prop_assert!(found.len() >= 2);
            let entry = json!({"object": "instagram", "entry": [other]}).to_string();
            prop_assert!(!events(i64::MAX, entry.as_bytes()).is_empty());
            prop_assert!(!events(1, &noise).is_empty());
        }
    }
}
