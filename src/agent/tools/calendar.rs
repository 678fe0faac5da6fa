//! The calendar: what day it is, and arithmetic with dates and times that knows months, leap years, clock changes and working days.

mod business;
mod moment;
#[cfg(test)]
mod tests;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Unit};
use serde_json::{Map, Value, json};

use crate::agent::turn::Tool;
use business::{Closed, weekday};
use moment::{Moment, now, resolve, zone};

/// The largest amount of any unit.
const MAX_AMOUNT: i64 = 200_000_000;
const AMOUNTS: [&str; 6] = ["years", "months", "weeks", "days", "hours", "minutes"];

/// Operations with what they take.
const OPERATIONS: [(&str, &[&str]); 7] = [
    ("now", &[]),
    ("add", &["start", "years", "months", "weeks", "days", "hours", "minutes"]),
    ("difference", &["start", "end", "unit", "holidays", "weekend"]),
    ("weekday", &["date"]),
    ("convert", &["time", "from", "to"]),
    ("next", &["weekday", "after"]),
    ("business_days", &["start", "days", "holidays", "weekend"]),
];

/// `calendar`, with `{operation, …}`.
pub fn tool() -> Tool {
    let description = "Dates and times. Use it for today's date and for every calculation with dates. Operations and what they take: now {}; add {start, \
        years, months, weeks, days, hours, minutes}, each may be negative; difference {start, end, unit}, where business_days counts the working days \
        after start up to and including end; weekday {date}; convert {time, from, to} between time zones; next {weekday, after}, the first such day \
        later than after; business_days {start, days, holidays, weekend}, the working day so many days after start, or before it. start and after are \
        now where left out. All take time_zone, an IANA name such as America/Sao_Paulo. Dates are YYYY-MM-DD, times YYYY-MM-DDTHH:MM, with an offset \
        such as -03:00 where known; words such as tomorrow do not work: call now, then add.";
    let date = |text: &str| json!({"type": "string", "description": text});
    let amount = json!({"type": "integer"});
    let mut properties = json!({
        "operation": {"type": "string", "enum": OPERATIONS.map(|(name, _)| name)},
        "time_zone": date("IANA name; the business's own where left out"),
        "start": date("YYYY-MM-DD or YYYY-MM-DDTHH:MM"),
        "end": date("YYYY-MM-DD or YYYY-MM-DDTHH:MM"),
        "unit": {"type": "string", "enum": ["years", "months", "weeks", "days", "hours", "minutes", "business_days"]},
        "date": date("YYYY-MM-DD"),
        "time": date("YYYY-MM-DDTHH:MM"),
        "from": date("IANA name"),
        "to": date("IANA name"),
        "weekday": date("In English, e.g. monday"),
        "after": date("YYYY-MM-DD"),
        "holidays": {"type": "array", "items": {"type": "string"}, "description": "YYYY-MM-DD each"},
        "weekend": {"type": "array", "items": {"type": "string"}, "description": "[\"saturday\", \"sunday\"] where left out"},
    });
    for name in AMOUNTS {
        properties[name] = amount.clone();
    }
    let parameters = json!({"type": "object", "properties": properties, "required": ["operation"], "additionalProperties": false});
    Tool { name: "calendar".into(), description: description.into(), parameters }
}

