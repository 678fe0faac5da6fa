//! What tools may do: policies that allow, deny or ask, and calls that wait for a person.

use serde_json::{Value, json};
use tidings::sandbox::Turn;
use uuid::Uuid;

use crate::support::*;

/// Holds while the run of the only conversation waits for a person: nobody has leased it.
const WAITS: &str = "select worker is null and waits_for = 'approval' from bus.tasks where queue = 'agent'";

/// An organization whose agent may call a shop; and the agent.
async fn shop(world: &World) -> (Uuid, Uuid) {
    let organization = world.furnished().await;
    let shop = json!({"provider": "local", "type": "http", "label": "shop", "config": {"url": format!("{}/web/*", world.sandbox_url)}});
    equip(world, organization, json!([shop])).await;
    (organization, world.value("select id from public.agents where organization_id = $1", &[&organization]).await)
}

async fn equip(world: &World, organization: Uuid, tools: Value) {
    world.execute("update public.agents set extra = $2 where organization_id = $1", &[&organization, &json!({"tools": tools})]).await;
}

async fn policies(world: &World, organization: Uuid, all: Value) {
    let sql = "insert into public.policies (organization_id, position, name, service, agent_id, tool, effect, decision, expires_after)
        select $1, coalesce(p.position, 0), p.name, p.service, p.agent_id, p.tool, p.effect, p.decision, coalesce(p.expires_after, '24 hours')
        from jsonb_to_recordset($2) p (position int, name text, service public.service, agent_id uuid, tool text, effect text, decision text,
          expires_after interval)";
    world.execute(sql, &[&organization, &all]).await;
}

/// The call by which the shop gives money back.
fn refund(world: &World, order: i64) -> (&'static str, Value) {
    ("shop__request", json!({"url": format!("{}/web/echo", world.sandbox_url), "method": "POST", "body": {"order": order}}))
}

async fn say(world: &World, from: &str, text: &str) {
    world.sandbox.say(&json!({"from": from, "number": NUMBER, "text": text})).await;
}

/// Waits until everything that was said has been dealt with.
async fn settled(world: &World, said: i64) {
    world.until("everything is stored", &format!("select count(*) >= {said} from public.messages where direction = 'incoming'")).await;
    world.idle().await;
}

/// The texts that customers got.
fn phone(world: &World) -> Vec<String> {
    world.sandbox.sent().iter().map(|s| s["body"]["text"]["body"].as_str().unwrap_or_default().to_owned()).collect()
}

fn posted(world: &World) -> usize {
    world.sandbox.hits().iter().filter(|h| h["method"] == "POST").count()
}

/// Everything that the model was asked last.
fn last(world: &World) -> String {
    world.sandbox.asked().pop().unwrap_or_default().to_string()
}

/// The SQLSTATE and the words with which the database refuses a statement.
async fn refused(world: &World, sql: &str) -> (String, String) {
    let error = world.db.query(sql, &[]).await.expect_err("to be refused");
    let refusal = tidings::db::refusal(&error).unwrap();
    (refusal.code().code().to_owned(), refusal.message().to_owned())
}

