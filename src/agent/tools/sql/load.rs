//! CSV in and out: files into tables for `bulkInsert`, queries into files for `selectAsCsv`.

use std::collections::HashSet;

use csv::{ReaderBuilder, StringRecord, WriterBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    dialect::{Dialect, is_type},
    rows::{Limits, Table},
    session::Session,
    value::plain,
};

/// How many rows go in or out.
pub const ROWS: usize = 100_000;

/// How long a file may be, in bytes.
pub const FILE: usize = 20 << 20;

/// How long an INSERT gets, in rows and in bytes of values. Servers differ in what they take; all take this.
const CHUNK: (usize, usize) = (5000, 256 << 10);

/// What `bulkInsert` is asked for.
#[derive(Deserialize)]
pub struct Order {
    schema: Option<String>,
    table: String,
    columns: Option<Vec<String>>,
    types: Option<Vec<String>>,
    #[serde(default)]
    renames: Vec<Rename>,
}

#[derive(Deserialize)]
struct Rename {
    from: String,
    to: String,
}

/// A file, ready to be inserted.
#[derive(Debug)]
struct Cargo {
    /// The table's columns.
    columns: Vec<String>,
    /// Where each stands in a record.
    places: Vec<usize>,
    records: Vec<StringRecord>,
}

/// Loads a file into a table, which is made where there is none: `{columns, rows_inserted}`. All rows or none.
pub async fn insert(session: &mut Session<'_>, order: &Order, file: &[u8]) -> Result<Value, String> {
    let cargo = unpack(order, file)?;
    let dialect = session.dialect();
    let table = dialect.qualified(order.schema.as_deref(), &order.table)?;
    let names = cargo.columns.iter().map(|c| dialect.identifier(c)).collect::<Result<Vec<_>, _>>()?;
    session.begin().await?;
    // Not `create table if not exists`: PostgreSQL wants the right to create even where nothing is created.
    let is_new = session.query(&exists(dialect, order)?, &Limits::ONE).await?.rows.is_empty();
    if is_new {
        session.query(&definition(dialect, order, &table, &names), &Limits::NOTHING).await?;
    }
    let inserted = rows(session, &format!("insert into {table} ({}) values ", names.join(", ")), &cargo).await;
    // There a new table ends the transaction before it.
    let left = if is_new && dialect == Dialect::MySql { "; the new table is there, and empty" } else { "" };
    inserted.map_err(|e| format!("{e}{left}"))?;
    session.commit().await?;
    Ok(json!({"columns": cargo.columns, "rows_inserted": cargo.records.len()}))
}

fn definition(dialect: Dialect, order: &Order, table: &str, names: &[String]) -> String {
    let column = |(i, name): (usize, &String)| format!("{name} {}", order.types.as_ref().map_or("text", |t| t[i].as_str()));
    let columns = names.iter().enumerate().map(column).collect::<Vec<_>>().join(", ");
    // Databases may have another character set by default, and files may hold anything.
    format!("create table {table} ({columns}){}", if dialect == Dialect::MySql { " character set utf8mb4" } else { "" })
}

/// Inserts all rows, so many at a time.
async fn rows(session: &mut Session<'_>, head: &str, cargo: &Cargo) -> Result<(), String> {
    let dialect = session.dialect();
    let (mut values, mut bytes): (Vec<String>, usize) = (Vec::new(), 0);
    for record in &cargo.records {
        let row = row(dialect, record, &cargo.places)?;
        if values.len() == CHUNK.0 || (bytes + row.len() > CHUNK.1 && !values.is_empty()) {
            session.query(&format!("{head}{}", values.join(", ")), &Limits::NOTHING).await?;
            (values, bytes) = (Vec::new(), 0);
        }
        bytes += row.len();
        values.push(row);
    }
    if values.is_empty() { Ok(()) } else { session.query(&format!("{head}{}", values.join(", ")), &Limits::NOTHING).await.map(drop) }
}

/// A query with a row where the table is there.
fn exists(dialect: Dialect, order: &Order) -> Result<String, String> {
    let name = dialect.literal(&order.table)?;
    let schema = order.schema.as_deref().map(|s| dialect.literal(s)).transpose()?;
    Ok(match dialect {
        Dialect::Postgres => {
            let table = dialect.literal(&dialect.qualified(order.schema.as_deref(), &order.table)?)?;
            format!("select 1 where to_regclass({table}) is not null")
        }
        Dialect::MySql => {
            let schema = schema.unwrap_or_else(|| "database()".to_owned());
            format!("select 1 from information_schema.tables where table_schema = {schema} and table_name = {name}")
        }
        Dialect::Sqlite => format!("select 1 from sqlite_schema where type in ('table', 'view') and name = {name} collate nocase"),
    })
}

fn row(dialect: Dialect, record: &StringRecord, places: &[usize]) -> Result<String, String> {
    let cell = |place: &usize| match record.get(*place).unwrap_or_default() {
        "" => Ok("null".to_owned()),
        text => dialect.literal(text),
    };
    Ok(format!("({})", places.iter().map(cell).collect::<Result<Vec<_>, _>>()?.join(", ")))
}

