//! Starts the edges and the loops, and stops them in order.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    agent::{Keys, Models},
    bus::{Bells, Health, Listener, Work, Worker},
    config::{Config, Part},
    connector::Connectors,
    db::{Db, migrate},
    http::{self, Edge},
    instagram::Instagram,
    media::{Links, Store},
    model::Sealer,
    outbound::Guarded,
    whatsapp::Graph,
    work::{Agent, Dispatch, Files, Intake, Manage, Media, Preprocess, Receipts, Seal, Summarise, Sweep, Tokens, Upload},
};

/// Connections of a process: loops and edges hold one only while a statement runs.
const CONNECTIONS: usize = 12;

/// The process's metrics. At most once.
pub fn recorder() -> anyhow::Result<PrometheusHandle> {
    let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
    Ok(PrometheusBuilder::new().set_buckets(&buckets)?.install_recorder()?)
}

/// Runs these parts until `stop`: takes no more work, lets what runs end, writes its outcomes, gives leases back.
pub async fn run(
    config: &Config,
    parts: &[Part],
    listener: Option<TcpListener>,
    metrics: PrometheusHandle,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let url = config.database_url.clone().context("DATABASE_URL is not set")?;
    // Runs that wait for models hold a connection each; the usual limit of 1,024 is for programs that use select.
    if let Err(error) = rlimit::increase_nofile_limit(65_536) {
        warn!(%error, "the limit of open files cannot be raised");
    }
    let db = Db::new(&url, CONNECTIONS)?;
    let health = Health::default();
    // The edges stop first: what they take in while loops end would only wait for the next process.
    let mut edges = JoinSet::new();
    if let Some(listener) = listener.filter(|_| parts.contains(&Part::Http)) {
        let edge = Arc::new(Edge::new(config, db.clone(), health.clone(), metrics)?);
        edges.spawn(http::run(listener, edge, stop.clone()));
    }
    let mut loops = JoinSet::new();
    let queues: Vec<&'static str> = parts.iter().filter(|p| **p != Part::Http).map(|p| p.name()).collect();
    if !queues.is_empty() {
        for queue in &queues {
            health.bad(queue, "starting");
        }
        tokio::select! {
            () = schema(&db, &health) => {
                register(config, &db).await?;
                start(config, parts, &url, &db, &health, &stop, &mut loops)?;
            }
            () = stop.cancelled() => {}
        }
    }
    stop.cancelled().await;
    info!("stopping");
    while let Some(ended) = edges.join_next().await {
        ended??;
    }
    while let Some(ended) = loops.join_next().await {
        ended?;
    }
    info!("stopped");
    Ok(())
}

