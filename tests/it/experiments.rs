//! Observed behaviour of such systems, and how it comes out here (E6 to E9, E11, E17 to E20), on the level of SQL.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::*;

const INSERT: &str = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content, external_id)
    values ($1, $2, $3, 'whatsapp', ($4::text)::public.direction, $5, $6) returning id";

impl World {
    async fn insert(&self, organization: Uuid, to: &str, direction: &str, external_id: Option<&str>) -> Uuid {
        self.value(INSERT, &[&organization, &NUMBER, &to, &direction, &text_content("x"), &external_id]).await
    }
}

#[tokio::test]
async fn e6_a_live_message_asks_for_exactly_one_answer() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.insert(organization, "549", "incoming", Some("wamid.1")).await;
    assert_eq!(world.count("bus.tasks where queue = 'agent'").await, 1);
    // Imported history is inert.
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content, status)
        values ($1, '111', '550', 'whatsapp', 'incoming', $2, '{\"delivered\": \"2026-01-01T00:00:00+00:00\"}')";
    world.execute(sql, &[&organization, &text_content("old")]).await;
    assert_eq!(world.count("bus.tasks where queue <> 'seal'").await, 1);
}

#[tokio::test]
async fn e7_the_first_read_and_typing_reach_whatsapp() {
    let world = World::new().await;
    let organization = world.organization(json!({})).await;
    world.number(organization, NUMBER).await;
    let _process = world.serve().await;
    world.insert(organization, "549", "incoming", Some("wamid.1")).await;
    for expected in 1..=2 {
        world.execute("update public.messages set status = jsonb_build_object('read', clock_timestamp(), 'typing', clock_timestamp())", &[]).await;
        eventually("the receipt", || async { world.sandbox.read().len() == expected }).await;
    }
    let receipt = world.sandbox.read().remove(0);
    assert_eq!(receipt, json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.1", "typing_indicator": {"type": "text"}}));
}

#[tokio::test]
async fn e8_people_pause_the_agent_and_programs_do_not() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let paused = || world.count("public.conversations where extra ? 'paused'");
    world.insert(organization, "549", "outgoing", None).await;
    assert_eq!(paused().await, 0, "a send over the API");
    let person: Uuid =
        world.value("insert into public.agents (organization_id, name, ai) values ($1, 'Ana', false) returning id", &[&organization]).await;
    let by = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content, agent_id, status)
        values ($1, '111', '549', 'whatsapp', 'outgoing', $2, $3, ($4::text)::jsonb)";
    let pending = "{\"pending\": \"2026-01-01T00:00:00+00:00\"}";
    world.execute(by, &[&organization, &text_content("x"), &person, &pending]).await;
    assert_eq!(paused().await, 1, "a person of the organization");
    world.execute("update public.conversations set extra = '{\"paused\": null}'", &[]).await;
    assert_eq!(paused().await, 0, "null clears it");
    world.execute(by, &[&organization, &text_content("x"), &None::<Uuid>, &"{\"sent\": \"2026-01-01T00:00:00+00:00\"}"]).await;
    assert_eq!(paused().await, 1, "the business, on its phone");
}

#[tokio::test]
async fn e9_a_status_makes_no_message_no_conversation_and_no_pause() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let process = world.serve().await;
    world.sandbox.set(|s| s.receipts = false);
    world.send(organization, "549", "x").await;
    world.until("accepted", "select external_id is not null from public.messages").await;
    let id: String = world.value("select external_id from public.messages", &[]).await;
    world.execute("update public.conversations set status = 'closed'", &[]).await;
    for id in [id.as_str(), "wamid.unknown"] {
        world.webhook(&process, status_webhook(NUMBER, id, "delivered", now(), None).to_string()).await;
    }
    world.until("the known one is applied", "select status ? 'delivered' from public.messages").await;
    world.idle().await;
    assert_eq!(world.count("public.messages").await, 1);
    assert_eq!(world.count("public.conversations").await, 1);
    assert_eq!(world.count("public.conversations where extra ? 'paused'").await, 0);
    // Nor can a client make such a row.
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content, status)
        values ($1, '111', '549', 'whatsapp', 'outgoing', '{}', '{\"sent\": \"2026-01-01T00:00:00+00:00\"}')";
    assert_eq!(world.refusal(sql, &[&organization]).await, "messages.content.version is missing");
}

