//! (k) How much more memory a process has resident while a file of 100 MB passes through it.

use std::time::Duration;

use serde_json::json;
use tidings::sandbox::phone::{envelope, sign};

use crate::{Setting, line, setting::SECRET};

const SIZE: u64 = 100_000_000;

pub async fn memory() {
    let setting = Setting::new().await;
    let organization = setting.organizations(1).await[0];
    let process = setting.serve(None).await;
    let pid = process.0.id();
    let media = setting.sandbox.media(|m| {
        // A small one first: what is loaded for any file is not what a large one costs.
        let small = m.put(b"small", "video/mp4");
        m.put_large("900900900900", SIZE);
        small
    });
    receive(&setting, &media, 1).await;
    let before = resident(pid);
    let (received, inbound) = peak(pid, receive(&setting, "900900900900", 2)).await;
    let () = received;
    line("(k) resident memory for a file of 100 MB that comes in", &format!("{:+.1} MB", inbound - before), &format!("{before:.0} MB before"), None);
    let before = resident(pid);
    let (sent, outbound) = peak(pid, send(&setting, organization)).await;
    let () = sent;
    line("(k) the same, going out", &format!("{:+.1} MB", outbound - before), &format!("{before:.0} MB before"), None);
}

async fn receive(setting: &Setting, media: &str, n: usize) {
    let message = json!({"id": format!("wamid.{n}"), "from": "549", "timestamp": chrono::Utc::now().timestamp().to_string(), "type": "document",
        "document": {"id": media, "mime_type": "application/pdf"}});
    let body = envelope(&json!("n1"), &json!({"contacts": [{"wa_id": "549"}], "messages": [message]})).to_string();
    let request = reqwest::Client::new().post(format!("http://127.0.0.1:{}/functions/v1/whatsapp-webhook", setting.port));
    request.header("x-hub-signature-256", sign(SECRET, body.as_bytes())).body(body).send().await.unwrap();
    while setting.count("public.messages where content #>> '{file,uri}' like 'internal://%'").await < n as i64 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn send(setting: &Setting, organization: uuid::Uuid) {
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
        select $1, 'n1', '549', 'whatsapp', 'outgoing', jsonb_build_object('version', '1', 'type', 'file', 'kind', 'document', 'file', m.content -> 'file')
        from public.messages m where m.external_id = 'wamid.2'";
    setting.db.query(sql, &[&organization]).await.unwrap();
    while setting.count("public.messages where direction = 'outgoing' and status ? 'accepted'").await < 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The most that was resident while something was done, in MB.
async fn peak<T>(pid: u32, work: impl Future<Output = T>) -> (T, f64) {
    let mut most = resident(pid);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return (done, most.max(resident(pid))),
            () = tokio::time::sleep(Duration::from_millis(5)) => most = most.max(resident(pid)),
        }
    }
}

fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kb: f64 = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap();
    kb / 1024.0
}
