//! From characters to tokens.

use std::mem;

use super::functions::takes_list;
use super::machine::{MONEY, Machine};
use super::token::Token;

const MAX_DEPTH: usize = 50;
const MAX_WORD: usize = 40;
const SUPERSCRIPTS: &str = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/// What fend would take for a function that is of no use here, a date or a joke; and the imaginary unit, some powers of which make it panic.
const REFUSED: &str =
    "i print println sample roll base not cis approximately real imag conjugate today tomorrow yesterday version trans earth ans random";

/// After these it is the expression that says how its result is written.
const FORMATS: &str = "dp sf frac fraction mixed_frac mixed_fraction float exact auto hex hexadecimal bin binary oct octal ternary words roman string \
    text";

impl Machine {
    /// Reads up to the end or, `inside` parentheses, to their end. One value, or with `list` as many as there are commas and one more.
    pub(super) fn sequence(&mut self, inside: bool, list: bool) -> Result<Vec<usize>, String> {
        let (mut values, mut tokens) = (Vec::new(), Vec::new());
        loop {
            match self.peek(0) {
                None if inside => return Err("A parenthesis is opened and not closed.".into()),
                None => break,
                Some(')') if inside => {
                    self.at += 1;
                    break;
                }
                Some(',') if list => {
                    self.at += 1;
                    values.push(self.settle(mem::take(&mut tokens))?);
                }
                Some(c) => self.token(c, list, &mut tokens)?,
            }
        }
        values.push(self.settle(tokens)?);
        Ok(values)
    }

