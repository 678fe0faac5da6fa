//! Files: in from Meta, out to it, and away when nobody refers to them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings::sandbox::{Fault, phone::envelope};
use uuid::Uuid;

use crate::support::*;

fn image(id: &str, media: &str, caption: &str) -> String {
    let message = json!({"id": id, "from": "549", "timestamp": now().to_string(), "type": "image",
        "image": {"id": media, "mime_type": "image/png", "caption": caption}});
    envelope(&json!(NUMBER), &json!({"contacts": [{"wa_id": "549"}], "messages": [message]})).to_string()
}

/// Stores a file as an upload would have.
async fn stored(world: &World, organization: Uuid, id: &str, bytes: &[u8], mime_type: &str) -> String {
    let name = format!("organizations/{organization}/attachments/{id}");
    let path = world.storage().join(&name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
    let sql = "insert into storage.objects (organization_id, name, state, size, mime_type) values ($1, $2, 'ready', $3, $4)";
    world.execute(sql, &[&organization, &name, &(bytes.len() as i64), &mime_type]).await;
    format!("internal://media/{name}")
}

fn file(uri: &str, kind: &str, mime_type: &str) -> Value {
    json!({"version": "1", "type": "file", "kind": kind, "file": {"uri": uri, "mime_type": mime_type}})
}

const INSERT: &str = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
    values ($1, '111', $2, 'whatsapp', 'outgoing', $3)";

#[tokio::test]
async fn a_file_is_visible_at_once_and_fetched_once_for_two_messages() {
    let world = World::new().await;
    let organization = world.organization(json!({"response_delay_seconds": 3600})).await;
    world.number(organization, NUMBER).await;
    let process = world.serve().await;
    let (one, other) = world.sandbox.media(|m| (m.put(b"the picture", "image/png"), m.put(b"the picture", "image/png")));
    world.sandbox.fault(Fault { on: "media".into(), delay_ms: 400, times: Some(1), ..Fault::default() });
    world.webhook(&process, image("wamid.1", &one, "*look*")).await;
    world
        .until(
            "the message is there before its file",
            &format!("select content #>> '{{file,uri}}' = '{one}' and content->>'text' = '**look**' from public.messages"),
        )
        .await;
    world.webhook(&process, image("wamid.2", &other, "")).await;
    world.until("both have it", "select count(*) = 2 from public.messages where content #>> '{file,uri}' like 'internal://media/organizations/%' and content #>> '{file,size}' = '11'").await;
    assert_eq!(world.count("storage.objects").await, 1, "the same bytes lie there once");
    let name: String = world.value("select name from storage.objects where state = 'ready' and unused_since is null", &[]).await;
    assert!(name.starts_with(&format!("organizations/{organization}/attachments/")) && name.len() == 14 + 36 + 13 + 43, "{name}");
    assert_eq!(std::fs::read(world.storage().join(name)).unwrap(), b"the picture");
}

#[tokio::test]
async fn m_a_failed_download_is_tried_again_and_a_hopeless_one_says_so() {
    let world = World::new().await;
    let organization = world.organization(json!({"response_delay_seconds": 3600})).await;
    world.number(organization, NUMBER).await;
    let process = world.serve().await;
    let media = world.sandbox.media(|m| m.put(b"x", "image/png"));
    world.sandbox.fault(Fault { on: "media".into(), status: Some(500), times: Some(2), ..Fault::default() });
    world.webhook(&process, image("wamid.1", &media, "")).await;
    world
        .until("it comes in the end", "select content #>> '{file,uri}' like 'internal://%' from public.messages where external_id = 'wamid.1'")
        .await;
    world.webhook(&process, image("wamid.2", "404404", "")).await;
    world
        .until(
            "the message says why",
            "select status->'errors'->0->>'code' = 'media' and status ? 'pending' from public.messages where external_id = 'wamid.2'",
        )
        .await;
    world.until("and so does the log", "select count(*) = 1 from public.logs where category = 'media' and level = 'error'").await;
}

#[tokio::test]
async fn a_file_that_is_not_what_meta_says_is_not_kept() {
    let world = World::new().await;
    let organization = world.organization(json!({"response_delay_seconds": 3600})).await;
    world.number(organization, NUMBER).await;
    let process = world.serve().await;
    let media = world.sandbox.media(|m| m.put(b"x", "image/png"));
    world.sandbox.media(|m| m.set(&media, json!({"sha256": "0000000000000000000000000000000000000000000000000000000000000000"})));
    world.webhook(&process, image("wamid.1", &media, "")).await;
    world.until("it is refused", "select errors::text like '%SHA-256%' from bus.tasks where queue = 'media'").await;
    assert_eq!(world.count("storage.objects").await, 0);
}

#[tokio::test]
async fn the_agent_waits_for_the_file_but_not_for_ever() {
    let world = World::new().await;
    world.furnished().await;
    let process = world.serve().await;
    let media = world.sandbox.media(|m| m.put(b"x", "image/png"));
    world.sandbox.fault(Fault { on: "media".into(), delay_ms: 1500, times: Some(1), ..Fault::default() });
    let began = Instant::now();
    world.webhook(&process, image("wamid.1", &media, "what is this?")).await;
    eventually("it is answered", || async { !world.sandbox.asked().is_empty() }).await;
    assert!(began.elapsed() > Duration::from_millis(1400), "{:?}: before the file was there", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}: the file's arrival rings", began.elapsed());
    assert!(world.value::<bool>("select content #>> '{file,uri}' like 'internal://%' from public.messages where direction = 'incoming'", &[]).await);
}

#[tokio::test]
async fn a_thousand_recipients_cost_one_upload() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let uri = stored(&world, organization, "brochure", b"%PDF", "application/pdf").await;
    let _process = world.serve().await;
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
        select $1, '111', (5490000 + n)::text, 'whatsapp', 'outgoing', $2 from generate_series(1, 60) n";
    world.execute("update bus.lanes set rate = 1000", &[]).await;
    world.execute(sql, &[&organization, &file(&uri, "document", "application/pdf")]).await;
    eventually("all are sent", || async { world.sandbox.sent().len() == 60 }).await;
    assert_eq!(world.sandbox.media(|m| m.uploads.len()), 1);
    // Another number is another upload; the first is used again for as long as Meta keeps it.
    world.execute(INSERT, &[&organization, &"5491", &file(&uri, "document", "application/pdf")]).await;
    eventually("one more", || async { world.sandbox.sent().len() == 61 }).await;
    assert_eq!(world.sandbox.media(|m| m.uploads.len()), 1);
}

