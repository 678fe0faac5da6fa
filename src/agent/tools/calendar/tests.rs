use super::*;

/// A Friday; 17:05 in Berlin, 12:05 in Buenos Aires.
const NOW: &str = "2026-02-27T16:05:00Z";

fn ask(arguments: Value) -> Result<Value, String> {
    run(&arguments, NOW.parse().expect("an instant"), "America/Argentina/Buenos_Aires")
}

fn answer(arguments: Value) -> Value {
    ask(arguments.clone()).unwrap_or_else(|error| panic!("{arguments}: {error}"))
}

/// The arguments of an operation, then where its result must be.
fn check(table: &[(Value, Value)]) {
    for (arguments, expected) in table {
        let result = answer(arguments.clone());
        for (key, value) in expected.as_object().expect("an object") {
            assert_eq!(&result[key], value, "{key} of {arguments}: {result}");
        }
    }
}

#[test]
fn now_is_in_a_zone() {
    check(&[
        (
            json!({"operation": "now"}),
            json!({"date_time": "2026-02-27T13:05:00-03:00", "weekday": "Friday", "time_zone": "America/Argentina/Buenos_Aires", "date": "2026-02-27", "iso_week": 9}),
        ),
        (json!({"operation": "now", "time_zone": "Asia/Kolkata"}), json!({"date_time": "2026-02-27T21:35:00+05:30"})),
        (json!({"operation": "now", "time_zone": "Pacific/Auckland"}), json!({"date": "2026-02-28", "weekday": "Saturday"})),
        (json!({"operation": "now", "time_zone": "-05:00"}), json!({"date_time": "2026-02-27T11:05:00-05:00", "time_zone": "-05:00"})),
        (json!({"operation": "now", "time_zone": "UTC"}), json!({"date_time": "2026-02-27T16:05:00+00:00", "time_zone": "UTC"})),
    ]);
}

#[test]
fn adding_follows_the_calendar() {
    check(&[
        (json!({"operation": "add", "start": "2024-01-31", "months": 1}), json!({"date": "2024-02-29", "weekday": "Thursday"})),
        (json!({"operation": "add", "start": "2023-01-31", "months": 1}), json!({"date": "2023-02-28"})),
        (
            json!({"operation": "add", "start": "2024-02-29", "years": 1}),
            json!({"date": "2025-02-28", "note": "There is no day 29 in February 2025: its last day is taken."}),
        ),
        (json!({"operation": "add", "start": "2024-02-29", "years": 4}), json!({"date": "2028-02-29", "note": null})),
        (json!({"operation": "add", "start": "2024-03-31", "months": -1}), json!({"date": "2024-02-29"})),
        (json!({"operation": "add", "start": "2024-02-28", "days": 1}), json!({"date": "2024-02-29"})),
        (json!({"operation": "add", "start": "1900-02-28", "days": 1}), json!({"date": "1900-03-01"})),
        (json!({"operation": "add", "start": "2026-12-31", "weeks": 1, "days": -1.0}), json!({"date": "2027-01-06"})),
        (json!({"operation": "add", "start": "2026-12-31", "years": 1, "months": -1}), json!({"date": "2027-11-30"})),
        (json!({"operation": "add", "start": "2026-05-01T10:00", "hours": 1, "minutes": -30}), json!({"date_time": "2026-05-01T10:30:00-03:00"})),
        (json!({"operation": "add", "start": "2026-05-01", "hours": 26}), json!({"date_time": "2026-05-02T02:00:00-03:00"})),
        (json!({"operation": "add", "days": 3}), json!({"date_time": "2026-03-02T13:05:00-03:00", "weekday": "Monday"})),
        (
            json!({"operation": "add", "start": "2026-05-01T10:00:00+02:00", "days": 1}),
            json!({"date_time": "2026-05-02T10:00:00+02:00", "time_zone": "+02:00"}),
        ),
        (
            json!({"operation": "add", "start": "2026-05-01T10:00Z", "minutes": 90}),
            json!({"date_time": "2026-05-01T11:30:00+00:00", "time_zone": "UTC"}),
        ),
    ]);
}

