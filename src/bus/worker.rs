//! The one worker loop: claim, do, finish; and how it falls asleep without missing anything.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use metrics::histogram;
use tokio::{
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};
use tokio_postgres::Row;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};
use uuid::Uuid;

use super::{
    Health, Task,
    finisher::{finish_all, heartbeat, watch},
    pace::Pace,
};
use crate::db::Db;

/// What a queue's loop does between claim and finish.
pub trait Work: Send + Sync + 'static {
    /// The queue.
    const QUEUE: &'static str;
    /// Claims: parameters worker, limit, organization served last, awake; returns the columns of `bus.job`.
    const CLAIM: &'static str;
    /// How many tasks may be in work at once.
    const CONCURRENCY: usize;
    /// How many are claimed at once at most.
    const BATCH: usize;
    /// How often running tasks say that they are alive, and learn that they are outdated.
    const HEARTBEAT: Duration = Duration::from_secs(8);
    /// Whether running tasks should learn at once, whenever the bell rings, that they are outdated.
    const WATCHES: bool = false;
    /// How long a stopping process waits for running tasks before it gives them back.
    const GRACE: Duration = Duration::from_secs(25);

    /// What a task is about, as the claim returns it.
    type Job: Send + 'static;
    /// What came of it.
    type Done: Send + Sync + 'static;

    /// Reads the payload of a claimed row.
    fn read(&self, row: &Row) -> anyhow::Result<Self::Job>;

    /// Does it. Never fails: a failure is an outcome.
    fn run(&self, task: Task, job: Self::Job) -> impl Future<Output = Self::Done> + Send;

    /// Writes a batch of outcomes back in one statement, fenced by their attempts.
    fn finish(&self, db: &Db, batch: &[(Task, Self::Done)]) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// What a task that could not even be read, or panicked, leaves behind.
    fn broken(&self, error: String) -> Self::Done;
}

/// How long a busy loop stays awake without work, and how often it looks meanwhile.
const LINGER: Duration = Duration::from_millis(60);
const LOOK: Duration = Duration::from_millis(8);
pub(super) struct Running {
    pub task: Task,
    pub since: Instant,
}

/// What the loop shares with the tasks it has started.
pub(super) struct Shared<W: Work> {
    pub work: W,
    pub db: Db,
    /// Which tasks are in hand. A standard mutex: held for a map access only.
    running: Mutex<HashMap<i64, Running>>,
    /// Tasks whose outcome the database would not take: they may have had their effect, so they are never given back.
    pub abandoned: Mutex<HashSet<i64>>,
    pub bell: Arc<Notify>,
    /// Asks for a look whether running tasks are outdated.
    pub check: Notify,
    pub id: Uuid,
}

impl<W: Work> Shared<W> {
    pub fn running(&self) -> MutexGuard<'_, HashMap<i64, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What must not be given back: it is in hand, or its outcome was lost.
    fn keep(&self) -> Vec<i64> {
        let abandoned = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
        self.running().keys().chain(abandoned.iter()).copied().collect()
    }
}

/// A loop over one queue.
pub struct Worker<W: Work> {
    shared: Arc<Shared<W>>,
    health: Health,
    stop: CancellationToken,
    done: mpsc::UnboundedSender<(Task, W::Done)>,
    finisher: tokio::task::JoinHandle<()>,
    /// The organization served last: the next claim begins after it.
    after: Option<Uuid>,
    /// A claim's answer was lost: tasks may be leased to us that we never saw.
    lost: bool,
    /// When others were rung for last, and when we said last that we are awake.
    rang: Instant,
    awake: Instant,
    pace: Pace,
}

impl<W: Work> Worker<W> {
    /// A loop that looks at its queue when `bell` rings. Must be made within a runtime.
    pub fn new(work: W, db: Db, bell: Arc<Notify>, health: Health, stop: CancellationToken) -> Self {
        let shared =
            Arc::new(Shared { work, db, running: Mutex::default(), abandoned: Mutex::default(), bell, check: Notify::new(), id: Uuid::new_v4() });
        let (done, results) = mpsc::unbounded_channel();
        let finisher = tokio::spawn(finish_all(shared.clone(), results));
        Self { shared, health, stop, done, finisher, after: None, lost: false, rang: Instant::now(), awake: Instant::now(), pace: Pace::new() }
    }

