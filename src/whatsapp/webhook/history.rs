//! `history`: what a phone that shares its number with us remembers. Three variants: threads in chunks, a refusal to
//! share, and files that follow their placeholders as plain messages.

use serde_json::{Value, json};

use super::{
    Place,
    contact::{self, Person},
    error_text, list,
    message::{self, Origin},
};

pub fn read(value: &Value, place: &Place, events: &mut Vec<Value>) {
    let before = events.len();
    for person in list(value, "contacts") {
        events.extend(contact::read(person, place, true));
    }
    for item in list(value, "history") {
        read_item(item, place, events);
    }
    // Files, each with the id of the placeholder that it takes the place of.
    for message in list(value, "messages") {
        message::read(message, value, place, Origin::History(""), events);
    }
    for message in list(value, "message_echoes") {
        message::read(message, value, place, Origin::Echo, events);
    }
    if events.len() == before {
        events.push(place.park("empty", "no history, messages or message_echoes in it", value.clone()));
    }
}

fn read_item(item: &Value, place: &Place, events: &mut Vec<Value>) {
    for error in list(item, "errors") {
        events.push(place.log("error", &error_text(error), error));
        events.push(place.event("number", json!({"patch": {"sync": {"history": {"error": error, "at": place.at()}}}})));
    }
    let metadata = &item["metadata"];
    let threads = list(item, "threads");
    if metadata.is_object() || !threads.is_empty() {
        let messages: usize = threads.iter().map(|t| list(t, "messages").len()).sum();
        let text = format!(
            "history of the phone: phase {}, {} %: {} conversations, {messages} messages",
            metadata["phase"],
            metadata["progress"],
            threads.len()
        );
        events.push(place.log("info", &text, metadata));
        events.push(place.event("progress", json!({"phase": metadata["phase"], "chunk": metadata["chunk_order"], "progress": metadata["progress"], "messages": messages, "timestamp": place.at()})));
    }
    for thread in threads {
        read_thread(thread, place, events);
    }
    let known = ["metadata", "threads", "errors"];
    for (key, other) in item.as_object().into_iter().flatten().filter(|(k, _)| !known.contains(&k.as_str())) {
        events.push(place.park("unknown_part", key, other.clone()));
    }
}

fn read_thread(thread: &Value, place: &Place, events: &mut Vec<Value>) {
    let context = &thread["context"];
    // `id` is the other side's phone where there is no context.
    let phone = if context["wa_id"].is_string() || context["user_id"].is_string() { &context["wa_id"] } else { &thread["id"] };
    let Some(person) = Person::new(phone, &context["user_id"]) else {
        events.push(place.park("other_shape", "a thread without context and id", thread.clone()));
        return;
    };
    let mut extra = person.extra();
    if let Some(username) = context["username"].as_str().filter(|u| !u.is_empty()) {
        extra["username"] = json!(username);
    }
    events.push(contact::event(place, &person, extra, true));
    let value = &json!({"contacts": [{"wa_id": person.phone, "user_id": person.user_id}]});
    for item in list(thread, "messages") {
        let state = item["history_context"]["status"].as_str().unwrap_or_default().to_lowercase();
        let before = events.len();
        message::read(item, value, place, Origin::History(&state), events);
        // Whatever names its messages carry, they belong to the thread.
        let read: Vec<Value> = events.drain(before..).filter(|e| e["type"] != "contact").collect();
        events.extend(read);
        for event in events[before..].iter_mut().filter(|e| e["type"] == "message" && e["group"].is_null()) {
            if let (Value::Object(event), Value::Object(fields)) = (event, person.fields()) {
                event.extend(fields);
            }
        }
    }
}
