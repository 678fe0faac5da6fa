//! A tool: the organization's own database. PostgreSQL, MySQL and MariaDB, libSQL.
//!
//! A connection is read-only unless its configuration says otherwise, and then the database itself refuses writes. Each
//! call has a connection and a transaction of its own, and ends in time and in size whatever the server does. Addresses
//! are judged after resolution, like those of all URLs of tenants.

mod catalog;
mod dialect;
mod guard;
mod libsql;
mod load;
mod mysql;
mod mysql_login;
mod mysql_packet;
mod offered;
mod postgres;
mod postgres_login;
mod rows;
mod schema;
mod session;
mod task;
mod value;
mod wire;

use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use self::{rows::Limits, session::Session, task::Task};
use crate::outbound::Guarded;

pub use offered::{effect, tools};

/// How much JSON of the database a model is shown, in bytes.
const SHOWN: usize = 64 << 10;

/// Which database.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// PostgreSQL.
    #[serde(alias = "postgresql")]
    Postgres,
    /// MySQL or MariaDB.
    #[serde(alias = "mariadb")]
    MySql,
    /// libSQL over HTTP.
    LibSql,
}

/// A connection, as the organization configured it.
#[derive(Clone, Deserialize)]
pub struct SqlConfig {
    /// Which database.
    pub driver: Driver,
    /// Of PostgreSQL and MySQL: a name or an address.
    pub host: Option<String>,
    /// 5432 or 3306 without.
    pub port: Option<u16>,
    /// `postgres` or `root` without.
    pub user: Option<String>,
    /// A secret.
    pub password: Option<String>,
    /// PostgreSQL's default is the one named like the user.
    pub database: Option<String>,
    /// Of libSQL: `libsql://…` or `https://…`.
    pub url: Option<String>,
    /// Of libSQL: a secret.
    pub token: Option<String>,
    /// Whether there must be TLS: true, but for this machine and for literal addresses of the operator's networks.
    pub tls: Option<bool>,
    /// True unless set.
    pub read_only: Option<bool>,
    /// Which schemas are described where the model asks for none in particular. No limit of what it may query: the
    /// database user's rights are that.
    pub schemas: Option<Vec<String>>,
    /// How long a statement may take: 10 unless set, 60 at most.
    pub timeout_seconds: Option<f64>,
    /// How many rows `executeSql` returns: 200 unless set, 5000 at most.
    pub max_rows: Option<usize>,
}

impl SqlConfig {
    /// Whether nothing may be written.
    pub fn is_read_only(&self) -> bool {
        self.read_only.unwrap_or(true)
    }

    fn timeout(&self) -> Duration {
        let seconds = self.timeout_seconds.filter(|s| s.is_finite()).unwrap_or(10.0);
        Duration::from_secs_f64(seconds.clamp(0.1, 60.0))
    }

    fn limits(&self) -> Limits {
        Limits { rows: self.max_rows.unwrap_or(200).clamp(1, 5000), bytes: SHOWN, cell: 10_000, raw: false, last: true }
    }
}

/// What a call came to.
#[derive(Debug)]
pub struct SqlOutput {
    /// For the model.
    pub data: Value,
    /// Of `selectAsCsv`: a file's name and its bytes, to be stored. None where there were no rows.
    pub file: Option<(String, Vec<u8>)>,
}

/// What a call may reach.
pub struct Reach<'a> {
    /// Networks it may reach besides public addresses.
    pub allow: &'a [IpNet],
    /// The client for libSQL, which judges likewise.
    pub web: &'a Guarded,
}

/// What a session is for.
struct Plan {
    read_only: bool,
    timeout: Duration,
}

/// Calls the tool of this name, without its label. `csv`: the file that `bulkInsert` names. The error is for the model: what
/// the server said, or what is wrong with the call; it names neither the user nor the password nor an address.
pub async fn run(reach: &Reach<'_>, config: &SqlConfig, name: &str, arguments: &Value, csv: Option<Vec<u8>>) -> Result<SqlOutput, String> {
    let whole = config.timeout() + Duration::from_secs(5);
    match timeout(whole, call(reach, config, name, arguments, csv)).await {
        Ok(result) => result.map_err(|e| without_secrets(&e, config)),
        Err(_) => Err(format!("the database did not answer within {:.0} seconds", whole.as_secs_f64())),
    }
}

async fn call(reach: &Reach<'_>, config: &SqlConfig, name: &str, arguments: &Value, csv: Option<Vec<u8>>) -> Result<SqlOutput, String> {
    let plan = Plan { read_only: effect(name, config.is_read_only()) == super::Effect::Read, timeout: config.timeout() };
    let task = Task::new(config, name, arguments, csv)?;
    let mut session = Session::open(reach, config, &plan).await?;
    let output = task.run(&mut session, config, &plan).await;
    session.close().await;
    output
}

/// Servers quote users and their addresses; a statement may quote a password.
fn without_secrets(error: &str, config: &SqlConfig) -> String {
    let mut text = error.chars().take(2000).collect::<String>();
    for secret in [&config.password, &config.token].into_iter().flatten().filter(|s| s.len() > 3) {
        text = text.replace(secret.as_str(), "…");
    }
    if let Some(user) = config.user.as_deref().filter(|u| !u.is_empty()) {
        for quoted in [format!("user \"{user}\""), format!("role \"{user}\"")] {
            text = text.replace(&quoted, "this user");
        }
        let quoted = format!("user '{user}'@'");
        while let Some(at) = text.find(&quoted) {
            let end = text[at + quoted.len()..].find('\'').map_or(text.len(), |n| at + quoted.len() + n + 1);
            text.replace_range(at..end, "this user");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::agent::tools::Effect;

    fn config(more: Value) -> SqlConfig {
        let mut config = json!({"driver": "postgresql", "host": "db", "user": "bob", "password": "sesame"});
        if let (Some(config), Some(more)) = (config.as_object_mut(), more.as_object()) {
            config.extend(more.clone());
        }
        serde_json::from_value(config).expect("a configuration")
    }

    #[test]
    fn limits_have_limits() {
        let plain = config(json!({}));
        assert!(plain.is_read_only());
        assert_eq!((plain.timeout().as_secs(), plain.limits().rows), (10, 200));
        let greedy = config(json!({"timeout_seconds": 1e9, "max_rows": 1_000_000, "driver": "mariadb", "read_only": false}));
        assert_eq!((greedy.timeout().as_secs(), greedy.limits().rows, greedy.is_read_only()), (60, 5000, false));
        assert_eq!(config(json!({"timeout_seconds": -1, "max_rows": 0})).limits().rows, 1);
    }

    #[test]
    fn tools_are_offered_by_what_they_may_do() {
        let names = |read_only| tools(read_only).into_iter().map(|t| t.name).collect::<Vec<_>>();
        assert_eq!(names(true), ["getDbSchema", "executeSql", "selectAsCsv", "sampleTableRows"]);
        assert_eq!(names(false).last().map(String::as_str), Some("bulkInsert"));
        assert_eq!((effect("executeSql", true), effect("executeSql", false)), (Effect::Read, Effect::Write));
        assert_eq!((effect("bulkInsert", false), effect("selectAsCsv", false)), (Effect::Write, Effect::Read));
    }

    #[test]
    fn errors_name_nobody() {
        let told = "SELECT denied to user 'bob'@'10.1.2.3' for user \"bob\": sesame";
        assert_eq!(without_secrets(told, &config(json!({}))), "SELECT denied to this user for this user: …");
        assert_eq!(without_secrets("user 'bob'@'10.1", &config(json!({}))), "this user");
    }
}