    /// Works until stopped; then lets running tasks end, writes their outcomes and gives the rest back.
    pub async fn run(mut self) {
        let beat = tokio::spawn(heartbeat(self.shared.clone()));
        let watch = tokio::spawn(watch(self.shared.clone()));
        let mut delay = Duration::from_millis(50);
        while !self.stop.is_cancelled() {
            match self.cycle().await {
                Ok(()) => {
                    delay = Duration::from_millis(50);
                    self.health.good(W::QUEUE);
                }
                Err(error) => {
                    warn!(queue = W::QUEUE, error = %format!("{error:#}"), "the loop cannot work");
                    self.health.bad(W::QUEUE, format!("{error:#}"));
                    self.lost = true;
                    tokio::select! { () = sleep(delay) => {}, () = self.stop.cancelled() => {} }
                    delay = (delay * 2).min(Duration::from_secs(2));
                }
            }
        }
        self.wind_up().await;
        beat.abort();
        watch.abort();
    }

    /// From waking up to falling asleep and being woken.
    async fn cycle(&mut self) -> anyhow::Result<()> {
        if self.lost {
            let keep = self.shared.keep();
            self.shared.db.query("select bus.release($1, $2, $3)", &[&W::QUEUE, &self.shared.id, &keep]).await?;
            self.lost = false;
        }
        while !self.stop.is_cancelled() {
            if self.room() < Self::WORTHWHILE && self.shared.running().len() > W::CONCURRENCY / 2 {
                // Nearly full: a moment later there is room for more than one.
                let _ = timeout(Duration::from_millis(10), self.shared.bell.notified()).await;
            }
            let limit = self.room().min(W::BATCH);
            if limit == 0 {
                self.full().await?;
                continue;
            }
            if self.claim(limit, true).await? < limit {
                break;
            }
            if self.room() == 0 {
                self.ring_others().await?;
            }
        }
        if self.stop.is_cancelled() || self.linger().await? {
            return Ok(());
        }
        self.sleep().await
    }

    /// Fewer free places than this are not worth a claim while others are about to become free.
    const WORTHWHILE: usize = if W::BATCH < W::CONCURRENCY / 4 { W::BATCH } else { W::CONCURRENCY / 4 };

