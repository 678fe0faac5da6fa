//! From an outgoing row to the bodies of `POST /{Instagram user id}/messages`, and what to do when one is refused.
//!
//! Shapes and limits: Instagram API with Instagram Login, "Send Messages" and "Quick Replies"; Messenger Platform, "Sender
//! Actions" and "Common Error Codes".

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::whatsapp::{Failure, Verdict};

/// The most bytes of a text, as UTF-8 ("Send Messages": "1000 bytes or less").
pub const LIMIT: usize = 1000;

/// What of a row the requests are made of.
#[derive(Deserialize, Debug)]
pub struct Message {
    /// Our id. The request cannot carry it: Instagram has no field that comes back.
    pub message_id: Uuid,
    /// The row's content.
    pub content: Value,
    /// The person, by the id that is made for this account (IGSID).
    pub contact_address: Option<String>,
    /// Where Instagram can fetch a file that lies in our own storage: a signed address.
    pub media_url: Option<String>,
}

/// The requests' bodies, in order, or why there can be none. Mostly one. An attachment takes no caption, which is a text of its
/// own after it; and a long text is several. The same row always gives as many, so whoever sends them can count how far he
/// came: a request that was taken must not be repeated because a later one failed.
pub fn requests(message: &Message) -> Result<Vec<Value>, Failure> {
    let contact = message.contact_address.as_deref().filter(|contact| !contact.is_empty());
    let contact = contact.ok_or_else(|| Failure::refused("no_recipient", "the message has no contact_address"))?;
    let content = &message.content;
    let text = content["text"].as_str().unwrap_or_default();
    let kind = content["kind"].as_str().unwrap_or_default();
    let messages = match (content["type"].as_str().unwrap_or_default(), kind) {
        ("text", "reaction") => return Ok(vec![reaction(contact, content)?]),
        ("text", _) if text.trim().is_empty() => return Err(Failure::refused("empty", "the text is empty")),
        ("text", _) => texts(text),
        ("file", "image" | "audio" | "video" | "document" | "file" | "media") => {
            let mut messages = vec![attachment(kind, message)?];
            messages.extend(texts(text));
            messages
        }
        // With quick replies, buttons or a generic template, as the API takes it.
        ("data", "message") if content["data"].is_object() => vec![content["data"].clone()],
        (form, kind) => return Err(unsupported(form, kind)),
    };
    let mut bodies: Vec<Value> = messages.into_iter().map(|message| json!({"recipient": {"id": contact}, "message": message})).collect();
    if let Some(first) = bodies.first_mut()
        && content["forwarded"] != true
        && let Some(mid) = content["re_message_id"].as_str().and_then(mid_of)
    {
        first["reply_to"] = json!({"mid": mid});
    }
    Ok(bodies)
}

/// The contents of rows that say the same in one request each, where one row takes several: a caption becomes a text of its
/// own, a long text several. None for what is one request anyway.
pub fn parts(content: &Value) -> Option<Vec<Value>> {
    let text = content["text"].as_str().unwrap_or_default();
    let mut parts = Vec::new();
    match content["type"].as_str() {
        Some("file") if !text.trim().is_empty() => parts.push(json!({"text": null})),
        Some("text") if content["kind"] != "reaction" && text.len() > LIMIT => {}
        _ => return None,
    }
    parts.extend(split(text).into_iter().map(|part| json!({"version": "1", "type": "text", "kind": "text", "text": part})));
    (!parts.is_empty()).then_some(parts)
}

/// Marks everything the person wrote as seen.
pub fn read(contact: &str) -> Value {
    json!({"recipient": {"id": contact}, "sender_action": "mark_seen"})
}

/// Shows the person that somebody is typing.
pub fn typing(contact: &str) -> Value {
    json!({"recipient": {"id": contact}, "sender_action": "typing_on"})
}

/// From an answer that is not 2xx. `retry_after` is the header, in seconds. As on WhatsApp, but for what is Instagram's own.
pub fn failure(status: u16, retry_after: Option<u64>, body: &[u8]) -> Failure {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &answer["error"];
    let failure = Failure::from_answer(status, retry_after, body);
    let verdict = match (error["code"].as_i64(), error["error_subcode"].as_i64()) {
        // Permission errors by their code, but about this person: who wrote too long ago, or takes no messages from us.
        (Some(10 | 200), Some(2_534_022 | 2_018_065 | 2_018_278 | 2_018_108 | 1_545_041)) => Verdict::Permanent,
        // "Calls to this API have exceeded the rate limit."
        (Some(613), _) => Verdict::Wait(retry_after.map(Duration::from_secs)),
        _ if status == 429 => Verdict::Wait(retry_after.map(Duration::from_secs)),
        _ => failure.verdict,
    };
    Failure { verdict, ..failure }
}

