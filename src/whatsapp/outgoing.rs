//! From an outgoing row to the body of `POST /{phone number id}/messages`.

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Failure, to_whatsapp};

/// What of a row the request is made of.
#[derive(Deserialize, Debug)]
pub struct Message {
    /// Our id: the request carries it, and receipts bring it back.
    pub message_id: Uuid,
    /// The row's content.
    pub content: Value,
    /// Digits of a phone, or a business-scoped user id.
    pub contact_address: Option<String>,
    /// The group, where it goes to one.
    pub group_address: Option<String>,
    /// The phone of a contact known by its user id, where it is known.
    pub phone_number: Option<String>,
}

/// Whether an address is a business-scoped user id (`US.13491208655302741918`) and not a phone.
pub fn is_bsuid(address: &str) -> bool {
    let (country, id) = address.split_at_checked(2).unwrap_or_default();
    country.bytes().all(|b| b.is_ascii_uppercase())
        && id.len() > 1
        && id.starts_with('.')
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
}

/// The request's body, or why there can be none.
pub fn request(message: &Message) -> Result<Value, Failure> {
    let content = &message.content;
    let kind = content["kind"].as_str().unwrap_or_default();
    let mut body = json!({"messaging_product": "whatsapp", "biz_opaque_callback_data": message.message_id});
    recipient(message, &mut body)?;
    let reply_to = content["re_message_id"].as_str();
    if let Some(id) = reply_to
        && kind != "reaction"
        && content["forwarded"].as_bool() != Some(true)
    {
        body["context"] = json!({"message_id": id});
    }
    let (name, object) = match (content["type"].as_str(), kind) {
        (Some("text"), "reaction") => ("reaction", json!({"message_id": reply_to, "emoji": content["text"]})),
        (Some("text"), _) => ("text", json!({"body": to_whatsapp(content["text"].as_str().unwrap_or_default())})),
        (Some("file"), "audio" | "image" | "video" | "document" | "sticker") => (kind, file(kind, content)?),
        (Some("data"), kind) if !kind.is_empty() && kind != "type" => (kind, content["data"].clone()),
        (kind_of, _) => {
            return Err(Failure::refused("unsupported", format!("content of type {} and kind {kind} cannot be sent", kind_of.unwrap_or("?"))));
        }
    };
    body["type"] = json!(name);
    body[name] = object;
    Ok(body)
}

fn recipient(message: &Message, body: &mut Value) -> Result<(), Failure> {
    if let Some(group) = &message.group_address {
        body["recipient_type"] = json!("group");
        body["to"] = json!(group);
        return Ok(());
    }
    body["recipient_type"] = json!("individual");
    match message.contact_address.as_deref() {
        Some(address) if is_bsuid(address) => {
            body["recipient"] = json!(address);
            // Both given, Meta takes the phone.
            if let Some(phone) = message.phone_number.as_deref().filter(|p| !p.is_empty()) {
                body["to"] = json!(phone);
            }
        }
        Some(address) => body["to"] = json!(address),
        None => return Err(Failure::refused("no_recipient", "the message has neither contact_address nor group_address")),
    }
    Ok(())
}

fn file(kind: &str, content: &Value) -> Result<Value, Failure> {
    let uri = content["file"]["uri"].as_str().unwrap_or_default();
    let mut object = if uri.starts_with("https://") || uri.starts_with("http://") {
        json!({"link": uri})
    } else if !uri.is_empty() && uri.bytes().all(|b| b.is_ascii_digit()) {
        json!({"id": uri})
    } else {
        return Err(Failure::refused("unsupported", "files are sent by link (https://…) or by WhatsApp media id: content.file.uri is neither"));
    };
    let caption = content["text"].as_str().filter(|c| !c.is_empty());
    if let Some(caption) = caption.filter(|_| matches!(kind, "image" | "video" | "document")) {
        object["caption"] = json!(to_whatsapp(caption));
    }
    if let Some(name) = content["file"]["name"].as_str().filter(|_| kind == "document") {
        object["filename"] = json!(name);
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(content: Value) -> Message {
        Message { message_id: Uuid::nil(), content, contact_address: Some("5491155".into()), group_address: None, phone_number: None }
    }

    #[test]
    fn text_as_a_reply() {
        let body = request(&message(json!({"version":"1","type":"text","kind":"text","text":"**hi**","re_message_id":"wamid.1"}))).expect("a body");
        assert_eq!(
            body,
            json!({"messaging_product":"whatsapp","recipient_type":"individual","to":"5491155","type":"text","text":{"body":"*hi*"},
                "context":{"message_id":"wamid.1"},"biz_opaque_callback_data":Uuid::nil()})
        );
    }

    #[test]
    fn a_user_id_without_a_phone_has_no_to() {
        let mut m = message(json!({"type":"text","kind":"text","text":"x"}));
        m.contact_address = Some("US.13491208655302741918".into());
        let body = request(&m).expect("a body");
        assert_eq!(body["recipient"], "US.13491208655302741918");
        assert_eq!(body.get("to"), None);
    }

    #[test]
    fn data_passes_as_it_is() {
        let template = json!({"name":"hello","language":{"code":"en"}});
        let body = request(&message(json!({"type":"data","kind":"template","data":template}))).expect("a body");
        assert_eq!((&body["type"], &body["template"]), (&json!("template"), &template));
    }

    #[test]
    fn files_in_storage_are_refused_in_words() {
        let failure = request(&message(json!({"type":"file","kind":"image","file":{"uri":"internal://media/x","mime_type":"image/png"}})))
            .expect_err("refused");
        assert!(failure.text.contains("content.file.uri"));
    }

    #[test]
    fn user_ids() {
        assert!(is_bsuid("US.134"));
        assert!(!is_bsuid("5491155") && !is_bsuid("US.") && !is_bsuid("é.1"));
    }
}
