//! Where a model is, by an agent's `api_url`, `api_key`, `model` and `protocol`.

use super::{context::Named, protocol::Protocol};
use crate::config::Config;

/// Keys of providers for agents that have none of their own.
#[derive(Clone, Default)]
pub struct Keys {
    openai: Option<String>,
    anthropic: Option<String>,
    google: Option<String>,
    groq: Option<String>,
}

impl Keys {
    /// From the settings.
    pub fn new(config: &Config) -> Self {
        let given = |key: &Option<String>| key.clone().filter(|k| !k.is_empty());
        Self {
            openai: given(&config.openai_api_key),
            anthropic: given(&config.anthropic_api_key),
            google: given(&config.google_api_key),
            groq: given(&config.groq_api_key),
        }
    }

    /// The key of a provider.
    pub fn of(&self, provider: &str) -> Option<String> {
        match provider {
            "openai" => self.openai.clone(),
            "anthropic" => self.anthropic.clone(),
            "google" => self.google.clone(),
            "groq" => self.groq.clone(),
            _ => None,
        }
    }
}

/// A model to ask.
#[derive(Debug, PartialEq)]
pub struct Endpoint {
    /// Base of the API, without a trailing slash.
    pub base: String,
    /// Its key, where there is one.
    pub key: Option<String>,
    /// The model's name.
    pub model: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// By which prices are found: openai, anthropic, google, groq, or custom.
    pub provider: &'static str,
    /// Whether the address is one of ours to trust, or the tenant's.
    pub trusted: bool,
    /// Whether the operator's key pays.
    pub billable: bool,
}

struct Known<'a> {
    name: &'static str,
    base: &'static str,
    key: &'a Option<String>,
    variable: &'static str,
    model: &'static str,
    /// Which protocols it speaks.
    speaks: &'static [Protocol],
}

/// The endpoint of an agent; `own_key` is its unsealed `api_key`. The error is for the organization to read.
pub fn endpoint(agent: &Named, own_key: Option<String>, keys: &Keys) -> Result<Endpoint, String> {
    let named = agent.text("protocol").unwrap_or("chat_completions");
    let protocol = Protocol::parse(named).ok_or_else(|| {
        format!("the agent {} has the protocol {named}; there are chat_completions, responses, messages, generate_content and a2a", agent.name)
    })?;
    let place = agent.text("api_url").unwrap_or(match protocol {
        Protocol::Messages => "anthropic",
        Protocol::GenerateContent => "google",
        _ => "openai",
    });
    let Some(known) = known(place, protocol, keys) else { return custom(agent, place, protocol, own_key) };
    if !known.speaks.contains(&protocol) {
        return Err(format!("the agent {} has the protocol {named}, which {place} does not speak", agent.name));
    }
    let billable = own_key.is_none();
    let Some(key) = own_key.or_else(|| known.key.clone()) else {
        return Err(format!("the agent {} has no api_key, and {} is not set", agent.name, known.variable));
    };
    let model = agent.text("model").unwrap_or(known.model).to_owned();
    Ok(Endpoint { base: known.base.to_owned(), key: Some(key), model, protocol, provider: known.name, trusted: true, billable })
}

/// The providers that have a short name.
fn known<'a>(place: &str, protocol: Protocol, keys: &'a Keys) -> Option<Known<'a>> {
    use Protocol::{ChatCompletions, GenerateContent, Messages, Responses};
    Some(match place {
        "openai" => Known {
            name: "openai",
            base: "https://api.openai.com/v1",
            key: &keys.openai,
            variable: "OPENAI_API_KEY",
            model: "gpt-5-mini",
            speaks: &[ChatCompletions, Responses],
        },
        "anthropic" => Known {
            name: "anthropic",
            base: "https://api.anthropic.com/v1",
            key: &keys.anthropic,
            variable: "ANTHROPIC_API_KEY",
            model: "claude-sonnet-4-6",
            speaks: &[ChatCompletions, Messages],
        },
        "google" => Known {
            name: "google",
            base: match protocol {
                GenerateContent => "https://generativelanguage.googleapis.com/v1beta",
                _ => "https://generativelanguage.googleapis.com/v1beta/openai",
            },
            key: &keys.google,
            variable: "GOOGLE_API_KEY",
            model: "gemini-3-flash-preview",
            speaks: &[ChatCompletions, GenerateContent],
        },
        "groq" => Known {
            name: "groq",
            base: "https://api.groq.com/openai/v1",
            key: &keys.groq,
            variable: "GROQ_API_KEY",
            model: "openai/gpt-oss-20b",
            speaks: &[ChatCompletions, Responses],
        },
        _ => return None,
    })
}

/// Any other address. Our keys go to our providers only, never to an address of a tenant's.
fn custom(agent: &Named, url: &str, protocol: Protocol, own_key: Option<String>) -> Result<Endpoint, String> {
    let mut base = url.trim_end_matches('/');
    for ending in ["/chat/completions", "/responses", "/messages"] {
        base = base.trim_end_matches(ending);
    }
    let default = match protocol {
        Protocol::Messages => "claude-sonnet-4-6",
        Protocol::GenerateContent => "gemini-3-flash-preview",
        _ => "gpt-5-mini",
    };
    let model = agent.text("model").unwrap_or(default).to_owned();
    Ok(Endpoint { base: base.to_owned(), key: own_key, model, protocol, provider: "custom", trusted: false, billable: false })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn agent(extra: serde_json::Value) -> Named {
        serde_json::from_value(json!({"id": uuid::Uuid::nil(), "name": "A", "extra": extra})).expect("an agent")
    }

    #[test]
    fn shortcuts_and_urls() {
        let keys = Keys { groq: Some("g".into()), google: Some("k".into()), ..Keys::default() };
        let groq = endpoint(&agent(json!({"api_url": "groq"})), None, &keys).expect("an endpoint");
        assert_eq!(
            (groq.base.as_str(), groq.key.as_deref(), groq.model.as_str(), groq.billable),
            ("https://api.groq.com/openai/v1", Some("g"), "openai/gpt-oss-20b", true)
        );
        assert!(endpoint(&agent(json!({})), None, &keys).expect_err("no key").contains("OPENAI_API_KEY"));
        let own = endpoint(&agent(json!({"api_url": "https://llm.example/v1/chat/completions", "model": "m"})), None, &keys).expect("an endpoint");
        assert_eq!((own.base.as_str(), own.key, own.trusted), ("https://llm.example/v1", None, false));
        let google = endpoint(&agent(json!({"protocol": "generate_content"})), None, &keys).expect("an endpoint");
        assert_eq!(google.base, "https://generativelanguage.googleapis.com/v1beta");
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let keys = Keys { openai: Some("o".into()), ..Keys::default() };
        assert!(endpoint(&agent(json!({"api_url": "openai", "protocol": "messages"})), None, &keys).expect_err("no").contains("does not speak"));
        assert!(endpoint(&agent(json!({"protocol": "smoke signals"})), None, &keys).expect_err("no").contains("smoke signals"));
    }
}
