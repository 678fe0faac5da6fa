//! The bell by itself, with no safety poll: many writers, several loops that sleep, wake and die; no row may wait.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tidings::{
    bus::{Bells, Health, Listener, Task, Work, Worker},
    db::Db,
};
use tokio_postgres::Row;
use tokio_util::sync::CancellationToken;

use crate::support::*;

/// A loop that does nothing but count.
struct Count(Arc<AtomicUsize>);

impl Work for Count {
    const QUEUE: &'static str = "test";
    const CLAIM: &'static str = "select queue, organization_id, key, id, lane, attempt, version from bus.claim('test', $1, $2, $3, $4)";
    const CONCURRENCY: usize = 16;
    const BATCH: usize = 8;
    const GRACE: Duration = Duration::from_secs(2);
    type Job = ();
    type Done = ();

    fn read(&self, _: &Row) -> anyhow::Result<()> {
        Ok(())
    }

    async fn run(&self, task: Task, _: ()) {
        // Some take a moment.
        if task.id.rem_euclid(7) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    async fn finish(&self, db: &Db, batch: &[(Task, ())]) -> anyhow::Result<()> {
        let results: Value = batch.iter().map(|(task, ())| task.reference()).collect();
        db.query("select bus.finish($1)", &[&results]).await.map(drop)
    }

    fn broken(&self, _: String) {}
}

struct Loop {
    stop: CancellationToken,
    listening: CancellationToken,
    worker: tokio::task::JoinHandle<()>,
}

/// A loop as a process has it, with its own pool and listener.
fn start(world: &World, done: &Arc<AtomicUsize>) -> Loop {
    let (stop, listening) = (CancellationToken::new(), CancellationToken::new());
    let db = Db::new(&world.url, 3).unwrap();
    let bells = Bells::new(&["test"]);
    let listener = Listener { url: world.url.clone(), db: db.clone(), bells: bells.clone(), health: Health::default(), stop: listening.clone() };
    tokio::spawn(listener.run());
    let worker = tokio::spawn(Worker::new(Count(done.clone()), db, bells.of("test"), Health::default(), stop.clone()).run());
    Loop { stop, listening, worker }
}

/// Writers whose transactions ring or rely on somebody being awake, and last for random times.
async fn write(world: &World, count: usize) {
    let writers = (0..12).map(|w| {
        let db = Db::new(&world.url, 1).unwrap();
        async move {
            for n in 0..count {
                let mut client = db.get().await.unwrap();
                let transaction = client.transaction().await.unwrap();
                let key = format!("{w}-{n}");
                transaction
                    .execute("insert into bus.tasks (queue, organization_id, key, subject) values ('test', gen_random_uuid(), $1, '')", &[&key])
                    .await
                    .unwrap();
                transaction.batch_execute("select bus.ring('test')").await.unwrap();
                let dice = rand(w * 1000 + n);
                if dice.is_multiple_of(3) {
                    tokio::time::sleep(Duration::from_millis(dice % 60)).await;
                }
                transaction.commit().await.unwrap();
                if dice.is_multiple_of(5) {
                    tokio::time::sleep(Duration::from_millis(dice % 150)).await;
                }
            }
        }
    });
    futures_util::future::join_all(writers).await;
}

/// The same dice every time.
fn rand(seed: usize) -> u64 {
    (seed as u64).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33
}

async fn world() -> World {
    let world = World::new().await;
    world.execute("insert into bus.queues (queue, lease, backoff, backoff_cap, max_attempts) values ('test', '2 s', '1 s', '1 s', 5)", &[]).await;
    world
}

/// The safety poll comes once a minute; whatever is not found within a few seconds would have waited for it.
async fn all_done(world: &World, what: &str) {
    let waited =
        tokio::time::timeout(Duration::from_secs(8), world.until(what, "select not exists (select from bus.tasks where queue = 'test')")).await;
    if waited.is_err() {
        let left: Value = world.value("select jsonb_agg(to_jsonb(t)) from bus.tasks t where queue = 'test'", &[]).await;
        panic!("{what}: left waiting: {left}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_waits_while_loops_fall_asleep_and_wake() {
    let world = world().await;
    let done = Arc::new(AtomicUsize::new(0));
    let _loops: Vec<Loop> = (0..2).map(|_| start(&world, &done)).collect();
    for _ in 0..4 {
        write(&world, 25).await;
        all_done(&world, "everything is done").await;
    }
    assert_eq!(done.load(Ordering::Relaxed), 4 * 12 * 25, "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_waits_when_loops_die() {
    let world = world().await;
    let done = Arc::new(AtomicUsize::new(0));
    let survivor = start(&world, &done);
    let die = async {
        for n in 0..12 {
            let mortal = start(&world, &done);
            tokio::time::sleep(Duration::from_millis(150 + rand(n) % 200)).await;
            // Without a word: it stays marked as awake, with tasks in its hands.
            mortal.worker.abort();
            mortal.listening.cancel();
        }
    };
    tokio::join!(die, write(&world, 40));
    all_done(&world, "the survivor has done the rest").await;
    survivor.stop.cancel();
    survivor.worker.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_transaction_that_relied_on_us_is_waited_for() {
    let world = world().await;
    let done = Arc::new(AtomicUsize::new(0));
    let _loop = start(&world, &done);
    let mut client = world.db.get().await.unwrap();
    for _ in 0..5 {
        // Somebody is awake, so the transaction rings no bell; it commits when all are long asleep.
        let other = uuid::Uuid::new_v4();
        world.execute("select bus.wake('test', $1)", &[&other]).await;
        let transaction = client.transaction().await.unwrap();
        transaction
            .batch_execute(
                "insert into bus.tasks (queue, organization_id, key, subject) values ('test', gen_random_uuid(), 'x', ''); select bus.ring('test')",
            )
            .await
            .unwrap();
        // The loop wakes for something else, and goes to sleep again while the transaction is open.
        world.execute("insert into bus.tasks (queue, organization_id, key, subject) values ('test', gen_random_uuid(), 'y', '')", &[]).await;
        world.execute("select pg_notify('bus', 'test')", &[]).await;
        world.execute("select bus.rest('test', $1)", &[&other]).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        transaction.commit().await.unwrap();
        all_done(&world, "the late row is done").await;
    }
}

#[tokio::test]
async fn claims_are_fenced_by_their_attempt() {
    let world = world().await;
    world.execute("insert into bus.tasks (queue, organization_id, key, subject) values ('test', gen_random_uuid(), 'x', '')", &[]).await;
    let claim = "select to_jsonb(c) from bus.claim('test', gen_random_uuid(), 10) c";
    let first: Value = world.value(claim, &[]).await;
    assert_eq!(world.db.query(claim, &[]).await.unwrap().len(), 0, "leased");
    world.execute("update bus.tasks set run_at = now()", &[]).await;
    let second: Value = world.value(claim, &[]).await;
    assert_eq!((&second["attempt"], &second["suspect"]), (&json!(2), &json!(true)));
    let finish = |task: &Value| {
        let (world, results) = (&world, json!([task]));
        async move { world.value::<i32>("select bus.finish($1)", &[&results]).await }
    };
    assert_eq!(finish(&first).await, 0, "no longer its own");
    assert_eq!(finish(&second).await, 1);
    assert_eq!(world.count("bus.tasks where queue = 'test'").await, 0);
}

#[tokio::test]
async fn retries_back_off_and_end_with_a_dead_letter() {
    let world = world().await;
    world.execute("insert into bus.tasks (queue, organization_id, key, subject) values ('test', gen_random_uuid(), 'x', 'the subject')", &[]).await;
    for attempt in 1..=5 {
        let mut task: Value = world.value("select to_jsonb(c) from bus.claim('test', gen_random_uuid(), 10) c", &[]).await;
        assert_eq!(task["attempt"], attempt);
        task["outcome"] = json!("retry");
        task["error"] = json!(format!("failure {attempt}"));
        assert_eq!(world.value::<i32>("select bus.finish($1)", &[&json!([task])]).await, 1);
        world.execute("update bus.tasks set run_at = now()", &[]).await;
    }
    let dead: Value = world.value("select to_jsonb(d) from bus.dead d", &[]).await;
    assert_eq!(dead["errors"].as_array().unwrap().len(), 5);
    assert_eq!(dead["errors"][4]["error"], "failure 5");
    assert_eq!(world.count("bus.tasks where queue = 'test'").await, 0);
}

#[tokio::test]
async fn a_backlog_is_served_in_turn_and_a_claim_can_be_limited() {
    let world = world().await;
    let orgs: Vec<uuid::Uuid> = (0..4).map(|_| uuid::Uuid::new_v4()).collect();
    for (n, org) in orgs.iter().enumerate() {
        let sql = "insert into bus.tasks (queue, organization_id, key, subject) select 'test', $1, n::text, '' from generate_series(1, $2) n";
        world.execute(sql, &[org, &[10_000i32, 3, 3, 3][n]]).await;
    }
    let rows = world.db.query("select organization_id from bus.claim('test', gen_random_uuid(), 40, $1)", &[&orgs[0]]).await.unwrap();
    let got: Vec<uuid::Uuid> = rows.iter().map(|r| r.get(0)).collect();
    assert_eq!(got.len(), 40);
    for small in &orgs[1..] {
        assert_eq!(got.iter().filter(|o| *o == small).count(), 3, "all of a small one's, although the big one's are older");
    }
    let rows = world.db.query("select organization_id from bus.claim('test', gen_random_uuid(), 40, null, true, $1)", &[&orgs[0]]).await.unwrap();
    assert!(rows.len() == 40 && rows.iter().all(|r| r.get::<_, uuid::Uuid>(0) == orgs[0]));
}
