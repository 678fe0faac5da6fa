//! Excel workbooks (ECMA-376, part 1, chapter 18).

use std::io::BufRead;

use super::{
    MOST_IN_CELL, MOST_LISTED, Sheets,
    number::{Look, look, looks},
    package::Package,
    xml::{Element, Node, Xml},
};
use crate::understand::{
    table::{COLUMNS, Grid},
    text::head,
};

/// Texts shared by cells, and looks, that are kept of one workbook.
const MOST_SHARED: usize = 1_000_000;

/// What cells refer to.
#[derive(Default)]
struct Book {
    texts: Vec<String>,
    looks: Vec<Look>,
    /// Whether days are counted from 1904 on.
    from_1904: bool,
}

/// The sheets that can be seen and hold anything.
pub fn sheets(package: &mut Package) -> Result<Sheets, String> {
    let main = package.main()?;
    let relations = package.relations(&main)?;
    let mut book = Book::default();
    let mut listed = Vec::new();
    let Some(mut xml) = package.xml(&main)? else { return Err("the workbook is broken: its main part is missing".to_owned()) };
    while let Some(node) = xml.next()? {
        let Node::Start(element) = node else { continue };
        match element.name.as_str() {
            "workbookPr" => book.from_1904 = matches!(element.get("date1904"), Some("1" | "true")),
            "sheet" if listed.len() < MOST_LISTED && element.get("state").is_none_or(|state| state == "visible") => {
                if let Some(relation) = relations.iter().find(|relation| Some(relation.id.as_str()) == element.relation()) {
                    listed.push((element.get("name").unwrap_or_default().to_owned(), relation.target.clone()));
                }
            }
            _ => {}
        }
    }
    drop(xml);
    for relation in &relations {
        if relation.is("sharedStrings") {
            book.texts = texts(package, &relation.target)?;
        } else if relation.is("styles")
            && let Some(mut xml) = package.xml(&relation.target)?
        {
            book.looks = looks(&mut xml, MOST_SHARED)?;
        }
    }
    let mut sheets = Sheets::default();
    for (name, path) in listed {
        let Some(mut xml) = package.xml(&path)? else { continue };
        let rows = rows(&mut xml, &book)?;
        if !sheets.push(name, rows) {
            break;
        }
    }
    Ok(sheets)
}

/// The texts that cells share.
fn texts(package: &mut Package, path: &str) -> Result<Vec<String>, String> {
    let mut texts = Vec::new();
    let Some(mut xml) = package.xml(path)? else { return Ok(texts) };
    let mut text = String::new();
    let mut within = false;
    while let Some(node) = xml.next()? {
        match node {
            // How Japanese is pronounced.
            Node::Start(element) if element.name == "rPh" => xml.skip()?,
            Node::Start(element) => within = element.name == "t",
            Node::Text(piece) if within => text.push_str(&piece),
            Node::Text(_) => {}
            Node::End(name) => {
                within = false;
                if name == "si" {
                    texts.push(head(&std::mem::take(&mut text), MOST_IN_CELL).0.to_owned());
                }
            }
        }
        if texts.len() == MOST_SHARED {
            break;
        }
    }
    Ok(texts)
}

/// A cell that is being read.
#[derive(Default)]
struct Cell {
    column: usize,
    kind: String,
    style: usize,
    text: String,
}

impl Cell {
    /// As the element describes it; the column after the last one where it does not say.
    fn new(element: &Element, next: usize) -> Self {
        let column = element.get("r").and_then(column).unwrap_or(next);
        let kind = element.get("t").unwrap_or("n").to_owned();
        Self { column, kind, style: element.number("s").unwrap_or(0), text: String::new() }
    }

    /// What it shows.
    fn value(self, book: &Book) -> String {
        match self.kind.as_str() {
            "s" => self.text.trim().parse().ok().and_then(|at: usize| book.texts.get(at)).cloned().unwrap_or_default(),
            "b" => if self.text.trim() == "1" { "TRUE" } else { "FALSE" }.to_owned(),
            "n" => look(&self.text, book.looks.get(self.style).copied().unwrap_or(Look::Plain), book.from_1904),
            _ => self.text,
        }
    }
}

fn rows<R: BufRead>(xml: &mut Xml<R>, book: &Book) -> Result<Vec<Vec<String>>, String> {
    let mut grid = Grid::default();
    let mut row: Vec<String> = Vec::new();
    let mut cell: Option<Cell> = None;
    let (mut within, mut next) = (false, 0);
    while let Some(node) = xml.next()? {
        match node {
            Node::Start(element) => match element.name.as_str() {
                "row" => (row, next) = (Vec::new(), 0),
                "c" => cell = Some(Cell::new(&element, next)),
                "v" | "t" => within = true,
                // A formula is not what the cell shows.
                "f" | "rPh" => xml.skip()?,
                _ => {}
            },
            Node::Text(piece) if within => {
                if let Some(cell) = &mut cell {
                    cell.text.push_str(&piece);
                }
            }
            Node::Text(_) => {}
            Node::End(name) => match name.as_str() {
                "v" | "t" => within = false,
                "c" => {
                    let Some(cell) = cell.take() else { continue };
                    next = cell.column + 1;
                    // One more than is kept, by which the table knows that it was cut.
                    if cell.column <= COLUMNS {
                        row.resize(row.len().max(next), String::new());
                        let column = cell.column;
                        row[column] = cell.value(book);
                    }
                }
                "row" if !grid.push(std::mem::take(&mut row)) => break,
                "sheetData" => break,
                _ => {}
            },
        }
    }
    Ok(grid.into_rows())
}

/// The column of a reference like `BC12`, from 0 on.
fn column(reference: &str) -> Option<usize> {
    let letters: Vec<u8> = reference.bytes().take_while(u8::is_ascii_alphabetic).collect();
    if letters.is_empty() || letters.len() > 3 {
        return None;
    }
    Some(letters.iter().fold(0, |column, letter| column * 26 + usize::from(letter.to_ascii_uppercase() - b'A') + 1) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        assert_eq!(["A1", "Z1", "AA10", "XFD1", "12", "ABCD1"].map(column), [Some(0), Some(25), Some(26), Some(16383), None, None]);
    }
}
