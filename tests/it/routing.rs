//! Who answers: rules by position, then the defaults; local chats; and agents that pass a conversation on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings::sandbox::Turn;
use uuid::Uuid;

use crate::support::*;

const RULE: &str = "insert into public.bindings
      (organization_id, agent_id, position, service, organization_address, contact_address, group_address, text_regex)
    select $1, $2, coalesce(r.position, 0), r.service, r.organization_address, r.contact_address, r.group_address, r.text_regex
    from jsonb_to_record($3) r (position int, service public.service, organization_address text, contact_address text, group_address text,
      text_regex text)";

/// An organization that answers at once, with a number and without an agent.
async fn office(world: &World) -> Uuid {
    let organization = world.organization(json!({"response_delay_seconds": 0})).await;
    world.number(organization, NUMBER).await;
    organization
}

/// An agent whose instructions are its name: by it the prompts tell who was asked.
async fn agent(world: &World, organization: Uuid, name: &str, settings: Value) -> Uuid {
    let mut extra = json!({"api_url": format!("{}/v1", world.sandbox_url), "model": "sandbox", "instructions": name});
    extra.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let sql = "insert into public.agents (organization_id, name, ai, extra) values ($1, $2, true, $3) returning id";
    world.value(sql, &[&organization, &name, &extra]).await
}

async fn rule(world: &World, organization: Uuid, agent: Uuid, conditions: Value) {
    world.execute(RULE, &[&organization, &agent, &conditions]).await;
}

/// The agents that were asked, in order.
fn who(world: &World) -> Vec<String> {
    let asked = world.sandbox.asked();
    asked.iter().map(|a| a["messages"][0]["content"].as_str().unwrap().lines().next().unwrap_or_default().to_owned()).collect()
}

/// Waits for the answer to what was just said; who gave it.
async fn answered_by(world: &World, before: usize) -> String {
    eventually("somebody is asked", || async { world.sandbox.asked().len() > before }).await;
    world.idle().await;
    who(world).pop().unwrap()
}

/// Says something to a number; who answers.
async fn say_to(world: &World, number: &str, text: &str) -> String {
    let before = world.sandbox.asked().len();
    world.sandbox.say(&json!({"from": "549", "number": number, "text": text})).await;
    answered_by(world, before).await
}

async fn say(world: &World, text: &str) -> String {
    say_to(world, NUMBER, text).await
}

/// Somebody writes something, in a group or not; who answers.
async fn receive(world: &World, organization: Uuid, from: &str, group: Option<&str>, content: Value) -> String {
    let before = world.sandbox.asked().len();
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, group_address, service, direction, content)
        values ($1, '111', $2, $3, 'whatsapp', 'incoming', $4)";
    world.execute(sql, &[&organization, &from, &group, &content]).await;
    answered_by(world, before).await
}

/// A chat inside the organization.
async fn chat(world: &World, organization: Uuid, extra: Value) -> Uuid {
    let sql = "insert into public.conversations (organization_id, service, organization_address, extra)
        values ($1, 'local', $2, $3) returning id";
    world.value(sql, &[&organization, &organization.to_string(), &extra]).await
}

async fn write(world: &World, organization: Uuid, chat: Uuid, text: &str) {
    let sql = "insert into public.messages (organization_id, organization_address, conversation_id, service, direction, content)
        values ($1, $2, $3, 'local', 'incoming', $4)";
    world.execute(sql, &[&organization, &organization.to_string(), &chat, &text_content(text)]).await;
}

#[tokio::test]
async fn the_first_rule_by_position_that_matches_wins() {
    let world = World::new().await;
    let organization = office(&world).await;
    agent(&world, organization, "Desk", json!({})).await;
    let [sales, support] = [agent(&world, organization, "Sales", json!({})).await, agent(&world, organization, "Support", json!({})).await];
    rule(&world, organization, support, json!({"position": 2, "text_regex": "refund|chair"})).await;
    rule(&world, organization, sales, json!({"position": 1, "text_regex": "chair"})).await;
    let stranger = world.organization(json!({})).await;
    let theirs = agent(&world, stranger, "Stranger", json!({})).await;
    rule(&world, stranger, theirs, json!({"position": 0})).await;
    let _process = world.serve().await;
    assert_eq!(say(&world, "a chair, please").await, "Sales");
    assert_eq!(say(&world, "my refund").await, "Support");
    assert_eq!(say(&world, "good morning").await, "Desk");
    world.execute("update public.bindings set position = 3 where agent_id = $1", &[&sales]).await;
    assert_eq!(say(&world, "a chair, please").await, "Support");
}

