//! (f) Tasks that do nothing, against a bare claim-with-lease-and-delete loop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tidings::{
    bus::{Bells, Health, Task, Work, Worker},
    db::Db,
};
use tokio_postgres::Row;
use tokio_util::sync::CancellationToken;

use crate::{Setting, line, median};

const TASKS: usize = 60_000;
const BATCH: usize = 100;

struct Nothing(Arc<AtomicUsize>);

impl Work for Nothing {
    const QUEUE: &'static str = "nothing";
    const CLAIM: &'static str = "select queue, organization_id, key, id, lane, attempt, version from bus.claim('nothing', $1, $2, $3, $4)";
    const CONCURRENCY: usize = 4 * BATCH;
    const BATCH: usize = BATCH;
    type Job = ();
    type Done = ();

    fn read(&self, _: &Row) -> anyhow::Result<()> {
        Ok(())
    }

    async fn run(&self, _: Task, _: ()) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    async fn finish(&self, db: &Db, batch: &[(Task, ())]) -> anyhow::Result<()> {
        let results: Value = batch.iter().map(|(task, ())| task.reference()).collect();
        db.query("select bus.finish($1)", &[&results]).await.map(drop)
    }

    fn broken(&self, _: String) {}
}

pub async fn empty_tasks(runs: usize) {
    let setting = Setting::new().await;
    setting.execute("insert into bus.queues (queue, lease, backoff, backoff_cap, max_attempts) values ('nothing', '30 s', '1 s', '1 s', 5);
        create table public.bare (id bigint generated always as identity primary key, run_at timestamptz not null default now(), attempt int not null default 0, subject text);
        create index on public.bare (run_at)").await;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        bare.push(bare_loop(&setting).await);
        ours.push(bus(&setting).await);
    }
    let (ours, bare) = (median(ours), median(bare));
    line("(f) tasks claimed and finished", &format!("{ours:.0}/s"), &format!("{bare:.0}/s by a bare loop"), Some(ours / bare));
}

async fn bus(setting: &Setting) -> f64 {
    setting.execute(&format!("insert into bus.tasks (queue, organization_id, key, subject) select 'nothing', ('00000000-0000-4000-8000-' || lpad((n % 50)::text, 12, '0'))::uuid, n::text, 'x' from generate_series(1, {TASKS}) n")).await;
    setting.execute("vacuum analyze bus.tasks").await;
    let done = Arc::new(AtomicUsize::new(0));
    let (stop, bells) = (CancellationToken::new(), Bells::new(&["nothing"]));
    let began = Instant::now();
    let db = Db::new(&setting.url, 3).unwrap();
    let worker = tokio::spawn(Worker::new(Nothing(done.clone()), db, bells.of("nothing"), Health::default(), stop.clone()).run());
    while done.load(Ordering::Relaxed) < TASKS || setting.count("bus.tasks").await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let rate = TASKS as f64 / began.elapsed().as_secs_f64();
    stop.cancel();
    worker.await.unwrap();
    rate
}

async fn bare_loop(setting: &Setting) -> f64 {
    setting.execute(&format!("insert into public.bare (subject) select 'x' from generate_series(1, {TASKS})")).await;
    setting.execute("vacuum analyze public.bare").await;
    let client = setting.db.get().await.unwrap();
    let claim = client
        .prepare(
            "with due as (select id from public.bare where run_at <= now() order by run_at limit $1 for update skip locked)
            update public.bare t set run_at = now() + interval '30 s', attempt = attempt + 1 from due where t.id = due.id returning t.id, t.subject",
        )
        .await
        .unwrap();
    let finish = client.prepare("delete from public.bare where id = any ($1)").await.unwrap();
    let began = Instant::now();
    loop {
        let rows = client.query(&claim, &[&(BATCH as i64)]).await.unwrap();
        if rows.is_empty() {
            return TASKS as f64 / began.elapsed().as_secs_f64();
        }
        let ids: Vec<i64> = rows.iter().map(|r| r.get(0)).collect();
        client.execute(&finish, &[&ids]).await.unwrap();
    }
}
