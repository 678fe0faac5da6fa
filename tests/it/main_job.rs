//! The whole path: a message comes in, an agent answers, the answer goes out, its receipts come back.

use std::{io::Write, process::Stdio};

use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn a_message_is_answered_and_the_answer_gets_its_ticks() {
    let world = World::new().await;
    world.furnished().await;
    let _process = world.serve().await;

    world.sandbox.say(&json!({"from": "5491100", "number": NUMBER, "text": "*hola*", "name": "Ana"})).await;
    world
        .until("sent, delivered and read", "select status ?& '{accepted,sent,delivered,read}' from public.messages where direction = 'outgoing'")
        .await;

    let messages = world.messages().await;
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0]["content"], json!({"version": "1", "type": "text", "kind": "text", "text": "**hola**"}));
    assert_eq!(messages[1]["content"]["text"], "You said: **hola**");
    let sent = world.sandbox.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["body"]["text"]["body"], "You said: *hola*");
    assert_eq!(sent[0]["body"]["biz_opaque_callback_data"], messages[1]["id"]);
    assert_eq!(sent[0]["token"], "token-of-111");
    assert_eq!(messages[1]["external_id"], sent[0]["wamid"]);
    // The customer saw blue ticks and "typing …" meanwhile.
    eventually("the read receipt", || async { world.sandbox.read().iter().any(|r| r["typing_indicator"]["type"] == "text") }).await;
    assert_eq!(world.value::<String>("select extra->>'name' from public.contacts_addresses where service = 'whatsapp'", &[]).await, "Ana");
    world.idle().await;
}

#[tokio::test]
async fn the_founding_documents_sql_works_word_for_word() {
    let world = World::new().await;
    let client = world.db.get().await.unwrap();
    client
        .batch_execute("insert into public.organizations (name, extra) values\n  ('Default', '{ \"response_delay_seconds\": 0 }')\n;")
        .await
        .unwrap();
    let organization: uuid::Uuid = world.value("select id from public.organizations", &[]).await;
    client
        .batch_execute(&format!(
            "insert into public.organizations_addresses (address, organization_id, service, extra) values
              ('111', '{organization}', 'whatsapp', '{{ \"waba_id\": \"222\", \"phone_number\": \"5491155\" }}')\n;"
        ))
        .await
        .unwrap();
    let _process = world.serve().await;
    world.sandbox.say(&json!({"from": "549", "number": "111", "text": "hi"})).await;
    world.until("the message is stored", "select count(*) = 1 from public.messages where direction = 'incoming'").await;
    // A number without a token of its own sends with the system user's.
    world.send(organization, "549", "hello").await;
    eventually("the answer is sent", || async { world.sandbox.sent().first().is_some_and(|s| s["token"] == "system-token") }).await;
}

#[tokio::test]
async fn chat_takes_a_line_and_prints_the_answer() {
    let world = World::new().await;
    world.furnished().await;
    let _process = world.serve().await;
    let mut command = world.command(&["chat", "--sandbox", &world.sandbox_url, "--number", NUMBER]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"is anyone there?\n").unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "You said: is anyone there?\n");
    // When it ends, the row shows all three.
    world.until("its ticks", "select status ?& '{sent,delivered,read}' from public.messages where direction = 'outgoing'").await;
}

#[tokio::test]
async fn a_burst_of_five_gets_one_reply() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.execute("update public.organizations set extra = '{\"response_delay_seconds\": 1}' where id = $1", &[&organization]).await;
    let _process = world.serve().await;
    for text in ["one", "two", "three", "four", "five"] {
        world.sandbox.say(&json!({"from": "549", "number": NUMBER, "text": text})).await;
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    }
    world.until("an answer", "select count(*) > 0 from public.messages where direction = 'outgoing'").await;
    world.idle().await;
    let answers: Vec<_> = world.messages().await.into_iter().filter(|m| m["direction"] == "outgoing").collect();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0]["content"]["text"], "You said: one / two / three / four / five");
    assert_eq!(world.sandbox.sent().len(), 1);
}

#[tokio::test]
async fn a_burst_while_the_model_thinks_gets_one_reply_to_all_of_it() {
    let world = World::new().await;
    world.furnished().await;
    world.sandbox.set(|s| s.think_ms = 1500);
    let _process = world.serve().await;
    for text in ["one", "two", "three", "four", "five"] {
        world.sandbox.say(&json!({"from": "549", "number": NUMBER, "text": text})).await;
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    }
    world.until("an answer", "select count(*) > 0 from public.messages where direction = 'outgoing'").await;
    world.idle().await;
    let answers: Vec<_> = world.messages().await.into_iter().filter(|m| m["direction"] == "outgoing").collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0]["content"]["text"], "You said: one / two / three / four / five");
}

#[tokio::test]
async fn an_insert_over_http_is_sent() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let process = world.serve().await;
    let key: String = world
        .value("insert into public.api_keys (organization_id, name, key) values ($1, 'k', 'sk_0123456789abcdef0123') returning key", &[&organization])
        .await;
    assert_eq!(key, "sk_0123456789abcdef0123");
    let shown: String = world.value("select key from public.api_keys", &[]).await;
    assert_eq!(shown, "sk_0123…");
    let row = json!({"organization_id": organization, "organization_address": NUMBER, "contact_address": "549", "service": "whatsapp",
        "direction": "outgoing", "content": text_content("hi")});
    let post = |key: &str, body: serde_json::Value| {
        let request = world.http.post(format!("{}/rest/v1/messages", process.address)).header("api-key", key);
        request.header("prefer", "return=representation").json(&body).send()
    };
    let answer = post(&key, row.clone()).await.unwrap();
    assert_eq!(answer.status(), 201);
    let rows: serde_json::Value = answer.json().await.unwrap();
    assert!(rows[0]["status"]["pending"].is_string() && rows[0]["external_id"].is_null());
    eventually("it is sent", || async { world.sandbox.sent().len() == 1 }).await;

    assert_eq!(post("sk_nobody", row.clone()).await.unwrap().status(), 401);
    let mut foreign = row.clone();
    foreign["organization_id"] = json!(world.organization(json!({})).await);
    assert_eq!(post(&key, foreign).await.unwrap().status(), 403);
    let mut broken = row.clone();
    broken["content"] = json!({"version": "1", "type": "text", "kind": "text"});
    let answer = post(&key, json!([row, broken])).await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["message"], "messages.content.text is missing");
    assert_eq!(world.count("public.messages").await, 1);
}
