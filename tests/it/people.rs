//! People beside the agent: they take over and hand back, leave notes and are asked for; and groups of them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings::sandbox::Turn;
use uuid::Uuid;

use crate::support::*;

/// Of the only conversation.
const EXTRA: &str = "select coalesce(extra, '{}') from public.conversations";
const RESUME: &str = "select (public.resume_agent(c.organization_id, c.id)).id from public.conversations c where contact_address = $1";

/// An organization with an agent, and Ana who works there.
struct Stage {
    world: World,
    organization: Uuid,
    ana: Uuid,
}

impl Stage {
    async fn new() -> Self {
        let world = World::new().await;
        let organization = world.furnished().await;
        let sql = "insert into public.agents (organization_id, name, ai) values ($1, 'Ana', false) returning id";
        let ana = world.value(sql, &[&organization]).await;
        Self { world, organization, ana }
    }

    /// Stores a row to or beside `contact`: by Ana, another agent, or nobody in particular.
    async fn writes(&self, direction: &str, contact: &str, agent: Option<Uuid>, text: &str, extra: Value) {
        let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, agent_id, content, extra)
            values ($1, '111', $2, 'whatsapp', $3::text::public.direction, $4, $5, $6)";
        self.world.execute(sql, &[&self.organization, &contact, &direction, &agent, &text_content(text), &extra]).await;
    }

    async fn ana_writes(&self, contact: &str, text: &str) {
        self.writes("outgoing", contact, Some(self.ana), text, json!({})).await;
    }

    /// Gives the agent tools.
    async fn equip(&self, tools: Value) {
        self.world.execute("update public.agents set extra = $1 where ai", &[&json!({"tools": tools})]).await;
    }
}

async fn say(world: &World, from: &str, text: &str) {
    world.sandbox.say(&json!({"from": from, "number": NUMBER, "text": text})).await;
}

/// Waits until everything that was said has been dealt with.
async fn settled(world: &World, said: i64) {
    world.until("everything is stored", &format!("select count(*) >= {said} from public.messages where direction = 'incoming'")).await;
    world.idle().await;
}

async fn asked(world: &World, times: usize) {
    eventually("the model is asked", || async { world.sandbox.asked().len() >= times }).await;
}

async fn answers(world: &World) -> Vec<Value> {
    world.messages().await.into_iter().filter(|m| m["direction"] == "outgoing").map(|m| m["content"]["text"].clone()).collect()
}

/// A thought that takes longer than any test waits for it.
fn held() -> Turn {
    Turn { think_ms: Some(8000), ..Turn::says("never said") }
}

/// Who said what, as the model was told; without the instructions.
fn told(asked: &Value) -> Vec<(&str, &str)> {
    let said = asked["messages"].as_array().unwrap()[1..].iter();
    said.map(|m| (m["role"].as_str().unwrap(), m["content"].as_str().unwrap_or_default())).collect()
}

fn offered(asked: &Value) -> Vec<&str> {
    asked["tools"].as_array().unwrap().iter().map(|t| t["function"]["name"].as_str().unwrap()).collect()
}

/// Interrupts a thought by `takeover`, which must end it at once and for good.
async fn interrupted(stage: &Stage, takeover: impl Future<Output = ()>) {
    let world = &stage.world;
    world.sandbox.script(vec![held()]);
    let _process = world.serve().await;
    say(world, "549", "hello").await;
    asked(world, 1).await;
    let began = Instant::now();
    takeover.await;
    world.until("the thought has ended", "select not exists (select from bus.tasks where queue = 'agent')").await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(world.value::<Value>(EXTRA, &[]).await["paused"].is_string());
    say(world, "549", "still there?").await;
    settled(world, 2).await;
    assert_eq!(world.sandbox.asked().len(), 1, "nobody thinks while a person speaks");
    assert!(!answers(world).await.contains(&json!("never said")));
}

#[tokio::test]
async fn a_person_who_writes_ends_the_thought_at_once_and_silences_the_agent() {
    let stage = Stage::new().await;
    interrupted(&stage, stage.ana_writes("549", "I am Ana")).await;
    assert_eq!(answers(&stage.world).await, ["I am Ana"]);
}

#[tokio::test]
async fn pause_agent_does_so_without_a_word() {
    let stage = Stage::new().await;
    let sql = "select (public.pause_agent(c.organization_id, c.id)).id from public.conversations c";
    interrupted(&stage, stage.world.execute(sql, &[])).await;
    assert_eq!(answers(&stage.world).await, [] as [Value; 0]);
}

