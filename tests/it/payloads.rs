//! Every documented webhook payload (tests/fixtures/whatsapp), alone and in one shuffled, duplicated crowd.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Map, Value, json};

use crate::support::*;

fn fixtures() -> BTreeMap<String, Value> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/whatsapp");
    let mut all = BTreeMap::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_some_and(|e| e == "json") && stem != "expected" {
            all.insert(stem, serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap());
        }
    }
    assert!(all.len() > 200, "where are the payloads? {}", all.len());
    all
}

/// What ends the connection of the number, or speaks of a template that has to be asked for: told last.
fn is_last(stem: &str) -> bool {
    stem.starts_with("account_update")
}

async fn world() -> (World, Process) {
    let world = World::new().await;
    let organization = world.organization(json!({"response_delay_seconds": 3600})).await;
    let extra = json!({"waba_id": "WABA1", "phone_number": "15550001111", "access_token": "t"});
    let sql = "insert into public.organizations_addresses (organization_id, service, address, extra, created_at) values ($1, 'whatsapp', '111', $2, '2026-01-01')";
    world.execute(sql, &[&organization, &extra]).await;
    let process = world.serve_parts(&["--only", "http,intake,seal"], world.port()).await;
    (world, process)
}

/// What is stored, without what depends on the moment.
async fn stored(world: &World) -> Value {
    let rows = |sql: &'static str| async move {
        let rows = world.db.query(sql, &[]).await.unwrap();
        Value::Array(rows.iter().map(|r| r.get::<_, Value>(0)).collect())
    };
    json!({
        "messages": rows("select jsonb_strip_nulls(jsonb_build_object('external_id', m.external_id, 'direction', m.direction, 'contact', m.contact_address,
            'group', m.group_address, 'content', m.content, 'status', case when m.status ? 'pending' then m.status || '{\"pending\": true}' else m.status end,
            'extra', m.extra, 'timestamp', m.timestamp, 'agent', case when exists (
              select from bus.tasks t where t.queue = 'agent' and t.key = m.conversation_id::text and t.subject = m.id::text) then true end))
            from public.messages m order by m.external_id").await,
        "contacts": rows("select jsonb_strip_nulls(jsonb_build_object('address', a.address, 'extra', a.extra, 'status', a.status, 'name', c.name))
            from public.contacts_addresses a left join public.contacts c on c.organization_id = a.organization_id and c.id = a.contact_id
            where a.service = 'whatsapp' order by a.address").await,
        "numbers": rows("select jsonb_build_object('status', status, 'extra', (extra #- '{sync,history,at}'::text[] #- '{sync,contacts,at}'::text[]) - 'updated'::text - 'account_settings_update'::text) from public.organizations_addresses where service = 'whatsapp'").await,
        "groups": rows("select jsonb_build_object('group', group_address, 'name', name, 'status', status) from public.conversations
            where group_address is not null order by group_address").await,
        "logs": rows("select jsonb_build_object('level', level, 'category', category, 'message', message) from public.logs order by category, message, level").await,
        "parked": rows("select jsonb_build_object('reason', reason, 'detail', detail) from bus.parked order by reason, detail").await,
        "early": rows("select to_jsonb(o) - 'organization_id' - 'created_at' from bus.orphans o order by o.external_id").await,
    })
}

/// The rows of `after` that `before` does not have.
fn news(before: &Value, after: &Value) -> Value {
    let mut result = Map::new();
    for (kind, rows) in after.as_object().unwrap() {
        let mut old: Vec<&Value> = before[kind].as_array().into_iter().flatten().collect();
        let new: Vec<Value> = rows
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| match old.iter().position(|o| o == row) {
                Some(at) => {
                    old.remove(at);
                    false
                }
                None => true,
            })
            .cloned()
            .collect();
        if !new.is_empty() {
            result.insert(kind.clone(), Value::Array(new));
        }
    }
    Value::Object(result)
}

async fn settled(world: &World) {
    world.until("intake is done", "select not exists (select from bus.tasks where queue = 'intake')").await;
}

#[tokio::test]
async fn every_documented_payload_becomes_its_rows() {
    let (world, process) = world().await;
    let all = fixtures();
    let (last, first): (Vec<_>, Vec<_>) = all.iter().partition(|(stem, _)| is_last(stem));
    let mut seen = Map::new();
    let mut before = stored(&world).await;
    for (stem, body) in first.into_iter().chain(last) {
        assert_eq!(world.webhook(&process, body.to_string()).await.status(), 200, "{stem}");
        settled(&world).await;
        let after = stored(&world).await;
        seen.insert(stem.clone(), news(&before, &after));
        before = after;
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/whatsapp/expected.json");
    let seen = Value::Object(seen);
    if std::env::var("UPDATE_FIXTURES").is_ok() {
        std::fs::write(&path, format!("{seen:#}\n")).unwrap();
    }
    let expected: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (stem, rows) in seen.as_object().unwrap() {
        assert_eq!(
            rows, &expected[stem],
            "{stem}: UPDATE_FIXTURES=1 scripts/test every_documented writes what is stored, to be read before it is believed"
        );
    }
    assert_eq!(seen.as_object().unwrap().len(), expected.as_object().unwrap().len());
}

#[tokio::test]
async fn shuffled_and_duplicated_they_become_the_same_rows() {
    let all = fixtures();
    // What depends on who is first by its nature: receipts introduce nobody, and a new id of somebody unknown changes nothing.
    let order = ["messages_status_of_echo_first", "user_id_update_number"];
    let told: Vec<&Value> = all.iter().filter(|(stem, _)| !is_last(stem) && !order.contains(&stem.as_str())).map(|(_, body)| body).collect();
    let ordered = {
        let (world, process) = world().await;
        for body in &told {
            world.webhook(&process, body.to_string()).await;
        }
        settled(&world).await;
        stored(&world).await
    };
    let (world, process) = world().await;
    // Every entry twice, in an order that nothing decides, a few dozen in a body.
    let mut entries: Vec<&Value> = told.iter().chain(&told).flat_map(|body| body["entry"].as_array().into_iter().flatten()).collect();
    let mut seed = uuid::Uuid::new_v4().as_u128() as u64;
    for at in (1..entries.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        entries.swap(at, (seed >> 33) as usize % (at + 1));
    }
    for crowd in entries.chunks(40) {
        let body = json!({"object": "whatsapp_business_account", "entry": crowd});
        assert_eq!(world.webhook(&process, body.to_string()).await.status(), 200);
    }
    settled(&world).await;
    let crowd = stored(&world).await;
    for kind in ["messages", "contacts", "groups", "logs", "early"] {
        let (missing, more) =
            (news(&json!({kind: crowd[kind]}), &json!({kind: ordered[kind]})), news(&json!({kind: ordered[kind]}), &json!({kind: crowd[kind]})));
        assert_eq!((missing, more), (json!({}), json!({})), "{kind}: missing, and too many");
    }
}
