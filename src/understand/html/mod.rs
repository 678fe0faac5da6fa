//! HTML as Markdown: headings, paragraphs, lists, tables, links.
//!
//! A page from outside is read in one pass over its tags and without a tree. Parsers that build one recurse as deep as
//! the page nests, and a stack that overflows takes the whole process with it.

mod cells;
mod entity;
mod tag;

use super::text::{Page, is_one_of};
use cells::Table;
use entity::entities;
use tag::{Tag, attribute, past, tag};

/// Elements whose content nobody reads.
const HIDDEN: &str = "script style template title svg math iframe object textarea select noembed";
/// Elements that begin and end a paragraph.
const BLOCKS: &str = "p div section article header footer main nav aside address form fieldset legend figure figcaption center details summary dl \
    dt dd blockquote caption body";
/// Tables nested deeper than this are text of the cell around them.
const DEEPEST: usize = 8;

/// The page as Markdown; none for one without text.
pub fn markdown(html: &str) -> Option<String> {
    let mut writer = Writer::default();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        writer.text(&rest[..at]);
        let (tag, after) = tag(&rest[at..]);
        rest = after;
        match tag {
            Tag::Start(name, _) if is_one_of(HIDDEN, &name) => rest = past(rest, &name),
            Tag::Start(name, attributes) => writer.start(&name, attributes),
            Tag::End(name) => writer.end(&name),
            Tag::Text(text) => writer.text(text),
            Tag::Nothing => {}
        }
        if writer.page.is_full() {
            return writer.page.finish();
        }
    }
    writer.text(rest);
    writer.finish()
}

#[derive(Default)]
struct Writer {
    page: Page,
    /// The paragraph so far.
    line: String,
    /// Where in it a link began, and where it leads.
    link: Option<(usize, String)>,
    heading: usize,
    /// The lists around, with the last number of those that count.
    lists: Vec<Option<usize>>,
    /// What the next paragraph of a list begins with.
    marker: Option<String>,
    preformatted: bool,
    tables: Vec<Table>,
}

impl Writer {
    fn text(&mut self, raw: &str) {
        for character in entities(raw).chars() {
            match character {
                c if self.preformatted => self.line.push(c),
                c if c.is_whitespace() && c != '\u{a0}' => {
                    if !self.line.is_empty() && !self.line.ends_with([' ', '\n']) {
                        self.line.push(' ');
                    }
                }
                '\u{a0}' => self.line.push(' '),
                c => self.line.push(c),
            }
        }
    }

