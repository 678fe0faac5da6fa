//! MySQL and MariaDB, by their text protocol (MySQL's documentation, chapter "Client/Server Protocol").
//!
//! Small on purpose. The servers split statements only for clients that say they can take several results of several
//! statements; this one does not, so the server itself refuses a second statement. Full clients always say so, and believe
//! the server how many columns follow, which a hostile server turns into an allocation that ends the process.
//!
//! In a read-only transaction the server refuses writes. Two ways out of it the guard closes: procedures, which may commit,
//! and files on the server. What `GET_LOCK`, functions and the like do is the business of the user that the organization
//! gives us.

use serde_json::Value;

use super::{
    Plan, SqlConfig,
    mysql_login::login,
    mysql_packet::{Packets, Reader, refused, unexpected},
    rows::{Limits, Table},
    value::{Kind, blob, value},
    wire::Wire,
};

const QUIT: u8 = 1;
const QUERY: u8 = 3;

/// The most columns that a MySQL result can have.
const COLUMNS: u64 = 4096;

/// In a status: another result of the same procedure follows.
const MORE_RESULTS: u64 = 8;

/// A connection within its transaction.
pub struct Session {
    packets: Packets,
    read_only: bool,
    /// Whether an answer was left unread: nothing more can be asked.
    spent: bool,
}

/// What a packet at the end of a result says.
struct End {
    affected: u64,
    more: bool,
}

impl Session {
    /// Logs in and begins the transaction.
    pub async fn open(wire: Wire, tls: bool, config: &SqlConfig, plan: &Plan) -> Result<Self, String> {
        let (packets, is_mariadb) = login(Packets::new(wire), tls, config).await?;
        let mut session = Self { packets, read_only: plan.read_only, spent: false };
        let seconds = plan.timeout.as_secs_f64();
        let limit =
            if is_mariadb { format!("max_statement_time = {seconds:.3}") } else { format!("max_execution_time = {}", plan.timeout.as_millis()) };
        // Servers before 5.7 have none: our own clock is left.
        let _ = session.run(&format!("set session {limit}")).await;
        session.run(&format!("set session lock_wait_timeout = {0}, innodb_lock_wait_timeout = {0}", seconds.ceil())).await?;
        if plan.read_only {
            session.run("set session transaction read only").await?;
            session.run("start transaction read only").await?;
        } else {
            session.run("set session autocommit = 0").await?;
        }
        Ok(session)
    }

    /// Runs one statement of our own.
    pub async fn run(&mut self, sql: &str) -> Result<(), String> {
        self.query(sql, &Limits::NOTHING).await.map(drop)
    }

    /// Runs one statement. Of a procedure the first result is kept.
    pub async fn query(&mut self, sql: &str, limits: &Limits) -> Result<Table, String> {
        if self.spent {
            return Err("the answer before was longer than its limit".to_owned());
        }
        self.packets.command(QUERY, sql.as_bytes()).await?;
        let (mut table, mut more) = self.result(limits).await?;
        while more && !self.spent {
            let next = self.result(limits).await?;
            if table.columns.is_empty() {
                table = next.0;
            }
            more = next.1;
        }
        Ok(table)
    }

    /// One result, and whether another one follows.
    async fn result(&mut self, limits: &Limits) -> Result<(Table, bool), String> {
        let packet = self.packets.receive().await?;
        match packet.first() {
            Some(0) => {
                let end = ok(&packet)?;
                return Ok((Table::changed(end.affected), end.more));
            }
            Some(0xff) => return Err(refused(&packet).1),
            // It asks for a file, which it was not offered.
            Some(0xfb) | None => return Err(unexpected()),
            _ => {}
        }
        let count = Reader::new(&packet).length()?.filter(|n| *n <= COLUMNS).ok_or_else(unexpected)?;
        let (mut names, mut kinds) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (name, kind) = column(&self.packets.receive().await?)?;
            names.push(name);
            kinds.push(kind);
        }
        eof(&self.packets.receive().await?).ok_or_else(unexpected)?;
        let mut table = Table::new(names);
        loop {
            let packet = self.packets.receive().await?;
            if let Some(more) = eof(&packet) {
                return Ok((table, more));
            }
            if packet.first() == Some(&0xff) {
                return Err(refused(&packet).1);
            }
            // Of a write the rest is read too, for its end says whether it succeeded.
            if !table.push(cells(&packet, &kinds, limits)?, limits) && limits.last && self.read_only {
                self.spent = true;
                return Ok((table, false));
            }
        }
    }

    /// Says good-bye: what was not committed is undone.
    pub async fn close(mut self) {
        let _ = self.packets.command(QUIT, &[]).await;
    }
}

/// The end of a statement without rows.
fn ok(packet: &[u8]) -> Result<End, String> {
    let mut reader = Reader::new(&packet[1..]);
    let affected = reader.length()?.unwrap_or(0);
    reader.length()?;
    Ok(End { affected, more: reader.integer(2)? & MORE_RESULTS != 0 })
}

/// Whether this ends columns or rows, and then whether another result follows.
fn eof(packet: &[u8]) -> Option<bool> {
    if packet.first() != Some(&0xfe) || packet.len() >= 9 {
        return None;
    }
    let mut reader = Reader::new(packet.get(3..)?);
    Some(reader.integer(2).unwrap_or(0) & MORE_RESULTS != 0)
}

/// What a column means, and whether its bytes may be text all the same.
#[derive(Clone, PartialEq, Debug)]
enum Meaning {
    Of(Kind),
    /// Binary strings are text where they can be: functions return them.
    Perhaps,
    Bits,
}

