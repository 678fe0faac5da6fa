//! A database, a sandbox and processes of the release binary.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::json;
use tidings::{
    db::Db,
    sandbox::{Sandbox, Settings},
};
use tokio::net::TcpListener;
use uuid::Uuid;

pub const SECRET: &str = "bench-secret";

pub struct Setting {
    pub url: String,
    pub superuser: String,
    pub db: Db,
    pub sandbox: Sandbox,
    pub sandbox_url: String,
    pub port: u16,
}

pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

impl Setting {
    pub async fn new() -> Self {
        let superuser = std::env::var("BENCH_SERVER").expect("run by scripts/bench");
        let host = superuser.rsplit_once('@').unwrap().1.trim_end_matches("/postgres").to_owned();
        let name = format!("bench_{}", Uuid::new_v4().simple());
        let admin = Db::new(&format!("postgres://bench:bench@{host}/postgres"), 1).unwrap();
        admin.get().await.unwrap().batch_execute(&format!("create database {name}")).await.unwrap();
        let url = format!("postgres://bench:bench@{host}/{name}");
        let mut client = tidings::command::migrate::connect(&url).await.unwrap();
        tidings::db::migrate::run(&mut client).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sandbox_url = format!("http://{}", listener.local_addr().unwrap());
        let sandbox = Sandbox::new(Settings { receipts: false, rate: 0, pairs: false, ..Settings::default() });
        tokio::spawn(sandbox.clone().run(listener));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let superuser = superuser.replace("/postgres", &format!("/{name}")).replace(&format!("//{name}:"), "//postgres:");
        // Under a name of its own: what the processes connect with can be counted.
        Self { db: Db::new(&format!("{url}?application_name=bench"), 8).unwrap(), url, superuser, sandbox, sandbox_url, port }
    }

    pub async fn serve(&self, only: Option<&str>) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.arg("serve").current_dir(std::env::temp_dir());
        if let Some(parts) = only {
            command.args(["--only", parts]);
        }
        command
            .env("DATABASE_URL", &self.url)
            .env("LISTEN_ADDR", format!("127.0.0.1:{}", self.port))
            .env("META_APP_SECRET", SECRET)
            .env("WHATSAPP_VERIFY_TOKEN", "v")
            .env("SECRETS_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
            .env("META_SYSTEM_USER_ACCESS_TOKEN", "token")
            .env("GRAPH_API_URL", &self.sandbox_url)
            .env("STORAGE_URL", format!("file://{}/tidings-bench-{}", std::env::temp_dir().display(), self.port))
            .env("OUTBOUND_ALLOW", "127.0.0.0/8")
            .env("RUST_LOG", "warn");
        let process = Process(command.stdout(Stdio::null()).spawn().unwrap());
        if only.is_none_or(|o| o.contains("http")) {
            let url = format!("http://127.0.0.1:{}/readyz", self.port);
            while !reqwest::get(&url).await.is_ok_and(|r| r.status() == 200) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        process
    }

    /// Organizations with a number each, which may send as fast as they like.
    pub async fn organizations(&self, count: i32) -> Vec<Uuid> {
        let sql = "insert into public.organizations (name, extra) select 'Bench ' || n, '{\"response_delay_seconds\": 0}' from generate_series(1, $1) n returning id";
        let ids: Vec<Uuid> = self.db.query(sql, &[&count]).await.unwrap().iter().map(|r| r.get(0)).collect();
        let extra = json!({"waba_id": "w", "phone_number": "1"});
        let sql = "insert into public.organizations_addresses (organization_id, service, address, extra)
            select o.id, 'whatsapp', 'n' || o.i, $2 from unnest($1::uuid[]) with ordinality o (id, i)";
        self.db.query(sql, &[&ids, &extra]).await.unwrap();
        self.db.query("update bus.lanes set rate = 1000000", &[]).await.unwrap();
        ids
    }

    pub async fn execute(&self, sql: &str) {
        self.db.get().await.unwrap().batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    pub async fn count(&self, what: &str) -> i64 {
        self.db.one(&format!("select count(*) from {what}"), &[]).await.unwrap().get(0)
    }

    /// pgbench with a script, for some seconds: transactions a second.
    pub async fn pgbench(&self, script: &str, clients: usize, seconds: usize) -> f64 {
        let path = std::env::temp_dir().join(format!("tidings-{}.sql", Uuid::new_v4()));
        std::fs::write(&path, script).unwrap();
        let mut command = Command::new("pgbench");
        command.args([
            "-n",
            "-M",
            "prepared",
            "-j",
            "2",
            "-c",
            &clients.to_string(),
            "-T",
            &seconds.to_string(),
            "-f",
            path.to_str().unwrap(),
            &self.url,
        ]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let _ = std::fs::remove_file(path);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let tps = text.lines().find_map(|l| l.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        tps.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
    }
}
