//! libSQL (Turso, sqld), by its HTTP protocol: batches of requests to `/v2/pipeline`, bound to a stream by its baton
//! (libSQL's documentation, "Hrana over HTTP", version 2).
//!
//! A server has no read-only transaction for us. So a stream is told `query_only`, where the server allows that, and the
//! server is asked whether a statement writes before it is run.

use std::net::IpAddr;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use ipnet::IpNet;
use reqwest::Url;
use serde_json::{Value, json};

use super::{
    Plan, Reach, SqlConfig, guard,
    rows::{Limits, Table},
    value::{Kind, blob, value},
};
use crate::outbound::{is_refused, read};

/// The longest answer for the model, and the longest for a file, in bytes. JSON takes several times as much in memory.
const ANSWER: usize = 2 << 20;
const FILE: usize = 8 << 20;

/// A stream of requests.
pub struct Session<'a> {
    reach: &'a Reach<'a>,
    url: String,
    token: Option<String>,
    baton: Option<String>,
    read_only: bool,
}

impl<'a> Session<'a> {
    /// Opens a stream: each statement is committed by itself, unless one begins a transaction.
    pub async fn open(reach: &'a Reach<'a>, config: &SqlConfig, plan: &Plan) -> Result<Self, String> {
        let url = endpoint(config.url.as_deref().unwrap_or_default(), reach.allow)?;
        let token = config.token.clone().filter(|t| !t.is_empty());
        let mut session = Self { reach, url, token, baton: None, read_only: plan.read_only };
        if plan.read_only {
            // Turso lets nobody set it.
            let _ = session.ask(&json!([execute("pragma query_only = 1")]), ANSWER).await?;
        }
        Ok(session)
    }

    /// Runs one statement of our own.
    pub async fn query(&mut self, sql: &str, limits: &Limits) -> Result<Table, String> {
        let most = if limits.raw { FILE } else { ANSWER };
        let answer = self.ask(&json!([execute(sql)]), most).await?;
        Ok(table(&result(&answer, 0)?["result"], limits))
    }

    /// Runs one statement of the model's.
    pub async fn statement(&mut self, sql: &str, limits: &Limits) -> Result<Table, String> {
        let answer = self.ask(&json!([{"type": "describe", "sql": sql}]), ANSWER).await?;
        let described = &result(&answer, 0)?["result"];
        let reads = described["is_readonly"] == true;
        if self.read_only && !reads {
            return Err("this connection is read-only: the statement would write".to_owned());
        }
        let one = sql.trim().trim_end_matches(';');
        if reads && described["is_explain"] != true && guard::is_query(sql) {
            // The protocol has no limit of rows, and an answer is taken whole.
            let answer = self.query(&format!("select * from (\n{one}\n) limit {}", limits.rows + 1), limits).await;
            return answer.map_err(|e| if one.contains(';') { format!("{e}; nothing may follow the query's semicolon") } else { e });
        }
        // Servers run one statement, and were asked about one.
        if self.read_only && one.contains(';') {
            return Err("this connection is read-only: such a statement may hold no semicolon".to_owned());
        }
        self.query(sql, limits).await
    }

    /// Ends the stream: what was not committed is undone.
    pub async fn close(mut self) {
        if self.baton.is_some() {
            let _ = self.ask(&json!([{"type": "close"}]), ANSWER).await;
        }
    }

    async fn ask(&mut self, requests: &Value, most: usize) -> Result<Value, String> {
        let mut request = self.reach.web.post(&self.url)?.json(&json!({"baton": self.baton, "requests": requests}));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(|e| away(&e))?;
        let status = response.status();
        let body = read(response, most).await.map_err(|e| format!("the database server's answer: {e}"))?;
        if status == 401 || status == 403 {
            return Err("the database server refused the token".to_owned());
        }
        let answer: Value = serde_json::from_slice(&body).map_err(|_| format!("the database server answered {status} and no JSON"))?;
        if !status.is_success() {
            let said = answer["error"].as_str().or(answer["message"].as_str()).unwrap_or("no reason given");
            return Err(format!("the database server answered {status}: {said}"));
        }
        self.baton = answer["baton"].as_str().map(str::to_owned);
        Ok(answer)
    }
}

