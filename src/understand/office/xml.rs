//! XML as a stream of elements and text, with names as they are without prefixes: which prefix stands for which
//! namespace is up to who writes a document, and no two names that matter differ in that only.

use std::io::BufRead;

use quick_xml::{
    Error, Reader, XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesRef, BytesStart, Event},
};

/// Elements nested deeper than this are no document.
const DEEPEST: usize = 256;
/// Attributes read of one element.
const MOST_ATTRIBUTES: usize = 64;

/// A piece of a document.
pub enum Node {
    /// An element begins.
    Start(Element),
    /// The element of this name ends, one without content too.
    End(String),
    /// Text; one text may come in several pieces.
    Text(String),
}

/// The beginning of an element.
pub struct Element {
    /// Without its prefix.
    pub name: String,
    /// With their prefixes.
    attributes: Vec<(String, String)>,
}

impl Element {
    /// An attribute by its name without a prefix; one that has none comes first.
    pub fn get(&self, name: &str) -> Option<&str> {
        let bare = self.attributes.iter().find(|(key, _)| key == name);
        let attribute = bare.or_else(|| self.attributes.iter().find(|(key, _)| local(key) == name));
        attribute.map(|(_, value)| value.as_str())
    }

    /// The id of a relation: `r:id`, where the element may have an `id` of its own.
    pub fn relation(&self) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key.ends_with(":id")).map(|(_, value)| value.as_str())
    }

    /// An attribute as a number.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.get(name)?.parse().ok()
    }
}

/// A document that is being read. Declared entities are not expanded, but stay as they are written.
pub struct Xml<R> {
    reader: Reader<R>,
    buffer: Vec<u8>,
    depth: usize,
}

impl<R: BufRead> Xml<R> {
    /// Begins to read.
    pub fn new(source: R) -> Self {
        let mut reader = Reader::from_reader(source);
        reader.config_mut().expand_empty_elements = true;
        Self { reader, buffer: Vec::new(), depth: 0 }
    }

    /// The next piece; none at the end.
    pub fn next(&mut self) -> Result<Option<Node>, String> {
        loop {
            self.buffer.clear();
            return Ok(Some(match self.reader.read_event_into(&mut self.buffer).map_err(broken)? {
                Event::Start(start) => {
                    self.depth += 1;
                    if self.depth > DEEPEST {
                        return Err("the document is broken: it is nested too deeply".to_owned());
                    }
                    Node::Start(element(&start))
                }
                Event::End(end) => {
                    self.depth = self.depth.saturating_sub(1);
                    Node::End(String::from_utf8_lossy(end.local_name().as_ref()).into_owned())
                }
                Event::Text(text) => Node::Text(String::from_utf8_lossy(&text).into_owned()),
                Event::CData(text) => Node::Text(String::from_utf8_lossy(&text).into_owned()),
                Event::GeneralRef(reference) => Node::Text(resolve(&reference)),
                Event::Eof => return Ok(None),
                // Empty elements come as their beginning and their end.
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => continue,
            }));
        }
    }

    /// Passes over the rest of the element that has just begun.
    pub fn skip(&mut self) -> Result<(), String> {
        let outside = self.depth.saturating_sub(1);
        while self.depth > outside && self.next()?.is_some() {}
        Ok(())
    }
}

fn broken(error: Error) -> String {
    match error {
        // Either the archive's, or that it grows too large.
        Error::Io(error) => error.to_string(),
        error => format!("the document is broken: {error}"),
    }
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

fn element(start: &BytesStart) -> Element {
    let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
    // Whether two attributes have the same name matters to nobody, and to find out takes time.
    let mut attributes = start.attributes();
    let attributes = attributes.with_checks(false).take(MOST_ATTRIBUTES).filter_map(Result::ok).map(|attribute| {
        let raw = || String::from_utf8_lossy(&attribute.value).into_owned();
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_or_else(|_| raw(), |value| value.into_owned());
        (String::from_utf8_lossy(attribute.key.as_ref()).into_owned(), value)
    });
    Element { name, attributes: attributes.collect() }
}

fn resolve(reference: &BytesRef) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    let name = String::from_utf8_lossy(reference);
    resolve_predefined_entity(&name).map_or_else(|| format!("&{name};"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(xml: &str) -> Result<String, String> {
        let mut xml = Xml::new(xml.as_bytes());
        let mut text = String::new();
        while let Some(node) = xml.next()? {
            match node {
                Node::Start(element) if element.name == "no" => xml.skip()?,
                Node::Start(element) => text.push_str(element.get("a").unwrap_or_default()),
                Node::Text(piece) => text.push_str(&piece),
                Node::End(_) => {}
            }
        }
        Ok(text)
    }

    #[test]
    fn documents() {
        assert_eq!(text("<x:t y:a='1&amp;'>b&lt;&#228;<![CDATA[<]]><no><t>no</t></no><no/><!-- c -->d</x:t>").expect("text"), "1&b<ä<d");
    }

    #[test]
    fn entities_are_not_expanded() {
        let laughs = r#"<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]><x a="&b;">&b;&c;</x>"#;
        assert_eq!(text(laughs).expect("text"), "&b;&b;&c;");
    }

    #[test]
    fn broken_documents() {
        assert!(text("<a><b></a>").is_err());
        assert!(text(&"<a>".repeat(DEEPEST + 1)).expect_err("deep").contains("deeply"));
    }
}
