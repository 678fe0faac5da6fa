//! What Graph checks in the `interactive` object of a message.

use std::{collections::HashSet, fmt::Display, hash::Hash};

use super::check::{ANY, Checked, Field, Media, file};

const TYPES: &str = "button list cta_url flow product product_list catalog_message location_request_message address_message \
    call_permission_request voice_call carousel request_contact_info order_details order_status";

/// The object of the type `interactive`.
pub(super) fn interactive(message: &Field, media: Media) -> Checked {
    let kind = message.get("type").text(ANY)?;
    if !TYPES.split(' ').any(|known| known == kind) {
        return Err((100, format!("interactive.type {kind} is not a type of interactive message")));
    }
    texts(message, kind)?;
    header(message, kind, media)?;
    let action = message.object("action")?;
    match kind {
        "button" => replies(&action.get("buttons"), "reply").map(drop),
        "list" => list(&action),
        "cta_url" => link(&action),
        "flow" => flow(&action),
        "product" => product(&action).map(drop),
        "product_list" => products(&action),
        "carousel" => carousel(&action, media),
        "voice_call" => voice_call(&action),
        "address_message" => named(&action, kind)?.object("parameters")?.get("country").text(2).map(drop),
        "location_request_message" => named(&action, "send_location").map(drop),
        "order_details" => order_details(&action),
        "order_status" => named(&action, "review_order")?.object("parameters")?.get("reference_id").text(35).map(drop),
        // A catalog, a call's permission, a contact's number: the name says it all.
        _ => named(&action, kind).map(drop),
    }
}

/// The action again, once its name is as it must be.
fn named<'f, 'a>(action: &'f Field<'a>, name: &str) -> Checked<&'f Field<'a>> {
    action.get("name").one_of(&[name])?;
    Ok(action)
}

fn texts(message: &Field, kind: &str) -> Checked {
    let optional = matches!(kind, "product" | "address_message");
    if !optional || message.get("body").is_given() {
        message.object("body")?.get("text").text(if kind == "list" { 4096 } else { 1024 })?;
    }
    let footer = message.get("footer");
    if !footer.is_given() {
        return Ok(());
    }
    if kind == "carousel" {
        return Err(footer.wrong("does not belong to a carousel"));
    }
    message.object("footer")?.get("text").text(60).map(drop)
}

fn header(message: &Field, kind: &str, media: Media) -> Checked {
    if kind != "product_list" && !message.get("header").is_given() {
        return Ok(());
    }
    let header = message.object("header")?;
    let allowed: &[&str] = match kind {
        "product" | "carousel" => return Err(header.wrong(&format!("does not belong to type {kind}"))),
        "list" | "product_list" => &["text"],
        _ => &["text", "image", "video", "document"],
    };
    match header.get("type").one_of(allowed)? {
        "text" => header.get("text").text(60).map(drop),
        kind => file(&header.object(kind)?, kind, media),
    }
}

/// Buttons that reply: how many.
fn replies(buttons: &Field, kind: &str) -> Checked<usize> {
    let list = buttons.items(1, 3)?;
    let (mut ids, mut titles) = (Vec::new(), Vec::new());
    for button in &list {
        button.get("type").one_of(&[kind])?;
        let reply = button.object(kind)?;
        ids.push(reply.get("id").text(256)?);
        titles.push(reply.get("title").text(20)?);
    }
    distinct(buttons, "id", &ids)?;
    distinct(buttons, "title", &titles)?;
    Ok(list.len())
}

fn distinct<T: Copy + Eq + Hash + Display>(list: &Field, name: &str, values: &[T]) -> Checked {
    let mut seen = HashSet::new();
    match values.iter().find(|value| !seen.insert(**value)) {
        Some(twice) => Err(list.wrong(&format!("has the {name} {twice} twice"))),
        None => Ok(()),
    }
}

/// The sections of a list or of products. With more than one of them, each needs a title.
fn sections<'a>(action: &Field<'a>) -> Checked<Vec<Field<'a>>> {
    let sections = action.get("sections").items(1, 10)?;
    for section in &sections {
        if sections.len() > 1 {
            section.get("title").text(24)?;
        }
        section.maybe("title", 24)?;
    }
    Ok(sections)
}

fn list(action: &Field) -> Checked {
    action.get("button").text(20)?;
    let mut ids = Vec::new();
    for section in sections(action)? {
        for row in section.get("rows").items(1, ANY)? {
            ids.push(row.get("id").text(200)?);
            row.get("title").text(24)?;
            row.maybe("description", 72)?;
        }
    }
    let sections = action.get("sections");
    if ids.len() > 10 {
        return Err(sections.wrong("has more than 10 rows"));
    }
    distinct(&sections, "row id", &ids)
}

