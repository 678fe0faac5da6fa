//! Operations from the edges: a row asks, and whoever called waits for its outcome.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::{Request, StatusCode, body::Incoming, header};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, Edge, body, caused};

/// How long a caller waits. What takes longer goes on without him.
const PATIENCE: Duration = Duration::from_secs(55);
/// The largest body.
const LIMIT: usize = 1024 * 1024;

/// Who calls, with what rights, and what for.
pub struct Call {
    /// For whom.
    pub organization: Uuid,
    /// The JSON body.
    pub body: Value,
}

impl Call {
    /// A text of the body, or a 400 that names it.
    pub fn text(&self, key: &str) -> Result<&str, Answer> {
        self.body[key].as_str().filter(|s| !s.is_empty()).ok_or_else(|| caused(StatusCode::BAD_REQUEST, &format!("{key} is missing"), Value::Null))
    }
}

/// Reads a JSON body.
pub async fn json_body(request: Request<Incoming>) -> Result<Value, Answer> {
    let bytes: Bytes = body(request, LIMIT).await?;
    serde_json::from_slice(&bytes).map_err(|e| caused(StatusCode::BAD_REQUEST, &format!("the body is no JSON: {e}"), Value::Null))
}

/// Checks the key against `organization_id` of the body and the least role that may. 401, 403 or 400 otherwise.
pub async fn authorize(edge: &Edge, request: Request<Incoming>, least: &str) -> Result<Call, Answer> {
    let key = key_of(&request)?;
    let body = json_body(request).await?;
    let organization = body["organization_id"].as_str().and_then(|o| Uuid::try_parse(o).ok());
    let organization = organization.ok_or_else(|| caused(StatusCode::BAD_REQUEST, "organization_id is missing", Value::Null))?;
    permit(edge, &key, organization, least).await?;
    Ok(Call { organization, body })
}

/// The API key of a request: `Authorization: Bearer`, or `api-key`.
pub fn key_of(request: &Request<Incoming>) -> Result<String, Answer> {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let bearer = header(header::AUTHORIZATION.as_str()).and_then(|v| v.strip_prefix("Bearer ").map(str::to_owned));
    bearer.or(header("api-key")).ok_or_else(|| caused(StatusCode::UNAUTHORIZED, "an API key is required: Authorization: Bearer …", Value::Null))
}

/// Whether a key belongs to the organization and has at least this role.
pub async fn permit(edge: &Edge, key: &str, organization: Uuid, least: &str) -> Result<(), Answer> {
    let find = "select organization_id, role <= $2::text::public.role from secrets.key_owner($1)";
    let rows = edge.db.query(find, &[&key, &least]).await.map_err(|_| unavailable())?;
    match rows.first() {
        None => Err(caused(StatusCode::UNAUTHORIZED, "the API key is unknown", Value::Null)),
        Some(row) if row.get::<_, Uuid>(0) != organization => {
            Err(caused(StatusCode::FORBIDDEN, "the API key belongs to another organization", Value::Null))
        }
        Some(row) if !row.get::<_, bool>(1) => Err(caused(StatusCode::FORBIDDEN, &format!("the API key needs the role {least}"), Value::Null)),
        Some(_) => Ok(()),
    }
}

pub fn unavailable() -> Answer {
    caused(StatusCode::SERVICE_UNAVAILABLE, "the database is away", Value::Null)
}

/// What the database refused, in its words.
pub fn refused(error: &anyhow::Error) -> Answer {
    match crate::db::refusal(error) {
        Some(refusal) => caused(StatusCode::BAD_REQUEST, refusal.message(), Value::Null),
        None => unavailable(),
    }
}

/// Asks for an operation and waits for its outcome.
pub async fn operate(edge: &Edge, organization: Uuid, address: &str, kind: &str, input: &Value) -> Result<Value, Answer> {
    let ask = "select id from public.operate($1, $2, $3, $4)";
    let row = edge.db.one(ask, &[&organization, &address, &kind, &input]).await.map_err(|e| refused(&e))?;
    outcome(edge, organization, row.get(0)).await
}

/// Waits for the outcome of an operation that was asked for.
pub async fn outcome(edge: &Edge, organization: Uuid, id: Uuid) -> Result<Value, Answer> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(10);
    let look = "select state, output, error from public.operations where organization_id = $1 and id = $2";
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(300));
        let row = edge.db.one(look, &[&organization, &id]).await.map_err(|_| unavailable())?;
        match row.get::<_, &str>(0) {
            "done" => return Ok(row.get::<_, Option<Value>>(1).unwrap_or_default()),
            "failed" => return Err(failure(&row.get::<_, Option<Value>>(2).unwrap_or_default())),
            _ if began.elapsed() > PATIENCE => {
                let error = row.get::<_, Option<Value>>(2);
                return Err(caused(StatusCode::GATEWAY_TIMEOUT, "it is still under way", json!({"operation_id": id, "last_error": error})));
            }
            _ => {}
        }
    }
}

/// Meta's own status and words, where it was Meta that refused.
fn failure(error: &Value) -> Answer {
    let status = error["status"].as_u64().and_then(|s| StatusCode::from_u16(u16::try_from(s).ok()?).ok());
    let status = status.unwrap_or(match error["code"].as_str() {
        Some("forbidden") => StatusCode::FORBIDDEN,
        Some("settings") => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    });
    caused(status, error["message"].as_str().unwrap_or("it failed"), error["cause"].clone())
}