#[test]
fn clock_changes() {
    let new_york = |start: &str, unit: &str, amount: i64| json!({"operation": "add", "start": start, unit: amount, "time_zone": "America/New_York"});
    let berlin = |start: &str, unit: &str, amount: i64| json!({"operation": "add", "start": start, unit: amount, "time_zone": "Europe/Berlin"});
    check(&[
        // A day keeps the time of the clocks, 24 hours do not.
        (new_york("2026-03-07T12:00", "days", 1), json!({"date_time": "2026-03-08T12:00:00-04:00", "note": null})),
        (new_york("2026-03-07T12:00", "hours", 24), json!({"date_time": "2026-03-08T13:00:00-04:00"})),
        (berlin("2026-10-24T12:00", "days", 1), json!({"date_time": "2026-10-25T12:00:00+01:00"})),
        (berlin("2026-10-24T12:00", "hours", 24), json!({"date_time": "2026-10-25T11:00:00+01:00"})),
        // India changes no clocks.
        (
            json!({"operation": "add", "start": "2026-03-28T12:00", "hours": 24, "time_zone": "Asia/Kolkata"}),
            json!({"date_time": "2026-03-29T12:00:00+05:30"}),
        ),
        (
            new_york("2026-03-07T02:30", "days", 1),
            json!({"date_time": "2026-03-08T03:30:00-04:00", "note": "The clocks skip 2026-03-08T02:30 in America/New_York: 03:30 is taken instead."}),
        ),
        (
            berlin("2026-10-25T02:30", "minutes", 0),
            json!({"date_time": "2026-10-25T02:30:00+02:00", "note": "The clocks show 2026-10-25T02:30 twice in Europe/Berlin: the first time is taken, at +02:00."}),
        ),
        (berlin("2026-10-25T02:30", "hours", 1), json!({"date_time": "2026-10-25T02:30:00+01:00"})),
        (berlin("2026-10-25T02:30:00+01:00[Europe/Berlin]", "hours", 1), json!({"date_time": "2026-10-25T03:30:00+01:00", "note": null})),
        (
            json!({"operation": "difference", "start": "2026-03-07T12:00", "end": "2026-03-08T12:00", "unit": "hours", "time_zone": "America/New_York"}),
            json!({"value": 23}),
        ),
        (
            json!({"operation": "difference", "start": "2026-03-07T12:00", "end": "2026-03-08T12:00", "unit": "days", "time_zone": "America/New_York"}),
            json!({"value": 1, "and": null}),
        ),
        (
            json!({"operation": "difference", "start": "2026-10-25", "end": "2026-10-26", "unit": "minutes", "time_zone": "Europe/Berlin"}),
            json!({"value": 1500}),
        ),
    ]);
}

#[test]
fn differences() {
    let difference = |start: &str, end: &str, unit: &str| json!({"operation": "difference", "start": start, "end": end, "unit": unit});
    check(&[
        (difference("2024-02-28", "2024-03-01", "days"), json!({"value": 2})),
        (difference("2023-02-28", "2023-03-01", "days"), json!({"value": 1})),
        (difference("2026-03-01", "2026-02-27", "days"), json!({"value": -2})),
        (difference("1990-06-15", "2026-02-27", "years"), json!({"value": 35, "and": {"months": 8, "days": 12}})),
        (difference("2024-01-31", "2024-03-01", "months"), json!({"value": 1, "and": {"days": 1}})),
        (difference("2026-01-01", "2026-01-17", "weeks"), json!({"value": 2, "and": {"days": 2}})),
        (difference("2026-01-01T10:00", "2026-01-02T09:30", "days"), json!({"value": 0, "and": {"hours": 23, "minutes": 30}})),
        (difference("2026-01-01T10:00", "2026-01-01T11:30", "minutes"), json!({"value": 90})),
        (difference("2026-01-01T10:00-03:00", "2026-01-01T10:00Z", "hours"), json!({"value": -3})),
        (difference("2026-01-01T23:00", "2026-01-03", "days"), json!({"value": 2})),
        (json!({"operation": "difference", "end": "2026-12-25"}), json!({"unit": "days", "value": 301})),
        (difference("2026-02-27", "2026-03-06", "business_days"), json!({"value": 5})),
        (difference("2026-02-28", "2026-03-01", "business_days"), json!({"value": 0})),
        (difference("2026-03-06", "2026-02-27", "business_days"), json!({"value": -5})),
    ]);
}

