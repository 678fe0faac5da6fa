//! Messages: who said what to whom, and what people do to messages afterwards.

use serde_json::{Value, json};

use super::{
    Place,
    contact::{self, Person},
    content::{content, edited},
    error_text, list, timestamp,
};

/// Where a message comes from, which decides whether it arms anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// Somebody has just written to us.
    Live,
    /// Somebody wrote, or the business did, and nobody here is to answer: the state it is stored with.
    Past(&'a str),
    /// The business wrote, on its phone.
    Echo,
    /// From the history of a phone: its state there, in lower case.
    History(&'a str),
}

impl Origin<'_> {
    /// What comes by `standby` is somebody else's to answer; it opens the 24-hour window all the same.
    pub fn incoming(field: &str) -> Self {
        if field == "standby" { Self::Past("standby") } else { Self::Live }
    }
}

/// Reads one message, whatever it is, into events.
pub fn read(message: &Value, value: &Value, place: &Place, origin: Origin<'_>, events: &mut Vec<Value>) {
    if let Err(problem) = try_read(message, value, place, origin, events) {
        events.push(place.park("other_shape", problem, message.clone()));
    }
}

fn try_read(message: &Value, value: &Value, place: &Place, origin: Origin<'_>, events: &mut Vec<Value>) -> Result<(), &'static str> {
    let id = message["id"].as_str().filter(|s| !s.is_empty()).ok_or("a message without id")?;
    let kind = message["type"].as_str().ok_or("a message without type")?;
    let at = timestamp(&message["timestamp"]).ok_or("a message without timestamp")?;
    match kind {
        "edit" => {
            let original = target(&message["edit"])?;
            let patch = edited(&message["edit"]["message"]).ok_or("an edit whose new content cannot be told")?;
            events.push(place.event("edit", json!({"external_id": original, "patch": patch, "timestamp": at})));
            return Ok(());
        }
        "revoke" => {
            let original = target(&message["revoke"])?;
            events.push(place.event("revoke", json!({"external_id": original, "timestamp": at})));
            return Ok(());
        }
        "errors" => events.push(place.log("error", &error_text(&list(message, "errors").first().cloned().unwrap_or_default()), message)),
        _ => {}
    }
    let outgoing = origin == Origin::Echo || is_outgoing(message, place, origin);
    let person = person(message, value, outgoing).ok_or("a message without from and from_user_id")?;
    let mut event = place.event("message", person.fields());
    event["direction"] = json!(if outgoing { "outgoing" } else { "incoming" });
    event["external_id"] = json!(id);
    event["timestamp"] = json!(at);
    event["content"] = content(message);
    if let Some(group) = message["group_id"].as_str().filter(|g| !g.is_empty()) {
        event["group"] = json!(group);
    }
    let inert = match origin {
        _ if kind == "system" => Origin::Past("delivered"),
        Origin::Echo if place.field == "standby" => Origin::Past("standby"),
        origin => origin,
    };
    if let Some(status) = status(inert, outgoing, &json!(at)) {
        event["status"] = status;
    }
    if origin == Origin::Live {
        event["raw"] = place.raw(json!({"messages": [message], "contacts": value["contacts"]}));
    }
    if !introduced(value, &person) && kind != "system" {
        events.push(contact::event(place, &person, person.extra(), true));
    }
    events.push(event);
    learn(message, &person, place, events);
    Ok(())
}

fn target(object: &Value) -> Result<&str, &'static str> {
    object["original_message_id"].as_str().filter(|s| !s.is_empty()).ok_or("no original_message_id")
}

/// Within a history, what has a recipient was sent by the business.
fn is_outgoing(message: &Value, place: &Place, origin: Origin<'_>) -> bool {
    let to = Person::new(&message["to"], &message["to_user_id"]).is_some();
    matches!(origin, Origin::History(_)) && (to || message["from"].as_str().is_some_and(|f| place.metadata["display_phone_number"] == f))
}

/// The other side. `from` may be missing: then the one contact of the value is who wrote.
fn person<'a>(message: &'a Value, value: &'a Value, outgoing: bool) -> Option<Person<'a>> {
    let only = if list(value, "contacts").len() == 1 { &value["contacts"][0] } else { &Value::Null };
    let named = if outgoing { Person::new(&message["to"], &message["to_user_id"]) } else { Person::new(&message["from"], &message["from_user_id"]) };
    // What the system says of somebody whose ids have changed names only them.
    let system = || Person::new(&Value::Null, &message["system"]["previous_user_id"]);
    named.or_else(|| Person::new(&only["wa_id"], &only["user_id"])).or_else(system)
}

/// Whether `value.contacts` says who the person is; if not, the message alone does.
fn introduced(value: &Value, person: &Person<'_>) -> bool {
    let is = |v: &Value, id: Option<&str>| id.is_some() && v.as_str() == id;
    list(value, "contacts").iter().any(|c| is(&c["wa_id"], person.phone) || is(&c["user_id"], person.user_id))
}

/// The status of a row that arms nothing; none for what has just come in.
fn status(origin: Origin<'_>, outgoing: bool, at: &Value) -> Option<Value> {
    let state = match origin {
        Origin::Live => return None,
        Origin::Past(state) => state,
        Origin::Echo => "sent",
        // The phone's states by the names that receipts use.
        Origin::History("pending") => "accepted",
        Origin::History("error") => "failed",
        Origin::History("") if outgoing => "sent",
        Origin::History("") => "delivered",
        Origin::History(state) => state,
    };
    Some(json!({ state: at }))
}

/// The phone on a shared contact: as WhatsApp knows it, else from the card, else its digits.
fn shared_phone(shared: &Value) -> Option<String> {
    let phone = list(shared, "phones").first()?;
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let card = || shared["vcard"].as_str()?.split("waid=").nth(1).map(|rest| rest.chars().take_while(char::is_ascii_digit).collect());
    phone["wa_id"].as_str().map(str::to_owned).or_else(card).or_else(|| phone["phone"].as_str().map(digits)).filter(|p| !p.is_empty())
}

/// What a message tells of its author besides what it says.
fn learn(message: &Value, person: &Person<'_>, place: &Place, events: &mut Vec<Value>) {
    let system = &message["system"];
    if message["type"] == "system" {
        let phone = [&system["wa_id"], &system["new_wa_id"]].into_iter().find(|v| v.as_str().is_some_and(|s| !s.is_empty())).unwrap_or(&Value::Null);
        if let Some(new) = Person::new(phone, &system["user_id"]) {
            let old = system["previous_user_id"].as_str().filter(|s| !s.is_empty()).or(person.phone).or(person.user_id);
            let mut event = place.event("rename", new.fields());
            event["old"] = json!([old, person.phone, person.user_id]);
            events.push(event);
        }
    }
    // Whoever answers a request for his number by sharing his own contact says which it is.
    let asked = |c: &&Value| c["origin"] == "contact_request" || message["origin"] == "contact_request";
    for shared in list(message, "contacts").iter().filter(asked) {
        if let (Some(user_id), Some(phone)) = (person.user_id, shared_phone(shared)) {
            let known = Person { phone: Some(&phone), user_id: Some(user_id) };
            events.push(contact::event(place, &known, known.extra(), false));
        }
    }
    // The phone was changed, or WhatsApp installed anew: which keys the person has now.
    if let Some(hash) = message["identity"]["hash"].as_str() {
        events.push(contact::event(place, person, json!({"identity_key_hash": hash}), false));
    }
}
