//! A WhatsApp business backend with PostgreSQL as its message bus: a row is the request, a trigger rings the bell, a
//! small loop does the work, and the outcome is written back to the row.
//!
//! # Layout
//!
//! Each floor imports only floors below it. `http` and `work` never call each other: they meet in the database.
//!
//! - [`command`]: what the binary's subcommands do.
//! - [`serve`]: starts the edges and the loops, stops them in order.
//! - [`http`]: the edges. A request becomes rows and an answer.
//! - [`work`]: the loops, one file each. Rows become effects and rows.
//! - [`agent`]: from rows to a prompt, and the dialects of model providers.
//! - [`whatsapp`]: translation between WhatsApp's Cloud API and rows. Pure but for the client; no SQL.
//! - [`instagram`]: translation between Instagram's messaging API and rows. Pure.
//! - [`connector`]: the generic bridge for other channels: batches in, dispatches out. No SQL.
//! - [`understand`]: what is in files: text formats, and what models say of the others. Pure.
//! - [`media`]: files: where they lie, and how they pass through without lying in memory.
//! - [`model`]: types every floor speaks: content, credentials.
//! - [`bus`]: tasks, the one worker loop, the one listener.
//! - [`db`]: pool, migrations, the private server of `tidings dev`.
//! - [`outbound`]: HTTP clients, one of which refuses private addresses.
//! - [`config`]: settings, read once.
//! - [`sandbox`]: a Meta and a model to develop and test against, which misbehave on request.

pub mod agent;
pub mod bus;
pub mod command;
pub mod config;
pub mod connector;
pub mod db;
pub mod http;
pub mod instagram;
pub mod media;
pub mod model;
pub mod outbound;
pub mod sandbox;
pub mod serve;
pub mod understand;
pub mod whatsapp;
pub mod work;
