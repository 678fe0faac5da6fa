//! AI agents: from rows to a prompt, and the wire dialects of model providers.

pub mod context;
pub mod protocol;
mod provider;

pub use context::{Context, Prompt, Role, Turn};
pub use provider::{Endpoint, Keys, endpoint};

/// Why a model gave no answer.
#[derive(Debug, PartialEq)]
pub enum Failure {
    /// It is away or busy: ask again, after so many seconds where it said so.
    Later(Option<f64>, String),
    /// Asking again would not help: the organization has to change something.
    Hopeless(String),
}

impl Failure {
    /// In words.
    pub fn text(&self) -> &str {
        match self {
            Failure::Later(_, text) | Failure::Hopeless(text) => text,
        }
    }
}