#[tokio::test]
async fn a_text_does_not_overtake_the_file_before_it() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let uri = stored(&world, organization, "slow", b"x", "image/png").await;
    let _process = world.serve().await;
    world.sandbox.fault(Fault { on: "media".into(), delay_ms: 800, times: Some(1), ..Fault::default() });
    world.execute(INSERT, &[&organization, &"549", &file(&uri, "image", "image/png")]).await;
    world.send(organization, "549", "did you see it?").await;
    eventually("both are sent", || async { world.sandbox.sent().len() == 2 }).await;
    let kinds: Vec<Value> = world.sandbox.sent().iter().map(|s| s["body"]["type"].clone()).collect();
    assert_eq!(kinds, ["image", "text"]);
}

#[tokio::test]
async fn a_refused_upload_fails_the_messages_that_wait_for_it() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let uri = stored(&world, organization, "bad", b"x", "image/png").await;
    let _process = world.serve().await;
    world.sandbox.fault(Fault { on: "media".into(), code: Some(131_053), times: Some(1), ..Fault::default() });
    world.execute(INSERT, &[&organization, &"549", &file(&uri, "image", "image/png")]).await;
    world.until("it says why", "select status ? 'failed' and status->'errors'->0->>'code' = '131053' from public.messages").await;
    world.idle().await;
}

#[tokio::test]
async fn files_of_others_and_files_too_large_are_refused_at_insert() {
    let world = World::new().await;
    let (ours, theirs) = (world.furnished().await, world.organization(json!({})).await);
    let uri = stored(&world, theirs, "secret", b"x", "image/png").await;
    assert_eq!(
        world.refusal(INSERT, &[&ours, &"549", &file(&uri, "image", "image/png")]).await,
        "messages.content.file.uri is not a file of this organization"
    );
    let name = format!("organizations/{ours}/attachments/large");
    let sql = "insert into storage.objects (organization_id, name, state, size, mime_type) values ($1, $2, 'ready', 6000000, 'image/png')";
    world.execute(sql, &[&ours, &name]).await;
    let refusal = world.refusal(INSERT, &[&ours, &"549", &file(&format!("internal://media/{name}"), "image", "image/png")]).await;
    assert_eq!(refusal, "messages.content.file has 6000000 bytes; WhatsApp takes at most 5000000 for kind image");
}

