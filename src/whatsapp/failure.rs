//! What to do about an error of the Graph API. The classes are those of Meta's error reference: what was rejected before
//! processing may be sent again, what may have been processed must not.

use std::time::Duration;

use serde_json::{Value, json};

/// A failed call: what it means, and what to show.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What to do.
    pub verdict: Verdict,
    /// In one line, for tasks, logs and people.
    pub text: String,
    /// As it is written to `status.errors`: `{code, title, message, error_data?}`, the shape webhooks use.
    pub error: Value,
    /// HTTP status and body of the answer, where there was one.
    pub answer: Option<(u16, Value)>,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Rejected before processing: send it again, after this time where one is known.
    Retry(Option<Duration>),
    /// The number (or Meta) takes nothing right now: leave the message where it is and try the number again later.
    Wait(Option<Duration>),
    /// It may have been sent: a receipt will tell. `true` when the number should rest a little as well.
    Unknown(bool),
    /// Nothing goes out over this number until somebody has looked at it.
    Pause,
    /// This message will never be taken.
    Permanent,
}

impl Failure {
    /// A refusal of our own, in the shape of Meta's.
    pub fn refused(code: &str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { verdict: Verdict::Permanent, error: json!({"code": code, "title": "Not sent", "message": text}), text, answer: None }
    }

    /// A call that never reached Meta.
    pub fn unreachable(text: String) -> Self {
        Self {
            verdict: Verdict::Wait(None),
            error: json!({"code": "unreachable", "title": "Meta could not be reached", "message": text}),
            text,
            answer: None,
        }
    }

    /// A call whose answer never came.
    pub fn unanswered(text: String) -> Self {
        Self {
            verdict: Verdict::Unknown(true),
            error: json!({"code": "unknown_outcome", "title": "Outcome unknown", "message": text}),
            text,
            answer: None,
        }
    }

    /// From an answer that is not 2xx. `retry_after` is the header, in seconds.
    pub fn from_answer(status: u16, retry_after: Option<u64>, body: &[u8]) -> Self {
        // Meta repeats a token that it does not like.
        let body: Value = serde_json::from_str(&without_tokens(&String::from_utf8_lossy(body))).unwrap_or_default();
        let e = body["error"].clone();
        let code = e["code"].as_i64();
        let transient = e["is_transient"].as_bool() == Some(true);
        let wait = retry_after.map(Duration::from_secs);
        let verdict = match code {
            // "Unsupported request; the object does not exist or cannot be loaded due to missing permissions": the number.
            Some(100) if e["error_subcode"].as_i64() == Some(33) => Verdict::Pause,
            Some(code) => of_code(code, wait).unwrap_or(match status {
                429 => Verdict::Wait(wait),
                500.. => Verdict::Unknown(true),
                _ if transient => Verdict::Unknown(false),
                _ => Verdict::Permanent,
            }),
            None if status == 429 => Verdict::Wait(wait),
            None if status >= 500 || status == 408 => Verdict::Unknown(true),
            None if matches!(status, 401 | 403) => Verdict::Pause,
            None => Verdict::Permanent,
        };
        let message = e["message"].as_str().unwrap_or("the answer has no Graph error in it");
        let details = e["error_data"]["details"].as_str();
        let text = match (code, details) {
            (Some(code), Some(details)) => format!("{code}: {message}: {details}"),
            (Some(code), None) => format!("{code}: {message}"),
            (None, _) => format!("HTTP {status}: {message}"),
        };
        let mut error = json!({
            "code": code.map_or(json!(status), |c| json!(c)),
            "title": e["error_user_title"].as_str().or(e["type"].as_str()).unwrap_or("Error"),
            "message": message,
        });
        if let Some(details) = details {
            error["error_data"] = json!({"details": details});
        }
        if let Some(trace) = e["fbtrace_id"].as_str() {
            error["fbtrace_id"] = json!(trace);
        }
        Self { verdict, text, error, answer: Some((status, body)) }
    }
}

