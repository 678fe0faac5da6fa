//! Everything that WhatsApp can send, by inserting a row; the sandbox refuses what Graph would refuse.

use serde_json::{Value, json};
use tidings::sandbox::Fault;
use uuid::Uuid;

use crate::support::*;

const INSERT: &str = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
    values ($1, '111', '15550002222', 'whatsapp', 'outgoing', $2) returning id";

fn data(kind: &str, data: Value) -> Value {
    json!({"version": "1", "type": "data", "kind": kind, "data": data})
}

fn file(kind: &str, uri: &str, mime_type: &str) -> Value {
    json!({"version": "1", "type": "file", "kind": kind, "file": {"uri": uri, "mime_type": mime_type, "name": "a.bin"}})
}

fn interactive(object: Value) -> Value {
    let mut object = object;
    if object["body"].is_null() && object["type"] != "product" {
        object["body"] = json!({"text": "Please choose"});
    }
    data("interactive", object)
}

fn template(components: Value) -> Value {
    data("template", json!({"name": "order_update", "language": {"code": "en_US"}, "components": components}))
}

/// One of every kind, and what has to be in the request for it.
fn everything() -> Vec<(Value, &'static str)> {
    let image = json!({"type": "image", "image": {"link": "https://example.com/a.png"}});
    let card = |i: u8| {
        json!({"card_index": i, "type": "cta_url", "header": image, "body": {"text": "A card"},
        "action": {"name": "cta_url", "parameters": {"display_text": "Open", "url": "https://example.com"}}})
    };
    vec![
        (json!({"version": "1", "type": "text", "kind": "text", "text": "see https://example.com", "preview_url": true}), "\"preview_url\":true"),
        (json!({"version": "1", "type": "text", "kind": "text", "text": "a reply", "re_message_id": "wamid.x"}), "\"message_id\":\"wamid.x\""),
        (json!({"version": "1", "type": "text", "kind": "reaction", "text": "👍", "re_message_id": "wamid.x"}), "\"emoji\":\"👍\""),
        (json!({"version": "1", "type": "text", "kind": "reaction", "text": "", "re_message_id": "wamid.x"}), "\"emoji\":\"\""),
        (file("image", "https://example.com/a.png", "image/png"), "\"image\":{\"link\""),
        (file("video", "https://example.com/a.mp4", "video/mp4"), "\"video\":{\"link\""),
        (file("document", "https://example.com/a.pdf", "application/pdf"), "\"filename\":\"a.bin\""),
        (file("sticker", "https://example.com/a.webp", "image/webp"), "\"sticker\":{\"link\""),
        (file("audio", "https://example.com/a.ogg", "audio/ogg"), "\"audio\":{\"link\""),
        (data("location", json!({"latitude": -34.6, "longitude": -58.4, "name": "Here"})), "\"latitude\":-34.6"),
        (data("contacts", json!([{"name": {"formatted_name": "Ana B", "first_name": "Ana"}, "phones": [{"phone": "+1555"}]}])), "\"contacts\":[{"),
        (template(json!([])), "\"template\":{"),
        (
            template(json!([{"type": "header", "parameters": [image]},
            {"type": "body", "parameters": [{"type": "text", "parameter_name": "who", "text": "Ana"}, {"type": "currency", "currency": {"fallback_value": "$1", "code": "USD", "amount_1000": 1000}}, {"type": "date_time", "date_time": {"fallback_value": "today"}}]},
            {"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": "x"}]},
            {"type": "button", "sub_type": "quick_reply", "index": 1, "parameters": [{"type": "payload", "payload": "yes"}]},
            {"type": "button", "sub_type": "copy_code", "index": "2", "parameters": [{"type": "coupon_code", "coupon_code": "SALE"}]},
            {"type": "button", "sub_type": "flow", "index": "3", "parameters": [{"type": "action", "action": {"flow_token": "t"}}]},
            {"type": "button", "sub_type": "catalog", "index": "4", "parameters": [{"type": "action", "action": {"thumbnail_product_retailer_id": "p"}}]}])),
            "\"parameter_name\":\"who\"",
        ),
        (
            template(
                json!([{"type": "limited_time_offer", "parameters": [{"type": "limited_time_offer", "limited_time_offer": {"expiration_time_ms": 1_900_000_000_000u64}}]}]),
            ),
            "expiration_time_ms",
        ),
        (
            template(
                json!([{"type": "carousel", "cards": [{"card_index": 0, "components": [{"type": "body", "parameters": [{"type": "text", "text": "a"}]}]}]}]),
            ),
            "\"cards\":[{",
        ),
        (
            template(
                json!([{"type": "body", "parameters": [{"type": "text", "text": "123456"}]}, {"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": "123456"}]}]),
            ),
            "123456",
        ),
        (interactive(json!({"type": "button", "action": {"buttons": [{"type": "reply", "reply": {"id": "1", "title": "Yes"}}]}})), "\"buttons\":[{"),
        (
            interactive(json!({"type": "list", "action": {"button": "Menu", "sections": [{"title": "A", "rows": [{"id": "1", "title": "One"}]}]}})),
            "\"sections\":[{",
        ),
        (
            interactive(
                json!({"type": "cta_url", "action": {"name": "cta_url", "parameters": {"display_text": "Open", "url": "https://example.com"}}}),
            ),
            "cta_url",
        ),
        (
            interactive(
                json!({"type": "flow", "action": {"name": "flow", "parameters": {"flow_message_version": "3", "flow_id": "1", "flow_cta": "Start", "flow_token": "t"}}}),
            ),
            "flow_cta",
        ),
        (interactive(json!({"type": "product", "action": {"catalog_id": "1", "product_retailer_id": "p"}})), "product_retailer_id"),
        (
            interactive(
                json!({"type": "product_list", "header": {"type": "text", "text": "Goods"}, "action": {"catalog_id": "1", "sections": [{"title": "A", "product_items": [{"product_retailer_id": "p"}]}]}}),
            ),
            "product_items",
        ),
        (
            interactive(
                json!({"type": "catalog_message", "action": {"name": "catalog_message", "parameters": {"thumbnail_product_retailer_id": "p"}}}),
            ),
            "catalog_message",
        ),
        (interactive(json!({"type": "location_request_message", "action": {"name": "send_location"}})), "send_location"),
        (interactive(json!({"type": "address_message", "action": {"name": "address_message", "parameters": {"country": "IN"}}})), "address_message"),
        (interactive(json!({"type": "call_permission_request", "action": {"name": "call_permission_request"}})), "call_permission_request"),
        (interactive(json!({"type": "carousel", "action": {"cards": [card(0), card(1)]}})), "card_index"),
        (interactive(json!({"type": "request_contact_info", "action": {"name": "request_contact_info"}})), "request_contact_info"),
    ]
}

