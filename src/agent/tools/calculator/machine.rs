//! From tokens to values.

use std::time::{Duration, Instant};

use fend_core::{Context, Interrupt};

use super::token::{Token, join, name};

/// How long a calculation may take.
const DEADLINE: Duration = Duration::from_millis(200);
/// Up to here a power of a fraction is exact; beyond, its digits would not be read and take their time.
const EXACT_POWER: f64 = 64.0;
/// Terms that are added up at once.
const SUM: usize = 20;

/// Why there is no money.
pub(super) const MONEY: &str = "Money is calculated as plain numbers, and exchange rates are not known: leave currency signs and codes out.";

struct Deadline(Instant);

impl Interrupt for Deadline {
    fn should_interrupt(&self) -> bool {
        Instant::now() >= self.0
    }
}

/// One calculation.
pub(super) struct Machine {
    pub(super) chars: Vec<char>,
    pub(super) at: usize,
    pub(super) depth: usize,
    /// Whether the expression says how its result is to be written.
    pub(super) formatted: bool,
    context: Context,
    deadline: Deadline,
    /// How many there are; their variables are `_1` and up.
    values: usize,
    /// Those that were written as percentages.
    percentages: Vec<usize>,
}

impl Machine {
    pub(super) fn new(chars: Vec<char>) -> Self {
        // Without a handler for exchange rates and a source of random numbers, fend refuses both.
        let (context, deadline) = (Context::new(), Deadline(Instant::now() + DEADLINE));
        Machine { chars, at: 0, depth: 0, formatted: false, context, deadline, values: 0, percentages: Vec::new() }
    }

    /// The whole expression, written out.
    pub(super) fn run(mut self) -> Result<String, String> {
        let value = self.sequence(false, false)?[0];
        let mut text = self.show(&name(value))?;
        let number = text.strip_prefix("approx. ").unwrap_or(&text).split(' ').next().unwrap_or_default();
        if let (Ok(size), false) = (number.parse::<f64>().map(f64::abs), self.formatted) {
            // fend writes ten decimals, which may be none of a small number, and all of an exact one, which may be hundreds.
            let long = number.contains('.') && number.len() > 20 && (1e-6..1e15).contains(&size);
            if long || text.starts_with("approx. ") {
                text = to_fifteen_digits(&self.show(&format!("{} to 17 sf", name(value)))?);
            }
        }
        Ok(text.replace("approx. ", ""))
    }

    /// What stands between two parentheses or commas, all groups in it being values.
    pub(super) fn settle(&mut self, mut tokens: Vec<Token>) -> Result<usize, String> {
        if tokens.is_empty() {
            return Err("There is nothing between two parentheses or beside a comma.".into());
        }
        if let [Token::Value(value)] = tokens.as_slice() {
            return Ok(*value);
        }
        inches(&mut tokens);
        let mut tokens = self.percents(tokens)?;
        self.powers(&mut tokens)?;
        self.quantities(&mut tokens)?;
        self.sums(&mut tokens)?;
        self.assign(&join(&tokens))
    }

    /// `%`: a modulo before an operand, otherwise a hundredth.
    fn percents(&mut self, tokens: Vec<Token>) -> Result<Vec<Token>, String> {
        let mut done: Vec<Token> = Vec::with_capacity(tokens.len());
        let mut rest = tokens.into_iter().peekable();
        while let Some(token) = rest.next() {
            if !token.is("%") || done.last().is_none_or(|before| before.is_conversion()) {
                done.push(token);
            } else if rest.peek().is_some_and(Token::is_operand) {
                done.push(Token::Sign("mod"));
            } else {
                let before = done.pop().filter(|before| matches!(before, Token::Number(_) | Token::Value(_)));
                let before = before.ok_or("A percent sign stands behind a number.")?;
                if rest.peek().is_none_or(|next| next.is("+") || next.is("-") || next.is_conversion()) {
                    self.refuse_added(&done, &before)?;
                }
                let value = self.assign(&format!("{} / 100", join(&[before])))?;
                self.percentages.push(value);
                done.push(Token::Value(value));
                if rest.next_if(|next| next.is_word("of")).is_some() {
                    done.push(Token::Sign("*"));
                }
            }
        }
        Ok(done)
    }

    /// `200 + 10%` is 200.1 to some and 220 to others. Beside 1 or another percentage there is no doubt.
    fn refuse_added(&self, before: &[Token], percentage: &Token) -> Result<(), String> {
        let [left @ .., sign] = before else { return Ok(()) };
        let doubtless = match left {
            [.., Token::Value(value)] if self.percentages.contains(value) => true,
            [Token::Number(one)] => one == "1",
            _ => !left.last().is_some_and(Token::is_operand),
        };
        if doubtless || !(sign.is("+") || sign.is("-")) {
            return Ok(());
        }
        let (sign, percentage) = (join(std::slice::from_ref(sign)), if let Token::Number(n) = percentage { n } else { "p" });
        Err(format!("Adding {percentage}% to an amount can mean two things: write amount * (1 {sign} {percentage}%), or {sign} {percentage}/100."))
    }

    /// `^`, from the right, which is how it associates. Nothing binds more tightly but `!`.
    fn powers(&mut self, tokens: &mut Vec<Token>) -> Result<(), String> {
        let incomplete = || "The operator ^ needs a number on both sides.".to_owned();
        while let Some(at) = tokens.iter().rposition(|token| token.is("^")) {
            let start = tokens[..at].iter().rposition(|token| !token.is("!")).filter(|i| tokens[*i].is_operand()).ok_or_else(incomplete)?;
            let operand = at + 1 + tokens[at + 1..].iter().take_while(|token| token.is("-") || token.is("+")).count();
            tokens.get(operand).filter(|token| token.is_operand()).ok_or_else(incomplete)?;
            let end = operand + 1 + tokens[operand + 1..].iter().take_while(|token| token.is("!")).count();
            let value = self.power(&join(&tokens[start..at]), &join(&tokens[at + 1..end]))?;
            tokens.splice(start..end, [Token::Value(value)]);
        }
        Ok(())
    }

