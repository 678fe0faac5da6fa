//! Graph's side of management: tokens, business accounts, numbers and templates.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
};

use bytes::Bytes;
use hyper::{HeaderMap, Method, header};
use serde_json::{Value, json};

use super::{
    Answer, Sandbox,
    bridge::{merge, record, shown},
    fault::graph_error,
    json_answer,
};

/// Cannot be blocked.
pub const UNBLOCKABLE: &str = "15550000403";
/// What `verify_code` takes.
pub const CODE: &str = "123456";

/// What hangs off a number or an account here: what needs a `messaging_product`, and the rest.
const PRODUCT: [&str; 4] = ["register", "smb_app_data", "whatsapp_business_profile", "block_users"];
const EDGES: [&str; 7] = ["deregister", "settings", "request_code", "verify_code", "phone_numbers", "subscribed_apps", "message_templates"];
/// What Graph tells of an object when no fields are asked for.
const PHONE: [&str; 5] = ["verified_name", "code_verification_status", "display_phone_number", "quality_rating", "platform_type"];
const WABA: [&str; 4] = ["name", "timezone_id", "message_template_namespace", "currency"];

/// An answer, or what Graph refuses with.
pub(super) type Reply = Result<Value, Value>;

/// The pretend business accounts.
#[derive(Default)]
pub struct Accounts {
    /// Every call that came, also those that went wrong: `{method, path, query, body, token}`.
    pub calls: Vec<Value>,
    wabas: BTreeMap<String, Value>,
    phones: BTreeMap<String, Value>,
    pub(super) templates: Vec<Value>,
    /// Names of approved templates that were deleted: not to be had again.
    pub(super) buried: HashSet<String>,
    /// Codes that have been exchanged.
    codes: HashSet<String>,
    /// Tokens that reach these accounts only.
    bound: HashMap<String, Vec<String>>,
    /// What uploads of samples ended with.
    pub(super) handles: HashSet<String>,
    pub(super) count: u64,
}

/// What was asked for.
pub(super) struct Call<'a> {
    pub method: &'a str,
    pub segments: &'a [&'a str],
    pub query: &'a HashMap<String, String>,
    pub token: &'a str,
    pub body: Value,
    pub host: &'a str,
}

impl Call<'_> {
    /// A parameter, wherever it is given.
    pub fn text(&self, name: &str) -> &str {
        self.query.get(name).map(String::as_str).or(self.body[name].as_str()).unwrap_or_default()
    }
}

impl Sandbox {
    /// Reads or changes the business accounts.
    pub fn accounts<T>(&self, act: impl FnOnce(&mut Accounts) -> T) -> T {
        act(&mut self.lock().accounts)
    }

    pub(super) async fn manage(
        &self,
        method: &Method,
        segments: &[&str],
        query: &HashMap<String, String>,
        token: &str,
        body: &Bytes,
        headers: &HeaderMap,
    ) -> Option<io::Result<Answer>> {
        match segments {
            ["sandbox" | "bridge" | "instagram", ..] => return None,
            [_] | ["oauth", "access_token"] => {}
            [_, edge] if PRODUCT.contains(edge) || EDGES.contains(edge) => {}
            _ => return None,
        }
        let token = if token.is_empty() { query.get("access_token").map_or("", String::as_str) } else { token };
        let host = headers.get(header::HOST).and_then(|v| v.to_str().ok()).unwrap_or("localhost");
        let parsed = serde_json::from_slice(body).unwrap_or_default();
        let call = Call { method: method.as_str(), segments, query, token, body: parsed, host };
        let record = record(method, segments, query, token, &call.body);
        self.lock().accounts.calls.push(record.clone());
        Some(self.under_faults("manage", &record, async { Ok(self.managed(&call)) }).await)
    }

    fn managed(&self, call: &Call) -> Answer {
        let mut state = self.lock();
        let state = &mut *state;
        for (waba, phones) in &state.settings.accounts {
            let phones: Vec<&str> = phones.iter().map(String::as_str).collect();
            state.accounts.furnish(waba, &phones);
        }
        if let ["debug_token"] = call.segments {
            let token = call.text("input_token");
            let valid = state.refuse_token(token).is_none();
            return json_answer(200, &state.accounts.debug(token, valid));
        }
        let open = matches!(call.segments, ["oauth", _]);
        if !open && let Some(refusal) = state.refuse_token(call.token) {
            return refusal;
        }
        match state.accounts.reply(call) {
            Ok(answer) => json_answer(200, &answer),
            Err(refusal) => json_answer(400, &refusal),
        }
    }
}