#[tokio::test]
async fn the_first_policy_by_position_that_matches_a_call_decides() {
    let world = World::new().await;
    let (organization, agent) = shop(&world).await;
    let other = world.agent(organization).await;
    let stranger = world.organization(json!({})).await;
    policies(&world, stranger, json!([{"decision": "deny"}])).await;
    let _process = world.serve().await;
    let cases = [
        (json!([]), true),
        (json!([{"decision": "deny"}]), false),
        (json!([{"decision": "deny", "tool": "shop__*"}]), false),
        (json!([{"decision": "deny", "tool": "shop__request"}]), false),
        // Nothing but * stands for anything, and a pattern is about the whole name.
        (json!([{"decision": "deny", "tool": "sho_*"}, {"decision": "deny", "tool": "shop"}, {"decision": "deny", "tool": "shop%"}]), true),
        (json!([{"decision": "deny", "position": 2}, {"decision": "allow", "position": 1, "tool": "shop__*"}]), true),
        (json!([{"decision": "allow", "position": 2, "tool": "shop__*"}, {"decision": "deny", "position": 1}]), false),
        (json!([{"decision": "deny", "effect": "read"}, {"decision": "deny", "effect": "write"}]), true),
        (json!([{"decision": "deny", "effect": "external"}]), false),
        (json!([{"decision": "deny", "service": "instagram"}, {"decision": "deny", "service": "local"}]), true),
        (json!([{"decision": "deny", "service": "whatsapp"}]), false),
        (json!([{"decision": "deny", "agent_id": other}]), true),
        (json!([{"decision": "deny", "agent_id": agent, "tool": "*request", "effect": "external", "service": "whatsapp"}]), false),
    ];
    for (n, (rules, called)) in cases.into_iter().enumerate() {
        world.execute("delete from public.policies where organization_id = $1", &[&organization]).await;
        policies(&world, organization, rules.clone()).await;
        world.sandbox.forget();
        world.sandbox.script(vec![Turn::calls([refund(&world, 7)])]);
        say(&world, "549", "refund").await;
        settled(&world, n as i64 + 1).await;
        assert_eq!(posted(&world), usize::from(called), "{rules}");
        assert_eq!(phone(&world).len(), 1, "{rules}: answered in any case");
    }
}

#[tokio::test]
async fn what_a_policy_denies_is_not_called_and_the_model_goes_on_with_its_name() {
    let world = World::new().await;
    let (organization, _) = shop(&world).await;
    policies(&world, organization, json!([{"name": "Hands off", "tool": "shop__*", "effect": "external", "decision": "deny"}])).await;
    world.sandbox.script(vec![Turn::calls([refund(&world, 7)])]);
    let _process = world.serve().await;
    say(&world, "549", "refund").await;
    settled(&world, 1).await;
    let told = "the organization's policy does not allow this call (Hands off)";
    let result: Value = world.value("select content from public.messages where content #>> '{tool,event}' = 'result'", &[]).await;
    assert_eq!((&result["text"], &result["tool"]["is_error"]), (&json!(told), &json!(true)));
    assert_eq!(phone(&world), [format!("The tools said: {told}")]);
    assert_eq!((posted(&world), world.count("public.approvals").await), (0, 0));
}

#[tokio::test]
async fn a_refund_waits_for_a_person_holding_nothing_and_is_made_once_when_it_is_granted() {
    let world = World::new().await;
    let (organization, agent) = shop(&world).await;
    policies(&world, organization, json!([{"name": "Money", "tool": "shop__*", "effect": "external", "decision": "ask"}])).await;
    world.sandbox.script(vec![Turn::calls([refund(&world, 7)]), Turn::says("Your money is on its way.")]);
    let mut first = world.serve().await;
    say(&world, "549", "I want my money back").await;
    world.until("the run waits, and nobody holds it", WAITS).await;
    let question: Value = world.value("select to_jsonb(a) from public.approvals a", &[]).await;
    assert_eq!((&question["state"], &question["tool"], &question["effect"]), (&json!("pending"), &json!("shop__request"), &json!("external")));
    assert_eq!((&question["arguments"], &question["agent_id"]), (&refund(&world, 7).1, &json!(agent)));
    let a_day: bool = world.value("select expires_at - created_at between '23:59' and '24:01' from public.approvals", &[]).await;
    assert!(a_day, "{question}");
    assert_eq!(world.count("public.logs where category = 'approval' and message = 'shop__request waits for approval'").await, 1);
    assert_eq!((posted(&world), world.sandbox.asked().len(), phone(&world).len()), (0, 1, 0));

    // Who asked need not be there any more.
    first.signal("-TERM");
    first.wait().await;
    let _second = world.serve().await;
    world.execute("update public.approvals set state = 'granted'", &[]).await;
    eventually("the customer hears of it", || async { phone(&world) == ["Your money is on its way."] }).await;
    world.idle().await;
    let hits = world.sandbox.hits();
    assert_eq!(hits.len(), 1, "{hits:?}");
    assert_eq!((&hits[0]["method"], &hits[0]["body"]), (&json!("POST"), &json!({"order": 7})));
    assert_eq!(world.sandbox.asked().len(), 2);
    let asked = world.sandbox.asked().pop().unwrap();
    let result = asked["messages"].as_array().unwrap().last().unwrap();
    assert_eq!(result["role"], "tool");
    assert!(result["content"].as_str().unwrap().contains("\"order\":7"), "{result}");
    assert_eq!(world.sandbox.sent()[0]["body"]["to"], "549");
    assert_eq!(world.count("public.approvals where state = 'granted' and decided_at is not null").await, 1);
    assert_eq!((world.count("bus.calls").await, world.count("bus.dead").await), (0, 0));
}

