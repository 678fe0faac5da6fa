//! Anthropic's Messages API, as Anthropic and servers that imitate it speak it: `POST {base}/messages`. What it accepts is described at
//! <https://platform.claude.com/docs/en/api/messages> and, for thinking, <https://platform.claude.com/docs/en/build-with-claude/thinking>.

use serde::Serialize;
use serde_json::{Value, json};

use super::failure::{failure, parse};
use super::{call, essence};
use crate::agent::{Call, CallResult, Failure, Part, Prompt, Reply, Role, Thinking, Turn, Usage};

/// Tokens for the answer where the agent sets none: the API insists on a number.
const ANSWER_TOKENS: u64 = 4096;

/// Where it is asked; `base` ends in the version, e.g. `https://api.anthropic.com/v1`. The model is named in the body.
pub fn url(base: &str, _model: &str) -> String {
    format!("{base}/messages")
}

/// The headers beside `content-type`; they hold the key.
pub fn headers(key: &str) -> Vec<(&'static str, String)> {
    vec![("x-api-key", key.to_owned()), ("anthropic-version", "2023-06-01".to_owned())]
}

/// The body of the request.
pub fn request(prompt: &Prompt) -> Value {
    let version = version(&prompt.model);
    // From 4.7 on, Claude decides itself how much it thinks within an effort; a budget or a temperature is answered with 400.
    let adaptive = version.is_some_and(|v| v >= (4, 7));
    let mut messages = conversation(&prompt.turns);
    let open = open_turn(&messages);
    let thinking = prompt.thinking.filter(|_| adaptive || thinking_fits(&messages[open..]));
    // Older thoughts may be left out, and better are: their signatures stand for a request that has changed since. An older Claude
    // refuses them altogether while it does not think.
    let unwanted = if thinking.is_none() && version.is_some() && !adaptive { messages.len() } else { open };
    messages[..unwanted].iter_mut().for_each(|message| message.content.retain(|block| !is_thinking(block)));

    let mut body = json!({"model": prompt.model, "max_tokens": prompt.max_tokens.unwrap_or(ANSWER_TOKENS), "messages": messages});
    if !prompt.system.trim().is_empty() {
        body["system"] = json!(prompt.system);
    }
    offer_tools(&mut body, prompt);
    match thinking {
        Some(thinking) => {
            // Thoughts count as written: without room of their own they would use up the answer's.
            body["max_tokens"] = json!(budget(thinking) + prompt.max_tokens.unwrap_or(ANSWER_TOKENS));
            if adaptive {
                body["thinking"] = json!({"type": "adaptive"});
                body["output_config"] = json!({"effort": effort(thinking)});
            } else {
                body["thinking"] = json!({"type": "enabled", "budget_tokens": budget(thinking)});
            }
        }
        // Some of these think unasked, at high effort.
        None if adaptive => body["max_tokens"] = json!(prompt.max_tokens.unwrap_or(ANSWER_TOKENS + budget(Thinking::High))),
        None => {
            if let Some(temperature) = prompt.temperature {
                body["temperature"] = json!(temperature.clamp(0.0, 1.0));
            }
        }
    }
    body
}

/// The version that a Claude model has in its name: `claude-3-7-sonnet-20250219` is 3.7, `claude-opus-4-8` 4.8, `claude-sonnet-5` 5.0.
fn version(model: &str) -> Option<(u32, u32)> {
    let (_, name) = model.rsplit_once("claude-")?;
    // A date is no version.
    let mut numbers = name.split(['-', '.', '@', ':']).filter_map(|part| part.parse().ok()).filter(|number| *number < 100);
    Some((numbers.next()?, numbers.next().unwrap_or(0)))
}

fn budget(thinking: Thinking) -> u64 {
    match thinking {
        Thinking::Minimal => 1024,
        Thinking::Low => 2048,
        Thinking::Medium => 8192,
        Thinking::High => 16384,
    }
}

fn effort(thinking: Thinking) -> &'static str {
    match thinking {
        Thinking::Minimal | Thinking::Low => "low",
        Thinking::Medium => "medium",
        Thinking::High => "high",
    }
}

