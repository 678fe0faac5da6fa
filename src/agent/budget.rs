//! What fits: the newest turns, within a number of messages and of tokens. Calls and their results stay together.

use serde_json::Value;

use super::turn::{Part, Turn};

/// Tokens of context that an agent has without saying.
pub const TOKENS: usize = 16_000;

/// About so many tokens: four bytes each, and a file as much as an image costs.
pub fn tokens(turn: &Turn) -> usize {
    let bytes = match turn {
        Turn::Said { parts, .. } => parts.iter().map(|p| if let Part::Text { text } = p { text.len() } else { 6_000 }).sum(),
        Turn::Calls { text, calls, state } => {
            text.len()
                + calls.iter().map(|c| c.name.len() + c.arguments.to_string().len() + 40).sum::<usize>()
                + state.as_ref().map_or(0, |s| Value::to_string(s).len())
        }
        Turn::Results { results } => results.iter().map(|r| r.content.len() + 40).sum(),
    };
    bytes / 4 + 4
}

/// How many turns have to go from the front, so that at most `most` units (messages, or calls with their results) of at
/// most `budget` tokens are left. The last unit always stays, whatever its size.
pub fn excess(turns: &[Turn], most: usize, budget: usize) -> usize {
    let (mut units, mut spent, mut keep) = (0, 0, turns.len());
    while keep > 0 {
        let begin = if matches!(turns[keep - 1], Turn::Results { .. }) && keep > 1 { keep - 2 } else { keep - 1 };
        let cost: usize = turns[begin..keep].iter().map(tokens).sum();
        if units > 0 && (units >= most || spent + cost > budget) {
            break;
        }
        units += 1;
        spent += cost;
        keep = begin;
    }
    keep
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::turn::{Call, CallResult, Role};

    fn turns() -> Vec<Turn> {
        let call = Call { id: "1".into(), name: "t".into(), arguments: Value::Null };
        let result = CallResult { id: "1".into(), name: "t".into(), content: "x".repeat(400), is_error: false };
        vec![
            Turn::said(Role::User, "a".repeat(400)),
            Turn::Calls { text: String::new(), calls: vec![call], state: None },
            Turn::Results { results: vec![result] },
            Turn::said(Role::Assistant, "b"),
            Turn::said(Role::User, "c"),
        ]
    }

    #[test]
    fn pairs_are_never_cut() {
        assert_eq!(excess(&turns(), 100, 10_000), 0);
        assert_eq!(excess(&turns(), 3, 10_000), 1);
        assert_eq!(excess(&turns(), 2, 10_000), 3);
        assert_eq!(excess(&turns(), 100, 60), 3);
        assert_eq!(excess(&turns(), 100, 1), 4, "what is asked stays");
    }
}
