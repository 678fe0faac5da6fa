//! The agent: when it answers, when it keeps quiet, and what it does when its model does not work.

use std::time::Duration;

use serde_json::{Value, json};
use tidings::sandbox::Fault;
use uuid::Uuid;

use crate::support::*;

async fn say(world: &World, text: &str) {
    world.sandbox.say(&json!({"from": "549", "number": NUMBER, "text": text})).await;
}

/// Waits until everything that was said has been dealt with.
async fn settled(world: &World, said: i64) {
    world.until("everything is stored", &format!("select count(*) >= {said} from public.messages where direction = 'incoming'")).await;
    world.idle().await;
}

async fn answers(world: &World) -> Vec<Value> {
    world.messages().await.into_iter().filter(|m| m["direction"] == "outgoing").map(|m| m["content"]["text"].clone()).collect()
}

#[tokio::test]
async fn the_welcome_comes_once_and_does_not_stand_in_for_the_answer_nor_mute_the_agent() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.execute("update public.organizations set extra = '{\"welcome_message\": \"Welcome!\"}' where id = $1", &[&organization]).await;
    let _process = world.serve().await;
    say(&world, "first").await;
    settled(&world, 1).await;
    assert_eq!(answers(&world).await, ["Welcome!", "You said: first"]);
    say(&world, "second").await;
    settled(&world, 2).await;
    assert_eq!(answers(&world).await, ["Welcome!", "You said: first", "You said: second"]);
    assert_eq!(world.count("public.conversations where extra ? 'paused'").await, 0);
    let bodies: Vec<Value> = world.sandbox.sent().iter().map(|s| s["body"]["text"]["body"].clone()).collect();
    assert_eq!(bodies[..2], ["Welcome!", "You said: first"], "in order");
}

#[tokio::test]
async fn a_person_who_takes_over_silences_the_agent_also_in_the_middle_of_a_thought() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let person: Uuid =
        world.value("insert into public.agents (organization_id, name, ai) values ($1, 'Ana', false) returning id", &[&organization]).await;
    world.sandbox.set(|s| s.think_ms = 1500);
    let _process = world.serve().await;
    say(&world, "hello").await;
    eventually("the model thinks", || async { world.sandbox.asked().len() == 1 }).await;
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, agent_id, content)
        values ($1, '111', '549', 'whatsapp', 'outgoing', $2, $3)";
    world.execute(sql, &[&organization, &person, &text_content("I am a person")]).await;
    settled(&world, 1).await;
    say(&world, "still there?").await;
    settled(&world, 2).await;
    assert_eq!(answers(&world).await, ["I am a person"]);
    // Handed back, the agent answers what is open, and sees what its colleague said as said by the business.
    world.execute("update public.conversations set extra = '{\"paused\": null}'", &[]).await;
    assert_eq!(world.count("public.conversations where extra ? 'paused'").await, 0);
    world.until("it answers", "select count(*) = 2 from public.messages where direction = 'outgoing'").await;
    let asked = world.sandbox.asked().pop().unwrap();
    let turns: Vec<(&str, &str)> =
        asked["messages"].as_array().unwrap()[1..].iter().map(|m| (m["role"].as_str().unwrap(), m["content"].as_str().unwrap())).collect();
    assert_eq!(turns, [("user", "hello"), ("assistant", "<colleague name=\"Ana\">I am a person</colleague>"), ("user", "still there?")]);
}

#[tokio::test]
async fn a_pause_of_long_ago_is_over() {
    let world = World::new().await;
    world.furnished().await;
    let _process = world.serve().await;
    say(&world, "one").await;
    settled(&world, 1).await;
    world.execute("update public.conversations set extra = jsonb_build_object('paused', now() - interval '11 hours')", &[]).await;
    say(&world, "two").await;
    settled(&world, 2).await;
    assert_eq!(answers(&world).await.len(), 1);
    world.execute("update public.conversations set extra = jsonb_build_object('paused', now() - interval '13 hours')", &[]).await;
    say(&world, "three").await;
    settled(&world, 3).await;
    assert_eq!(answers(&world).await.len(), 2);
}

#[tokio::test]
async fn a_model_that_is_away_delays_and_never_loses() {
    let world = World::new().await;
    world.furnished().await;
    world.execute("update bus.queues set backoff = '100 ms' where queue = 'agent'", &[]).await;
    for (status, cut) in [(Some(500), false), (Some(429), false), (None, true), (Some(503), false)] {
        world.sandbox.fault(Fault { on: "model".into(), times: Some(1), status, cut, retry_after: Some(0), ..Fault::default() });
    }
    let _process = world.serve().await;
    say(&world, "anyone?").await;
    settled(&world, 1).await;
    assert_eq!(answers(&world).await, ["You said: anyone?"]);
    assert_eq!(world.sandbox.asked().len(), 5);
    assert_eq!(world.count("public.messages where direction = 'internal'").await, 0);
}

