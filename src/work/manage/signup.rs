//! Connecting a number (Embedded Signup) and letting go of it. Steps that are done are not done again: a signup that broke
//! off goes on where it was, and its code, which is good for once, is not needed any more.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Job, Manage, Outcome, check::holds};
use crate::{
    config::App,
    whatsapp::{Failure, check_id},
};

impl Manage {
    pub(super) async fn signup(&self, job: &Job) -> Outcome {
        let (waba, number) = (job.require("waba_id")?, job.require("phone_number_id")?);
        check_id(waba)?;
        check_id(number)?;
        let token = self.business_token(job).await?;
        self.prove(job, &token, waba, number).await?;
        // The row first, as pending: what comes in from now on waits for it.
        self.save(job, number, &token, json!({}), "pending").await?;
        self.subscribe(job, &token, waba).await?;
        let shared = job.text("flow_type") == Some("existing_phone_number");
        if !shared {
            self.register(job, &token, number).await?;
        }
        let seen = self.graph.get(number, Some(&token), &[("fields", "display_phone_number,verified_name")]).await?;
        let digits: String = seen["display_phone_number"].as_str().unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
        let extra =
            json!({"phone_number": digits, "verified_name": seen["verified_name"], "is_on_biz_app": shared, "disconnected": null, "attention": null});
        let row = self.save(job, number, &token, extra, "connected").await?;
        if !job.done("connected") {
            let mut follow = vec!["refresh", "templates"];
            // Meta grants this within 24 hours only.
            if shared {
                follow.insert(0, "sync_phone");
            }
            let ask = "select public.operate($1, $2, k) from unnest($3::text[]) k";
            self.run_sql(ask, &[&job.organization_id, &number, &follow]).await?;
            // After them: asked for twice does no harm, never asked for does.
            self.step(job, "connected", &json!({})).await?;
        }
        Ok(row)
    }

    fn app(&self, job: &Job) -> Result<&App, Failure> {
        let wanted = job.text("application_id");
        let app = self.apps.iter().find(|a| wanted.is_none() || a.id.as_deref() == wanted);
        app.filter(|a| a.id.is_some()).ok_or_else(|| Failure::refused("settings", "META_APP_ID is not set, or has no such application_id"))
    }

    /// The token that the code is good for. Stored at once: the code is not good for another.
    async fn business_token(&self, job: &Job) -> Result<String, Failure> {
        let secret = |name: &str| job.secrets.as_ref().and_then(|s| s.get(name));
        let open = |c| self.tokens.own(Some(c)).map_err(|text| Failure::refused("settings", text));
        if let Some(token) = secret("access_token") {
            return open(token);
        }
        let code = secret("code").ok_or_else(|| Failure::refused("input", "operations.input.code is missing"))?;
        let app = self.app(job)?;
        let query = [("client_id", app.id.as_deref().unwrap_or_default()), ("client_secret", &app.secret), ("code", &open(code)?)];
        let answer = self.graph.get("oauth/access_token", None, &query).await?;
        let token = answer["access_token"].as_str().ok_or_else(|| Failure::refused("signup", "Meta's answer holds no access token"))?.to_owned();
        let keep = "select secrets.keep($1, 'operations', $2::uuid::text, 'access_token', $3)";
        self.run_sql(keep, &[&job.organization_id, &job.id, &token]).await?;
        self.step(job, "token", &json!({})).await?;
        Ok(token)
    }

    /// That the number belongs to the account, and the account to whoever signed up.
    async fn prove(&self, job: &Job, token: &str, waba: &str, number: &str) -> Result<(), Failure> {
        if job.done("owned") {
            return Ok(());
        }
        let mut after = String::new();
        loop {
            let mut query = vec![("fields", "id"), ("limit", "100")];
            if !after.is_empty() {
                query.push(("after", &after));
            }
            let page = self.graph.get(&format!("{waba}/phone_numbers"), Some(token), &query).await?;
            if holds(&page, number) {
                return self.step(job, "owned", &json!({})).await;
            }
            match page["paging"]["cursors"]["after"].as_str().filter(|_| page["paging"]["next"].is_string()) {
                Some(next) => after = next.to_owned(),
                None => return Err(Failure::refused("signup", format!("the number {number} does not belong to the business account {waba}"))),
            }
        }
    }