    /// Under a steady stream, falling asleep between two tasks would have every writer ring, and commits that ring go
    /// one by one. So the loop stays awake for a moment and looks by itself. Returns whether there was something.
    async fn linger(&mut self) -> anyhow::Result<bool> {
        let until = Instant::now() + LINGER;
        while self.pace.is_brisk() && Instant::now() < until && !self.stop.is_cancelled() {
            sleep(LOOK).await;
            let limit = self.room().min(W::BATCH);
            if limit == 0 || self.claim(limit, true).await? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn room(&self) -> usize {
        W::CONCURRENCY.saturating_sub(self.shared.running().len())
    }

    /// Waits for running tasks to end, staying awake for those who insert.
    async fn full(&mut self) -> anyhow::Result<()> {
        let renew = self.awake + Duration::from_millis(900);
        tokio::select! {
            () = self.shared.bell.notified() => {}
            () = self.stop.cancelled() => {}
            () = sleep(renew.saturating_duration_since(Instant::now())) => {
                self.awake = Instant::now();
                self.shared.db.query("select bus.wake($1, $2)", &[&W::QUEUE, &self.shared.id]).await?;
            }
        }
        Ok(())
    }

    /// Work is left behind: other processes may be asleep.
    async fn ring_others(&mut self) -> anyhow::Result<()> {
        if self.rang.elapsed() > Duration::from_millis(100) {
            self.rang = Instant::now();
            self.shared.db.query("select pg_notify('bus', $1)", &[&W::QUEUE]).await?;
        }
        Ok(())
    }

    /// Claims and starts up to `limit` tasks; returns how many.
    async fn claim(&mut self, limit: usize, awake: bool) -> anyhow::Result<usize> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        self.awake = Instant::now();
        let rows = self.shared.db.query(W::CLAIM, &[&self.shared.id, &limit, &self.after, &awake]).await?;
        self.health.good(W::QUEUE);
        self.pace.count(rows.len());
        if W::WATCHES {
            self.shared.check.notify_one();
        }
        for row in &rows {
            let task = Task {
                queue: W::QUEUE,
                organization_id: row.try_get("organization_id")?,
                key: row.try_get("key")?,
                id: row.try_get("id")?,
                lane: row.try_get("lane")?,
                attempt: row.try_get("attempt")?,
                version: row.try_get("version")?,
                outdated: CancellationToken::new(),
            };
            self.after = Some(task.organization_id);
            self.start(task, row);
        }
        Ok(rows.len())
    }

    fn start(&self, task: Task, row: &Row) {
        self.shared.running().insert(task.id, Running { task: task.clone(), since: Instant::now() });
        let (shared, done) = (self.shared.clone(), self.done.clone());
        let job = match shared.work.read(row) {
            Ok(job) => job,
            Err(error) => {
                let outcome = shared.work.broken(format!("its row cannot be read: {error:#}"));
                let _ = done.send((task, outcome));
                return;
            }
        };
        tokio::spawn(async move {
            let started = Instant::now();
            let run = AssertUnwindSafe(shared.work.run(task.clone(), job)).catch_unwind();
            let outcome = run.await.unwrap_or_else(|_| {
                error!(queue = W::QUEUE, task = task.id, organization_id = %task.organization_id, "a task panicked");
                shared.work.broken("internal error".to_owned())
            });
            histogram!("tidings_task_seconds", "queue" => W::QUEUE).record(started.elapsed().as_secs_f64());
            let _ = done.send((task, outcome));
        });
    }

    /// Falls asleep: says so, waits until nobody can still rely on us being awake, looks once more, and waits for the
    /// bell. Returns when there may be something to do.
    async fn sleep(&mut self) -> anyhow::Result<()> {
        let (queue, id) = (W::QUEUE, self.shared.id);
        self.shared.db.query("select bus.rest($1, $2)", &[&queue, &id]).await?;
        let mut horizon: Option<String> = None;
        let mut delay = Duration::from_millis(2);
        let look_again = loop {
            let row = self.shared.db.one("select * from bus.quiet($1)", &[&horizon]).await?;
            horizon = row.get(0);
            let settled: bool = row.get(1);
            let limit = self.room().min(W::BATCH);
            if limit == 0 || self.claim(limit, false).await? > 0 {
                return Ok(());
            }
            if settled {
                break self.shared.db.one("select bus.next_look($1, $2)", &[&queue, &id]).await?.get::<_, Option<f64>>(0);
            }
            tokio::select! {
                () = sleep(delay) => {}
                () = self.shared.bell.notified() => return Ok(()),
                () = self.stop.cancelled() => return Ok(()),
            }
            delay = (delay * 2).min(Duration::from_millis(50));
        };
        self.health.good(W::QUEUE);
        let timer = async {
            match look_again {
                Some(seconds) => sleep(Duration::from_secs_f64(seconds.clamp(0.001, 86_400.0))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.shared.bell.notified() => {}
            () = timer => {}
            () = self.stop.cancelled() => {}
        }
        Ok(())
    }

    /// The orderly end.
    async fn wind_up(self) {
        let until = Instant::now() + W::GRACE;
        for running in self.shared.running().values() {
            running.task.outdated.cancel();
        }
        while !self.shared.running().is_empty() && Instant::now() < until {
            let _ = timeout(Duration::from_millis(100), self.shared.bell.notified()).await;
        }
        drop(self.done);
        let _ = timeout(Duration::from_secs(5), self.finisher).await;
        // What is still in hand may have had its effect: it keeps its lease, and the next worker treats it so.
        let keep = self.shared.keep();
        let give_back = async {
            self.shared.db.query("select bus.release($1, $2, $3)", &[&W::QUEUE, &self.shared.id, &keep]).await?;
            self.shared.db.query("select bus.rest($1, $2)", &[&W::QUEUE, &self.shared.id]).await
        };
        if let Ok(Err(error)) = timeout(Duration::from_secs(5), give_back).await {
            debug!(queue = W::QUEUE, error = %format!("{error:#}"), "leases left to expire");
        }
    }
}