/// Does what the arguments of [`tool`] say. Times without a zone of their own are in the argument `time_zone`, or in `default_zone`, an IANA name.
/// Results are objects: a date has `date` and `weekday`, a time `date_time`, `weekday` and `time_zone`; `note` says what was not as asked for. Years
/// from 1900 to 2200. The error says what to write instead.
pub fn run(arguments: &Value, now: Timestamp, default_zone: &str) -> Result<Value, String> {
    let names = || OPERATIONS.map(|(name, _)| name).join(", ");
    let fields = arguments.as_object().ok_or("The arguments are an object with an operation.")?;
    let operation = fields.get("operation").and_then(Value::as_str).ok_or_else(|| format!("operation is missing: one of {}.", names()))?;
    let takes = OPERATIONS.iter().find(|(name, _)| *name == operation);
    let (_, takes) = takes.ok_or_else(|| format!("There is no such operation: use one of {}.", names()))?;
    let unknown = |(key, value): (&String, &Value)| {
        (!value.is_null() && !["operation", "time_zone"].contains(&key.as_str()) && !takes.contains(&key.as_str())).then(|| key.clone())
    };
    if let Some(key) = fields.iter().find_map(unknown) {
        let key: String = key.chars().take(40).collect();
        return Err(format!(
            "{operation} does not take {key:?}, only: {}.",
            takes.iter().chain(&["time_zone"]).copied().collect::<Vec<_>>().join(", ")
        ));
    }
    let mut request = Request { fields, now, zone: TimeZone::UTC, notes: Vec::new() };
    request.zone = zone(request.text("time_zone")?.unwrap_or(default_zone))?;
    let mut result = match operation {
        "now" => request.today(),
        "add" => request.add(),
        "difference" => request.difference(),
        "weekday" => request.weekday(),
        "convert" => request.convert(),
        "next" => request.next(),
        _ => request.business_days(),
    }?;
    if !request.notes.is_empty() {
        result.insert("note".into(), request.notes.join(" ").into());
    }
    Ok(Value::Object(result))
}

type Answer = Result<Map<String, Value>, String>;

struct Request<'a> {
    fields: &'a Map<String, Value>,
    now: Timestamp,
    zone: TimeZone,
    notes: Vec<String>,
}

