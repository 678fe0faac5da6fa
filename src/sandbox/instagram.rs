//! Instagram's side of Graph: messages, profiles, and the way to the token of an account.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    time::Duration,
};

use bytes::Bytes;
use hyper::{HeaderMap, Method, header};
use serde_json::{Map, Value, json};

use super::{
    Answer, Sandbox,
    bridge::{merge, parts, record, shown},
    json_answer,
    manage::{Reply, missing},
    phone::sign,
};

/// The account that logs in, unless [`Instagram::account`] says otherwise.
pub const ACCOUNT: &str = "17841400000000001";
/// The most bytes of a text.
const TEXT: usize = 1000;
/// What those who log in permit.
const PERMISSIONS: [&str; 2] = ["instagram_business_basic", "instagram_business_manage_messages"];

/// The pretend Instagram.
#[derive(Default)]
pub struct Instagram {
    /// Every call that came, also those that went wrong: `{method, path, query, body, token}`.
    pub calls: Vec<Value>,
    /// Messages, reactions and the like that were taken: `{account, token, message_id, body}`.
    pub sent: Vec<Value>,
    /// Who logs in next; [`ACCOUNT`] when empty.
    pub account: String,
    /// Whether the token for a code comes in a list, as it does for some.
    pub wrapped: bool,
    /// How many seconds tokens work, if not 60 days.
    pub expires_in: Option<u64>,
    accounts: BTreeMap<String, Value>,
    profiles: HashMap<String, Value>,
    /// Codes that have been exchanged.
    codes: HashSet<String>,
    /// Whose the tokens are.
    tokens: HashMap<String, String>,
    count: u64,
}

impl Instagram {
    /// Changes what `/me` tells of an account; also `subscribed`, the fields of webhooks that were asked for.
    pub fn set_account(&mut self, account: &str, patch: Value) {
        merge(self.account_mut(account), &patch);
    }

    /// Changes what is told of a person. Null: that person does not permit it.
    pub fn set_profile(&mut self, person: &str, patch: Value) {
        if patch.is_null() {
            self.profiles.insert(person.to_owned(), patch);
        } else {
            merge(self.profiles.entry(person.to_owned()).or_insert_with(|| profile(person)), &patch);
        }
    }

    /// This token is one of this account, as if it had been handed out.
    pub fn allow(&mut self, token: &str, account: &str) {
        self.tokens.insert(token.to_owned(), account.to_owned());
    }

    /// What is known of an account.
    pub fn about(&self, account: &str) -> Value {
        self.accounts.get(account).cloned().unwrap_or_default()
    }

    fn account_mut(&mut self, account: &str) -> &mut Value {
        self.accounts.entry(account.to_owned()).or_insert_with(|| {
            json!({"id": scoped(account), "user_id": account, "username": format!("account_{account}"), "name": "Sandbox account",
                "account_type": "BUSINESS", "profile_picture_url": "https://example.org/account.jpg", "subscribed": []})
        })
    }

    fn reply(&mut self, method: &str, path: &[&str], query: &HashMap<String, String>, token: &str, body: &Value) -> Reply {
        let own = self.tokens.get(token).cloned().unwrap_or_else(|| self.logged_in());
        let named = |account: &str| if account == "me" { own.clone() } else { account.to_owned() };
        if let [account, "messages" | "subscribed_apps"] = path
            && *account != "me"
            && self.tokens.get(token).is_some_and(|owner| owner != account)
        {
            return Err(missing());
        }
        match (method, path) {
            ("POST", ["oauth", "access_token"]) => self.login(body),
            ("GET", [grant @ ("access_token" | "refresh_access_token")]) => {
                let kind = if *grant == "access_token" { "ig_exchange_token" } else { "ig_refresh_token" };
                let secret = *grant != "access_token" || query.get("client_secret").is_some_and(|secret| !secret.is_empty());
                if query.get("grant_type").is_none_or(|given| given != kind) || !secret {
                    return Err(problem(100, "grant_type is not the one of this call, or client_secret is missing"));
                }
                let token = self.hand_out("ig-long", &own);
                Ok(json!({"access_token": token, "token_type": "bearer", "expires_in": self.expires_in.unwrap_or(5_183_944)}))
            }
            ("GET", ["me"]) => Ok(shown(self.account_mut(&own), query, &["id"])),
            ("POST", [account, "messages"]) => self.message(&named(account), token, body),
            (_, [account, "subscribed_apps"]) => {
                let account = self.account_mut(&named(account));
                let fields = query.get("subscribed_fields").map(String::as_str).or(body["subscribed_fields"].as_str()).unwrap_or_default();
                match method {
                    "POST" if fields.is_empty() => return Err(problem(100, "subscribed_fields is required")),
                    "POST" => account["subscribed"] = json!(fields.split(',').collect::<Vec<_>>()),
                    "DELETE" => account["subscribed"] = json!([]),
                    _ => return Ok(json!({"data": [{"id": "sandbox-app", "subscribed_fields": account["subscribed"]}]})),
                }
                Ok(json!({"success": true}))
            }
            ("GET", [person]) => {
                let told = self.profiles.get(*person).cloned().unwrap_or_else(|| profile(person));
                if told.is_null() {
                    return Err(problem(230, "User consent is required to access user profile"));
                }
                Ok(shown(&told, query, &["name", "username", "profile_pic"]))
            }
            _ => Err(missing()),
        }
    }

