//! Translation between WhatsApp's Cloud API and rows. No SQL here: what is not the Graph client is pure.

mod failure;
mod graph;
mod markup;
mod outgoing;
mod split;
mod webhook;

pub use failure::{Failure, Verdict};
pub use graph::{Accepted, Graph, check_id};
pub use markup::{to_markdown, to_whatsapp};
pub use outgoing::{Message, Request, is_bsuid, request};
pub use split::{LIMIT, split};
pub use webhook::events;
