//! The fields that are about accounts, numbers, templates, groups, calls and flows. Each is a line in the log, and what
//! is a state of something changes that something as well.

use serde_json::{Value, json};

use super::{
    Place,
    contact::{self, Person},
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
            let at = timestamp(&value["timestamp"]).unwrap_or_else(|| place.at());
            let mut patch = json!({place.field.as_str(): value, "updated": {place.field.as_str(): at}});
            if let Some(limit) = messaging_limit(value) {
                patch["whatsapp_business_manager_messaging_limit"] = limit;
            }
            events.push(place.event("number", json!({"patch": patch})));
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

/// How many people a day may be written to first, where a payload says so.
fn messaging_limit(value: &Value) -> Option<Value> {
    let keys = ["max_daily_conversations_per_business", "max_daily_conversation_per_phone", "current_limit"];
    keys.iter().map(|k| &value[*k]).find(|v| !v.is_null()).cloned()
}

/// Partners' `account_update` names the WABA inside, and the portfolio outside; other fields name the number somewhere.
fn at_waba(place: &Place, value: &Value) -> Place {
    let mut place = place.clone();
    let alerted = Some(&value["entity_id"]).filter(|_| value["entity_type"] == "PHONE_NUMBER");
    let number = [&value["phone_number_settings"]["phone_number_id"], &value["recipient"]["phone_number_id"], alerted.unwrap_or(&Value::Null)];
    if let Some(number) = number.into_iter().filter_map(Value::as_str).find(|n| !n.is_empty()) {
        place.address = Some(number.to_owned());
    }
    if let Some(waba) = value["waba_info"]["waba_id"].as_str().filter(|w| !w.is_empty()) {
        place.waba = Some(waba.to_owned());
    }
    place
}

/// How loud the line is: by what the event is called, for Meta has no level of its own.
fn level(value: &Value) -> &'static str {
    let alert = &value["alert_info"];
    if value["alert_state"] == "DEACTIVATED" || value["ban_info"]["waba_ban_state"] == "REINSTATE" {
        return "info";
    }
    let names = [
        &value["event"],
        &value["decision"],
        &alert["alert_severity"],
        &value["alert_severity"],
        &value["new_quality_score"],
        &value["new_status"],
        &value["type"],
    ];
    let names: Vec<String> = names.into_iter().filter_map(Value::as_str).map(str::to_uppercase).collect();
    let words: Vec<&str> = names.iter().flat_map(|n| n.split(|c: char| !c.is_alphanumeric())).collect();
    let any = |list: &[&str]| words.iter().any(|w| list.contains(w));
    if any(&["VIOLATION", "DISABLED", "REJECTED", "CRITICAL", "ERROR", "OFFBOARDED", "REMOVED", "BLOCKED"])
        || names.iter().any(|n| n == "ACCOUNT_DELETED")
    {
        "error"
    } else if any(&[
        "RESTRICTION",
        "FLAGGED",
        "PAUSED",
        "DOWNGRADE",
        "WARNING",
        "DELETED",
        "DELETION",
        "LIMIT",
        "RED",
        "RESET",
        "CHANGED",
        "LATENCY",
        "AVAILABILITY",
        "LOCKED",
        "UNINSTALLED",
        "FAILED",
        "SUSPEND",
        "THROTTLED",
    ]) || value["correct_category"].is_string()
        || value["new_category"].is_string()
    {
        "warning"
    } else {
        "info"
    }
}

/// The line: the field, what happened, to what, and why.
fn words(field: &str, value: &Value) -> String {
    let text = |keys: &[&str]| keys.iter().find_map(|k| value[*k].as_str()).filter(|t| !t.is_empty() && *t != "NONE").map(str::to_owned);
    let change = |what: &str| match (value[format!("previous_{what}")].as_str(), value[format!("new_{what}")].as_str()) {
        (before, Some(after)) => Some(format!("{} → {after}", before.unwrap_or("?"))),
        _ => None,
    };
    let about = text(&["message_template_name", "requested_verified_name", "username", "display_phone_number", "flow_id", "event_name"]);
    let what = text(&["event", "decision", "type"]).map(|t| t.to_lowercase().replace('_', " "));
    let why = [
        change("quality_score"),
        change("category"),
        value["alert_info"]["alert_description"].as_str().map(str::to_owned),
        value["alert_info"]["alert_type"].as_str().map(str::to_owned),
        value["rejection_info"]["reason"].as_str().map(str::to_owned),
        text(&["message", "warning", "reason", "rejection_reason", "alert_description"]),
        messaging_limit(value).map(|limit| format!("limit {limit}").replace('"', "")),
    ];
    let parts = [Some(field.replace('_', " ")), about, what].into_iter().chain(why).flatten();
    parts.collect::<Vec<_>>().join(": ")
}

