//! Documents, presentations and spreadsheets of LibreOffice and others (OASIS OpenDocument 1.3).

use std::{collections::HashMap, io::BufRead};

use super::{
    MOST_IN_CELL, Sheets,
    flow::{Dialect, Flow},
    package::Package,
    xml::{Element, Node, Xml},
};
use crate::understand::{
    table::{COLUMNS, Grid, ROWS},
    text::{Page, head},
};

const CONTENT: &str = "content.xml";
const MISSING: &str = "the file is no OpenDocument: it holds no content.xml";

/// The text of a document, or of a presentation with a heading for each slide.
pub fn text(package: &mut Package) -> Result<Option<String>, String> {
    let mut page = Page::default();
    let styles = HashMap::new();
    let mut xml = package.xml(CONTENT)?.ok_or(MISSING)?;
    Flow::new(Dialect::OpenDocument, &styles, &mut page).read(&mut xml)?;
    Ok(page.finish())
}

/// The sheets that hold anything.
pub fn sheets(package: &mut Package) -> Result<Sheets, String> {
    let mut xml = package.xml(CONTENT)?.ok_or(MISSING)?;
    let mut sheets = Sheets::default();
    while let Some(node) = xml.next()? {
        match node {
            Node::Start(element) if element.name == "tracked-changes" => xml.skip()?,
            Node::Start(element) if element.name == "table" => {
                let rows = rows(&mut xml)?;
                if !sheets.push(element.get("name").unwrap_or_default().to_owned(), rows) {
                    break;
                }
            }
            _ => {}
        }
    }
    Ok(sheets)
}

/// A cell that is being read.
struct Cell {
    /// What it holds where that is a number or a date, which it shows as its language does.
    value: Option<String>,
    text: String,
    repeated: usize,
}

impl Cell {
    fn new(element: &Element) -> Self {
        let value = match element.get("value-type") {
            Some("float") => element.get("value"),
            Some("date") => element.get("date-value"),
            _ => None,
        };
        Self { value: value.map(str::to_owned), text: String::new(), repeated: element.number("number-columns-repeated").unwrap_or(1) }
    }
}

/// The rows of the table that has just begun, to its end.
fn rows<R: BufRead>(xml: &mut Xml<R>) -> Result<Vec<Vec<String>>, String> {
    let mut grid = Grid::default();
    let (mut row, mut repeated) = (Vec::new(), 1);
    let mut cell: Option<Cell> = None;
    let mut paragraphs = 0_usize;
    while let Some(node) = xml.next()? {
        match node {
            Node::Start(element) => match element.name.as_str() {
                "table-row" => (row, repeated) = (Vec::new(), element.number("number-rows-repeated").unwrap_or(1)),
                "table-cell" | "covered-table-cell" => cell = Some(Cell::new(&element)),
                "annotation" | "shapes" | "forms" | "table" => xml.skip()?,
                "p" => {
                    paragraphs += 1;
                    if let Some(cell) = cell.as_mut().filter(|cell| !cell.text.is_empty()) {
                        cell.text.push('\n');
                    }
                }
                "s" | "tab" => {
                    if let Some(cell) = &mut cell {
                        cell.text.push(' ');
                    }
                }
                _ => {}
            },
            Node::Text(piece) => {
                if let Some(cell) = cell.as_mut().filter(|_| paragraphs > 0) {
                    cell.text.push_str(&piece);
                }
            }
            Node::End(name) => match name.as_str() {
                "p" => paragraphs = paragraphs.saturating_sub(1),
                "table-cell" | "covered-table-cell" => {
                    if let Some(Cell { value, text, repeated }) = cell.take() {
                        // One more than is kept, by which the table knows that it was cut.
                        let times = repeated.min((COLUMNS + 1).saturating_sub(row.len()));
                        let value = value.unwrap_or(text);
                        row.extend(std::iter::repeat_n(head(&value, MOST_IN_CELL).0.to_owned(), times));
                    }
                }
                "table-row" => end_row(&mut grid, std::mem::take(&mut row), repeated),
                "table" => break,
                _ => {}
            },
        }
    }
    Ok(grid.into_rows())
}

fn end_row(grid: &mut Grid, row: Vec<String>, repeated: usize) {
    // The empty rest of a sheet is a row that is repeated a million times.
    if row.iter().any(|cell| !cell.trim().is_empty()) {
        for _ in 0..repeated.min(ROWS + 1) {
            if !grid.push(row.iter().cloned()) {
                break;
            }
        }
    }
}
