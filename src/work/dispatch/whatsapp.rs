//! Over the Graph API.

use serde_json::{Value, json};

use super::{Dispatch, Job, accepted};
use crate::{
    bus::Task,
    model::now,
    whatsapp::{self, Accepted, Failure},
};

impl Dispatch {
    pub(super) async fn to_whatsapp(&self, task: &Task, job: &Job) -> Result<Value, Failure> {
        let content = &job.message.content;
        let open = job.message.window_closed != Some(true);
        if open && content["type"] == "text" && content["kind"] == "text" {
            let text = content["text"].as_str().unwrap_or_default();
            let parts = whatsapp::split(text);
            if parts.len() > 1 || parts.iter().any(|part| part != text) {
                let parts: Value = parts.iter().map(|part| json!({"text": part})).collect();
                return Ok(json!({"outcome": "split", "parts": parts}));
            }
        }
        let request = whatsapp::request(&job.message)?;
        whatsapp::check_id(&task.lane)?;
        let token = self.token(job.credential.as_ref(), true)?;
        let answer = self.graph.send(&task.lane, request.path, &token, &request.body).await?;
        let mut outcome = accepted(task, Some(&answer.external_id), &answer.state);
        if request.fallback {
            outcome["status"]["fallback"] = json!(now());
        }
        if let Some(learned) = learned(job, &answer) {
            outcome["learned"] = learned;
        }
        Ok(outcome)
    }
}

/// What the answer tells of the recipient that the row did not know.
fn learned(job: &Job, answer: &Accepted) -> Option<Value> {
    let contact = job.message.contact_address.as_deref().filter(|_| job.message.group_address.is_none())?;
    let known = |value: &Option<String>, places: [Option<&str>; 2]| value.as_deref().is_none_or(|v| places.contains(&Some(v)));
    let phone = known(&answer.wa_id, [Some(contact), job.message.phone_number.as_deref()]);
    let user_id = known(&answer.user_id, [Some(contact), job.bsuid.as_deref()]);
    (!phone || !user_id).then(|| json!({"contact": contact, "phone": answer.wa_id, "user_id": answer.user_id}))
}
