//! Tools: each of them called by the model of a running agent, what came of it, and what the model is told next.

use reqwest::Url;
use serde_json::{Value, json};
use tidings::sandbox::{Fault, Turn};
use uuid::Uuid;

use crate::support::*;

mod replies;

/// An organization whose agent has these tools.
pub async fn equipped(world: &World, tools: Value) -> Uuid {
    let organization = world.furnished().await;
    world.execute("update public.agents set extra = $1", &[&json!({"tools": tools})]).await;
    organization
}

pub fn function(name: &str) -> Value {
    json!({"provider": "local", "type": "function", "name": name})
}

pub fn labelled(kind: &str, label: &str, config: Value) -> Value {
    json!({"provider": "local", "type": kind, "label": label, "config": config})
}

/// The test's own database, as a tool; `more` is added to its configuration.
pub fn database(world: &World, label: &str, more: &Value) -> Value {
    let url = Url::parse(&world.url).unwrap();
    let mut config = json!({"driver": "postgres", "host": url.host_str(), "port": url.port(), "user": url.username(), "password": url.password(),
        "database": url.path().trim_start_matches('/'), "tls": false});
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    labelled("sql", label, config)
}

/// The table `shop.orders`, with two rows.
pub async fn shop(world: &World) {
    for sql in [
        "create schema shop",
        "create table shop.orders (id int primary key, customer text not null, total int not null)",
        "insert into shop.orders values (1, 'Ana', 12), (2, 'Bo, Ltd', 30)",
    ] {
        world.execute(sql, &[]).await;
    }
}

