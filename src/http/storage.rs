//! Files over HTTP, at the paths that storage clients use: uploaded and read with an API key, and read by signed links,
//! for those that fetch what they are to show: Instagram and connectors.

use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::{Method, Request, Response, StatusCode, body::Frame, body::Incoming, header};
use serde_json::{Value, json};
use tracing::warn;
use uuid::Uuid;

use super::{
    Answer, Edge, caused, json_answer,
    operation::{key_of, permit},
    parameter, problem, text,
};
use crate::media::{Spool, SpoolError};

/// The organization of `organizations/<organization>/attachments/<id>`, if the key may use it. Anything else is no file.
async fn owner(edge: &Edge, name: &str, request: &Request<Incoming>) -> Result<Uuid, Answer> {
    let parts: Vec<&str> = name.split('/').collect();
    let organization = match parts.as_slice() {
        ["organizations", organization, "attachments", rest @ ..] if !rest.is_empty() && parts.iter().all(|p| !matches!(*p, "" | "." | "..")) => {
            Uuid::try_parse(organization).ok()
        }
        _ => None,
    };
    let bad = || caused(StatusCode::BAD_REQUEST, "files lie at media/organizations/<organization>/attachments/<id>", Value::Null);
    let organization = organization.ok_or_else(bad)?;
    permit(edge, &key_of(request)?, organization, "member").await?;
    Ok(organization)
}

/// `POST /storage/v1/object/media/…`: the bytes as the body, or as the file of a form. 409 for a name that is taken.
pub async fn upload(edge: &Edge, name: &str, request: Request<Incoming>) -> Answer {
    take(edge, name, request).await.map_or_else(|answer| answer, |value| json_answer(StatusCode::OK, &value))
}

async fn take(edge: &Edge, name: &str, request: Request<Incoming>) -> Result<Value, Answer> {
    let organization = owner(edge, name, &request).await?;
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/octet-stream").to_owned();
    let refused = |error: SpoolError| match error {
        SpoolError::TooLarge(_) => caused(StatusCode::PAYLOAD_TOO_LARGE, &error.to_string(), Value::Null),
        error => caused(StatusCode::BAD_REQUEST, &error.to_string(), Value::Null),
    };
    let broken = |error: multer::Error| caused(StatusCode::BAD_REQUEST, &error.to_string(), Value::Null);
    let (mut mime_type, mut file_name) = (content_type.clone(), None);
    let stream = request.into_body().into_data_stream();
    let spool = match multer::parse_boundary(&content_type) {
        Err(_) => Spool::take(stream, edge.upload_limit).await.map_err(refused)?,
        Ok(boundary) => {
            let mut form = multer::Multipart::new(stream, boundary);
            loop {
                let missing = || caused(StatusCode::BAD_REQUEST, "the form holds no file", Value::Null);
                let field = form.next_field().await.map_err(broken)?.ok_or_else(missing)?;
                if field.content_type().is_some() || field.file_name().is_some() {
                    mime_type = field.content_type().map_or("application/octet-stream".to_owned(), ToString::to_string);
                    file_name = field.file_name().map(str::to_owned);
                    break Spool::take(field, edge.upload_limit).await.map_err(refused)?;
                }
            }
        }
    };
    let unavailable = |why: String| caused(StatusCode::SERVICE_UNAVAILABLE, &why, Value::Null);
    if !keep(edge, organization, name, &spool, &mime_type, file_name.as_deref()).await.map_err(unavailable)? {
        return Err(caused(StatusCode::CONFLICT, "there is a file of this name already", Value::Null));
    }
    Ok(json!({"Key": format!("media/{name}"), "uri": format!("internal://media/{name}")}))
}

/// Stores a received file under a name. False when there is one already; the error says why to come back later.
pub async fn keep(edge: &Edge, organization: Uuid, name: &str, spool: &Spool, mime_type: &str, file_name: Option<&str>) -> Result<bool, String> {
    let away = |_| "the database is away".to_owned();
    let size = i64::try_from(spool.size).unwrap_or(i64::MAX);
    let row =
        edge.db.one("select storage.reserve($1, $2, $3, $4, $5)", &[&organization, &name, &size, &mime_type, &file_name]).await.map_err(away)?;
    match row.get::<_, &str>(0) {
        "ready" => return Ok(false),
        "wait" => return Err("an older file of this name is being removed: try again".to_owned()),
        _ => {}
    }
    edge.store.put(name, spool.path()).await.map_err(|_| "the store cannot be written".to_owned())?;
    edge.db.query("select storage.stored($1, $2)", &[&organization, &name]).await.map_err(away)?;
    Ok(true)
}

/// `GET /storage/v1/object/media/…` (or `…/authenticated/media/…`) with an API key.
pub async fn read(edge: &Edge, name: &str, request: &Request<Incoming>) -> Answer {
    match owner(edge, name, request).await {
        Ok(_) => send(edge, name, request).await,
        Err(answer) => answer,
    }
}

/// `POST /storage/v1/object/sign/media/…`: a link that is good for an hour.
pub async fn sign(edge: &Edge, name: &str, request: &Request<Incoming>) -> Answer {
    if let Err(answer) = owner(edge, name, request).await {
        return answer;
    }
    match &edge.links {
        Some(links) => json_answer(StatusCode::OK, &json!({"signedURL": links.sign(name)})),
        None => caused(StatusCode::INTERNAL_SERVER_ERROR, "SECRETS_KEY is not set: links cannot be signed", Value::Null),
    }
}

/// Serves a file to whoever has a link that is still good.
pub async fn serve(edge: &Edge, name: &str, request: &Request<Incoming>) -> Answer {
    let token = parameter(request, "token").unwrap_or_default();
    if !edge.links.as_ref().is_some_and(|links| links.opens(name, &token)) {
        return problem(StatusCode::UNAUTHORIZED, "unauthorized", "the link is not, or no longer, good");
    }
    send(edge, name, request).await
}

async fn send(edge: &Edge, name: &str, request: &Request<Incoming>) -> Answer {
    match edge.store.get(name).await {
        Ok(Some((size, stream))) => {
            let mime_type = mime_type(edge, name).await;
            let frames = stream.map_ok(Frame::<Bytes>::data).map_err(std::io::Error::other);
            let mut answer =
                if request.method() == Method::HEAD { text(StatusCode::OK, "") } else { Response::new(StreamBody::new(frames).boxed_unsync()) };
            let headers = answer.headers_mut();
            headers.insert(header::CONTENT_LENGTH, size.into());
            headers.insert(header::CONTENT_TYPE, mime_type);
            // Whatever somebody sent in: it is shown by nobody's browser as if it were ours.
            headers.insert(header::CONTENT_DISPOSITION, header::HeaderValue::from_static("attachment"));
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
            answer
        }
        Ok(None) => problem(StatusCode::NOT_FOUND, "not_found", "there is no such file"),
        Err(error) => {
            warn!(error = %format!("{error:#}"), "the store cannot be read");
            problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the store cannot be read")
        }
    }
}

async fn mime_type(edge: &Edge, name: &str) -> header::HeaderValue {
    let find = "select mime_type from storage.objects where organization_id = split_part($1, '/', 2)::uuid and name = $1";
    let known = edge.db.query(find, &[&name]).await.ok().and_then(|rows| rows.first()?.get::<_, Option<String>>(0));
    known.and_then(|m| m.parse().ok()).unwrap_or(header::HeaderValue::from_static("application/octet-stream"))
}
