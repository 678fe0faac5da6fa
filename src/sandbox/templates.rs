//! Templates of messages: what Meta checks of them, and their lists.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::{
    bridge::{merge, shown},
    fault::graph_error,
    manage::{Accounts, Call, Reply, missing, page, refusal},
};

/// What Graph tells of one that is asked for no fields.
const TEMPLATE: [&str; 6] = ["name", "parameter_format", "components", "language", "status", "category"];

impl Accounts {
    /// Changes a template, as Meta's review does: `{"status": "APPROVED"}`.
    pub fn set_template(&mut self, id: &str, patch: Value) {
        if let Some(template) = self.templates.iter_mut().find(|t| t["id"] == id) {
            merge(template, &patch);
        }
    }

    pub(super) fn templates_of(&mut self, waba: &str, call: &Call) -> Reply {
        match call.method {
            "GET" => {
                let asked = |t: &Value, name: &str| call.query.get(name).is_none_or(|value| t[name] == value.as_str());
                let wanted = |t: &Value| t["waba"] == waba && ["name", "status", "language", "category"].into_iter().all(|n| asked(t, n));
                let templates = self.templates.iter().filter(|t| wanted(t)).map(|t| shown(t, call.query, &TEMPLATE));
                Ok(page(&templates.collect::<Vec<_>>(), call))
            }
            "POST" => self.create_template(waba, &call.body),
            "DELETE" => self.delete_templates(waba, call),
            _ => Err(missing()),
        }
    }

    pub(super) fn of_template(&mut self, id: &str, call: &Call) -> Reply {
        let Some(template) = self.templates.iter_mut().find(|t| t["id"] == id) else { return Err(missing()) };
        let (body, status) = (&call.body, template["status"].as_str().unwrap_or_default());
        if call.method == "GET" {
            return Ok(shown(template, call.query, &TEMPLATE));
        }
        let category = body["category"].as_str().or(template["category"].as_str()).unwrap_or_default();
        if call.method != "POST" || !["APPROVED", "REJECTED", "PAUSED"].contains(&status) {
            return Err(graph_error(100, "only templates that are approved, rejected or paused can be edited"));
        }
        if status == "APPROVED" && template["category"] != category {
            return Err(graph_error(100, "the category of an approved template stays"));
        }
        if !body["components"].is_null() {
            check(category, &body["components"], &self.handles)?;
        }
        let known = |name: &&str| !body[*name].is_null();
        let change = ["category", "components", "parameter_format", "message_send_ttl_seconds"].into_iter().filter(known);
        let change: Map<String, Value> = change.map(|name| (name.to_owned(), body[name].clone())).collect();
        merge(template, &Value::Object(change));
        template["status"] = json!("PENDING");
        Ok(json!({"success": true}))
    }

    fn create_template(&mut self, waba: &str, body: &Value) -> Reply {
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let (name, language, category) = (text("name"), text("language"), text("category"));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || name.len() > 512 || !name.chars().all(plain) {
            return Err(graph_error(100, "name must be of lower-case letters, digits and underscores"));
        }
        if !(2..=3).contains(&language.split('_').next().unwrap_or_default().len()) {
            return Err(graph_error(100, "language must be one such as es or es_AR"));
        }
        if !["AUTHENTICATION", "MARKETING", "UTILITY"].contains(&category) {
            return Err(graph_error(100, "category must be AUTHENTICATION, MARKETING or UTILITY"));
        }
        check(category, &body["components"], &self.handles)?;
        if self.templates.iter().any(|t| t["waba"] == waba && t["name"] == name && t["language"] == language) {
            return Err(refusal(2_388_024, "There is already content in this language for this template."));
        }
        if self.buried.contains(&format!("{waba} {name}")) {
            return Err(refusal(2_388_023, "The template of this name was deleted, it cannot be had again for 30 days."));
        }
        self.count += 1;
        let id = (900_000_000_000_000 + self.count).to_string();
        let mut template = json!({"parameter_format": "POSITIONAL"});
        merge(&mut template, body);
        merge(&mut template, &json!({"id": id, "waba": waba, "status": "PENDING", "quality_score": {"score": "UNKNOWN"}, "rejected_reason": "NONE"}));
        self.templates.push(template);
        Ok(json!({"id": id, "status": "PENDING", "category": category}))
    }

