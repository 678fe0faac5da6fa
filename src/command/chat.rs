//! `tidings chat`: a phone in the terminal, talking to the sandbox.

use std::{io::IsTerminal, path::PathBuf, time::Duration};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

/// Who talks to whom.
#[derive(clap::Args)]
pub struct Arguments {
    /// The sandbox (as `tidings dev` wrote it down)
    #[arg(long)]
    sandbox: Option<String>,
    /// The phone number id to write to (the demo organization's)
    #[arg(long)]
    number: Option<String>,
    /// The phone that writes
    #[arg(long, default_value = "15550002222")]
    from: String,
    /// The name in its profile
    #[arg(long, default_value = "Sandbox phone")]
    name: String,
    /// Where `tidings dev` keeps its things
    #[arg(long, default_value = ".data")]
    data: PathBuf,
    /// Seconds to wait for an answer when not at a terminal
    #[arg(long, default_value_t = 60)]
    wait: u64,
}

struct Phone {
    client: reqwest::Client,
    sandbox: String,
    number: String,
    from: String,
    name: String,
}

/// Reads lines from standard input and sends each; prints what comes back. At a terminal until the input ends; otherwise
/// until every line has been sent and the last answer has come and been read.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let notes: Value = std::fs::read(arguments.data.join("dev.json")).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
    let note = |given: &Option<String>, key: &str| given.clone().or_else(|| notes[key].as_str().map(str::to_owned));
    let phone = Phone {
        client: reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?,
        sandbox: note(&arguments.sandbox, "sandbox").context("no sandbox: start `tidings dev`, or give --sandbox")?,
        number: note(&arguments.number, "number").context("no number: start `tidings dev`, or give --number")?,
        from: arguments.from.clone(),
        name: arguments.name.clone(),
    };
    // What was said before this chat is not shown again.
    let seen = phone.inbox(0, 0).await?.len();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    if std::io::stdin().is_terminal() {
        println!("You are {} and write to {}. End with Ctrl-D.", phone.from, phone.number);
        let show = phone.show(seen);
        let type_in = async {
            while let Some(line) = lines.next_line().await? {
                if !line.trim().is_empty() {
                    phone.say(&line).await?;
                }
            }
            anyhow::Ok(())
        };
        tokio::select! {
            done = type_in => done,
            done = show => done,
        }
    } else {
        let mut said = 0;
        while let Some(line) = lines.next_line().await? {
            if !line.trim().is_empty() {
                phone.say(&line).await?;
                said += 1;
            }
        }
        anyhow::ensure!(said > 0, "nothing on standard input");
        tokio::time::timeout(Duration::from_secs(arguments.wait), phone.answer(seen)).await.context("no answer came")?
    }
}

impl Phone {
    async fn say(&self, text: &str) -> anyhow::Result<()> {
        let said = json!({"from": self.from, "number": self.number, "text": text, "name": self.name});
        let answer: Value = self.client.post(format!("{}/sandbox/say", self.sandbox)).json(&said).send().await?.error_for_status()?.json().await?;
        anyhow::ensure!(answer["status"] == 200 || answer["status"] == 0, "the webhook was answered with {}", answer["status"]);
        Ok(())
    }

    /// Everything on the phone. With no more than `after` entries it waits so long for news.
    async fn inbox(&self, after: usize, wait_ms: u64) -> anyhow::Result<Vec<Value>> {
        let url = format!("{}/sandbox/phone/{}?after={after}&wait_ms={wait_ms}", self.sandbox, self.from);
        Ok(self.client.get(url).send().await?.error_for_status()?.json().await?)
    }

    /// Prints what comes, with the ticks of what was said.
    async fn show(&self, mut seen: usize) -> anyhow::Result<()> {
        let mut ticks = String::new();
        loop {
            let messages = self.inbox(seen, 10_000).await?;
            if let Some(state) = messages.iter().rfind(|m| m["own"] == true).and_then(|m| m["state"].as_str()) {
                let mark = match state {
                    "typing" => "✓✓ read — typing …",
                    "read" => "✓✓ read",
                    _ => "✓ sent",
                };
                if mark != ticks {
                    println!("    {mark}");
                    ticks = mark.to_owned();
                }
            }
            for message in messages.iter().skip(seen).filter(|m| m["own"] != true) {
                println!("{}", text(message));
                ticks.clear();
            }
            seen = messages.len();
        }
    }

    /// Waits for the answer to what was said last, prints it, and waits until its read receipt is through.
    async fn answer(&self, seen: usize) -> anyhow::Result<()> {
        let mut messages = self.inbox(seen, 500).await?;
        loop {
            let said = messages.iter().rposition(|m| m["own"] == true).unwrap_or(0);
            let answers: Vec<&Value> = messages[said..].iter().filter(|m| m["own"] != true).collect();
            if !answers.is_empty() && answers.iter().all(|m| m["state"] == "read") {
                answers.iter().for_each(|m| println!("{}", text(m)));
                // The receipt was taken; give it a moment to reach the row, for scripts that look at it next.
                tokio::time::sleep(Duration::from_millis(500)).await;
                return Ok(());
            }
            messages = self.inbox(messages.len(), 500).await?;
        }
    }
}

fn text(message: &Value) -> String {
    let body = &message["body"];
    body["text"]["body"].as_str().map_or_else(|| format!("[{}] {}", body["type"].as_str().unwrap_or("?"), body), str::to_owned)
}
