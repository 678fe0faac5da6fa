//! Against servers of `rmcp`, and against servers that mean no good.

mod hostile;
mod server;

use serde_json::json;

use self::server::{Kind, Server};
use super::*;

fn web() -> Guarded {
    // Its own limit is shorter than a call may take, as that of a client for other purposes may be.
    Guarded::new(Duration::from_secs(2), vec!["127.0.0.0/8".parse().expect("a network")]).expect("a client")
}

fn config(value: Value) -> McpConfig {
    serde_json::from_value(value).expect("a configuration")
}

fn config_of(server: &Server) -> McpConfig {
    config(json!({"url": server.url, "headers": {"Authorization": "Bearer top-secret", "X-Shop": "7"}}))
}

const KINDS: [Kind; 4] = [Kind::Json, Kind::Events, Kind::Sessions, Kind::Modern];

#[test]
fn configurations_of_all_shapes() {
    let bare = config(json!({"url": "https://a.example/mcp", "headers": null, "allowed_tools": null}));
    assert!(bare.headers.is_empty() && bare.allows("anything"));
    let full = config(json!({"url": "https://a.example/mcp", "headers": {"X": "y"}, "allowed_tools": ["one"]}));
    assert!(full.allows("one") && !full.allows("two") && full.headers == [("X".to_owned(), "y".to_owned())]);
}

#[tokio::test]
async fn lists_of_many_pages() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        let tools = list(&web(), "shop", &config_of(&server)).await.expect("a list");
        // 25 tools on each of 10 pages, one of them on all.
        assert_eq!(tools.len(), TOOLS, "{kind:?}");
        assert_eq!((tools[0].name.as_str(), tools[0].read_only), ("echo", true));
        assert_eq!((tools[1].name.as_str(), tools[1].read_only, tools[1].description.as_str()), ("tool-0-1", false, "Does 1"));
        assert_eq!(tools[1].parameters["type"], "object");
        let some = McpConfig { allowed_tools: vec!["tool-8-24".to_owned(), "echo".to_owned()], ..config_of(&server) };
        let tools = list(&web(), "shop", &some).await.expect("a list");
        assert_eq!(tools.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["echo", "tool-8-24"]);
        let asked = server.asked();
        assert!(asked.iter().all(|r| r.contains("x-shop: 7") && r.contains("authorization: Bearer top-secret")), "{asked:?}");
        assert_eq!(asked.iter().filter(|r| r.starts_with("DELETE")).count(), if kind == Kind::Sessions { 2 } else { 0 }, "{kind:?}");
        assert!(!asked.iter().any(|r| r.starts_with("GET")), "{asked:?}");
        // Servers without sessions do not know to whom they answer.
        if matches!(kind, Kind::Sessions | Kind::Modern) {
            assert_eq!(server.clients(), ["shop"], "{kind:?}");
        }
    }
}

#[tokio::test]
async fn results_of_all_kinds() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        let (web, config) = (web(), config_of(&server));
        let result = async |tool: &'static str| call(&web, "shop", &config, tool, &json!({"a": [1], "region": "norte"})).await;
        let output = result("echo").await.expect("an output");
        assert_eq!(output, McpOutput { content: vec![McpPart::Data(json!({"a": [1], "region": "norte"}))], is_error: false }, "{kind:?}");
        assert_eq!(server.asked().iter().any(|r| r.contains("mcp-param-region: norte")), kind == Kind::Modern);
        let output = result("fails").await.expect("an output");
        assert_eq!(output, McpOutput { content: vec![McpPart::Text("no such order".to_owned())], is_error: true });
        let output = result("blocks").await.expect("an output");
        let file = |name: Option<&str>, mime_type: &str, bytes: &[u8]| McpPart::File {
            name: name.map(str::to_owned),
            mime_type: mime_type.to_owned(),
            bytes: bytes.to_vec(),
        };
        assert_eq!(
            output.content,
            [
                McpPart::Text("7".to_owned()),
                McpPart::Data(json!([7])),
                file(None, "image/png", b"image"),
                file(None, "audio/wav", b"sound"),
                file(Some("notes.md"), "text/markdown", b"# Notes"),
                file(Some("raw"), "application/octet-stream", b"raw"),
                McpPart::Link { uri: "https://a.example/b.pdf".to_owned(), name: Some("b.pdf".to_owned()), mime_type: None },
                McpPart::Text("[a file that is not in base64 was left out]".to_owned()),
            ]
        );
        let error = result("unknown").await.expect_err("no such tool");
        assert!(error.starts_with("the MCP server shop answered with an error: no tool of that name, … (-32602)"), "{error}");
    }
}

#[tokio::test]
async fn results_that_are_too_long() {
    let server = Server::start(Kind::Json).await;
    let config = config_of(&server);
    let output = call(&web(), "shop", &config, "long", &Value::Null).await.expect("an output");
    let [McpPart::Text(first), McpPart::Text(cut)] = &output.content[..] else { panic!("{output:?}") };
    assert_eq!(first.len() + cut.len(), TOTAL + "\n[cut: results are read up to 64 KB]".len());
    let output = call(&web(), "shop", &config, "many", &Value::Null).await.expect("an output");
    assert_eq!((output.content.len(), output.content.last()), (51, Some(&McpPart::Text("[950 more parts were left out]".to_owned()))));
    let error = call(&web(), "shop", &config, "longer", &Value::Null).await.expect_err("too long");
    assert_eq!(error, "the MCP server shop sent more than 4 MB");
}

/// `é` has two bytes, and the first text ends at an odd one.
const TOTAL: usize = 64 * 1024 - 1;

#[tokio::test]
async fn calls_that_are_not_made() {
    let config = config(json!({"url": "http://127.0.0.1:1/mcp", "allowed_tools": ["one"]}));
    assert!(call(&web(), "shop", &config, "two", &Value::Null).await.is_err_and(|e| e.contains("allowed tools")));
    assert!(call(&web(), "shop", &config, "one", &json!([1])).await.is_err_and(|e| e.contains("an object")));
    let error = list(&web(), "shop", &McpConfig { url: "http://10.0.0.1/mcp".to_owned(), ..config.clone() }).await.expect_err("inside");
    assert_eq!(error, "the MCP server shop cannot be reached: 10.0.0.1 is no public address (OUTBOUND_ALLOW)");
    let headers = vec![("X".to_owned(), "hidden\n".to_owned())];
    let error = list(&web(), "shop", &McpConfig { headers, ..config }).await.expect_err("a header");
    assert!(error.contains("\"X\"") && !error.contains("hidden"), "{error}");
}

/// Runs happen in tasks.
#[tokio::test]
async fn may_run_in_a_task() {
    let run = async {
        let config = config(json!({"url": "http://127.0.0.1:1/mcp"}));
        call(&web(), "shop", &config, "one", &Value::Null).await.is_err() && list(&web(), "shop", &config).await.is_err()
    };
    assert!(tokio::spawn(run).await.expect("an end"));
}
