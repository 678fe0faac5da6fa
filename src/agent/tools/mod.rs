//! Tools of agents: which an agent has, under which names, and what each may do.

pub mod allow;
pub mod calculator;
pub mod calendar;
mod here;
pub mod http;
pub mod mcp;
mod secrets;
pub mod sql;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::turn::Tool;
pub use secrets::filled;

/// What a call may do. Policies decide by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It changes nothing: made again after a crash.
    Read,
    /// It changes data of the organization.
    Write,
    /// It acts on the world outside.
    External,
}

/// A tool as it is offered to a model.
#[derive(Clone, Debug)]
pub struct Offered {
    /// With its unique name.
    pub tool: Tool,
    /// `{type, label?, name}`, as calls keep it.
    pub origin: Value,
    /// What a call of it may do; for HTTP it depends on the arguments.
    pub effect: Effect,
    /// Whether it works in the database.
    pub here: bool,
}

/// The tools of an agent.
#[derive(Default, Debug)]
pub struct Toolbox {
    /// In the order of the configuration.
    pub offered: Vec<Offered>,
    /// What is configured and cannot be offered, in words.
    pub away: Vec<String>,
}

/// What a call with these arguments may do: a request that only gets something changes nothing.
pub fn effect_of(offered: &Offered, arguments: &Value) -> Effect {
    if offered.origin["type"] == "http" { http::effect(arguments) } else { offered.effect }
}

/// The configured tools of an agent, with their secrets filled in.
pub fn configured(extra: Option<&Map<String, Value>>, secret: &dyn Fn(&str) -> Option<String>) -> Vec<Value> {
    let tools = extra.and_then(|e| e.get("tools")).and_then(Value::as_array);
    tools.map(|t| filled(t, "tools", secret)).unwrap_or_default()
}

impl Toolbox {
    /// `tools`: the agent's configuration; `listed`: what each MCP server offers, by label, or why it does not answer.
    pub fn new(tools: &[Value], listed: &HashMap<String, Result<Vec<mcp::McpTool>, String>>) -> Self {
        let mut toolbox = Self::default();
        for config in tools.iter().filter(|t| t["provider"].as_str().unwrap_or("local") == "local") {
            let label = config["label"].as_str().or(config["type"].as_str()).unwrap_or_default();
            match config["type"].as_str().unwrap_or("function") {
                "function" => toolbox.function(config["name"].as_str().unwrap_or_default()),
                "http" => toolbox.http(label, &config["config"]),
                "sql" => toolbox.sql(label, &config["config"]),
                "mcp" => match listed.get(label) {
                    Some(Ok(tools)) => tools.iter().for_each(|t| toolbox.mcp(label, t)),
                    Some(Err(error)) => toolbox.away.push(error.clone()),
                    None => toolbox.away.push(format!("{label}: its server was not asked")),
                },
                other => toolbox.away.push(format!("{label}: there are no tools of type {other}")),
            }
        }
        toolbox
    }

    /// The tool that a model called.
    pub fn find(&self, name: &str) -> Option<&Offered> {
        self.offered.iter().find(|o| o.tool.name == name)
    }

    fn function(&mut self, name: &str) {
        let origin = json!({"type": "function", "name": name});
        match name {
            "calculator" => self.offer(calculator::tool(), origin, Effect::Read, false),
            "calendar" => self.offer(calendar::tool(), origin, Effect::Read, false),
            _ => match here::tool(name) {
                Some((tool, effect)) => self.offer(tool, origin, effect, true),
                None => self.away.push(format!("{name}: there is no such function")),
            },
        }
    }

    fn http(&mut self, label: &str, config: &Value) {
        match serde_json::from_value::<http::HttpConfig>(config.clone()) {
            Ok(parsed) => {
                let tool = http::tool(&qualified(label, "request"), &parsed);
                self.offer(tool, json!({"type": "http", "label": label, "name": "request"}), Effect::External, false);
            }
            // Not in serde's words: they quote what they do not like, and that may be a secret.
            Err(_) => self.away.push(format!("{label}: its configuration cannot be read")),
        }
    }

    fn sql(&mut self, label: &str, config: &Value) {
        match serde_json::from_value::<sql::SqlConfig>(config.clone()) {
            Ok(parsed) => {
                for mut tool in sql::tools(parsed.is_read_only()) {
                    let origin = json!({"type": "sql", "label": label, "name": tool.name});
                    let effect = sql::effect(&tool.name, parsed.is_read_only());
                    tool.name = qualified(label, &tool.name);
                    self.offer(tool, origin, effect, false);
                }
            }
            // Not in serde's words: they quote what they do not like, and that may be a secret.
            Err(_) => self.away.push(format!("{label}: its configuration cannot be read")),
        }
    }

