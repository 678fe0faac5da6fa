//! From rows to turns: who said what, which calls belong together, and what fits.

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;
use uuid::Uuid;

use super::{
    context::{Context, Message},
    marker::{harmless, plain, referral, shorten, tag, tag_by},
    turn::{Call, CallResult, Role, Turn},
};

/// What a tool said in an earlier run is worth so much of the context.
const OLD_RESULT: usize = 2_000;
/// The most of one result.
const RESULT: usize = 16_000;

/// A conversation as turns.
#[derive(Default, Debug, PartialEq)]
pub struct History {
    /// In order; calls are followed by their results.
    pub turns: Vec<Turn>,
    /// Files of the contact that a model may read itself: the turn, and the file of its content.
    pub files: Vec<(usize, Value)>,
    /// Whether there is something to answer.
    pub open: bool,
    /// How often the model has been asked since the contact wrote last.
    pub steps: usize,
    /// The contact has just asked to start over, then: memory goes.
    pub forget: Option<Timestamp>,
    /// Whether markers of ours occur.
    pub marked: bool,
    /// Of the contact's newest message, for reactions.
    pub reply_to: Option<String>,
    /// What the contact has written since the last answer.
    pub seen: Vec<Uuid>,
}

impl Context {
    /// The history as turns.
    pub fn history(&self) -> History {
        self.until(Timestamp::MAX)
    }

    /// The part of it that was said until then.
    pub fn until(&self, end: Timestamp) -> History {
        let all = self.ordered(end);
        let start = all.iter().rposition(|m| starts_over(m));
        let rows = &all[start.unwrap_or(0)..];
        let seen = since_answer(&all, self.agent.id);
        let mut history = History { seen, forget: start.and_then(|at| self.forget(all[at])), ..History::default() };
        let mut before: Option<Timestamp> = None;
        for (i, row) in rows.iter().enumerate() {
            match (row.direction.as_str(), row.content["tool"]["event"].as_str()) {
                ("internal", Some("use")) => self.calls(&mut history, rows, i),
                ("internal", Some("result")) => late(&mut history, rows, i, self.agent.id),
                ("internal", _) => self.internal(&mut history, row),
                _ => {
                    let new_start = i == 0 && start.is_some();
                    self.said(&mut history, row, new_start, before);
                    before = Some(row.timestamp);
                }
            }
        }
        history
    }

    /// The time of a new start that nothing has followed yet on our side, of whomever.
    fn forget(&self, start: &Message) -> Option<Timestamp> {
        let at = self.messages.iter().position(|m| std::ptr::eq(m, start))?;
        self.messages[at..].iter().all(|m| m.direction == "incoming").then_some(start.timestamp)
    }

    /// The rows that count, with what waits for an answer at their end.
    fn ordered(&self, end: Timestamp) -> Vec<&Message> {
        let own = |m: &Message| m.agent_id == Some(self.agent.id);
        let counts = |m: &&Message| {
            !m.deleted
                && m.timestamp <= end
                && (m.direction != "internal"
                    || (own(m) && (m.content["tool"].is_object() || m.content["kind"] == "refused"))
                    // What came of a call that a person granted, and what is said to whoever goes on.
                    || m.content["tool"]["approved"] == true
                    || m.content["kind"] == "note"
                    || (m.person == Some(true) && m.content["type"] == "text"))
        };
        let mut rows: Vec<&Message> = self.messages.iter().filter(counts).collect();
        unseen_last(&mut rows, self.agent.id);
        // Webhooks overtake each other: within what the customer said in a row, the provider's times decide.
        for run in rows.chunk_by_mut(|a, b| a.direction == "incoming" && b.direction == "incoming") {
            run.sort_by_key(|m| m.timestamp);
        }
        // What a program sent meanwhile was no answer: the question still stands, after it.
        let answered = rows.iter().rposition(|m| m.direction == "internal" || (m.direction == "outgoing" && !m.program)).map_or(0, |at| at + 1);
        rows[answered..].sort_by_key(|m| m.direction == "incoming");
        rows
    }

