//! Defects that users of comparable systems know, and that are not here. docs/defects.md has all of them by number; this
//! file those that no other test shows.

use serde_json::{Value, json};
use tidings::sandbox::{Fault, phone::envelope};
use uuid::Uuid;

use crate::support::*;

/// One body with these changes, each `(field, value)`.
fn body(changes: &[(&str, Value)]) -> String {
    let changes: Vec<Value> = changes
        .iter()
        .map(|(field, value)| {
            let mut value = value.clone();
            value["messaging_product"] = json!("whatsapp");
            value["metadata"] = json!({"display_phone_number": "15550001111", "phone_number_id": NUMBER});
            json!({"field": field, "value": value})
        })
        .collect();
    json!({"object": "whatsapp_business_account", "entry": [{"id": "w", "changes": changes}]}).to_string()
}

fn text(id: &str, from: &str, words: &str) -> Value {
    json!({"id": id, "from": from, "timestamp": now().to_string(), "type": "text", "text": {"body": words}})
}

async fn quiet(world: &World) -> Uuid {
    let organization = world.organization(json!({})).await;
    world.number(organization, NUMBER).await;
    organization
}

async fn settled(world: &World) {
    world.until("intake is done", "select not exists (select from bus.tasks where queue = 'intake')").await;
}

/// A message that went out earlier, as Meta knows it.
async fn earlier(world: &World, organization: Uuid, external_id: &str) {
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content, external_id, status)
        values ($1, '111', '549', 'whatsapp', 'outgoing', $2, $3, '{\"accepted\": \"2026-01-01T00:00:00+00:00\"}')";
    world.execute(sql, &[&organization, &text_content("out"), &external_id]).await;
}

#[tokio::test]
async fn w4_a_live_message_and_a_stamped_one_in_one_body() {
    let world = World::new().await;
    world.furnished().await;
    let process = world.serve().await;
    let mut echo = text("wamid.echo", "15550001111", "from the phone");
    echo["to"] = json!("5492");
    let mut old = text("wamid.old", "5493", "long ago");
    old["timestamp"] = json!((now() - 86_400).to_string());
    old["history_context"] = json!({"status": "READ"});
    let thread = json!({"id": "5493", "messages": [old]});
    let history = json!({"history": [{"metadata": {"phase": 0, "chunk_order": 1, "progress": 10}, "threads": [thread]}]});
    let changes = [
        ("messages", json!({"contacts": [{"wa_id": "5491"}], "messages": [text("wamid.live", "5491", "hi")]})),
        ("smb_message_echoes", json!({"message_echoes": [echo]})),
        ("history", history),
    ];
    assert_eq!(world.webhook(&process, body(&changes)).await.status(), 200);
    world.until("the live one is answered", "select count(*) = 1 from public.messages where contact_address = '5491' and status ? 'accepted'").await;
    world.idle().await;
    let all = "public.messages where external_id in ('wamid.live', 'wamid.echo', 'wamid.old')";
    assert_eq!((world.count(all).await, world.count("bus.parked").await), (3, 0));
    assert_eq!(world.count("public.messages where external_id in ('wamid.echo', 'wamid.old') and status ? 'pending'").await, 0);
    assert_eq!(world.sandbox.asked().len(), 1, "and nothing else is");
}

#[tokio::test]
async fn w5_the_same_id_twice_in_one_body() {
    let world = World::new().await;
    let organization = quiet(&world).await;
    let process = world.serve().await;
    earlier(&world, organization, "wamid.out").await;
    let status = |state: &str| json!({"id": "wamid.out", "status": state, "timestamp": now().to_string(), "recipient_id": "549"});
    let changes = [
        ("messages", json!({"messages": [text("wamid.1", "549", "hi"), text("wamid.1", "549", "hi")]})),
        ("messages", json!({"statuses": [status("sent"), status("delivered"), status("sent")]})),
    ];
    world.webhook(&process, body(&changes)).await;
    world.until("both states are there", "select status ?& '{sent,delivered}' from public.messages where external_id = 'wamid.out'").await;
    settled(&world).await;
    assert_eq!((world.count("public.messages").await, world.count("bus.parked").await), (2, 0));
}

#[tokio::test]
async fn w7_first_messages_of_a_stranger_by_two_processes_are_one_thread() {
    let world = World::new().await;
    quiet(&world).await;
    let processes = [world.serve().await, world.serve_another().await];
    let all = (0..24).map(|n| {
        let (world, process) = (&world, &processes[n % 2]);
        async move { world.webhook(process, text_webhook(NUMBER, "549", &format!("wamid.{n}"), now(), "x").to_string()).await.status() }
    });
    assert!(futures_util::future::join_all(all).await.iter().all(|s| *s == 200));
    world.until("all are stored", "select count(*) = 24 and count(distinct conversation_id) = 1 from public.messages").await;
    assert_eq!((world.count("public.conversations where contact_address = '549'").await, world.count("bus.parked").await), (1, 0));
}

