//! A connection to any of the supported databases, within its one transaction.

use super::{
    Driver, Plan, Reach, SqlConfig,
    dialect::Dialect,
    libsql, mysql, postgres,
    rows::{Limits, Table},
    wire::{Wire, wants_tls},
};

/// A connection within its transaction. What is not committed is undone when it ends, however it ends.
pub enum Session<'a> {
    /// To PostgreSQL.
    Postgres(postgres::Session),
    /// To MySQL or MariaDB.
    MySql(mysql::Session),
    /// To libSQL: statements by themselves, unless [`Session::begin`] is called.
    LibSql(libsql::Session<'a>),
}

impl<'a> Session<'a> {
    /// Connects.
    pub async fn open(reach: &'a Reach<'a>, config: &SqlConfig, plan: &Plan) -> Result<Self, String> {
        let tls = wants_tls(config, reach.allow);
        Ok(match config.driver {
            Driver::Postgres => Self::Postgres(postgres::Session::open(Wire::connect(reach.allow, config, 5432).await?, tls, config, plan).await?),
            Driver::MySql => Self::MySql(mysql::Session::open(Wire::connect(reach.allow, config, 3306).await?, tls, config, plan).await?),
            Driver::LibSql => Self::LibSql(libsql::Session::open(reach, config, plan).await?),
        })
    }

    /// What it speaks.
    pub fn dialect(&self) -> Dialect {
        match self {
            Session::Postgres(_) => Dialect::Postgres,
            Session::MySql(_) => Dialect::MySql,
            Session::LibSql(_) => Dialect::Sqlite,
        }
    }

    /// Begins the transaction of several writes, where opening did not.
    pub async fn begin(&mut self) -> Result<(), String> {
        match self {
            Session::LibSql(session) => session.query("begin immediate", &Limits::NOTHING).await.map(drop),
            Session::Postgres(_) | Session::MySql(_) => Ok(()),
        }
    }

    /// Runs a statement of the model's.
    pub async fn statement(&mut self, sql: &str, limits: &Limits) -> Result<Table, String> {
        match self {
            Session::LibSql(session) => session.statement(sql, limits).await,
            _ => self.query(sql, limits).await,
        }
    }

    /// Runs a statement of our own.
    pub async fn query(&mut self, sql: &str, limits: &Limits) -> Result<Table, String> {
        match self {
            Session::Postgres(session) => session.query(sql, limits).await,
            Session::MySql(session) => session.query(sql, limits).await,
            Session::LibSql(session) => session.query(sql, limits).await,
        }
    }

    /// Runs a statement of our own that may fail: others can follow.
    pub async fn attempt(&mut self, sql: &str, limits: &Limits) -> Result<Table, String> {
        match self {
            // There an error ends the transaction.
            Session::Postgres(session) => session.attempt(sql, limits).await,
            _ => self.query(sql, limits).await,
        }
    }

    /// Commits a statement of the model's, where it is not committed by itself.
    pub async fn commit_statement(&mut self) -> Result<(), String> {
        if matches!(self, Session::LibSql(_)) { Ok(()) } else { self.commit().await }
    }

    /// Commits what was begun.
    pub async fn commit(&mut self) -> Result<(), String> {
        self.query("commit", &Limits::NOTHING).await.map(drop)
    }

    /// Says good-bye, as far as the server listens.
    pub async fn close(self) {
        match self {
            Session::Postgres(session) => session.close().await,
            Session::MySql(session) => session.close().await,
            Session::LibSql(session) => session.close().await,
        }
    }
}
