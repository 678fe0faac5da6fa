//! Secrets of tool configurations: sealed apart from the row, put back for the call that needs them.

use serde_json::Value;

/// What stands in a row in place of a secret.
const SEALED: &str = "[sealed]";

/// A list of configurations with its secrets in place. `path` and its parts are as `secrets.take` made them: of a list
/// the label, the name, or the position.
pub fn filled(list: &[Value], path: &str, secret: &dyn Fn(&str) -> Option<String>) -> Vec<Value> {
    let step = |i: usize, v: &Value| v["label"].as_str().or(v["name"].as_str()).map_or_else(|| i.to_string(), str::to_owned);
    list.iter().enumerate().map(|(i, v)| fill(v, &format!("{path}.{}", step(i, v)), secret)).collect()
}

fn fill(value: &Value, path: &str, secret: &dyn Fn(&str) -> Option<String>) -> Value {
    match value {
        Value::String(s) if s == SEALED => secret(path).map_or(Value::Null, Value::String),
        Value::Object(map) => Value::Object(map.iter().map(|(k, v)| (k.clone(), fill(v, &format!("{path}.{k}"), secret))).collect()),
        Value::Array(list) => Value::Array(filled(list, path, secret)),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_return_to_their_places() {
        let tools = [json!({"type": "http", "label": "shop", "config": {"headers": {"X-Key": "[sealed]"}, "url": "https://a.example"}})];
        let secret = |path: &str| (path == "tools.shop.config.headers.X-Key").then(|| "k".to_owned());
        assert_eq!(filled(&tools, "tools", &secret)[0]["config"]["headers"]["X-Key"], "k");
    }
}
