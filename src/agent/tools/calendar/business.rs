//! Working days.

use std::collections::BTreeSet;

use jiff::civil::{Date, Weekday};
use serde_json::Value;

use super::moment::{Moment, bounded};

const MAX_HOLIDAYS: usize = 1_000;
const MAX_DAYS: i64 = 10_000;

/// Which days are no working days.
pub(super) struct Closed {
    weekend: Vec<Weekday>,
    holidays: BTreeSet<Date>,
}

impl Closed {
    /// From the arguments: names of days, Saturday and Sunday if there are none, and dates.
    pub(super) fn read(weekend: Option<&Value>, holidays: Option<&Value>) -> Result<Self, String> {
        let weekend = match weekend {
            None => vec![Weekday::Saturday, Weekday::Sunday],
            Some(names) => texts(names, "weekend")?.into_iter().map(weekday).collect::<Result<_, _>>()?,
        };
        let all = [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday, Weekday::Saturday, Weekday::Sunday];
        if all.iter().all(|day| weekend.contains(day)) {
            return Err("A weekend of seven days leaves no working day.".into());
        }
        let holidays = holidays.map_or(Ok(Vec::new()), |dates| texts(dates, "holidays"))?;
        if holidays.len() > MAX_HOLIDAYS {
            return Err(format!("There are {} holidays; {MAX_HOLIDAYS} are allowed.", holidays.len()));
        }
        let utc = jiff::tz::TimeZone::UTC;
        let holidays = holidays.into_iter().map(|text| Moment::parse(text, &utc, &mut Vec::new()).map(|day| day.date()));
        Ok(Closed { weekend, holidays: holidays.collect::<Result<_, _>>()? })
    }

    fn works(&self, day: Date) -> bool {
        !self.weekend.contains(&day.weekday()) && !self.holidays.contains(&day)
    }

    /// The working day that is so many after `start`, or before it. With 0, `start` itself or the first one after it.
    pub(super) fn count_from(&self, start: Date, days: i64) -> Result<Date, String> {
        if days.abs() > MAX_DAYS {
            return Err(format!("{days} working days are too many: {MAX_DAYS} at most."));
        }
        let (mut day, mut left) = (start, days.abs());
        while left > 0 || !self.works(day) {
            day = step(day, days < 0)?;
            left -= i64::from(self.works(day));
        }
        Ok(day)
    }

    /// How many working days there are after `start`, up to and including `end`; negative where `end` is before.
    pub(super) fn between(&self, start: Date, end: Date) -> Result<i64, String> {
        let (mut day, mut count) = (start, 0);
        while day != end {
            day = step(day, end < start)?;
            count += i64::from(self.works(day));
        }
        Ok(if end < start { -count } else { count })
    }
}

fn step(day: Date, back: bool) -> Result<Date, String> {
    let next = if back { day.yesterday() } else { day.tomorrow() };
    let next = next.map_err(|_| "The date is out of range.")?;
    bounded(next).map(|()| next)
}

/// A day of the week, in English, in full or its first letters.
pub(super) fn weekday(name: &str) -> Result<Weekday, String> {
    let lower = name.trim().to_lowercase();
    let days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let at = days.iter().position(|day| lower.len() >= 3 && day.starts_with(&lower)).and_then(|at| i8::try_from(at).ok());
    let wrong = || format!("{:?} is no day of the week: write it in English, such as monday.", name.chars().take(30).collect::<String>());
    Weekday::from_monday_zero_offset(at.ok_or_else(wrong)?).map_err(|_| wrong())
}

fn texts<'a>(list: &'a Value, name: &str) -> Result<Vec<&'a str>, String> {
    let items: Option<Vec<&str>> = list.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
    items.ok_or_else(|| format!("{name} is a list of texts."))
}
