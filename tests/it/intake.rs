//! What comes in: nothing is lost, nothing is stored twice, order does not matter.

use serde_json::{Value, json};
use tidings::sandbox::phone::envelope;

use crate::support::*;

#[tokio::test]
async fn duplicated_and_reordered_webhooks_leave_the_same_rows_as_clean_ones() {
    let mut results = Vec::new();
    for mess in [false, true] {
        let world = World::new().await;
        world.execute("insert into public.organizations (name) values ('No agent')", &[]).await;
        let organization: uuid::Uuid = world.value("select id from public.organizations", &[]).await;
        world.number(organization, NUMBER).await;
        let process = world.serve().await;
        let at = now() - 1000;
        let mut webhooks: Vec<Value> =
            (0..12).map(|n| text_webhook(NUMBER, &format!("549{}", n % 3), &format!("wamid.{n}"), at + n, &format!("text {n}"))).collect();
        world.execute("insert into public.messages (organization_id, organization_address, contact_address, service, direction, content, external_id, status, timestamp)
            select $1, '111', '5490', 'whatsapp', 'outgoing', '{\"version\":\"1\",\"type\":\"text\",\"kind\":\"text\",\"text\":\"out\"}', 'wamid.out', '{\"accepted\": \"2026-01-01T00:00:00+00:00\"}', to_timestamp($2::bigint)",
            &[&organization, &(at - 1)]).await;
        webhooks
            .extend(["sent", "delivered", "read"].iter().zip(1..).map(|(state, n)| status_webhook(NUMBER, "wamid.out", state, at + 100 + n, None)));
        if mess {
            let copies = webhooks.clone();
            webhooks.extend(copies);
            webhooks.reverse();
        }
        // At once, as Meta does.
        futures_util::future::join_all(webhooks.iter().map(|w| world.webhook(&process, w.to_string())))
            .await
            .iter()
            .for_each(|r| assert_eq!(r.status(), 200));
        world.idle().await;
        let rows = world
            .db
            .query(
                "select jsonb_build_object('id', m.external_id, 'to', m.contact_address, 'content', m.content, 'at', m.timestamp,
                'status', m.status - 'pending', 'conversation', dense_rank() over (order by c.contact_address))
             from public.messages m join public.conversations c on c.organization_id = m.organization_id and c.id = m.conversation_id
             order by m.external_id",
                &[],
            )
            .await
            .unwrap();
        let mut rows: Vec<Value> = rows.iter().map(|r| r.get(0)).collect();
        // The clock went on between the two runs.
        rows.iter_mut().for_each(|r| r["at"] = Value::Null);
        rows.iter_mut().for_each(|r| r["status"] = r["status"].as_object().unwrap().keys().cloned().collect());
        assert_eq!(world.count("public.conversations").await, 3);
        assert_eq!(world.count("bus.parked").await, 0);
        results.push(rows);
    }
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0].len(), 13);
}

#[tokio::test]
async fn a_status_keeps_its_earliest_time_and_a_late_sent_hides_no_read() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let process = world.serve().await;
    world.sandbox.set(|s| s.receipts = false);
    world.send(organization, "549", "x").await;
    world.until("accepted", "select external_id is not null from public.messages").await;
    let id: String = world.value("select external_id from public.messages", &[]).await;
    let at = now();
    for (state, at) in [("read", at + 5), ("sent", at + 1), ("read", at + 9), ("delivered", at + 3)] {
        world.webhook(&process, status_webhook(NUMBER, &id, state, at, None).to_string()).await;
        world.idle().await;
    }
    let times: Value = world.value("select jsonb_build_object('sent', extract(epoch from (status->>'sent')::timestamptz)::bigint, 'read', extract(epoch from (status->>'read')::timestamptz)::bigint) from public.messages", &[]).await;
    assert_eq!(times, json!({"sent": at + 1, "read": at + 5}));
}

#[tokio::test]
async fn receipts_wait_for_their_message() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let process = world.serve().await;
    for state in ["read", "sent"] {
        world.webhook(&process, status_webhook(NUMBER, "wamid.early", state, now(), None).to_string()).await;
    }
    world.until("they wait", "select status ?& '{sent,read}' from bus.orphans").await;
    assert_eq!(world.count("public.messages").await, 0);
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content, external_id, status)
        values ($1, '111', '549', 'whatsapp', 'outgoing', $2, 'wamid.early', '{\"accepted\": \"2026-01-01T00:00:00+00:00\"}')";
    world.execute(sql, &[&organization, &text_content("x")]).await;
    assert!(world.value::<bool>("select status ?& '{accepted,sent,read}' from public.messages", &[]).await);
    assert_eq!(world.count("bus.orphans").await, 0);
}

