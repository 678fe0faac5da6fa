//! Templates as existing clients list, create, edit and delete them.

use hyper::{Request, StatusCode, body::Incoming};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Answer, Edge, caused,
    operation::{Call, authorize, operate, outcome, refused},
};

/// The row of a template, as the Graph API has it.
const GRAPH: &str = "jsonb_strip_nulls(jsonb_build_object('id', t.external_id, 'name', t.name, 'status', t.status, 'category', t.category,
    'language', t.language, 'components', t.components, 'parameter_format', t.parameter_format, 'sub_category', t.extra ->> 'sub_category',
    'quality_score', t.extra -> 'quality_score', 'rejected_reason', t.rejected_reason))";

fn template<'a>(call: &'a Call, key: &str) -> Result<&'a str, Answer> {
    let text = call.body["template"][key].as_str().filter(|s| !s.is_empty());
    text.ok_or_else(|| caused(StatusCode::BAD_REQUEST, &format!("template.{key} is missing"), Value::Null))
}

/// The number must be the organization's.
async fn own(edge: &Edge, call: &Call) -> Result<String, Answer> {
    let address = call.text("organization_address")?;
    let find = "select from public.organizations_addresses where organization_id = $1 and address = $2 and service = 'whatsapp'";
    match edge.db.query(find, &[&call.organization, &address]).await {
        Ok(rows) if rows.is_empty() => Err(caused(StatusCode::FORBIDDEN, "the organization has no such number", Value::Null)),
        Ok(_) => Ok(address.to_owned()),
        Err(error) => Err(refused(&error)),
    }
}

/// `PUT`: all of them, or the one with `template.id`.
pub async fn list(edge: &Edge, request: Request<Incoming>) -> Result<Value, Answer> {
    let call = authorize(edge, request, "member").await?;
    let address = own(edge, &call).await?;
    operate(edge, call.organization, &address, "templates", &json!({})).await?;
    let one = call.body["template"]["id"].as_str();
    let find = format!(
        "select {GRAPH} from public.templates t join public.organizations_addresses a on a.organization_id = t.organization_id and a.address = $2
         where t.organization_id = $1 and t.waba_id = a.extra ->> 'waba_id' and t.external_id is not null and ($3::text is null or t.external_id = $3)
         order by t.name, t.language"
    );
    let rows = edge.db.query(&find, &[&call.organization, &address, &one]).await.map_err(|e| refused(&e))?;
    let mut found: Vec<Value> = rows.iter().map(|row| row.get(0)).collect();
    match one {
        Some(_) => found.pop().ok_or_else(|| caused(StatusCode::NOT_FOUND, "there is no such template", Value::Null)),
        None => Ok(json!({"data": found, "paging": {}})),
    }
}

/// The newest operation of a kind that is about a row.
async fn about(edge: &Edge, organization: Uuid, template: Uuid) -> Result<Value, Answer> {
    let find = "select id from public.operations where organization_id = $1 and input ->> 'template_id' = $2::uuid::text order by id desc limit 1";
    let row = edge.db.one(find, &[&organization, &template]).await.map_err(|e| refused(&e))?;
    outcome(edge, organization, row.get(0)).await
}

/// `POST`: a row, and what Meta said of it.
pub async fn create(edge: &Edge, request: Request<Incoming>) -> Result<Value, Answer> {
    let call = authorize(edge, request, "admin").await?;
    let address = own(edge, &call).await?;
    let (name, category, language) = (template(&call, "name")?, template(&call, "category")?, template(&call, "language")?);
    let insert = "insert into public.templates as t (organization_id, organization_address, name, category, language, components, parameter_format)
        values ($1, $2, $3, upper($4), $5, $6, $7)
        on conflict (organization_id, waba_id, name, language) do update
          set components = excluded.components, category = excluded.category, parameter_format = excluded.parameter_format, status = 'submitting'
          where t.external_id is null
        returning t.id";
    let (components, format) = (&call.body["template"]["components"], call.body["template"]["parameter_format"].as_str());
    let rows =
        edge.db.query(insert, &[&call.organization, &address, &name, &category, &language, components, &format]).await.map_err(|e| refused(&e))?;
    let exists = || caused(StatusCode::BAD_REQUEST, &format!("there is a template {name} in {language} already"), Value::Null);
    let id: Uuid = rows.first().ok_or_else(exists)?.get(0);
    let said = about(edge, call.organization, id).await?;
    Ok(json!({"id": said["id"], "status": said["status"], "category": said["category"]}))
}

/// `PATCH`: category and components.
pub async fn edit(edge: &Edge, request: Request<Incoming>) -> Result<Value, Answer> {
    let call = authorize(edge, request, "admin").await?;
    let address = own(edge, &call).await?;
    let external_id = template(&call, "id")?;
    let find = "select 1 from public.templates where organization_id = $1 and external_id = $2";
    if edge.db.query(find, &[&call.organization, &external_id]).await.map_err(|e| refused(&e))?.is_empty() {
        // Made elsewhere, or before our time.
        operate(edge, call.organization, &address, "templates", &json!({})).await?;
    }
    let (components, category) = (&call.body["template"]["components"], call.body["template"]["category"].as_str());
    let update = "update public.templates set components = coalesce(nullif($3::jsonb, 'null'::jsonb), components), category = coalesce(upper($4), category), status = 'editing'
        where organization_id = $1 and external_id = $2 returning id";
    let rows = edge.db.query(update, &[&call.organization, &external_id, components, &category]).await.map_err(|e| refused(&e))?;
    let id: Uuid = rows.first().ok_or_else(|| caused(StatusCode::NOT_FOUND, "there is no such template", Value::Null))?.get(0);
    about(edge, call.organization, id).await?;
    Ok(json!({"success": true}))
}

/// `DELETE`: all languages of a name.
pub async fn delete(edge: &Edge, request: Request<Incoming>) -> Result<Value, Answer> {
    let call = authorize(edge, request, "admin").await?;
    let address = own(edge, &call).await?;
    let said = operate(edge, call.organization, &address, "template_delete", &json!({"name": template(&call, "name")?})).await?;
    operate(edge, call.organization, &address, "templates", &json!({})).await?;
    Ok(said)
}
