//! What Graph checks in the body of `POST /{phone number id}/messages` before it takes a message.
//!
//! Graph calls most mistakes 100. Inside `interactive` it tells what is missing (131008) from what is wrong (131009).

use serde_json::Value;

use super::check_interactive::interactive;

const TYPES: [&str; 11] = ["text", "image", "video", "audio", "document", "sticker", "location", "contacts", "reaction", "interactive", "template"];
/// The types that groups take.
const IN_GROUPS: [&str; 7] = ["text", "image", "video", "audio", "document", "sticker", "template"];
/// For strings and lists that Graph does not limit, or not by a number we know.
pub(super) const ANY: usize = usize::MAX;

/// Graph's code, and the details.
pub(super) type Refusal = (i64, String);
pub(super) type Checked<T = ()> = Result<T, Refusal>;
/// Whether the number has an upload of this id.
pub(super) type Media<'a> = &'a dyn Fn(&str) -> bool;

/// What Graph would refuse in a body: its code and the details, naming the field.
pub(super) fn refuse(body: &Value, media: &dyn Fn(&str) -> bool) -> Option<(i64, String)> {
    message(&Field { value: body, path: String::new(), missing: 100, wrong: 100 }, media).err()
}

/// A value and where it is, so that a refusal can name it. A field that is not there is null.
pub(super) struct Field<'a> {
    value: &'a Value,
    path: String,
    /// The codes for a field that is missing and for one that is wrong.
    missing: i64,
    wrong: i64,
}

impl<'a> Field<'a> {
    pub(super) fn get(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { value: &self.value[name], path, ..*self }
    }

    pub(super) fn is_given(&self) -> bool {
        !self.value.is_null()
    }

    pub(super) fn missing(&self) -> Refusal {
        (self.missing, format!("{} is required", self.path))
    }

    pub(super) fn wrong(&self, why: &str) -> Refusal {
        (self.wrong, format!("{} {why}", self.path))
    }

    fn expected(&self, what: &str) -> Refusal {
        if self.is_given() { self.wrong(&format!("must be {what}")) } else { self.missing() }
    }

    /// A string of at most so many characters, counted in UTF-16 units; it may be empty.
    pub(super) fn string(&self, most: usize) -> Checked<&'a str> {
        let text = self.value.as_str().ok_or_else(|| self.expected("a string"))?;
        if text.encode_utf16().count() > most {
            return Err(self.wrong(&format!("has more than {most} characters")));
        }
        Ok(text)
    }

    /// The same, not empty.
    pub(super) fn text(&self, most: usize) -> Checked<&'a str> {
        let text = self.string(most)?;
        if text.is_empty() { Err(self.missing()) } else { Ok(text) }
    }

    /// A string that need not be there.
    pub(super) fn maybe(&self, name: &str, most: usize) -> Checked {
        let field = self.get(name);
        if field.is_given() { field.string(most).map(drop) } else { Ok(()) }
    }

    pub(super) fn one_of(&self, choices: &[&str]) -> Checked<&'a str> {
        let choice = self.text(ANY)?;
        if choices.contains(&choice) { Ok(choice) } else { Err(self.wrong(&format!("must be one of {}, not {choice}", choices.join(", ")))) }
    }

    pub(super) fn object(&self, name: &str) -> Checked<Self> {
        let field = self.get(name);
        if field.value.is_object() { Ok(field) } else { Err(field.expected("an object")) }
    }

    pub(super) fn items(&self, least: usize, most: usize) -> Checked<Vec<Self>> {
        let list = self.value.as_array().ok_or_else(|| self.expected("a list"))?;
        if list.len() < least || list.len() > most {
            return Err(self.wrong(&format!("has {} entries", list.len())));
        }
        Ok(list.iter().enumerate().map(|(n, value)| Self { value, path: format!("{}[{n}]", self.path), ..*self }).collect())
    }

    pub(super) fn url(&self) -> Checked {
        let url = self.text(ANY)?;
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        if rest.is_some_and(|r| !r.is_empty()) { Ok(()) } else { Err(self.wrong("is not a URL with http or https")) }
    }

    /// A whole number, as a number or in a string.
    pub(super) fn whole(&self, least: u64, most: u64) -> Checked<u64> {
        let number = self.value.as_u64().or_else(|| self.value.as_str()?.parse().ok());
        number.filter(|n| (least..=most).contains(n)).ok_or_else(|| self.expected(&format!("a number from {least} to {most}")))
    }

    fn degrees(&self, most: f64) -> Checked {
        let number = self.value.as_f64().or_else(|| self.value.as_str()?.parse().ok());
        if number.is_some_and(|n| n.abs() <= most) { Ok(()) } else { Err(self.expected(&format!("a number from -{most} to {most}"))) }
    }

    fn flag(&self) -> Checked {
        if self.is_given() && !self.value.is_boolean() { Err(self.wrong("must be true or false")) } else { Ok(()) }
    }
}

