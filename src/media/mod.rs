//! Files: where they lie, and how they pass through without lying in memory.

mod links;
mod spool;
mod store;

pub use links::Links;
pub use spool::{Spool, SpoolError, object_name};
pub use store::{Bytestream, Store};
