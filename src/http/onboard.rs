//! Onboarding links: somebody outside connects a number to the organization that made the link. A link is good for once.

use hyper::{Request, StatusCode, body::Incoming};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Answer, Edge, caused,
    management::signup_input,
    operation::{json_body, operate, unavailable},
    parameter,
};

/// `GET ?token=`: whether the link is good, and whose it is.
pub async fn show(edge: &Edge, request: &Request<Incoming>) -> Result<Value, Answer> {
    let token = parameter(request, "token").ok_or_else(|| caused(StatusCode::BAD_REQUEST, "token is missing", Value::Null))?;
    let Ok(token) = Uuid::try_parse(&token) else { return Ok(json!({"valid": false})) };
    let find = "select o.name from public.onboarding_tokens t join public.organizations o on o.id = t.organization_id
        where t.id = $1 and t.status = 'active' and t.expires_at > now()";
    let rows = edge.db.query(find, &[&token]).await.map_err(|_| unavailable())?;
    Ok(rows.first().map_or(json!({"valid": false}), |row| json!({"valid": true, "organization_name": row.get::<_, String>(0)})))
}

/// `POST`: the signup, on behalf of the organization of the link. Taken before it begins, so that two at once are one;
/// given back when it fails.
pub async fn take(edge: &Edge, request: Request<Incoming>) -> Result<Value, Answer> {
    let body = json_body(request).await?;
    // One text for every reason: a stranger learns nothing from it.
    let refused = || caused(StatusCode::BAD_REQUEST, "the onboarding link is not valid", Value::Null);
    let token = body["token"].as_str().and_then(|t| Uuid::try_parse(t).ok()).ok_or_else(refused)?;
    for key in ["code", "phone_number_id", "waba_id"] {
        if body[key].as_str().is_none_or(str::is_empty) {
            return Err(caused(StatusCode::BAD_REQUEST, &format!("{key} is missing"), Value::Null));
        }
    }
    let claim = "update public.onboarding_tokens set status = 'used', used_at = now()
        where id = $1 and status = 'active' and expires_at > now() and service = 'whatsapp'
        returning organization_id, callback_url, verify_token";
    let rows = edge.db.query(claim, &[&token]).await.map_err(|_| unavailable())?;
    let row = rows.first().ok_or_else(refused)?;
    let organization: Uuid = row.get(0);
    let mut input = signup_input(&body);
    // Where webhooks go is for whoever made the link to say, and not for whoever has it.
    input["callback_url"] = json!(row.get::<_, Option<String>>(1));
    input["verify_token"] = json!(row.get::<_, Option<String>>(2));
    let result = operate(edge, organization, body["phone_number_id"].as_str().unwrap_or_default(), "signup", &input).await;
    // Where the outcome is not known, the signup may still come about.
    if result.as_ref().is_err_and(|answer| answer.status().is_client_error()) {
        let back = "update public.onboarding_tokens set status = 'active', used_at = null where id = $1 and status = 'used'";
        edge.db.query(back, &[&token]).await.map_err(|_| unavailable())?;
    }
    result
}
