//! A world for each test: a fresh database, a sandbox, and as many real processes as it takes.

use std::{
    future::Future,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidings::{
    db::Db,
    sandbox::{
        Sandbox, Settings,
        phone::{envelope, sign},
    },
};
use tokio::net::TcpListener;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

pub const BINARY: &str = env!("CARGO_BIN_EXE_tidings");
pub const NUMBER: &str = "111";
pub const SECRET: &str = "app-secret";
pub const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

pub struct World {
    pub url: String,
    pub db: Db,
    pub sandbox: Sandbox,
    pub sandbox_url: String,
    pub http: reqwest::Client,
    port: u16,
    storage: tempfile::TempDir,
}

/// A process of the real binary, killed when dropped.
pub struct Process {
    child: Child,
    pub address: String,
}

impl Process {
    pub fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Waits for its end, while the sandbox goes on.
    pub async fn wait(&mut self) -> i32 {
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A fresh database on the test server, by the owner who is no superuser.
pub async fn fresh_database() -> String {
    let server = std::env::var("TIDINGS_TEST_SERVER").expect("run the tests by scripts/test: it starts PostgreSQL");
    let name = format!("t_{}", Uuid::new_v4().simple());
    let admin = Db::new(&format!("{server}/postgres"), 1).unwrap();
    // A template can be copied by one at a time.
    eventually("a copy of the template", || async {
        let client = admin.get().await.unwrap();
        client.batch_execute(&format!("create database {name} template tidings_template strategy file_copy")).await.is_ok()
    })
    .await;
    format!("{server}/{name}")
}

impl World {
    pub async fn new() -> Self {
        Self::on(fresh_database().await).await
    }

    /// On a database of the test's own.
    pub async fn on(url: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sandbox_url = format!("http://{}", listener.local_addr().unwrap());
        let port = free_port();
        let sandbox = Sandbox::new(Settings {
            webhook_url: format!("http://127.0.0.1:{port}/functions/v1/whatsapp-webhook"),
            app_secret: SECRET.into(),
            receipt_ms: 5,
            rate: 0,
            pairs: false,
            ..Settings::default()
        });
        tokio::spawn(sandbox.clone().run(listener));
        Self { db: Db::new(&url, 8).unwrap(), url, sandbox, sandbox_url, http: reqwest::Client::new(), port, storage: tempfile::tempdir().unwrap() }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(arguments)
            .current_dir(std::env::temp_dir())
            .env("DATABASE_URL", &self.url)
            .env("META_APP_ID", "app-1|app-2")
            .env("META_APP_SECRET", format!("{SECRET}|other-secret"))
            .env("WHATSAPP_VERIFY_TOKEN", "verify-me")
            .env("SECRETS_KEY", KEY)
            .env("META_SYSTEM_USER_ACCESS_TOKEN", "system-token")
            .env("GRAPH_API_URL", &self.sandbox_url)
            .env("STORAGE_URL", format!("file://{}", self.storage.path().display()))
            .env("OUTBOUND_ALLOW", "127.0.0.0/8")
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".into()));
        command
    }

    /// A process on the port that the sandbox's webhooks go to. Waits until it is ready.
    pub async fn serve(&self) -> Process {
        self.serve_parts(&[], self.port).await
    }

    /// A further process, on another port.
    pub async fn serve_another(&self) -> Process {
        self.serve_parts(&[], free_port()).await
    }

    /// A process with further settings, on another port.
    pub async fn serve_with(&self, environment: &[(&str, &str)]) -> Process {
        let port = free_port();
        let mut command = self.command(&["serve"]);
        command.env("LISTEN_ADDR", format!("127.0.0.1:{port}")).envs(environment.iter().copied());
        let process = Process { child: command.stdout(Stdio::null()).spawn().unwrap(), address: format!("http://127.0.0.1:{port}") };
        eventually("the process is ready", || async {
            self.http.get(format!("{}/readyz", process.address)).send().await.is_ok_and(|r| r.status() == 200)
        })
        .await;
        process
    }

    pub async fn serve_parts(&self, arguments: &[&str], port: u16) -> Process {
        let process = self.launch(arguments, port);
        eventually("the process is ready", || async {
            self.http.get(format!("{}/readyz", process.address)).send().await.is_ok_and(|r| r.status() == 200)
        })
        .await;
        process
    }

    pub fn launch(&self, arguments: &[&str], port: u16) -> Process {
        let mut all = vec!["serve"];
        all.extend(arguments);
        let child = self.command(&all).env("LISTEN_ADDR", format!("127.0.0.1:{port}")).stdout(Stdio::null()).spawn().unwrap();
        Process { child, address: format!("http://127.0.0.1:{port}") }
    }

    /// Where the processes keep files.
    pub fn storage(&self) -> &std::path::Path {
        self.storage.path()
    }

    /// The port that the sandbox's webhooks go to.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub async fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = self.command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), text)
    }

    pub async fn organization(&self, extra: Value) -> Uuid {
        self.value("insert into public.organizations (name, extra) values ('Test', $1) returning id", &[&extra]).await
    }

    pub async fn number(&self, organization: Uuid, address: &str) {
        let extra = json!({"waba_id": "w", "phone_number": "15550001111", "access_token": format!("token-of-{address}")});
        let sql = "insert into public.organizations_addresses (organization_id, service, address, extra) values ($1, 'whatsapp', $2, $3)";
        self.execute(sql, &[&organization, &address, &extra]).await;
    }

    pub async fn agent(&self, organization: Uuid) -> Uuid {
        let extra = json!({"api_url": format!("{}/v1", self.sandbox_url), "model": "sandbox", "instructions": "Be nice."});
        self.value(
            "insert into public.agents (organization_id, name, ai, extra) values ($1, 'Agent', true, $2) returning id",
            &[&organization, &extra],
        )
        .await
    }

    /// An organization that answers at once, with a number and an agent.
    pub async fn furnished(&self) -> Uuid {
        let organization = self.organization(json!({"response_delay_seconds": 0})).await;
        self.number(organization, NUMBER).await;
        self.agent(organization).await;
        organization
    }

    /// An outgoing text.
    pub async fn send(&self, organization: Uuid, to: &str, text: &str) -> Uuid {
        let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
            values ($1, $2, $3, 'whatsapp', 'outgoing', $4) returning id";
        self.value(sql, &[&organization, &NUMBER, &to, &text_content(text)]).await
    }

    pub async fn value<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> T {
        self.db.one(sql, parameters).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0)
    }

    pub async fn execute(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) {
        self.db.query(sql, parameters).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    /// The message with which the database refuses a statement.
    pub async fn refusal(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> String {
        let error = self.db.query(sql, parameters).await.expect_err("to be refused");
        tidings::db::refusal(&error).map_or_else(|| format!("{error:?}"), |e| e.message().to_owned())
    }

    pub async fn count(&self, what: &str) -> i64 {
        self.value(&format!("select count(*) from {what}"), &[]).await
    }

    /// Waits until this holds in the database.
    pub async fn until(&self, what: &str, condition: &str) {
        let sql = format!("select coalesce(({condition})::boolean, false)");
        eventually(what, || async { self.db.one(&sql, &[]).await.is_ok_and(|row| row.get::<_, bool>(0)) }).await;
    }

    pub async fn idle(&self) {
        self.until("nothing is left to do", "select not exists (select from bus.tasks)").await;
    }

    /// Posts a body with the signature of the app.
    pub async fn webhook(&self, process: &Process, body: impl Into<String>) -> reqwest::Response {
        let body = body.into();
        let url = format!("{}/functions/v1/whatsapp-webhook", process.address);
        self.http.post(url).header("x-hub-signature-256", sign(SECRET, body.as_bytes())).body(body).send().await.unwrap()
    }

    pub async fn messages(&self) -> Vec<Value> {
        let rows = self.db.query("select to_jsonb(m) from public.messages m order by m.timestamp, m.id", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

pub fn text_content(text: &str) -> Value {
    json!({"version": "1", "type": "text", "kind": "text", "text": text})
}

/// A webhook with one text.
pub fn text_webhook(number: &str, from: &str, id: &str, at: i64, text: &str) -> Value {
    let contact = json!({"wa_id": from, "profile": {"name": format!("Contact {from}")}});
    let message = json!({"id": id, "from": from, "timestamp": at.to_string(), "type": "text", "text": {"body": text}});
    envelope(&json!(number), &json!({"contacts": [contact], "messages": [message]}))
}

/// A webhook with one status.
pub fn status_webhook(number: &str, id: &str, state: &str, at: i64, ours: Option<Uuid>) -> Value {
    let mut status = json!({"id": id, "status": state, "timestamp": at.to_string(), "recipient_id": "549"});
    if let Some(ours) = ours {
        status["biz_opaque_callback_data"] = json!(ours);
    }
    envelope(&json!(number), &json!({"statuses": [status]}))
}

pub fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Waits for something that must come about, half a minute at most.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !condition().await {
        assert!(Instant::now() < deadline, "never came about: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
