//! The database: pool, migrations, the private server of `tidings dev`.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres::{Row, types::ToSql};
use tokio_postgres_rustls_improved::MakeRustlsConnect;

pub mod embedded;
pub mod migrate;

/// How long one statement may take before its connection is given up.
const STATEMENT: Duration = Duration::from_secs(30);

/// The same on the server, in milliseconds.
const SERVER: u32 = 25_000;

/// TLS as the URL's `sslmode` asks for it, with the platform's certificates.
pub fn tls() -> anyhow::Result<MakeRustlsConnect> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_platform_verifier()?.with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// The connection settings of a URL, with ours where it says nothing.
pub fn settings(url: &str) -> anyhow::Result<tokio_postgres::Config> {
    let mut config: tokio_postgres::Config = url.parse().context("DATABASE_URL")?;
    if config.get_application_name().is_none() {
        config.application_name("tidings");
    }
    config.connect_timeout(Duration::from_secs(5));
    // A connection that hears nothing for half a minute asks; three unanswered questions end it.
    config.keepalives_idle(Duration::from_secs(30)).keepalives_interval(Duration::from_secs(10)).keepalives_retries(3);
    Ok(config)
}

/// The pool of a process. Connections are made when they are needed and shared by edges and loops.
#[derive(Clone)]
pub struct Db {
    pool: Pool,
}

impl Db {
    /// A pool of up to `size` connections. Connects to nothing yet.
    pub fn new(url: &str, size: usize) -> anyhow::Result<Self> {
        let manager = Manager::from_config(settings(url)?, tls()?, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let timeout = Some(Duration::from_secs(5));
        let pool = Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(timeout)
            .create_timeout(timeout)
            .recycle_timeout(timeout)
            // The server gives up before we do: a statement that nobody waits for must not take effect later.
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move { client.batch_execute(&format!("set statement_timeout = {SERVER}")).await.map_err(HookError::Backend) })
            }))
            .build()?;
        Ok(Self { pool })
    }

    /// A connection, for whoever needs one for itself.
    pub async fn get(&self) -> anyhow::Result<Object> {
        self.pool.get().await.context("no connection to PostgreSQL")
    }

    /// Runs one statement, prepared once for each connection.
    pub async fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> anyhow::Result<Vec<Row>> {
        let client = self.get().await?;
        let run = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, parameters).await
        };
        match tokio::time::timeout(STATEMENT, run).await {
            Ok(result) => Ok(result?),
            Err(_) => {
                // What it is doing is unknown: the connection must not serve anyone else.
                drop(Object::take(client));
                anyhow::bail!("a statement took longer than {} s", STATEMENT.as_secs())
            }
        }
    }

    /// Runs one statement that returns one row.
    pub async fn one(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> anyhow::Result<Row> {
        self.query(sql, parameters).await?.pop().context("a statement that returns a row returned none")
    }
}

/// The database's own words on an error, where it has some: message and detail, without values of parameters.
pub fn refusal(error: &anyhow::Error) -> Option<&tokio_postgres::error::DbError> {
    error.downcast_ref::<tokio_postgres::Error>().and_then(|e| e.as_db_error())
}