#[tokio::test]
async fn a_hopeless_error_is_told_to_the_organization_and_not_to_the_customer() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.sandbox.fault(Fault { on: "model".into(), times: Some(2), status: Some(401), ..Fault::default() });
    let _process = world.serve().await;
    say(&world, "one").await;
    world.until("it was given up", "select count(*) = 1 from bus.dead where queue = 'agent'").await;
    world.until("it is told", "select count(*) = 1 from public.logs where category = 'agent' and message like '%401%'").await;
    assert_eq!(answers(&world).await, [] as [Value; 0]);
    assert_eq!(world.count("public.messages where direction = 'internal' and content->>'kind' = 'error'").await, 1);
    // Unless the organization wants him to be told something; never the error itself.
    world.execute("update public.organizations set extra = '{\"error_messages_direction\": \"outgoing\"}' where id = $1", &[&organization]).await;
    say(&world, "two").await;
    world.until("an apology", "select count(*) = 1 from public.messages where direction = 'outgoing' and content->>'text' like 'Sorry%'").await;
    // With the key put right, the work can be done after all; our own error is no part of the conversation.
    world.run(&["replay", "--dead", "--queue", "agent"]).await;
    say(&world, "three").await;
    settled(&world, 3).await;
    let asked = world.sandbox.asked().pop().unwrap().to_string();
    assert!(!asked.contains("401"), "{asked}");
}

#[tokio::test]
async fn only_addresses_that_the_operator_allows() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world
        .execute("update public.agents set extra = '{\"api_url\": \"http://169.254.169.254/v1\"}' where organization_id = $1", &[&organization])
        .await;
    let _process = world.serve().await;
    say(&world, "one").await;
    world.until("it was given up", "select errors->-1->>'error' like '%no public address%' from bus.dead where queue = 'agent'").await;
}

#[tokio::test]
async fn which_agent_answers() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let second: Uuid = world.agent(organization).await;
    let draft: Uuid = world.agent(organization).await;
    world.execute("update public.agents set extra = '{\"instructions\": \"I am second.\"}' where id = $1", &[&second]).await;
    world.execute("update public.agents set extra = '{\"instructions\": \"I am a draft.\", \"mode\": \"draft\"}' where id = $1", &[&draft]).await;
    let _process = world.serve().await;
    let mut expected = Vec::new();
    // The oldest, the organization's choice, the conversation's choice; a draft never.
    for (n, (organization_choice, conversation_choice, who)) in
        [(None, None, "Be nice."), (Some(second), None, "I am second."), (Some(draft), None, "Be nice."), (None, Some(second), "I am second.")]
            .into_iter()
            .enumerate()
    {
        let choice = |id: Option<Uuid>| json!({"default_agent_id": id});
        world.execute("update public.organizations set extra = $1", &[&choice(organization_choice)]).await;
        world.execute("update public.conversations set extra = $1", &[&choice(conversation_choice)]).await;
        say(&world, &n.to_string()).await;
        settled(&world, n as i64 + 1).await;
        expected.push(who);
    }
    let asked: Vec<String> =
        world.sandbox.asked().iter().map(|a| a["messages"][0]["content"].as_str().unwrap().split('\n').next().unwrap().to_owned()).collect();
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn strangers_are_not_answered_where_only_contacts_are() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.execute("update public.organizations set extra = '{\"authorized_contacts_only\": true}' where id = $1", &[&organization]).await;
    let _process = world.serve().await;
    say(&world, "one").await;
    settled(&world, 1).await;
    assert_eq!(answers(&world).await.len(), 0);
    let contact: Uuid =
        world.value("insert into public.contacts (organization_id, name) values ($1, 'Ana Known') returning id", &[&organization]).await;
    world.execute("update public.contacts_addresses set contact_id = $1 where service = 'whatsapp'", &[&contact]).await;
    say(&world, "two").await;
    settled(&world, 2).await;
    assert_eq!(answers(&world).await.len(), 1);
    assert!(world.sandbox.asked()[0]["messages"][0]["content"].as_str().unwrap().contains("Ana Known"));
}