    fn logged_in(&self) -> String {
        if self.account.is_empty() { ACCOUNT.to_owned() } else { self.account.clone() }
    }

    fn hand_out(&mut self, kind: &str, account: &str) -> String {
        self.count += 1;
        let token = format!("{kind}-{}-{account}", self.count);
        self.tokens.insert(token.clone(), account.to_owned());
        token
    }

    /// A code for a token that works an hour.
    fn login(&mut self, body: &Value) -> Reply {
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let refused = |why: &str| Err(json!({"error_type": "OAuthException", "code": 400, "error_message": why}));
        if let Some(name) = ["client_id", "client_secret", "redirect_uri", "code"].into_iter().find(|name| text(name).is_empty()) {
            return refused(&format!("Missing required field {name}"));
        }
        if text("grant_type") != "authorization_code" {
            return refused("Invalid grant_type");
        }
        if text("code") == "expired" || !self.codes.insert(text("code").to_owned()) {
            return refused("This authorization code has been used or has expired");
        }
        let account = self.logged_in();
        let token = self.hand_out("ig-short", &account);
        let id = scoped(&account);
        if self.wrapped {
            return Ok(json!({"data": [{"access_token": token, "user_id": id, "permissions": PERMISSIONS.join(",")}]}));
        }
        let id = id.parse::<u64>().map_or_else(|_| json!(id), |number| json!(number));
        Ok(json!({"access_token": token, "user_id": id, "permissions": PERMISSIONS}))
    }

    fn message(&mut self, account: &str, token: &str, body: &Value) -> Reply {
        if let Some(wrong) = refuse(body) {
            return Err(problem(100, wrong));
        }
        let mut answer = json!({"recipient_id": body["recipient"]["id"]});
        if body["message"].is_object() {
            self.count += 1;
            answer["message_id"] = json!(format!("mid.sandbox.{:016x}.{}", self.count, uuid::Uuid::new_v4().simple()));
        }
        self.sent.push(json!({"account": account, "token": token, "message_id": answer["message_id"], "body": body}));
        Ok(answer)
    }
}

impl Sandbox {
    /// Reads or changes Instagram.
    pub fn instagram<T>(&self, act: impl FnOnce(&mut Instagram) -> T) -> T {
        act(&mut self.lock().instagram)
    }

    /// Posts a signed webhook of Instagram's, once. The status.
    pub async fn instagram_says(&self, url: &str, secret: &str, body: &Value) -> u16 {
        let bytes = body.to_string();
        let request = self.client.post(url).header("x-hub-signature-256", sign(secret, bytes.as_bytes())).body(bytes);
        request.timeout(Duration::from_secs(10)).send().await.map_or(0, |answer| answer.status().as_u16())
    }

    pub(super) async fn route_instagram(
        &self,
        method: &Method,
        segments: &[&str],
        query: &HashMap<String, String>,
        token: &str,
        body: &Bytes,
        headers: &HeaderMap,
    ) -> Option<io::Result<Answer>> {
        let ["instagram", path @ ..] = segments else { return None };
        let path = match path {
            [version, rest @ ..] if is_version(version) => rest,
            _ => path,
        };
        let body: Value = serde_json::from_slice(body).unwrap_or_else(|_| form(headers, body));
        let token = if token.is_empty() { query.get("access_token").map_or("", String::as_str) } else { token };
        let call = record(method, segments, query, token, &body);
        self.lock().instagram.calls.push(call.clone());
        Some(self.under_faults("instagram", &call, async { Ok(self.asked_of_instagram(method, path, query, token, &body)) }).await)
    }

    fn asked_of_instagram(&self, method: &Method, path: &[&str], query: &HashMap<String, String>, token: &str, body: &Value) -> Answer {
        let mut state = self.lock();
        let open = matches!(path, ["oauth", _]) || state.instagram.tokens.contains_key(token);
        if !open && let Some(refusal) = state.refuse_token(token) {
            return refusal;
        }
        match state.instagram.reply(method.as_str(), path, query, token, body) {
            Ok(answer) => json_answer(200, &answer),
            Err(refusal) => json_answer(400, &refusal),
        }
    }
}

