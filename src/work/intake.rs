//! Intake: journal entries become rows.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    bus::{Task, Work},
    connector,
    db::Db,
    instagram, whatsapp,
};

/// The loop.
pub struct Intake;

/// A journal entry.
pub struct Entry {
    source: String,
    body: Vec<u8>,
}

impl Work for Intake {
    const QUEUE: &'static str = "intake";
    const CLAIM: &'static str = "select * from bus.claim_intake($1, $2, $3, $4)";
    const CONCURRENCY: usize = 256;
    const BATCH: usize = 128;

    type Job = Option<Entry>;
    /// The events of an entry, or why there are none.
    type Done = Result<Vec<Value>, String>;

    fn read(&self, row: &Row) -> anyhow::Result<Self::Job> {
        let body: Option<Vec<u8>> = row.try_get("payload")?;
        Ok(match body {
            Some(body) => Some(Entry { source: row.try_get("source")?, body }),
            None => None,
        })
    }

    async fn run(&self, task: Task, entry: Self::Job) -> Self::Done {
        let entry = entry.ok_or("its journal entry is gone")?;
        let journal = task.key.parse().map_err(|_| "its key is no journal entry".to_owned())?;
        Ok(match entry.source.as_str() {
            "whatsapp" => whatsapp::events(journal, &entry.body),
            "instagram" => instagram::events(journal, &entry.body),
            service => connector::events(journal, service, &entry.body),
        })
    }

    async fn finish(&self, db: &Db, batch: &[(Task, Self::Done)]) -> anyhow::Result<()> {
        let results: Value = batch
            .iter()
            .map(|(task, done)| match done {
                Ok(_) => task.reference(),
                Err(error) => task.result(super::retry(error)),
            })
            .collect();
        let events: Vec<&Value> = batch.iter().filter_map(|(_, done)| done.as_ref().ok()).flatten().collect();
        let owners = owners(db, &events).await?;
        let (mut by_type, mut adrift): (Map<String, Value>, Map<String, Value>) = (Map::new(), Map::new());
        for event in events {
            let mut event = event.clone();
            if let Some(owner) =
                event["address"].as_str().and_then(|a| owners.get(&(event["service"].as_str().unwrap_or_default().to_owned(), a.to_owned())))
            {
                event["organization_id"] = json!(owner);
                // Only what is parked is kept as it came.
                if event["type"] != "park"
                    && let Some(object) = event.as_object_mut()
                {
                    object.remove("raw");
                }
            }
            let Some(Value::String(kind)) = event.as_object_mut().and_then(|e| e.remove("type")) else { continue };
            if kind == "message" {
                // Made here: in SQL it costs as much as a row's indexes.
                event["id"] = json!(Uuid::now_v7());
            }
            let place = if event["organization_id"].is_null() || kind == "park" { &mut adrift } else { &mut by_type };
            if let Value::Array(list) = place.entry(kind).or_insert_with(|| json!([])) {
                list.push(event);
            }
        }
        // NUL, which jsonb cannot hold, is gone since the body was parsed.
        let (events, adrift) = (Value::Object(by_type), Value::Object(adrift));
        db.query("select bus.finish_intake($1, $2, $3)", &[&results, &events, &adrift]).await.map(drop)
    }

    fn broken(&self, error: String) -> Self::Done {
        Err(error)
    }
}

/// Whose the addresses are that events came to. One that is nobody's is looked at again, under a lock, when it is parked.
async fn owners(db: &Db, events: &[&Value]) -> anyhow::Result<HashMap<(String, String), Uuid>> {
    let mut addresses: Vec<&str> = events.iter().filter_map(|e| e["address"].as_str()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let rows = db.query("select service::text, address, organization_id from bus.numbers where address = any ($1)", &[&addresses]).await?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect())
}
