//! What concerns one number besides connecting it: its profile, settings and health, whom it blocks, its phone's memory.

use serde_json::{Value, json};

use super::{Job, Manage, Outcome, check::FIELDS};
use crate::{
    model::now,
    whatsapp::{Failure, is_bsuid},
};

/// What is asked of a business profile.
const PROFILE: &str = "about,address,description,email,profile_picture_url,websites,vertical";

impl Manage {
    /// Profile, settings, quality, throughput and limits, into `organizations_addresses.extra`.
    pub(super) async fn refresh(&self, job: &Job) -> Outcome {
        let (number, token) = (job.address()?, self.token(job)?);
        let mut patch = self.graph.get(number, Some(&token), &[("fields", FIELDS)]).await?;
        if let Some(patch) = patch.as_object_mut() {
            patch.remove("id");
            patch.remove("status");
            if let Some(phone) = patch.remove("display_phone_number") {
                let digits: String = phone.as_str().unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
                if !digits.is_empty() {
                    patch.insert("phone_number".to_owned(), json!(digits));
                }
            }
        }
        // Older accounts have no profile or settings to read: that is no reason to know nothing.
        let profile = self.graph.get(&format!("{number}/whatsapp_business_profile"), Some(&token), &[("fields", PROFILE)]).await;
        if let Ok(profile) = profile {
            patch["profile"] = profile["data"][0].clone();
        }
        if let Ok(settings) = self.graph.get(&format!("{number}/settings"), Some(&token), &[]).await {
            patch["settings"] = settings;
        }
        patch["refreshed_at"] = json!(now());
        let update = "update public.organizations_addresses set extra = $3 where organization_id = $1 and address = $2";
        self.run_sql(update, &[&job.organization_id, &number, &patch]).await?;
        Ok(patch)
    }

    /// Changes the profile or the settings, and reads them back.
    pub(super) async fn change(&self, job: &Job) -> Outcome {
        let (number, token) = (job.address()?, self.token(job)?);
        let mut body = job.input.clone();
        let path = if job.kind == "profile" { "whatsapp_business_profile" } else { "settings" };
        if job.kind == "profile" {
            body["messaging_product"] = json!("whatsapp");
        }
        self.graph.post(&format!("{number}/{path}"), &token, &body).await?;
        self.refresh(job).await
    }

    /// Asks for the contacts and the history of the phone that shares the number. Meta grants each once, within a day.
    pub(super) async fn sync_phone(&self, job: &Job) -> Outcome {
        let (number, token) = (job.address()?, self.token(job)?);
        let mut answers = json!({});
        for (kind, sync) in [("contacts", "smb_app_state_sync"), ("history", "history")] {
            if job.done(sync) || job.text("sync_type").is_some_and(|only| only != sync) {
                continue;
            }
            let body = json!({"messaging_product": "whatsapp", "sync_type": sync});
            match self.graph.post(&format!("{number}/smb_app_data"), &token, &body).await {
                Ok(answer) => answers[sync] = answer,
                // Asked for before: as good as done.
                Err(failure) if failure.error["code"] == 2_593_107 => answers[sync] = json!({"already": true}),
                Err(failure) => return Err(failure),
            }
            self.step(job, sync, &answers[sync]).await?;
            let patch = json!({"sync": {kind: {"requested_at": now()}}});
            let update = "update public.organizations_addresses set extra = $3 where organization_id = $1 and address = $2";
            self.run_sql(update, &[&job.organization_id, &number, &patch]).await?;
        }
        Ok(answers)
    }

    /// Blocks a contact, or takes that back.
    pub(super) async fn block(&self, job: &Job) -> Outcome {
        let (number, token) = (job.address()?, self.token(job)?);
        let contact = job.require("contact_address")?;
        let find = "select address, extra ->> 'phone_number' from public.contacts_addresses
            where organization_id = $1 and service = 'whatsapp' and address = public.address_of($1, 'whatsapp', $2, $2, $2)";
        let known = self.run_sql(find, &[&job.organization_id, &contact]).await?;
        let address = known.first().map_or_else(|| contact.to_owned(), |row| row.get(0));
        let phone = known.first().and_then(|row| row.get::<_, Option<String>>(1));
        let user = if is_bsuid(&address) { phone.unwrap_or(address) } else { address };
        let body = json!({"messaging_product": "whatsapp", "block_users": [{"user": user}]});
        let path = format!("{number}/block_users");
        let answer = if job.kind == "block" {
            self.graph.post(&path, &token, &body).await?
        } else {
            self.graph.delete(&path, &token, &[], Some(&body)).await?
        };
        let failed = &answer["block_users"]["failed_users"][0];
        if failed.is_object() {
            let reason = failed["errors"][0]["message"].as_str().unwrap_or("Meta did not say why");
            return Err(Failure::refused("block", format!("{user} cannot be {}ed: {reason}", job.kind)));
        }
        Ok(answer)
    }

    /// Who somebody on Instagram is.
    pub(super) async fn contact_profile(&self, job: &Job) -> Outcome {
        let contact = job.require("contact_address")?;
        let token = self.tokens.own(job.credential.as_ref()).map_err(|text| Failure::refused("no_token", text))?;
        let profile = self.instagram.get(contact, &[("fields", "name,username,profile_pic")], &token).await?;
        let mut extra = json!({"name": profile["name"], "username": profile["username"], "profile_picture_url": profile["profile_pic"]});
        if let Some(extra) = extra.as_object_mut() {
            extra.retain(|_, v| !v.is_null());
        }
        let update = "update public.contacts_addresses set extra = $3 where organization_id = $1 and service = 'instagram' and address = $2";
        self.run_sql(update, &[&job.organization_id, &contact, &extra]).await?;
        Ok(Value::Null)
    }
}
