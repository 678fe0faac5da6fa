//! (l) Two thousand conversations at once, with a model that takes two seconds: time, memory, connections. (m) What we
//! add to a model's time: from due to its request, and from its answer to the task that sends it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Setting, line, median, setting::Process};

const CONVERSATIONS: i64 = 2_000;
const THINKS: u64 = 2_000;

pub async fn crowd(runs: usize) {
    let (mut seconds, mut memory, mut connections) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let measured = answer_all().await;
        seconds.push(measured.0);
        memory.push(measured.1);
        connections.push(measured.2);
    }
    let took = median(seconds);
    line(
        "(l) 2,000 conversations at once, the model takes 2 s",
        &format!("all answered once in {took:.2} s, {:.0} MB resident at most, {:.0} connections", median(memory), median(connections)),
        &format!("{:.2} s of thinking", THINKS as f64 / 1000.0),
        Some(THINKS as f64 / 1000.0 / took),
    );
}

/// Seconds until all are answered, MB resident at most, connections at most.
async fn answer_all() -> (f64, f64, f64) {
    let setting = furnished(THINKS).await;
    let process = setting.serve(None).await;
    let began = Instant::now();
    setting.execute(&questions(CONVERSATIONS)).await;
    let mut connections: i64 = 0;
    while setting.count("public.messages where direction = 'outgoing'").await < CONVERSATIONS {
        let others = "pg_stat_activity where datname = current_database() and application_name = 'tidings' and backend_type = 'client backend'";
        connections = connections.max(setting.count(others).await);
        assert!(began.elapsed() < Duration::from_secs(120), "not answered: {}", setting.count("bus.tasks").await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = began.elapsed().as_secs_f64();
    let memory = peak(&process);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let twice = setting.count("(select 1 from public.messages where direction = 'outgoing' group by conversation_id having count(*) > 1) x").await;
    assert_eq!((twice, setting.sandbox.asked().len() as i64), (0, CONVERSATIONS), "answered or asked twice");
    (took, memory, connections as f64)
}

pub async fn latency(runs: usize) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let (mut b, mut a) = added().await;
        b.sort_by(f64::total_cmp);
        a.sort_by(f64::total_cmp);
        before.push((b[b.len() / 2], b[b.len() * 99 / 100]));
        after.push((a[a.len() / 2], a[a.len() * 99 / 100]));
    }
    let of = |values: &[(f64, f64)]| (median(values.iter().map(|v| v.0).collect()), median(values.iter().map(|v| v.1).collect()));
    for (what, values) in [("(m) due → model request at 50/s", before), ("(m) model response → dispatch task at 50/s", after)] {
        let (p50, p99) = of(&values);
        line(what, &format!("p50 {p50:.1} ms, p99 {p99:.1} ms"), "–", None);
    }
}

/// Milliseconds from a message to the model's being asked, and from its answer to the task.
async fn added() -> (Vec<f64>, Vec<f64>) {
    let setting = furnished(50).await;
    // Without dispatch, so that its tasks can be looked at.
    let _process = setting.serve(Some("http,agent")).await;
    for n in 1..=300 {
        setting.execute(&one(n)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while setting.count("bus.tasks where queue = 'dispatch'").await < 300 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let micros = "(extract(epoch from {}) * 1000000)::bigint";
    let sql = format!(
        "select m.content ->> 'text', {}, {} from public.messages m
         join public.messages o on o.organization_id = m.organization_id and o.conversation_id = m.conversation_id and o.direction = 'outgoing'
         join bus.tasks t on t.organization_id = o.organization_id and t.queue = 'dispatch' and t.subject = o.id::text
         where m.direction = 'incoming'",
        micros.replace("{}", "m.created_at"),
        micros.replace("{}", "t.created_at")
    );
    let rows = setting.db.query(&sql, &[]).await.unwrap();
    let thoughts = setting.sandbox.thoughts();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for row in rows {
        let (text, due, sent): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let thought = thoughts.iter().find(|t| t["text"] == format!("You said: {text}")).unwrap();
        let at = |key: &str| thought[key].as_i64().unwrap();
        before.push((at("asked_us") - due) as f64 / 1000.0);
        after.push((sent - at("answered_us")) as f64 / 1000.0);
    }
    (before, after)
}

async fn furnished(think_ms: u64) -> Setting {
    let setting = Setting::new().await;
    setting.sandbox.set(|s| s.think_ms = think_ms);
    let organizations = setting.organizations(20).await;
    let extra: Value = json!({"api_url": format!("{}/v1", setting.sandbox_url), "model": "sandbox", "instructions": "Be nice."});
    let sql = "insert into public.agents (organization_id, name, ai, extra) select o, 'Agent', true, $2 from unnest($1::uuid[]) o";
    setting.db.query(sql, &[&organizations, &extra]).await.unwrap();
    setting
}

fn questions(count: i64) -> String {
    format!(
        "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
         select a.organization_id, a.address, (5490000000 + n)::text, 'whatsapp', 'incoming', jsonb_build_object('version', '1', 'type', 'text', 'kind', 'text', 'text', 'question ' || n)
         from generate_series(1, {count}) n join public.organizations_addresses a on a.address = 'n' || (1 + n % 20)"
    )
}

fn one(n: i64) -> String {
    format!(
        "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
         select a.organization_id, a.address, (5490000000 + {n})::text, 'whatsapp', 'incoming', jsonb_build_object('version', '1', 'type', 'text', 'kind', 'text', 'text', 'question {n}.')
         from public.organizations_addresses a where a.address = 'n1'"
    )
}

/// The most memory that a process has had, in MB.
fn peak(process: &Process) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let kilobytes = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kilobytes.unwrap() / 1024.0
}