#[tokio::test]
async fn w8_an_error_without_words_and_an_event_without_a_name() {
    let world = World::new().await;
    quiet(&world).await;
    let process = world.serve().await;
    let changes = [
        ("messages", json!({"errors": [{"code": 130_429}]})),
        ("account_update", json!({"phone_number": "15550001111"})),
        ("messages", json!({"messages": [text("wamid.1", "549", "hi")]})),
    ];
    world.webhook(&process, body(&changes)).await;
    world.until("the message is stored", "select count(*) = 1 from public.messages").await;
    settled(&world).await;
    let logged = "public.logs where message in ('an error without words', 'no event')";
    assert_eq!((world.count(logged).await, world.count("bus.parked").await), (2, 0));
}

#[tokio::test]
async fn w10_a_number_in_two_organizations_belongs_to_who_connected_it_last() {
    let world = World::new().await;
    let older = quiet(&world).await;
    let newer = quiet(&world).await;
    let process = world.serve().await;
    let say = |id: &'static str| world.webhook(&process, text_webhook(NUMBER, "549", id, now(), "x").to_string());
    say("wamid.1").await;
    world.until("it is stored", "select count(*) = 1 from public.messages").await;
    for status in ["disconnected", "connected"] {
        world
            .execute("update public.organizations_addresses set status = $2 where organization_id = $1 and address = '111'", &[&older, &status])
            .await;
    }
    say("wamid.2").await;
    world.until("it is stored", "select count(*) = 2 from public.messages").await;
    let sql = "select jsonb_agg(jsonb_build_array(m.organization_id, c.organization_id) order by m.external_id) from public.messages m
        join public.conversations c on c.id = m.conversation_id";
    assert_eq!(world.value::<Value>(sql, &[]).await, json!([[newer, newer], [older, older]]));
}

#[tokio::test]
async fn w12_a_message_told_again_keeps_its_edit() {
    let world = World::new().await;
    quiet(&world).await;
    let process = world.serve().await;
    let first = body(&[("messages", json!({"messages": [text("wamid.1", "549", "frist")]}))]);
    let edit = json!({"original_message_id": "wamid.1", "message": {"type": "text", "text": {"body": "first"}}});
    let edit = json!({"id": "wamid.2", "from": "549", "timestamp": (now() + 1).to_string(), "type": "edit", "edit": edit});
    for body in [first.clone(), body(&[("messages", json!({"messages": [edit]}))]), first] {
        world.webhook(&process, body).await;
        settled(&world).await;
    }
    assert_eq!(world.count("public.messages where content->>'text' = 'first' and extra #>> '{edits,0,before,text}' = 'frist'").await, 1);
    assert_eq!(world.count("public.messages").await, 1);
}

#[tokio::test]
async fn w15_edits_and_revocations_wait_for_their_message() {
    let world = World::new().await;
    quiet(&world).await;
    let process = world.serve().await;
    let edit = json!({"original_message_id": "wamid.1", "message": {"type": "text", "text": {"body": "second"}}});
    let edit = json!({"id": "wamid.e", "from": "549", "timestamp": (now() + 1).to_string(), "type": "edit", "edit": edit});
    let revoke =
        json!({"id": "wamid.r", "from": "549", "timestamp": (now() + 1).to_string(), "type": "revoke", "revoke": {"original_message_id": "wamid.2"}});
    world.webhook(&process, body(&[("messages", json!({"messages": [edit, revoke]}))])).await;
    settled(&world).await;
    assert_eq!(world.count("public.messages").await, 0);
    world.webhook(&process, body(&[("messages", json!({"messages": [text("wamid.1", "549", "first"), text("wamid.2", "549", "oops")]}))])).await;
    settled(&world).await;
    assert_eq!(world.count("public.messages where external_id = 'wamid.1' and content->>'text' = 'second'").await, 1);
    assert_eq!(world.count("public.messages where external_id = 'wamid.2' and status ? 'deleted'").await, 1);
}

#[tokio::test]
async fn w18_an_address_book_told_three_times_makes_one_contact() {
    let world = World::new().await;
    quiet(&world).await;
    let process = world.serve().await;
    for n in 0..3 {
        let contact = json!({"full_name": "Ana Diaz", "first_name": "Ana", "phone_number": "15550002222"});
        let sync = json!({"type": "contact", "contact": contact, "action": "add", "metadata": {"timestamp": (now() + n).to_string()}});
        world.webhook(&process, body(&[("smb_app_state_sync", json!({"state_sync": [sync]}))])).await;
        settled(&world).await;
    }
    assert_eq!(world.count("public.contacts where name = 'Ana Diaz'").await, 1);
    assert_eq!(world.count("public.contacts").await, 1);
}

