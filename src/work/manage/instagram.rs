//! Instagram's login: a code becomes a token that is good for sixty days, and is renewed before they are over.

use serde_json::{Value, json};

use super::{Job, Manage, Outcome};
use crate::whatsapp::Failure;

/// What webhooks an account sends us.
const FIELDS: &str = "messages,messaging_postbacks,messaging_seen,message_reactions,message_edit,messaging_referral";

impl Manage {
    pub(super) async fn login(&self, job: &Job) -> Outcome {
        let wanted = job.text("application_id");
        let app = self.instagram_apps.iter().find(|a| a.id.is_some() && (wanted.is_none() || a.id.as_deref() == wanted));
        let app = app.ok_or_else(|| Failure::refused("settings", "INSTAGRAM_APP_ID is not set, or has no such application_id"))?;
        let token = self.long_token(job, app.id.as_deref().unwrap_or_default(), &app.secret).await?;
        let me = self.instagram.get("me", &[("fields", "id,user_id,username,name,profile_picture_url")], &token.0).await?;
        let account = me["user_id"].as_str().or(me["id"].as_str()).ok_or_else(|| Failure::refused("login", "the answer holds no account"))?;
        self.instagram.post("me/subscribed_apps", &[("subscribed_fields", FIELDS)], &token.0).await?;
        let extra = json!({
            "ig_user_id": account, "app_user_id": me["id"], "username": me["username"], "name": me["name"],
            "profile_picture_url": me["profile_picture_url"], "access_token": token.0, "token_expires_at": token.1, "token_refreshed_at": crate::model::now(),
            "needs_reauth": null, "attention": null,
        });
        let save = "insert into public.organizations_addresses as a (organization_id, service, address, extra) values ($1, 'instagram', $2, jsonb_strip_nulls($3))
            on conflict (organization_id, address) do update set extra = $3, status = 'connected' where a.service = 'instagram' returning to_jsonb(a)";
        let rows = self.run_sql(save, &[&job.organization_id, &account, &extra]).await?;
        self.run_sql("select public.take_home($1, 'instagram', $2)", &[&job.organization_id, &account]).await?;
        Ok(rows.first().map(|row| row.get(0)).unwrap_or_default())
    }

    /// Code to short token to long token; kept at once, for a code is good for once.
    async fn long_token(&self, job: &Job, id: &str, secret: &str) -> Result<(String, Value), Failure> {
        let kept = |name: &str| job.secrets.as_ref().and_then(|s| s.get(name));
        let open = |c| self.tokens.own(Some(c)).map_err(|text| Failure::refused("settings", text));
        let short = match kept("access_token") {
            Some(token) => open(token)?,
            None => {
                let code = open(kept("code").ok_or_else(|| Failure::refused("input", "operations.input.code is missing"))?)?;
                let form = [
                    ("client_id", id),
                    ("client_secret", secret),
                    ("grant_type", "authorization_code"),
                    ("redirect_uri", job.require("redirect_uri")?),
                    ("code", &code),
                ];
                let answer = self.instagram.login(Some(&self.instagram_login), "oauth/access_token", Some(&form), &[]).await?;
                // Flat, or in a list of one.
                let token = answer["access_token"].as_str().or(answer["data"][0]["access_token"].as_str());
                let token = token.ok_or_else(|| Failure::refused("login", "the answer holds no token"))?.to_owned();
                let keep = "select secrets.keep($1, 'operations', $2::uuid::text, 'access_token', $3)";
                self.run_sql(keep, &[&job.organization_id, &job.id, &token]).await?;
                token
            }
        };
        let query = [("grant_type", "ig_exchange_token"), ("client_secret", secret), ("access_token", short.as_str())];
        self.instagram.login(None, "access_token", None, &query).await.and_then(|answer| lasting(&answer))
    }

    pub(super) async fn refresh_login(&self, job: &Job) -> Outcome {
        let account = job.address()?;
        let token = self.tokens.own(job.credential.as_ref()).map_err(|text| Failure::refused("no_token", text))?;
        let query = [("grant_type", "ig_refresh_token"), ("access_token", token.as_str())];
        let (token, until) = self.instagram.login(None, "refresh_access_token", None, &query).await.and_then(|answer| lasting(&answer))?;
        let patch = json!({"access_token": token, "token_expires_at": until, "token_refreshed_at": crate::model::now(), "needs_reauth": null});
        let update = "update public.organizations_addresses set extra = $3 where organization_id = $1 and address = $2";
        self.run_sql(update, &[&job.organization_id, &account, &patch]).await?;
        Ok(Value::Null)
    }
}

/// Token and end of one that lasts.
fn lasting(answer: &Value) -> Result<(String, Value), Failure> {
    let token = answer["access_token"].as_str().ok_or_else(|| Failure::refused("login", "the answer holds no token"))?;
    let until = chrono::Utc::now() + chrono::Duration::seconds(answer["expires_in"].as_i64().unwrap_or(5_184_000));
    Ok((token.to_owned(), json!(until)))
}
