//! Operations on numbers and templates: every step once, also where one breaks off between them, and only on what is one's own.

use serde_json::{Value, json};
use tidings::sandbox::Fault;
use uuid::Uuid;

use crate::support::*;

/// A process, an account with two numbers at Meta, an organization, and the key of its owner.
struct Desk {
    process: Process,
    world: World,
    organization: Uuid,
    owner: String,
}

impl Desk {
    async fn new() -> Self {
        let world = World::new().await;
        world.sandbox.accounts(|a| a.furnish("w", &["111", "222"]));
        let organization = world.organization(json!({"response_delay_seconds": 3600})).await;
        let owner = key(&world, organization, "owner").await;
        Self { process: world.serve().await, world, organization, owner }
    }

    async fn connected() -> Self {
        let desk = Self::new().await;
        desk.world.number(desk.organization, "111").await;
        desk
    }

    /// Calls a management endpoint, named as in `POST signup`: status and body of the answer.
    async fn call(&self, what: &str, key: &str, body: &Value) -> (u16, Value) {
        let (method, path) = what.split_once(' ').unwrap();
        let url = format!("{}/functions/v1/whatsapp-management/{path}", self.process.address);
        let request = self.world.http.request(method.parse().unwrap(), url).json(body);
        let answer = if key.is_empty() { request } else { request.bearer_auth(key) }.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn sign_up(&self, waba: &str, number: &str, code: &str) -> (u16, Value) {
        let request = json!({"organization_id": self.organization, "waba_id": waba, "phone_number_id": number, "code": code});
        self.call("POST signup", &self.owner, &request).await
    }

    /// Asks for an operation by a function of the database, and waits for its outcome: its row.
    async fn operation(&self, ask: &str) -> Value {
        let id: Uuid = self.world.value(&format!("select id from public.{ask}"), &[&self.organization]).await;
        self.world.until(ask, &format!("select state <> 'pending' from public.operations where id = '{id}'")).await;
        self.world.value("select to_jsonb(o) from public.operations o where id = $1", &[&id]).await
    }

    /// The calls that Graph got, of those named as in `POST 111/register`.
    fn calls(&self, what: &str) -> Vec<Value> {
        let (method, path) = what.split_once(' ').unwrap();
        self.world.sandbox.accounts(|a| a.calls.iter().filter(|c| c["method"] == method && c["path"] == path).cloned().collect())
    }

    fn meta(&self) -> Value {
        self.world.sandbox.accounts(|a| a.all())
    }

    async fn seen(&self) -> Value {
        self.world.value("select to_jsonb(n) from public.numbers n where organization_id = $1 and address = '111'", &[&self.organization]).await
    }

    async fn submit(&self, name: &str, language: &str, components: &Value) {
        let sql = "insert into public.templates (organization_id, organization_address, name, language, category, components)
            values ($1, '111', $2, $3, 'utility', $4)";
        self.world.execute(sql, &[&self.organization, &name, &language, components]).await;
    }

    /// Somebody makes a template at Meta, not over us.
    async fn made_elsewhere(&self, name: &str) {
        let template = json!({"name": name, "language": "en", "category": "UTILITY", "components": text("Made elsewhere")});
        let url = format!("{}/v24.0/w/message_templates", self.world.sandbox_url);
        assert_eq!(self.world.http.post(url).bearer_auth("t").json(&template).send().await.unwrap().status(), 200);
    }

    /// Meta approves a template, and says so.
    async fn approve(&self, at: usize) {
        let id = self.meta()["templates"][at]["id"].as_str().unwrap().to_owned();
        self.world.sandbox.accounts(|a| a.set_template(&id, json!({"status": "APPROVED"})));
        let value = json!({"event": "APPROVED", "message_template_id": id.parse::<u64>().unwrap(), "reason": "NONE"});
        let entry = json!({"id": "w", "time": now(), "changes": [{"field": "message_template_status_update", "value": value}]});
        self.world.sandbox.deliver(&json!({"object": "whatsapp_business_account", "entry": [entry]})).await;
        self.world.until("approved", &format!("select status = 'APPROVED' from public.templates where external_id = '{id}'")).await;
    }
}

async fn key(world: &World, organization: Uuid, role: &str) -> String {
    let sql = "insert into public.api_keys (organization_id, name, role) values ($1, 'k', $2::text::public.role) returning key";
    world.value(sql, &[&organization, &role]).await
}

fn once(matching: &str) -> Fault {
    Fault { on: "manage".into(), matching: Some(matching.into()), times: Some(1), ..Fault::default() }
}

fn text(text: &str) -> Value {
    json!([{"type": "BODY", "text": text}])
}

#[tokio::test]
async fn every_number_gets_a_pin_of_its_own_and_a_signup_that_broke_off_goes_on_with_it() {
    let desk = Desk::new().await;
    // Not done at first; then done, but nobody learns of it.
    desk.world.sandbox.fault(Fault { status: Some(500), ..once("/register") });
    desk.world.sandbox.fault(Fault { accept: true, cut: true, ..once("/register") });
    for number in ["111", "222"] {
        let (status, row) = desk.sign_up("w", number, number).await;
        assert_eq!((status, &row["address"], &row["status"]), (200, &json!(number), &json!("connected")), "{row}");
    }
    let pins = |number: &str| desk.calls(&format!("POST {number}/register")).iter().map(|c| c["body"]["pin"].clone()).collect::<Vec<_>>();
    let (one, two) = (pins("111"), pins("222"));
    assert!(one.len() == 3 && one.iter().all(|pin| *pin == one[0] && *pin != "123456") && one[0] != two[0], "{one:?} {two:?}");
    let steps = ["GET oauth/access_token", "GET w/phone_numbers", "POST w/subscribed_apps"];
    assert_eq!(steps.map(|step| desk.calls(step).len()), [2, 2, 2], "once for each number");
    // Nobody who reads the rows sees a PIN, a token or a code.
    let rows = "select string_agg(to_jsonb(o)::text || to_jsonb(a)::text, '') from public.operations o, public.organizations_addresses a";
    let rows: String = desk.world.value(rows, &[]).await;
    assert!(!rows.contains(&one[0].to_string()) && !rows.contains("business-token") && rows.contains("\"code\": \"[sealed]\""), "{rows}");
    desk.world.until("they are sealed", "select count(*) = 2 and bool_and(plain is null) from secrets.credentials where path = 'pin'").await;
}

#[tokio::test]
async fn a_number_moves_only_to_who_proves_that_it_is_his_and_the_former_owner_is_told() {
    let desk = Desk::new().await;
    let many: Vec<String> = (1000..1150).map(|n| n.to_string()).collect();
    desk.world.sandbox.accounts(|a| a.furnish("large", &many.iter().map(String::as_str).collect::<Vec<_>>()));
    let former = desk.world.organization(json!({})).await;
    desk.world.number(former, "1149").await;
    let (status, answer) = desk.sign_up("w", "1149", "c1").await;
    assert_eq!((status, &answer["message"]), (400, &json!("the number 1149 does not belong to the business account w")));
    // The token that this code is good for does not reach the account.
    desk.world.sandbox.accounts(|a| a.bind("c2", &["w"]));
    let (status, answer) = desk.sign_up("large", "1149", "c2").await;
    assert_eq!((status, &answer["cause"]["error"]["error_subcode"]), (400, &json!(33)), "{answer}");
    assert!(desk.world.sandbox.accounts(|a| a.calls.iter().all(|c| c["method"] == "GET")), "nothing is changed at Meta");
    let rows = "select jsonb_agg(jsonb_build_array(organization_id, state, reason) order by state) from public.numbers";
    assert_eq!(desk.world.value::<Value>(rows, &[]).await, json!([[former, "connected", null]]));
    assert_eq!(desk.sign_up("large", "1149", "c3").await.0, 200, "it is on the second page");
    let moved = json!([[desk.organization, "connected", null], [former, "disconnected", "another organization"]]);
    assert_eq!(desk.world.value::<Value>(rows, &[]).await, moved);
    assert_eq!(desk.world.count(&format!("public.logs where organization_id = '{former}' and level = 'warning' and category = 'signup'")).await, 1);
    let (key, number) = (key(&desk.world, former, "owner").await, json!({"organization_id": former, "phone_number_id": "1149"}));
    let (status, answer) = desk.call("DELETE signup", &key, &number).await;
    assert_eq!((desk.calls("POST 1149/deregister").len(), (400..500).contains(&status)), (0, true), "it is his no more: {answer}");
    desk.world.webhook(&desk.process, text_webhook("1149", "549", "wamid.1", now(), "hello").to_string()).await;
    desk.world.until("what comes in is his", &format!("select organization_id = '{}' from public.messages", desk.organization)).await;
}

#[tokio::test]
async fn nobody_touches_a_number_of_another_organization() {
    let desk = Desk::connected().await;
    let other = desk.world.organization(json!({})).await;
    let stranger = key(&desk.world, other, "owner").await;
    // Refused at once or as the outcome; in no case done with the system user's token.
    let ask = "select id from public.operate($1, '111', 'block', '{\"contact_address\": \"549\"}')";
    let _ = desk.world.db.query(ask, &[&other]).await;
    let (status, answer) = desk.call("DELETE signup", &stranger, &json!({"organization_id": other, "phone_number_id": "111"})).await;
    let changes: Vec<Value> = desk.world.sandbox.accounts(|a| a.calls.iter().filter(|c| c["method"] != "GET").cloned().collect());
    assert_eq!((changes, (400..500).contains(&status)), (vec![], true), "{status} {answer}");
    assert_eq!(desk.seen().await["state"], "connected");
}

#[tokio::test]
async fn letting_go_of_a_number_gives_up_its_token_and_with_the_last_one_the_account() {
    let desk = Desk::new().await;
    for number in ["111", "222"] {
        assert_eq!(desk.sign_up("w", number, number).await.0, 200);
    }
    let of = |number: &str| json!({"organization_id": desk.organization, "phone_number_id": number});
    let (status, row) = desk.call("DELETE signup", &desk.owner, &of("111")).await;
    assert_eq!((status, &row["status"], &desk.seen().await["state"]), (200, &json!("disconnected"), &json!("disconnected")));
    assert_eq!(desk.world.count("secrets.credentials where subject_key = '111' and path = 'access_token'").await, 0);
    assert_eq!((desk.calls("POST 111/deregister").len(), desk.meta()["wabas"]["w"]["subscription"].is_object()), (1, true));
    // Broken off, it goes on where it was, with the number's own token.
    desk.world.sandbox.fault(Fault { status: Some(500), ..once("\"DELETE\",\"path\":\"w/subscribed_apps\"") });
    assert_eq!(desk.call("DELETE signup", &desk.owner, &of("222")).await.0, 200);
    assert_eq!((&desk.meta()["wabas"]["w"]["subscription"], desk.calls("POST 222/deregister").len()), (&Value::Null, 1));
    let tokens: Vec<Value> = desk.calls("DELETE w/subscribed_apps").iter().map(|c| c["token"].clone()).collect();
    assert_eq!(tokens, ["business-token-222", "business-token-222"]);
}

#[tokio::test]
async fn a_number_shared_with_a_phone_is_not_registered_but_asked_for_what_the_phone_knows() {
    let desk = Desk::new().await;
    desk.world.sandbox.accounts(|a| a.set_phone("111", json!({"is_on_biz_app": true})));
    let mut request = json!({"organization_id": desk.organization, "waba_id": "w", "phone_number_id": "111", "code": "c"});
    request["flow_type"] = json!("existing_phone_number");
    assert_eq!(desk.call("POST signup", &desk.owner, &request).await.0, 200);
    desk.world.idle().await;
    let asked: Vec<Value> = desk.calls("POST 111/smb_app_data").iter().map(|c| c["body"]["sync_type"].clone()).collect();
    assert_eq!(asked, ["smb_app_state_sync", "history"]);
    assert!(desk.seen().await["sync"]["history"]["requested_at"].is_string());
    assert_eq!(desk.call("DELETE signup", &desk.owner, &request).await.0, 403);
    assert_eq!((desk.calls("POST 111/register").len(), desk.calls("POST 111/deregister").len()), (0, 0));
}

#[tokio::test]
async fn an_onboarding_link_is_good_for_one_number_even_with_two_at_once() {
    let desk = Desk::new().await;
    let sql = "insert into public.onboarding_tokens (organization_id, name, expires_at, service, callback_url, verify_token)
        values ($1, 'link', now() + $2::text::interval, 'whatsapp', 'https://hook.test/x', 'vt') returning id";
    let link: Uuid = desk.world.value(sql, &[&desk.organization, &"1 day"]).await;
    let expired: Uuid = desk.world.value(sql, &[&desk.organization, &"-1 s"]).await;
    let post = async |link: Uuid, number: &str, code: &str| {
        let request = json!({"token": link, "waba_id": "w", "phone_number_id": number, "code": code, "callback_url": "https://evil.test"});
        desk.call("POST onboard", "", &request).await
    };
    assert_eq!(post(link, "999", "c0").await.0, 400);
    let show = format!("GET onboard?token={link}");
    assert_eq!(desk.call(&show, "", &Value::Null).await, (200, json!({"valid": true, "organization_name": "Test"})), "given back");
    let (one, two) = tokio::join!(post(link, "111", "c1"), post(link, "222", "c2"));
    let (taken, refused) = if one.0 == 200 { (one, two) } else { (two, one) };
    assert_eq!((taken.0, refused.0), (200, 400), "{taken:?} {refused:?}");
    assert_eq!(desk.world.count("public.numbers").await, 1);
    assert_eq!(desk.call(&show, "", &Value::Null).await, (200, json!({"valid": false})));
    assert_eq!(post(expired, "222", "c3").await, refused, "a stranger does not learn why");
    assert_eq!(desk.calls("POST w/subscribed_apps")[1]["body"]["override_callback_uri"], "https://hook.test/x", "whoever made the link says it");
}

#[tokio::test]
async fn keys_and_roles_decide_before_meta_is_asked() {
    let desk = Desk::connected().await;
    let (admin, member) = (key(&desk.world, desk.organization, "admin").await, key(&desk.world, desk.organization, "member").await);
    let stranger = key(&desk.world, desk.world.organization(json!({})).await, "owner").await;
    for (key, what, number, expected, words) in [
        ("", "PUT templates", "111", 401, "an API key is required"),
        (stranger.as_str(), "PUT templates", "111", 403, "another organization"),
        (member.as_str(), "POST templates", "111", 403, "the role admin"),
        (admin.as_str(), "DELETE signup", "111", 403, "the role owner"),
        (member.as_str(), "PUT templates", "222", 403, "no such number"),
        (admin.as_str(), "POST templates", "111", 400, "template.name is missing"),
    ] {
        let (status, answer) = desk.call(what, key, &json!({"organization_id": desk.organization, "organization_address": number})).await;
        let said = answer["message"].as_str().unwrap().contains(words);
        assert_eq!((status, answer.get("cause"), said), (expected, Some(&Value::Null), true), "{what}: {answer}");
    }
    assert_eq!(desk.world.sandbox.accounts(|a| a.calls.len()), 0);
}

#[tokio::test]
async fn a_check_says_in_words_what_is_wrong() {
    let desk = Desk::connected().await;
    let problems = async || {
        let output = desk.operation("check_number($1, '111')").await["output"].clone();
        let wrong: Vec<&Value> = output["checks"].as_array().unwrap().iter().filter(|c| c["ok"] == false).collect();
        assert_eq!(output["ok"], wrong.is_empty(), "{output}");
        wrong.iter().map(|c| c["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let subscribed = |app: &str| json!({"subscription": {"whatsapp_business_api_data": {"id": app}}});
    let nobody = "no app is subscribed to the account: nothing comes in (POST /{waba}/subscribed_apps)";
    assert_eq!(problems().await, [nobody]);
    assert_eq!((&desk.seen().await["state"], &desk.seen().await["reason"]), (&json!("needs attention"), &json!(nobody)));
    desk.world.sandbox.accounts(|a| a.set_waba("w", subscribed("app-9")));
    assert_eq!(problems().await, ["another app is subscribed to the account (app-9), not one of META_APP_ID"]);
    desk.world.sandbox.accounts(|a| a.set_waba("w", subscribed("app-2")));
    desk.world.sandbox.accounts(|a| a.set_phone("111", json!({"waba": "w2"})));
    assert_eq!(problems().await, ["the number does not belong to the business account w"]);
    desk.world.sandbox.accounts(|a| a.set_phone("111", json!({"waba": "w"})));
    desk.world.sandbox.set(|s| s.token = "good".into());
    assert!(problems().await[0].starts_with("the access token does not work: 190"));
    desk.world.execute("update public.organizations_addresses set extra = '{\"access_token\": \"good\"}' where address = '111'", &[]).await;
    assert_eq!((problems().await, &desk.seen().await["state"]), (vec![], &json!("connected")));
}

#[tokio::test]
async fn pace_and_profile_of_a_number_follow_meta_and_contacts_are_blocked_there() {
    let desk = Desk::connected().await;
    desk.world.sandbox.accounts(|a| a.set_phone("111", json!({"throughput": {"level": "HIGH"}, "quality_rating": "YELLOW"})));
    assert_eq!(desk.operation("refresh_number($1, '111')").await["state"], "done");
    assert_eq!((&desk.seen().await["quality"], &desk.seen().await["phone_number"]), (&json!("YELLOW"), &json!("1555111")));
    assert_eq!(desk.world.count("bus.lanes where lane = '111' and rate = 1000").await, 1);
    desk.world.sandbox.accounts(|a| a.set_phone("111", json!({"is_on_biz_app": true})));
    assert_eq!(desk.operation("operate($1, '111', 'profile', '{\"about\": \"We are open\"}')").await["state"], "done");
    assert_eq!((&desk.meta()["phones"]["111"]["profile"]["about"], desk.world.count("bus.lanes where rate = 20").await), (&json!("We are open"), 1));
    assert_eq!(desk.seen().await["profile"]["about"], "We are open");
    let sql = "insert into public.contacts_addresses (organization_id, service, address) values ($1, 'whatsapp', '549')";
    desk.world.execute(sql, &[&desk.organization]).await;
    for (verb, users) in [("block", json!(["549"])), ("unblock", json!([]))] {
        assert_eq!(desk.operation(&format!("{verb}_contact($1, '111', '549')")).await["state"], "done");
        let known = "select coalesce(jsonb_agg(address), '[]') from public.contacts_addresses where extra #>> '{blocked,111}' is not null";
        assert_eq!((&desk.meta()["phones"]["111"]["blocked"], desk.world.value::<Value>(known, &[]).await), (&users, users.clone()), "{verb}");
    }
}

#[tokio::test]
async fn a_row_submits_edits_and_deletes_one_language_of_a_template() {
    let desk = Desk::connected().await;
    let refused = "select error #>> '{error_data,details}' = 'a BODY is required' and status = ";
    desk.submit("hello", "en", &json!([])).await;
    desk.world.until("refused", &format!("{refused} 'failed' from public.templates")).await;
    desk.world.execute("update public.templates set components = $1, status = 'submitting'", &[&text("Hello")]).await;
    desk.submit("hello", "es", &text("Hello")).await;
    desk.world.until("submitted", "select bool_and(status = 'PENDING' and error is null) from public.templates").await;
    let wanted = json!({"name": "hello", "language": "en", "category": "UTILITY", "components": text("Hello"), "allow_category_change": true});
    assert_eq!(desk.calls("POST w/message_templates")[1]["body"], wanted, "and nothing besides");
    desk.approve(0).await;
    desk.world.execute("delete from public.templates where language = 'es'", &[]).await;
    desk.world.execute("update public.templates set components = $1", &[&text("Good day")]).await;
    desk.world.until("in review again", "select status = 'PENDING' and error is null from public.templates").await;
    let left = desk.meta()["templates"].clone();
    assert_eq!((&left[0]["language"], &left[0]["components"], &left[1]), (&json!("en"), &text("Good day"), &Value::Null));
    // A refused edit leaves what Meta has.
    desk.approve(0).await;
    desk.world.execute("update public.templates set components = '[]'", &[]).await;
    desk.world.until("its edit is refused", &format!("{refused} 'APPROVED' from public.templates")).await;
    assert_eq!(desk.operation("sync_templates($1, '111')").await["state"], "done");
    assert_eq!(desk.world.value::<Value>("select components from public.templates", &[]).await, text("Good day"));
}

#[tokio::test]
async fn a_submission_whose_answer_was_lost_finds_its_own_template_and_no_other() {
    let desk = Desk::connected().await;
    desk.made_elsewhere("taken").await;
    desk.world.sandbox.fault(Fault { accept: true, cut: true, ..once("\"POST\",\"path\":\"w/message_templates\"") });
    desk.submit("hello", "en", &text("Hello")).await;
    desk.submit("taken", "en", &text("Hello")).await;
    desk.world.idle().await;
    let rows = "select jsonb_agg(jsonb_build_array(status, external_id) order by name) from public.templates";
    assert_eq!(desk.world.value::<Value>(rows, &[]).await, json!([["PENDING", desk.meta()["templates"][1]["id"]], ["failed", null]]));
}

#[tokio::test]
async fn templates_of_all_pages_are_kept_as_meta_has_them() {
    let desk = Desk::connected().await;
    for n in 0..120 {
        desk.made_elsewhere(&format!("t{n}")).await;
    }
    desk.operation("sync_templates($1, '111')").await;
    assert_eq!((desk.world.count("public.templates where status = 'PENDING'").await, desk.calls("GET w/message_templates").len()), (120, 2));
    let url = format!("{}/v24.0/w/message_templates?name=t7", desk.world.sandbox_url);
    assert_eq!(desk.world.http.delete(url).bearer_auth("t").send().await.unwrap().status(), 200);
    // Made since then: the webhook that tells of it brings it, and takes along what is gone.
    desk.made_elsewhere("new").await;
    desk.approve(119).await;
    assert_eq!((desk.world.count("public.templates").await, desk.world.count("public.templates where name = 't7'").await), (120, 0));
    assert_eq!(desk.world.count("public.operations where kind = 'template_delete'").await, 0, "Meta has deleted it already");
}

#[tokio::test]
async fn a_media_header_is_uploaded_from_a_file_of_ones_own() {
    let desk = Desk::connected().await;
    let of = |organization: Uuid| format!("organizations/{organization}/attachments/header");
    std::fs::create_dir_all(desk.world.storage().join(of(desk.organization)).parent().unwrap()).unwrap();
    std::fs::write(desk.world.storage().join(of(desk.organization)), b"picture").unwrap();
    let object = "insert into storage.objects (organization_id, name, state, size, mime_type) values ($1, $2, 'ready', 7, 'image/png')";
    desk.world.execute(object, &[&desk.organization, &of(desk.organization)]).await;
    for (name, owner) in [("foreign", Uuid::new_v4()), ("own", desk.organization)] {
        let header = json!({"type": "HEADER", "format": "IMAGE", "example": {"header_uri": format!("internal://media/{}", of(owner))}});
        desk.submit(name, "en", &json!([header, {"type": "BODY", "text": "Look"}])).await;
    }
    desk.world.until("submitted", "select status = 'PENDING' from public.templates where name = 'own'").await;
    assert_eq!(desk.world.count("public.templates where name = 'foreign' and status = 'failed' and error ->> 'code' = 'input'").await, 1);
    assert_eq!(desk.calls("POST app-1/uploads")[0]["query"]["file_length"], "7");
    let submitted = desk.calls("POST w/message_templates");
    assert!(submitted[0]["body"]["components"][0]["example"]["header_handle"][0].as_str().unwrap().starts_with("4::"), "{submitted:?}");
}

#[tokio::test]
async fn a_brief_is_drafted_by_the_model_for_a_person_to_submit() {
    let desk = Desk::connected().await;
    desk.world.agent(desk.organization).await;
    // The sandbox's model says what it was told, so a brief that is a draft gets one.
    let sql = "insert into public.templates (organization_id, organization_address, name, language, category, brief)
        values ($1, '111', 'hello', 'en', 'utility', $2)";
    desk.world.execute(sql, &[&desk.organization, &text("Your parcel is here").to_string()]).await;
    desk.world.until("drafted", "select status = 'draft' and components = brief::jsonb from public.templates").await;
    assert_eq!((desk.world.sandbox.asked().len(), desk.calls("POST w/message_templates").len()), (1, 0), "asked once, and not submitted");
    desk.world.execute("update public.templates set status = 'submitting'", &[]).await;
    desk.world.until("submitted", "select status = 'PENDING' from public.templates").await;
}

#[tokio::test]
async fn clients_create_list_edit_and_delete_templates_over_http() {
    let desk = Desk::connected().await;
    desk.made_elsewhere("elsewhere").await;
    let http = async |method: &str, template: Value| {
        let request = json!({"organization_id": desk.organization, "organization_address": "111", "template": template});
        desk.call(&format!("{method} templates"), &desk.owner, &request).await
    };
    for (n, language) in ["en", "es"].into_iter().enumerate() {
        let answer = http("POST", json!({"name": "hello", "category": "UTILITY", "language": language, "components": text("Hello")})).await;
        assert_eq!(answer, (200, json!({"id": desk.meta()["templates"][n + 1]["id"], "status": "PENDING", "category": "UTILITY"})));
    }
    let (_, list) = http("PUT", Value::Null).await;
    let listed: Vec<&str> = list["data"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!((listed, list["paging"].is_object()), (vec!["elsewhere", "hello", "hello"], true), "{list}");
    assert_eq!(http("PUT", json!({"id": list["data"][2]["id"]})).await, (200, list["data"][2].clone()));
    assert_eq!(http("DELETE", json!({"name": "hello"})).await, (200, json!({"success": true})), "all its languages");
    assert_eq!(http("PUT", Value::Null).await.1["data"].as_array().unwrap().len(), 1);
    let id = list["data"][0]["id"].as_str().unwrap();
    desk.world.sandbox.accounts(|a| a.set_template(id, json!({"status": "APPROVED"})));
    assert_eq!(http("PATCH", json!({"id": id, "category": "UTILITY", "components": text("Good day")})).await, (200, json!({"success": true})));
    assert_eq!(desk.meta()["templates"][0]["components"], text("Good day"));
}
