//! `/readyz` and `/metrics`.

use hyper::StatusCode;
use metrics::gauge;
use serde_json::Value;

use super::{Answer, Edge, text};
use crate::db::migrate;

/// 200 when the schema is current, the database answers and every loop works; otherwise 503 with a line for each problem.
pub async fn ready(edge: &Edge) -> Answer {
    let mut problems = edge.health.problems();
    match edge.db.get().await {
        Ok(client) => match migrate::pending(&client).await {
            Ok(pending) => problems.extend(pending.lines().iter().map(|line| format!("schema: {line} is pending"))),
            Err(error) => problems.push(format!("database: {error:#}")),
        },
        Err(error) => problems.push(format!("database: {error:#}")),
    }
    if problems.is_empty() { text(StatusCode::OK, "ready\n") } else { text(StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n") }
}

/// Counters of the process, and the state of the queues as the database sees it now.
pub async fn metrics(edge: &Edge) -> Answer {
    let status: Value = match edge.db.one("select bus.status()", &[]).await {
        Ok(row) => row.get(0),
        Err(_) => {
            gauge!("tidings_database_up").set(0);
            return text(StatusCode::OK, edge.metrics.render());
        }
    };
    gauge!("tidings_database_up").set(1);
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    for (queue, q) in status["queues"].as_object().into_iter().flatten() {
        for key in ["depth", "due", "running", "held", "retrying", "oldest_seconds", "dead"] {
            gauge!(format!("tidings_queue_{key}"), "queue" => queue.clone()).set(number(&q[key]));
        }
    }
    gauge!("tidings_journal_pending").set(number(&status["journal"]["pending"]));
    gauge!("tidings_journal_parked").set(number(&status["journal"]["parked"]));
    let numbers = status["numbers"].as_array().map(Vec::as_slice).unwrap_or_default();
    for state in ["connected", "disconnected", "paused", "waiting"] {
        let count = numbers.iter().filter(|n| n["state"] == state).count();
        gauge!("tidings_numbers", "state" => state).set(u32::try_from(count).unwrap_or(u32::MAX));
    }
    text(StatusCode::OK, edge.metrics.render())
}
