//! Addresses under which others can fetch a stored file for an hour: Instagram and connectors do.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

/// How long a link is good for.
const VALID: Duration = Duration::from_secs(3600);

/// Makes and checks links. The key is made of `SECRETS_KEY`.
#[derive(Clone)]
pub struct Links {
    key: [u8; 32],
    base: String,
}

impl Links {
    /// `base` is `PUBLIC_URL`.
    pub fn new(key: &[u8; 32], base: &str) -> Self {
        // Not the key itself: what signs links seals nothing.
        let derived = mac(key, "storage links");
        Self { key: derived, base: base.trim_end_matches('/').to_owned() }
    }

    /// A link to a file.
    pub fn sign(&self, name: &str) -> String {
        let until = now() + VALID.as_secs();
        format!("{}/storage/v1/object/sign/media/{name}?token={until}.{}", self.base, self.tag(name, until))
    }

    /// Whether a link's token is good for a file, now.
    pub fn opens(&self, name: &str, token: &str) -> bool {
        let Some((until, tag)) = token.split_once('.').and_then(|(until, tag)| Some((until.parse::<u64>().ok()?, tag))) else { return false };
        let Ok(tag) = BASE64_URL_SAFE_NO_PAD.decode(tag) else { return false };
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return false };
        until >= now() && mac.chain_update(said(name, until)).verify_slice(&tag).is_ok()
    }

    /// Where another agent may tell that it is done with a conversation's task, and the token to show there.
    pub fn callback(&self, organization: Uuid, conversation: Uuid) -> (String, String) {
        let url = format!("{}/functions/v1/agent-callback/{organization}/{conversation}", self.base);
        (url, BASE64_URL_SAFE_NO_PAD.encode(mac(&self.key, &format!("callback {organization} {conversation}"))))
    }

    /// Whether a callback's token is good.
    pub fn admits(&self, organization: Uuid, conversation: Uuid, token: &str) -> bool {
        let Ok(tag) = BASE64_URL_SAFE_NO_PAD.decode(token) else { return false };
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return false };
        mac.chain_update(format!("callback {organization} {conversation}")).verify_slice(&tag).is_ok()
    }

    fn tag(&self, name: &str, until: u64) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(mac(&self.key, &said(name, until)))
    }
}

fn said(name: &str, until: u64) -> String {
    format!("{until} {name}")
}

fn mac(key: &[u8; 32], text: &str) -> [u8; 32] {
    Hmac::<Sha256>::new_from_slice(key).map(|mac| mac.chain_update(text).finalize().into_bytes().into()).unwrap_or_default()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_opens_its_file_only() {
        let links = Links::new(&[7; 32], "https://x/");
        let link = links.sign("organizations/o/attachments/a");
        let (address, token) = link.split_once("?token=").expect("a token");
        assert_eq!(address, "https://x/storage/v1/object/sign/media/organizations/o/attachments/a");
        assert!(links.opens("organizations/o/attachments/a", token));
        assert!(!links.opens("organizations/o/attachments/b", token));
        assert!(!Links::new(&[8; 32], "").opens("organizations/o/attachments/a", token));
        let (_, tag) = token.split_once('.').expect("two parts");
        assert!(!links.opens("organizations/o/attachments/a", &format!("1.{tag}")));
    }
}
