//! Tables: how much of them is kept, and how they are written.

use super::text::MOST;

/// Rows kept of a table.
pub const ROWS: usize = 5_000;
/// Columns kept of a table.
pub const COLUMNS: usize = 100;
/// The last row of a table that was cut.
pub const CUT: &str = "[… the rest is left out: of a table, 5,000 rows, 100 columns and 400,000 characters are read]";

/// A table that grows up to the limits.
pub struct Grid {
    rows: Vec<Vec<String>>,
    left: usize,
    cut: bool,
    full: bool,
}

impl Default for Grid {
    fn default() -> Self {
        Self { rows: Vec::new(), left: MOST, cut: false, full: false }
    }
}

impl Grid {
    /// Adds a row; empty rows and empty cells at the end are dropped. False when there is no place for more.
    pub fn push(&mut self, row: impl IntoIterator<Item = String>) -> bool {
        let mut kept: Vec<String> = Vec::new();
        let mut cells = row.into_iter().map(|cell| cell.trim().to_owned());
        for cell in cells.by_ref().take(COLUMNS) {
            let length = cell.chars().count();
            if length > self.left {
                (self.cut, self.full) = (true, true);
                break;
            }
            self.left -= length;
            kept.push(cell);
        }
        self.cut |= !self.full && cells.any(|cell| !cell.is_empty());
        kept.truncate(kept.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1));
        if !kept.is_empty() {
            if self.rows.len() == ROWS {
                (self.cut, self.full) = (true, true);
            } else {
                self.rows.push(kept);
            }
        }
        !self.full
    }

    /// The rows, and [`CUT`] as the last one where something was dropped.
    pub fn into_rows(mut self) -> Vec<Vec<String>> {
        if self.cut {
            self.rows.push(vec![CUT.to_owned()]);
        }
        self.rows
    }
}

/// The rows within the limits.
pub fn within(rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let mut grid = Grid::default();
    for row in rows {
        if !grid.push(row) {
            break;
        }
    }
    grid.into_rows()
}

/// How many columns there are.
pub fn width(rows: &[Vec<String>]) -> usize {
    rows.iter().map(Vec::len).max().unwrap_or(0)
}

/// As a Markdown table, whose header is the first row. It ends with a line feed.
pub fn markdown(rows: &[Vec<String>]) -> String {
    let width = width(rows);
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        text.push('|');
        // The note of a cut table needs no cells beside it.
        let cells = if at > 0 && row.len() == 1 && row[0] == CUT { 1 } else { width };
        for column in 0..cells {
            let cell = row.get(column).map_or("", String::as_str);
            text.push(' ');
            text.push_str(&cell.replace('|', "\\|").replace('\n', "<br>"));
            text.push_str(" |");
        }
        text.push('\n');
        if at == 0 {
            text.push('|');
            text.push_str(&" --- |".repeat(width));
            text.push('\n');
        }
    }
    text
}

/// As CSV in UTF-8, comma-separated, with rows as long as they are.
pub fn csv(rows: &[Vec<String>]) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for row in rows {
        // Writing to memory does not fail.
        let _ = writer.write_record(row);
    }
    writer.into_inner().unwrap_or_default()
}

/// The table of a file of comma-separated values, or of values separated by semicolons, tabs or bars.
pub fn read_csv(text: &str) -> Vec<Vec<String>> {
    let (delimiter, text) = match declared(text) {
        Some((delimiter, rest)) => (delimiter, rest),
        None => (sniff(text), text),
    };
    let mut grid = Grid::default();
    for record in records(text, delimiter) {
        if !grid.push(record.iter().map(str::to_owned)) {
            break;
        }
    }
    grid.into_rows()
}

/// Records of text, which is valid UTF-8, so that none fails.
fn records(text: &str, delimiter: u8) -> impl Iterator<Item = csv::StringRecord> {
    let reader = csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(text.as_bytes());
    reader.into_records().map_while(Result::ok)
}

/// Excel's first line `sep=;`.
fn declared(text: &str) -> Option<(u8, &str)> {
    let rest = text.strip_prefix("sep=")?;
    let delimiter = *rest.as_bytes().first().filter(|b| b.is_ascii())?;
    let rest = rest[1..].strip_prefix("\r\n").or(rest[1..].strip_prefix('\n'))?;
    Some((delimiter, rest))
}

/// The delimiter by which most of the first records have the same number of fields, and most of them.
fn sniff(text: &str) -> u8 {
    let (start, _) = super::text::head(text, 64 * 1024);
    let score = |delimiter: u8| {
        let widths: Vec<usize> = records(start, delimiter).take(50).map(|record| record.len()).collect();
        let alike = |width: usize| widths.iter().filter(|w| **w == width).count();
        widths.iter().filter(|width| **width > 1).map(|width| (alike(*width), *width)).max().unwrap_or_default()
    };
    // Of equals the last is taken: the comma is the most usual.
    b"|\t;,".iter().copied().max_by_key(|delimiter| score(*delimiter)).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    }

    #[test]
    fn delimiters() {
        let wanted = rows(&[&["name", "price"], &["a, b", "1,50"], &["c", "2"]]);
        assert_eq!(read_csv("name;price\n\"a, b\";1,50\n\nc;2\n"), wanted);
        assert_eq!(read_csv("sep=;\r\nname;price\r\n\"a, b\";1,50\r\nc;2\r\n"), wanted);
        assert_eq!(read_csv("name,price\n\"a, b\",\"1,50\"\nc,2"), wanted);
        assert_eq!(read_csv("name\tprice\na, b\t1,50\nc\t2"), wanted);
        assert_eq!(read_csv("name|price\na, b|1,50\nc|2"), wanted);
        assert_eq!(read_csv("alone\n\"never closed, "), rows(&[&["alone"], &["never closed,"]]));
        assert!(read_csv("").is_empty());
    }

    #[test]
    fn limits() {
        let long = read_csv(&"a,b\n".repeat(ROWS + 1));
        assert_eq!((long.len(), long[ROWS].as_slice()), (ROWS + 1, [CUT.to_owned()].as_slice()));
        let wide = read_csv(&"a,".repeat(COLUMNS + 1));
        assert_eq!((wide[0].len(), wide[1][0].as_str()), (COLUMNS, CUT));
        assert_eq!(read_csv(&"a,b\n".repeat(ROWS)).len(), ROWS);
        let heavy = read_csv(&format!("{}\n", "x".repeat(1000)).repeat(1000));
        assert_eq!(heavy.len(), 401);
    }

    #[test]
    fn written() {
        let table = rows(&[&["a", "b"], &["1|2", "x\ny", "z"], &[CUT]]);
        assert_eq!(markdown(&table), format!("| a | b |  |\n| --- | --- | --- |\n| 1\\|2 | x<br>y | z |\n| {CUT} |\n"));
        assert_eq!(String::from_utf8(csv(&rows(&[&["a", "b"], &["1,2", "x\ny", "z"]]))).expect("text"), "a,b\n\"1,2\",\"x\ny\",z\n");
    }
}
