//! Runs of an agent: killed at every step, stopped, overtaken by the next message, and never at an end.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tidings::sandbox::{Fault, Turn};
use uuid::Uuid;

use crate::support::*;

const INCOMING: &str = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
    values ($1, '111', '549', 'whatsapp', 'incoming', $2)";

/// A world whose agent calculates and makes requests, and where a killed worker's task is soon somebody else's.
async fn equipped() -> (World, Uuid) {
    let world = World::new().await;
    let organization = world.furnished().await;
    let calculator = json!({"provider": "local", "type": "function", "name": "calculator"});
    let web = json!({"provider": "local", "type": "http", "label": "web", "config": {}});
    world.execute("update public.agents set extra = $1", &[&json!({"tools": [calculator, web]})]).await;
    world.execute("update bus.queues set lease = '3 s' where queue = 'agent'", &[]).await;
    (world, organization)
}

async fn say(world: &World, text: &str) {
    world.sandbox.say(&json!({"from": "549", "number": NUMBER, "text": text})).await;
}

/// Waits until everything that was said has been dealt with.
async fn settled(world: &World, said: i64) {
    world.until("everything is stored", &format!("select count(*) >= {said} from public.messages where direction = 'incoming'")).await;
    world.idle().await;
}

async fn asked(world: &World, times: usize) {
    eventually("the model is asked", || async { world.sandbox.asked().len() >= times }).await;
}

async fn hit(world: &World, times: usize) {
    eventually("the tool is called", || async { world.sandbox.hits().len() >= times }).await;
}

async fn kill(process: &mut Process) {
    process.signal("-KILL");
    process.wait().await;
}

async fn answers(world: &World) -> Vec<Value> {
    world.messages().await.into_iter().filter(|m| m["direction"] == "outgoing").map(|m| m["content"]["text"].clone()).collect()
}

/// What calls came to: the contents of their result rows.
async fn results(world: &World) -> Vec<Value> {
    world.messages().await.into_iter().map(|m| m["content"].clone()).filter(|c| c["tool"]["event"] == "result").collect()
}

/// A thought that takes longer than any test waits for it.
fn held(text: &str) -> Turn {
    Turn { think_ms: Some(8000), ..Turn::says(text) }
}

fn sum() -> Turn {
    Turn::calls([("calculator", json!({"expression": "2+2"}))])
}

/// A call of a page that takes so long.
fn slow(world: &World, method: &str, ms: u64) -> (&'static str, Value) {
    ("web__request", json!({"method": method, "url": format!("{}/web/slow?ms={ms}", world.sandbox_url)}))
}

