//! Receipts: what became of a message.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Place, timestamp};

/// One of `value.statuses`. An error says what it lacks.
pub fn read(status: &Value, place: &Place) -> Result<Value, String> {
    let id = status["id"].as_str().filter(|s| !s.is_empty()).ok_or("a status without id")?;
    let state = status["status"].as_str().filter(|s| !s.is_empty()).ok_or("a status without status")?;
    let at = timestamp(&status["timestamp"]).ok_or("a status without timestamp")?;
    let mut event =
        place.event("status", json!({"external_id": id, "state": state, "timestamp": at, "raw": place.raw(json!({"statuses": [status]}))}));
    let mut extra = json!({});
    for key in ["pricing", "conversation"] {
        if status[key].is_object() {
            extra[key] = status[key].clone();
        }
    }
    if status["type"] == "payment" {
        // A payment's states are none of the message's.
        event["state"] = Value::Null;
        extra["payments"] = json!({ state: {"timestamp": at, "payment": status["payment"], "errors": status["errors"]} });
    }
    // In a group each participant has states of his own; the message's are the earliest of them.
    let participant = [&status["recipient_participant_id"], &status["recipient_participant_user_id"]].into_iter().find_map(Value::as_str);
    if let Some(participant) = participant.filter(|p| !p.is_empty()) {
        let mut own = json!({ state: at });
        for key in ["pricing", "errors"] {
            if !status[key].is_null() {
                own[key] = status[key].clone();
            }
        }
        extra["recipients"] = json!({ participant: own });
        if state == "failed" {
            // One who could not be reached: the message has not failed for it.
            event["state"] = Value::Null;
        }
    }
    if extra != json!({}) {
        event["extra"] = extra;
    }
    if let Some(errors) = status["errors"].as_array().filter(|e| !e.is_empty() && !event["state"].is_null()) {
        event["errors"] = json!(errors);
    }
    if let Some(ours) = status["biz_opaque_callback_data"].as_str().filter(|s| !s.is_empty()) {
        match Uuid::try_parse(ours) {
            Ok(id) => event["message_id"] = json!(id),
            Err(_) => event["extra"]["callback_data"] = json!(ours),
        }
    }
    Ok(event)
}
