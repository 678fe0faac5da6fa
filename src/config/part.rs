//! The parts of `serve`.

use std::{fmt, str::FromStr};

/// A part of `serve`: the edges, or one loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The HTTP edges.
    Http,
    /// Journal entries to rows.
    Intake,
    /// Conversations to answers.
    Agent,
    /// Outgoing rows to the Graph API.
    Dispatch,
    /// Read receipts and typing indicators.
    Receipts,
    /// Credentials to their sealed form.
    Seal,
    /// Files that came in.
    Media,
    /// Files that go out.
    Upload,
    /// Operations on numbers and templates.
    Manage,
    /// Files that nobody refers to any more.
    Sweep,
    /// Files to text that agents and people can read.
    Preprocess,
    /// Long conversations to a few sentences.
    Summarise,
}

impl Part {
    /// All of them, as `serve` runs them without `--only`.
    pub const ALL: [Part; 12] = [
        Part::Http,
        Part::Intake,
        Part::Agent,
        Part::Dispatch,
        Part::Receipts,
        Part::Seal,
        Part::Media,
        Part::Upload,
        Part::Manage,
        Part::Sweep,
        Part::Preprocess,
        Part::Summarise,
    ];

    /// The name on the command line; for loops, the queue's.
    pub fn name(self) -> &'static str {
        match self {
            Part::Http => "http",
            Part::Intake => "intake",
            Part::Agent => "agent",
            Part::Dispatch => "dispatch",
            Part::Receipts => "receipts",
            Part::Seal => "seal",
            Part::Media => "media",
            Part::Upload => "upload",
            Part::Manage => "manage",
            Part::Sweep => "sweep",
            Part::Preprocess => "preprocess",
            Part::Summarise => "summarise",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Part::ALL.map(Part::name).join(", ");
        Part::ALL.into_iter().find(|p| p.name() == text).ok_or_else(|| format!("no part is called {text}; there are {known}"))
    }
}
