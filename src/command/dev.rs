//! `tidings dev`: everything on one machine, without an account with anyone.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::migrate::connect;
use crate::{
    config::{Config, Part},
    db::{embedded, migrate},
    sandbox::{Sandbox, Settings},
    serve,
};

/// The demo organization's number, as Meta would name it, and as people dial it.
const NUMBER: &str = "100000000000001";
const PHONE: &str = "15550001111";

/// Where to keep things.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder of the private PostgreSQL and of what was made up for the demo
    #[arg(long, default_value = ".data")]
    data: PathBuf,
}

/// What `dev` made up, and where things are: `.data/dev.json`, readable by its owner only.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Notes {
    database_url: String,
    http: String,
    sandbox: String,
    organization_id: Option<Uuid>,
    number: String,
    api_key: String,
    app_secret: String,
    verify_token: String,
    secrets_key: String,
    password: String,
}

impl Notes {
    fn read(data: &Path) -> Self {
        let notes = std::fs::read(data.join("dev.json")).ok().and_then(|b| serde_json::from_slice(&b).ok());
        let mut notes: Notes = notes.unwrap_or_default();
        let make_up = |value: &mut String, length: usize| {
            if value.is_empty() {
                let bytes: Vec<u8> = (0..length.div_ceil(16)).flat_map(|_| *Uuid::new_v4().as_bytes()).take(length).collect();
                *value = BASE64_STANDARD.encode(bytes);
            }
        };
        make_up(&mut notes.app_secret, 24);
        make_up(&mut notes.verify_token, 12);
        make_up(&mut notes.secrets_key, 32);
        if notes.password.is_empty() {
            notes.password = Uuid::new_v4().simple().to_string();
        }
        notes
    }

    fn write(&self, data: &Path) -> anyhow::Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = data.join("dev.json");
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(serde_json::to_writer_pretty(file, self)?)
    }
}

/// Starts PostgreSQL, migrates, starts the sandbox, makes the demo organization, serves, and says how to talk to it.
pub async fn run(mut config: Config, arguments: &Arguments, stop: CancellationToken) -> anyhow::Result<()> {
    let data = arguments.data.clone();
    std::fs::create_dir_all(&data).with_context(|| format!("{} cannot be made", data.display()))?;
    let mut notes = Notes::read(&data);
    // Always its own: a DATABASE_URL in .env may be one that customers depend on.
    let url = own_database(&embedded::start(&data, &[]).await?, &notes.password).await?;
    config.database_url = Some(url.clone());
    let result = async {
        migrate::run(&mut connect(&url).await?).await?;
        demo(config, &mut notes, &data, stop).await
    }
    .await;
    embedded::stop(&data, "fast").await?;
    result
}

/// A database that belongs to a role which is no superuser, as in production.
async fn own_database(superuser: &str, password: &str) -> anyhow::Result<String> {
    let admin = connect(superuser).await?;
    // The password is hexadecimal, so it needs no quoting.
    if admin.query_opt("select from pg_roles where rolname = 'tidings'", &[]).await?.is_none() {
        admin.batch_execute("create role tidings login nosuperuser").await?;
    }
    admin.batch_execute(&format!("alter role tidings password '{password}'")).await?;
    if admin.query_opt("select from pg_database where datname = 'tidings'", &[]).await?.is_none() {
        admin.batch_execute("create database tidings owner tidings").await?;
    }
    let mut url = reqwest::Url::parse(superuser).context("the cluster's URL")?;
    url.set_username("tidings").ok().context("the cluster's URL")?;
    url.set_password(Some(password)).ok().context("the cluster's URL")?;
    url.set_path("/tidings");
    Ok(url.into())
}

async fn demo(mut config: Config, notes: &mut Notes, data: &Path, stop: CancellationToken) -> anyhow::Result<()> {
    let url = config.database_url.clone().context("no database")?;
    let listener = listen(config.listen_addr).await?;
    let http = format!("http://{}", listener.local_addr()?);
    let sandbox_listener = TcpListener::bind("127.0.0.1:0").await?;
    let sandbox_url = format!("http://{}", sandbox_listener.local_addr()?);
    // With real settings the same binary talks to the real Meta; the demo number does not exist there.
    let real = !config.meta_app_secret.is_empty();
    if !real {
        config.meta_app_secret = notes.app_secret.clone();
        config.graph_api_url = sandbox_url.clone();
        config.meta_app_id = String::new();
        config.meta_system_user_access_token = None;
    }
    if config.whatsapp_verify_token.is_empty() {
        config.whatsapp_verify_token = notes.verify_token.clone();
    }
    config.secrets_key = config.secrets_key.or_else(|| Some(notes.secrets_key.clone()));
    config.storage_url =
        config.storage_url.or_else(|| Some(format!("file://{}", std::path::absolute(data.join("storage")).unwrap_or_default().display())));
    config.public_url = config.public_url.or_else(|| Some(http.clone()));
    if config.outbound_allow.is_empty() {
        config.outbound_allow = "127.0.0.0/8".to_owned();
    }
    let problems = config.problems(&Part::ALL);
    anyhow::ensure!(problems.is_empty(), problems.join("\n"));
    let sandbox = Sandbox::new(Settings {
        webhook_url: format!("{http}/functions/v1/whatsapp-webhook"),
        app_secret: config.meta_app_secret.clone(),
        receipt_ms: 300,
        think_ms: 700,
        accounts: [("100000000000000".to_owned(), vec![NUMBER.to_owned()])].into(),
        ..Settings::default()
    });
    tokio::spawn(sandbox.run(sandbox_listener));

    notes.database_url = url.clone();
    notes.http = http.clone();
    notes.sandbox = sandbox_url.clone();
    notes.number = NUMBER.to_owned();
    furnish(&connect(&url).await?, &config, notes).await?;
    notes.write(data)?;

    let serving = serve::run(&config, &Part::ALL, Some(listener), serve::recorder()?, stop.clone());
    let welcome = async {
        ready(&http).await;
        println!("{}", text(notes, real));
        stop.cancelled().await;
        anyhow::Ok(())
    };
    tokio::try_join!(serving, welcome)?;
    Ok(())
}