#[tokio::test]
async fn e11_concurrent_first_messages_share_one_conversation() {
    let world = World::new().await;
    let organization = world.furnished().await;
    for contact in ["new", "known"] {
        if contact == "known" {
            let sql = "insert into public.contacts_addresses (organization_id, service, address) values ($1, 'whatsapp', $2)";
            world.execute(sql, &[&organization, &contact]).await;
        }
        let all = (0..24).map(|_| world.insert(organization, contact, "incoming", None));
        futures_util::future::join_all(all).await;
        let conversations: i64 = world.value("select count(*) from public.conversations where contact_address = $1", &[&contact]).await;
        let messages: i64 = world.value("select count(*) from public.messages where contact_address = $1", &[&contact]).await;
        assert_eq!((conversations, messages), (1, 24), "{contact}");
    }
    assert_eq!(world.count("bus.tasks where queue = 'agent'").await, 2);
}

#[tokio::test]
async fn e17_and_e18_organizations_with_the_same_address_and_ids_stay_apart() {
    let world = World::new().await;
    let a = world.furnished().await;
    let first = world.insert(a, "549", "incoming", Some("wamid.1")).await;
    let b = world.organization(json!({})).await;
    world.number(b, NUMBER).await;
    let second = world.insert(b, "549", "incoming", Some("wamid.1")).await;
    assert_ne!(first, second);
    let rows: Value = world
        .value(
            "select jsonb_agg(jsonb_build_array(m.organization_id, c.organization_id) order by m.created_at) from public.messages m
            join public.conversations c on c.id = m.conversation_id",
            &[],
        )
        .await;
    assert_eq!(rows, json!([[a, a], [b, b]]));
    // A conversation of another organization cannot be named.
    let theirs: Uuid = world.value("select id from public.conversations where organization_id = $1", &[&a]).await;
    let sql = "insert into public.messages (organization_id, conversation_id, organization_address, contact_address, service, direction, content)
        values ($1, $2, '111', '549', 'whatsapp', 'incoming', $3)";
    assert!(world.refusal(sql, &[&b, &theirs, &text_content("x")]).await.contains("has no conversation"));
    // Traffic goes to whoever connected the number last, and back when it lets go.
    let owner = || world.value::<Uuid>("select organization_id from bus.numbers where address = '111'", &[]);
    assert_eq!(owner().await, b);
    world.execute("update public.organizations_addresses set status = 'disconnected' where organization_id = $1 and address = '111'", &[&b]).await;
    assert_eq!(owner().await, a);
}

#[tokio::test]
async fn e19_content_that_breaks_the_model_is_refused_by_field() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
        values ($1, '111', '549', 'whatsapp', 'outgoing', $2)";
    for (content, problem) in [
        (json!({"version": "1", "kind": "text", "text": "x"}), "messages.content.type is missing"),
        (json!({"version": "2", "type": "text", "kind": "text", "text": "x"}), "messages.content.version must be \"1\""),
        (json!({"version": "1", "type": "parts", "kind": "text"}), "messages.content.type must be \"text\", \"file\" or \"data\""),
        (json!({"version": "1", "type": "text", "kind": "text", "text": ""}), "messages.content.text must not be empty"),
        (json!({"version": "1", "type": "text", "kind": "text", "text": 7}), "messages.content.text must be a string"),
        (json!({"version": "1", "type": "text", "kind": "reaction", "text": "👍"}), "messages.content.re_message_id is missing"),
        (json!({"version": "1", "type": "file", "kind": "image", "file": {"mime_type": "image/png"}}), "messages.content.file.uri is missing"),
        (json!({"version": "1", "type": "data", "kind": "template", "data": {"name": "hello"}}), "messages.content.data.language is missing"),
        (json!({}), "messages.content.version is missing"),
        (json!("x"), "messages.content must be a JSON object"),
    ] {
        assert_eq!(world.refusal(sql, &[&organization, &content]).await, problem, "{content}");
    }
    let nowhere = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
        values ($1, '404', '549', 'whatsapp', 'outgoing', $2)";
    assert!(
        world.refusal(nowhere, &[&organization, &text_content("x")]).await.starts_with("messages.organization_address: 404 is no whatsapp address")
    );
    let never = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content, timestamp)
        values ($1, '111', '549', 'whatsapp', 'outgoing', $2, 'infinity')";
    assert!(world.refusal(never, &[&organization, &text_content("x")]).await.contains("messages_timestamp_finite"));
    let nobody = "insert into public.messages (organization_id, organization_address, service, direction, content) values ($1, '111', 'whatsapp', 'outgoing', $2)";
    assert!(world.refusal(nobody, &[&organization, &text_content("x")]).await.starts_with("messages.contact_address is missing"));
    assert_eq!(world.count("public.messages").await, 0);
    assert_eq!(world.count("public.conversations").await, 0);
}