/// Stores a file as an upload would have.
pub async fn stored(world: &World, organization: Uuid, id: &str, bytes: &[u8], mime_type: &str) -> String {
    let name = format!("organizations/{organization}/attachments/{id}");
    let path = world.storage().join(&name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
    let sql = "insert into storage.objects (organization_id, name, state, size, mime_type) values ($1, $2, 'ready', $3, $4)";
    world.execute(sql, &[&organization, &name, &(bytes.len() as i64), &mime_type]).await;
    format!("internal://media/{name}")
}

/// Somebody writes, and everything that follows from it is over.
pub async fn tell(world: &World, text: &str) {
    let said = world.count("public.messages where direction = 'incoming'").await + 1;
    world.sandbox.say(&json!({"from": "549", "number": NUMBER, "text": text})).await;
    world.until("it is stored", &format!("select count(*) >= {said} from public.messages where direction = 'incoming'")).await;
    world.idle().await;
}

/// What calls came to, in order: the tool as it was offered, the result, and whether it failed.
pub async fn results(world: &World) -> Vec<(String, Value, bool)> {
    let of = |m: &Value| {
        let content = &m["content"];
        let result = if content["type"] == "data" { &content["data"] } else { &content["text"] };
        (content["tool"]["offered"].as_str().unwrap_or_default().to_owned(), result.clone(), content["tool"]["is_error"] == true)
    };
    world.messages().await.iter().filter(|m| m["content"]["tool"]["event"] == "result").map(of).collect()
}

/// The contents of what went out.
pub async fn answers(world: &World) -> Vec<Value> {
    world.messages().await.into_iter().filter(|m| m["direction"] == "outgoing").map(|m| m["content"].clone()).collect()
}

/// The names of the tools that a request offers.
pub fn offered(asked: &Value) -> Vec<&str> {
    asked["tools"].as_array().unwrap().iter().map(|t| t["function"]["name"].as_str().unwrap()).collect()
}

/// What the system text of a request says of the circumstances.
pub fn known(asked: &Value) -> Value {
    let system = asked["messages"][0]["content"].as_str().unwrap();
    serde_json::from_str(system.split("\n\n").nth(1).unwrap()).unwrap()
}

/// What the tools said, in a request.
fn told(asked: &Value) -> Vec<&str> {
    asked["messages"].as_array().unwrap().iter().filter(|m| m["role"] == "tool").map(|m| m["content"].as_str().unwrap()).collect()
}

fn respond(messages: Value) -> Turn {
    Turn::calls([("respond", json!({"messages": messages}))])
}

fn sent(world: &World) -> Vec<Value> {
    world.sandbox.sent().iter().map(|s| s["body"].clone()).collect()
}

/// How often an MCP server was asked for its tools.
fn lists(world: &World, path: &str) -> usize {
    world.sandbox.hits().iter().filter(|h| h["path"] == path && h["body"]["method"] == "tools/list").count()
}

#[tokio::test]
async fn calculator_and_calendar_are_called_in_one_turn_and_told_together() {
    let world = World::new().await;
    equipped(&world, json!([function("calculator"), function("calendar")])).await;
    let _process = world.serve().await;
    world.sandbox.script(vec![Turn::calls([
        ("calculator", json!({"expression": "12.5 * 3"})),
        ("calendar", json!({"operation": "add", "start": "2024-01-31", "months": 1})),
    ])]);
    tell(&world, "how much, and until when?").await;
    let came = results(&world).await;
    assert_eq!(came[0], ("calculator".to_owned(), json!({"result": "37.5"}), false));
    assert_eq!((came[1].0.as_str(), &came[1].1["date"], came[1].2), ("calendar", &json!("2024-02-29"), false));
    assert_eq!(world.count("(select distinct content #>> '{task,id}' from public.messages where direction = 'internal') turns").await, 1);
    let asked = world.sandbox.asked();
    assert_eq!((asked.len(), offered(&asked[0])), (2, vec!["calculator", "calendar", "respond"]));
    let messages = asked[1]["messages"].as_array().unwrap();
    let [.., calls, first, second] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((messages.len(), calls["tool_calls"].as_array().unwrap().len()), (5, 2));
    assert_eq!((&first["tool_call_id"], &second["tool_call_id"]), (&calls["tool_calls"][0]["id"], &calls["tool_calls"][1]["id"]));
    assert_eq!(first["content"], json!({"result": "37.5"}).to_string());
    assert!(answers(&world).await[0]["text"].as_str().unwrap().starts_with("The tools said: {\"result\":\"37.5\"} / {"));
}

#[tokio::test]
async fn http_requests_carry_the_sealed_headers_and_use_allowed_methods() {
    let world = World::new().await;
    let headers = json!({"X-Key": "k-123", "Authorization": "Bearer b-456"});
    let config = json!({"url": format!("{}/web/*", world.sandbox_url), "methods": ["GET", "POST"], "headers": headers});
    equipped(&world, json!([labelled("http", "shop", config)])).await;
    let shown: Value = world.value("select extra #> '{tools,0,config,headers}' from public.agents", &[]).await;
    assert_eq!(shown, json!({"X-Key": "[sealed]", "Authorization": "[sealed]"}));
    let echo = format!("{}/web/echo", world.sandbox_url);
    world.sandbox.script(vec![Turn::calls([
        ("shop__request", json!({"url": echo, "method": "GET", "query": {"size": "L"}})),
        ("shop__request", json!({"url": echo, "method": "POST", "body": {"order": 7}, "headers": {"X-Key": "the model's", "X-Mine": "yes"}})),
        ("shop__request", json!({"url": echo, "method": "DELETE"})),
    ])]);
    let _process = world.serve().await;
    tell(&world, "order it").await;
    let came = results(&world).await;
    assert_eq!((&came[0].1["status"], &came[0].1["body"]["query"], came[0].2), (&json!(200), &json!({"size": "L"}), false));
    assert_eq!((&came[1].1["body"]["body"], came[1].2), (&json!({"order": 7}), false));
    assert!(came[2].2 && came[2].1.as_str().unwrap().contains("DELETE"), "{:?}", came[2]);
    let hits = world.sandbox.hits();
    assert_eq!(hits.iter().map(|h| h["method"].clone()).collect::<Vec<_>>(), ["GET", "POST"]);
    for hit in &hits {
        assert_eq!((&hit["headers"]["x-key"], &hit["headers"]["authorization"]), (&json!("k-123"), &json!("Bearer b-456")));
    }
    assert_eq!(hits[1]["headers"]["x-mine"], "yes");
    assert!(!world.sandbox.asked()[0].to_string().contains("k-123"), "the model does not know the key");
}

#[tokio::test]
async fn a_database_is_described_queried_sent_as_a_file_and_loaded_from_one() {
    let world = World::new().await;
    shop(&world).await;
    let tools = json!([database(&world, "shop", &json!({})), database(&world, "books", &json!({"read_only": false}))]);
    equipped(&world, tools).await;
    let _process = world.serve().await;
    let calls = [
        ("shop__getDbSchema", json!({"schemas": ["shop"]})),
        ("shop__executeSql", json!({"query": "select customer, total from shop.orders order by id"})),
        ("shop__sampleTableRows", json!({"schemas": ["shop"], "limit": 1})),
        ("shop__selectAsCsv", json!({"query": "select * from shop.orders order by id", "file_name": "orders.csv"})),
    ];
    world.sandbox.script(vec![Turn::calls(calls), Turn::says("Two orders.")]);
    tell(&world, "what was sold?").await;
    let names = world.sandbox.asked()[0].clone();
    assert!(!offered(&names).contains(&"shop__bulkInsert") && offered(&names).contains(&"books__bulkInsert"), "{:?}", offered(&names));
    let came = results(&world).await;
    assert!(came.iter().all(|c| !c.2), "{came:?}");
    let table = &came[0].1["tables"][0];
    assert_eq!((&table["name"], &table["columns"][0]["name"], &table["columns"][0]["type"]), (&json!("orders"), &json!("id"), &json!("integer")));
    assert_eq!(came[1].1["rows"], json!([{"customer": "Ana", "total": 12}, {"customer": "Bo, Ltd", "total": 30}]));
    assert_eq!(came[2].1["tables"][0]["rows"].as_array().unwrap().len(), 1);
    let uri = came[3].1["file_uri"].as_str().unwrap();
    let path = world.storage().join(uri.trim_start_matches("internal://media/"));
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text, "id,customer,total\n1,Ana,12\n2,\"Bo, Ltd\",30\n");
    assert_eq!(sent(&world).len(), 1, "the file goes to nobody by itself");

    world.sandbox.script(vec![respond(json!([{"type": "file", "uri": uri}]))]);
    tell(&world, "send it").await;
    let row = answers(&world).await.pop().unwrap();
    assert_eq!((&row["kind"], &row["file"]["mime_type"], &row["file"]["name"]), (&json!("document"), &json!("text/csv"), &json!("orders.csv")));
    assert_eq!((&row["file"]["uri"], &row["file"]["size"]), (&json!(uri), &json!(text.len())));
    let document = sent(&world).pop().unwrap();
    assert_eq!((&document["type"], &document["document"]["filename"]), (&json!("document"), &json!("orders.csv")));
    assert_eq!(world.sandbox.media(|m| m.uploads[0]["size"].clone()), text.len());

    world.sandbox.script(vec![Turn::calls([(
        "books__bulkInsert",
        json!({"schema": "shop", "table": "copies", "file_uri": uri, "types": ["integer", "text", "integer"]}),
    )])]);
    tell(&world, "copy it").await;
    assert_eq!(results(&world).await[4].1["rows_inserted"], 2);
    assert_eq!(world.count("shop.copies where total = 30 and customer = 'Bo, Ltd'").await, 1);
}