impl Accounts {
    /// There is a business account with these numbers.
    pub fn furnish(&mut self, waba: &str, phones: &[&str]) {
        self.wabas.entry(waba.to_owned()).or_insert_with(|| {
            json!({"id": waba, "name": "Sandbox business", "timezone_id": "1", "currency": "USD", "country": "US",
                "message_template_namespace": "sandbox", "account_review_status": "APPROVED", "business_verification_status": "verified",
                "ownership_type": "SELF", "owner_business_info": {"id": "sandbox-business", "name": "Sandbox business"},
                "whatsapp_business_manager_messaging_limit": "TIER_250", "health_status": health("WABA", waba)})
        });
        for &phone in phones {
            self.phones.entry(phone.to_owned()).or_insert_with(|| {
                json!({"id": phone, "waba": waba, "display_phone_number": format!("+1 555-{phone}"), "verified_name": "Sandbox",
                    "quality_rating": "GREEN", "throughput": {"level": "STANDARD"}, "name_status": "APPROVED", "status": "CONNECTED",
                    "code_verification_status": "VERIFIED", "platform_type": "CLOUD_API", "is_on_biz_app": false, "account_mode": "LIVE",
                    "is_official_business_account": false, "is_pin_enabled": false, "messaging_limit_tier": "TIER_250",
                    "whatsapp_business_manager_messaging_limit": "TIER_250", "health_status": health("PHONE_NUMBER", phone)})
            });
        }
    }

    /// Changes fields of a number; also `pin`, which Graph does not show.
    pub fn set_phone(&mut self, phone: &str, patch: Value) {
        merge(self.phones.entry(phone.to_owned()).or_insert_with(|| json!({"id": phone})), &patch);
    }

    /// Changes fields of an account.
    pub fn set_waba(&mut self, waba: &str, patch: Value) {
        merge(self.wabas.entry(waba.to_owned()).or_insert_with(|| json!({"id": waba})), &patch);
    }

    /// The token that is had for this code will reach these accounts only, as in real life.
    pub fn bind(&mut self, code: &str, wabas: &[&str]) {
        self.bound.insert(format!("business-token-{code}"), wabas.iter().map(|&w| w.to_owned()).collect());
    }

    /// All there is: `{wabas, phones, templates}`, with what Graph does not show.
    pub fn all(&self) -> Value {
        json!({"wabas": self.wabas, "phones": self.phones, "templates": self.templates})
    }

    /// Whether a token was had for a code.
    pub fn handed_out(&self, token: &str) -> bool {
        token.strip_prefix("business-token-").is_some_and(|code| self.codes.contains(code))
    }

    fn reply(&mut self, call: &Call) -> Reply {
        let (id, edge) = match call.segments {
            ["oauth", _] => return self.exchange(call),
            [id] => (*id, ""),
            [id, edge] => (*id, *edge),
            _ => return Err(missing()),
        };
        if !self.reaches(call.token, id) {
            return Err(missing());
        }
        if call.method != "GET" && PRODUCT.contains(&edge) && call.body["messaging_product"] != "whatsapp" {
            return Err(graph_error(100, "The parameter messaging_product is required."));
        }
        match (call.method, edge) {
            _ if self.phones.contains_key(id) => self.of_phone(id, edge, call),
            _ if self.wabas.contains_key(id) => self.of_waba(id, edge, call),
            (_, "") => self.of_template(id, call),
            _ => Err(missing()),
        }
    }

    fn reaches(&self, token: &str, id: &str) -> bool {
        let template = || self.templates.iter().find(|t| t["id"] == id);
        let owner = self.phones.get(id).or_else(template).and_then(|object| object["waba"].as_str());
        let waba = owner.or(self.wabas.contains_key(id).then_some(id));
        waba.is_none_or(|waba| self.bound.get(token).is_none_or(|reached| reached.iter().any(|r| r == waba)))
    }

    fn exchange(&mut self, call: &Call) -> Reply {
        if let Some(name) = ["client_id", "client_secret", "code"].into_iter().find(|name| call.text(name).is_empty()) {
            return Err(graph_error(100, &format!("Missing {name} parameter.")));
        }
        let code = call.text("code");
        if code == "expired" {
            return Err(refusal(36_007, "This authorization code has expired."));
        }
        if !self.codes.insert(code.to_owned()) {
            return Err(refusal(36_009, "This authorization code has been used."));
        }
        Ok(json!({"access_token": format!("business-token-{code}"), "token_type": "bearer"}))
    }