fn execute(sql: &str) -> Value {
    json!({"type": "execute", "stmt": {"sql": sql, "want_rows": true}})
}

/// What a request of a batch came to.
fn result(answer: &Value, index: usize) -> Result<&Value, String> {
    let result = &answer["results"][index];
    if result["type"] == "ok" {
        return Ok(&result["response"]);
    }
    let error = &result["error"];
    let message = error["message"].as_str().unwrap_or("the database server sent no result");
    Err(error["code"].as_str().map_or_else(|| message.to_owned(), |code| format!("{message} ({code})")))
}

fn table(result: &Value, limits: &Limits) -> Table {
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    let names = list(&result["cols"]).into_iter().map(|c| c["name"].as_str().unwrap_or_default().to_owned());
    let mut table = Table::new(names);
    table.affected = result["affected_row_count"].as_u64().unwrap_or(0);
    for row in list(&result["rows"]) {
        if !table.push(list(&row).iter().map(|v| cell(v, limits)).collect(), limits) {
            break;
        }
    }
    table
}

/// A value of the protocol. Integers come as text, for they have 64 bits.
fn cell(of: &Value, limits: &Limits) -> Value {
    let text = || of["value"].as_str().unwrap_or_default();
    match of["type"].as_str().unwrap_or_default() {
        "integer" => value(&Kind::Number, text(), limits),
        "float" => of["value"].clone(),
        "text" => value(&Kind::Text, text(), limits),
        "blob" => {
            let base64 = of["base64"].as_str().unwrap_or_default().trim_end_matches('=');
            STANDARD_NO_PAD.decode(base64).map_or(Value::Null, |bytes| blob(bytes.len()))
        }
        _ => Value::Null,
    }
}

/// Where a database's requests go: with TLS, but to literal addresses of the operator's networks.
fn endpoint(url: &str, allow: &[IpNet]) -> Result<String, String> {
    let rewritten = ["libsql://", "wss://"].iter().find_map(|scheme| url.trim().strip_prefix(scheme)).map(|rest| format!("https://{rest}"));
    let parsed = Url::parse(rewritten.as_deref().unwrap_or(url.trim()));
    let parsed = parsed.map_err(|_| "the configuration of this tool has no url of a libSQL database (libsql://…)".to_owned())?;
    let literal = parsed.host_str().and_then(|h| h.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    let near = literal.is_some_and(|ip| allow.iter().any(|net| net.contains(&ip)));
    match parsed.scheme() {
        "https" => {}
        "http" if near => {}
        _ => return Err("the url of a libSQL database begins with libsql:// or https://".to_owned()),
    }
    let mut endpoint = parsed;
    endpoint.set_query(None);
    endpoint.set_fragment(None);
    endpoint.set_path("/v2/pipeline");
    Ok(endpoint.into())
}

/// Why there was no answer. An address of ours or theirs is not told.
fn away(error: &reqwest::Error) -> String {
    if is_refused(error) {
        return "the database's host has no public address, and is in none of the networks that the operator allows (OUTBOUND_ALLOW)".to_owned();
    }
    let why = if error.is_timeout() {
        "it did not answer in time"
    } else if error.is_connect() {
        "it cannot be reached"
    } else {
        "the request failed"
    };
    format!("no answer of the database server: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_to_the_host_with_tls() {
        let allow: [IpNet; 1] = ["127.0.0.0/8".parse().expect("a network")];
        for (url, expected) in [
            ("libsql://db-org.turso.io", Some("https://db-org.turso.io/v2/pipeline")),
            ("wss://db.example:8443/x?y#z", Some("https://db.example:8443/v2/pipeline")),
            (" https://db.example/ ", Some("https://db.example/v2/pipeline")),
            ("http://127.0.0.1:8080", Some("http://127.0.0.1:8080/v2/pipeline")),
            ("http://10.0.0.1:8080", None),
            ("http://db.example", None),
            ("ftp://127.0.0.1", None),
            ("file:///etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(endpoint(url, &allow).ok().as_deref(), expected, "{url}");
        }
    }
}
