//! Values as JSON. Servers send them as text; their columns say what the text means.

use serde_json::{Number, Value};

use super::rows::Limits;

/// What a column's text means.
#[derive(Clone, PartialEq, Debug)]
pub enum Kind {
    /// Itself: also what JSON has no form for, as the server writes it.
    Text,
    /// `t`, `1`, `true`, or not.
    Bool,
    /// Integers and decimals: a number where JSON's readers keep every digit, text otherwise.
    Number,
    /// Binary fractions.
    Float,
    /// JSON.
    Json,
    /// Hexadecimal bytes behind `\x`: only their number is told.
    Blob,
    /// A date and a time, perhaps an offset.
    Stamp,
    /// PostgreSQL's form of an array.
    Array(Box<Kind>),
}

/// A value as text: itself where it is text, JSON otherwise, empty for null.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

/// A text, cut behind so many characters, in words.
pub fn cut(text: &str, limit: usize) -> Value {
    match text.char_indices().nth(limit) {
        Some((end, _)) => Value::String(format!("{}… ({} characters)", &text[..end], text.chars().count())),
        None => Value::String(text.to_owned()),
    }
}

/// What stands in the place of bytes.
pub fn blob(length: usize) -> Value {
    Value::String(format!("<{length} bytes>"))
}

/// What a text of this kind says.
pub fn value(kind: &Kind, text: &str, limits: &Limits) -> Value {
    match kind {
        Kind::Bool => Value::Bool(matches!(text, "t" | "1" | "true")),
        Kind::Float => float(text),
        Kind::Stamp => Value::String(iso(text)),
        Kind::Blob => blob(text.len().saturating_sub(2) / 2),
        Kind::Number if !limits.raw => number(text),
        Kind::Json if !limits.raw && text.len() <= limits.cell => serde_json::from_str(text).unwrap_or_else(|_| cut(text, limits.cell)),
        Kind::Array(kind) if !limits.raw && text.len() <= limits.cell => array(kind, text, limits).unwrap_or_else(|| cut(text, limits.cell)),
        _ => cut(text, limits.cell),
    }
}

/// Readers of JSON keep 53 bits, which is 15 decimal digits.
fn number(text: &str) -> Value {
    if let Ok(n) = text.parse::<i64>()
        && n.unsigned_abs() < 1 << 53
    {
        return n.into();
    }
    let digits = text.chars().filter(char::is_ascii_digit).collect::<String>();
    if digits.trim_start_matches('0').len() <= 15 { float(text) } else { Value::String(text.to_owned()) }
}

fn float(text: &str) -> Value {
    text.parse().ok().and_then(Number::from_f64).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

/// `2024-01-02 03:04:05+00` in ISO 8601; any other form as it is.
fn iso(text: &str) -> String {
    let Some((date, time)) = text.split_once(' ') else { return text.to_owned() };
    let is_date = date.split('-').count() == 3 && date.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let is_time = time.starts_with(|c: char| c.is_ascii_digit()) && time.bytes().all(|b| b.is_ascii_digit() || b"+-.:".contains(&b));
    if !is_date || !is_time {
        return text.to_owned();
    }
    // An offset of whole hours has no minutes in PostgreSQL.
    let bare = time.rfind(['+', '-']).is_some_and(|at| time.len() - at == 3);
    format!("{date}T{time}{}", if bare { ":00" } else { "" })
}

/// PostgreSQL's form of an array: `{1,NULL,"a \"b\"",{…}}`, perhaps with its bounds before it.
fn array(kind: &Kind, text: &str, limits: &Limits) -> Option<Value> {
    let start = if text.starts_with('[') { text.find("={")? + 1 } else { 0 };
    let mut rest = text[start..].strip_prefix('{')?;
    list(kind, &mut rest, limits, 1)
}

/// The elements up to the closing brace.
fn list(kind: &Kind, rest: &mut &str, limits: &Limits, depth: usize) -> Option<Value> {
    let mut items = Vec::new();
    loop {
        let first = rest.chars().next()?;
        let after = &rest[first.len_utf8()..];
        match first {
            '}' => {
                *rest = after;
                return Some(Value::Array(items));
            }
            ',' => *rest = after,
            '{' => {
                // The server's own limit of dimensions.
                if depth == 6 {
                    return None;
                }
                *rest = after;
                items.push(list(kind, rest, limits, depth + 1)?);
            }
            '"' => items.push(value(kind, &quoted(rest)?, limits)),
            _ => {
                let (item, after) = rest.split_at(rest.find([',', '}'])?);
                *rest = after;
                items.push(if item == "NULL" { Value::Null } else { value(kind, item, limits) });
            }
        }
    }
}

/// A quoted element.
fn quoted(rest: &mut &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    loop {
        match chars.next()? {
            (at, '"') => {
                *rest = &rest[at + 1..];
                return Some(text);
            }
            (_, '\\') => text.push(chars.next()?.1),
            (_, c) => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROOMY: Limits = Limits { rows: 3, bytes: 100_000, cell: 1000, raw: false, last: false };

    #[test]
    fn long_texts_are_cut() {
        let limits = Limits { cell: 10, ..ROOMY };
        assert_eq!(value(&Kind::Text, &"é".repeat(10), &limits), json!("é".repeat(10)));
        assert_eq!(value(&Kind::Text, &"é".repeat(11), &limits), json!(format!("{}… (11 characters)", "é".repeat(10))));
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (text, expected) in [
            ("7", json!(7)),
            ("-9007199254740991", json!(-9_007_199_254_740_991_i64)),
            ("9007199254740992", json!("9007199254740992")),
            ("0.10", json!(0.1)),
            ("123456789012345.6", json!("123456789012345.6")),
            ("NaN", json!("NaN")),
            ("1e999", json!("1e999")),
        ] {
            assert_eq!(value(&Kind::Number, text, &ROOMY), expected, "{text}");
        }
        assert_eq!(value(&Kind::Float, "0.30000000000000004", &ROOMY), json!(0.1 + 0.2));
    }

    #[test]
    fn times_are_iso() {
        for (text, expected) in [
            ("2024-01-02 03:04:05+00", "2024-01-02T03:04:05+00:00"),
            ("2024-01-02 03:04:05.123-03", "2024-01-02T03:04:05.123-03:00"),
            ("2024-01-02 03:04:05+05:30", "2024-01-02T03:04:05+05:30"),
            ("2024-01-02 03:04:05", "2024-01-02T03:04:05"),
            ("0044-03-15 12:00:00 BC", "0044-03-15 12:00:00 BC"),
            ("-infinity", "-infinity"),
        ] {
            assert_eq!(value(&Kind::Stamp, text, &ROOMY), json!(expected));
        }
    }

    #[test]
    fn arrays_that_are_none_stay_text() {
        let kind = Kind::Array(Box::new(Kind::Number));
        assert_eq!(value(&kind, "{1,{2,NULL}}", &ROOMY), json!([1, [2, null]]));
        for text in ["", "{", "{1", "{\"", "{\"a\\", "[0:1]", "{{{{{{{1}}}}}}}", "{é"] {
            assert_eq!(value(&kind, text, &ROOMY), json!(text));
        }
    }
}
