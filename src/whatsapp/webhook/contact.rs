//! People: who a payload is about, and the address book of a phone that shares its number with us.

use serde_json::{Value, json};

use super::{Place, list, timestamp};
use crate::whatsapp::is_bsuid;

/// A person as a payload names him: a phone, a business-scoped user id, or both.
pub struct Person<'a> {
    pub phone: Option<&'a str>,
    pub user_id: Option<&'a str>,
}

impl<'a> Person<'a> {
    pub fn new(phone: &'a Value, user_id: &'a Value) -> Option<Self> {
        let text = |v: &'a Value| v.as_str().filter(|s| !s.is_empty());
        let person = Self { phone: text(phone), user_id: text(user_id) };
        (person.phone.is_some() || person.user_id.is_some()).then_some(person)
    }

    /// The address to file under when nothing is known of the person yet.
    pub fn address(&self) -> &'a str {
        self.phone.or(self.user_id).unwrap_or_default()
    }

    /// How an event names the person: the database finds the address that goes with it.
    pub fn fields(&self) -> Value {
        json!({"contact": self.address(), "phone": self.phone, "user_id": self.user_id})
    }

    /// What the address keeps of the person.
    pub fn extra(&self) -> Value {
        let mut extra = json!({"address_type": if is_bsuid(self.address()) { "bsuid" } else { "phone" }});
        for (key, value) in [("phone_number", self.phone), ("bsuid", self.user_id)] {
            if let Some(value) = value {
                extra[key] = json!(value);
            }
        }
        extra
    }
}

/// One of `value.contacts`. `creates`: whether it may introduce somebody nobody knows.
pub fn read(contact: &Value, place: &Place, creates: bool) -> Option<Value> {
    let person = Person::new(&contact["wa_id"], &contact["user_id"])?;
    let mut extra = person.extra();
    for (key, value) in [
        ("name", &contact["profile"]["name"]),
        ("username", &contact["profile"]["username"]),
        ("parent_bsuid", &contact["parent_user_id"]),
        ("identity_key_hash", &contact["identity_key_hash"]),
    ] {
        if value.as_str().is_some_and(|v| !v.is_empty()) {
            extra[key] = value.clone();
        }
    }
    Some(event(place, &person, extra, creates))
}

/// The person's address, with what it should keep.
pub fn event(place: &Place, person: &Person<'_>, extra: Value, creates: bool) -> Value {
    let mut event = place.event("contact", person.fields());
    event["extra"] = extra;
    event["creates"] = json!(creates);
    event
}

/// `smb_app_state_sync`: contacts of the phone's address book, added (or renamed) and removed.
pub fn read_sync(value: &Value, place: &Place, events: &mut Vec<Value>) {
    let items = list(value, "state_sync");
    if items.is_empty() {
        events.push(place.park("empty", "no state_sync in it", value.clone()));
    }
    for item in items {
        let contact = &item["contact"];
        let action = item["action"].as_str().unwrap_or_default();
        let person = Person::new(&contact["phone_number"], &contact["user_id"]);
        match person {
            Some(person) if item["type"] == "contact" && matches!(action, "add" | "remove") => {
                let mut extra = person.extra();
                if let Some(username) = contact["username"].as_str().filter(|u| !u.is_empty()) {
                    extra["username"] = json!(username);
                }
                let mut event = place.event("sync", person.fields());
                event["extra"] = extra;
                event["action"] = json!(action);
                event["name"] = json!(contact["full_name"].as_str().or(contact["first_name"].as_str()).filter(|n| !n.is_empty()));
                event["timestamp"] = json!(timestamp(&item["metadata"]["timestamp"]).unwrap_or_else(|| place.at()));
                events.push(event);
            }
            _ => events.push(place.park("unknown_type", &format!("state_sync of type {} and action {action}", item["type"]), item.clone())),
        }
    }
    events.push(place.event("number", json!({"patch": {"sync": {"contacts": {"at": place.at()}}}})));
}
