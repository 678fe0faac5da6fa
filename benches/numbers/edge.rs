//! (a) Signed webhooks accepted a second, against single-row inserts of the same bodies by pgbench.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tidings::sandbox::phone::{envelope, sign};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    line, median,
    setting::{SECRET, Setting},
};

const SECONDS: u64 = 5;

pub async fn webhooks(runs: usize) {
    let contact = json!({"wa_id": "5491155550000", "profile": {"name": "Ana"}, "user_id": "AR.13491208655302741918"});
    let message = json!({"id": "wamid.HBgNNTQ5MTE1NTU1MDAwMBUCABIYFDNBRkY", "from": "5491155550000", "timestamp": "1780000000", "type": "text", "text": {"body": "hello there"}});
    let body = envelope(&json!("n1"), &json!({"contacts": [contact], "messages": [message]})).to_string();
    let setting = Setting::new().await;
    setting.execute("create table public.plain (id bigint generated always as identity primary key, received_at timestamptz not null default now(), body bytea not null)").await;
    let script = format!("insert into public.plain (body) values (convert_to('{body}', 'UTF8'));\n");
    let _process = setting.serve(Some("http")).await;
    for clients in [1, 16, 64] {
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            plain.push(setting.pgbench(&script, clients, SECONDS as usize).await);
            ours.push(post(setting.port, &body, clients).await);
            setting.execute("truncate public.plain, bus.journal cascade; delete from bus.tasks").await;
            setting.execute("vacuum bus.tasks").await;
        }
        let (ours, plain) = (median(ours), median(plain));
        line(
            &format!("(a) webhooks accepted, {clients} clients"),
            &format!("{ours:.0}/s"),
            &format!("{plain:.0}/s inserts by pgbench"),
            Some(ours / plain),
        );
    }
}

/// Keep-alive connections that each post one webhook after the other.
async fn post(port: u16, body: &str, clients: usize) -> f64 {
    let request = format!(
        "POST /functions/v1/whatsapp-webhook HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: {}\r\ncontent-length: {}\r\n\r\n{body}",
        sign(SECRET, body.as_bytes()),
        body.len()
    );
    let (request, done) = (Arc::new(request), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let until = began + Duration::from_secs(SECONDS);
    let clients = (0..clients).map(|_| {
        let (request, done) = (request.clone(), done.clone());
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut answer = [0u8; 2048];
            while Instant::now() < until {
                stream.write_all(request.as_bytes()).await.unwrap();
                let n = stream.read(&mut answer).await.unwrap();
                assert!(answer[..n].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..n]));
                done.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    futures_util::future::join_all(clients.collect::<Vec<_>>()).await;
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}
