//! (b) Rows sent a second, against the same HTTP client without a database; (c) commit to Graph request; (d) both with a
//! history in the database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::json;
use tidings::whatsapp::Graph;
use uuid::Uuid;

use crate::{Setting, line, median};

const ROWS: i64 = 12_000;
const CONVERSATIONS: i64 = 3000;

pub async fn all(runs: usize, with_history: bool) {
    let setting = Setting::new().await;
    let organizations = setting.organizations(20).await;
    let plain = baseline(&setting, runs).await;
    let empty = measure(&setting, &organizations, runs).await;
    line("(b) rows sent", &format!("{:.0}/s", empty.rate), &format!("{plain:.0}/s by the client alone"), Some(empty.rate / plain));
    line("(c) insert sent → Graph request at 50/s", &format!("p50 {:.1} ms, p99 {:.1} ms", empty.p50, empty.p99), "–", None);
    if with_history {
        history(&setting).await;
        let full = measure(&setting, &organizations, runs).await;
        line(
            "(d) rows sent, 1,000,000 messages stored",
            &format!("{:.0}/s", full.rate),
            &format!("{:.0}/s empty", empty.rate),
            Some(full.rate / empty.rate),
        );
        line(
            "(d) insert sent → Graph request, 1,000,000 messages stored",
            &format!("p50 {:.1} ms, p99 {:.1} ms", full.p50, full.p99),
            &format!("p50 {:.1} ms empty", empty.p50),
            Some(empty.p50 / full.p50),
        );
    }
}

struct Measured {
    rate: f64,
    p50: f64,
    p99: f64,
}

async fn measure(setting: &Setting, organizations: &[Uuid], runs: usize) -> Measured {
    let mut rates = Vec::new();
    for _ in 0..runs {
        rates.push(send_backlog(setting, organizations).await);
    }
    let process = setting.serve(None).await;
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let latencies = latencies(setting, organizations[0]).await;
        p50.push(latencies[latencies.len() / 2]);
        p99.push(latencies[latencies.len() * 99 / 100]);
    }
    drop(process);
    Measured { rate: median(rates), p50: median(p50), p99: median(p99) }
}

/// The client of the product, posting the same bodies to the same sandbox, as many at once.
async fn baseline(setting: &Setting, runs: usize) -> f64 {
    let graph = Arc::new(Graph::new(&setting.sandbox_url, "v24.0").unwrap());
    setting.sandbox.set(|s| s.keep = false);
    let mut rates = Vec::new();
    for _ in 0..runs {
        let (next, began) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let clients = (0..128).map(|_| {
            let (graph, next) = (graph.clone(), next.clone());
            tokio::spawn(async move {
                while next.fetch_add(1, Ordering::Relaxed) < ROWS as usize {
                    let body = json!({"messaging_product": "whatsapp", "recipient_type": "individual", "to": "5491155550000", "type": "text",
                        "text": {"body": "hello there"}, "biz_opaque_callback_data": Uuid::new_v4()});
                    graph.send("n1", "messages", "token", &body).await.unwrap();
                }
            })
        });
        futures_util::future::join_all(clients.collect::<Vec<_>>()).await;
        rates.push(ROWS as f64 / began.elapsed().as_secs_f64());
    }
    median(rates)
}