#[tokio::test]
async fn w19_a_message_of_a_group_is_not_filed_under_its_sender() {
    let world = World::new().await;
    quiet(&world).await;
    let process = world.serve().await;
    let mut grouped = text("wamid.g", "549", "to all");
    grouped["group_id"] = json!("G1");
    world.webhook(&process, body(&[("messages", json!({"messages": [grouped, text("wamid.p", "549", "to you")]}))])).await;
    world.until("two threads", "select count(*) = 2 and count(distinct conversation_id) = 2 from public.messages").await;
    assert_eq!(world.count("public.messages where external_id = 'wamid.g' and group_address = 'G1'").await, 1);
    assert_eq!(world.count("public.messages where external_id = 'wamid.p' and group_address is null").await, 1);
}

#[tokio::test]
async fn w20_files_of_a_phones_history_are_not_answered() {
    let world = World::new().await;
    world.furnished().await;
    let process = world.serve().await;
    let media = world.sandbox.media(|m| m.put(b"old", "image/png"));
    let image = json!({"id": "wamid.1", "from": "549", "timestamp": (now() - 30 * 86_400).to_string(), "type": "image",
        "image": {"id": media, "mime_type": "image/png"}});
    // Without the placeholder that should have come before.
    world.webhook(&process, body(&[("history", json!({"contacts": [{"wa_id": "549"}], "messages": [image]}))])).await;
    world.until("it is stored", "select count(*) = 1 and bool_and(not status ? 'pending') from public.messages").await;
    world.idle().await;
    assert_eq!((world.sandbox.asked().len(), world.sandbox.sent().len()), (0, 0));
}

#[tokio::test]
async fn w23_an_event_of_an_account_is_everyones_and_revives_only_its_own() {
    let world = World::new().await;
    for number in ["111", "112", "113"] {
        let organization = world.organization(json!({})).await;
        world.number(organization, number).await;
    }
    world.execute("update public.organizations_addresses set status = 'disconnected' where address = '113'", &[]).await;
    let process = world.serve().await;
    let states = "select jsonb_object_agg(address, status) from public.organizations_addresses where service = 'whatsapp'";
    for (event, expected) in [("ACCOUNT_OFFBOARDED", "disconnected"), ("ACCOUNT_RECONNECTED", "connected")] {
        let change = json!({"field": "account_update", "value": {"event": event}});
        let body = json!({"object": "whatsapp_business_account", "entry": [{"id": "w", "changes": [change]}]});
        world.webhook(&process, body.to_string()).await;
        settled(&world).await;
        assert_eq!(world.value::<Value>(states, &[]).await, json!({"111": expected, "112": expected, "113": "disconnected"}), "{event}");
    }
}

#[tokio::test]
async fn d6_errors_of_answers_and_of_receipts_have_one_shape() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let process = world.serve().await;
    world.sandbox.set(|s| s.receipts = false);
    world.sandbox.fault(Fault { on: "messages".into(), code: Some(131_026), times: Some(1), ..Fault::default() });
    world.send(organization, "549", "refused at once").await;
    world.until("the answer is on the row", "select status ? 'failed' from public.messages").await;
    earlier(&world, organization, "wamid.out").await;
    let error = json!({"code": 131_026, "title": "Undeliverable", "message": "Undeliverable", "error_data": {"details": "no such phone"}});
    let status = json!({"id": "wamid.out", "status": "failed", "timestamp": now().to_string(), "recipient_id": "549", "errors": [error]});
    world.webhook(&process, envelope(&json!(NUMBER), &json!({"statuses": [status]})).to_string()).await;
    world.until("the receipt is on the row", "select count(*) = 2 from public.messages where status ? 'failed'").await;
    for message in world.messages().await {
        let errors = message["status"]["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{message}");
        let error = &errors[0];
        assert_eq!(error["code"], 131_026, "{error}");
        assert!(error["title"].is_string() && error["message"].is_string() && error["error_data"]["details"].is_string(), "{error}");
    }
}

#[tokio::test]
async fn d15_what_was_taken_back_before_it_was_sent_is_not_sent() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let id = world.send(organization, "549", "taken back").await;
    world.send(organization, "549", "meant").await;
    world.execute("select public.cancel_message($1, $2)", &[&organization, &id]).await;
    let _process = world.serve().await;
    eventually("the other is sent", || async { world.sandbox.sent().len() == 1 }).await;
    world.idle().await;
    let sent = world.sandbox.sent();
    assert_eq!((sent.len(), &sent[0]["body"]["text"]["body"]), (1, &json!("meant")));
}
