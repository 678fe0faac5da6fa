//! Settings. Every one is an environment variable (or a line of `.env`); `--help` documents them.

mod part;

use std::net::SocketAddr;

use base64::{Engine, prelude::BASE64_STANDARD};
use clap::Args;
use ipnet::IpNet;

pub use part::Part;

/// What the process needs to know. Read once, at the start; nothing else looks at the environment.
#[derive(Args, Clone)]
pub struct Config {
    /// PostgreSQL, as postgres://user:password@host:port/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    pub database_url: Option<String>,

    /// Where the HTTP edges listen
    #[arg(long, env = "LISTEN_ADDR", default_value = "127.0.0.1:8080", global = true)]
    pub listen_addr: SocketAddr,

    /// Ids of the Meta apps, separated by |, paired with META_APP_SECRET by position
    #[arg(long, env = "META_APP_ID", default_value = "", global = true, hide_default_value = true)]
    pub meta_app_id: String,

    /// Secrets of the Meta apps, separated by |
    #[arg(long, env = "META_APP_SECRET", default_value = "", hide_env_values = true, global = true, hide_default_value = true)]
    pub meta_app_secret: String,

    /// The token that Meta repeats when it verifies the webhook
    #[arg(long, env = "WHATSAPP_VERIFY_TOKEN", default_value = "", hide_env_values = true, global = true, hide_default_value = true)]
    pub whatsapp_verify_token: String,

    /// The system user that META_SYSTEM_USER_ACCESS_TOKEN belongs to
    #[arg(long, env = "META_SYSTEM_USER_ID", global = true)]
    pub meta_system_user_id: Option<String>,

    /// Token for numbers that have none of their own
    #[arg(long, env = "META_SYSTEM_USER_ACCESS_TOKEN", hide_env_values = true, global = true)]
    pub meta_system_user_access_token: Option<String>,

    /// Meta's Graph API
    #[arg(long, env = "GRAPH_API_URL", default_value = "https://graph.facebook.com", global = true)]
    pub graph_api_url: String,

    /// Version of the Graph API
    #[arg(long, env = "GRAPH_API_VERSION", default_value = "v24.0", global = true)]
    pub graph_api_version: String,

    /// Key for agents on OpenAI that have none of their own
    #[arg(long, env = "OPENAI_API_KEY", hide_env_values = true, global = true)]
    pub openai_api_key: Option<String>,

    /// Key for agents on Anthropic that have none of their own
    #[arg(long, env = "ANTHROPIC_API_KEY", hide_env_values = true, global = true)]
    pub anthropic_api_key: Option<String>,

    /// Key for agents on Google that have none of their own
    #[arg(long, env = "GOOGLE_API_KEY", hide_env_values = true, global = true)]
    pub google_api_key: Option<String>,

    /// Key for agents on Groq that have none of their own
    #[arg(long, env = "GROQ_API_KEY", hide_env_values = true, global = true)]
    pub groq_api_key: Option<String>,

    /// 32 bytes in base64 that seal stored credentials (openssl rand -base64 32)
    #[arg(long, env = "SECRETS_KEY", hide_env_values = true, global = true)]
    pub secrets_key: Option<String>,

    /// Where files are stored: file:///folder or s3://bucket/prefix (with the usual AWS_… variables); ./.data/storage when not set
    #[arg(long, env = "STORAGE_URL", global = true)]
    pub storage_url: Option<String>,

    /// The most bytes of a file that comes in
    #[arg(long, env = "MAX_STORAGE_UPLOAD_SIZE", default_value_t = 100_000_000, global = true)]
    pub max_storage_upload_size: u64,

    /// Under which address others reach the edges: for links to stored files; http://LISTEN_ADDR when not set
    #[arg(long, env = "PUBLIC_URL", global = true)]
    pub public_url: Option<String>,

    /// One number without any SQL: its id at Meta (with WHATSAPP_ACCESS_TOKEN); registered at the start where the database has none
    #[arg(long, env = "WHATSAPP_PHONE_NUMBER_ID", global = true)]
    pub whatsapp_phone_number_id: Option<String>,

