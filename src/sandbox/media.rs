//! Media: uploads, what Graph tells of them, their bytes; and the resumable uploads of samples for templates.

use std::{
    collections::HashMap,
    io,
    time::{Duration, Instant},
};

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Method, Response,
    body::Frame,
    header::{self, HeaderName, HeaderValue},
};
use serde_json::{Value, json};

use super::{
    Answer, Sandbox,
    bridge::{merge, parts, record},
    fault::graph_error,
    json_answer,
    manage::missing,
};

/// How long a link to bytes works.
const LINK: Duration = Duration::from_secs(5 * 60);
/// Bytes are sent in pieces of this size.
const PIECE: usize = 64 * 1024;
/// What the id of an upload ends with: Meta's have a query, too.
const SIGNATURE: &str = "sandbox";
static ZEROS: [u8; PIECE] = [0; PIECE];

/// The body of an answer: JSON, or bytes as they come.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is all there.
pub(super) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Media, and how they are handed out.
#[derive(Default)]
pub struct Media {
    /// What was uploaded: `{id, number, type, filename, size, sha256, token}`.
    pub uploads: Vec<Value>,
    /// Whose bytes were asked for: ids, one for each time.
    pub downloads: Vec<String>,
    /// Milliseconds before each piece of 64 KiB that is handed out.
    pub pause_ms: u64,
    /// Cuts the connection after so many bytes.
    pub cut_after: Option<u64>,
    items: HashMap<String, Item>,
    /// By nonce: which medium, and until when.
    links: HashMap<String, (String, Instant)>,
    /// How long the upload of a sample is to be, and how much of it is here.
    samples: HashMap<String, (u64, u64)>,
    count: u64,
}

#[derive(Clone)]
struct Item {
    content: Content,
    mime_type: String,
    /// The number that it was uploaded for.
    number: Option<String>,
    /// What Graph tells otherwise than it is.
    patch: Value,
}

#[derive(Clone)]
enum Content {
    Bytes(Bytes),
    Zeros(u64),
}

impl Media {
    /// Somebody sent this to a number; the id is for a webhook.
    pub fn put(&mut self, bytes: &[u8], mime_type: &str) -> String {
        self.add(Bytes::copy_from_slice(bytes), mime_type, None)
    }

    /// So many bytes, all of them zero, that take no memory. A video, unless [`Media::set`] says otherwise.
    pub fn put_large(&mut self, id: &str, size: u64) {
        let item = Item { content: Content::Zeros(size), mime_type: "video/mp4".to_owned(), number: None, patch: Value::Null };
        self.items.insert(id.to_owned(), item);
    }

    /// What Graph tells of a medium is not what it is: any of `{mime_type, sha256, file_size, …}`.
    pub fn set(&mut self, id: &str, patch: Value) {
        if let Some(item) = self.items.get_mut(id) {
            item.patch = patch;
        }
    }

    /// The bytes of a medium, as long as it is there.
    pub fn bytes(&self, id: &str) -> Option<Bytes> {
        match &self.items.get(id)?.content {
            Content::Bytes(bytes) => Some(bytes.clone()),
            Content::Zeros(_) => None,
        }
    }

    /// Whether a number can send it: it was uploaded for that number, or somebody sent it.
    pub fn holds(&self, number: &str, id: &str) -> bool {
        self.items.get(id).is_some_and(|item| item.number.as_deref().is_none_or(|owner| owner == number))
    }

    /// The medium is gone, as after 30 days.
    pub fn remove(&mut self, id: &str) -> bool {
        self.items.remove(id).is_some()
    }

    /// The links that were given out work no more, as after 5 minutes.
    pub fn expire_links(&mut self) {
        self.links.clear();
    }

    /// A link to the bytes, on the sandbox at this address (`http://host:port`).
    pub fn link(&mut self, base: &str, id: &str) -> String {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let link = format!("{base}/sandbox/media/{id}/{nonce}");
        self.links.insert(nonce, (id.to_owned(), Instant::now() + LINK));
        link
    }

    fn add(&mut self, bytes: Bytes, mime_type: &str, number: Option<&str>) -> String {
        self.count += 1;
        let id = (700_000_000_000_000 + self.count).to_string();
        let item = Item { content: Content::Bytes(bytes), mime_type: mime_type.to_owned(), number: number.map(str::to_owned), patch: Value::Null };
        self.items.insert(id.clone(), item);
        id
    }

    /// The medium that a link is to.
    fn linked(&self, id: &str, nonce: &str) -> Option<Item> {
        let (linked, until) = self.links.get(nonce)?;
        if linked == id && *until > Instant::now() { self.items.get(id).cloned() } else { None }
    }

