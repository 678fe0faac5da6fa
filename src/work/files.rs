//! Files that loops make and read: tables, texts, what tools return. Small enough to be in memory.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    db::Db,
    media::{Store, object_name},
};

/// The store with its bookkeeping. Clones are the same.
#[derive(Clone)]
pub struct Files {
    /// Where files lie.
    pub store: Store,
    /// Where they are accounted for.
    pub db: Db,
}

impl Files {
    /// Stores a file that was made from a message and goes with it. Returns its `internal://` address.
    pub async fn keep(&self, organization: Uuid, message: Uuid, file_name: &str, mime_type: &str, bytes: Vec<u8>) -> anyhow::Result<String> {
        // Of this message alone: it can go without anybody else's going.
        let hash = Sha256::new().chain_update(message.as_bytes()).chain_update(&bytes).finalize();
        let name = object_name(organization, &BASE64_URL_SAFE_NO_PAD.encode(hash));
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let row = self.db.one("select storage.reserve($1, $2, $3, $4, $5)", &[&organization, &name, &size, &mime_type, &file_name]).await?;
        match row.get::<_, String>(0).as_str() {
            "ready" => {}
            "wait" => anyhow::bail!("an older file of the same content is being removed"),
            _ => self.store.put_bytes(&name, Bytes::from(bytes)).await?,
        }
        self.db.query("select storage.derive($1, $2, $3)", &[&organization, &name, &message]).await?;
        Ok(format!("internal://media/{name}"))
    }

    /// A stored file of the organization, up to `limit` bytes. The error is for whoever named the file.
    pub async fn read(&self, organization: Uuid, uri: &str, limit: u64) -> Result<Vec<u8>, String> {
        let own = object_name(organization, "");
        let name = uri.strip_prefix("internal://media/").filter(|n| n.starts_with(&own) && !n.contains("..")).ok_or("there is no such file")?;
        let (size, mut stream) = self.store.get(name).await.map_err(|e| format!("the file cannot be read: {e:#}"))?.ok_or("there is no such file")?;
        if size > limit {
            return Err(format!("the file has {size} bytes; {limit} are the limit"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk.map_err(|e| format!("the file cannot be read: {e}"))?);
        }
        Ok(bytes)
    }
}
