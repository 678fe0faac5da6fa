//! Preprocess: files become text that agents and people can read. Text formats are read here; sound, pictures, video and
//! PDF by a model, where the organization wants that.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::multipart;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::Row;
use tracing::warn;
use uuid::Uuid;

use super::Files;
use crate::{
    agent::{Failure, Keys, Models, Usage},
    bus::{Task, Work},
    db::Db,
    model::{Credential, Sealer},
    understand::{self, Ask, Findings, Reader, gemini, openai},
};

/// The largest file that goes to a model: 19 MB in base64, which is what Gemini takes in one request.
const FILE: u64 = 14 * 1024 * 1024;
/// Where Gemini is.
const GOOGLE: &str = "https://generativelanguage.googleapis.com/v1beta";

/// The loop.
pub struct Preprocess {
    models: Models,
    keys: Keys,
    files: Files,
    sealer: Sealer,
}

/// A file to read.
#[derive(Deserialize)]
pub struct Job {
    message_id: Uuid,
    kind: String,
    file: Value,
    size: Option<u64>,
    settings: Option<Value>,
    credential: Option<Credential>,
}

impl Job {
    fn setting(&self, key: &str) -> Option<&str> {
        self.settings.as_ref()?[key].as_str().filter(|s| !s.trim().is_empty())
    }
}

/// A model that reads.
struct Model {
    base: String,
    key: Option<String>,
    name: String,
    provider: &'static str,
    trusted: bool,
    billable: bool,
}

impl Preprocess {
    /// With what it asks and where files lie.
    pub fn new(models: Models, keys: Keys, files: Files, sealer: Sealer) -> Self {
        Self { models, keys, files, sealer }
    }

    /// What was found, with what it cost.
    async fn read_file(&self, task: &Task, job: &Job) -> Result<(Findings, Option<Value>), Failure> {
        let text = |key: &str| job.file[key].as_str();
        let name = text("name");
        let mime_type = &understand::mime(&job.kind, text("mime_type").unwrap_or_default(), name);
        let size = job.size.ok_or_else(|| Failure::Hopeless("the file is not stored".to_owned()))?;
        if size > FILE {
            return Err(Failure::Hopeless(format!("the file has {size} bytes; {FILE} are the limit")));
        }
        let reader = understand::reader(&job.kind, mime_type, name);
        if matches!(reader, Reader::None) {
            return Ok((Findings::default(), None));
        }
        let bytes = self.files.read(task.organization_id, text("uri").unwrap_or_default(), FILE).await.map_err(|e| Failure::Later(None, e))?;
        match reader {
            Reader::Local(format) => {
                let found = tokio::task::spawn_blocking(move || understand::read(format, &bytes)).await;
                Ok((found.map_err(|_| Failure::Hopeless("the file could not be read".to_owned()))?.map_err(Failure::Hopeless)?, None))
            }
            _ if job.setting("mode") != Some("active") => Ok((Findings::default(), None)),
            _ => self.ask(job, mime_type, name, bytes).await,
        }
    }

    async fn ask(&self, job: &Job, mime_type: &str, name: Option<&str>, bytes: Vec<u8>) -> Result<(Findings, Option<Value>), Failure> {
        let model = self.model(job)?;
        let usage = |usage: Usage| {
            let mut usage = json!(usage);
            usage["provider"] = json!(model.provider);
            usage["model"] = json!(model.name);
            usage["billable"] = json!(model.billable);
            Some(usage)
        };
        let data = BASE64_STANDARD.encode(&bytes);
        let language = job.setting("language").unwrap_or("English");
        let ask = Ask { kind: &job.kind, mime_type, name, language, extra_prompt: job.setting("extra_prompt"), data: &data };
        if model.provider == "google" || job.setting("protocol") == Some("generate_content") {
            if !gemini::supports(mime_type) {
                return Ok((Findings::default(), None));
            }
            let headers = model.key.iter().map(|k| ("x-goog-api-key", k.clone())).collect();
            let url = gemini::url(&model.base, &model.name);
            let (status, after, body) = self.models.post(&url, model.trusted, headers, &gemini::request(&ask)).await?;
            return gemini::response(status, after, &body).map(|(found, spent)| (found, usage(spent)));
        }
        let bearer: Vec<_> = model.key.iter().map(|k| ("authorization", format!("Bearer {k}"))).collect();
        match openai::supports(mime_type) {
            Some(openai::Way::See) => {
                let url = openai::url(&model.base, openai::Way::See);
                let (status, after, body) = self.models.post(&url, model.trusted, bearer, &openai::request(&model.name, &ask)).await?;
                openai::response(status, after, &body).map(|(found, spent)| (found, usage(spent)))
            }
            Some(openai::Way::Transcribe) => {
                let (name, mime_type) = openai::file(mime_type).unwrap_or(("audio.ogg", "audio/ogg"));
                let part = multipart::Part::bytes(bytes).file_name(name).mime_str(mime_type).map_err(|e| Failure::Hopeless(e.to_string()))?;
                let usual = if model.provider == "groq" { "whisper-large-v3-turbo" } else { "whisper-1" };
                let transcriber = job.setting("transcription_model").unwrap_or(usual);
                let mut form = multipart::Form::new().part("file", part);
                for (field, value) in openai::fields(transcriber, None) {
                    form = form.text(field, value);
                }
                let url = openai::url(&model.base, openai::Way::Transcribe);
                let mut request = self.models.request(&url, model.trusted)?.multipart(form);
                for (name, value) in bearer {
                    request = request.header(name, value);
                }
                let (status, after, body) = self.models.send(request).await?;
                openai::transcript(status, after, &body).map(|(found, spent)| (found, usage(spent)))
            }
            None => Ok((Findings::default(), None)),
        }
    }

