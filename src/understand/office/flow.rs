//! Documents that flow: paragraphs, headings, lists and tables, of text documents and of slides, as Markdown.

use std::{collections::HashMap, io::BufRead};

use super::xml::{Element, Node, Xml};
use crate::understand::{
    table::{self, Grid},
    text::{Page, is_one_of},
};

/// Elements that are not read: what was deleted or is only there for other programs, and notes of who edited.
const HIDDEN: &str = "Fallback del moveFrom instrText pPrChange tblPr sectPr annotation tracked-changes notes forms scripts binary-data";
/// Which family of documents it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// DOCX and PPTX: text is in `t` within runs within paragraphs.
    OpenXml,
    /// ODT and ODP: text is in paragraphs.
    OpenDocument,
}

/// A paragraph that is being read.
#[derive(Default)]
struct Paragraph {
    text: String,
    /// 1 to 6 of a heading.
    heading: Option<usize>,
    /// How deep in lists an item is; 0 for the outermost.
    item: Option<usize>,
}

/// A table that is being read.
#[derive(Default)]
struct Table {
    grid: Grid,
    row: Vec<String>,
    cell: String,
    /// How many columns the cell takes.
    span: usize,
}

/// What has been read so far.
pub struct Flow<'a> {
    dialect: Dialect,
    /// Levels of headings by the ids of styles, 0 for items of lists.
    styles: &'a HashMap<String, usize>,
    page: &'a mut Page,
    paragraphs: Vec<Paragraph>,
    tables: Vec<Table>,
    /// Whether text counts: within how many `t`.
    texts: usize,
    /// Within how many runs: a `tab` elsewhere defines a tabulator.
    runs: usize,
    lists: usize,
    slides: usize,
    /// Whether the shape is a slide's title.
    title: bool,
    /// Whether the last paragraph was an item of a list.
    after_item: bool,
}

impl<'a> Flow<'a> {
    /// To write to the page.
    pub fn new(dialect: Dialect, styles: &'a HashMap<String, usize>, page: &'a mut Page) -> Self {
        let (paragraphs, tables) = (Vec::new(), Vec::new());
        Self { dialect, styles, page, paragraphs, tables, texts: 0, runs: 0, lists: 0, slides: 0, title: false, after_item: false }
    }

    /// Reads a part of the document to its end, or until the page is full.
    pub fn read<R: BufRead>(mut self, xml: &mut Xml<R>) -> Result<(), String> {
        while let Some(node) = xml.next()? {
            match node {
                Node::Start(element) if is_one_of(HIDDEN, &element.name) => xml.skip()?,
                Node::Start(element) => self.start(&element),
                Node::End(name) => self.end(&name),
                Node::Text(text) => self.text(&text),
            }
            if self.page.is_full() {
                break;
            }
        }
        Ok(())
    }

    fn start(&mut self, element: &Element) {
        match (self.dialect, element.name.as_str()) {
            (_, "p") => self.paragraphs.push(Paragraph {
                heading: self.title.then_some(3),
                item: (self.dialect == Dialect::OpenDocument).then(|| self.lists.checked_sub(1)).flatten(),
                ..Paragraph::default()
            }),
            (_, "tbl") | (Dialect::OpenDocument, "table") => self.tables.push(Table::default()),
            (_, "tc") | (Dialect::OpenDocument, "table-cell" | "covered-table-cell") => {
                if let Some(table) = self.tables.last_mut() {
                    table.span = element.number("number-columns-repeated").unwrap_or(1);
                }
            }
            (Dialect::OpenXml, name) => self.start_open_xml(name, element),
            (Dialect::OpenDocument, name) => self.start_open_document(name, element),
        }
    }

    fn start_open_xml(&mut self, name: &str, element: &Element) {
        let styles = self.styles;
        match name {
            "t" => self.texts += 1,
            "r" => self.runs += 1,
            "tab" if self.runs > 0 => self.add("\t"),
            "noBreakHyphen" => self.add("-"),
            "br" | "cr" => self.add("\n"),
            "ph" => self.title = matches!(element.get("type"), Some("title" | "ctrTitle")),
            "gridSpan" => {
                if let (Some(table), Some(span)) = (self.tables.last_mut(), element.number("val")) {
                    table.span = span;
                }
            }
            _ => {
                let Some(paragraph) = self.paragraphs.last_mut() else { return };
                match name {
                    "pStyle" => match element.get("val").and_then(|style| styles.get(style)) {
                        Some(0) => paragraph.item = Some(0),
                        level => paragraph.heading = level.copied(),
                    },
                    "outlineLvl" => paragraph.heading = element.number("val").filter(|level| *level < 6).map(|level| level + 1),
                    "numPr" => paragraph.item = Some(0),
                    "ilvl" => paragraph.item = element.number("val"),
                    _ => {}
                }
            }
        }
    }

