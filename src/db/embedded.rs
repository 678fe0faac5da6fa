//! Private PostgreSQL clusters, for `tidings dev` and the tests. The work is done by `scripts/postgres`, which the binary
//! carries with it.

use std::{path::Path, process::Stdio};

use anyhow::Context;
use tokio::process::Command;

const SCRIPT: &str = include_str!("../../scripts/postgres");

/// Starts the cluster in `folder`, made if need be, and returns its superuser's URL. `options` are server settings such
/// as `fsync=off`.
pub async fn start(folder: &Path, options: &[&str]) -> anyhow::Result<String> {
    let mut arguments = vec!["start", folder.to_str().context("the folder's name is not UTF-8")?];
    arguments.extend(options);
    Ok(script(&arguments).await?.trim().to_owned())
}

/// Stops the cluster in `folder`; `mode` is fast, smart or immediate.
pub async fn stop(folder: &Path, mode: &str) -> anyhow::Result<()> {
    script(&["stop", folder.to_str().context("the folder's name is not UTF-8")?, mode]).await?;
    Ok(())
}

async fn script(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("bash")
        .args(["-c", SCRIPT, "postgres"])
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("bash is needed to start PostgreSQL")?;
    anyhow::ensure!(output.status.success(), "PostgreSQL could not be {}ed", if arguments[0] == "stop" { "stopp" } else { "start" });
    Ok(String::from_utf8(output.stdout)?)
}
