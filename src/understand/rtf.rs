//! Rich Text Format: its text, without its looks.

use encoding_rs::{Encoding, WINDOWS_1252};

use super::text::{Page, is_one_of};

/// Words that begin a group that holds no text of the document.
const HIDDEN: &str = "fonttbl colortbl stylesheet info pict objdata themedata colorschememapping datastore listtable listoverridetable rsidtbl \
    generator xmlnstbl latentstyles filetbl revtbl fldinst mmathPr nonshppict bkmkstart bkmkend";
/// Groups nested deeper than this are no document.
const DEEPEST: usize = 1_000;

/// The text of the document; none for one without text.
pub fn text(bytes: &[u8]) -> Result<Option<String>, String> {
    if !bytes.starts_with(b"{\\rtf") {
        return Err("the file is no RTF document".to_owned());
    }
    let mut reader = Reader::default();
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'{' => {
                reader.open()?;
                after
            }
            b'}' => {
                reader.close();
                after
            }
            b'\\' => reader.control(after),
            // Ends of lines mean nothing here.
            b'\r' | b'\n' => after,
            _ => {
                reader.byte(byte);
                after
            }
        };
        if reader.page.is_full() {
            break;
        }
    }
    reader.flush();
    Ok(reader.page.finish())
}

#[derive(Clone, Copy)]
struct Group {
    hidden: bool,
    /// How many characters follow a `\u` for readers that know no Unicode.
    fallback: usize,
}

struct Reader {
    encoding: &'static Encoding,
    page: Page,
    group: Group,
    groups: Vec<Group>,
    /// Bytes in the encoding of the document.
    bytes: Vec<u8>,
    /// UTF-16 units of `\u`.
    units: Vec<u16>,
    /// Characters still to be passed over.
    pass: usize,
}

impl Default for Reader {
    fn default() -> Self {
        let group = Group { hidden: false, fallback: 1 };
        let (groups, bytes, units) = (Vec::new(), Vec::new(), Vec::new());
        Self { encoding: WINDOWS_1252, page: Page::default(), group, groups, bytes, units, pass: 0 }
    }
}

impl Reader {
    fn open(&mut self) -> Result<(), String> {
        if self.groups.len() == DEEPEST {
            return Err("the document is nested too deeply".to_owned());
        }
        self.pass = 0;
        self.groups.push(self.group);
        Ok(())
    }

    fn close(&mut self) {
        self.pass = 0;
        if let Some(group) = self.groups.pop() {
            self.group = group;
        }
    }

    /// A byte of text.
    fn byte(&mut self, byte: u8) {
        if self.pass > 0 {
            self.pass -= 1;
        } else if !self.group.hidden {
            self.flush_units();
            self.bytes.push(byte);
        }
    }

    fn push(&mut self, text: &str) {
        if !self.group.hidden {
            self.flush();
            self.page.push(text);
        }
    }

    fn flush_units(&mut self) {
        if !self.units.is_empty() {
            self.page.push(&String::from_utf16_lossy(&self.units));
            self.units.clear();
        }
    }

    fn flush(&mut self) {
        self.flush_units();
        if !self.bytes.is_empty() {
            self.page.push(&self.encoding.decode_without_bom_handling(&self.bytes).0);
            self.bytes.clear();
        }
    }

    /// What follows a backslash; the rest after it.
    fn control<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let Some((&first, after)) = rest.split_first() else { return rest };
        if !first.is_ascii_alphabetic() {
            return self.symbol(first, after);
        }
        let letters = rest.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(letters);
        let minus = usize::from(rest.first() == Some(&b'-'));
        let digits = rest[minus..].iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len() - minus);
        let (number, rest) = rest.split_at(if digits > 0 { minus + digits } else { 0 });
        let number: Option<i64> = std::str::from_utf8(number).ok().and_then(|n| n.parse().ok());
        // One space belongs to the word.
        let rest = rest.strip_prefix(b" ").unwrap_or(rest);
        let word = std::str::from_utf8(word).unwrap_or_default();
        if word == "bin" {
            return rest.get(number.and_then(|n| usize::try_from(n).ok()).unwrap_or(0)..).unwrap_or_default();
        }
        self.word(word, number);
        rest
    }

    fn symbol<'a>(&mut self, symbol: u8, after: &'a [u8]) -> &'a [u8] {
        match symbol {
            b'\'' => {
                let code = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                if let Some(code) = code {
                    self.byte(code);
                }
                return after.get(2..).unwrap_or_default();
            }
            // A group of this kind may be skipped by who does not know it.
            b'*' => self.group.hidden = true,
            b'~' => self.push(" "),
            b'_' => self.push("-"),
            b'\r' | b'\n' => self.push("\n"),
            b'\\' | b'{' | b'}' => self.byte(symbol),
            _ => {}
        }
        after
    }

    fn word(&mut self, word: &str, number: Option<i64>) {
        match word {
            "u" => {
                // Written as a signed number of sixteen bits.
                let unit = number.and_then(|n| u16::try_from(n.rem_euclid(0x1_0000)).ok());
                if let Some(unit) = unit.filter(|_| !self.group.hidden) {
                    if self.units.is_empty() {
                        self.flush();
                    }
                    self.units.push(unit);
                }
                self.pass = self.group.fallback;
            }
            "uc" => self.group.fallback = number.and_then(|n| usize::try_from(n).ok()).unwrap_or(1).min(16),
            "ansicpg" => self.encoding = number.and_then(encoding).unwrap_or(WINDOWS_1252),
            "par" | "line" | "row" => self.push("\n"),
            "sect" | "page" => self.push("\n\n"),
            "tab" => self.push("\t"),
            "cell" => self.push(" | "),
            "emdash" => self.push("—"),
            "endash" => self.push("–"),
            "bullet" => self.push("•"),
            "lquote" => self.push("‘"),
            "rquote" => self.push("’"),
            "ldblquote" => self.push("“"),
            "rdblquote" => self.push("”"),
            _ if is_one_of(HIDDEN, word) => self.group.hidden = true,
            _ => {}
        }
    }
}

/// The encoding of a Windows code page.
fn encoding(page: i64) -> Option<&'static Encoding> {
    let label = match page {
        932 => "shift_jis".to_owned(),
        936 => "gbk".to_owned(),
        949 => "euc-kr".to_owned(),
        950 => "big5".to_owned(),
        65001 => "utf-8".to_owned(),
        874 | 1250..=1258 => format!("windows-{page}"),
        _ => return None,
    };
    Encoding::for_label(label.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rtf: &str) -> String {
        text(rtf.as_bytes()).expect("a document").unwrap_or_default()
    }

    #[test]
    fn documents() {
        let rtf = r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\*\generator X;}{\info{\author A}}\pard Gr\'f6\'dfe \{1\}\par
{\b bold}\tab\u8364?, \uc2\u-10179 ??\u-8704 ??!\par\trowd a\cell b\cell\row{\pict 89504e47}}";
        assert_eq!(read(rtf), "Größe {1}\nbold\t€, 😀!\na | b |");
        assert_eq!(read(r"{\rtf1\ansicpg1251 \'cf\'f0\'e8\'e2\'e5\'f2\bin3 }}}{\*\x {\y z}}}"), "Привет");
        assert_eq!(read(r"{\rtf1\ansicpg932 \'93\'fa\'96\'7b}"), "日本");
        assert_eq!(read(r"{\rtf1}}}}a\"), "a");
    }

    #[test]
    fn broken_documents() {
        assert!(text(b"plain").is_err());
        assert!(text(format!("{{\\rtf1{}", "{".repeat(100_000)).as_bytes()).is_err());
    }
}
