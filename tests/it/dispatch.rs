//! Sending: at most once, in order, within the limits, and never lost.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings::sandbox::Fault;

use crate::support::*;

fn fault(on: &str) -> Fault {
    Fault { on: on.into(), times: Some(1), ..Fault::default() }
}

#[tokio::test]
async fn killed_between_acceptance_and_commit_it_is_sent_once() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.execute("update bus.queues set lease = '1 s' where queue = 'dispatch'", &[]).await;
    // Graph takes the message and does not answer: that is where the process dies.
    world.sandbox.fault(Fault { accept: true, hang: true, ..fault("messages") });
    world.sandbox.set(|s| s.receipt_ms = 4000);
    let mut process = world.serve().await;
    let id = world.send(organization, "549", "once").await;
    eventually("Graph has it", || async { world.sandbox.sent().len() == 1 }).await;
    process.signal("-KILL");
    process.wait().await;
    let _process = world.serve().await;
    // The lease runs out; the message is held and says why.
    world.until("held", "select held_since is not null from bus.tasks where queue = 'dispatch'").await;
    let why: String = world.value("select why from bus.stuck where subject = $1", &[&id.to_string()]).await;
    assert!(why.starts_with("held"), "{why}");
    // A later message of the conversation does not wait for it.
    world.send(organization, "549", "next").await;
    world.until("both are settled", "select bool_and(status ? 'read' and not status ? 'errors') from public.messages").await;
    world.idle().await;
    assert_eq!(world.sandbox.sent().len(), 2, "one send each");
}

#[tokio::test]
async fn an_unknown_outcome_without_a_receipt_is_given_up_visibly_and_can_be_replayed() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.execute("update bus.queues set hold = '1 s' where queue = 'dispatch'", &[]).await;
    world.sandbox.fault(Fault { cut: true, ..fault("messages") });
    let process = world.serve().await;
    world.send(organization, "549", "x").await;
    world.until("failed", "select status ? 'failed' from public.messages").await;
    let errors: Value = world.value("select status->'errors' from public.messages", &[]).await;
    assert_eq!(errors[0]["code"], "unknown_outcome");
    assert_eq!(world.sandbox.sent().len(), 0);
    assert_eq!(world.count("bus.dead").await, 1);
    assert_eq!(world.count("public.logs where category = 'dispatch' and level = 'error'").await, 1);
    // A person decides that it shall be sent again.
    let (code, out) = world.run(&["replay", "--dead"]).await;
    assert_eq!((code, out.trim()), (0, "1 dead tasks put back"));
    world.until("sent", "select status ? 'read' and not status ? 'failed' and not status ? 'errors' from public.messages").await;
    assert_eq!(world.sandbox.sent().len(), 1);
    drop(process);
}

#[tokio::test]
async fn several_held_sends_of_a_conversation_come_due_together() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.sandbox.fault(Fault { cut: true, times: Some(3), ..fault("messages") });
    let process = world.serve().await;
    for n in 0..3 {
        world.send(organization, "549", &n.to_string()).await;
        world.until("held", &format!("select count(*) = {} from bus.tasks where held_since is not null", n + 1)).await;
        world.execute("update bus.lanes set strikes = 0, resume_at = null", &[]).await;
    }
    drop(process);
    // While nobody works, all of them pass their time, and another message waits behind them.
    world.execute("update bus.tasks set held_since = held_since - interval '1 hour', run_at = now()", &[]).await;
    world.send(organization, "549", "after").await;
    let _process = world.serve().await;
    world
        .until(
            "the three have failed, the other is read",
            "select count(*) filter (where status ? 'failed') = 3 and count(*) filter (where status ? 'read') = 1 from public.messages",
        )
        .await;
    world.idle().await;
}

