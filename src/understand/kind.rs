//! Which file is of which format, and who reads it.

use super::{gemini, openai, text::is_one_of};

/// A format that is read here, without a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Format {
    /// Anything that is text: also JSON, XML, source code, calendars and business cards.
    Text,
    /// Values separated by commas, semicolons, tabs or bars.
    Csv,
    Html,
    Rtf,
    Docx,
    Xlsx,
    Pptx,
    Odt,
    Ods,
    Odp,
}

/// Who reads a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// [`super::read`].
    Local(Format),
    /// A model, if one is configured; [`gemini::supports`] and [`openai::supports`] say which can.
    Model,
    /// Nobody.
    None,
}

/// Who reads a file that a message of this kind holds; `name` is the file's, if it has one.
pub fn reader(kind: &str, mime_type: &str, name: Option<&str>) -> Reader {
    let mime_type = mime(kind, mime_type, name);
    match format(&mime_type) {
        Some(format) => Reader::Local(format),
        None if gemini::supports(&mime_type) || openai::supports(&mime_type).is_some() => Reader::Model,
        None => Reader::None,
    }
}

/// The media type by the one name that is used here: without parameters, in lower case, guessed by the name of the
/// file where it says nothing or too little. A recording in a container that also holds films is sound.
pub fn mime(kind: &str, mime_type: &str, name: Option<&str>) -> String {
    let bare = mime_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let named = name.and_then(by_name);
    let known = match bare.as_str() {
        "" | "application/octet-stream" | "binary/octet-stream" | "application/zip" | "application/x-zip-compressed" => named,
        // Windows says this of CSV where Excel is installed, and connectors say text/plain of all text.
        "text/plain" | "application/vnd.ms-excel" => named.filter(|m| m.starts_with("text/") || m.contains("spreadsheet")),
        _ => None,
    };
    let bare = known.unwrap_or(&bare);
    match (kind, bare) {
        ("audio", "video/mp4") => "audio/mp4",
        ("audio", "video/webm") => "audio/webm",
        (_, "audio/mpeg" | "audio/mpga" | "audio/mpeg3" | "audio/x-mpeg-3" | "audio/x-mp3") => "audio/mp3",
        (_, "audio/x-wav" | "audio/wave" | "audio/vnd.wave") => "audio/wav",
        (_, "audio/x-aiff" | "audio/aif") => "audio/aiff",
        (_, "audio/x-aac" | "audio/aacp") => "audio/aac",
        (_, "audio/opus" | "application/ogg") => "audio/ogg",
        (_, "audio/x-flac") => "audio/flac",
        (_, "audio/m4a" | "audio/x-m4a") => "audio/mp4",
        (_, "image/jpg" | "image/pjpeg") => "image/jpeg",
        (_, "image/x-png") => "image/png",
        (_, "video/quicktime") => "video/mov",
        (_, "video/x-msvideo") => "video/avi",
        (_, "video/flv") => "video/x-flv",
        (_, "video/x-ms-wmv") => "video/wmv",
        (_, "video/3gp") => "video/3gpp",
        (_, "application/x-pdf") => "application/pdf",
        _ => bare,
    }
    .to_owned()
}

/// The format of a media type, in the spelling of [`mime`].
pub fn format(mime_type: &str) -> Option<Format> {
    const OPEN_XML: &str = "application/vnd.openxmlformats-officedocument.";
    const OPEN_DOCUMENT: &str = "application/vnd.oasis.opendocument.";
    if let Some(kind) = mime_type.strip_prefix(OPEN_XML) {
        return match kind.split('.').next() {
            Some("wordprocessingml") => Some(Format::Docx),
            Some("spreadsheetml") => Some(Format::Xlsx),
            Some("presentationml") => Some(Format::Pptx),
            _ => None,
        };
    }
    if let Some(kind) = mime_type.strip_prefix(OPEN_DOCUMENT) {
        return match kind.trim_end_matches("-template") {
            "text" => Some(Format::Odt),
            "spreadsheet" => Some(Format::Ods),
            "presentation" => Some(Format::Odp),
            _ => None,
        };
    }
    match mime_type {
        "text/csv" | "text/x-csv" | "text/comma-separated-values" | "application/csv" | "text/tab-separated-values" | "text/tsv" => Some(Format::Csv),
        "text/html" | "application/xhtml+xml" => Some(Format::Html),
        "application/rtf" | "application/x-rtf" | "text/rtf" => Some(Format::Rtf),
        "application/vnd.ms-word.document.macroenabled.12" => Some(Format::Docx),
        "application/vnd.ms-excel.sheet.macroenabled.12" => Some(Format::Xlsx),
        "application/vnd.ms-powerpoint.presentation.macroenabled.12" | "application/vnd.ms-powerpoint.slideshow.macroenabled.12" => {
            Some(Format::Pptx)
        }
        _ if mime_type.starts_with("text/") || is_text(mime_type.strip_prefix("application/")?) => Some(Format::Text),
        _ => None,
    }
}

