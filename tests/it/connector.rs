//! The bridge to a channel of one's own: batches and files come in, messages go out, phones are paired.

use std::process::{Child, Stdio};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::{Method, multipart};
use serde_json::{Value, json};
use sha2::Sha256;
use tidings::sandbox::Fault;
use uuid::Uuid;

use crate::support::*;

const TOKEN: &str = "bridge-token";

/// A world with a bridge, a process that knows it, killed when dropped, and an organization with the bridge's address 549.
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
        world.sandbox.set(|s| s.bridge_token = TOKEN.into());
        let organization = tenant(&world, "549").await;
        let address = format!("http://127.0.0.1:{}", world.port());
        let child = world
            .command(&["serve"])
            .env("LISTEN_ADDR", format!("127.0.0.1:{}", world.port()))
            .env("PUBLIC_URL", &address)
            .env("WHATSAPP_WEB_URL", format!("{}/bridge", world.sandbox_url))
            .env("WHATSAPP_WEB_TOKEN", TOKEN)
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

    /// The bridge says what came in to 549, or to the address that the batch names. Returns when it is stored.
    async fn says(&self, mut batch: Value) {
        if batch["organization_address"].is_null() {
            batch["organization_address"] = json!("549");
        }
        assert_eq!(self.world.sandbox.bridge_says(&self.url("whatsapp-web-webhook"), TOKEN, &batch).await, 200);
        self.world.until("it is stored", "select not exists (select from bus.tasks where queue = 'intake')").await;
    }

    /// What the bridge took: messages, or what it was told by the type status.
    fn given(&self, kind: &str) -> Vec<Value> {
        let all = self.world.sandbox.bridge(|b| b.dispatched.clone());
        all.into_iter().filter(|d| d["body"]["type"] == kind).collect()
    }

    /// A message to 1.
    async fn send(&self, content: &Value) -> Uuid {
        let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
            values ($1, '549', '1', 'whatsapp-web', 'outgoing', $2) returning id";
        self.world.value(sql, &[&self.organization, content]).await
    }

    async fn message(&self, condition: &str) -> Value {
        self.world.value(&format!("select to_jsonb(m) from public.messages m where {condition}"), &[]).await
    }

    async fn key(&self, organization: Uuid, role: &str) -> String {
        let sql = "insert into public.api_keys (organization_id, name, role) values ($1, 'test', $2::text::public.role) returning key";
        self.world.value(sql, &[&organization, &role]).await
    }

    /// A call of the sessions' routes: status and answer.
    async fn ask(&self, method: Method, path: &str, key: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.world.http.request(method, self.url(&format!("whatsapp-web-management/sessions{path}"))).bearer_auth(key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// An owner asks for a session, somebody scans its code, and the bridge says whose phone it was.
    async fn pair(&self, organization: Uuid, key: &str, address: &str) {
        let (status, session) = self.ask(Method::POST, "", key, Some(json!({"organization_id": organization}))).await;
        assert_eq!(status, 200, "{session}");
        assert!(self.world.sandbox.bridge(|b| b.pair(session["id"].as_str().unwrap(), address)));
        let event = json!({"event": "connected", "organization_id": organization, "address": address, "extra": {"phone_number": address}});
        assert_eq!(self.ask(Method::POST, "/events", TOKEN, Some(event)).await.0, 200);
    }
}

/// An organization with an address on the bridge's channel. Its agent, once it has one, answers at once.
async fn tenant(world: &World, address: &str) -> Uuid {
    let organization = world.organization(json!({"response_delay_seconds": 0})).await;
    let sql = "insert into public.organizations_addresses (organization_id, service, address) values ($1, 'whatsapp-web', $2)";
    world.execute(sql, &[&organization, &address]).await;
    organization
}

fn moment() -> String {
    chrono::Utc::now().to_rfc3339()
}

fn incoming(id: &str, contact: &str, text: &str) -> Value {
    json!({"external_id": id, "direction": "incoming", "contact_address": contact, "content": text_content(text), "timestamp": moment()})
}

#[tokio::test]
async fn what_comes_in_live_is_answered_and_history_is_not() {
    let stage = Stage::new().await;
    stage.world.agent(stage.organization).await;
    let mut history = incoming("old", "1", "long ago");
    history["status"] = json!({"delivered": moment(), "read": moment()});
    stage.says(json!({"messages": [history, incoming("new", "2", "hello")]})).await;
    stage.world.until("the answer is sent", "select status ? 'sent' from public.messages where direction = 'outgoing'").await;
    stage.world.idle().await;
    let sent = stage.given("message");
    assert_eq!(sent.len(), 1, "{sent:?}");
    let record = &sent[0]["body"]["record"];
    assert_eq!((&record["contact_address"], &record["content"]["text"]), (&json!("2"), &json!("You said: hello")));
    assert_eq!(stage.message("external_id = 'old'").await["status"], history["status"], "as it was told");
    // The agent's reading is told, too.
    let told = stage.given("status");
    assert!(!told.is_empty() && told.iter().all(|t| t["body"]["record"]["external_id"] == "new"), "{told:?}");
}

#[tokio::test]
async fn a_group_is_one_conversation_with_its_name() {
    let stage = Stage::new().await;
    let mut messages = [incoming("a", "1", "hi"), incoming("b", "2", "hi"), incoming("c", "1", "in private")];
    for message in &mut messages[..2] {
        message["group_address"] = json!("g1");
    }
    stage.says(json!({"messages": messages, "groups": [{"address": "g1", "name": "Family"}]})).await;
    let sql = "select jsonb_agg(jsonb_build_array(c.group_address, c.name, c.contact_address, (
          select jsonb_agg(m.external_id || ' by ' || m.contact_address order by m.external_id)
          from public.messages m where m.conversation_id = c.id)) order by c.group_address)
        from public.conversations c where c.service = 'whatsapp-web'";
    let threads: Value = stage.world.value(sql, &[]).await;
    assert_eq!(threads, json!([["g1", "Family", null, ["a by 1", "b by 2"]], [null, null, "1", ["c by 1"]]]));
    let sql = "insert into public.messages (organization_id, organization_address, group_address, service, direction, content)
        values ($1, '549', 'g1', 'whatsapp-web', 'outgoing', $2)";
    stage.world.execute(sql, &[&stage.organization, &text_content("hello all")]).await;
    eventually("it goes to the group", || async { stage.given("message").iter().any(|m| m["body"]["record"]["group_address"] == "g1") }).await;
    stage.says(json!({"groups": [{"address": "g1", "name": "Relatives"}]})).await;
    assert_eq!(stage.world.count("public.conversations where name = 'Relatives'").await, 1);
}

