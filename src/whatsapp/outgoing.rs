//! From an outgoing row to the request that sends it: `POST /{phone number id}/messages`.

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Failure, to_whatsapp};

/// The most characters of a caption (Cloud API, media messages).
const CAPTION: usize = 1024;

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
    /// By which id Meta knows the file, where one was uploaded.
    #[serde(default)]
    pub media_id: Option<String>,
    /// Why there is no such id: the upload was refused.
    #[serde(default)]
    pub media_error: Option<Value>,
    /// Whether the contact wrote so long ago that Meta would refuse anything but a template.
    #[serde(default)]
    pub window_closed: Option<bool>,
}

/// What to post, and where.
#[derive(Debug)]
pub struct Request {
    /// The last part of the path: `messages`, or `marketing_messages`.
    pub path: &'static str,
    /// The body.
    pub body: Value,
    /// Whether the template that the row carries for a closed window takes the message's place.
    pub fallback: bool,
}

/// Whether an address is a business-scoped user id (`US.13491208655302741918`) and not a phone.
pub fn is_bsuid(address: &str) -> bool {
    let (country, id) = address.split_at_checked(2).unwrap_or_default();
    country.bytes().all(|b| b.is_ascii_uppercase())
        && id.len() > 1
        && id.starts_with('.')
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
}

/// The request, or why there can be none.
pub fn request(message: &Message) -> Result<Request, Failure> {
    let content = &message.content;
    let kind = content["kind"].as_str().unwrap_or_default();
    let mut body = json!({"messaging_product": "whatsapp", "biz_opaque_callback_data": message.message_id});
    recipient(message, &mut body)?;
    if message.window_closed == Some(true) && kind != "template" {
        let fallback = Some(&content["fallback"]).filter(|f| f.is_object()).ok_or_else(window_closed)?;
        body["type"] = json!("template");
        body["template"] = fallback.clone();
        return Ok(Request { path: "messages", body, fallback: true });
    }
    let reply_to = content["re_message_id"].as_str();
    if let Some(id) = reply_to
        && kind != "reaction"
        && content["forwarded"].as_bool() != Some(true)
    {
        body["context"] = json!({"message_id": id});
    }
    let (name, object) = match (content["type"].as_str(), kind) {
        (Some("text"), "reaction") => ("reaction", json!({"message_id": reply_to, "emoji": content["text"]})),
        (Some("text"), _) => ("text", text(content)),
        (Some("file"), "audio" | "image" | "video" | "document" | "sticker") => (kind, file(kind, message)?),
        (Some("data"), kind) if !kind.is_empty() && kind != "type" => (kind, content["data"].clone()),
        (kind_of, _) => {
            return Err(Failure::refused("unsupported", format!("content of type {} and kind {kind} cannot be sent", kind_of.unwrap_or("?"))));
        }
    };
    body["type"] = json!(name);
    body[name] = object;
    Ok(Request { path: path(content, &mut body), body, fallback: false })
}

/// Templates that ask for it go by the Marketing Messages API, which takes the same body and two settings more.
fn path(content: &Value, body: &mut Value) -> &'static str {
    let marketing = &content["marketing"];
    if content["kind"] != "template" || !(marketing.is_object() || marketing == true) {
        return "messages";
    }
    for setting in ["product_policy", "message_activity_sharing"] {
        if !marketing[setting].is_null() {
            body[setting] = marketing[setting].clone();
        }
    }
    "marketing_messages"
}

/// What Meta would answer (131047), without asking it.
fn window_closed() -> Failure {
    let text = "the contact has not written for 24 hours: only a template can be sent (or give content.fallback, a template to send then)";
    let mut failure = Failure::refused("window_closed", text);
    failure.error = json!({"code": 131_047, "title": "Re-engagement message", "message": text, "error_data": {"details": text}});
    failure
}

