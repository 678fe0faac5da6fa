//! The calculator: fend behind a scanner. Every group in parentheses and every function call is calculated on its own and put back as a value,
//! for three reasons: fend reads `sin(45 deg)^2` as `sin((45 deg)^2)`; its parser takes exponential time over nested parentheses, where no
//! deadline reaches it; and functions of several arguments, which it has none of, come for free. Powers that fend would take as fractions of a
//! million digits, such as the `(1 + 5%/12)^360` of a mortgage, are taken in floating point.

mod functions;
mod machine;
mod scan;
mod token;

use std::thread;

use serde_json::json;

use crate::agent::turn::Tool;
use machine::Machine;

/// Bytes. fend recurses for every term of a sum; a thousand characters are at most five hundred terms.
const STACK: usize = 64 << 20;
const MAX_EXPRESSION: usize = 1_000;
const MAX_RESULT: usize = 2_000;

/// `calculator`, with `{expression: string}`.
pub fn tool() -> Tool {
    let description = "Calculates one expression. Works: + - * / ^ (or **) ! mod, parentheses; pi, e; percentages (\"15% of 80\", \"80 * (1 + 15%)\"); \
        sqrt, cbrt, root(x, n), pow(x, y), exp, ln, log2, log10, log(x, base), abs, floor, ceil, round(x), round(x, decimals), mod(a, b), max, min, \
        sum, mean, factorial, combinations(n, k), permutations(n, k), sin, cos, tan, their inverses and hyperbolic ones (in radians unless the argument \
        says deg); units (\"5 ft to cm\", \"100 km / 2 hours to mph\", \"30 °C to °F\", \"5 feet 10 inches to m\"); \"to 2 dp\", \"to 5 sf\", \"to \
        fraction\", \"to hex\", \"to %\". Decimals have a point. A comma separates thousands (1,000.50), but in a function of several arguments only \
        the arguments. Does not work: variables, several expressions at once, lists, < and >, random numbers, dates, and money: leave currency signs \
        out, and multiply by an exchange rate that you know.";
    Tool {
        name: "calculator".into(),
        description: description.into(),
        parameters: json!({
            "type": "object",
            "properties": {"expression": {"type": "string", "description": "E.g. 1,250.50 * 3 * (1 - 15%)"}},
            "required": ["expression"],
            "additionalProperties": false,
        }),
    }
}

