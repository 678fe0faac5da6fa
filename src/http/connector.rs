//! Connectors' webhooks: batches go into the journal like Meta's bodies, files into the store.

use http_body_util::BodyExt;
use hyper::{Method, Request, StatusCode, body::Incoming, header};
use metrics::counter;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, Edge, body, json_answer, not_allowed, operation::unavailable, problem, same, storage, text};
use crate::media::{Spool, SpoolError};

/// The largest batch.
const LIMIT: usize = 8 * 1024 * 1024;

/// `POST /functions/v1/{service}-webhook` and `…/media`. 404 for a service without a connector, 401 without its token.
pub async fn route(edge: &Edge, method: &Method, service: &str, rest: &[&str], request: Request<Incoming>) -> Answer {
    let Some(connector) = edge.connectors.of(service) else {
        return problem(StatusCode::NOT_FOUND, "not_found", &format!("there is no connector for {service}"));
    };
    let token =
        request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
    if !same(token, connector.token()) {
        counter!("tidings_webhooks_total", "result" => "bad_token").increment(1);
        return problem(StatusCode::UNAUTHORIZED, "unauthorized", "this is not the connector's token");
    }
    match (rest, method) {
        ([], &Method::POST) => take(edge, service, request).await,
        (["media"], &Method::POST) => media(edge, service, request).await,
        ([] | ["media"], _) => not_allowed("POST"),
        _ => problem(StatusCode::NOT_FOUND, "not_found", "there is nothing here"),
    }
}

async fn take(edge: &Edge, service: &str, request: Request<Incoming>) -> Answer {
    let body = match body(request, LIMIT).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let Ok(batch) = serde_json::from_slice::<Value>(&body) else {
        return problem(StatusCode::BAD_REQUEST, "bad_request", "the batch is no JSON");
    };
    match owner(edge, service, batch["organization_address"].as_str().unwrap_or_default()).await {
        Ok(Some(_)) => {}
        Ok(None) => return problem(StatusCode::NOT_FOUND, "not_found", "organization_address is no address of this service"),
        Err(answer) => return answer,
    }
    match edge.journal.store(service, None, body).await {
        Ok(()) => text(StatusCode::OK, ""),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &error.to_string()),
    }
}

/// Whose an address is, connected or not.
async fn owner(edge: &Edge, service: &str, address: &str) -> Result<Option<Uuid>, Answer> {
    let find = "select organization_id from public.organizations_addresses where service::text = $1 and address = $2 order by status = 'connected' desc, updated_at desc limit 1";
    let rows = edge.db.query(find, &[&service, &address]).await.map_err(|_| unavailable())?;
    Ok(rows.first().map(|row| row.get(0)))
}

/// `multipart/form-data` with `file`, `organization_address` and perhaps `name`: answers `{uri}`.
async fn media(edge: &Edge, service: &str, request: Request<Incoming>) -> Answer {
    match receive(edge, service, request).await {
        Ok(uri) => json_answer(StatusCode::OK, &json!({"uri": uri})),
        Err(answer) => answer,
    }
}

async fn receive(edge: &Edge, service: &str, request: Request<Incoming>) -> Result<String, Answer> {
    let bad = |message: &str| problem(StatusCode::BAD_REQUEST, "bad_request", message);
    let boundary = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).and_then(|v| multer::parse_boundary(v).ok());
    let boundary = boundary.ok_or_else(|| bad("the body has to be multipart/form-data"))?;
    let limits = multer::SizeLimit::new().whole_stream(edge.upload_limit + 64 * 1024).for_field("organization_address", 512).for_field("name", 1024);
    let stream = request.into_body().into_data_stream();
    let mut form = multer::Multipart::with_constraints(stream, boundary, multer::Constraints::new().size_limit(limits));
    let (mut address, mut name, mut file) = (None, None, None);
    loop {
        let field = form.next_field().await.map_err(|e| bad(&e.to_string()))?;
        let Some(field) = field else { break };
        match field.name() {
            Some("organization_address") => address = Some(field.text().await.map_err(|e| bad(&e.to_string()))?),
            Some("name") => name = Some(field.text().await.map_err(|e| bad(&e.to_string()))?),
            Some("file") => {
                let mime_type = field.content_type().map_or("application/octet-stream".to_owned(), ToString::to_string);
                name = name.or_else(|| field.file_name().map(str::to_owned));
                let chunks = field;
                let spool = Spool::take(Box::pin(chunks), edge.upload_limit).await.map_err(|error| match error {
                    SpoolError::TooLarge(_) => problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &error.to_string()),
                    error => bad(&error.to_string()),
                })?;
                file = Some((spool, mime_type));
            }
            _ => {}
        }
    }
    let (Some(address), Some((spool, mime_type))) = (address, file) else { return Err(bad("file and organization_address are required")) };
    let organization = owner(edge, service, &address)
        .await?
        .ok_or_else(|| problem(StatusCode::NOT_FOUND, "not_found", "organization_address is no address of this service"))?;
    let object = spool.name(organization);
    // The same bytes again are the same file.
    let unavailable = |why: String| problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &why);
    storage::keep(edge, organization, &object, &spool, &mime_type, name.as_deref()).await.map_err(unavailable)?;
    Ok(format!("internal://media/{object}"))
}
