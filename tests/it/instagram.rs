//! Instagram: what comes in and goes out over an account, its people, and the login.

use std::{
    collections::HashMap,
    process::{Child, Stdio},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tidings::sandbox::{
    Fault,
    instagram::{ACCOUNT, instagram_envelope},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use uuid::Uuid;

use crate::support::*;

/// Somebody on Instagram.
const PERSON: &str = "888001";
const APP_SECRET: &str = "ig-secret";

/// A world with a process that knows the app on Instagram, killed when dropped, and an organization with an account.
struct Stage {
    world: World,
    organization: Uuid,
    address: String,
    child: Child,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Stage {
    async fn new() -> Self {
        let world = World::new().await;
        let organization = world.organization(json!({"response_delay_seconds": 0})).await;
        let sql = "insert into public.organizations_addresses (organization_id, service, address, extra) values ($1, 'instagram', $2, $3)";
        let extra = json!({"access_token": "ig-token", "app_user_id": "by-the-app"});
        world.execute(sql, &[&organization, &ACCOUNT, &extra]).await;
        let address = format!("http://127.0.0.1:{}", world.port());
        let child = world
            .command(&["serve"])
            .env("LISTEN_ADDR", format!("127.0.0.1:{}", world.port()))
            .env("PUBLIC_URL", &address)
            .env("INSTAGRAM_API_URL", format!("{}/instagram", world.sandbox_url))
            .env("INSTAGRAM_LOGIN_URL", format!("{}/instagram", world.sandbox_url))
            .env("INSTAGRAM_APP_ID", "ig-app")
            .env("INSTAGRAM_APP_SECRET", APP_SECRET)
            .env("INSTAGRAM_VERIFY_TOKEN", "ig-verify")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let stage = Self { world, organization, address, child };
        let ready = format!("{}/readyz", stage.address);
        eventually("ready", || async { stage.world.http.get(&ready).send().await.is_ok_and(|r| r.status() == 200) }).await;
        stage
    }

    fn url(&self, path: &str) -> String {
        format!("{}/functions/v1/{path}", self.address)
    }

    /// A webhook with these events. Returns when they are stored.
    async fn says(&self, messaging: Value) {
        self.delivers(&instagram_envelope(ACCOUNT, messaging)).await;
    }

    async fn delivers(&self, body: &Value) {
        assert_eq!(self.world.sandbox.instagram_says(&self.url("instagram-webhook"), APP_SECRET, body).await, 200);
        self.world.until("it is stored", "select not exists (select from bus.tasks where queue = 'intake')").await;
    }

    /// What Instagram took, in order: `{account, token, message_id, body}`.
    fn sent(&self) -> Vec<Value> {
        self.world.sandbox.instagram(|i| i.sent.clone())
    }

    /// A message to the person.
    async fn send(&self, content: &Value) -> Uuid {
        let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
            values ($1, $2, $3, 'instagram', 'outgoing', $4) returning id";
        self.world.value(sql, &[&self.organization, &ACCOUNT, &PERSON, content]).await
    }

    async fn message(&self, condition: &str) -> Value {
        self.world.value(&format!("select to_jsonb(m) from public.messages m where {condition}"), &[]).await
    }

    async fn state(&self) -> Value {
        self.world.value("select to_jsonb(a) from public.organizations_addresses a where address = $1", &[&ACCOUNT]).await
    }
}

/// Something the person did.
fn event(kind: &str, part: Value) -> Value {
    let mut event = json!({"sender": {"id": PERSON}, "recipient": {"id": ACCOUNT}, "timestamp": now() * 1000});
    event[kind] = part;
    event
}

fn text(mid: &str, text: &str) -> Value {
    event("message", json!({"mid": mid, "text": text}))
}

/// What the account itself sent, from here or from its app.
fn echo(mid: &str, text: &str) -> Value {
    json!({"sender": {"id": ACCOUNT}, "recipient": {"id": PERSON}, "timestamp": now() * 1000,
        "message": {"mid": mid, "text": text, "is_echo": true}})
}

/// An address on a content network: gives these bytes to whoever asks without a token.
async fn content(bytes: &'static [u8], mime_type: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 8192];
            let n = stream.read(&mut request).await.unwrap_or(0);
            let told = String::from_utf8_lossy(&request[..n]).to_lowercase().contains("authorization");
            let state = if told { "403 Forbidden" } else { "200 OK" };
            let length = bytes.len();
            let head = format!("HTTP/1.1 {state}\r\ncontent-type: {mime_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(&[head.as_bytes(), bytes].concat()).await;
            let _ = stream.shutdown().await;
        }
    });
    url
}

#[tokio::test]
async fn the_handshake_and_the_signature() {
    let stage = Stage::new().await;
    let url = stage.url("instagram-webhook");
    for (token, expected) in [("ig-verify", (200, "42")), ("verify-me", (403, ""))] {
        let query = [("hub.mode", "subscribe"), ("hub.verify_token", token), ("hub.challenge", "42")];
        let answer = stage.world.http.get(&url).query(&query).send().await.unwrap();
        assert_eq!(answer.status(), expected.0);
        assert!(answer.text().await.unwrap().starts_with(expected.1));
    }
    let body = instagram_envelope(ACCOUNT, text("m1", "hi"));
    for (secret, expected) in [("wrong", 401), (SECRET, 401), (APP_SECRET, 200)] {
        assert_eq!(stage.world.sandbox.instagram_says(&url, secret, &body).await, expected, "{secret}");
    }
    assert_eq!(stage.world.http.post(&url).body(body.to_string()).send().await.unwrap().status(), 401);
    assert_eq!(stage.world.count("bus.journal").await, 1);
    assert_eq!(stage.world.count("bus.journal where source = 'instagram' and app_id = 'ig-app'").await, 1);
}

#[tokio::test]
async fn a_message_is_answered_over_the_account() {
    let stage = Stage::new().await;
    stage.world.agent(stage.organization).await;
    stage.says(text("m1", "hi")).await;
    stage.world.until("it is answered", "select status ? 'accepted' from public.messages where direction = 'outgoing'").await;
    stage.world.idle().await;
    let row = stage.message("external_id = 'm1'").await;
    assert_eq!((&row["direction"], &row["contact_address"], &row["content"]["text"]), (&json!("incoming"), &json!(PERSON), &json!("hi")));
    let sent = stage.sent();
    let answers: Vec<&Value> = sent.iter().filter(|s| s["body"]["message"].is_object()).collect();
    assert_eq!(answers.len(), 1);
    assert_eq!((&answers[0]["account"], &answers[0]["token"]), (&json!(ACCOUNT), &json!("ig-token")));
    assert_eq!(answers[0]["body"], json!({"recipient": {"id": PERSON}, "message": {"text": "You said: hi"}}));
    for action in ["mark_seen", "typing_on"] {
        assert!(sent.iter().any(|s| s["body"]["sender_action"] == action), "{action} in {sent:?}");
    }
}

#[tokio::test]
async fn what_comes_in_both_lists_and_again_is_stored_once() {
    let stage = Stage::new().await;
    let mut body = instagram_envelope(ACCOUNT, text("m1", "hi"));
    body["entry"][0]["changes"] = json!([{"field": "messages", "value": text("m1", "hi")}]);
    for _ in 0..2 {
        stage.delivers(&body).await;
    }
    assert_eq!((stage.world.count("public.messages").await, stage.world.count("bus.parked").await), (1, 0));
}

#[tokio::test]
async fn edits_and_deletions_reach_their_messages_also_when_they_come_first() {
    let stage = Stage::new().await;
    stage.says(json!([text("m1", "by mistake"), event("message_edit", json!({"mid": "m2", "text": "second", "num_edit": 1}))])).await;
    assert_eq!(stage.world.count("public.messages").await, 1, "an edit makes no message");
    stage.says(json!([event("message", json!({"mid": "m1", "is_deleted": true})), text("m2", "first")])).await;
    assert!(stage.message("external_id = 'm1'").await["status"]["deleted"].is_string());
    assert_eq!(stage.message("external_id = 'm2'").await["content"]["text"], "second");
}

#[tokio::test]
async fn several_attachments_become_several_messages_with_their_files() {
    let stage = Stage::new().await;
    let (one, two) = (content(b"one", "image/png").await, content(b"another", "video/mp4").await);
    let attachments = json!([{"type": "image", "payload": {"url": one}}, {"type": "video", "payload": {"url": two}}]);
    stage.says(event("message", json!({"mid": "m1", "text": "look", "attachments": attachments}))).await;
    let fetched = "select count(*) = 2 and bool_and(content #>> '{file,uri}' like 'internal://media/%') from public.messages";
    stage.world.until("both files are here", fetched).await;
    for (id, bytes, mime_type, caption) in [("m1", &b"one"[..], "image/png", json!("look")), ("m1#2", &b"another"[..], "video/mp4", json!(null))] {
        let content = stage.message(&format!("external_id = '{id}'")).await["content"].clone();
        let hash = BASE64_URL_SAFE_NO_PAD.encode(<Sha256 as sha2::Digest>::digest(bytes));
        let uri = format!("internal://media/organizations/{}/attachments/{hash}", stage.organization);
        // What it really is, and not what its kind made us guess.
        assert_eq!(content["file"], json!({"uri": uri, "mime_type": mime_type, "size": bytes.len()}));
        assert_eq!(content["text"], caption);
    }
    // What is stored goes out by a link that Instagram can fetch.
    let mut content = stage.message("external_id = 'm1'").await["content"].clone();
    content["text"] = Value::Null;
    stage.send(&content).await;
    eventually("it is sent", || async { stage.sent().len() == 1 }).await;
    let attachment = stage.sent()[0]["body"]["message"]["attachment"].clone();
    let answer = stage.world.http.get(attachment["payload"]["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!((&attachment["type"], answer.status().as_u16()), (&json!("image"), 200));
    assert_eq!(answer.bytes().await.unwrap(), &b"one"[..]);
}

#[tokio::test]
async fn a_file_at_an_inside_address_is_not_fetched() {
    let stage = Stage::new().await;
    let attachment = json!({"type": "image", "payload": {"url": "http://169.254.169.254/secrets"}});
    stage.says(event("message", json!({"mid": "m1", "attachments": [attachment]}))).await;
    stage.world.until("it is refused", "select status -> 'errors' -> 0 ->> 'code' = 'media' from public.messages").await;
    let why = stage.message("true").await["status"]["errors"][0]["message"].clone();
    assert!(why.as_str().unwrap().contains("no public address"), "{why}");
    assert_eq!(stage.world.count("public.logs where category = 'media' and level = 'error'").await, 1);
}

#[tokio::test]
async fn the_echo_of_what_went_out_from_here_is_no_second_message() {
    let stage = Stage::new().await;
    stage.send(&text_content("hello")).await;
    stage.world.until("sent", "select status ? 'accepted' from public.messages").await;
    let mid = stage.sent()[0]["message_id"].as_str().unwrap().to_owned();
    assert_eq!(stage.message("true").await["external_id"], json!(mid));
    stage.says(echo(&mid, "hello")).await;
    assert_eq!(stage.world.count("public.messages").await, 1);
    // Also one that is faster than the answer to the send.
    let slow = Fault { on: "instagram".into(), matching: Some("quick".into()), times: Some(1), accept: true, delay_ms: 1500, ..Fault::default() };
    stage.world.sandbox.fault(slow);
    let id = stage.send(&text_content("quick")).await;
    eventually("Instagram has it", || async { stage.sent().len() == 2 }).await;
    let mid = stage.sent()[1]["message_id"].clone();
    stage.says(echo(mid.as_str().unwrap(), "quick")).await;
    stage.world.until("it is one", "select count(*) = 2 and bool_and(status ? 'accepted') from public.messages").await;
    assert_eq!(stage.message(&format!("id = '{id}'")).await["external_id"], mid);
    assert_eq!(stage.world.count("public.conversations where extra ? 'paused'").await, 0);
    // What somebody wrote in the app is a message, and silences the agent.
    stage.says(echo("by-hand", "it is me")).await;
    assert_eq!(stage.world.count("public.messages where direction = 'outgoing'").await, 3);
    assert_eq!(stage.world.count("public.conversations where extra ? 'paused'").await, 1);
}

#[tokio::test]
async fn who_somebody_is_is_asked_once_a_day() {
    let stage = Stage::new().await;
    let asked = || stage.world.sandbox.instagram(|i| i.calls.iter().filter(|c| c["path"] == format!("instagram/v25.0/{PERSON}")).count());
    let known = "select extra - 'name_fetched_at' from public.contacts_addresses where service = 'instagram' and address = $1";
    stage.says(text("m1", "a")).await;
    stage.world.idle().await;
    let profile = json!({"name": "Sandbox person", "username": "person_888001", "profile_picture_url": "https://example.org/person.jpg"});
    assert_eq!(stage.world.value::<Value>(known, &[&PERSON]).await, profile);
    stage.world.sandbox.instagram(|i| i.set_profile(PERSON, json!({"name": "Ana"})));
    stage.says(text("m2", "b")).await;
    stage.world.idle().await;
    assert_eq!(asked(), 1);
    let yesterday = "update public.contacts_addresses set extra = jsonb_build_object('name_fetched_at', now() - interval '25 hours')";
    stage.world.execute(yesterday, &[]).await;
    stage.says(text("m3", "c")).await;
    stage.world.idle().await;
    assert_eq!((asked(), &stage.world.value::<Value>(known, &[&PERSON]).await["name"]), (2, &json!("Ana")));
}

#[tokio::test]
async fn a_text_goes_out_once_and_a_long_one_in_parts() {
    let stage = Stage::new().await;
    stage.send(&text_content("hello")).await;
    stage.world.until("sent", "select status ? 'accepted' and external_id is not null from public.messages").await;
    stage.world.idle().await;
    let sent = stage.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["body"], json!({"recipient": {"id": PERSON}, "message": {"text": "hello"}}));
    stage.says(event("read", json!({"mid": sent[0]["message_id"]}))).await;
    assert!(stage.message("true").await["status"]["read"].is_string());
    let paragraphs: Vec<String> = (0..5).map(|n| format!("{n} {}", "word ".repeat(80).trim_end())).collect();
    stage.send(&text_content(&paragraphs.join("\n\n"))).await;
    stage.world.until("all are sent", "select count(*) = 4 and bool_and(status ? 'accepted') from public.messages").await;
    let parts: Vec<String> = stage.sent()[1..].iter().map(|s| s["body"]["message"]["text"].as_str().unwrap().to_owned()).collect();
    assert!(parts.len() == 3 && parts.iter().all(|p| p.len() <= 1000), "{parts:?}");
    assert_eq!(parts.join("\n\n"), paragraphs.join("\n\n"));
}

#[tokio::test]
async fn a_text_of_nothing_but_space_fails_and_does_not_go_round_in_circles() {
    let stage = Stage::new().await;
    stage.send(&text_content(&" ".repeat(1500))).await;
    stage.world.until("it has failed", "select status ? 'failed' from public.messages").await;
}

#[tokio::test]
async fn a_caption_that_fails_never_repeats_its_picture() {
    let stage = Stage::new().await;
    for (caption, code) in [("put off", 613), ("refused", 551)] {
        let fault = Fault { on: "instagram".into(), matching: Some(caption.into()), times: Some(1), ..Fault::default() };
        stage.world.sandbox.fault(Fault { code: Some(code), retry_after: Some(0), ..fault });
        let uri = format!("https://example.org/{code}.png");
        stage.send(&json!({"version": "1", "type": "file", "kind": "image", "text": caption, "file": {"uri": uri, "mime_type": "image/png"}})).await;
    }
    let settled = "select count(*) = 4 and count(*) filter (where status ? 'accepted') = 3 and count(*) filter (where status ? 'failed') = 1
        from public.messages";
    stage.world.until("three are sent and one is not", settled).await;
    stage.world.idle().await;
    let sent: Vec<Value> = stage.sent().iter().map(|s| s["body"]["message"].clone()).collect();
    let picture = |code: i64| json!({"attachment": {"type": "image", "payload": {"url": format!("https://example.org/{code}.png")}}});
    assert_eq!(sent, [picture(613), json!({"text": "put off"}), picture(551)]);
    let failed = stage.message("status ? 'failed'").await;
    assert_eq!((&failed["content"]["type"], &failed["content"]["text"]), (&json!("text"), &json!("refused")));
}

#[tokio::test]
async fn reactions_are_sent_and_taken_back_and_reading_is_shown() {
    let stage = Stage::new().await;
    stage.says(text("m1", "hi")).await;
    for emoji in ["❤", ""] {
        stage.send(&json!({"version": "1", "type": "text", "kind": "reaction", "text": emoji, "re_message_id": "m1"})).await;
    }
    stage.world.until("both are sent", "select count(*) = 2 from public.messages where status ? 'accepted'").await;
    let read = "select public.mark_conversation_read(organization_id, conversation_id, false) from public.messages where external_id = 'm1'";
    stage.world.execute(read, &[]).await;
    stage.world.idle().await;
    let bodies: Vec<Value> = stage.sent().iter().map(|s| s["body"].clone()).collect();
    let expected = [
        json!({"recipient": {"id": PERSON}, "sender_action": "react", "payload": {"message_id": "m1", "reaction": "❤"}}),
        json!({"recipient": {"id": PERSON}, "sender_action": "unreact", "payload": {"message_id": "m1"}}),
        json!({"recipient": {"id": PERSON}, "sender_action": "mark_seen"}),
    ];
    assert_eq!(bodies, expected);
}

#[tokio::test]
async fn a_login_connects_the_account_and_its_token_is_sealed() {
    let stage = Stage::new().await;
    let authorize = stage.url("instagram-management/authorize-url?redirect_uri=https://app.example/back&state=s1");
    let answer: Value = stage.world.http.get(authorize).send().await.unwrap().json().await.unwrap();
    let url = reqwest::Url::parse(answer["url"].as_str().unwrap()).unwrap();
    let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
    assert_eq!((url.host_str(), &*query["client_id"], &*query["state"]), (Some("www.instagram.com"), "ig-app", "s1"));
    assert_eq!(query["redirect_uri"], "https://app.example/back");

    stage.world.execute("update public.organizations_addresses set status = 'disconnected' where address = $1", &[&ACCOUNT]).await;
    let (mut answers, body) = (Vec::new(), json!({"organization_id": stage.organization, "code": "c1", "redirect_uri": "https://app.example/back"}));
    for role in ["member", "owner", "owner"] {
        let sql = "insert into public.api_keys (organization_id, name, role) values ($1, 'k', $2::text::public.role) returning key";
        let key: String = stage.world.value(sql, &[&stage.organization, &role]).await;
        let answer = stage.world.http.post(stage.url("instagram-management/signup")).bearer_auth(key).json(&body).send().await.unwrap();
        answers.push((answer.status().as_u16(), answer.json::<Value>().await.unwrap()));
    }
    // A member may not, and a code is good for once: then Meta's own words come back.
    assert_eq!(answers.iter().map(|a| a.0).collect::<Vec<_>>(), [403, 200, 400]);
    assert_eq!((&answers[1].1["address"], &answers[1].1["extra"]["access_token"]), (&json!(ACCOUNT), &json!("[sealed]")));
    assert!(answers[2].1["cause"].to_string().contains("has been used"), "{}", answers[2].1);
    let row = stage.state().await;
    assert_eq!((&row["status"], &row["extra"]["username"]), (&json!("connected"), &json!(format!("account_{ACCOUNT}"))));
    stage.world.until("sealed", "select bool_and(sealed is not null) from secrets.credentials where path = 'access_token'").await;
    assert!(stage.world.sandbox.instagram(|i| i.about(ACCOUNT))["subscribed"].as_array().unwrap().contains(&json!("messages")));
    stage.send(&text_content("hello")).await;
    eventually("it goes out by the new token", || async { stage.sent().iter().any(|s| s["token"].to_string().contains("ig-long")) }).await;
}

#[tokio::test]
async fn only_what_the_app_signed_takes_an_account_away() {
    let stage = Stage::new().await;
    let payload = BASE64_URL_SAFE_NO_PAD.encode(json!({"algorithm": "HMAC-SHA256", "user_id": "by-the-app"}).to_string());
    for (secret, status, state) in [("wrong", 401, "connected"), (APP_SECRET, 200, "disconnected")] {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&payload);
        let request = format!("{}.{payload}", BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
        let post = stage.world.http.post(stage.url("instagram-management/deauthorize")).form(&[("signed_request", request)]);
        assert_eq!(post.send().await.unwrap().status(), status, "{secret}");
        assert_eq!(stage.state().await["status"], state);
    }
    assert_eq!(stage.state().await["extra"]["needs_reauth"], true);
    assert_eq!(stage.world.count("secrets.credentials where subject = 'organizations_addresses'").await, 0, "its token is forgotten");
}