/// Calculates, for up to 200 ms of processor time: call it where blocking is allowed. The result is a number, with its unit where it has one, in
/// at most 2,000 characters; the error says what to write instead. Nothing is kept between calls, and nothing is asked of the network.
pub fn evaluate(expression: &str) -> Result<String, String> {
    let chars: Vec<char> = expression.trim().chars().collect();
    match chars.len() {
        0 => return Err("The expression is empty: write a calculation, such as 12.5 * 3.".into()),
        n if n > MAX_EXPRESSION => return Err(format!("The expression has {n} characters; {MAX_EXPRESSION} are allowed. Calculate it in parts.")),
        _ => {}
    }
    // The thread is there for its stack, and for a panic of the library to end in it.
    let worker = thread::Builder::new().name("calculator".into()).stack_size(STACK).spawn(move || Machine::new(chars).run());
    let worker = worker.map_err(|_| "The calculator is not available right now: try again.".to_owned())?;
    let text = worker.join().unwrap_or_else(|_| Err("This could not be calculated: write it in a simpler way.".into()))?;
    if text.chars().count() <= MAX_RESULT {
        return Ok(text);
    }
    Ok(format!("{}… (cut short)", text.chars().take(MAX_RESULT - 20).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn golden() {
        let golden = include_str!("calculator/golden.txt").lines().filter(|line| !line.is_empty());
        let golden: Vec<(&str, &str)> = golden.map(|line| line.split_once(" => ").expect("an arrow")).collect();
        assert!(golden.len() > 100);
        for (expression, result) in golden {
            assert_eq!(evaluate(expression).as_deref(), Ok(result), "{expression}");
        }
    }

    #[test]
    fn refused() {
        let refused = [
            ("", "empty"),
            ("5 USD to EUR", "exchange rates"),
            ("$5 * 3", "exchange rates"),
            ("5 dollars + 1", "exchange rates"),
            ("200 + 10%", "two things"),
            ("(100 + 20) - 5%", "two things"),
            ("1,5 * 2", "decimals have a point"),
            ("1234,567", "decimals have a point"),
            ("1.000,50", "decimals have a point"),
            ("max(1,200, 500)", "one number or two"),
            ("round(1,234)", "one number or two"),
            ("round(1.5, 2.5)", "how many decimals"),
            ("log(100)", "log10(x)"),
            ("sqrt 2", "sqrt(…)"),
            ("cos 60 degrees", "cos(…)"),
            ("gcd(3, 4)", "no function"),
            ("sqrt(1, 2, 3)", "decimals have a point"),
            ("pow(1)", "does not take 1 arguments"),
            ("x = 5; x * 2", "no variables"),
            ("(x: x x) (x: x x)", "no variables"),
            ("\\x. x", "no variables"),
            ("λx. x", "no variables"),
            ("1\n2", "no variables"),
            ("_1", "does not belong"),
            ("ans + 1", "variables"),
            ("x + 1", "unknown identifier 'x'"),
            ("3 > 2", "< or >"),
            ("1 << 100000000000", "< or >"),
            ("[1, 2]", "Lists"),
            ("roll d6", "random"),
            ("100d100", "random"),
            ("today", "dates"),
            ("i^-2", "imaginary"),
            ("sqrt(-4)", "negative number"),
            ("ln(-1)", "not defined"),
            ("cosh(1000)", "too large"),
            ("sin(1e400)", "too large"),
            ("1 / 0", "division by zero"),
            ("(1 + 2", "not closed"),
            ("1 + 2)", "was not opened"),
            ("()", "nothing between"),
            ("max()", "nothing between"),
            ("2 ^", "both sides"),
            ("3 apples", "unknown identifier 'apples'"),
            ("1.2.3", "a number that can be read"),
        ];
        for (expression, why) in refused {
            let error = evaluate(expression).expect_err(expression);
            assert!(error.contains(why), "{expression}: {error}");
        }
    }

    /// fend alone would run on, take all memory, or overflow the stack on some of these.
    #[test]
    fn ends_in_time() {
        // 200 ms and a little; more where the tests of a busy machine share it.
        const LIMIT: u128 = 1_000;
        let bombs = [
            "9^9^9^9".into(),
            "10^10^10".into(),
            "2^(10^9)".into(),
            "1000000000!".into(),
            "10^1000000 - 1".into(),
            "1e1000000000".into(),
            "1e-1000000000".into(),
            "(10^5000)!".into(),
            "1000000 nCr 500000".into(),
            "10^50000 / 7^50000".into(),
            "1/3 to 1000000000000 dp".into(),
            "pi to 10000000 dp".into(),
            "10^1000000 to words".into(),
            "(".repeat(1000),
            "1 + (".repeat(190),
            "sin(".repeat(250),
            "9".repeat(1001),
        ];
        for expression in bombs {
            let started = Instant::now();
            assert!(evaluate(&expression).is_err(), "{expression:.40}");
            assert!(started.elapsed().as_millis() < LIMIT, "{expression:.40}: {:?}", started.elapsed());
        }
        // Deep and long, but harmless.
        for expression in [format!("{}1{}", "1+(".repeat(50), ")".repeat(50)), format!("{}1", "1+".repeat(50)), format!("{}1", "--".repeat(25))] {
            let started = Instant::now();
            assert!(["1", "51"].contains(&evaluate(&expression).expect(&expression).as_str()));
            assert!(started.elapsed().as_millis() < LIMIT);
        }
        for token in ["-", "1+", "1^", "2 m ", "1/", "square ", "light ", "1!", "1%", "km/", "("] {
            let started = Instant::now();
            let _ = evaluate(&token.repeat(1000 / token.len()));
            assert!(started.elapsed().as_millis() < LIMIT, "{token}: {:?}", started.elapsed());
        }
    }

    #[test]
    fn long_results_are_cut() {
        let result = evaluate("3^10000").expect("a number");
        assert!(result.starts_with("16313501853426258743") && result.ends_with("… (cut short)"));
        assert!(result.chars().count() <= MAX_RESULT);
        assert_eq!(evaluate("10^1990").expect("a number").len(), 1991);
    }
}
