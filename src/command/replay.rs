//! `tidings replay`.

use anyhow::Context;
use chrono::{DateTime, Utc};

use super::migrate::connect;

/// What to put back.
#[derive(clap::Args)]
pub struct Arguments {
    /// Tasks that were given up
    #[arg(long)]
    dead: bool,
    /// Parts of journal entries that could not be stored
    #[arg(long)]
    parked: bool,
    /// Only of this queue
    #[arg(long, requires = "dead")]
    queue: Option<String>,
    /// Only what failed since then: a time (2026-11-20T08:00:00Z) or a span back from now (30m, 2h, 3d)
    #[arg(long, value_parser = since)]
    since: Option<DateTime<Utc>>,
    /// Only this one (as `bus.dead` or `bus.parked` numbers it); may be given several times
    #[arg(long)]
    id: Vec<i64>,
}

fn since(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let span = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        Utc::now().checked_sub_signed(chrono::TimeDelta::try_seconds(number.parse::<i64>().ok()?.checked_mul(seconds)?)?)
    };
    span().ok_or_else(|| "neither a time (2026-11-20T08:00:00Z) nor a span (30m, 2h, 3d)".to_owned())
}

/// Puts failed work back.
pub async fn run(url: &str, arguments: &Arguments) -> anyhow::Result<()> {
    anyhow::ensure!(arguments.dead || arguments.parked, "say what to replay: --dead, --parked or both");
    let client = connect(url).await?;
    let ids = (!arguments.id.is_empty()).then_some(&arguments.id);
    if arguments.dead {
        let row = client.query_one("select bus.replay_dead($1, $2, $3)", &[&arguments.queue, &ids, &arguments.since]).await.context("dead tasks")?;
        println!("{} dead tasks put back", row.get::<_, i32>(0));
    }
    if arguments.parked {
        let row = client.query_one("select bus.replay_parked(null, $1, $2)", &[&ids, &arguments.since]).await.context("parked items")?;
        println!("{} parked items put back", row.get::<_, i32>(0));
    }
    Ok(())
}
