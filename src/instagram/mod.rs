//! Translation between Instagram's messaging API and rows. No SQL here: what is not the client is pure.

mod client;
mod content;
mod outgoing;
mod place;
mod webhook;

pub use client::Instagram;
pub use outgoing::{LIMIT, Message, failure, parts, read, requests, typing};
pub use webhook::events;
