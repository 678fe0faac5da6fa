use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

fn web() -> Guarded {
    Guarded::new(Duration::from_secs(5), vec!["127.0.0.0/8".parse().expect("a network")]).expect("a client")
}

fn config(value: Value) -> HttpConfig {
    serde_json::from_value(value).expect("a configuration")
}

/// A server that answers every request with `answer`, and keeps what it was asked.
async fn server(answer: impl Into<Vec<u8>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let (answer, asked) = (Arc::new(answer.into()), Arc::new(Mutex::new(Vec::new())));
    let kept = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = vec![0; 64 * 1024];
            let mut length = 0;
            // Headers and body may come apart.
            while let Ok(Ok(more)) = tokio::time::timeout(Duration::from_millis(100), socket.read(&mut buffer[length..])).await {
                length += more;
                if more == 0 {
                    break;
                }
            }
            kept.lock().expect("a lock").push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            let _ = socket.write_all(&answer).await;
        }
    });
    (base, asked)
}

fn response(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

#[test]
fn configurations_of_all_shapes() {
    let full = config(json!({"url": " https://a.example/* ", "methods": ["get", "POST"], "headers": {"X-Key": "k"}}));
    assert_eq!((full.url.as_deref(), full.methods.join(" "), full.headers.len()), (Some("https://a.example/*"), "GET POST".to_owned(), 1));
    let empty = config(json!({"url": "", "methods": null, "headers": null}));
    assert_eq!((empty.url.clone(), empty.methods.len(), empty.headers.len()), (None, 0, 0));
    let shown = tool("shop__request", &full);
    assert_eq!((shown.name.as_str(), &shown.parameters["properties"]["method"]["enum"]), ("shop__request", &json!(["GET", "POST"])));
    assert!(shown.description.contains("below https://a.example/") && !format!("{shown:?}").contains("X-Key"));
    assert_eq!(effect(&json!({})), Effect::Read);
    assert_eq!(effect(&json!({"method": "get"})), Effect::Read);
    assert_eq!(effect(&json!({"method": "HEAD"})), Effect::Read);
    assert_eq!(effect(&json!({"method": "POST"})), Effect::External);
    assert_eq!(effect(&json!({"method": "GET /x"})), Effect::External);
    assert!(header_map(&[("X".to_owned(), "secret\r\nY: z".to_owned())]).is_err_and(|e| !e.contains("secret")));
    assert!(header_map(&[("Content-Length".to_owned(), "1".to_owned())]).is_err());
}

#[tokio::test]
async fn the_request_is_what_was_asked_for() {
    let (base, asked) = server(response("201 Created", "content-type: application/json\r\n", r#"{"id": 7}"#)).await;
    let config = config(json!({"url": format!("{base}/*"), "headers": {"Authorization": "Bearer secret", "X-Shop": "ours"}}));
    let arguments = json!({"url": format!("{base}/orders?a=1#part"), "method": "POST", "query": {"b": [2, 3], "c": "x y", "d": null},
                           "headers": {"x-shop": "theirs", "x-n": 5}, "body": {"name": "Ana"}});
    let result = run(&web(), &config, &arguments).await.expect("an answer");
    assert_eq!(result, json!({"status": 201, "body": {"id": 7}}));
    let asked = asked.lock().expect("a lock")[0].clone();
    assert!(asked.starts_with("POST /orders?a=1&b=2&b=3&c=x+y HTTP/1.1\r\n"), "{asked}");
    for line in ["authorization: Bearer secret", "x-shop: ours", "x-n: 5", "content-type: application/json"] {
        assert!(asked.contains(&format!("{line}\r\n")), "{line} in {asked}");
    }
    assert!(!asked.contains("theirs") && asked.ends_with(r#"{"name":"Ana"}"#), "{asked}");
}

#[tokio::test]
async fn credentials_stay_where_they_belong() {
    let (base, asked) = server(response("200 OK", "content-type: text/plain\r\n", "fine")).await;
    let anywhere = config(json!({"headers": {"Authorization": "Bearer secret"}}));
    run(&web(), &anywhere, &json!({"url": base, "method": "GET"})).await.expect("an answer");
    assert!(!asked.lock().expect("a lock")[0].contains("secret"));
    let one = config(json!({"url": format!("{base}/one"), "headers": {"Authorization": "Bearer secret"}}));
    assert!(run(&web(), &one, &json!({"url": format!("{base}/two")})).await.is_err());
    for (name, value) in [
        ("Host", "x"),
        ("cookie", "a=b"),
        ("Proxy-Authorization", "x"),
        ("Authorization", "x"),
        ("transfer-encoding", "x"),
        ("x-ok", "a\r\nb: c"),
        ("x\r\ny", "a"),
    ] {
        let error = run(&web(), &one, &json!({"url": format!("{base}/one"), "headers": {name: value}})).await.expect_err(name);
        assert!(error.contains("leave it out"), "{error}");
    }
}

#[tokio::test]
async fn arguments_that_make_no_request() {
    let config = config(json!({"methods": ["GET"]}));
    for (arguments, why) in [
        (json!({}), "url is missing"),
        (json!({"url": "/relative"}), "no URL"),
        (json!({"url": "https://a.example", "method": "DELETE"}), "use one of GET"),
        (json!({"url": "https://a.example", "body": "x"}), "takes no body"),
        (json!({"url": "https://a.example", "query": "a=b"}), "query has to be"),
        (json!({"url": "https://a.example", "headers": ["a"]}), "headers has to be"),
        (json!({"url": "ftp://a.example/"}), "Only http"),
        (json!({"url": "http://169.254.169.254/latest?key=hidden"}), "no public address"),
        (json!({"url": "https://user:word@a.example/"}), "password"),
    ] {
        let error = run(&web(), &config, &arguments).await.expect_err(why);
        assert!(error.contains(why) && !error.contains("hidden"), "{error}");
    }
}

#[tokio::test]
async fn answers_of_all_kinds() {
    let cases = [
        (
            response("404 Not Found", "content-type: application/problem+json\r\n", r#"{"title":"no"}"#),
            json!({"status": 404, "body": {"title": "no"}}),
        ),
        (response("204 No Content", "", ""), json!({"status": 204, "body": null})),
        (response("200 OK", "content-type: text/plain\r\n", "[1]"), json!({"status": 200, "body": [1]})),
        (response("200 OK", "", "plain"), json!({"status": 200, "body": {"text": "plain"}})),
        (response("200 OK", "content-type: application/json\r\n", "{oops"), json!({"status": 200, "body": {"text": "{oops"}})),
        (
            response("200 OK", "content-type: text/html; charset=utf-8\r\n", "<title>T</title><script>x()</script><h1>Hi</h1><p>a <b>b</b>"),
            json!({"status": 200, "body": {"text": "T\n\n# Hi\n\na **b**"}}),
        ),
        (
            response("200 OK", "content-type: image/png\r\n", "\u{1}\u{2}\u{3}"),
            json!({"status": 200, "body": {"content_type": "image/png", "bytes": 3}}),
        ),
    ];
    for (answer, expected) in cases {
        let (base, _) = server(answer).await;
        assert_eq!(run(&web(), &HttpConfig::default(), &json!({"url": base})).await, Ok(expected));
    }
    let (base, _) = server(response("302 Found", "location: ../in?x=1\r\n", "moved")).await;
    let result = run(&web(), &HttpConfig::default(), &json!({"url": format!("{base}/a/b/c")})).await.expect("an answer");
    assert_eq!(result, json!({"status": 302, "location": format!("{base}/a/in?x=1")}));
    let mut latin = response("200 OK", "content-type: text/plain; charset=ISO-8859-1\r\n", "ma_ana").into_bytes();
    *latin.iter_mut().rfind(|b| **b == b'_').expect("a letter") = 0xf1;
    let (base, _) = server(latin).await;
    let result = run(&web(), &HttpConfig::default(), &json!({"url": base})).await.expect("an answer");
    assert_eq!(result["body"]["text"], "mañana");
}

#[tokio::test]
async fn long_answers_are_cut() {
    for (kind, body) in [
        ("text/plain", "é".repeat(5_000_000)),
        ("text/html", "<p>abc</p>".repeat(50_000)),
        ("text/html", "<div>".repeat(50_000)),
        ("text/html", "<blockquote>".repeat(5_000)),
        ("application/json", format!("[{}1]", "1,".repeat(20_000))),
    ] {
        let (base, _) = server(response("200 OK", &format!("content-type: {kind}\r\n"), &body)).await;
        let result = run(&web(), &HttpConfig::default(), &json!({"url": base})).await.expect("an answer");
        let text = result["body"]["text"].as_str().expect("text");
        let length = text.chars().count();
        assert!(result["truncated"] == true && text.ends_with("longer than this]") && length < 32_100, "{kind} {length}");
    }
    // As deep as is converted at all.
    for (tag, times) in [("div", 120), ("blockquote", 120), ("ul><li", 60), ("table><tr><td", 30), ("span", 120), ("b", 120)] {
        let html = format!("{}deep", format!("<{tag}>").repeat(times));
        let (base, _) = server(response("200 OK", "content-type: text/html\r\n", &html)).await;
        let result = run(&web(), &HttpConfig::default(), &json!({"url": base})).await.expect("an answer");
        assert!(result["body"]["text"].as_str().is_some_and(|t| t.contains("deep") && !t.contains('<')), "{tag} {result}");
    }
}

#[tokio::test]
async fn no_answer() {
    let error = run(&web(), &HttpConfig::default(), &json!({"url": "http://127.0.0.1:1/a?key=hidden"})).await.expect_err("nobody there");
    assert!(error.starts_with("GET http://127.0.0.1:1/a: could not connect") && !error.contains("hidden"), "{error}");
    let error = run(&web(), &HttpConfig::default(), &json!({"url": "http://localhost:1/?key=hidden"})).await.expect_err("inside");
    assert!(!error.contains("hidden"), "{error}");
    let (base, _) = server("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    assert!(run(&web(), &HttpConfig::default(), &json!({"url": base})).await.is_err());
}