#[tokio::test]
async fn every_kind_goes_out_as_graph_takes_it() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let _process = world.serve().await;
    let all = everything();
    for (content, _) in &all {
        world.execute(INSERT, &[&organization, content]).await;
    }
    world.until("all are settled", "select bool_and(status ?| '{accepted,failed}') from public.messages where direction = 'outgoing'").await;
    let failed: Vec<Value> = world.messages().await.into_iter().filter(|m| !m["status"]["failed"].is_null()).collect();
    assert_eq!(failed, Vec::<Value>::new());
    let sent = world.sandbox.sent();
    assert_eq!(sent.len(), all.len());
    for ((content, part), sent) in all.iter().zip(&sent) {
        let body = sent["body"].to_string();
        assert!(body.contains(part), "{content}: {body}");
    }
}

#[tokio::test]
async fn a_kind_that_nobody_here_knows_is_passed_through() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let _process = world.serve().await;
    world.execute(INSERT, &[&organization, &data("hologram", json!({"depth": 3}))]).await;
    // The sandbox does not know it either, and its words reach the row.
    world.until("Graph has refused it", "select status->'errors'->0->>'code' = '131051' from public.messages where status ? 'failed'").await;
}

#[tokio::test]
async fn marketing_messages_and_groups() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let _process = world.serve().await;
    let mut marketing = template(json!([]));
    marketing["marketing"] = json!({"product_policy": "CLOUD_API_FALLBACK", "message_activity_sharing": true});
    world.execute(INSERT, &[&organization, &marketing]).await;
    let group = "insert into public.messages (organization_id, organization_address, group_address, service, direction, content)
        values ($1, '111', 'G1', 'whatsapp', 'outgoing', $2)";
    world.execute(group, &[&organization, &text_content("to all of you")]).await;
    eventually("both are sent", || async { world.sandbox.sent().len() == 2 }).await;
    let sent = world.sandbox.sent();
    let of = |kind: &str| sent.iter().find(|s| s["body"]["type"] == kind).unwrap()["body"].clone();
    assert_eq!(of("template")["product_policy"], "CLOUD_API_FALLBACK");
    assert_eq!((of("text")["recipient_type"].clone(), of("text")["to"].clone()), (json!("group"), json!("G1")));
}