fn message(body: &Field, media: Media) -> Checked {
    body.get("messaging_product").one_of(&["whatsapp"])?;
    let whom = body.get("recipient_type");
    let group = whom.is_given() && whom.one_of(&["individual", "group"])? == "group";
    recipient(body, group)?;
    body.maybe("biz_opaque_callback_data", 512)?;
    if body.get("context").is_given() {
        body.object("context")?.get("message_id").text(ANY)?;
    }
    let kind = body.get("type").text(ANY)?;
    if !TYPES.contains(&kind) {
        return Err((131_051, format!("type {kind} is not supported")));
    }
    if group && !IN_GROUPS.contains(&kind) {
        return Err(body.get("type").wrong(&format!("{kind} is not supported in groups")));
    }
    if kind == "contacts" {
        return body.get(kind).items(1, ANY)?.iter().try_for_each(contact);
    }
    let object = body.object(kind)?;
    match kind {
        "text" => text(&object),
        "location" => location(&object),
        "reaction" => reaction(body, &object),
        "interactive" => interactive(&Field { missing: 131_008, wrong: 131_009, ..object }, media),
        "template" => template(&object, media),
        _ => file(&object, kind, media),
    }
}

fn recipient(body: &Field, group: bool) -> Checked {
    let (to, user) = (body.get("to"), body.get("recipient"));
    let blank = |field: &Field| !field.is_given() || field.value == "";
    if blank(&to) && (group || blank(&user)) {
        return Err((100, format!("to{} is required", if group { "" } else { " or recipient" })));
    }
    if !blank(&user) && !is_user_id(user.text(ANY)?) {
        return Err(user.wrong("is not a business-scoped user id"));
    }
    if blank(&to) || is_phone(to.text(ANY)?) || group {
        return Ok(());
    }
    Err(to.wrong("is not a phone number: digits, with or without a leading +"))
}