    async fn subscribe(&self, job: &Job, token: &str, waba: &str) -> Result<(), Failure> {
        if job.done("subscribed") {
            return Ok(());
        }
        let path = format!("{waba}/subscribed_apps");
        self.graph.post(&path, token, &json!({})).await?;
        if let (Some(url), Some(verify)) = (job.text("callback_url"), job.text("verify_token")) {
            self.graph.post(&path, token, &json!({"override_callback_uri": url, "verify_token": verify})).await?;
        }
        self.step(job, "subscribed", &json!({})).await
    }

    /// Registers the number with a PIN of its own, which is kept sealed.
    async fn register(&self, job: &Job, token: &str, number: &str) -> Result<(), Failure> {
        if job.done("registered") {
            return Ok(());
        }
        let kept = [job.secrets.as_ref().and_then(|s| s.get("pin")), job.pin.as_ref()];
        let pin = match kept.into_iter().flatten().next() {
            Some(pin) => self.tokens.own(Some(pin)).map_err(|text| Failure::refused("settings", text))?,
            None => format!("{:06}", Uuid::new_v4().as_u128() % 1_000_000),
        };
        let keep = "select secrets.keep($1, 'organizations_addresses', $2, 'pin', $3)";
        self.run_sql(keep, &[&job.organization_id, &number, &pin]).await?;
        let body = json!({"messaging_product": "whatsapp", "pin": pin});
        match self.graph.post(&format!("{number}/register"), token, &body).await {
            Ok(_) => self.step(job, "registered", &json!({})).await,
            Err(mut failure) if failure.error["code"] == 133_005 => {
                failure.text = "the number has a two-step PIN already: give it as pin".to_owned();
                failure.error["message"] = json!(failure.text);
                Err(failure)
            }
            Err(failure) => Err(failure),
        }
    }

    /// The number's row, in the shape that clients know.
    async fn save(&self, job: &Job, number: &str, token: &str, more: Value, status: &str) -> Outcome {
        let mut extra = json!({
            "waba_id": job.text("waba_id"), "business_id": job.text("business_id"), "flow_type": job.text("flow_type"),
            "callback_url": job.text("callback_url"), "verify_token": job.text("verify_token"), "access_token": token,
        });
        if let (Some(extra), Value::Object(more)) = (extra.as_object_mut(), more) {
            extra.extend(more);
        }
        let rows = self.run_sql("select public.connect_number($1, $2, $3, $4)", &[&job.organization_id, &number, &extra, &status]).await?;
        Ok(rows.first().map(|row| row.get(0)).unwrap_or_default())
    }

    pub(super) async fn deregister(&self, job: &Job) -> Outcome {
        let (number, token) = (job.address()?, self.token(job)?);
        let extra = &job.number["extra"];
        if extra["is_on_biz_app"] == true || extra["flow_type"] == "existing_phone_number" {
            return Err(Failure::refused("forbidden", "a number that is shared with the app on a phone can only be disconnected there"));
        }
        if !job.done("deregistered") {
            match self.graph.post(&format!("{number}/deregister"), &token, &json!({"messaging_product": "whatsapp"})).await {
                // Not registered: as good as done.
                Err(failure) if failure.error["code"] != 133_010 => return Err(failure),
                _ => self.step(job, "deregistered", &json!({})).await?,
            }
        }
        // Nobody here has another number of the account: its webhooks have no business here any more. While there is a token.
        let last = self.run_sql("select public.is_last_number($1, $2)", &[&job.organization_id, &number]).await?;
        if last.first().is_some_and(|row| row.get(0))
            && let Ok(waba) = job.waba()
        {
            self.graph.delete(&format!("{waba}/subscribed_apps"), &token, &[], None).await?;
        }
        let rows = self.run_sql("select public.disconnect_number($1, $2)", &[&job.organization_id, &number]).await?;
        Ok(rows.first().map(|row| row.get(0)).unwrap_or_default())
    }
}
