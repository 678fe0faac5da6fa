//! What MCP servers offer, remembered for a while: neither each message nor each step asks again.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use uuid::Uuid;

use crate::{
    agent::tools::mcp::{self, McpTool},
    outbound::Guarded,
};

/// How long a list is believed.
const GOOD: Duration = Duration::from_secs(300);
/// How soon a server that is away is asked again.
const AWAY: Duration = Duration::from_secs(20);
/// How many lists are remembered.
const MOST: usize = 1_000;

/// The most bytes of a list: it goes to the model with each question.
const LIST: usize = 128 * 1024;

type Listed = Result<Vec<McpTool>, String>;

/// The lists, by agent, label and configuration.
#[derive(Default)]
pub(super) struct Servers(Mutex<HashMap<(Uuid, u64), (Instant, Listed)>>);

impl Servers {
    /// The tools of a server; or, in words, why it does not tell.
    pub(super) async fn list(&self, web: &Guarded, agent: Uuid, label: &str, config: &Value) -> Listed {
        let mut hasher = DefaultHasher::new();
        (label, config.to_string()).hash(&mut hasher);
        let key = (agent, hasher.finish());
        let known = self.lock().get(&key).filter(|(at, listed)| at.elapsed() < if listed.is_ok() { GOOD } else { AWAY }).map(|(_, l)| l.clone());
        if let Some(listed) = known {
            return listed;
        }
        let listed = match serde_json::from_value(config.clone()) {
            Ok(config) => mcp::list(web, label, &config).await.map(fitting),
            Err(_) => Err(format!("{label}: its configuration cannot be read")),
        };
        let mut all = self.lock();
        if all.len() >= MOST {
            all.retain(|_, (at, _)| at.elapsed() < GOOD);
        }
        if all.len() < MOST {
            all.insert(key, (Instant::now(), listed.clone()));
        }
        listed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Uuid, u64), (Instant, Listed)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first tools of a list, as many as fit.
fn fitting(tools: Vec<McpTool>) -> Vec<McpTool> {
    let mut room = LIST;
    let fits = |tool: &McpTool| {
        let size = tool.name.len() + tool.description.len() + tool.parameters.to_string().len();
        room = room.saturating_sub(size);
        room > 0
    };
    tools.into_iter().take_while(fits).collect()
}
