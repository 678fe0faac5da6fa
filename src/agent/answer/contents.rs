//! From the arguments of `respond` to contents.

use serde_json::{Map, Value, json};

use super::{interactive, markers};
use crate::whatsapp::to_whatsapp;

/// For what has no limit of its own.
const ANY: usize = usize::MAX;
/// The most characters of a caption, Markdown's markers not counted.
const CAPTION: usize = 1024;
/// Where a file may be: in our storage, or at a public link.
const PLACES: [&str; 2] = ["internal://media/organizations/", "https://"];

/// Contents (version "1") of the messages of a `respond` call, in order; none when it has none, which is how a model
/// says nothing. `reply_to` is the `external_id` of the message that reactions go to. Files have the kind `document` and
/// no `mime_type`: what they are is known where they lie.
///
/// The error tells the model all that is wrong, a line for each message, by its position:
/// `messages[1].buttons[0].title has 24 characters; at most 20`.
pub fn contents(arguments: &Value, reply_to: Option<&str>) -> Result<Vec<Value>, String> {
    if !arguments.is_object() {
        return Err(r#"the arguments are no JSON object; give {"messages": [{"type": "text", "text": "…"}]}"#.to_owned());
    }
    let (mut contents, mut wrong) = (Vec::new(), Vec::new());
    let messages = listed(&arguments["messages"]);
    if messages.len() > MESSAGES {
        return Err(format!("messages holds {} messages; at most {MESSAGES}", messages.len()));
    }
    for (i, one) in messages.iter().enumerate() {
        match message(one, reply_to) {
            Ok(mut made) => contents.append(&mut made),
            Err(error) => wrong.push(format!("messages[{i}].{error}")),
        }
    }
    if wrong.is_empty() { Ok(contents) } else { Err(wrong.join("\n")) }
}

/// How many messages an answer may have.
const MESSAGES: usize = 10;

/// The messages. Some models give one in place of the list, or write the list into a string.
fn listed(messages: &Value) -> Vec<Value> {
    match messages {
        Value::Null => Vec::new(),
        Value::Array(list) => list.clone(),
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| vec![messages.clone()]),
        one => vec![one.clone()],
    }
}

/// The contents of one message. Errors begin with the field.
fn message(message: &Value, reply_to: Option<&str>) -> Result<Vec<Value>, String> {
    if let Some(text) = message.as_str() {
        return Ok(super::text(text));
    }
    let content = match message["type"].as_str() {
        Some("text") => return message["text"].as_str().map(super::text).ok_or_else(|| "text is required".to_owned()),
        Some("file") => file(message)?,
        Some("reaction") => reaction(message, reply_to)?,
        Some("buttons") => data("interactive", interactive::buttons(message)?),
        Some("list") => data("interactive", interactive::list(message)?),
        Some("template") => data("template", template(message)?),
        Some(other) => return Err(format!("type is {other}; there are text, file, reaction, buttons, list and template")),
        None => return Err("type is required: text, file, reaction, buttons, list or template".to_owned()),
    };
    Ok(vec![content])
}

fn data(kind: &str, data: Value) -> Value {
    json!({"version": "1", "type": "data", "kind": kind, "data": data})
}

/// A string with something in it, trimmed, of at most so many characters. They are counted in UTF-16 units, the larger
/// of the two readings of "characters".
pub(super) fn required(object: &Value, name: &str, most: usize) -> Result<String, String> {
    optional(object, name, most)?.ok_or_else(|| format!("{name} is required"))
}

/// The same, or nothing. Numbers count as their text.
pub(super) fn optional(object: &Value, name: &str, most: usize) -> Result<Option<String>, String> {
    let text = match &object[name] {
        Value::Null => return Ok(None),
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return Err(format!("{name} must be a text")),
    };
    let length = text.encode_utf16().count();
    if length > most {
        return Err(format!("{name} has {length} characters; at most {most}"));
    }
    Ok(Some(text).filter(|t| !t.is_empty()))
}

fn file(message: &Value) -> Result<Value, String> {
    let uri = required(message, "uri", ANY)?;
    let known = PLACES.iter().any(|place| uri.len() > place.len() && uri.starts_with(place));
    if !known || uri.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("uri must begin with {} (a file of this conversation) or {}", PLACES[0], PLACES[1]));
    }
    let mut content = json!({"version": "1", "type": "file", "kind": "document", "file": {"uri": uri}});
    if let Some(name) = optional(message, "name", ANY)? {
        content["file"]["name"] = json!(name);
    }
    let caption = optional(message, "text", ANY)?.map(|t| markers::without(&t)).filter(|t| !t.is_empty());
    if let Some(caption) = caption {
        let length = to_whatsapp(&caption).encode_utf16().count();
        if length > CAPTION {
            return Err(format!("text has {length} characters; at most {CAPTION} with a file, the rest as a message of type text"));
        }
        content["text"] = json!(caption);
    }
    Ok(content)
}

