//! The fields that are about accounts, numbers, templates, groups, calls and flows. Each is a line in the log, and what
//! is a state of something changes that something as well.

use serde_json::{Value, json};

use super::{
    Place,
    contact::Person,
    error_text, list,
    message::{self, Origin},
    timestamp,
};

pub fn read(value: &Value, place: &Place, events: &mut Vec<Value>) {
    let place = &at_waba(place, value);
    match place.field.as_str() {
        "account_update" => account_update(value, place, events),
        "message_template_status_update"
        | "message_template_quality_update"
        | "message_template_components_update"
        | "template_category_update"
        | "template_correct_category_detection" => template(value, place, events),
        "phone_number_quality_update" | "phone_number_name_update" | "security" | "business_username_updates" | "business_username_update" => {
            number(value, place, events)
        }
        "account_alerts" | "account_review_update" | "account_settings_update" | "business_capability_update" | "payment_configuration_update" => {
            events.push(place.log(level(value), &words(&place.field, value), value));
            events.push(place.event("number", json!({"patch": {place.field.as_str(): value, "updated": {place.field.as_str(): place.at()}}})));
        }
        "user_preferences" => preferences(value, place, events),
        "user_id_update" => user_ids(value, place, events),
        "group_lifecycle_update" | "group_participants_update" | "group_settings_update" | "group_status_update" => groups(value, place, events),
        "calls" => calls(value, place, events),
        "flows" | "partner_solutions" | "automatic_events" | "messaging_handovers" => {
            events.push(place.log(level(value), &words(&place.field, value), value));
        }
        field => {
            events.push(place.log("warning", &format!("a webhook field that is not known: {field}"), value));
            events.push(place.park("unknown_field", field, value.clone()));
        }
    }
}

/// Partners' `account_update` names the WABA inside, and the portfolio outside.
fn at_waba(place: &Place, value: &Value) -> Place {
    let mut place = place.clone();
    if let Some(waba) = value["waba_info"]["waba_id"].as_str().filter(|w| !w.is_empty()) {
        place.waba = Some(waba.to_owned());
    }
    place
}

/// How loud the line is: by what the event is called, for Meta has no level of its own.
fn level(value: &Value) -> &'static str {
    let name =
        ["event", "decision", "alert_severity", "new_category", "new_quality_score"].iter().find_map(|k| value[*k].as_str()).unwrap_or_default();
    let name = name.to_uppercase();
    let any = |words: &[&str]| words.iter().any(|w| name.contains(w));
    if any(&["DELETED", "VIOLATION", "DISABLED", "DISABLE", "REJECTED", "CRITICAL", "ERROR", "OFFBOARDED", "PARTNER_REMOVED", "LOCKED"])
        && name != "UNLOCKED"
    {
        "error"
    } else if any(&[
        "RESTRICTION",
        "FLAGGED",
        "PAUSED",
        "DOWNGRADE",
        "WARNING",
        "PENDING_DELETION",
        "LIMIT_EXCEEDED",
        "RED",
        "RESET",
        "LATENCY",
        "AVAILABILITY",
    ]) {
        "warning"
    } else {
        "info"
    }
}