/// The tools of a request to the model.
fn offered(asked: &Value) -> Vec<&str> {
    asked["tools"].as_array().unwrap().iter().map(|t| t["function"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn killed_in_its_first_thought_it_asks_once_more_and_answers_once() {
    let (world, _) = equipped().await;
    world.sandbox.script(vec![held("never said")]);
    let mut process = world.serve().await;
    say(&world, "hello?").await;
    asked(&world, 1).await;
    kill(&mut process).await;
    let _process = world.serve().await;
    settled(&world, 1).await;
    assert_eq!(answers(&world).await, ["You said: hello?"]);
    assert_eq!((world.sandbox.asked().len(), world.sandbox.sent().len()), (2, 1));
    assert_eq!(world.count("public.messages where direction = 'internal'").await, 0);
}

#[tokio::test]
async fn killed_while_a_tool_reads_the_call_is_made_again_and_has_one_result() {
    let (world, _) = equipped().await;
    world.sandbox.script(vec![Turn::calls([slow(&world, "GET", 1500)]), Turn::says("Done.")]);
    let mut process = world.serve().await;
    say(&world, "look it up").await;
    hit(&world, 1).await;
    kill(&mut process).await;
    assert_eq!(results(&world).await.len(), 0, "it was in the middle of it");
    let _process = world.serve().await;
    settled(&world, 1).await;
    let results = results(&world).await;
    assert_eq!((results.len(), &results[0]["tool"]["is_error"], &results[0]["data"]["status"]), (1, &Value::Null, &json!(200)));
    assert_eq!((world.sandbox.hits().len(), world.sandbox.asked().len()), (2, 2));
    assert_eq!(answers(&world).await, ["Done."]);
}

#[tokio::test]
async fn killed_while_a_tool_acts_the_call_is_not_made_again_and_the_model_learns_why() {
    let (world, _) = equipped().await;
    world.sandbox.script(vec![Turn::calls([slow(&world, "POST", 1500)]), Turn::says("I will find out.").when("outcome unknown")]);
    let mut process = world.serve().await;
    say(&world, "order one").await;
    hit(&world, 1).await;
    kill(&mut process).await;
    let _process = world.serve().await;
    settled(&world, 1).await;
    assert_eq!(answers(&world).await, ["I will find out."]);
    assert_eq!(world.sandbox.hits().len(), 1, "the target must not see it twice");
    let results = results(&world).await;
    assert_eq!((results.len(), &results[0]["tool"]["is_error"]), (1, &json!(true)));
    assert!(results[0]["text"].as_str().unwrap().starts_with("outcome unknown"), "{results:?}");
    assert_eq!(world.sandbox.asked().len(), 2);
    assert_eq!(world.count("bus.calls").await, 0);
}

#[tokio::test]
async fn killed_in_its_second_thought_it_keeps_what_the_tools_said() {
    let (world, _) = equipped().await;
    world.sandbox.script(vec![sum(), held("never said"), Turn::says("It is 4.")]);
    let mut process = world.serve().await;
    say(&world, "2+2?").await;
    asked(&world, 2).await;
    kill(&mut process).await;
    let _process = world.serve().await;
    settled(&world, 1).await;
    assert_eq!(answers(&world).await, ["It is 4."]);
    let asked = world.sandbox.asked();
    assert_eq!(asked.len(), 3);
    let said = |n: usize| asked[n]["messages"].as_array().unwrap()[1..].to_vec();
    assert_eq!(said(1), said(2), "the same question");
    let roles: Vec<Value> = said(2).iter().map(|m| m["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "tool"]);
    assert_eq!(world.count("public.messages where direction = 'internal'").await, 2, "one call, one result");
}

#[tokio::test]
async fn killed_while_the_answer_is_sent_nothing_is_doubled() {
    let (world, _) = equipped().await;
    world.execute("update bus.queues set lease = '1 s' where queue = 'dispatch'", &[]).await;
    world.sandbox.set(|s| s.receipt_ms = 700);
    // Graph takes the answer and does not say so.
    world.sandbox.fault(Fault { on: "messages".into(), times: Some(1), accept: true, hang: true, ..Fault::default() });
    let mut process = world.serve().await;
    say(&world, "hello?").await;
    eventually("Graph has it", || async { world.sandbox.sent().len() == 1 }).await;
    kill(&mut process).await;
    let _process = world.serve().await;
    world.until("it is settled", "select status ? 'read' and not status ? 'errors' from public.messages where direction = 'outgoing'").await;
    world.idle().await;
    assert_eq!((world.sandbox.asked().len(), world.sandbox.sent().len()), (1, 1));
    assert_eq!(answers(&world).await, ["You said: hello?"]);
}

#[tokio::test]
async fn stopped_in_the_middle_of_an_act_it_waits_for_its_end_and_keeps_the_result() {
    let (world, _) = equipped().await;
    world.sandbox.script(vec![Turn::calls([slow(&world, "POST", 1500)]), Turn::says("Done.")]);
    let mut process = world.serve().await;
    say(&world, "order one").await;
    hit(&world, 1).await;
    process.signal("-TERM");
    assert_eq!(process.wait().await, 0);
    let results = results(&world).await;
    assert_eq!((results.len(), &results[0]["tool"]["is_error"], &results[0]["data"]["status"]), (1, &Value::Null, &json!(200)));
    assert_eq!(world.sandbox.asked().len(), 1, "what comes next is for the next process");
    let _process = world.serve().await;
    settled(&world, 1).await;
    assert_eq!((world.sandbox.hits().len(), world.sandbox.asked().len()), (1, 2));
    assert_eq!(answers(&world).await, ["Done."]);
}

#[tokio::test]
async fn two_processes_answer_twenty_conversations_once_each() {
    let (world, _) = equipped().await;
    world.sandbox.set(|s| s.think_ms = 300);
    let _one = world.serve().await;
    let _two = world.serve_another().await;
    let said: Vec<Value> = (0..20).map(|n| json!({"from": format!("549{n}"), "number": NUMBER, "text": n.to_string()})).collect();
    join_all(said.iter().map(|one| world.sandbox.say(one))).await;
    settled(&world, 20).await;
    let once = "select count(*) = 20 and count(distinct contact_address) = 20 from public.messages where direction = 'outgoing'";
    assert!(world.value::<bool>(once, &[]).await);
    assert_eq!((world.sandbox.asked().len(), world.sandbox.sent().len()), (20, 20));
}

#[tokio::test]
async fn w26_the_next_message_ends_the_thought_and_both_get_one_answer_soon() {
    let (world, _) = equipped().await;
    world.sandbox.script(vec![held("never said")]);
    let _process = world.serve().await;
    say(&world, "one").await;
    asked(&world, 1).await;
    let began = Instant::now();
    say(&world, "two").await;
    asked(&world, 2).await;
    let took = began.elapsed();
    settled(&world, 2).await;
    assert!(took < Duration::from_secs(1), "the second must not wait for the first: {took:?}");
    assert_eq!(answers(&world).await, ["You said: one / two"]);
    assert_eq!((world.sandbox.asked().len(), world.sandbox.sent().len()), (2, 1));
}

#[tokio::test]
async fn w26_whoever_writes_much_is_no_failure_of_the_model() {
    let (world, _) = equipped().await;
    world.sandbox.script((0..6).map(|_| held("never said")).collect());
    let _process = world.serve().await;
    for n in 0..7 {
        say(&world, &n.to_string()).await;
        asked(&world, n + 1).await;
    }
    settled(&world, 7).await;
    assert_eq!(answers(&world).await, ["You said: 0 / 1 / 2 / 3 / 4 / 5 / 6"]);
    let logs: Value = world.value("select coalesce(jsonb_agg(message), '[]') from public.logs", &[]).await;
    assert_eq!(logs, json!([]));
}

#[tokio::test]
async fn w26_the_next_message_ends_a_tool_that_only_reads() {
    let (world, _) = equipped().await;
    world.sandbox.script(vec![Turn::calls([slow(&world, "GET", 8000)])]);
    let _process = world.serve().await;
    say(&world, "one").await;
    hit(&world, 1).await;
    let began = Instant::now();
    say(&world, "two").await;
    asked(&world, 2).await;
    let took = began.elapsed();
    settled(&world, 2).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(answers(&world).await, ["You said: two"]);
    let results = results(&world).await;
    assert_eq!((results.len(), &results[0]["tool"]["is_error"]), (1, &json!(true)), "{results:?}");
    assert_eq!(world.sandbox.hits().len(), 1);
}

#[tokio::test]
async fn w26_what_acts_is_waited_for_and_what_was_to_follow_it_is_not_called() {
    let (world, _) = equipped().await;
    world.sandbox.script(vec![Turn::calls([slow(&world, "POST", 1200), slow(&world, "POST", 1)])]);
    let _process = world.serve().await;
    say(&world, "one").await;
    hit(&world, 1).await;
    say(&world, "two").await;
    settled(&world, 2).await;
    assert_eq!(world.sandbox.hits().len(), 1, "the second was not begun");
    let results = results(&world).await;
    assert_eq!((results.len(), &results[0]["data"]["status"], &results[1]["tool"]["is_error"]), (2, &json!(200), &json!(true)));
    assert!(results[1]["text"].as_str().unwrap().starts_with("not called"), "{results:?}");
    // The model knows of both.
    let last = world.sandbox.asked().pop().unwrap();
    assert_eq!(last["messages"].as_array().unwrap().iter().filter(|m| m["role"] == "tool").count(), 2);
    assert_eq!(answers(&world).await, ["You said: two"]);
    assert_eq!(world.sandbox.asked().len(), 2);
}

#[tokio::test]
async fn w27_two_messages_of_one_moment_get_one_answer() {
    let (world, organization) = equipped().await;
    let process = world.serve().await;
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
        select $1, '111', '549', 'whatsapp', 'incoming', c from unnest(array[$2::jsonb, $3::jsonb]) c";
    world.execute(sql, &[&organization, &text_content("first"), &text_content("second")]).await;
    settled(&world, 2).await;
    let mut both = text_webhook(NUMBER, "550", "wamid.1", now(), "first");
    let mut second = both["entry"][0]["changes"][0]["value"]["messages"][0].clone();
    second["id"] = json!("wamid.2");
    second["text"]["body"] = json!("second");
    both["entry"][0]["changes"][0]["value"]["messages"].as_array_mut().unwrap().push(second);
    world.webhook(&process, both.to_string()).await;
    settled(&world, 4).await;
    let answers = answers(&world).await;
    assert_eq!((answers.len(), world.sandbox.asked().len()), (2, 2), "{answers:?}");
    assert!(answers.iter().all(|a| ["first", "second"].iter().all(|said| a.as_str().unwrap().contains(said))), "{answers:?}");
}

#[tokio::test]
async fn w27_a_message_whose_transaction_began_before_the_answer_is_answered_too() {
    let (world, organization) = equipped().await;
    let _process = world.serve().await;
    let mut client = world.db.get().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.query_one("select now()", &[]).await.unwrap();
    say(&world, "one").await;
    settled(&world, 1).await;
    // By its time the row stands before the answer, which knows nothing of it.
    transaction.execute(INCOMING, &[&organization, &text_content("two")]).await.unwrap();
    transaction.commit().await.unwrap();
    settled(&world, 2).await;
    let answers = answers(&world).await;
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert!(answers[1].as_str().unwrap().contains("two"), "{answers:?}");
}

#[tokio::test]
async fn w28_times_of_last_week_and_of_the_next_hour_neither_crash_nor_block() {
    let (world, _) = equipped().await;
    let process = world.serve().await;
    world.webhook(&process, text_webhook(NUMBER, "549", "wamid.old", now() - 8 * 86_400, "old").to_string()).await;
    world.webhook(&process, text_webhook(NUMBER, "550", "wamid.ahead", now() + 3500, "ahead").to_string()).await;
    settled(&world, 2).await;
    assert_eq!(answers(&world).await, ["You said: ahead"], "a question of last week is none any more");
    for from in ["549", "550"] {
        world.webhook(&process, text_webhook(NUMBER, from, &format!("wamid.{from}"), now(), "today").to_string()).await;
    }
    settled(&world, 4).await;
    assert_eq!(world.count("public.messages where direction = 'outgoing' and content->>'text' like '%today%'").await, 2);
    assert_eq!((world.sandbox.sent().len(), world.count("bus.dead").await), (3, 0));
}

#[tokio::test]
async fn w20_what_came_while_nobody_was_there_is_answered_later() {
    let (world, organization) = equipped().await;
    world.execute(INCOMING, &[&organization, &text_content("anyone?")]).await;
    let _process = world.serve().await;
    settled(&world, 1).await;
    assert_eq!(answers(&world).await, ["You said: anyone?"]);
}

#[tokio::test]
async fn w20_a_burst_of_five_gets_one_answer_however_many_processes_there_are() {
    let (world, organization) = equipped().await;
    world.execute("update public.organizations set extra = '{\"response_delay_seconds\": 1}' where id = $1", &[&organization]).await;
    let (_one, _two, _three) = (world.serve().await, world.serve_another().await, world.serve_another().await);
    let said: Vec<Value> = (0..20).map(|n| json!({"from": format!("549{}", n % 4), "number": NUMBER, "text": n.to_string()})).collect();
    join_all(said.iter().map(|one| world.sandbox.say(one))).await;
    settled(&world, 20).await;
    let once = "select count(*) = 4 and count(distinct contact_address) = 4 from public.messages where direction = 'outgoing'";
    assert!(world.value::<bool>(once, &[]).await, "{:?}", answers(&world).await);
    let heard = |asked: &Value| asked["messages"].as_array().unwrap().iter().filter(|m| m["role"] == "user").count();
    assert_eq!(world.sandbox.asked().iter().map(heard).collect::<Vec<_>>(), [5, 5, 5, 5]);
}

#[tokio::test]
async fn w42_after_the_answer_nobody_is_typing_any_more() {
    let (world, _) = equipped().await;
    world.sandbox.script(vec![held("never said"), sum()]);
    let _process = world.serve().await;
    say(&world, "one").await;
    asked(&world, 1).await;
    // The first thought ends early, where an indicator might be left behind.
    say(&world, "two").await;
    settled(&world, 2).await;
    assert_eq!(answers(&world).await.len(), 1);
    let statuses = "select jsonb_agg(status order by id) from public.messages where direction = 'incoming'";
    let (before, read): (Value, usize) = (world.value(statuses, &[]).await, world.sandbox.read().len());
    assert!(before.as_array().unwrap().iter().all(|s| s["typing"].is_string()), "{before}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((world.value::<Value>(statuses, &[]).await, world.sandbox.read().len()), (before, read));
}

#[tokio::test]
async fn a_model_that_calls_tools_for_ever_is_stopped_and_the_organization_learns_of_it() {
    let (world, _) = equipped().await;
    world.execute("update public.agents set extra = '{\"max_turns\": 2}'", &[]).await;
    world.sandbox.script(vec![sum(), sum(), sum()]);
    let _process = world.serve().await;
    say(&world, "loop").await;
    world.until("it was given up", "select count(*) = 1 from bus.dead where queue = 'agent'").await;
    world.idle().await;
    let asked = world.sandbox.asked();
    assert_eq!(asked.len(), 3);
    assert!(["calculator", "web__request", "respond"].iter().all(|t| offered(&asked[1]).contains(t)), "{:?}", offered(&asked[1]));
    assert_eq!(offered(&asked[2]), ["respond"], "at the limit it may only answer");
    let results = results(&world).await;
    assert_eq!((results.len(), &results[2]["tool"]["is_error"]), (3, &json!(true)), "{results:?}");
    assert_eq!(answers(&world).await, [] as [Value; 0]);
    assert_eq!(world.count("public.messages where direction = 'internal' and content->>'kind' = 'error'").await, 1);
    assert_eq!(world.count("public.logs where category = 'agent' and level = 'error' and message like '%max_turns%'").await, 1);
    // The next message begins anew.
    say(&world, "again").await;
    settled(&world, 2).await;
    assert_eq!(answers(&world).await, ["You said: again"]);
}

#[tokio::test]
async fn at_the_limit_of_its_turns_a_model_may_still_answer() {
    let (world, _) = equipped().await;
    world.execute("update public.agents set extra = '{\"max_turns\": 2}'", &[]).await;
    let answer = Turn::calls([("respond", json!({"messages": [{"type": "text", "text": "Enough."}]}))]);
    world.sandbox.script(vec![sum(), sum(), answer]);
    let _process = world.serve().await;
    say(&world, "loop").await;
    settled(&world, 1).await;
    assert_eq!(answers(&world).await, ["Enough."]);
    assert_eq!((world.sandbox.asked().len(), world.count("bus.dead").await), (3, 0));
}
