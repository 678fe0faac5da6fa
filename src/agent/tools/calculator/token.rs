//! What an expression is made of.

use std::borrow::Cow;

/// Words that stand between two operands.
const KEYWORDS: [&str; 12] = ["to", "as", "in", "per", "of", "mod", "xor", "and", "or", "choose", "ncr", "npr"];

#[derive(Clone, PartialEq)]
pub(super) enum Token {
    /// Digits, as fend reads them.
    Number(String),
    /// A unit, a constant or a keyword.
    Word(String),
    /// A group that is calculated already, by the number of its variable.
    Value(usize),
    /// An operator.
    Sign(&'static str),
}

impl Token {
    /// Whether it is this operator.
    pub(super) fn is(&self, text: &str) -> bool {
        matches!(self, Token::Sign(sign) if *sign == text)
    }

    /// Whether it is this word.
    pub(super) fn is_word(&self, text: &str) -> bool {
        matches!(self, Token::Word(word) if word == text)
    }

    /// Whether the word is an operator.
    pub(super) fn is_keyword(&self) -> bool {
        matches!(self, Token::Word(word) if KEYWORDS.contains(&word.to_ascii_lowercase().as_str()))
    }

    /// Whether what follows converts the value before.
    pub(super) fn is_conversion(&self) -> bool {
        ["to", "as", "in"].iter().any(|word| self.is_word(word))
    }

    /// Whether it has a value.
    pub(super) fn is_operand(&self) -> bool {
        !matches!(self, Token::Sign(_)) && !self.is_keyword()
    }
}

/// The variable of a value, in parentheses. No word of an expression begins with an underscore.
pub(super) fn name(value: usize) -> String {
    format!("(_{value})")
}

/// Tokens as fend reads them.
pub(super) fn join(tokens: &[Token]) -> String {
    let texts = tokens.iter().map(|token| match token {
        Token::Number(text) | Token::Word(text) => Cow::Borrowed(text.as_str()),
        Token::Value(value) => Cow::Owned(name(*value)),
        Token::Sign(sign) => Cow::Borrowed(*sign),
    });
    texts.collect::<Vec<_>>().join(" ")
}