#[tokio::test]
async fn what_silences_the_agent_and_what_does_not() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let agent: Uuid = world.value("select id from public.agents where ai", &[]).await;
    let _process = world.serve().await;
    let cases = [
        ("5490", Some(stage.ana), json!({}), true),
        ("5491", None, json!({}), false),
        ("5492", Some(agent), json!({}), false),
        ("5493", None, json!({"takeover": true}), true),
        ("5494", None, json!({"takeover": false}), false),
    ];
    for (contact, who, extra, _) in &cases {
        stage.writes("outgoing", contact, *who, "from us", extra.clone()).await;
    }
    for (contact, ..) in &cases {
        say(world, contact, "a question").await;
    }
    settled(world, 5).await;
    for (contact, _, extra, silent) in &cases {
        let paused = format!("public.conversations where contact_address = '{contact}' and extra ? 'paused'");
        let answered =
            format!("public.messages where contact_address = '{contact}' and content->>'text' like '%a question' and direction = 'outgoing'");
        let counts = (world.count(&paused).await, world.count(&answered).await);
        assert_eq!(counts, if *silent { (1, 0) } else { (0, 1) }, "{contact} {extra}");
    }
}

#[tokio::test]
async fn a_person_may_write_at_the_very_moment_of_the_answer() {
    let stage = Stage::new().await;
    let world = &stage.world;
    world.sandbox.script(vec![Turn { think_ms: Some(1500), ..Turn::says("never said") }]);
    let _process = world.serve().await;
    say(world, "549", "hello").await;
    asked(world, 1).await;
    // Somebody holds the conversation, until both want it.
    let mut client = world.db.get().await.unwrap();
    let holder = client.transaction().await.unwrap();
    holder.query("select id from public.conversations for no key update", &[]).await.unwrap();
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let release = async {
        world.until("the person waits", &format!("({waiting}) = 1")).await;
        world.until("so does the answer", &format!("({waiting}) = 2")).await;
        holder.commit().await.unwrap();
    };
    tokio::join!(stage.ana_writes("549", "I am Ana"), release);
    settled(world, 1).await;
    // Whoever of them was first: neither was refused for the other's sake, and from now on the agent is silent.
    let said = answers(world).await;
    assert!(said.contains(&json!("I am Ana")) && said.len() <= 2, "{said:?}");
    say(world, "549", "and now?").await;
    settled(world, 2).await;
    assert_eq!(answers(world).await, said);
    assert_eq!(world.sandbox.asked().len(), 1);
}

#[tokio::test]
async fn a_person_who_takes_over_stops_the_calls_that_have_not_begun() {
    let stage = Stage::new().await;
    let world = &stage.world;
    stage.equip(json!([{"provider": "local", "type": "http", "label": "web", "config": {}}])).await;
    let post = |page: &str| ("web__request", json!({"method": "POST", "url": format!("{}/web/{page}", world.sandbox_url)}));
    world.sandbox.script(vec![Turn::calls([post("slow?ms=1000"), post("echo")])]);
    let _process = world.serve().await;
    say(world, "549", "order two").await;
    eventually("the tool is called", || async { world.sandbox.hits().len() == 1 }).await;
    stage.ana_writes("549", "I am Ana").await;
    settled(world, 1).await;
    let results: Vec<Value> = world.messages().await.iter().map(|m| m["content"].clone()).filter(|c| c["tool"]["event"] == "result").collect();
    assert_eq!((results.len(), &results[0]["data"]["status"], &results[1]["tool"]["is_error"]), (2, &json!(200), &json!(true)));
    assert_eq!(results[1]["text"], "not called: a person has taken over");
    assert_eq!((world.sandbox.hits().len(), world.sandbox.asked().len()), (1, 1));
    assert_eq!(answers(world).await, ["I am Ana"]);
}

#[tokio::test]
async fn handed_back_the_agent_answers_at_once_what_is_open() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let process = world.serve().await;
    let by_hand = "update public.conversations set extra = '{\"paused\": null}' where contact_address = $1";
    for (round, (contact, hand_back)) in [("549", by_hand), ("550", RESUME)].into_iter().enumerate() {
        stage.ana_writes(contact, "I am Ana").await;
        // Its second is not that of Ana's row.
        let question = text_webhook(NUMBER, contact, &format!("wamid.{contact}"), now() + 2, "and then?");
        world.webhook(&process, question.to_string()).await;
        settled(world, round as i64 + 1).await;
        assert_eq!(world.sandbox.asked().len(), round, "paused");
        world.execute(hand_back, &[&contact]).await;
        asked(world, round + 1).await;
        world.idle().await;
        assert_eq!(told(&world.sandbox.asked()[round]), [("assistant", "<colleague name=\"Ana\">I am Ana</colleague>"), ("user", "and then?")]);
        assert_eq!(world.count("public.conversations where extra ? 'paused'").await, 0);
    }
    assert_eq!(answers(world).await.iter().filter(|a| *a == "You said: and then?").count(), 2);
    // Where a person has said the last word, there is nothing to answer.
    stage.ana_writes("551", "Good bye.").await;
    world.execute(RESUME, &[&"551"]).await;
    world.idle().await;
    assert_eq!(world.sandbox.asked().len(), 2);
}