/// The line: the field, and what it says happened.
fn words(field: &str, value: &Value) -> String {
    let what = ["event", "decision", "alert_description", "message", "status"].iter().find_map(|k| value[*k].as_str());
    let about =
        ["message_template_name", "requested_verified_name", "display_phone_number", "flow_id", "username"].iter().find_map(|k| value[*k].as_str());
    [Some(field.replace('_', " ")), what.map(str::to_lowercase), about.map(str::to_owned)].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

fn account_update(value: &Value, place: &Place, events: &mut Vec<Value>) {
    let event = value["event"].as_str().unwrap_or("no event");
    // As the parent's clients know it: the event as the message, the value beneath.
    events.push(place.log(level(value), &event.to_lowercase(), &json!({"waba_id": place.waba, "value": value})));
    events.push(place.event(
        "account",
        json!({"event": event, "waba": place.waba, "phone_number": digits(&value["phone_number"]), "value": value, "timestamp": place.at()}),
    ));
}

/// Events of one template; its id is a JSON number.
fn template(value: &Value, place: &Place, events: &mut Vec<Value>) {
    events.push(place.log(level(value), &words(&place.field, value), value));
    let id = match &value["message_template_id"] {
        Value::Number(n) => n.to_string(),
        Value::String(s) => s.clone(),
        _ => return events.push(place.park("other_shape", "no message_template_id", value.clone())),
    };
    let mut patch = json!({});
    match place.field.as_str() {
        "message_template_status_update" => {
            patch["status"] = value["event"].clone();
            let reason = [&value["rejection_info"]["reason"], &value["other_info"]["description"], &value["reason"]];
            let reason = reason.into_iter().filter_map(Value::as_str).find(|r| !r.is_empty() && *r != "NONE");
            patch["rejected_reason"] = json!(reason);
            patch["category"] = value["message_template_category"].clone();
        }
        "message_template_quality_update" => patch["quality"] = value["new_quality_score"].clone(),
        // Announced for later, it is not yet so.
        "template_category_update" if value["previous_category"].is_string() => patch["category"] = value["new_category"].clone(),
        "message_template_components_update" => patch["components"] = components(value),
        _ => patch["extra"] = json!({place.field.as_str(): value}),
    }
    let more = json!({"waba": place.waba, "external_id": id, "name": value["message_template_name"], "language": value["message_template_language"], "patch": patch, "kind_of": place.field, "timestamp": place.at()});
    events.push(place.event("template", more));
}

/// Components as listings have them; the webhook spreads them over fields.
fn components(value: &Value) -> Value {
    let mut list = Vec::new();
    if let Some(title) = value["message_template_title"].as_str() {
        list.push(json!({"type": "HEADER", "format": "TEXT", "text": title}));
    }
    if let Some(body) = value["message_template_element"].as_str() {
        list.push(json!({"type": "BODY", "text": body}));
    }
    if let Some(footer) = value["message_template_footer"].as_str() {
        list.push(json!({"type": "FOOTER", "text": footer}));
    }
    if let Some(buttons) = value["message_template_buttons"].as_array().filter(|b| !b.is_empty()) {
        let button = |b: &Value| {
            let mut button = json!({"type": b["message_template_button_type"], "text": b["message_template_button_text"]});
            for (ours, theirs) in [("url", "message_template_button_url"), ("phone_number", "message_template_button_phone_number")] {
                if b[theirs].is_string() {
                    button[ours] = b[theirs].clone();
                }
            }
            button
        };
        list.push(json!({"type": "BUTTONS", "buttons": buttons.iter().map(button).collect::<Value>()}));
    }
    json!(list)
}

fn digits(value: &Value) -> Option<String> {
    let text: String = value.as_str()?.chars().filter(char::is_ascii_digit).collect();
    (!text.is_empty()).then_some(text)
}

/// What is known of one number, which these fields name by its phone.
fn number(value: &Value, place: &Place, events: &mut Vec<Value>) {
    events.push(place.log(level(value), &words(&place.field, value), value));
    let mut patch = json!({place.field.as_str(): value, "updated": {place.field.as_str(): place.at()}});
    match place.field.as_str() {
        "phone_number_quality_update" if value["event"] == "THROUGHPUT_UPGRADE" => patch["throughput"] = json!({"level": "HIGH"}),
        "phone_number_name_update" => {
            patch["name_status"] = value["decision"].clone();
            if value["decision"] == "APPROVED" {
                patch["verified_name"] = value["requested_verified_name"].clone();
            }
        }
        _ => {}
    }
    events.push(place.event("number", json!({"waba": place.waba, "phone_number": digits(&value["display_phone_number"]), "patch": patch})));
}

/// Who wants no marketing any more, or wants it again.
fn preferences(value: &Value, place: &Place, events: &mut Vec<Value>) {
    let items = list(value, "user_preferences");
    if items.is_empty() {
        events.push(place.park("empty", "no user_preferences in it", value.clone()));
    }
    for item in items {
        let (person, category) = (Person::new(&item["wa_id"], &item["user_id"]), item["category"].as_str());
        let (Some(person), Some(category)) = (person, category) else {
            events.push(place.park("other_shape", "a preference without wa_id and user_id, or without category", item.clone()));
            continue;
        };
        let at = timestamp(&item["timestamp"]).unwrap_or_else(|| place.at());
        let mut event = place.event("contact", person.fields());
        event["extra"] = person.extra();
        event["extra"]["preferences"] = json!({category: {"value": item["value"], "detail": item["detail"], "at": at}});
        event["creates"] = json!(true);
        events.push(event);
        let level = if item["value"] == "stop" { "warning" } else { "info" };
        events.push(place.log(level, &format!("{category}: {}", item["value"].as_str().unwrap_or("?")), item));
    }
}

/// User ids that were replaced. Not a field one can subscribe to, but seen.
fn user_ids(value: &Value, place: &Place, events: &mut Vec<Value>) {
    let items = match &value["user_id_update"] {
        Value::Array(items) => items.clone(),
        Value::Object(_) => vec![value["user_id_update"].clone()],
        _ => vec![value.clone()],
    };
    events.push(place.log("info", "a user id has changed", value));
    for item in &items {
        let (previous, current) = (&item["user_id"]["previous"], &item["user_id"]["current"]);
        match Person::new(&item["wa_id"], current) {
            Some(person) if previous.is_string() => {
                let mut event = place.event("rename", person.fields());
                event["old"] = json!([previous]);
                event["soft"] = json!(true);
                events.push(event);
            }
            _ => events.push(place.park("other_shape", "a user id update without previous and current", item.clone())),
        }
    }
}

fn groups(value: &Value, place: &Place, events: &mut Vec<Value>) {
    let items = list(value, "groups");
    if items.is_empty() {
        events.push(place.park("empty", "no groups in it", value.clone()));
    }
    for item in items {
        let kind = item["type"].as_str().unwrap_or("group event");
        let errors = list(item, "errors");
        let text = errors.first().map_or_else(|| kind.replace('_', " "), |e| format!("{}: {}", kind.replace('_', " "), error_text(e)));
        events.push(place.log(if errors.is_empty() { "info" } else { "error" }, &text, item));
        if let Some(group) = item["group_id"].as_str().filter(|g| !g.is_empty()) {
            let subject = ["subject", "group_subject"].iter().find_map(|k| item[*k].as_str().or(item["group_settings"][*k].as_str()));
            let subject = subject.or(item["subject"]["text"].as_str()).or(item["group_subject"]["text"].as_str());
            events.push(place.event(
                "group",
                json!({"group": group, "name": subject, "patch": {"group": {kind: item}}, "ended": kind == "group_delete" && errors.is_empty()}),
            ));
        }
    }
}

/// Calls: what a user's call was, as a row of the conversation that nobody answers; every event is in the log.
fn calls(value: &Value, place: &Place, events: &mut Vec<Value>) {
    for call in list(value, "calls") {
        events.push(place.log("info", &format!("call: {}", call["event"].as_str().unwrap_or("event")), &without_sdp(call)));
        if call["event"] != "connect" || call["direction"] == "BUSINESS_INITIATED" {
            continue;
        }
        let mut message = call.clone();
        message["type"] = json!("call");
        let before = events.len();
        message::read(&message, value, place, Origin::Past, events);
        for event in events[before..].iter_mut().filter(|e| e["type"] == "message") {
            event["content"] = json!({"version": "1", "type": "data", "kind": "call", "data": without_sdp(call)});
        }
    }
    for status in list(value, "statuses") {
        events.push(place.log("info", &format!("call: {}", status["status"].as_str().unwrap_or("status").to_lowercase()), status));
    }
    for error in list(value, "errors") {
        events.push(place.log("error", error_text(error), error));
    }
    if list(value, "calls").is_empty() && list(value, "statuses").is_empty() && list(value, "errors").is_empty() {
        events.push(place.park("empty", "neither calls nor statuses in it", value.clone()));
    }
}

/// Session descriptions hold addresses and keys, and nothing that anybody reads later.
fn without_sdp(call: &Value) -> Value {
    let mut call = call.clone();
    if let Some(object) = call.as_object_mut() {
        object.remove("session");
    }
    call
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_as_listings_have_them() {
        let value = json!({"message_template_title": "T", "message_template_element": "B", "message_template_buttons": [
            {"message_template_button_type": "URL", "message_template_button_text": "Go", "message_template_button_url": "https://x"}]});
        assert_eq!(
            components(&value),
            json!([{"type": "HEADER", "format": "TEXT", "text": "T"}, {"type": "BODY", "text": "B"},
                {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "Go", "url": "https://x"}]}])
        );
    }

    #[test]
    fn levels() {
        assert_eq!(level(&json!({"event": "REJECTED"})), "error");
        assert_eq!(level(&json!({"event": "FLAGGED"})), "warning");
        assert_eq!(level(&json!({"event": "APPROVED"})), "info");
        assert_eq!(level(&json!({"new_quality_score": "RED"})), "warning");
    }
}