#[tokio::test]
async fn receipts_edits_revocations_and_names_reach_what_they_are_about() {
    let stage = Stage::new().await;
    let ours = format!("id = '{}'", stage.send(&text_content("an offer")).await);
    stage.world.until("sent", "select status ? 'sent' from public.messages").await;
    let id = stage.message(&ours).await["external_id"].clone();
    // An edit that overtakes its message waits for it.
    stage.says(json!({"edits": [{"original_message_id": "b", "text": "second", "timestamp": moment()}]})).await;
    let batch = json!({
        "contacts": [{"address": "1", "extra": {"name": "Ana"}}],
        "messages": [incoming("a", "1", "by mistake"), incoming("b", "1", "first")],
        "statuses": [{"external_id": id, "status": {"delivered": moment(), "read": moment()}}],
        "revokes": [{"original_message_id": "a", "timestamp": moment()}],
    });
    // Told again it changes nothing: the edited text stays.
    for _ in 0..2 {
        stage.says(batch.clone()).await;
    }
    assert_eq!((stage.world.count("public.messages").await, stage.world.count("bus.parked").await), (3, 0));
    let status = stage.message(&ours).await["status"].clone();
    assert!(status["delivered"].is_string() && status["read"].is_string(), "{status}");
    assert!(stage.message("external_id = 'a'").await["status"]["deleted"].is_string());
    let edited = stage.message("external_id = 'b'").await;
    assert_eq!((&edited["content"]["text"], &edited["extra"]["edits"][0]["before"]["text"]), (&json!("second"), &json!("first")));
    let name = "select extra ->> 'name' from public.contacts_addresses where service = 'whatsapp-web' and address = '1'";
    assert_eq!(stage.world.value::<Option<String>>(name, &[]).await.as_deref(), Some("Ana"));
}

