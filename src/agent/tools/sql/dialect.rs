//! What differs between SQL dialects where we write the SQL ourselves: quoting.

/// A dialect of SQL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// PostgreSQL, with `standard_conforming_strings` on.
    Postgres,
    /// MySQL and MariaDB, whatever their `sql_mode`.
    MySql,
    /// SQLite, as libSQL speaks it.
    Sqlite,
}

impl Dialect {
    /// What the model is told it speaks.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Postgres => "postgresql",
            Dialect::MySql => "mysql",
            Dialect::Sqlite => "sqlite",
        }
    }

    /// A name as a quoted identifier. The error says why it is none.
    pub fn identifier(self, name: &str) -> Result<String, String> {
        if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
            return Err("a name of a schema, table or column has 1 to 128 characters, none of them a control character".to_owned());
        }
        let quote = if self == Dialect::MySql { '`' } else { '"' };
        Ok(format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}"))))
    }

    /// `schema.table`, quoted.
    pub fn qualified(self, schema: Option<&str>, table: &str) -> Result<String, String> {
        let table = self.identifier(table)?;
        Ok(match schema {
            Some(schema) => format!("{}.{table}", self.identifier(schema)?),
            None => table,
        })
    }

    /// A text as a literal. The error says why it cannot be one.
    pub fn literal(self, text: &str) -> Result<String, String> {
        if text.contains('\0') {
            return Err("a value holds a zero byte, which SQL text cannot".to_owned());
        }
        Ok(match self {
            // Hexadecimal, for whether a backslash escapes depends on the session.
            Dialect::MySql if !text.is_empty() => format!("_utf8mb4 x'{}'", hex(text.as_bytes())),
            _ => format!("'{}'", text.replace('\'', "''")),
        })
    }

    /// A list of texts as literals.
    pub fn literals(self, texts: &[String]) -> Result<String, String> {
        Ok(texts.iter().map(|t| self.literal(t)).collect::<Result<Vec<_>, _>>()?.join(", "))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether this may stand as a column's type: words, then perhaps sizes, then perhaps `[]`. It is the one thing of a model
/// that goes into our SQL unquoted.
pub fn is_type(text: &str) -> bool {
    let text = text.strip_suffix("[]").unwrap_or(text);
    let (words, sizes) = match text.split_once('(') {
        Some((words, rest)) => (words, rest.strip_suffix(')')),
        None => (text, Some("0")),
    };
    let sizes = sizes.is_some_and(|s| !s.is_empty() && s.chars().all(|c| c.is_ascii_digit() || c == ',' || c == ' '));
    let words =
        words.len() <= 64 && words.starts_with(|c: char| c.is_ascii_alphabetic()) && words.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ');
    words && sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(Dialect::Postgres.identifier(r#"a"; drop table x; --"#).expect("a name"), r#""a""; drop table x; --""#);
        assert_eq!(Dialect::MySql.identifier("a`b").expect("a name"), "`a``b`");
        assert_eq!(Dialect::Sqlite.qualified(Some("main"), "order").expect("a name"), r#""main"."order""#);
        assert!(Dialect::Postgres.identifier("").is_err());
        assert!(Dialect::Postgres.identifier("a\0b").is_err());
        assert!(Dialect::Postgres.identifier(&"a".repeat(129)).is_err());
    }

    #[test]
    fn values_are_quoted() {
        assert_eq!(Dialect::Postgres.literal(r"it's \ '").expect("a value"), r"'it''s \ '''");
        assert_eq!(Dialect::MySql.literal(r"\'é").expect("a value"), "_utf8mb4 x'5c27c3a9'");
        assert_eq!(Dialect::MySql.literal("").expect("a value"), "''");
        assert!(Dialect::Sqlite.literal("a\0").is_err());
    }

    #[test]
    fn types_are_words_and_sizes() {
        for good in ["text", "TEXT", "numeric(10, 2)", "varchar(20)", "double precision", "int[]", "numeric(3)[]", "timestamp with time zone"] {
            assert!(is_type(good), "{good}");
        }
        for bad in ["", "text)", "text, x int", "text; drop table x", "int default 1)", "(1)", "a(b)", "text()", "1a", "text--", "text\n", "int[1]"] {
            assert!(!is_type(bad), "{bad}");
        }
    }
}