fn offer_tools(body: &mut Value, prompt: &Prompt) {
    let mut tools: Vec<Value> =
        prompt.tools.iter().map(|t| json!({"name": t.name, "description": t.description, "input_schema": t.parameters})).collect();
    let mut choice = "auto";
    if tools.is_empty() {
        // A history with tool calls is refused unless tools are declared, even where none may be called any more.
        choice = "none";
        let calls = prompt.turns.iter().filter_map(|turn| if let Turn::Calls { calls, .. } = turn { Some(calls) } else { None }).flatten();
        for Call { name, .. } in calls {
            if !tools.iter().any(|tool| tool["name"] == *name) {
                tools.push(json!({"name": name, "description": "Not available any more.", "input_schema": {"type": "object"}}));
            }
        }
    }
    if !tools.is_empty() {
        body["tools"] = json!(tools);
        body["tool_choice"] = json!({"type": choice});
    }
}

#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: Vec<Value>,
}

/// The turns in the order that the API insists on: the user first and last, and in alternation.
fn conversation(turns: &[Turn]) -> Vec<Message> {
    let mut messages = Vec::new();
    for turn in turns {
        match turn {
            Turn::Said { role: Role::User, parts } => push(&mut messages, "user", parts.iter().filter_map(block).collect()),
            // Files are the user's only.
            Turn::Said { role: Role::Assistant, parts } => {
                let texts = parts.iter().filter(|part| matches!(part, Part::Text { .. }));
                push(&mut messages, "assistant", texts.filter_map(block).collect());
            }
            Turn::Calls { text, calls, state } => push(&mut messages, "assistant", call_blocks(text, calls, state.as_ref())),
            Turn::Results { results } => push(&mut messages, "user", results.iter().map(result_block).collect()),
        }
    }
    if messages.first().is_some_and(|message| message.role == "assistant") {
        messages.insert(0, Message { role: "user", content: vec![text_block("(the conversation begins with our message)")] });
    }
    // Newer models do not continue a message of theirs.
    if messages.last().is_none_or(|message| message.role == "assistant") {
        push(&mut messages, "user", vec![text_block("(continue)")]);
    }
    messages
}

fn push(messages: &mut Vec<Message>, role: &'static str, blocks: Vec<Value>) {
    match (messages.last_mut(), blocks.first()) {
        (_, None) => {}
        // Thoughts come first in their message; and when the model had them, it had been asked to go on.
        (Some(last), Some(first)) if last.role == role && is_thinking(first) => {
            messages.push(Message { role: "user", content: vec![text_block("(continue)")] });
            messages.push(Message { role, content: blocks });
        }
        (Some(last), _) if last.role == role => last.content.extend(blocks),
        _ => messages.push(Message { role, content: blocks }),
    }
}

