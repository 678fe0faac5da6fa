//! The same conversation in every protocol: how a model is spoken to shows in no row.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tidings::sandbox::{Fault, Turn, phone::envelope};
use uuid::Uuid;

use crate::support::*;

const PICTURE: &[u8] = b"a picture of a mug";
const QUESTION: &str = "What do six mugs cost?";
const CAPTION: &str = "This one?";
const GOODBYE: &str = "Was that all?";

/// How a protocol is reached, and where its requests hold the turns and a turn its parts.
struct Protocol {
    name: &'static str,
    path: &'static str,
    turns: &'static str,
    parts: &'static str,
}

const PROTOCOLS: [Protocol; 4] = [
    Protocol { name: "chat_completions", path: "/v1", turns: "messages", parts: "content" },
    Protocol { name: "responses", path: "/v1", turns: "input", parts: "content" },
    Protocol { name: "messages", path: "/anthropic/v1", turns: "messages", parts: "content" },
    Protocol { name: "generate_content", path: "/google/v1beta", turns: "contents", parts: "parts" },
];

/// The picture as a part of each protocol's own.
fn picture(protocol: &str) -> Value {
    let data = BASE64_STANDARD.encode(PICTURE);
    let url = format!("data:image/png;base64,{data}");
    match protocol {
        "chat_completions" => json!({"type": "image_url", "image_url": {"url": url}}),
        "responses" => json!({"type": "input_image", "image_url": url}),
        "messages" => json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}),
        _ => json!({"inlineData": {"mimeType": "image/png", "data": data}}),
    }
}

/// What the model says in its turns: two calls, one of which fails; another call; the answer; two messages at once; the end.
fn script(web: &str) -> Vec<Turn> {
    let shop = json!({"url": format!("{web}/echo"), "method": "GET", "query": {"item": "mug"}});
    let buttons = json!([{"title": "Small"}, {"title": "Large"}]);
    let messages = json!([{"type": "text", "text": "Yes, that one."}, {"type": "buttons", "text": "Which size?", "buttons": buttons}]);
    vec![
        Turn { text: Some("Let me look.".into()), ..Turn::calls([("calculator", json!({"expression": "1/0"})), ("shop__request", shop)]) },
        Turn::calls([("calculator", json!({"expression": "6 * 7"}))]),
        Turn::says("They cost **42**."),
        Turn::calls([("respond", json!({"messages": messages}))]),
        Turn::says("That is all."),
    ]
}

/// By what one knows the first message that each of those turns produced.
const PRODUCED: [&str; 5] = ["1/0", "6 * 7", "They cost **42**.", "Yes, that one.", "That is all."];

fn with(object: &Value, more: Value) -> Value {
    let mut all = object.clone();
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    all
}