#[test]
fn weekdays_and_zones() {
    check(&[
        (json!({"operation": "weekday", "date": "2000-02-29"}), json!({"weekday": "Tuesday", "days_in_month": 29, "day_of_year": 60, "iso_week": 9})),
        (json!({"operation": "weekday", "date": "2026-01-01"}), json!({"weekday": "Thursday", "iso_week": 1})),
        (json!({"operation": "next", "weekday": "friday"}), json!({"date": "2026-03-06", "days_ahead": 7})),
        (json!({"operation": "next", "weekday": "Sat"}), json!({"date": "2026-02-28", "days_ahead": 1})),
        (json!({"operation": "next", "weekday": "monday", "after": "2026-03-02"}), json!({"date": "2026-03-09", "weekday": "Monday"})),
        // It is Saturday already in Auckland.
        (json!({"operation": "next", "weekday": "saturday", "time_zone": "Pacific/Auckland"}), json!({"date": "2026-03-07"})),
        (
            json!({"operation": "convert", "time": "2026-07-01T09:00", "from": "America/New_York", "to": "Asia/Kolkata"}),
            json!({"date_time": "2026-07-01T18:30:00+05:30", "weekday": "Wednesday", "from": {"date_time": "2026-07-01T09:00:00-04:00", "weekday": "Wednesday", "time_zone": "America/New_York"}}),
        ),
        (
            json!({"operation": "convert", "time": "2026-01-01T09:00", "from": "America/New_York", "to": "Asia/Kolkata"}),
            json!({"date_time": "2026-01-01T19:30:00+05:30"}),
        ),
        (
            json!({"operation": "convert", "time": "2026-01-01T22:00", "to": "Europe/Berlin"}),
            json!({"date_time": "2026-01-02T02:00:00+01:00", "weekday": "Friday"}),
        ),
        (
            json!({"operation": "convert", "time": "2026-01-01T22:00:00Z", "from": "Asia/Tokyo", "to": "UTC"}),
            json!({"date_time": "2026-01-01T22:00:00+00:00"}),
        ),
    ]);
}

#[test]
fn working_days() {
    let count = |start: &str, days: i64| json!({"operation": "business_days", "start": start, "days": days});
    check(&[
        (count("2026-02-27", 1), json!({"date": "2026-03-02", "weekday": "Monday"})),
        (count("2026-02-28", 1), json!({"date": "2026-03-02"})),
        (count("2026-03-01", -1), json!({"date": "2026-02-27"})),
        (count("2026-02-27", 10), json!({"date": "2026-03-13"})),
        (count("2026-02-27", 0), json!({"date": "2026-02-27"})),
        (count("2026-02-28", 0), json!({"date": "2026-03-02"})),
        (count("2026-03-04T23:00", 1), json!({"date": "2026-03-05"})),
        (
            json!({"operation": "business_days", "start": "2026-12-23", "days": 2, "holidays": ["2026-12-25", "2026-12-26"]}),
            json!({"date": "2026-12-28", "weekday": "Monday"}),
        ),
        (
            json!({"operation": "business_days", "start": "2026-03-05", "days": 1, "weekend": ["friday", "saturday"]}),
            json!({"date": "2026-03-08", "weekday": "Sunday"}),
        ),
        (json!({"operation": "business_days", "start": "2026-02-27", "days": 1, "weekend": []}), json!({"date": "2026-02-28"})),
        (
            json!({"operation": "difference", "start": "2026-12-23", "end": "2026-12-28", "unit": "business_days", "holidays": ["2026-12-25"]}),
            json!({"value": 2}),
        ),
    ]);
}