fn link(action: &Field) -> Checked {
    let parameters = named(action, "cta_url")?.object("parameters")?;
    parameters.get("display_text").text(20)?;
    parameters.get("url").url()
}

fn flow(action: &Field) -> Checked {
    let parameters = named(action, "flow")?.object("parameters")?;
    parameters.get("flow_message_version").one_of(&["3"])?;
    let (id, name) = (parameters.get("flow_id"), parameters.get("flow_name"));
    if id.is_given() && name.is_given() {
        return Err(parameters.wrong("has both flow_id and flow_name"));
    }
    let flow = if name.is_given() { name } else { id };
    flow.text(ANY)?;
    parameters.get("flow_cta").text(ANY)?;
    parameters.maybe("flow_token", ANY)?;
    for (field, choices) in [("mode", ["draft", "published"]), ("flow_action", ["navigate", "data_exchange"])] {
        if parameters.get(field).is_given() {
            parameters.get(field).one_of(&choices)?;
        }
    }
    if parameters.get("flow_action_payload").is_given() {
        parameters.object("flow_action_payload")?.maybe("screen", ANY)?;
    }
    Ok(())
}

/// One product: the catalog it is in.
fn product<'a>(action: &Field<'a>) -> Checked<&'a str> {
    action.get("product_retailer_id").text(ANY)?;
    action.get("catalog_id").text(ANY)
}

fn products(action: &Field) -> Checked {
    action.get("catalog_id").text(ANY)?;
    let mut count = 0;
    for section in sections(action)? {
        for item in section.get("product_items").items(1, ANY)? {
            item.get("product_retailer_id").text(ANY)?;
            count += 1;
        }
    }
    if count > 30 { Err(action.get("sections").wrong("has more than 30 products")) } else { Ok(()) }
}

fn voice_call(action: &Field) -> Checked {
    named(action, "voice_call")?;
    if !action.get("parameters").is_given() {
        return Ok(());
    }
    let parameters = action.object("parameters")?;
    parameters.maybe("display_text", 20)?;
    parameters.maybe("payload", 512)?;
    let minutes = parameters.get("ttl_minutes");
    if minutes.is_given() { minutes.whole(1, 43_200).map(drop) } else { Ok(()) }
}

fn order_details(action: &Field) -> Checked {
    let parameters = named(action, "review_and_pay")?.object("parameters")?;
    parameters.get("reference_id").text(35)?;
    parameters.get("currency").text(3)?;
    parameters.object("total_amount").map(drop)
}

fn carousel(action: &Field, media: Media) -> Checked {
    let list = action.get("cards");
    let (mut indexes, mut kinds) = (Vec::new(), Vec::new());
    for one in list.items(2, 10)? {
        indexes.push(one.get("card_index").whole(0, 9)?);
        kinds.push(card(&one, media)?);
    }
    distinct(&list, "card_index", &indexes)?;
    match kinds.iter().find(|kind| **kind != kinds[0]) {
        Some(other) => Err(list.wrong(&format!("must be alike, not {} and {other}", kinds[0]))),
        None => Ok(()),
    }
}

