//! Bytes to text, and how much of it is kept.

use encoding_rs::{Encoding, WINDOWS_1252};

/// Characters kept of a file.
pub const MOST: usize = 400_000;
/// No more bytes of a text than these are looked at. Pages may hold pictures, of which nothing is kept.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Where what looks like text turns out to be something else.
const SNIFF: usize = 64 * 1024;
/// The last line of what was cut off.
pub const CUT: &str = "[… the rest is left out: it is too long]";

/// The text of a file of text: by its byte order mark, else UTF-8, else windows-1252, which reads anything. Of a
/// longer file than 16 MB, only the beginning is read.
pub fn decode(bytes: &[u8]) -> Result<String, String> {
    let whole = bytes.len() <= MOST_BYTES;
    let bytes = if whole { bytes } else { &bytes[..MOST_BYTES] };
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return Ok(encoding.decode_without_bom_handling(&bytes[mark..]).0.into_owned());
    }
    if bytes[..bytes.len().min(SNIFF)].contains(&0) {
        return Err("the file is binary, though it is said to be text".to_owned());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        // Cut in the middle of a character.
        Err(error) if error.error_len().is_none() && !whole => Ok(String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned()),
        Err(_) => Ok(WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned()),
    }
}

/// The first so many characters, and whether that is all.
pub fn head(text: &str, characters: usize) -> (&str, bool) {
    match text.char_indices().nth(characters) {
        Some((at, _)) => (&text[..at], false),
        None => (text, true),
    }
}

/// The text, or its first so many characters and [`CUT`] on a line of its own.
pub fn clip(text: String, characters: usize) -> String {
    match head(&text, characters) {
        (_, true) => text,
        (start, false) => format!("{}\n{CUT}", start.trim_end()),
    }
}

/// Without control characters that neither people nor databases read, and with line feeds for ends of lines.
pub fn clean(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect()
}

/// Whether the word is in a list of words, which have spaces between them.
pub fn is_one_of(words: &str, word: &str) -> bool {
    words.split_ascii_whitespace().any(|known| known == word)
}

/// Text that grows up to [`MOST`] characters.
pub struct Page {
    text: String,
    left: usize,
    full: bool,
}

impl Default for Page {
    fn default() -> Self {
        Self { text: String::new(), left: MOST, full: false }
    }
}

impl Page {
    /// Adds text; what has no place is dropped.
    pub fn push(&mut self, text: &str) {
        if self.full {
            return;
        }
        let (start, all) = head(text, self.left);
        self.text.push_str(start);
        self.left -= if all { start.chars().count() } else { self.left };
        self.full = !all;
    }

    /// Whether more text would be dropped: nobody needs to read on.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The text, trimmed, with a note where something was dropped; none for none.
    pub fn finish(self) -> Option<String> {
        let text = self.text.trim_end().trim_start_matches('\n');
        match (text.is_empty(), self.full) {
            (true, _) => None,
            (false, false) => Some(text.to_owned()),
            (false, true) => Some(format!("{text}\n{CUT}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> String {
        decode(bytes).expect("text")
    }

    #[test]
    fn encodings() {
        assert_eq!(decoded("Größe".as_bytes()), "Größe");
        assert_eq!(decoded(b"\xEF\xBB\xBFa"), "a");
        assert_eq!(decoded(b"Gr\xF6\xDFe \x80"), "Größe €");
        assert_eq!(decoded(b"\xFF\xFEG\0r\0\xF6\0"), "Grö");
        assert_eq!(decoded(b"\xFE\xFF\0G\0r\0\xF6"), "Grö");
        assert!(decode(b"MZ\0\0").is_err());
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = "ä€".repeat(MOST_BYTES / 5 + 1);
        let read = decoded(text.as_bytes());
        assert!(read.ends_with('€') && read.len() < MOST_BYTES);
        let kept = clip(read, MOST);
        assert_eq!(kept.chars().count(), MOST + 1 + CUT.chars().count());
        let mut page = Page::default();
        for _ in 0..3 {
            page.push(&"a".repeat(MOST / 2));
        }
        assert!(page.is_full());
        assert_eq!(page.finish().map(|t| t.len()), Some(MOST + 1 + CUT.len()));
    }

    #[test]
    fn controls() {
        assert_eq!(clean("a\0b\r\nc\td\re\u{1b}[1m"), "ab\nc\td\ne[1m");
    }
}