/// Reads a file as it was ordered. Columns are known by their names in the file, as written or sanitized.
fn unpack(order: &Order, file: &[u8]) -> Result<Cargo, String> {
    if file.len() > FILE {
        return Err(format!("the file is longer than {} MB", FILE >> 20));
    }
    let mut reader = ReaderBuilder::new().delimiter(delimiter(file)).from_reader(file);
    let headers: Vec<String> = reader.headers().map_err(unreadable)?.iter().map(sanitized).collect();
    let place = |name: &str| {
        headers.iter().position(|h| *h == sanitized(name)).ok_or_else(|| format!("the file has no column {name}: {}", headers.join(", ")))
    };
    let places = match &order.columns {
        Some(columns) => columns.iter().map(|c| place(c)).collect::<Result<Vec<_>, _>>()?,
        None => (0..headers.len()).collect(),
    };
    let mut columns: Vec<String> = places.iter().map(|p| headers[*p].clone()).collect();
    for rename in &order.renames {
        let from = place(&rename.from)?;
        let at = places.iter().position(|p| *p == from).ok_or_else(|| format!("{} is renamed and not among the columns", rename.from))?;
        columns[at].clone_from(&rename.to);
    }
    distinct(&columns)?;
    if let Some(types) = &order.types {
        if types.len() != columns.len() {
            return Err(format!("there are {} types for {} columns", types.len(), columns.len()));
        }
        if let Some(bad) = types.iter().find(|t| !is_type(t)) {
            return Err(format!("{bad:?} is no type of a column"));
        }
    }
    let mut records = Vec::new();
    for record in reader.records() {
        if records.len() == ROWS {
            return Err(format!("the file has more than {ROWS} rows"));
        }
        records.push(record.map_err(unreadable)?);
    }
    Ok(Cargo { columns, places, records })
}

fn distinct(columns: &[String]) -> Result<(), String> {
    let mut seen = HashSet::new();
    if columns.is_empty() {
        return Err("the file has no columns".to_owned());
    }
    match columns.iter().find(|c| c.is_empty() || !seen.insert(c.to_lowercase())) {
        Some(column) if column.is_empty() => Err("a column of the file has no name".to_owned()),
        Some(column) => Err(format!("there are two columns {column}: rename one")),
        None => Ok(()),
    }
}

/// A header as a name: lower case, `[a-z0-9_]`.
fn sanitized(header: &str) -> String {
    let name = header.trim().to_lowercase();
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Spreadsheets separate by semicolons where the comma is the decimal mark.
fn delimiter(file: &[u8]) -> u8 {
    let head = file.split(|b| *b == b'\n').next().unwrap_or_default();
    [b',', b';', b'\t'].into_iter().find(|d| head.contains(d)).unwrap_or(b',')
}

fn unreadable(error: csv::Error) -> String {
    format!("the file cannot be read as CSV in UTF-8: {error}")
}

/// A result as a file, with a header.
pub fn file(table: &Table) -> Result<Vec<u8>, String> {
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    let failed = |e: csv::Error| format!("the file cannot be written: {e}");
    writer.write_record(&table.columns).map_err(failed)?;
    for row in &table.rows {
        writer.write_record(row.iter().map(plain)).map_err(failed)?;
    }
    writer.into_inner().map_err(|e| format!("the file cannot be written: {}", e.error()))
}

/// A name that a file can have: letters, digits and `._-`, ending in `.csv`.
pub fn file_name(name: &str) -> String {
    let stem = name.trim().strip_suffix(".csv").unwrap_or(name.trim());
    let clean: String = stem.chars().map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' }).take(80).collect();
    let clean = clean.trim_matches('.');
    format!("{}.csv", if clean.is_empty() { "result" } else { clean })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(value: Value) -> Order {
        Order::deserialize(value).expect("an order")
    }

    #[test]
    fn files_are_read_as_ordered() {
        let file = "\u{feff}Full Name;Total €;at\nAna;1,5;\n".as_bytes();
        let cargo = unpack(&order(json!({"table": "t"})), file).expect("a file");
        assert_eq!(cargo.columns, ["full_name", "total__", "at"]);
        assert_eq!(row(Dialect::Postgres, &cargo.records[0], &cargo.places), Ok("('Ana', '1,5', null)".to_owned()));
        let picked = json!({"table": "t", "columns": ["at", "Full Name"], "renames": [{"from": "AT", "to": "When"}]});
        let cargo = unpack(&order(picked), file).expect("a file");
        assert_eq!((cargo.columns, cargo.places), (vec!["When".to_owned(), "full_name".to_owned()], vec![2, 0]));
    }

    #[test]
    fn files_that_cannot_be_loaded_are_refused() {
        for (file, said) in
            [(&b""[..], "no columns"), (b"a,a\n", "two columns"), (b"a,\n1,2\n", "no name"), (b"a\n1,2\n", "CSV"), (b"a\n\xff\xfe\n", "UTF-8")]
        {
            let error = unpack(&order(json!({"table": "t"})), file).expect_err("to be refused");
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn names_of_files_are_harmless() {
        for (name, expected) in [
            ("orders.csv", "orders.csv"),
            ("../../etc/passwd", "_.._etc_passwd.csv"),
            ("", "result.csv"),
            (".csv", "result.csv"),
            ("año 1\n", "año_1.csv"),
        ] {
            assert_eq!(file_name(name), expected);
        }
    }
}
