//! What one session with a server may take of us.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes of all answers of a session.
const BYTES: usize = 4 * 1024 * 1024;

/// Values in the JSON of all answers of a session, about: in memory, one can take a hundred times what it does on the way.
const VALUES: usize = 200_000;

/// Requests of a session. A server can cause some: with questions of its own, and by ending its streams early.
const REQUESTS: usize = 64;

/// What went wrong, to be read after "the MCP server …".
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Trouble(String);

/// What is left, and what went wrong.
pub struct Meter {
    bytes: AtomicUsize,
    values: AtomicUsize,
    requests: AtomicUsize,
    trouble: Mutex<Option<Trouble>>,
}

impl Default for Meter {
    fn default() -> Self {
        Self { bytes: BYTES.into(), values: VALUES.into(), requests: REQUESTS.into(), trouble: Mutex::default() }
    }
}

impl Meter {
    /// What last went wrong.
    pub fn last(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what went wrong: on its way up through the protocol it would lose its words.
    pub fn trouble(&self, what: impl Into<String>) -> Trouble {
        let trouble = Trouble(what.into());
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble.clone());
        trouble
    }

    /// Counts a piece of an answer.
    pub fn bytes(&self, chunk: &[u8]) -> Result<(), Trouble> {
        spend(&self.bytes, chunk.len()).map_err(|()| self.trouble(format!("sent more than {} MB", BYTES >> 20)))
    }

    /// Counts what is in a text, before it is parsed.
    pub fn values(&self, json: &[u8]) -> Result<(), Trouble> {
        spend(&self.values, values(json)).map_err(|()| self.trouble(format!("sent JSON of more than {VALUES} values")))
    }

    /// Counts a request.
    pub fn request(&self) -> Result<(), Trouble> {
        spend(&self.requests, 1).map_err(|()| self.trouble(format!("needed more than {REQUESTS} requests")))
    }

    /// Whether no more may be read.
    pub fn exhausted(&self) -> bool {
        [&self.bytes, &self.values].iter().any(|left| left.load(Ordering::Relaxed) == 0)
    }
}

/// Once something is too much, so is all that follows, however small.
fn spend(left: &AtomicUsize, amount: usize) -> Result<(), ()> {
    match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount)) {
        Ok(_) => Ok(()),
        Err(_) => {
            left.store(0, Ordering::Relaxed);
            Err(())
        }
    }
}

/// About how many values a JSON text has: none is without one of these signs next to it.
fn values(json: &[u8]) -> usize {
    let (mut count, mut quoted, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'{' | b'[' | b',' | b':' if !quoted => count += 1,
            _ => {}
        }
    }
    count
}