/// The rows of the conversation in their order, as [`normal`] shows them. `why`: what is wrong with 1/0.
fn expected(web: &str, why: &Value) -> Vec<Value> {
    let row = |direction: &str, content: Value| json!({"direction": direction, "agent": direction != "incoming", "said": null, "content": content});
    let data = |kind: &str, data: Value| json!({"version": "1", "type": "data", "kind": kind, "data": data});
    let calculator = json!({"type": "function", "name": "calculator", "provider": "local", "offered": "calculator", "effect": "read"});
    let shop = json!({"type": "http", "label": "shop", "name": "request", "provider": "local", "offered": "shop__request", "effect": "read"});
    let calls =
        |tool: &Value, arguments: Value| row("internal", with(&data("data", arguments), json!({"tool": with(tool, json!({"event": "use"}))})));
    let result = |tool: &Value, content: Value| row("internal", with(&content, json!({"tool": with(tool, json!({"event": "result"}))})));
    let error = with(&calculator, json!({"is_error": true}));
    let file = json!({"uri": "a file of ours", "mime_type": "image/png", "size": PICTURE.len()});
    let button = |id: &str, title: &str| json!({"type": "reply", "reply": {"id": id, "title": title}});
    let buttons =
        json!({"type": "button", "body": {"text": "Which size?"}, "action": {"buttons": [button("small", "Small"), button("large", "Large")]}});
    vec![
        row("incoming", text_content(QUESTION)),
        with(&calls(&calculator, json!({"expression": "1/0"})), json!({"said": "Let me look."})),
        calls(&shop, json!({"url": format!("{web}/echo"), "method": "GET", "query": {"item": "mug"}})),
        result(&error, json!({"version": "1", "type": "text", "kind": "text", "text": why})),
        result(&shop, data("data", json!({"status": 200, "body": {"method": "GET", "query": {"item": "mug"}, "body": null}}))),
        calls(&calculator, json!({"expression": "6 * 7"})),
        result(&calculator, data("data", json!({"result": "42"}))),
        row("outgoing", text_content("They cost **42**.")),
        row("incoming", json!({"version": "1", "type": "file", "kind": "image", "file": file, "text": CAPTION})),
        row("outgoing", text_content("Yes, that one.")),
        row("outgoing", data("interactive", buttons)),
        row("incoming", text_content(GOODBYE)),
        row("outgoing", text_content("That is all.")),
    ]
}

/// A row without what is by chance: ids, times, and the headers that a client of HTTP adds.
fn normal(row: &Value) -> Value {
    let mut content = row["content"].clone();
    if let Some(content) = content.as_object_mut() {
        content.remove("task");
    }
    for (place, name) in [("/tool", "use_id"), ("/data/body", "headers")] {
        if let Some(object) = content.pointer_mut(place).and_then(Value::as_object_mut) {
            object.remove(name);
        }
    }
    if let Some(uri) = content.pointer_mut("/file/uri") {
        let ours = format!("internal://media/organizations/{}/attachments/", row["organization_id"].as_str().unwrap());
        assert!(uri.as_str().unwrap().starts_with(&ours), "{uri}");
        *uri = json!("a file of ours");
    }
    json!({"direction": row["direction"], "agent": row["agent_id"].is_string(), "said": row["extra"]["said"], "content": content})
}

/// A customer and an organization with one number and one agent.
struct Talk<'a> {
    world: &'a World,
    organization: Uuid,
    number: &'a str,
}

impl<'a> Talk<'a> {
    async fn begin(world: &'a World, number: &'a str, agent: Value) -> Self {
        let organization = world.organization(json!({"response_delay_seconds": 0})).await;
        world.number(organization, number).await;
        let sql = "insert into public.agents (organization_id, name, ai, extra) values ($1, 'Agent', true, $2)";
        world.execute(sql, &[&organization, &agent]).await;
        world.sandbox.forget();
        Self { world, organization, number }
    }

    /// A question, a picture, and a question while the provider is in trouble.
    async fn goes_on(&self) {
        self.says(QUESTION).await;
        self.shows(CAPTION).await;
        for (status, retry_after) in [(500, None), (429, Some(0))] {
            self.world.sandbox.fault(Fault { on: "model".into(), times: Some(1), status: Some(status), retry_after, ..Fault::default() });
        }
        self.says(GOODBYE).await;
    }

    async fn says(&self, text: &str) {
        self.world.sandbox.say(&json!({"from": "549", "number": self.number, "text": text})).await;
        self.answered(text).await;
    }

    async fn shows(&self, caption: &str) {
        let media = self.world.sandbox.media(|m| m.put(PICTURE, "image/png"));
        let image = json!({"id": media, "mime_type": "image/png", "caption": caption});
        let message = json!({"id": format!("wamid.{media}"), "from": "549", "timestamp": now().to_string(), "type": "image", "image": image});
        self.world.sandbox.deliver(&envelope(&json!(self.number), &json!({"contacts": [{"wa_id": "549"}], "messages": [message]}))).await;
        self.answered(caption).await;
    }

