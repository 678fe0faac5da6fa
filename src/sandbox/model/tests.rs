//! The model and its tools over HTTP, as the product meets them.

use std::collections::HashMap;

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::api::{Api, Asked};
use crate::sandbox::{Fault, Sandbox, Settings, Turn};

/// What an API refuses a request with, the model being named in the path.
pub(super) fn refusal<A: Api>(model: &str, body: Value) -> Option<String> {
    let headers = HeaderMap::from_iter([(HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01"))]);
    A::check(&Asked::new(body, model, "", &headers, &HashMap::new())).err().map(|refusal| refusal.message)
}

/// Requests of one protocol and what is in the answers.
struct Protocol {
    path: &'static str,
    said: fn(&[&str]) -> Value,
    answer: &'static str,
    tokens: [&'static str; 2],
}

const PROTOCOLS: [Protocol; 5] = [
    Protocol {
        path: "/v1/chat/completions",
        said: |texts| json!({"model": "m", "messages": texts.iter().map(|text| json!({"role": "user", "content": text})).collect::<Vec<_>>()}),
        answer: "/choices/0/message/content",
        tokens: ["/usage/prompt_tokens", "/usage/completion_tokens"],
    },
    Protocol {
        path: "/v1/responses",
        said: |texts| json!({"model": "m", "input": texts.iter().map(|text| json!({"role": "user", "content": text})).collect::<Vec<_>>()}),
        answer: "/output/0/content/0/text",
        tokens: ["/usage/input_tokens", "/usage/output_tokens"],
    },
    Protocol {
        path: "/anthropic/v1/messages",
        said: |texts| {
            let content: Vec<Value> = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
            json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": content}]})
        },
        answer: "/content/0/text",
        tokens: ["/usage/input_tokens", "/usage/output_tokens"],
    },
    Protocol {
        path: "/google/v1beta/models/gemini-3-flash-preview:generateContent",
        said: |texts| json!({"contents": texts.iter().map(|text| json!({"role": "user", "parts": [{"text": text}]})).collect::<Vec<_>>()}),
        answer: "/candidates/0/content/parts/0/text",
        tokens: ["/usageMetadata/promptTokenCount", "/usageMetadata/candidatesTokenCount"],
    },
    Protocol { path: "/a2a/helper", said: a2a, answer: "/result/parts/0/text", tokens: ["/result", "/result"] },
];

fn a2a(texts: &[&str]) -> Value {
    let parts: Vec<Value> = texts.iter().map(|text| json!({"kind": "text", "text": text})).collect();
    json!({"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": {"role": "user", "messageId": "1", "parts": parts}}})
}

async fn serve(settings: Settings) -> (Sandbox, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let sandbox = Sandbox::new(settings);
    tokio::spawn(sandbox.clone().run(listener));
    (sandbox, base)
}

/// A request with everything that some API demands in its headers, but a key only where one is given.
async fn send(method: Method, url: &str, key: &str, body: &Value) -> (u16, Value) {
    let mut request = reqwest::Client::new().request(method, url).header("anthropic-version", "2023-06-01").json(body);
    request = request.header("accept", "application/json, text/event-stream");
    for name in ["x-api-key", "x-goog-api-key"].into_iter().filter(|_| !key.is_empty()) {
        request = request.header(name, key);
    }
    let request = if key.is_empty() { request } else { request.bearer_auth(key) };
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.expect("a body")).unwrap_or_default())
}

async fn post(url: &str, body: &Value) -> (u16, Value) {
    send(Method::POST, url, "", body).await
}

#[tokio::test]
async fn the_same_echo_in_five_protocols() {
    let (sandbox, base) = serve(Settings::default()).await;
    for protocol in &PROTOCOLS {
        let body = (protocol.said)(&["one", "two"]);
        let (status, answer) = post(&format!("{base}{}", protocol.path), &body).await;
        assert_eq!((status, answer.pointer(protocol.answer)), (200, Some(&json!("You said: one / two"))), "{answer}");
        if let Some(tokens) = answer.pointer(protocol.tokens[0]).and_then(Value::as_u64) {
            assert_eq!(tokens, body.to_string().len() as u64 / 4, "{}", protocol.path);
            assert_eq!(answer.pointer(protocol.tokens[1]), Some(&json!("You said: one / two".len() / 4)));
        }
        assert_eq!(sandbox.asked().pop(), Some(body));
    }
    sandbox.forget();
    assert!(sandbox.asked().is_empty());
}

#[tokio::test]
async fn a_script_goes_before_the_echo() {
    let (sandbox, base) = serve(Settings::default()).await;
    let scripted = json!([{"text": "for two", "when": "two"}, {"text": "first"}, {"status": 529, "message": "busy"}]);
    for protocol in &PROTOCOLS {
        let url = format!("{base}{}", protocol.path);
        assert_eq!(post(&format!("{base}/sandbox/script"), &scripted).await.0, 200);
        // What fails by a fault uses nothing up.
        sandbox.fault(Fault { on: "model".into(), times: Some(1), status: Some(503), ..Fault::default() });
        assert_eq!(post(&url, &(protocol.said)(&["one"])).await.0, 503);
        for (said, expected) in [("one", "first"), ("two", "for two")] {
            assert_eq!(post(&url, &(protocol.said)(&[said])).await.1.pointer(protocol.answer), Some(&json!(expected)));
        }
        let (status, answer) = post(&url, &(protocol.said)(&["one"])).await;
        assert_eq!((status, &answer["error"]["message"]), (529, &json!("busy")));
        assert_eq!(post(&url, &(protocol.said)(&["one"])).await.1.pointer(protocol.answer), Some(&json!("You said: one")));
    }
    assert_eq!(post(&format!("{base}/sandbox/script"), &json!({"txt": "no"})).await.0, 400);
    sandbox.script(vec![Turn::says("left")]);
    assert_eq!(sandbox.scripted(), [Turn::says("left")]);
    send(Method::DELETE, &format!("{base}/sandbox/script"), "", &json!({})).await;
    assert!(sandbox.scripted().is_empty());
}

#[tokio::test]
async fn keys_and_lengths() {
    let (sandbox, base) = serve(Settings { model_key: "right".into(), ..Settings::default() }).await;
    for protocol in &PROTOCOLS {
        let url = format!("{base}{}", protocol.path);
        let body = (protocol.said)(&["one"]);
        for (key, expected) in [("", 401), ("wrong", 401), ("right", 200)] {
            let (status, answer) = send(Method::POST, &url, key, &body).await;
            assert_eq!(status, expected, "{}: {answer}", protocol.path);
            assert_eq!(answer["error"]["message"].is_string(), expected == 401);
        }
    }
    sandbox.set(|settings| *settings = Settings { context_tokens: 100, ..Settings::default() });
    for protocol in &PROTOCOLS[..4] {
        let (status, answer) = post(&format!("{base}{}", protocol.path), &(protocol.said)(&[&"long ".repeat(100)])).await;
        assert_eq!(status, 400, "{answer}");
    }
}

#[tokio::test]
async fn calls_come_back_with_their_results() {
    let (sandbox, base) = serve(Settings::default()).await;
    let calls = || Turn { text: Some("Let me see.".into()), ..Turn::calls([("add", json!({"a": 1})), ("add", json!("{\"a\":"))]) };
    sandbox.script(vec![calls()]);
    let url = format!("{base}/v1/chat/completions");
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "go"}]});
    let answer = post(&url, &body).await.1["choices"][0].take();
    assert_eq!((&answer["finish_reason"], &answer["message"]["tool_calls"][1]["function"]["arguments"]), (&json!("tool_calls"), &json!("{\"a\":")));
    let result = |n: usize| json!({"role": "tool", "tool_call_id": answer["message"]["tool_calls"][n]["id"], "content": format!("r{n}")});
    body["messages"] = json!([body["messages"][0], answer["message"], result(0), result(1)]);
    assert_eq!(post(&url, &body).await.1["choices"][0]["message"]["content"], "The tools said: r0 / r1");

    sandbox.script(vec![calls()]);
    let url = format!("{base}/v1/responses");
    let mut body = json!({"model": "m", "input": [{"role": "user", "content": "go"}], "store": false, "include": ["reasoning.encrypted_content"]});
    let mut output = post(&url, &body).await.1["output"].take();
    let ids: Vec<Value> = output.as_array().expect("items").iter().filter_map(|item| item.get("call_id").cloned()).collect();
    let items = output.as_array_mut().expect("items");
    items.insert(0, body["input"][0].clone());
    items.extend(ids.iter().map(|id| json!({"type": "function_call_output", "call_id": id, "output": "r"})));
    body["input"] = output;
    assert_eq!(post(&url, &body).await.1["output"][1]["content"][0]["text"], "The tools said: r / r");

    sandbox.script(vec![calls()]);
    let url = format!("{base}/v1/messages");
    let mut body = json!({"model": "m", "max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024},
        "messages": [{"role": "user", "content": "go"}]});
    let answer = post(&url, &body).await.1;
    let content = &answer["content"];
    assert_eq!((&answer["stop_reason"], &content[0]["type"], &content[2]["type"]), (&json!("tool_use"), &json!("thinking"), &json!("tool_use")));
    let mut content = content.clone();
    content[3]["input"] = json!({});
    let result = |n: usize| json!({"type": "tool_result", "tool_use_id": content[n]["id"], "content": "r"});
    body["messages"] = json!([body["messages"][0], {"role": "assistant", "content": content}, {"role": "user", "content": [result(2), result(3)]}]);
    assert_eq!(post(&url, &body).await.1["content"][1]["text"], "The tools said: r / r");

    sandbox.script(vec![calls()]);
    let url = format!("{base}/v1beta/models/gemini-3-pro:generateContent");
    let mut body = json!({"contents": [{"role": "user", "parts": [{"text": "go"}]}]});
    let mut content = post(&url, &body).await.1["candidates"][0]["content"].take();
    assert!(content["parts"][1]["thoughtSignature"].is_string());
    content["parts"][2]["functionCall"]["args"] = json!({});
    let result = json!({"functionResponse": {"name": "add", "response": {"r": 1}}});
    body["contents"] = json!([body["contents"][0], content, {"role": "user", "parts": [result, result]}]);
    assert_eq!(post(&url, &body).await.1["candidates"][0]["content"]["parts"][0]["text"], "The tools said: {\"r\":1} / {\"r\":1}");
}

