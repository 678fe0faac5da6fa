//! What a response is for the model: JSON as it is, web pages as Markdown, other text as text, and of anything else only
//! what it is.

use reqwest::{
    Response, StatusCode, Url,
    header::{CONTENT_TYPE, LOCATION},
};
use serde_json::{Value, json};

/// Bytes of a body that are read at most, after decompression.
const READ: usize = 256 * 1024;

/// Characters of a body that are returned at most.
const SHOWN: usize = 32_000;

const CUT: &str = "\n[cut: the answer is longer than this]";

/// Tags of a page that are converted at most: parsers of HTML take time with the square of what is left open.
const TAGS: usize = 6_000;

/// How deep a page may be nested to be converted: the conversion recurses, and doubles lines with every quotation.
const DEPTH: usize = 128;

/// Reads a response to a request of `url`: `{status, body, truncated?}` or `{status, location}`.
pub async fn read(response: Response, url: &Url) -> Result<Value, reqwest::Error> {
    let status = response.status();
    if let Some(location) = location(&response, url) {
        return Ok(json!({"status": status.as_u16(), "location": location}));
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let length = response.content_length();
    let (bytes, more) = prefix(response).await?;
    let (body, cut) = match Format::of(&kind, &bytes) {
        Format::Nothing => (Value::Null, false),
        Format::Binary => {
            let size = length.unwrap_or(bytes.len() as u64);
            // Of a body without its length, no more is known than that it is longer.
            (json!({"content_type": kind, "bytes": size}), more && length.is_none())
        }
        Format::Json => data(text(&kind, &bytes), more),
        Format::Html => page(text(&kind, &bytes), more).await,
        Format::Text => shown(&text(&kind, &bytes), more),
    };
    let mut result = json!({"status": status.as_u16(), "body": body});
    if cut {
        result["truncated"] = json!(true);
    }
    Ok(result)
}

/// Where a redirect leads, as a whole URL where it is one.
fn location(response: &Response, url: &Url) -> Option<String> {
    if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
        return None;
    }
    let to = response.headers().get(LOCATION)?.to_str().ok()?;
    Some(url.join(to).map_or_else(|_| to.to_owned(), String::from))
}

/// The beginning of a body, and whether there is more.
async fn prefix(mut response: Response) -> Result<(Vec<u8>, bool), reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = READ - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok((body, true));
        }
    }
    Ok((body, false))
}

#[derive(Debug, PartialEq)]
enum Format {
    Nothing,
    Json,
    Html,
    Text,
    Binary,
}

impl Format {
    /// By a content type in lower case. A body without one, or with one that says nothing, is judged by itself.
    fn of(content_type: &str, body: &[u8]) -> Self {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        let textual = ["xml", "yaml", "javascript", "x-www-form-urlencoded", "ndjson", "graphql", "csv"];
        match kind {
            _ if body.is_empty() => Self::Nothing,
            "text/html" | "application/xhtml+xml" => Self::Html,
            "application/json" | "text/json" => Self::Json,
            _ if kind.ends_with("+json") => Self::Json,
            "" | "text/plain" if body.trim_ascii_start().starts_with(b"{") || body.trim_ascii_start().starts_with(b"[") => Self::Json,
            "" if std::str::from_utf8(body).is_ok() => Self::Text,
            _ if kind.starts_with("text/") || (kind.starts_with("application/") && textual.iter().any(|t| kind.ends_with(t))) => Self::Text,
            _ => Self::Binary,
        }
    }
}

/// Text by the charset of its type; web servers know few besides UTF-8 and Latin-1.
fn text(content_type: &str, bytes: &[u8]) -> String {
    if content_type.contains("8859-1") || content_type.contains("windows-1252") {
        return bytes.iter().copied().map(char::from).collect();
    }
    String::from_utf8_lossy(bytes).into_owned()
}

/// JSON that fits as it is, as text otherwise: half a document is none.
fn data(text: String, more: bool) -> (Value, bool) {
    if !more
        && text.chars().nth(SHOWN).is_none()
        && let Ok(json) = serde_json::from_str(&text)
    {
        return (json, false);
    }
    shown(&text, more)
}

/// Text, cut where it is too long, and whether it was, or was before.
fn shown(text: &str, more: bool) -> (Value, bool) {
    let end = text.char_indices().nth(SHOWN).map(|(at, _)| at);
    if end.is_none() && !more {
        return (json!({"text": text}), false);
    }
    (json!({"text": format!("{}{CUT}", &text[..end.unwrap_or(text.len())])}), true)
}

/// A web page. It is converted on a thread of its own: it takes a while, and who wrote the page may have meant it to.
async fn page(html: String, more: bool) -> (Value, bool) {
    let few = html.match_indices('<').nth(TAGS).map(|(at, _)| html[..at].to_owned());
    let more = more || few.is_some();
    let html = few.unwrap_or(html);
    let convert = html.clone();
    match tokio::task::spawn_blocking(move || markdown(&convert)).await {
        Ok(Some(markdown)) => shown(&markdown, more),
        _ => shown(&html, more),
    }
}

fn markdown(html: &str) -> Option<String> {
    let skipped = vec!["script", "style", "noscript", "template", "iframe", "svg"];
    let converter = htmd::HtmlToMarkdown::builder().skip_tags(skipped).build();
    let tree = converter.html_to_tree(html).ok()?;
    let mut nodes = vec![(tree.clone(), 0)];
    while let Some((node, depth)) = nodes.pop() {
        if depth > DEPTH {
            return None;
        }
        nodes.extend(node.children.borrow().iter().map(|child| (child.clone(), depth + 1)));
    }
    Some(converter.tree_to_markdown(&tree))
}
