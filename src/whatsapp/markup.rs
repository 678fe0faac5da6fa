//! Text flavours: Markdown in rows, WhatsApp's markers on the phone. Code (spans and fenced blocks) passes untouched.

/// Stands in for a bold marker while italics are found.
const BOLD: char = '\u{2}';

/// Markdown to WhatsApp: headings and `**x**`, `__x__` become `*x*`; `*x*` becomes `_x_`; `~~x~~` becomes `~x~`.
pub fn to_whatsapp(text: &str) -> String {
    outside_code(text, |segment| {
        let segment: Vec<String> = segment.split('\n').map(heading).collect();
        let segment = segment.join("\n");
        let segment = paired(&paired(&segment, "**", BOLD), "__", BOLD);
        let segment = single(&segment, '*', "_");
        paired(&segment, "~~", '~').replace(BOLD, "*")
    })
}

/// WhatsApp to Markdown: `*x*` becomes `**x**`, `~x~` becomes `~~x~~`.
pub fn to_markdown(text: &str) -> String {
    outside_code(text, |segment| single(&single(segment, '*', "**"), '~', "~~"))
}

/// Applies `convert` to what is not within backticks.
fn outside_code(text: &str, convert: impl Fn(&str) -> String) -> String {
    let mut result = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(start) = rest.find('`') {
        let fence = if rest[start..].starts_with("```") { "```" } else { "`" };
        let inner = &rest[start + fence.len()..];
        let Some(length) = inner.find(fence).filter(|l| fence == "```" || !inner[..*l].contains('\n') && *l > 0) else {
            // A lone backtick is text like any other: convert up to it and go on behind it.
            result.push_str(&convert(&rest[..start + fence.len()]));
            rest = inner;
            continue;
        };
        let end = start + fence.len() + length + fence.len();
        result.push_str(&convert(&rest[..start]));
        result.push_str(&rest[start..end]);
        rest = &rest[end..];
    }
    result.push_str(&convert(rest));
    result
}

/// `# Title` becomes a bold line; bold within it has nothing to add.
fn heading(line: &str) -> String {
    let title = line.trim_start_matches('#');
    if title.len() == line.len() || !title.starts_with([' ', '\t']) || title.trim().is_empty() {
        return line.to_owned();
    }
    format!("{BOLD}{}{BOLD}", title.trim().replace("**", ""))
}

/// `<marker>x<marker>` to `<with>x<with>`: x is on one line, the shortest, and neither begins nor ends with a space or
/// the marker's character.
fn paired(text: &str, marker: &str, with: char) -> String {
    let plain = |c: Option<char>| c.is_some_and(|c| !c.is_whitespace() && !marker.starts_with(c));
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(marker) {
        let inner = &rest[start + marker.len()..];
        let line = &inner[..inner.find('\n').unwrap_or(inner.len())];
        let close = line.match_indices(marker).map(|(at, _)| at).find(|at| plain(line[..*at].chars().next_back()));
        if let Some(at) = close.filter(|_| plain(line.chars().next())) {
            result.push_str(&rest[..start]);
            result.push(with);
            result.push_str(&line[..at]);
            result.push(with);
            rest = &inner[at + marker.len()..];
        } else {
            result.push_str(&rest[..=start]);
            rest = &rest[start + 1..];
        }
    }
    result.push_str(rest);
    result
}

/// `<marker>x<marker>` to `<with>x<with>` under the strict rule: no letter, digit or marker on either outside, x on one
/// line, without the marker, neither beginning nor ending with a space.
fn single(text: &str, marker: char, with: &str) -> String {
    let outside = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != marker);
    let mut result = String::with_capacity(text.len() + 8);
    let mut at = 0;
    while let Some(start) = text[at..].find(marker).map(|i| at + i) {
        let inner = &text[start + 1..];
        let span = inner.find([marker, '\n']).filter(|end| inner[*end..].starts_with(marker)).map(|end| &inner[..end]);
        let good = span.filter(|x| {
            let edges = |c: Option<char>| c.is_some_and(|c| !c.is_whitespace());
            edges(x.chars().next())
                && edges(x.chars().next_back())
                && outside(text[..start].chars().next_back())
                && outside(inner[x.len() + 1..].chars().next())
        });
        result.push_str(&text[at..start]);
        if let Some(x) = good {
            result.push_str(with);
            result.push_str(x);
            result.push_str(with);
            at = start + x.len() + 2;
        } else {
            result.push(marker);
            at = start + 1;
        }
    }
    result.push_str(&text[at..]);
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn outbound() {
        for (markdown, phone) in [
            ("**bold**", "*bold*"),
            ("*it*", "_it_"),
            ("~~s~~", "~s~"),
            ("# Title", "*Title*"),
            ("## A *b* c", "*A _b_ c*"),
            ("***x***", "_*x*_"),
            ("**a** *b*", "*a* _b_"),
            ("foo**bar**baz", "foo*bar*baz"),
            ("__init__", "*init*"),
            ("a__b__c", "a*b*c"),
            ("# **A**", "*A*"),
            ("x\n# T\ny **z**", "x\n*T*\ny *z*"),
            ("`**a**` **b**", "`**a**` *b*"),
            ("```\n# no\n**a**\n```\n**b**", "```\n# no\n**a**\n```\n*b*"),
            ("a ` **b**", "a ` *b*"),
        ] {
            assert_eq!(to_whatsapp(markdown), phone, "{markdown}");
        }
        for same in ["2*3*4", "2 * 3 * 4", "snake_case", "* item", "foo*bar*baz", "*a*b", "** a **", "[l](u)", "#nospace", "**a\nb**", "_x_", "> q"] {
            assert_eq!(to_whatsapp(same), same);
        }
    }

    #[test]
    fn inbound() {
        for (phone, markdown) in
            [("*bold*", "**bold**"), ("*a* *b*", "**a** **b**"), ("(*a*)", "(**a**)"), ("~*x*~", "~~**x**~~"), ("*_x_*", "**_x_**")]
        {
            assert_eq!(to_markdown(phone), markdown, "{phone}");
        }
        for same in ["*a *", "a*b*", "2*3*4", "*a\nb*", "**x**", "_x_", "`*a*`"] {
            assert_eq!(to_markdown(same), same);
        }
    }

    proptest! {
        #[test]
        fn words_and_lines_survive(text in "[a-c*_~`# \\n]{0,40}") {
            let letters = |s: &str| s.chars().filter(|c| c.is_alphabetic() || *c == '\n').collect::<String>();
            prop_assert_eq!(letters(&to_whatsapp(&text)), letters(&text));
            prop_assert_eq!(letters(&to_markdown(&text)), letters(&text));
        }

        #[test]
        fn what_the_phone_shows_comes_back(word in "[a-z]{1,8}( [a-z]{1,8}){0,2}") {
            for text in [format!("**{word}**"), format!("~~{word}~~"), format!("_{word}_")] {
                prop_assert_eq!(to_markdown(&to_whatsapp(&text)), text);
            }
        }
    }
}