#[tokio::test]
async fn why_a_model_stops() {
    let (sandbox, base) = serve(Settings::default()).await;
    let places = ["/choices/0/finish_reason", "/incomplete_details/reason", "/stop_reason", "/candidates/0/finishReason"];
    for (finish, words) in [
        ("length", ["length", "max_output_tokens", "max_tokens", "MAX_TOKENS"]),
        ("content_filter", ["content_filter", "content_filter", "refusal", "SAFETY"]),
    ] {
        for ((protocol, place), word) in PROTOCOLS.iter().zip(places).zip(words) {
            sandbox.script(vec![Turn { finish: Some(finish.into()), ..Turn::says("half") }]);
            let (_, answer) = post(&format!("{base}{}", protocol.path), &(protocol.said)(&["one"])).await;
            assert_eq!(answer.pointer(place), Some(&json!(word)), "{answer}");
        }
    }
}

#[tokio::test]
async fn files_are_understood() {
    let (sandbox, base) = serve(Settings::default()).await;
    let data = json!({"mimeType": "image/png", "data": "AAAA"});
    let contents = json!([{"role": "user", "parts": [{"inlineData": data}, {"text": "what is it?"}]}]);
    let url = format!("{base}/google/v1beta/models/g:generateContent");
    let echo = post(&url, &json!({"contents": contents})).await.1;
    assert_eq!(echo["candidates"][0]["content"]["parts"][0]["text"], "You said: [image] / what is it?");
    sandbox.fault(Fault { on: "understand".into(), times: Some(1), status: Some(429), ..Fault::default() });
    let body = json!({"contents": contents, "generationConfig": {"responseMimeType": "application/json"}});
    assert_eq!(post(&url, &body).await.0, 429);
    let text = post(&url, &body).await.1["candidates"][0]["content"]["parts"][0]["text"].take();
    assert_eq!(text, json!({"description": "A file of type image/png", "transcription": "3 bytes"}).to_string());

    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "file", "schema": {"type": "object"}}});
    let body = json!({"model": "m", "response_format": format, "messages": [{"role": "user", "content": [image]}]});
    let answer = post(&format!("{base}/v1/chat/completions"), &body).await.1;
    assert_eq!(answer["choices"][0]["message"]["content"], "{\"description\":\"seen\"}");

    let file = reqwest::multipart::Part::bytes(vec![0; 5]).file_name("a.ogg").mime_str("audio/ogg").expect("a type");
    let form = reqwest::multipart::Form::new().part("file", file).text("model", "whisper-1");
    let answer = reqwest::Client::new().post(format!("{base}/v1/audio/transcriptions")).multipart(form).send().await.expect("an answer");
    assert_eq!(answer.json::<Value>().await.expect("JSON")["text"], "transcribed 5 bytes");

    let understood = sandbox.understood();
    assert_eq!(understood.len(), 4, "those that failed, too");
    assert_eq!(understood[1]["body"]["contents"][0]["parts"][0]["inlineData"]["data"], "<3 bytes>");
    assert_eq!(understood[2]["body"]["messages"][0]["content"][0]["image_url"]["url"], "<3 bytes>");
    assert_eq!(understood[3]["body"]["file"], json!({"name": "a.ogg", "mime_type": "audio/ogg", "bytes": 5}));
    assert_eq!(sandbox.asked().len(), 1, "only the echo");
}