    fn debug(&self, token: &str, valid: bool) -> Value {
        if !valid {
            return json!({"data": {"is_valid": false, "scopes": [], "error": {"code": 190, "message": "Invalid OAuth access token."}}});
        }
        let reached = self.bound.get(token).cloned().unwrap_or_else(|| self.wabas.keys().cloned().collect());
        let scopes = ["whatsapp_business_management", "whatsapp_business_messaging"];
        let granular: Vec<Value> = scopes.iter().map(|scope| json!({"scope": scope, "target_ids": reached})).collect();
        json!({"data": {"app_id": "sandbox-app", "application": "Sandbox", "type": "SYSTEM_USER", "is_valid": true, "expires_at": 0,
            "data_access_expires_at": 0, "user_id": "1", "scopes": scopes, "granular_scopes": granular}})
    }

    fn of_waba(&mut self, id: &str, edge: &str, call: &Call) -> Reply {
        let Some(waba) = self.wabas.get_mut(id) else { return Err(missing()) };
        match (call.method, edge) {
            ("GET", "") => Ok(shown(waba, call.query, &WABA)),
            ("GET", "phone_numbers") => {
                let phones = self.phones.values().filter(|p| p["waba"] == id);
                Ok(page(&phones.map(|p| shown(p, call.query, &PHONE)).collect::<Vec<_>>(), call))
            }
            ("GET", "subscribed_apps") => {
                let subscribed = waba["subscription"].is_object().then(|| waba["subscription"].clone());
                Ok(json!({"data": subscribed.into_iter().collect::<Vec<_>>()}))
            }
            ("DELETE", "subscribed_apps") => {
                waba["subscription"] = Value::Null;
                Ok(json!({"success": true}))
            }
            ("POST", "subscribed_apps") => {
                let (url, verify) = (call.text("override_callback_uri"), call.text("verify_token"));
                if url.len() > 200 || url.is_empty() != verify.is_empty() {
                    return Err(graph_error(100, "override_callback_uri has at most 200 characters and comes with a verify_token"));
                }
                waba["subscription"] = json!({"whatsapp_business_api_data": {"id": "sandbox-app", "name": "Sandbox"}});
                if !url.is_empty() {
                    waba["subscription"]["override_callback_uri"] = json!(url);
                }
                Ok(json!({"success": true}))
            }
            (_, "message_templates") => self.templates_of(id, call),
            _ => Err(missing()),
        }
    }

    fn of_phone(&mut self, id: &str, edge: &str, call: &Call) -> Reply {
        let Some(phone) = self.phones.get_mut(id) else { return Err(missing()) };
        let body = &call.body;
        match (call.method, edge) {
            ("GET", "") => return Ok(shown(phone, call.query, &PHONE)),
            ("GET", "whatsapp_business_profile") => {
                let fields = ["about", "address", "description", "email", "messaging_product", "profile_picture_url", "vertical", "websites"];
                return Ok(json!({"data": [shown(&phone["profile"], call.query, &fields)]}));
            }
            ("GET", "settings") => return Ok(phone["settings"].clone()),
            ("GET", "block_users") => {
                let blocked = phone["blocked"].as_array().map(Vec::as_slice).unwrap_or_default();
                let users: Vec<Value> = blocked.iter().map(|wa_id| json!({"messaging_product": "whatsapp", "wa_id": wa_id})).collect();
                return Ok(page(&users, call));
            }
            ("POST" | "DELETE", "block_users") => return block(phone, call),
            ("POST", "" | "register") if (edge == "register" || !body["pin"].is_null()) && !six_digits(&body["pin"]) => {
                return Err(graph_error(100, "pin must have 6 digits"));
            }
            ("POST", "") => merge(phone, body),
            ("POST", "register") => {
                let count = phone["registrations"].as_u64().unwrap_or(0) + 1;
                phone["registrations"] = json!(count);
                if count > 10 {
                    return Err(graph_error(133_016, "Account register rate limit exceeded"));
                }
                if !phone["pin"].is_null() && phone["pin"] != body["pin"] {
                    return Err(graph_error(133_005, "Two-step verification PIN mismatch"));
                }
                merge(phone, &json!({"pin": body["pin"], "is_pin_enabled": true, "status": "CONNECTED", "platform_type": "CLOUD_API"}));
            }
            ("POST", "deregister") if phone["is_on_biz_app"] == true => {
                return Err(graph_error(100, "a number that the WhatsApp Business app uses is removed there"));
            }
            ("POST", "deregister") => merge(phone, &json!({"status": "DISCONNECTED", "platform_type": "NOT_APPLICABLE"})),
            ("POST", "smb_app_data") => {
                let kind = call.text("sync_type");
                if !["smb_app_state_sync", "history"].contains(&kind) {
                    return Err(graph_error(100, "sync_type must be smb_app_state_sync or history"));
                }
                if phone["synced"][kind] == true {
                    return Err(graph_error(2_593_107, "This was asked for already"));
                }
                phone["synced"][kind] = json!(true);
                return Ok(json!({"messaging_product": "whatsapp", "request_id": uuid::Uuid::new_v4().simple().to_string()}));
            }
            ("POST", "whatsapp_business_profile") => {
                let picture = call.text("profile_picture_handle");
                if !picture.is_empty() && !self.handles.contains(picture) || call.text("about").chars().count() > 139 {
                    return Err(graph_error(100, "profile_picture_handle must come from an upload, and about has at most 139 characters"));
                }
                merge(&mut phone["profile"], body);
            }
            ("POST", "settings") => merge(&mut phone["settings"], body),
            ("POST", "request_code") if !["SMS", "VOICE"].contains(&call.text("code_method")) || call.text("language").is_empty() => {
                return Err(graph_error(100, "code_method must be SMS or VOICE, language is required"));
            }
            ("POST", "request_code") => {}
            ("POST", "verify_code") if call.text("code") != CODE => return Err(graph_error(136_025, "The code is wrong")),
            ("POST", "verify_code") => phone["code_verification_status"] = json!("VERIFIED"),
            _ => return Err(missing()),
        }
        Ok(json!({"success": true}))
    }
}

