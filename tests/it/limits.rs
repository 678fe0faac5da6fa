//! What bounds an agent: limits, the context of its model, memory and summaries; and what remains when a model fails.

use serde_json::{Value, json};
use tidings::sandbox::Turn;
use uuid::Uuid;

use crate::support::*;

async fn say(world: &World, from: &str, text: &str) {
    world.sandbox.say(&json!({"from": from, "number": NUMBER, "text": text})).await;
}

/// Waits until everything that was said has been dealt with.
async fn settled(world: &World, said: i64) {
    world.until("everything is stored", &format!("select count(*) >= {said} from public.messages where direction = 'incoming'")).await;
    world.idle().await;
}

/// Merges settings into all rows of a table.
async fn set(world: &World, table: &str, extra: Value) {
    world.execute(&format!("update public.{table} set extra = $1"), &[&extra]).await;
}

fn function(name: &str) -> Value {
    json!({"tools": [{"provider": "local", "type": "function", "name": name}]})
}

/// What was said two days ago, the customer's half of it in the even lines; `%s` in the text is the number of the line.
async fn import(world: &World, organization: Uuid, text: &str, lines: i32) {
    let sql = "insert into public.messages
          (organization_id, organization_address, contact_address, service, direction, content, status, \"timestamp\")
        select $1::uuid, '111', '549', 'whatsapp', (case when n % 2 = 0 then 'incoming' else 'outgoing' end)::public.direction,
          jsonb_build_object('version', '1', 'type', 'text', 'kind', 'text', 'text', format($2::text, n)), '{}',
          now() - interval '2 days' + n * interval '1 minute'
        from generate_series(1, $3::int) n";
    world.execute(sql, &[&organization, &text, &lines]).await;
}

/// The texts that a customer got.
fn phone(world: &World, of: &str) -> Vec<String> {
    let sent = world.sandbox.sent();
    sent.iter().filter(|s| s["body"]["to"] == of).map(|s| s["body"]["text"]["body"].as_str().unwrap_or_default().to_owned()).collect()
}

fn last(world: &World) -> Value {
    world.sandbox.asked().pop().unwrap()
}

/// What the model was told last beside the conversation.
fn system(world: &World) -> String {
    last(world)["messages"][0]["content"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_limit_in_a_conversation_asks_for_a_person_and_leaves_the_others_alone() {
    let world = World::new().await;
    world.furnished().await;
    set(&world, "agents", json!({"limits": {"conversation": {"turns": 2}}})).await;
    let _process = world.serve().await;
    for (n, text) in ["one", "two", "three", "four"].into_iter().enumerate() {
        say(&world, "549", text).await;
        settled(&world, n as i64 + 1).await;
    }
    assert_eq!(phone(&world, "549"), ["You said: one", "You said: two"]);
    assert_eq!(world.sandbox.asked().len(), 2);
    let handoff: Value = world.value("select extra -> 'handoff' from public.conversations", &[]).await;
    assert!(handoff["status"] == "requested" && handoff["reason"].as_str().unwrap().contains("2 turns in one conversation"), "{handoff}");
    assert_eq!(world.count("public.logs where category = 'handoff' and message like '%2 turns in one conversation%'").await, 1, "said once a day");
    assert_eq!(world.count("public.conversations where extra ? 'paused'").await, 0, "nobody has taken over");
    say(&world, "550", "hello").await;
    settled(&world, 5).await;
    assert_eq!(phone(&world, "550"), ["You said: hello"]);
    let turns: Vec<i64> = world.value("select array_agg(turns::bigint order by turns) from bus.spent", &[]).await;
    assert_eq!(turns, [1, 2], "of the one, and of the other");
}

#[tokio::test]
async fn a_limit_of_the_day_is_one_of_all_conversations_and_over_the_next_day() {
    let world = World::new().await;
    world.furnished().await;
    set(&world, "agents", json!({"limits": {"day": {"tokens": 1}}})).await;
    let _process = world.serve().await;
    for (n, from) in ["549", "550"].into_iter().enumerate() {
        say(&world, from, "hello").await;
        settled(&world, n as i64 + 1).await;
    }
    assert_eq!((phone(&world, "549").len(), phone(&world, "550").len()), (1, 0));
    let reason: String = world.value("select extra #>> '{handoff,reason}' from public.conversations where contact_address = '550'", &[]).await;
    assert!(reason.contains("1 tokens in all"), "{reason}");
    world.execute("update bus.spent set day = day - 1", &[]).await;
    say(&world, "550", "hello again").await;
    settled(&world, 3).await;
    assert_eq!(phone(&world, "550").len(), 1);
}

#[tokio::test]
async fn what_an_organization_may_spend_counts_all_its_agents_by_the_price() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let other = world.agent(organization).await;
    let sql = "insert into public.bindings (organization_id, agent_id, contact_address) values ($1, $2, '550')";
    world.execute(sql, &[&organization, &other]).await;
    let sql = "insert into billing.costs (provider, product, quantity, pricing) values ('custom', 'sandbox', 1000, '{\"input\": 1, \"output\": 2}')";
    world.execute(sql, &[]).await;
    set(&world, "organizations", json!({"limits": {"day": {"cost": 0.01}}})).await;
    set(&world, "agents", json!({"api_key": "own"})).await;
    world.sandbox.set(|s| s.model_key = "own".into());
    let _process = world.serve().await;
    for (n, from) in ["549", "550"].into_iter().enumerate() {
        say(&world, from, "hello").await;
        settled(&world, n as i64 + 1).await;
    }
    assert_eq!((phone(&world, "549").len(), phone(&world, "550").len()), (1, 0), "the other agent has spent nothing, the organization has");
    assert_eq!(world.count("public.logs where category = 'handoff' and message like '%the organization may use 0.01 cost in all%'").await, 1);
    let priced = "public.usage u where u.cost = (u.input_tokens + 2 * u.output_tokens) / 1000.0 and u.input_tokens > 100 and u.output_tokens > 0
        and not u.billable and u.provider = 'custom' and u.model = 'sandbox' and u.purpose = 'answer' and u.message_id in (select m.id
        from public.messages m where m.direction = 'outgoing') and u.cost = all (select s.cost from bus.spent s)";
    assert_eq!(world.count(priced).await, 1);
    assert_eq!((world.count("public.usage").await, world.count("bus.spent").await), (1, 1));
}

#[tokio::test]
async fn calls_of_tools_are_counted_too() {
    let world = World::new().await;
    world.furnished().await;
    set(&world, "agents", function("calculator")).await;
    set(&world, "agents", json!({"limits": {"conversation": {"tool_calls": 2}}})).await;
    let _process = world.serve().await;
    for n in 1..=2 {
        world.sandbox.script(vec![Turn::calls([("calculator", json!({"expression": "2+2"}))])]);
        say(&world, "549", "2+2?").await;
        settled(&world, n).await;
    }
    assert!(phone(&world, "549")[0].contains('4'), "{:?}", phone(&world, "549"));
    let asked = world.sandbox.asked().len();
    say(&world, "549", "and now?").await;
    settled(&world, 3).await;
    assert_eq!(world.sandbox.asked().len(), asked);
    assert_eq!(world.count("public.conversations where extra #>> '{handoff,reason}' like '%2 tool calls in one conversation%'").await, 1);
    assert_eq!(world.count("bus.spent where tool_calls = 2").await, 1);
    assert_eq!(world.count("bus.calls").await, 0);
}

const SUMMARISING: &str = "You keep the memory of a conversation";

#[tokio::test]
async fn a_long_conversation_is_summarised_after_the_answer() {
    let world = World::new().await;
    let organization = world.furnished().await;
    import(&world, organization, "old #%s#", 130).await;
    world.sandbox.script(vec![Turn::says("They spoke of shoes.").when(SUMMARISING)]);
    let _process = world.serve().await;
    say(&world, "549", "hello again").await;
    settled(&world, 66).await;
    let asked = world.sandbox.asked();
    assert_eq!(asked.len(), 2, "the answer, and then the summary");
    assert!(asked[0].to_string().contains("old #1#") && !asked[0].to_string().contains(SUMMARISING), "{}", asked[0]);
    let material = asked[1]["messages"][1]["content"].as_str().unwrap();
    assert!(material.contains(r##"{"business":"<colleague>old #1#"##) && material.contains(r##"{"customer":"old #2#"##), "{material}");
    assert_eq!(phone(&world, "549").len(), 1);
    let summary: Value = world.value("select extra -> 'summary' from public.conversations", &[]).await;
    assert!(summary["text"] == "They spoke of shoes." && summary["until"].is_string(), "{summary}");
    assert_eq!(world.count("public.usage where purpose = 'summary'").await, 1);

    say(&world, "549", "and now?").await;
    settled(&world, 67).await;
    let turns = last(&world)["messages"].to_string();
    assert!(system(&world).contains("They spoke of shoes."), "{}", system(&world));
    assert!(!turns.contains("old #1#") && !turns.contains("old #60#") && turns.contains("old #130#"), "{turns}");
    assert_eq!(world.sandbox.asked().len(), 3, "what is left is short");
}

#[tokio::test]
async fn w24_a_new_start_is_not_summarised_back() {
    let world = World::new().await;
    let organization = world.furnished().await;
    import(&world, organization, "old #%s#", 130).await;
    world.sandbox.script(vec![Turn::says("They spoke of shoes.").when(SUMMARISING), Turn::says("They spoke of shoes.").when(SUMMARISING)]);
    let _process = world.serve().await;
    say(&world, "549", "hello again").await;
    settled(&world, 66).await;
    say(&world, "549", "/new hello").await;
    settled(&world, 67).await;
    assert_eq!(world.count("public.conversations where extra ? 'summary'").await, 0);
    let before = world.sandbox.asked().len();
    for (n, text) in ["one", "two"].into_iter().enumerate() {
        say(&world, "549", text).await;
        settled(&world, 68 + n as i64).await;
    }
    for asked in &world.sandbox.asked()[before..] {
        let asked = asked.to_string();
        assert!(!asked.contains("old #") && !asked.contains("They spoke of shoes."), "{asked}");
    }
}

#[tokio::test]
async fn w47_the_newest_messages_that_fit_are_put_to_the_model() {
    let world = World::new().await;
    let organization = world.furnished().await;
    set(&world, "agents", json!({"context_tokens": 2000})).await;
    import(&world, organization, &format!("old #%s# {}", "x".repeat(600)), 60).await;
    let _process = world.serve().await;
    say(&world, "549", "hello again").await;
    settled(&world, 31).await;
    let asked = world.sandbox.asked()[0].to_string();
    // Four bytes are one token; some are the wrapping.
    assert!(asked.len() < 2500 * 4, "{} bytes", asked.len());
    assert!(asked.contains("hello again") && asked.contains("old #60#") && !asked.contains("old #1#"), "{asked}");
    assert_eq!((world.sandbox.asked().len(), phone(&world, "549").len()), (1, 1));
}

#[tokio::test]
async fn w47_a_call_and_its_result_stay_together_however_few_messages_are_put() {
    let world = World::new().await;
    world.furnished().await;
    set(&world, "agents", function("calculator")).await;
    let _process = world.serve().await;
    let mut said = 0;
    for (protocol, place) in [("chat_completions", "v1"), ("messages", "anthropic/v1")] {
        for most in 1..=3 {
            let from = format!("549{said}");
            let url = format!("{}/{place}", world.sandbox_url);
            set(&world, "agents", json!({"protocol": protocol, "api_url": url, "max_messages": most})).await;
            world.sandbox.script(vec![Turn::calls([("calculator", json!({"expression": "2+2"}))])]);
            for text in ["2+2?", "and now?"] {
                say(&world, &from, text).await;
                said += 1;
                settled(&world, said).await;
            }
            let got = phone(&world, &from);
            assert!(got.len() == 2 && got[0].starts_with("The tools said:") && got[1] == "You said: and now?", "{protocol} {most}: {got:?}");
            if protocol == "chat_completions" {
                let roles: Vec<Value> = last(&world)["messages"].as_array().unwrap()[1..].iter().map(|m| m["role"].clone()).collect();
                // The oldest of three is the call with its result.
                let all = ["assistant", "tool", "assistant", "user"];
                assert_eq!(roles, all[[3, 2, 0][most - 1]..], "{most}");
            }
        }
    }
    assert_eq!(world.count("bus.dead").await, 0);
}

/// An agent with these settings, a long history, and a model that reads a quarter of it.
async fn reads_little(settings: Value) {
    let world = World::new().await;
    let organization = world.furnished().await;
    set(&world, "agents", settings).await;
    let _process = world.serve().await;
    say(&world, "550", "hello").await;
    settled(&world, 1).await;
    // What a request takes without a history, and as much again as eight of the following lines.
    let tokens = world.sandbox.asked()[0].to_string().len() / 4 + 2000;
    world.sandbox.set(|s| s.context_tokens = tokens);
    import(&world, organization, &format!("old #%s# {}", "x".repeat(1000)), 30).await;
    say(&world, "549", "hello again").await;
    settled(&world, 17).await;
    assert_eq!(phone(&world, "549").len(), 1);
    assert!(world.sandbox.asked().len() > 2, "it was too much at first");
    let asked = last(&world).to_string();
    assert!(asked.contains("hello again") && asked.contains("old #30#") && !asked.contains("old #1#"), "{asked}");
    assert_eq!((world.count("bus.dead").await, world.count("public.messages where direction = 'internal'").await), (0, 0));
}

#[tokio::test]
async fn w47_a_model_that_reads_less_than_it_gets_is_asked_with_less() {
    reads_little(json!({})).await;
}

#[tokio::test]
async fn w47_a_context_that_was_set_far_too_large_is_no_reason_to_fall_silent() {
    reads_little(json!({"context_tokens": 100_000})).await;
}

#[tokio::test]
async fn what_is_remembered_is_known_from_then_on_until_it_is_forgotten() {
    let world = World::new().await;
    world.furnished().await;
    set(&world, "agents", function("remember")).await;
    let _process = world.serve().await;
    for (n, value) in [json!("L"), Value::Null].into_iter().enumerate() {
        world.sandbox.script(vec![Turn::calls([("remember", json!({"key": "size", "value": value}))])]);
        for (m, text) in ["my size", "and now?"].into_iter().enumerate() {
            say(&world, "549", text).await;
            settled(&world, (2 * n + m) as i64 + 1).await;
        }
        assert_eq!(system(&world).contains("\"memory\":{\"size\":\"L\"}"), value == "L", "{}", system(&world));
    }
    assert_eq!(phone(&world, "549").len(), 4);
    assert!(!system(&world).contains("\"size\""), "{}", system(&world));
}

#[tokio::test]
async fn w24_a_new_start_knows_nothing_of_what_was_before() {
    let world = World::new().await;
    world.furnished().await;
    let _process = world.serve().await;
    say(&world, "549", "hello").await;
    settled(&world, 1).await;
    let known = json!({"memory": {"name": "Ana"}, "summary": {"text": "They spoke of shoes.", "until": "2020-01-01T00:00:00Z"}});
    set(&world, "conversations", known).await;
    say(&world, "549", "who am I?").await;
    settled(&world, 2).await;
    assert!(system(&world).contains("Ana") && system(&world).contains("They spoke of shoes."), "{}", system(&world));
    say(&world, "549", "/new who am I?").await;
    settled(&world, 3).await;
    assert_eq!(world.count("public.conversations where extra ?| '{memory,summary}'").await, 0);
    assert_eq!(last(&world)["messages"].as_array().unwrap().len(), 2);
    assert!(!system(&world).contains("Ana") && !system(&world).contains("They spoke of shoes."), "{}", system(&world));
}

#[tokio::test]
async fn w24_a_new_start_without_a_question_clears_too() {
    let world = World::new().await;
    world.furnished().await;
    let _process = world.serve().await;
    say(&world, "549", "hello").await;
    settled(&world, 1).await;
    set(&world, "conversations", json!({"memory": {"name": "Ana"}})).await;
    say(&world, "549", "/new").await;
    settled(&world, 2).await;
    say(&world, "549", "who am I?").await;
    settled(&world, 3).await;
    assert!(!system(&world).contains("Ana"), "{}", system(&world));
    assert_eq!(world.count("public.conversations where extra ? 'memory'").await, 0);
}

#[tokio::test]
async fn w24_what_is_remembered_in_the_first_run_after_a_new_start_stays() {
    let world = World::new().await;
    world.furnished().await;
    set(&world, "agents", function("remember")).await;
    world.sandbox.script(vec![Turn::calls([("remember", json!({"key": "name", "value": "Ana"}))])]);
    let _process = world.serve().await;
    say(&world, "549", "/new I am Ana").await;
    settled(&world, 1).await;
    assert_eq!(phone(&world, "549").len(), 1);
    assert_eq!(world.count("public.conversations where extra -> 'memory' = '{\"name\": \"Ana\"}'").await, 1);
}

#[tokio::test]
async fn w36_an_answer_that_is_none_leaves_a_trace() {
    let world = World::new().await;
    world.furnished().await;
    let _process = world.serve().await;
    for (n, reason) in ["length", "content_filter"].into_iter().enumerate() {
        world.sandbox.script(vec![Turn { finish: Some(reason.into()), ..Turn::default() }]);
        say(&world, "549", reason).await;
        settled(&world, n as i64 + 1).await;
        let told = format!("public.messages where direction = 'internal' and content ->> 'kind' = 'error' and content ->> 'text' like '%{reason}%'");
        assert_eq!(world.count(&told).await, 1, "{reason}");
        let logged = format!("public.logs where category = 'agent' and level = 'error' and message like '%{reason}%'");
        assert_eq!(world.count(&logged).await, 1, "{reason}");
    }
    assert_eq!(phone(&world, "549").len(), 0);
    // What was cut says something, and the next question finds an agent that works.
    world.sandbox.script(vec![Turn { finish: Some("length".into()), ..Turn::says("As I was about to") }]);
    for (n, text) in ["and?", "and now?"].into_iter().enumerate() {
        say(&world, "549", text).await;
        settled(&world, n as i64 + 3).await;
    }
    assert_eq!(phone(&world, "549"), ["As I was about to", "You said: and now?"]);
}

#[tokio::test]
async fn w37_what_a_failing_run_has_done_is_kept_and_its_error_is_nobodys_text() {
    let world = World::new().await;
    world.furnished().await;
    world.execute("update bus.queues set backoff = '100 ms' where queue = 'agent'", &[]).await;
    let shop = json!({"provider": "local", "type": "http", "label": "shop", "config": {"url": format!("{}/web/*", world.sandbox_url)}});
    set(&world, "agents", json!({"tools": [shop]})).await;
    let order =
        |n: i64| Turn::calls([("shop__request", json!({"url": format!("{}/web/echo", world.sandbox_url), "method": "POST", "body": {"order": n}}))]);
    world.sandbox.script(vec![order(1), Turn::fails(500, "boom"), Turn::fails(503, "boom"), Turn::says("Ordered.")]);
    let _process = world.serve().await;
    say(&world, "549", "a chair").await;
    settled(&world, 1).await;
    assert_eq!(phone(&world, "549"), ["Ordered."]);
    assert_eq!((world.sandbox.hits().len(), world.sandbox.asked().len()), (1, 4), "it is not ordered again");
    assert_eq!(last(&world)["messages"].as_array().unwrap().last().unwrap()["role"], "tool");
    assert_eq!(world.count("public.messages where content ->> 'kind' = 'error'").await, 0, "what passes is no error");
    // Without hope it is told to people, and the next run knows what was done.
    world.sandbox.script(vec![order(2), Turn::fails(400, "boom")]);
    say(&world, "549", "a table").await;
    settled(&world, 2).await;
    assert_eq!(
        world.count("public.messages where direction = 'internal' and content ->> 'kind' = 'error' and content ->> 'text' like '%boom%'").await,
        1
    );
    say(&world, "549", "done?").await;
    settled(&world, 3).await;
    let asked = last(&world)["messages"].to_string();
    assert!(!asked.contains("boom") && asked.matches("\"role\":\"tool\"").count() == 2, "{asked}");
    assert_eq!(phone(&world, "549"), ["Ordered.", "You said: done?"]);
    assert_eq!(world.sandbox.hits().len(), 2);
}
