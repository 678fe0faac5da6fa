//! A server of `rmcp` on a port of its own.

use std::{
    borrow::Cow,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult, PaginatedRequestParams, ProtocolVersion, Resource,
        ResourceContents, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
    },
    service::RequestContext,
    transport::{
        StreamableHttpServerConfig, StreamableHttpService,
        streamable_http_server::session::{SessionManager, local::LocalSessionManager, never::NeverSessionManager},
    },
};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

/// How a server answers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    Json,
    Events,
    Sessions,
    /// Of revision 2026-07-28, and of no other.
    Modern,
}

pub struct Server {
    pub url: String,
    asked: Log,
    clients: Log,
}

type Log = Arc<Mutex<Vec<String>>>;

impl Server {
    pub async fn start(kind: Kind) -> Self {
        let (asked, clients) = (Log::default(), Log::default());
        let shop = Shop { kind, clients: clients.clone() };
        let config = StreamableHttpServerConfig::default().with_legacy_session_mode(kind == Kind::Sessions).with_json_response(kind == Kind::Json);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
        let shop = move || Ok(shop.clone());
        if kind == Kind::Sessions {
            let sessions = Arc::new(LocalSessionManager::default());
            tokio::spawn(serve(listener, asked.clone(), StreamableHttpService::new(shop, sessions, config)));
        } else {
            let none = Arc::new(NeverSessionManager::default());
            tokio::spawn(serve(listener, asked.clone(), StreamableHttpService::new(shop, none, config)));
        }
        Self { url, asked, clients }
    }

    /// Requests without their bodies.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("a lock").clone()
    }

    /// Names of clients, each once.
    pub fn clients(&self) -> Vec<String> {
        let mut clients = self.clients.lock().expect("a lock").clone();
        clients.dedup();
        clients
    }
}

async fn serve<M: SessionManager>(listener: TcpListener, asked: Log, service: StreamableHttpService<Shop, M>) {
    while let Ok((socket, _)) = listener.accept().await {
        let (service, asked) = (service.clone(), asked.clone());
        let answer = service_fn(move |request: Request<Incoming>| {
            let headers: Vec<String> = request.headers().iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap_or("?"))).collect();
            asked.lock().expect("a lock").push(format!("{} {}", request.method(), headers.join(", ")));
            let service = service.clone();
            async move { Ok::<_, Infallible>(service.handle(request).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), answer));
    }
}

#[derive(Clone)]
struct Shop {
    kind: Kind,
    clients: Log,
}

impl ServerHandler for Shop {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        match self.kind {
            Kind::Modern => Cow::Borrowed(&[ProtocolVersion::V_2026_07_28]),
            _ => Cow::Borrowed(ProtocolVersion::KNOWN_VERSIONS),
        }
    }

    async fn list_tools(&self, page: Option<PaginatedRequestParams>, context: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        let known = context.peer.peer_info().map(|client| client.client_info.name.clone());
        let name = context.meta.client_info().map(|client| client.name).or(known).unwrap_or_default();
        if !name.is_empty() {
            self.clients.lock().expect("a lock").push(name);
        }
        let page: usize = page.and_then(|p| p.cursor).map_or(0, |c| c.parse().expect("a cursor of ours"));
        let echo = json!({"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}});
        let mut tools = vec![tool("echo", "Repeats", echo).with_annotations(ToolAnnotations::new().read_only(true))];
        tools.extend((1..25).map(|n| tool(&format!("tool-{page}-{n}"), &format!("Does {n}"), json!({"type": "object"}))));
        // Without an end: whoever reads it has to make one.
        let mut result = ListToolsResult::with_all_items(tools);
        result.next_cursor = Some((page + 1).to_string());
        Ok(result)
    }

    async fn call_tool(&self, call: CallToolRequestParams, _: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let text = ContentBlock::text;
        let result = match &*call.name {
            "echo" => CallToolResult::structured(Value::Object(call.arguments.unwrap_or_default())),
            "fails" => CallToolResult::error(vec![text("no such order")]),
            "blocks" => CallToolResult::success(vec![
                text("7"),
                text(""),
                text("[7]"),
                ContentBlock::image("aW1h\nZ2U", "image/png"),
                ContentBlock::audio("c291bmQ=", "audio/wav"),
                ContentBlock::resource(ResourceContents::text("# Notes", "file:///a/notes.md?x#y").with_mime_type("text/markdown")),
                ContentBlock::resource(ResourceContents::blob("cmF3", "shop:raw")),
                ContentBlock::resource_link(Resource::new("https://a.example/b.pdf", "b.pdf")),
                ContentBlock::image("?", "image/png"),
            ]),
            "long" => CallToolResult::success(vec![text("a"), text(&"é".repeat(40_000)), text("dropped")]),
            "many" => CallToolResult::success(vec![text("a"); 1_000]),
            "longer" => CallToolResult::success(vec![text(&"a".repeat(5_000_000))]),
            _ => return Err(ErrorData::invalid_params("no tool of that name, top-secret", None)),
        };
        Ok(CallToolResponse::Complete(result))
    }
}

fn tool(name: &str, description: &str, schema: Value) -> Tool {
    let schema: Map<String, Value> = serde_json::from_value(schema).expect("an object");
    Tool::new(name.to_owned(), description.to_owned(), schema)
}
