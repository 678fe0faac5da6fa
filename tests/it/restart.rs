//! When connections break and servers die.

use std::time::{Duration, Instant};

use serde_json::json;
use tidings::db::{Db, embedded};

use crate::support::*;

#[tokio::test]
async fn postgres_restarted_under_load_loses_nothing() {
    let folder = std::path::PathBuf::from(format!("/var/tmp/tidings-restart-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir_all(&folder).unwrap();
    let superuser = embedded::start(&folder, &["max_connections=60"]).await.unwrap();
    let admin = Db::new(&superuser, 1).unwrap();
    let client = admin.get().await.unwrap();
    client.batch_execute("create role owner login password 'x'").await.unwrap();
    client.batch_execute("create database load owner owner").await.unwrap();
    let host = superuser.rsplit_once('@').unwrap().1.trim_end_matches("/postgres").to_owned();
    let world = World::on(format!("postgres://owner:x@{host}/load")).await;
    assert_eq!(world.run(&["migrate"]).await.0, 0);
    world.furnished().await;
    world.execute("update bus.lanes set rate = 100000", &[]).await;
    world.sandbox.set(|s| s.receipt_ms = 100);
    let _process = world.serve().await;

    // Phones that write all the time; Meta repeats what was not taken.
    let talk = async {
        let all = (0..60).map(|n| {
            let world = &world;
            async move {
                for turn in 0..4 {
                    world.sandbox.say(&json!({"from": format!("549{n}"), "number": NUMBER, "text": format!("{n}-{turn}")})).await;
                    tokio::time::sleep(Duration::from_millis(900)).await;
                }
            }
        });
        futures_util::future::join_all(all).await;
    };
    let restart = async {
        for mode in ["fast", "immediate"] {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            embedded::stop(&folder, mode).await.unwrap();
            embedded::start(&folder, &["max_connections=60"]).await.unwrap();
        }
    };
    tokio::join!(talk, restart);

    world.until("every message is stored", "select count(*) = 240 from public.messages where direction = 'incoming'").await;
    world.until("nothing waits but held sends", "select not exists (select from bus.tasks where held_since is null)").await;
    world.until("every answer is settled", "select bool_and(status ? 'read') from public.messages where direction = 'outgoing'").await;
    // Every answer went out once.
    let sent = world.sandbox.sent();
    let ids: std::collections::HashSet<&str> = sent.iter().map(|s| s["body"]["biz_opaque_callback_data"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), sent.len());
    assert_eq!(world.count("public.messages where direction = 'outgoing'").await, sent.len() as i64);
    // Every conversation's last word has been answered.
    let unanswered = world
        .count(
            "public.conversations c where (select m.direction from public.messages m where m.conversation_id = c.id
        order by m.timestamp desc, m.created_at desc limit 1) = 'incoming' and c.service = 'whatsapp'",
        )
        .await;
    assert_eq!(unanswered, 0);
    embedded::stop(&folder, "immediate").await.unwrap();
    let _ = std::fs::remove_dir_all(&folder);
}

#[tokio::test]
async fn a_cut_listening_connection_costs_no_more_than_the_reconnect() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.sandbox.set(|s| s.receipts = false);
    let _process = world.serve().await;
    // The process ids of the listening connections: one for the process.
    let listeners = "select coalesce(array_agg(pid), '{}') from pg_stat_activity where datname = current_database() and query = 'listen bus'";
    for n in 0..5 {
        world.until("one listener for the process", &format!("select cardinality(({listeners})) = 1")).await;
        let before: Vec<i32> = world.value(listeners, &[]).await;
        world.execute("select pg_terminate_backend($1)", &[&before[0]]).await;
        let began = Instant::now();
        world.send(organization, &format!("549{n}"), "x").await;
        eventually("it is sent", || async { world.sandbox.sent().len() == n + 1 }).await;
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        // The one that was cut may still be listed for a moment.
        eventually("another one listens", || async {
            let now: Vec<i32> = world.value(listeners, &[]).await;
            now.len() == 1 && now != before
        })
        .await;
    }
}