#[tokio::test]
async fn a_task_takes_its_time() {
    let (sandbox, base) = serve(Settings::default()).await;
    let url = format!("{base}/a2a/helper");
    sandbox.script(vec![Turn { polls: 2, artifact: Some(json!({"data": {"n": 1}})), ..Turn::says("done") }]);
    let task = post(&url, &a2a(&["work"])).await.1["result"].take();
    assert_eq!((&task["kind"], &task["status"]["state"]), (&json!("task"), &json!("working")));
    let get = |method: &str| json!({"jsonrpc": "2.0", "id": 2, "method": method, "params": {"id": task["id"]}});
    assert_eq!(post(&url, &get("tasks/get")).await.1["result"]["status"]["state"], "working");
    let done = post(&url, &get("tasks/get")).await.1["result"].take();
    assert_eq!((&done["status"]["state"], &done["status"]["message"]["parts"][0]["text"]), (&json!("completed"), &json!("done")));
    assert_eq!(done["artifacts"][0]["parts"], json!([{"kind": "data", "data": {"n": 1}}]));
    assert_eq!(post(&url, &get("tasks/cancel")).await.1["error"]["code"], -32002);

    // A task that waits for input goes on under its id.
    sandbox.script(vec![Turn { state: Some("input-required".into()), ..Turn::says("which one?") }]);
    let asks = post(&url, &a2a(&["work"])).await.1["result"].take();
    let mut more = a2a(&["this one"]);
    more["params"]["message"]["taskId"] = asks["id"].clone();
    let goes_on = post(&url, &more).await.1["result"].take();
    assert_eq!((&goes_on["id"], &goes_on["contextId"]), (&asks["id"], &asks["contextId"]));
    assert_eq!(goes_on["status"]["message"]["parts"][0]["text"], "You said: this one");
    assert_eq!(post(&url, &more).await.1["error"]["code"], -32602, "it has ended");
    assert_eq!(sandbox.asked().len(), 7);
}