#[tokio::test]
async fn what_would_surely_be_refused_is_refused_at_insert_by_field_and_limit() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let long = "x".repeat(300);
    let title = |title: &str| json!({"type": "reply", "reply": {"id": "1", "title": title}});
    let buttons = |list: Value| interactive(json!({"type": "button", "action": {"buttons": list}}));
    for (content, problem) in [
        (
            buttons(json!([title("This title has more than twenty")])),
            "messages.content.data.action.buttons[0].reply.title has 31 characters; at most 20",
        ),
        (buttons(json!([title("a"), title("b"), title("c"), title("d")])), "messages.content.data.action.buttons has 4 elements; at most 3"),
        (buttons(json!([title("a"), title("a")])), "messages.content.data.action.buttons: reply.title \"a\" stands there twice"),
        (
            interactive(json!({"type": "button", "body": {"text": "x".repeat(1025)}, "action": {"buttons": [title("a")]}})),
            "messages.content.data.body.text has 1025 characters; at most 1024",
        ),
        (
            interactive(json!({"type": "list", "action": {"button": "Menu", "sections": [{"title": "A", "rows": [{"id": long, "title": "One"}]}]}})),
            "messages.content.data.action.sections[0].rows[0].id has 300 characters; at most 200",
        ),
        (data("template", json!({"name": "Not A Name", "language": {"code": "en"}})), "messages.content.data.name is not of the form"),
        (data("contacts", json!([{"name": {"formatted_name": "Ana"}}])), "messages.content.data[0].name"),
        (
            json!({"version": "1", "type": "text", "kind": "text", "text": "x", "fallback": {"name": "hello"}}),
            "messages.content.fallback.language is missing",
        ),
    ] {
        let refusal = world.refusal(INSERT, &[&organization, &content]).await;
        assert!(refusal.starts_with(problem), "{refusal}\n{content}");
    }
    // What the limits do not forbid passes: a caption of 1024 characters on the phone has more as Markdown.
    let mut caption = file("image", "https://example.com/a.png", "image/png");
    caption["text"] = json!(format!("**{}**", "x".repeat(1022)));
    world.execute(INSERT, &[&organization, &caption]).await;
    let schema: Value = world.value("select public.content_schema()", &[]).await;
    let published: Value = serde_json::from_str(include_str!("../../schema/content.json")).unwrap();
    assert_eq!(schema, published, "the published schema and the one that is checked are one");
}

#[tokio::test]
async fn outside_the_window_only_templates_and_fallbacks() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.execute("update public.agents set extra = '{\"mode\": \"inactive\"}'", &[]).await;
    let process = world.serve().await;
    world.webhook(&process, text_webhook(NUMBER, "15550002222", "wamid.old", now() - 25 * 3600, "hello?").to_string()).await;
    world.until("the window is closed", "select state = 'closed' from public.conversations_windows").await;
    world.execute(INSERT, &[&organization, &text_content("too late")]).await;
    world
        .until(
            "it fails at once",
            "select status ? 'failed' and status->'errors'->0->>'code' = '131047' from public.messages where content->>'text' = 'too late'",
        )
        .await;
    assert_eq!(world.sandbox.sent().len(), 0, "Meta was not even asked");
    let mut with_fallback = text_content("too late as well");
    with_fallback["fallback"] = json!({"name": "please_write", "language": {"code": "en"}});
    world.execute(INSERT, &[&organization, &with_fallback]).await;
    world.execute(INSERT, &[&organization, &template(json!([]))]).await;
    eventually("two templates are sent", || async { world.sandbox.sent().len() == 2 }).await;
    assert_eq!(world.sandbox.sent()[0]["body"]["template"]["name"], "please_write");
    world
        .until(
            "the row says so",
            "select status ? 'fallback' and status ? 'accepted' from public.messages where content->>'text' = 'too late as well'",
        )
        .await;
    // He writes again, and may be answered.
    world.webhook(&process, text_webhook(NUMBER, "15550002222", "wamid.new", now(), "now!").to_string()).await;
    world.until("the window is open", "select state = 'open' from public.conversations_windows").await;
    world.execute(INSERT, &[&organization, &text_content("in time")]).await;
    eventually("it is sent", || async { world.sandbox.sent().len() == 3 }).await;
}

