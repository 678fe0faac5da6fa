//! Agents behind A2A, `POST /a2a/{name}`: JSON-RPC in the dialects of the drafts (`tasks/send`) and of versions 0.2 and
//! 0.3 (`message/send`). Tasks can take their time, be asked for with `tasks/get`, and tell by themselves when they end.

use std::{io, time::Duration};

use serde_json::{Value, json};

use super::{
    Thought, Turn,
    api::{Asked, Checked, Heard, Refusal, id, items},
};
use crate::sandbox::{Answer, Sandbox, json_answer};

/// JSON-RPC's codes, and A2A's own.
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const INTERNAL: i64 = -32603;
const TASK_NOT_FOUND: i64 = -32001;
const NOT_CANCELABLE: i64 = -32002;

/// A task cannot be spoken to in these states.
const TERMINAL: [&str; 4] = ["completed", "canceled", "failed", "rejected"];

/// What is being worked on.
pub(super) struct Task {
    /// As it is told at the moment.
    now: Value,
    /// What it comes to, if it has not yet; and how many more times it has to be asked for, if that helps.
    end: Option<(Value, Option<u32>)>,
}

/// How a dialect names things.
#[derive(Clone, Copy, PartialEq)]
enum Dialect {
    Message,
    Tasks,
}

impl Dialect {
    /// The dialect of a method that sends.
    fn of(method: &str) -> Option<Self> {
        match method {
            "message/send" => Some(Self::Message),
            "tasks/send" => Some(Self::Tasks),
            _ => None,
        }
    }

    /// What tells the kinds of parts apart.
    fn tag(self) -> &'static str {
        if self == Self::Message { "kind" } else { "type" }
    }

    /// The field of a conversation's id.
    fn context(self) -> &'static str {
        if self == Self::Message { "contextId" } else { "sessionId" }
    }

    /// A part, with its tag by what it holds.
    fn part(self, mut part: Value) -> Value {
        let kind = ["file", "data"].into_iter().find(|kind| part.get(*kind).is_some()).unwrap_or("text");
        part[self.tag()] = json!(kind);
        part
    }

    /// Something that the agent says; beside a task where there is one.
    fn message(self, text: &str, context: &str, task: Option<&str>) -> Value {
        let mut message = json!({"role": "agent", "parts": [self.part(json!({"text": text}))]});
        if self == Self::Message {
            message["kind"] = json!("message");
            message["messageId"] = json!(id("msg-"));
            message["contextId"] = json!(context);
            if let Some(task) = task {
                message["taskId"] = json!(task);
            }
        }
        message
    }

    fn task(self, id: &str, context: &str, state: &str) -> Value {
        let mut task = json!({"id": id, "status": {"state": state, "timestamp": chrono::Utc::now().to_rfc3339()}});
        task[self.context()] = json!(context);
        if self == Self::Message {
            task["kind"] = json!("task");
        }
        task
    }

    /// The task as a turn of the script leaves it.
    fn done(self, task: &str, context: &str, turn: &Turn) -> Value {
        let mut done = self.task(task, context, turn.state.as_deref().filter(|state| !turn.pending() || *state != "working").unwrap_or("completed"));
        if let Some(text) = &turn.text {
            done["status"]["message"] = self.message(text, context, Some(task));
        }
        if let Some(artifact) = &turn.artifact {
            let part = self.part(if artifact.is_string() { json!({"text": artifact}) } else { artifact.clone() });
            let mut artifact = json!({"name": "result", "parts": [part]});
            match self {
                Self::Message => artifact["artifactId"] = json!(id("artifact-")),
                Self::Tasks => artifact["index"] = json!(0),
            }
            done["artifacts"] = json!([artifact]);
        }
        done
    }
}

impl Turn {
    /// Whether the task goes on after the first answer, and then ends.
    fn pending(&self) -> bool {
        self.polls > 0 || self.push
    }
}

impl Sandbox {
    /// One JSON-RPC request to an agent.
    pub(super) async fn converse(&self, asked: &Asked<'_>) -> io::Result<Answer> {
        let method = asked.body["method"].as_str().unwrap_or_default();
        let checked = self.admit_rpc(asked, method);
        let Some(dialect) = Dialect::of(method) else { return self.look(asked, method, checked).await };
        let checked =
            checked.and_then(|()| check_message(&asked.body["params"], dialect)).and_then(|()| self.continues(&asked.body["params"], dialect));
        Ok(match self.think(asked, checked, || heard(&asked.body["params"]["message"]).echo()).await? {
            Thought::Answers(turn) => result(&asked.body, &self.begin(&asked.body["params"], dialect, turn)),
            Thought::Refuses(refusal) => error(&asked.body, &refusal),
            Thought::Misbehaves(answer) => answer,
        })
    }