fn reaction(contact: &str, content: &Value) -> Result<Value, Failure> {
    let mid = content["re_message_id"].as_str().and_then(mid_of).ok_or_else(|| {
        Failure::refused("no_target", "a reaction needs the external_id of a message of this conversation in content.re_message_id")
    })?;
    Ok(match content["text"].as_str().filter(|emoji| !emoji.is_empty()) {
        Some(emoji) => json!({"recipient": {"id": contact}, "sender_action": "react", "payload": {"message_id": mid, "reaction": emoji}}),
        None => json!({"recipient": {"id": contact}, "sender_action": "unreact", "payload": {"message_id": mid}}),
    })
}

/// The id Meta knows a message by. What follows `#` was added when it was stored: the number of an attachment, or what
/// distinguishes a reaction. Links that were followed, and some buttons, have none.
fn mid_of(external_id: &str) -> Option<&str> {
    let (mid, added) = external_id.split_once('#').unwrap_or((external_id, ""));
    let made_up = added.starts_with("referral#") || added.starts_with("postback#");
    Some(mid).filter(|mid| !mid.is_empty() && !made_up)
}

fn attachment(kind: &str, message: &Message) -> Result<Value, Failure> {
    let uri = message.content["file"]["uri"].as_str().filter(|uri| uri.starts_with("https://") || uri.starts_with("http://"));
    let url = uri.or(message.media_url.as_deref()).filter(|url| !url.is_empty()).ok_or_else(|| {
        Failure::refused("unsupported", "files are sent by link: content.file.uri is neither one (https://…) nor of a file in storage")
    })?;
    let kind = if matches!(kind, "image" | "audio" | "video") { kind } else { "file" };
    Ok(json!({"attachment": {"type": kind, "payload": {"url": url}}}))
}

fn unsupported(form: &str, kind: &str) -> Failure {
    let text = match kind {
        "template" => "Instagram has no approved templates: send a text, or a generic template as content of type data and kind message".to_owned(),
        "interactive" => "Instagram has no such object: send quick replies or buttons as content of type data and kind message".to_owned(),
        "location" | "contacts" | "sticker" => format!("Instagram takes no {kind}: send a text, a link or an image instead"),
        "message" => "content.data has to be an object: what the API takes as message".to_owned(),
        _ => format!("content of type {form} and kind {kind} cannot be sent on Instagram"),
    };
    Failure::refused("unsupported", text)
}

fn texts(text: &str) -> Vec<Value> {
    split(text).into_iter().map(|part| json!({"text": part})).collect()
}

