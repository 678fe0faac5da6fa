//! Servers that are away, broken, or up to something. All of them first open a session as they should.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{super::visit::Visit, *};

/// What a server does once a session is open.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Does {
    Nothing,
    /// Says so many MB in one JSON answer, or in an answer of events.
    Json(usize),
    Events(usize),
    /// Ends its answers early, for more of it to be asked for, at once.
    Resumes,
    Answers(&'static str),
}

async fn server(does: Does) -> (McpConfig, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/mcp?key=hidden", listener.local_addr().expect("an address"));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(answer(socket, does));
        }
    });
    (config(json!({"url": url, "headers": {"Authorization": "Bearer top-secret"}})), asked)
}

async fn answer(mut socket: TcpStream, does: Does) {
    let mut buffer = vec![0; 64 * 1024];
    let mut request = String::new();
    while let Ok(Ok(more)) = tokio::time::timeout(Duration::from_millis(10), socket.read(&mut buffer)).await {
        request.push_str(&String::from_utf8_lossy(&buffer[..more]));
        if more == 0 {
            break;
        }
    }
    let head = |status: &str, kind: &str| format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: {kind}\r\n");
    let small = |body: &str| format!("{}content-length: {}\r\n\r\n{body}", head("200 OK", "application/json"), body.len());
    let text = if request.contains("\"initialize\"") {
        small(
            r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}}"#,
        )
    } else if request.contains("notifications/") {
        format!("{}content-length: 0\r\n\r\n", head("202 Accepted", "text/plain"))
    } else {
        match does {
            Does::Nothing => return tokio::time::sleep(Duration::from_secs(60)).await,
            Does::Json(size) => format!("{}content-length: {}\r\n\r\n", head("200 OK", "application/json"), size << 20),
            Does::Events(_) => format!("{}\r\nid: 1\n", head("200 OK", "text/event-stream")),
            Does::Resumes => format!("{}\r\nid: 1\nretry: 0\ndata: \n\n", head("200 OK", "text/event-stream")),
            Does::Answers(text) => text.to_owned(),
        }
    };
    let _ = socket.write_all(text.as_bytes()).await;
    if let (false, Does::Json(size) | Does::Events(size)) = (text.contains("serverInfo") || text.contains("202"), does) {
        let line = format!("data: {}\n", "x".repeat((1 << 16) - 7));
        for _ in 0..size << 4 {
            if socket.write_all(line.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// The error of a call, with less patience than calls have.
async fn failure(config: &McpConfig) -> String {
    let visit = Visit::new(&web(), "shop", config, Duration::from_secs(4)).expect("a visit");
    let session = match visit.open().await {
        Ok(session) => session,
        Err(error) => return error,
    };
    let result = visit.within(respond(&session, config, CallToolRequestParams::new("x"))).await;
    close(session).await;
    result.expect_err("no result")
}

#[tokio::test]
async fn servers_that_say_too_much() {
    for does in [Does::Json(100), Does::Events(100)] {
        let (config, _) = server(does).await;
        let began = Instant::now();
        assert_eq!(failure(&config).await, "the MCP server shop sent more than 4 MB", "{does:?}");
        assert!(began.elapsed() < Duration::from_secs(2), "{does:?} {:?}", began.elapsed());
    }
}

/// Small on the way, large in memory.
#[tokio::test]
async fn servers_that_say_too_many_things() {
    for kind in ["application/json", "text/event-stream"] {
        let data = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"structuredContent":[{}0]}}}}"#, r#"{"a":0},"#.repeat(100_000));
        let text = match kind {
            "application/json" => data,
            _ => format!("id: 1\ndata: {data}\n\n"),
        };
        let text = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n{text}");
        let (config, _) = server(Does::Answers(text.leak())).await;
        assert_eq!(failure(&config).await, "the MCP server shop sent JSON of more than 200000 values", "{kind}");
    }
}

#[tokio::test]
async fn servers_that_never_come_to_an_end() {
    let (config, _) = server(Does::Nothing).await;
    let began = Instant::now();
    assert_eq!(failure(&config).await, "the MCP server shop gave no answer within 4 s");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let (config, asked) = server(Does::Resumes).await;
    let error = failure(&config).await;
    assert_eq!(error, "the MCP server shop needed more than 64 requests");
    assert_eq!(asked.load(Ordering::Relaxed), 64);
}

#[tokio::test]
async fn servers_that_are_away() {
    let config = config(json!({"url": "http://127.0.0.1:1/mcp?key=hidden"}));
    let error = failure(&config).await;
    assert!(error.starts_with("the MCP server shop cannot be reached: could not connect") && !error.contains("hidden"), "{error}");
    let error = failure(&McpConfig { url: "http://localhost:1/mcp".to_owned(), ..config }).await;
    assert!(error.contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn servers_that_answer_something_else() {
    let cases = [
        ("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n", "answered HTTP 302: redirects are not followed"),
        ("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n", "answered HTTP 307: redirects"),
        ("HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\ncontent-length: 0\r\n\r\n", "answered HTTP 401: it wants other credentials"),
        ("HTTP/1.1 404 Not Found\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nno", "answered HTTP 404: its URL"),
        ("HTTP/1.1 500 Oh\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}", "answered HTTP 500"),
        ("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi", "answered with \"text/html\" instead of JSON"),
        ("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\nhi", "answered with JSON that is no MCP message"),
        ("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{}", "broke off: request failed"),
        ("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 20\r\n\r\ndata: {}\n", "broke off"),
        ("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 10\r\n\r\ndata: {}\n\n", "ended its answer before"),
        (
            "HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
             {\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32000,\"message\":\"Bearer top-secret?\"},\"id\":null}",
            "answered with an error: Bearer …",
        ),
        ("SSH-2.0-OpenSSH\r\n", "cannot be reached: "),
    ];
    for (text, expected) in cases {
        let (config, _) = server(Does::Answers(text)).await;
        let error = failure(&config).await;
        assert!(error.starts_with(&format!("the MCP server shop {expected}")), "{text}\n{error}");
        assert!(!error.contains("hidden") && !error.contains("secret"), "{error}");
    }
}
