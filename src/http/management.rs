//! `/functions/v1/whatsapp-management`: templates, signup and onboarding links as existing clients call them. Everything is
//! a row: of `templates` or of `operations`.

use hyper::{Method, Request, StatusCode, body::Incoming};
use serde_json::{Value, json};

use super::{
    Answer, Edge, caused, json_answer, onboard,
    operation::{authorize, operate},
    templates,
};

/// The routes below it.
pub async fn route(edge: &Edge, method: &Method, rest: &[&str], request: Request<Incoming>) -> Answer {
    let result = match (rest, method) {
        (["templates"], &Method::PUT) => templates::list(edge, request).await,
        (["templates"], &Method::POST) => templates::create(edge, request).await,
        (["templates"], &Method::PATCH) => templates::edit(edge, request).await,
        (["templates"], &Method::DELETE) => templates::delete(edge, request).await,
        (["signup"], &Method::POST) => signup(edge, request).await,
        (["signup"], &Method::DELETE) => deregister(edge, request).await,
        (["onboard"], &Method::GET) => onboard::show(edge, &request).await,
        (["onboard"], &Method::POST) => onboard::take(edge, request).await,
        (["templates" | "signup" | "onboard"], _) => Err(caused(StatusCode::METHOD_NOT_ALLOWED, "not allowed here", Value::Null)),
        _ => Err(caused(StatusCode::NOT_FOUND, "there is nothing here", Value::Null)),
    };
    result.map_or_else(|answer| answer, |value| json_answer(StatusCode::OK, &value))
}

/// What a signup is made of, as far as the body has it.
pub fn signup_input(body: &Value) -> Value {
    let keys = ["code", "waba_id", "phone_number_id", "business_id", "application_id", "flow_type", "callback_url", "verify_token", "pin"];
    let mut input = json!({});
    for key in keys.iter().filter(|k| !body[**k].is_null()) {
        input[*key] = body[*key].clone();
    }
    input
}

async fn signup(edge: &Edge, request: Request<Incoming>) -> Result<Value, Answer> {
    let call = authorize(edge, request, "owner").await?;
    for key in ["code", "waba_id", "phone_number_id"] {
        call.text(key)?;
    }
    operate(edge, call.organization, call.text("phone_number_id")?, "signup", &signup_input(&call.body)).await
}

async fn deregister(edge: &Edge, request: Request<Incoming>) -> Result<Value, Answer> {
    let call = authorize(edge, request, "owner").await?;
    operate(edge, call.organization, call.text("phone_number_id")?, "deregister", &json!({})).await
}
