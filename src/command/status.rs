//! `tidings status`.

use std::fmt::Write;

use serde_json::Value;

use super::migrate::connect;

/// How to show it.
#[derive(clap::Args)]
pub struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Depth, age and failures of every queue, the journal, and the health of every number.
pub async fn run(url: &str, arguments: &Arguments) -> anyhow::Result<()> {
    let client = connect(url).await?;
    let status: Value = client.query_one("select bus.status()", &[]).await?.get(0);
    if arguments.json {
        println!("{status}");
    } else {
        print!("{}", table(&status));
    }
    Ok(())
}

fn table(status: &Value) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:<10} {:>7} {:>7} {:>8} {:>6} {:>9} {:>10} {:>6}  LAST FAILURE",
        "QUEUE", "DEPTH", "DUE", "RUNNING", "HELD", "RETRYING", "OLDEST", "DEAD"
    );
    for (queue, q) in status["queues"].as_object().into_iter().flatten() {
        let count = |key: &str| q[key].as_u64().unwrap_or_default();
        let oldest = format!("{:.1} s", q["oldest_seconds"].as_f64().unwrap_or_default());
        let error: String = q["last_error"].as_str().unwrap_or_default().chars().take(60).collect();
        let _ = writeln!(
            out,
            "{queue:<10} {:>7} {:>7} {:>8} {:>6} {:>9} {oldest:>10} {:>6}  {error}",
            count("depth"),
            count("due"),
            count("running"),
            count("held"),
            count("retrying"),
            count("dead")
        );
    }
    let journal = &status["journal"];
    let _ = writeln!(out, "\njournal: {} pending, {} parked, {} early receipts", journal["pending"], journal["parked"], journal["early_receipts"]);
    for (reason, count) in journal["reasons"].as_object().into_iter().flatten() {
        let _ = writeln!(out, "  parked as {reason}: {count}");
    }
    let _ = writeln!(out, "\n{:<20} {:<16} {:<14} REASON", "NUMBER", "PHONE", "STATE");
    for n in status["numbers"].as_array().into_iter().flatten() {
        let text = |key: &str| n[key].as_str().unwrap_or_default().to_owned();
        let _ = writeln!(out, "{:<20} {:<16} {:<14} {}", text("phone_number_id"), text("phone_number"), text("state"), text("paused_reason"));
    }
    out
}
