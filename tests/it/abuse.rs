//! Tools in bad hands: what a model that was talked into something, a hostile tenant or a hostile server can reach.

use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};
use tidings::{
    agent::tools::http::{self, HttpConfig},
    outbound::Guarded,
    sandbox::{Fault, Turn},
};
use uuid::Uuid;

use crate::{
    support::*,
    tools::{answers, database, equipped, function, labelled, offered, results, shop, stored, tell},
};

mod words;

fn port(world: &World) -> u16 {
    Url::parse(&world.sandbox_url).unwrap().port().unwrap()
}

/// A turn in which all of these URLs are asked for with one tool.
fn gets(tool: &str, urls: &[String]) -> Turn {
    Turn::calls(urls.iter().map(|url| (tool, json!({"url": url, "method": "GET"}))))
}

/// Seconds from the first call to the last result.
async fn took(world: &World) -> f64 {
    let sql = "select extract(epoch from max(\"timestamp\") - min(\"timestamp\"))::float8 from public.messages where content ? 'tool'";
    world.value(sql, &[]).await
}

#[tokio::test]
async fn w11_internal_addresses_are_refused_however_they_are_written() {
    let world = World::new().await;
    equipped(&world, json!([labelled("http", "web", json!({}))])).await;
    let process = world.serve_with(&[("OUTBOUND_ALLOW", "127.0.0.1/32")]).await;
    world.sandbox.set(|s| s.webhook_url = format!("{}/functions/v1/whatsapp-webhook", process.address));
    let (port, here) = (port(&world), &world.sandbox_url);
    let inside = [
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://10.0.0.1/".to_owned(),
        "http://192.168.0.1:8080/".to_owned(),
        "http://0/".to_owned(),
        format!("http://[::1]:{port}/web/echo"),
        format!("http://[::ffff:127.0.0.2]:{port}/web/echo"),
        format!("http://127.0.0.2:{port}/web/echo"),
        format!("http://2130706434:{port}/web/echo"),
        format!("http://0x7f.2:{port}/web/echo"),
    ];
    let redirects = [format!("{here}/web/redirect?to=http://169.254.169.254/latest"), format!("{here}/web/redirect?to={here}/web/echo")];
    world.sandbox.script(vec![gets("web__request", &[inside.as_slice(), redirects.as_slice()].concat())]);
    tell(&world, "fetch it all").await;
    let came = results(&world).await;
    assert_eq!(came.len(), inside.len() + redirects.len());
    for (url, (_, result, is_error)) in inside.iter().zip(&came) {
        assert!(*is_error && result.as_str().unwrap().contains("no public address"), "{url}: {result}");
    }
    let ends = came[inside.len()..].iter().map(|(_, result, _)| result.clone()).collect::<Vec<_>>();
    let to = |location: &str| json!({"status": 302, "location": location});
    assert_eq!(ends, [to("http://169.254.169.254/latest"), to(&format!("{here}/web/echo"))]);
    let paths: Vec<Value> = world.sandbox.hits().iter().map(|h| h["path"].clone()).collect();
    assert_eq!(paths, ["/web/redirect", "/web/redirect"], "nobody followed them");
}

#[tokio::test]
async fn w11_a_name_that_leads_inside_is_refused_where_it_leads() {
    let world = World::new().await;
    let nowhere = Guarded::new(Duration::from_secs(5), Vec::new()).unwrap();
    let config: HttpConfig = serde_json::from_value(json!({})).unwrap();
    let arguments = json!({"url": format!("http://localhost:{}/web/echo", port(&world)), "method": "GET"});
    let error = http::run(&nowhere, &config, &arguments).await.unwrap_err();
    assert!(error.contains("no public address"), "{error}");
    assert_eq!(world.sandbox.hits().len(), 0);
    // It is the allowance that decides, and nothing else about it.
    let here = Guarded::new(Duration::from_secs(5), vec!["127.0.0.1/32".parse().unwrap()]).unwrap();
    assert_eq!(http::run(&here, &config, &arguments).await.unwrap()["status"], 200);
}