impl<'a> Request<'a> {
    fn field(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| format!("{key} is a text."));
        self.field(key).map(text).transpose()
    }

    fn amount(&self, key: &str) -> Result<Option<i64>, String> {
        let Some(value) = self.field(key) else { return Ok(None) };
        let whole = value.as_i64().or_else(|| value.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 1e15).map(|n| n as i64));
        match whole {
            Some(n) if (-MAX_AMOUNT..=MAX_AMOUNT).contains(&n) => Ok(Some(n)),
            Some(_) => Err(format!("{key} is too large.")),
            None => Err(format!("{key} is a whole number: use a smaller unit for parts.")),
        }
    }

    fn moment(&mut self, key: &str) -> Result<Option<Moment>, String> {
        self.text(key)?.map(|text| Moment::parse(text, &self.zone, &mut self.notes)).transpose()
    }

    fn moment_or_now(&mut self, key: &str) -> Result<Moment, String> {
        Ok(self.moment(key)?.unwrap_or_else(|| now(self.now, &self.zone)))
    }

    fn needed(&mut self, key: &str) -> Result<Moment, String> {
        self.moment(key)?.ok_or_else(|| format!("{key} is missing."))
    }

    fn today(&self) -> Answer {
        let now = now(self.now, &self.zone);
        let mut result = now.written()?;
        result.insert("date".into(), now.date().to_string().into());
        result.insert("iso_week".into(), now.date().iso_week_date().week().into());
        Ok(result)
    }

    fn weekday(&mut self) -> Answer {
        let date = self.needed("date")?.date();
        let mut result = Moment::Day(date).written()?;
        result.insert("iso_week".into(), date.iso_week_date().week().into());
        result.insert("day_of_year".into(), date.day_of_year().into());
        result.insert("days_in_month".into(), date.days_in_month().into());
        Ok(result)
    }

    fn next(&mut self) -> Answer {
        let day = weekday(self.text("weekday")?.ok_or("weekday is missing.")?)?;
        let after = self.moment_or_now("after")?.date();
        let date = after.nth_weekday(1, day).map_err(|_| "The date is out of range.")?;
        let mut result = Moment::Day(date).written()?;
        result.insert("days_ahead".into(), (date - after).get_days().into());
        Ok(result)
    }

    fn convert(&mut self) -> Answer {
        let to = zone(self.text("to")?.ok_or("to is missing: a time zone.")?)?;
        if let Some(from) = self.text("from")? {
            self.zone = zone(from)?;
        }
        let Moment::Time(time) = self.needed("time")? else {
            return Err("A date alone cannot be converted: time is like 2026-03-29T14:30.".into());
        };
        let mut result = Moment::Time(time.with_time_zone(to)).written()?;
        result.insert("from".into(), Moment::Time(time).written()?.into());
        Ok(result)
    }

    fn business_days(&mut self) -> Answer {
        let closed = Closed::read(self.field("weekend"), self.field("holidays"))?;
        let days = self.amount("days")?.ok_or("days is missing: how many working days, negative to go back.")?;
        let start = self.moment_or_now("start")?.date();
        Moment::Day(closed.count_from(start, days)?).written()
    }

    /// Years to days move the clocks' time, hours and minutes the real one.
    fn add(&mut self) -> Answer {
        let mut amounts = [0; 6];
        for (amount, name) in amounts.iter_mut().zip(AMOUNTS) {
            *amount = self.amount(name)?.unwrap_or(0);
        }
        if AMOUNTS.iter().all(|name| self.field(name).is_none()) {
            return Err(format!("How much to add is missing: one or more of {}.", AMOUNTS.join(", ")));
        }
        let far = |_| "That is out of range: only the years 1900 to 2200 work.".to_owned();
        // A span of jiff has one sign for all its units, so that a year less a month has to be put into months before.
        let [years, months, weeks, days, hours, minutes] = amounts;
        let months = Span::new().try_months(years * 12 + months).map_err(far)?;
        let days = Span::new().try_days(weeks * 7 + days).map_err(far)?;
        let minutes = Span::new().try_minutes(hours * 60 + minutes).map_err(far)?;

        let start = self.moment_or_now("start")?;
        let moved = start.date().checked_add(months).map_err(far)?;
        if moved.day() != start.date().day() {
            self.notes.push(format!("There is no day {} in {}: its last day is taken.", start.date().day(), moved.strftime("%B %Y")));
        }
        let date = moved.checked_add(days).map_err(far)?;
        let result = match start {
            Moment::Day(_) if minutes.is_zero() => Moment::Day(date),
            start => {
                let (stays, mut time) = (date == start.date(), start.time(&self.zone)?);
                if !stays {
                    time = resolve(date.to_datetime(time.time()), &time.time_zone().clone(), &mut self.notes)?;
                }
                Moment::Time(time.checked_add(minutes).map_err(far)?)
            }
        };
        result.written()
    }

    /// Whole units and what is left over. A date and a time are compared as dates, except in hours and minutes.
    fn difference(&mut self) -> Answer {
        let name = self.text("unit")?.unwrap_or("days");
        let (start, end) = (self.moment_or_now("start")?, self.needed("end")?);
        if name == "business_days" {
            let closed = Closed::read(self.field("weekend"), self.field("holidays"))?;
            let days = closed.between(start.date(), end.date())?;
            return Ok(Map::from_iter([("unit".into(), name.into()), ("value".into(), days.into())]));
        }
        let unit = match name {
            "years" => Unit::Year,
            "months" => Unit::Month,
            "weeks" => Unit::Week,
            "days" => Unit::Day,
            "hours" => Unit::Hour,
            "minutes" => Unit::Minute,
            _ => return Err(format!("There is no such unit: use {}, or business_days.", AMOUNTS.join(", "))),
        };
        let far = |_| "These are too far apart.".to_owned();
        let span = match (start, end) {
            (Moment::Time(start), Moment::Time(end)) => start.until((unit, &end.with_time_zone(start.time_zone().clone()))).map_err(far)?,
            (start, end) if unit >= Unit::Day => start.date().until((unit, end.date())).map_err(far)?,
            (start, end) => start.time(&self.zone)?.until((unit, &end.time(&self.zone)?)).map_err(far)?,
        };
        let mut parts = parts(&span);
        let value = parts.remove(name).unwrap_or(0.into());
        let mut result = Map::from_iter([("unit".into(), name.into()), ("value".into(), value)]);
        if !parts.is_empty() {
            result.insert("and".into(), parts.into());
        }
        Ok(result)
    }
}

/// What of a span is not zero.
fn parts(span: &Span) -> Map<String, Value> {
    let numbers = [
        ("years", i64::from(span.get_years())),
        ("months", i64::from(span.get_months())),
        ("weeks", i64::from(span.get_weeks())),
        ("days", i64::from(span.get_days())),
        ("hours", i64::from(span.get_hours())),
        ("minutes", span.get_minutes()),
        ("seconds", span.get_seconds()),
    ];
    numbers.into_iter().filter(|(_, number)| *number != 0).map(|(name, number)| (name.to_owned(), number.into())).collect()
}
