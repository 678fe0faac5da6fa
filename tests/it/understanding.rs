//! Media understanding: files become text, and the agent waits for it.

use serde_json::{Value, json};
use tidings::sandbox::{Fault, phone::envelope};
use uuid::Uuid;

use crate::support::*;

/// Somebody sends a file; returns the webhook.
fn file_webhook(world: &World, kind: &str, mime_type: &str, name: Option<&str>, bytes: &[u8], id: &str) -> Value {
    let media = world.sandbox.media(|m| m.put(bytes, mime_type));
    let mut file = json!({"id": media, "mime_type": mime_type});
    if let Some(name) = name {
        file["filename"] = json!(name);
    }
    let mut message = json!({"id": id, "from": "549", "timestamp": now().to_string(), "type": kind});
    message[kind] = file;
    envelope(&json!(NUMBER), &json!({"contacts": [{"wa_id": "549", "profile": {"name": "Ana"}}], "messages": [message]}))
}

async fn active(world: &World, organization: Uuid, more: Value) {
    let mut settings = json!({"mode": "active", "api_url": format!("{}/google/v1beta", world.sandbox_url), "protocol": "generate_content", "api_key": "its-own-key"});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let sql = "update public.organizations set extra = jsonb_build_object('media_preprocessing', $2::jsonb) where id = $1";
    world.execute(sql, &[&organization, &settings]).await;
}

