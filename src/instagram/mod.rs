//! Translation between Instagram's messaging API and rows. No SQL and no HTTP here: all of it is pure.

mod content;
mod outgoing;
mod place;
mod webhook;

pub use outgoing::{LIMIT, Message, failure, read, requests, typing};
pub use webhook::events;