#[tokio::test]
async fn two_organizations_may_know_the_same_external_id() {
    let stage = Stage::new().await;
    let other = tenant(&stage.world, "548").await;
    // Two numbers in one group see the same message.
    for address in ["549", "548"] {
        let mut message = incoming("same", "1", &format!("seen by {address}"));
        message["group_address"] = json!("g1");
        stage.says(json!({"organization_address": address, "messages": [message]})).await;
    }
    let edit = json!({"original_message_id": "same", "text": "changed", "timestamp": moment()});
    stage.says(json!({"organization_address": "548", "edits": [edit]})).await;
    stage.says(json!({"revokes": [{"original_message_id": "same", "timestamp": moment()}]})).await;
    let sql = "select jsonb_agg(jsonb_build_array(organization_id, content ->> 'text', status ? 'deleted') order by organization_address desc)
        from public.messages where external_id = 'same'";
    let rows: Value = stage.world.value(sql, &[]).await;
    assert_eq!(rows, json!([[stage.organization, "seen by 549", true], [other, "changed", false]]));
}

#[tokio::test]
async fn nobody_but_the_bridge_gets_in() {
    let stage = Stage::new().await;
    let batch = |address: &str| json!({"organization_address": address, "messages": [incoming("a", "1", "x")]});
    for (path, token, address, expected) in [
        ("whatsapp-web-webhook", "wrong", "549", 401),
        ("whatsapp-web-webhook", "", "549", 401),
        ("whatsapp-web-webhook/media", "wrong", "549", 401),
        ("telegram-webhook", TOKEN, "549", 404),
        // A service that there is, without a bridge.
        ("slack-webhook", TOKEN, "549", 404),
        ("whatsapp-web-webhook", TOKEN, "548", 404),
        ("whatsapp-web-webhook/more", TOKEN, "549", 404),
        ("generic-webhook/whatsapp-web", TOKEN, "549", 200),
    ] {
        let status = stage.world.sandbox.bridge_says(&stage.url(path), token, &batch(address)).await;
        assert_eq!(status, expected, "{path} {token} {address}");
    }
    let url = stage.url("whatsapp-web-webhook");
    assert_eq!(stage.world.http.get(&url).bearer_auth(TOKEN).send().await.unwrap().status(), 405);
    assert_eq!(stage.world.http.post(&url).bearer_auth(TOKEN).body("{").send().await.unwrap().status(), 400);
    assert_eq!(stage.world.count("bus.journal").await, 1);
}

#[tokio::test]
async fn a_file_is_kept_once_and_fetched_by_a_signed_link_only() {
    let stage = Stage::new().await;
    tenant(&stage.world, "548").await;
    let bytes: &[u8] = b"a picture, as it were";
    let mut uris = Vec::new();
    for _ in 0..2 {
        let file = multipart::Part::bytes(bytes.to_vec()).file_name("cat.png").mime_str("image/png").unwrap();
        let form = multipart::Form::new().text("organization_address", "549").part("file", file);
        let request = stage.world.http.post(stage.url("whatsapp-web-webhook/media")).bearer_auth(TOKEN).multipart(form);
        uris.push(request.send().await.unwrap().json::<Value>().await.unwrap()["uri"].clone());
    }
    let hash = BASE64_URL_SAFE_NO_PAD.encode(<Sha256 as sha2::Digest>::digest(bytes));
    let uri = format!("internal://media/organizations/{}/attachments/{hash}", stage.organization);
    assert_eq!(uris, [json!(uri), json!(uri)]);
    assert_eq!(stage.world.count("storage.objects where state = 'ready'").await, 1);
    // It comes with a message of this organization, and with none of another.
    let content = json!({"version": "1", "type": "file", "kind": "image", "file": {"uri": uri, "mime_type": "image/png", "size": bytes.len()}});
    for address in ["549", "548"] {
        let mut message = incoming("a", "1", "");
        message["content"] = content.clone();
        stage.says(json!({"organization_address": address, "messages": [message]})).await;
    }
    assert_eq!(stage.message("true").await["organization_id"], json!(stage.organization));
    assert_eq!(stage.world.count("bus.parked where reason = 'refused' and detail like '%not a file of this organization'").await, 1);
    stage.send(&content).await;
    eventually("it goes out", || async { stage.given("message").len() == 1 }).await;
    let link = stage.given("message")[0]["body"]["media_url"].as_str().unwrap().to_owned();
    let answer = stage.world.http.get(&link).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()), (200, "image/png"));
    assert_eq!(answer.bytes().await.unwrap(), bytes);
    for bad in [link.split_once('?').unwrap().0.to_owned(), link.replace(&hash, "another"), format!("{link}A")] {
        assert_eq!(stage.world.http.get(&bad).send().await.unwrap().status(), 401, "{bad}");
    }
}