fn user_text(asked: &Value) -> String {
    asked["messages"].as_array().unwrap().iter().rfind(|m| m["role"] == "user").unwrap()["content"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_text_file_is_read_without_a_model_and_without_being_asked_for() {
    let world = World::new().await;
    world.furnished().await;
    let process = world.serve().await;
    let csv = "city;population\nRosario;1348725\nMendoza;115041\n";
    world.webhook(&process, file_webhook(&world, "document", "text/csv", Some("cities.csv"), csv.as_bytes(), "w1").to_string()).await;
    world.until("it is answered", "select count(*) = 1 from public.messages where direction = 'outgoing'").await;
    let asked = world.sandbox.asked().pop().unwrap();
    assert!(user_text(&asked).contains("Rosario") && user_text(&asked).contains("<artifacts>"), "{asked}");
    assert!(world.sandbox.understood().is_empty());
    let status: Value = world.value("select status from public.messages where direction = 'incoming'", &[]).await;
    assert!(status["preprocessing"].is_string() && status["preprocessed"].is_string(), "{status}");
}

#[tokio::test]
async fn sound_is_transcribed_before_the_agent_answers_and_what_it_cost_is_kept() {
    let world = World::new().await;
    let organization = world.furnished().await;
    active(&world, organization, json!({"language": "Spanish", "extra_prompt": "Mind the prices."})).await;
    let settings: Value = world.value("select extra -> 'media_preprocessing' from public.organizations", &[]).await;
    assert_eq!(settings["api_key"], "[sealed]");
    let process = world.serve().await;
    world.webhook(&process, file_webhook(&world, "audio", "audio/ogg; codecs=opus", None, b"OggS-sound", "w1").to_string()).await;
    world.until("it is answered", "select count(*) = 1 from public.messages where direction = 'outgoing'").await;
    let asked = world.sandbox.asked().pop().unwrap();
    assert!(user_text(&asked).contains("<transcription>10 bytes</transcription>"), "{asked}");
    let understood = world.sandbox.understood();
    assert_eq!(understood.len(), 1);
    let told = understood[0].to_string();
    assert!(told.contains("Spanish") && told.contains("Mind the prices."), "{told}");
    let (purpose, model): (String, String) = {
        let row = world.db.one("select purpose, model from public.usage where purpose = 'media'", &[]).await.unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!((purpose.as_str(), model.as_str()), ("media", "gemini-2.5-flash"));
}

#[tokio::test]
async fn the_answer_does_not_wait_for_ever_and_what_comes_later_is_there_the_next_time() {
    let world = World::new().await;
    let organization = world.furnished().await;
    active(&world, organization, json!({})).await;
    world.sandbox.fault(Fault { on: "understand".into(), times: Some(3), status: Some(503), ..Fault::default() });
    world.execute("update bus.queues set backoff = '300 ms' where queue = 'preprocess'", &[]).await;
    let process = world.serve().await;
    world.webhook(&process, file_webhook(&world, "image", "image/png", None, b"picture", "w1").to_string()).await;
    world.until("the agent waits", "select count(*) = 1 from bus.tasks where queue = 'agent' and waits_for = 'media'").await;
    assert!(world.sandbox.asked().is_empty());
    world.until("it is answered", "select count(*) = 1 from public.messages where direction = 'outgoing'").await;
    let asked = world.sandbox.asked().pop().unwrap();
    assert!(user_text(&asked).contains("A file of type image/png"), "{asked}");
    // What nobody can read is told to people, and answered without.
    world.sandbox.fault(Fault { on: "understand".into(), times: Some(1), status: Some(400), ..Fault::default() });
    world.webhook(&process, file_webhook(&world, "image", "image/png", None, b"another", "w2").to_string()).await;
    world.until("it is answered", "select count(*) = 2 from public.messages where direction = 'outgoing'").await;
    assert_eq!(world.count("public.logs where category = 'preprocess' and message like '%could not be read%'").await, 1);
}

#[tokio::test]
async fn an_openai_compatible_server_transcribes_and_looks() {
    let world = World::new().await;
    let organization = world.furnished().await;
    active(&world, organization, json!({"api_url": format!("{}/v1", world.sandbox_url), "protocol": "chat_completions", "model": "eyes"})).await;
    let process = world.serve().await;
    world.webhook(&process, file_webhook(&world, "audio", "audio/ogg; codecs=opus", None, b"OggS-sound", "w1").to_string()).await;
    world.until("heard", "select count(*) = 1 from public.messages where content::text like '%transcribed 10 bytes%'").await;
    world.webhook(&process, file_webhook(&world, "image", "image/jpeg", None, b"picture", "w2").to_string()).await;
    world.until("seen", "select count(*) = 1 from public.messages where content #>> '{artifacts,0,text}' = 'seen'").await;
}

#[tokio::test]
async fn nothing_is_read_where_the_organization_does_not_want_it() {
    let world = World::new().await;
    let organization = world.furnished().await;
    active(&world, organization, json!({"mode": "inactive"})).await;
    let process = world.serve().await;
    world.webhook(&process, file_webhook(&world, "document", "text/plain", Some("a.txt"), b"hello", "w1").to_string()).await;
    world.until("it is answered", "select count(*) = 1 from public.messages where direction = 'outgoing'").await;
    assert_eq!(world.count("public.messages where content ? 'artifacts' or status ? 'preprocessed'").await, 0);
}

#[tokio::test]
async fn what_was_made_from_a_file_goes_with_its_message() {
    let world = World::new().await;
    world.furnished().await;
    let process = world.serve().await;
    let text = "long ".repeat(1000);
    world.webhook(&process, file_webhook(&world, "document", "text/plain", Some("story.txt"), text.as_bytes(), "w1").to_string()).await;
    world.until("it is read", "select count(*) = 1 from public.messages where content ? 'artifacts'").await;
    let derived = "storage.objects where message_id is not null";
    assert_eq!(world.count(derived).await, 1);
    // Collection leaves it alone while the message is there.
    world.execute("select storage.collect('0')", &[]).await;
    assert_eq!(world.count(derived).await, 1);
    world.idle().await;
    world.execute("delete from public.conversations", &[]).await;
    assert_eq!(world.count(derived).await, 0);
    world.until("its bytes are gone too", "select not exists (select from bus.tasks where queue = 'sweep')").await;
}
