//! A connector to a channel of its own, such as WhatsApp Web: it takes what is dispatched, pairs phones and says what
//! comes in. And what it shares with the other pretend services: what is told of calls and of objects, how faults strike, forms.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, BufRead},
    time::Duration,
};

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};

use super::{Answer, Sandbox, json_answer};

/// What is kept with an object of Graph's and is no field of it.
const HIDDEN: [&str; 8] = ["waba", "pin", "profile", "settings", "blocked", "synced", "registrations", "subscription"];

/// The pretend connector.
#[derive(Default)]
pub struct Bridge {
    /// Every call that came, also those that went wrong: `{method, path, query, body, token}`.
    pub calls: Vec<Value>,
    /// What was dispatched and taken: `{external_id, token, body}`.
    pub dispatched: Vec<Value>,
    /// The state that the answer to a dispatch tells; none when not set.
    pub status: Option<String>,
    /// By id: `{id, organization_id, phone_number, status, address}`.
    sessions: BTreeMap<String, Value>,
}

impl Bridge {
    /// Somebody scans the code: the session is one of this address from now on. Whether there was such a session.
    pub fn pair(&mut self, id: &str, address: &str) -> bool {
        let Some(session) = self.sessions.get_mut(id) else { return false };
        session["status"] = json!("paired");
        session["address"] = json!(address);
        true
    }

    /// Pairing fails.
    pub fn fail(&mut self, id: &str) {
        if let Some(session) = self.sessions.get_mut(id) {
            session["status"] = json!("error");
        }
    }

    /// All sessions, with what the connector was told of them.
    pub fn sessions(&self) -> Vec<Value> {
        self.sessions.values().cloned().collect()
    }

    fn dispatch(&mut self, token: &str, body: &Value) -> Answer {
        if !["message", "status"].iter().any(|kind| body["type"] == *kind) || !body["record"].is_object() {
            return problem(400, "type must be message or status, record is required");
        }
        let id = format!("sandbox-{}", uuid::Uuid::new_v4().simple());
        self.dispatched.push(json!({"external_id": id, "token": token, "body": body}));
        let mut answer = json!({});
        if body["type"] == "message" {
            answer["external_id"] = json!(id);
            if let Some(status) = &self.status {
                answer["status"] = json!(status);
            }
        }
        json_answer(200, &answer)
    }

    fn open(&mut self, body: &Value) -> Answer {
        if body["organization_id"].as_str().is_none_or(str::is_empty) {
            return problem(400, "organization_id is required");
        }
        let id = uuid::Uuid::new_v4().to_string();
        let session = json!({"id": id, "organization_id": body["organization_id"], "phone_number": body["phone_number"], "status": "pending"});
        let answer = pairing(&session);
        self.sessions.insert(id, session);
        json_answer(200, &answer)
    }

    fn pending(&self, id: &str) -> Answer {
        let Some(session) = self.sessions.get(id) else { return problem(404, "there is no such session") };
        let mut answer = if session["status"] == "pending" { pairing(session) } else { json!({"id": id, "address": session["address"]}) };
        answer["status"] = session["status"].clone();
        json_answer(200, &answer)
    }

    fn connected(&self, address: &str) -> Answer {
        if self.sessions.values().any(|s| s["address"] == address) {
            json_answer(200, &json!({"address": address, "status": "connected"}))
        } else {
            problem(404, "there is no such session")
        }
    }

    fn close(&mut self, address: &str) -> Answer {
        let before = self.sessions.len();
        self.sessions.retain(|_, s| s["address"] != address);
        if self.sessions.len() < before { json_answer(200, &json!({})) } else { problem(404, "there is no such session") }
    }
}

impl Sandbox {
    /// Reads or changes the connector.
    pub fn bridge<T>(&self, act: impl FnOnce(&mut Bridge) -> T) -> T {
        act(&mut self.lock().bridge)
    }

    /// The connector says what came in, or that a session began or ended: it posts a batch or an event, once. The status.
    pub async fn bridge_says(&self, url: &str, token: &str, batch: &Value) -> u16 {
        let request = self.client.post(url).bearer_auth(token).json(batch).timeout(Duration::from_secs(10));
        request.send().await.map_or(0, |answer| answer.status().as_u16())
    }

