//! Tags of HTML, as leniently as browsers read them. Whatever the page holds, it is passed over once.

use crate::understand::text::head;

/// What a `<` begins.
pub enum Tag<'a> {
    /// An element begins: its name in lower case, and its attributes as they are written.
    Start(String, &'a str),
    /// An element ends.
    End(String),
    /// What only looked like a tag.
    Text(&'a str),
    /// A comment or a declaration.
    Nothing,
}

/// What the `<` begins, and what follows it.
pub fn tag(html: &str) -> (Tag<'_>, &str) {
    let after = |mark: &str| html.find(mark).map_or("", |at| &html[at + mark.len()..]);
    if html.starts_with("<!--") {
        return (Tag::Nothing, after("-->"));
    }
    if html.starts_with("<!") || html.starts_with("<?") {
        return (Tag::Nothing, after(">"));
    }
    let (closing, inner) = html[1..].strip_prefix('/').map_or((false, &html[1..]), |inner| (true, inner));
    if !inner.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return (Tag::Text(&html[..1]), &html[1..]);
    }
    let name = inner.split(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>')).next().unwrap_or_default();
    // Custom elements have long names, and none of them matters.
    let (short, _) = head(name, 20);
    let (short, inner) = (short.to_ascii_lowercase(), &inner[name.len()..]);
    let end = end_of_tag(inner);
    let rest = inner.get(end + 1..).unwrap_or_default();
    (if closing { Tag::End(short) } else { Tag::Start(short, &inner[..end]) }, rest)
}

/// Where the tag's `>` is: not within quotes.
fn end_of_tag(inner: &str) -> usize {
    let mut quote = None;
    for (at, byte) in inner.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return at,
            (None, b'"' | b'\'') if inner[..at].trim_end().ends_with('=') => quote = Some(byte),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    inner.len()
}

/// What follows the end tag of an element whose content is not read.
pub fn past<'a>(html: &'a str, name: &str) -> &'a str {
    let mut rest = html;
    while let Some(at) = rest.find("</") {
        rest = &rest[at + 2..];
        if rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
            return rest.find('>').map_or("", |at| &rest[at + 1..]);
        }
    }
    ""
}

/// The value of an attribute, as it is written.
pub fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = attributes;
    while let Some(equals) = rest.find('=') {
        let key = rest[..equals].trim_end().rsplit(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
        let value = rest[equals + 1..].trim_start();
        let (value, after) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split_once(quote).unwrap_or((&value[1..], "")),
            _ => value.split_at(value.find(|c: char| c.is_ascii_whitespace()).unwrap_or(value.len())),
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after;
    }
    None
}
