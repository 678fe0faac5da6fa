//! JSON as PostgreSQL takes it.

use serde_json::Value;

/// The value with NUL characters, which jsonb cannot hold, replaced by U+FFFD. Whatever comes from outside passes here
/// before it goes to the database.
pub fn without_nul(value: Value) -> Value {
    match value {
        Value::String(s) if s.contains('\0') => Value::String(s.replace('\0', "\u{FFFD}")),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nul).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(k, v)| (k.replace('\0', "\u{FFFD}"), without_nul(v))).collect()),
        other => other,
    }
}

/// JSON from outside, leniently: halves of surrogate pairs, which PostgreSQL and UTF-8 cannot hold, become U+FFFD, and
/// so does NUL. The error says what is wrong with it.
pub fn parse_json(body: &[u8]) -> Result<Value, String> {
    let value = serde_json::from_slice(body).or_else(|error| {
        let text = std::str::from_utf8(body).map_err(|e| e.to_string())?;
        serde_json::from_str(&mend(text)).map_err(|_| error.to_string())
    })?;
    // A NUL can only have come from its escape.
    let escaped = body.windows(6).any(|w| w == b"\\u0000");
    Ok(if escaped { without_nul(value) } else { value })
}

/// Replaces escapes of lone surrogates.
fn mend(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    let unit = |s: &str| s.strip_prefix("\\u").and_then(|h| u16::from_str_radix(h.get(..4)?, 16).ok());
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at..];
        let (take, lone) = match unit(escape) {
            Some(0xD800..=0xDBFF) if escape.get(6..).and_then(unit).is_some_and(|low| (0xDC00..=0xDFFF).contains(&low)) => (12, false),
            Some(0xD800..=0xDFFF) => (6, true),
            Some(_) => (6, false),
            None => (1 + escape[1..].chars().next().map_or(0, char::len_utf8), false),
        };
        result.push_str(&rest[..at]);
        result.push_str(if lone { "\\uFFFD" } else { &escape[..take] });
        rest = &escape[take..];
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_emoji_and_nul() {
        let value = parse_json(br#"["a\\ud83d\ud83d\u0000\ud83d\ude00"]"#).expect("JSON");
        assert_eq!(value[0], "a\\ud83d\u{FFFD}\u{FFFD}😀");
    }
}