    /// The token of that number
    #[arg(long, env = "WHATSAPP_ACCESS_TOKEN", hide_env_values = true, global = true)]
    pub whatsapp_access_token: Option<String>,

    /// The business account (WABA) of that number: for templates and account events
    #[arg(long, env = "WHATSAPP_BUSINESS_ACCOUNT_ID", global = true)]
    pub whatsapp_business_account_id: Option<String>,

    /// Ids of the Instagram apps, separated by |, paired with INSTAGRAM_APP_SECRET by position
    #[arg(long, env = "INSTAGRAM_APP_ID", default_value = "", global = true, hide_default_value = true)]
    pub instagram_app_id: String,

    /// Secrets of the Instagram apps, separated by |
    #[arg(long, env = "INSTAGRAM_APP_SECRET", default_value = "", hide_env_values = true, global = true, hide_default_value = true)]
    pub instagram_app_secret: String,

    /// The token that Meta repeats when it verifies Instagram's webhook
    #[arg(long, env = "INSTAGRAM_VERIFY_TOKEN", default_value = "", hide_env_values = true, global = true, hide_default_value = true)]
    pub instagram_verify_token: String,

    /// Instagram's API
    #[arg(long, env = "INSTAGRAM_API_URL", default_value = "https://graph.instagram.com", global = true)]
    pub instagram_api_url: String,

    /// Where Instagram's logins get their tokens
    #[arg(long, env = "INSTAGRAM_LOGIN_URL", default_value = "https://api.instagram.com", global = true)]
    pub instagram_login_url: String,

    /// Version of Instagram's API
    #[arg(long, env = "INSTAGRAM_API_VERSION", default_value = "v25.0", global = true)]
    pub instagram_api_version: String,

    /// The connector of the service whatsapp-web
    #[arg(long, env = "WHATSAPP_WEB_URL", global = true)]
    pub whatsapp_web_url: Option<String>,

    /// The token between it and us, in both directions
    #[arg(long, env = "WHATSAPP_WEB_TOKEN", hide_env_values = true, global = true)]
    pub whatsapp_web_token: Option<String>,

    /// The connector of the service slack
    #[arg(long, env = "SLACK_URL", global = true)]
    pub slack_url: Option<String>,

    /// The token between it and us
    #[arg(long, env = "SLACK_TOKEN", hide_env_values = true, global = true)]
    pub slack_token: Option<String>,

    /// The connector of the service discord
    #[arg(long, env = "DISCORD_URL", global = true)]
    pub discord_url: Option<String>,

    /// The token between it and us
    #[arg(long, env = "DISCORD_TOKEN", hide_env_values = true, global = true)]
    pub discord_token: Option<String>,

    /// The connector of the service teams
    #[arg(long, env = "TEAMS_URL", global = true)]
    pub teams_url: Option<String>,

    /// The token between it and us
    #[arg(long, env = "TEAMS_TOKEN", hide_env_values = true, global = true)]
    pub teams_token: Option<String>,

    /// Networks (10.1.0.0/16,…) that user-supplied URLs may reach besides public ones
    #[arg(long, env = "OUTBOUND_ALLOW", default_value = "", global = true, hide_default_value = true)]
    pub outbound_allow: String,
}

impl Config {
    /// The connectors: service, URL, token.
    pub fn bridges(&self) -> Vec<(String, String, String)> {
        let all = [
            ("whatsapp-web", &self.whatsapp_web_url, &self.whatsapp_web_token),
            ("slack", &self.slack_url, &self.slack_token),
            ("discord", &self.discord_url, &self.discord_token),
            ("teams", &self.teams_url, &self.teams_token),
        ];
        all.into_iter().filter_map(|(service, url, token)| Some((service.to_owned(), url.clone()?, token.clone()?))).collect()
    }

    /// Where files lie: `STORAGE_URL`, or a folder beside the process.
    pub fn storage(&self) -> String {
        self.storage_url.clone().unwrap_or_else(|| {
            let here = std::env::current_dir().unwrap_or_default();
            format!("file://{}/.data/storage", here.display())
        })
    }

