//! The edges over a real socket.

use std::time::Duration;

use serde_json::json;
use tidings::sandbox::phone::sign;

use crate::support::*;

#[tokio::test]
async fn the_handshake() {
    let world = World::new().await;
    let process = world.serve_parts(&["--only", "http"], world.port()).await;
    let get = |query: &str| world.http.get(format!("{}/functions/v1/whatsapp-webhook?{query}", process.address)).send();
    let answer = get("hub.mode=subscribe&hub.verify_token=verify-me&hub.challenge=42").await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "42"));
    assert_eq!(get("hub.mode=subscribe&hub.verify_token=wrong&hub.challenge=42").await.unwrap().status(), 403);
    assert_eq!(get("").await.unwrap().status(), 403);
}

#[tokio::test]
async fn signatures_apps_methods_and_sizes() {
    let world = World::new().await;
    let process = world.serve_parts(&["--only", "http"], world.port()).await;
    let body = "{\"object\":\"x\"}";
    let post = |query: &str, signature: Option<String>, body: String| {
        let mut request = world.http.post(format!("{}/functions/v1/whatsapp-webhook{query}", process.address)).body(body);
        if let Some(signature) = signature {
            request = request.header("x-hub-signature-256", signature);
        }
        async { request.send().await.unwrap().status().as_u16() }
    };
    let by = |secret: &str| Some(sign(secret, body.as_bytes()));
    // Any configured secret, unless the URL names the app.
    assert_eq!(post("", by(SECRET), body.into()).await, 200);
    assert_eq!(post("", by("other-secret"), body.into()).await, 200);
    assert_eq!(post("?app_id=app-2", by("other-secret"), body.into()).await, 200);
    assert_eq!(post("?app_id=app-2", by(SECRET), body.into()).await, 401);
    assert_eq!(post("?app_id=app-3", by(SECRET), body.into()).await, 401);
    assert_eq!(post("", by("wrong"), body.into()).await, 401);
    assert_eq!(post("", None, body.into()).await, 401);
    assert_eq!(world.count("bus.journal").await, 3);
    assert_eq!(world.value::<String>("select string_agg(coalesce(app_id, '?'), ' ' order by id) from bus.journal", &[]).await, "app-1 app-2 app-2");

    let large = "x".repeat(3 * 1024 * 1024);
    assert_eq!(post("", Some(sign(SECRET, large.as_bytes())), large.clone()).await, 200);
    assert_eq!(post("", Some(sign(SECRET, large.as_bytes())), large + "x").await, 413);
    for method in ["PUT", "DELETE", "PATCH"] {
        let request = world.http.request(method.parse().unwrap(), format!("{}/functions/v1/whatsapp-webhook", process.address));
        assert_eq!(request.send().await.unwrap().status(), 405);
    }
    assert_eq!(world.http.get(format!("{}/nothing", process.address)).send().await.unwrap().status(), 404);

    let metrics = world.http.get(format!("{}/metrics", process.address)).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("tidings_webhooks_total{result=\"bad_signature\"} 4"), "{metrics}");
    assert!(metrics.contains("tidings_queue_depth{queue=\"intake\"} 4"), "{metrics}");
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_so_that_meta_comes_back() {
    let mut world = World::new().await;
    world.url = format!("postgres://nobody@127.0.0.1:{}/none", free_port());
    let process = world.launch(&[], world.port());
    eventually("alive", || async { world.http.get(format!("{}/healthz", process.address)).send().await.is_ok_and(|r| r.status() == 200) }).await;
    assert_eq!(world.webhook(&process, "{}").await.status(), 503);
    let ready = world.http.get(format!("{}/readyz", process.address)).send().await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains("database"));
}

#[tokio::test]
async fn many_at_once_are_all_stored() {
    let world = World::new().await;
    let process = world.serve_parts(&["--only", "http"], world.port()).await;
    let all = (0..300).map(|n| {
        let (world, process) = (&world, &process);
        async move { world.webhook(process, json!({"n": n}).to_string()).await.status() }
    });
    assert!(futures_util::future::join_all(all).await.iter().all(|s| *s == 200));
    assert_eq!(world.count("(select distinct body from bus.journal) b").await, 300);
}

#[tokio::test]
async fn ready_only_with_a_current_schema() {
    let world = World::new().await;
    let process = world.serve().await;
    world.execute("update bus.applied set sql_hash = 'old'", &[]).await;
    let ready = world.http.get(format!("{}/readyz", process.address)).send().await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains("schema"));
}

#[tokio::test]
async fn sigterm_drains_and_gives_back() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.sandbox.fault(tidings::sandbox::Fault { on: "messages".into(), delay_ms: 700, ..Default::default() });
    let mut process = world.serve().await;
    for n in 0..5 {
        world.send(organization, &format!("549{n}"), "x").await;
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    process.signal("-TERM");
    assert_eq!(process.wait().await, 0);
    // What was on its way arrived and was written down; the rest is free to be claimed at once.
    let sent = world.sandbox.sent().len() as i64;
    assert_eq!(world.count("public.messages where status ? 'accepted'").await, sent);
    assert_eq!(world.count("bus.tasks where worker is not null").await, 0);
    assert_eq!(world.count("bus.awake").await, 0);
    world.sandbox.heal();
    let _process = world.serve().await;
    world.until("all are accepted", "select bool_and(status ? 'accepted') from public.messages").await;
    assert_eq!(world.sandbox.sent().len(), 5);
}