fn reaction(message: &Value, reply_to: Option<&str>) -> Result<Value, String> {
    let Some(reply_to) = reply_to else {
        return Err("type cannot be reaction: there is no message of the customer's to react to".to_owned());
    };
    let emoji = required(message, "emoji", ANY)?;
    // Words and names (":thumbsup:") WhatsApp refuses; emojis of many parts have some ten characters.
    if emoji.is_ascii() || emoji.contains(|c: char| c.is_alphabetic()) || emoji.chars().count() > 16 {
        return Err("emoji must be one emoji, for example 👍".to_owned());
    }
    Ok(json!({"version": "1", "type": "text", "kind": "reaction", "text": emoji, "re_message_id": reply_to}))
}

fn template(message: &Value) -> Result<Value, String> {
    let name = required(message, "name", 512)?;
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Err("name must be that of a template: small letters, digits and _".to_owned());
    }
    let language = required(message, "language", ANY)?;
    let mut data = json!({"name": name, "language": {"code": language, "policy": "deterministic"}});
    let parameters = match &message["parameters"] {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().enumerate().map(|(i, value)| parameter(&format!("[{i}]"), value)).collect::<Result<_, _>>()?,
        Value::Object(values) => named(values)?,
        _ => return Err("parameters must be a list of texts, or an object of them by name".to_owned()),
    };
    if !parameters.is_empty() {
        data["components"] = json!([{"type": "body", "parameters": parameters}]);
    }
    Ok(data)
}

/// Values by name; by number ({{1}}, {{2}}…) they are a list, which is how WhatsApp wants them.
fn named(values: &Map<String, Value>) -> Result<Vec<Value>, String> {
    let bare = |name: &str| name.trim_matches(|c: char| c == '{' || c == '}' || c.is_whitespace()).to_owned();
    let numbers: Option<Vec<usize>> = values.keys().map(|name| bare(name).parse().ok()).collect();
    let mut parameters = Vec::new();
    for (name, value) in values {
        let mut parameter = parameter(&format!(".{name}"), value)?;
        if numbers.is_none() {
            parameter["parameter_name"] = json!(bare(name));
        }
        parameters.push(parameter);
    }
    let Some(numbers) = numbers else { return Ok(parameters) };
    let mut numbered: Vec<(usize, Value)> = numbers.into_iter().zip(parameters).collect();
    numbered.sort_by_key(|(number, _)| *number);
    if numbered.iter().enumerate().any(|(i, (number, _))| *number != i + 1) {
        return Err("parameters must be numbered from 1, without a gap".to_owned());
    }
    Ok(numbered.into_iter().map(|(_, parameter)| parameter).collect())
}

