//! Functions: those of fend, and those that models know from elsewhere.

use super::machine::Machine;
use super::token::name;

/// Whether a function takes several arguments, so that a comma separates them; `None` when it is no function.
pub(super) fn takes_list(function: &str) -> Option<bool> {
    match function {
        "abs" | "floor" | "ceil" | "sin" | "cos" | "tan" | "asin" | "acos" | "atan" | "sinh" | "cosh" | "tanh" | "asinh" | "acosh" | "atanh" => {
            Some(false)
        }
        "ln" | "log2" | "log10" | "sqrt" | "cbrt" | "exp" | "factorial" => Some(false),
        "round" | "log" | "pow" | "mod" | "root" | "nthroot" | "max" | "min" | "sum" | "mean" | "average" | "avg" => Some(true),
        "combinations" | "permutations" => Some(true),
        _ => None,
    }
}

impl Machine {
    /// A function of arguments that are calculated.
    pub(super) fn call(&mut self, function: &str, arguments: &[usize]) -> Result<usize, String> {
        let names: Vec<String> = arguments.iter().map(|argument| name(*argument)).collect();
        let texts: Vec<&str> = names.iter().map(String::as_str).collect();
        match (function, texts.as_slice()) {
            ("sqrt", [x]) => self.power(x, "1/2"),
            ("cbrt", [x]) => self.root(x, "3"),
            ("root" | "nthroot", [x, n]) => self.root(x, n),
            ("exp", [x]) => self.power("e", x),
            ("pow", [x, y]) => self.power(x, y),
            ("factorial", [x]) => self.assign(&format!("{x}!")),
            ("log", [x, base]) => {
                let (x, base) = (self.real("ln", x)?, self.real("ln", base)?);
                self.assign(&format!("{} / {}", name(x), name(base)))
            }
            ("log", [_]) => Err("log(x) means different things in different places: use ln(x), log10(x), log2(x) or log(x, base).".into()),
            ("mod", [a, b]) => self.assign(&format!("{a} - {b} * (floor ({a} / {b}))")),
            ("round", [x]) => self.assign(&format!("round {x}")),
            ("round", [x, places]) => match self.plain(places) {
                Some(n) if n.fract() == 0.0 && n.abs() <= 15.0 => self.assign(&format!("(round ({x} * 10^({n}))) / 10^({n})")),
                _ => {
                    Err("The second argument of round is how many decimals to keep, a whole number up to 15; commas do not separate thousands here."
                        .into())
                }
            },
            ("max" | "min", [_, ..]) => self.extreme(function == "max", arguments),
            ("sum", [_, ..]) => self.assign(&texts.join(" + ")),
            ("mean" | "average" | "avg", [_, ..]) => self.assign(&format!("({}) / {}", texts.join(" + "), texts.len())),
            ("combinations", [n, k]) => self.assign(&format!("{n} nCr {k}")),
            ("permutations", [n, k]) => self.assign(&format!("{n} nPr {k}")),
            (_, [x]) if takes_list(function) == Some(false) => self.real(function, x),
            (_, found) => Err(format!("{function} does not take {} arguments.", found.len())),
        }
    }

    /// A function of fend, where its value is a real number. fend knows the exact values of some angles and converts units, but keeps what is not
    /// exact as a multiple of 2^-64 below 2^64: plain numbers are put through floating point instead.
    fn real(&mut self, function: &str, x: &str) -> Result<usize, String> {
        let number = self.plain(x);
        let value = number.and_then(|number| float(function, number));
        if value.is_some_and(|value| !value.is_finite()) {
            return Err(format!("{function} is not defined for this number, or too large."));
        }
        // It takes the logarithm of any number, but beyond floating point nothing else.
        if number.is_none() && !function.starts_with('l') && float(function, 0.0).is_some() && self.show(x)?.len() > 300 {
            return Err(format!("The number is too large for {function}."));
        }
        let exact = self.assign(&format!("{function} {x}"))?;
        match value {
            Some(value) if self.show(&name(exact))?.starts_with("approx. ") => self.assign(&format!("approx. {value:e}")),
            _ => Ok(exact),
        }
    }

    /// A root; odd ones of negative numbers are negative, not complex.
    fn root(&mut self, x: &str, n: &str) -> Result<usize, String> {
        let odd = self.plain(n).is_some_and(|n| n % 2.0 == 1.0);
        if odd && self.plain(x).is_some_and(|x| x < 0.0) {
            let root = self.power(&format!("-{x}"), &format!("1/{n}"))?;
            return self.assign(&format!("-{}", name(root)));
        }
        self.power(x, &format!("1/{n}"))
    }

    /// The largest or smallest. fend only compares for equality, so the sign of a difference tells; units may differ.
    fn extreme(&mut self, largest: bool, values: &[usize]) -> Result<usize, String> {
        let mut best = values[0];
        for value in &values[1..] {
            let (a, b) = (name(best), name(*value));
            let size = self.assign(&format!("abs ({a} - {b})"))?;
            let (ahead, behind) = (format!("{} == {a} - {b}", name(size)), format!("{} == {b} - {a}", name(size)));
            match (self.show(&ahead)? == "true", self.show(&behind)? == "true") {
                (true, true) => {}
                (false, false) => return Err("max and min only compare real numbers.".into()),
                (first_is_larger, _) if first_is_larger == largest => {}
                _ => best = *value,
            }
        }
        Ok(best)
    }
}

/// In floating point; `None` for functions that are exact anyway.
fn float(function: &str, x: f64) -> Option<f64> {
    Some(match function {
        "sin" => x.sin(),
        "cos" => x.cos(),
        "tan" => x.tan(),
        "asin" => x.asin(),
        "acos" => x.acos(),
        "atan" => x.atan(),
        "sinh" => x.sinh(),
        "cosh" => x.cosh(),
        "tanh" => x.tanh(),
        "asinh" => x.asinh(),
        "acosh" => x.acosh(),
        "atanh" => x.atanh(),
        "ln" => x.ln(),
        "log2" => x.log2(),
        "log10" => x.log10(),
        _ => return None,
    })
}
