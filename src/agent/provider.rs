//! Where a model is, by an agent's `api_url`, `api_key` and `model`.

use super::context::Named;
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
}

/// A model to ask.
#[derive(Debug, PartialEq)]
pub struct Endpoint {
    /// Base of an OpenAI-compatible API, without a trailing slash.
    pub base: String,
    /// Bearer key, where there is one.
    pub key: Option<String>,
    /// The model's name.
    pub model: String,
    /// Whether the address is one of ours to trust, or the tenant's.
    pub trusted: bool,
}

/// The endpoint of an agent; `own_key` is its unsealed `api_key`. The error is for the organization to read.
pub fn endpoint(agent: &Named, own_key: Option<String>, keys: &Keys) -> Result<Endpoint, String> {
    let place = agent.text("api_url").unwrap_or("openai");
    let (base, fallback, variable, model) = match place {
        "openai" => ("https://api.openai.com/v1", &keys.openai, "OPENAI_API_KEY", "gpt-5-mini"),
        "anthropic" => ("https://api.anthropic.com/v1", &keys.anthropic, "ANTHROPIC_API_KEY", "claude-sonnet-4-6"),
        "google" => ("https://generativelanguage.googleapis.com/v1beta/openai", &keys.google, "GOOGLE_API_KEY", "gemini-3-flash-preview"),
        "groq" => ("https://api.groq.com/openai/v1", &keys.groq, "GROQ_API_KEY", "openai/gpt-oss-20b"),
        url => {
            let base = url.trim_end_matches('/').trim_end_matches("/chat/completions").to_owned();
            let model = agent.text("model").unwrap_or("gpt-5-mini").to_owned();
            // Our keys go to our providers only, never to an address of a tenant's.
            return Ok(Endpoint { base, key: own_key, model, trusted: false });
        }
    };
    let Some(key) = own_key.or_else(|| fallback.clone()) else {
        return Err(format!("the agent {} has no api_key, and {variable} is not set", agent.name));
    };
    Ok(Endpoint { base: base.to_owned(), key: Some(key), model: agent.text("model").unwrap_or(model).to_owned(), trusted: true })
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
        let keys = Keys { groq: Some("g".into()), ..Keys::default() };
        let groq = endpoint(&agent(json!({"api_url": "groq"})), None, &keys).expect("an endpoint");
        assert_eq!(
            (groq.base.as_str(), groq.key.as_deref(), groq.model.as_str()),
            ("https://api.groq.com/openai/v1", Some("g"), "openai/gpt-oss-20b")
        );
        assert!(endpoint(&agent(json!({})), None, &keys).expect_err("no key").contains("OPENAI_API_KEY"));
        let own = endpoint(&agent(json!({"api_url": "https://llm.example/v1/chat/completions", "model": "m"})), None, &keys).expect("an endpoint");
        assert_eq!((own.base.as_str(), own.key, own.trusted), ("https://llm.example/v1", None, false));
    }
}
