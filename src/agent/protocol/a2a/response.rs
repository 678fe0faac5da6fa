//! What the other agent answers.

use std::collections::HashSet;

use serde_json::Value;

use super::{Incoming, Piece, Refusal, RemoteTask};
use crate::agent::Failure;

/// The states of tasks, in the words of the draft and of 0.3. `unknown` is none to rely on.
const STATES: [&str; 8] = ["submitted", "working", "input-required", "auth-required", "completed", "canceled", "failed", "rejected"];
/// The most pieces read of one answer: more messages than that are no answer to a customer.
const MOST: usize = 100;
/// The most characters of the other side's words that we repeat.
const WORDS: usize = 500;
/// How long a word is, at least, that may be a key.
const KEY: usize = 20;

/// Reads the response to `message/send`, `tasks/send` or `tasks/get`. `retry_after` is the header's, in seconds.
///
/// What the status message says is the answer, once the task is done; of a completed task its artifacts are, too, which
/// is where current servers answer. A task that failed, was rejected or canceled is hopeless: what it says is for the
/// organization and not for the customer. Meanwhile's progress messages are left out: each poll would repeat them.
pub fn receive(status: u16, retry_after: Option<f64>, body: &[u8]) -> Result<Incoming, Refusal> {
    let parsed: Result<Value, _> = serde_json::from_slice(body);
    let later = |text: String| Refusal::Failure(Failure::Later(retry_after, text));
    if !(200..300).contains(&status) {
        return Err(refusal(status, retry_after, &parsed.unwrap_or_default()));
    }
    let body = parsed.map_err(|e| later(format!("the remote agent's answer is no JSON: {e}")))?;
    if !body["error"].is_null() {
        return Err(refusal(status, retry_after, &body));
    }
    let result = &body["result"];
    // 1.0 wraps its results.
    for result in [result, &result["task"], &result["message"]] {
        if result["status"].is_object() {
            return task(result, retry_after);
        }
        if result["parts"].is_array() {
            return Ok(message(result));
        }
    }
    Err(later("the remote agent's answer holds neither a task nor a message".to_owned()))
}

/// Codes: JSON-RPC 2.0 section 5.1 (-32700, -32600…-32603), A2A 0.3 section 8.2 and 1.0 section 9.5 (-32001…-32009).
fn refusal(status: u16, retry_after: Option<f64>, body: &Value) -> Refusal {
    let error = &body["error"];
    let words = [&error["message"], error, &body["message"], &body["detail"]].into_iter().find_map(Value::as_str).unwrap_or("no message");
    let code = error["code"].as_i64();
    let what = code.map_or_else(|| status.to_string(), |code| format!("with error {code}"));
    let text = format!("the remote agent answered {what}: {}", brief(words));
    let again = match (status, code) {
        // What HTTP says of keys and of load holds, whatever the body says.
        (401 | 403, _) => false,
        (429 | 503, _) | (_, Some(-32603)) => true,
        (_, Some(-32601)) => return Refusal::UnknownMethod,
        (_, Some(-32600 | -32602)) if is_about_method(&error["data"]) => return Refusal::UnknownMethod,
        (_, Some(-32700 | -32602 | -32600 | -32005..=-32001 | -32009..=-32007)) => false,
        // With a code of the server's own a success of HTTP says nothing: it may pass.
        (200..=299 | 408 | 409 | 425 | 500.., _) => true,
        _ => false,
    };
    Refusal::Failure(if again { Failure::Later(retry_after, text) } else { Failure::Hopeless(text) })
}

/// Whether `data` of an error says that the method is unknown. Servers that check the whole request against all methods
/// at once (Google's samples of the draft, the Python SDK before 0.3) answer -32600, with pydantic's list of errors
/// `[{type, loc: [path…], ctx}]`: one about the tag of the union, or for each method one that this is not its name.
fn is_about_method(data: &Value) -> bool {
    let model = |error: &Value| error["loc"][0].as_str().unwrap_or_default().to_owned();
    let errors = data.as_array().map_or(&[][..], Vec::as_slice);
    let refused: HashSet<String> = errors
        .iter()
        .filter(|error| match error["type"].as_str() {
            Some("union_tag_invalid") => error["ctx"]["discriminator"].as_str().is_some_and(|d| d.contains("method")),
            Some("literal_error") => error["loc"][1] == "method",
            _ => false,
        })
        .map(model)
        .collect();
    !errors.is_empty() && errors.iter().all(|error| refused.contains(&model(error)))
}

