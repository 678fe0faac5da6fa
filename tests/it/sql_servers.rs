//! The database tool of agents against servers that are played: hostile ones, and libSQL.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::sql_tool::{call_file, sql, with};

/// A server that answers each of the client's packets with the next of these, and then with nothing.
async fn scripted(answers: Vec<Vec<u8>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 65536];
        for answer in answers {
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(&answer).await;
        }
        while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
    });
    port
}

#[tokio::test]
async fn hostile_servers_end_their_own_call_only() {
    let message = |tag: u8, body: &[u8]| [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat();
    let ready = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
    let begun = message(b'Z', b"T");
    let announced = |length: u32| [&b"D"[..], &length.to_be_bytes()].concat();
    let login = |server: Vec<u8>| vec![ready.clone(), begun.clone(), server];
    // A type that the server made up must not be looked up.
    let column = [&[0, 1, b'x', 0][..], &[0; 6], &999_999u32.to_be_bytes(), &[0; 8]].concat();
    for (answers, said) in [
        (login(announced(u32::MAX)), "longer than"),
        (login(announced(2)), "does not expect"),
        (login(message(b'D', &[0xff, 0xff])), "does not expect"),
        (login(message(b'T', &[0x7f, 0xff])), "does not expect"),
        (login(message(b'G', &[0, 0, 0])), "does not expect"),
        (login([message(b'T', &column), message(b'C', b"SELECT 0\0"), message(b'Z', b"T")].concat()), ""),
        (vec![message(b'R', &[0, 0, 0, 3])], "logging in"),
        (vec![[message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")].concat(), message(b'R', &[0; 4])], "logging in"),
    ] {
        let port = scripted(answers).await;
        let config = json!({"driver": "postgres", "host": "127.0.0.1", "port": port, "timeout_seconds": 1});
        let answer = sql(&config, "select 1").await;
        assert!(if said.is_empty() { answer.is_ok() } else { answer.as_ref().is_err_and(|e| e.contains(said)) }, "{said}: {answer:?}");
    }
    // Nothing at all, and too much.
    let silent = json!({"driver": "postgres", "host": "127.0.0.1", "port": scripted(vec![]).await, "timeout_seconds": 0.1});
    let began = Instant::now();
    assert!(sql(&silent, "select 1").await.unwrap_err().contains("did not answer"));
    assert!(began.elapsed() < Duration::from_secs(6));
    let flood = message(b'N', &[0; 1 << 20]).repeat(40);
    let flood = json!({"driver": "postgres", "host": "127.0.0.1", "port": scripted(vec![flood]).await});
    assert!(sql(&flood, "select 1").await.unwrap_err().contains("longer than 32 MB"));
}

/// A libSQL server that hands each request of a pipeline to a function, and tells what it was asked.
async fn libsql(answer: fn(&Value) -> Value) -> (Value, tokio::sync::mpsc::UnboundedReceiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                while let Some((head, body)) = request(&mut stream).await {
                    assert!(head.starts_with("POST /v2/pipeline HTTP/1.1") && head.to_lowercase().contains("authorization: bearer a-token"));
                    let results: Vec<Value> = body["requests"].as_array().unwrap().iter().map(answer).collect();
                    let _ = asked.send(body);
                    let answer = json!({"baton": "next", "base_url": null, "results": results}).to_string();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
                    let _ = stream.write_all((head + &answer).as_bytes()).await;
                }
            });
        }
    });
    (json!({"driver": "libsql", "url": format!("http://127.0.0.1:{port}"), "token": "a-token"}), requests)
}

/// One HTTP request: its head and its JSON.
async fn request(stream: &mut TcpStream) -> Option<(String, Value)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            return Some((head.to_owned(), body));
        }
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&buffer[..n]),
            _ => return None,
        }
    }
}