#[tokio::test]
async fn what_goes_out_is_given_to_the_bridge_once() {
    let stage = Stage::new().await;
    let id = stage.send(&text_content("hello")).await;
    stage.world.until("sent", "select status ? 'sent' from public.messages").await;
    stage.world.idle().await;
    let sent = stage.given("message");
    assert_eq!(sent.len(), 1);
    assert_eq!((&sent[0]["body"]["record"]["id"], sent[0]["body"].get("media_url")), (&json!(id), None));
    assert_eq!(stage.message("true").await["external_id"], sent[0]["external_id"]);
    // The bridge may have a state of its own for it, and sees what it sent itself.
    stage.world.sandbox.bridge(|b| b.status = Some("queued".into()));
    stage.send(&text_content("and")).await;
    stage.world.until("queued", "select bool_or(status ? 'queued' and external_id is not null) from public.messages").await;
    let mut echo = incoming("", "1", "hello");
    echo["external_id"] = sent[0]["external_id"].clone();
    echo["direction"] = json!("outgoing");
    stage.says(json!({"messages": [echo]})).await;
    assert_eq!((stage.world.count("public.messages").await, stage.given("message").len()), (2, 2));
    assert_eq!(stage.world.count("public.conversations where extra ? 'paused'").await, 0);
}

#[tokio::test]
async fn a_refusal_fails_the_message_only_and_in_the_bridges_words() {
    let stage = Stage::new().await;
    stage.world.sandbox.fault(Fault { on: "bridge".into(), times: Some(1), status: Some(422), ..Fault::default() });
    let refused = stage.send(&text_content("one")).await;
    stage.send(&text_content("two")).await;
    stage.world.until("the other is sent", "select count(*) = 1 from public.messages where status ? 'sent'").await;
    stage.world.idle().await;
    let status = stage.message(&format!("id = '{refused}'")).await["status"].clone();
    let words = status["errors"][0]["message"].as_str().unwrap();
    assert!(status["failed"].is_string() && words.contains("422") && words.contains("misbehaving as requested"), "{status}");
    assert_eq!(stage.world.sandbox.bridge(|b| b.calls.len()), 2, "what was refused is not asked for again");
}

#[tokio::test]
async fn a_bridge_that_is_away_delays_and_loses_nothing() {
    let stage = Stage::new().await;
    stage.world.sandbox.fault(Fault { on: "bridge".into(), status: Some(503), ..Fault::default() });
    stage.send(&text_content("hello")).await;
    stage.world.until("the address waits", "select strikes > 1 from bus.lanes where lane = '549'").await;
    let status = stage.message("true").await["status"].clone();
    assert!(status["errors"][0]["message"].as_str().unwrap().contains("503") && status.get("failed").is_none(), "{status}");
    stage.world.sandbox.heal();
    stage.world.until("it is sent", "select status ? 'sent' and not status ? 'errors' from public.messages").await;
    assert_eq!(stage.given("message").len(), 1);
}

#[tokio::test]
async fn the_bridge_is_told_what_was_read_and_that_somebody_types() {
    let stage = Stage::new().await;
    stage.says(json!({"messages": [incoming("a", "1", "hi")]})).await;
    stage.world.idle().await;
    assert!(stage.given("status").is_empty());
    for (n, typing) in [(1, false), (2, true)] {
        let read = "select public.mark_conversation_read(organization_id, conversation_id, $1) from public.messages";
        stage.world.execute(read, &[&typing]).await;
        eventually("it is told", || async { stage.given("status").len() == n }).await;
        let record = stage.given("status")[n - 1]["body"]["record"].clone();
        assert_eq!(record["external_id"], "a");
        assert!(record["status"]["read"].is_string() && record["status"].get("typing").is_some() == typing, "{record}");
        stage.world.idle().await;
    }
}

