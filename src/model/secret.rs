//! Stored credentials: AES-256-GCM under `SECRETS_KEY`, bound to the place they belong to, so that a sealed value copied
//! to another row or another organization does not open.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use uuid::Uuid;

/// A credential as the database hands it to the loops.
#[derive(Deserialize, Clone)]
pub struct Credential {
    /// Whose it is.
    pub organization_id: Uuid,
    /// The table it came from.
    pub subject: String,
    /// The row's key.
    pub subject_key: String,
    /// Where in `extra` it stood.
    pub path: String,
    /// The value, while it has not been sealed yet.
    pub plain: Option<String>,
    /// Nonce and ciphertext, base64.
    #[serde(default)]
    pub sealed: Option<String>,
}

/// Seals and opens credentials.
pub struct Sealer(RandomizedNonceKey);

impl Sealer {
    /// With the key of `SECRETS_KEY`.
    pub fn new(key: &[u8; 32]) -> anyhow::Result<Self> {
        Ok(Self(RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| anyhow::anyhow!("SECRETS_KEY is not usable"))?))
    }

    /// Seals a value for its place: base64 of nonce and ciphertext.
    pub fn seal(&self, credential: &Credential, value: &str) -> anyhow::Result<String> {
        let mut data = value.as_bytes().to_vec();
        let nonce = self.0.seal_in_place_append_tag(place(credential), &mut data).map_err(|_| anyhow::anyhow!("sealing failed"))?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend(data);
        Ok(BASE64_STANDARD.encode(sealed))
    }

    /// The value. An error when it was sealed with another key or for another place.
    pub fn open(&self, credential: &Credential) -> anyhow::Result<String> {
        if let Some(plain) = &credential.plain {
            return Ok(plain.clone());
        }
        let sealed = credential.sealed.as_deref().unwrap_or_default();
        // PostgreSQL breaks base64 into lines.
        let mut bytes = BASE64_STANDARD.decode(sealed.replace('\n', ""))?;
        anyhow::ensure!(bytes.len() > NONCE_LEN, "the sealed value is too short");
        let mut data = bytes.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).map_err(|_| anyhow::anyhow!("the sealed value has no nonce"))?;
        let plain = self
            .0
            .open_in_place(nonce, place(credential), &mut data)
            .map_err(|_| anyhow::anyhow!("the credential {} was sealed with another SECRETS_KEY", credential.path))?;
        Ok(String::from_utf8(plain.to_vec())?)
    }
}

fn place(c: &Credential) -> Aad<String> {
    Aad::from(format!("{}\n{}\n{}\n{}", c.organization_id, c.subject, c.subject_key, c.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_in_its_place() {
        let sealer = Sealer::new(&[7; 32]).expect("a key");
        let mut credential = Credential {
            organization_id: Uuid::nil(),
            subject: "agents".into(),
            subject_key: "1".into(),
            path: "api_key".into(),
            plain: None,
            sealed: None,
        };
        credential.sealed = Some(sealer.seal(&credential, "sk-1").expect("sealed"));
        assert_eq!(sealer.open(&credential).expect("opened"), "sk-1");
        credential.organization_id = Uuid::max();
        assert!(sealer.open(&credential).is_err());
    }
}