#[tokio::test]
async fn receipts_that_overtake_the_answer_of_the_send_are_applied() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let _process = world.serve().await;
    // Graph answers only when all three receipts have long been delivered.
    world.sandbox.set(|s| s.receipt_ms = 1);
    world.sandbox.fault(tidings::sandbox::Fault { on: "messages".into(), accept: true, delay_ms: 800, ..Default::default() });
    for n in 0..30 {
        world.send(organization, &format!("549{n}"), "x").await;
    }
    world.until("a receipt is applied before the answer", "select bool_or(status ? 'read' and not status ? 'accepted') from public.messages").await;
    world
        .until(
            "all are read",
            "select count(*) = 30 and bool_and(status ?& '{accepted,sent,delivered,read}' and external_id is not null) from public.messages",
        )
        .await;
    world.idle().await;
    assert_eq!(world.count("bus.orphans").await, 0);
    assert_eq!(world.sandbox.sent().len(), 30);
}

#[tokio::test]
async fn an_unknown_number_is_parked_and_replayed_when_it_appears() {
    let world = World::new().await;
    let organization = world.organization(json!({})).await;
    let process = world.serve().await;
    world.webhook(&process, text_webhook("999", "549", "wamid.1", now(), "hi").to_string()).await;
    world.until("it is parked", "select reason = 'unknown_number' and raw->'value'->'messages'->0->>'id' = 'wamid.1' from bus.parked").await;
    world.number(organization, "999").await;
    world.until("it is stored", "select count(*) = 1 from public.messages").await;
    world.idle().await;
    assert_eq!(world.count("bus.parked").await, 0);
}

#[tokio::test]
async fn nothing_is_stranded_when_a_number_appears_while_its_messages_arrive() {
    let world = World::new().await;
    let organization = world.organization(json!({})).await;
    let process = world.serve().await;
    for round in 0..6 {
        let number = format!("9{round}");
        let arrive = async {
            for n in 0..40 {
                world.webhook(&process, text_webhook(&number, "549", &format!("wamid.{round}.{n}"), now(), "x").to_string()).await;
            }
        };
        let register = async {
            tokio::time::sleep(std::time::Duration::from_millis(30 + 10 * round)).await;
            world.number(organization, &number).await;
        };
        tokio::join!(arrive, register);
        world.until("all are stored", &format!("select count(*) = 40 from public.messages where organization_address = '{number}'")).await;
    }
    world.idle().await;
    assert_eq!(world.count("bus.parked").await, 0);
}

#[tokio::test]
async fn whatever_is_not_understood_is_kept_and_shown() {
    let world = World::new().await;
    let organization = world.organization(json!({})).await;
    world.number(organization, NUMBER).await;
    let process = world.serve().await;
    for body in ["this is no JSON", "[1, 2]", "{\"object\": \"whatsapp_business_account\", \"entry\": 7}"] {
        assert_eq!(world.webhook(&process, body).await.status(), 200);
    }
    let hologram = json!({"id": "wamid.h", "from": "549", "timestamp": now().to_string(), "type": "hologram", "hologram": {"depth": 3}});
    let good = json!({"id": "wamid.g", "from": "549", "timestamp": now().to_string(), "type": "text", "text": {"body": "hi \u{0000}"}});
    world.webhook(&process, envelope(&json!(NUMBER), &json!({"messages": [hologram, good]})).to_string()).await;
    world.until("the neighbour is stored", "select content->>'text' = 'hi ' || U&'\\FFFD' from public.messages where external_id = 'wamid.g'").await;
    world.idle().await;
    assert_eq!(world.count("bus.parked").await, 3);
    let shown = "select content->'data' from public.messages where content->>'kind' = 'unsupported'";
    let shown = world.value::<Value>(shown, &[]).await;
    assert_eq!((&shown["type"], &shown["message"]["hologram"]), (&json!("hologram"), &json!({"depth": 3})));
    assert_eq!(world.count("bus.journal").await, 4);
    let (_, out) = world.run(&["status", "--json"]).await;
    let status: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status["journal"]["parked"], 3, "{status}");
    assert_eq!(status["journal"]["reasons"]["no_json"], 1);
    // They can be tried again, after an update that understands them.
    let (code, out) = world.run(&["replay", "--parked"]).await;
    assert_eq!((code, out.trim()), (0, "3 parked items put back"));
    world.idle().await;
    assert_eq!(world.count("bus.parked").await, 3);
    assert_eq!(world.count("public.messages where direction = 'incoming'").await, 2);
}