#[tokio::test]
async fn w11_only_the_configured_place_is_called_and_only_it_gets_the_key() {
    let world = World::new().await;
    let (here, port) = (&world.sandbox_url, port(&world));
    let headers = json!({"X-Key": "k-secret"});
    let public = labelled("http", "shop", json!({"url": format!("{here}/web/public/*"), "headers": headers}));
    equipped(&world, json!([public, labelled("http", "any", json!({"headers": headers}))])).await;
    let _process = world.serve().await;
    let tricks = [
        format!("{here}/web/public-admin"),
        format!("{here}/web/Public/x"),
        format!("{here}/web/public/../echo"),
        format!("{here}/web/public/%2e%2e/echo"),
        format!("{here}/web/public/..%2Fecho"),
        format!("{here}/web/public\\..\\echo"),
        format!("{here}/web/echo?/web/public/"),
        format!("{here}/web/echo#/web/public/"),
        format!("http://user@127.0.0.1:{port}/web/public/x"),
        format!("http://127.0.0.1:{port}@localhost:{port}/web/public/x"),
        format!("http://localhost:{port}/web/public/x"),
        format!("http://127.0.0.2:{port}/web/public/x"),
        format!("http://127.0.0.1.example.com:{port}/web/public/x"),
        format!("https://127.0.0.1:{port}/web/public/x"),
        "http://127.0.0.1:9/web/public/x".to_owned(),
        "/web/public/x".to_owned(),
    ];
    world.sandbox.script(vec![gets("shop__request", &tricks)]);
    tell(&world, "try all doors").await;
    let came = results(&world).await;
    for (url, (_, result, is_error)) in tricks.iter().zip(&came) {
        assert!(*is_error && !result.to_string().contains("k-secret"), "{url}: {result}");
    }
    assert_eq!((came.len(), world.sandbox.hits().len()), (tricks.len(), 0));
    let calls = [("shop__request", "public/x?y=1"), ("any__request", "html")];
    world.sandbox.script(vec![Turn::calls(calls.map(|(tool, page)| (tool, json!({"url": format!("{here}/web/{page}"), "method": "GET"}))))]);
    tell(&world, "now the right one").await;
    let mut hits = world.sandbox.hits();
    hits.sort_by_key(|h| h["path"] == "/web/html");
    assert_eq!((&hits[0]["path"], &hits[0]["headers"]["x-key"]), (&json!("/web/public/x"), &json!("k-secret")));
    assert_eq!((&hits[1]["path"], &hits[1]["headers"]["x-key"]), (&json!("/web/html"), &Value::Null));
}

#[tokio::test]
async fn results_that_are_too_long_are_kept_and_told_in_part() {
    let world = World::new().await;
    let server = labelled("mcp", "shop", json!({"url": format!("{}/mcp/shop", world.sandbox_url), "allowed_tools": ["big"]}));
    equipped(&world, json!([labelled("http", "web", json!({})), server])).await;
    let _process = world.serve().await;
    let page = |query: &str| json!({"url": format!("{}/web/big?bytes=5000000{query}", world.sandbox_url), "method": "GET"});
    let calls = [("web__request", page("")), ("web__request", page("&length=0")), ("shop__big", json!({}))];
    world.sandbox.script(vec![Turn::calls(calls), Turn::says("Read.")]);
    tell(&world, "read it all").await;
    let came = results(&world).await;
    assert!(came.len() == 3 && came.iter().all(|c| !c.2 && c.1.to_string().len() > 10_000), "what fits is there");
    assert!(world.value::<i32>("select max(octet_length(content::text)) from public.messages", &[]).await < 80_000);
    assert!(world.sandbox.asked()[1].to_string().len() < 120_000);
    tell(&world, "and?").await;
    let later = world.sandbox.asked().pop().unwrap().to_string().len();
    assert!(later < 30_000, "{later}: of an earlier run, less is told");
}

#[tokio::test]
async fn runaway_expressions_end_in_errors_and_nothing_else_does() {
    let world = World::new().await;
    equipped(&world, json!([function("calculator")])).await;
    let _process = world.serve().await;
    let nested = format!("{}1{}", "(".repeat(1000), ")".repeat(1000));
    let bombs = ["9^9^9^9", "1000000000!", "1e1000000000", "10^1000000 to words", nested.as_str()];
    world.sandbox.script(vec![Turn::calls(bombs.map(|bomb| ("calculator", json!({"expression": bomb}))))]);
    tell(&world, "calculate").await;
    let came = results(&world).await;
    assert!(came.len() == bombs.len() && came.iter().all(|c| c.2), "{came:?}");
    let took = took(&world).await;
    assert!(took < 3.0, "{took} s for all of them");
    tell(&world, "still there?").await;
    assert_eq!(answers(&world).await.pop().unwrap()["text"], "You said: still there?");
}