    async fn answered(&self, text: &str) {
        let sql =
            format!("select count(*) = 1 from public.messages where organization_id = '{}' and content ->> 'text' = '{text}'", self.organization);
        self.world.until("it is stored", &sql).await;
        self.world.idle().await;
    }

    /// In the order in which they were stored: the provider's times are whole seconds.
    async fn rows(&self) -> Vec<Value> {
        let sql = "select to_jsonb(m) from public.messages m where m.organization_id = $1 order by m.created_at, m.timestamp, m.id";
        let rows = self.world.db.query(sql, &[&self.organization]).await.unwrap();
        rows.iter().map(|row| normal(&row.get(0))).collect()
    }

    /// What is kept of the calls of the model, each with what it produced first.
    async fn usage(&self) -> Vec<Value> {
        let sql = "select jsonb_build_array(u.provider, u.model, u.purpose, u.billable, u.input_tokens > 0 and u.output_tokens > 0,
                coalesce(m.content ->> 'text', m.content #>> '{data,expression}'))
            from public.usage u left join public.messages m on (m.organization_id, m.id) = (u.organization_id, u.message_id)
            where u.organization_id = $1 order by u.created_at, u.id";
        let rows = self.world.db.query(sql, &[&self.organization]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

#[tokio::test]
async fn four_protocols_leave_the_same_rows() {
    let world = World::new().await;
    world.execute("update bus.queues set backoff = '100 ms' where queue = 'agent'", &[]).await;
    let _process = world.serve().await;
    let web = format!("{}/web", world.sandbox_url);
    let tools = json!([{"provider": "local", "type": "function", "name": "calculator"},
        {"provider": "local", "type": "http", "label": "shop", "config": {"url": format!("{web}/*")}}]);
    let mut all: Vec<(&str, Vec<Value>)> = Vec::new();
    for (protocol, number) in PROTOCOLS.iter().zip(["1111", "1112", "1113", "1114"]) {
        let (name, url) = (protocol.name, format!("{}{}", world.sandbox_url, protocol.path));
        let agent = json!({"api_url": url, "protocol": name, "model": "sandbox", "tools": tools, "send_inline_files_up_to_size_mb": 5});
        let talk = Talk::begin(&world, number, agent).await;
        world.sandbox.script(script(&web));
        talk.goes_on().await;

        let asked = world.sandbox.asked();
        let counts = (asked.len(), world.sandbox.scripted().len(), world.sandbox.sent().len(), world.sandbox.hits().len());
        assert_eq!(counts, (7, 0, 4, 1), "{name}: two of the requests failed, each answer is sent once, and the shop is asked once");
        let again = asked[1].to_string();
        assert!(again.contains("Let me look.") && again.contains("zero"), "{name}: what was said and what failed come back: {again}");
        let newest = asked[3][protocol.turns].as_array().unwrap().last().unwrap();
        assert!(newest[protocol.parts].as_array().is_some_and(|parts| parts.contains(&picture(name))), "{name}: {newest}");
        let produced: Vec<Value> = PRODUCED.iter().map(|first| json!(["custom", "sandbox", "answer", false, true, first])).collect();
        assert_eq!(talk.usage().await, produced, "{name}");
        all.push((name, talk.rows().await));
    }
    let (first, rows) = &all[0];
    for (name, others) in &all[1..] {
        assert_eq!(others, rows, "{name} and {first}");
    }
    let why = &rows[3]["content"]["text"];
    assert!(why.as_str().is_some_and(|why| why.contains("zero")), "{why}");
    assert_eq!(*rows, expected(&web, why));
}

#[tokio::test]
async fn an_agent_elsewhere_leaves_the_same_rows_but_for_calls() {
    let world = World::new().await;
    world.execute("update bus.queues set backoff = '100 ms' where queue = 'agent'", &[]).await;
    let _process = world.serve().await;
    let url = format!("{}/a2a/helper", world.sandbox_url);
    let talk = Talk::begin(&world, NUMBER, json!({"api_url": url, "protocol": "a2a", "send_inline_files_up_to_size_mb": 5})).await;
    let both = Turn { artifact: Some(json!("Which size?")), ..Turn::says("Yes, that one.") };
    world.sandbox.script(vec![Turn::says("They cost **42**."), both, Turn::says("That is all.")]);
    talk.goes_on().await;

    let asked = world.sandbox.asked();
    assert_eq!((asked.len(), world.sandbox.sent().len()), (5, 4), "two of the requests failed");
    let file = json!({"mimeType": "image/png", "bytes": BASE64_STANDARD.encode(PICTURE)});
    let parts = json!([{"kind": "file", "file": file, "metadata": {"kind": "image", "size": PICTURE.len()}},
        {"kind": "text", "text": CAPTION, "metadata": {"kind": "caption"}}]);
    assert_eq!(asked[1]["params"]["message"]["parts"], parts);
    let id = |asked: &Value| asked["params"]["message"]["messageId"].clone();
    assert!(asked[2..].iter().all(|again| id(again) == id(&asked[2])), "by its id the other agent knows what it has heard before");
    // The same as where there are tools; only a choice has to be put in words.
    let mut told: Vec<Value> = expected("", &Value::Null).into_iter().filter(|row| row["direction"] != "internal").collect();
    told[4]["content"] = text_content("Which size?");
    assert_eq!(talk.rows().await, told);
    assert_eq!(world.count("public.usage").await, 0, "its tokens are not ours");
}

#[tokio::test]
async fn what_a_call_costs_follows_the_price_in_force() {
    let world = World::new().await;
    let _process = world.serve().await;
    let url = format!("{}/v1", world.sandbox_url);
    let talk = Talk::begin(&world, NUMBER, json!({"api_url": url, "model": "sandbox"})).await;
    talk.says(QUESTION).await;
    assert!(world.value::<bool>("select cost is null from public.usage", &[]).await, "there is no price yet");
    let prices = "insert into billing.costs (provider, product, effective_at, pricing) values
        ('custom', 'sandbox', now() - interval '1 year', '{\"input\": 900, \"output\": 900}'),
        ('custom', 'sandbox', now(), '{\"input\": 2, \"cache_read\": 0.5, \"output\": 10}'),
        ('custom', 'sandbox', now() + interval '1 day', '{\"input\": 900, \"output\": 900}'),
        ('custom', 'another', now(), '{\"input\": 900, \"output\": 900}')";
    world.execute(prices, &[]).await;
    world.sandbox.script(vec![Turn::says("x".repeat(400))]);
    talk.says(GOODBYE).await;

    // The sandbox counts four characters as a token.
    let read = world.sandbox.asked().pop().unwrap().to_string().chars().count() as i64 / 4;
    let sql = "select input_tokens, cache_read_tokens, output_tokens, cost::float8 from public.usage order by created_at desc, id desc limit 1";
    let row = world.db.one(sql, &[]).await.unwrap();
    let (input, cached, output): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!((input, cached, output), (read, 0, 100));
    let cost: f64 = row.get(3);
    assert!((cost - (read as f64 * 2.0 + 100.0 * 10.0) / 1e6).abs() < 1e-12, "{cost}");
    // 600 new ones, 400 from the cache, and 100 written, whether thoughts or words.
    let tokens = json!({"input": 1000, "cache_read": 400, "output": 100, "reasoning": 20});
    let cost: f64 = world.value("select bus.cost('custom', 'sandbox', $1)::float8", &[&tokens]).await;
    assert!((cost - 0.0024).abs() < 1e-12, "{cost}");
    let spent = "select (select sum(cost) from public.usage) = (select sum(cost) from bus.spent)";
    assert!(world.value::<bool>(spent, &[]).await, "limits are judged by the same sum");
}
