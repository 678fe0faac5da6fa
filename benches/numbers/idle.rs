//! (e) What an idle process costs.

use std::time::Duration;

use crate::{Setting, line};

pub async fn minute() {
    let setting = Setting::new().await;
    setting.organizations(20).await;
    let superuser = tidings::db::Db::new(&setting.superuser, 1).unwrap();
    superuser.get().await.unwrap().batch_execute("alter role bench set log_statement = 'all'").await.unwrap();
    let process = setting.serve(None).await;
    let pid = process.0.id();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (statements, cpu) = (logged(), ticks(pid));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (statements, cpu) = (logged() - statements, ticks(pid) - cpu);
    superuser.get().await.unwrap().batch_execute("alter role bench reset log_statement").await.unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident: f64 = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap();
    line(
        "(e) idle for a minute",
        &format!("{statements} statements, {:.2} % of a core, {:.0} MB resident", cpu as f64 / 60.0, resident / 1024.0),
        "–",
        None,
    );
}

/// Statements of the process in the server's log: the line's prefix is the application's name.
fn logged() -> usize {
    let log = std::fs::read_to_string(std::env::var("BENCH_LOG").unwrap()).unwrap();
    log.lines().filter(|l| l.starts_with("tidings|") && (l.contains("LOG:  execute") || l.contains("LOG:  statement"))).count()
}

/// CPU time so far, in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