/// A `Task`.
fn task(task: &Value, retry_after: Option<f64>) -> Result<Incoming, Refusal> {
    let status = &task["status"];
    let Some(state) = state(status) else {
        let text = format!("the remote agent's task is in a state that is not known: {}", brief(&status["state"].to_string()));
        return Err(Refusal::Failure(Failure::Later(retry_after, text)));
    };
    let said = pieces([&status["message"]]);
    let outcome = match state {
        "failed" => Some("failed"),
        "rejected" => Some("was rejected"),
        "canceled" => Some("was canceled"),
        _ => None,
    };
    if let Some(outcome) = outcome {
        return Err(Refusal::Failure(Failure::Hopeless(format!("the remote agent's task {outcome}: {}", reason(&said)))));
    }
    let done = !matches!(state, "submitted" | "working");
    let remote = task["id"].as_str().filter(|id| !id.is_empty()).map(|id| RemoteTask {
        id: id.to_owned(),
        status: state.to_owned(),
        session_id: session(task),
    });
    if !done && remote.is_none() {
        let text = "the remote agent works on a task without an id, which cannot be asked about";
        return Err(Refusal::Failure(Failure::Hopeless(text.to_owned())));
    }
    let said = match state {
        "completed" => pieces([&status["message"]].into_iter().chain(task["artifacts"].as_array().into_iter().flatten())),
        _ if done => said,
        _ => Vec::new(),
    };
    Ok(Incoming { pieces: said, task: remote, done })
}

/// A `Message`: the whole answer. What it names of a task is kept, so that the conversation stays in its context.
fn message(message: &Value) -> Incoming {
    let session_id = session(message);
    let id = message["taskId"].as_str().map(str::to_owned).or_else(|| session_id.clone());
    let task = id.map(|id| RemoteTask { id, status: "completed".to_owned(), session_id });
    Incoming { pieces: pieces([message]), task, done: true }
}

fn session(value: &Value) -> Option<String> {
    let id = value["contextId"].as_str().or_else(|| value["sessionId"].as_str())?;
    (!id.is_empty()).then(|| id.to_owned())
}

/// One of [`STATES`], if it is one: 1.0 writes `TASK_STATE_INPUT_REQUIRED` for `input-required`.
fn state(status: &Value) -> Option<&'static str> {
    let word = status["state"].as_str()?.to_ascii_lowercase().replace('_', "-");
    let word = match word.strip_prefix("task-state-").unwrap_or(&word) {
        "cancelled" => "canceled",
        word => word,
    };
    STATES.into_iter().find(|state| *state == word)
}

/// The parts of messages and artifacts, each once: many agents say the same in the status and in an artifact.
fn pieces<'a>(holders: impl IntoIterator<Item = &'a Value>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for piece in holders.into_iter().filter_map(|h| h["parts"].as_array()).flatten().filter_map(piece).take(MOST) {
        if !pieces.contains(&piece) {
            pieces.push(piece);
        }
    }
    pieces
}

/// A part. Its members tell what it is in all versions, so neither `type` nor `kind` is needed. Empty ones are none.
fn piece(part: &Value) -> Option<Piece> {
    if let Some(text) = part["text"].as_str() {
        let text = text.trim();
        return (!text.is_empty()).then(|| Piece::Text { text: text.to_owned(), kind: "text".to_owned() });
    }
    if part["file"].is_object() {
        return file(&part["file"]);
    }
    if part["raw"].is_string() || part["url"].is_string() {
        return file(part);
    }
    let data = Some(&part["data"]).filter(|d| !d.is_null())?;
    Some(Piece::Data { data: data.clone(), kind: "data".to_owned() })
}

/// A file by the names of the draft and 0.3 (`file: {name, mimeType, bytes | uri}`), of the candidates of 1.0
/// (`fileWithBytes`, `fileWithUri`) and of 1.0 (`{filename, mediaType, raw | url}`).
fn file(file: &Value) -> Option<Piece> {
    let field = |names: &[&str]| names.iter().filter_map(|n| file[*n].as_str()).find(|v| !v.is_empty()).map(str::to_owned);
    let (bytes, uri) = (field(&["bytes", "raw", "fileWithBytes"]), field(&["uri", "url", "fileWithUri"]));
    if bytes.is_none() && uri.is_none() {
        return None;
    }
    let mime_type = field(&["mimeType", "mediaType"]).unwrap_or_else(|| "application/octet-stream".to_owned());
    let kind = ["audio", "image", "video"].into_iter().find(|k| mime_type.starts_with(&format!("{k}/"))).unwrap_or("document").to_owned();
    Some(Piece::File { name: field(&["name", "filename"]), mime_type, bytes, uri, kind, size: None })
}

/// What a task that came to nothing says of it.
fn reason(said: &[Piece]) -> String {
    let texts: Vec<&str> = said.iter().filter_map(|p| if let Piece::Text { text, .. } = p { Some(text.as_str()) } else { None }).collect();
    if texts.is_empty() { "it gave no reason".to_owned() } else { brief(&texts.join(" ")) }
}

