//! `/functions/v1/whatsapp-web-management/sessions`: pairing a phone with the bridge. The bridge does it; here it is
//! decided who may, and for which address.

use hyper::{Method, Request, StatusCode, body::Incoming, header};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Answer, Edge, caused, json_answer,
    operation::{authorize, json_body, key_of, permit, refused, unavailable},
    parameter, same,
};
use crate::connector::Connector;

const SERVICE: &str = "whatsapp-web";

/// The routes below it.
pub async fn route(edge: &Edge, method: &Method, rest: &[&str], request: Request<Incoming>) -> Answer {
    let Some(bridge) = edge.connectors.of(SERVICE).cloned() else {
        return caused(StatusCode::SERVICE_UNAVAILABLE, "WHATSAPP_WEB_URL is not set", Value::Null);
    };
    let result = match (rest, method) {
        (["sessions"], &Method::POST) => begin(edge, &bridge, request).await,
        (["sessions", "events"], &Method::POST) => event(edge, &bridge, request).await,
        (["sessions", "pending", id], &Method::GET) => pending(edge, &bridge, id, request).await,
        (["sessions", address], &Method::GET) => state(edge, &bridge, address, request).await,
        (["sessions", address], &Method::DELETE) => end(edge, &bridge, address, request).await,
        _ => Err(caused(StatusCode::NOT_FOUND, "there is nothing here", Value::Null)),
    };
    result.map_or_else(|answer| answer, |value| json_answer(StatusCode::OK, &value))
}

async fn ask(bridge: &Connector, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Answer> {
    let answer = bridge.call(method, path, body).await;
    answer.map(|(_, body)| body).map_err(|failure| caused(StatusCode::BAD_GATEWAY, "the bridge refused", json!(failure.text)))
}

/// A new session: the bridge answers with a QR code, or with a pairing code for a phone number.
async fn begin(edge: &Edge, bridge: &Connector, request: Request<Incoming>) -> Result<Value, Answer> {
    let call = authorize(edge, request, "owner").await?;
    let mut body = json!({"organization_id": call.organization});
    if let Some(phone) = call.body["phone_number"].as_str() {
        body["phone_number"] = json!(phone);
    }
    let answer = ask(bridge, Method::POST, "sessions", Some(&body)).await?;
    let id = answer["id"].as_str().or(answer["session_id"].as_str()).unwrap_or_default();
    // Whose session it is, so that nobody else can look at its code.
    let note = "insert into public.operations (organization_id, organization_address, kind, input, state, finished_at) values ($1, null, 'pairing', $2, 'done', now())";
    edge.db.query(note, &[&call.organization, &json!({"session": id})]).await.map_err(|e| refused(&e))?;
    Ok(answer)
}

/// Which organization the caller asks for, if his key may.
async fn asking(edge: &Edge, request: &Request<Incoming>, least: &str) -> Result<Uuid, Answer> {
    let organization = parameter(request, "organization_id").and_then(|o| Uuid::try_parse(&o).ok());
    let organization = organization.ok_or_else(|| caused(StatusCode::BAD_REQUEST, "organization_id is missing", Value::Null))?;
    permit(edge, &key_of(request)?, organization, least).await?;
    Ok(organization)
}

fn segment(text: &str) -> Result<&str, Answer> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_@.:".contains(&b)) && !text.contains("..");
    if plain { Ok(text) } else { Err(caused(StatusCode::BAD_REQUEST, "this is no id", Value::Null)) }
}

async fn pending(edge: &Edge, bridge: &Connector, id: &str, request: Request<Incoming>) -> Result<Value, Answer> {
    let organization = asking(edge, &request, "owner").await?;
    let find = "select from public.operations where organization_id = $1 and kind = 'pairing' and input ->> 'session' = $2";
    if edge.db.query(find, &[&organization, &id]).await.map_err(|_| unavailable())?.is_empty() {
        return Err(caused(StatusCode::NOT_FOUND, "the organization has no such session", Value::Null));
    }
    ask(bridge, Method::GET, &format!("sessions/pending/{}", segment(id)?), None).await
}

