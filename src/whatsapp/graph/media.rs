//! Files at Meta: asked for by id, fetched from an address that is good for five minutes, and handed over.

use reqwest::{Body, Response, multipart};
use serde_json::Value;

use super::{Graph, sent};
use crate::{media::Bytestream, whatsapp::Failure};

/// What Meta says of a file.
pub struct Media {
    /// Where it can be fetched, with the token, for five minutes.
    pub url: String,
    /// What it is.
    pub mime_type: Option<String>,
    /// SHA-256, in hexadecimal or base64.
    pub sha256: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
}

impl Graph {
    /// `GET /{media id}`.
    pub async fn media(&self, number: &str, token: &str, id: &str) -> Result<Media, Failure> {
        let answer = self.get(id, Some(token), &[("phone_number_id", number)]).await?;
        let text = |key: &str| answer[key].as_str().filter(|s| !s.is_empty()).map(str::to_owned);
        let size = answer["file_size"].as_u64().or_else(|| answer["file_size"].as_str()?.parse().ok());
        let url = text("url").ok_or_else(|| Failure::unanswered("the answer holds no url".to_owned()))?;
        Ok(Media { url, mime_type: text("mime_type"), sha256: text("sha256"), size })
    }

    /// Fetches a file from the address that [`Graph::media`] gave.
    pub async fn download(&self, url: &str, token: &str) -> Result<Response, Failure> {
        // The token goes with it: not in the clear, unless Graph itself is (in development).
        if !url.starts_with("https://") && self.base.starts_with("https://") {
            return Err(Failure::refused("media", "Meta gave an address for the file that is not https"));
        }
        sent(self.files.get(url).bearer_auth(token)).await
    }

    /// Hands a file over for a number: `POST /{number}/media`. Returns the media id, good for 30 days.
    pub async fn upload(&self, number: &str, token: &str, mime_type: &str, name: &str, size: u64, bytes: Bytestream) -> Result<String, Failure> {
        let invalid = |e: reqwest::Error| Failure::refused("media", format!("{mime_type} is no media type: {e}"));
        let part =
            multipart::Part::stream_with_length(Body::wrap_stream(bytes), size).file_name(name.to_owned()).mime_str(mime_type).map_err(invalid)?;
        let form = multipart::Form::new().text("messaging_product", "whatsapp").text("type", mime_type.to_owned()).part("file", part);
        let answer = self.answer(self.files.post(self.url(&format!("{number}/media"), &[])).bearer_auth(token).multipart(form)).await?;
        match &answer["id"] {
            Value::String(id) if !id.is_empty() => Ok(id.clone()),
            Value::Number(id) => Ok(id.to_string()),
            _ => Err(Failure::unanswered("the answer holds no media id".to_owned())),
        }
    }

    /// Hands a file over as an example for a template's header: the resumable upload of an app. Returns its handle.
    pub async fn upload_example(&self, app: &str, token: &str, mime_type: &str, name: &str, size: u64, bytes: Bytestream) -> Result<String, Failure> {
        let length = size.to_string();
        let query = [("file_name", name), ("file_length", length.as_str()), ("file_type", mime_type)];
        let session = self.answer(self.client.post(self.url(&format!("{app}/uploads"), &query)).bearer_auth(token)).await?;
        let session = session["id"].as_str().ok_or_else(|| Failure::unanswered("the answer holds no upload session".to_owned()))?;
        let request =
            self.files.post(format!("{}/{session}", self.base)).header("authorization", format!("OAuth {token}")).header("file_offset", "0");
        let answer = self.answer(request.header("content-length", size).body(Body::wrap_stream(bytes))).await?;
        answer["h"].as_str().map(str::to_owned).ok_or_else(|| Failure::unanswered("the answer holds no handle".to_owned()))
    }
}
