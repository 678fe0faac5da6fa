//! Meta's webhook. Signature over the raw bytes, body into the journal, 200 once that is committed. What it means is
//! found out later: nothing that was acknowledged can be lost.

use hmac::{Hmac, KeyInit, Mac};
use hyper::{Request, StatusCode, body::Incoming};
use metrics::counter;
use sha2::Sha256;
use tracing::warn;

use super::{Answer, Edge, body, parameter, problem, same, text};
use crate::config::App;

/// Meta's bodies have up to 3 MB.
const LIMIT: usize = 3 * 1024 * 1024;

/// The handshake: `hub.challenge` back to whoever knows the verify token.
pub fn verify(edge: &Edge, request: &Request<Incoming>) -> Answer {
    handshake(&edge.verify_token, "WHATSAPP_VERIFY_TOKEN", request)
}

/// The same for any of Meta's webhooks; `setting` is the variable that holds the token.
pub fn handshake(verify_token: &str, setting: &str, request: &Request<Incoming>) -> Answer {
    let subscribe = parameter(request, "hub.mode").as_deref() == Some("subscribe");
    let token = parameter(request, "hub.verify_token").unwrap_or_default();
    if subscribe && !verify_token.is_empty() && same(&token, verify_token) {
        text(StatusCode::OK, parameter(request, "hub.challenge").unwrap_or_default())
    } else {
        counter!("tidings_webhooks_total", "result" => "bad_verify_token").increment(1);
        problem(StatusCode::FORBIDDEN, "forbidden", &format!("hub.verify_token is not {setting}"))
    }
}

/// A delivery: 401 for a signature that no app's secret made, 503 when it cannot be stored (Meta comes back then).
pub async fn receive(edge: &Edge, request: Request<Incoming>) -> Answer {
    take(edge, &edge.apps, "whatsapp", request).await
}

/// The same for any of Meta's webhooks, signed by one of `apps`.
pub async fn take(edge: &Edge, apps: &[App], source: &'static str, request: Request<Incoming>) -> Answer {
    let app_id = parameter(&request, "app_id");
    let signature = request.headers().get("x-hub-signature-256").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let body = match body(request, LIMIT).await {
        Ok(body) => body,
        Err(answer) => {
            counter!("tidings_webhooks_total", "result" => "unreadable").increment(1);
            return answer;
        }
    };
    let Some(app) = signer(apps, app_id.as_deref(), signature.as_deref(), &body) else {
        counter!("tidings_webhooks_total", "result" => "bad_signature").increment(1);
        warn!(app_id, bytes = body.len(), signed = signature.is_some(), "webhook refused: no app's secret made its signature");
        return problem(StatusCode::UNAUTHORIZED, "unauthorized", "x-hub-signature-256 was made with no app secret known here");
    };
    let result = edge.journal.store(source, app.id.clone(), body).await;
    counter!("tidings_webhooks_total", "result" => if result.is_ok() { "stored" } else { "unavailable" }).increment(1);
    match result {
        Ok(()) => text(StatusCode::OK, ""),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &error.to_string()),
    }
}

/// The app whose secret signed the body: the one the URL names, or any.
fn signer<'a>(apps: &'a [App], app_id: Option<&str>, signature: Option<&str>, body: &[u8]) -> Option<&'a App> {
    let signature = unhex(signature?.strip_prefix("sha256=")?)?;
    let candidates = apps.iter().filter(|app| app_id.is_none() || app.id.as_deref() == app_id);
    candidates.into_iter().find(|app| {
        let mac = Hmac::<Sha256>::new_from_slice(app.secret.as_bytes());
        mac.is_ok_and(|mac| mac.chain_update(body).verify_slice(&signature).is_ok())
    })
}

pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(id: &str, secret: &str) -> App {
        App { id: Some(id.to_owned()), secret: secret.to_owned() }
    }

    #[test]
    fn every_secret_unless_one_is_named() {
        let apps = [app("1", "a"), app("2", "Jefe")];
        // RFC 4231, test case 2.
        let body = b"what do ya want for nothing?";
        let signature = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let by = |id, signature| signer(&apps, id, signature, body).and_then(|a| a.id.clone());
        assert_eq!(by(None, Some(signature)), Some("2".into()));
        assert_eq!(by(Some("2"), Some(signature)), Some("2".into()));
        assert_eq!(by(Some("1"), Some(signature)), None);
        assert_eq!(by(Some("3"), Some(signature)), None);
        assert_eq!(by(None, None), None);
        assert_eq!(by(None, Some("sha256=zz")), None);
        assert_eq!(by(None, Some("sha256=")), None);
    }
}