    fn said(&self, history: &mut History, row: &Message, new_start: bool, before: Option<Timestamp>) {
        let incoming = row.direction == "incoming";
        let own = row.agent_id.is_some() && row.agent_id == Some(self.agent.id);
        let mut said = plain(&row.content, own);
        if new_start {
            // From the beginning only: what is taken out of the middle could leave a marker behind.
            said = said.trim_start().trim_start_matches("/new").trim().to_owned();
        }
        if !said.is_empty() {
            said = self.quoted(row) + &referral(&row.content) + &said;
        }
        if said.is_empty() {
            return;
        }
        said = match (incoming, row.person) {
            (true, _) if self.conversation.group_address.is_some() => tag_by("from", "name", row.author.as_deref(), &said),
            (true, _) => said,
            (false, _) if own => said,
            (false, Some(false)) => tag_by("agent", "name", row.author.as_deref(), &said),
            (false, None) if row.program => tag("notification", &said),
            (false, _) => tag_by("colleague", "name", row.author.as_deref(), &said),
        };
        if incoming && before.is_some_and(|b| row.timestamp.as_second() - b.as_second() > 3600) {
            said = format!("{}\n{said}", tag("time", &clock(row.timestamp, &self.zone())));
        }
        history.marked |= said.contains('<');
        if incoming {
            history.open = true;
            history.steps = 0;
            history.reply_to = row.external_id.clone().or(history.reply_to.take());
            if row.content["type"] == "file" {
                history.files.push((history.turns.len(), row.content["file"].clone()));
            }
        } else if !row.program && row.extra["tool"].is_null() {
            history.open = false;
        }
        history.turns.push(Turn::said(if incoming { Role::User } else { Role::Assistant }, said));
    }

    /// What a message replies or reacts to.
    fn quoted(&self, row: &Message) -> String {
        let Some(original) = row.content["re_message_id"].as_str() else { return String::new() };
        let marker = if row.content["kind"] == "reaction" { "in-reaction-to" } else { "in-reply-to" };
        let found = self.messages.iter().find(|m| m.external_id.as_deref() == Some(original));
        // Harmless whoever wrote it: within a quote even our own text is somebody's choice.
        found.map(|m| format!("{}\n", tag(marker, &harmless(&plain(&m.content, true))))).unwrap_or_default()
    }

    /// What people and the system put beside the conversation.
    fn internal(&self, history: &mut History, row: &Message) {
        history.marked = true;
        if row.content["kind"] == "refused" {
            let reason = row.content["data"]["reason"].as_str().unwrap_or_default();
            let answer = shorten(&row.content["data"]["answer"].to_string(), 4_000);
            history.turns.push(Turn::said(Role::User, tag("not-sent", &format!("This answer of yours was not sent: {reason}\n{answer}"))));
            history.open = true;
            history.steps += 1;
        } else if let Some(text) = text(row) {
            history.turns.push(Turn::said(Role::User, tag_by("note", "from", row.author.as_deref(), &harmless(text))));
        }
    }

    /// The calls of a turn, at its first one, and what they came to.
    fn calls(&self, history: &mut History, rows: &[&Message], at: usize) {
        let turn = |m: &Message| m.content["task"]["id"].as_str().map(str::to_owned);
        let this = turn(rows[at]);
        let mine = |m: &&&Message, event: &str| m.content["tool"]["event"] == event && turn(m) == this;
        if rows[..at].iter().any(|m| mine(&m, "use")) {
            return;
        }
        let uses: Vec<&&Message> = rows[at..].iter().filter(|m| mine(m, "use")).collect();
        let old = rows[at..].iter().any(|m| m.direction == "incoming");
        let results: Vec<CallResult> = uses
            .iter()
            .map(|u| {
                let found = rows[at..].iter().position(|m| mine(&m, "result") && m.content["tool"]["use_id"] == u.content["tool"]["use_id"]);
                match found.map(|n| (rows[at + n], said_between(&rows[at..at + n], this.as_deref()))) {
                    Some((row, false)) => result(row, if old { OLD_RESULT } else { RESULT }),
                    Some((row, true)) => pending(row, "it took a while; the result stands further down"),
                    None => pending(u, "no result yet: it waits for a person's approval"),
                }
            })
            .collect();
        // Reasoning belongs to the run it was made in; providers refuse old one.
        let state = if old { &Value::Null } else { &uses[0].extra["model_state"] };
        history.turns.push(Turn::Calls {
            text: uses[0].extra["said"].as_str().unwrap_or_default().to_owned(),
            calls: uses.iter().map(|u| call(u)).collect(),
            state: (!state.is_null()).then(|| state.clone()),
        });
        history.turns.push(Turn::Results { results });
        history.open = true;
        history.steps += 1;
    }
}

