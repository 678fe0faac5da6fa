//! A file on its way in: written to a temporary file as it comes, so that memory does not grow with it, and hashed and
//! counted while it does.

use std::path::Path;

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

/// A received file.
pub struct Spool {
    file: NamedTempFile,
    /// Its bytes.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
}

/// Why a file did not come in.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// It has more bytes than are taken.
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    /// It broke off.
    #[error("the file broke off: {0}")]
    Broken(String),
    /// It could not be written here.
    #[error("the file cannot be written: {0}")]
    Disk(#[from] std::io::Error),
}

impl Spool {
    /// Takes a file in, up to `limit` bytes.
    pub async fn take<S, E>(mut stream: S, limit: u64) -> Result<Self, SpoolError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let file = NamedTempFile::new()?;
        let mut writer = tokio::io::BufWriter::with_capacity(256 * 1024, tokio::fs::File::from_std(file.reopen()?));
        let (mut size, mut digest) = (0u64, Sha256::new());
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|e| SpoolError::Broken(e.to_string()))?;
            size += chunk.len() as u64;
            if size > limit {
                return Err(SpoolError::TooLarge(limit));
            }
            digest.update(&chunk);
            writer.write_all(&chunk).await?;
        }
        writer.flush().await?;
        Ok(Self { file, size, sha256: digest.finalize().into() })
    }

    /// Where it lies until it is dropped.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Whether it is what somebody said it is: a SHA-256 in hexadecimal or in base64, as Meta writes it here and there.
    pub fn is(&self, sha256: &str) -> bool {
        let hex: String = self.sha256.iter().map(|b| format!("{b:02x}")).collect();
        sha256.eq_ignore_ascii_case(&hex)
            || [&BASE64_STANDARD, &BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE_NO_PAD].iter().any(|b| b.encode(self.sha256) == sha256)
    }

    /// The name it is stored under.
    pub fn name(&self, organization: Uuid) -> String {
        object_name(organization, &BASE64_URL_SAFE_NO_PAD.encode(self.sha256))
    }
}

/// Where a file of an organization lies: the key that existing clients know.
pub fn object_name(organization: Uuid, id: &str) -> String {
    format!("organizations/{organization}/attachments/{id}")
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    async fn take(parts: &[&'static str], limit: u64) -> Result<Spool, SpoolError> {
        Spool::take(stream::iter(parts.iter().map(|p| Ok::<_, String>(Bytes::from_static(p.as_bytes())))), limit).await
    }

    #[tokio::test]
    async fn counted_hashed_and_limited() {
        let spool = take(&["ab", "c"], 3).await.expect("a file");
        assert_eq!(spool.size, 3);
        assert!(spool.is("BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"));
        assert!(spool.is("ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="));
        assert!(!spool.is("ungWv48B"));
        assert!(spool.name(Uuid::nil()).ends_with("/attachments/ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"));
        assert!(matches!(take(&["abcd"], 3).await, Err(SpoolError::TooLarge(3))));
    }
}