#[tokio::test]
async fn the_window_is_judged_when_the_message_is_sent() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let process = world.serve().await;
    // Open now, closed in two seconds: what is scheduled for then fails.
    world.execute("update public.agents set extra = '{\"mode\": \"inactive\"}'", &[]).await;
    world.webhook(&process, text_webhook(NUMBER, "15550002222", "wamid.1", now() - 23 * 3600 - 59 * 60 + 3, "hi").to_string()).await;
    world.until("it is there", "select count(*) = 1 from public.messages").await;
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content, timestamp)
        values ($1, '111', '15550002222', 'whatsapp', 'outgoing', $2, now() + interval '4 s')";
    world.execute(sql, &[&organization, &text_content("later")]).await;
    world.until("it has failed", "select status->'errors'->0->>'code' = '131047' from public.messages where direction = 'outgoing'").await;
}

#[tokio::test]
async fn canonical_addresses_are_learnt_and_lead_to_one_thread() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.execute("update public.agents set extra = '{\"mode\": \"inactive\"}'", &[]).await;
    let process = world.serve().await;
    // Dialled with the 9, written back without it; Brazil's ninth digit; Mexico's 1.
    for (dialled, real) in [("5491155550001", "541155550001"), ("5511987654321", "551187654321"), ("5215512345678", "525512345678")] {
        world.send(organization, dialled, "hola").await;
        world.until("it is sent", &format!("select status ? 'accepted' from public.messages where contact_address = '{dialled}'")).await;
        world.webhook(&process, text_webhook(NUMBER, real, &format!("wamid.{real}"), now(), "hola!").to_string()).await;
        world
            .until(
                "it is one thread",
                &format!("select count(*) = 1 from public.messages where direction = 'incoming' and contact_address = '{dialled}'"),
            )
            .await;
    }
    assert_eq!(world.count("public.conversations where service = 'whatsapp'").await, 3);
    // A landline has only the one form.
    world.send(organization, "551132165498", "x").await;
    world.webhook(&process, text_webhook(NUMBER, "5511932165498", "wamid.land", now(), "y").to_string()).await;
    world.until("it is another person", "select count(*) = 5 from public.conversations where service = 'whatsapp'").await;
}

#[tokio::test]
async fn phone_and_user_id_become_one_person_when_they_come_together() {
    let world = World::new().await;
    let organization = world.organization(json!({"response_delay_seconds": 3600})).await;
    world.number(organization, NUMBER).await;
    let process = world.serve().await;
    let say = |id: &str, contact: Value, from: Value| {
        let mut message = json!({"id": id, "timestamp": now().to_string(), "type": "text", "text": {"body": id}});
        message.as_object_mut().unwrap().extend(from.as_object().unwrap().clone());
        tidings::sandbox::phone::envelope(&json!(NUMBER), &json!({"contacts": [contact], "messages": [message]})).to_string()
    };
    world.webhook(&process, say("wamid.1", json!({"wa_id": "15550003333"}), json!({"from": "15550003333"}))).await;
    world.webhook(&process, say("wamid.2", json!({"user_id": "US.99"}), json!({"from_user_id": "US.99"}))).await;
    world.until("two strangers", "select count(*) = 2 from public.conversations where status = 'active' and service = 'whatsapp'").await;
    world
        .webhook(
            &process,
            say("wamid.3", json!({"wa_id": "15550003333", "user_id": "US.99"}), json!({"from": "15550003333", "from_user_id": "US.99"})),
        )
        .await;
    world.until("one thread with all three", "select count(*) = 3 and count(distinct conversation_id) = 1 from public.messages").await;
    world.webhook(&process, say("wamid.4", json!({"user_id": "US.99"}), json!({"from_user_id": "US.99"}))).await;
    world.until("the id alone finds it too", "select count(*) = 4 and count(distinct conversation_id) = 1 from public.messages").await;
    assert_eq!(world.count("public.conversations where status = 'active' and service = 'whatsapp'").await, 1);
    // And whoever writes to the id reaches the thread.
    world.send(organization, "US.99", "to you").await;
    world.until("the same thread", "select count(distinct conversation_id) = 1 and count(*) = 5 from public.messages").await;
}

