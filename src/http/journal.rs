//! Group commit for what comes in: bodies that arrive together become one insert. Whoever comes while a commit is in
//! flight joins the next one: no timer, so an idle system adds no latency.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::db::Db;

/// How much goes into one insert.
const ENTRIES: usize = 512;
const BYTES: usize = 8 * 1024 * 1024;
/// How long a body may wait for its commit before its sender is told to come back.
const PATIENCE: Duration = Duration::from_secs(10);

struct Entry {
    source: String,
    app_id: Option<String>,
    body: Bytes,
    stored: oneshot::Sender<bool>,
}

/// The way into `bus.journal`.
pub struct Journal(mpsc::Sender<Entry>);

/// The journal took no entry: the database is away, or too slow.
#[derive(Debug, thiserror::Error)]
#[error("the journal cannot be written")]
pub struct Unavailable;

impl Journal {
    /// Must be made within a runtime.
    pub fn new(db: Db) -> Self {
        let (sender, entries) = mpsc::channel(4096);
        tokio::spawn(write(db, entries));
        Self(sender)
    }

    /// Stores a body. Returns once it is committed.
    pub async fn store(&self, source: &str, app_id: Option<String>, body: Bytes) -> Result<(), Unavailable> {
        let (stored, answer) = oneshot::channel();
        let store = async {
            self.0.send(Entry { source: source.to_owned(), app_id, body, stored }).await.map_err(|_| Unavailable)?;
            if answer.await.unwrap_or(false) { Ok(()) } else { Err(Unavailable) }
        };
        tokio::time::timeout(PATIENCE, store).await.unwrap_or(Err(Unavailable))
    }
}

async fn write(db: Db, mut entries: mpsc::Receiver<Entry>) {
    while let Some(first) = entries.recv().await {
        let mut size = first.body.len();
        let mut group = vec![first];
        while group.len() < ENTRIES && size < BYTES {
            let Ok(next) = entries.try_recv() else { break };
            size += next.body.len();
            group.push(next);
        }
        // Whoever has given up waiting was told that nothing was stored, and will come back.
        group.retain(|entry| !entry.stored.is_closed());
        let sources: Vec<&str> = group.iter().map(|e| e.source.as_str()).collect();
        let apps: Vec<Option<&str>> = group.iter().map(|e| e.app_id.as_deref()).collect();
        let bodies: Vec<&[u8]> = group.iter().map(|e| e.body.as_ref()).collect();
        let insert = "insert into bus.journal (source, app_id, body) select * from unnest($1::text[], $2::text[], $3::bytea[])";
        let stored = match db.query(insert, &[&sources, &apps, &bodies]).await {
            Ok(_) => true,
            Err(error) => {
                warn!(entries = group.len(), error = %format!("{error:#}"), "the journal cannot be written");
                false
            }
        };
        for entry in group {
            let _ = entry.stored.send(stored);
        }
    }
}