fn played(request: &Value) -> Value {
    let ok = |kind: &str, result: Value| json!({"type": "ok", "response": {"type": kind, "result": result}});
    let sql = request["stmt"]["sql"].as_str().or(request["sql"].as_str()).unwrap_or_default();
    match request["type"].as_str().unwrap() {
        "describe" if sql.contains("nonsense") => json!({"type": "error", "error": {"message": "near \"nonsense\"", "code": "SQL_PARSE_ERROR"}}),
        "describe" => ok("describe", json!({"params": [], "cols": [], "is_explain": false, "is_readonly": sql.starts_with("select")})),
        "execute" if sql.starts_with("pragma") => json!({"type": "error", "error": {"message": "not allowed"}}),
        "execute" if sql.contains("select") => {
            let row = json!([{"type": "integer", "value": "9007199254740993"}, {"type": "float", "value": 0.5}, {"type": "text", "value": "é"},
                {"type": "blob", "base64": "AAEC"}, {"type": "null"}, {"type": "integer", "value": "7"}]);
            let columns: Vec<Value> = ["a", "b", "c", "d", "e", "a"].iter().map(|n| json!({"name": n})).collect();
            ok("execute", json!({"cols": columns, "rows": [row, row, row], "affected_row_count": 0}))
        }
        "execute" => ok("execute", json!({"cols": [], "rows": [], "affected_row_count": 2})),
        kind => ok(kind, Value::Null),
    }
}

#[tokio::test]
async fn libsql_is_asked_before_anything_runs() {
    let (config, mut asked) = libsql(played).await;
    let config = with(config, json!({"max_rows": 2}));
    let answer = sql(&config, "select * from t -- all;").await.unwrap();
    assert_eq!((answer["row_count"].clone(), answer["truncated"].clone()), (json!(2), json!(true)));
    let row = json!({"a": "9007199254740993", "b": 0.5, "c": "é", "d": "<3 bytes>", "e": null, "a_2": 7});
    assert_eq!(answer["rows"][0], row);
    let asked_for: Vec<Value> = std::iter::from_fn(|| asked.try_recv().ok()).collect();
    assert_eq!(asked_for[0]["requests"][0]["stmt"]["sql"], "pragma query_only = 1");
    assert_eq!((&asked_for[1]["baton"], &asked_for[1]["requests"][0]["type"]), (&json!("next"), &json!("describe")));
    assert_eq!(asked_for[2]["requests"][0]["stmt"]["sql"], "select * from (\nselect * from t -- all\n) limit 3");
    assert_eq!(asked_for[3]["requests"][0]["type"], "close");
    // What passes for a query by its first word and writes all the same.
    assert!(sql(&config, "with a as (select 1) delete from t").await.unwrap_err().contains("read-only"));
    assert!(sql(&config, "select nonsense").await.unwrap_err().contains("SQL_PARSE_ERROR"));
    assert!(sql(&config, "pragma query_only = 0").await.is_err());
    while let Ok(body) = asked.try_recv() {
        assert!(!body.to_string().contains("\"execute\",\"stmt\":{\"sql\":\"with"), "{body}");
    }
    let config = with(config, json!({"read_only": false}));
    assert_eq!(sql(&config, "delete from t").await.unwrap(), json!({"affected_rows": 2}));
    while asked.try_recv().is_ok() {}
    let order = json!({"table": "t", "file_uri": "x"});
    call_file(&config, "bulkInsert", order, Some("a,b\n1,it's\n,2\n"), &["127.0.0.0/8"]).await.unwrap();
    let ran: Vec<String> =
        std::iter::from_fn(|| asked.try_recv().ok()).filter_map(|b| b["requests"][0]["stmt"]["sql"].as_str().map(str::to_owned)).collect();
    assert_eq!(ran[0], "begin immediate");
    assert_eq!(ran[2..], ["insert into \"t\" (\"a\", \"b\") values ('1', 'it''s'), (null, '2')", "commit"]);
}

#[tokio::test]
async fn hostile_answers_of_libsql_are_errors() {
    let answers: [fn(&Value) -> Value; 3] = [
        |_| Value::Null,
        |_| json!({"type": "ok", "response": {"type": "execute", "result": {"cols": [{"name": "a"}], "rows": [[], [{}], 1]}}}),
        |_| json!({"type": "ok", "response": {"result": {"cols": [{}, {}, {}, {}], "rows": [[], [{"type": "blob", "base64": "é"}]], "is_readonly": true}}}),
    ];
    for answer in answers {
        let config = with(libsql(answer).await.0, json!({"read_only": false}));
        for (name, arguments) in [("getDbSchema", json!({})), ("sampleTableRows", json!({})), ("executeSql", json!({"query": "select 1"}))] {
            let result = call_file(&config, name, arguments, None, &["127.0.0.0/8"]).await;
            assert!(result.as_ref().is_ok_and(|o| o.data.to_string().len() < 500) || result.is_err(), "{name}: {result:?}");
        }
    }
}