/// Waits until the database is there and its schema is current.
async fn schema(db: &Db, health: &Health) {
    let mut said = String::new();
    loop {
        let problem = match db.get().await {
            Ok(client) => match migrate::pending(&client).await {
                Ok(pending) if pending.is_empty() => break,
                Ok(_) => "the schema is not current: run `tidings migrate`".to_owned(),
                Err(error) => format!("{error:#}"),
            },
            Err(error) => format!("{error:#}"),
        };
        health.bad("schema", &problem);
        if problem != said {
            warn!(problem, "waiting for the database");
            said = problem;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    health.good("schema");
}

/// The one number of the environment, where the database has none.
async fn register(config: &Config, db: &Db) -> anyhow::Result<()> {
    let (Some(number), Some(token)) = (&config.whatsapp_phone_number_id, &config.whatsapp_access_token) else { return Ok(()) };
    let waba = &config.whatsapp_business_account_id;
    let row = db.one("select public.register_number($1, $2, $3)", &[number, token, waba]).await.context("WHATSAPP_PHONE_NUMBER_ID")?;
    if row.get(0) {
        info!(number, "registered the number of WHATSAPP_PHONE_NUMBER_ID");
    }
    Ok(())
}

fn start(
    config: &Config,
    parts: &[Part],
    url: &str,
    db: &Db,
    health: &Health,
    stop: &CancellationToken,
    loops: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let bells = Bells::new(&parts.iter().filter(|p| **p != Part::Http).map(|p| p.name()).collect::<Vec<_>>());
    let listener = Listener { url: url.to_owned(), db: db.clone(), bells: bells.clone(), health: health.clone(), stop: CancellationToken::new() };
    health.bad("listener", "starting");
    // Listens until the loops have ended.
    let listening = listener.stop.clone().drop_guard();
    tokio::spawn(listener.run());

    let key = config.key().map_err(anyhow::Error::msg)?.context("SECRETS_KEY is not set")?;
    let graph = Graph::new(&config.graph_api_url, &config.graph_api_version)?;
    let instagram = Instagram::new(&config.instagram_api_url, &config.instagram_api_version)?;
    let connectors = Connectors::new(config.bridges())?;
    let store = Store::new(&config.storage())?;
    let networks = config.networks().map_err(anyhow::Error::msg)?;
    let tokens = Tokens { sealer: Arc::new(Sealer::new(&key)?), fallback: config.meta_system_user_access_token.clone().filter(|t| !t.is_empty()) };
    let models = Models::new(networks.clone())?;
    let files = Files { store: store.clone(), db: db.clone() };
    let mut launch = Launch { db, health, bells: &bells, stop, loops };
    for part in parts {
        match part {
            Part::Http => {}
            Part::Intake => launch.spawn(Intake),
            Part::Agent => {
                let links = Links::new(&key, &config.public());
                launch.spawn(Agent::new(Sealer::new(&key)?, Keys::new(config), models.clone(), files.clone(), links, networks.clone())?)
            }
            Part::Summarise => launch.spawn(Summarise { models: models.clone(), keys: Keys::new(config), sealer: Sealer::new(&key)? }),
            Part::Preprocess => launch.spawn(Preprocess::new(models.clone(), Keys::new(config), files.clone(), Sealer::new(&key)?)),
            Part::Dispatch => launch.spawn(Dispatch {
                graph: graph.clone(),
                instagram: instagram.clone(),
                connectors: connectors.clone(),
                links: Links::new(&key, &config.public()),
                tokens: tokens.clone(),
            }),
            Part::Receipts => {
                launch.spawn(Receipts { graph: graph.clone(), instagram: instagram.clone(), connectors: connectors.clone(), tokens: tokens.clone() })
            }
            Part::Media => launch.spawn(Media {
                graph: graph.clone(),
                web: Guarded::streaming(networks.clone())?,
                store: store.clone(),
                tokens: tokens.clone(),
                db: db.clone(),
                limit: config.max_storage_upload_size,
            }),
            Part::Upload => launch.spawn(Upload { graph: graph.clone(), store: store.clone(), tokens: tokens.clone() }),
            Part::Sweep => launch.spawn(Sweep(store.clone())),
            Part::Manage => launch.spawn(Manage {
                graph: graph.clone(),
                instagram: instagram.clone(),
                store: store.clone(),
                tokens: tokens.clone(),
                db: db.clone(),
                apps: config.apps().map_err(anyhow::Error::msg)?,
                instagram_apps: config.instagram_apps().map_err(anyhow::Error::msg)?,
                instagram_login: config.instagram_login_url.clone(),
                models: models.clone(),
                keys: Keys::new(config),
            }),
            Part::Seal => launch.spawn(Seal(Sealer::new(&key)?)),
        }
    }
    let stop = stop.clone();
    loops.spawn(async move {
        stop.cancelled().await;
        drop(listening);
    });
    Ok(())
}

struct Launch<'a> {
    db: &'a Db,
    health: &'a Health,
    bells: &'a Bells,
    stop: &'a CancellationToken,
    loops: &'a mut JoinSet<()>,
}

impl Launch<'_> {
    fn spawn<W: Work>(&mut self, work: W) {
        let worker = Worker::new(work, self.db.clone(), self.bells.of(W::QUEUE), self.health.clone(), self.stop.clone());
        self.loops.spawn(worker.run());
    }
}
