//! How `respond` is offered to a model.

use serde_json::{Value, json};

use crate::agent::turn::Tool;

/// An approved template that a model may send.
#[derive(Clone, PartialEq, Debug)]
pub struct Template {
    /// E.g. `order_sent`.
    pub name: String,
    /// The code of the language it was approved in, e.g. `es_AR`.
    pub language: String,
    /// Its text, with the variables in it.
    pub body: String,
    /// The variables of the body, in order: numbers (`1` or `{{1}}`) or names.
    pub parameters: Vec<String>,
}

/// The pseudo-tool by which a model answers with more than one text, or with something else. `closed`: the customer has
/// not written for 24 hours, so that WhatsApp takes only templates and only they are offered.
pub fn tool(closed: bool, templates: &[Template]) -> Tool {
    let mut sorts = if closed { Vec::new() } else { free() };
    if !templates.is_empty() {
        sorts.push(template(templates));
    }
    let messages = if sorts.is_empty() {
        json!({"type": "array", "description": "Always empty: there is nothing that could be sent.", "items": {"type": "object"}, "maxItems": 0})
    } else {
        json!({"type": "array", "description": "In the order in which the customer gets them; empty to say nothing.", "items": {"anyOf": sorts}})
    };
    Tool {
        name: "respond".to_owned(),
        description: description(closed, templates),
        parameters: json!({"type": "object", "properties": {"messages": messages}, "additionalProperties": false}),
    }
}

fn description(closed: bool, templates: &[Template]) -> String {
    let mut text = "Answers the customer and ends your turn: call it once, with all messages of the answer, and with no other tool.".to_owned();
    if closed {
        text.push_str(" The customer has not written for 24 hours, so only approved templates can be sent now.");
    } else {
        text.push_str(" Use buttons or a list where the customer is to choose; the choice comes back as a message.");
    }
    if templates.is_empty() {
        return text;
    }
    text.push_str("\nTemplates:");
    for Template { name, language, body, parameters } in templates {
        text.push_str(&format!("\n- {name} ({language}): {}", json!(body)));
        if let Some(how) = values(parameters) {
            text.push_str(&format!("; parameters: {how}"));
        }
    }
    text
}

/// The form of a template's parameters: a list where they are numbered, an object where they have names.
fn values(parameters: &[String]) -> Option<String> {
    let bare: Vec<&str> = parameters.iter().map(|p| p.trim_matches(|c: char| c == '{' || c == '}' || c.is_whitespace())).collect();
    let numbered = bare.iter().all(|p| p.bytes().all(|b| b.is_ascii_digit()));
    match bare.len() {
        0 => None,
        many if numbered => Some(format!("a list of {many}, in order")),
        _ => Some(format!("an object with {}", bare.join(", "))),
    }
}

/// What can be said as long as the window is open. `enum` and not `const`, which some providers do not know.
fn free() -> Vec<Value> {
    let text = |description: &str| json!({"type": "string", "description": description});
    let short = |most: usize| json!({"type": "string", "maxLength": most});
    let id = json!({"type": "string", "description": "Comes back with the choice; made from the title where it is left out."});
    let row = closed_object(&[("title", short(24))], &[("id", id.clone()), ("description", short(72))]);
    let rows = json!({"type": "array", "items": row, "minItems": 1, "maxItems": 10});
    let section = closed_object(&[("rows", rows.clone())], &[("title", short(24))]);
    let button = closed_object(&[("title", short(20))], &[("id", id)]);
    let body = |most: usize| json!({"type": "string", "description": "The question. Plain text, no Markdown.", "maxLength": most});
    vec![
        sort("text", &[("text", text("Markdown."))], &[]),
        sort(
            "file",
            &[("uri", text("internal://media/organizations/… as the conversation or a tool named it, or https://…"))],
            &[("name", text("The file name, with its extension.")), ("text", text("A caption of at most 1024 characters."))],
        ),
        sort("reaction", &[("emoji", text("One emoji, put on the customer's last message."))], &[]),
        sort("buttons", &[("text", body(1024)), ("buttons", json!({"type": "array", "items": button, "minItems": 1, "maxItems": 3}))], &[]),
        sort(
            "list",
            &[("text", body(4096)), ("button", json!({"type": "string", "description": "On the button that opens the list.", "maxLength": 20}))],
            &[
                ("rows", rows),
                ("sections", json!({"type": "array", "description": "In place of rows, to group them; at most 10 rows in all.", "items": section})),
            ],
        ),
    ]
}

