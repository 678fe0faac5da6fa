//! Instagram: its webhook, and `/functions/v1/instagram-management` (login, deauthorisation, data deletion).

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use hyper::{Method, Request, StatusCode, body::Incoming};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    Answer, Edge, body, caused, json_answer,
    operation::{authorize, operate, refused, unavailable},
    parameter, webhook,
};
use crate::config::{App, Config};

/// What a business allows at its login.
const SCOPES: &str = "instagram_business_basic,instagram_business_manage_messages";

/// The settings of the login.
pub struct Login {
    apps: Vec<App>,
    verify_token: String,
}

impl Login {
    /// From the settings.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        Ok(Self { apps: config.instagram_apps().map_err(anyhow::Error::msg)?, verify_token: config.instagram_verify_token.clone() })
    }
}

/// The handshake.
pub fn verify(edge: &Edge, request: &Request<Incoming>) -> Answer {
    webhook::handshake(&edge.instagram.verify_token, "INSTAGRAM_VERIFY_TOKEN", request)
}

/// A delivery.
pub async fn receive(edge: &Edge, request: Request<Incoming>) -> Answer {
    webhook::take(edge, &edge.instagram.apps, "instagram", request).await
}

/// The routes of the management.
pub async fn manage(edge: &Edge, method: &Method, rest: &[&str], request: Request<Incoming>) -> Answer {
    let result = match (rest, method) {
        (["authorize-url"], &Method::GET) => authorize_url(edge, &request),
        (["signup"], &Method::POST) => signup(edge, request).await,
        (["signup"], &Method::DELETE) => disconnect(edge, request).await,
        (["deauthorize"], &Method::POST) => deauthorize(edge, request).await,
        (["data-deletion"], &Method::POST) => delete_data(edge, request).await,
        (["data-deletion", "status"], &Method::GET) => Ok(json!({"code": parameter(&request, "code"), "status": "done"})),
        _ => Err(caused(StatusCode::NOT_FOUND, "there is nothing here", Value::Null)),
    };
    result.map_or_else(|answer| answer, |value| json_answer(StatusCode::OK, &value))
}

fn authorize_url(edge: &Edge, request: &Request<Incoming>) -> Result<Value, Answer> {
    let wanted = parameter(request, "application_id");
    let app = edge.instagram.apps.iter().find(|a| a.id.is_some() && (wanted.is_none() || a.id == wanted));
    let app = app
        .and_then(|a| a.id.clone())
        .ok_or_else(|| caused(StatusCode::INTERNAL_SERVER_ERROR, "INSTAGRAM_APP_ID is not set, or has no such application_id", Value::Null))?;
    let redirect = parameter(request, "redirect_uri").ok_or_else(|| caused(StatusCode::BAD_REQUEST, "redirect_uri is missing", Value::Null))?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("client_id", &app).append_pair("redirect_uri", &redirect).append_pair("response_type", "code").append_pair("scope", SCOPES);
    if let Some(state) = parameter(request, "state") {
        query.append_pair("state", &state);
    }
    Ok(json!({"url": format!("https://www.instagram.com/oauth/authorize?{}", query.finish())}))
}

async fn signup(edge: &Edge, request: Request<Incoming>) -> Result<Value, Answer> {
    let call = authorize(edge, request, "owner").await?;
    let input = json!({"code": call.text("code")?, "redirect_uri": call.text("redirect_uri")?, "application_id": call.body["application_id"]});
    operate(edge, call.organization, "instagram", "login", &input).await
}

async fn disconnect(edge: &Edge, request: Request<Incoming>) -> Result<Value, Answer> {
    let call = authorize(edge, request, "owner").await?;
    let update = "update public.organizations_addresses set status = 'disconnected', extra = '{\"access_token\": null}'
        where organization_id = $1 and service = 'instagram' and address = $2 returning to_jsonb(organizations_addresses)";
    let rows = edge.db.query(update, &[&call.organization, &call.text("ig_user_id")?]).await.map_err(|e| refused(&e))?;
    rows.first().map(|row| row.get(0)).ok_or_else(|| caused(StatusCode::NOT_FOUND, "the organization has no such account", Value::Null))
}

/// Who a `signed_request` is about: base64url of the HMAC, a dot, base64url of `{user_id}`.
async fn signed(edge: &Edge, request: Request<Incoming>) -> Result<String, Answer> {
    let form = body(request, 64 * 1024).await?;
    let field = form_urlencoded::parse(&form).find(|(k, _)| k == "signed_request").map(|(_, v)| v.into_owned()).unwrap_or_default();
    let refused = || caused(StatusCode::UNAUTHORIZED, "signed_request was made with no app secret known here", Value::Null);
    let (signature, payload) = field.split_once('.').ok_or_else(refused)?;
    let tag = BASE64_URL_SAFE_NO_PAD.decode(signature.trim_end_matches('=')).map_err(|_| refused())?;
    let good = edge.instagram.apps.iter().any(|app| {
        let mac = Hmac::<Sha256>::new_from_slice(app.secret.as_bytes());
        mac.is_ok_and(|mac| mac.chain_update(payload).verify_slice(&tag).is_ok())
    });
    if !good {
        return Err(refused());
    }
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).map_err(|_| refused())?;
    let payload: Value = serde_json::from_slice(&payload).map_err(|_| refused())?;
    match &payload["user_id"] {
        Value::String(id) => Ok(id.clone()),
        Value::Number(id) => Ok(id.to_string()),
        _ => Err(refused()),
    }
}

async fn deauthorize(edge: &Edge, request: Request<Incoming>) -> Result<Value, Answer> {
    let user = signed(edge, request).await?;
    let update = "update public.organizations_addresses set status = 'disconnected', extra = '{\"access_token\": null, \"needs_reauth\": true}'
        where service = 'instagram' and (address = $1 or extra ->> 'app_user_id' = $1)";
    edge.db.query(update, &[&user]).await.map_err(|_| unavailable())?;
    Ok(json!({}))
}

/// The account's own data goes: its token and its profile. What people wrote to the business stays the business's.
async fn delete_data(edge: &Edge, request: Request<Incoming>) -> Result<Value, Answer> {
    let user = signed(edge, request).await?;
    let update = "update public.organizations_addresses set status = 'disconnected',
          extra = '{\"access_token\": null, \"username\": null, \"name\": null, \"profile_picture_url\": null, \"needs_reauth\": true}'
        where service = 'instagram' and (address = $1 or extra ->> 'app_user_id' = $1)";
    edge.db.query(update, &[&user]).await.map_err(|_| unavailable())?;
    let code = uuid::Uuid::new_v4().simple().to_string();
    Ok(json!({"url": format!("{}/functions/v1/instagram-management/data-deletion/status?code={code}", edge.public), "confirmation_code": code}))
}
