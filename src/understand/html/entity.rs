//! Character references of HTML.

use encoding_rs::WINDOWS_1252;

/// U+00A0 to U+00FF, in order.
const LATIN: &str = "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute micro para \
    middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave \
    Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc \
    atilde auml aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash \
    ugrave uacute ucirc uuml yacute thorn yuml";

/// The others that are seen in pages of businesses.
const OTHERS: [(&str, char); 34] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("euro", '€'),
    ("ndash", '–'),
    ("mdash", '—'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("sbquo", '‚'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("bdquo", '„'),
    ("lsaquo", '‹'),
    ("rsaquo", '›'),
    ("bull", '•'),
    ("hellip", '…'),
    ("trade", '™'),
    ("larr", '←'),
    ("rarr", '→'),
    ("uarr", '↑'),
    ("darr", '↓'),
    ("ensp", ' '),
    ("emsp", ' '),
    ("thinsp", ' '),
    ("minus", '−'),
    ("le", '≤'),
    ("ge", '≥'),
    ("OElig", 'Œ'),
    ("oelig", 'œ'),
    ("Scaron", 'Š'),
    ("scaron", 'š'),
    ("infin", '∞'),
];

/// Text with its references resolved. What is none stays as it is written.
pub fn entities(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('&') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        // The longest name here is six letters; numbers may have leading zeros.
        let end = rest.bytes().take(16).position(|b| b == b';');
        match end.and_then(|end| Some((resolve(&rest[1..end])?, end))) {
            Some((character, end)) => {
                text.push(character);
                rest = &rest[end + 1..];
            }
            None => {
                text.push('&');
                rest = &rest[1..];
            }
        }
    }
    text + rest
}

fn resolve(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
            None => number.parse(),
        };
        return match code.ok()? {
            0 => None,
            // HTML reads these as windows-1252: pages of old use them for dashes and quotes.
            code @ 0x80..=0x9F => WINDOWS_1252.decode_without_bom_handling(&[u8::try_from(code).ok()?]).0.chars().next(),
            code => char::from_u32(code),
        };
    }
    let latin = || LATIN.split_ascii_whitespace().position(|known| known == name).and_then(|at| char::from_u32(0xA0 + u32::try_from(at).ok()?));
    OTHERS.iter().find(|(known, _)| *known == name).map(|(_, character)| *character).or_else(latin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        assert_eq!(
            entities("&lt;b&gt; &auml;&yuml;&nbsp;&euro; &#228;&#xE4;&#150;&#0;&#xD800; a&b; &nope; &"),
            "<b> äÿ\u{a0}€ ää–&#0;&#xD800; a&b; &nope; &"
        );
    }
}