#[tokio::test]
async fn tools_of_a_server_are_listed_once_and_its_files_go_to_nobody_by_themselves() {
    let world = World::new().await;
    let all = json!({"url": format!("{}/mcp/shop", world.sandbox_url), "headers": {"Authorization": "Bearer mcp-key"}});
    let few = json!({"url": format!("{}/mcp/few", world.sandbox_url), "allowed_tools": ["slow"]});
    equipped(&world, json!([labelled("mcp", "shop", all), labelled("mcp", "few", few)])).await;
    let _process = world.serve().await;
    world.sandbox.script(vec![Turn::calls([
        ("shop__add", json!({"a": 2, "b": 3})),
        ("shop__fail", json!({})),
        ("shop__picture", json!({})),
        ("shop__note", json!({"text": "milk"})),
    ])]);
    tell(&world, "do all of it").await;
    let asked = world.sandbox.asked();
    let names = ["shop__add", "shop__note", "shop__fail", "shop__picture", "shop__big", "shop__slow", "few__slow", "respond"];
    assert_eq!(offered(&asked[0]), names, "of both pages, and of the other server only what is allowed");
    let came = results(&world).await;
    assert_eq!((&came[0].1, came[0].2), (&json!({"sum": 5}), false));
    assert_eq!((&came[1].1, came[1].2), (&json!("it failed, as it always does"), true));
    assert_eq!(world.sandbox.noted(), ["milk"]);
    let uri = came[2].1["file_uri"].as_str().unwrap();
    assert!(world.storage().join(uri.trim_start_matches("internal://media/")).exists());
    assert_eq!(sent(&world).iter().map(|s| s["type"].clone()).collect::<Vec<_>>(), ["text"], "W-45");
    let ours: Vec<Value> = world.sandbox.hits().into_iter().filter(|h| h["path"] == "/mcp/shop").collect();
    assert!(ours.iter().all(|h| h["headers"]["authorization"] == "Bearer mcp-key"), "{ours:?}");

    let listed = (lists(&world, "/mcp/shop"), lists(&world, "/mcp/few"));
    assert_eq!(listed.1, 2, "two pages, once");
    world.sandbox.script(vec![respond(json!([{"type": "file", "uri": uri, "text": "as you wished"}]))]);
    tell(&world, "show me the picture").await;
    let row = answers(&world).await.pop().unwrap();
    assert_eq!((&row["kind"], &row["file"]["mime_type"]), (&json!("image"), &json!("image/png")));
    let picture = sent(&world).pop().unwrap();
    assert_eq!((&picture["type"], &picture["image"]["caption"]), (&json!("image"), &json!("as you wished")));
    assert_eq!((lists(&world, "/mcp/shop"), lists(&world, "/mcp/few")), listed, "not again for the next message");
}

