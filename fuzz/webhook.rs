//! Fuzzes the three webhook translations with mutations of the documented payloads: `scripts/fuzz [seconds]`. A finding is
//! a panic, an event that breaks the contract with the database, or a payload of which nothing is left. It is written to
//! a file and ends the run.
#![allow(clippy::unwrap_used, reason = "a fuzzer ends by panicking")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidings::{connector, instagram, whatsapp};

/// xorshift64*: the run is repeatable by its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { usize::try_from(self.next() % n as u64).unwrap() }
    }
}

const TYPES: [&str; 14] =
    ["contact", "message", "status", "edit", "revoke", "rename", "sync", "log", "park", "number", "account", "template", "group", "progress"];

fn main() {
    let seconds: u64 = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(60);
    let seed: u64 = std::env::args().nth(2).and_then(|s| s.parse().ok()).unwrap_or(0x9E37_79B9_7F4A_7C15);
    let corpus = corpus(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/whatsapp"));
    let mut random = Random(seed);
    let (began, mut runs, mut said) = (Instant::now(), 0u64, Instant::now());
    std::panic::set_hook(Box::new(|_| {}));
    while began.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..200 {
            let body = mutant(&corpus, &mut random);
            runs += 1;
            let outcome = catch_unwind(AssertUnwindSafe(|| check(&body)));
            let finding = outcome.unwrap_or_else(|panic| Err(format!("panicked: {:?}", panic.downcast_ref::<String>())));
            if let Err(finding) = finding {
                let path = std::env::temp_dir().join("tidings-fuzz-finding");
                std::fs::write(&path, &body).unwrap();
                eprintln!("{finding}\nafter {runs} payloads, seed {seed}: {}", path.display());
                std::process::exit(1);
            }
        }
        if said.elapsed() > Duration::from_secs(60) {
            said = Instant::now();
            println!("{} s, {runs} payloads, no finding", began.elapsed().as_secs());
        }
    }
    println!("{} s, {runs} payloads, no finding", began.elapsed().as_secs());
}

fn corpus(folder: &Path) -> Vec<Value> {
    let files = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path());
    files
        .filter(|p| p.extension().is_some_and(|e| e == "json") && p.file_stem().is_none_or(|s| s != "expected"))
        .map(|p| serde_json::from_slice(&std::fs::read(p).unwrap()).unwrap())
        .collect()
}

fn mutant(corpus: &[Value], random: &mut Random) -> Vec<u8> {
    let mut value = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        let other = &corpus[random.below(corpus.len())];
        mutate(&mut value, other, random, 0);
    }
    let mut bytes = value.to_string().into_bytes();
    if random.below(4) == 0 {
        for _ in 0..=random.below(8) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
            if bytes.is_empty() {
                bytes.push(b'{');
            }
        }
    }
    bytes
}

/// Walks down at random, and changes what is there.
fn mutate(value: &mut Value, other: &Value, random: &mut Random, depth: usize) {
    let deeper = random.below(10) > 0 && depth < 12;
    match value {
        Value::Object(map) if deeper && !map.is_empty() => {
            let key = map.keys().nth(random.below(map.len())).unwrap().clone();
            if random.below(25) == 0 {
                map.remove(&key);
            } else {
                mutate(&mut map[&key], other, random, depth + 1);
            }
        }
        Value::Array(list) if deeper && !list.is_empty() => {
            let at = random.below(list.len());
            if random.below(15) == 0 {
                let copy = list[at].clone();
                list.push(copy);
            } else {
                mutate(&mut list[at], other, random, depth + 1);
            }
        }
        _ => *value = novelty(value, other, random),
    }
}

fn novelty(value: &Value, other: &Value, random: &mut Random) -> Value {
    match random.below(14) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(""),
        3 => json!(-1),
        4 => json!(1e300),
        5 => json!(u64::MAX),
        6 => json!([]),
        7 => json!({}),
        8 => json!("\u{0000}\u{202E}é😀"),
        9 => json!("9999999999"),
        10 => json!([value]),
        11 => json!({"id": value, "type": value}),
        12 => json!("x".repeat(random.below(3000))),
        _ => part(other, random),
    }
}

/// A piece of another payload.
fn part(value: &Value, random: &mut Random) -> Value {
    let inner: Vec<&Value> = match value {
        Value::Object(map) => map.values().collect(),
        Value::Array(list) => list.iter().collect(),
        leaf => return leaf.clone(),
    };
    if inner.is_empty() || random.below(4) == 0 { value.clone() } else { part(inner[random.below(inner.len())], random) }
}

fn check(body: &[u8]) -> Result<(), String> {
    for (name, events) in [
        ("whatsapp", whatsapp::events(7, body)),
        ("instagram", instagram::events(7, body)),
        ("connector", connector::events(7, "whatsapp-web", body)),
    ] {
        if events.is_empty() {
            return Err(format!("{name}: nothing is left of it"));
        }
        for event in &events {
            let kind = event["type"].as_str().unwrap_or_default();
            if !TYPES.contains(&kind) {
                return Err(format!("{name}: an event of type {kind}"));
            }
            let required: &[&str] = match kind {
                "message" => &["external_id", "direction", "timestamp"],
                "status" | "edit" | "revoke" => &["external_id", "timestamp"],
                "contact" | "sync" | "rename" => &["contact"],
                "log" => &["id", "level", "message"],
                "park" => &["reason", "detail"],
                _ => &[],
            };
            if let Some(missing) = required.iter().find(|k| !event[**k].is_string()) {
                return Err(format!("{name}: {kind} without {missing}: {event}"));
            }
            if has_nul(event) {
                return Err(format!("{name}: NUL in {event}"));
            }
        }
    }
    Ok(())
}

/// PostgreSQL's jsonb cannot hold it.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}
