//! The numbers of the README's performance section. Run by `scripts/bench`, which provides the server.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod agents;
mod broadcast;
mod bus;
mod edge;
mod history;
mod idle;
mod inserts;
mod media;
mod receipts;
mod sending;
mod setting;

use setting::Setting;

#[tokio::main]
async fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let runs: usize = std::env::var("RUNS").ok().and_then(|r| r.parse().ok()).unwrap_or(3);
    let want = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    println!("| | measured | baseline | ratio |\n| --- | --- | --- | --- |");
    if want("a") {
        edge::webhooks(runs).await;
    }
    if want("b") || want("c") || want("d") {
        sending::all(runs, want("d")).await;
    }
    if want("e") {
        idle::minute().await;
    }
    if want("f") {
        bus::empty_tasks(runs).await;
    }
    if want("g") {
        inserts::with_and_without_bell(runs).await;
    }
    if want("h") {
        history::import(runs).await;
    }
    if want("i") {
        receipts::applied(runs).await;
    }
    if want("j") {
        broadcast::templates(runs).await;
    }
    if want("k") {
        media::memory().await;
    }
    if want("l") {
        agents::crowd(runs).await;
    }
    if want("m") {
        agents::latency(runs).await;
    }
}

/// One line of the table.
fn line(what: &str, measured: &str, baseline: &str, ratio: Option<f64>) {
    let ratio = ratio.map_or("–".to_owned(), |r| format!("**{r:.2}**"));
    println!("| {what} | {measured} | {baseline} | {ratio} |");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