/// Whether `application/` of this is text.
fn is_text(kind: &str) -> bool {
    const KINDS: &str = "json ld+json x-ndjson jsonl xml javascript x-javascript ecmascript typescript sql x-sql markdown yaml x-yaml toml x-sh";
    is_one_of(KINDS, kind) || kind.ends_with("+json") || kind.ends_with("+xml")
}

/// The media type that the name of a file promises.
fn by_name(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "txt" | "log" | "ini" | "srt" => "text/plain",
        "md" | "markdown" => "text/markdown",
        "csv" => "text/csv",
        "tsv" | "tab" => "text/tab-separated-values",
        "html" | "htm" => "text/html",
        "ics" => "text/calendar",
        "vcf" => "text/vcard",
        "json" => "application/json",
        "xml" => "application/xml",
        "js" => "application/javascript",
        "sql" => "application/sql",
        "yaml" | "yml" => "application/yaml",
        "rtf" => "application/rtf",
        "docx" | "docm" | "dotx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx" | "xlsm" | "xltx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "pptx" | "pptm" | "ppsx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "odt" | "ott" => "application/vnd.oasis.opendocument.text",
        "ods" | "ots" => "application/vnd.oasis.opendocument.spreadsheet",
        "odp" | "otp" => "application/vnd.oasis.opendocument.presentation",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "mp3" => "audio/mp3",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "wav" => "audio/wav",
        "aac" => "audio/aac",
        "m4a" => "audio/mp4",
        "flac" => "audio/flac",
        "aiff" | "aif" => "audio/aiff",
        "mp4" => "video/mp4",
        "mpeg" => "video/mpeg",
        "mpg" => "video/mpg",
        "mov" => "video/mov",
        "avi" => "video/avi",
        "flv" => "video/x-flv",
        "webm" => "video/webm",
        "wmv" => "video/wmv",
        "3gp" => "video/3gpp",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        assert_eq!(mime("audio", "audio/ogg; codecs=opus", None), "audio/ogg");
        assert_eq!(mime("audio", "Audio/MPEG", None), "audio/mp3");
        assert_eq!(mime("audio", "video/mp4", None), "audio/mp4");
        assert_eq!(mime("video", "video/quicktime", None), "video/mov");
        assert_eq!(mime("document", "application/octet-stream", Some("Liste.XLSX")), mime("document", "", Some("a.xlsx")));
        assert_eq!(mime("document", "text/plain", Some("photo.png")), "text/plain");
        assert_eq!(mime("document", "", None), "");
    }

    #[test]
    fn readers() {
        let read = |mime_type, name| reader("document", mime_type, name);
        assert_eq!(read("text/calendar", None), Reader::Local(Format::Text));
        assert_eq!(read("application/vnd.api+json", None), Reader::Local(Format::Text));
        assert_eq!(read("application/vnd.ms-excel", Some("a.csv")), Reader::Local(Format::Csv));
        assert_eq!(read("application/vnd.ms-excel", Some("a.xls")), Reader::None);
        assert_eq!(read("text/plain", Some("a.htm")), Reader::Local(Format::Html));
        assert_eq!(read("application/vnd.openxmlformats-officedocument.wordprocessingml.document", None), Reader::Local(Format::Docx));
        assert_eq!(read("application/vnd.openxmlformats-officedocument.presentationml.slideshow", None), Reader::Local(Format::Pptx));
        assert_eq!(read("application/vnd.oasis.opendocument.spreadsheet", None), Reader::Local(Format::Ods));
        assert_eq!(read("application/pdf", None), Reader::Model);
        assert_eq!(read("application/octet-stream", Some("scan.pdf")), Reader::Model);
        assert_eq!(read("application/octet-stream", None), Reader::None);
        assert_eq!(reader("audio", "audio/amr", None), Reader::None);
        assert_eq!(reader("sticker", "image/webp", None), Reader::Model);
        assert_eq!(reader("image", "image/svg+xml", None), Reader::None);
    }
}