#[tokio::test]
async fn what_only_reads_is_not_held_up_and_a_refusal_comes_with_its_note() {
    let world = World::new().await;
    let (organization, _) = shop(&world).await;
    policies(&world, organization, json!([{"effect": "external", "decision": "ask"}])).await;
    let look = ("shop__request", json!({"url": format!("{}/web/echo", world.sandbox_url), "method": "GET", "query": {"order": "7"}}));
    world.sandbox.script(vec![Turn::calls([look, refund(&world, 7)]), Turn::says("I may not.")]);
    let _process = world.serve().await;
    say(&world, "549", "refund").await;
    world.until("the run waits", WAITS).await;
    let methods: Vec<Value> = world.sandbox.hits().iter().map(|h| h["method"].clone()).collect();
    assert_eq!(methods, ["GET"]);
    let messages = world.messages().await;
    let effects: Vec<&Value> = messages.iter().map(|m| &m["content"]["tool"]).filter(|t| t["event"] == "use").map(|t| &t["effect"]).collect();
    assert_eq!(effects, ["read", "external"]);
    assert_eq!(world.sandbox.asked().len(), 1, "the model gets both results together");
    let id: Uuid = world.value("select id from public.approvals", &[]).await;
    let state: String = world.value("select (public.decide_approval($1, $2, false, 'twice is enough')).state", &[&organization, &id]).await;
    assert_eq!(state, "refused");
    eventually("the customer hears of it", || async { phone(&world) == ["I may not."] }).await;
    world.idle().await;
    assert!(last(&world).contains("a person refused this call: twice is enough"), "{}", last(&world));
    assert_eq!((posted(&world), world.sandbox.asked().len()), (0, 2));
    assert_eq!(world.count("public.messages where content #>> '{tool,is_error}' = 'true'").await, 1);
}

#[tokio::test]
async fn the_model_goes_on_when_all_questions_of_its_turn_are_decided() {
    let world = World::new().await;
    let (organization, _) = shop(&world).await;
    policies(&world, organization, json!([{"tool": "shop__*", "decision": "ask"}])).await;
    world.sandbox.script(vec![Turn::calls([refund(&world, 1), refund(&world, 2)]), Turn::says("One of two.")]);
    let _process = world.serve().await;
    say(&world, "549", "refund both").await;
    world.until("the run waits", WAITS).await;
    assert_eq!(world.count("public.approvals where state = 'pending'").await, 2);
    world.execute("update public.approvals set state = 'granted' where arguments #>> '{body,order}' = '2'", &[]).await;
    eventually("the granted one is made at once", || async { posted(&world) == 1 }).await;
    world.until("the run waits for the other", WAITS).await;
    assert_eq!((world.sandbox.asked().len(), phone(&world).len()), (1, 0));
    world.execute("update public.approvals set state = 'refused' where state = 'pending'", &[]).await;
    eventually("an answer", || async { phone(&world) == ["One of two."] }).await;
    world.idle().await;
    let orders: Vec<Value> = world.sandbox.hits().iter().map(|h| h["body"]["order"].clone()).collect();
    assert_eq!(orders, [2]);
}

