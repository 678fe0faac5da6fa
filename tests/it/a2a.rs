//! Agents elsewhere (A2A): what they are told, when they are asked, and what becomes of their answers.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tidings::sandbox::{Turn, phone::envelope};
use uuid::Uuid;

use crate::support::*;

/// An organization whose agent is behind the sandbox's `/a2a/helper`, with these settings besides.
async fn elsewhere(world: &World, settings: Value) -> Uuid {
    let organization = world.organization(json!({"response_delay_seconds": 0, "note": "organization-private"})).await;
    world.number(organization, NUMBER).await;
    let mut extra = json!({"api_url": format!("{}/a2a/helper", world.sandbox_url), "protocol": "a2a"});
    extra.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let sql = "insert into public.agents (organization_id, name, ai, extra) values ($1, 'Elsewhere', true, $2)";
    world.execute(sql, &[&organization, &extra]).await;
    organization
}

async fn say(world: &World, text: &str) {
    world.sandbox.say(&json!({"from": "549", "number": NUMBER, "text": text, "name": "Ana"})).await;
}

async fn show(world: &World, bytes: &[u8], caption: &str) {
    let media = world.sandbox.media(|m| m.put(bytes, "image/png"));
    let image = json!({"id": media, "mime_type": "image/png", "caption": caption});
    let message = json!({"id": format!("wamid.{media}"), "from": "549", "timestamp": now().to_string(), "type": "image", "image": image});
    world.sandbox.deliver(&envelope(&json!(NUMBER), &json!({"contacts": [{"wa_id": "549"}], "messages": [message]}))).await;
}

/// Waits until everything that was said has been dealt with.
async fn settled(world: &World, said: i64) {
    world.until("everything is stored", &format!("select count(*) >= {said} from public.messages where direction = 'incoming'")).await;
    world.idle().await;
}

/// Waits until the other agent is known to be at work.
async fn at_work(world: &World) {
    world.until("it works", "select count(*) = 1 from bus.tasks where queue = 'agent' and waits_for = 'remote' and worker is null").await;
}