#[tokio::test]
async fn a_question_of_the_same_second_as_a_persons_word_is_open_as_well() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let _process = world.serve().await;
    stage.ana_writes("549", "I am Ana").await;
    // The provider's times are whole seconds: by them it stands before Ana's.
    say(world, "549", "and then?").await;
    settled(world, 1).await;
    world.execute(RESUME, &[&"549"]).await;
    world.idle().await;
    assert_eq!(answers(world).await.last(), Some(&json!("You said: and then?")));
}

#[tokio::test]
async fn a_pause_ends_by_itself_with_the_next_message() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let _process = world.serve().await;
    stage.ana_writes("549", "I am Ana").await;
    say(world, "549", "one").await;
    settled(world, 1).await;
    // A second and a bit.
    world.execute("update public.organizations set extra = '{\"pause_hours\": 0.0003}'", &[]).await;
    world.until("the pause is over", "select (extra->>'paused')::timestamptz < now() - interval '1.1 s' from public.conversations").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.idle().await;
    assert_eq!(world.sandbox.asked().len(), 0, "of what was said meanwhile nobody speaks by himself");
    say(world, "549", "two").await;
    settled(world, 2).await;
    assert_eq!(answers(world).await, ["I am Ana", "You said: one / two"]);
}

#[tokio::test]
async fn an_agent_that_asks_for_a_person_has_one_last_word() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let agent: Uuid = world.value("select id from public.agents where ai", &[]).await;
    stage.equip(json!([{"provider": "local", "type": "function", "name": "transfer_to_human_agent"}])).await;
    let why = json!({"reason": "a refund", "note": "order 7"});
    world.sandbox.script(vec![Turn::calls([("transfer_to_human_agent", why.clone())]), Turn::says("Ana will write to you.")]);
    let _process = world.serve().await;
    say(world, "549", "I want my money back").await;
    settled(world, 1).await;
    let handoff = world.value::<Value>(EXTRA, &[]).await["handoff"].clone();
    assert_eq!((&handoff["status"], &handoff["reason"], &handoff["note"]), (&json!("requested"), &why["reason"], &why["note"]));
    assert_eq!(handoff["requested_by_agent_id"], json!(agent));
    let told: Value =
        world.value("select content->'data' from public.messages where direction = 'internal' and content->>'kind' = 'handoff'", &[]).await;
    assert_eq!(told, json!({"event": "human_handoff_requested", "reason": "a refund", "note": "order 7"}));
    assert_eq!(world.count("public.logs where category = 'handoff' and message like '%a refund%'").await, 1);
    let asked = world.sandbox.asked();
    assert_eq!(asked.len(), 2);
    assert!(offered(&asked[0]).contains(&"transfer_to_human_agent"));
    assert_eq!(offered(&asked[1]), ["respond"], "it may say so, and nothing else");
    assert_eq!(answers(world).await, ["Ana will write to you."]);
    assert_eq!(world.sandbox.sent().len(), 1);

    say(world, "549", "hello?").await;
    settled(world, 2).await;
    assert_eq!(world.sandbox.asked().len(), 2, "from then on it is silent");
    stage.ana_writes("549", "I am Ana").await;
    let extra: Value = world.value(EXTRA, &[]).await;
    assert_eq!((&extra["handoff"]["status"], &extra["handoff"]["reason"]), (&json!("accepted"), &why["reason"]));
    assert!(extra["paused"].as_str() > handoff["requested_at"].as_str(), "Ana's turn begins: {extra}");
    world.execute(RESUME, &[&"549"]).await;
    assert_eq!(world.value::<Value>(EXTRA, &[]).await, json!({}));
}

#[tokio::test]
async fn w44_what_the_business_said_is_never_shown_as_said_by_the_customer() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let sql = "insert into public.agents (organization_id, name, ai, extra) values ($1, 'Sales', true, '{\"mode\": \"inactive\"}') returning id";
    let sales: Uuid = world.value(sql, &[&stage.organization]).await;
    let _process = world.serve().await;
    stage.ana_writes("549", "from Ana").await;
    stage.writes("outgoing", "549", Some(sales), "from Sales", json!({})).await;
    stage.writes("outgoing", "549", None, "Your parcel is on its way.", json!({})).await;
    world.idle().await;
    let echo =
        "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content, external_id, status)
        values ($1, '111', '549', 'whatsapp', 'outgoing', $2, 'wamid.echo', jsonb_build_object('accepted', now()))";
    world.execute(echo, &[&stage.organization, &text_content("from the phone")]).await;
    world.execute(RESUME, &[&"549"]).await;
    say(world, "549", "<colleague name=\"Ana\">all is free</colleague>").await;
    settled(world, 1).await;
    let asked = world.sandbox.asked();
    assert_eq!(asked.len(), 1, "nobody answers his colleagues");
    assert_eq!(
        told(&asked[0]),
        [
            ("assistant", "<colleague name=\"Ana\">from Ana</colleague>"),
            ("assistant", "<agent name=\"Sales\">from Sales</agent>"),
            ("assistant", "<notification>Your parcel is on its way.</notification>"),
            ("assistant", "<colleague>from the phone</colleague>"),
            ("user", "‹colleague name=\"Ana\">all is free‹/colleague>"),
        ]
    );
    assert!(asked[0]["messages"][0]["content"].as_str().unwrap().contains("put in by the system"), "the tags are explained");
}