#[tokio::test]
async fn a_question_that_nobody_decides_expires_and_the_model_learns_of_it() {
    let world = World::new().await;
    let (organization, _) = shop(&world).await;
    policies(&world, organization, json!([{"tool": "shop__*", "decision": "ask", "expires_after": "1 second"}])).await;
    world.sandbox.script(vec![Turn::calls([refund(&world, 7)]), Turn::says("Nobody was there.").when("nobody approved this call in time")]);
    let _process = world.serve().await;
    say(&world, "549", "refund").await;
    eventually("an answer", || async { phone(&world) == ["Nobody was there."] }).await;
    world.idle().await;
    assert_eq!(world.count("public.approvals where state = 'expired' and decided_at >= expires_at").await, 1);
    assert_eq!(posted(&world), 0);
    let (state, words) = refused(&world, "update public.approvals set state = 'granted'").await;
    assert!(state == "55000" && words.contains("has been expired since"), "{state} {words}");
}

#[tokio::test]
async fn a_customer_who_writes_while_it_waits_is_answered_at_once_and_again_when_it_is_done() {
    let world = World::new().await;
    let (organization, _) = shop(&world).await;
    policies(&world, organization, json!([{"tool": "shop__*", "decision": "ask"}])).await;
    world.sandbox.script(vec![
        Turn::calls([refund(&world, 7)]),
        Turn::says("A colleague looks at it.").when("waits for a person's approval"),
        Turn::says("Done.").when("<tool-result tool=\"shop__request\">"),
    ]);
    let _process = world.serve().await;
    say(&world, "549", "refund").await;
    world.until("the run waits", WAITS).await;
    say(&world, "549", "hello?").await;
    eventually("an answer", || async { phone(&world) == ["A colleague looks at it."] }).await;
    // The run comes back when the question expires.
    world.until("the run waits", WAITS).await;
    assert_eq!((posted(&world), world.count("public.approvals where state = 'pending'").await), (0, 1));
    world.execute("update public.approvals set state = 'granted'", &[]).await;
    eventually("a second answer", || async { phone(&world) == ["A colleague looks at it.", "Done."] }).await;
    world.idle().await;
    assert_eq!((posted(&world), world.sandbox.asked().len()), (1, 3));
    let asked = world.sandbox.asked().pop().unwrap();
    let news = asked["messages"].as_array().unwrap().last().unwrap();
    let text = news["content"].as_str().unwrap();
    assert!(news["role"] == "user" && text.starts_with("<tool-result tool=\"shop__request\">") && text.contains("\"order\":7"), "{news}");
}

#[tokio::test]
async fn a_grant_in_the_middle_of_a_thought_is_in_the_answer() {
    let world = World::new().await;
    let (organization, _) = shop(&world).await;
    policies(&world, organization, json!([{"tool": "shop__*", "decision": "ask"}])).await;
    let late = Turn { think_ms: Some(30_000), ..Turn::says("Too late.") };
    world.sandbox.script(vec![Turn::calls([refund(&world, 7)]), late, Turn::says("Done.")]);
    let _process = world.serve().await;
    say(&world, "549", "refund").await;
    world.until("the run waits", WAITS).await;
    say(&world, "549", "hello?").await;
    eventually("the model thinks", || async { world.sandbox.asked().len() == 2 }).await;
    world.execute("update public.approvals set state = 'granted'", &[]).await;
    eventually("an answer", || async { !phone(&world).is_empty() }).await;
    world.idle().await;
    assert_eq!((phone(&world), posted(&world)), (vec!["Done.".to_owned()], 1));
    assert!(!last(&world).contains("waits for a person's approval"), "{}", last(&world));
}