#[tokio::test]
async fn a_phone_is_paired_by_an_owner_and_nobody_else_sees_the_code() {
    let stage = Stage::new().await;
    let (mine, other) = (stage.world.organization(json!({})).await, stage.organization);
    let (owner, member, stranger) = (stage.key(mine, "owner").await, stage.key(mine, "member").await, stage.key(other, "owner").await);
    let begin = || Some(json!({"organization_id": mine}));
    let (status, session) = stage.ask(Method::POST, "", &owner, begin()).await;
    assert!(status == 200 && session["qr"].as_str().is_some_and(|qr| !qr.is_empty()), "{status} {session}");
    let id = session["id"].as_str().unwrap();
    let (path, other_path) = (format!("/pending/{id}?organization_id={mine}"), format!("/pending/{id}?organization_id={other}"));
    assert_eq!(stage.ask(Method::GET, &path, &owner, None).await.1["status"], "pending");
    for (path, key, expected) in [(&path, &*member, 403), (&path, &*stranger, 403), (&other_path, &*stranger, 404), (&path, TOKEN, 401)] {
        assert_eq!(stage.ask(Method::GET, path, key, None).await.0, expected, "{path} {key}");
    }
    for key in [&member, &stranger] {
        assert_eq!(stage.ask(Method::POST, "", key, begin()).await.0, 403);
    }
    stage.world.sandbox.bridge(|b| b.pair(id, "548"));
    assert_eq!(stage.ask(Method::GET, &path, &owner, None).await.1["status"], "paired");
    assert_eq!(stage.world.sandbox.bridge(|b| b.calls.len()), 3, "whoever may not ask does not get through to the bridge");
    let by_number = Some(json!({"organization_id": mine, "phone_number": "548"}));
    assert!(stage.ask(Method::POST, "", &owner, by_number).await.1["pairing_code"].is_string());
}

#[tokio::test]
async fn a_session_is_connected_by_an_event_and_ended_by_its_owner_only() {
    let stage = Stage::new().await;
    let (mine, other) = (stage.world.organization(json!({})).await, stage.organization);
    let (owner, member, stranger) = (stage.key(mine, "owner").await, stage.key(mine, "member").await, stage.key(other, "owner").await);
    let event = |kind: &str| Some(json!({"event": kind, "organization_id": mine, "address": "548"}));
    // 404: nobody of this organization has asked for a session.
    for (kind, token, expected) in [("connected", "wrong", 401), ("connected", &*owner, 401), ("connected", TOKEN, 404), ("burnt", TOKEN, 400)] {
        assert_eq!(stage.ask(Method::POST, "/events", token, event(kind)).await.0, expected, "{kind} {token}");
    }
    stage.pair(mine, &owner, "548").await;
    let state = "select status || ' ' || (extra ->> 'phone_number') from public.organizations_addresses where address = '548'";
    assert_eq!(stage.world.value::<String>(state, &[]).await, "connected 548");
    let (path, other_path) = (format!("/548?organization_id={mine}"), format!("/548?organization_id={other}"));
    assert_eq!(stage.ask(Method::GET, &path, &member, None).await.1["status"], "connected");
    assert_eq!(stage.ask(Method::GET, &other_path, &stranger, None).await.0, 404);
    for (path, key, expected) in [(&other_path, &stranger, 404), (&path, &stranger, 403), (&path, &member, 403)] {
        assert_eq!(stage.ask(Method::DELETE, path, key, None).await.0, expected, "{path}");
    }
    assert_eq!(stage.world.sandbox.bridge(|b| b.sessions().len()), 1, "it is still there");
    assert_eq!(stage.ask(Method::POST, "/events", TOKEN, event("logged_out")).await.0, 200);
    assert_eq!(stage.world.value::<String>(state, &[]).await, "disconnected 548");
    assert_eq!(stage.world.count("public.logs where category = 'session' and level = 'warning' and organization_address = '548'").await, 1);
    assert_eq!(stage.ask(Method::POST, "/events", TOKEN, event("connected")).await.0, 200);
    assert_eq!(stage.ask(Method::DELETE, &path, &owner, None).await, (200, json!({})));
    assert_eq!(stage.world.value::<String>(state, &[]).await, "disconnected 548");
    assert_eq!(stage.world.sandbox.bridge(|b| b.sessions().len()), 0);
}

#[tokio::test]
async fn who_had_an_address_before_cannot_log_out_who_has_it_now() {
    let stage = Stage::new().await;
    let now = stage.world.organization(json!({})).await;
    let (old_owner, owner) = (stage.key(stage.organization, "owner").await, stage.key(now, "owner").await);
    stage.pair(now, &owner, "549").await;
    assert_ne!(stage.ask(Method::DELETE, &format!("/549?organization_id={}", stage.organization), &old_owner, None).await.0, 200);
    assert_eq!(stage.world.sandbox.bridge(|b| b.sessions().len()), 1, "the session is the other organization's");
}