    /// Under which address others reach us: `PUBLIC_URL`, or where we listen.
    pub fn public(&self) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("http://{}", self.listen_addr))
    }

    /// The Instagram apps. An error when ids and secrets do not pair up.
    pub fn instagram_apps(&self) -> Result<Vec<App>, String> {
        pair("INSTAGRAM_APP_ID", &self.instagram_app_id, "INSTAGRAM_APP_SECRET", &self.instagram_app_secret)
    }
}

/// Ids and secrets, separated by |, by their position.
fn pair(id_name: &str, ids: &str, secret_name: &str, secrets: &str) -> Result<Vec<App>, String> {
    let split = |list: &str| -> Vec<String> { if list.is_empty() { Vec::new() } else { list.split('|').map(|s| s.trim().to_owned()).collect() } };
    let (ids, secrets) = (split(ids), split(secrets));
    if secrets.iter().any(String::is_empty) {
        return Err(format!("{secret_name} has an empty element between its |"));
    }
    if !ids.is_empty() && ids.len() != secrets.len() {
        return Err(format!("{id_name} has {} elements and {secret_name} {}: they pair up by position", ids.len(), secrets.len()));
    }
    let ids = ids.into_iter().map(Some).chain(std::iter::repeat(None));
    Ok(ids.zip(secrets).map(|(id, secret)| App { id, secret }).collect())
}

/// A Meta app: webhooks are signed with its secret.
#[derive(Clone)]
pub struct App {
    /// Its id, where one is configured.
    pub id: Option<String>,
    /// Its secret.
    pub secret: String,
}

impl Config {
    /// An empty variable, as `.env.example` has them, is one that is not set.
    pub fn without_empty(mut self) -> Self {
        for value in [
            &mut self.database_url,
            &mut self.meta_system_user_id,
            &mut self.meta_system_user_access_token,
            &mut self.openai_api_key,
            &mut self.anthropic_api_key,
            &mut self.google_api_key,
            &mut self.groq_api_key,
            &mut self.secrets_key,
            &mut self.storage_url,
            &mut self.public_url,
            &mut self.whatsapp_phone_number_id,
            &mut self.whatsapp_access_token,
            &mut self.whatsapp_business_account_id,
            &mut self.whatsapp_web_url,
            &mut self.whatsapp_web_token,
            &mut self.slack_url,
            &mut self.slack_token,
            &mut self.discord_url,
            &mut self.discord_token,
            &mut self.teams_url,
            &mut self.teams_token,
        ] {
            value.take_if(|v| v.trim().is_empty());
        }
        self
    }

