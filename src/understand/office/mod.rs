//! Office documents, without an office: archives of XML.
//!
//! Whoever wrote them may mean harm, so what is read is bounded: how much an archive decompresses to, how many of its
//! entries are read, how deep XML nests, and how much text and how many rows are kept.

mod docx;
mod flow;
mod number;
mod open_document;
mod package;
#[cfg(test)]
mod tests;
mod xlsx;
mod xml;

use super::{
    Findings, table,
    text::{MOST, Page},
};
use package::Package;

/// Characters kept of a cell: as many as Excel allows. A text that is stored once may be shown in any number of cells.
const MOST_IN_CELL: usize = 32_767;
/// Sheets and slides that a document may list.
const MOST_LISTED: usize = 1_000;

/// A Word document.
pub fn docx(bytes: &[u8]) -> Result<Findings, String> {
    Ok(written(docx::document(&mut Package::open(bytes)?)?))
}

/// A PowerPoint presentation.
pub fn pptx(bytes: &[u8]) -> Result<Findings, String> {
    Ok(written(docx::presentation(&mut Package::open(bytes)?)?))
}

/// An OpenDocument text or presentation.
pub fn open_document(bytes: &[u8]) -> Result<Findings, String> {
    Ok(written(open_document::text(&mut Package::open(bytes)?)?))
}

/// An Excel workbook.
pub fn xlsx(bytes: &[u8]) -> Result<Findings, String> {
    Ok(calculated(xlsx::sheets(&mut Package::open(bytes)?)?))
}

/// An OpenDocument spreadsheet.
pub fn ods(bytes: &[u8]) -> Result<Findings, String> {
    Ok(calculated(open_document::sheets(&mut Package::open(bytes)?)?))
}

fn written(text: Option<String>) -> Findings {
    Findings { transcription: text, ..Findings::default() }
}

/// The sheets that were read so far.
#[derive(Default)]
struct Sheets {
    sheets: Vec<(String, Vec<Vec<String>>)>,
    length: usize,
}

impl Sheets {
    /// Adds one that is not empty. False when no more can be kept.
    fn push(&mut self, name: String, rows: Vec<Vec<String>>) -> bool {
        self.length += rows.iter().flatten().map(String::len).sum::<usize>();
        if !rows.is_empty() {
            self.sheets.push((name, rows));
        }
        self.length < MOST
    }
}

/// The first sheet is the table; where there are several, all of them are text as well.
fn calculated(Sheets { sheets, .. }: Sheets) -> Findings {
    let mut page = Page::default();
    if sheets.len() > 1 {
        for (name, rows) in &sheets {
            page.push(&format!("## {name}\n\n{}\n", table::markdown(rows)));
        }
    }
    Findings { transcription: page.finish(), table: sheets.into_iter().next().map(|(_, rows)| rows), description: None }
}