    fn begin_sample(&mut self, query: &HashMap<String, String>) -> Answer {
        let length = query.get("file_length").and_then(|l| l.parse::<u64>().ok()).filter(|l| *l > 0);
        let kinds = ["image/jpeg", "image/jpg", "image/png", "application/pdf", "video/mp4"];
        let (Some(length), true) = (length, query.get("file_type").is_some_and(|kind| kinds.contains(&kind.as_str()))) else {
            return json_answer(400, &graph_error(100, "file_length and a file_type that samples can have are required"));
        };
        let id = format!("upload:{}", uuid::Uuid::new_v4().simple());
        self.samples.insert(id.clone(), (length, 0));
        json_answer(200, &json!({"id": format!("{id}?sig={SIGNATURE}")}))
    }
}

impl Content {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(size) => *size,
        }
    }

    fn piece(&self, at: u64, length: usize) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes.slice(at as usize..at as usize + length),
            Self::Zeros(_) => Bytes::from_static(&ZEROS[..length]),
        }
    }

    fn sha256(&self) -> Vec<u8> {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut at = 0;
        while at < self.size() {
            let piece = self.piece(at, (self.size() - at).min(PIECE as u64) as usize);
            context.update(&piece);
            at += piece.len() as u64;
        }
        context.finish().as_ref().to_vec()
    }

    /// Piece by piece.
    fn stream(self, pause: Duration, cut_after: Option<u64>) -> Body {
        let size = self.size();
        let end = cut_after.unwrap_or(size).min(size);
        let pieces = stream::unfold(0, move |at: u64| {
            let piece = self.piece(at.min(end), end.saturating_sub(at).min(PIECE as u64) as usize);
            async move {
                if at > end || piece.is_empty() && end == size {
                    return None;
                }
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                if piece.is_empty() {
                    return Some((Err(io::Error::other("cut")), u64::MAX));
                }
                let next = at + piece.len() as u64;
                Some((Ok(Frame::data(piece)), next))
            }
        });
        StreamBody::new(pieces).boxed_unsync()
    }
}

impl Sandbox {
    /// Reads or changes the media.
    pub fn media<T>(&self, act: impl FnOnce(&mut Media) -> T) -> T {
        act(&mut self.lock().media)
    }

    pub(super) async fn route_media(
        &self,
        method: &Method,
        segments: &[&str],
        query: &HashMap<String, String>,
        token: &str,
        body: &Bytes,
        headers: &HeaderMap,
    ) -> Option<io::Result<Answer>> {
        let on = match (method.as_str(), segments) {
            ("GET", ["sandbox", "media", _, _]) | ("POST", [_, "media"]) => "media",
            ("GET" | "DELETE", [id]) if self.lock().media.items.contains_key(*id) => "media",
            ("POST", [_, "uploads"]) => "manage",
            ("GET" | "POST", [id]) if id.starts_with("upload:") => "manage",
            _ => return None,
        };
        let call = record(method, segments, query, token, &Value::Null);
        let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let oauth = text(header::AUTHORIZATION).strip_prefix("OAuth ").unwrap_or_default();
        let token = if segments[0].starts_with("upload:") { oauth } else { token };
        if on == "manage" {
            self.lock().accounts.calls.push(call.clone());
        }
        let act = async {
            let refused = self.lock().refuse_token(token);
            if let Some(refusal) = refused {
                return Ok(refusal);
            }
            Ok(match (method.as_str(), segments) {
                (_, ["sandbox", "media", id, nonce]) => self.hand_out(id, nonce),
                (_, [_, "uploads"]) => self.lock().media.begin_sample(query),
                (_, [number, "media"]) => self.take_media(number, token, text(header::CONTENT_TYPE), body),
                (_, [id]) if id.starts_with("upload:") => self.sample(method, id, query, headers, body),
                ("DELETE", [id]) => self.delete_media(id),
                _ => return self.tell(segments[0], text(header::HOST), query.get("phone_number_id")).await,
            })
        };
        Some(self.under_faults(on, &call, act).await)
    }

    fn take_media(&self, number: &str, token: &str, content_type: &str, body: &Bytes) -> Answer {
        let refused = |code: i64, details: &str| json_answer(400, &graph_error(code, details));
        let Some(parts) = parts(content_type, body) else { return refused(100, "the body must be multipart/form-data") };
        let part = |name: &str| parts.iter().find(|part| part.name == name);
        if part("messaging_product").is_none_or(|part| part.bytes != "whatsapp") || part("type").is_none_or(|part| part.bytes.is_empty()) {
            return refused(100, "messaging_product and type are required");
        }
        let Some(file) = part("file") else { return refused(100, "file is required") };
        let kind = file.mime_type.split(';').next().unwrap_or_default().trim();
        match limit(kind) {
            None => return refused(100, &format!("Param file must be a file with one of the supported types. Received file of type '{kind}'.")),
            Some(_) if file.bytes.is_empty() => return refused(100, "the file is empty"),
            Some(limit) if file.bytes.len() > limit => return refused(131_053, "the file is too large"),
            Some(_) => {}
        }
        let sha256 = sha256_base64(&file.bytes);
        let mut state = self.lock();
        let id = state.media.add(file.bytes.clone(), &file.mime_type, Some(number));
        let mut upload = json!({"id": id, "number": number, "token": token, "type": file.mime_type, "filename": file.name_of_file});
        merge(&mut upload, &json!({"size": file.bytes.len(), "sha256": sha256}));
        state.media.uploads.push(upload);
        json_answer(200, &json!({"id": id}))
    }

