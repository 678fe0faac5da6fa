//! Agents elsewhere (A2A): they get what the customer said, and answer at once, later when asked again, or later by
//! telling us to ask.

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Agent;
use crate::{
    agent::{
        Context, Failure, answer,
        context::Message,
        protocol::a2a::{self, Dialect, Incoming, Outgoing, Piece, Refusal, RemoteTask},
    },
    media::object_name,
};

/// How long another agent may work on one answer: less than the window in which it could be sent.
const PATIENCE: i64 = 23 * 3600;
/// The largest file that goes along in a request, where the agent does not say.
const INLINE: f64 = 1.0;

impl Agent {
    /// Says what is new, or asks how the answer is coming along.
    pub(super) async fn ask_agent(&self, context: &Context) -> Result<Value, Failure> {
        let url = context.agent.text("api_url").ok_or_else(|| Failure::Hopeless("a2a: the agent has no api_url".to_owned()))?;
        let rows: Vec<&Message> = context.messages.iter().filter(|m| !m.deleted).collect();
        let own = |m: &&&Message| m.agent_id == Some(context.agent.id);
        let last = rows.iter().rev().find(|m| own(m) && m.content["task"]["id"].is_string());
        let known: Option<RemoteTask> = last.and_then(|m| serde_json::from_value(m.content["task"].clone()).ok());
        let spoken =
            rows.iter().rposition(|m| m.direction != "incoming" && (m.agent_id.is_some() || m.content["kind"] == "task")).map_or(0, |at| at + 1);
        let new: Vec<&Message> = rows[spoken..].iter().filter(|m| m.direction == "incoming").copied().collect();
        // A task is open as long as nothing was answered after it began.
        let open = rows.iter().rev().find(own).filter(|m| m.content["kind"] == "task");
        if let Some(refused) = rows.iter().rev().find(own).filter(|m| m.content["kind"] == "refused" && new.is_empty()) {
            return Err(Failure::Hopeless(format!(
                "the remote agent's answer was not sent: {}",
                refused.content["data"]["reason"].as_str().unwrap_or_default()
            )));
        }
        match (open, known) {
            (Some(row), Some(task)) if new.is_empty() => self.poll(context, url, row, &task).await,
            (_, known) if !new.is_empty() => self.tell(context, url, &new, known.as_ref()).await,
            _ => Ok(json!({})),
        }
    }

    async fn poll(&self, context: &Context, url: &str, row: &Message, task: &RemoteTask) -> Result<Value, Failure> {
        let age = Timestamp::now().as_second() - row.timestamp.as_second();
        if age > PATIENCE {
            return Err(Failure::Hopeless("the remote agent did not finish its task within 23 hours".to_owned()));
        }
        let answer = self.post(context, url, &a2a::get(&Uuid::new_v4().to_string(), task)).await.map_err(|refusal| match refusal {
            Refusal::UnknownMethod => Failure::Hopeless("the remote agent began a task, and does not know tasks/get".to_owned()),
            Refusal::Failure(failure) => failure,
        })?;
        if answer.done {
            return self.answered(context, row.id, answer).await;
        }
        // Asked the more rarely the longer it takes; it may also tell us to come.
        Ok(json!({"after": (age as f64 / 10.0).clamp(2.0, 30.0)}))
    }

    async fn tell(&self, context: &Context, url: &str, new: &[&Message], known: Option<&RemoteTask>) -> Result<Value, Failure> {
        let mut pieces = Vec::new();
        for row in new {
            self.pieces(context, &row.content, &mut pieces).await;
        }
        let newest = new.last().map_or_else(Uuid::new_v4, |m| m.id);
        let about = json!({"organization_id": context.organization.id, "conversation_id": context.conversation.id,
            "contact": context.contact.name.as_ref().map_or_else(|| json!({}), |name| json!({"name": name})), "now": Timestamp::now().to_string()});
        let (callback, token) = self.links.callback(context.organization.id, context.conversation.id);
        let ids: [String; 3] = std::array::from_fn(|_| Uuid::new_v4().to_string());
        let outgoing = Outgoing {
            request_id: &ids[0],
            message_id: &newest.to_string(),
            pieces: &pieces,
            task: known,
            new_task_id: &ids[1],
            new_session_id: &ids[2],
            push: Some((&callback, &token)),
            context: &about,
        };
        let dialect = context.agent.text("dialect").and_then(Dialect::parse).unwrap_or(Dialect::Message);
        let answer = self.send(context, url, dialect, outgoing).await.map_err(|refusal| match refusal {
            Refusal::UnknownMethod => Failure::Hopeless("the remote agent knows neither message/send nor tasks/send".to_owned()),
            Refusal::Failure(failure) => failure,
        })?;
        if answer.done {
            return self.answered(context, newest, answer).await;
        }
        let status = answer.task.as_ref().map(|t| t.status.clone()).unwrap_or_default();
        Ok(json!({"after": 2.0, "remote": {"version": "1", "type": "data", "kind": "task", "data": {"status": status}, "task": answer.task}}))
    }

