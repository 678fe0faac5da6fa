//! What an Instagram message holds, as rows hold it.
//!
//! Shapes: Instagram Platform, "Webhook Notification Examples": `message.{text, attachments, quick_reply, reply_to, …}`.
//! Texts are kept as they are: Instagram has no markup.

use std::slice;

use serde_json::{Value, json};

/// What a message consists of, mostly one thing: a row holds one. The text is the caption of the first.
pub(super) fn parts_of(message: &Value) -> Vec<Value> {
    let words = text(&message["text"]);
    let mut parts = Vec::new();
    let chosen = &message["quick_reply"];
    if chosen.is_object() {
        parts.push(button(words.or_else(|| text(&chosen["payload"])).unwrap_or_default(), &chosen["payload"]));
    }
    if let Some(url) = text(&message["reply_to"]["story"]["url"]) {
        parts.push(file("story_reply", url));
    }
    let attachments: &[Value] = match &message["attachments"] {
        Value::Array(attachments) => attachments,
        Value::Null => &[],
        one => slice::from_ref(one),
    };
    parts.extend(attachments.iter().filter(|a| !is_twin(a, attachments)).map(attachment));
    if parts.is_empty() && message["is_unsupported"] == true {
        parts.push(data("unsupported", json!({})));
    }
    if let Some(words) = words {
        match parts.first_mut() {
            Some(first) => first["text"] = json!(words),
            None => parts.push(json!({"version": "1", "type": "text", "kind": "text", "text": words})),
        }
    }
    parts
}

fn attachment(attachment: &Value) -> Value {
    let kind = attachment["type"].as_str().unwrap_or("unknown");
    let payload = &attachment["payload"];
    let mut described = json!({"type": kind});
    for key in ["url", "title"] {
        if payload[key].is_string() {
            described[key] = payload[key].clone();
        }
    }
    match (kind, text(&payload["url"])) {
        ("audio" | "image" | "video" | "file" | "media" | "story" | "ig_story" | "story_mention", Some(url)) => file(kind, url),
        ("ig_post" | "ig_reel" | "reel" | "share" | "post", _) => data("share", described),
        _ => data("unsupported", described),
    }
}

/// A shared post may come twice in one message: as `ig_post` and, as it did before November 2025, as `share` (Instagram
/// Platform, "Instagram Post Shares: New Attachment Type and Transition Period").
fn is_twin(attachment: &Value, all: &[Value]) -> bool {
    let post = &attachment["payload"]["ig_post_media_id"];
    attachment["type"] == "share" && !post.is_null() && all.iter().any(|a| a["type"] == "ig_post" && a["payload"]["ig_post_media_id"] == *post)
}

/// Where the person came from goes with what he wrote.
pub(super) fn refer(content: &mut Value, own: &Value, beside: &Value) {
    if let Some(referral) = [own, beside].into_iter().find(|referral| referral.is_object()) {
        content["referral"] = referral.clone();
    }
}

/// Structured content.
pub(super) fn data(kind: &str, data: Value) -> Value {
    json!({"version": "1", "type": "data", "kind": kind, "data": data})
}

/// A button that was tapped.
pub(super) fn button(label: &str, payload: &Value) -> Value {
    let mut content = data("button", json!({"text": label}));
    content["text"] = json!(label);
    if !payload.is_null() {
        content["data"]["payload"] = payload.clone();
    }
    content
}

/// The address is of a CDN and works for a while. What it gives is known when it is fetched; until then the type is a guess.
fn file(kind: &str, url: &str) -> Value {
    let mime_type = match kind {
        "image" => "image/jpeg",
        "audio" => "audio/mp4",
        "video" => "video/mp4",
        _ => "application/octet-stream",
    };
    json!({"version": "1", "type": "file", "kind": kind, "file": {"mime_type": mime_type, "uri": url, "size": 0}})
}

/// A string with something in it.
pub(super) fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert_eq!(parts_of(&json!({"text": "*hi*"})), [json!({"version": "1", "type": "text", "kind": "text", "text": "*hi*"})]);
        assert!(parts_of(&json!({"text": "", "attachments": []})).is_empty());
    }

    #[test]
    fn the_text_is_the_caption_of_the_first_of_several() {
        let parts = parts_of(&json!({"text": "look", "attachments": [
            {"type": "image", "payload": {"url": "https://cdn/1"}},
            {"type": "video", "payload": {"url": "https://cdn/2"}},
            {"type": "ig_reel", "payload": {"url": "https://instagram.com/reel/3", "title": "Reel", "reel_video_id": "3"}},
            {"type": "image", "payload": {}},
            {"type": "template", "payload": {"generic": {}}},
            "what",
        ]}));
        let image = json!({"version": "1", "type": "file", "kind": "image", "text": "look",
            "file": {"mime_type": "image/jpeg", "uri": "https://cdn/1", "size": 0}});
        assert_eq!(parts[0], image);
        assert_eq!((&parts[1]["file"]["mime_type"], parts[1].get("text")), (&json!("video/mp4"), None));
        assert_eq!((&parts[2]["kind"], &parts[2]["data"]["title"]), (&json!("share"), &json!("Reel")));
        let kinds: Vec<_> = parts[3..].iter().map(|p| (p["kind"].as_str(), p["data"]["type"].as_str())).collect();
        assert_eq!(kinds, ["image", "template", "unknown"].map(|kind| (Some("unsupported"), Some(kind))));
    }

    #[test]
    fn a_shared_post_is_one_thing() {
        let post = |kind: &str| json!({"type": kind, "payload": {"ig_post_media_id": "18", "title": "T", "url": "https://cdn/p"}});
        let parts = parts_of(&json!({"attachments": [post("share"), post("ig_post")]}));
        assert_eq!(parts, [data("share", json!({"type": "ig_post", "title": "T", "url": "https://cdn/p"}))]);
        assert_eq!(parts_of(&json!({"attachments": [post("share")]}))[0]["data"]["type"], "share");
    }

    #[test]
    fn replies_to_stories_and_to_questions() {
        let parts = parts_of(&json!({"text": "wow", "reply_to": {"story": {"id": "s", "url": "https://cdn/s"}}}));
        assert_eq!((parts.len(), &parts[0]["kind"], &parts[0]["text"]), (1, &json!("story_reply"), &json!("wow")));
        let parts = parts_of(&json!({"text": "Yes", "quick_reply": {"payload": "YES"}}));
        assert_eq!(parts, [json!({"version": "1", "type": "data", "kind": "button", "text": "Yes", "data": {"text": "Yes", "payload": "YES"}})]);
    }

    #[test]
    fn what_instagram_does_not_show() {
        assert_eq!(parts_of(&json!({"is_unsupported": true})), [data("unsupported", json!({}))]);
    }
}