fn block(phone: &mut Value, call: &Call) -> Reply {
    let Some(users) = call.body["block_users"].as_array() else { return Err(graph_error(100, "The parameter block_users is required.")) };
    let mut blocked = phone["blocked"].as_array().cloned().unwrap_or_default();
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for user in users {
        let input = user["user"].as_str().unwrap_or_default();
        let wa_id = input.replace(['+', ' ', '-'], "");
        if wa_id.is_empty() || wa_id == UNBLOCKABLE {
            let error = json!({"message": "Failed to block/unblock", "code": 139_100, "error_data": {"details": "as this user always does"}});
            failed.push(json!({"input": input, "wa_id": wa_id, "errors": [error]}));
            continue;
        }
        blocked.retain(|b| *b != wa_id);
        if call.method == "POST" {
            blocked.push(json!(wa_id));
        }
        done.push(json!({"input": input, "wa_id": wa_id}));
    }
    phone["blocked"] = json!(blocked);
    let list = if call.method == "POST" { "added_users" } else { "removed_users" };
    let mut answer = json!({"messaging_product": "whatsapp", "block_users": {list: done}});
    if failed.is_empty() {
        return Ok(answer);
    }
    answer["block_users"]["failed_users"] = json!(failed);
    merge(&mut answer, &graph_error(139_100, "Failed to block some users, see the block_users response list for details"));
    Err(answer)
}

/// One page of a list, by `limit` and `after`.
pub(super) fn page(all: &[Value], call: &Call) -> Value {
    let number = |name: &str| call.query.get(name).and_then(|n| n.parse::<usize>().ok());
    let from = number("after").unwrap_or(0).min(all.len());
    let to = from.saturating_add(number("limit").unwrap_or(25).max(1)).min(all.len());
    let mut page = json!({"data": all[from..to]});
    if from < to {
        page["paging"] = json!({"cursors": {"before": from.to_string(), "after": to.to_string()}});
    }
    if to < all.len() {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(call.query.iter().filter(|(name, _)| name.as_str() != "after")).append_pair("after", &to.to_string());
        page["paging"]["next"] = json!(format!("http://{}/v25.0/{}?{}", call.host, call.segments.join("/"), query.finish()));
    }
    page
}

fn six_digits(pin: &Value) -> bool {
    pin.as_str().is_some_and(|pin| pin.len() == 6 && pin.bytes().all(|b| b.is_ascii_digit()))
}

fn health(kind: &str, id: &str) -> Value {
    json!({"can_send_message": "AVAILABLE", "entities": [{"entity_type": kind, "id": id, "can_send_message": "AVAILABLE"}]})
}

/// What Graph says of what is not there, or not for this token.
pub(super) fn missing() -> Value {
    refusal(33, "Unsupported request. The object does not exist, or cannot be loaded due to missing permissions.")
}

/// Code 100 with a subcode.
pub(super) fn refusal(subcode: i64, details: &str) -> Value {
    let mut error = graph_error(100, details);
    error["error"]["error_subcode"] = json!(subcode);
    error
}
