//! The database tool of agents, on a real PostgreSQL.

use std::time::{Duration, Instant};

use crate::support::fresh_database;
use serde_json::{Value, json};
use tidings::{
    agent::tools::sql::{Reach, SqlConfig, SqlOutput, run},
    outbound::Guarded,
};

/// The connection to a database of the test's own, with further settings.
async fn database(more: Value) -> Value {
    let url = fresh_database().await;
    let (login, place) = url.strip_prefix("postgres://").unwrap().split_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    let (host, place) = place.split_once(':').unwrap();
    let (port, database) = place.split_once('/').unwrap();
    let port: u16 = port.parse().unwrap();
    with(json!({"driver": "postgres", "host": host, "port": port, "user": user, "password": password, "database": database}), more)
}

pub fn with(mut config: Value, more: Value) -> Value {
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

pub async fn call_file(config: &Value, name: &str, arguments: Value, csv: Option<&str>, allow: &[&str]) -> Result<SqlOutput, String> {
    let allow: Vec<ipnet::IpNet> = allow.iter().map(|n| n.parse().unwrap()).collect();
    let web = Guarded::new(Duration::from_secs(20), allow.clone()).unwrap();
    let config: SqlConfig = serde_json::from_value(config.clone()).unwrap();
    let (name, csv) = (name.to_owned(), csv.map(|c| c.as_bytes().to_vec()));
    // As its caller runs it: on any thread.
    tokio::spawn(async move { run(&Reach { allow: &allow, web: &web }, &config, &name, &arguments, csv).await }).await.unwrap()
}

async fn call(config: &Value, name: &str, arguments: Value) -> Result<Value, String> {
    call_file(config, name, arguments, None, &["127.0.0.0/8"]).await.map(|o| o.data)
}

pub async fn sql(config: &Value, query: &str) -> Result<Value, String> {
    call(config, "executeSql", json!({"query": query})).await
}

/// What a query with one row and one column returns.
async fn one(config: &Value, expression: &str) -> Value {
    let answer = sql(config, &format!("select {expression} as x")).await.unwrap_or_else(|e| panic!("{expression}: {e}"));
    answer["rows"][0]["x"].clone()
}

#[tokio::test]
async fn values_of_all_types_come_as_json() {
    let config = database(json!({"read_only": false})).await;
    sql(&config, "create type mood as enum ('glad', 'sad')").await.unwrap();
    sql(&config, "create type pair as (a int, b text)").await.unwrap();
    for (expression, expected) in [
        ("null", json!(null)),
        ("true", json!(true)),
        ("1::smallint", json!(1)),
        ("9007199254740993", json!("9007199254740993")),
        ("0.5::float8", json!(0.5)),
        ("0.1::float4", json!(0.1)),
        ("'nan'::float8", json!("NaN")),
        ("19.90::numeric", json!(19.9)),
        ("12345678901234567890.123::numeric", json!("12345678901234567890.123")),
        ("'día'::text", json!("día")),
        ("'glad'::mood", json!("glad")),
        ("row(1, 'x')::pair", json!("(1,x)")),
        ("'\\x00ff'::bytea", json!("<2 bytes>")),
        ("'{\"a\": [1, null]}'::jsonb", json!({"a": [1, null]})),
        ("array[1, null, 3]", json!([1, null, 3])),
        ("array[['a, \"b\"', 'NULL'], ['', 'c\\d']]", json!([["a, \"b\"", "NULL"], ["", "c\\d"]])),
        ("array['{\"a\": 1}'::jsonb]", json!([{"a": 1}])),
        ("'[0:1]={1,2}'::int[]", json!([1, 2])),
        ("'{}'::int[]", json!([])),
        ("array['glad'::mood]", json!("{glad}")),
        ("'6f1f5d46-7f0c-4b7c-9d5c-2f1f6d9b1c11'::uuid", json!("6f1f5d46-7f0c-4b7c-9d5c-2f1f6d9b1c11")),
        ("date '2024-02-29'", json!("2024-02-29")),
        ("timestamp '2024-02-29 12:30:00.5'", json!("2024-02-29T12:30:00.5")),
        ("timestamptz '2024-02-29 12:30:00+00' at time zone 'utc'", json!("2024-02-29T12:30:00")),
        ("'infinity'::timestamptz", json!("infinity")),
        ("interval '1 day 2 hours'", json!("1 day 02:00:00")),
        ("int4range(1, 5)", json!("[1,5)")),
        ("'10.0.0.1/8'::inet", json!("10.0.0.1/8")),
        ("point(1, 2)", json!("(1,2)")),
    ] {
        assert_eq!(one(&config, expression).await, expected, "{expression}");
    }
    let stamp = one(&config, "timestamptz '2024-02-29 12:30:00+00'").await;
    assert!(chrono::DateTime::parse_from_rfc3339(stamp.as_str().unwrap()).is_ok(), "{stamp}");
    let twice = sql(&config, "select 1 as a, 2 as a; ").await.unwrap();
    assert_eq!(twice, json!({"rows": [{"a": 1, "a_2": 2}], "row_count": 1, "truncated": false}));
}

#[tokio::test]
async fn nothing_is_written_where_nothing_may_be() {
    let writer = database(json!({"read_only": false})).await;
    let reader = with(writer.clone(), json!({"read_only": null}));
    assert_eq!(sql(&writer, "create table kept (id int)").await.unwrap(), json!({"affected_rows": 0}));
    assert_eq!(sql(&writer, "insert into kept values (1), (2)").await.unwrap(), json!({"affected_rows": 2}));
    sql(&writer, "create function empty_it() returns int language sql as 'delete from kept; select 1'").await.unwrap();
    sql(&writer, "create function slip() returns int language plpgsql as $$ begin set transaction read write; delete from kept; return 1; end $$")
        .await
        .unwrap();
    for attack in [
        "drop table kept",
        "select 1; drop table kept",
        "commit; drop table kept",
        "commit",
        "rollback",
        "set transaction read write",
        "set session characteristics as transaction read write",
        "do $$ begin commit; drop table kept; end $$",
        "copy kept to program 'true'",
        "delete from kept",
        "with gone as (delete from kept returning id) select * from gone",
        "select * into other from kept",
        "select set_config('transaction_read_only', 'off', true), empty_it()",
        "select set_config('transaction_read_only', 'off', false)",
        "select empty_it()",
        "select slip()",
        "explain analyze delete from kept",
        "select * from kept for update",
        "/* select */ delete from kept",
        "select 1) t; drop table kept; --",
    ] {
        let answer = sql(&reader, attack).await;
        assert!(answer.is_err(), "{attack}: {answer:?}");
        let answer = call(&reader, "selectAsCsv", json!({"query": attack, "file_name": "x"})).await;
        assert!(answer.is_err(), "{attack}: {answer:?}");
    }
    let order = json!({"table": "kept", "file_uri": "x"});
    assert!(call_file(&reader, "bulkInsert", order, Some("id\n1\n"), &["127.0.0.0/8"]).await.is_err());
    // A query for a file only reads, whatever else the connection may.
    let query = json!({"query": "with gone as (delete from kept returning id) select * from gone", "file_name": "x"});
    assert!(call(&writer, "selectAsCsv", query).await.unwrap_err().contains("read-only"));
    assert_eq!(one(&reader, "(select count(*) from kept)").await, 2);
    // Neither is a statement of a writer more than one.
    for attack in ["select 1; drop table kept", "commit", "copy kept from stdin", "begin"] {
        assert!(sql(&writer, attack).await.is_err(), "{attack}");
    }
    assert_eq!(sql(&writer, "delete from kept returning id").await.unwrap()["row_count"], 2);
    assert_eq!(one(&reader, "(select count(*) from kept)").await, 0);
}

#[tokio::test]
async fn a_call_ends_in_time_and_in_size() {
    let config = database(json!({"timeout_seconds": 1})).await;
    let began = Instant::now();
    assert!(sql(&config, "select pg_sleep(30)").await.unwrap_err().contains("57014"));
    assert!(sql(&config, "select set_config('statement_timeout', '0', true), pg_sleep(30)").await.is_err());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());

    let config = with(config, json!({"timeout_seconds": 20}));
    let began = Instant::now();
    for query in ["select generate_series(1, 10000000) as n", "select n from generate_series(1, 10000000) n"] {
        let many = sql(&config, query).await.unwrap();
        assert_eq!((many["row_count"].clone(), many["truncated"].clone()), (json!(200), json!(true)));
        assert_eq!(many["rows"][199]["n"], 200);
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let few = with(config.clone(), json!({"max_rows": 3}));
    assert_eq!(sql(&few, "select generate_series(1, 3)").await.unwrap()["truncated"], false);
    assert_eq!(sql(&few, "select generate_series(1, 4)").await.unwrap()["row_count"], 3);

    let long = sql(&config, "select repeat('x', 20000) as x from generate_series(1, 200)").await.unwrap();
    assert!(long.to_string().len() < 70_000 && long["truncated"] == true, "{}", long.to_string().len());
    assert!(long["rows"][0]["x"].as_str().unwrap().ends_with("… (20000 characters)"));
    let wide = (0..40).map(|n| format!("repeat('x', 9000) as c{n}")).collect::<Vec<_>>().join(", ");
    let wide = sql(&config, &format!("select {wide}")).await.unwrap();
    assert!(wide["row_count"] == 1 && wide.to_string().len() < 70_000, "{}", wide.to_string().len());
    let huge = sql(&config, "select repeat('x', 100000000)").await.unwrap_err();
    assert!(huge.contains("longer than"), "{huge}");
}

#[tokio::test]
async fn refusals_are_in_words_and_without_secrets() {
    let config = database(json!({})).await;
    let unknown = sql(&config, "select nam from (select 1 as name) t").await.unwrap_err();
    assert!(unknown.contains("42703") && unknown.contains("name"), "{unknown}");
    let wrong = with(config.clone(), json!({"password": "not-the-password"}));
    let refused = sql(&wrong, "select 1").await.unwrap_err();
    assert!(refused.contains("28P01") && !refused.contains("tidings_test") && !refused.contains("password\""), "{refused}");
    assert!(sql(&with(config.clone(), json!({"database": "nowhere"})), "select 1").await.unwrap_err().contains("3D000"));
    assert!(sql(&with(config.clone(), json!({"tls": true})), "select 1").await.unwrap_err().contains("TLS"));
    assert!(sql(&with(config.clone(), json!({"port": 1})), "select 1").await.unwrap_err().contains("could not connect"));
    let stranger = with(config.clone(), json!({"user": "teller", "password": "tell-nobody"}));
    assert!(!sql(&stranger, "select 1").await.unwrap_err().contains("tell"));
    // A statement may quote the password, and the server the statement.
    let quoted = sql(&config, &format!("select '{0}'::{0}", config["password"].as_str().unwrap())).await.unwrap_err();
    assert!(quoted.contains("42704") && !quoted.contains(config["password"].as_str().unwrap()), "{quoted}");
    for (arguments, said) in [(json!({}), "query"), (json!({"query": 1}), "invalid type"), (json!({"query": ""}), "begin with a word")] {
        let error = call(&config, "executeSql", arguments).await.unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn private_addresses_are_not_reached() {
    let config = database(json!({})).await;
    for host in ["169.254.169.254", "localhost", "127.0.0.1", "::1", "[::1]", "10.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "2130706433"] {
        for driver in ["postgres", "mysql"] {
            let config = with(config.clone(), json!({"host": host, "driver": driver}));
            let error = call_file(&config, "executeSql", json!({"query": "select 1"}), None, &[]).await.map(|o| o.data).unwrap_err();
            assert!(error.contains("OUTBOUND_ALLOW"), "{host}: {error}");
        }
        if host.contains(':') {
            continue;
        }
        let libsql = json!({"driver": "libsql", "url": format!("libsql://{host}")});
        let error = call_file(&libsql, "executeSql", json!({"query": "select 1"}), None, &[]).await.map(|o| o.data).unwrap_err();
        assert!(error.contains("OUTBOUND_ALLOW"), "{host}: {error}");
    }
    let plain = json!({"driver": "libsql", "url": "http://example.com"});
    assert!(sql(&plain, "select 1").await.unwrap_err().contains("https"));
    assert!(sql(&json!({"driver": "postgres"}), "select 1").await.unwrap_err().contains("names no host"));
}

#[tokio::test]
async fn the_schema_is_described_and_sampled() {
    let config = database(json!({"read_only": false, "schemas": ["shop"]})).await;
    for statement in [
        "create schema shop",
        "create type shop.state as enum ('open', 'paid')",
        "create table shop.customers (id bigint primary key, \"full name\" text not null unique)",
        "create table shop.orders (id int primary key, customer bigint references shop.customers, state shop.state not null default 'open', \
         total numeric(10, 2) check (total >= 0))",
        "comment on table shop.orders is 'What was bought'",
        "comment on column shop.orders.total is 'In euros'",
        "create view shop.totals as select customer, sum(total) from shop.orders group by 1",
        "create view shop.broken as select 1 / (id - id) as x from shop.customers",
        "insert into shop.customers values (1, 'Ana'), (2, 'Bo'), (3, 'Cy'), (4, 'Di')",
    ] {
        sql(&config, statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
    let schema = call(&config, "getDbSchema", json!({})).await.unwrap();
    assert_eq!(schema["sql_dialect"], "postgresql");
    assert_eq!(schema["enums"], json!([{"schema": "shop", "name": "state", "values": ["open", "paid"]}]));
    let names: Vec<_> = schema["tables"].as_array().unwrap().iter().map(|t| (t["name"].as_str().unwrap(), t["type"].as_str().unwrap())).collect();
    assert_eq!(names, [("broken", "view"), ("customers", "table"), ("orders", "table"), ("totals", "view")]);
    let orders = &schema["tables"][2];
    assert_eq!(orders["comment"], "What was bought");
    assert_eq!(orders["columns"][2], json!({"name": "state", "type": "shop.state", "nullable": false, "default": "'open'::shop.state"}));
    assert_eq!(orders["columns"][3], json!({"name": "total", "type": "numeric(10,2)", "nullable": true, "comment": "In euros"}));
    assert_eq!(
        orders["constraints"],
        json!(["PRIMARY KEY (id)", "FOREIGN KEY (customer) REFERENCES shop.customers(id)", "CHECK ((total >= (0)::numeric))"])
    );
    let sample = call(&config, "sampleTableRows", json!({"limit": 2})).await.unwrap();
    assert!(sample["tables"][0]["error"].as_str().unwrap().contains("22012"), "{sample}");
    assert_eq!(sample["tables"][1]["rows"], json!([{"id": 1, "full name": "Ana"}, {"id": 2, "full name": "Bo"}]));
    assert_eq!(sample["tables"][2]["rows"], json!([]));
    // A row that is too long for a sample is cut, and the tables behind it are sampled all the same.
    let wide = (0..120).map(|n| format!("repeat('x', 300) as c{n}")).collect::<Vec<_>>().join(", ");
    sql(&config, &format!("create table shop.a_wide_one as select {wide} from generate_series(1, 5)")).await.unwrap();
    let sample = call(&config, "sampleTableRows", json!({})).await.unwrap();
    assert_eq!((sample["tables"][0]["rows"].as_array().unwrap().len(), &sample["tables"][2]["rows"][2]["full name"]), (1, &json!("Cy")));
    sql(&config, "drop table shop.a_wide_one").await.unwrap();
    // A name is a value here, whatever stands in it.
    let none = call(&config, "getDbSchema", json!({"schemas": ["x') or true --", "\\"]})).await.unwrap();
    assert_eq!(none, json!({"sql_dialect": "postgresql", "tables": []}));
    let columns = (0..10).map(|c| format!("a_rather_long_column_name_{c} int")).collect::<Vec<_>>().join(", ");
    let many = format!("do $$ begin for n in 1..210 loop execute format('create table shop.t%s ({columns})', n); end loop; end $$");
    sql(&config, &many).await.unwrap();
    let large = call(&config, "getDbSchema", json!({})).await.unwrap();
    assert!(large.to_string().len() < 66_000 && large["truncated"] == true, "{}", large.to_string().len());
    assert_eq!(large["tables"].as_array().unwrap().len() as u64 + large["tables_left_out"].as_u64().unwrap(), 214);
}

#[tokio::test]
async fn files_come_out_and_go_in() {
    let config = database(json!({"read_only": false, "timeout_seconds": 30})).await;
    let load = |order: Value, csv: String| {
        let config = config.clone();
        async move { call_file(&config, "bulkInsert", order, Some(&csv), &["127.0.0.0/8"]).await.map(|o| o.data) }
    };
    let csv = "Full Name,Price €,Note\nAna,\"1,5\",it's \\ \"\nBo,,\n".replace("\\ \"", "\\ '' $1");
    let order = json!({"table": "Odd \"table\"", "columns": ["Full Name", "note"], "types": ["varchar(20)", "text"],
        "renames": [{"from": "note", "to": "The Note"}], "file_uri": "x"});
    assert_eq!(load(order.clone(), csv.clone()).await.unwrap(), json!({"columns": ["full_name", "The Note"], "rows_inserted": 2}));
    let rows = sql(&config, "select * from \"Odd \"\"table\"\"\" order by 1").await.unwrap();
    assert_eq!(rows["rows"], json!([{"full_name": "Ana", "The Note": "it's \\ '' $1"}, {"full_name": "Bo", "The Note": null}]));
    // Into a table that is there, with types of its own; all or none.
    sql(&config, "create table figures (n int, at timestamptz, tags text[])").await.unwrap();
    let figures = json!({"table": "figures", "schema": "public", "file_uri": "x"});
    assert_eq!(load(figures.clone(), "n;at;tags\n1;2024-01-01;{a,b}\n2;;\n".into()).await.unwrap()["rows_inserted"], 2);
    assert!(load(figures.clone(), "n\n3\nx\n".into()).await.unwrap_err().contains("22P02"));
    assert_eq!(one(&config, "(select count(*) from figures)").await, 2);

    let refused = [
        (json!({"columns": ["nothing"]}), "no column nothing"),
        (json!({"types": ["text"]}), "types for 3 columns"),
        (json!({"types": ["text", "text", "text); drop table figures; --"]}), "no type"),
        (json!({"renames": [{"from": "note", "to": "full_name"}]}), "two columns full_name"),
        (json!({"columns": ["note"], "renames": [{"from": "full_name", "to": "x"}]}), "not among"),
        (json!({"schema": "no such"}), "3F000"),
    ];
    for (more, said) in refused {
        let error = load(with(json!({"table": "new", "file_uri": "x"}), more), csv.clone()).await.unwrap_err();
        assert!(error.contains(said), "{said}: {error}");
    }
    assert!(load(json!({"table": "new"}), "a,A\n1,2\n".into()).await.unwrap_err().contains("two columns a"));
    assert!(load(json!({"table": "new"}), "a,b\n1\n".into()).await.unwrap_err().contains("CSV"));
    let long = "n\n".to_owned() + &"1\n".repeat(100_001);
    assert!(load(json!({"table": "new"}), long).await.unwrap_err().contains("more than 100000 rows"));

    let began = Instant::now();
    let many = "n,label\n".to_owned() + &(0..100_000).map(|n| format!("{n},label {n}\n")).collect::<String>();
    assert_eq!(load(json!({"table": "many", "types": ["int", "text"]}), many.clone()).await.unwrap()["rows_inserted"], 100_000);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let order = json!({"query": "select n, label from many order by n", "file_name": "../All of it!.csv"});
    let output = call_file(&config, "selectAsCsv", order, None, &["127.0.0.0/8"]).await.unwrap();
    assert_eq!(output.data, json!({"file_uri": null, "columns": ["n", "label"], "rows_selected": 100_000}));
    let (name, file) = output.file.unwrap();
    assert_eq!((name.as_str(), String::from_utf8(file).unwrap()), ("_All_of_it_.csv", many));
    let order = json!({"query": "select 1 as n where false", "file_name": "x"});
    let output = call_file(&config, "selectAsCsv", order, None, &["127.0.0.0/8"]).await.unwrap();
    assert_eq!((output.data, output.file.is_none()), (json!({"file_uri": null, "columns": ["n"], "rows_selected": 0}), true));
    let order = json!({"query": "select n, '{\"a\": 1.10}'::jsonb as j, 1.10 as d, null as e, 'a,\"b' as f from generate_series(1, 200000) n", "file_name": "x"});
    let output = call_file(&config, "selectAsCsv", order, None, &["127.0.0.0/8"]).await.unwrap();
    assert_eq!((output.data["rows_selected"].clone(), output.data["truncated"].clone()), (json!(100_000), json!(true)));
    assert!(String::from_utf8(output.file.unwrap().1).unwrap().starts_with("n,j,d,e,f\n1,\"{\"\"a\"\": 1.10}\",1.10,,\"a,\"\"b\"\n"));
    let order = json!({"query": "select repeat('x', 1000) from generate_series(1, 100000)", "file_name": "x"});
    let output = call_file(&config, "selectAsCsv", order, None, &["127.0.0.0/8"]).await.unwrap();
    assert!(output.data["truncated"] == true && output.file.unwrap().1.len() < 21 << 20);
}
