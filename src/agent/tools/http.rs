//! The tool `request` of a `http` configuration: one HTTP request to a URL that the configuration permits. It goes to
//! public addresses only, carries no id of ours, and follows no redirect.

mod answer;

use std::time::Duration;

use reqwest::{
    Method, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue},
};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::{
    Effect,
    allow::{self, Scope},
};
use crate::{
    agent::turn::Tool,
    outbound::{Guarded, describe},
};

/// For one request, from the look-up of the name to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What is offered where the configuration names no methods.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Headers that are HTTP's own: they say where a request ends and where it goes to, and nobody else may.
const RESERVED: [&str; 9] = ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive", "expect"];

/// A `http` tool's configuration: `{"url"?, "methods"?: […], "headers"?: {…}}`.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct HttpConfig {
    /// What may be called: all below it with `/*` at its end, just this otherwise, any public URL without it.
    #[serde(deserialize_with = "filled")]
    pub url: Option<String>,
    /// In upper case; empty for the usual five.
    #[serde(deserialize_with = "upper_case")]
    pub methods: Vec<String>,
    /// Sent along to URLs that `url` permits, over those of the model. May hold secrets.
    #[serde(deserialize_with = "headers")]
    pub headers: Vec<(String, String)>,
}

fn filled<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let url = Option::<String>::deserialize(from)?;
    Ok(url.map(|u| u.trim().to_owned()).filter(|u| !u.is_empty()))
}

fn upper_case<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let methods = Option::<Vec<String>>::deserialize(from)?.unwrap_or_default();
    Ok(methods.iter().map(|m| m.trim().to_ascii_uppercase()).collect())
}

/// Headers as configurations hold them: an object of strings, null, or nothing.
pub(super) fn headers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    let headers = Option::<std::collections::BTreeMap<String, String>>::deserialize(from)?;
    Ok(headers.unwrap_or_default().into_iter().collect())
}

/// The headers of a configuration, as HTTP has them. Their values never show in logs; an error names no value.
pub(super) fn header_map(configured: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in configured {
        let invalid = || format!("the header {name:?} of the tool's configuration is no valid header: correct it there");
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        if RESERVED.contains(&key.as_str()) {
            return Err(format!("the header {key} of the tool's configuration cannot be set: remove it there"));
        }
        let mut value = HeaderValue::from_str(value).map_err(|_| invalid())?;
        value.set_sensitive(true);
        map.insert(key, value);
    }
    Ok(map)
}

impl HttpConfig {
    fn allowed(&self) -> Vec<&str> {
        if self.methods.is_empty() { METHODS.to_vec() } else { self.methods.iter().map(String::as_str).collect() }
    }

    /// The method that the arguments ask for, when it is allowed.
    fn method(&self, arguments: &Value) -> Result<Method, String> {
        let asked = asked(arguments);
        let allowed = self.allowed();
        if !allowed.contains(&asked.as_str()) {
            return Err(format!("the method {asked} is not allowed: use one of {}", allowed.join(", ")));
        }
        // These two are about connections, not about resources.
        match Method::from_bytes(asked.as_bytes()) {
            Ok(method) if method != Method::CONNECT && method != Method::TRACE => Ok(method),
            _ => Err(format!("the method {asked} cannot be used")),
        }
    }
}

/// The tool as the model sees it; `label_name` is its name there.
pub fn tool(label_name: &str, config: &HttpConfig) -> Tool {
    let place = match &config.url {
        None => "any public http or https URL".to_owned(),
        Some(url) => match url.strip_suffix("/*") {
            Some(base) => format!("URLs below {base}/"),
            None => format!("{url} and no other URL"),
        },
    };
    let description = format!(
        "Makes one HTTP request to {place}. Returns {{status, body}}, whatever the status is; body is JSON, or {{text}} where the answer is \
         no JSON (web pages as Markdown). Redirects are not followed: they return {{status, location}}. Long answers are cut."
    );
    let parameters = json!({
        "type": "object",
        "properties": {
            "url": {"type": "string", "description": "The whole URL, with its scheme."},
            "method": {"type": "string", "enum": config.allowed()},
            "query": {"type": "object", "description": "Query parameters to add to the URL."},
            "headers": {"type": "object", "description": "Additional headers; credentials are added where they are needed.",
                        "additionalProperties": {"type": "string"}},
            "body": {"description": "An object is sent as JSON, a string as it is.", "anyOf": [{"type": "object"}, {"type": "string"}]},
        },
        "required": ["url", "method"],
        "additionalProperties": false,
    });
    Tool { name: label_name.to_owned(), description, parameters }
}

