//! What a model may not say at all. The database keeps a read-only connection read-only by itself (see the sessions); this
//! is the second lock, and it answers in words.

/// The longest statement, in bytes.
const LONGEST: usize = 100_000;

/// How a statement begins that can only read.
const READS: [&str; 8] = ["select", "with", "values", "table", "show", "explain", "describe", "desc"];

/// How a statement begins that would end or change the transaction or the session, or talk another protocol.
const SESSION: &str = "abort attach begin close commit copy deallocate declare detach discard end execute fetch handler listen load lock pragma \
    prepare release reset rollback savepoint set start unlisten unlock use xa";

/// Whether a model's statement is run. The error says why not.
pub fn check(sql: &str, read_only: bool) -> Result<(), String> {
    if sql.len() > LONGEST {
        return Err(format!("the statement is longer than {LONGEST} bytes"));
    }
    if sql.contains('\0') {
        return Err("the statement holds a zero byte".to_owned());
    }
    let word = first_word(sql);
    if word.is_empty() {
        return Err("the statement must begin with a word such as SELECT".to_owned());
    }
    if read_only && !READS.contains(&word.as_str()) {
        return Err(format!("this connection is read-only: {} is not run, only {}", word.to_uppercase(), READS.join(", ").to_uppercase()));
    }
    if SESSION.split_whitespace().any(|w| w == word) {
        return Err(format!("{} is not run: each call is one statement in a transaction and a session of its own", word.to_uppercase()));
    }
    Ok(())
}

/// Whether a query of MySQL may write a file on its server, which a read-only transaction does not keep it from. These words
/// stand nowhere else but in names and texts.
pub fn writes_file(sql: &str) -> bool {
    let sql = sql.to_lowercase();
    sql.contains("outfile") || sql.contains("dumpfile")
}

/// Whether a statement begins like a query, so that it can stand in a FROM.
pub fn is_query(sql: &str) -> bool {
    matches!(first_word(sql).as_str(), "select" | "with" | "values")
}

/// The first word, in lower case, behind comments and parentheses; empty where there is none.
fn first_word(sql: &str) -> String {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(' || c == '\u{feff}');
        let after = if rest.starts_with("--") {
            rest.split_once('\n').map(|(_, after)| after)
        // MySQL executes what stands in /*! … */ and /*M! … */: no comment.
        } else if rest.starts_with("/*") && !rest.starts_with("/*!") && !rest.starts_with("/*M!") {
            rest.split_once("*/").map(|(_, after)| after)
        } else {
            break;
        };
        rest = after.unwrap_or_default();
    }
    rest.chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pass() {
        for sql in [
            "select 1",
            "  SELECT 1;",
            "(select 1) union (select 2)",
            "-- the orders\n/* of today */ select 1",
            "with a as (select 1) select * from a",
            "explain select 1",
            "SHOW TABLES",
        ] {
            assert_eq!(check(sql, true), Ok(()), "{sql}");
            assert_eq!(check(sql, false), Ok(()), "{sql}");
        }
    }

    #[test]
    fn writes_pass_only_where_they_may() {
        for sql in ["drop table x", "insert into x values (1)", "DO $$ begin end $$", "call p()", "/* a */ delete from x", "vacuum"] {
            assert!(check(sql, true).is_err(), "{sql}");
            assert_eq!(check(sql, false), Ok(()), "{sql}");
        }
    }

    #[test]
    fn sessions_are_ours() {
        for sql in [
            "commit",
            "COMMIT; drop table x",
            "set transaction read write",
            "begin",
            "pragma query_only = 0",
            "copy x to program 'sh'",
            "",
            ";",
            "--",
        ] {
            assert!(check(sql, true).is_err(), "{sql}");
            assert!(check(sql, false).is_err(), "{sql}");
        }
        assert!(writes_file("select 1 INTO/**/OUTFILE 'x'") && !writes_file("select 1 into @a"));
        assert!(check("/*! drop table x */ select 1", true).is_err());
        assert!(check("/*M! drop table x */", false).is_err());
        assert!(check(&format!("select '{}'", "x".repeat(LONGEST)), true).is_err());
    }
}