    fn delete_templates(&mut self, waba: &str, call: &Call) -> Reply {
        let (name, id) = (call.text("name"), call.text("hsm_id"));
        let doomed = |t: &Value| t["waba"] == waba && t["name"] == name && (id.is_empty() || t["id"] == id);
        let (gone, kept): (Vec<Value>, Vec<Value>) = std::mem::take(&mut self.templates).into_iter().partition(doomed);
        self.templates = kept;
        if gone.is_empty() {
            return Err(refusal(2_593_002, "There is no such template."));
        }
        if gone.iter().any(|t| t["status"] == "APPROVED") {
            self.buried.insert(format!("{waba} {name}"));
        }
        Ok(json!({"success": true}))
    }
}

/// What Meta checks of the components of a template.
fn check(category: &str, components: &Value, handles: &HashSet<String>) -> Result<(), Value> {
    let all = components.as_array().map(Vec::as_slice).unwrap_or_default();
    let find = |kind: &str| all.iter().find(|c| c["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(kind)));
    let Some(body) = find("BODY") else { return Err(graph_error(100, "a BODY is required")) };
    if category != "AUTHENTICATION" {
        check_text("body", 1024, body)?;
    }
    let sampled = |header: &Value| header["example"]["header_handle"][0].as_str().is_some_and(|handle| handles.contains(handle));
    match find("HEADER").map(|header| (header, header["format"].as_str().unwrap_or_default())) {
        None | Some((_, "LOCATION")) => {}
        Some((header, "TEXT")) => check_text("header", 60, header)?,
        Some((header, "IMAGE" | "VIDEO" | "DOCUMENT")) if sampled(header) => {}
        Some((_, "IMAGE" | "VIDEO" | "DOCUMENT")) => return Err(graph_error(100, "a header of media needs example.header_handle, from an upload")),
        Some((_, format)) => return Err(graph_error(100, &format!("no such format of a header: {format}"))),
    }
    if find("FOOTER").is_some_and(|footer| footer["text"].as_str().is_none_or(|t| t.is_empty() || t.chars().count() > 60)) {
        return Err(graph_error(100, "a footer has 1 to 60 characters"));
    }
    let buttons = find("BUTTONS").and_then(|b| b["buttons"].as_array()).map(Vec::as_slice).unwrap_or_default();
    if buttons.len() > 10 || buttons.iter().any(|b| b["text"].as_str().is_some_and(|t| t.chars().count() > 25)) {
        return Err(graph_error(100, "at most 10 buttons, of at most 25 characters"));
    }
    Ok(())
}

fn check_text(part: &str, most: usize, component: &Value) -> Result<(), Value> {
    let text = component["text"].as_str().unwrap_or_default();
    if text.is_empty() || text.chars().count() > most {
        return Err(graph_error(100, &format!("the text of the {part} has 1 to {most} characters")));
    }
    let named = text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(name, _)| name.trim());
    let variables = named.collect::<HashSet<_>>().len();
    let example = &component["example"];
    let positional = &example[format!("{part}_text")];
    let positional = if part == "body" { &positional[0] } else { positional };
    let given = [positional, &example[format!("{part}_text_named_params")]].into_iter().filter_map(Value::as_array).map(Vec::len).max();
    if given.unwrap_or(0) < variables || part == "header" && variables > 1 {
        return Err(refusal(2_388_043, &format!("each variable of the {part} needs an example")));
    }
    if part == "body" && (text.trim().starts_with("{{") || text.trim().ends_with("}}")) {
        return Err(refusal(2_388_299, "Variables can't be at the start or end of the template."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_meta_takes_for_a_template() {
        let handles = HashSet::from(["4::h".to_owned()]);
        let verdict = |components: Value| check("UTILITY", &components, &handles).err().map(|e| e["error"]["error_subcode"].as_i64().unwrap_or(0));
        let body = |text: &str, example: Value| json!({"type": "BODY", "text": text, "example": example});
        assert_eq!(verdict(json!([body("Hello", Value::Null)])), None);
        assert_eq!(verdict(json!([body("Hello {{1}}!", json!({"body_text": [["Ana"]]}))])), None);
        assert_eq!(verdict(json!([body("Hello {{who}}!", json!({"body_text_named_params": [{"param_name": "who", "example": "Ana"}]}))])), None);
        assert_eq!(verdict(json!([body("Hello {{1}} {{2}}!", json!({"body_text": [["Ana"]]}))])), Some(2_388_043));
        assert_eq!(verdict(json!([body("Hello {{1}}", json!({"body_text": [["Ana"]]}))])), Some(2_388_299));
        assert_eq!(verdict(json!([])), Some(0));
        let header = |handle: &str| json!({"type": "HEADER", "format": "IMAGE", "example": {"header_handle": [handle]}});
        assert_eq!(verdict(json!([header("4::h"), body("Hello", Value::Null)])), None);
        assert_eq!(verdict(json!([header("https://a/b.png"), body("Hello", Value::Null)])), Some(0));
    }
}