/// One value. WhatsApp refuses line breaks, tabs and runs of spaces in it, so all of them become one space.
fn parameter(place: &str, value: &Value) -> Result<Value, String> {
    let text = match value {
        Value::String(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => return Err(format!("parameters{place} must be a text")),
    };
    if text.is_empty() { Err(format!("parameters{place} is empty")) } else { Ok(json!({"type": "text", "text": text})) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(message: Value) -> Value {
        let mut all = contents(&json!({"messages": [message]}), Some("wamid.1")).expect("contents");
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn error(message: Value) -> String {
        contents(&json!({"messages": [message]}), None).expect_err("an error")
    }

    #[test]
    fn nothing() {
        for silence in [json!({}), json!({"messages": null}), json!({"messages": []}), json!({"messages": [{"type": "text", "text": " "}]})] {
            assert_eq!(contents(&silence, None), Ok(vec![]), "{silence}");
        }
    }

    #[test]
    fn texts() {
        let said = json!({"version": "1", "type": "text", "kind": "text", "text": "**Hi**"});
        for arguments in [
            json!({"messages": [{"type": "text", "text": "**Hi**"}]}),
            json!({"messages": ["<agent>**Hi**</agent>"]}),
            json!({"messages": "**Hi**"}),
            json!({"messages": {"type": "text", "text": "**Hi**"}}),
            json!({"messages": "[{\"type\": \"text\", \"text\": \"**Hi**\"}]"}),
        ] {
            assert_eq!(contents(&arguments, None), Ok(vec![said.clone()]), "{arguments}");
        }
        let long = contents(&json!({"messages": ["first", {"type": "text", "text": "word ".repeat(1000)}, "last"]}), None).expect("contents");
        assert_eq!((long.len(), &long[0]["text"], &long[3]["text"]), (4, &json!("first"), &json!("last")));
    }

    #[test]
    fn files() {
        assert_eq!(
            one(json!({"type": "file", "uri": "internal://media/organizations/o/attachments/x", "name": "offer.pdf", "text": "the *offer*"})),
            json!({"version": "1", "type": "file", "kind": "document", "text": "the *offer*",
                "file": {"uri": "internal://media/organizations/o/attachments/x", "name": "offer.pdf"}})
        );
        assert_eq!(one(json!({"type": "file", "uri": "https://a.example/b.png"}))["file"], json!({"uri": "https://a.example/b.png"}));
        for uri in ["", "https://", "http://a.example", "internal://media/x", "file:///etc/passwd", "1013859600285441", "https://a.example/ b"] {
            assert!(error(json!({"type": "file", "uri": uri})).starts_with("messages[0].uri"), "{uri}");
        }
        let long = json!({"type": "file", "uri": "https://a.example/b", "text": "x".repeat(1025)});
        assert!(error(long).starts_with("messages[0].text has 1025 characters; at most 1024"));
        let bold = format!("**{}**", "x".repeat(1022));
        assert_eq!(one(json!({"type": "file", "uri": "https://a.example/b", "text": bold}))["text"], bold);
    }

    #[test]
    fn reactions() {
        for emoji in ["👍", "👩‍👩‍👧‍👦", "1️⃣", "❤️"] {
            assert_eq!(
                one(json!({"type": "reaction", "emoji": emoji})),
                json!({"version": "1", "type": "text", "kind": "reaction", "text": emoji, "re_message_id": "wamid.1"})
            );
        }
        assert!(error(json!({"type": "reaction", "emoji": "👍"})).contains("no message of the customer's"));
        for bad in ["", ":thumbsup:", "ok", "👍 danke schön"] {
            let error = contents(&json!({"messages": [{"type": "reaction", "emoji": bad}]}), Some("wamid.1")).expect_err("an error");
            assert!(error.starts_with("messages[0].emoji"), "{bad}");
        }
    }

    #[test]
    fn templates() {
        let of = |parameters: Value| one(json!({"type": "template", "name": "hi_1", "language": "en", "parameters": parameters}));
        assert_eq!(
            of(json!(["Ana\n", 2])),
            json!({"version": "1", "type": "data", "kind": "template", "data": {
                "name": "hi_1", "language": {"code": "en", "policy": "deterministic"},
                "components": [{"type": "body", "parameters": [{"type": "text", "text": "Ana"}, {"type": "text", "text": "2"}]}]}})
        );
        assert_eq!(of(json!({"{{2}}": "2", "1": "Ana"})), of(json!(["Ana", "2"])));
        assert_eq!(
            of(json!({"first_name": "Ana  B"}))["data"]["components"][0]["parameters"],
            json!([{"type": "text", "text": "Ana B", "parameter_name": "first_name"}])
        );
        for none in [json!(null), json!([]), json!({})] {
            assert_eq!(of(none)["data"], json!({"name": "hi_1", "language": {"code": "en", "policy": "deterministic"}}));
        }
        for (bad, field) in [
            (json!({"language": "en"}), "name is required"),
            (json!({"name": "Hi", "language": "en"}), "name must"),
            (json!({"name": "hi"}), "language is required"),
            (json!({"name": "hi", "language": "en", "parameters": "x"}), "parameters must be a list"),
            (json!({"name": "hi", "language": "en", "parameters": ["x", null]}), "parameters[1] must be a text"),
            (json!({"name": "hi", "language": "en", "parameters": {"a": " "}}), "parameters.a is empty"),
            (json!({"name": "hi", "language": "en", "parameters": {"1": "a", "3": "b"}}), "parameters must be numbered"),
        ] {
            let mut message = bad;
            message["type"] = json!("template");
            assert!(error(message).starts_with(&format!("messages[0].{field}")), "{field}");
        }
    }

    #[test]
    fn all_errors_at_once() {
        let arguments = json!({"messages": ["fine", {"type": "image"}, {"text": "x"}, {"type": "text"}, 5]});
        assert_eq!(
            contents(&arguments, None).expect_err("an error"),
            "messages[1].type is image; there are text, file, reaction, buttons, list and template\n\
             messages[2].type is required: text, file, reaction, buttons, list or template\n\
             messages[3].text is required\n\
             messages[4].type is required: text, file, reaction, buttons, list or template"
        );
        for none in [json!("{\"messages\": "), json!([]), json!(null)] {
            assert!(contents(&none, None).is_err_and(|e| e.contains("no JSON object")));
        }
    }
}