#[tokio::test]
async fn a_task_tells_by_itself_when_it_ends() {
    let (sandbox, base) = serve(Settings::default()).await;
    sandbox.script(vec![Turn { push: true, think_ms: Some(20), ..Turn::says("done") }]);
    let push = json!({"url": format!("{base}/web/echo"), "token": "t", "authentication": {"schemes": ["Bearer"], "credentials": "c"}});
    let message = json!({"role": "user", "parts": [{"type": "text", "text": "work"}]});
    let params = json!({"id": "1", "sessionId": "s", "message": message, "pushNotification": push});
    let task = post(&format!("{base}/a2a/helper"), &json!({"jsonrpc": "2.0", "id": 1, "method": "tasks/send", "params": params})).await.1;
    assert_eq!((&task["result"]["status"]["state"], &task["result"]["sessionId"]), (&json!("working"), &json!("s")));
    while sandbox.hits().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let hit = &sandbox.hits()[0];
    assert_eq!((&hit["headers"]["x-a2a-notification-token"], &hit["headers"]["authorization"]), (&json!("t"), &json!("Bearer c")));
    assert_eq!(hit["body"]["status"]["message"]["parts"], json!([{"type": "text", "text": "done"}]));
    for (dialect, allowed) in [("message", "message/send"), ("tasks", "tasks/send")] {
        sandbox.set(|settings| settings.a2a_dialect = dialect.to_owned());
        for method in ["message/send", "tasks/send"] {
            let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {}});
            let code = post(&format!("{base}/a2a/helper"), &request).await.1["error"]["code"].take();
            assert_eq!(code, if method == allowed { -32602 } else { -32601 });
        }
    }
}