#[test]
fn errors_say_what_to_write() {
    let refused = [
        (json!("now"), "an object"),
        (json!({}), "operation is missing"),
        (json!({"operation": "yesterday"}), "one of now, add"),
        (json!({"operation": "now", "time_zone": "Mars/Base"}), "America/Argentina/Buenos_Aires"),
        (json!({"operation": "now", "time_zone": "../../etc/passwd"}), "no time zone"),
        (json!({"operation": "now", "time_zone": ""}), "no time zone"),
        (json!({"operation": "now", "time_zone": 3}), "time_zone is a text"),
        (json!({"operation": "add", "start": "tomorrow", "days": 1}), "2026-03-29T14:30"),
        (json!({"operation": "add", "start": "29/03/2026", "days": 1}), "2026-03-29"),
        (json!({"operation": "add", "start": "2026-02-30", "days": 1}), "no date"),
        (json!({"operation": "add", "start": "2026-02-01T25:00", "days": 1}), "no date"),
        (json!({"operation": "add", "start": "2026-02-01"}), "How much"),
        (json!({"operation": "add", "start": "2026-02-01", "day": 1}), "does not take \"day\", only: start"),
        (json!({"operation": "add", "start": "2026-02-01", "days": 1.5}), "whole number"),
        (json!({"operation": "add", "start": "2026-02-01", "days": "1"}), "whole number"),
        (json!({"operation": "add", "start": "2026-02-01", "years": 1000}), "1900 to 2200"),
        (json!({"operation": "add", "start": "2026-02-01", "years": 100_000}), "1900 to 2200"),
        (json!({"operation": "add", "start": "2026-02-01", "minutes": 199_999_999}), "1900 to 2200"),
        (json!({"operation": "add", "start": "2026-02-01", "minutes": i64::MAX}), "too large"),
        (json!({"operation": "add", "start": "2026-02-01", "minutes": i64::MIN}), "too large"),
        (json!({"operation": "add", "start": "1899-12-31", "days": 1}), "1900 to 2200"),
        (json!({"operation": "add", "start": "2026-07-01T10:00:00-09:00[Europe/Berlin]", "days": 1}), "another offset"),
        (json!({"operation": "add", "start": "2026-07-01T10:00:00[Mars/Base]", "days": 1}), "unknown"),
        (json!({"operation": "difference", "start": "2026-02-01"}), "end is missing"),
        (json!({"operation": "difference", "end": "2026-02-01", "unit": "fortnights"}), "no such unit"),
        (json!({"operation": "weekday"}), "date is missing"),
        (json!({"operation": "convert", "time": "2026-02-01", "to": "UTC"}), "date alone"),
        (json!({"operation": "convert", "time": "2026-02-01T10:00"}), "to is missing"),
        (json!({"operation": "next", "weekday": "lunes"}), "in English"),
        (json!({"operation": "next"}), "weekday is missing"),
        (json!({"operation": "business_days", "start": "2026-02-01"}), "days is missing"),
        (json!({"operation": "business_days", "days": 1_000_000}), "10000 at most"),
        (json!({"operation": "business_days", "start": "2199-12-01", "days": 1000}), "1900 to 2200"),
        (json!({"operation": "business_days", "days": 1, "weekend": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}), "no working day"),
        (json!({"operation": "business_days", "days": 1, "weekend": "sunday"}), "list of texts"),
        (json!({"operation": "business_days", "days": 1, "holidays": ["christmas"]}), "no date"),
    ];
    for (arguments, why) in refused {
        let error = ask(arguments.clone()).expect_err("refused");
        assert!(error.contains(why), "{arguments}: {error}");
    }
    let error = run(&json!({"operation": "now"}), NOW.parse().expect("an instant"), "nowhere").expect_err("a bad default");
    assert!(error.contains("\"nowhere\""), "{error}");
}

#[test]
fn all_properties_are_described() {
    let properties = tool().parameters["properties"].as_object().expect("an object").clone();
    for name in OPERATIONS.iter().flat_map(|(_, takes)| *takes) {
        assert!(properties.contains_key(*name), "{name}");
    }
}