#[tokio::test]
async fn what_a_rule_looks_at() {
    let world = World::new().await;
    let organization = office(&world).await;
    let extra = json!({"waba_id": "w", "phone_number": "15550002222", "access_token": "t"});
    let sql = "insert into public.organizations_addresses (organization_id, service, address, extra) values ($1, 'whatsapp', '222', $2)";
    world.execute(sql, &[&organization, &extra]).await;
    agent(&world, organization, "Desk", json!({})).await;
    let sales = agent(&world, organization, "Sales", json!({})).await;
    let _process = world.serve().await;
    let cases = [
        (json!({}), true),
        (json!({"service": "whatsapp"}), true),
        (json!({"service": "instagram"}), false),
        (json!({"organization_address": "111"}), true),
        (json!({"organization_address": "+1 (555) 000-1111"}), true),
        (json!({"organization_address": "222"}), false),
        (json!({"organization_address": "15550002222"}), false),
        (json!({"contact_address": "549"}), true),
        (json!({"contact_address": "+54 9"}), true),
        (json!({"contact_address": "550"}), false),
        (json!({"contact_address": "+54"}), false),
        (json!({"group_address": "g1"}), false),
        (json!({"text_regex": "CHAIR"}), true),
        (json!({"text_regex": "^chair"}), false),
        (json!({"service": "whatsapp", "organization_address": "111", "contact_address": "549", "text_regex": "chairs?"}), true),
        (json!({"service": "whatsapp", "organization_address": "111", "contact_address": "549", "text_regex": "tables?"}), false),
    ];
    for (conditions, matches) in cases {
        world.execute("delete from public.bindings", &[]).await;
        rule(&world, organization, sales, conditions.clone()).await;
        assert_eq!(say(&world, "A Chair, please").await, if matches { "Sales" } else { "Desk" }, "{conditions}");
    }
    world.execute("delete from public.bindings", &[]).await;
    rule(&world, organization, sales, json!({"organization_address": "+15550002222"})).await;
    assert_eq!(say_to(&world, "222", "hello").await, "Sales");
    assert_eq!(say(&world, "hello").await, "Desk");
}

#[tokio::test]
async fn rules_for_groups_for_their_members_and_for_captions() {
    let world = World::new().await;
    let organization = office(&world).await;
    agent(&world, organization, "Desk", json!({})).await;
    let [club, sales] = [agent(&world, organization, "Club", json!({})).await, agent(&world, organization, "Sales", json!({})).await];
    rule(&world, organization, club, json!({"position": 1, "group_address": "g1", "contact_address": "+54 9"})).await;
    rule(&world, organization, sales, json!({"position": 2, "text_regex": "refund"})).await;
    let _process = world.serve().await;
    assert_eq!(receive(&world, organization, "549", Some("g1"), text_content("hi all")).await, "Club");
    assert_eq!(receive(&world, organization, "550", Some("g1"), text_content("hi all")).await, "Desk", "somebody else in the group");
    assert_eq!(receive(&world, organization, "549", Some("g2"), text_content("hi all")).await, "Desk", "another group");
    assert_eq!(receive(&world, organization, "549", None, text_content("hi")).await, "Desk", "in private");
    let file = json!({"uri": "https://files.example/x.png", "mime_type": "image/png"});
    let photo = json!({"version": "1", "type": "file", "kind": "image", "file": file, "text": "My REFUND, see the photo"});
    assert_eq!(receive(&world, organization, "549", None, photo).await, "Sales");
}