    /// What is missing or contradictory for running these parts: one line each, naming the variable.
    pub fn problems(&self, parts: &[Part]) -> Vec<String> {
        let mut problems = Vec::new();
        let mut require = |given: bool, line: &str| {
            if !given {
                problems.push(line.to_owned());
            }
        };
        let loops = parts.iter().any(|p| *p != Part::Http);
        require(self.database_url.is_some(), "DATABASE_URL is not set: where is PostgreSQL?");
        if parts.contains(&Part::Http) {
            require(!self.meta_app_secret.is_empty(), "META_APP_SECRET is not set: webhooks cannot be verified without it");
            require(!self.whatsapp_verify_token.is_empty(), "WHATSAPP_VERIFY_TOKEN is not set: Meta cannot verify the webhook without it");
        }
        if loops {
            require(self.secrets_key.is_some(), "SECRETS_KEY is not set: stored credentials cannot be sealed without it (openssl rand -base64 32)");
        }
        if let Some(url) = &self.database_url
            && let Err(error) = url.parse::<tokio_postgres::Config>()
        {
            problems.push(format!("DATABASE_URL is no PostgreSQL URL: {error}"));
        }
        if let Err(problem) = self.key() {
            problems.push(problem);
        }
        if let Err(problem) = self.apps() {
            problems.push(problem);
        }
        if let Err(problem) = self.networks() {
            problems.push(problem);
        }
        if let Err(problem) = self.instagram_apps() {
            problems.push(problem);
        }
        if self.whatsapp_phone_number_id.is_some() != self.whatsapp_access_token.is_some() {
            problems.push("WHATSAPP_PHONE_NUMBER_ID and WHATSAPP_ACCESS_TOKEN go together: one of them is not set".to_owned());
        }
        for (name, url, token) in [
            ("WHATSAPP_WEB", &self.whatsapp_web_url, &self.whatsapp_web_token),
            ("SLACK", &self.slack_url, &self.slack_token),
            ("DISCORD", &self.discord_url, &self.discord_token),
            ("TEAMS", &self.teams_url, &self.teams_token),
        ] {
            if url.is_some() != token.is_some() {
                problems.push(format!("{name}_URL and {name}_TOKEN go together: one of them is not set"));
            }
        }
        if let Some(url) = &self.storage_url
            && !url.starts_with("file:///")
            && !url.starts_with("s3://")
        {
            problems.push("STORAGE_URL is neither file:///folder nor s3://bucket/prefix".to_owned());
        }
        if !reqwest::Url::parse(&self.graph_api_url).is_ok_and(|u| matches!(u.scheme(), "http" | "https")) {
            problems.push("GRAPH_API_URL is no http(s) URL".to_owned());
        }
        let version = self.graph_api_version.strip_prefix('v').unwrap_or_default();
        if version.parse::<f32>().is_err() {
            problems.push(format!("GRAPH_API_VERSION is {}, not of the form v24.0", self.graph_api_version));
        }
        problems
    }

    /// The Meta apps. An error when ids and secrets do not pair up.
    pub fn apps(&self) -> Result<Vec<App>, String> {
        pair("META_APP_ID", &self.meta_app_id, "META_APP_SECRET", &self.meta_app_secret)
    }

    /// The sealing key, where one is set. An error when it is not 32 bytes of base64.
    pub fn key(&self) -> Result<Option<[u8; 32]>, String> {
        let Some(text) = &self.secrets_key else { return Ok(None) };
        let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|_| "SECRETS_KEY is not base64".to_owned())?;
        let length = bytes.len();
        bytes.try_into().map(Some).map_err(|_| format!("SECRETS_KEY has {length} bytes, not 32"))
    }

    /// The networks of `OUTBOUND_ALLOW`.
    pub fn networks(&self) -> Result<Vec<IpNet>, String> {
        self.outbound_allow
            .split(',')
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .map(|s| s.parse().or_else(|_| s.parse::<std::net::IpAddr>().map(IpNet::from)).map_err(|_| format!("OUTBOUND_ALLOW: {s} is no network")))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        config: Config,
    }

    fn config(arguments: &[&str]) -> Config {
        Cli::parse_from(std::iter::once(&"x").chain(arguments)).config
    }

    #[test]
    fn problems_name_the_variable() {
        let problems = config(&["--meta-app-id", "1|2", "--meta-app-secret", "a", "--secrets-key", "eA=="]).problems(&Part::ALL);
        for name in ["DATABASE_URL", "WHATSAPP_VERIFY_TOKEN", "META_APP_ID", "SECRETS_KEY"] {
            assert!(problems.iter().any(|p| p.starts_with(name)), "{name} in {problems:?}");
        }
    }

    #[test]
    fn only_what_the_parts_need() {
        let with = config(&["--database-url", "postgres://x/y", "--meta-app-secret", "a", "--whatsapp-verify-token", "v"]);
        assert_eq!(with.problems(&[Part::Http]), Vec::<String>::new());
        assert_eq!(with.problems(&[Part::Intake]).len(), 1);
    }

    #[test]
    fn apps_pair_by_position() {
        let apps = config(&["--meta-app-id", "1|2", "--meta-app-secret", "a|b"]).apps().expect("they pair");
        assert_eq!(apps[1].id.as_deref(), Some("2"));
        assert_eq!(apps[1].secret, "b");
    }
}