#[tokio::test]
async fn scheduled_messages_can_be_taken_back_until_they_are_sent() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let _process = world.serve().await;
    let later = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content, timestamp)
        values ($1, '111', '549', 'whatsapp', 'outgoing', $2, now() + interval '1 hour') returning id";
    let id: Uuid = world.value(later, &[&organization, &text_content("x")]).await;
    world.execute("select public.cancel_message($1, $2)", &[&organization, &id]).await;
    world.idle().await;
    assert!(world.value::<bool>("select status ? 'canceled' from public.messages", &[]).await);
    let sent = world.send(organization, "549", "y").await;
    world.until("sent", "select status ? 'accepted' from public.messages where content->>'text' = 'y'").await;
    let refusal = world.refusal("select public.cancel_message($1, $2)", &[&organization, &sent]).await;
    assert!(refusal.contains("no longer waiting"), "{refusal}");
    assert_eq!(world.sandbox.sent().len(), 1);
}

#[tokio::test]
async fn a_failed_message_can_be_sent_again() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let _process = world.serve().await;
    world.sandbox.fault(Fault { on: "messages".into(), times: Some(1), code: Some(131_026), ..Fault::default() });
    let id = world.send(organization, "549", "x").await;
    world.until("failed", "select status ? 'failed' from public.messages").await;
    world.execute("select public.retry_message($1, $2)", &[&organization, &id]).await;
    world.until("sent", "select status ? 'accepted' and not status ? 'failed' and not status ? 'errors' from public.messages").await;
    assert_eq!(world.sandbox.sent().len(), 1);
    let refusal = world.refusal("select public.retry_message($1, $2)", &[&organization, &id]).await;
    assert!(refusal.contains("has not failed"), "{refusal}");
}

#[tokio::test]
async fn a_conversation_is_marked_read_by_one_receipt() {
    let world = World::new().await;
    let organization = world.organization(json!({"response_delay_seconds": 3600})).await;
    world.number(organization, NUMBER).await;
    let process = world.serve().await;
    for n in 0..3 {
        world.webhook(&process, text_webhook(NUMBER, "549", &format!("wamid.{n}"), now() - 10 + n, "x").to_string()).await;
    }
    world.until("they are there", "select count(*) = 3 from public.messages").await;
    let conversation: Uuid = world.value("select id from public.conversations where service = 'whatsapp'", &[]).await;
    let read: i32 = world.value("select public.mark_conversation_read($1, $2, true)", &[&organization, &conversation]).await;
    assert_eq!(read, 3);
    eventually("Meta hears of it", || async { !world.sandbox.read().is_empty() }).await;
    world.until("done", "select not exists (select from bus.tasks where queue = 'receipts')").await;
    let receipts = world.sandbox.read();
    assert_eq!(receipts.last().unwrap()["message_id"], "wamid.2");
    assert!(receipts.len() <= 2 && receipts.last().unwrap()["typing_indicator"].is_object(), "{receipts:?}");
}

#[tokio::test]
async fn what_is_known_of_a_template_explains_a_refusal_and_never_blocks() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let _process = world.serve().await;
    world
        .execute("insert into public.templates (organization_id, organization_address, name, language, category, status, components, external_id)
            values ($1, '111', 'order_update', 'en_US', 'UTILITY', 'APPROVED', '[{\"type\": \"BODY\", \"text\": \"Hello {{1}}, it is {{2}} o clock.\"}]', '1')", &[&organization])
        .await;
    // Ours may be out of date: Meta decides.
    world.execute(INSERT, &[&organization, &template(json!([]))]).await;
    eventually("it is sent", || async { world.sandbox.sent().len() == 1 }).await;
    world.sandbox.fault(Fault { on: "messages".into(), times: Some(1), code: Some(132_000), ..Fault::default() });
    world.execute(INSERT, &[&organization, &template(json!([{"type": "body", "parameters": [{"type": "text", "text": "Ana"}]}]))]).await;
    let hint = "select status->'errors'->0->>'hint' = 'the body of the template has 2 variables, the message gives 1' from public.messages where status ? 'failed'";
    world.until("the refusal is explained", hint).await;
}