fn is_phone(to: &str) -> bool {
    let digits = to.strip_prefix('+').unwrap_or(to);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// `US.13491208655302741918`, or `US.ENT.…` for a portfolio's parent. Written anew and not taken from the product: a
/// mistake there should show here.
fn is_user_id(user: &str) -> bool {
    let Some((country, id)) = user.split_once('.') else { return false };
    let id = id.strip_prefix("ENT.").unwrap_or(id);
    let lengths = country.len() == 2 && (1..=128).contains(&id.len());
    lengths && country.bytes().all(|b| b.is_ascii_uppercase()) && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn text(text: &Field) -> Checked {
    text.get("body").text(4096)?;
    text.get("preview_url").flag()
}

/// A file by id or by link. A caption, a name and a voice note belong to some kinds only.
pub(super) fn file(object: &Field, kind: &str, media: Media) -> Checked {
    let (id, link) = (object.get("id"), object.get("link"));
    match (id.is_given(), link.is_given()) {
        (true, true) => return Err(object.wrong("has both id and link")),
        (false, false) => return Err((object.missing, format!("{0}.id or {0}.link is required", object.path))),
        (false, true) => link.url()?,
        (true, false) => {
            let name = id.text(ANY)?;
            if !media(name) {
                return Err((100, format!("{}: media id {name} does not exist", id.path)));
            }
        }
    }
    let captioned = matches!(kind, "image" | "video" | "document");
    for (name, belongs) in [("caption", captioned), ("filename", kind == "document"), ("voice", kind == "audio")] {
        let field = object.get(name);
        if field.is_given() && !belongs {
            return Err(field.wrong(&format!("does not belong to type {kind}")));
        }
    }
    object.maybe("caption", 1024)?;
    object.get("voice").flag()
}

fn location(location: &Field) -> Checked {
    location.get("latitude").degrees(90.0)?;
    location.get("longitude").degrees(180.0)
}

fn contact(contact: &Field) -> Checked {
    let name = contact.object("name")?;
    name.get("formatted_name").text(ANY)?;
    let parts = ["first_name", "last_name", "middle_name", "prefix", "suffix"];
    let more = parts.iter().any(|part| name.get(part).text(ANY).is_ok());
    if more { Ok(()) } else { Err((name.missing, format!("{} needs one of {} besides formatted_name", name.path, parts.join(", ")))) }
}

fn reaction(body: &Field, reaction: &Field) -> Checked {
    reaction.get("message_id").text(ANY)?;
    reaction.get("emoji").string(ANY)?;
    let context = body.get("context");
    if context.is_given() { Err(context.wrong("does not belong to a reaction")) } else { Ok(()) }
}

fn template(template: &Field, media: Media) -> Checked {
    let name = template.get("name");
    if !name.text(512)?.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Err(name.wrong("may hold only a-z, 0-9 and _"));
    }
    template.object("language")?.get("code").text(ANY)?;
    let components = template.get("components");
    if components.is_given() { components.items(0, ANY)?.iter().try_for_each(|c| component(c, media)) } else { Ok(()) }
}

fn component(part: &Field, media: Media) -> Checked {
    let kind = part.get("type");
    match kind.text(ANY)?.to_ascii_lowercase().as_str() {
        "header" | "body" | "limited_time_offer" | "order_status" | "tap_target_configuration" => parameters(part, media),
        "button" => button(part, media),
        "carousel" => part.get("cards").items(1, 10)?.iter().try_for_each(|card| {
            card.get("card_index").whole(0, 9)?;
            card.get("components").items(1, ANY)?.iter().try_for_each(|c| component(c, media))
        }),
        other => Err(kind.wrong(&format!("{other} is not a component"))),
    }
}

fn button(part: &Field, media: Media) -> Checked {
    let kind = part.get("sub_type");
    let name = kind.text(ANY)?.to_ascii_lowercase();
    let needy = match name.as_str() {
        "url" | "quick_reply" | "copy_code" | "mpm" | "order_details" => true,
        "flow" | "catalog" | "voice_call" | "spm" | "phone_number" => false,
        other => return Err(kind.wrong(&format!("{other} is not a kind of button"))),
    };
    part.get("index").whole(0, 9)?;
    let list = part.get("parameters");
    if needy && list.items(1, ANY).is_err() {
        return Err((131_008, format!("{} is required for a button of type {name}", list.path)));
    }
    parameters(part, media)
}

fn parameters(part: &Field, media: Media) -> Checked {
    let list = part.get("parameters");
    if list.is_given() { list.items(0, ANY)?.iter().try_for_each(|p| parameter(p, media)) } else { Ok(()) }
}

fn parameter(parameter: &Field, media: Media) -> Checked {
    let kind = parameter.get("type").text(ANY)?;
    let value = parameter.get(kind);
    parameter.maybe("parameter_name", ANY)?;
    match kind {
        "text" | "payload" => value.text(ANY).map(drop),
        "coupon_code" => value.text(15).map(drop),
        "ttl_minutes" => value.whole(1, 43_200).map(drop),
        "image" | "video" | "document" => file(&parameter.object(kind)?, kind, media),
        "location" => location(&parameter.object(kind)?),
        // Meta's example puts the object into a list.
        "tap_target_configuration" if value.value.is_array() => value.items(1, 1).map(drop),
        "currency" | "date_time" | "product" | "action" | "limited_time_offer" | "order_status" | "tap_target_configuration" => {
            parameter.object(kind).map(drop)
        }
        other => Err(parameter.get("type").wrong(&format!("{other} is not a parameter type"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A text with other fields.
    fn with(fields: Value) -> Value {
        let mut body = json!({"messaging_product": "whatsapp", "to": "5491155550000", "type": "text", "text": {"body": "x"}});
        for (name, value) in fields.as_object().expect("an object") {
            body[name.as_str()] = value.clone();
        }
        body
    }

    fn of(kind: &str, object: Value) -> Value {
        with(json!({"type": kind, kind: object}))
    }

    fn part(component: Value) -> Value {
        of("template", json!({"name": "hi_1", "language": {"code": "en"}, "components": [component]}))
    }

    #[test]
    fn good_bodies_pass() {
        let contact = json!({"name": {"formatted_name": "Ana B", "first_name": "Ana"}, "phones": [{"phone": "+549"}]});
        let url = json!({"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": "x"}]});
        for body in [
            with(json!({"to": "+5491155550000", "context": {"message_id": "wamid.1"}, "biz_opaque_callback_data": "x".repeat(512)})),
            with(json!({"to": null, "recipient": "US.13491208655302741918"})),
            with(json!({"to": "", "recipient": "US.ENT.134"})),
            with(json!({"to": "Y2FwaV9ncm91cDo=", "recipient_type": "group"})),
            of("text", json!({"body": "x".repeat(4096), "preview_url": true})),
            of("image", json!({"id": "77", "caption": "x"})),
            of("video", json!({"link": "https://a.example/v.mp4", "caption": "x"})),
            of("audio", json!({"id": "77", "voice": true})),
            of("document", json!({"link": "http://a.example/d.pdf", "filename": "d.pdf", "caption": "x"})),
            of("sticker", json!({"id": "77"})),
            of("location", json!({"latitude": -34.6, "longitude": "-58.4", "name": "Here"})),
            of("contacts", json!([contact])),
            of("reaction", json!({"message_id": "wamid.1", "emoji": ""})),
            of("template", json!({"name": "hi_1", "language": {"code": "en_US"}})),
            part(json!({"type": "HEADER", "parameters": [{"type": "image", "image": {"link": "https://a.example/i.png"}}]})),
            part(json!({"type": "HEADER", "parameters": [{"type": "text", "text": "x", "parameter_name": "name"}]})),
            part(json!({"type": "button", "sub_type": "COPY_CODE", "index": 1, "parameters": [{"type": "coupon_code", "coupon_code": "SAVE"}]})),
            part(json!({"type": "button", "sub_type": "flow", "index": 9})),
            part(json!({"type": "carousel", "cards": [{"card_index": 0, "components": [url]}]})),
        ] {
            assert_eq!(refuse(&body, &|id: &str| id == "77"), None, "{body}");
        }
    }

    #[test]
    fn bad_bodies_are_refused() {
        let reply = json!({"type": "reaction", "reaction": {"message_id": "wamid.1", "emoji": "👍"}, "context": {"message_id": "wamid.1"}});
        for (body, code, field) in [
            (json!(null), 100, "messaging_product is required"),
            (with(json!({"messaging_product": "sms"})), 100, "messaging_product"),
            (with(json!({"to": ""})), 100, "to or recipient"),
            (with(json!({"to": "ana"})), 100, "to is not"),
            (with(json!({"to": 549})), 100, "to must"),
            (with(json!({"recipient": "ana"})), 100, "recipient is not"),
            (with(json!({"recipient_type": "all"})), 100, "recipient_type"),
            (with(json!({"to": null, "recipient": "US.134", "recipient_type": "group"})), 100, "to is required"),
            (with(json!({"biz_opaque_callback_data": "x".repeat(513)})), 100, "biz_opaque_callback_data"),
            (with(json!({"context": {"message_id": ""}})), 100, "context.message_id"),
            (with(json!({"type": null})), 100, "type is required"),
            (with(json!({"type": "pin", "pin": {}})), 131_051, "type pin"),
            (with(json!({"type": "image"})), 100, "image is required"),
            (with(json!({"type": "location", "recipient_type": "group"})), 100, "type location is not supported in groups"),
            (of("text", json!({})), 100, "text.body is required"),
            (of("text", json!({"body": "😀".repeat(2049)})), 100, "text.body"),
            (of("text", json!({"body": "x", "preview_url": "yes"})), 100, "text.preview_url"),
            (of("image", json!({})), 100, "image.id or image.link"),
            (of("image", json!({"id": "77", "link": "https://a.example"})), 100, "image has both"),
            (of("image", json!({"id": "78"})), 100, "image.id: media id 78 does not exist"),
            (of("image", json!({"link": "ftp://a.example"})), 100, "image.link"),
            (of("image", json!({"id": "77", "caption": "x".repeat(1025)})), 100, "image.caption"),
            (of("audio", json!({"id": "77", "caption": "x"})), 100, "audio.caption"),
            (of("video", json!({"id": "77", "filename": "x"})), 100, "video.filename"),
            (of("document", json!({"id": "77", "voice": true})), 100, "document.voice"),
            (of("audio", json!({"id": "77", "voice": 1})), 100, "audio.voice"),
            (of("location", json!({"latitude": 91, "longitude": 0})), 100, "location.latitude"),
            (of("location", json!({"latitude": 1})), 100, "location.longitude is required"),
            (of("contacts", json!([])), 100, "contacts has 0"),
            (of("contacts", json!([{"name": {"formatted_name": "Ana"}}])), 100, "contacts[0].name needs"),
            (of("reaction", json!({"emoji": "👍"})), 100, "reaction.message_id"),
            (of("reaction", json!({"message_id": "wamid.1"})), 100, "reaction.emoji"),
            (with(reply), 100, "context does not belong"),
            (of("template", json!({"name": "Hi", "language": {"code": "en"}})), 100, "template.name"),
            (of("template", json!({"name": "hi", "language": {}})), 100, "template.language.code"),
            (part(json!({"type": "footer"})), 100, "components[0].type"),
            (part(json!({"type": "button", "sub_type": "poke", "index": 0})), 100, "components[0].sub_type"),
            (part(json!({"type": "button", "sub_type": "flow", "index": 10})), 100, "components[0].index"),
            (part(json!({"type": "button", "sub_type": "url", "index": 0})), 131_008, "components[0].parameters"),
            (part(json!({"type": "carousel", "cards": [{"card_index": 0}]})), 100, "cards[0].components"),
            (part(json!({"type": "HEADER", "parameters": [{"type": "gif"}]})), 100, "parameters[0].type"),
            (part(json!({"type": "HEADER", "parameters": [{"type": "text"}]})), 100, "parameters[0].text is required"),
            (part(json!({"type": "HEADER", "parameters": [{"type": "currency", "currency": 1}]})), 100, "parameters[0].currency"),
            (part(json!({"type": "HEADER", "parameters": [{"type": "image", "image": {"id": "78"}}]})), 100, "parameters[0].image.id"),
            (part(json!({"type": "HEADER", "parameters": [{"type": "coupon_code", "coupon_code": "x".repeat(16)}]})), 100, "[0].coupon_code"),
        ] {
            let (given, details) = refuse(&body, &|id: &str| id == "77").unwrap_or_else(|| panic!("{field}: not refused: {body}"));
            assert!(given == code && details.contains(field), "{code} {field}: {given} {details}");
        }
    }
}