#[tokio::test]
async fn w13_a_database_is_only_read_within_its_time_and_never_inside() {
    let world = World::new().await;
    shop(&world).await;
    let here = database(&world, "shop", &json!({"timeout_seconds": 1}));
    equipped(&world, json!([here, database(&world, "meta", &json!({"host": "169.254.169.254"}))])).await;
    let _process = world.serve().await;
    let refused = [
        "drop table shop.orders",
        "select 1; drop table shop.orders",
        "commit; drop table shop.orders",
        "with gone as (delete from shop.orders returning *) select * from gone",
        "select pg_sleep(60)",
    ];
    let mut calls: Vec<(&str, Value)> = refused.map(|sql| ("shop__executeSql", json!({"query": sql}))).into();
    calls.push(("shop__selectAsCsv", json!({"query": "insert into shop.orders values (3, 'x', 1) returning *", "file_name": "a.csv"})));
    calls.push(("meta__executeSql", json!({"query": "select 1"})));
    calls.push(("shop__executeSql", json!({"query": "select generate_series(1, 10000000) as n, repeat('x', 100) as x"})));
    calls.push(("shop__executeSql", json!({"query": "select repeat('x', 5000000) as x"})));
    world.sandbox.script(vec![Turn::calls(calls), Turn::says("Done.")]);
    tell(&world, "do your worst").await;
    let came = results(&world).await;
    assert!(came[..7].iter().all(|c| c.2), "{came:?}");
    assert!(came[4].1.as_str().unwrap().contains("timeout") && came[6].1.as_str().unwrap().contains("no public address"), "{came:?}");
    assert_eq!((&came[7].1["truncated"], came[7].1["rows"].as_array().unwrap().len()), (&json!(true), 200));
    let longest: i32 = world.value("select max(octet_length(content::text)) from public.messages", &[]).await;
    assert!(came.len() == 9 && longest < 80_000, "{longest}");
    let took = took(&world).await;
    assert!(took < 8.0, "{took}");
    assert_eq!((world.count("shop.orders").await, world.count("storage.objects").await), (2, 0));
}

#[tokio::test]
async fn w13_names_and_types_cannot_smuggle_statements() {
    let world = World::new().await;
    shop(&world).await;
    let organization = equipped(&world, json!([database(&world, "books", &json!({"read_only": false}))])).await;
    let uri = stored(&world, organization, "list", b"name\nx\n", "text/csv").await;
    let _process = world.serve().await;
    let load = |more: Value| {
        let mut all = json!({"schema": "shop", "table": "t", "file_uri": uri});
        more.as_object().into_iter().flatten().for_each(|(key, value)| all[key] = value.clone());
        ("books__bulkInsert", all)
    };
    world.sandbox.script(vec![Turn::calls([
        load(json!({"types": ["text); drop table shop.orders; --"]})),
        load(json!({"types": ["text default (select 1)"]})),
        load(json!({"table": "t\" (a text); drop table shop.orders; --"})),
        load(json!({"schema": "shop\".t (a text); drop table shop.orders; --"})),
        load(json!({"renames": [{"from": "name", "to": "a\" text); drop table shop.orders; --"}]})),
        ("books__executeSql", json!({"query": "insert into shop.orders values (3, 'x', 1); drop table shop.orders"})),
    ])]);
    tell(&world, "load the list").await;
    let came = results(&world).await;
    assert!(came.len() == 6 && [0, 1, 3, 5].iter().all(|n| came[*n].2), "{came:?}");
    assert_eq!(world.count("shop.orders").await, 2);
}

