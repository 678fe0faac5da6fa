//! Wire dialects of model providers: one file each, request and response as pure functions.

pub mod chat_completions;
