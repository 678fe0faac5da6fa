//! `tidings migrate`.

use anyhow::Context;

use crate::db::{self, migrate};

/// What to do about pending migrations.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only say what is pending; exit 1 when something is
    #[arg(long, conflicts_with = "print")]
    check: bool,
    /// Only write the pending SQL, for a DBA to run with psql
    #[arg(long)]
    print: bool,
}

/// Returns whether the schema is current now.
pub async fn run(url: &str, arguments: &Arguments) -> anyhow::Result<bool> {
    let mut client = connect(url).await?;
    if arguments.check || arguments.print {
        let pending = migrate::pending(&client).await?;
        if arguments.print {
            if !pending.is_empty() {
                print!("{}", pending.script());
            }
            return Ok(true);
        }
        pending.lines().iter().for_each(|line| println!("pending: {line}"));
        return Ok(pending.is_empty());
    }
    let done = migrate::run(&mut client).await?;
    if done.is_empty() {
        println!("nothing to do: the schema is current");
    }
    done.lines().iter().for_each(|line| println!("applied: {line}"));
    Ok(true)
}

/// A connection of its own, outside any pool.
pub async fn connect(url: &str) -> anyhow::Result<tokio_postgres::Client> {
    let (client, connection) = db::settings(url)?.connect(db::tls()?).await.context("no connection to PostgreSQL")?;
    tokio::spawn(connection);
    Ok(client)
}
