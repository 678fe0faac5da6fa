//! `POST /rest/v1/messages`: PostgREST's insert, for API keys.

use hyper::{Request, StatusCode, body::Incoming, header};
use serde_json::Value;
use tokio_postgres::error::DbError;
use tracing::warn;

use super::{Answer, Edge, body, json_answer, problem, text};

/// The largest body of an insert.
const LIMIT: usize = 1024 * 1024;

/// Inserts a row or an array of rows. 201, with the rows where `Prefer: return=representation` asks for them.
pub async fn insert(edge: &Edge, request: Request<Incoming>) -> Answer {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let bearer = header(header::AUTHORIZATION.as_str()).and_then(|v| v.strip_prefix("Bearer ").map(str::to_owned));
    let Some(key) = header("api-key").or(bearer) else {
        return problem(StatusCode::UNAUTHORIZED, "42501", "authentication required: send an API key in the header api-key");
    };
    let prefer = header("prefer").unwrap_or_default();
    let ignore = prefer.contains("resolution=ignore-duplicates");
    let one = header(header::ACCEPT.as_str()).is_some_and(|a| a.contains("vnd.pgrst.object"));
    let body = match body(request, LIMIT).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let rows: Value = match serde_json::from_slice(&body) {
        Ok(rows) => rows,
        Err(error) => return problem(StatusCode::BAD_REQUEST, "PGRST102", &format!("the body is no JSON: {error}")),
    };
    let sql = "select coalesce(jsonb_agg(to_jsonb(m)), '[]') from rest.insert_messages($1, $2, $3) m";
    match edge.db.one(sql, &[&key, &rows, &ignore]).await {
        Ok(_) if !prefer.contains("return=representation") => text(StatusCode::CREATED, ""),
        Ok(row) => {
            let mut rows: Value = row.get(0);
            if one && rows.as_array().is_some_and(|r| r.len() == 1) {
                rows = rows[0].take();
            }
            json_answer(StatusCode::CREATED, &rows)
        }
        Err(error) => match crate::db::refusal(&error) {
            Some(refusal) => refused(refusal),
            None => {
                warn!(error = %format!("{error:#}"), "insert failed");
                problem(StatusCode::SERVICE_UNAVAILABLE, "PGRST000", "the database is not available")
            }
        },
    }
}

/// The database's refusal, by PostgREST's table of SQLSTATEs.
fn refused(error: &DbError) -> Answer {
    let code = error.code().code();
    let status = match code {
        "28000" => StatusCode::UNAUTHORIZED,
        "42501" => StatusCode::FORBIDDEN,
        "23503" | "23505" => StatusCode::CONFLICT,
        c if c.starts_with("22") || c.starts_with("23") || c.starts_with("P0") => StatusCode::BAD_REQUEST,
        c if c.starts_with("40") || c.starts_with("53") || c.starts_with("57") || c.starts_with("08") => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    json_answer(status, &serde_json::json!({"code": code, "message": error.message(), "details": error.detail(), "hint": error.hint()}))
}
