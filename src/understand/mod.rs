//! Understanding of media: what a file says, put into words that an agent, a search or a colleague can read.
//!
//! Text and office documents are read here, without a model ([`read()`]); recordings, pictures, films and PDFs are read
//! by one ([`gemini`], [`openai`]: requests and responses as pure functions). Either way what comes out are
//! [`Findings`], which become parts of the message and files beside it ([`artifacts()`]).

mod answer;
mod artifacts;
#[cfg(test)]
mod fixtures;
pub mod gemini;
mod html;
mod kind;
mod office;
pub mod openai;
mod prompt;
mod rtf;
mod table;
mod text;

use serde::{Deserialize, Serialize};

pub use artifacts::{Artifacts, NewFile, artifacts};
pub use kind::{Format, Reader, mime, reader};

/// What was found in a file.
#[derive(Default, Serialize, Deserialize, Debug, PartialEq, Clone)]
#[serde(default)]
pub struct Findings {
    /// What it says, word for word, in its own language; Markdown where it has a structure.
    pub transcription: Option<String>,
    /// What it is, in a few sentences.
    pub description: Option<String>,
    /// The rows of the table that it is or holds. The first is the header, where there is one.
    pub table: Option<Vec<Vec<String>>>,
}

impl Findings {
    /// Without characters that cannot be stored, without what is empty, and with the table within its limits.
    fn tidied(self) -> Self {
        let tidy = |text: String| Some(text::clean(&text).trim_end().trim_start_matches('\n').to_owned()).filter(|text| !text.trim().is_empty());
        let rows = self.table.unwrap_or_default().into_iter().map(|row| row.iter().map(|cell| text::clean(cell)).collect());
        let table = table::within(rows.collect());
        Self {
            transcription: self.transcription.and_then(tidy),
            description: self.description.and_then(tidy),
            table: Some(table).filter(|rows| !rows.is_empty()),
        }
    }
}

/// What a model is asked to read.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The kind of the message's content: `audio`, `image`, `video`, `sticker`, `document` and others.
    pub kind: &'a str,
    /// The file's media type, as the message has it.
    pub mime_type: &'a str,
    /// The file's name, where it has one.
    pub name: Option<&'a str>,
    /// In which language it is described, in words: `English` by default.
    pub language: &'a str,
    /// What the organization wants to be considered.
    pub extra_prompt: Option<&'a str>,
    /// The file in base64, padded.
    pub data: &'a str,
}

/// Reads a file of a format that needs no model. It takes the processor for up to a second or two: call it where that
/// blocks nobody. A table is at most 5,000 rows of 100 columns, and a text 400,000 characters; what is left out is noted
/// at the end. An error says in words what is wrong with the file.
pub fn read(format: Format, bytes: &[u8]) -> Result<Findings, String> {
    let words = |transcription| Findings { transcription, ..Findings::default() };
    let findings = match format {
        Format::Text => words(Some(text::clip(text::decode(bytes)?, text::MOST))),
        Format::Csv => Findings { table: Some(table::read_csv(&text::decode(bytes)?)), ..Findings::default() },
        Format::Html => words(html::markdown(&text::decode(bytes)?)),
        Format::Rtf => words(rtf::text(bytes)?),
        Format::Docx => office::docx(bytes)?,
        Format::Xlsx => office::xlsx(bytes)?,
        Format::Pptx => office::pptx(bytes)?,
        Format::Odt | Format::Odp => office::open_document(bytes)?,
        Format::Ods => office::ods(bytes)?,
    };
    Ok(findings.tidied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let text = |format, bytes: &[u8]| read(format, bytes).expect("findings").transcription;
        assert_eq!(text(Format::Text, b"\xFF\xFEH\0i\0\r\0\n\0!\0").as_deref(), Some("Hi\n!"));
        assert_eq!(text(Format::Text, b"  \n "), None);
        assert_eq!(text(Format::Html, b"<p>a <script>no()</script>b").as_deref(), Some("a b"));
        assert_eq!(text(Format::Rtf, b"{\\rtf1 a\\par b}").as_deref(), Some("a\nb"));
        assert!(read(Format::Text, b"\x7FELF\0").is_err());
    }

    #[test]
    fn tables() {
        let found = read(Format::Csv, "Größe;Preis\n1;2,50\n".as_bytes()).expect("findings");
        assert_eq!(found.transcription, None);
        assert_eq!(found.table, Some(vec![vec!["Größe".to_owned(), "Preis".to_owned()], vec!["1".to_owned(), "2,50".to_owned()]]));
        assert_eq!(read(Format::Csv, b"").expect("findings"), Findings::default());
    }
}