    /// What any method needs: a key, the form of JSON-RPC, a dialect that is spoken.
    fn admit_rpc(&self, asked: &Asked, method: &str) -> Checked {
        let (key, spoken) = {
            let settings = &self.lock().settings;
            (settings.model_key.clone(), settings.a2a_dialect.clone())
        };
        if !key.is_empty() && asked.token != key && asked.header("x-api-key") != key {
            return Err(Refusal::new(401, "Unauthorized: the key is missing or is not the one").code(INVALID_REQUEST));
        }
        if asked.body["jsonrpc"] != "2.0" || method.is_empty() || asked.body["id"].is_null() || asked.body["id"].is_object() {
            return Err(problem(INVALID_REQUEST, "Request payload validation error"));
        }
        match method {
            "message/send" if spoken == "tasks" => Err(problem(METHOD_NOT_FOUND, "Method not found")),
            "tasks/send" if spoken == "message" => Err(problem(METHOD_NOT_FOUND, "Method not found")),
            "message/send" | "tasks/send" | "tasks/get" | "tasks/cancel" => Ok(()),
            _ => Err(problem(METHOD_NOT_FOUND, "Method not found")),
        }
    }

    /// A message to a task needs one that takes it. In the drafts the client names new tasks, too.
    fn continues(&self, params: &Value, dialect: Dialect) -> Checked {
        let Some(task) = params["message"]["taskId"].as_str().filter(|_| dialect == Dialect::Message) else { return Ok(()) };
        let state = self.lock();
        let Some(known) = state.model.tasks.get(task) else {
            return Err(problem(TASK_NOT_FOUND, format!("Task {task} was specified but does not exist")));
        };
        match known.now["status"]["state"].as_str().filter(|state| TERMINAL.contains(state)) {
            Some(state) => Err(problem(INVALID_PARAMS, format!("Task {task} is in terminal state: {state}"))),
            None => Ok(()),
        }
    }

    /// `tasks/get` and `tasks/cancel`: without thinking, and without the script.
    async fn look(&self, asked: &Asked<'_>, method: &str, checked: Checked) -> io::Result<Answer> {
        let fault = {
            let mut state = self.lock();
            if state.settings.keep {
                state.asked.push(asked.body.clone());
            }
            state.faults.strike("model", &asked.body)
        };
        fault.delay().await;
        if let Some(answer) = fault.answer().await? {
            return Ok(answer);
        }
        let found = checked.and_then(|()| {
            let mut state = self.lock();
            let id = asked.body["params"]["id"].as_str().ok_or_else(|| problem(INVALID_PARAMS, "Invalid parameters: id is required"))?;
            let task = state.model.tasks.get_mut(id).ok_or_else(|| problem(TASK_NOT_FOUND, "Task not found"))?;
            if method == "tasks/cancel" { task.cancel() } else { Ok(task.get()) }
        });
        Ok(found.map_or_else(|refusal| error(&asked.body, &refusal), |task| result(&asked.body, &task)))
    }

    /// The first answer: a message where nothing speaks for a task, else the task, done or not.
    fn begin(&self, params: &Value, dialect: Dialect, turn: Turn) -> Value {
        let message = &params["message"];
        let (known, given) = match dialect {
            Dialect::Message => (message["taskId"].as_str(), message["contextId"].as_str()),
            Dialect::Tasks => (params["id"].as_str(), params["sessionId"].as_str()),
        };
        let mut state = self.lock();
        let before = known.and_then(|task| state.model.tasks.get(task)).and_then(|task| task.now[dialect.context()].as_str());
        let context = before.or(given).map_or_else(|| id("context-"), str::to_owned);
        let plain = turn.state.is_none() && turn.artifact.is_none() && !turn.pending();
        if dialect == Dialect::Message && known.is_none() && plain {
            return dialect.message(turn.text(), &context, None);
        }
        let task = known.map_or_else(|| id("task-"), str::to_owned);
        let done = dialect.done(&task, &context, &turn);
        let (now, end) = match turn.pending() {
            true => (dialect.task(&task, &context, "working"), Some((done, (turn.polls > 0).then_some(turn.polls)))),
            false => (done, None),
        };
        state.model.tasks.insert(task.clone(), Task { now: now.clone(), end });
        let pause = Duration::from_millis(turn.think_ms.unwrap_or(state.settings.think_ms));
        if turn.push {
            let config = match dialect {
                Dialect::Message => params["configuration"]["pushNotificationConfig"].clone(),
                Dialect::Tasks => params["pushNotification"].clone(),
            };
            tokio::spawn(self.clone().push(task, config, pause));
        }
        now
    }

    /// The task ends, and whoever asked for it is told so, once.
    async fn push(self, task: String, config: Value, pause: Duration) {
        tokio::time::sleep(pause).await;
        let Some(now) = self.lock().model.tasks.get_mut(&task).map(Task::finish) else { return };
        let Some(url) = config["url"].as_str() else { return };
        let mut request = self.client.post(url).json(&now).timeout(Duration::from_secs(10));
        if let Some(token) = config["token"].as_str() {
            request = request.header("X-A2A-Notification-Token", token);
        }
        if let Some(credentials) = config["authentication"]["credentials"].as_str() {
            request = request.bearer_auth(credentials);
        }
        let _ = request.send().await;
    }
}

