//! Requests as they are written down in `tests/fixtures/understand`.

use std::{env, fs, path::Path};

use serde_json::Value;

use super::Ask;

/// One file of each sort.
const ASKS: [(&str, Ask); 7] = [
    ("audio", ask("audio", "audio/ogg; codecs=opus", None)),
    ("image", ask("image", "image/jpeg", None)),
    ("sticker", ask("sticker", "image/webp", None)),
    ("video", ask("video", "video/quicktime", None)),
    ("pdf", Ask { language: "Deutsch", extra_prompt: Some(" We sell tiles. "), ..ask("document", "application/pdf", Some("Invoice \"12\".pdf")) }),
    ("csv", ask("document", "text/csv", Some("prices.csv"))),
    ("text", ask("document", "application/json", None)),
];

const fn ask<'a>(kind: &'a str, mime_type: &'a str, name: Option<&'a str>) -> Ask<'a> {
    Ask { kind, mime_type, name, language: "English", extra_prompt: None, data: "AAAA" }
}

/// Compares the requests for all of them with the files `<model>_<sort>.json`; `UPDATE_FIXTURES=1` writes these.
pub fn check(model: &str, request: impl Fn(&Ask) -> Option<Value>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/understand");
    for (sort, ask) in &ASKS {
        let Some(request) = request(ask) else { continue };
        let path = folder.join(format!("{model}_{sort}.json"));
        if env::var("UPDATE_FIXTURES").is_ok() {
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(&path, serde_json::to_string_pretty(&request).expect("JSON") + "\n").expect("written");
        }
        let wanted: Value = serde_json::from_slice(&fs::read(&path).expect("a fixture")).expect("JSON");
        assert_eq!(request, wanted, "{}: UPDATE_FIXTURES=1 writes what is sent, to be read before it is believed", path.display());
    }
}