fn text_block(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// What the model can read of it; blank texts are refused by the API.
fn block(part: &Part) -> Option<Value> {
    match part {
        Part::Text { text } => (!text.trim().is_empty()).then(|| text_block(text)),
        Part::File { mime_type, name, data } => {
            let mime_type = essence(mime_type);
            let source = json!({"type": "base64", "media_type": mime_type, "data": data});
            match mime_type.as_str() {
                "image/jpeg" | "image/png" | "image/gif" | "image/webp" => Some(json!({"type": "image", "source": source})),
                "application/pdf" => {
                    let mut document = json!({"type": "document", "source": source});
                    if let Some(name) = name.as_deref().filter(|name| !name.is_empty()) {
                        document["title"] = json!(name.chars().take(500).collect::<String>());
                    }
                    Some(document)
                }
                _ => None,
            }
        }
    }
}

/// The calls with what the model said and thought beside them. Thoughts have to stay exactly where they were, so the message is returned
/// as it came where it still holds the same calls.
fn call_blocks(text: &str, calls: &[Call], state: Option<&Value>) -> Vec<Value> {
    let ours = state.filter(|state| state["protocol"] == "messages").and_then(|state| state["content"].as_array());
    let came = ours.map_or(&[][..], Vec::as_slice);
    let ids = came.iter().filter(|block| block["type"] == "tool_use").map(|block| block["id"].as_str().unwrap_or_default());
    if ids.eq(calls.iter().map(|call| call.id.as_str())) {
        let blank = |block: &Value| block["type"] == "text" && block["text"].as_str().is_none_or(|text| text.trim().is_empty());
        return came.iter().filter(|block| !blank(block)).cloned().collect();
    }
    let mut blocks: Vec<Value> = came.iter().filter(|block| is_thinking(block)).cloned().collect();
    if !text.trim().is_empty() {
        blocks.push(text_block(text));
    }
    blocks.extend(calls.iter().map(|c| json!({"type": "tool_use", "id": tool_id(&c.id), "name": c.name, "input": c.object()})));
    blocks
}

fn result_block(result: &CallResult) -> Value {
    // An error without words is refused.
    let content = if result.content.trim().is_empty() { "(nothing)" } else { &result.content };
    json!({"type": "tool_result", "tool_use_id": tool_id(&result.id), "content": content, "is_error": result.is_error})
}

/// An id as the API accepts it, `^[a-zA-Z0-9_-]+$`: other protocols are freer. Different ids stay different.
fn tool_id(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || "_-".contains(c) { c.to_string() } else { format!("-{:x}-", c as u32) }).collect()
}

fn is_thinking(block: &Value) -> bool {
    matches!(block["type"].as_str(), Some("thinking" | "redacted_thinking"))
}

fn is_result(block: &Value) -> bool {
    block["type"] == "tool_result"
}

/// Where the model's present turn begins: behind the last message of the user's that answers no calls.
fn open_turn(messages: &[Message]) -> usize {
    messages.iter().rposition(|m| m.role == "user" && !m.content.iter().any(is_result)).map_or(0, |asked| asked + 1)
}

/// Whether the API would accept thinking: it refuses to turn it on in the middle of a turn, so a turn that waits for results has to begin
/// with thoughts, and so does what follows words of the user's in it.
fn thinking_fits(turn: &[Message]) -> bool {
    let anew = |index: usize| index == 0 || !turn[index - 1].content.iter().all(is_result);
    turn.iter().enumerate().all(|(index, m)| m.role == "user" || !anew(index) || m.content.first().is_some_and(is_thinking))
}

/// What the model answered, from the status, the seconds of `retry-after` and the body.
///
/// # Errors
/// See [`Failure`].
pub fn response(status: u16, retry_after: Option<f64>, body: &[u8]) -> Result<Reply, Failure> {
    if !(200..300).contains(&status) {
        return Err(failure(status, retry_after, body));
    }
    let body = parse(body)?;
    let Some(content) = body["content"].as_array() else {
        return Err(Failure::Later(None, "the model's answer holds no content".to_owned()));
    };
    let text: String = content.iter().filter(|block| block["type"] == "text").filter_map(|block| block["text"].as_str()).collect();
    let text = text.trim().to_owned();
    let uses = content.iter().filter(|block| block["type"] == "tool_use").enumerate();
    let calls: Vec<Call> =
        uses.map(|(index, block)| call(&block["id"], block["name"].as_str().unwrap_or_default(), &block["input"], index)).collect();

    // A call that was cut off lacks some of its arguments: it must not be made.
    let useless = (text.is_empty() && calls.is_empty()) || content.last().is_some_and(|block| block["type"] == "tool_use");
    match body["stop_reason"].as_str() {
        Some("refusal") => {
            let why = body["stop_details"]["explanation"].as_str().map(|why| format!(": {}", why.chars().take(300).collect::<String>()));
            return Err(Failure::Hopeless(format!("the model refused to answer (stop_reason refusal){}", why.unwrap_or_default())));
        }
        Some("max_tokens") if useless => {
            let text = "the model used up its tokens before it had answered (stop_reason max_tokens): raise max_tokens";
            return Err(Failure::Hopeless(text.to_owned()));
        }
        Some("model_context_window_exceeded") if useless => {
            let text = "the conversation leaves the model no room to answer (stop_reason model_context_window_exceeded)";
            return Err(Failure::TooLong(text.to_owned()));
        }
        _ => {}
    }
    let thought = !calls.is_empty() && content.iter().any(is_thinking);
    let state = thought.then(|| json!({"protocol": "messages", "content": content}));
    Ok(Reply { text, calls, state, usage: usage(&body["usage"]) })
}

