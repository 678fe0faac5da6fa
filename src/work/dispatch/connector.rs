//! Over a connector: a bridge in another process.

use serde_json::Value;

use super::{Dispatch, Job};
use crate::{bus::Task, whatsapp::Failure};

impl Dispatch {
    pub(super) async fn to_connector(&self, task: &Task, service: &str, job: &Job) -> Result<Value, Failure> {
        let connector = self.connectors.of(service).ok_or_else(|| {
            let name = service.to_uppercase().replace('-', "_");
            Failure::refused("unsupported", format!("there is no channel for the service {service}: {name}_URL is not set"))
        })?;
        let taken = connector.dispatch(&job.record, self.link(task, &job.message.content).as_deref()).await?;
        let mut status = serde_json::json!({ taken.state: crate::model::now() });
        status["errors"] = Value::Null;
        Ok(serde_json::json!({"outcome": "accepted", "external_id": taken.external_id, "status": status}))
    }
}
