//! Dates and times as the model writes them, and as they are written back.

use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::{DateTimeParser, Pieces};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, Zoned};
use serde_json::{Map, Value, json};

const FORMAT: &str = "write 2026-03-29 for a date, 2026-03-29T14:30 for a time of day, and 2026-03-29T14:30:00-03:00 where the offset is known";

/// A date, or a time in a zone.
pub(super) enum Moment {
    Day(Date),
    Time(Zoned),
}

impl Moment {
    /// Reads a date or a date-time. `zone` is where it is taken to be if it does not say; a clock change goes into `notes`.
    pub(super) fn parse(text: &str, zone: &TimeZone, notes: &mut Vec<String>) -> Result<Self, String> {
        let wrong = || format!("{:?} is no date that can be read: {FORMAT}.", text.chars().take(60).collect::<String>());
        let pieces = Pieces::parse(text.trim()).map_err(|_| wrong())?;
        bounded(pieces.date())?;
        let Some(time) = pieces.time() else {
            return if pieces.offset().is_none() && pieces.time_zone_annotation().is_none() { Ok(Moment::Day(pieces.date())) } else { Err(wrong()) };
        };
        if pieces.time_zone_annotation().is_some() {
            let zoned = DateTimeParser::new().parse_zoned(text.trim());
            return zoned.map(Moment::Time).map_err(|_| format!("{text:?} names a time zone that is unknown or has another offset at that time."));
        }
        let local = pieces.date().to_datetime(time);
        match pieces.to_numeric_offset() {
            Some(offset) => offset.to_timestamp(local).map(|instant| Moment::Time(instant.to_zoned(TimeZone::fixed(offset)))).map_err(|_| wrong()),
            None => resolve(local, zone, notes).map(Moment::Time),
        }
    }

    /// The local date.
    pub(super) fn date(&self) -> Date {
        match self {
            Moment::Day(date) => *date,
            Moment::Time(time) => time.date(),
        }
    }

    /// A date begins at midnight.
    pub(super) fn time(self, zone: &TimeZone) -> Result<Zoned, String> {
        match self {
            Moment::Day(date) => resolve(date.to_datetime(jiff::civil::Time::midnight()), zone, &mut Vec::new()),
            Moment::Time(time) => Ok(time),
        }
    }

    /// `{date, weekday}`, or `{date_time, weekday, time_zone}`.
    pub(super) fn written(&self) -> Result<Map<String, Value>, String> {
        bounded(self.date())?;
        let weekday = self.date().strftime("%A").to_string();
        let fields = match self {
            Moment::Day(date) => json!({"date": date.to_string(), "weekday": weekday}),
            Moment::Time(time) => {
                let written = time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
                json!({"date_time": written, "weekday": weekday, "time_zone": zone_name(time)})
            }
        };
        if let Value::Object(fields) = fields { Ok(fields) } else { Ok(Map::new()) }
    }
}

/// The zone of a time: its name, or its offset where it has none.
pub(super) fn zone_name(time: &Zoned) -> String {
    time.time_zone().iana_name().map_or_else(|| time.strftime("%:z").to_string(), str::to_owned)
}

/// A time zone by its IANA name, or a fixed offset.
pub(super) fn zone(name: &str) -> Result<TimeZone, String> {
    let name = name.trim();
    let zone = if name.starts_with(['+', '-']) { DateTimeParser::new().parse_time_zone(name) } else { TimeZone::get(name) };
    zone.map_err(|_| {
        let name: String = name.chars().take(60).collect();
        format!("{name:?} is no time zone that is known: use its IANA name, such as America/Argentina/Buenos_Aires or Europe/Berlin, or an offset like -03:00.")
    })
}

/// A time of the clocks in a zone. Where the clocks skip it, it is taken as if they had not been changed; where they show it twice, the first is taken.
pub(super) fn resolve(local: DateTime, zone: &TimeZone, notes: &mut Vec<String>) -> Result<Zoned, String> {
    bounded(local.date())?;
    let ambiguous = zone.to_ambiguous_zoned(local);
    let shown = local.strftime("%Y-%m-%dT%H:%M");
    let kind = ambiguous.offset();
    let time = ambiguous.compatible().map_err(|_| format!("{shown} is out of range."))?;
    match kind {
        AmbiguousOffset::Unambiguous { .. } => {}
        AmbiguousOffset::Gap { .. } => {
            notes.push(format!("The clocks skip {shown} in {}: {} is taken instead.", zone_name(&time), time.strftime("%H:%M")));
        }
        AmbiguousOffset::Fold { .. } => {
            notes.push(format!("The clocks show {shown} twice in {}: the first time is taken, at {}.", zone_name(&time), time.strftime("%:z")));
        }
    }
    Ok(time)
}

/// Far dates are mistakes, and zones are not known there.
pub(super) fn bounded(date: Date) -> Result<(), String> {
    if (1900..=2200).contains(&date.year()) { Ok(()) } else { Err(format!("The year {} is out of range: only 1900 to 2200 work.", date.year())) }
}

/// Now, in a zone.
pub(super) fn now(instant: Timestamp, zone: &TimeZone) -> Moment {
    Moment::Time(instant.to_zoned(zone.clone()))
}