    /// Who reads, by organizations.extra.media_preprocessing: {api_url (google), model, api_key}.
    fn model(&self, job: &Job) -> Result<Model, Failure> {
        let own = job.credential.as_ref().map(|c| self.sealer.open(c)).transpose().map_err(|e| Failure::Hopeless(e.to_string()))?;
        let (base, provider, ours, name) = match job.setting("api_url").unwrap_or("google") {
            "google" => (GOOGLE.to_owned(), "google", self.keys.of("google"), "gemini-2.5-flash"),
            "openai" => ("https://api.openai.com/v1".to_owned(), "openai", self.keys.of("openai"), "gpt-5-mini"),
            "groq" => ("https://api.groq.com/openai/v1".to_owned(), "groq", self.keys.of("groq"), "meta-llama/llama-4-scout-17b-16e-instruct"),
            url => {
                let default = if job.setting("protocol") == Some("generate_content") { "gemini-2.5-flash" } else { "gpt-5-mini" };
                let name = job.setting("model").unwrap_or(default).to_owned();
                return Ok(Model { base: url.trim_end_matches('/').to_owned(), key: own, name, provider: "custom", trusted: false, billable: false });
            }
        };
        let billable = own.is_none();
        let Some(key) = own.or(ours) else {
            return Err(Failure::Hopeless("media_preprocessing has no api_key, and the server has none for this provider".to_owned()));
        };
        Ok(Model { base, key: Some(key), name: job.setting("model").unwrap_or(name).to_owned(), provider, trusted: true, billable })
    }

    /// The findings as parts of the message, with their files stored.
    async fn artifacts(&self, task: &Task, job: &Job, found: &Findings) -> Result<Value, Failure> {
        let mime_type = job.file["mime_type"].as_str().unwrap_or_default();
        let mut made = understand::artifacts(&job.kind, mime_type, job.file["name"].as_str(), found);
        for file in made.files {
            let kept = self.files.keep(task.organization_id, job.message_id, &file.name, file.mime_type, file.bytes).await;
            let uri = kept.map_err(|e| Failure::Later(None, format!("what was found could not be stored: {e:#}")))?;
            made.parts[file.index]["file"]["uri"] = json!(uri);
        }
        Ok(Value::Array(made.parts))
    }
}

impl Work for Preprocess {
    const QUEUE: &'static str = "preprocess";
    const CLAIM: &'static str = "select * from bus.claim_preprocess($1, $2, $3, $4)";
    // Each holds a file in memory.
    const CONCURRENCY: usize = 4;
    const BATCH: usize = 4;
    const HEARTBEAT: Duration = Duration::from_secs(8);

    type Job = Option<Box<Job>>;
    type Done = Value;

    fn read(&self, row: &Row) -> anyhow::Result<Self::Job> {
        let payload = super::payload(row)?;
        Ok(if payload.is_null() { None } else { Some(Box::new(serde_json::from_value(payload)?)) })
    }

    async fn run(&self, task: Task, job: Self::Job) -> Value {
        // The message is gone.
        let Some(job) = job else { return json!({}) };
        let read = async {
            let (found, usage) = self.read_file(&task, &job).await?;
            let artifacts = self.artifacts(&task, &job, &found).await?;
            Ok(json!({"artifacts": artifacts, "usage": usage, "was": job.file["uri"]}))
        };
        let mut outcome = match read.await {
            Ok(outcome) => outcome,
            Err(Failure::Later(after, error)) => json!({"outcome": "retry", "after": after, "error": error}),
            Err(failure) => {
                warn!(message_id = %job.message_id, organization_id = %task.organization_id, error = failure.text(), "a file was not read");
                json!({"error": failure.text()})
            }
        };
        outcome["message_id"] = json!(job.message_id);
        outcome
    }

    async fn finish(&self, db: &Db, batch: &[(Task, Value)]) -> anyhow::Result<()> {
        super::finish(db, "select bus.finish_preprocess($1)", batch).await
    }

    fn broken(&self, error: String) -> Value {
        super::retry(&error)
    }
}
