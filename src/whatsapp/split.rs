//! Texts longer than a message takes.

use super::to_whatsapp;

/// The most characters of a text body (Cloud API, text messages). Counted in UTF-16 units, the larger of the two
/// readings of "characters".
pub const LIMIT: usize = 4096;

/// Splits Markdown into parts whose bodies on the phone fit: at the end of a paragraph, else of a line, a sentence, a
/// word, and only then anywhere. What fits comes back whole.
pub fn split(markdown: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = markdown;
    while length(rest) > LIMIT {
        let reach = furthest(rest);
        let window = &rest[..reach];
        let cut = ["\n\n", "\n", ". ", " "]
            .iter()
            .filter_map(|separator| window.rfind(separator).map(|at| at + separator.len()))
            // A part that is nearly empty helps nobody: rather cut a little less nicely.
            .find(|at| *at > reach / 4)
            .unwrap_or(reach);
        let part = rest[..cut].trim_end();
        if !part.is_empty() {
            parts.push(part.to_owned());
        }
        rest = rest[cut..].trim_start_matches(['\n', ' ']);
    }
    if !rest.trim().is_empty() || parts.is_empty() {
        parts.push(rest.to_owned());
    }
    parts
}

/// How long the text is on the phone.
fn length(markdown: &str) -> usize {
    // Conversion only ever shortens by markers and never adds more than it takes, so short texts need not be converted.
    if markdown.len() <= LIMIT { markdown.len() } else { to_whatsapp(markdown).encode_utf16().count() }
}

/// The longest beginning that fits, as a byte index at a character's boundary, at least one character.
fn furthest(text: &str) -> usize {
    let ends: Vec<usize> = text.char_indices().map(|(at, c)| at + c.len_utf8()).take(2 * LIMIT).collect();
    let fits = ends.partition_point(|end| length(&text[..*end]) <= LIMIT);
    ends.get(fits.saturating_sub(1)).copied().unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_paragraph_ends() {
        let paragraph = "word ".repeat(300).trim_end().to_owned();
        let text = vec![paragraph.clone(); 6].join("\n\n");
        let parts = split(&text);
        assert_eq!(parts.len(), 3);
        assert_eq!(parts.join("\n\n"), text);
        assert!(parts.iter().all(|p| p.encode_utf16().count() <= LIMIT));
    }

    #[test]
    fn without_any_space() {
        let text = "😀".repeat(5000);
        let parts = split(&text);
        assert!(parts.iter().all(|p| p.encode_utf16().count() <= LIMIT));
        assert_eq!(parts.concat(), text);
    }

    #[test]
    fn what_fits_is_left_alone() {
        assert_eq!(split("a\n\nb"), ["a\n\nb"]);
        assert_eq!(split(&"x".repeat(LIMIT)).len(), 1);
        assert_eq!(split(&"x".repeat(LIMIT + 1)).len(), 2);
    }
}