#[tokio::test]
async fn a_question_that_expires_after_the_customer_wrote_is_told_too() {
    let world = World::new().await;
    let (organization, _) = shop(&world).await;
    policies(&world, organization, json!([{"tool": "shop__*", "decision": "ask", "expires_after": "4 seconds"}])).await;
    world.sandbox.script(vec![
        Turn::calls([refund(&world, 7)]),
        Turn::says("A colleague looks at it.").when("waits for a person's approval"),
        Turn::says("Nobody was there.").when("nobody approved this call in time"),
    ]);
    let _process = world.serve().await;
    say(&world, "549", "refund").await;
    world.until("the run waits", WAITS).await;
    say(&world, "549", "hello?").await;
    eventually("an answer", || async { phone(&world).len() == 1 }).await;
    world.until("it has expired", "select state = 'expired' from public.approvals").await;
    eventually("he is told", || async { phone(&world) == ["A colleague looks at it.", "Nobody was there."] }).await;
    assert_eq!(posted(&world), 0);
}

#[tokio::test]
async fn a_question_is_decided_once_in_time_by_a_person_and_as_it_stands() {
    let world = World::new().await;
    let (organization, agent) = shop(&world).await;
    let sql = "insert into public.agents (organization_id, name, ai) values ($1, 'Ana', false) returning id";
    let ana: Uuid = world.value(sql, &[&organization]).await;
    policies(&world, organization, json!([{"tool": "shop__*", "decision": "ask", "expires_after": "3 seconds"}])).await;
    world.sandbox.script(vec![Turn::calls([refund(&world, 1)])]);
    let mut process = world.serve().await;
    say(&world, "549", "refund").await;
    world.until("the run waits", WAITS).await;
    process.signal("-KILL");
    process.wait().await;
    for changed in ["arguments = '{}'", "tool = 'calculator'", "effect = 'read'", "expires_at = 'infinity'"] {
        let (state, words) = refused(&world, &format!("update public.approvals set {changed}")).await;
        assert!(state == "42501" && words.contains("only state, note and decided_by can be changed"), "{changed}: {state} {words}");
    }
    let (state, words) = refused(&world, &format!("update public.approvals set state = 'granted', decided_by = '{agent}'")).await;
    assert!(state == "23503" && words.starts_with("approvals.decided_by"), "an agent does not decide: {state} {words}");
    world.until("time is up", "select expires_at <= clock_timestamp() from public.approvals").await;
    let (state, words) = refused(&world, "update public.approvals set state = 'granted'").await;
    assert!(state == "55000" && words.contains("the question expired at"), "{state} {words}");
    assert_eq!(world.count("public.approvals where state = 'pending'").await, 1);

    world.execute("update public.policies set expires_after = '1 hour'", &[]).await;
    world.sandbox.script(vec![Turn::calls([refund(&world, 2)]).when("another one")]);
    let _process = world.serve().await;
    say(&world, "550", "another one").await;
    world.until("another question", "select count(*) = 1 from public.approvals where expires_at > now() + interval '30 minutes'").await;
    let id: Uuid = world.value("select id from public.approvals where expires_at > now()", &[]).await;
    world.execute("update public.approvals set state = 'granted', decided_by = $1, note = 'fine' where id = $2", &[&ana, &id]).await;
    for sql in [
        format!("update public.approvals set state = 'refused' where id = '{id}'"),
        format!("update public.approvals set state = 'pending' where id = '{id}'"),
        format!("select public.decide_approval('{organization}', '{id}', false)"),
    ] {
        let (state, words) = refused(&world, &sql).await;
        assert!(state == "55000" && words.contains("has been granted since"), "{sql}: {state} {words}");
    }
    let nobody = world.db.query("select d.id from public.decide_approval($1, $2, true) d where d.id is not null", &[&organization, &agent]).await;
    assert!(nobody.unwrap().is_empty(), "there is no such question");
    eventually("it is made", || async { posted(&world) == 1 }).await;
}