/// The usual address, or another port when that is taken: a demo should start.
async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(SocketAddr::new(address.ip(), 0)).await.with_context(|| format!("cannot listen on {}", address.ip())),
    }
}

/// The demo organization with its number, its agent and a key.
async fn furnish(client: &Client, config: &Config, notes: &mut Notes) -> anyhow::Result<()> {
    let known = match notes.organization_id {
        Some(id) => client.query_opt("select from public.organizations where id = $1", &[&id]).await?.map(|_| id),
        None => None,
    };
    let organization = match known {
        Some(id) => id,
        None => {
            let row = client
                .query_one("insert into public.organizations (name, extra) values ('Demo', '{\"response_delay_seconds\": 1}') returning id", &[])
                .await?;
            row.get(0)
        }
    };
    if known.is_none() || notes.api_key.is_empty() {
        let row = client
            .query_one("insert into public.api_keys (organization_id, name, role) values ($1, 'demo', 'admin') returning key", &[&organization])
            .await?;
        notes.api_key = row.get(0);
    }
    notes.organization_id = Some(organization);
    // A development number: whether its 24-hour window is open is left to the sandbox, which does not mind.
    let extra = json!({"waba_id": "100000000000000", "phone_number": PHONE, "verified_name": "Demo", "access_token": "sandbox", "environment": "development"});
    client
        .execute(
            "insert into public.organizations_addresses (organization_id, service, address, extra) values ($1, 'whatsapp', $2, $3) on conflict do nothing",
            &[&organization, &NUMBER, &extra],
        )
        .await?;
    // A model of one's own, where there is a key for one; otherwise the sandbox's, whose address changes.
    let model = if config.openai_api_key.is_some() {
        json!({"api_url": "openai"})
    } else {
        json!({"api_url": format!("{}/v1", notes.sandbox), "model": "sandbox"})
    };
    let updated =
        client.execute("update public.agents set extra = $2 where organization_id = $1 and name = 'Demo agent'", &[&organization, &model]).await?;
    if updated == 0 {
        let mut extra = model;
        extra["instructions"] = json!("You answer the customers of a small shop, in a friendly way and in one or two sentences.");
        client
            .execute("insert into public.agents (organization_id, name, ai, extra) values ($1, 'Demo agent', true, $2)", &[&organization, &extra])
            .await?;
    }
    Ok(())
}

async fn ready(http: &str) {
    while !reqwest::get(format!("{http}/readyz")).await.is_ok_and(|r| r.status().is_success()) {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

fn text(notes: &Notes, real: bool) -> String {
    let Notes { database_url, http, sandbox, number, api_key, .. } = notes;
    let organization = notes.organization_id.unwrap_or_default();
    let chat = if real {
        "META_APP_SECRET is set: messages go to the real Meta. Register your number as the README says.".to_owned()
    } else {
        "1. Write as a customer and see the agent answer (in another terminal):\n\n     target/debug/tidings chat\n".to_owned()
    };
    format!(
        "
tidings is running.

  database      psql {database_url}
  HTTP          {http}
  sandbox       {sandbox}   (plays Meta and the model)
  organization  {organization}   (Demo)
  API key       {api_key}

Two things to try:

  {chat}
  2. Send a message by inserting a row:

     curl {http}/rest/v1/messages -H 'api-key: {api_key}' -H 'content-type: application/json' -H 'prefer: return=representation' \\
       -d '{{\"organization_id\":\"{organization}\",\"organization_address\":\"{number}\",\"contact_address\":\"15550002222\",\"service\":\"whatsapp\",\"direction\":\"outgoing\",\"content\":{{\"version\":\"1\",\"type\":\"text\",\"kind\":\"text\",\"text\":\"Hello from a *row*\"}}}}'

     and see its ticks:  psql {database_url} -c \"select content->>'text' as text, status from public.messages order by id\"

Ctrl-C stops everything."
    )
}