/// Splits a text into parts that fit: at the end of a paragraph, else of a line, a sentence, a word, and only then anywhere.
/// What fits is left alone; parts with nothing in them are left out.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > LIMIT {
        let reach = (1..=LIMIT).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(LIMIT);
        let window = &rest[..reach];
        let cut = ["\n\n", "\n", ". ", " "]
            .iter()
            .filter_map(|separator| window.rfind(separator).map(|at| at + separator.len()))
            // A part that is nearly empty helps nobody: rather cut a little less nicely.
            .find(|at| *at > reach / 4)
            .unwrap_or(reach);
        parts.push(rest[..cut].trim_end());
        rest = rest[cut..].trim_start_matches(['\n', ' ']);
    }
    parts.push(rest);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(content: Value) -> Message {
        Message { message_id: Uuid::nil(), content, contact_address: Some("ana".into()), media_url: None }
    }

    fn sent(content: Value) -> Vec<Value> {
        requests(&message(content)).expect("bodies")
    }

    fn refused(content: Value) -> String {
        requests(&message(content)).expect_err("refused").text
    }

    #[test]
    fn text_as_a_reply() {
        let bodies = sent(json!({"version": "1", "type": "text", "kind": "text", "text": "**hi**", "re_message_id": "m1#2"}));
        assert_eq!(bodies, [json!({"recipient": {"id": "ana"}, "message": {"text": "**hi**"}, "reply_to": {"mid": "m1"}})]);
        let bodies = sent(json!({"type": "text", "kind": "text", "text": "hi", "re_message_id": "acct#referral#1"}));
        assert_eq!(bodies, [json!({"recipient": {"id": "ana"}, "message": {"text": "hi"}})]);
    }

    #[test]
    fn a_caption_comes_after_its_file() {
        let bodies = sent(json!({"type": "file", "kind": "document", "text": "the list", "file": {"uri": "https://x/1.pdf"}, "re_message_id": "m1"}));
        assert_eq!(bodies[0]["message"], json!({"attachment": {"type": "file", "payload": {"url": "https://x/1.pdf"}}}));
        assert_eq!(
            (&bodies[0]["reply_to"]["mid"], &bodies[1]["message"], bodies[1].get("reply_to")),
            (&json!("m1"), &json!({"text": "the list"}), None)
        );
        assert_eq!(bodies.len(), 2);
    }

    #[test]
    fn files_in_storage_go_by_their_signed_address() {
        let content = json!({"type": "file", "kind": "image", "file": {"uri": "internal://media/x", "mime_type": "image/png"}});
        assert!(refused(content.clone()).contains("content.file.uri"));
        let stored = Message { media_url: Some("https://files/x?signature=1".into()), ..message(content) };
        let bodies = requests(&stored).expect("bodies");
        assert_eq!(bodies[0]["message"]["attachment"], json!({"type": "image", "payload": {"url": "https://files/x?signature=1"}}));
    }

    #[test]
    fn reactions() {
        let bodies = sent(json!({"type": "text", "kind": "reaction", "text": "❤", "re_message_id": "m1"}));
        assert_eq!(bodies, [json!({"recipient": {"id": "ana"}, "sender_action": "react", "payload": {"message_id": "m1", "reaction": "❤"}})]);
        let bodies = sent(json!({"type": "text", "kind": "reaction", "text": "", "re_message_id": "m1"}));
        assert_eq!(bodies, [json!({"recipient": {"id": "ana"}, "sender_action": "unreact", "payload": {"message_id": "m1"}})]);
        assert!(refused(json!({"type": "text", "kind": "reaction", "text": "❤"})).contains("re_message_id"));
    }

    #[test]
    fn what_the_api_takes_passes_and_what_it_does_not_is_refused_in_words() {
        let choice = json!({"text": "Which?", "quick_replies": [{"content_type": "text", "title": "A", "payload": "a"}]});
        assert_eq!(sent(json!({"type": "data", "kind": "message", "data": choice}))[0]["message"], choice);
        for (form, kind) in [("data", "template"), ("data", "location"), ("data", "contacts"), ("file", "sticker"), ("data", "message"), ("?", "?")] {
            let failure = requests(&message(json!({"type": form, "kind": kind}))).expect_err("refused");
            assert_eq!((failure.verdict, &failure.error["code"]), (Verdict::Permanent, &json!("unsupported")), "{kind}");
        }
        assert!(refused(json!({"type": "text", "kind": "text", "text": " \n"})).contains("empty"));
        let nobody = Message { contact_address: None, ..message(json!({"type": "text", "kind": "text", "text": "x"})) };
        assert_eq!(requests(&nobody).expect_err("refused").error["code"], "no_recipient");
    }

    #[test]
    fn long_texts_are_several() {
        let paragraph = "word ".repeat(80).trim_end().to_owned();
        let text = vec![paragraph.clone(); 5].join("\n\n");
        let bodies = sent(json!({"type": "text", "kind": "text", "text": text}));
        let parts: Vec<_> = bodies.iter().filter_map(|body| body["message"]["text"].as_str()).collect();
        assert_eq!(parts, [format!("{paragraph}\n\n{paragraph}"), format!("{paragraph}\n\n{paragraph}"), paragraph]);
    }

    #[test]
    fn verdicts() {
        let verdict = |status: u16, code: i64, subcode: i64| {
            let body = json!({"error": {"code": code, "error_subcode": subcode, "message": "m"}}).to_string();
            failure(status, Some(7), body.as_bytes()).verdict
        };
        let wait = Verdict::Wait(Some(Duration::from_secs(7)));
        for (status, code) in [(400, 4), (400, 613), (400, 80_007), (429, 100)] {
            assert_eq!(verdict(status, code, 0), wait, "{code}");
        }
        for (status, code) in [(500, 1), (500, 2), (503, 12_345)] {
            assert!(matches!(verdict(status, code, 0), Verdict::Unknown(_)), "{code}");
        }
        for code in [190, 10, 200, 299, 3] {
            assert_eq!(verdict(403, code, 0), Verdict::Pause, "{code}");
        }
        for (code, subcode) in [(100, 0), (551, 0), (10, 2_534_022), (200, 1_545_041)] {
            assert_eq!(verdict(403, code, subcode), Verdict::Permanent, "{code}");
        }
        assert_eq!(failure(429, None, b"slow down").verdict, Verdict::Wait(None));
        assert_eq!(failure(502, None, b"<html>").verdict, Verdict::Unknown(true));
    }

    proptest! {
        #[test]
        fn parts_fit_and_lose_nothing_but_space(text in ".{0,1500}", spaced in "[a-zé😀 \n.]{0,3000}") {
            let visible = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            for text in [text, spaced] {
                let parts = split(&text);
                prop_assert!(parts.iter().all(|part| part.len() <= LIMIT && !part.trim().is_empty()));
                prop_assert_eq!(visible(&parts.concat()), visible(&text));
            }
        }
    }
}