impl Task {
    fn finish(&mut self) -> Value {
        if let Some((done, _)) = self.end.take() {
            self.now = done;
        }
        self.now.clone()
    }

    /// Somebody asks for it.
    fn get(&mut self) -> Value {
        match &mut self.end {
            Some((_, Some(polls))) if *polls > 1 => *polls -= 1,
            Some((_, Some(_))) => return self.finish(),
            _ => {}
        }
        self.now.clone()
    }

    fn cancel(&mut self) -> Result<Value, Refusal> {
        if self.now["status"]["state"].as_str().is_some_and(|state| TERMINAL.contains(&state)) {
            return Err(problem(NOT_CANCELABLE, "Task cannot be canceled"));
        }
        self.end = None;
        self.now["status"] = json!({"state": "canceled", "timestamp": chrono::Utc::now().to_rfc3339()});
        Ok(self.now.clone())
    }
}

fn check_message(params: &Value, dialect: Dialect) -> Checked {
    let invalid = |what: &str| Err(problem(INVALID_PARAMS, format!("Invalid parameters: {what}")));
    let message = &params["message"];
    if dialect == Dialect::Tasks && params["id"].as_str().is_none_or(str::is_empty) {
        return invalid("id is required");
    }
    if dialect == Dialect::Message && message["messageId"].as_str().is_none_or(str::is_empty) {
        return invalid("message.messageId is required");
    }
    if !["user", "agent"].iter().any(|role| message["role"] == *role) {
        return invalid("message.role must be user or agent");
    }
    let parts = items(&message["parts"]);
    if parts.is_empty() {
        return invalid("message.parts must not be empty");
    }
    let good = |part: &Value| match part[dialect.tag()].as_str() {
        Some("text") => part["text"].is_string(),
        Some("data") => part["data"].is_object(),
        Some("file") => part["file"]["bytes"].is_string() != part["file"]["uri"].is_string(),
        _ => false,
    };
    if !parts.iter().all(good) {
        return invalid(&format!("each of message.parts has a {} of text, file or data, and just that", dialect.tag()));
    }
    Ok(())
}

fn heard(message: &Value) -> Heard {
    let mut heard = Heard::default();
    for part in items(&message["parts"]) {
        if let Some(text) = part["text"].as_str() {
            heard.text(text);
        } else if part["file"].is_object() {
            heard.file(part["file"]["mimeType"].as_str().unwrap_or_default());
        } else {
            heard.text(&part["data"].to_string());
        }
    }
    heard
}

/// JSON-RPC's errors come with the status 200.
fn problem(code: i64, message: impl Into<String>) -> Refusal {
    Refusal::new(200, message).code(code)
}

fn result(request: &Value, result: &Value) -> Answer {
    json_answer(200, &json!({"jsonrpc": "2.0", "id": request["id"], "result": result}))
}

fn error(request: &Value, refusal: &Refusal) -> Answer {
    let code = refusal.code.as_i64().unwrap_or(INTERNAL);
    json_answer(refusal.status, &json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": refusal.message}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_of_their_dialect() {
        let refused = |params: Value, dialect| check_message(&params, dialect).err().map(|refusal| refusal.message).unwrap_or_default();
        let message = |part: Value| json!({"id": "1", "message": {"role": "user", "messageId": "1", "parts": [part]}});
        for (dialect, tag) in [(Dialect::Message, "kind"), (Dialect::Tasks, "type")] {
            assert_eq!(refused(message(json!({tag: "text", "text": "hi"})), dialect), "");
            assert_eq!(refused(message(json!({tag: "file", "file": {"uri": "http://a"}})), dialect), "");
            for wrong in [json!({tag: "file", "file": {"uri": "http://a", "bytes": ""}}), json!({tag: "text"}), json!({"text": "hi"})] {
                assert!(refused(message(wrong), dialect).contains(tag));
            }
        }
        let part = json!({"kind": "text", "type": "text", "text": "hi"});
        assert!(refused(json!({"message": {"role": "user", "messageId": "1", "parts": [part]}}), Dialect::Tasks).contains("id is required"));
        assert!(refused(json!({"message": {"role": "user", "parts": [part]}}), Dialect::Message).contains("messageId"));
        assert!(refused(json!({"message": {"role": "assistant", "messageId": "1", "parts": [part]}}), Dialect::Message).contains("role"));
        assert!(refused(json!({"message": {"role": "user", "messageId": "1", "parts": []}}), Dialect::Message).contains("parts"));
    }

    #[test]
    fn a_task_that_stays_at_work_can_be_canceled() {
        let turn = Turn { state: Some("working".into()), ..Turn::default() };
        let mut task = Task { now: Dialect::Message.done("t", "c", &turn), end: None };
        assert_eq!(task.get()["status"]["state"], "working");
        assert_eq!(task.cancel().expect("it is at work")["status"]["state"], "canceled");
        assert!(task.cancel().is_err());
    }
}