#[tokio::test]
async fn a_tool_of_the_database_does_its_work_once_after_the_grant() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let function = |name: &str| json!({"provider": "local", "type": "function", "name": name});
    equip(&world, organization, json!([function("remember"), function("send_message")])).await;
    policies(&world, organization, json!([{"tool": "remember", "decision": "ask"}, {"tool": "send_message", "decision": "ask"}])).await;
    let _process = world.serve().await;
    say(&world, "550", "I am Bo").await;
    settled(&world, 1).await;
    let calls = [("remember", json!({"key": "size", "value": "L"})), ("send_message", json!({"contact": "+550", "text": "Ana is here"}))];
    world.sandbox.script(vec![Turn::calls(calls), Turn::says("Both done.")]);
    say(&world, "549", "I wear L; tell Bo that I am here").await;
    world.until("the run waits", WAITS).await;
    assert_eq!(world.count("public.approvals where state = 'pending'").await, 2);
    assert_eq!(world.count("public.conversations where extra ? 'memory'").await, 0);
    assert_eq!(world.count("public.messages where content ->> 'text' = 'Ana is here'").await, 0);
    world.execute("update public.approvals set state = 'granted'", &[]).await;
    eventually("an answer", || async { phone(&world).contains(&"Both done.".to_owned()) }).await;
    world.idle().await;
    assert_eq!(world.count("public.conversations where extra -> 'memory' = '{\"size\": \"L\"}'").await, 1);
    let got: Vec<Value> = world.sandbox.sent().iter().filter(|s| s["body"]["to"] == "550").map(|s| s["body"]["text"]["body"].clone()).collect();
    assert_eq!(got, ["You said: I am Bo", "Ana is here"]);
    let failed = "public.messages where content #>> '{tool,event}' = 'result' and content #>> '{tool,is_error}' = 'true'";
    assert_eq!((world.count(failed).await, world.count("bus.calls").await), (0, 0));
}

#[tokio::test]
async fn a_granted_call_is_made_with_the_settings_of_the_agent_that_asked() {
    let world = World::new().await;
    let (organization, _) = shop(&world).await;
    policies(&world, organization, json!([{"tool": "shop__*", "decision": "ask"}])).await;
    world.sandbox.script(vec![Turn::calls([refund(&world, 7)])]);
    let _process = world.serve().await;
    say(&world, "549", "refund").await;
    world.until("the run waits", WAITS).await;
    // Meanwhile somebody else answers, who knows no shop.
    let other = world.agent(organization).await;
    world.execute("update public.organizations set extra = $2 where id = $1", &[&organization, &json!({"default_agent_id": other})]).await;
    world.execute("update public.approvals set state = 'granted'", &[]).await;
    eventually("it is made", || async { posted(&world) == 1 }).await;
}

#[tokio::test]
async fn whoever_is_deleted_while_a_question_waits_leaves_nothing_that_fails() {
    let world = World::new().await;
    let (organization, agent) = shop(&world).await;
    policies(&world, organization, json!([{"tool": "shop__*", "decision": "ask", "expires_after": "3 seconds"}])).await;
    let _process = world.serve().await;
    for (from, table) in [("549", "conversations"), ("550", "agents")] {
        world.sandbox.script(vec![Turn::calls([refund(&world, 7)])]);
        say(&world, from, "refund").await;
        world.until("the run waits", WAITS).await;
        world.execute(&format!("delete from public.{table} where organization_id = $1"), &[&organization]).await;
        world.idle().await;
        assert_eq!((world.count("bus.dead").await, world.count("public.approvals").await), (0, 0), "{table}");
    }
    assert_eq!(world.count("public.messages where agent_id is not null").await, 0, "{agent} is gone, its messages are not");
    assert_eq!((posted(&world), phone(&world).len()), (0, 0));
    // A new agent answers what comes.
    world.agent(organization).await;
    say(&world, "550", "hello?").await;
    eventually("an answer", || async { phone(&world).len() == 1 }).await;
    world.idle().await;
    assert_eq!(world.count("bus.dead").await, 0);
}
