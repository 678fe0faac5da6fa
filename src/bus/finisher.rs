//! Beside the loop: outcomes go back to the database, and running tasks say that they are alive.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use metrics::counter;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::sleep};
use tracing::{error, warn};

use super::{
    Task,
    worker::{Shared, Work},
};

/// Writes outcomes back. Whatever comes while a commit is in flight goes with the next one: no timer.
pub(super) async fn finish_all<W: Work>(shared: Arc<Shared<W>>, mut results: mpsc::UnboundedReceiver<(Task, W::Done)>) {
    while let Some(first) = results.recv().await {
        let mut batch = vec![first];
        while batch.len() < 500 {
            match results.try_recv() {
                Ok(next) => batch.push(next),
                Err(_) => break,
            }
        }
        finish_batch(&shared, &batch).await;
        let mut running = shared.running();
        for (task, _) in &batch {
            running.remove(&task.id);
        }
        drop(running);
        counter!("tidings_tasks_total", "queue" => W::QUEUE).increment(batch.len() as u64);
        // There is room again, and the next of a key may run.
        shared.bell.notify_one();
    }
}

/// Writes a batch until it is written. What the database refuses for what is in it is written one by one, so that the
/// others do not suffer for it.
async fn finish_batch<W: Work>(shared: &Shared<W>, batch: &[(Task, W::Done)]) {
    if finish_or_refused(shared, batch).await {
        return;
    }
    for one in batch {
        if batch.len() == 1 || !finish_or_refused(shared, std::slice::from_ref(one)).await {
            error!(queue = W::QUEUE, task = one.0.id, organization_id = %one.0.organization_id, "its outcome cannot be written; its lease will expire");
            shared.abandoned.lock().unwrap_or_else(PoisonError::into_inner).insert(one.0.id);
        }
    }
}

/// Tries until the database has taken the outcomes, or refused them; `false` for the latter.
async fn finish_or_refused<W: Work>(shared: &Shared<W>, batch: &[(Task, W::Done)]) -> bool {
    let mut delay = Duration::from_millis(50);
    loop {
        let Err(error) = shared.work.finish(&shared.db, batch).await else { return true };
        warn!(queue = W::QUEUE, tasks = batch.len(), error = %format!("{error:#}"), "outcomes could not be written");
        // Busy, deadlocked, shutting down or away is no refusal.
        let refused = crate::db::refusal(&error).is_some_and(|e| !matches!(&e.code().code()[..2], "08" | "40" | "53" | "55" | "57" | "58"));
        if refused {
            return false;
        }
        sleep(delay).await;
        delay = (delay * 2).min(Duration::from_secs(2));
    }
}

/// Extends the leases of long tasks, and tells those that are outdated.
pub(super) async fn heartbeat<W: Work>(shared: Arc<Shared<W>>) {
    loop {
        sleep(W::HEARTBEAT).await;
        let tasks: Vec<Value> = shared
            .running()
            .values()
            .filter(|r| r.since.elapsed() >= W::HEARTBEAT)
            .map(|r| json!({"organization_id": r.task.organization_id, "key": r.task.key, "id": r.task.id, "attempt": r.task.attempt}))
            .collect();
        if tasks.is_empty() {
            continue;
        }
        let asked: Vec<i64> = tasks.iter().filter_map(|t| t["id"].as_i64()).collect();
        let Ok(rows) = shared.db.query("select * from bus.renew($1, $2, $3)", &[&W::QUEUE, &shared.id, &Value::from(tasks)]).await else { continue };
        let versions: HashMap<i64, i32> = rows.iter().map(|r| (r.get("id"), r.get("version"))).collect();
        for id in asked {
            let running = shared.running();
            if let Some(r) = running.get(&id)
                && versions.get(&id) != Some(&r.task.version)
            {
                r.task.outdated.cancel();
            }
        }
    }
}

/// How often running tasks are looked after at most, however often the bell rings.
const LOOK: Duration = Duration::from_millis(250);

/// Tells running tasks that they are outdated, soon after they are: whoever thinks for nothing holds up what came since.
pub(super) async fn watch<W: Work>(shared: Arc<Shared<W>>) {
    loop {
        shared.check.notified().await;
        let tasks: Vec<Value> = (shared.running().values())
            .filter(|r| !r.task.outdated.is_cancelled())
            .map(|r| json!({"organization_id": r.task.organization_id, "key": r.task.key, "id": r.task.id, "version": r.task.version}))
            .collect();
        if tasks.is_empty() {
            continue;
        }
        let Ok(rows) = shared.db.query("select bus.outdated($1, $2)", &[&W::QUEUE, &Value::from(tasks)]).await else { continue };
        for row in rows {
            if let Some(running) = shared.running().get(&row.get::<_, i64>(0)) {
                running.task.outdated.cancel();
            }
        }
        sleep(LOOK).await;
    }
}
