//! The generic bridge: a small program in another process adds a channel. It posts batches to us, and takes messages from
//! us by `POST {URL}/dispatch`. No SQL.

mod client;
mod webhook;

pub use client::{Connector, Connectors, Taken};
pub use webhook::events;