#[tokio::test]
async fn an_mcp_server() {
    let (sandbox, base) = serve(Settings::default()).await;
    let url = format!("{base}/mcp/shop");
    let rpc = |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    assert_eq!(post(&url, &rpc("initialize", hello)).await.1["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(post(&url, &json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await, (202, Value::Null));
    let page = post(&url, &rpc("tools/list", json!({}))).await.1["result"].take();
    let rest = post(&url, &rpc("tools/list", json!({"cursor": page["nextCursor"]}))).await.1["result"].take();
    let names = |page: &Value| page["tools"].as_array().expect("tools").iter().map(|tool| tool["name"].clone()).collect::<Vec<_>>();
    assert_eq!((names(&page), names(&rest)), (vec![json!("add"), json!("note"), json!("fail"), json!("picture")], vec![json!("big"), json!("slow")]));
    assert_eq!(rest["nextCursor"], Value::Null);

    let call = |name: &str, arguments: Value| rpc("tools/call", json!({"name": name, "arguments": arguments}));
    assert_eq!(post(&url, &call("add", json!({"a": 2, "b": 3}))).await.1["result"]["structuredContent"], json!({"sum": 5}));
    assert_eq!(post(&url, &call("fail", json!({}))).await.1["result"]["isError"], true);
    assert_eq!(post(&url, &call("picture", json!({}))).await.1["result"]["content"][0]["mimeType"], "image/png");
    assert_eq!(post(&url, &call("big", json!({}))).await.1["result"]["content"][0]["text"].as_str().map(str::len), Some(200_000));
    assert_eq!(post(&url, &call("slow", json!({"ms": 1}))).await.1["result"]["isError"], false);
    assert_eq!(post(&url, &call("none", json!({}))).await.1["error"]["code"], -32602);
    sandbox.fault(Fault { on: "mcp".into(), times: Some(1), status: Some(500), accept: true, ..Fault::default() });
    assert_eq!(post(&url, &call("note", json!({"text": "a"}))).await.0, 500);
    assert_eq!((post(&url, &call("note", json!({"text": "b"}))).await.0, sandbox.noted()), (200, vec!["a".to_owned(), "b".to_owned()]));

    assert_eq!(send(Method::GET, &url, "", &json!({})).await.0, 405);
    let bare = reqwest::Client::new().post(&url).json(&rpc("ping", json!({}))).send().await.expect("an answer");
    assert_eq!(bare.status(), 406);
    assert_eq!(sandbox.hits().len(), 14);
    sandbox.forget();
    assert!(sandbox.hits().is_empty() && sandbox.noted().is_empty());
}

#[tokio::test]
async fn pages_on_the_web() {
    let (sandbox, base) = serve(Settings::default()).await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let echo = client.patch(format!("{base}/web/echo?a=b")).header("X-One", "1").json(&json!({"c": 1})).send().await.expect("an answer");
    let echo: Value = echo.json().await.expect("JSON");
    assert_eq!((&echo["method"], &echo["query"], &echo["body"]), (&json!("PATCH"), &json!({"a": "b"}), &json!({"c": 1})));
    assert_eq!(echo["headers"]["x-one"], "1");
    let get = async |path: &str| client.get(format!("{base}/web/{path}")).send().await.expect("an answer");
    let away = get("redirect?to=http://10.0.0.1/x&status=307").await;
    assert_eq!((away.status().as_u16(), &away.headers()["location"]), (307, &HeaderValue::from_static("http://10.0.0.1/x")));
    for (path, length) in [("big?bytes=150000", Some(150_000)), ("big?bytes=150000&length=0", None)] {
        let big = get(path).await;
        assert_eq!(big.content_length(), length);
        assert_eq!(big.bytes().await.expect("all of it").len(), 150_000);
    }
    assert_eq!((get("status/418").await.status().as_u16(), get("status/204").await.status().as_u16()), (418, 204));
    assert!(get("html").await.text().await.expect("text").contains("<h1>A page</h1>"));
    assert_eq!((get("slow?ms=1").await.status().as_u16(), get("none").await.status().as_u16()), (200, 404));
    let hits = sandbox.hits();
    assert_eq!((hits.len(), &hits[0]["path"], &hits[0]["method"]), (9, &json!("/web/echo"), &json!("PATCH")));
}