/// The text without what looks like one of Meta's access tokens.
fn without_tokens(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("EAA") {
        let end = rest[at..].find(|c: char| !c.is_ascii_alphanumeric()).map_or(rest.len(), |n| at + n);
        result.push_str(&rest[..at]);
        result.push_str(if end - at > 20 { "[token]" } else { &rest[at..end] });
        rest = &rest[end..];
    }
    result + rest
}

/// By Meta's code; `None` for codes that say nothing by themselves.
fn of_code(code: i64, wait: Option<Duration>) -> Option<Verdict> {
    const MINUTE: u64 = 60;
    let after = |seconds: u64| Some(wait.unwrap_or(Duration::from_secs(seconds)));
    Some(match code {
        // Throughput of the number, of the app or of the WABA: everything waits.
        4 | 80007 | 130_429 => Verdict::Wait(wait),
        // An upgrade of the number's throughput, a minute at most; the server is down.
        131_057 | 133_004 => Verdict::Wait(after(20)),
        // This pair of numbers only.
        131_056 => Verdict::Retry(wait),
        134_101 => Verdict::Retry(after(5 * MINUTE)),
        133_015 => Verdict::Retry(after(5 * MINUTE)),
        132_069 | 2_494_100 => Verdict::Retry(after(10 * MINUTE)),
        131_049 => Verdict::Retry(after(24 * 60 * MINUTE)),
        // Unknown outcome.
        1 | 2 | 131_000 | 131_016 => Verdict::Unknown(false),
        // Token, permission, account, payment, registration, spam.
        0 | 3 | 10 | 190 | 200..=299 | 131_005 | 131_031 | 368 | 131_042 | 134_011 | 133_010 | 131_045 | 131_048 | 131_064 | 33 => Verdict::Pause,
        // The message, or its recipient.
        100
        | 131_008
        | 131_009
        | 131_021
        | 131_051..=131_053
        | 135_000
        | 132_000..=132_068
        | 131_062
        | 131_063
        | 137_000
        | 131_026
        | 131_030
        | 131_047
        | 131_050
        | 130_403
        | 130_472
        | 130_497
        | 131_037 => Verdict::Permanent,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, code: i64) -> Verdict {
        Failure::from_answer(status, None, json!({"error": {"code": code, "message": "m"}}).to_string().as_bytes()).verdict
    }

    #[test]
    fn only_what_was_rejected_before_processing_is_sent_again() {
        for code in [4, 80007, 130_429, 131_056, 131_057, 133_004] {
            assert!(matches!(verdict(400, code), Verdict::Retry(_) | Verdict::Wait(_)), "{code}");
        }
        for code in [1, 2, 131_000, 131_016] {
            assert!(matches!(verdict(500, code), Verdict::Unknown(_)), "{code}");
        }
        for code in [190, 10, 131_031, 368, 131_042] {
            assert_eq!(verdict(401, code), Verdict::Pause, "{code}");
        }
        for code in [100, 131_047, 131_026, 132_001] {
            assert_eq!(verdict(400, code), Verdict::Permanent, "{code}");
        }
    }

    #[test]
    fn a_number_that_is_no_longer_ours_pauses() {
        let body = br#"{"error": {"code": 100, "error_subcode": 33, "message": "Unsupported post request"}}"#;
        assert_eq!(Failure::from_answer(400, None, body).verdict, Verdict::Pause);
    }

    #[test]
    fn tokens_are_not_repeated() {
        let body = format!("{{\"error\": {{\"code\": 190, \"message\": \"Malformed access token EAA{}\"}}}}", "x1".repeat(20));
        assert_eq!(Failure::from_answer(401, None, body.as_bytes()).text, "190: Malformed access token [token]");
    }

    #[test]
    fn answers_without_a_code() {
        assert_eq!(Failure::from_answer(429, Some(7), b"slow down").verdict, Verdict::Wait(Some(Duration::from_secs(7))));
        assert_eq!(Failure::from_answer(502, None, b"<html>").verdict, Verdict::Unknown(true));
        assert_eq!(Failure::from_answer(400, None, b"").verdict, Verdict::Permanent);
    }
}
