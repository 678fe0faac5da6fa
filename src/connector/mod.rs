//! The generic bridge: a small program in another process adds a channel. It posts batches to us, and takes messages from
//! us by `POST {URL}/dispatch`. Pure but for the client; no SQL.

mod webhook;

pub use webhook::events;
