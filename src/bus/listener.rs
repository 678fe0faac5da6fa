//! The one connection of the process that hears the bell. It carries no data: a ring makes a loop look at its table.

use std::{future::poll_fn, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_postgres::AsyncMessage;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::{Bells, Health};
use crate::db::{self, Db};

const PART: &str = "listener";
/// How often everything is looked at although no bell rang. Nothing depends on it but what a broken bell would cost.
const SAFETY: Duration = Duration::from_secs(60);
/// The same while our own bell does not come back.
const ANXIOUS: Duration = Duration::from_secs(5);

/// Listens, and checks that listening works.
pub struct Listener {
    /// Where PostgreSQL is: the connection is its own, outside the pool, and must not go through a transaction pooler.
    pub url: String,
    /// For the check.
    pub db: Db,
    /// Whom to wake.
    pub bells: Bells,
    /// Where to say that it does not work.
    pub health: Health,
    /// Ends it.
    pub stop: CancellationToken,
}

impl Listener {
    /// Runs until stopped. Reconnects with a growing delay; after each connect every loop looks once.
    pub async fn run(self) {
        let this = Uuid::new_v4();
        let (echo, echoes) = watch::channel(0u64);
        let dead = Arc::new(Notify::new());
        let check = self.check(this, echoes, dead.clone());
        let listen = async {
            let mut delay = Duration::from_millis(50);
            loop {
                let error = tokio::select! {
                    error = self.listen(this, &echo, &mut delay) => error,
                    () = dead.notified() => anyhow::anyhow!("our own bell did not come back"),
                };
                warn!(error = %format!("{error:#}"), "listening connection lost");
                self.health.bad(PART, format!("{error:#}"));
                sleep(delay).await;
                delay = (delay * 2).min(Duration::from_secs(5));
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = listen => {}
            () = check => {}
        }
    }

    /// One connection, until it breaks. Reading notifications is all it does, so it never holds anything back.
    async fn listen(&self, this: Uuid, echo: &watch::Sender<u64>, delay: &mut Duration) -> anyhow::Error {
        let connect = async {
            let (client, mut connection) = db::settings(&self.url)?.connect(db::tls()?).await.context("no connection to PostgreSQL")?;
            let (heard, mut hear) = tokio::sync::mpsc::unbounded_channel();
            let reader = tokio::spawn(async move {
                while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                    match message {
                        Ok(AsyncMessage::Notification(n)) => {
                            if heard.send(n.payload().to_owned()).is_err() {
                                break;
                            }
                        }
                        Ok(_) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            });
            let listening = timeout(Duration::from_secs(5), client.batch_execute("listen bus")).await;
            listening.context("LISTEN took too long")??;
            *delay = Duration::from_millis(50);
            info!("listening");
            self.health.good(PART);
            self.bells.ring_all();
            let own = format!("echo {this}");
            while let Some(payload) = hear.recv().await {
                match payload {
                    p if p == own => echo.send_modify(|n| *n += 1),
                    queue => self.bells.ring(&queue),
                }
            }
            drop(client);
            reader.await.context("reader")?.context("connection broke")?;
            anyhow::bail!("connection closed")
        };
        match connect.await {
            Ok(()) => anyhow::anyhow!("connection closed"),
            Err(error) => error,
        }
    }

    /// A LISTEN connection can be dead for hours without an error: ring for ourselves, and expect to hear it.
    async fn check(&self, this: Uuid, mut echoes: watch::Receiver<u64>, dead: Arc<Notify>) {
        let mut every = SAFETY;
        let queues = self.bells.queues();
        loop {
            sleep(every).await;
            echoes.mark_unchanged();
            let due = self.db.query("select * from bus.poll($1, $2)", &[&this, &queues]).await;
            match due {
                Ok(rows) => rows.iter().for_each(|row| self.bells.ring(row.get(0))),
                Err(error) => {
                    warn!(error = %format!("{error:#}"), "safety poll failed");
                    every = ANXIOUS;
                    continue;
                }
            }
            if timeout(Duration::from_secs(10), echoes.changed()).await.is_ok() {
                every = SAFETY;
                self.health.good(PART);
            } else {
                every = ANXIOUS;
                dead.notify_one();
            }
        }
    }
}