fn text(content: &Value) -> Value {
    let mut object = json!({"body": to_whatsapp(content["text"].as_str().unwrap_or_default())});
    if content["preview_url"].is_boolean() {
        object["preview_url"] = content["preview_url"].clone();
    }
    object
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

fn file(kind: &str, message: &Message) -> Result<Value, Failure> {
    let content = &message.content;
    let uri = content["file"]["uri"].as_str().unwrap_or_default();
    let mut object = if let Some(error) = &message.media_error {
        let text = error["message"].as_str().unwrap_or("the file could not be uploaded").to_owned();
        return Err(Failure { error: error.clone(), ..Failure::refused("media", text) });
    } else if let Some(id) = &message.media_id {
        json!({"id": id})
    } else if uri.starts_with("https://") || uri.starts_with("http://") {
        json!({"link": uri})
    } else if !uri.is_empty() && uri.bytes().all(|b| b.is_ascii_digit()) {
        json!({"id": uri})
    } else {
        return Err(Failure::refused("unsupported", "content.file.uri is neither a stored file, nor a link, nor a WhatsApp media id"));
    };
    let caption = content["text"].as_str().filter(|c| !c.is_empty());
    if let Some(caption) = caption.filter(|_| matches!(kind, "image" | "video" | "document")) {
        let caption = to_whatsapp(caption);
        if caption.chars().count() > CAPTION {
            return Err(Failure::refused(
                "too_long",
                format!("content.text, the caption, has {} characters; at most {CAPTION}", caption.chars().count()),
            ));
        }
        object["caption"] = json!(caption);
    }
    if let Some(name) = content["file"]["name"].as_str().filter(|_| kind == "document") {
        object["filename"] = json!(name);
    }
    if kind == "audio" && content["file"]["voice"] == true {
        object["voice"] = json!(true);
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(content: Value) -> Message {
        Message {
            message_id: Uuid::nil(),
            content,
            contact_address: Some("5491155".into()),
            group_address: None,
            phone_number: None,
            media_id: None,
            media_error: None,
            window_closed: None,
        }
    }

    fn body(content: Value) -> Value {
        request(&message(content)).expect("a body").body
    }

    #[test]
    fn text_as_a_reply() {
        assert_eq!(
            body(json!({"version":"1","type":"text","kind":"text","text":"**hi**","re_message_id":"wamid.1"})),
            json!({"messaging_product":"whatsapp","recipient_type":"individual","to":"5491155","type":"text","text":{"body":"*hi*"},
                "context":{"message_id":"wamid.1"},"biz_opaque_callback_data":Uuid::nil()})
        );
        assert_eq!(
            body(json!({"type":"text","kind":"text","text":"https://x","preview_url":true}))["text"],
            json!({"body":"https://x","preview_url":true})
        );
    }

    #[test]
    fn a_user_id_without_a_phone_has_no_to() {
        let mut m = message(json!({"type":"text","kind":"text","text":"x"}));
        m.contact_address = Some("US.13491208655302741918".into());
        let body = request(&m).expect("a body").body;
        assert_eq!(body["recipient"], "US.13491208655302741918");
        assert_eq!(body.get("to"), None);
    }

    #[test]
    fn data_passes_as_it_is() {
        let template = json!({"name":"hello","language":{"code":"en"}});
        let sent = body(json!({"type":"data","kind":"template","data":template}));
        assert_eq!((&sent["type"], &sent["template"]), (&json!("template"), &template));
        assert_eq!(body(json!({"type":"data","kind":"hologram","data":{"depth":3}}))["hologram"], json!({"depth":3}));
    }

    #[test]
    fn marketing_messages_have_a_path_of_their_own() {
        let content = json!({"type":"data","kind":"template","data":{"name":"sale"},"marketing":{"product_policy":"CLOUD_API_FALLBACK"}});
        let request = request(&message(content)).expect("a request");
        assert_eq!((request.path, &request.body["product_policy"]), ("marketing_messages", &json!("CLOUD_API_FALLBACK")));
    }

    #[test]
    fn files() {
        let content = json!({"type":"file","kind":"audio","file":{"uri":"internal://media/x","mime_type":"audio/ogg","voice":true}});
        let mut m = message(content);
        assert!(request(&m).expect_err("no upload yet").text.contains("content.file.uri"));
        m.media_id = Some("7".into());
        assert_eq!(request(&m).expect("a body").body["audio"], json!({"id":"7","voice":true}));
        m.media_error = Some(json!({"code": 131_053, "message": "too large"}));
        assert_eq!(request(&m).expect_err("refused").error["code"], 131_053);
        let caption = "x".repeat(1025);
        let long = json!({"type":"file","kind":"image","file":{"uri":"https://x/y.png","mime_type":"image/png"},"text":caption});
        assert!(request(&message(long)).expect_err("refused").text.contains("1025"));
    }

    #[test]
    fn outside_the_window_only_templates() {
        let mut m = message(json!({"type":"text","kind":"text","text":"x"}));
        m.window_closed = Some(true);
        assert_eq!(request(&m).expect_err("refused").error["code"], 131_047);
        m.content["fallback"] = json!({"name":"hello","language":{"code":"en"}});
        let sent = request(&m).expect("a request");
        assert!(sent.fallback && sent.body["template"]["name"] == "hello" && sent.body["text"].is_null());
    }

    #[test]
    fn user_ids() {
        assert!(is_bsuid("US.134"));
        assert!(!is_bsuid("5491155") && !is_bsuid("US.") && !is_bsuid("é.1"));
    }
}