/// The contents that went to the customer.
async fn answers(world: &World) -> Vec<Value> {
    let sql = "select content from public.messages where direction = 'outgoing' order by created_at, timestamp, id";
    world.db.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn texts(world: &World) -> Vec<Value> {
    answers(world).await.iter().map(|content| content["text"].clone()).collect()
}

fn methods(world: &World) -> Vec<Value> {
    world.sandbox.asked().iter().map(|asked| asked["method"].clone()).collect()
}

/// What the customer said, in a request.
fn heard(asked: &Value) -> Vec<&Value> {
    asked["params"]["message"]["parts"].as_array().unwrap().iter().map(|part| &part["text"]).collect()
}

/// Where the other agent was told to call back, and with which token.
fn callback(world: &World) -> (String, String) {
    let config = world.sandbox.asked()[0]["params"]["configuration"]["pushNotificationConfig"].clone();
    (config["url"].as_str().unwrap().to_owned(), config["token"].as_str().unwrap().to_owned())
}

/// Calls back as the other agent would, and claims that the task is done.
async fn ring(world: &World, url: &str, header: &str, token: &str) -> u16 {
    let message = json!({"role": "agent", "kind": "message", "messageId": "m", "parts": [{"kind": "text", "text": "lies"}]});
    let task = json!({"id": "t", "kind": "task", "contextId": "c", "status": {"state": "completed", "message": message}});
    world.http.post(url).header(header, token).json(&task).send().await.unwrap().status().as_u16()
}

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn who_answers_at_once_is_asked_once() {
    let world = World::new().await;
    elsewhere(&world, json!({})).await;
    let _process = world.serve().await;
    say(&world, "hello").await;
    settled(&world, 1).await;
    let asked = world.sandbox.asked();
    assert_eq!(methods(&world), ["message/send"]);
    assert_eq!((heard(&asked[0]), &asked[0]["params"]["configuration"]["blocking"]), (vec![&json!("hello")], &json!(false)));
    assert_eq!(texts(&world).await, ["You said: hello"]);
    assert_eq!(world.count("public.messages where direction = 'internal'").await, 0);
    // It made no task: what holds the conversation together is its context.
    let task = answers(&world).await[0]["task"].clone();
    assert_eq!(task, json!({"id": task["session_id"], "status": "completed", "session_id": task["session_id"]}));
    say(&world, "again").await;
    settled(&world, 2).await;
    let message = world.sandbox.asked()[1]["params"]["message"].clone();
    assert_eq!((&message["contextId"], message.get("taskId")), (&task["session_id"], None));
    assert!(message["contextId"].is_string());
}

#[tokio::test]
async fn work_that_takes_its_time_is_asked_for_until_it_is_done() {
    let world = World::new().await;
    elsewhere(&world, json!({})).await;
    world.sandbox.script(vec![Turn { polls: 2, ..Turn::says("your taxi is here") }]);
    let _process = world.serve().await;
    say(&world, "a taxi, please").await;
    settled(&world, 1).await;
    assert_eq!(methods(&world), ["message/send", "tasks/get", "tasks/get"]);
    assert_eq!(texts(&world).await, ["your taxi is here"]);
    assert_eq!(world.sandbox.sent().len(), 1);
    let row = world.messages().await.into_iter().find(|m| m["direction"] == "internal").unwrap();
    assert_eq!((&row["content"]["kind"], &row["content"]["task"]["status"]), (&json!("task"), &json!("working")));
    assert!(world.sandbox.asked()[1..].iter().all(|asked| asked["params"] == json!({"id": row["content"]["task"]["id"]})));
    assert_eq!(answers(&world).await[0]["task"]["id"], row["content"]["task"]["id"]);
}

#[tokio::test]
async fn who_calls_back_is_asked_before_it_would_have_been() {
    let world = World::new().await;
    elsewhere(&world, json!({})).await;
    world.sandbox.script(vec![Turn { push: true, think_ms: Some(500), ..Turn::says("your taxi is here") }]);
    let process = world.serve().await;
    say(&world, "a taxi, please").await;
    settled(&world, 1).await;
    assert!(callback(&world).0.starts_with(&format!("{}/functions/v1/agent-callback/", process.address)));
    assert_eq!(methods(&world), ["message/send", "tasks/get"]);
    assert_eq!(texts(&world).await, ["your taxi is here"]);
    // Unasked, the first look is two seconds after the task began.
    let took: f64 = world
        .value(
            "select extract(epoch from a.created_at - t.created_at)::float8 from public.messages a, public.messages t
             where a.direction = 'outgoing' and t.content ->> 'kind' = 'task'",
            &[],
        )
        .await;
    assert!(took < 1.9, "{took}");
}

#[tokio::test]
async fn a_callback_needs_its_token_and_is_a_bell_and_no_answer() {
    let world = World::new().await;
    elsewhere(&world, json!({})).await;
    world.sandbox.script(vec![Turn { state: Some("working".into()), ..Turn::default() }]);
    let _process = world.serve().await;
    say(&world, "a taxi, please").await;
    at_work(&world).await;
    world.execute("update bus.tasks set run_at = now() + interval '1 hour' where waits_for = 'remote'", &[]).await;
    let (url, token) = callback(&world);
    let bearer = format!("Bearer {token}");
    let other = format!("{}/{}", url.rsplit_once('/').unwrap().0, Uuid::new_v4());
    let header = "x-a2a-notification-token";
    let mut wrong = vec![(&url, header, "wrong"), (&url, header, ""), (&url, "x-other", &*token), (&url, "authorization", "Bearer wrong")];
    wrong.extend([(&other, header, &*token), (&other, "authorization", &*bearer)]);
    for (url, header, token) in wrong {
        assert_eq!(ring(&world, url, header, token).await, 401, "{url} {header} {token}");
    }
    let far = "select count(*) = 1 from bus.tasks where waits_for = 'remote' and worker is null and run_at > now() + interval '50 minutes'";
    assert!(world.value::<bool>(far, &[]).await, "nobody was woken");
    assert_eq!(methods(&world), ["message/send"]);
    // With it the task is asked for, in either header; what the caller says of it counts for nothing.
    for (times, header, token) in [(1, header, &token), (2, "authorization", &bearer)] {
        assert_eq!(ring(&world, &url, header, token).await, 202);
        eventually("it is asked for", || async { methods(&world).iter().filter(|m| **m == "tasks/get").count() >= times }).await;
        at_work(&world).await;
        world.execute("update bus.tasks set run_at = now() + interval '1 hour' where waits_for = 'remote'", &[]).await;
    }
    assert_eq!(texts(&world).await, [] as [Value; 0]);
}

#[tokio::test]
async fn who_speaks_the_older_dialect_is_understood() {
    let world = World::new().await;
    let organization = elsewhere(&world, json!({})).await;
    world.sandbox.set(|s| s.a2a_dialect = "tasks".into());
    let _process = world.serve().await;
    say(&world, "hello").await;
    settled(&world, 1).await;
    assert_eq!(methods(&world), ["message/send", "tasks/send"]);
    assert_eq!(texts(&world).await, ["You said: hello"]);
    let params = world.sandbox.asked()[1]["params"].clone();
    assert_eq!(params["message"]["parts"], json!([{"type": "text", "text": "hello", "metadata": {"kind": "text"}}]));
    let task = answers(&world).await[0]["task"].clone();
    assert_eq!(task, json!({"id": params["id"], "status": "completed", "session_id": params["sessionId"]}));
    // Who knows the dialect says so; the session goes on, with a task of its own.
    world.execute("update public.agents set extra = '{\"dialect\": \"tasks/send\"}' where organization_id = $1", &[&organization]).await;
    say(&world, "again").await;
    settled(&world, 2).await;
    assert_eq!(methods(&world), ["message/send", "tasks/send", "tasks/send"]);
    let next = world.sandbox.asked()[2]["params"].clone();
    assert_eq!(next["sessionId"], params["sessionId"]);
    assert_ne!(next["id"], params["id"]);
}

#[tokio::test]
async fn who_takes_no_callbacks_is_asked_without() {
    for (dialect, expected) in [("message", vec!["message/send"; 2]), ("tasks", vec!["message/send", "tasks/send", "tasks/send"])] {
        let world = World::new().await;
        elsewhere(&world, json!({})).await;
        world.sandbox.set(|s| s.a2a_dialect = dialect.into());
        world.sandbox.script(vec![Turn::fails(403, "push notifications are not supported"), Turn::says("fine")]);
        let _process = world.serve().await;
        say(&world, "hello").await;
        settled(&world, 1).await;
        assert_eq!(methods(&world), expected, "{dialect}");
        assert_eq!(texts(&world).await, ["fine"], "{dialect}");
        let asked = world.sandbox.asked();
        let offers = |asked: &Value| asked.to_string().contains("agent-callback");
        let (last, before) = asked.split_last().unwrap();
        assert!(before.iter().all(offers) && !offers(last), "{dialect}");
    }
}

#[tokio::test]
async fn what_the_other_agent_wants_to_know_belongs_to_its_task() {
    let world = World::new().await;
    elsewhere(&world, json!({})).await;
    world.sandbox.script(vec![Turn { state: Some("input-required".into()), ..Turn::says("where to?") }]);
    let _process = world.serve().await;
    for (n, text) in ["a taxi, please", "home", "thanks"].into_iter().enumerate() {
        say(&world, text).await;
        settled(&world, n as i64 + 1).await;
    }
    assert_eq!(texts(&world).await, ["where to?", "You said: home", "You said: thanks"]);
    let tasks: Vec<Value> = answers(&world).await.iter().map(|content| content["task"].clone()).collect();
    assert_eq!((&tasks[0]["status"], &tasks[1]["status"]), (&json!("input-required"), &json!("completed")));
    assert_eq!(tasks[1]["id"], tasks[0]["id"]);
    let messages: Vec<Value> = world.sandbox.asked().iter().map(|asked| asked["params"]["message"].clone()).collect();
    assert_eq!((messages[0].get("taskId"), messages[0].get("contextId")), (None, None));
    assert_eq!((&messages[1]["taskId"], &messages[1]["contextId"]), (&tasks[0]["id"], &tasks[0]["session_id"]));
    assert_eq!((messages[2].get("taskId"), &messages[2]["contextId"]), (None, &tasks[0]["session_id"]), "that task has ended");
    assert_eq!(heard(&world.sandbox.asked()[1]), [&json!("home")]);
}

#[tokio::test]
async fn w19_the_other_agent_learns_what_is_said_and_by_whom_and_nothing_else() {
    let world = World::new().await;
    let tools = json!([{"provider": "local", "type": "http", "label": "shop", "config": {"url": "https://intranet.example/*"}}]);
    let organization = elsewhere(&world, json!({"api_key": "sk-very-secret", "instructions": "The word is swordfish.", "tools": tools})).await;
    world.sandbox.set(|s| s.model_key = "sk-very-secret".into());
    let _process = world.serve().await;
    say(&world, "my PIN is nineteen").await;
    settled(&world, 1).await;
    world.execute("update public.conversations set extra = '{\"memory\": {\"likes\": \"marzipan\"}}'", &[]).await;
    say(&world, "and now?").await;
    settled(&world, 2).await;
    world.execute("update public.agents set extra = '{\"dialect\": \"tasks/send\"}' where organization_id = $1", &[&organization]).await;
    say(&world, "and then?").await;
    settled(&world, 3).await;
    assert_eq!(texts(&world).await, ["You said: my PIN is nineteen", "You said: and now?", "You said: and then?"], "the key is shown in its header");

    let asked = world.sandbox.asked();
    let conversation: Uuid = world.value("select id from public.conversations", &[]).await;
    for (request, text, tag) in [(&asked[1], "and now?", "kind"), (&asked[2], "and then?", "type")] {
        let whole = request.to_string();
        for secret in ["sk-very-secret", "swordfish", "intranet", "organization-private", "marzipan", "nineteen"] {
            assert!(!whole.contains(secret), "{secret} in {whole}");
        }
        assert_eq!(keys(request), ["id", "jsonrpc", "method", "params"]);
        let params = &request["params"];
        assert_eq!(params["message"]["parts"], json!([{tag: "text", "text": text, "metadata": {"kind": "text"}}]));
        assert_eq!(keys(&params["metadata"]), ["tidings"]);
        let told = &params["metadata"]["tidings"];
        assert_eq!(keys(told), ["contact", "conversation_id", "now", "organization_id"]);
        assert_eq!((&told["contact"], &told["conversation_id"]), (&json!({"name": "Ana"}), &json!(conversation)));
        assert_eq!((&told["organization_id"], told["now"].is_string()), (&json!(organization), true));
    }
    let (message, task) = (&asked[1]["params"], &asked[2]["params"]);
    assert_eq!(keys(message), ["configuration", "message", "metadata"]);
    assert_eq!(keys(&message["message"]), ["contextId", "kind", "messageId", "parts", "role"]);
    assert_eq!(keys(&message["configuration"]), ["acceptedOutputModes", "blocking", "pushNotificationConfig"]);
    assert_eq!(keys(&message["configuration"]["pushNotificationConfig"]), ["token", "url"]);
    assert_eq!(keys(task), ["id", "message", "metadata", "pushNotification", "sessionId"]);
    assert_eq!((keys(&task["message"]), keys(&task["pushNotification"])), (vec!["parts", "role"], vec!["token", "url"]));
}

#[tokio::test]
async fn a_small_file_goes_along_and_a_large_one_as_a_link() {
    let world = World::new().await;
    elsewhere(&world, json!({})).await;
    let process = world.serve().await;
    let large = vec![7_u8; 1_100_000];
    show(&world, b"small", "the small one").await;
    settled(&world, 1).await;
    show(&world, &large, "the large one").await;
    settled(&world, 2).await;
    let parts = |n: usize| world.sandbox.asked()[n]["params"]["message"]["parts"].clone();
    assert_eq!(parts(0)[0]["file"], json!({"mimeType": "image/png", "bytes": BASE64_STANDARD.encode(b"small")}));
    assert_eq!(parts(0)[1]["text"], "the small one");
    assert_eq!((&parts(1)[0]["metadata"], &parts(1)[1]["text"]), (&json!({"kind": "image", "size": 1_100_000}), &json!("the large one")));
    assert_eq!(keys(&parts(1)[0]["file"]), ["mimeType", "uri"]);
    let link = parts(1)[0]["file"]["uri"].as_str().unwrap().to_owned();
    assert!(link.starts_with(&process.address), "{link}");
    let fetched = world.http.get(&link).send().await.unwrap();
    assert_eq!((fetched.status().as_u16(), fetched.bytes().await.unwrap().to_vec() == large), (200, true));
    let (unsigned, _) = link.split_once('?').unwrap();
    assert!(world.http.get(unsigned).send().await.unwrap().status().is_client_error());
}

#[tokio::test]
async fn a_file_of_the_other_agent_is_stored_and_sent() {
    let world = World::new().await;
    elsewhere(&world, json!({})).await;
    let file = json!({"file": {"name": "menu.png", "mimeType": "image/png", "bytes": BASE64_STANDARD.encode(b"the menu")}});
    world.sandbox.script(vec![Turn { artifact: Some(file), ..Turn::says("here it is") }]);
    let _process = world.serve().await;
    say(&world, "the menu, please").await;
    settled(&world, 1).await;
    let answers = answers(&world).await;
    assert_eq!((answers.len(), &answers[0]["text"], &answers[1]["kind"]), (2, &json!("here it is"), &json!("image")));
    assert_eq!((&answers[1]["file"]["mime_type"], &answers[1]["file"]["size"]), (&json!("image/png"), &json!(8)));
    let name = answers[1]["file"]["uri"].as_str().unwrap().strip_prefix("internal://media/").unwrap();
    assert_eq!(std::fs::read(world.storage().join(name)).unwrap(), b"the menu");
    let kinds: Vec<Value> = world.sandbox.sent().iter().map(|sent| sent["body"]["type"].clone()).collect();
    assert_eq!(kinds, ["text", "image"]);
}

#[tokio::test]
async fn work_that_failed_is_told_to_the_organization_and_not_to_the_customer() {
    let world = World::new().await;
    elsewhere(&world, json!({})).await;
    world.sandbox.script(vec![Turn { state: Some("failed".into()), ..Turn::says("no driver today") }]);
    let _process = world.serve().await;
    say(&world, "a taxi, please").await;
    world
        .until("it is told", "select count(*) = 1 from public.logs where category = 'agent' and level = 'error' and message like '%no driver today%'")
        .await;
    settled(&world, 1).await;
    let error = "public.messages where direction = 'internal' and content ->> 'kind' = 'error' and content ->> 'text' like '%no driver today%'";
    assert_eq!(world.count(error).await, 1);
    assert_eq!((world.count("bus.dead where queue = 'agent'").await, methods(&world).len(), world.sandbox.sent().len()), (1, 1, 0));
    say(&world, "and tomorrow?").await;
    settled(&world, 2).await;
    assert_eq!(texts(&world).await, ["You said: and tomorrow?"]);
    assert_eq!(heard(&world.sandbox.asked()[1]), [&json!("and tomorrow?")]);
}

#[tokio::test]
async fn who_writes_again_while_the_other_agent_works_gets_one_answer() {
    let world = World::new().await;
    elsewhere(&world, json!({})).await;
    world.sandbox.script(vec![Turn { state: Some("working".into()), ..Turn::default() }, Turn::says("a bus, then")]);
    let _process = world.serve().await;
    say(&world, "a taxi, please").await;
    at_work(&world).await;
    say(&world, "no, a bus").await;
    settled(&world, 2).await;
    assert_eq!(texts(&world).await, ["a bus, then"]);
    let asked = world.sandbox.asked();
    let newest = asked.last().unwrap();
    assert_eq!(heard(newest), [&json!("no, a bus")], "the rest it has heard");
    let row = world.messages().await.into_iter().find(|m| m["content"]["kind"] == "task").unwrap();
    assert_eq!((newest["params"]["message"].get("taskId"), &newest["params"]["message"]["contextId"]), (None, &row["content"]["task"]["session_id"]));
    // The work of before comes to an end, and nobody wants to know.
    let (url, token) = callback(&world);
    assert_eq!(ring(&world, &url, "x-a2a-notification-token", &token).await, 202);
    world.idle().await;
    assert_eq!((world.sandbox.asked().len(), texts(&world).await.len()), (asked.len(), 1));
}

#[tokio::test]
async fn who_writes_again_while_the_other_agent_is_asked_gets_one_answer_to_both() {
    let world = World::new().await;
    elsewhere(&world, json!({})).await;
    world.sandbox.script(vec![Turn { think_ms: Some(5000), ..Turn::says("a taxi comes") }, Turn::says("a large taxi comes")]);
    let _process = world.serve().await;
    say(&world, "a taxi, please").await;
    eventually("it is asked", || async { world.sandbox.asked().len() == 1 }).await;
    say(&world, "a large one").await;
    settled(&world, 2).await;
    assert_eq!(texts(&world).await, ["a large taxi comes"]);
    let asked = world.sandbox.asked();
    assert_eq!((asked.len(), heard(&asked[1])), (2, vec![&json!("a taxi, please"), &json!("a large one")]));
}