    /// What Graph tells of a medium.
    async fn tell(&self, id: &str, host: &str, number: Option<&String>) -> io::Result<Answer> {
        let (item, url) = {
            let mut state = self.lock();
            let theirs = |item: &Item| number.is_none() || item.number.is_none() || item.number.as_ref() == number;
            let Some(item) = state.media.items.get(id).cloned().filter(theirs) else { return Ok(json_answer(400, &missing())) };
            (item, state.media.link(&format!("http://{host}"), id))
        };
        let Item { content, mime_type, patch, .. } = item;
        let mut answer = json!({"messaging_product": "whatsapp", "url": url, "mime_type": mime_type, "file_size": content.size(), "id": id});
        if patch["sha256"].is_null() {
            let hash = tokio::task::spawn_blocking(move || content.sha256()).await.map_err(io::Error::other)?;
            answer["sha256"] = json!(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        }
        merge(&mut answer, &patch);
        Ok(json_answer(200, &answer))
    }

    fn hand_out(&self, id: &str, nonce: &str) -> Answer {
        let mut state = self.lock();
        let Some(item) = state.media.linked(id, nonce) else { return json_answer(404, &json!({"error": "the link has expired"})) };
        state.media.downloads.push(id.to_owned());
        let (pause, cut_after) = (Duration::from_millis(state.media.pause_ms), state.media.cut_after);
        drop(state);
        let size = item.content.size();
        let mut answer = Response::new(item.content.stream(pause, cut_after));
        answer.headers_mut().insert(header::CONTENT_LENGTH, size.into());
        if let Ok(kind) = HeaderValue::from_str(&item.mime_type) {
            answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        answer
    }

    fn delete_media(&self, id: &str) -> Answer {
        let success = self.lock().media.remove(id);
        json_answer(200, &json!({"success": success}))
    }

    /// A sample comes, or somebody asks how much of it is here.
    fn sample(&self, method: &Method, id: &str, query: &HashMap<String, String>, headers: &HeaderMap, bytes: &Bytes) -> Answer {
        let mut state = self.lock();
        let state = &mut *state;
        let Some((length, here)) = state.media.samples.get_mut(id).filter(|_| query.get("sig").is_some_and(|sig| sig == SIGNATURE)) else {
            return json_answer(400, &missing());
        };
        if *method == Method::GET {
            return json_answer(200, &json!({"id": id, "file_offset": *here}));
        }
        let offset = headers.get("file_offset").and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
        if offset != Some(*here) || *here + bytes.len() as u64 > *length {
            return json_answer(400, &graph_error(100, "file_offset is not where the upload ended, or the file is longer than its file_length"));
        }
        *here += bytes.len() as u64;
        if *here < *length {
            return json_answer(400, &graph_error(100, "the upload is not complete"));
        }
        let handle = id.replace("upload:", "4::");
        state.accounts.handles.insert(handle.clone());
        json_answer(200, &json!({"h": handle}))
    }
}

/// A hash as webhooks have it.
pub fn sha256_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(digest::digest(&digest::SHA256, bytes))
}

/// The most bytes of a file of this type; none for types that Meta does not take.
fn limit(kind: &str) -> Option<usize> {
    const MB: usize = 1_000_000;
    match kind {
        "image/jpeg" | "image/png" => Some(5 * MB),
        "image/webp" => Some(MB / 2),
        "audio/aac" | "audio/amr" | "audio/mpeg" | "audio/mp4" | "audio/ogg" | "audio/opus" | "video/mp4" | "video/3gpp" => Some(16 * MB),
        "text/plain" | "application/pdf" | "application/msword" | "application/vnd.ms-excel" | "application/vnd.ms-powerpoint" => Some(100 * MB),
        _ => kind.starts_with("application/vnd.openxmlformats-officedocument.").then_some(100 * MB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes() {
        assert_eq!(sha256_base64(b""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        let zeros = Content::Zeros(PIECE as u64 * 2 + 1);
        assert_eq!(zeros.sha256(), Content::Bytes(Bytes::from(vec![0_u8; PIECE * 2 + 1])).sha256());
    }

    #[tokio::test]
    async fn bytes_come_in_pieces_and_can_be_cut_off() {
        let content = Content::Zeros(PIECE as u64 * 2 + 1);
        let all = content.clone().stream(Duration::ZERO, None).collect().await.expect("all").to_bytes();
        assert_eq!(all.len(), PIECE * 2 + 1);
        assert!(content.stream(Duration::ZERO, Some(PIECE as u64 + 1)).collect().await.is_err());
    }
}