/// The other side's words, shortened and without what may be a secret: some quote the key they refuse, or what they were
/// sent. Keys of agents have no known form, so any long word with a digit in it goes, and whatever follows `Bearer`.
fn brief(words: &str) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || "-_+=~".contains(c);
    let mut clean = String::new();
    for piece in words.split_inclusive(|c| !part(c)) {
        let word = piece.trim_end_matches(|c| !part(c));
        let bearer = clean.len().checked_sub(7).and_then(|at| clean.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case("bearer "));
        let secret = word.len() >= KEY && word.bytes().any(|b| b.is_ascii_digit()) || bearer && !word.is_empty();
        clean.push_str(if secret { "…" } else { word });
        clean.push_str(&piece[word.len()..]);
    }
    clean.chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::agent::protocol::a2a::tests::{folder, golden, read};

    /// All files `<name>.response.json` (`{status, retry_after, body}`; a body that is a string is no JSON) against
    /// `<name>.incoming.json`.
    #[test]
    fn responses() {
        let files = std::fs::read_dir(folder()).expect("the fixtures");
        let names: Vec<String> = files.filter_map(|f| Some(f.ok()?.file_name().to_str()?.strip_suffix(".response.json")?.to_owned())).collect();
        assert!(names.len() > 20, "{names:?}");
        for name in names {
            let response = read(&format!("{name}.response.json"));
            let status = u16::try_from(response["status"].as_u64().expect("a status")).expect("a status");
            let body = response["body"].as_str().map_or_else(|| response["body"].to_string(), str::to_owned);
            let told = match receive(status, response["retry_after"].as_f64(), body.as_bytes()) {
                Ok(incoming) => json!(incoming),
                Err(Refusal::UnknownMethod) => json!({"refusal": "unknown_method"}),
                Err(Refusal::Failure(failure)) => json!({"refusal": failure}),
            };
            golden(&format!("{name}.incoming.json"), &told);
        }
    }

    fn state_of(word: &str) -> Result<Incoming, Refusal> {
        receive(200, None, json!({"result": {"id": "t", "contextId": "c", "status": {"state": word}}}).to_string().as_bytes())
    }

    #[test]
    fn states_of_all_versions() {
        for (word, state, done) in [
            ("submitted", "submitted", false),
            ("TASK_STATE_WORKING", "working", false),
            ("TASK_STATE_INPUT_REQUIRED", "input-required", true),
            ("auth-required", "auth-required", true),
            ("TASK_STATE_COMPLETED", "completed", true),
        ] {
            let task = RemoteTask { id: "t".into(), status: state.into(), session_id: Some("c".into()) };
            assert_eq!(state_of(word), Ok(Incoming { pieces: vec![], task: Some(task), done }), "{word}");
        }
        for word in ["failed", "rejected", "TASK_STATE_REJECTED", "canceled", "cancelled"] {
            assert!(matches!(state_of(word), Err(Refusal::Failure(Failure::Hopeless(_)))), "{word}");
        }
        for word in ["unknown", "TASK_STATE_UNSPECIFIED", "", "done"] {
            assert!(matches!(state_of(word), Err(Refusal::Failure(Failure::Later(..)))), "{word}");
        }
    }

    #[test]
    fn codes_and_statuses() {
        let answer = |status: u16, code: i64| receive(status, Some(2.0), json!({"error": {"code": code}}).to_string().as_bytes());
        for (status, code) in [(200, -32603), (500, -32603), (200, -32000), (500, -32000), (429, -32600), (503, -32601)] {
            assert!(matches!(answer(status, code), Err(Refusal::Failure(Failure::Later(Some(_), _)))), "{status} {code}");
        }
        for (status, code) in [(401, -32601), (403, -32603), (404, -32000), (500, -32001), (400, -32602), (200, -32700), (200, -32005)] {
            assert!(matches!(answer(status, code), Err(Refusal::Failure(Failure::Hopeless(_)))), "{status} {code}");
        }
        for status in [200, 400, 404, 500] {
            assert_eq!(answer(status, -32601), Err(Refusal::UnknownMethod));
        }
        for status in [408, 409, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(receive(status, None, b""), Err(Refusal::Failure(Failure::Later(None, _)))), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 405, 422] {
            assert!(matches!(receive(status, None, b"<html>"), Err(Refusal::Failure(Failure::Hopeless(_)))), "{status}");
        }
    }

    #[test]
    fn little_of_the_others_words_is_repeated() {
        let error = json!({"error": {"code": -32602, "message": "é".repeat(9000)}}).to_string();
        let Err(Refusal::Failure(failure)) = receive(200, None, error.as_bytes()) else { panic!("a failure") };
        assert_eq!(failure.text().chars().filter(|c| *c == 'é').count(), WORDS);
        assert_eq!(
            brief("key 0123456789abcdefghij, Bearer x.y refused: ContentTypeNotSupportedError"),
            "key …, Bearer ….y refused: ContentTypeNotSupportedError"
        );
    }
}