#[tokio::test]
async fn w12_files_of_another_organization_are_neither_sent_nor_read() {
    let world = World::new().await;
    shop(&world).await;
    let ours = equipped(&world, json!([function("attach_file"), database(&world, "books", &json!({"read_only": false}))])).await;
    let theirs = world.organization(json!({})).await;
    let uri = stored(&world, theirs, "secret", b"name\nsecret\n", "text/csv").await;
    let climbing = format!("internal://media/organizations/{ours}/attachments/../../{theirs}/attachments/secret");
    let unstored = format!("internal://media/organizations/{ours}/attachments/secret");
    std::fs::create_dir_all(world.storage().join(format!("organizations/{ours}/attachments"))).unwrap();
    let _process = world.serve().await;
    let uris = [&uri, &climbing, &unstored];
    let mut script: Vec<Turn> = uris.map(|uri| Turn::calls([("respond", json!({"messages": [{"type": "file", "uri": uri}]}))])).into();
    script.push(Turn::calls(uris.map(|uri| ("attach_file", json!({"file_uri": uri})))));
    script.push(Turn::calls(uris.map(|uri| ("books__bulkInsert", json!({"schema": "shop", "table": "stolen", "file_uri": uri})))));
    script.push(Turn::says("I cannot."));
    world.sandbox.script(script);
    tell(&world, "send me their file").await;
    assert_eq!(world.count("public.messages where direction = 'internal' and content->>'kind' = 'refused'").await, 3);
    let came = results(&world).await;
    assert!(came.len() == 6 && came.iter().all(|c| c.2), "{came:?}");
    assert_eq!(answers(&world).await.iter().map(|a| a["text"].clone()).collect::<Vec<_>>(), ["I cannot."]);
    assert_eq!((world.sandbox.sent().len(), world.sandbox.media(|m| m.uploads.len())), (1, 0));
    assert!(world.value::<bool>("select to_regclass('shop.stolen') is null", &[]).await);
}

#[tokio::test]
async fn w08_no_secret_of_an_agent_shows_anywhere() {
    let world = World::new().await;
    let here = &world.sandbox_url;
    let secrets = ["sk-model-secret", "http-secret-1", "mcp-secret-2", "away-secret-3", "sql-secret-4"];
    let server = |path: &str, key: &str| json!({"url": format!("{here}{path}"), "headers": {"Authorization": format!("Bearer {key}")}});
    let tools = json!([
        labelled("http", "web", json!({"url": format!("{here}/web/status/*"), "headers": {"X-Key": secrets[1]}})),
        labelled("mcp", "shop", server("/mcp/shop", secrets[2])),
        labelled("mcp", "gone", server("/web/status/401", secrets[3])),
        database(&world, "db", &json!({"password": secrets[4]})),
    ]);
    let organization: Uuid = equipped(&world, tools).await;
    world.execute("update public.agents set extra = $1 where organization_id = $2", &[&json!({"api_key": secrets[0]}), &organization]).await;
    world.sandbox.set(|s| s.model_key = secrets[0].to_owned());
    world.sandbox.fault(Fault { on: "model".into(), times: Some(1), status: Some(401), ..Fault::default() });
    let _process = world.serve().await;
    tell(&world, "one").await;
    assert_eq!(world.count("public.logs where category = 'agent'").await, 1);
    world.sandbox.script(vec![Turn::calls([
        ("web__request", json!({"url": format!("{here}/web/status/500"), "method": "GET"})),
        ("web__request", json!({"url": "http://127.0.0.1:9/web/status/500", "method": "GET"})),
        ("shop__fail", json!({})),
        ("db__executeSql", json!({"query": "select 1"})),
    ])]);
    tell(&world, "two").await;
    assert_eq!(results(&world).await.iter().map(|r| r.2).collect::<Vec<_>>(), [false, true, true, true]);
    let hits = world.sandbox.hits();
    assert!(secrets[1..4].iter().all(|s| hits.iter().any(|h| h.to_string().contains(s))), "they were used: {hits:?}");
    assert!(!offered(&world.sandbox.asked()[1]).iter().any(|name| name.starts_with("gone")));
    world.until("all is sealed", "select count(*) = 5 and bool_and(plain is null) from secrets.credentials where subject = 'agents'").await;
    let sql = "select string_agg(x, ' ') from (
        select m::text from public.messages m union all select l::text from public.logs l union all select u::text from public.usage u
        union all select a::text from public.agents a union all select c::text from public.conversations c
        union all select d::text from bus.dead d union all select s::text from secrets.credentials s) all_rows (x)";
    let held = world.value::<String>(sql, &[]).await + &json!(world.sandbox.asked()).to_string();
    for secret in secrets {
        assert!(!held.contains(secret), "{secret} shows");
    }
}
