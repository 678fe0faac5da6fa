//! Over Instagram's messaging API.

use serde_json::{Value, json};

use super::{Dispatch, Job, accepted};
use crate::{bus::Task, instagram, whatsapp::Failure};

impl Dispatch {
    pub(super) async fn to_instagram(&self, task: &Task, job: &Job) -> Result<Value, Failure> {
        let content = &job.message.content;
        // A row is a request: what takes several becomes several rows, each sent at most once.
        if let Some(parts) = instagram::parts(content) {
            return Ok(json!({"outcome": "split", "parts": parts}));
        }
        let message = instagram::Message {
            message_id: job.message.message_id,
            content: content.clone(),
            contact_address: job.message.contact_address.clone(),
            media_url: self.link(task, content),
        };
        let token = self.token(job.credential.as_ref(), false)?;
        let mut id = None;
        for body in instagram::requests(&message)? {
            id = id.or(self.instagram.send(&task.lane, &token, &body).await?);
        }
        Ok(accepted(task, id.as_deref(), "accepted"))
    }
}
