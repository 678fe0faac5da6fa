//! Tables of HTML.

use crate::understand::table::{self, Grid};

/// A table that is being read.
#[derive(Default)]
pub struct Table {
    grid: Grid,
    row: Vec<String>,
    /// The cell that is open.
    pub cell: Option<String>,
    /// Whether it holds another table: then it only arranges things on the page.
    pub layout: bool,
}

impl Table {
    /// Ends the cell, if one is open.
    pub fn end_cell(&mut self) {
        // What cannot be kept need not be collected either.
        if let Some(cell) = self.cell.take().filter(|_| self.row.len() <= table::COLUMNS) {
            self.row.push(cell.trim().to_owned());
        }
    }

    /// Ends the row, and the cell with it.
    pub fn end_row(&mut self) {
        self.end_cell();
        self.grid.push(std::mem::take(&mut self.row));
    }

    /// As Markdown; as paragraphs where it is no table to a reader.
    pub fn finish(mut self) -> String {
        self.end_row();
        let rows = self.grid.into_rows();
        if !self.layout && table::width(&rows) > 1 {
            return table::markdown(&rows);
        }
        rows.into_iter().flatten().filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join("\n\n")
    }
}
