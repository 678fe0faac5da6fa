//! `POST /functions/v1/agent-callback/{organization}/{conversation}`: another agent (A2A) says that its task has come
//! further. It is a bell: what it says of the task is not believed, but asked for.

use hyper::{Request, StatusCode, body::Incoming, header};
use uuid::Uuid;

use super::{Answer, Edge, problem, text};

/// Lets the conversation's run ask the other agent now. 401 without the token that the agent was given.
pub(super) async fn receive(edge: &Edge, organization: &str, conversation: &str, request: &Request<Incoming>) -> Answer {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
    let bearer = header(header::AUTHORIZATION.as_str()).and_then(|v| v.strip_prefix("Bearer "));
    let token = header("x-a2a-notification-token").or(bearer).unwrap_or_default();
    let admitted = match (Uuid::parse_str(organization), Uuid::parse_str(conversation), &edge.links) {
        (Ok(organization), Ok(conversation), Some(links)) if links.admits(organization, conversation, token) => Some((organization, conversation)),
        _ => None,
    };
    let Some((organization, conversation)) = admitted else {
        return problem(StatusCode::UNAUTHORIZED, "invalid_token", "X-A2A-Notification-Token is not the one that was given with the task");
    };
    match edge.db.query("select bus.resume_remote($1, $2)", &[&organization, &conversation]).await {
        Ok(_) => text(StatusCode::ACCEPTED, ""),
        Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the database is away; try again"),
    }
}