#[tokio::test]
async fn a_retry_after_hours_does_not_hold_up_the_conversation() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.sandbox.fault(Fault { code: Some(131_049), ..fault("messages") });
    let _process = world.serve().await;
    world.send(organization, "549", "an offer").await;
    world.until("put off", "select errors is not null from bus.tasks").await;
    world.send(organization, "549", "an answer").await;
    world.until("the answer is read", "select bool_or(status ? 'read') from public.messages where content->>'text' = 'an answer'").await;
    assert!(world.value::<bool>("select run_at > now() + interval '23 hours' from bus.tasks", &[]).await);
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_the_receipt() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.sandbox.fault(Fault { accept: true, cut: true, ..fault("messages") });
    world.sandbox.set(|s| s.receipt_ms = 1500);
    let _process = world.serve().await;
    world.send(organization, "549", "x").await;
    world.until("the attempt's outcome is unknown", "select status->'errors'->0->>'code' = 'unknown_outcome' from public.messages").await;
    world.until("settled", "select status ? 'read' and external_id is not null and not status ? 'errors' from public.messages").await;
    world.idle().await;
    assert_eq!(world.sandbox.sent().len(), 1);
    assert_eq!(world.count("bus.dead").await, 0);
}

#[tokio::test]
async fn rejected_before_processing_it_is_sent_again() {
    let world = World::new().await;
    let organization = world.furnished().await;
    for (code, status) in [(131_056, 400), (130_429, 429), (4, 400)] {
        world.sandbox.fault(Fault { code: Some(code), status: Some(status), retry_after: Some(0), ..fault("messages") });
    }
    world.sandbox.fault(Fault { status: Some(429), retry_after: Some(1), ..fault("messages") });
    let _process = world.serve().await;
    world.send(organization, "549", "x").await;
    world.until("sent", "select status ? 'read' and not status ? 'failed' and not status ? 'errors' from public.messages").await;
    assert_eq!(world.sandbox.sent().len(), 1);
}

#[tokio::test]
async fn meta_away_delays_and_never_loses() {
    let mut world = World::new().await;
    let organization = world.furnished().await;
    let right = world.sandbox_url.clone();
    // Nobody listens there.
    world.sandbox_url = format!("http://127.0.0.1:{}", free_port());
    let mut process = world.serve().await;
    for n in 0..20 {
        world.send(organization, &format!("549{n}"), "x").await;
    }
    world.until("the number waits", "select strikes > 1 from bus.lanes where lane = '111'").await;
    assert_eq!(world.count("bus.tasks where queue = 'dispatch'").await, 20);
    assert_eq!(world.count("public.messages where status ? 'failed'").await, 0);
    let (_, out) = world.run(&["status", "--json"]).await;
    let status: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status["numbers"][0]["state"], "waiting", "{status}");
    process.signal("-TERM");
    assert_eq!(process.wait().await, 0);
    world.sandbox_url = right;
    let _process = world.serve().await;
    world.until("all are read", "select bool_and(status ? 'read') from public.messages").await;
    assert_eq!(world.sandbox.sent().len(), 20);
}

#[tokio::test]
async fn a_bad_token_pauses_the_number_and_a_new_one_resumes_it() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.sandbox.set(|s| s.token = "good".into());
    let _process = world.serve().await;
    world.send(organization, "549", "one").await;
    world.until("paused", "select paused_reason like '190%' from bus.lanes where lane = '111'").await;
    world.send(organization, "549", "two").await;
    let (_, out) = world.run(&["status"]).await;
    assert!(out.contains("paused") && out.contains("190"), "{out}");
    assert_eq!(world.count("public.logs where category = 'number'").await, 1);
    assert_eq!(world.count("public.messages where status ? 'failed'").await, 0);
    world.execute("update public.organizations_addresses set extra = '{\"access_token\": \"good\"}' where address = '111'", &[]).await;
    world.until("both are read", "select bool_and(status ? 'read') from public.messages").await;
    let texts: Vec<Value> = world.sandbox.sent().iter().map(|s| s["body"]["text"]["body"].clone()).collect();
    assert_eq!(texts, ["one", "two"]);
}

#[tokio::test]
async fn a_permanent_error_fails_the_message_only() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.sandbox.fault(Fault { code: Some(131_026), ..fault("messages") });
    let _process = world.serve().await;
    world.send(organization, "549", "one").await;
    world.send(organization, "549", "two").await;
    world.until("the second is read", "select count(*) = 1 from public.messages where status ? 'read'").await;
    let failed: Value = world.value("select status from public.messages where status ? 'failed'", &[]).await;
    assert_eq!(failed["errors"][0]["code"], 131_026);
    assert_eq!(failed["errors"][0]["error_data"]["details"], "as requested");
    world.idle().await;
}