/// What a call with these arguments does: GET and HEAD read, all else changes something elsewhere.
pub fn effect(arguments: &Value) -> Effect {
    if matches!(asked(arguments).as_str(), "GET" | "HEAD") { Effect::Read } else { Effect::External }
}

fn asked(arguments: &Value) -> String {
    arguments["method"].as_str().unwrap_or("GET").trim().to_ascii_uppercase()
}

/// Makes the request: `{status, body, truncated?}`, or `{status, location}` for a redirect, with any status. The error,
/// for the model, says what is wrong with the arguments, or why there is no answer at all; it is tried once.
pub async fn run(web: &Guarded, config: &HttpConfig, arguments: &Value) -> Result<Value, String> {
    let method = config.method(arguments)?;
    let url = url(arguments)?;
    let scope = allow::permits(config.url.as_deref(), &url)?;
    let (headers, body) = message(config, scope, &method, arguments)?;
    let mut request = web.request(method.clone(), url.as_str())?.timeout(TIMEOUT).headers(headers);
    if let Some(body) = body {
        request = request.body(body);
    }
    // The query is the model's, but may still hold what is not to be kept in errors.
    let failed = |error: reqwest::Error| {
        let origin = url.origin().ascii_serialization();
        format!("{method} {origin}{}: {}", url.path(), describe(&error))
    };
    let response = request.send().await.map_err(failed)?;
    answer::read(response, &url).await.map_err(failed)
}

/// The URL of the arguments with their query, but without its fragment, which is never sent.
fn url(arguments: &Value) -> Result<Url, String> {
    let text = arguments["url"].as_str().ok_or("url is missing: give the whole URL as a string")?;
    let mut url = Url::parse(text.trim()).map_err(|e| format!("url is no URL ({e}): give the whole URL, with its scheme"))?;
    url.set_fragment(None);
    match &arguments["query"] {
        Value::Null => {}
        Value::Object(query) => append(&mut url, query),
        _ => return Err("query has to be an object".to_owned()),
    }
    Ok(url)
}

fn append(url: &mut Url, query: &Map<String, Value>) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let given: Vec<(&String, &Value)> = query.iter().filter(|(_, value)| !value.is_null()).collect();
    // Asking for the pairs of a URL without a query would add a lone `?`.
    if given.is_empty() {
        return;
    }
    let mut pairs = url.query_pairs_mut();
    for (name, value) in given {
        for value in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
            pairs.append_pair(name, &text(value));
        }
    }
}

/// Headers and body of the request.
fn message(config: &HttpConfig, scope: Scope, method: &Method, arguments: &Value) -> Result<(HeaderMap, Option<String>), String> {
    let configured = header_map(&config.headers)?;
    let mut headers = HeaderMap::new();
    match &arguments["headers"] {
        Value::Null => {}
        Value::Object(given) => {
            for (name, value) in given {
                let (name, value) = own(name, value, &configured)?;
                headers.insert(name, value);
            }
        }
        _ => return Err("headers has to be an object of strings".to_owned()),
    }
    let (body, content_type) = match &arguments["body"] {
        Value::Null => (None, None),
        Value::String(text) if text.is_empty() => (None, None),
        Value::String(text) => (Some(text.clone()), Some("text/plain; charset=utf-8")),
        // Models like to fill in what they do not need.
        Value::Object(fields) if fields.is_empty() && matches!(*method, Method::GET | Method::HEAD) => (None, None),
        json => (Some(json.to_string()), Some("application/json")),
    };
    if body.is_some() && matches!(*method, Method::GET | Method::HEAD) {
        return Err(format!("{method} takes no body: use query, or another method"));
    }
    if let Some(content_type) = content_type {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
    }
    // They may be credentials: they go where the configuration says, not to any URL that the model comes up with.
    if matches!(scope, Scope::Configured) {
        for (name, value) in &configured {
            headers.insert(name, value.clone());
        }
    }
    Ok((headers, body))
}

/// A header of the model's, when it may set it.
fn own(name: &str, value: &Value, configured: &HeaderMap) -> Result<(HeaderName, HeaderValue), String> {
    let invalid = || format!("the header {name:?} is not valid: correct it, or leave it out");
    let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
    let taken = key == COOKIE || (key == AUTHORIZATION && configured.contains_key(&key));
    if taken || RESERVED.contains(&key.as_str()) || key.as_str().starts_with("proxy-") {
        return Err(format!("the header {key} cannot be set: leave it out"));
    }
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => return Err(invalid()),
    };
    Ok((key, HeaderValue::from_str(&text).map_err(|_| invalid())?))
}

#[cfg(test)]
mod tests;
