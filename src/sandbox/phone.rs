//! The phones: they write, receive and read; and the webhooks that tell of it.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::Sandbox;

impl Sandbox {
    /// Somebody writes to a number: a webhook goes out.
    pub async fn say(&self, said: &Value) -> Value {
        let from = said["from"].as_str().unwrap_or("15550002222");
        let id = {
            let mut state = self.lock();
            state.count += 1;
            let id = format!("wamid.phone.{:016x}.{}", state.count, uuid::Uuid::new_v4().simple());
            state.phones.entry(from.to_owned()).or_default().push(json!({"id": id, "own": true, "text": said["text"], "state": "sent"}));
            id
        };
        let mut message = json!({"id": id, "from": from, "timestamp": now(), "type": "text", "text": {"body": said["text"]}});
        if let Some(original) = said["reply_to"].as_str() {
            message["context"] = json!({"id": original, "from": said["number"]});
        }
        let contact = json!({"wa_id": from, "profile": {"name": said["name"].as_str().unwrap_or("Sandbox phone")}});
        let status = self.deliver(&envelope(&said["number"], &json!({"contacts": [contact], "messages": [message]}))).await;
        json!({"id": id, "status": status})
    }

    /// What is on a phone. With no more than `after` entries it waits so long for news, of entries or of their states.
    pub(super) async fn inbox(&self, address: &str, after: usize, wait_ms: u64) -> Value {
        let news = self.news.notified();
        let all = || self.lock().phones.get(address).cloned().unwrap_or_default();
        let mut messages = all();
        if messages.len() <= after && wait_ms > 0 {
            let _ = tokio::time::timeout(Duration::from_millis(wait_ms.min(20_000)), news).await;
            messages = all();
        }
        json!(messages)
    }

    /// The statuses of a message that was sent: sent, delivered, read.
    pub(super) async fn receipts(&self, number: &str, to: &str, wamid: &str, ours: &Value, pause: Duration) {
        for state in ["sent", "delivered", "read"] {
            tokio::time::sleep(pause).await;
            let mut status = json!({"id": wamid, "status": state, "timestamp": now(), "recipient_id": to});
            if ours.is_string() {
                status["biz_opaque_callback_data"] = ours.clone();
            }
            self.deliver(&envelope(&json!(number), &json!({"statuses": [status]}))).await;
            if let Some(m) = self.lock().phones.get_mut(to).and_then(|inbox| inbox.iter_mut().find(|m| m["id"] == wamid)) {
                m["state"] = json!(state);
            }
            self.news.notify_waiters();
        }
    }

    /// Sends a signed webhook, again and again until it is taken, as Meta does (but faster). Returns the last status.
    pub async fn deliver(&self, body: &Value) -> u16 {
        let fault = self.lock().faults.strike("webhook", body);
        if fault.lose {
            return 0;
        }
        fault.delay().await;
        if fault.reorder_ms > 0 {
            let random = u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
            let (sandbox, body) = (self.clone(), body.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(fault.reorder_ms * random / 255)).await;
                sandbox.post(&body, fault.duplicate).await
            });
            return 0;
        }
        self.post(body, fault.duplicate).await
    }

    async fn post(&self, body: &Value, duplicates: u32) -> u16 {
        let (url, secret) = {
            let state = self.lock();
            (state.settings.webhook_url.clone(), state.settings.app_secret.clone())
        };
        let bytes = body.to_string();
        let mut last = 0;
        for _ in 0..=duplicates {
            for attempt in 0..12u32 {
                let request = self.client.post(&url).header("x-hub-signature-256", sign(&secret, bytes.as_bytes())).body(bytes.clone());
                last = request.timeout(Duration::from_secs(10)).send().await.map_or(0, |r| r.status().as_u16());
                if last == 200 || last == 401 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100 << attempt.min(5))).await;
            }
        }
        last
    }
}

/// The header that Meta signs a body with.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let tag = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map(|mac| mac.chain_update(body).finalize().into_bytes());
    let hex: String = tag.iter().flatten().map(|b| format!("{b:02x}")).collect();
    format!("sha256={hex}")
}

/// A `messages` webhook for a number.
pub fn envelope(number: &Value, value: &Value) -> Value {
    let mut value = value.clone();
    value["messaging_product"] = json!("whatsapp");
    value["metadata"] = json!({"display_phone_number": "15550001111", "phone_number_id": number});
    json!({"object": "whatsapp_business_account", "entry": [{"id": "sandbox-waba", "changes": [{"field": "messages", "value": value}]}]})
}

fn now() -> String {
    chrono::Utc::now().timestamp().to_string()
}