    /// `100 km / 2 hours` is a speed, where fend divides by two and multiplies with hours; `1/2 cup` stays half a cup.
    fn quantities(&mut self, tokens: &mut Vec<Token>) -> Result<(), String> {
        let mut at = 1;
        while at + 2 < tokens.len() {
            let divides = tokens[at].is("/") || tokens[at].is_word("per");
            let unit = tokens[at + 2..].iter().take_while(|token| matches!(token, Token::Word(_) | Token::Value(_)) && !token.is_keyword()).count();
            if divides && unit > 0 && matches!(tokens[at + 1], Token::Number(_)) && self.plain(&join(&tokens[at - 1..at])).is_none() {
                let value = self.assign(&join(&tokens[at + 1..at + 2 + unit]))?;
                tokens.splice(at + 1..at + 2 + unit, [Token::Value(value)]);
            }
            at += 1;
        }
        Ok(())
    }

    /// A long sum is taken in pieces: the time of fend's parser grows with the square of its terms.
    fn sums(&mut self, tokens: &mut Vec<Token>) -> Result<(), String> {
        let binds_less =
            |token: &Token| token.is("==") || token.is("!=") || token.is("&") || token.is("|") || (token.is_keyword() && !token.is_conversion());
        if tokens.iter().any(binds_less) {
            return Ok(());
        }
        let is_term =
            |tokens: &[Token], at: usize| (tokens[at].is("+") || tokens[at].is("-")) && (tokens[at - 1].is_operand() || tokens[at - 1].is("!"));
        while let Some(end) = (1..tokens.len()).filter(|at| is_term(tokens, *at)).nth(SUM) {
            let value = self.assign(&join(&tokens[..end]))?;
            tokens.splice(..end, [Token::Value(value)]);
        }
        Ok(())
    }

    /// A power: exact where fend has it at once, otherwise in floating point.
    pub(super) fn power(&mut self, base: &str, exponent: &str) -> Result<usize, String> {
        if let Some(e) = self.plain(exponent)
            && (e.fract() != 0.0 || e.abs() > EXACT_POWER)
            && let Some(b) = self.plain(base)
            && (e.fract() != 0.0 || b.fract() != 0.0)
        {
            let power = float_power(b, e);
            if power.is_nan() {
                return Err("A root of a negative number is no real number.".into());
            }
            if power.is_normal() {
                return self.assign(&format!("approx. {power:e}"));
            }
        }
        self.assign(&format!("({base}) ^ ({exponent})"))
    }

    /// A real number without a unit.
    pub(super) fn plain(&mut self, text: &str) -> Option<f64> {
        let text = self.show(&format!("({text}) to 17 sf")).ok()?;
        text.strip_prefix("approx. ").unwrap_or(&text).parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// Calculates into a new variable.
    pub(super) fn assign(&mut self, text: &str) -> Result<usize, String> {
        self.values += 1;
        self.context.set_echo_result(false);
        self.ask(&format!("_{} = {text}", self.values))?;
        Ok(self.values)
    }

    /// Calculates and writes out.
    pub(super) fn show(&mut self, text: &str) -> Result<String, String> {
        self.context.set_echo_result(true);
        self.ask(text)
    }

    fn ask(&mut self, text: &str) -> Result<String, String> {
        match fend_core::evaluate_with_interrupt(text, &mut self.context, &self.deadline) {
            Ok(result) => Ok(result.get_main_result().to_owned()),
            Err(_) if self.deadline.should_interrupt() => {
                Err("This takes too long: the numbers are too large. Calculate it in parts, or with logarithms.".into())
            }
            Err(error) if error.contains("exchange rate") => Err(MONEY.into()),
            Err(error) if error.contains("is not a function") => Err(format!("Two values stand beside each other: write * between them ({error}).")),
            Err(error) => Err(format!("This cannot be calculated: {error}.")),
        }
    }
}

/// A thousand to the power of a third is ten, which binary fractions miss.
fn float_power(base: f64, exponent: f64) -> f64 {
    let power = base.powf(exponent);
    let whole = power.round();
    let is_root = exponent.fract() != 0.0 && (whole - power).abs() < 1e-9 * power && (whole.powf(exponent.recip()) - base).abs() < 1e-14 * base;
    if is_root { whole } else { power }
}

/// A number and its unit as fend writes them to 17 digits, of which it cuts the last one off.
fn to_fifteen_digits(text: &str) -> String {
    let text = text.strip_prefix("approx. ").unwrap_or(text);
    let (number, unit) = text.split_at(text.find(' ').unwrap_or(text.len()));
    let rounded = number.parse().and_then(|number: f64| format!("{number:.14e}").parse());
    rounded.ok().filter(|number: &f64| number.is_normal()).map_or_else(|| text.to_owned(), |number| format!("{number}{unit}"))
}

/// `in` where it can only be inches: before an operator or the end, or between a number and a conversion.
fn inches(tokens: &mut [Token]) {
    for at in 1..tokens.len() {
        let ends = tokens.get(at + 1).is_none_or(|next| matches!(next, Token::Sign(_)) && !next.is("%"));
        let converts = matches!(tokens[at - 1], Token::Number(_)) && tokens.get(at + 1).is_some_and(Token::is_conversion);
        if tokens[at].is_word("in") && (ends || converts) {
            tokens[at] = Token::Word("inch".into());
        }
    }
}
