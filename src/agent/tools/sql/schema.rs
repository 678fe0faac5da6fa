//! What a database holds: its tables for `getDbSchema`, a few rows of each for `sampleTableRows`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{
    SHOWN,
    catalog::Catalog,
    rows::{Limits, Table},
    session::Session,
    value::plain,
};

/// How many tables are told of.
const TABLES: usize = 200;

/// How many tables are sampled.
const SAMPLED: usize = 50;

/// For what catalogs tell.
const CATALOG: Limits = Limits { rows: 20_000, bytes: 8 << 20, cell: 1000, raw: false, last: false };

/// `{sql_dialect, enums?: [{schema, name, values}], tables: [{schema, name, type, columns: [{name, type, nullable, default?,
/// comment?}], constraints: […], comment?}], truncated?, tables_left_out?}`. Of the schemas that are asked for, or else of
/// the default one.
pub async fn describe(session: &mut Session<'_>, schemas: Option<&[String]>) -> Result<Value, String> {
    let catalog = Catalog::new(session.dialect(), schemas)?;
    let tables = catalog_of(session, &catalog.tables, 4).await?;
    let mut columns = grouped(catalog_of(session, &catalog.columns, 7).await?);
    if let Some(sql) = &catalog.doubtful_columns
        && let Ok(more) = catalog_of(session, sql, 7).await
    {
        columns.extend(grouped(more));
    }
    let mut constraints = grouped(catalog_of(session, &catalog.constraints, 3).await?);
    let enums = match &catalog.enums {
        Some(sql) => enums(catalog_of(session, sql, 3).await?),
        None => Vec::new(),
    };
    let (mut told, mut left_out, mut bytes) = (Vec::new(), 0, json!(enums).to_string().len());
    for table in tables.rows {
        let key = (plain(&table[0]), plain(&table[1]));
        let columns = columns.remove(&key).unwrap_or_default().iter().map(|c| column(c)).collect::<Vec<_>>();
        let constraints = constraints.remove(&key).unwrap_or_default().iter().map(|c| c[2].clone()).collect::<Vec<_>>();
        let mut object = json!({"schema": key.0, "name": key.1, "type": table[2], "columns": columns, "constraints": constraints});
        with(&mut object, "comment", &table[3]);
        bytes += object.to_string().len() + 1;
        if told.len() < TABLES && bytes < SHOWN { told.push(object) } else { left_out += 1 }
    }
    let mut schema = json!({"sql_dialect": session.dialect().name(), "tables": told});
    if !enums.is_empty() {
        schema["enums"] = json!(enums);
    }
    if left_out > 0 {
        schema["truncated"] = json!(true);
        schema["tables_left_out"] = json!(left_out);
    }
    Ok(schema)
}

/// `{tables: [{schema, name, rows}], truncated?}`: up to `limit` rows of each table. A table that cannot be read has an
/// `error` in place of rows.
pub async fn sample(session: &mut Session<'_>, schemas: Option<&[String]>, limit: usize) -> Result<Value, String> {
    let dialect = session.dialect();
    let tables = catalog_of(session, &Catalog::new(dialect, schemas)?.tables, 4).await?.rows;
    let limits = Limits { rows: limit, bytes: SHOWN / 4, cell: 200, raw: false, last: false };
    let (mut told, mut bytes, all) = (Vec::new(), 0, tables.len());
    for table in tables.into_iter().take(SAMPLED) {
        let from = dialect.qualified(Some(&plain(&table[0])), &plain(&table[1]))?;
        let mut object = json!({"schema": table[0], "name": table[1]});
        match session.attempt(&format!("select * from {from} limit {limit}"), &limits).await {
            Ok(rows) => object["rows"] = rows.objects().into(),
            Err(error) => object["error"] = error.into(),
        }
        bytes += object.to_string().len() + 1;
        if bytes > SHOWN {
            break;
        }
        told.push(object);
    }
    let mut sample = json!({"tables": told});
    if sample["tables"].as_array().is_some_and(|t| t.len() < all) {
        sample["truncated"] = json!(true);
    }
    Ok(sample)
}

/// What a catalog tells, in rows as wide as they should be. The query may fail: others can follow.
async fn catalog_of(session: &mut Session<'_>, sql: &str, width: usize) -> Result<Table, String> {
    let table = session.attempt(sql, &CATALOG).await?;
    if table.columns.len() == width { Ok(table) } else { Err("the database server did not answer what it was asked".to_owned()) }
}

/// Rows by their table.
fn grouped(table: Table) -> HashMap<(String, String), Vec<Vec<Value>>> {
    let mut groups: HashMap<_, Vec<_>> = HashMap::new();
    for row in table.rows {
        groups.entry((plain(&row[0]), plain(&row[1]))).or_default().push(row);
    }
    groups
}

fn column(row: &[Value]) -> Value {
    let nullable = matches!(&row[4], Value::Bool(true)) || row[4] == 1;
    let mut column = json!({"name": row[2], "type": row[3], "nullable": nullable});
    with(&mut column, "default", &row[5]);
    with(&mut column, "comment", &row[6]);
    column
}

/// Sets what there is to set.
fn with(object: &mut Value, key: &str, value: &Value) {
    if !value.is_null() && value != "" {
        object[key] = value.clone();
    }
}

fn enums(table: Table) -> Vec<Value> {
    let mut enums: Vec<Map<String, Value>> = Vec::new();
    for row in table.rows {
        match enums.last_mut() {
            Some(last) if last["schema"] == row[0] && last["name"] == row[1] => {
                if let Some(values) = last["values"].as_array_mut() {
                    values.push(row[2].clone());
                }
            }
            _ => enums.push(Map::from_iter([
                ("schema".to_owned(), row[0].clone()),
                ("name".to_owned(), row[1].clone()),
                ("values".to_owned(), json!([row[2]])),
            ])),
        }
    }
    enums.into_iter().map(Value::Object).collect()
}