#[tokio::test]
async fn without_a_rule_that_matches_the_defaults_decide_the_nearest_first() {
    let world = World::new().await;
    let organization = office(&world).await;
    agent(&world, organization, "Oldest", json!({})).await;
    let mut ids = Vec::new();
    for name in ["Organization's", "Number's", "Conversation's", "Nobody's"] {
        ids.push(agent(&world, organization, name, json!({})).await);
    }
    rule(&world, organization, ids[3], json!({"text_regex": "never said"})).await;
    let _process = world.serve().await;
    assert_eq!(say(&world, "0").await, "Oldest");
    for (table, id, name) in
        [("organizations", ids[0], "Organization's"), ("organizations_addresses", ids[1], "Number's"), ("conversations", ids[2], "Conversation's")]
    {
        let choice = json!({"default_agent_id": id});
        world.execute(&format!("update public.{table} set extra = $1"), &[&choice]).await;
        assert_eq!(say(&world, name).await, name);
    }
    // Who is not active is no default any more.
    for (id, mode, next) in [(ids[2], "inactive", "Number's"), (ids[1], "draft", "Organization's"), (ids[0], "inactive", "Oldest")] {
        world.execute("update public.agents set extra = $2 where id = $1", &[&id, &json!({"mode": mode})]).await;
        assert_eq!(say(&world, mode).await, next);
    }
    rule(&world, organization, ids[3], json!({"position": -1})).await;
    assert_eq!(say(&world, "a rule comes before them all").await, "Nobody's");
}

#[tokio::test]
async fn w25_the_oldest_active_agent_answers_and_drafts_answer_no_customer() {
    let world = World::new().await;
    let organization = office(&world).await;
    let mut ids = Vec::new();
    for (name, mode, age) in
        [("Young", "active", 1.0), ("Old", "active", 3.0), ("Draft", "draft", 4.0), ("Retired", "inactive", 5.0), ("Middle", "active", 2.0)]
    {
        let id = agent(&world, organization, name, json!({"mode": mode})).await;
        world.execute("update public.agents set created_at = now() - $2 * interval '1 day' where id = $1", &[&id, &age]).await;
        ids.push(id);
    }
    // A person is older than all of them.
    let sql = "insert into public.agents (organization_id, name, ai, created_at) values ($1, 'Ana', false, now() - interval '9 days')";
    world.execute(sql, &[&organization]).await;
    for (position, id) in [ids[2], ids[3]].into_iter().enumerate() {
        rule(&world, organization, id, json!({"position": position})).await;
    }
    let _process = world.serve().await;
    assert_eq!(say(&world, "no rule has an agent that is active").await, "Old");
    rule(&world, organization, ids[4], json!({"position": 9})).await;
    assert_eq!(say(&world, "rules of agents that are not active are passed over").await, "Middle");
    world.execute("delete from public.bindings", &[]).await;
    let choice = json!({"default_agent_id": ids[0]});
    world.execute("update public.organizations set extra = $2 where id = $1", &[&organization, &choice]).await;
    assert_eq!(say(&world, "the organization's choice").await, "Young");
    world.execute("update public.agents set extra = '{\"mode\": \"draft\"}' where ai and extra ->> 'mode' = 'active'", &[]).await;
    world.sandbox.say(&json!({"from": "549", "number": NUMBER, "text": "nobody?"})).await;
    world.until("it is stored", "select count(*) = 4 from public.messages where direction = 'incoming'").await;
    world.idle().await;
    assert_eq!((world.sandbox.asked().len(), world.count("bus.dead").await), (3, 0));
}