#[tokio::test]
async fn two_processes_share_the_work_and_nothing_goes_out_twice() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.execute("update bus.lanes set rate = 100000", &[]).await;
    world.sandbox.set(|s| s.receipts = false);
    let _one = world.serve().await;
    let _two = world.serve_another().await;
    let insert = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
        select $1, '111', (5490000 + n)::text, 'whatsapp', 'outgoing', jsonb_build_object('version', '1', 'type', 'text', 'kind', 'text', 'text', n::text)
        from generate_series(1, 50) n";
    for _ in 0..20 {
        world.execute(insert, &[&organization]).await;
    }
    world.until("all are accepted", "select bool_and(status ? 'accepted') from public.messages").await;
    let ids: std::collections::HashSet<String> =
        world.sandbox.sent().iter().map(|s| s["body"]["biz_opaque_callback_data"].as_str().unwrap().to_owned()).collect();
    assert_eq!((world.sandbox.sent().len(), ids.len()), (1000, 1000));
}

#[tokio::test]
async fn a_hundred_conversations_stay_in_order_each() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.execute("update bus.lanes set rate = 100000", &[]).await;
    world.sandbox.set(|s| s.receipts = false);
    // Every send is slow by a different time, some are rejected once: nothing may overtake.
    for n in 0..60 {
        world.sandbox.fault(Fault { delay_ms: n * 7 % 40, code: (n % 5 == 0).then_some(131_056), retry_after: Some(0), ..fault("messages") });
    }
    let _one = world.serve().await;
    let _two = world.serve_another().await;
    for turn in 0..6 {
        let insert = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
            select $1, '111', (5490000 + n)::text, 'whatsapp', 'outgoing', jsonb_build_object('version', '1', 'type', 'text', 'kind', 'text', 'text', $2::text)
            from generate_series(1, 100) n order by random()";
        world.execute(insert, &[&organization, &turn.to_string()]).await;
    }
    world.until("all are accepted", "select bool_and(status ? 'accepted') from public.messages").await;
    let mut threads: std::collections::BTreeMap<String, String> = Default::default();
    for sent in world.sandbox.sent() {
        *threads.entry(sent["body"]["to"].to_string()).or_default() += sent["body"]["text"]["body"].as_str().unwrap();
    }
    assert_eq!(threads.len(), 100);
    assert!(threads.values().all(|order| order == "012345"), "{threads:?}");
}

#[tokio::test]
async fn one_organizations_broadcast_does_not_delay_anothers_answer() {
    let world = World::new().await;
    let big = world.furnished().await;
    let small = world.organization(json!({})).await;
    world.number(small, "222").await;
    world.execute("update bus.lanes set rate = 100000", &[]).await;
    world.sandbox.set(|s| s.receipts = false);
    world.sandbox.fault(Fault { on: "messages".into(), delay_ms: 20, ..Fault::default() });
    let _process = world.serve().await;
    let insert = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
        select $1, '111', (5490000 + n)::text, 'whatsapp', 'outgoing', $2 from generate_series(1, 10000) n";
    world.execute(insert, &[&big, &text_content("broadcast")]).await;
    eventually("the broadcast is under way", || async { world.sandbox.sent().len() > 50 }).await;
    let began = Instant::now();
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
        values ($1, '222', '549', 'whatsapp', 'outgoing', $2)";
    world.execute(sql, &[&small, &text_content("answer")]).await;
    // An answer of the big organization itself passes its own broadcast as well.
    let answer = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
        values ($1, '111', '777', 'whatsapp', 'outgoing', $2)";
    world.execute(answer, &[&big, &text_content("answer")]).await;
    eventually("both answers are out", || async { world.sandbox.sent().iter().filter(|s| s["body"]["text"]["body"] == "answer").count() == 2 }).await;
    let took = began.elapsed();
    let left: i64 = world.count("bus.tasks where queue = 'dispatch'").await;
    assert!(left > 2000, "the broadcast must still be going on: {left}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn the_limits_of_a_number_are_kept_by_all_processes_together() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.execute("update bus.lanes set rate = 40", &[]).await;
    world.sandbox.set(|s| {
        s.rate = 40;
        s.receipts = false;
    });
    let _one = world.serve().await;
    let _two = world.serve_another().await;
    let insert = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
        select $1, '111', (5490000 + n)::text, 'whatsapp', 'outgoing', $2 from generate_series(1, 120) n";
    let began = Instant::now();
    world.execute(insert, &[&organization, &text_content("x")]).await;
    world.until("all are accepted", "select bool_and(status ? 'accepted') from public.messages").await;
    let took = began.elapsed().as_secs_f64();
    assert!(took > 2.5, "faster than the limit allows: {took}");
    assert!(took < 8.0, "much slower than the limit allows: {took}");
    // A jittery machine may bunch two claims; more than a few refusals would mean that the limit is not shared.
    let refused = world.count("public.messages where status ? 'errors' or status ? 'failed'").await;
    assert_eq!(refused, 0);
}

#[tokio::test]
async fn the_limit_of_a_pair_delays_and_does_not_fail() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.execute("update bus.lanes set rate = 100000", &[]).await;
    world.sandbox.set(|s| {
        s.pairs = true;
        s.receipts = false;
    });
    let _process = world.serve().await;
    let insert = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
        select $1, '111', '549', 'whatsapp', 'outgoing', $2 from generate_series(1, 46)";
    world.execute(insert, &[&organization, &text_content("x")]).await;
    world.until("all are accepted", "select count(*) = 46 from public.messages where status ? 'accepted'").await;
    assert_eq!(world.count("public.messages where status ? 'errors' or status ? 'failed'").await, 0);
    let at = |n: usize| world.sandbox.sent()[n]["at_us"].as_i64().unwrap();
    let waited = (at(45) - at(0)) as f64 / 1e6;
    assert!((5.5..=12.0).contains(&waited), "45 go in a burst, the next waits for its turn: {waited} s");
}