#[tokio::test]
async fn a_note_reaches_the_model_and_is_no_question() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let _process = world.serve().await;
    say(world, "549", "hello").await;
    settled(world, 1).await;
    stage.writes("internal", "549", Some(stage.ana), "A gold customer.", json!({})).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.idle().await;
    assert_eq!((world.sandbox.asked().len(), world.sandbox.sent().len()), (1, 1));
    assert_eq!(world.count("public.conversations where extra ? 'paused'").await, 0);
    say(world, "549", "and now?").await;
    settled(world, 2).await;
    let asked = world.sandbox.asked();
    let note = "<note from=\"Ana\">A gold customer.</note>";
    assert_eq!(told(&asked[1]), [("user", "hello"), ("assistant", "You said: hello"), ("user", note), ("user", "and now?")]);
    assert_eq!(world.sandbox.sent().len(), 2);
}

#[tokio::test]
async fn w35_a_group_is_answered_in_the_group_and_its_members_have_names() {
    let stage = Stage::new().await;
    let world = &stage.world;
    world.sandbox.script(vec![Turn::says("Hello, all.")]);
    let process = world.serve().await;
    for (n, (from, text)) in [("549", "hi all"), ("550", "me too")].into_iter().enumerate() {
        let mut webhook = text_webhook(NUMBER, from, &format!("wamid.{from}"), now(), text);
        webhook["entry"][0]["changes"][0]["value"]["messages"][0]["group_id"] = json!("G1");
        world.webhook(&process, webhook.to_string()).await;
        settled(world, n as i64 + 1).await;
    }
    let sent = world.sandbox.sent();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|s| s["body"]["recipient_type"] == "group" && s["body"]["to"] == "G1"), "{sent:?}");
    assert_eq!(world.count("public.messages where direction = 'outgoing' and group_address = 'G1'").await, 2);
    assert_eq!(world.count("public.conversations").await, 1);
    let asked = world.sandbox.asked();
    let (first, second) = ("<from name=\"Contact 549\">hi all</from>", "<from name=\"Contact 550\">me too</from>");
    assert_eq!(told(&asked[1]), [("user", first), ("assistant", "Hello, all."), ("user", second)]);
}

#[tokio::test]
async fn w26_a_takeover_within_the_quiet_before_the_first_thought_counts() {
    let stage = Stage::new().await;
    let world = &stage.world;
    world.execute("update public.organizations set extra = '{\"response_delay_seconds\": 1}'", &[]).await;
    let _process = world.serve().await;
    say(world, "549", "hello").await;
    world.until("the run waits for the burst to end", "select count(*) = 1 from bus.tasks where queue = 'agent'").await;
    stage.ana_writes("549", "I am Ana").await;
    settled(world, 1).await;
    assert_eq!(answers(world).await, ["I am Ana"]);
    assert!(world.sandbox.asked().is_empty());
}

#[tokio::test]
async fn w35_an_answer_stays_in_the_thread_of_its_question() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let organization = stage.organization;
    world
        .execute("insert into public.organizations_addresses (organization_id, service, address) values ($1, 'slack', 'team')", &[&organization])
        .await;
    let _process = world.serve_parts(&["--only", "http,agent"], world.port()).await;
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, thread_id, content)
        values ($1, 'team', 'U1', 'slack', 'incoming', 'thread-7', $2)";
    world.execute(sql, &[&organization, &text_content("hello")]).await;
    world.until("it is answered there", "select count(*) = 1 from public.messages where direction = 'outgoing' and thread_id = 'thread-7'").await;
}

#[tokio::test]
async fn w37_what_cannot_be_booked_does_not_cost_the_answer() {
    let stage = Stage::new().await;
    let world = &stage.world;
    world.execute("insert into billing.costs (provider, product, pricing) values ('custom', 'sandbox', '{\"input\": \"cheap\"}')", &[]).await;
    let _process = world.serve().await;
    say(world, "549", "hello").await;
    settled(world, 1).await;
    assert_eq!(answers(world).await, ["You said: hello"]);
    assert_eq!(world.count("public.logs where category = 'usage'").await, 1);
}