    fn mcp(&mut self, label: &str, listed: &mcp::McpTool) {
        let tool = Tool { name: qualified(label, &listed.name), description: listed.description.clone(), parameters: listed.parameters.clone() };
        let effect = if listed.read_only { Effect::Read } else { Effect::External };
        self.offer(tool, json!({"type": "mcp", "label": label, "name": listed.name}), effect, false);
    }

    fn offer(&mut self, mut tool: Tool, origin: Value, effect: Effect, here: bool) {
        let plain = tool.name.clone();
        let mut n = 2;
        while self.find(&tool.name).is_some() {
            tool.name = fitting(&format!("{plain}_{n}"));
            n += 1;
        }
        self.offered.push(Offered { tool, origin, effect, here });
    }
}

/// The name of a labelled tool, as models take it: `[a-z0-9_-]`, at most 64 characters.
fn qualified(label: &str, name: &str) -> String {
    let clean = |s: &str| -> String { s.chars().map(|c| unaccented(c).unwrap_or('_')).collect() };
    fitting(&format!("{}__{}", clean(&label.to_lowercase()), clean(name)))
}

/// A name that a model made up, as providers take it back.
pub fn presentable(name: &str) -> String {
    let clean: String = name.chars().map(|c| unaccented(c).unwrap_or('_')).collect();
    if clean.is_empty() { "unnamed".to_owned() } else { fitting(&clean) }
}

/// Cut to what models take; the end of a long name is replaced by a hash of all of it, so that two stay two.
fn fitting(name: &str) -> String {
    if name.len() <= 64 {
        return name.to_owned();
    }
    let hash: String = Sha256::digest(name.as_bytes()).iter().take(4).map(|b| format!("{b:02x}")).collect();
    format!("{}_{hash}", &name[..55])
}

/// The letter without its accent, where there is one that models take.
fn unaccented(c: char) -> Option<char> {
    Some(match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => c,
        'á' | 'à' | 'â' | 'ä' | 'ã' | 'å' => 'a',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'í' | 'ì' | 'î' | 'ï' => 'i',
        'ó' | 'ò' | 'ô' | 'ö' | 'õ' | 'ø' => 'o',
        'ú' | 'ù' | 'û' | 'ü' => 'u',
        'ç' => 'c',
        'ñ' => 'n',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> Vec<mcp::McpTool> {
        names
            .iter()
            .map(|n| mcp::McpTool { name: (*n).to_owned(), description: String::new(), parameters: json!({"type": "object"}), read_only: true })
            .collect()
    }

    #[test]
    fn names_are_unique_and_fit() {
        let tools = [
            json!({"provider": "local", "type": "mcp", "label": "Información__x", "config": {"url": "https://a.example"}}),
            json!({"provider": "local", "type": "mcp", "label": "b", "config": {"url": "https://a.example"}}),
        ];
        let long = "t".repeat(90);
        let servers =
            HashMap::from([("Información__x".to_owned(), Ok(listed(&["get__it", "get.it", &long]))), ("b".to_owned(), Err("b: away".to_owned()))]);
        let toolbox = Toolbox::new(&tools, &servers);
        let names: Vec<&str> = toolbox.offered.iter().map(|o| o.tool.name.as_str()).collect();
        assert_eq!(names[..2], ["informacion__x__get__it", "informacion__x__get_it"]);
        assert!(names.iter().all(|n| n.len() <= 64));
        assert_eq!(toolbox.find(names[2]).map(|o| o.origin["name"].as_str()), Some(Some(long.as_str())));
        assert_eq!(toolbox.away, ["b: away"]);
    }

    #[test]
    fn what_is_unknown_disables_itself_only() {
        let tools = [
            json!({"provider": "local", "type": "function", "name": "teleport"}),
            json!({"provider": "google", "type": "function", "name": "search"}),
            json!({"provider": "local", "type": "function", "name": "calculator"}),
            json!({"provider": "local", "type": "function", "name": "transfer_to_human_agent"}),
        ];
        let toolbox = Toolbox::new(&tools, &HashMap::new());
        assert_eq!(toolbox.offered.len(), 2);
        assert!(toolbox.find("transfer_to_human_agent").is_some_and(|o| o.here));
        assert_eq!(toolbox.away, ["teleport: there is no such function"]);
    }
}