#[tokio::test]
async fn a_scheduled_message_goes_out_on_time() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let _process = world.serve().await;
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content, timestamp)
        values ($1, '111', '549', 'whatsapp', 'outgoing', $2, now() + interval '2 s')";
    world.execute(sql, &[&organization, &text_content("later")]).await;
    world.send(organization, "549", "now").await;
    eventually("both are sent", || async { world.sandbox.sent().len() == 2 }).await;
    let sent = world.sandbox.sent();
    assert_eq!(sent[0]["body"]["text"]["body"], "now", "what is scheduled holds up nothing");
    let due: i64 =
        world.value("select (extract(epoch from timestamp) * 1000000)::bigint from public.messages where content->>'text' = 'later'", &[]).await;
    let late = sent[1]["at_us"].as_i64().unwrap() - due;
    assert!((0..500_000).contains(&late), "{late} µs late");
}

#[tokio::test]
async fn a_long_text_becomes_several_messages_at_paragraph_ends() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let _process = world.serve().await;
    let paragraphs: Vec<String> = (0..10).map(|n| format!("{n} {}", "word ".repeat(200).trim_end())).collect();
    // In one statement, so that both have the same time.
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
        select $1, '111', '549', 'whatsapp', 'outgoing', c from unnest(array[$2::jsonb, $3::jsonb]) with ordinality x (c, n) order by n";
    world.execute(sql, &[&organization, &text_content(&paragraphs.join("\n\n")), &text_content("after")]).await;
    world.until("all are read", "select count(*) = 4 and bool_and(status ? 'read') from public.messages").await;
    let bodies: Vec<String> = world.sandbox.sent().iter().map(|s| s["body"]["text"]["body"].as_str().unwrap().to_owned()).collect();
    assert_eq!(bodies.last().map(String::as_str), Some("after"));
    assert_eq!(bodies[..3].join("\n\n"), paragraphs.join("\n\n"));
}

#[tokio::test]
async fn what_cannot_be_sent_says_so_on_the_row() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let _process = world.serve().await;
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
        values ($1, '111', '549', 'whatsapp', 'outgoing', $2)";
    let content = |uri: &str| json!({"version": "1", "type": "file", "kind": "image", "file": {"uri": uri, "mime_type": "image/png"}});
    let refusal = world.refusal(sql, &[&organization, &content("internal://media/x")]).await;
    assert_eq!(refusal, "messages.content.file.uri is not a file of this organization");
    let missing = format!("internal://media/organizations/{organization}/attachments/x");
    assert_eq!(
        world.refusal(sql, &[&organization, &content(&missing)]).await,
        "messages.content.file.uri names a file that is not stored: upload it first"
    );
}
