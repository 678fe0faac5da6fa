//! PostgreSQL, by its wire protocol version 3 (PostgreSQL's documentation, chapter "Frontend/Backend Protocol").
//!
//! The extended protocol with unnamed statements: the server itself refuses a second statement, hands out so many rows and
//! no more, and sends every type as text, so that types of extensions need no support here. A full client would look types
//! up as the server describes them, to any depth, which a hostile server turns into a stack overflow.
//!
//! In a read-only transaction the server refuses writes. What functions do outside of transactions is the business of the
//! role that the organization gives us: `nextval`, `pg_terminate_backend`, `dblink`, `lo_export`, `pg_read_file`.

use std::io;

use bytes::BytesMut;
use postgres_protocol::{
    IsNull,
    message::{
        backend::{DataRowBody, ErrorFields, Message},
        frontend,
    },
};
use serde_json::Value;
use tokio_postgres::{
    fallible_iterator::FallibleIterator,
    types::{Kind as PgKind, Type},
};

use super::{
    Plan, SqlConfig,
    postgres_login::{Messages, garbled, unexpected},
    rows::{Limits, Table},
    value::{Kind, value},
    wire::Wire,
};

/// A connection within its transaction.
pub struct Session {
    messages: Messages,
    read_only: bool,
    /// Whether an answer was left unread: nothing more can be asked.
    spent: bool,
}

impl Session {
    /// Logs in and begins the transaction.
    pub async fn open(wire: Wire, tls: bool, config: &SqlConfig, plan: &Plan) -> Result<Self, String> {
        let messages = Messages::login(wire, tls, config).await?;
        let mut session = Self { messages, read_only: plan.read_only, spent: false };
        let milliseconds = plan.timeout.as_millis();
        let mode = if plan.read_only { "read only" } else { "read write" };
        // The query at the end takes the snapshot; from then on the transaction cannot be made read-write.
        session
            .batch(&format!(
                "begin {mode}; set local statement_timeout = {milliseconds}; set local lock_timeout = {milliseconds};
                 set local idle_in_transaction_session_timeout = {milliseconds}; set local standard_conforming_strings = on;
                 set local datestyle = 'ISO, YMD'; set local bytea_output = 'hex'; select 1"
            ))
            .await?;
        Ok(session)
    }

    /// Runs statements of our own.
    pub async fn batch(&mut self, sql: &str) -> Result<(), String> {
        self.messages.send(|b| frontend::query(sql, b)).await?;
        let mut error = None;
        loop {
            match self.messages.receive().await? {
                Message::ErrorResponse(body) => error = error.or(Some(words(body.fields()))),
                Message::ReadyForQuery(_) => return error.map_or(Ok(()), Err),
                _ => {}
            }
        }
    }

    /// Runs one statement.
    pub async fn query(&mut self, sql: &str, limits: &Limits) -> Result<Table, String> {
        if self.spent {
            return Err("the answer before was longer than its limit".to_owned());
        }
        let most = i32::try_from(limits.rows + 1).unwrap_or(i32::MAX);
        self.messages
            .send(|b| {
                frontend::parse("", sql, [], b)?;
                let no_value = |_: (), _: &mut BytesMut| Ok(IsNull::Yes);
                frontend::bind("", "", [], [], no_value, [], b).map_err(|_| io::Error::other("the statement cannot be sent"))?;
                frontend::describe(b'P', "", b)?;
                frontend::execute("", most, b)?;
                frontend::sync(b);
                Ok(())
            })
            .await?;
        self.answer(limits).await
    }

    async fn answer(&mut self, limits: &Limits) -> Result<Table, String> {
        let (mut table, mut kinds, mut error) = (Table::default(), Vec::new(), None);
        loop {
            match self.messages.receive().await? {
                Message::ParseComplete | Message::BindComplete | Message::NoData | Message::EmptyQueryResponse => {}
                Message::RowDescription(body) => {
                    let described: Vec<(String, Kind)> =
                        body.fields().map(|f| Ok((f.name().to_owned(), kind(f.type_oid())))).collect().map_err(garbled)?;
                    let (names, of): (Vec<_>, Vec<_>) = described.into_iter().unzip();
                    (table, kinds) = (Table::new(names), of);
                }
                Message::DataRow(body) => {
                    // Of a write the rest is read too, for its end says whether it succeeded.
                    if !table.push(cells(&body, &kinds, limits)?, limits) && limits.last && self.read_only {
                        self.spent = true;
                        return Ok(table);
                    }
                }
                Message::PortalSuspended => table.truncated = true,
                Message::CommandComplete(body) => {
                    let tag = body.tag().map_err(garbled)?;
                    table.affected = tag.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
                }
                Message::ErrorResponse(body) => error = error.or(Some(words(body.fields()))),
                Message::ReadyForQuery(_) => return error.map_or(Ok(table), Err),
                _ => return Err(unexpected()),
            }
        }
    }

    /// Runs one statement of ours that may fail without an end to the transaction.
    pub async fn attempt(&mut self, sql: &str, limits: &Limits) -> Result<Table, String> {
        self.batch("savepoint attempt").await?;
        let result = self.query(sql, limits).await;
        if result.is_err() {
            self.batch("rollback to savepoint attempt").await?;
        }
        result
    }

    /// Says good-bye: what was not committed is undone.
    pub async fn close(mut self) {
        let bye = |buffer: &mut BytesMut| {
            frontend::terminate(buffer);
            Ok(())
        };
        let _ = self.messages.send(bye).await;
    }
}

/// What a column of this built-in type means; types of extensions are text.
fn kind(oid: u32) -> Kind {
    let Some(of) = Type::from_oid(oid) else { return Kind::Text };
    match of {
        Type::BOOL => Kind::Bool,
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID | Type::NUMERIC => Kind::Number,
        Type::FLOAT4 | Type::FLOAT8 => Kind::Float,
        Type::JSON | Type::JSONB => Kind::Json,
        Type::BYTEA => Kind::Blob,
        Type::TIMESTAMP | Type::TIMESTAMPTZ => Kind::Stamp,
        // The one type whose arrays are not separated by commas.
        Type::BOX_ARRAY => Kind::Text,
        _ => match of.kind() {
            PgKind::Array(member) => Kind::Array(Box::new(kind(member.oid()))),
            _ => Kind::Text,
        },
    }
}

fn cells(body: &DataRowBody, kinds: &[Kind], limits: &Limits) -> Result<Vec<Value>, String> {
    let ranges: Vec<_> = body.ranges().collect().map_err(garbled)?;
    if ranges.len() != kinds.len() {
        return Err(unexpected());
    }
    let cell = |(range, kind): (Option<std::ops::Range<usize>>, &Kind)| match range.and_then(|r| body.buffer().get(r)) {
        Some(bytes) => value(kind, &String::from_utf8_lossy(bytes), limits),
        None => Value::Null,
    };
    Ok(ranges.into_iter().zip(kinds).map(cell).collect())
}

/// A refusal in the server's words: message, SQLSTATE, detail and hint.
fn words(mut fields: ErrorFields<'_>) -> String {
    let (mut message, mut code, mut more) = (String::new(), String::new(), String::new());
    while let Ok(Some(field)) = fields.next() {
        let said = String::from_utf8_lossy(field.value_bytes());
        match field.type_() {
            b'M' => message = said.into_owned(),
            b'C' => code = said.into_owned(),
            b'D' | b'H' => more = format!("{more}. {said}"),
            _ => {}
        }
    }
    format!("{message} (SQLSTATE {code}){more}")
}
