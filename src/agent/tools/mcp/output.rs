//! What an MCP tool returned, in parts that fit into a conversation.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde_json::Value;

/// Bytes of text and data of a result, in all.
const TEXT: usize = 64 * 1024;

/// Bytes of a file.
const FILE: usize = 10 * 1024 * 1024;

/// Parts of a result.
const PARTS: usize = 50;

const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// What a tool returned.
#[derive(Clone, Debug, PartialEq)]
pub struct McpOutput {
    /// In the server's order; may be empty.
    pub content: Vec<McpPart>,
    /// Whether the tool failed, as it says itself; the content says how.
    pub is_error: bool,
}

/// A piece of what a tool returned.
#[derive(Clone, Debug, PartialEq)]
pub enum McpPart {
    /// Any JSON where the tool structures its results; an object or an array otherwise.
    Data(Value),
    /// Text, never empty. All text and data of a result have 64 KB at most; what was cut says so.
    Text(String),
    /// A file of 10 MB at most.
    File {
        /// Where it has one.
        name: Option<String>,
        /// As the server has it; not checked against the content.
        mime_type: String,
        /// The content.
        bytes: Vec<u8>,
    },
    /// A file elsewhere, which was not fetched.
    Link {
        /// Of any scheme.
        uri: String,
        /// Where it has one.
        name: Option<String>,
        /// Where it is known.
        mime_type: Option<String>,
    },
}

/// The parts of a result: its structured content where there is one (servers repeat it as text for clients that know no
/// better), its blocks otherwise.
pub fn collect(result: CallToolResult) -> McpOutput {
    let mut output = Output { parts: Vec::new(), room: Some(TEXT) };
    match result.structured_content {
        Some(data) if !data.is_null() => output.add(data.to_string(), Some(McpPart::Data(data))),
        _ => {
            let left_out = result.content.len().saturating_sub(PARTS);
            result.content.into_iter().take(PARTS).for_each(|block| output.block(block));
            if left_out > 0 {
                output.parts.push(McpPart::Text(format!("[{left_out} more parts were left out]")));
            }
        }
    }
    McpOutput { content: output.parts, is_error: result.is_error.unwrap_or(false) }
}

struct Output {
    parts: Vec<McpPart>,
    /// Bytes of text that still fit; nothing once some did not.
    room: Option<usize>,
}

impl Output {
    fn block(&mut self, block: ContentBlock) {
        match block {
            ContentBlock::Text(text) => {
                let data = serde_json::from_str::<Value>(&text.text).ok().filter(|d| d.is_object() || d.is_array());
                self.add(text.text, data.map(McpPart::Data));
            }
            ContentBlock::Image(image) => self.encoded(None, image.mime_type, &image.data),
            ContentBlock::Audio(audio) => self.encoded(None, audio.mime_type, &audio.data),
            ContentBlock::Resource(embedded) => self.resource(embedded.resource),
            ContentBlock::ResourceLink(link) => {
                let text = format!("{}{}", link.uri, link.name);
                let name = Some(link.name).filter(|n| !n.is_empty());
                self.add(text, Some(McpPart::Link { uri: link.uri, name, mime_type: link.mime_type }));
            }
            _ => self.left_out("a part of a kind that is not known here"),
        }
    }

    /// What has `text` as its text, or just that text. It becomes a part of it where the whole does not fit.
    fn add(&mut self, text: String, part: Option<McpPart>) {
        let Some(room) = self.room.filter(|_| !text.is_empty()) else {
            return;
        };
        self.room = room.checked_sub(text.len());
        let part = match self.room {
            Some(_) => part.unwrap_or(McpPart::Text(text)),
            None => McpPart::Text(format!("{}\n[cut: results are read up to {} KB]", &text[..text.floor_char_boundary(room)], TEXT >> 10)),
        };
        self.parts.push(part);
    }

    fn left_out(&mut self, what: &str) {
        self.add(format!("[{what} was left out]"), None);
    }

    fn resource(&mut self, resource: ResourceContents) {
        match resource {
            ResourceContents::TextResourceContents { uri, mime_type, text, .. } => {
                self.file(file_name(&uri), mime_type.unwrap_or("text/plain".to_owned()), text.into_bytes());
            }
            ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                self.encoded(file_name(&uri), mime_type.unwrap_or_default(), &blob);
            }
            _ => self.left_out("a resource of a kind that is not known here"),
        }
    }

    fn encoded(&mut self, name: Option<String>, mime_type: String, base64: &str) {
        let base64: Vec<u8> = base64.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        match BASE64.decode(base64) {
            Ok(bytes) => self.file(name, mime_type, bytes),
            Err(_) => self.left_out("a file that is not in base64"),
        }
    }

    fn file(&mut self, name: Option<String>, mime_type: String, bytes: Vec<u8>) {
        if bytes.len() > FILE {
            return self.left_out(&format!("a file of more than {} MB", FILE >> 20));
        }
        let mime_type = if mime_type.contains('/') { mime_type } else { "application/octet-stream".to_owned() };
        self.parts.push(McpPart::File { name, mime_type, bytes });
    }
}

/// The last segment of a URI's path.
fn file_name(uri: &str) -> Option<String> {
    let path = uri.split(['?', '#']).next()?;
    let name = path.rsplit(['/', ':']).next()?;
    (!name.is_empty()).then(|| name.chars().take(200).collect())
}