#[tokio::test]
async fn an_item_that_the_database_refuses_does_not_hold_up_its_neighbours() {
    let world = World::new().await;
    world.furnished().await;
    // Something in the database is in the way of one of them.
    world
        .execute(
            "create function public.refuse_one() returns trigger language plpgsql as $$ begin
        if new.external_id = 'wamid.3' then raise exception 'not this one'; end if; return new; end $$",
            &[],
        )
        .await;
    world.execute("create trigger a_refuse before insert on public.messages for each row execute function public.refuse_one()", &[]).await;
    let process = world.serve().await;
    let messages: Vec<Value> = (0..6)
        .map(|n| json!({"id": format!("wamid.{n}"), "from": "549", "timestamp": now().to_string(), "type": "text", "text": {"body": "x"}}))
        .collect();
    world.webhook(&process, envelope(&json!(NUMBER), &json!({"messages": messages})).to_string()).await;
    world.until("the others are stored", "select count(*) = 5 from public.messages where direction = 'incoming'").await;
    assert_eq!(world.value::<String>("select reason || ': ' || detail from bus.parked", &[]).await, "refused: not this one");
    // Once it is out of the way, the item can come in.
    world.execute("drop trigger a_refuse on public.messages", &[]).await;
    world.run(&["replay", "--parked"]).await;
    world.until("it is stored", "select count(*) = 6 from public.messages where direction = 'incoming'").await;
}

#[tokio::test]
async fn people_without_a_phone_can_write_and_be_answered() {
    let world = World::new().await;
    world.furnished().await;
    let process = world.serve().await;
    let user = "US.13491208655302741918";
    let value = json!({"contacts": [{"user_id": user, "profile": {"username": "ana"}}],
        "messages": [{"id": "wamid.1", "from_user_id": user, "timestamp": now().to_string(), "type": "text", "text": {"body": "hi"}}]});
    world.webhook(&process, envelope(&json!(NUMBER), &value).to_string()).await;
    eventually("an answer", || async {
        world.sandbox.sent().first().is_some_and(|s| s["body"]["recipient"] == user && s["body"].get("to").is_none())
    })
    .await;
    let extra: Value = world.value("select extra from public.contacts_addresses where service = 'whatsapp'", &[]).await;
    assert_eq!(extra, json!({"bsuid": user, "username": "ana", "address_type": "bsuid"}));
}

#[tokio::test]
async fn a_stream_of_webhooks_is_stored_to_the_last_one() {
    // Claims and new entries run into each other all the time.
    let world = World::new().await;
    let organization = world.organization(json!({})).await;
    world.number(organization, NUMBER).await;
    let process = world.serve().await;
    let writers = (0..16).map(|w| {
        let (world, process) = (&world, &process);
        async move {
            for n in 0..60 {
                let id = format!("wamid.{w}.{n}");
                assert_eq!(world.webhook(process, text_webhook(NUMBER, &format!("549{w}"), &id, now(), "x").to_string()).await.status(), 200);
            }
        }
    });
    futures_util::future::join_all(writers).await;
    world.until("all are stored", "select count(*) = 960 from public.messages").await;
    world.idle().await;
    assert_eq!(world.count("bus.dead").await, 0);
}

#[tokio::test]
async fn the_journal_is_kept_for_days_and_not_for_ever() {
    let world = World::new().await;
    let process = world.serve().await;
    world.webhook(&process, text_webhook("999", "549", "wamid.parked", now(), "x").to_string()).await;
    let organization = world.organization(json!({})).await;
    world.number(organization, NUMBER).await;
    for n in 0..3 {
        world.webhook(&process, text_webhook(NUMBER, "549", &format!("wamid.{n}"), now(), "x").to_string()).await;
    }
    world.idle().await;
    world.execute("update bus.journal set received_at = now() - interval '13 days'", &[]).await;
    world.execute("select bus.prune()", &[]).await;
    assert_eq!(world.count("bus.journal").await, 4);
    world.execute("update bus.journal set received_at = now() - interval '15 days'", &[]).await;
    world.execute("select bus.prune()", &[]).await;
    assert_eq!(world.count("bus.journal").await, 1, "what is parked stays");
}

#[tokio::test]
async fn a_thousand_items_in_one_body() {
    let world = World::new().await;
    let organization = world.organization(json!({})).await;
    world.number(organization, NUMBER).await;
    let process = world.serve().await;
    let messages: Vec<Value> = (0..1000)
        .map(|n| json!({"id": format!("wamid.{n}"), "from": format!("549{}", n % 50), "timestamp": (now() - 1000 + n).to_string(), "type": "text", "text": {"body": n.to_string()}}))
        .collect();
    world.webhook(&process, envelope(&json!(NUMBER), &json!({"messages": messages})).to_string()).await;
    world.until("all are stored", "select count(*) = 1000 and count(distinct conversation_id) = 50 from public.messages").await;
}