#[tokio::test]
async fn w46_a_server_that_is_away_and_a_function_that_is_none_cost_only_themselves() {
    let world = World::new().await;
    world.sandbox.fault(Fault { on: "mcp".into(), status: Some(503), ..Fault::default() });
    let server = labelled("mcp", "shop", json!({"url": format!("{}/mcp/shop", world.sandbox_url)}));
    equipped(&world, json!([server, function("teleport"), function("calculator")])).await;
    let _process = world.serve().await;
    world.sandbox.script(vec![Turn::calls([("calculator", json!({"expression": "2 + 2"}))])]);
    tell(&world, "how much?").await;
    assert_eq!(answers(&world).await[0]["text"], "The tools said: {\"result\":\"4\"}");
    let asked = world.sandbox.asked();
    assert_eq!(offered(&asked[0]), ["calculator", "respond"]);
    let away = known(&asked[0])["unavailable_tools"].clone();
    assert_eq!(away.as_array().unwrap().len(), 2, "{away}");
    assert!(away[0].as_str().unwrap().contains("shop") && away[1].as_str().unwrap().starts_with("teleport"), "{away}");
    // Nor does every message knock at a door that nobody opens.
    let knocks = world.sandbox.hits().len();
    assert!(knocks > 0);
    tell(&world, "and now?").await;
    assert_eq!((answers(&world).await.len(), world.sandbox.hits().len()), (2, knocks));
}

#[tokio::test]
async fn facts_are_remembered_and_files_attached() {
    let world = World::new().await;
    let organization = equipped(&world, json!([function("remember"), function("attach_file")])).await;
    let uri = stored(&world, organization, "menu", b"%PDF", "application/pdf").await;
    let _process = world.serve().await;
    world.sandbox.script(vec![
        Turn::calls([("remember", json!({"key": "size", "value": "L"}))]),
        Turn::calls([("attach_file", json!({"file_uri": uri, "name": "menu.pdf", "caption": "for today"}))]),
        Turn::says("Here it is."),
    ]);
    tell(&world, "I wear L; the menu, please").await;
    let asked = world.sandbox.asked();
    assert_eq!(known(&asked[0])["memory"], Value::Null);
    assert_eq!(known(&asked[1])["memory"], json!({"size": "L"}));
    assert_eq!(results(&world).await.iter().map(|r| r.1.clone()).collect::<Vec<_>>(), [json!({"remembered": "size"}), json!({"sent": uri})]);
    assert_eq!(told(&asked[2])[1], json!({"sent": uri}).to_string(), "the result stands at its call");
    let out = sent(&world);
    assert_eq!(out.iter().map(|s| s["type"].clone()).collect::<Vec<_>>(), ["document", "text"]);
    assert_eq!((&out[0]["document"]["filename"], &out[0]["document"]["caption"]), (&json!("menu.pdf"), &json!("for today")));
    world.sandbox.script(vec![Turn::calls([("remember", json!({"key": "size", "value": null}))])]);
    tell(&world, "forget it").await;
    assert_eq!(known(&world.sandbox.asked()[4])["memory"], Value::Null);
}

const BSUID: &str = "US.13491208655302741918";