/// A backlog of rows, then a process that sends it: the rate between the first and the last tenth.
pub async fn send_backlog(setting: &Setting, organizations: &[Uuid]) -> f64 {
    setting.sandbox.set(|s| s.keep = false);
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
        select o.id, 'n' || o.i, (5491155550000 + (n * 7919) % $2)::text, 'whatsapp', 'outgoing',
          '{\"version\": \"1\", \"type\": \"text\", \"kind\": \"text\", \"text\": \"hello there\"}'
        from generate_series(1, $3::bigint) n
        join unnest($1::uuid[]) with ordinality o (id, i) on o.i = n % $4 + 1";
    let count = organizations.len() as i64;
    setting.db.query(sql, &[&organizations, &CONVERSATIONS, &ROWS, &count]).await.unwrap();
    setting.execute("analyze bus.tasks").await;
    let before = setting.sandbox.count();
    let process = setting.serve(None).await;
    let reached = |n: u64| async move {
        while setting.sandbox.count() - before < n {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Instant::now()
    };
    let first = reached(ROWS as u64 / 10).await;
    let last = reached(ROWS as u64 * 9 / 10).await;
    while setting.count("bus.tasks where queue = 'dispatch'").await > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(process);
    assert_eq!(setting.sandbox.count() - before, ROWS as u64, "each once");
    ROWS as f64 * 0.8 / (last - first).as_secs_f64()
}

/// 50 rows a second for 10 s, each inserted and committed by itself: milliseconds from sending the insert to the request.
async fn latencies(setting: &Setting, organization: Uuid) -> Vec<f64> {
    setting.sandbox.set(|s| s.keep = true);
    setting.sandbox.forget();
    let client = setting.db.get().await.unwrap();
    let insert = client
        .prepare(
            "insert into public.messages (organization_id, id, organization_address, contact_address, service, direction, content)
            values ($1, $2, 'n1', $3, 'whatsapp', 'outgoing', '{\"version\": \"1\", \"type\": \"text\", \"kind\": \"text\", \"text\": \"x\"}')",
        )
        .await
        .unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let mut sent = std::collections::HashMap::new();
    for n in 0..500 {
        ticks.tick().await;
        let id = Uuid::new_v4();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
        client.execute(&insert, &[&organization, &id, &format!("54911{n}")]).await.unwrap();
        sent.insert(id.to_string(), now);
    }
    while setting.sandbox.sent().len() < sent.len() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut latencies: Vec<f64> = setting
        .sandbox
        .sent()
        .iter()
        .map(|s| (s["at_us"].as_i64().unwrap() - sent[s["body"]["biz_opaque_callback_data"].as_str().unwrap()]) as f64 / 1000.0)
        .collect();
    latencies.sort_by(f64::total_cmp);
    latencies
}

/// 1,000,000 messages in 100,000 conversations of 200 organizations.
async fn history(setting: &Setting) {
    let client = setting.db.get().await.unwrap();
    client
        .batch_execute(
            "set statement_timeout = '15min';
            insert into public.organizations (name) select 'Old ' || n from generate_series(1, 200) n;
            insert into public.organizations_addresses (organization_id, service, address) select id, 'whatsapp', 'old' from public.organizations where name like 'Old %';
            alter table public.messages disable trigger user;
            alter table public.conversations disable trigger user;
            insert into public.contacts_addresses (organization_id, service, address)
              select o.id, 'whatsapp', n::text from public.organizations o, generate_series(1, 500) n where o.name like 'Old %';
            insert into public.conversations (organization_id, service, organization_address, contact_address)
              select o.id, 'whatsapp', 'old', n::text from public.organizations o, generate_series(1, 500) n where o.name like 'Old %';
            insert into public.messages (organization_id, conversation_id, external_id, direction, contact_address, service, organization_address, content, status, timestamp)
              select c.organization_id, c.id, 'wamid.' || c.contact_address || '.' || n, case when n % 2 = 0 then 'incoming' else 'outgoing' end::public.direction,
                c.contact_address, 'whatsapp', 'old', '{\"version\": \"1\", \"type\": \"text\", \"kind\": \"text\", \"text\": \"something that was said\"}',
                '{\"pending\": \"2026-01-01T00:00:00+00:00\", \"read\": \"2026-01-01T00:00:00+00:00\"}', now() - n * interval '1 hour'
              from public.conversations c, generate_series(1, 10) n where c.organization_address = 'old';
            alter table public.messages enable trigger user;
            alter table public.conversations enable trigger user;
            ",
        )
        .await
        .unwrap();
    for table in ["messages", "conversations", "contacts_addresses"] {
        client.batch_execute(&format!("vacuum analyze public.{table}")).await.unwrap();
    }
    assert!(setting.count("public.messages where organization_address = 'old'").await == 1_000_000);
}
