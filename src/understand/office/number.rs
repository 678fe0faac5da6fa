//! Numbers as spreadsheets show them: what is a date is stored as a number, and only the format of the cell tells.

use std::{collections::HashMap, io::BufRead};

use chrono::{Duration, NaiveDate};

use super::xml::{Node, Xml};

/// What a number of a cell is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// A number.
    Plain,
    /// A part of one hundred.
    Percent,
    /// A date, a time of day or both.
    Date,
    /// A time that passed.
    Elapsed,
}

/// The looks of cells by the numbers of their styles: the `cellXfs` of a workbook's styles.
pub fn looks<R: BufRead>(xml: &mut Xml<R>, most: usize) -> Result<Vec<Look>, String> {
    let mut formats: HashMap<usize, Look> = HashMap::new();
    let mut looks = Vec::new();
    let mut within = false;
    while let Some(node) = xml.next()? {
        match node {
            Node::Start(element) => match element.name.as_str() {
                "numFmt" if formats.len() < most => {
                    if let (Some(id), Some(code)) = (element.number("numFmtId"), element.get("formatCode")) {
                        formats.insert(id, custom(code));
                    }
                }
                "cellXfs" => within = true,
                "xf" if within && looks.len() < most => {
                    let id = element.number("numFmtId").unwrap_or(0);
                    looks.push(formats.get(&id).copied().unwrap_or_else(|| built_in(id)));
                }
                _ => {}
            },
            Node::End(name) if name == "cellXfs" => break,
            _ => {}
        }
    }
    Ok(looks)
}

/// Formats that need no definition (ECMA-376, part 1, 18.8.30); some only in some languages.
fn built_in(id: usize) -> Look {
    match id {
        9 | 10 => Look::Percent,
        46 => Look::Elapsed,
        14..=22 | 27..=36 | 45 | 47 | 50..=58 => Look::Date,
        _ => Look::Plain,
    }
}

/// By the code of a format, e.g. `[$-407]d. mmm yyyy;@`.
fn custom(code: &str) -> Look {
    let mut characters = code.split(';').next().unwrap_or_default().chars();
    let mut look = Look::Plain;
    while let Some(character) = characters.next() {
        match character.to_ascii_lowercase() {
            // Text, colours, conditions, and what only takes the place of a character.
            '"' => while characters.next().is_some_and(|c| c != '"') {},
            '\\' | '_' | '*' => drop(characters.next()),
            '[' => {
                let inner: String = characters.by_ref().take_while(|c| *c != ']').collect();
                if !inner.is_empty() && ["h", "m", "s"].iter().any(|unit| inner.to_lowercase().replace(unit, "").is_empty()) {
                    return Look::Elapsed;
                }
            }
            'y' | 'd' | 'h' | 's' => return Look::Date,
            'm' => look = Look::Date,
            '%' => look = Look::Percent,
            _ => {}
        }
    }
    look
}

/// A stored number as the cell shows it, nearly: dates in ISO 8601, numbers with all their digits.
pub fn look(stored: &str, look: Look, from_1904: bool) -> String {
    let stored = stored.trim();
    let Some(number) = stored.parse::<f64>().ok().filter(|n| n.is_finite()) else { return stored.to_owned() };
    match look {
        Look::Date => date(number, from_1904),
        Look::Elapsed => Some(elapsed(number)),
        // What binary fractions add far behind the point is nobody's.
        Look::Percent => Some(format!("{}%", (number * 1e12).round() / 1e10)),
        Look::Plain => None,
    }
    .unwrap_or_else(|| if number.abs() < 1e15 { number.to_string() } else { stored.to_owned() })
}

fn date(number: f64, from_1904: bool) -> Option<String> {
    // Year 9999 is the last.
    if !(0.0..2_958_466.0).contains(&number) {
        return None;
    }
    let seconds = (number * 86_400.0).round();
    let (days, seconds) = ((seconds / 86_400.0).floor(), seconds % 86_400.0);
    let time = clock(seconds);
    if days == 0.0 && !from_1904 {
        return Some(time);
    }
    let first = match (from_1904, days < 60.0) {
        (true, _) => NaiveDate::from_ymd_opt(1904, 1, 1),
        // To Excel 1900 was a leap year: what it counts before its 29 February is a day off.
        (false, true) => NaiveDate::from_ymd_opt(1899, 12, 31),
        (false, false) => NaiveDate::from_ymd_opt(1899, 12, 30),
    };
    let day = first?.checked_add_signed(Duration::days(days as i64))?;
    Some(if seconds == 0.0 { day.to_string() } else { format!("{day} {time}") })
}

fn elapsed(number: f64) -> String {
    let sign = if number < 0.0 { "-" } else { "" };
    sign.to_owned() + &clock((number.abs() * 86_400.0).round())
}

fn clock(seconds: f64) -> String {
    let seconds = seconds as u64;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let dates = ["dd.mm.yyyy", "[$-407]d. mmm yyyy;@", "h:mm AM/PM", "mmm-yy", "yyyy\\-mm"];
        assert!(dates.iter().all(|code| custom(code) == Look::Date));
        let plain = ["General", "0.00E+00", "#,##0 \"days\"", "[Red]0", "0_d", "@", "#,##0.00 [$€-407]"];
        assert!(plain.iter().all(|code| custom(code) == Look::Plain));
        assert_eq!((custom("[h]:mm"), custom("[mm]:ss"), custom("0.0%")), (Look::Elapsed, Look::Elapsed, Look::Percent));
    }

    #[test]
    fn values() {
        let dates = ["45292", "45292.75", "0.5", "1", "60.0", "61", "9e9", "x"];
        let shown = ["2024-01-01", "2024-01-01 18:00:00", "12:00:00", "1900-01-01", "1900-02-28", "1900-03-01", "9000000000", "x"];
        assert_eq!(dates.map(|n| look(n, Look::Date, false)), shown);
        assert_eq!(look("0", Look::Date, true), "1904-01-01");
        assert_eq!(look("45292.99999999", Look::Date, false), "2024-01-02");
        assert_eq!(look("1.5", Look::Elapsed, false), "36:00:00");
        assert_eq!(look("0.07", Look::Percent, false), "7%");
        assert_eq!(look("0.10000000000000001", Look::Plain, false), "0.1");
        assert_eq!(look("4006381333931", Look::Plain, false), "4006381333931");
    }
}
