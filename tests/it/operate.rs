//! What an operator does and sees.

use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn missing_settings_stop_serve_with_a_line_each() {
    let world = World::new().await;
    let mut command = world.command(&["serve"]);
    command.env_remove("DATABASE_URL").env_remove("WHATSAPP_VERIFY_TOKEN").env("META_APP_ID", "1").env("SECRETS_KEY", "short");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    for name in ["DATABASE_URL", "WHATSAPP_VERIFY_TOKEN", "META_APP_ID", "SECRETS_KEY"] {
        assert_eq!(lines.iter().filter(|l| l.starts_with(name)).count(), 1, "{text}");
    }
}

#[tokio::test]
async fn status_as_a_table_and_as_json() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.send(organization, "549", "x").await;
    let (code, out) = world.run(&["status", "--json"]).await;
    assert_eq!(code, 0);
    let status: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status["queues"]["dispatch"]["depth"], 1);
    assert_eq!(status["queues"]["dispatch"]["due"], 1);
    assert!(status["queues"]["dispatch"]["oldest_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(status["queues"]["dispatch"]["dead"], 0);
    assert_eq!(status["journal"]["pending"], 0);
    assert_eq!(status["numbers"][0]["phone_number_id"], NUMBER);
    assert_eq!((&status["numbers"][0]["state"], &status["numbers"][0]["paused_reason"]), (&json!("connected"), &Value::Null));
    let (code, out) = world.run(&["status"]).await;
    assert_eq!(code, 0);
    assert!(out.contains("dispatch") && out.contains("111"), "{out}");
}

#[tokio::test]
async fn logs_and_errors_hold_ids_and_no_bodies_or_secrets() {
    let world = World::new().await;
    world.furnished().await;
    world.sandbox.fault(tidings::sandbox::Fault {
        on: "messages".into(),
        times: Some(1),
        code: Some(131_056),
        retry_after: Some(0),
        ..Default::default()
    });
    world.sandbox.fault(tidings::sandbox::Fault { on: "model".into(), times: Some(1), status: Some(500), ..Default::default() });
    let child = world
        .command(&["serve"])
        .env("LISTEN_ADDR", format!("127.0.0.1:{}", world.port()))
        .env("RUST_LOG", "debug,hyper=off,hyper_util=off,reqwest=off,tokio_postgres=off,rustls=off")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    eventually("ready", || async {
        world.http.get(format!("http://127.0.0.1:{}/readyz", world.port())).send().await.is_ok_and(|r| r.status() == 200)
    })
    .await;
    world.sandbox.say(&json!({"from": "5491133", "number": NUMBER, "text": "very private words", "name": "Ana Secret"})).await;
    world.until("answered", "select status ? 'read' from public.messages where direction = 'outgoing'").await;
    std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let id: uuid::Uuid = world.value("select id from public.messages where direction = 'outgoing'", &[]).await;
    assert!(log.contains(&id.to_string()), "{log}");
    assert!(log.lines().all(|l| l.starts_with('{')), "JSON lines: {log}");
    for secret in ["private words", "Ana Secret", "token-of-111", "app-secret", "system-token", KEY, "5491133"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test]
async fn replay_by_id_and_time() {
    let world = World::new().await;
    let organization = world.furnished().await;
    for n in 0..3 {
        world.send(organization, &format!("549{n}"), "x").await;
    }
    world
        .execute(
            "select bus.bury(array_agg(id), jsonb_agg(to_jsonb(t) || '{\"error\": \"made dead\"}')) from bus.tasks t where queue = 'dispatch'",
            &[],
        )
        .await;
    world.execute("update bus.dead set died_at = now() - interval '3 hours' where subject = (select min(subject) from bus.dead)", &[]).await;
    let first: i64 = world.value("select min(id) from bus.dead where died_at > now() - interval '1 hour'", &[]).await;
    assert_eq!(world.run(&["replay"]).await.0, 1);
    assert_eq!(world.run(&["replay", "--dead", "--since", "yesterday"]).await.0, 2);
    assert_eq!(world.run(&["replay", "--dead", "--id", &first.to_string()]).await.1.trim(), "1 dead tasks put back");
    assert_eq!(world.run(&["replay", "--dead", "--since", "1h"]).await.1.trim(), "1 dead tasks put back");
    assert_eq!(world.run(&["replay", "--dead"]).await.1.trim(), "1 dead tasks put back");
    assert_eq!(world.count("bus.tasks where queue = 'dispatch'").await, 3);
}

#[tokio::test]
async fn one_number_is_served_with_nothing_but_the_environment() {
    let world = World::new().await;
    let environment = [("WHATSAPP_PHONE_NUMBER_ID", "777"), ("WHATSAPP_ACCESS_TOKEN", "env-token")];
    let process = world.serve_with(&environment).await;
    world.until("it is registered", "select count(*) = 1 from public.organizations_addresses where address = '777' and status = 'connected'").await;
    world.webhook(&process, text_webhook("777", "549", "wamid.1", now(), "hi").to_string()).await;
    world.until("what comes in is stored", "select count(*) = 1 from public.messages where organization_address = '777'").await;
    drop(process);
    let again = world.serve_with(&environment).await;
    world
        .until(
            "the token is sealed and not shown",
            "select extra ->> 'access_token' = '[sealed]' from public.organizations_addresses where address = '777'",
        )
        .await;
    assert_eq!(world.count("public.organizations").await, 1, "a second start registers nothing");
    drop(again);
}