/// What a card consists of, in words; the cards of a carousel all consist of the same.
fn card(card: &Field, media: Media) -> Checked<String> {
    let action = card.object("action")?;
    let (kind, buttons) = (card.get("type"), action.get("buttons"));
    // Cards with replies are seen with and without a type.
    if (kind.is_given() || !buttons.is_given()) && kind.one_of(&["cta_url", "product"])? == "product" {
        return Ok(format!("a product of catalog {}", product(&action)?));
    }
    let header = card.object("header")?;
    let above = header.get("type").one_of(&["image", "video"])?;
    file(&header.object(above)?, above, media)?;
    if card.get("body").is_given() {
        card.object("body")?.get("text").text(160)?;
    }
    if buttons.is_given() {
        return Ok(format!("{above} with {} replies", replies(&buttons, "quick_reply")?));
    }
    link(&action)?;
    Ok(format!("{above} with a link"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::sandbox::check::refuse;

    fn said(interactive: Value) -> Option<(i64, String)> {
        let body = json!({"messaging_product": "whatsapp", "to": "549", "type": "interactive", "interactive": interactive});
        refuse(&body, &|id: &str| id == "77")
    }

    /// With a body.
    fn of(kind: &str, action: Value) -> Value {
        json!({"type": kind, "body": {"text": "x"}, "action": action})
    }

    fn button(id: &str, title: &str) -> Value {
        json!({"type": "reply", "reply": {"id": id, "title": title}})
    }

    fn rows(many: usize) -> Value {
        (0..many).map(|n| json!({"id": n.to_string(), "title": "x", "description": "x"})).collect()
    }

    fn list(sections: Value) -> Value {
        of("list", json!({"button": "Open", "sections": sections}))
    }

    fn cta(text: &str, url: &str) -> Value {
        json!({"name": "cta_url", "parameters": {"display_text": text, "url": url}})
    }

    fn flow(change: Value) -> Value {
        let mut parameters = json!({"flow_message_version": "3", "flow_id": "1", "flow_cta": "Go"});
        for (name, value) in change.as_object().expect("an object") {
            parameters[name.as_str()] = value.clone();
        }
        of("flow", json!({"name": "flow", "parameters": parameters}))
    }

    fn products(many: usize) -> Value {
        let items: Value = (0..many).map(|n| json!({"product_retailer_id": n.to_string()})).collect();
        let action = json!({"catalog_id": "1", "sections": [{"title": "x", "product_items": items}]});
        json!({"type": "product_list", "header": {"type": "text", "text": "x"}, "body": {"text": "x"}, "action": action})
    }

    fn card(index: usize, header: &str) -> Value {
        json!({"card_index": index, "type": "cta_url", "header": {"type": header, header: {"id": "77"}}, "body": {"text": "x"},
            "action": cta("Open", "https://a.example")})
    }

    fn cards(cards: Value) -> Value {
        of("carousel", json!({"cards": cards}))
    }

    #[test]
    fn good_messages_pass() {
        let quick = |index: usize| {
            json!({"card_index": index, "header": {"type": "image", "image": {"id": "77"}},
                "action": {"buttons": [{"type": "quick_reply", "quick_reply": {"id": "1", "title": "Yes"}}]}})
        };
        let sold = |index: usize| json!({"card_index": index, "type": "product", "action": {"catalog_id": "1", "product_retailer_id": "2"}});
        let order = json!({"reference_id": "1", "currency": "BRL", "total_amount": {"value": 1, "offset": 100}});
        for good in [
            json!({"type": "button", "header": {"type": "image", "image": {"id": "77"}}, "body": {"text": "x"}, "footer": {"text": "x"},
                "action": {"buttons": [button("1", "Yes"), button("2", "No")]}}),
            list(json!([{"rows": rows(10)}])),
            of("cta_url", cta("Open", "https://a.example")),
            flow(json!({"mode": "draft", "flow_action": "navigate", "flow_action_payload": {"screen": "ONE"}})),
            json!({"type": "product", "action": {"catalog_id": "1", "product_retailer_id": "2"}}),
            products(30),
            of("catalog_message", json!({"name": "catalog_message", "parameters": {"thumbnail_product_retailer_id": "2"}})),
            of("location_request_message", json!({"name": "send_location"})),
            json!({"type": "address_message", "action": {"name": "address_message", "parameters": {"country": "IN"}}}),
            of("call_permission_request", json!({"name": "call_permission_request"})),
            of("voice_call", json!({"name": "voice_call", "parameters": {"display_text": "Call", "ttl_minutes": 100, "payload": "x"}})),
            cards(json!([card(0, "image"), card(1, "image")])),
            cards(json!([quick(0), quick(1)])),
            cards(json!([sold(0), sold(1)])),
            of("request_contact_info", json!({"name": "request_contact_info"})),
            of("order_details", json!({"name": "review_and_pay", "parameters": order})),
            of("order_status", json!({"name": "review_order", "parameters": {"reference_id": "1"}})),
        ] {
            assert_eq!(said(good.clone()), None, "{good}");
        }
    }

    #[test]
    fn bad_messages_are_refused() {
        let buttons = |buttons: Value| of("button", json!({"buttons": buttons}));
        let section = |title: &str, many: usize| json!({"title": title, "rows": rows(many)});
        let call = |parameters: Value| of("voice_call", json!({"name": "voice_call", "parameters": parameters}));
        let product = json!({"catalog_id": "1", "product_retailer_id": "2"});
        for (bad, code, field) in [
            (of("poll", json!({})), 100, "interactive.type"),
            (json!({"type": "button", "action": {}}), 131_008, "interactive.body"),
            (json!({"type": "cta_url", "body": {"text": "x".repeat(1025)}}), 131_009, "interactive.body.text"),
            (json!({"type": "list", "body": {"text": "x".repeat(4097)}}), 131_009, "interactive.body.text"),
            (json!({"type": "list", "body": {"text": "x"}, "footer": {"text": "x".repeat(61)}}), 131_009, "interactive.footer.text"),
            (json!({"type": "list", "body": {"text": "x"}, "header": {"type": "image"}}), 131_009, "interactive.header.type"),
            (json!({"type": "flow", "body": {"text": "x"}, "header": {"type": "image"}}), 131_008, "interactive.header.image"),
            (json!({"type": "product", "header": {"type": "text"}, "action": product}), 131_009, "interactive.header"),
            (buttons(json!([])), 131_009, "action.buttons"),
            (buttons(json!([button("1", "a"), button("2", "b"), button("3", "c"), button("4", "d")])), 131_009, "action.buttons"),
            (buttons(json!([button("1", &"x".repeat(21))])), 131_009, "buttons[0].reply.title"),
            (buttons(json!([button(&"x".repeat(257), "x")])), 131_009, "buttons[0].reply.id"),
            (buttons(json!([button("", "x")])), 131_008, "buttons[0].reply.id"),
            (buttons(json!([button("1", "x"), button("2", "x")])), 131_009, "title x twice"),
            (buttons(json!([button("1", "x"), button("1", "y")])), 131_009, "id 1 twice"),
            (of("list", json!({"button": "x".repeat(21)})), 131_009, "action.button"),
            (list(json!([{"rows": rows(11)}])), 131_009, "action.sections has more than 10 rows"),
            (list(json!([section("a", 1), {"rows": rows(1)}])), 131_008, "sections[1].title"),
            (list(json!([section(&"x".repeat(25), 1)])), 131_009, "sections[0].title"),
            (list(json!([section("a", 1), section("b", 1)])), 131_009, "row id 0 twice"),
            (list(json!(vec![section("a", 1); 11])), 131_009, "action.sections has 11"),
            (list(json!([{"rows": [{"id": "x".repeat(201), "title": "x"}]}])), 131_009, "rows[0].id"),
            (list(json!([{"rows": [{"id": "1", "title": "x".repeat(25)}]}])), 131_009, "rows[0].title"),
            (list(json!([{"rows": [{"id": "1", "title": "x", "description": "x".repeat(73)}]}])), 131_009, "rows[0].description"),
            (of("cta_url", cta(&"x".repeat(21), "https://a.example")), 131_009, "parameters.display_text"),
            (of("cta_url", cta("Open", "a.example")), 131_009, "parameters.url"),
            (flow(json!({"flow_message_version": "2"})), 131_009, "flow_message_version"),
            (flow(json!({"flow_id": null})), 131_008, "flow_id"),
            (flow(json!({"flow_name": "x"})), 131_009, "both flow_id and flow_name"),
            (flow(json!({"flow_cta": null})), 131_008, "flow_cta"),
            (flow(json!({"mode": "test"})), 131_009, "parameters.mode"),
            (of("product", json!({"catalog_id": "1"})), 131_008, "action.product_retailer_id"),
            (products(31), 131_009, "more than 30 products"),
            (of("product_list", json!({})), 131_008, "interactive.header"),
            (of("location_request_message", json!({"name": "location"})), 131_009, "action.name"),
            (of("address_message", json!({"name": "address_message", "parameters": {}})), 131_008, "parameters.country"),
            (call(json!({"ttl_minutes": 0})), 131_009, "parameters.ttl_minutes"),
            (cards(json!([card(0, "image")])), 131_009, "action.cards"),
            (json!({"type": "carousel", "body": {"text": "x"}, "footer": {"text": "x"}}), 131_009, "interactive.footer"),
            (cards(json!([card(0, "image"), card(1, "video")])), 131_009, "action.cards must be alike"),
            (cards(json!([card(0, "image"), card(0, "image")])), 131_009, "card_index 0 twice"),
            (cards(json!([card(0, "document"), card(1, "document")])), 131_009, "cards[0].header.type"),
            (of("order_details", json!({"name": "review_and_pay", "parameters": {}})), 131_008, "parameters.reference_id"),
        ] {
            let (given, details) = said(bad.clone()).unwrap_or_else(|| panic!("{field}: {bad} is not refused"));
            assert!(given == code && details.contains(field), "{code} {field}: {given} {details}");
        }
    }
}
