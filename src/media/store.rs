//! Where files lie: a folder or an S3 bucket, by `STORAGE_URL`.

use std::{path::Path as File, sync::Arc, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart, aws::AmazonS3Builder, local::LocalFileSystem, path::Path, prefix::PrefixStore};
use reqwest::Url;
use tokio::io::AsyncReadExt;

/// The bytes of a stored file, as they come.
pub type Bytestream = BoxStream<'static, Result<Bytes, String>>;

/// How much of a file is in memory at once, on its way to the store.
const CHUNK: usize = 5 * 1024 * 1024;
/// How long the store may take for a call.
const PATIENCE: Duration = Duration::from_secs(30);

/// The store. Clones are the same one.
#[derive(Clone)]
pub struct Store(Arc<dyn ObjectStore>);

impl Store {
    /// `file:///folder` (made when it does not exist) or `s3://bucket/prefix`, with credentials and region from the usual
    /// `AWS_…` variables.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let parsed = Url::parse(url).with_context(|| format!("STORAGE_URL is no URL: {url}"))?;
        match parsed.scheme() {
            "file" => {
                let folder = parsed.to_file_path().ok().context("STORAGE_URL is no path")?;
                std::fs::create_dir_all(&folder).with_context(|| format!("STORAGE_URL: {} cannot be made", folder.display()))?;
                Ok(Self(Arc::new(LocalFileSystem::new_with_prefix(&folder)?.with_automatic_cleanup(true))))
            }
            "s3" => {
                let bucket = AmazonS3Builder::from_env().with_url(url).build().context("STORAGE_URL")?;
                Ok(Self(Arc::new(PrefixStore::new(bucket, Path::from(parsed.path())))))
            }
            other => anyhow::bail!("STORAGE_URL has the scheme {other}; file and s3 are known"),
        }
    }

    /// Writes a file, in parts: what is in memory does not grow with it.
    pub async fn put(&self, name: &str, file: &File) -> anyhow::Result<()> {
        let mut reader = tokio::fs::File::open(file).await?;
        let upload = self.0.put_multipart(&Path::parse(name)?).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, CHUNK);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let n = reader.read(&mut buffer).await?;
            if n == 0 {
                break;
            }
            // At most one part under way besides the one that is filled.
            upload.wait_for_capacity(1).await?;
            upload.write(&buffer[..n]);
        }
        upload.finish().await?;
        Ok(())
    }

    /// Writes a small file that is in memory.
    pub async fn put_bytes(&self, name: &str, bytes: Bytes) -> anyhow::Result<()> {
        tokio::time::timeout(PATIENCE, self.0.put(&Path::parse(name)?, bytes.into())).await.context("the store does not answer")??;
        Ok(())
    }

    /// A file's size and its bytes. None when it is not there.
    pub async fn get(&self, name: &str) -> anyhow::Result<Option<(u64, Bytestream)>> {
        let found = tokio::time::timeout(PATIENCE, self.0.get(&Path::parse(name)?)).await.context("the store does not answer")?;
        match found {
            Ok(result) => {
                let size = result.meta.size;
                Ok(Some((size, result.into_stream().map(|chunk| chunk.map_err(|e| e.to_string())).boxed())))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a file. It need not be there.
    pub async fn delete(&self, name: &str) -> anyhow::Result<()> {
        let gone = tokio::time::timeout(PATIENCE, self.0.delete(&Path::parse(name)?)).await.context("the store does not answer")?;
        match gone {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A stream that can be told its size by reading it: for tests.
#[cfg(test)]
async fn size_of(mut stream: Bytestream) -> usize {
    let mut size = 0;
    while let Some(Ok(chunk)) = stream.next().await {
        size += chunk.len();
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(&format!("file://{}/new", folder.path().display())).expect("a store");
        let file = folder.path().join("large");
        std::fs::write(&file, vec![7u8; 11 * 1024 * 1024]).expect("written");
        store.put("organizations/o/attachments/x", &file).await.expect("stored");
        let (size, stream) = store.get("organizations/o/attachments/x").await.expect("an answer").expect("a file");
        assert_eq!(usize::try_from(size).ok(), Some(size_of(stream).await));
        assert!(folder.path().join("new/organizations/o/attachments/x").exists());
        store.delete("organizations/o/attachments/x").await.expect("gone");
        store.delete("organizations/o/attachments/x").await.expect("still gone");
        assert!(store.get("organizations/o/attachments/x").await.expect("an answer").is_none());
    }

    #[test]
    fn other_places_are_refused() {
        assert!(Store::new("ftp://x/y").is_err());
        assert!(Store::new("nonsense").is_err());
    }
}
