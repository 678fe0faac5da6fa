//! Stored files by signed links, for those that fetch what they are to show: Instagram and connectors.

use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::{Method, Request, Response, StatusCode, body::Frame, body::Incoming, header};
use tracing::warn;

use super::{Answer, Edge, parameter, problem, text};

/// Serves a file to whoever has a link that is still good.
pub async fn serve(edge: &Edge, name: &str, request: &Request<Incoming>) -> Answer {
    let token = parameter(request, "token").unwrap_or_default();
    if !edge.links.as_ref().is_some_and(|links| links.opens(name, &token)) {
        return problem(StatusCode::UNAUTHORIZED, "unauthorized", "the link is not, or no longer, good");
    }
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
