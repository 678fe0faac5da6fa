//! What is asked of the other agent.

use serde_json::{Value, json};

use super::{Dialect, Outgoing, Piece, RemoteTask};

/// What we can do something with. Servers compare these word by word: there are no patterns.
const OUTPUT_MODES: [&str; 8] =
    ["text/plain", "application/json", "image/jpeg", "image/png", "audio/ogg", "audio/mpeg", "video/mp4", "application/pdf"];

/// The JSON-RPC request that says something: it goes on with the task that waits for the customer, and begins one in
/// the same session otherwise.
pub fn send(dialect: Dialect, outgoing: &Outgoing) -> Value {
    let params = match dialect {
        Dialect::Tasks => task_params(outgoing),
        Dialect::Message => message_params(outgoing),
    };
    call(outgoing.request_id, dialect.method(), &params)
}

/// The JSON-RPC request that asks how a task is doing, the same in both dialects.
pub fn get(request_id: &str, task: &RemoteTask) -> Value {
    call(request_id, "tasks/get", &json!({"id": task.id}))
}

fn call(id: &str, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

/// `TaskSendParams` of the draft.
fn task_params(outgoing: &Outgoing) -> Value {
    let waiting = outgoing.task.filter(|t| t.waits());
    let session = outgoing.task.and_then(|t| t.session_id.as_deref());
    let mut params = json!({
        "id": waiting.map_or(outgoing.new_task_id, |t| &t.id),
        "sessionId": session.unwrap_or(outgoing.new_session_id),
        "message": {"role": "user", "parts": parts("type", outgoing.pieces)},
        "metadata": metadata(outgoing),
    });
    if let Some((url, token)) = outgoing.push {
        params["pushNotification"] = json!({"url": url, "token": token});
    }
    params
}

/// `MessageSendParams` of 0.3. A context that begins gets its id from the server.
fn message_params(outgoing: &Outgoing) -> Value {
    let mut message = json!({
        "kind": "message",
        "messageId": outgoing.message_id,
        "role": "user",
        "parts": parts("kind", outgoing.pieces),
    });
    if let Some(session) = outgoing.task.and_then(|t| t.session_id.as_deref()) {
        message["contextId"] = json!(session);
    }
    if let Some(task) = outgoing.task.filter(|t| t.waits()) {
        message["taskId"] = json!(task.id);
    }
    // Not blocking: an agent that thinks for minutes would outlast the connection.
    let mut configuration = json!({"acceptedOutputModes": OUTPUT_MODES, "blocking": false});
    if let Some((url, token)) = outgoing.push {
        configuration["pushNotificationConfig"] = json!({"url": url, "token": token});
    }
    json!({"message": message, "configuration": configuration, "metadata": metadata(outgoing)})
}

fn metadata(outgoing: &Outgoing) -> Value {
    json!({"tidings": outgoing.context})
}

/// `tag` is the member that names a part's type.
fn parts(tag: &str, pieces: &[Piece]) -> Vec<Value> {
    pieces.iter().map(|piece| part(tag, piece)).collect()
}

fn part(tag: &str, piece: &Piece) -> Value {
    match piece {
        Piece::Text { text, kind } => json!({tag: "text", "text": text, "metadata": {"kind": kind}}),
        // A part's data is an object in both schemas, and servers check it: a list of contacts goes as {"contacts": […]}.
        Piece::Data { data, kind } if !data.is_object() => json!({tag: "data", "data": {kind: data}, "metadata": {"kind": kind}}),
        Piece::Data { data, kind } => json!({tag: "data", "data": data, "metadata": {"kind": kind}}),
        Piece::File { name, mime_type, bytes, uri, kind, size } => {
            let mut file = json!({"mimeType": mime_type});
            // Either one or the other: both schemas refuse a file with both.
            let place = if bytes.is_some() { ("bytes", bytes) } else { ("uri", uri) };
            for (field, value) in [("name", name), place] {
                if let Some(value) = value {
                    file[field] = json!(value);
                }
            }
            let mut part = json!({tag: "file", "file": file, "metadata": {"kind": kind}});
            if let Some(size) = size {
                part["metadata"]["size"] = json!(size);
            }
            part
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::protocol::a2a::tests::golden;

    fn said(text: &str) -> Piece {
        Piece::Text { text: text.into(), kind: "text".into() }
    }

    fn files() -> Vec<Piece> {
        let file = |name: Option<&str>, mime_type: &str, kind: &str| Piece::File {
            name: name.map(Into::into),
            mime_type: mime_type.into(),
            bytes: name.is_none().then(|| "/9j/4AA=".into()),
            uri: name.map(|n| format!("https://files.example/{n}?signature=s")),
            kind: kind.into(),
            size: name.is_some().then_some(48_213),
        };
        vec![
            file(None, "image/jpeg", "image"),
            Piece::Text { text: "like this one".into(), kind: "caption".into() },
            file(Some("order.pdf"), "application/pdf", "document"),
            Piece::Data { data: json!({"latitude": -34.6, "longitude": -58.4}), kind: "location".into() },
            Piece::Data { data: json!([{"name": {"formatted_name": "Ana"}}]), kind: "contacts".into() },
        ]
    }

    fn check(case: &str, pieces: &[Piece], task: Option<&RemoteTask>, push: Option<(&str, &str)>) {
        let context = json!({"organization_id": "o-1", "conversation_id": "c-1", "contact": {"name": "Ana"}, "now": "2026-07-17T12:00:00Z"});
        let outgoing = Outgoing {
            request_id: "request-1",
            message_id: "message-1",
            pieces,
            task,
            new_task_id: "new-task",
            new_session_id: "new-session",
            push,
            context: &context,
        };
        golden(&format!("tasks_{case}.request.json"), &send(Dialect::Tasks, &outgoing));
        golden(&format!("message_{case}.request.json"), &send(Dialect::Message, &outgoing));
    }

    fn task(status: &str) -> RemoteTask {
        RemoteTask { id: "task-1".into(), status: status.into(), session_id: Some("session-1".into()) }
    }

    #[test]
    fn requests() {
        check("text", &[said("how much is the blue one?")], None, None);
        check("continued", &[said("the 9 o'clock one")], Some(&task("input-required")), None);
        check("next", &[said("and tomorrow?")], Some(&task("completed")), None);
        check("files", &files(), None, None);
        check("push", &[said("call me a taxi")], None, Some(("https://tidings.example/a2a/run-1", "t0ken")));
        golden("get.request.json", &get("request-1", &task("working")));
    }

    #[test]
    fn a_task_that_waits_for_a_login_goes_on_as_well() {
        let task = task("auth-required");
        let outgoing = Outgoing {
            request_id: "",
            message_id: "",
            pieces: &[],
            task: Some(&task),
            new_task_id: "new",
            new_session_id: "new",
            push: None,
            context: &Value::Null,
        };
        assert_eq!(send(Dialect::Tasks, &outgoing)["params"]["id"], "task-1");
        assert_eq!(send(Dialect::Message, &outgoing)["params"]["message"]["taskId"], "task-1");
    }
}
