//! AI agents: from rows to a prompt, the wire dialects of model providers, and tools. No SQL.

pub mod answer;
pub mod budget;
pub mod context;
mod history;
mod marker;
mod models;
pub mod protocol;
mod provider;
pub mod tools;
mod turn;

pub use context::Context;
pub use history::History;
pub use marker::{harmless, shorten};
pub use models::Models;
pub use provider::{Endpoint, Keys, endpoint};
pub use turn::{Call, CallResult, Failure, Part, Prompt, Reply, Role, Thinking, Tool, Turn, Usage};