fn template(templates: &[Template]) -> Value {
    let all = |part: fn(&Template) -> &str| {
        let mut seen: Vec<&str> = templates.iter().map(part).collect();
        seen.sort_unstable();
        seen.dedup();
        json!({"type": "string", "enum": seen})
    };
    let parameters = json!({
        "description": "The values of the template's variables: a list where they are numbered, an object where they have names.",
        "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "object", "additionalProperties": {"type": "string"}}],
    });
    sort("template", &[("name", all(|t| &t.name)), ("language", all(|t| &t.language))], &[("parameters", parameters)])
}

/// The schema of a sort of messages.
fn sort(name: &str, required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let mut all = vec![("type", json!({"type": "string", "enum": [name]}))];
    all.extend_from_slice(required);
    closed_object(&all, optional)
}

/// An object that has no other members.
fn closed_object(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let properties: serde_json::Map<String, Value> =
        required.iter().chain(optional).map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    let required: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(tool: &Tool) -> Vec<String> {
        let sorts = tool.parameters["properties"]["messages"]["items"]["anyOf"].as_array().cloned().unwrap_or_default();
        sorts.iter().filter_map(|s| Some(s["properties"]["type"]["enum"][0].as_str()?.to_owned())).collect()
    }

    fn templates() -> Vec<Template> {
        let of = |name: &str, language: &str, body: &str, parameters: &[&str]| Template {
            name: name.into(),
            language: language.into(),
            body: body.into(),
            parameters: parameters.iter().map(|p| (*p).to_owned()).collect(),
        };
        vec![
            of("hello", "en", "Hello!\nAre you there?", &[]),
            of("hello", "es", "¡Hola!", &[]),
            of("sent", "en", "{{1}}, it comes on {{2}}.", &["{{1}}", "{{2}}"]),
            of("due", "en", "{{name}}, {{sum}} are due.", &["name", "sum"]),
        ]
    }

    #[test]
    fn while_the_window_is_open() {
        let tool = tool(false, &[]);
        assert_eq!(tool.name, "respond");
        assert_eq!(offered(&tool), ["text", "file", "reaction", "buttons", "list"]);
        let buttons = &tool.parameters["properties"]["messages"]["items"]["anyOf"][3];
        assert_eq!(buttons["required"], json!(["type", "text", "buttons"]));
        assert_eq!(buttons["properties"]["buttons"]["items"]["properties"]["title"]["maxLength"], 20);
        assert_eq!(tool.parameters.get("required"), None);
    }

    #[test]
    fn with_templates() {
        let tool = tool(false, &templates());
        assert_eq!(offered(&tool), ["text", "file", "reaction", "buttons", "list", "template"]);
        let template = &tool.parameters["properties"]["messages"]["items"]["anyOf"][5]["properties"];
        assert_eq!(template["name"]["enum"], json!(["due", "hello", "sent"]));
        assert_eq!(template["language"]["enum"], json!(["en", "es"]));
    }

    #[test]
    fn after_the_window_has_closed() {
        let tool = super::tool(true, &templates());
        assert_eq!(offered(&tool), ["template"]);
        let lines: Vec<&str> = tool.description.lines().collect();
        assert!(lines[0].contains("24 hours"));
        assert_eq!(
            lines[1..],
            [
                "Templates:",
                "- hello (en): \"Hello!\\nAre you there?\"",
                "- hello (es): \"¡Hola!\"",
                "- sent (en): \"{{1}}, it comes on {{2}}.\"; parameters: a list of 2, in order",
                "- due (en): \"{{name}}, {{sum}} are due.\"; parameters: an object with name, sum",
            ]
        );
        assert_eq!(super::tool(true, &[]).parameters["properties"]["messages"]["maxItems"], 0);
    }
}
