//! What becomes of findings: parts of the message (`content.artifacts`) and files beside it.

use serde_json::{Value, json};

use super::{
    Findings, Format, Reader, reader,
    table::{self, markdown, width},
    text::{clip, head},
};

/// Characters kept of a description.
const DESCRIPTION: usize = 10_000;
/// Characters kept of what is said or seen in a recording, a picture or a film.
const TRANSCRIPTION: usize = 100_000;
/// Characters of a document within the message. The rest is in a file.
const INLINE: usize = 2_000;
/// Rows, and characters as Markdown, of a table within the message.
const INLINE_ROWS: usize = 50;
const INLINE_TABLE: usize = 4_000;
/// Characters of the name of a file, without its extensions.
const STEM: usize = 80;

/// What goes into `content.artifacts`, and which files have to be stored first.
#[derive(Debug, Default, PartialEq)]
pub struct Artifacts {
    /// Parts of content, without a version, in their order: `{type: "text", kind: "description" | "transcription",
    /// text}` and `{type: "file", kind: "document", file: {mime_type, name, size, uri}}`.
    pub parts: Vec<Value>,
    /// The files of the file parts.
    pub files: Vec<NewFile>,
}

/// A file that was made of findings.
#[derive(Debug, PartialEq)]
pub struct NewFile {
    /// Without a path.
    pub name: String,
    /// `text/markdown` or `text/csv`; UTF-8.
    pub mime_type: &'static str,
    /// Never empty.
    pub bytes: Vec<u8>,
    /// Its place in the parts, whose empty `file.uri` is to be filled in.
    pub index: usize,
}

impl Artifacts {
    fn text(&mut self, kind: &str, text: &str) {
        self.parts.push(json!({"type": "text", "kind": kind, "text": text}));
    }

    fn file(&mut self, name: String, mime_type: &'static str, bytes: Vec<u8>) {
        let file = json!({"mime_type": mime_type, "name": name, "size": bytes.len(), "uri": ""});
        self.files.push(NewFile { name, mime_type, bytes, index: self.parts.len() });
        self.parts.push(json!({"type": "file", "kind": "document", "file": file}));
    }
}

/// The artifacts of a file that a message of this kind holds.
pub fn artifacts(kind: &str, mime_type: &str, file_name: Option<&str>, findings: &Findings) -> Artifacts {
    let mut artifacts = Artifacts::default();
    let stem = stem(kind, file_name);
    if let Some(description) = &findings.description {
        artifacts.text("description", &clip(description.clone(), DESCRIPTION));
    }
    if let Some(text) = &findings.transcription {
        let media = ["audio/", "image/", "video/"].iter().any(|sort| super::mime(kind, mime_type, file_name).starts_with(sort));
        if media || matches!(kind, "audio" | "image" | "video" | "sticker") {
            artifacts.text("transcription", &clip(text.clone(), TRANSCRIPTION));
        } else {
            document(&mut artifacts, &stem, text);
        }
    }
    if let Some(rows) = findings.table.as_deref().filter(|rows| width(rows) > 0) {
        let reader = reader(kind, mime_type, file_name);
        if reader == Reader::Local(Format::Csv) {
            // The table is the file itself.
            artifacts.text("transcription", &beginning(rows, file_name.map_or("the file itself", str::trim)));
        } else {
            // What was read here is in the text too, if there is one; what a model read is not.
            let untold = findings.transcription.is_none();
            spreadsheet(&mut artifacts, &stem, rows, untold, untold || matches!(reader, Reader::Model));
        }
    }
    artifacts
}

/// The text of a document: within the message if it is short, otherwise its beginning there and all of it in a file.
fn document(artifacts: &mut Artifacts, stem: &str, text: &str) {
    let (start, all) = head(text, INLINE);
    if all {
        return artifacts.text("transcription", text);
    }
    let name = format!("{stem}.llm.txt");
    artifacts.text("transcription", &format!("{}\n[… the rest is in {name}]", start.trim_end()));
    artifacts.file(name, "text/markdown", text.as_bytes().to_vec());
}

/// A table: in a file, and within the message if it is small; its beginning if there is no other text.
fn spreadsheet(artifacts: &mut Artifacts, stem: &str, rows: &[Vec<String>], untold: bool, inline: bool) {
    let name = format!("{stem}.csv");
    let text = inline.then(|| beginning(rows, &name)).filter(|text| untold || *text == markdown(rows).trim_end());
    if let Some(text) = text {
        artifacts.text("transcription", &text);
    }
    artifacts.file(name, "text/csv", table::csv(rows));
}

/// As many rows as have a place within the message, as Markdown, and where the rest is.
fn beginning(rows: &[Vec<String>], place: &str) -> String {
    let mut count = rows.len().min(INLINE_ROWS);
    let mut text = markdown(&rows[..count]);
    while count > 1 && head(&text, INLINE_TABLE) != (&text, true) {
        count /= 2;
        text = markdown(&rows[..count]);
    }
    let (start, all) = head(text.trim_end(), INLINE_TABLE);
    let rest = if all && count == rows.len() { String::new() } else { format!("\n[… the rest is in {place}]") };
    start.to_owned() + &rest
}