    fn start_open_document(&mut self, name: &str, element: &Element) {
        match name {
            "h" => {
                let heading = Some(element.number("outline-level").unwrap_or(1).clamp(1, 6));
                self.paragraphs.push(Paragraph { heading, ..Paragraph::default() });
            }
            "list" => self.lists += 1,
            "s" => self.add(&" ".repeat(element.number("c").unwrap_or(1).min(16))),
            "tab" => self.add("\t"),
            "line-break" => self.add("\n"),
            "page" => {
                self.slides += 1;
                self.page.push(&format!("## Slide {}\n\n", self.slides));
            }
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match (self.dialect, name) {
            (_, "p") | (Dialect::OpenDocument, "h") => self.end_paragraph(),
            (_, "tbl") | (Dialect::OpenDocument, "table") => self.end_table(),
            (_, "tr") | (Dialect::OpenDocument, "table-row") => {
                if let Some(table) = self.tables.last_mut() {
                    table.grid.push(std::mem::take(&mut table.row));
                }
            }
            (_, "tc") | (Dialect::OpenDocument, "table-cell" | "covered-table-cell") => {
                if let Some(table) = self.tables.last_mut() {
                    let cell = std::mem::take(&mut table.cell);
                    // One more than is kept, by which the table knows that it was cut.
                    if table.row.len() <= table::COLUMNS {
                        table.row.push(cell.trim().to_owned());
                    }
                    let empty = table.span.saturating_sub(1).min(table::COLUMNS.saturating_sub(table.row.len()));
                    table.row.extend(std::iter::repeat_n(String::new(), empty));
                }
            }
            (Dialect::OpenXml, "t") => self.texts = self.texts.saturating_sub(1),
            (Dialect::OpenXml, "r") => self.runs = self.runs.saturating_sub(1),
            (Dialect::OpenXml, "sp") => self.title = false,
            (Dialect::OpenDocument, "list") => self.lists = self.lists.saturating_sub(1),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        match self.dialect {
            Dialect::OpenXml if self.texts > 0 => self.add(text),
            Dialect::OpenXml => {}
            // White space is one space here, however much of it there is.
            Dialect::OpenDocument => {
                if let Some(paragraph) = self.paragraphs.last_mut() {
                    for character in text.chars() {
                        let space = matches!(character, ' ' | '\t' | '\n' | '\r');
                        if !space {
                            paragraph.text.push(character);
                        } else if !paragraph.text.is_empty() && !paragraph.text.ends_with(' ') {
                            paragraph.text.push(' ');
                        }
                    }
                }
            }
        }
    }

    fn add(&mut self, text: &str) {
        if let Some(paragraph) = self.paragraphs.last_mut() {
            paragraph.text.push_str(text);
        }
    }

    fn end_paragraph(&mut self) {
        let Some(paragraph) = self.paragraphs.pop() else { return };
        let text = paragraph.text.trim();
        if text.is_empty() {
            return;
        }
        if let Some(table) = self.tables.last_mut() {
            if !table.cell.is_empty() {
                table.cell.push('\n');
            }
            table.cell.push_str(text);
            return;
        }
        let written = match (paragraph.heading, paragraph.item) {
            (Some(level), _) => format!("{} {text}\n\n", "#".repeat(level.clamp(1, 6))),
            (None, Some(depth)) => format!("{}- {text}\n", "  ".repeat(depth.min(8))),
            (None, None) => format!("{text}\n\n"),
        };
        let item = paragraph.heading.is_none() && paragraph.item.is_some();
        if self.after_item && !item {
            self.page.push("\n");
        }
        self.after_item = item;
        self.page.push(&written);
    }

    fn end_table(&mut self) {
        let Some(table) = self.tables.pop() else { return };
        let rows = table.grid.into_rows();
        match self.tables.last_mut() {
            // A table in a cell: Markdown knows none.
            Some(around) => around.cell.push_str(&rows.iter().map(|row| row.join("; ") + "\n").collect::<String>()),
            None if rows.is_empty() => {}
            None => {
                if std::mem::take(&mut self.after_item) {
                    self.page.push("\n");
                }
                self.page.push(&(table::markdown(&rows) + "\n"));
            }
        }
    }
}