/// The name and the meaning of a column.
fn column(packet: &[u8]) -> Result<(String, Meaning), String> {
    let mut reader = Reader::new(packet);
    // Catalog, schema, table, the table's own name.
    for _ in 0..4 {
        reader.string()?;
    }
    let name = String::from_utf8_lossy(reader.string()?.unwrap_or_default()).into_owned();
    reader.string()?;
    reader.length()?;
    let is_binary = reader.integer(2)? == 63;
    reader.bytes(4)?;
    let meaning = match reader.byte()? {
        // TINYINT to INT, BIGINT, MEDIUMINT, YEAR, DECIMAL.
        0 | 1 | 2 | 3 | 8 | 9 | 13 | 246 => Meaning::Of(Kind::Number),
        4 | 5 => Meaning::Of(Kind::Float),
        7 | 12 => Meaning::Of(Kind::Stamp),
        16 => Meaning::Bits,
        245 => Meaning::Of(Kind::Json),
        249..=252 if is_binary => Meaning::Of(Kind::Blob),
        255 => Meaning::Of(Kind::Blob),
        253 | 254 if is_binary => Meaning::Perhaps,
        _ => Meaning::Of(Kind::Text),
    };
    Ok((name, meaning))
}

fn cells(packet: &[u8], meanings: &[Meaning], limits: &Limits) -> Result<Vec<Value>, String> {
    let mut reader = Reader::new(packet);
    meanings.iter().map(|m| Ok(reader.string()?.map_or(Value::Null, |bytes| cell(m, bytes, limits)))).collect()
}

fn cell(meaning: &Meaning, bytes: &[u8], limits: &Limits) -> Value {
    let is_text = |s: &str| s.chars().all(|c| !c.is_control() || c.is_whitespace());
    match meaning {
        Meaning::Bits if bytes.len() <= 6 => bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)).into(),
        Meaning::Bits | Meaning::Of(Kind::Blob) => blob(bytes.len()),
        Meaning::Perhaps => match std::str::from_utf8(bytes) {
            Ok(text) if is_text(text) => value(&Kind::Text, text, limits),
            _ => blob(bytes.len()),
        },
        Meaning::Of(kind) => value(kind, &String::from_utf8_lossy(bytes), limits),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    const LIMITS: Limits = Limits { rows: 2, bytes: 1000, cell: 100, raw: false, last: false };

    fn described(name: &str, charset: u8, kind: u8) -> Vec<u8> {
        let text = |s: &str| [&[s.len() as u8], s.as_bytes()].concat();
        [text("def"), text(""), text("t"), text("t"), text(name), text(name), vec![12, charset, 0, 0, 0, 0, 0, kind, 0, 0, 0, 0, 0]].concat()
    }

    /// What a session makes of these packets.
    async fn answered(packets: &[Vec<u8>], read_only: bool) -> Result<Table, String> {
        let (ours, mut theirs) = duplex(1 << 20);
        for (i, packet) in packets.iter().enumerate() {
            theirs.write_all(&[&[packet.len() as u8, 0, 0, i as u8 + 1], packet.as_slice()].concat()).await.expect("room");
        }
        theirs.shutdown().await.expect("an end");
        Session { packets: Packets::new(Wire::over(ours, "db.test")), read_only, spent: false }.query("select 1", &LIMITS).await
    }

    #[tokio::test]
    async fn results_are_read() {
        let end = vec![0xfe, 0, 0, 2, 0];
        let columns = [vec![4], described("n", 63, 8), described("b", 63, 252), described("v", 63, 253), described("bit", 63, 16), end.clone()];
        let row = b"\x0242\x03abc\x02hi\x01\x05".to_vec();
        let table = answered(&[&columns[..], &[row, vec![0xfb; 4], end.clone()]].concat(), true).await.expect("a table");
        assert_eq!(table.columns, ["n", "b", "v", "bit"]);
        assert_eq!(table.rows, [vec![json!(42), json!("<3 bytes>"), json!("hi"), json!(5)], vec![Value::Null; 4]]);
        let changed = answered(&[vec![0, 3, 0, 2, 0, 0, 0]], false).await.expect("a count");
        assert_eq!((changed.affected, changed.columns.len()), (3, 0));
        // A procedure: a result, another, its end.
        let one = [vec![1], described("n", 63, 3), end, b"\x017".to_vec(), vec![0xfe, 0, 0, 8, 0]];
        let table = answered(&[&one[..], &one[..], &[vec![0, 0, 0, 2, 0, 0, 0]]].concat(), false).await.expect("a table");
        assert_eq!(table.rows, [[json!(7)]]);
    }

    #[tokio::test]
    async fn hostile_answers_are_errors() {
        // As a count of columns, 2^56.
        let long = vec![0xfe, 0, 0, 0, 0, 0, 0, 0, 1];
        for packets in [
            vec![long.clone()],
            vec![vec![0xfb, b'/', b'e', b't', b'c']],
            vec![vec![]],
            vec![vec![0]],
            vec![vec![0xff]],
            vec![vec![1], long.clone()],
            vec![vec![1], described("n", 63, 3), long.clone()],
            vec![vec![1], described("n", 63, 3), vec![0xfe, 0, 0, 2, 0], long],
            vec![vec![2], described("n", 63, 3)],
        ] {
            assert!(answered(&packets, true).await.is_err(), "{packets:?}");
        }
    }
}