/// Whether the contact leaves behind what was said before.
pub(super) fn starts_over(row: &Message) -> bool {
    row.direction == "incoming" && text(row).is_some_and(|t| t.split_whitespace().next() == Some("/new"))
}

/// How many messages an answer remembers that it is to.
const SEEN: usize = 50;

/// Whether a row is an answer of the agent that remembers what it had seen.
fn remembers(row: &Message, agent: Uuid) -> bool {
    row.direction == "outgoing" && row.agent_id == Some(agent) && row.extra["answers"].is_array()
}

/// What the contact has written since the agent's last answer, its newest.
fn since_answer(rows: &[&Message], agent: Uuid) -> Vec<Uuid> {
    let from = rows.iter().rposition(|m| remembers(m, agent)).map_or(0, |at| at + 1);
    let new: Vec<Uuid> = rows[from..].iter().filter(|m| m.direction == "incoming").map(|m| m.id).collect();
    new[new.len().saturating_sub(SEEN)..].to_vec()
}

/// What came in while an answer was made, and was not seen by it, stands behind it, whatever the clocks say.
fn unseen_last(rows: &mut [&Message], agent: Uuid) {
    let mut from = 0;
    for at in 0..rows.len() {
        if at < from || !remembers(rows[at], agent) {
            continue;
        }
        let seen = rows[at].extra["answers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let knows = |id: Uuid| seen.iter().any(|s| s.as_str().and_then(|s| Uuid::parse_str(s).ok()) == Some(id));
        let recent = rows[from..at].iter().rev().filter(|m| m.direction == "incoming").take(SEEN);
        let unseen: Vec<Uuid> = recent.map(|m| m.id).filter(|id| !knows(*id)).collect();
        let end = rows[at..].iter().position(|m| m.direction == "incoming").map_or(rows.len(), |n| at + n);
        if !unseen.is_empty() {
            rows[from..end].sort_by_key(|m| unseen.contains(&m.id));
        }
        from = end;
    }
}

/// Whether the model has said something, or called something else, in between.
fn said_between(rows: &[&Message], turn: Option<&str>) -> bool {
    rows.iter().any(|m| {
        (m.direction == "outgoing" && m.extra["answers"].is_array())
            || (m.content["tool"]["event"] == "use" && m.content["task"]["id"].as_str() != turn)
    })
}

/// A result that came after the conversation had gone on.
fn late(history: &mut History, rows: &[&Message], at: usize, agent: Uuid) {
    let row = rows[at];
    let turn = row.content["task"]["id"].as_str();
    let used = rows[..at].iter().position(|m| m.content["tool"]["event"] == "use" && m.content["task"]["id"].as_str() == turn);
    // Another agent's call: it passed the conversation on before a person granted it.
    let foreign = row.agent_id != Some(agent);
    // Without its call, which a summary covers, what a person granted is news all the same.
    let granted = row.content["tool"]["approved"] == true;
    if foreign || used.map_or(granted, |used| said_between(&rows[used..at], turn)) {
        let r = result(row, RESULT);
        history.turns.push(Turn::said(Role::User, tag_by("tool-result", "tool", Some(&r.name), &harmless(&r.content))));
        history.marked = true;
        history.open = true;
    }
}

fn call(row: &Message) -> Call {
    let arguments = if row.content["data"].is_object() { row.content["data"].clone() } else { row.content["text"].clone() };
    Call { id: string(&row.content["tool"]["use_id"]), name: string(&row.content["tool"]["offered"]), arguments }
}

fn result(row: &Message, most: usize) -> CallResult {
    let content = text(row).map_or_else(|| row.content["data"].to_string(), str::to_owned);
    CallResult { content: shorten(&harmless(&content), most), ..pending(row, "") }
}

fn pending(row: &Message, content: &str) -> CallResult {
    let tool = &row.content["tool"];
    CallResult { id: string(&tool["use_id"]), name: string(&tool["offered"]), content: content.to_owned(), is_error: tool["is_error"] == true }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn text(message: &Message) -> Option<&str> {
    message.content["text"].as_str()
}

fn clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%A, %Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
