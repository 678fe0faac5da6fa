//! The binary: parse, and match on the subcommand.

use std::{io::IsTerminal, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};
use tidings::{
    command::{chat, dev, migrate, replay, status},
    config::{Config, Part},
    sandbox::{Sandbox, Settings},
    serve,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// A WhatsApp business backend with PostgreSQL as its message bus
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    config: Config,
}

#[derive(Subcommand)]
enum Command {
    /// Everything on this machine, with a private PostgreSQL and a sandbox for Meta and the model
    Dev(dev::Arguments),
    /// The HTTP edges and the loops, against DATABASE_URL
    Serve {
        /// Only these parts: http, intake, agent, dispatch, receipts, seal, media, upload, manage, sweep
        #[arg(long, value_delimiter = ',')]
        only: Vec<Part>,
        /// Migrate first
        #[arg(long)]
        migrate: bool,
    },
    /// Bring the database up to date
    Migrate(migrate::Arguments),
    /// Queues, journal and numbers as they are now
    Status(status::Arguments),
    /// Put failed work back
    Replay(replay::Arguments),
    /// Talk to the sandbox as a customer with a phone would
    Chat(chat::Arguments),
    /// Only the sandbox, on LISTEN_ADDR; its webhooks go to --webhook, signed with META_APP_SECRET
    Sandbox {
        /// Where webhooks go
        #[arg(long, default_value = "http://127.0.0.1:8080/functions/v1/whatsapp-webhook")]
        webhook: String,
    },
}

fn main() -> ExitCode {
    match dotenvy::dotenv() {
        Err(error) if !error.not_found() => {
            eprintln!(".env cannot be read: {error}");
            return ExitCode::FAILURE;
        }
        _ => {}
    }
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new(if matches!(cli.command, Command::Dev(_)) { "warn,tidings::work=info" } else { "info,refinery_core=warn,rmcp=warn" })
    });
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.compact().init();
    } else {
        log.json().flatten_event(true).init();
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let config = cli.config.without_empty();
    let url = || config.database_url.clone().context("DATABASE_URL is not set: where is PostgreSQL?");
    match cli.command {
        Command::Dev(arguments) => dev::run(config, &arguments, on_signal()?).await?,
        Command::Serve { only, migrate } => {
            let parts = if only.is_empty() { Part::ALL.to_vec() } else { only };
            let problems = config.problems(&parts);
            if !problems.is_empty() {
                problems.iter().for_each(|problem| eprintln!("{problem}"));
                return Ok(ExitCode::FAILURE);
            }
            if migrate {
                tidings::db::migrate::run(&mut migrate::connect(&url()?).await?).await?;
            }
            let listener = match parts.contains(&Part::Http) {
                true => Some(
                    TcpListener::bind(config.listen_addr).await.with_context(|| format!("LISTEN_ADDR: cannot listen on {}", config.listen_addr))?,
                ),
                false => None,
            };
            serve::run(&config, &parts, listener, serve::recorder()?, on_signal()?).await?;
        }
        Command::Migrate(arguments) => {
            if !migrate::run(&url()?, &arguments).await? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Status(arguments) => status::run(&url()?, &arguments).await?,
        Command::Replay(arguments) => replay::run(&url()?, &arguments).await?,
        Command::Chat(arguments) => chat::run(&arguments).await?,
        Command::Sandbox { webhook } => {
            let settings = Settings { webhook_url: webhook, app_secret: config.meta_app_secret, ..Settings::default() };
            let listener = TcpListener::bind(config.listen_addr).await?;
            let stop = on_signal()?;
            tokio::select! {
                () = Sandbox::new(settings).run(listener) => {}
                () = stop.cancelled() => {}
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Cancelled by SIGTERM or Ctrl-C. A second one ends the process at once.
fn on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if token.is_cancelled() {
                std::process::exit(1);
            }
            token.cancel();
        }
    });
    Ok(stop)
}