/// People who wrote some hours ago and whom no agent answers; another organization knows one of them, too.
async fn acquaintances(world: &World, organization: Uuid) -> Uuid {
    let other = world.organization(json!({"response_delay_seconds": 0})).await;
    world.number(other, "222").await;
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content, \"timestamp\")
        values ($1, $2, $3, 'whatsapp', 'incoming', $4, now() - make_interval(hours => $5))";
    for (whose, number, from, hours) in [
        (organization, NUMBER, "550", 72),
        (organization, NUMBER, "550", 1),
        (organization, NUMBER, BSUID, 48),
        (other, "222", "550", 1),
        (other, "222", "560", 1),
    ] {
        world.execute(sql, &[&whose, &number, &from, &text_content(&format!("{from} to {number}, {hours} h ago")), &hours]).await;
    }
    let name = "update public.contacts_addresses set extra = jsonb_build_object('name', 'Person of ' || $2::text, 'phone_number', $4::text)
        where organization_id = $1 and address = $3";
    for (whose, of, address, phone) in
        [(organization, "ours", "550", "550"), (organization, "ours", BSUID, "5551234"), (other, "theirs", "550", "550")]
    {
        world.execute(name, &[&whose, &of, &address, &phone]).await;
    }
    world.execute("update public.conversations set extra = jsonb_build_object('paused', now())", &[]).await;
    other
}

#[tokio::test]
async fn w43_contacts_are_found_and_read_within_their_organization() {
    let world = World::new().await;
    let organization = equipped(&world, json!([function("search_contacts"), function("get_conversation"), function("get_status")])).await;
    let other = acquaintances(&world, organization).await;
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content, status)
        values ($1, '222', '560', 'whatsapp', 'outgoing', $2, '{}') returning id";
    let theirs: Uuid = world.value(sql, &[&other, &text_content("a secret")]).await;
    let _process = world.serve().await;
    world.sandbox.script(vec![Turn::calls([
        ("get_conversation", json!({"contact": "+550"})),
        ("get_conversation", json!({"contact": BSUID})),
        ("get_conversation", json!({"contact": "555 12-34", "limit": 1})),
        ("get_conversation", json!({"contact": "560"})),
        ("search_contacts", json!({"query": "550"})),
        ("search_contacts", json!({"query": "of theirs"})),
        ("get_status", json!({"message_id": theirs})),
    ])]);
    tell(&world, "who is there?").await;
    let came = results(&world).await;
    let window = |n: usize| (came[n].1["service_window"].clone(), came[n].1["unread"].clone());
    assert_eq!(window(0), (json!("open"), json!(2)), "the newest decides; and unread is unread, though nothing was sent");
    let texts: Vec<&str> = came[0].1["messages"].as_array().unwrap().iter().map(|m| m["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["550 to 111, 72 h ago", "550 to 111, 1 h ago"]);
    assert_eq!(window(1), (json!("closed"), json!(1)));
    assert_eq!(came[1].1["conversation_id"], came[2].1["conversation_id"], "by the phone number, too");
    assert!(came[3].2 && came[6].2, "{came:?}");
    let found = came[4].1["contacts"].as_array().unwrap();
    assert_eq!((found.len(), &found[0]["name"]), (1, &json!("Person of ours")));
    assert_eq!(came[5].1["contacts"], json!([]));
}

#[tokio::test]
async fn others_are_written_to_where_their_window_allows_it() {
    let world = World::new().await;
    let organization = equipped(&world, json!([function("send_message"), function("get_status")])).await;
    acquaintances(&world, organization).await;
    let _process = world.serve().await;
    world.sandbox.script(vec![Turn::calls([
        ("send_message", json!({"contact": "550", "text": "it is ready"})),
        ("send_message", json!({"contact": BSUID, "text": "it is ready"})),
        ("send_message", json!({"contact": BSUID, "template": {"name": "ready", "language": {"code": "en"}}})),
        ("send_message", json!({"contact": "549", "text": "to whom I talk"})),
    ])]);
    tell(&world, "tell them").await;
    let came = results(&world).await;
    assert_eq!(came.iter().map(|c| c.2).collect::<Vec<_>>(), [false, true, false, true], "{came:?}");
    let mut out = sent(&world);
    out.retain(|s| s["to"] != "549");
    out.sort_by_key(|s| s["type"] == "text");
    assert_eq!((out.len(), &out[0]["recipient"], &out[0]["type"]), (2, &json!(BSUID), &json!("template")));
    assert_eq!((&out[1]["to"], &out[1]["text"]["body"]), (&json!("550"), &json!("it is ready")));
    let id = came[0].1["message_id"].as_str().unwrap();
    world.until("it is read", &format!("select status ? 'read' from public.messages where id = '{id}'")).await;
    world.sandbox.script(vec![Turn::calls([("get_status", json!({"message_id": id}))])]);
    tell(&world, "did they see it?").await;
    assert!(results(&world).await[4].1["status"]["read"].is_string());
}