#[tokio::test]
async fn m4_only_files_that_nobody_refers_to_are_collected() {
    let world = World::new().await;
    let (ours, theirs) = (world.furnished().await, world.organization(json!({})).await);
    let kept = stored(&world, ours, "kept", b"k", "image/png").await;
    let shared = stored(&world, ours, "shared", b"s", "image/png").await;
    stored(&world, ours, "orphan", b"o", "image/png").await;
    stored(&world, theirs, "theirs", b"t", "image/png").await;
    let _process = world.serve().await;
    world.execute(INSERT, &[&ours, &"549", &file(&kept, "image", "image/png")]).await;
    for _ in 0..2 {
        world.execute(INSERT, &[&ours, &"549", &file(&shared, "image", "image/png")]).await;
    }
    eventually("they are sent", || async { world.sandbox.sent().len() == 3 }).await;
    world
        .execute("delete from public.messages where id = (select id from public.messages where content #>> '{file,uri}' like '%shared' limit 1)", &[])
        .await;
    world.execute("delete from public.organizations where id = $1", &[&theirs]).await;
    assert_eq!(world.value::<i32>("select storage.collect('0 s')", &[]).await, 1);
    world.until("swept", "select not exists (select from bus.tasks where queue = 'sweep')").await;
    let there = |org: Uuid, id: &str| world.storage().join(format!("organizations/{org}/attachments/{id}")).exists();
    eventually("what nobody refers to is gone", || async { !there(ours, "orphan") && !there(theirs, "theirs") }).await;
    assert!(there(ours, "kept") && there(ours, "shared"), "and nothing else");
    world.execute("delete from public.messages where content #>> '{file,uri}' like '%shared'", &[]).await;
    world.value::<i32>("select storage.collect('0 s')", &[]).await;
    eventually("with its last reference it goes", || async { !there(ours, "shared") }).await;
    assert!(there(ours, "kept"));
}

#[tokio::test]
async fn files_are_uploaded_and_read_with_a_key_of_their_organization() {
    let world = World::new().await;
    let (ours, theirs) = (world.furnished().await, world.organization(json!({})).await);
    let process = world.serve().await;
    let key = "insert into public.api_keys (organization_id, name) values ($1, 'k') returning key";
    let (key, other): (String, String) = (world.value(key, &[&ours]).await, world.value(key, &[&theirs]).await);
    let url = |id: &str| format!("{}/storage/v1/object/media/organizations/{ours}/attachments/{id}", process.address);
    let post = |key: &str, id: &str| world.http.post(url(id)).header("api-key", key).header("content-type", "image/png").body("a picture");
    assert_eq!(post(&other, "a").send().await.unwrap().status(), 403, "the other tenant");
    assert_eq!(world.http.post(url("a")).body("x").send().await.unwrap().status(), 401);
    let stored: Value = post(&key, "a").send().await.unwrap().json().await.unwrap();
    assert_eq!(stored["Key"], format!("media/organizations/{ours}/attachments/a"));
    assert_eq!(post(&key, "a").send().await.unwrap().status(), 409);
    assert!(post(&key, "..").send().await.unwrap().status().is_client_error());
    let get = |key: &str| world.http.get(url("a")).header("api-key", key).send();
    assert_eq!(get(&other).await.unwrap().status(), 403);
    let answer = get(&key).await.unwrap();
    assert_eq!((answer.headers()["content-type"].clone(), answer.text().await.unwrap()), ("image/png".parse().unwrap(), "a picture".to_owned()));
    world.execute(INSERT, &[&ours, &"549", &file(stored["uri"].as_str().unwrap(), "image", "image/png")]).await;
    eventually("it is sent", || async { world.sandbox.sent().len() == 1 }).await;
    assert_eq!(world.sandbox.media(|m| m.uploads[0]["size"].clone()), 9);
}
