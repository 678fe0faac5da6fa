//! Buttons and lists, as the Graph API's `interactive` object. Limits: schema/content.json.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{
    contents::{optional, required},
    markers,
};

/// Something to choose.
struct Choice {
    /// Comes back with the answer.
    id: String,
    title: String,
    description: Option<String>,
}

/// Choices under a title.
struct Section {
    title: Option<String>,
    rows: Vec<Choice>,
}

/// `{text, buttons: [{id?, title}]}`: one to three. Errors begin with the field.
pub(super) fn buttons(message: &Value) -> Result<Value, String> {
    let body = body(message, 1024)?;
    let mut choices = choices(message, "buttons", 3, &Limits { id: 256, title: 20 })?;
    let mut titles = HashSet::new();
    if let Some(twice) = choices.iter().find(|c| !titles.insert(c.title.as_str())) {
        return Err(format!("buttons has the title {} twice", twice.title));
    }
    name(choices.iter_mut()).map_err(|e| format!("buttons {e}"))?;
    let buttons: Vec<Value> = choices.iter().map(|c| json!({"type": "reply", "reply": {"id": c.id, "title": c.title}})).collect();
    Ok(json!({"type": "button", "body": {"text": body}, "action": {"buttons": buttons}}))
}

/// `{text, button, rows: [{id?, title, description?}]}`, or `sections: [{title?, rows}]`: one to ten rows in all. Errors
/// begin with the field.
pub(super) fn list(message: &Value) -> Result<Value, String> {
    let body = body(message, 4096)?;
    let button = required(message, "button", 20)?;
    let mut sections = sections(message)?;
    let rows: usize = sections.iter().map(|s| s.rows.len()).sum();
    if rows > 10 {
        return Err(format!("sections has {rows} rows in all; at most 10"));
    }
    name(sections.iter_mut().flat_map(|s| &mut s.rows)).map_err(|e| format!("rows {e}"))?;
    let sections: Vec<Value> = sections.iter().map(section).collect();
    Ok(json!({"type": "list", "body": {"text": body}, "action": {"button": button, "sections": sections}}))
}

fn body(message: &Value, most: usize) -> Result<String, String> {
    let text = markers::without(message["text"].as_str().unwrap_or_default());
    required(&json!({"text": text}), "text", most)
}

fn sections(message: &Value) -> Result<Vec<Section>, String> {
    let limits = Limits { id: 200, title: 24 };
    let given = message["sections"].as_array().filter(|s| !s.is_empty());
    let loose = message["rows"].as_array().is_some_and(|r| !r.is_empty());
    let Some(given) = given else { return Ok(vec![Section { title: None, rows: choices(message, "rows", 10, &limits)? }]) };
    if loose {
        return Err("rows is given beside sections; give one of them".to_owned());
    }
    let read = |(i, one): (usize, &Value)| {
        let title = optional(one, "title", 24).map_err(|e| format!("sections[{i}].{e}"))?;
        if title.is_none() && given.len() > 1 {
            return Err(format!("sections[{i}].title is required where there are several"));
        }
        let rows = choices(one, "rows", 10, &limits).map_err(|e| format!("sections[{i}].{e}"))?;
        Ok(Section { title, rows })
    };
    given.iter().enumerate().map(read).collect()
}

fn section(section: &Section) -> Value {
    let row = |c: &Choice| match &c.description {
        Some(description) => json!({"id": c.id, "title": c.title, "description": description}),
        None => json!({"id": c.id, "title": c.title}),
    };
    let rows: Vec<Value> = section.rows.iter().map(row).collect();
    match &section.title {
        Some(title) => json!({"title": title, "rows": rows}),
        None => json!({"rows": rows}),
    }
}

/// The most characters.
struct Limits {
    id: usize,
    title: usize,
}

/// The list `field`, one to `most`; ids that were not given are empty. A bare string is a title.
fn choices(object: &Value, field: &str, most: usize, limits: &Limits) -> Result<Vec<Choice>, String> {
    let list = object[field].as_array().ok_or_else(|| format!("{field} is required: a list"))?;
    if list.is_empty() || list.len() > most {
        return Err(format!("{field} has {} elements; 1 to {most}", list.len()));
    }
    let read = |(i, one): (usize, &Value)| {
        let titled = if one.is_string() { json!({"title": one}) } else { one.clone() };
        let part = || -> Result<Choice, String> {
            Ok(Choice {
                id: optional(&titled, "id", limits.id)?.unwrap_or_default(),
                title: required(&titled, "title", limits.title)?,
                description: optional(&titled, "description", 72)?,
            })
        };
        part().map_err(|e| format!("{field}[{i}].{e}"))
    };
    list.iter().enumerate().map(read).collect()
}

/// Gives an id to each that has none: its title as a slug, with a number where that is taken. Ids that were given twice
/// are an error, because nobody could tell the answers apart.
fn name<'a>(choices: impl Iterator<Item = &'a mut Choice>) -> Result<(), String> {
    let choices: Vec<&mut Choice> = choices.collect();
    let mut taken = HashSet::new();
    if let Some(twice) = choices.iter().find(|c| !c.id.is_empty() && !taken.insert(c.id.clone())) {
        return Err(format!("has the id {} twice", twice.id));
    }
    for choice in choices.into_iter().filter(|c| c.id.is_empty()) {
        let slug = slug(&choice.title);
        let mut id = slug.clone();
        let mut number = 2;
        while !taken.insert(id.clone()) {
            id = format!("{slug}-{number}");
            number += 1;
        }
        choice.id = id;
    }
    Ok(())
}

