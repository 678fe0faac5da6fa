//! What a message says: from Meta's object of its type to the content of a row.

use serde_json::{Value, json};

use crate::whatsapp::to_markdown;

/// The content of a message. What is of no known type, or lacks what makes its type, is kept whole as `unsupported`.
pub fn content(message: &Value) -> Value {
    let kind = message["type"].as_str().unwrap_or_default();
    let object = &message[kind];
    let mut content = match kind {
        "text" => text("text", object["body"].as_str().map(to_markdown)),
        "reaction" => text("reaction", Some(object["emoji"].as_str().unwrap_or_default().to_owned())),
        "image" | "video" | "audio" | "document" | "sticker" => file(kind, object),
        "location" | "contacts" | "order" | "interactive" | "button" if object.is_object() || object.is_array() => Some(data(kind, object)),
        "media_placeholder" | "request_welcome" => Some(data(kind, &json!({}))),
        "system" if object.is_object() => Some(data(kind, object)),
        _ => None,
    }
    .unwrap_or_else(|| unsupported(kind, message));
    content["version"] = json!("1");
    let re_message_id = if kind == "reaction" { &object["message_id"] } else { &message["context"]["id"] };
    if re_message_id.as_str().is_some_and(|id| !id.is_empty()) {
        content["re_message_id"] = re_message_id.clone();
    }
    let context = &message["context"];
    if context["forwarded"] == true || context["frequently_forwarded"] == true {
        content["forwarded"] = json!(true);
    }
    if context["referred_product"].is_object() {
        content["referred_product"] = context["referred_product"].clone();
    }
    if message["referral"].is_object() {
        content["referral"] = message["referral"].clone();
    }
    content
}

fn text(kind: &str, body: Option<String>) -> Option<Value> {
    Some(json!({"type": "text", "kind": kind, "text": body?}))
}

/// A file that Meta keeps: its uri is the media id until it has been fetched. `size` 0 means not yet known.
fn file(kind: &str, object: &Value) -> Option<Value> {
    let id = object["id"].as_str().filter(|id| !id.is_empty())?;
    let mime_type = object["mime_type"].as_str().filter(|m| !m.is_empty()).unwrap_or("application/octet-stream");
    let mut file = json!({"mime_type": mime_type, "uri": id, "size": 0});
    if let Some(name) = object["filename"].as_str().filter(|n| !n.is_empty()) {
        file["name"] = json!(name);
    }
    for flag in ["voice", "animated"] {
        if object[flag].is_boolean() {
            file[flag] = object[flag].clone();
        }
    }
    let mut content = json!({"type": "file", "kind": kind, "file": file});
    if let Some(caption) = object["caption"].as_str().filter(|c| !c.is_empty()) {
        content["text"] = json!(to_markdown(caption));
    }
    Some(content)
}

fn data(kind: &str, object: &Value) -> Value {
    let mut content = json!({"type": "data", "kind": kind, "data": object});
    // What a person, or a model, reads of it.
    let reply = &object[object["type"].as_str().unwrap_or_default()];
    let words = match kind {
        "button" => object["text"].as_str(),
        "interactive" => reply["title"].as_str().or(reply["body"].as_str()).or(reply["response"].as_str()),
        "order" => object["text"].as_str(),
        "system" => object["body"].as_str(),
        _ => None,
    };
    if let Some(words) = words.filter(|w| !w.is_empty()) {
        content["text"] = json!(words);
    }
    // A form's answers come as a string that is mostly, but not always, JSON. The string itself stays.
    if let Some(answers) = reply["response_json"].as_str().and_then(|s| serde_json::from_str::<Value>(s).ok()).filter(Value::is_object) {
        content["data"]["nfm_reply"]["response"] = crate::model::without_nul(answers);
    }
    content
}

fn unsupported(kind: &str, message: &Value) -> Value {
    let mut data = match &message["unsupported"] {
        Value::Object(object) => Value::Object(object.clone()),
        _ if kind == "unsupported" => json!({}),
        _ => json!({"type": kind, "message": message}),
    };
    if list_of(&message["errors"]) {
        data["errors"] = message["errors"].clone();
    }
    json!({"type": "data", "kind": "unsupported", "data": data})
}

fn list_of(value: &Value) -> bool {
    value.as_array().is_some_and(|l| !l.is_empty())
}

/// What an edit changes in the content of its message; `None` when that cannot be told.
pub fn edited(message: &Value) -> Option<Value> {
    let new = content(message);
    match new["type"].as_str() {
        Some("text") => Some(json!({"text": new["text"]})),
        // Only the caption of a file can change; without one it is gone.
        Some("file") => Some(json!({"text": new["text"]})),
        Some("data") if new["kind"] != "unsupported" => Some(json!({"data": new["data"]})),
        // A caption's edit may come without the file.
        _ => message[message["type"].as_str()?]["caption"].as_str().map(|caption| json!({"text": to_markdown(caption)})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_that_is_no_json_stays_a_string() {
        let of = |response: &str| {
            content(
                &json!({"type": "interactive", "interactive": {"type": "nfm_reply", "nfm_reply": {"name": "flow", "body": "Sent", "response_json": response}}}),
            )
        };
        assert_eq!(of("{\"a\":1}")["data"]["nfm_reply"]["response"], json!({"a": 1}));
        assert_eq!(of("{a")["data"]["nfm_reply"], json!({"name": "flow", "body": "Sent", "response_json": "{a"}));
        assert_eq!(of("{a")["text"], "Sent");
    }

    #[test]
    fn an_edit_of_a_caption() {
        assert_eq!(edited(&json!({"type": "image", "image": {"caption": "*new*"}})), Some(json!({"text": "**new**"})));
        assert_eq!(edited(&json!({"type": "image", "image": {"id": "1"}})), Some(json!({"text": null})));
        assert_eq!(edited(&json!({"type": "hologram"})), None);
    }
}
