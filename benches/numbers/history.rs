//! (h) The history of a phone, 3 MB in one body, against `copy`-ing the same rows into the same tables with triggers off.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt};
use serde_json::{Value, json};
use tidings::{command::migrate::connect, db::Db, sandbox::phone::sign};

use crate::{Setting, line, median, setting::SECRET};

const MESSAGES: usize = 3600;
const THREADS: usize = 120;
const TABLES: [&str; 3] = ["public.contacts_addresses", "public.conversations", "public.messages"];

pub async fn import(runs: usize) {
    let (mut ours, mut copies, mut size) = (Vec::new(), Vec::new(), 0);
    for run in 0..runs {
        let setting = Setting::new().await;
        setting.organizations(1).await;
        let process = setting.serve(Some("http,intake")).await;
        let body = body(run).to_string();
        size = body.len();
        let began = Instant::now();
        let request = reqwest::Client::new().post(format!("http://127.0.0.1:{}/functions/v1/whatsapp-webhook", setting.port));
        let answer = request.header("x-hub-signature-256", sign(SECRET, body.as_bytes())).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        while setting.count("public.messages").await < MESSAGES as i64 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        ours.push(MESSAGES as f64 / began.elapsed().as_secs_f64());
        drop(process);
        copies.push(MESSAGES as f64 / copy(&setting).await.as_secs_f64());
    }
    let (ours, copied) = (median(ours), median(copies));
    let what = format!("(h) history of {MESSAGES} messages in {:.1} MB, from the POST to the rows", size as f64 / 1e6);
    line(&what, &format!("{ours:.0}/s"), &format!("{copied:.0}/s by copy, triggers off"), Some(ours / copied));
}

/// A chunk as a phone with long messages makes it.
fn body(run: usize) -> Value {
    let text = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor. ".repeat(8);
    let thread = |t: usize| {
        let phone = (5_491_155_000_000 + t as u64).to_string();
        let message = |n: usize| {
            let id = format!("wamid.history.{run}.{t}.{n}.{:020}", n * 7919);
            let mut message = json!({"from": phone, "id": id, "timestamp": (1_780_000_000 + n).to_string(), "type": "text",
                "text": {"body": format!("{n} {text}")}, "history_context": {"status": "READ"}});
            if n % 2 == 1 {
                message["from"] = json!("1");
                message["to"] = json!(phone);
            }
            message
        };
        json!({"context": {"wa_id": phone, "user_id": format!("AR.{t}")}, "messages": (0..MESSAGES / THREADS).map(message).collect::<Value>()})
    };
    let history = json!([{"metadata": {"phase": 1, "chunk_order": 1, "progress": 100}, "threads": (0..THREADS).map(thread).collect::<Value>()}]);
    json!({"object": "whatsapp_business_account", "entry": [{"id": "w", "changes": [{"field": "history", "value": {
        "messaging_product": "whatsapp", "metadata": {"display_phone_number": "1", "phone_number_id": "n1"}, "history": history}}]}]})
}

/// The rows that are there, out and in again.
async fn copy(setting: &Setting) -> Duration {
    let client = connect(&setting.superuser).await.unwrap();
    let mut data: Vec<(&str, Vec<Bytes>)> = Vec::new();
    for table in TABLES {
        let stream = client.copy_out(&format!("copy {table} to stdout (format binary)")).await.unwrap();
        data.push((table, stream.try_collect().await.unwrap()));
    }
    client.batch_execute("truncate public.messages, public.conversations, public.contacts_addresses cascade").await.unwrap();
    client.batch_execute("set session_replication_role = replica").await.unwrap();
    let began = Instant::now();
    client.batch_execute("begin").await.unwrap();
    for (table, chunks) in data {
        let sink = client.copy_in(&format!("copy {table} from stdin (format binary)")).await.unwrap();
        let mut sink = Box::pin(sink);
        for chunk in chunks {
            sink.send(chunk).await.unwrap();
        }
        sink.close().await.unwrap();
    }
    client.batch_execute("commit").await.unwrap();
    let elapsed = began.elapsed();
    assert_eq!(Db::new(&setting.url, 1).unwrap().one("select count(*) from public.messages", &[]).await.unwrap().get::<_, i64>(0), MESSAGES as i64);
    elapsed
}
