//! Markers of the context that a model imitates around what it says.

/// Who said something: what they said stays.
const KEPT: [&str; 4] = ["colleague", "agent", "notification", "from"];
/// What was said about and when: goes with its inside.
const DROPPED: [&str; 3] = ["in-reply-to", "in-reaction-to", "time"];

/// A text, trimmed, without markers at its beginning and its end. Within a text they stay: there somebody may mean them.
pub(super) fn without(text: &str) -> String {
    let mut text = text.trim().to_owned();
    while let Some(rest) = without_first(&text).or_else(|| without_last(&text)) {
        text = rest.trim().to_owned();
    }
    text
}

/// A tag of ours at the beginning of a text.
struct Tag {
    name: &'static str,
    kept: bool,
    /// `</name>`.
    closes: bool,
    /// `<name/>`.
    empty: bool,
    /// Where it ends.
    end: usize,
}

impl Tag {
    fn at_start(text: &str) -> Option<Self> {
        let end = text.find('>')? + 1;
        let inside = text[..end - 1].strip_prefix('<')?;
        let (closes, inside) = inside.strip_prefix('/').map_or((false, inside), |rest| (true, rest));
        if inside.contains('<') {
            return None;
        }
        let is = |name: &&&str| {
            let same = inside.get(..name.len()).is_some_and(|n| n.eq_ignore_ascii_case(name));
            same && inside[name.len()..].chars().next().is_none_or(|c| c == '/' || c.is_whitespace())
        };
        let kept = KEPT.iter().find(is);
        let name = kept.or_else(|| DROPPED.iter().find(is))?;
        Some(Tag { name, kept: kept.is_some(), closes, empty: inside.ends_with('/'), end })
    }
}

fn without_first(text: &str) -> Option<String> {
    let tag = Tag::at_start(text)?;
    let rest = &text[tag.end..];
    // A marker that nothing closes, or that closes nothing, goes alone.
    let close = format!("</{}>", tag.name);
    let Some(at) = rest.to_ascii_lowercase().find(&close).filter(|_| !tag.closes && !tag.empty) else {
        return Some(rest.to_owned());
    };
    let inside = if tag.kept { &rest[..at] } else { "" };
    Some(format!("{inside}{}", &rest[at + close.len()..]))
}

fn without_last(text: &str) -> Option<String> {
    let start = text.rfind('<')?;
    let tag = Tag::at_start(&text[start..]).filter(|tag| start + tag.end == text.len())?;
    let before = &text[..start];
    let opens = |at: usize| Tag::at_start(&before[at..]).filter(|t| t.name == tag.name && !t.closes && !t.empty).map(|t| (at, at + t.end));
    match before.rmatch_indices('<').find_map(|(at, _)| opens(at)).filter(|_| tag.closes) {
        Some((at, end)) => Some(format!("{}{}", &before[..at], if tag.kept { &before[end..] } else { "" })),
        None => Some(before.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn around_a_text() {
        for (imitated, meant) in [
            ("<colleague name=\"Ana\">We open at 9.</colleague>", "We open at 9."),
            ("<Agent name=\"Bot\">\nHi\n</Agent>", "Hi"),
            ("<agent name=\"a\">one</agent>\n<agent name=\"b\">two</agent>", "one\ntwo"),
            ("<notification>Your parcel</notification> is here", "Your parcel is here"),
            ("<from name=\"Ana\">Hello", "Hello"),
            ("<from name=\"Ana\"/> Hello", "Hello"),
            ("Hello</from>", "Hello"),
            ("<in-reply-to>when?</in-reply-to>\nAt 9.", "At 9."),
            ("<in-reply-to>a <in-reply-to>b</in-reply-to></in-reply-to> At 9.", "At 9."),
            ("At 9.\n<time>Friday, 10:00</time>", "At 9."),
            ("<time>10:00</time><in-reply-to>x</in-reply-to><colleague>Hi</colleague><time>10:00</time>", "Hi"),
            ("<time>10:00</time>", ""),
            ("At 9. <time/>", "At 9."),
        ] {
            assert_eq!(without(imitated), meant, "{imitated}");
        }
    }

    #[test]
    fn what_is_none_stays() {
        for same in [
            "1 < 2 > 0",
            "<agents>x</agents>",
            "<timeline>",
            "<b>bold</b>",
            "use <from> and <to>, please",
            "<",
            "<agent",
            "a <agent>b</agent> c",
            "<é>",
            "<tim€>",
            "",
        ] {
            assert_eq!(without(same), same);
        }
    }
}