#[tokio::test]
async fn rules_that_cannot_work_are_refused_by_column() {
    let world = World::new().await;
    let organization = office(&world).await;
    let sales = agent(&world, organization, "Sales", json!({})).await;
    let theirs = agent(&world, world.organization(json!({})).await, "Stranger", json!({})).await;
    let sql = "insert into public.agents (organization_id, name, ai) values ($1, 'Ana', false) returning id";
    let ana: Uuid = world.value(sql, &[&organization]).await;
    for (agent, pattern, words) in [
        (sales, "a(".to_owned(), "bindings.text_regex: invalid regular expression"),
        (sales, "[z-a]".to_owned(), "bindings.text_regex: invalid regular expression"),
        (sales, "(a+)\\1".to_owned(), "bindings.text_regex: back-references"),
        (sales, "a".repeat(501), "bindings.text_regex: has 501 characters; 500 are the limit"),
        (theirs, "a".to_owned(), "bindings.agent_id: organization"),
        (ana, "a".to_owned(), "bindings.agent_id: organization"),
    ] {
        let refusal = world.refusal(RULE, &[&organization, &agent, &json!({"text_regex": pattern})]).await;
        assert!(refusal.starts_with(words), "{pattern:.20}: {refusal}");
    }
    rule(&world, organization, sales, json!({"text_regex": "a".repeat(500)})).await;
    let changed = world.refusal("update public.bindings set text_regex = '('", &[]).await;
    assert!(changed.starts_with("bindings.text_regex"), "{changed}");
    let changed = world.refusal("update public.bindings set agent_id = $1", &[&ana]).await;
    assert!(changed.starts_with("bindings.agent_id"), "{changed}");
    assert_eq!(world.count("public.bindings").await, 1);
}

/// Whoever is bound by this pattern is found within two seconds, or the pattern is refused.
async fn holds_up_nobody(patterns: &[&str]) {
    let world = World::new().await;
    let organization = office(&world).await;
    agent(&world, organization, "Desk", json!({})).await;
    let sales = agent(&world, organization, "Sales", json!({})).await;
    let _process = world.serve().await;
    let text = "a".repeat(3999) + "b";
    assert_eq!(say(&world, &text).await, "Desk");
    for pattern in patterns {
        world.execute("delete from public.bindings", &[]).await;
        if let Err(error) = world.db.query(RULE, &[&organization, &sales, &json!({"text_regex": pattern})]).await {
            let refusal = tidings::db::refusal(&error).map(|e| e.message().to_owned()).unwrap_or_default();
            assert!(refusal.starts_with("bindings.text_regex"), "{pattern}: {error:?}");
            continue;
        }
        let (begun, before) = (Instant::now(), world.sandbox.asked().len());
        world.sandbox.say(&json!({"from": "549", "number": NUMBER, "text": text})).await;
        eventually("the model is asked", || async { world.sandbox.asked().len() > before }).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{pattern} took {:?}", begun.elapsed());
        assert_eq!(answered_by(&world, before).await, "Desk", "{pattern}");
    }
}

#[tokio::test]
async fn a_pattern_that_could_run_away_holds_up_nobody() {
    holds_up_nobody(&["(a+)+$", "(a|aa)+$", "(.*a){20}$", "^(a?){20}a{20}$"]).await;
}

#[tokio::test]
async fn a_short_pattern_that_is_a_huge_automaton_holds_up_nobody() {
    holds_up_nobody(&["(a?){255}(a?){255}(a?){255}(a?){255}c"]).await;
}

#[tokio::test]
async fn local_chats_are_answered_by_the_agents_that_they_name() {
    let world = World::new().await;
    let organization = office(&world).await;
    let desk = agent(&world, organization, "Desk", json!({})).await;
    let sales = agent(&world, organization, "Sales", json!({})).await;
    let draft = agent(&world, organization, "Draft", json!({"mode": "draft"})).await;
    let retired = agent(&world, organization, "Retired", json!({"mode": "inactive"})).await;
    rule(&world, organization, sales, json!({})).await;
    let _process = world.serve().await;
    for (extra, name) in [
        (json!({"default_agent_id": desk}), "Desk"),
        (json!({"default_agent_id": draft}), "Draft"),
        (json!({"default_agent_id": retired}), "Retired"),
        // Without a name it goes as anywhere else.
        (json!({}), "Sales"),
    ] {
        let (chat, before) = (chat(&world, organization, extra).await, world.sandbox.asked().len());
        write(&world, organization, chat, name).await;
        assert_eq!(answered_by(&world, before).await, name);
        let sql = "select to_jsonb(m) from public.messages m where m.conversation_id = $1 and m.direction = 'outgoing'";
        let answer: Value = world.value(sql, &[&chat]).await;
        assert_eq!((&answer["service"], &answer["content"]["text"]), (&json!("local"), &json!(format!("You said: {name}"))));
        assert!(answer["status"]["delivered"].is_string(), "{answer}");
    }
    assert_eq!(world.count("public.conversations").await, 4);
    assert_eq!((world.sandbox.sent().len(), world.count("bus.dead").await), (0, 0), "nothing leaves the database");
    // The retired one answers where it is tried out, and nowhere else.
    world.execute("delete from public.bindings", &[]).await;
    world.execute("update public.agents set extra = '{\"mode\": \"inactive\"}' where name in ('Desk', 'Sales')", &[]).await;
    let (other, before) = (chat(&world, organization, json!({})).await, world.sandbox.asked().len());
    write(&world, organization, other, "who is left?").await;
    assert_eq!(answered_by(&world, before).await, "Draft");
}

