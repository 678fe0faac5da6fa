//! Every dialect against files: a prompt makes a request, a response makes a reply.
//!
//! Under `tests/fixtures/protocols/`: `prompts/<case>.json` is a [`Prompt`], and `<protocol>/<case>.request.json` the body
//! that it becomes. `<protocol>/<name>.response.json` is `{"status", "retry_after", "body"}` as a provider sends it, where
//! the body `{"raw": "…"}` is no JSON, and `<protocol>/<name>.reply.json` is the `{"ok": Reply}` or `{"err": Failure}` that
//! it becomes. With `UPDATE_FIXTURES=1` what the code makes is written down instead of compared: read it before it stays.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Protocol;
use crate::agent::{Failure, Prompt, Reply};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/protocols").join(name)
}

fn read(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The files of a folder that end so: what is before the ending, and their content, by name.
fn files(folder: &Path, ending: &str) -> Vec<(String, Value)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = paths
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(ending)?.to_owned();
            Some((name, read(&path)))
        })
        .collect();
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    files
}

/// Compares with a file, or writes it. What differs is added to `differences`, so that one run tells of all.
fn check(path: &Path, made: &Value, differences: &mut Vec<String>) {
    let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("JSON");
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(path, pretty(made) + "\n").expect("a file written");
    } else if !path.exists() {
        differences.push(format!("{} does not exist; the code makes\n{}", path.display(), pretty(made)));
    } else if read(path) != *made {
        differences.push(format!("{} differs; the code makes\n{}", path.display(), pretty(made)));
    }
}

/// A reply as JSON. Ids that the response does not hold are made up anew each time, and so are not compared.
fn comparable(reply: Result<Reply, Failure>, body: &str) -> Value {
    let ids: Vec<_> = reply.iter().flat_map(|reply| &reply.calls).map(|call| call.id.clone()).collect();
    let made = match reply {
        Ok(reply) => json!({"ok": reply}),
        Err(failure) => json!({"err": failure}),
    };
    let made = ids.iter().filter(|id| !body.contains(id.as_str())).fold(made.to_string(), |made, id| made.replace(id, "generated"));
    serde_json::from_str(&made).expect("JSON")
}

#[test]
fn requests() {
    let mut differences = Vec::new();
    let prompts = files(&folder("prompts"), ".json");
    assert!(!prompts.is_empty(), "no prompts");
    for protocol in Protocol::ALL {
        for (case, prompt) in &prompts {
            let prompt: Prompt = serde_json::from_value(prompt.clone()).unwrap_or_else(|e| panic!("prompts/{case}.json: {e}"));
            check(&folder(protocol.name()).join(format!("{case}.request.json")), &protocol.request(&prompt), &mut differences);
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn responses() {
    let mut differences = Vec::new();
    for protocol in Protocol::ALL {
        let folder = folder(protocol.name());
        let responses = files(&folder, ".response.json");
        assert!(!responses.is_empty(), "no responses of {}", protocol.name());
        for (name, fixture) in responses {
            let status = fixture["status"].as_u64().and_then(|status| u16::try_from(status).ok());
            let status = status.unwrap_or_else(|| panic!("{}/{name}: no status", protocol.name()));
            let body = fixture["body"]["raw"].as_str().map_or_else(|| fixture["body"].to_string(), str::to_owned);
            let reply = protocol.response(status, fixture["retry_after"].as_f64(), body.as_bytes());
            check(&folder.join(format!("{name}.reply.json")), &comparable(reply, &body), &mut differences);
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