    /// In the dialect and with the offers that the other agent takes.
    async fn send(&self, context: &Context, url: &str, mut dialect: Dialect, mut outgoing: Outgoing<'_>) -> Result<Incoming, Refusal> {
        let mut answer = self.post(context, url, &a2a::send(dialect, &outgoing)).await;
        if answer == Err(Refusal::UnknownMethod) {
            dialect = dialect.other();
            answer = self.post(context, url, &a2a::send(dialect, &outgoing)).await;
        }
        // Who cannot call back is asked instead.
        if let Err(Refusal::Failure(Failure::Hopeless(text))) = &answer
            && text.to_lowercase().contains("push")
        {
            outgoing.push = None;
            answer = self.post(context, url, &a2a::send(dialect, &outgoing)).await;
        }
        answer
    }

    async fn post(&self, context: &Context, url: &str, body: &Value) -> Result<Incoming, Refusal> {
        let key = self.secret(context, "api_key");
        let headers = key.map(|k| ("authorization", format!("Bearer {k}"))).into_iter().collect();
        let (status, retry_after, body) = self.models.post(url, false, headers, body).await.map_err(Refusal::Failure)?;
        a2a::receive(status, retry_after, &body)
    }

    /// A content as parts: itself, its caption, and what was found in it.
    async fn pieces(&self, context: &Context, content: &Value, pieces: &mut Vec<Piece>) {
        let kind = content["kind"].as_str().unwrap_or("data").to_owned();
        let text = |text: &str, kind: &str| Piece::Text { text: text.to_owned(), kind: kind.to_owned() };
        match content["type"].as_str() {
            Some("text") => pieces.extend(content["text"].as_str().filter(|t| !t.is_empty()).map(|t| text(t, &kind))),
            Some("file") => {
                match self.file(context, &content["file"], kind.clone()).await {
                    Some(piece) => pieces.push(piece),
                    None => pieces.push(text(&format!("[a file of kind {kind} that could not be fetched]"), &kind)),
                }
                pieces.extend(content["text"].as_str().map(|t| text(t, "caption")));
            }
            _ => pieces.push(Piece::Data { data: content["data"].clone(), kind }),
        }
        for artifact in content["artifacts"].as_array().into_iter().flatten() {
            Box::pin(self.pieces(context, artifact, pieces)).await;
        }
    }

    async fn file(&self, context: &Context, file: &Value, kind: String) -> Option<Piece> {
        // The organization's own, whatever a row says.
        let own = object_name(context.organization.id, "");
        let name = file["uri"].as_str()?.strip_prefix("internal://media/").filter(|n| n.starts_with(&own) && !n.contains(".."))?;
        let most = context.agent.setting("send_inline_files_up_to_size_mb").and_then(Value::as_f64).unwrap_or(INLINE).clamp(0.0, 20.0) * 1_048_576.0;
        let size = file["size"].as_u64();
        let small = size.is_some_and(|s| s <= most as u64);
        let read = if small { self.files.read(context.organization.id, file["uri"].as_str()?, most as u64).await.ok() } else { None };
        Some(Piece::File {
            name: file["name"].as_str().map(str::to_owned),
            mime_type: file["mime_type"].as_str().unwrap_or("application/octet-stream").to_owned(),
            uri: read.is_none().then(|| self.links.sign(name)),
            bytes: read.map(|b| BASE64_STANDARD.encode(b)),
            kind,
            size,
        })
    }

    /// The other agent's answer as contents, with the task that the next message may go on with.
    async fn answered(&self, context: &Context, message: Uuid, answer: Incoming) -> Result<Value, Failure> {
        let mut contents = Vec::new();
        for piece in answer.pieces {
            match piece {
                Piece::Text { text, .. } => contents.extend(answer::text(&text)),
                Piece::Data { data, .. } => contents.extend(answer::text(&data.to_string())),
                Piece::File { name, mime_type, bytes: Some(bytes), .. } => {
                    let bytes = BASE64_STANDARD.decode(bytes).map_err(|e| Failure::Hopeless(format!("the remote agent's file is no base64: {e}")))?;
                    let name = name.unwrap_or_else(|| "file".to_owned());
                    let kept = self.files.keep(context.organization.id, message, &name, &mime_type, bytes).await;
                    let uri = kept.map_err(|error| Failure::Later(None, format!("the file could not be stored: {error:#}")))?;
                    contents.push(json!({"version": "1", "type": "file", "kind": "document", "file": {"uri": uri, "name": name}}));
                }
                Piece::File { name, mime_type, uri: Some(uri), kind, .. } if uri.starts_with("https://") => {
                    contents.push(json!({"version": "1", "type": "file", "kind": kind, "file": {"uri": uri, "name": name, "mime_type": mime_type}}));
                }
                Piece::File { .. } => {}
            }
        }
        let Some(task) = answer.task else { return Ok(said(contents)) };
        for content in &mut contents {
            content["task"] = json!(task);
        }
        Ok(said(contents))
    }
}

fn said(contents: Vec<Value>) -> Value {
    if contents.is_empty() { json!({}) } else { json!({"answer": contents}) }
}
