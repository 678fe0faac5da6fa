//! Times as they stand in rows' JSON.

use chrono::{SecondsFormat, Utc};

/// Now, to the microsecond and with a numeric offset, as PostgreSQL writes times: clients compare them as text.
pub fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, false)
}
