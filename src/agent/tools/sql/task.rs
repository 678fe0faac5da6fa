//! What the tools do, each on a session of its own.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Driver, Plan, SqlConfig, SqlOutput, guard, load, rows::Limits, schema, session::Session};

/// What `executeSql` and `selectAsCsv` are asked.
#[derive(Deserialize)]
pub struct Query {
    query: String,
    file_name: Option<String>,
}

#[derive(Deserialize)]
struct About {
    schemas: Option<Vec<String>>,
    limit: Option<usize>,
}

/// A call that can be made: what is wrong with it costs no connection.
pub enum Task {
    /// `getDbSchema` of these schemas.
    Describe(Option<Vec<String>>),
    /// `sampleTableRows` of these schemas, so many each.
    Sample(Option<Vec<String>>, usize),
    /// `executeSql`.
    Execute(String),
    /// `selectAsCsv`.
    Select(Query),
    /// `bulkInsert` of this file.
    Insert(load::Order, Vec<u8>),
}

impl Task {
    /// Of the tool of this name.
    pub fn new(config: &SqlConfig, name: &str, arguments: &Value, csv: Option<Vec<u8>>) -> Result<Self, String> {
        let schemas = |about: &About| about.schemas.clone().filter(|s| !s.is_empty()).or_else(|| config.schemas.clone());
        Ok(match name {
            "getDbSchema" => Task::Describe(schemas(&arguments_of(arguments)?)),
            "sampleTableRows" => {
                let about: About = arguments_of(arguments)?;
                Task::Sample(schemas(&about), about.limit.unwrap_or(3).clamp(1, 10))
            }
            "executeSql" => {
                let Query { query, .. } = arguments_of(arguments)?;
                Task::checked(config, &query, config.is_read_only())?;
                Task::Execute(query)
            }
            "selectAsCsv" => {
                let query: Query = arguments_of(arguments)?;
                Task::checked(config, &query.query, true)?;
                Task::Select(query)
            }
            "bulkInsert" if config.is_read_only() => return Err("this connection is read-only".to_owned()),
            "bulkInsert" => Task::Insert(arguments_of(arguments)?, csv.ok_or("the file is not there")?),
            _ => return Err(format!("a database has no tool {name}")),
        })
    }

    fn checked(config: &SqlConfig, sql: &str, read_only: bool) -> Result<(), String> {
        if read_only && config.driver == Driver::MySql && guard::writes_file(sql) {
            return Err("this connection is read-only: no file is written on the database server".to_owned());
        }
        guard::check(sql, read_only)
    }

    /// Makes the call.
    pub async fn run(&self, session: &mut Session<'_>, config: &SqlConfig, plan: &Plan) -> Result<SqlOutput, String> {
        let data = match self {
            Task::Describe(schemas) => schema::describe(session, schemas.as_deref()).await?,
            Task::Sample(schemas, limit) => schema::sample(session, schemas.as_deref(), *limit).await?,
            Task::Execute(query) => execute(session, query, &config.limits(), plan).await?,
            Task::Select(query) => return select_as_csv(session, query).await,
            Task::Insert(order, file) => load::insert(session, order, file).await?,
        };
        Ok(SqlOutput { data, file: None })
    }
}

fn arguments_of<'a, T: Deserialize<'a>>(arguments: &'a Value) -> Result<T, String> {
    T::deserialize(arguments).map_err(|e| format!("the arguments cannot be read: {e}"))
}

/// `{rows, row_count, truncated}` of a statement with columns, `{affected_rows}` of any other.
async fn execute(session: &mut Session<'_>, query: &str, limits: &Limits, plan: &Plan) -> Result<Value, String> {
    let table = session.statement(query, limits).await?;
    if !plan.read_only {
        session.commit_statement().await?;
    }
    if table.columns.is_empty() {
        return Ok(json!({"affected_rows": table.affected}));
    }
    Ok(json!({"row_count": table.rows.len(), "truncated": table.truncated, "rows": table.objects()}))
}

/// `{file_uri: null, columns, rows_selected, truncated?}`, and the file: whoever stores it knows its URI.
async fn select_as_csv(session: &mut Session<'_>, query: &Query) -> Result<SqlOutput, String> {
    let limits = Limits { rows: load::ROWS, bytes: load::FILE, cell: usize::MAX, raw: true, last: true };
    let table = session.statement(&query.query, &limits).await?;
    let mut data = json!({"file_uri": null, "columns": table.columns, "rows_selected": table.rows.len()});
    if table.truncated {
        data["truncated"] = json!(true);
    }
    if table.rows.is_empty() {
        return Ok(SqlOutput { data, file: None });
    }
    let name = load::file_name(query.file_name.as_deref().unwrap_or_default());
    Ok(SqlOutput { data, file: Some((name, load::file(&table)?)) })
}