/// A webhook for an account: one event, or a list of them.
pub fn instagram_envelope(ig: &str, messaging: Value) -> Value {
    let messaging = if messaging.is_array() { messaging } else { json!([messaging]) };
    json!({"object": "instagram", "entry": [{"id": ig, "time": chrono::Utc::now().timestamp_millis(), "messaging": messaging}]})
}

/// What Instagram would refuse in a message.
fn refuse(body: &Value) -> Option<&'static str> {
    let (message, action) = (&body["message"], body["sender_action"].as_str());
    if body["recipient"]["id"].as_str().is_none_or(str::is_empty) {
        return Some("recipient.id is required");
    }
    if message.is_object() == action.is_some() {
        return Some("message or sender_action is required, and not both");
    }
    if let Some(action) = action {
        let known = match action {
            "mark_seen" | "typing_on" | "typing_off" => true,
            "react" | "unreact" => body["payload"]["message_id"].as_str().is_some_and(|id| !id.is_empty()),
            _ => false,
        };
        return (!known).then_some("no such sender_action, or none without payload.message_id");
    }
    let attachment = &message["attachment"];
    match message["text"].as_str() {
        Some(_) if !attachment.is_null() => Some("text and attachment do not go together"),
        Some("") => Some("the text is empty"),
        Some(text) => (text.len() > TEXT).then_some("the text has more than 1000 bytes"),
        None if !["image", "audio", "video", "file"].iter().any(|kind| attachment["type"] == *kind) => {
            Some("text, or an attachment of type image, audio, video or file is required")
        }
        None => attachment["payload"]["url"].as_str().is_none_or(|url| !url.starts_with("http")).then_some("attachment.payload.url is required"),
    }
}

/// The fields of a form, of either kind.
fn form(headers: &HeaderMap, body: &Bytes) -> Value {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let fields: Map<String, Value> = match parts(kind, body) {
        Some(parts) => parts.into_iter().map(|part| (part.name, json!(String::from_utf8_lossy(&part.bytes)))).collect(),
        None => form_urlencoded::parse(body).map(|(name, value)| (name.into_owned(), json!(value))).collect(),
    };
    Value::Object(fields)
}

fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
}

/// The id that an app knows an account by. Webhooks and messages have another one.
fn scoped(account: &str) -> String {
    format!("9{account}")
}

fn profile(person: &str) -> Value {
    json!({"id": person, "name": "Sandbox person", "username": format!("person_{person}"), "profile_pic": "https://example.org/person.jpg"})
}

fn problem(code: i64, message: &str) -> Value {
    json!({"error": {"message": message, "type": "IGApiException", "code": code, "fbtrace_id": "sandbox"}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_instagram_refuses() {
        let message = |message: Value| refuse(&json!({"recipient": {"id": "1"}, "message": message}));
        assert_eq!(message(json!({"text": "hello"})), None);
        assert_eq!(message(json!({"attachment": {"type": "image", "payload": {"url": "https://a/b"}}})), None);
        assert!(message(json!({"text": "é".repeat(501)})).is_some());
        assert!(message(json!({"attachment": {"type": "image", "payload": {}}})).is_some());
        assert!(message(json!({"attachment": {"type": "sticker", "payload": {"url": "https://a/b"}}})).is_some());
        let action = |action: &str, payload: Value| refuse(&json!({"recipient": {"id": "1"}, "sender_action": action, "payload": payload}));
        assert_eq!(action("mark_seen", Value::Null), None);
        assert_eq!(action("react", json!({"message_id": "m", "reaction": "love"})), None);
        assert!(action("react", Value::Null).is_some());
        assert!(refuse(&json!({"message": {"text": "hello"}})).is_some());
    }

    #[test]
    fn from_a_code_to_a_token() {
        let mut instagram = Instagram::default();
        let query = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<HashMap<_, _>>();
        let login = json!({"client_id": "1", "client_secret": "s", "redirect_uri": "https://a", "code": "c", "grant_type": "authorization_code"});
        let short = instagram.login(&login).expect("a token")["access_token"].as_str().expect("a token").to_owned();
        assert!(instagram.login(&login).is_err());
        let exchange = query(&[("grant_type", "ig_exchange_token"), ("client_secret", "s")]);
        let long = instagram.reply("GET", &["access_token"], &exchange, &short, &Value::Null).expect("a token");
        let long = long["access_token"].as_str().expect("a token");
        let me = instagram.reply("GET", &["me"], &query(&[("fields", "user_id")]), long, &Value::Null).expect("an account");
        assert_eq!(me["user_id"], ACCOUNT);
        assert!(instagram.reply("POST", &["1", "messages"], &query(&[]), long, &Value::Null).is_err());
    }
}
