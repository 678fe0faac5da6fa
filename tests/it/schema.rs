//! The schema as a DBA sees it.

use std::process::Command;

use crate::support::*;

/// Tables that are no tenant's: what finds a tenant, what came in before anyone knew whose it is, and the bus's own.
const GLOBAL: [&str; 10] = [
    "auth.users",
    "bus.applied",
    "bus.awake",
    "bus.journal",
    "bus.numbers",
    "bus.parked",
    "bus.queues",
    "public.organizations",
    "public.refinery_schema_history",
    "secrets.api_key_owners",
];

async fn strings(world: &World, sql: &str) -> Vec<String> {
    world.db.query(sql, &[]).await.unwrap().iter().map(|r| r.get(0)).collect()
}

#[tokio::test]
async fn the_organization_is_first_in_every_key() {
    let world = World::new().await;
    let keys = "select c.conrelid::regclass::text || ' ' || c.conname from pg_constraint c
        join pg_class t on t.oid = c.conrelid join pg_namespace n on n.oid = t.relnamespace
        join pg_attribute a on a.attrelid = t.oid and a.attnum = c.conkey[1]
        where n.nspname in ('public', 'bus', 'secrets', 'rest') and c.contype in ('p', 'u')
          and n.nspname || '.' || t.relname <> all ($1) and a.attname <> 'organization_id'";
    let global: Vec<&str> = GLOBAL.to_vec();
    let wrong: Vec<String> = world.db.query(keys, &[&global]).await.unwrap().iter().map(|r| r.get(0)).collect();
    assert_eq!(wrong, Vec::<String>::new(), "keys without the organization in front");

    // Every table that is not named above has such a key at all.
    let tables = "select n.nspname || '.' || t.relname from pg_class t join pg_namespace n on n.oid = t.relnamespace
        where t.relkind in ('r', 'p') and n.nspname in ('public', 'bus', 'secrets', 'rest') and n.nspname || '.' || t.relname <> all ($1)
          and not exists (select from pg_constraint c where c.conrelid = t.oid and c.contype = 'p')";
    let without: Vec<String> = world.db.query(tables, &[&global]).await.unwrap().iter().map(|r| r.get(0)).collect();
    assert_eq!(without, Vec::<String>::new(), "tables without a primary key");

    // Unique indexes that are no constraints.
    let indexes =
        "select i.indexrelid::regclass::text from pg_index i join pg_class t on t.oid = i.indrelid join pg_namespace n on n.oid = t.relnamespace
        join pg_attribute a on a.attrelid = t.oid and a.attnum = i.indkey[0]
        where i.indisunique and n.nspname in ('public', 'bus', 'secrets', 'rest') and n.nspname || '.' || t.relname <> all ($1)
          and a.attname <> 'organization_id'";
    let wrong: Vec<String> = world.db.query(indexes, &[&global]).await.unwrap().iter().map(|r| r.get(0)).collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn foreign_keys_between_tenant_tables_carry_the_organization_and_never_set_null() {
    let world = World::new().await;
    let foreign = "select c.conrelid::regclass::text || ' ' || c.conname from pg_constraint c
        join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
        join pg_attribute f on f.attrelid = c.confrelid and f.attnum = c.confkey[1]
        where c.contype = 'f' and c.connamespace::regnamespace::text in ('public', 'bus', 'secrets', 'rest')
          and (c.confdeltype in ('n', 'd')
            or (exists (select from pg_attribute x where x.attrelid = c.confrelid and x.attname = 'organization_id' and not x.attisdropped)
                and (a.attname <> 'organization_id' or f.attname <> 'organization_id')))";
    assert_eq!(strings(&world, foreign).await, Vec::<String>::new());
}

#[tokio::test]
async fn external_ids_are_unique_within_an_address() {
    let world = World::new().await;
    let definition: String = world.value("select pg_get_indexdef('public.messages_external_id'::regclass)", &[]).await;
    assert!(definition.contains("UNIQUE") && definition.contains("(organization_id, organization_address, external_id)"), "{definition}");
}

#[tokio::test]
async fn receipts_are_hot_updates() {
    let world = World::new().await;
    let organization = world.furnished().await;
    world.send(organization, "549", "x").await;
    world.execute("update public.messages set external_id = 'wamid.1'", &[]).await;
    let client = world.db.get().await.unwrap();
    for state in ["sent", "delivered", "read"] {
        client.execute("update public.messages set status = jsonb_build_object($1::text, now())", &[&state]).await.unwrap();
    }
    client.batch_execute("select pg_stat_force_next_flush()").await.unwrap();
    let hot: i64 = client.query_one("select n_tup_hot_upd from pg_stat_user_tables where relname = 'messages'", &[]).await.unwrap().get(0);
    assert_eq!(hot, 3);
}

#[tokio::test]
async fn everything_is_commented_and_pinned() {
    let world = World::new().await;
    let tables = "select t.oid::regclass::text from pg_class t join pg_namespace n on n.oid = t.relnamespace
        where t.relkind in ('r', 'v') and n.nspname in ('public', 'bus', 'secrets') and t.relname <> 'refinery_schema_history' and obj_description(t.oid) is null";
    assert_eq!(strings(&world, tables).await, Vec::<String>::new(), "tables without a comment");
    let definers = "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname in ('public', 'bus', 'secrets', 'rest') and p.prosecdef and not coalesce(p.proconfig @> array['search_path=\"\"'], false)";
    assert_eq!(strings(&world, definers).await, Vec::<String>::new(), "definer functions without a search path");
    let granted = "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname in ('public', 'bus', 'secrets', 'rest') and has_function_privilege('public', p.oid, 'execute')";
    let granted = strings(
        &world,
        &granted.replace(
            "has_function_privilege('public', p.oid, 'execute')",
            "exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x where x.grantee = 0)",
        ),
    )
    .await;
    assert_eq!(granted, Vec::<String>::new(), "functions that anyone may call");
    let owner: bool = world.value("select rolsuper from pg_roles where rolname = current_user", &[]).await;
    assert!(!owner, "the tests run as an owner that is no superuser");
}

#[tokio::test]
async fn the_claims_use_their_indexes() {
    let world = World::new().await;
    let organization = world.furnished().await;
    let sql = "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content, timestamp)
        select $1, '111', n::text, 'whatsapp', 'outgoing', $2, now() + interval '1 day' from generate_series(1, 5000) n";
    world.execute(sql, &[&organization, &text_content("x")]).await;
    world.execute("analyze bus.tasks", &[]).await;
    for (query, index) in [
        ("select from bus.tasks where queue = 'dispatch' and run_at <= clock_timestamp() order by run_at limit 100", "tasks_due"),
        (
            "select from bus.tasks where queue = 'dispatch' and organization_id = gen_random_uuid() and lane = '111' and priority = 0 and run_at <= clock_timestamp() order by run_at limit 10",
            "tasks_turn",
        ),
    ] {
        let plan = strings(&world, &format!("explain {query}")).await.join("\n");
        assert!(plan.contains(index), "{plan}");
    }
}

#[tokio::test]
async fn migrate_check_and_print() {
    let world = World::new().await;
    assert_eq!(world.run(&["migrate", "--check"]).await, (0, String::new()));
    let (code, out) = world.run(&["migrate"]).await;
    assert_eq!((code, out.trim()), (0, "nothing to do: the schema is current"));

    // An empty database: pending, and the printed script brings it to the same state as the command.
    let server = std::env::var("TIDINGS_TEST_SERVER").unwrap();
    let name = format!("t_{}", uuid::Uuid::new_v4().simple());
    let admin = tidings::db::Db::new(&format!("{server}/postgres"), 1).unwrap();
    admin.get().await.unwrap().batch_execute(&format!("create database {name} template template0")).await.unwrap();
    let empty = World::on(format!("{server}/{name}")).await;
    let (code, out) = empty.run(&["migrate", "--check"]).await;
    assert_eq!(code, 1);
    assert!(out.contains("pending: migration V1__tables"), "{out}");
    let (code, script) = empty.run(&["migrate", "--print"]).await;
    assert_eq!(code, 0);
    empty.db.get().await.unwrap().batch_execute(&script).await.unwrap();
    assert_eq!(empty.run(&["migrate", "--check"]).await.0, 0);
    assert_eq!(empty.run(&["migrate"]).await.1.trim(), "nothing to do: the schema is current");
    assert_eq!(dump(&empty.url), dump(&world.url));
}

#[tokio::test]
async fn the_dump_in_the_repository_is_current() {
    let world = World::new().await;
    let version: String = world.value("show server_version", &[]).await;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/sql/schema.sql");
    let now = dump(&world.url);
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    // pg_dump words some things differently from version to version: the dump is that of 15.
    if !version.starts_with("15.") {
        assert!(kept.contains("create table public.messages") || kept.contains("CREATE TABLE public.messages"));
        return;
    }
    if now != kept {
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, now).unwrap();
            return;
        }
        panic!("sql/schema.sql is not what the migrations make: UPDATE_SCHEMA=1 scripts/test the_dump writes it anew");
    }
}

fn dump(url: &str) -> String {
    let output = Command::new("pg_dump").args(["--schema-only", "--no-owner", url]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let changing = ["-- Dumped ", "\\restrict ", "\\unrestrict "];
    text.lines().filter(|l| !changing.iter().any(|c| l.starts_with(c))).collect::<Vec<_>>().join("\n") + "\n"
}