    /// What is in parentheses that are open already.
    pub(super) fn parentheses(&mut self, list: bool) -> Result<Vec<usize>, String> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("Parentheses are nested more than {MAX_DEPTH} deep: calculate the expression in parts."));
        }
        let values = self.sequence(true, list)?;
        self.depth -= 1;
        Ok(values)
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn token(&mut self, c: char, list: bool, tokens: &mut Vec<Token>) -> Result<(), String> {
        match c {
            ' ' | '\t' | '\u{a0}' => self.at += 1,
            '0'..='9' | '.' => tokens.push(self.number(list)?),
            '(' => {
                let value = self.parentheses(false)?;
                tokens.extend(value.into_iter().map(Token::Value));
            }
            '\'' | '′' | '’' if matches!(tokens.last(), Some(Token::Number(_))) => {
                self.at += 1;
                tokens.push(Token::Word("ft".into()));
            }
            '"' | '″' | '”' if matches!(tokens.last(), Some(Token::Number(_))) => {
                self.at += 1;
                tokens.push(Token::Word("inch".into()));
            }
            c if SUPERSCRIPTS.contains(c) => {
                let digits: String =
                    self.chars[self.at..].iter().map_while(|c| SUPERSCRIPTS.chars().position(|s| s == *c)).map(|d| d.to_string()).collect();
                self.at += digits.len();
                tokens.extend([Token::Sign("^"), Token::Number(digits)]);
            }
            c if (c.is_alphabetic() && c != 'λ') || c == '°' => self.word(tokens)?,
            c => {
                let sign = self.sign(c)?;
                self.at += 1 + usize::from(sign.len() == 2 || (sign == "^" && c == '*'));
                tokens.push(Token::Sign(sign));
            }
        }
        Ok(())
    }

    fn sign(&self, c: char) -> Result<&'static str, String> {
        Ok(match (c, self.peek(1)) {
            ('*', Some('*')) | ('^', _) => "^",
            ('*' | '×' | '·' | '⋅' | '✕', _) => "*",
            ('/' | '÷' | '∕', _) => "/",
            ('+', _) => "+",
            ('-' | '−' | '–', _) => "-",
            ('=', Some('=')) => "==",
            ('!', Some('=')) => "!=",
            ('!', _) => "!",
            ('%', _) => "%",
            ('&', _) => "&",
            ('|', _) => "|",
            (')', _) => return Err("A parenthesis is closed and was not opened.".into()),
            (',', _) => return Err("A comma only separates thousands, as in 1,000.50, or the arguments of a function: decimals have a point.".into()),
            ('$' | '€' | '£' | '¥' | '₹' | '₩' | '₽' | '₺' | '₦' | '₱' | '¢', _) => return Err(MONEY.into()),
            ('=' | ':' | ';' | '\n' | '\r' | 'λ' | '\\', _) => {
                return Err("There are no variables or own functions, and only one expression at a time: put the numbers themselves in.".into());
            }
            ('<' | '>', _) => return Err("Comparing with < or > and shifting bits do not work: calculate both sides, or their difference.".into()),
            ('[' | ']' | '{' | '}', _) => return Err("Lists and matrices do not work: use numbers, as in max(1, 2, 3).".into()),
            _ => return Err(format!("The character {c:?} does not belong in an expression.")),
        })
    }

    fn number(&mut self, list: bool) -> Result<Token, String> {
        let start = self.at;
        if self.peek(0) == Some('0') && matches!(self.peek(1), Some('x' | 'b' | 'o')) {
            self.at += 2;
            self.skip(|c| c.is_ascii_hexdigit());
        } else {
            self.skip(|c| c.is_ascii_digit());
            self.thousands(start, list)?;
            if self.peek(0) == Some('.') {
                self.at += 1;
                self.skip(|c| c.is_ascii_digit());
            }
            let sign = usize::from(matches!(self.peek(1), Some('+' | '-')));
            if matches!(self.peek(0), Some('e' | 'E')) && self.peek(1 + sign).is_some_and(|c| c.is_ascii_digit()) {
                self.at += 1 + sign;
                self.skip(|c| c.is_ascii_digit());
            }
        }
        let text: String = self.chars[start..self.at].iter().filter(|c| **c != ',').collect();
        if !text.ends_with(|c: char| c.is_ascii_hexdigit()) || matches!(self.peek(0), Some('.' | '_')) {
            return Err(format!("{text:?} does not begin a number that can be read: write it like 1234.5 or 1.5e6."));
        }
        Ok(Token::Number(text))
    }

    /// Commas in the digits since `start`, which must be where they separate thousands: 1,234,567 or 12,34,567.
    fn thousands(&mut self, start: usize, list: bool) -> Result<(), String> {
        let digits = |from: usize| self.chars[from.min(self.chars.len())..].iter().take_while(|c| c.is_ascii_digit()).count();
        let (mut end, mut last) = (self.at, self.at - start);
        if list {
            if digits(end + 1) == 3 && self.peek(0) == Some(',') && (1..=3).contains(&last) {
                let text: String = self.chars[start..end + 4].iter().collect();
                return Err(format!("{text} may be one number or two: write a space after the comma, or leave the separators of thousands out."));
            }
            return Ok(());
        }
        let leading = (1..=3).contains(&last);
        while self.chars.get(end) == Some(&',') && digits(end + 1) > 0 {
            last = digits(end + 1);
            if !leading || !(2..=3).contains(&last) {
                return self.sign(',').map(drop);
            }
            end += 1 + last;
        }
        if end > self.at && last != 3 {
            return self.sign(',').map(drop);
        }
        self.at = end;
        Ok(())
    }

    fn skip(&mut self, belongs: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&belongs) {
            self.at += 1;
        }
    }

    fn word(&mut self, tokens: &mut Vec<Token>) -> Result<(), String> {
        let start = self.at;
        self.at += 1;
        self.skip(|c| (c.is_alphanumeric() && c != 'λ' && !SUPERSCRIPTS.contains(c)) || c == '_');
        let word: String = self.chars[start..self.at].iter().collect();
        if word == "Math" && self.peek(0) == Some('.') {
            self.at += 1;
            return Ok(());
        }
        let lower = word.to_lowercase();
        if lower == "percent" {
            tokens.push(Token::Sign("%"));
            return Ok(());
        }
        let die = lower.strip_prefix('d').is_some_and(|faces| faces.starts_with(|c: char| c.is_ascii_digit()));
        if die || is_one_of(&lower, REFUSED) || word.chars().count() > MAX_WORD {
            let word: String = word.chars().take(MAX_WORD).collect();
            return Err(format!(
                "{word:?} does not work here: variables, imaginary and random numbers, dates and text are nothing to calculate with."
            ));
        }
        self.formatted |= is_one_of(&lower, FORMATS);
        let open = self.chars[self.at..].iter().position(|c| *c != ' ').filter(|spaces| self.peek(*spaces) == Some('('));
        // `mod` also stands between operands, and `min` is a minute too.
        let infix = lower == "mod" && tokens.last().is_some_and(|token| token.is_operand() || token.is("!") || token.is("%"));
        if let Some(list) = takes_list(&lower).filter(|_| !infix && (lower != "min" || open.is_some())) {
            self.at += open.ok_or_else(|| format!("{word} is a function: write its argument in parentheses, as in {word}(…)."))?;
            let arguments = self.parentheses(list)?;
            tokens.push(Token::Value(self.call(&lower, &arguments)?));
            return Ok(());
        }
        let word = Token::Word(match word.as_str() {
            "degC" | "ºC" => "°C".into(),
            "degF" | "ºF" => "°F".into(),
            _ => word,
        });
        if let (Some(_), false, Token::Word(word)) = (open, word.is_keyword(), &word) {
            return Err(format!("{word} is no function that is known here; if it is to be multiplied, write {word} * (…)."));
        }
        tokens.push(word);
        Ok(())
    }
}

fn is_one_of(word: &str, words: &str) -> bool {
    words.split(' ').any(|one| one == word)
}
