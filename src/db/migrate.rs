//! Migrations, then the idempotent `sql/`, under an advisory lock.

use std::fmt::Write;

use anyhow::Context;
use sha2::{Digest, Sha256};
use tokio_postgres::Client;

mod embedded {
    refinery::embed_migrations!("migrations");
}

macro_rules! files {
    ($($path:literal),* $(,)?) => { &[SCHEMA, $(($path, include_str!(concat!("../../sql/", $path)))),*] };
}

/// The content model, as clients read it and as it is checked.
const SCHEMA: (&str, &str) = (
    "content/schema",
    concat!(
        "create or replace function public.content_schema() returns jsonb language sql immutable parallel safe as $fn$ select $json$",
        include_str!("../../schema/content.json"),
        "$json$::jsonb $fn$;\n",
        "comment on function public.content_schema() is 'What messages.content may be, as a JSON Schema.';\n"
    ),
);

/// Functions, triggers and views, in the order in which they are applied.
const SQL: &[(&str, &str)] = files![
    "tables/helpers.sql",
    "bus/bell.sql",
    "bus/claim.sql",
    "bus/finish.sql",
    "bus/journal.sql",
    "tables/secrets.sql",
    "tables/organizations.sql",
    "tables/organizations_addresses.sql",
    "tables/contacts.sql",
    "tables/conversations.sql",
    "tables/agents.sql",
    "content/check.sql",
    "tables/messages.sql",
    "tables/messages_verbs.sql",
    "tables/windows.sql",
    "tables/operations.sql",
    "tables/templates.sql",
    "storage/objects.sql",
    "tables/bindings.sql",
    "tables/approvals.sql",
    "tables/others.sql",
    "tables/api_keys.sql",
    "bus/people.sql",
    "bus/intake.sql",
    "bus/statuses.sql",
    "bus/account.sql",
    "bus/media.sql",
    "bus/dispatch.sql",
    "bus/unsent.sql",
    "agent/spending.sql",
    "agent/calls.sql",
    "agent/context.sql",
    "agent/choose.sql",
    "agent/tools.sql",
    "agent/summary.sql",
    "agent/preprocess.sql",
    "agent/finish.sql",
    "bus/receipts.sql",
    "bus/status.sql",
    "rest/insert.sql",
    "access/grants.sql",
];

/// The lock that one migration at a time holds.
const LOCK: i64 = 0x7469_6469_6e67;

const HISTORY: &str = "create table if not exists public.refinery_schema_history (
  version int4 primary key, name varchar(255), applied_on varchar(255), checksum varchar(255))";
/// What is left to do in a database.
pub struct Pending {
    migrations: Vec<refinery::Migration>,
    functions: bool,
}

impl Pending {
    /// Whether the schema is current.
    pub fn is_empty(&self) -> bool {
        self.migrations.is_empty() && !self.functions
    }

    /// One line for each thing to do.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.migrations.iter().map(|m| format!("migration {m}")).collect();
        if self.functions {
            lines.push(format!("functions and triggers ({} files of sql/)", SQL.len()));
        }
        lines
    }

    /// The SQL that a DBA can run instead of `tidings migrate`.
    pub fn script(&self) -> String {
        let mut script = format!("begin;\nselect pg_advisory_xact_lock({LOCK});\n{HISTORY};\n");
        for m in &self.migrations {
            let _ = write!(
                script,
                "\n-- {m}\n{}\ninsert into public.refinery_schema_history (version, name, applied_on, checksum)\n  values ({}, '{}', to_char(now() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '{}');\n",
                m.sql().unwrap_or_default(),
                m.version(),
                m.name(),
                m.checksum()
            );
        }
        if self.functions {
            script.push_str(&functions());
        }
        script.push_str("commit;\n");
        script
    }
}

/// What a database lacks. `client` may belong to anyone who can read the two history tables.
pub async fn pending(client: &Client) -> anyhow::Result<Pending> {
    let exists = |table: &'static str| async move {
        let row = client.query_one("select to_regclass($1)::text is not null", &[&table]).await?;
        anyhow::Ok(row.get::<_, bool>(0))
    };
    let mut done: Vec<(i32, String)> = Vec::new();
    if exists("public.refinery_schema_history").await? {
        let rows = client.query("select version, coalesce(checksum, '') from public.refinery_schema_history", &[]).await?;
        done = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
    }
    let mut migrations = embedded::migrations::runner().get_migrations().clone();
    migrations.sort();
    migrations.retain(|m| !done.iter().any(|(version, _)| i64::from(*version) == i64::from(m.version())));
    let mut functions = true;
    if exists("bus.applied").await? {
        let row = client.query_opt("select sql_hash from bus.applied", &[]).await?;
        functions = row.is_none_or(|r| r.get::<_, String>(0) != hash());
    }
    Ok(Pending { migrations, functions })
}

/// Brings a database up to date. Does nothing where nothing is pending; two at once take turns.
pub async fn run(client: &mut Client) -> anyhow::Result<Pending> {
    client.execute("select pg_advisory_lock($1)", &[&LOCK]).await?;
    let result = run_locked(client).await;
    client.execute("select pg_advisory_unlock($1)", &[&LOCK]).await?;
    result
}

async fn run_locked(client: &mut Client) -> anyhow::Result<Pending> {
    let before = pending(client).await?;
    if before.is_empty() {
        return Ok(before);
    }
    embedded::migrations::runner().run_async(client).await.context("migrations")?;
    let transaction = client.transaction().await?;
    transaction.batch_execute(&functions()).await.context("sql/")?;
    transaction.commit().await?;
    Ok(before)
}

fn functions() -> String {
    let mut script = "set local check_function_bodies = off;\nset local client_min_messages = warning;\n".to_owned();
    for (path, sql) in SQL {
        let _ = write!(script, "\n-- sql/{path}\n{sql}");
    }
    let _ = write!(
        script,
        "\ninsert into bus.applied (sql_hash) values ('{}')\n  on conflict (only_row) do update set sql_hash = excluded.sql_hash, applied_at = now();\n",
        hash()
    );
    script
}

fn hash() -> String {
    let mut digest = Sha256::new();
    for (path, sql) in SQL {
        digest.update(path);
        digest.update(sql);
    }
    digest.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