#[tokio::test]
async fn a_new_start_clears_memory_and_context() {
    let world = World::new().await;
    world.furnished().await;
    let _process = world.serve().await;
    say(&world, "my name is Ana").await;
    settled(&world, 1).await;
    world.execute("update public.conversations set extra = '{\"memory\": {\"name\": \"Ana\"}}'", &[]).await;
    say(&world, "/new who am I?").await;
    settled(&world, 2).await;
    let asked = world.sandbox.asked().pop().unwrap();
    assert_eq!(asked["messages"].as_array().unwrap().len(), 2, "{asked}");
    assert_eq!(asked["messages"][1]["content"], "who am I?");
    assert_eq!(world.count("public.conversations where extra ? 'memory'").await, 0);
}

#[tokio::test]
async fn messages_from_the_future_and_from_last_week_are_survived() {
    let world = World::new().await;
    world.furnished().await;
    let process = world.serve().await;
    world.webhook(&process, text_webhook(NUMBER, "549", "wamid.old", now() - 9 * 86_400, "old").to_string()).await;
    world.webhook(&process, text_webhook(NUMBER, "550", "wamid.ahead", now() + 30, "ahead").to_string()).await;
    settled(&world, 2).await;
    // A clock that is ahead is answered; a question of last week is not answered as if it had just been asked.
    assert_eq!(answers(&world).await, ["You said: ahead"]);
}

#[tokio::test]
async fn killed_while_the_model_thinks_it_is_answered_after_all_and_once() {
    let world = World::new().await;
    world.furnished().await;
    world.execute("update bus.queues set lease = '3 s' where queue = 'agent'", &[]).await;
    world.sandbox.set(|s| s.think_ms = 1000);
    let mut process = world.serve().await;
    say(&world, "hello?").await;
    eventually("the model thinks", || async { world.sandbox.asked().len() == 1 }).await;
    process.signal("-KILL");
    process.wait().await;
    let _process = world.serve().await;
    settled(&world, 1).await;
    assert_eq!(answers(&world).await, ["You said: hello?"]);
    assert_eq!(world.sandbox.sent().len(), 1);
}

#[tokio::test]
async fn a_long_thought_keeps_its_lease() {
    let world = World::new().await;
    world.furnished().await;
    world.execute("update bus.queues set lease = '5 s' where queue = 'agent'", &[]).await;
    world.sandbox.set(|s| s.think_ms = 9000);
    let _one = world.serve().await;
    let _two = world.serve_another().await;
    say(&world, "think").await;
    world.until("an answer", "select count(*) > 0 from public.messages where direction = 'outgoing'").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.sandbox.asked().len(), 1, "the other process must not take it over");
}

#[tokio::test]
async fn nonsense_of_one_tenant_stops_nobody() {
    let world = World::new().await;
    world.furnished().await;
    let _process = world.serve().await;
    say(&world, "one").await;
    settled(&world, 1).await;
    // Times that are none, where clients may write.
    world.execute("update public.messages set status = '{\"typing\": \"soon\", \"read\": 7}' where direction = 'incoming'", &[]).await;
    world.until("the receipt is dealt with", "select not exists (select from bus.tasks where queue = 'receipts')").await;
    world.execute("update public.messages set status = '{\"typing\": \"2024-01-01 00:00+99\"}' where direction = 'incoming'", &[]).await;
    // Older than a receipt can be.
    world.execute("update public.messages set timestamp = now() - interval '40 days', status = jsonb_build_object('read', now()) where direction = 'incoming'", &[]).await;
    world.execute("update public.conversations set extra = '{\"paused\": \"until I say so\"}'", &[]).await;
    world.execute("update public.organizations set extra = '{\"response_delay_seconds\": \"soon\"}'", &[]).await;
    world.until("the receipt is dealt with", "select not exists (select from bus.tasks where queue = 'receipts')").await;
    say(&world, "two").await;
    world.until("stored", "select count(*) = 2 from public.messages where direction = 'incoming'").await;
    world.execute("update public.conversations set extra = '{\"paused\": null}'", &[]).await;
    world.execute("update public.organizations set extra = '{\"response_delay_seconds\": 0}'", &[]).await;
    settled(&world, 2).await;
    say(&world, "three").await;
    settled(&world, 3).await;
    assert!(answers(&world).await.last().unwrap().as_str().unwrap().contains("three"));
}

#[tokio::test]
async fn local_chats_are_answered_inside_the_database() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let _process = world.serve().await;
    let sql = "insert into public.messages (organization_id, organization_address, service, direction, content) values ($1, $1::text, 'local', 'incoming', $2)";
    world.execute(sql.replace("$1::text", "($1::uuid)::text").as_str(), &[&organization, &text_content("test")]).await;
    world
        .until("an answer", "select status ? 'delivered' and content->>'text' = 'You said: test' from public.messages where direction = 'outgoing'")
        .await;
    assert_eq!(world.sandbox.sent().len(), 0);
}
