//! What a query returned, within limits.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::value::{cut, plain};

/// How much of a result is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows.
    pub rows: usize,
    /// Bytes of JSON, about.
    pub bytes: usize,
    /// Characters of one value.
    pub cell: usize,
    /// Whether numbers, JSON and arrays stay the text that the server sent.
    pub raw: bool,
    /// Whether nothing is asked after this, so that the rest of a long answer need not be read.
    pub last: bool,
}

impl Limits {
    /// For statements whose rows matter to nobody.
    pub const NOTHING: Self = Self { rows: 0, bytes: 0, cell: 0, raw: true, last: false };
    /// For questions to be answered with yes or no.
    pub const ONE: Self = Self { rows: 1, bytes: 1000, cell: 100, raw: true, last: false };
}

/// A result, cut to its limits.
#[derive(Default, Debug)]
pub struct Table {
    /// Names, in order; unique but for names that look numbered already.
    pub columns: Vec<String>,
    /// As many values as columns.
    pub rows: Vec<Vec<Value>>,
    /// Whether there was more.
    pub truncated: bool,
    /// How many rows a statement changed that returned none.
    pub affected: u64,
    bytes: usize,
}

impl Table {
    /// With these columns; of equal names the later ones are numbered.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let mut columns: Vec<String> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        for name in names {
            let times = seen.entry(name.clone()).or_default();
            *times += 1;
            columns.push(if *times == 1 { name } else { format!("{name}_{times}") });
        }
        Self { columns, ..Self::default() }
    }

    /// Of a statement without rows.
    pub fn changed(affected: u64) -> Self {
        Self { affected, ..Self::default() }
    }

    /// Keeps a row; false where it is beyond the limits, and so is all that follows.
    pub fn push(&mut self, mut row: Vec<Value>, limits: &Limits) -> bool {
        if self.truncated || self.rows.len() >= limits.rows {
            self.truncated = true;
            return false;
        }
        row.resize(self.columns.len(), Value::Null);
        let mut bytes = self.weight(&row);
        if self.rows.is_empty() && bytes > limits.bytes {
            // One row that is too long is better shown in part than not at all.
            self.truncated = true;
            let cell = (limits.bytes / (4 * row.len().max(1))).max(16);
            row = row.into_iter().map(|v| if weight(&v) > cell { cut(&plain(&v), cell) } else { v }).collect();
            bytes = 0;
        }
        if self.bytes + bytes > limits.bytes {
            self.truncated = true;
            return false;
        }
        self.bytes += bytes;
        self.rows.push(row);
        !self.truncated
    }

    fn weight(&self, row: &[Value]) -> usize {
        row.iter().map(weight).sum::<usize>() + self.columns.iter().map(|c| c.len() + 4).sum::<usize>() + 2
    }

    /// The rows as objects.
    pub fn objects(self) -> Vec<Value> {
        let object = |row: Vec<Value>| Value::Object(self.columns.iter().cloned().zip(row).collect::<Map<_, _>>());
        self.rows.into_iter().map(object).collect()
    }
}

/// How long a value is in JSON, in bytes.
fn weight(value: &Value) -> usize {
    serde_json::to_string(value).map_or(0, |s| s.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LIMITS: Limits = Limits { rows: 3, bytes: 100, cell: 10, raw: false, last: false };

    #[test]
    fn results_end_at_their_limits() {
        let mut table = Table::new(["a", "a", "b"].map(str::to_owned));
        assert_eq!(table.columns, ["a", "a_2", "b"]);
        let row = || vec![json!(1), json!(2), json!("x")];
        assert!(table.push(row(), &LIMITS) && table.push(row(), &LIMITS) && table.push(row(), &LIMITS));
        assert!(!table.truncated);
        assert!(!table.push(row(), &LIMITS) && table.truncated);
        assert_eq!(table.objects().len(), 3);
        // By size; a first row that is too long is cut.
        let mut table = Table::new(["a"].map(str::to_owned));
        assert!(!table.push(vec![json!("é".repeat(500))], &LIMITS));
        assert!(table.truncated && plain(&table.rows[0][0]).starts_with("ééé"));
        assert!(!table.push(vec![json!(1)], &LIMITS));
    }

    #[test]
    fn many_equal_names_take_no_time() {
        let table = Table::new((0..50_000).map(|_| "a".to_owned()));
        assert_eq!(table.columns[49_999], "a_50000");
    }
}
