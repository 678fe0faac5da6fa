//! Media: files of messages that came in are fetched while their provider keeps them. They pass through a temporary file
//! and not through memory, are checked against the hash that came with them, and lie in the store once per organization.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::Row;
use tracing::{debug, warn};
use uuid::Uuid;

use super::Tokens;
use crate::{
    bus::{Task, Work},
    db::Db,
    media::{Spool, SpoolError, Store},
    model::Credential,
    outbound::Guarded,
    whatsapp::{self, Failure, Graph, Verdict},
};

/// The loop.
pub struct Media {
    /// Where files are asked for.
    pub graph: Graph,
    /// For files that lie on a content network, with no token: Instagram's.
    pub web: Guarded,
    /// Where they go.
    pub store: Store,
    /// What numbers ask with.
    pub tokens: Tokens,
    /// For the bookkeeping of the store.
    pub db: Db,
    /// The most bytes of a file.
    pub limit: u64,
}

/// A file to fetch.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Job {
    message_id: Option<Uuid>,
    service: Option<String>,
    file: Value,
    expired: bool,
    credential: Option<Credential>,
}

/// Why there is no file.
enum Problem {
    Later(Option<Duration>, String),
    Never(String),
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure.verdict {
            // Asking again does no harm.
            Verdict::Permanent => Self::Never(failure.text),
            Verdict::Retry(after) | Verdict::Wait(after) => Self::Later(after, failure.text),
            Verdict::Unknown(_) => Self::Later(None, failure.text),
            // 100 with subcode 33: the file is not there any more, or not ours.
            Verdict::Pause if failure.error["code"] == 100 => Self::Never(failure.text),
            Verdict::Pause => Self::Later(Some(Duration::from_secs(600)), failure.text),
        }
    }
}

impl From<SpoolError> for Problem {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::TooLarge(_) => Self::Never(error.to_string()),
            _ => Self::Later(None, error.to_string()),
        }
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self::Later(None, format!("{error:#}"))
    }
}

impl Media {
    /// The file's new description, once its bytes are stored.
    async fn fetch(&self, task: &Task, job: &Job) -> Result<Value, Problem> {
        let uri = job.file["uri"].as_str().unwrap_or_default();
        let (spool, mime_type) =
            if job.service.as_deref() == Some("instagram") { self.over_web(uri).await? } else { self.over_graph(task, job, uri).await? };
        let mime_type =
            mime_type.or_else(|| job.file["mime_type"].as_str().map(str::to_owned)).unwrap_or_else(|| "application/octet-stream".to_owned());
        let name = spool.name(task.organization_id);
        self.keep(task, &spool, &name, &mime_type, job.file["name"].as_str()).await?;
        let mut file = json!({"uri": format!("internal://media/{name}"), "size": spool.size});
        if job.service.as_deref() == Some("instagram") {
            file["mime_type"] = json!(mime_type);
        }
        Ok(file)
    }

    async fn over_graph(&self, task: &Task, job: &Job, id: &str) -> Result<(Spool, Option<String>), Problem> {
        let token = self.tokens.of(job.credential.as_ref()).map_err(|e| Problem::Later(Some(Duration::from_secs(600)), e))?;
        whatsapp::check_id(id)?;
        whatsapp::check_id(&task.lane)?;
        let media = self.graph.media(&task.lane, &token, id).await?;
        if media.size.is_some_and(|size| size > self.limit) {
            return Err(SpoolError::TooLarge(self.limit).into());
        }
        let response = match self.graph.download(&media.url, &token).await {
            Ok(response) => response,
            // The address was good for five minutes: another one is asked for.
            Err(failure) if failure.error["code"] == 404 || failure.error["code"] == 410 => return Err(Problem::Later(None, failure.text)),
            Err(failure) => return Err(failure.into()),
        };
        let spool = Spool::take(response.bytes_stream().map_err(reqwest::Error::without_url), self.limit).await?;
        if media.size.is_some_and(|size| size != spool.size) {
            return Err(Problem::Later(None, format!("the file has {} bytes, Meta says {}", spool.size, media.size.unwrap_or_default())));
        }
        if media.sha256.is_some_and(|hash| !spool.is(&hash)) {
            return Err(Problem::Later(None, "the file is not the one that was sent: its SHA-256 is another".to_owned()));
        }
        Ok((spool, media.mime_type))
    }

    /// Without a token, from an address that came with the message: public ones only.
    async fn over_web(&self, url: &str) -> Result<(Spool, Option<String>), Problem> {
        let request = self.web.get(url).map_err(Problem::Never)?;
        let response = request.send().await.map_err(|e| match crate::outbound::is_refused(&e) {
            true => Problem::Never(crate::outbound::describe(&e)),
            false => Problem::Later(None, crate::outbound::describe(&e)),
        })?;
        let status = response.status();
        if status.is_client_error() && status.as_u16() != 429 {
            return Err(Problem::Never(format!("the file is gone: {status}")));
        } else if !status.is_success() {
            return Err(Problem::Later(None, format!("the file cannot be fetched: {status}")));
        }
        let mime_type =
            response.headers().get("content-type").and_then(|v| v.to_str().ok()).map(|v| v.split(';').next().unwrap_or(v).trim().to_owned());
        Ok((Spool::take(response.bytes_stream().boxed().map_err(|e| e.without_url()), self.limit).await?, mime_type))
    }

    async fn keep(&self, task: &Task, spool: &Spool, name: &str, mime_type: &str, file_name: Option<&str>) -> Result<(), Problem> {
        let size = i64::try_from(spool.size).unwrap_or(i64::MAX);
        let row = self.db.one("select storage.reserve($1, $2, $3, $4, $5)", &[&task.organization_id, &name, &size, &mime_type, &file_name]).await?;
        match row.get::<_, String>(0).as_str() {
            "ready" => Ok(()),
            "wait" => Err(Problem::Later(Some(Duration::from_secs(5)), "an older file of the same content is being removed".to_owned())),
            _ => Ok(self.store.put(name, spool.path()).await?),
        }
    }
}

impl Work for Media {
    const QUEUE: &'static str = "media";
    const CLAIM: &'static str = "select * from bus.claim_media($1, $2, $3, $4)";
    const CONCURRENCY: usize = 16;
    const BATCH: usize = 16;

    type Job = Job;
    type Done = Value;

    fn read(&self, row: &Row) -> anyhow::Result<Job> {
        Ok(serde_json::from_value(super::payload(row)?)?)
    }

    async fn run(&self, task: Task, job: Job) -> Value {
        // Fetched already, or the message is gone.
        let Some(message_id) = job.message_id else { return json!({}) };
        let mut outcome = match self.fetch(&task, &job).await {
            Ok(file) => json!({"file": file, "was": job.file["uri"]}),
            Err(Problem::Later(after, error)) if !job.expired => {
                debug!(%message_id, organization_id = %task.organization_id, attempt = task.attempt, error, "file not fetched yet");
                json!({"outcome": "retry", "after": after.map(|d| d.as_secs_f64()), "error": error})
            }
            Err(Problem::Later(_, error) | Problem::Never(error)) => {
                warn!(%message_id, organization_id = %task.organization_id, error, "file not fetched");
                json!({"outcome": "dead", "error": error})
            }
        };
        outcome["message_id"] = json!(message_id);
        outcome
    }

    async fn finish(&self, db: &Db, batch: &[(Task, Value)]) -> anyhow::Result<()> {
        super::finish(db, "select bus.finish_media($1)", batch).await
    }

    fn broken(&self, error: String) -> Value {
        super::retry(&error)
    }
}
