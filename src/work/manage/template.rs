//! Templates: listed, submitted, edited, deleted.

use serde_json::{Value, json};

use super::{Job, Manage, Outcome};
use crate::whatsapp::{Failure, check_id};

/// What is asked of templates.
const FIELDS: &str =
    "id,name,status,category,sub_category,language,components,quality_score,parameter_format,rejected_reason,message_send_ttl_seconds";
/// Templates a page, and pages at most: more than any account may have.
const PAGE: &str = "100";
const PAGES: usize = 200;

impl Manage {
    /// All templates of the account, page by page.
    pub(super) async fn list_templates(&self, job: &Job) -> Outcome {
        let (number, waba, token) = (job.address()?, job.waba()?, self.token(job)?);
        let (mut templates, mut complete) = (Vec::new(), false);
        let mut after = String::new();
        for _ in 0..PAGES {
            let mut query = vec![("fields", FIELDS), ("limit", PAGE)];
            if !after.is_empty() {
                query.push(("after", &after));
            }
            let page = self.graph.get(&format!("{waba}/message_templates"), Some(&token), &query).await?;
            let listed = page["data"].as_array().ok_or_else(|| Failure::unanswered("the answer holds no list".to_owned()))?;
            templates.extend(listed.iter().cloned());
            let next = page["paging"]["cursors"]["after"].as_str().filter(|_| page["paging"]["next"].is_string());
            match next {
                Some(next) => after = next.to_owned(),
                None => {
                    complete = true;
                    break;
                }
            }
        }
        let save = "select bus.save_templates($1, $2, $3, $4, $5)";
        let all = json!(templates);
        self.run_sql(save, &[&job.organization_id, &number, &waba, &crate::model::without_nul(all), &complete.then_some(job.created_at)]).await?;
        Ok(json!({"count": templates.len()}))
    }

    pub(super) async fn submit_template(&self, job: &Job) -> Outcome {
        let (waba, token, row) = (job.waba()?, self.token(job)?, template(job)?);
        let components = self.with_examples(job, &token, &row["components"]).await?;
        let mut body = json!({"name": row["name"], "language": row["language"], "category": row["category"], "components": components, "allow_category_change": true});
        if row["parameter_format"].is_string() {
            body["parameter_format"] = row["parameter_format"].clone();
        }
        for key in ["message_send_ttl_seconds", "library_template_name"] {
            if !row["extra"][key].is_null() {
                body[key] = row["extra"][key].clone();
            }
        }
        let path = format!("{waba}/message_templates");
        let mut answer = match self.graph.post(&path, &token, &body).await {
            Ok(answer) => answer,
            // Perhaps it is ours: an earlier attempt whose answer was lost.
            Err(failure) if failure.error["code"] == 100 || failure.error["code"] == 2_388_024 => match self.find(&path, &token, row).await? {
                Some(found) => found,
                None => return Err(failure),
            },
            Err(failure) => return Err(failure),
        };
        answer["components"] = components;
        answer["sent"] = row["components"].clone();
        Ok(answer)
    }

    /// A template of the same name, language and content that Meta has already.
    async fn find(&self, path: &str, token: &str, row: &Value) -> Result<Option<Value>, Failure> {
        let name = row["name"].as_str().unwrap_or_default();
        let page = self.graph.get(path, Some(token), &[("fields", FIELDS), ("name", name), ("limit", PAGE)]).await?;
        let same =
            |t: &&Value| t["name"] == row["name"] && t["language"] == row["language"] && body_of(&t["components"]) == body_of(&row["components"]);
        Ok(page["data"].as_array().into_iter().flatten().find(same).cloned())
    }

    pub(super) async fn edit_template(&self, job: &Job) -> Outcome {
        let (token, row) = (self.token(job)?, template(job)?);
        let id = row["external_id"].as_str().ok_or_else(|| Failure::refused("input", "the template has not been submitted yet"))?;
        check_id(id)?;
        let components = self.with_examples(job, &token, &row["components"]).await?;
        let mut body = json!({"components": components});
        // The category of an approved template is fixed.
        if row["extra"]["meta_status"] != "APPROVED" {
            body["category"] = row["category"].clone();
        }
        self.graph.post(id, &token, &body).await?;
        Ok(json!({"components": components, "sent": row["components"]}))
    }

    pub(super) async fn delete_template(&self, job: &Job) -> Outcome {
        let (waba, token) = (job.waba()?, self.token(job)?);
        let mut query = vec![("name", job.require("name")?)];
        // Without an id all languages go.
        if let Some(id) = job.text("external_id") {
            query.push(("hsm_id", id));
        }
        match self.graph.delete(&format!("{waba}/message_templates"), &token, &query, None).await {
            // Gone already.
            Err(failure)
                if failure.error["code"] == 100 && failure.answer.as_ref().is_some_and(|(_, b)| b["error"]["error_subcode"] == 2_593_002) =>
            {
                Ok(json!({"success": true}))
            }
            other => other,
        }
    }

    /// The components with handles for media headers whose example is a stored file: `example.header_uri`.
    async fn with_examples(&self, job: &Job, token: &str, components: &Value) -> Result<Value, Failure> {
        let mut components = components.clone();
        for component in components.as_array_mut().into_iter().flatten() {
            self.with_example(job, token, component).await?;
            for card in component.get_mut("cards").and_then(Value::as_array_mut).into_iter().flatten() {
                for inner in card.get_mut("components").and_then(Value::as_array_mut).into_iter().flatten() {
                    self.with_example(job, token, inner).await?;
                }
            }
        }
        Ok(components)
    }

    async fn with_example(&self, job: &Job, token: &str, component: &mut Value) -> Result<(), Failure> {
        let Some(uri) = component["example"]["header_uri"].as_str().map(str::to_owned) else { return Ok(()) };
        let own = format!("internal://media/organizations/{}/", job.organization_id);
        let name = uri.strip_prefix("internal://media/").filter(|_| uri.starts_with(&own));
        let name = name.ok_or_else(|| Failure::refused("input", "example.header_uri is no stored file of the organization"))?;
        let app = self.apps.iter().find_map(|a| a.id.clone()).ok_or_else(|| Failure::refused("settings", "META_APP_ID is not set"))?;
        let find = "select coalesce(mime_type, 'application/octet-stream'), coalesce(file_name, 'example') from storage.objects where organization_id = $1 and name = $2";
        let rows = self.run_sql(find, &[&job.organization_id, &name]).await?;
        let row = rows.first().ok_or_else(|| Failure::refused("input", "the file of example.header_uri is not stored"))?;
        let (mime_type, file_name): (String, String) = (row.get(0), row.get(1));
        let stored = self.store.get(name).await.map_err(|e| Failure::unreachable(format!("the store cannot be read: {e:#}")))?;
        let (size, bytes) = stored.ok_or_else(|| Failure::refused("input", "the file of example.header_uri is not in the store"))?;
        let handle = self.graph.upload_example(&app, token, &mime_type, &file_name, size, bytes).await?;
        component["example"] = json!({"header_handle": [handle]});
        Ok(())
    }
}

fn template(job: &Job) -> Result<&Value, Failure> {
    if job.template.is_object() { Ok(&job.template) } else { Err(Failure::refused("input", "the template's row is gone")) }
}

fn body_of(components: &Value) -> Option<&Value> {
    components.as_array()?.iter().find(|c| c["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case("body"))).map(|c| &c["text"])
}
