//! Whether a number works: token, number, account, webhook and templates, each in words.

use serde_json::{Value, json};

use super::{Job, Manage, Outcome};
use crate::whatsapp::{Failure, Verdict};

/// What is asked of a number.
pub const FIELDS: &str = "display_phone_number,verified_name,quality_rating,throughput,name_status,status,code_verification_status,platform_type,is_on_biz_app,health_status,messaging_limit_tier,whatsapp_business_manager_messaging_limit";

impl Manage {
    pub(super) async fn check(&self, job: &Job) -> Outcome {
        let (number, token) = (job.address()?, self.token(job));
        let mut checks = Vec::new();
        let mut say = |name: &str, problem: Option<String>, good: &str| {
            let ok = problem.is_none();
            checks.push(json!({"name": name, "ok": ok, "message": problem.unwrap_or_else(|| good.to_owned())}));
            ok
        };
        let token = match token {
            Ok(token) => token,
            Err(failure) => {
                say("token", Some(failure.text), "");
                return Ok(json!({"ok": false, "checks": checks}));
            }
        };
        let seen = passing(self.graph.get(number, Some(&token), &[("fields", FIELDS)]).await)?;
        let refused = |f: &Failure| f.error["code"] == 190 || matches!(f.verdict, Verdict::Pause) && f.error["code"] != 100;
        let problem = seen.as_ref().err().filter(|f| refused(f)).map(|f| format!("the access token does not work: {}", f.text));
        if say("token", problem, "the access token works") {
            let problem = match &seen {
                Err(failure) => Some(format!("the number cannot be reached with this token: {}", failure.text)),
                Ok(seen) => number_problem(seen),
            };
            say("number", problem, "the number is connected to the Cloud API");
            match job.waba() {
                Err(failure) => _ = say("account", Some(failure.text), ""),
                Ok(waba) => {
                    let phones =
                        passing(self.graph.get(&format!("{waba}/phone_numbers"), Some(&token), &[("fields", "id"), ("limit", "500")]).await)?;
                    let problem = match phones {
                        Ok(phones) if holds(&phones, number) => None,
                        Ok(_) => Some(format!("the number does not belong to the business account {waba}")),
                        Err(failure) => Some(format!("the business account {waba} cannot be read: {}", failure.text)),
                    };
                    say("account", problem, "the number belongs to the business account");
                    let apps = passing(self.graph.get(&format!("{waba}/subscribed_apps"), Some(&token), &[]).await)?;
                    say("webhook", self.webhook_problem(apps), "the account's webhooks come here");
                    let templates = passing(self.graph.get(&format!("{waba}/message_templates"), Some(&token), &[("limit", "1")]).await)?;
                    let problem = templates.err().map(|f| format!("templates cannot be read: {}", f.text));
                    say("templates", problem, "templates can be read");
                }
            }
        }
        let ok = checks.iter().all(|c| c["ok"] == true);
        Ok(json!({"ok": ok, "checks": checks, "number": seen.unwrap_or_default()}))
    }

    fn webhook_problem(&self, apps: Result<Value, Failure>) -> Option<String> {
        let apps = match apps {
            Ok(apps) => apps,
            Err(failure) => return Some(format!("the webhook subscription cannot be read: {}", failure.text)),
        };
        let subscribed: Vec<&str> = apps["data"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|a| a["whatsapp_business_api_data"]["id"].as_str().or(a["id"].as_str()))
            .collect();
        let ours: Vec<&str> = self.apps.iter().filter_map(|a| a.id.as_deref()).collect();
        if apps["data"].as_array().is_none_or(Vec::is_empty) {
            Some("no app is subscribed to the account: nothing comes in (POST /{waba}/subscribed_apps)".to_owned())
        } else if !ours.is_empty() && !subscribed.is_empty() && !subscribed.iter().any(|s| ours.contains(s)) {
            Some(format!("another app is subscribed to the account ({}), not one of META_APP_ID", subscribed.join(", ")))
        } else {
            None
        }
    }
}

/// What can pass is tried again as a whole; a refusal is a finding.
fn passing(answer: Result<Value, Failure>) -> Result<Result<Value, Failure>, Failure> {
    match answer {
        Err(failure) if matches!(failure.verdict, Verdict::Retry(_) | Verdict::Wait(_) | Verdict::Unknown(_)) => Err(failure),
        other => Ok(other),
    }
}

pub fn holds(phones: &Value, number: &str) -> bool {
    phones["data"].as_array().into_iter().flatten().any(|p| p["id"] == number)
}

fn number_problem(seen: &Value) -> Option<String> {
    let text = |key: &str| seen[key].as_str().unwrap_or_default();
    if !matches!(text("status"), "" | "CONNECTED") {
        return Some(format!("Meta says the number is {}", text("status").to_lowercase()));
    }
    if text("health_status") == "BLOCKED" || seen["health_status"]["can_send_message"] == "BLOCKED" {
        let errors = seen["health_status"]["entities"].as_array().into_iter().flatten().filter_map(|e| e["errors"][0]["error_description"].as_str());
        return Some(format!("Meta blocks sending: {}", errors.collect::<Vec<_>>().join("; ")));
    }
    if !matches!(text("platform_type"), "" | "CLOUD_API") {
        return Some(format!("the number is on {}, not on the Cloud API: register it", text("platform_type").to_lowercase()));
    }
    None
}