/// The name of the file without its extension and without what has a meaning in paths, markup or the direction of
/// writing; the kind of the message where nothing is left.
fn stem(kind: &str, file_name: Option<&str>) -> String {
    let name = file_name.unwrap_or_default();
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let kept = |c: &char| {
        !c.is_control()
            && !matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let stem: String = stem.chars().filter(kept).take(STEM).collect();
    let stem = stem.trim_matches(['.', ' ']);
    match (stem.is_empty(), kind) {
        (false, _) => stem.to_owned(),
        (true, "audio" | "image" | "video" | "sticker") => kind.to_owned(),
        (true, _) => "document".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

    fn table(rows: usize) -> Option<Vec<Vec<String>>> {
        Some((0..rows).map(|row| vec![format!("r{row}"), "x, y".to_owned()]).collect())
    }

    fn text(kind: &str, text: impl Into<String>) -> Value {
        json!({"type": "text", "kind": kind, "text": text.into()})
    }

    fn file(name: &str, mime_type: &str, size: usize) -> Value {
        json!({"type": "file", "kind": "document", "file": {"mime_type": mime_type, "name": name, "size": size, "uri": ""}})
    }

    #[test]
    fn recordings() {
        let findings = Findings { description: Some("d".into()), transcription: Some("t".repeat(5000)), table: None };
        let made = artifacts("audio", "audio/ogg; codecs=opus", None, &findings);
        assert_eq!(made, Artifacts { parts: vec![text("description", "d"), text("transcription", "t".repeat(5000))], files: vec![] });
        assert_eq!(artifacts("document", "image/png", Some("a.png"), &findings), made);
        let long = Findings { transcription: Some("t".repeat(TRANSCRIPTION + 1)), ..Findings::default() };
        assert!(artifacts("video", "video/mp4", None, &long).parts[0]["text"].as_str().is_some_and(|t| t.ends_with("too long]")));
        assert_eq!(artifacts("audio", "audio/ogg", None, &Findings::default()), Artifacts::default());
    }

    #[test]
    fn documents() {
        let short = Findings { transcription: Some("t".repeat(INLINE)), ..Findings::default() };
        assert_eq!(artifacts("document", "application/pdf", None, &short).parts, [text("transcription", "t".repeat(INLINE))]);
        let long = Findings { transcription: Some("ü".repeat(INLINE + 1)), ..Findings::default() };
        let made = artifacts("document", "application/pdf", Some("Offer 7.pdf"), &long);
        let start = format!("{}\n[… the rest is in Offer 7.llm.txt]", "ü".repeat(INLINE));
        assert_eq!(made.parts, [text("transcription", start), file("Offer 7.llm.txt", "text/markdown", 2 * INLINE + 2)]);
        assert_eq!((made.files.len(), made.files[0].index, made.files[0].bytes.len()), (1, 1, 2 * INLINE + 2));
    }

    #[test]
    fn tables() {
        let small = Findings { transcription: Some("t".into()), table: table(2), ..Findings::default() };
        let markdown = "| r0 | x, y |\n| --- | --- |\n| r1 | x, y |";
        let csv = file("a.csv", "text/csv", 20);
        let made = artifacts("document", "application/pdf", Some("a.pdf"), &small);
        assert_eq!(made.parts, [text("transcription", "t"), text("transcription", markdown), csv.clone()]);
        assert_eq!((made.files[0].index, made.files[0].bytes.as_slice()), (2, b"r0,\"x, y\"\nr1,\"x, y\"\n".as_slice()));
        // The text of a workbook has all of its sheets.
        assert_eq!(artifacts("document", XLSX, Some("a.xlsx"), &small).parts, [text("transcription", "t"), csv]);
        let large = Findings { table: table(60), ..Findings::default() };
        let made = artifacts("document", XLSX, None, &large);
        assert!(
            made.parts[0]["text"].as_str().is_some_and(|t| t.lines().count() == 52 && t.ends_with("| r49 | x, y |\n[… the rest is in document.csv]"))
        );
        assert_eq!(made.parts[1]["file"]["name"], "document.csv");
        let beside = Findings { transcription: Some("t".into()), ..large };
        assert_eq!(artifacts("document", "application/pdf", None, &beside).parts.len(), 2);
        let wide = Findings { table: Some(vec![vec!["a".repeat(9000)]]), ..Findings::default() };
        assert!(artifacts("document", XLSX, None, &wide).parts[0]["text"].as_str().is_some_and(|t| t.chars().count() < INLINE_TABLE + 60));
    }

    #[test]
    fn values_separated_by_commas() {
        let findings = Findings { table: table(60), ..Findings::default() };
        let made = artifacts("document", "text/csv", Some("prices.csv"), &findings);
        assert!(made.files.is_empty() && made.parts.len() == 1);
        assert!(made.parts[0]["text"].as_str().is_some_and(|t| t.ends_with("[… the rest is in prices.csv]")));
    }

    #[test]
    fn names() {
        assert_eq!(stem("document", Some("../../etc/a<b>\u{202e}fdp.tar.gz")), "abfdp.tar");
        assert_eq!(stem("document", Some("C:\\x\\ .. .pdf")), "document");
        assert_eq!(
            (stem("image", None), stem("file", Some("")), stem("x", Some("no extension"))),
            ("image".into(), "document".into(), "no extension".into())
        );
        assert_eq!(stem("x", Some(&"ß".repeat(500))).chars().count(), STEM);
    }
}
