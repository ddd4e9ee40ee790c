//! Which times can be taken today: what no fixed document can say, told in patterns of days.
//!
//! The times are those of the core: nothing from the future, and no conversion older than the platforms remember.

use std::{collections::BTreeMap, fmt::Write};

use adsengineer_core::preflight::OLDEST_DAYS;
use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};
use serde_json::Value;

/// The time of day and the offset of RFC 3339.
const CLOCK: &str = "[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";
/// Days at both ends that are left out: an offset moves a time by up to a day.
const MARGIN: i64 = 2;

/// Lets the times in requests say what can be taken on the day of `now`.
pub(super) fn tell(document: &mut Value, now: Timestamp) {
    let today = now.to_zoned_datetime(TimeZone::UTC).date();
    let schemas = &mut document["components"]["schemas"];
    for (schema, field) in [("LeadBody", "occurred_at"), ("ConsentBody", "at")] {
        schemas[schema]["properties"][field]["pattern"] = past(today).into();
    }
    schemas["ConversionBody"]["properties"]["occurred_at"]["pattern"] = recent(today).into();
}

fn before(today: Date, days: i64) -> Date {
    today.checked_sub(Span::new().days(days)).unwrap_or(today)
}

/// Any day that is over everywhere, from 1970 on.
fn past(today: Date) -> String {
    let last = before(today, MARGIN);
    let years: Vec<String> = (1970..last.year()).map(|year| year.to_string()).collect();
    let day = "(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])";
    let this_year = days(Date::constant(last.year(), 1, 1), last);
    format!("^(({})-{day}|{this_year}){CLOCK}", years.join("|"))
}

/// The days of which conversions can be taken.
fn recent(today: Date) -> String {
    format!("^({}){CLOCK}", days(before(today, OLDEST_DAYS - MARGIN), before(today, MARGIN)))
}

/// All days from `first` to `last`, by month.
fn days(first: Date, last: Date) -> String {
    let mut months: BTreeMap<(i16, i8), Vec<String>> = BTreeMap::new();
    let mut day = first;
    while day <= last {
        months.entry((day.year(), day.month())).or_default().push(format!("{:02}", day.day()));
        let Ok(next) = day.tomorrow() else { break };
        day = next;
    }
    let mut pattern = String::new();
    for ((year, month), days) in months {
        let between = if pattern.is_empty() { "" } else { "|" };
        // Writing to a string cannot fail.
        let _ = write!(pattern, "{between}{year}-{month:02}-({})", days.join("|"));
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_days_of_a_document_are_those_that_are_taken() {
        let today = Date::constant(2026, 3, 1);
        let fits = |pattern: &str, text: &str| regex::Regex::new(pattern).unwrap().is_match(text);
        for (text, is_past, is_recent) in [
            ("2026-02-27T23:59:59Z", true, true),
            ("2026-02-28T00:00:00Z", false, false),
            ("2026-03-02T00:00:00Z", false, false),
            ("2025-12-03T10:00:00+01:00", true, true),
            ("2025-12-02T10:00:00+01:00", true, false),
            ("1999-12-28T10:00:00.5-23:59", true, false),
            ("2026-02-01T24:00:00Z", false, false),
            ("2026-02-01", false, false),
        ] {
            assert_eq!((fits(&past(today), text), fits(&recent(today), text)), (is_past, is_recent), "{text}");
        }
    }
}