    pub(super) async fn route_bridge(
        &self,
        method: &Method,
        segments: &[&str],
        query: &HashMap<String, String>,
        token: &str,
        body: &Bytes,
        _headers: &HeaderMap,
    ) -> Option<io::Result<Answer>> {
        let ["bridge", path @ ..] = segments else { return None };
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let call = record(method, segments, query, token, &body);
        self.lock().bridge.calls.push(call.clone());
        Some(self.under_faults("bridge", &call, async { Ok(self.bridged(method, path, token, &body)) }).await)
    }

    fn bridged(&self, method: &Method, path: &[&str], token: &str, body: &Value) -> Answer {
        let mut state = self.lock();
        if token.is_empty() || !state.settings.bridge_token.is_empty() && token != state.settings.bridge_token {
            return problem(401, "the token is not the connector's");
        }
        let bridge = &mut state.bridge;
        match (method.as_str(), path) {
            ("POST", ["dispatch"]) => bridge.dispatch(token, body),
            ("POST", ["sessions"]) => bridge.open(body),
            ("GET", ["sessions", "pending", id]) => bridge.pending(id),
            ("GET", ["sessions", address]) => bridge.connected(address),
            ("DELETE", ["sessions", address]) => bridge.close(address),
            _ => problem(404, "the connector has nothing there"),
        }
    }

    /// Does what was asked, as far as a fault lets it.
    pub(super) async fn under_faults(&self, on: &str, call: &Value, act: impl Future<Output = io::Result<Answer>>) -> io::Result<Answer> {
        let fault = self.lock().faults.strike(on, call);
        if !fault.accept {
            fault.delay().await;
            if let Some(answer) = fault.answer().await? {
                return Ok(answer);
            }
        }
        let answer = act.await?;
        if fault.accept {
            fault.delay().await;
            if let Some(wrong) = fault.answer().await? {
                return Ok(wrong);
            }
        }
        Ok(answer)
    }
}

/// A call, for the lists of calls and for what faults match.
pub(super) fn record(method: &Method, segments: &[&str], query: &HashMap<String, String>, token: &str, body: &Value) -> Value {
    json!({"method": method.as_str(), "path": segments.join("/"), "query": query, "body": body, "token": token})
}

/// Changes an object; there need not have been one.
pub(super) fn merge(object: &mut Value, patch: &Value) {
    if object.is_null() {
        *object = json!({});
    }
    if let (Value::Object(all), Value::Object(change)) = (object, patch) {
        all.extend(change.clone());
    }
}

/// The fields that are asked for, or the usual ones.
pub(super) fn shown(object: &Value, query: &HashMap<String, String>, usual: &[&str]) -> Value {
    let asked = query.get("fields").map_or_else(|| usual.to_vec(), |fields| names(fields));
    let fields = asked.into_iter().chain(["id"]).filter(|field| !HIDDEN.contains(field));
    Value::Object(fields.filter_map(|field| Some((field.to_owned(), object.get(field)?.clone()))).collect())
}

/// The names in a list such as `id,throughput{level},name_status`.
fn names(fields: &str) -> Vec<&str> {
    let mut depth = 0;
    let between = |c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    };
    fields.split(between).filter_map(|field| field.split(['{', '.']).next()).map(str::trim).filter(|field| !field.is_empty()).collect()
}

/// A part of a form.
#[derive(Debug, PartialEq)]
pub(super) struct Part {
    pub name: String,
    pub name_of_file: Option<String>,
    pub mime_type: String,
    pub bytes: Bytes,
}