fn usage(usage: &Value) -> Usage {
    let tokens = |key: &str| usage[key].as_u64().unwrap_or_default();
    let (cache_read, cache_write) = (tokens("cache_read_input_tokens"), tokens("cache_creation_input_tokens"));
    Usage {
        // The API counts the cache beside the input.
        input: tokens("input_tokens") + cache_read + cache_write,
        cache_read,
        cache_write,
        output: tokens("output_tokens"),
        reasoning: usage["output_tokens_details"]["thinking_tokens"].as_u64().unwrap_or_default(),
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Turn {
        Turn::said(Role::User, text)
    }

    fn thought() -> Value {
        json!({"type": "thinking", "thinking": "hm", "signature": "s="})
    }

    /// Calls of a tool `t`, with thoughts where there are some.
    fn calls(id: &str, thoughts: &[Value]) -> Turn {
        let state = (!thoughts.is_empty()).then(|| {
            let mut content = thoughts.to_vec();
            content.push(json!({"type": "tool_use", "id": id, "name": "t", "input": {}}));
            json!({"protocol": "messages", "content": content})
        });
        Turn::Calls { text: String::new(), calls: vec![Call { id: id.into(), name: "t".into(), arguments: json!({}) }], state }
    }

    fn results(id: &str) -> Turn {
        Turn::Results { results: vec![CallResult { id: id.into(), name: "t".into(), content: String::new(), is_error: false }] }
    }

    fn asked(model: &str, thinking: Option<Thinking>, turns: Vec<Turn>) -> Value {
        request(&Prompt { model: model.into(), turns, thinking, temperature: Some(1.5), ..Prompt::default() })
    }

    /// The types of the blocks, e.g. `user text/assistant tool_use`.
    fn blocks(body: &Value) -> String {
        let messages = body["messages"].as_array().expect("messages").iter();
        let blocks = messages.map(|m| {
            let types: Vec<_> = m["content"].as_array().expect("blocks").iter().filter_map(|b| b["type"].as_str()).collect();
            format!("{} {}", m["role"].as_str().unwrap_or_default(), types.join("+"))
        });
        blocks.collect::<Vec<_>>().join("/")
    }

    #[test]
    fn versions() {
        let newest = ["claude-opus-4-7", "claude-opus-4-8", "claude-sonnet-5", "claude-opus-5-5", "anthropic/claude-4.7-opus", "claude-fable-5"];
        assert!(newest.iter().all(|name| version(name) >= Some((4, 7))));
        let older = ["claude-sonnet-4-6", "claude-opus-4-20250514", "claude-3-7-sonnet-20250219", "claude-haiku-4-5@20251001"];
        assert_eq!(older.map(version), [Some((4, 6)), Some((4, 0)), Some((3, 7)), Some((4, 5))]);
        assert_eq!(version("kimi-k2"), None);
    }

    #[test]
    fn models_differ_in_thinking() {
        let budget = asked("claude-sonnet-4-6", Some(Thinking::Medium), vec![said("a")]);
        assert_eq!(budget["thinking"], json!({"type": "enabled", "budget_tokens": 8192}));
        assert_eq!((&budget["max_tokens"], budget.get("temperature")), (&json!(8192 + 4096), None));
        let effort = asked("claude-opus-4-8", Some(Thinking::Minimal), vec![said("a")]);
        assert_eq!((&effort["thinking"], &effort["output_config"]), (&json!({"type": "adaptive"}), &json!({"effort": "low"})));
        assert_eq!(effort.get("temperature"), None);
        let unasked = asked("claude-sonnet-5", None, vec![said("a")]);
        assert_eq!((unasked.get("thinking"), unasked.get("temperature"), &unasked["max_tokens"]), (None, None, &json!(20480)));
        let plain = asked("claude-sonnet-4-6", None, vec![said("a")]);
        assert_eq!((&plain["temperature"], &plain["max_tokens"]), (&json!(1.0), &json!(4096)));
    }

    #[test]
    fn thoughts_return_while_their_turn_lasts() {
        let history = || vec![said("a"), calls("1", &[thought()]), results("1"), said("b"), calls("2", &[thought()]), results("2")];
        let old = "user text/assistant tool_use/user tool_result+text/assistant";
        // What the user said beside the results may or may not have begun a turn: the API decides, so all is kept.
        let body = asked("claude-sonnet-4-6", Some(Thinking::Low), history());
        assert_eq!(blocks(&body), "user text/assistant thinking+tool_use/user tool_result+text/assistant thinking+tool_use/user tool_result");
        assert_eq!(body["messages"][1]["content"][0], thought());
        assert_eq!(blocks(&asked("claude-sonnet-4-6", None, history())), format!("{old} tool_use/user tool_result"));
        assert!(blocks(&asked("claude-opus-5", None, history())).ends_with("assistant thinking+tool_use/user tool_result"));
        let mut answered = history();
        answered.extend([Turn::said(Role::Assistant, "c"), said("d")]);
        assert!(!blocks(&asked("claude-opus-5", None, answered)).contains("thinking"));
        // Later calls of a turn may come without thoughts of their own.
        let later = vec![said("a"), calls("1", &[thought()]), results("1"), calls("2", &[]), results("2")];
        assert!(asked("claude-sonnet-4-6", Some(Thinking::Low), later).get("thinking").is_some());
    }

    #[test]
    fn no_thinking_in_the_middle_of_a_turn() {
        let turns = || vec![said("a"), calls("1", &[]), results("1")];
        let body = asked("claude-sonnet-4-6", Some(Thinking::High), turns());
        assert_eq!((body.get("thinking"), &body["max_tokens"], &body["temperature"]), (None, &json!(4096), &json!(1.0)));
        assert!(asked("claude-opus-4-7", Some(Thinking::High), turns()).get("thinking").is_some());
        let unthinking = vec![said("a"), calls("1", &[thought()]), results("1"), said("b"), calls("2", &[]), results("2")];
        assert!(asked("claude-sonnet-4-6", Some(Thinking::High), unthinking).get("thinking").is_none());
    }

    #[test]
    fn thoughts_begin_their_message() {
        let turns = vec![said("a"), Turn::said(Role::Assistant, "wait"), calls("1", &[thought()]), results("1")];
        let body = asked("claude-sonnet-4-6", Some(Thinking::Low), turns);
        assert_eq!(blocks(&body), "user text/assistant text/user text/assistant thinking+tool_use/user tool_result");
    }

    #[test]
    fn other_protocols_calls() {
        let mut other = calls("call:1", &[]);
        if let Turn::Calls { state, .. } = &mut other {
            *state = Some(json!({"protocol": "generate_content", "content": [thought()], "parts": []}));
        }
        let body = asked("claude-sonnet-4-6", None, vec![said("a"), other, results("call:1")]);
        assert_eq!(body["messages"][1]["content"], json!([{"type": "tool_use", "id": "call-3a-1", "name": "t", "input": {}}]));
        assert_eq!(body["messages"][2]["content"][0]["tool_use_id"], "call-3a-1");
        assert_eq!(body["messages"][2]["content"][0]["content"], "(nothing)");
        assert_eq!((&body["tools"][0]["name"], &body["tool_choice"]), (&json!("t"), &json!({"type": "none"})));
    }

    #[test]
    fn nothing_to_say() {
        let body = asked("m", None, vec![said(" ")]);
        assert_eq!(body["messages"], json!([{"role": "user", "content": [{"type": "text", "text": "(continue)"}]}]));
    }
}
