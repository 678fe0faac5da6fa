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