async fn own(edge: &Edge, organization: Uuid, address: &str) -> Result<(), Answer> {
    // Who had it before has a row as well: the session is whose traffic it is.
    let find = "select from public.organizations_addresses a join bus.numbers n on n.service = a.service and n.address = a.address and n.organization_id = a.organization_id
        where a.organization_id = $1 and a.service = 'whatsapp-web' and a.address = $2";
    match edge.db.query(find, &[&organization, &address]).await {
        Ok(rows) if !rows.is_empty() => Ok(()),
        Ok(_) => Err(caused(StatusCode::NOT_FOUND, "the organization has no such address", Value::Null)),
        Err(_) => Err(unavailable()),
    }
}

async fn state(edge: &Edge, bridge: &Connector, address: &str, request: Request<Incoming>) -> Result<Value, Answer> {
    let organization = asking(edge, &request, "member").await?;
    own(edge, organization, address).await?;
    ask(bridge, Method::GET, &format!("sessions/{}", segment(address)?), None).await
}

async fn end(edge: &Edge, bridge: &Connector, address: &str, request: Request<Incoming>) -> Result<Value, Answer> {
    let organization = asking(edge, &request, "owner").await?;
    own(edge, organization, address).await?;
    ask(bridge, Method::DELETE, &format!("sessions/{}", segment(address)?), None).await?;
    let update = "update public.organizations_addresses set status = 'disconnected' where organization_id = $1 and address = $2";
    edge.db.query(update, &[&organization, &address]).await.map_err(|e| refused(&e))?;
    Ok(json!({}))
}

/// What the bridge reports: a phone was paired, or has logged out.
async fn event(edge: &Edge, bridge: &Connector, request: Request<Incoming>) -> Result<Value, Answer> {
    let token =
        request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
    if !same(token, bridge.token()) {
        return Err(caused(StatusCode::UNAUTHORIZED, "this is not the bridge's token", Value::Null));
    }
    let body = json_body(request).await?;
    let organization = body["organization_id"].as_str().and_then(|o| Uuid::try_parse(o).ok());
    let (Some(organization), Some(address)) = (organization, body["address"].as_str().filter(|a| !a.is_empty())) else {
        return Err(caused(StatusCode::BAD_REQUEST, "organization_id and address are required", Value::Null));
    };
    let extra = if body["extra"].is_object() { body["extra"].clone() } else { json!({}) };
    let sql = match body["event"].as_str() {
        Some("connected") => {
            "insert into public.organizations_addresses as a (organization_id, service, address, extra, status)
             select $1, 'whatsapp-web', $2, $3, 'connected'
             -- Only for an organization that asked for a session: the bridge's token alone opens nobody's door.
             where exists (select from public.operations o where o.organization_id = $1 and o.kind = 'pairing')
                or exists (select from public.organizations_addresses x where x.organization_id = $1 and x.service = 'whatsapp-web' and x.address = $2)
             on conflict (organization_id, address) do update set status = 'connected', extra = excluded.extra where a.service = 'whatsapp-web'
             returning 1"
        }
        Some("logged_out") => {
            "with gone as (
               update public.organizations_addresses set status = 'disconnected', extra = $3
               where organization_id = $1 and service = 'whatsapp-web' and address = $2 returning organization_id, address)
             insert into public.logs (organization_id, organization_address, level, category, service, message)
             select organization_id, address, 'warning', 'session', 'whatsapp-web', 'the phone has logged out: pair it again' from gone returning 1"
        }
        _ => return Err(caused(StatusCode::BAD_REQUEST, "event is neither connected nor logged_out", Value::Null)),
    };
    let rows = edge.db.query(sql, &[&organization, &address, &extra]).await.map_err(|e| refused(&e))?;
    if rows.is_empty() {
        return Err(caused(StatusCode::NOT_FOUND, "nobody asked for this address", Value::Null));
    }
    if body["event"] == "connected" {
        let home = "select public.take_home($1, 'whatsapp-web', $2)";
        edge.db.query(home, &[&organization, &address]).await.map_err(|e| refused(&e))?;
    }
    Ok(json!({}))
}