    fn start(&mut self, name: &str, attributes: &str) {
        match name {
            "br" => self.line.push('\n'),
            "hr" => {
                self.flush();
                self.write("---\n\n");
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.flush();
                self.heading = usize::from(name.as_bytes()[1] - b'0');
            }
            "ul" | "ol" => {
                self.flush();
                self.lists.push((name == "ol").then_some(0));
            }
            "li" => {
                self.flush();
                let marker = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{number}. ")
                    }
                    _ => "- ".to_owned(),
                };
                self.marker = Some("  ".repeat(self.lists.len().clamp(1, DEEPEST) - 1) + &marker);
            }
            "pre" => {
                self.flush();
                self.preformatted = true;
            }
            "a" => {
                let href = attribute(attributes, "href").map(entities).unwrap_or_default();
                let leads = ["http://", "https://", "mailto:", "tel:"].iter().any(|scheme| href.starts_with(scheme));
                self.link = leads.then_some((self.line.len(), href));
            }
            "img" => {
                if let Some(alt) = attribute(attributes, "alt").map(entities).filter(|alt| !alt.trim().is_empty()) {
                    self.line.push_str(&format!("[image: {}]", alt.trim()));
                }
            }
            "table" if self.tables.len() < DEEPEST => {
                self.flush();
                self.tables.iter_mut().for_each(|table| table.layout = true);
                self.tables.push(Table::default());
            }
            "tr" => self.end_row(),
            "td" | "th" => {
                self.end_cell();
                if let Some(table) = self.tables.last_mut() {
                    table.cell = Some(String::new());
                }
            }
            _ if is_one_of(BLOCKS, name) => self.flush(),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.flush();
                self.heading = 0;
            }
            "ul" | "ol" => {
                self.flush();
                self.marker = None;
                self.lists.pop();
                if self.lists.is_empty() {
                    self.write("\n");
                }
            }
            "pre" => {
                let code = std::mem::take(&mut self.line);
                self.preformatted = false;
                let code = code.trim_matches('\n');
                if !code.trim().is_empty() {
                    self.write(&format!("```\n{code}\n```\n\n"));
                }
            }
            "a" => self.end_link(),
            "table" => {
                self.flush();
                if let Some(table) = self.tables.pop() {
                    self.write(&(table.finish().trim_end().to_owned() + "\n\n"));
                }
            }
            "tr" => self.end_row(),
            "td" | "th" => self.end_cell(),
            _ if is_one_of(BLOCKS, name) => self.flush(),
            _ => {}
        }
    }

    fn end_cell(&mut self) {
        self.flush();
        if let Some(table) = self.tables.last_mut() {
            table.end_cell();
        }
    }

    fn end_row(&mut self) {
        self.flush();
        if let Some(table) = self.tables.last_mut() {
            table.end_row();
        }
    }

    fn end_link(&mut self) {
        let Some((start, href)) = self.link.take() else { return };
        let text = self.line.get(start..).unwrap_or_default().trim().to_owned();
        if !text.is_empty() && text != href {
            self.line.truncate(start);
            self.line.push_str(&format!("[{text}]({href})"));
        }
    }

    /// Ends the paragraph.
    fn flush(&mut self) {
        self.link = None;
        let line = std::mem::take(&mut self.line);
        let line = line.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        let marker = self.marker.take();
        let end = if self.lists.is_empty() { "\n\n" } else { "\n" };
        let heading = if self.heading > 0 { "#".repeat(self.heading) + " " } else { String::new() };
        self.write(&format!("{}{heading}{line}{end}", marker.unwrap_or_default()));
    }

    /// To the innermost open cell, or to the page.
    fn write(&mut self, text: &str) {
        match self.tables.iter_mut().rev().find_map(|table| table.cell.as_mut()) {
            Some(cell) => cell.push_str(text),
            None => self.page.push(text),
        }
    }

    fn finish(mut self) -> Option<String> {
        self.flush();
        while !self.tables.is_empty() {
            self.end("table");
        }
        self.page.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(html: &str) -> String {
        markdown(html).unwrap_or_default()
    }

    #[test]
    fn a_page() {
        let html = r#"<!doctype html><html><head><title>T</title><style>p > a {}</style></head><body onload="x > y">
            <script>if (a < b) document.write("<p>evil</p>");</script><!-- <p>no</p> -->
            <h1>Prices &amp;
                <b>terms</b></h1><p>See <a href="https://example.com/?a=1&amp;b=2">our page</a>,<br>or call.<p>5 < 6
            <ul><li>one<li>two <ol><li>deep</li></ol></ul><img src="x.png" alt="Logo"><pre>a
  b</pre><a href="javascript:alert(1)">click</a></body></html>"#;
        assert_eq!(
            read(html),
            "# Prices & terms\n\nSee [our page](https://example.com/?a=1&b=2),\nor call.\n\n5 < 6\n\n- one\n- two\n  1. deep\n\n[image: Logo]\n\n\
             ```\na\n  b\n```\n\nclick"
        );
    }

    #[test]
    fn tables() {
        let html = "<table><caption>C</caption><tr><th>a<th>b</tr><tr><td></td><td>2|3</td></table>after";
        assert_eq!(read(html), "C\n\n| a | b |\n| --- | --- |\n|  | 2\\|3 |\n\nafter");
        let layout = "<table><tr><td>top</td></tr><tr><td><table><tr><td>a</td><td>b</td></tr></table></td><td>side</td></tr></table>";
        assert_eq!(read(layout), "top\n\n| a | b |\n| --- | --- |\n\nside");
    }

    #[test]
    fn hostile_pages() {
        // Nesting costs neither stack nor time.
        for html in ["<div>", "<table><tr><td>", "<b>x</b>", "<ul><li>", "<a x='", "<!-", "</", "<script></scrip", "&", "<p a=\"\" "] {
            read(&html.repeat(100_000));
        }
        assert_eq!(read("<p>kept <unfinished a='"), "kept");
        assert_eq!(read(""), "");
    }
}