/// The parts of a multipart form; nothing when it is none.
pub(super) fn parts(content_type: &str, body: &Bytes) -> Option<Vec<Part>> {
    let (_, boundary) = content_type.split_once("boundary=")?;
    let boundary = boundary.split(';').next().unwrap_or_default().trim_matches('"');
    let delimiter = format!("\r\n--{boundary}");
    let mut parts = Vec::new();
    // No line comes before the first one.
    let mut at = find(body, &delimiter.as_bytes()[2..], 0)? + delimiter.len() - 2;
    while body.get(at..at + 2)? != b"--" {
        let head = find(body, b"\r\n\r\n", at)?;
        let end = find(body, delimiter.as_bytes(), head + 4)?;
        let text = String::from_utf8_lossy(&body[at..head]);
        let header = |name: &str| {
            let named = |line: &&str| line.split_once(':').is_some_and(|(n, _)| n.trim().eq_ignore_ascii_case(name));
            text.lines().find(named).and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
        };
        let disposition = header("content-disposition");
        parts.push(Part {
            name: parameter(disposition, "name").unwrap_or_default(),
            name_of_file: parameter(disposition, "filename"),
            mime_type: header("content-type").to_owned(),
            bytes: body.slice(head + 4..end),
        });
        at = end + delimiter.len();
    }
    Some(parts)
}

/// A quoted parameter of a header.
fn parameter(header: &str, name: &str) -> Option<String> {
    let (_, rest) = header.split_once(&format!("; {name}=\""))?;
    let (mut value, mut characters) = (String::new(), rest.chars());
    loop {
        match characters.next()? {
            '"' => return Some(value),
            '\\' => value.extend(characters.next()),
            character => value.push(character),
        }
    }
}

/// Where something is first, from there on. The standard library looks for its first byte: quick also when unoptimized.
fn find(all: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let (first, mut at) = (*wanted.first()?, from);
    loop {
        at += all.get(at..)?.skip_until(first).ok()?;
        let found = at.checked_sub(1).filter(|found| *found >= from && all[*found] == first)?;
        if all[found..].starts_with(wanted) {
            return Some(found);
        }
        if at == all.len() {
            return None;
        }
    }
}

/// What pairs a phone: a code to type when its number is known, one to scan when not.
fn pairing(session: &Value) -> Value {
    let id = &session["id"];
    let random = uuid::Uuid::new_v4().simple().to_string();
    match session["phone_number"].as_str() {
        Some(_) => json!({"id": id, "pairing_code": format!("{}-{}", &random[..4], &random[4..8]).to_uppercase()}),
        None => json!({"id": id, "qr": format!("2@{random}")}),
    }
}

fn problem(status: u16, message: &str) -> Answer {
    json_answer(status, &json!({"error": message}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_is_paired_and_logged_out() {
        let mut bridge = Bridge::default();
        assert_eq!(bridge.open(&json!({})).status(), 400);
        bridge.open(&json!({"organization_id": "o"}));
        let id = bridge.sessions()[0]["id"].as_str().expect("an id").to_owned();
        assert_eq!(bridge.connected("549").status(), 404);
        assert!(bridge.pair(&id, "549"));
        assert_eq!(bridge.connected("549").status(), 200);
        assert_eq!(bridge.close("549").status(), 200);
        assert_eq!(bridge.pending(&id).status(), 404);
    }

    #[test]
    fn a_form_is_taken_apart() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"type\"\r\n\r\nimage/png\r\n\
            --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".png\"\r\nContent-Type: image/png\r\n\r\n\
            \r\n\r--\r\n--\r\n--b\r\nContent-Disposition: form-data; name=\"none\"\r\n\r\n\r\n--b--\r\n";
        let parts = parts("multipart/form-data; boundary=b", &Bytes::from(body)).expect("a form");
        let part = |name: &str, file: Option<&str>, kind: &str, bytes: &'static str| Part {
            name: name.to_owned(),
            name_of_file: file.map(str::to_owned),
            mime_type: kind.to_owned(),
            bytes: Bytes::from(bytes),
        };
        let file = part("file", Some("a \"b\".png"), "image/png", "\r\n\r--\r\n--");
        assert_eq!(parts, [part("type", None, "", "image/png"), file, part("none", None, "", "")]);
        for (kind, body) in [("multipart/form-data; boundary=b", "--b\r\nno form"), ("multipart/form-data; boundary=b", ""), ("text/plain", body)] {
            assert_eq!(super::parts(kind, &Bytes::from(body)), None);
        }
    }

    #[test]
    fn what_is_asked_for() {
        assert_eq!(names("id, throughput{level,x},quality_score.limit(1) ,,status"), ["id", "throughput", "quality_score", "status"]);
    }
}
