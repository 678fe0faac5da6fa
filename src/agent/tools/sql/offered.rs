//! What the model is told of the tools of a database.

use serde_json::{Value, json};

use crate::agent::{tools::Effect, turn::Tool};

/// The tools of a connection, without its label: `getDbSchema`, `executeSql`, `selectAsCsv`, `sampleTableRows`, and
/// `bulkInsert` where it may write.
pub fn tools(read_only: bool) -> Vec<Tool> {
    let schemas = json!({"type": "array", "items": {"type": "string"}, "description": "Of these schemas; of the default one without."});
    let query = json!({"type": "string", "description": "One SELECT in the database's dialect."});
    let execute = if read_only {
        "Runs one SQL query and returns {rows, row_count, truncated}. The connection is read-only: SELECT, WITH, VALUES, SHOW and EXPLAIN."
    } else {
        "Runs one SQL statement in a transaction of its own and returns {rows, row_count, truncated}, or {affected_rows}."
    };
    let mut tools = vec![
        tool(
            "getDbSchema",
            "Describes the database: its dialect, tables, columns, constraints and enums. Call it before you write SQL.",
            json!({"schemas": schemas}),
            &[],
        ),
        tool(
            "executeSql",
            &format!("{execute} Long results are cut (truncated: true): aggregate, or ask for less."),
            json!({"query": {"type": "string", "description": "One statement in the database's dialect."}}),
            &["query"],
        ),
        tool(
            "selectAsCsv",
            "Stores the result of a query as a CSV file and returns {file_uri, columns, rows_selected}; file_uri is null without rows. For results that are to be sent or loaded, not read.",
            json!({"query": query, "file_name": {"type": "string", "description": "E.g. orders.csv."}}),
            &["query", "file_name"],
        ),
        tool(
            "sampleTableRows",
            "Shows a few rows of each table.",
            json!({"schemas": schemas, "limit": {"type": "integer", "minimum": 1, "maximum": 10, "default": 3, "description": "Rows of each table."}}),
            &[],
        ),
    ];
    if !read_only {
        tools.push(bulk_insert());
    }
    tools
}

fn bulk_insert() -> Tool {
    let names = |description: &str| json!({"type": "array", "items": {"type": "string"}, "description": description});
    let rename = json!({"type": "object", "properties": {"from": {"type": "string"}, "to": {"type": "string"}}, "required": ["from", "to"]});
    tool(
        "bulkInsert",
        "Inserts the rows of a stored CSV file (its first row names the columns) into a table, all or none, and returns {columns, rows_inserted}. Makes the table where there is none. Empty cells become NULL; column names become lower case with _ for anything but letters and digits.",
        json!({
            "schema": {"type": "string"},
            "table": {"type": "string"},
            "columns": names("Which columns of the file; all without."),
            "types": names("For a new table: the type of each column, e.g. text, integer, numeric(10, 2)."),
            "renames": {"type": "array", "items": rename, "description": "Columns of the file that have another name in the table."},
            "file_uri": {"type": "string", "description": "As it stands in the conversation or a tool's result: internal://media/…"},
        }),
        &["table", "file_uri"],
    )
}

fn tool(name: &str, description: &str, properties: Value, required: &[&str]) -> Tool {
    let parameters = json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    Tool { name: name.to_owned(), description: description.to_owned(), parameters }
}

/// What a call of the tool of this name (without its label) may do.
pub fn effect(name: &str, read_only: bool) -> Effect {
    if !read_only && matches!(name, "executeSql" | "bulkInsert") { Effect::Write } else { Effect::Read }
}
