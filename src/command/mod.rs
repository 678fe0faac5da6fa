//! What the binary's subcommands do.

pub mod chat;
pub mod dev;
pub mod migrate;
pub mod replay;
pub mod status;