fn account_update(value: &Value, place: &Place, events: &mut Vec<Value>) {
    let event = value["event"].as_str().unwrap_or("no event");
    // As clients know it: the event as the message, the value beneath.
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
    let (mut patch, mut sync) = (json!({}), false);
    match place.field.as_str() {
        "message_template_status_update" => {
            patch["status"] = value["event"].clone();
            // What a listing does not know as a status is something that happened to it: the listing says how it is now.
            if matches!(value["event"].as_str(), Some("FLAGGED" | "REINSTATED" | "LOCKED" | "UNLOCKED")) {
                patch["status"] = Value::Null;
                sync = true;
            }
            let reason = [&value["rejection_info"]["reason"], &value["other_info"]["description"], &value["reason"]];
            let reason = reason.into_iter().filter_map(Value::as_str).find(|r| !r.is_empty() && *r != "NONE");
            patch["rejected_reason"] = json!(reason.filter(|_| value["event"] != "APPROVED"));
            patch["category"] = value["message_template_category"].clone();
        }
        "message_template_quality_update" => patch["quality"] = value["new_quality_score"].clone(),
        // Announced for later, it is not yet so.
        "template_category_update" if value["previous_category"].is_string() => patch["category"] = value["new_category"].clone(),
        // The webhook spreads some components over fields and leaves others out.
        "message_template_components_update" => sync = true,
        _ => patch["extra"] = json!({place.field.as_str(): value}),
    }
    let more = json!({"waba": place.waba, "external_id": id, "name": value["message_template_name"], "language": value["message_template_language"], "patch": patch, "sync": sync, "kind_of": place.field, "timestamp": place.at()});
    events.push(place.event("template", more));
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
        "phone_number_quality_update" => {
            if value["event"] == "THROUGHPUT_UPGRADE" {
                patch["throughput"] = json!({"level": "HIGH"});
            }
            if let Some(limit) = messaging_limit(value) {
                patch["whatsapp_business_manager_messaging_limit"] = limit;
            }
        }
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
    events.extend(list(value, "contacts").iter().filter_map(|c| contact::read(c, place, true)));
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
        events.push(place.log(level, &format!("{category}: {}: {}", item["value"].as_str().unwrap_or("?"), person.address()), item));
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
        let words = kind.replace('_', " ");
        let text = errors.first().map_or_else(|| words.clone(), |e| format!("{words}: {}", error_text(e)));
        events.push(place.log(if errors.is_empty() { level(item) } else { "error" }, &text, item));
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
    events.extend(list(value, "contacts").iter().filter_map(|c| contact::read(c, place, true)));
    for call in list(value, "calls") {
        let what = call["event"].as_str().unwrap_or("event").trim_start_matches("call_").replace('_', " ");
        let level = if call["status"] == "FAILED" { "warning" } else { "info" };
        events.push(place.log(level, &format!("call {what}: {}", call["from"].as_str().unwrap_or("?")), &without_sdp(call)));
        if call["event"] != "connect" || call["direction"] == "BUSINESS_INITIATED" {
            continue;
        }
        let mut message = call.clone();
        message["type"] = json!("call");
        let before = events.len();
        message::read(&message, value, place, Origin::Past("delivered"), events);
        for event in events[before..].iter_mut().filter(|e| e["type"] == "message") {
            event["content"] = json!({"version": "1", "type": "data", "kind": "call", "data": without_sdp(call)});
        }
    }
    for status in list(value, "statuses") {
        events.push(place.log("info", &format!("call: {}", status["status"].as_str().unwrap_or("status").to_lowercase()), status));
    }
    for error in list(value, "errors") {
        events.push(place.log("error", &error_text(error), error));
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
    fn levels() {
        assert_eq!(level(&json!({"event": "REJECTED"})), "error");
        assert_eq!(level(&json!({"event": "FLAGGED"})), "warning");
        assert_eq!(level(&json!({"event": "APPROVED"})), "info");
        assert_eq!(level(&json!({"new_quality_score": "RED"})), "warning");
        assert_eq!(level(&json!({"decision": "DEFERRED"})), "info");
        assert_eq!(level(&json!({"alert_info": {"alert_severity": "CRITICAL"}})), "error");
    }
}
