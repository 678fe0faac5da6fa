//! The product as its users meet it: a real PostgreSQL, real sockets, the real binary. Only Meta and the model are played,
//! by the sandbox. Run by `scripts/test`, which provides the server.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod a2a;
mod abuse;
mod agent;
mod approvals;
mod bus;
mod conformance;
mod connector;
mod defects;
mod dispatch;
mod edge;
mod experiments;
mod instagram;
mod intake;
mod limits;
mod main_job;
mod manage;
mod media;
mod operate;
mod outbound;
mod payloads;
mod people;
mod restart;
mod routing;
mod runs;
mod schema;
mod sql_servers;
mod sql_tool;
mod support;
mod tools;
mod understanding;