/// Letters and digits in small, all else as single hyphens.
fn slug(title: &str) -> String {
    let lower = title.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    if words.is_empty() { "choice".to_owned() } else { words.join("-") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buttons_with_and_without_ids() {
        let made = buttons(&json!({"text": "Keep **it**?", "buttons": [{"title": "Keep it!"}, {"id": 7, "title": "Move"}, "keep  IT"]}));
        assert_eq!(
            made,
            Ok(json!({"type": "button", "body": {"text": "Keep **it**?"}, "action": {"buttons": [
                {"type": "reply", "reply": {"id": "keep-it", "title": "Keep it!"}},
                {"type": "reply", "reply": {"id": "7", "title": "Move"}},
                {"type": "reply", "reply": {"id": "keep-it-2", "title": "keep  IT"}}]}}))
        );
    }

    #[test]
    fn an_id_that_was_given_is_not_given_again() {
        let made = buttons(&json!({"text": "?", "buttons": [{"title": "Sí"}, {"id": "sí", "title": "No"}, {"title": "👍"}]})).expect("buttons");
        let ids: Vec<&Value> = made["action"]["buttons"].as_array().expect("buttons").iter().map(|b| &b["reply"]["id"]).collect();
        assert_eq!(ids, ["sí-2", "sí", "choice"]);
    }

    #[test]
    fn lists() {
        let made = list(&json!({"text": "How?", "button": "Shipping", "rows": [{"title": "Express", "description": "Next day"}, {"title": "Slow"}]}));
        assert_eq!(
            made,
            Ok(json!({"type": "list", "body": {"text": "How?"}, "action": {"button": "Shipping", "sections": [
                {"rows": [{"id": "express", "title": "Express", "description": "Next day"}, {"id": "slow", "title": "Slow"}]}]}}))
        );
        let made = list(&json!({"text": "How?", "button": "Open", "rows": [], "sections": [
            {"title": "A", "rows": [{"title": "x"}]}, {"title": "B", "rows": [{"title": "x"}]}]}))
        .expect("a list");
        assert_eq!(
            made["action"]["sections"],
            json!([{"title": "A", "rows": [{"id": "x", "title": "x"}]}, {"title": "B", "rows": [{"id": "x-2", "title": "x"}]}])
        );
    }

    #[test]
    fn limits() {
        let rows = |many: usize| -> Value { (0..many).map(|n| json!({"title": n.to_string()})).collect() };
        let titled = |title: &str| json!({"text": "?", "buttons": [{"title": title}]});
        assert!(buttons(&titled(&"x".repeat(20))).is_ok());
        for (bad, error) in [
            (json!({"buttons": ["x"]}), "text is required"),
            (json!({"text": "<time>9</time>", "buttons": ["x"]}), "text is required"),
            (json!({"text": "x".repeat(1025), "buttons": ["x"]}), "text has 1025 characters; at most 1024"),
            (json!({"text": "?"}), "buttons is required: a list"),
            (json!({"text": "?", "buttons": []}), "buttons has 0 elements; 1 to 3"),
            (json!({"text": "?", "buttons": ["a", "b", "c", "d"]}), "buttons has 4 elements; 1 to 3"),
            (titled(&"x".repeat(21)), "buttons[0].title has 21 characters; at most 20"),
            (titled(" "), "buttons[0].title is required"),
            (json!({"text": "?", "buttons": ["a", "a"]}), "buttons has the title a twice"),
            (json!({"text": "?", "buttons": [{"id": "i", "title": "a"}, {"id": "i", "title": "b"}]}), "buttons has the id i twice"),
            (json!({"text": "?", "buttons": [{"id": "x".repeat(257), "title": "a"}]}), "buttons[0].id has 257 characters; at most 256"),
        ] {
            assert_eq!(buttons(&bad), Err(error.to_owned()), "{bad}");
        }
        for (bad, error) in [
            (json!({"text": "?", "rows": ["x"]}), "button is required"),
            (json!({"text": "x".repeat(4097), "button": "b", "rows": ["x"]}), "text has 4097 characters; at most 4096"),
            (json!({"text": "?", "button": "x".repeat(21), "rows": ["x"]}), "button has 21 characters; at most 20"),
            (json!({"text": "?", "button": "b"}), "rows is required: a list"),
            (json!({"text": "?", "button": "b", "rows": rows(11)}), "rows has 11 elements; 1 to 10"),
            (json!({"text": "?", "button": "b", "rows": ["x".repeat(25)]}), "rows[0].title has 25 characters; at most 24"),
            (
                json!({"text": "?", "button": "b", "rows": [{"title": "x", "description": "x".repeat(73)}]}),
                "rows[0].description has 73 characters; at most 72",
            ),
            (json!({"text": "?", "button": "b", "rows": ["x"], "sections": [{"rows": ["y"]}]}), "rows is given beside sections; give one of them"),
            (
                json!({"text": "?", "button": "b", "sections": [{"title": "A", "rows": ["x"]}, {"rows": ["y"]}]}),
                "sections[1].title is required where there are several",
            ),
            (
                json!({"text": "?", "button": "b", "sections": [{"title": "A", "rows": rows(6)}, {"title": "B", "rows": rows(5)}]}),
                "sections has 11 rows in all; at most 10",
            ),
            (
                json!({"text": "?", "button": "b", "sections": [{"title": "x".repeat(25), "rows": ["y"]}]}),
                "sections[0].title has 25 characters; at most 24",
            ),
            (json!({"text": "?", "button": "b", "sections": [{"rows": []}]}), "sections[0].rows has 0 elements; 1 to 10"),
        ] {
            assert_eq!(list(&bad), Err(error.to_owned()), "{bad}");
        }
    }
}