#[tokio::test]
async fn e20_a_clock_that_is_ahead_delays_nothing() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let _process = world.serve().await;
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content, timestamp)
        values ($1, '111', '549', 'whatsapp', 'outgoing', $2, clock_timestamp() + interval '3 ms')";
    let began = std::time::Instant::now();
    world.execute(sql, &[&organization, &text_content("x")]).await;
    eventually("it is sent", || async { world.sandbox.sent().len() == 1 }).await;
    assert!(began.elapsed().as_millis() < 1000);
}

#[tokio::test]
async fn updates_merge_and_null_clears_a_key() {
    let world = World::new().await;
    let organization = world.organization(json!({"a": {"b": 1, "c": 2}, "list": [1, 2], "keep": true})).await;
    let change = |extra: Value| {
        let world = &world;
        async move {
            world.execute("update public.organizations set extra = $2 where id = $1", &[&organization, &extra]).await;
            world.value::<Value>("select extra from public.organizations where id = $1", &[&organization]).await
        }
    };
    assert_eq!(change(json!({"a": {"b": null, "d": 4}, "list": [3]})).await, json!({"a": {"c": 2, "d": 4}, "list": [3], "keep": true}));
    assert_eq!(change(json!({"a": {}})).await["a"], json!({"c": 2, "d": 4}));
    assert_eq!(change(json!({"a": null})).await, json!({"list": [3], "keep": true}));
    assert_eq!(change(json!("x")).await, json!({"list": [3], "keep": true}), "what is no object is ignored");
}

#[tokio::test]
async fn secrets_go_in_and_never_come_out() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let tools = json!([{"label": "crm", "config": {"headers": {"X-Key": "k1"}, "url": "https://x"}}, {"label": "db", "config": {"password": "p1", "host": "h"}}]);
    world.execute("update public.agents set extra = $1", &[&json!({"api_key": "sk-1", "tools": tools})]).await;
    let extra: Value = world.value("select extra from public.agents", &[]).await;
    assert_eq!(extra["api_key"], "[sealed]");
    assert_eq!(extra["tools"][0]["config"], json!({"headers": {"X-Key": "[sealed]"}, "url": "https://x"}));
    assert_eq!(extra["tools"][1]["config"], json!({"password": "[sealed]", "host": "h"}));
    // Writing back what was read keeps what is stored.
    world.execute("update public.agents set extra = $1", &[&extra]).await;
    let _process = world.serve().await;
    world.until("all are sealed", "select count(*) = 4 and bool_and(plain is null and sealed is not null) from secrets.credentials").await;
    let sealed: String = world.value("select string_agg(encode(sealed, 'escape'), ' ') from secrets.credentials", &[]).await;
    assert!(!sealed.contains("sk-1") && !sealed.contains("token-of"));
    // And null forgets it; deleting the row forgets all of it.
    world.execute("update public.agents set extra = '{\"api_key\": null}'", &[]).await;
    assert_eq!(world.count("secrets.credentials where path = 'api_key'").await, 0);
    world.execute("update public.organizations_addresses set extra = null where address = '111'", &[]).await;
    assert_eq!(world.count("secrets.credentials where subject = 'organizations_addresses'").await, 0);
    world.execute("delete from public.agents where organization_id = $1", &[&organization]).await;
    assert_eq!(world.count("secrets.credentials where subject = 'agents'").await, 0);
}

#[tokio::test]
async fn deleting_keeps_what_others_need() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let agent: Uuid = world.value("select id from public.agents", &[]).await;
    let id = world.insert(organization, "549", "outgoing", None).await;
    world.execute("update public.messages set agent_id = $1", &[&agent]).await;
    world.execute("delete from public.agents where id = $1", &[&agent]).await;
    assert!(world.value::<bool>("select agent_id is null from public.messages where id = $1", &[&id]).await);
    let contact: Uuid = world.value("insert into public.contacts (organization_id, name) values ($1, 'Ana') returning id", &[&organization]).await;
    world.execute("update public.contacts_addresses set contact_id = $1 where service = 'whatsapp'", &[&contact]).await;
    world.execute("delete from public.contacts where id = $1", &[&contact]).await;
    assert_eq!(world.count("public.contacts_addresses where service = 'whatsapp' and contact_id is null").await, 1);
    world.execute("delete from public.organizations where id = $1", &[&organization]).await;
    for table in ["public.messages", "public.conversations", "bus.tasks", "bus.lanes", "bus.numbers", "secrets.credentials"] {
        assert_eq!(world.count(table).await, 0, "{table}");
    }
}