const PASS: &str = "pass_to_agent";

fn passes() -> Value {
    json!({"tools": [{"provider": "local", "type": "function", "name": PASS}]})
}

#[tokio::test]
async fn an_agent_passes_to_another_and_so_it_stays_until_a_new_start() {
    let world = World::new().await;
    let organization = office(&world).await;
    let desk = agent(&world, organization, "Desk", passes()).await;
    agent(&world, organization, "Sales", json!({})).await;
    rule(&world, organization, desk, json!({})).await;
    world.sandbox.script(vec![Turn::calls([(PASS, json!({"agent": "sales"}))])]);
    let _process = world.serve().await;
    assert_eq!(say(&world, "forty chairs").await, "Sales");
    assert_eq!(who(&world), ["Desk", "Sales"]);
    assert_eq!(world.sandbox.sent()[0]["body"]["text"]["body"], "You said: forty chairs");
    assert_eq!(say(&world, "and a table").await, "Sales", "whatever the rule says");
    let memory = json!({"memory": {"size": "L"}, "summary": {"text": "Chairs.", "until": "2020-01-01T00:00:00Z"}});
    world.execute("update public.conversations set extra = $1", &[&memory]).await;
    say(&world, "/new hello").await;
    assert_eq!(world.count("public.conversations where extra ?| '{assigned_agent_id,memory,summary}'").await, 0);
    assert_eq!(say(&world, "good morning").await, "Desk");
}

#[tokio::test]
async fn passing_to_nobody_names_those_there_are() {
    let world = World::new().await;
    let organization = office(&world).await;
    agent(&world, organization, "Desk", passes()).await;
    agent(&world, organization, "Sales", json!({"description": "Sells chairs"})).await;
    agent(&world, organization, "Draft", json!({"mode": "draft"})).await;
    world.sandbox.script(vec![Turn::calls([(PASS, json!({"agent": "Nobody"}))])]);
    let _process = world.serve().await;
    assert_eq!(say(&world, "chairs").await, "Desk");
    assert_eq!(world.sandbox.sent()[0]["body"]["text"]["body"], "The tools said: there is no such agent; there are: Sales (Sells chairs)");
    assert_eq!(world.count("public.conversations where extra ? 'assigned_agent_id'").await, 0);
}

#[tokio::test]
async fn what_the_next_agent_should_know_reaches_it() {
    let world = World::new().await;
    let organization = office(&world).await;
    agent(&world, organization, "Desk", passes()).await;
    agent(&world, organization, "Sales", json!({})).await;
    world.sandbox.script(vec![Turn::calls([(PASS, json!({"agent": "Sales", "note": "She pays in advance."}))])]);
    let _process = world.serve().await;
    assert_eq!(say(&world, "forty chairs").await, "Sales");
    let asked = world.sandbox.asked().pop().unwrap();
    assert!(asked.to_string().contains("She pays in advance."), "{asked}");
}

#[tokio::test]
async fn a_pass_in_the_first_run_after_a_new_start_holds() {
    let world = World::new().await;
    let organization = office(&world).await;
    agent(&world, organization, "Desk", passes()).await;
    agent(&world, organization, "Sales", json!({})).await;
    world.sandbox.script(vec![Turn::calls([(PASS, json!({"agent": "Sales"}))])]);
    let _process = world.serve().await;
    assert_eq!(say(&world, "/new forty chairs").await, "Sales");
    assert_eq!(say(&world, "and a table").await, "Sales", "the new start was before the pass");
}
