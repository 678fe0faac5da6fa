//! The bus: tasks in PostgreSQL, the loop that works on them, the listener that hears the bell. See `sql/bus/`.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

mod finisher;
mod health;
mod listener;
mod pace;
mod worker;

pub use health::Health;
pub use listener::Listener;
pub use worker::{Work, Worker};

/// A claimed task, without what it is about. Everything that settles it names its attempt.
#[derive(Clone, Debug)]
pub struct Task {
    /// The queue it is from.
    pub queue: &'static str,
    /// Whose work it is.
    pub organization_id: Uuid,
    /// Tasks of one key run one after the other.
    pub key: String,
    /// Its number.
    pub id: i64,
    /// What is paced and paused together: the number's id for dispatch.
    pub lane: String,
    /// Which attempt this is, from 1.
    pub attempt: i32,
    /// What it was asked for by the time it was claimed; a higher one in the database means that this run is outdated.
    pub version: i32,
    /// Cancelled when the run is outdated, or the process stops: whatever it is doing is no longer wanted.
    pub outdated: CancellationToken,
}

impl Task {
    /// What every finish function needs to find the task again.
    pub fn reference(&self) -> Value {
        json!({
            "queue": self.queue, "organization_id": self.organization_id, "key": self.key, "id": self.id, "lane": self.lane,
            "attempt": self.attempt, "version": self.version,
        })
    }

    /// The reference with an outcome: how a batch of results goes back to the database.
    pub fn result(&self, outcome: Value) -> Value {
        let mut result = self.reference();
        if let (Value::Object(result), Value::Object(outcome)) = (&mut result, outcome) {
            result.extend(outcome);
        }
        result
    }
}

/// One bell for each queue of the process.
#[derive(Clone, Default)]
pub struct Bells(Arc<HashMap<&'static str, Arc<Notify>>>);

impl Bells {
    /// Bells for these queues.
    pub fn new(queues: &[&'static str]) -> Self {
        Self(Arc::new(queues.iter().map(|q| (*q, Arc::new(Notify::new()))).collect()))
    }

    /// The bell of a queue. A ring while nobody waits is kept for the next who does.
    pub fn of(&self, queue: &str) -> Arc<Notify> {
        self.0.get(queue).cloned().unwrap_or_default()
    }

    /// Rings one queue's bell.
    pub fn ring(&self, queue: &str) {
        if let Some(bell) = self.0.get(queue) {
            bell.notify_one();
        }
    }

    /// Rings all of them: after a connection was lost, anything may have been missed.
    pub fn ring_all(&self) {
        self.0.values().for_each(|bell| bell.notify_one());
    }

    /// The queues.
    pub fn queues(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }
}
