//! Preflight: what platforms would refuse anyway, found before anything is sent.
//!
//! Pure rules over one conversion's parts; the file readers and the API both ask them.

use std::borrow::Cow;

use crate::{
    click_id,
    conversion::{InvalidOrderId, OrderId},
    finding::{Code, Severity},
};

/// Platforms keep click ids for 90 days (Google Ads help, import conversions from clicks).
pub const OLDEST_DAYS: i64 = 90;
/// From here on a conversion is warned about: a pause of the worker could make it too old.
pub const OLD_DAYS: i64 = 60;

const DAY: i64 = 86_400;

/// What the rules found: code, severity, and the sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What kind.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// What happened.
    pub reason: Cow<'static, str>,
}

impl Verdict {
    fn error(code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, severity: Severity::Error, reason: reason.into() }
    }

    fn warning(code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, severity: Severity::Warning, reason: reason.into() }
    }
}

/// Judges the time of a conversion (Unix seconds) as of `now`.
pub fn age(occurred_at: i64, now: i64) -> Option<Verdict> {
    let age = now.saturating_sub(occurred_at);
    if (0..=OLD_DAYS * DAY).contains(&age) {
        return None;
    }
    let days = age / DAY;
    Some(if age < 0 {
        Verdict::error(Code::TimeInFuture, format!("the time is {} in the future", span(-age)))
    } else if age > OLDEST_DAYS * DAY {
        Verdict::error(Code::EventTooOld, format!("the conversion is {days} days old, more than {OLDEST_DAYS}"))
    } else {
        Verdict::warning(Code::EventOld, format!("the conversion is {days} days old, and after {OLDEST_DAYS} it is too late"))
    })
}

/// Seconds in the unit that people would use.
fn span(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / DAY),
    }
}

/// Judges a click id.
pub fn click(text: &str) -> Option<Verdict> {
    match click_id::check(text) {
        Ok(false) => None,
        Ok(true) => {
            Some(Verdict::warning(Code::UnusualClickId, format!("the click id `{}` has characters outside A-Z a-z 0-9 - _", short(text))))
        }
        Err(why) => Some(Verdict::error(Code::InvalidClickId, why.to_string())),
    }
}

/// Judges an order id.
pub fn order(text: &str) -> Option<Verdict> {
    match OrderId::check(text) {
        Ok(false) => None,
        Ok(true) => Some(Verdict::warning(Code::NumericOrderId, "the order id is a plain number")),
        Err(why @ (InvalidOrderId::Email | InvalidOrderId::Phone)) => Some(Verdict::error(Code::OrderIdPersonal, why.to_string())),
        Err(why) => Some(Verdict::error(Code::InvalidOrderId, why.to_string())),
    }
}

/// The first characters of a click id, enough to find it in a file.
pub fn short(click_id: &str) -> String {
    match click_id.char_indices().nth(8) {
        Some((end, _)) => format!("{}…", &click_id[..end]),
        None => click_id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000;

    fn code(verdict: Option<Verdict>) -> Option<(Code, Severity)> {
        verdict.map(|v| (v.code, v.severity))
    }

    #[test]
    fn times_are_fine_up_to_60_days_old_up_to_90_and_never_from_the_future() {
        assert_eq!(age(NOW, NOW), None);
        assert_eq!(age(NOW - 60 * DAY, NOW), None);
        assert_eq!(code(age(NOW - 60 * DAY - 1, NOW)), Some((Code::EventOld, Severity::Warning)));
        assert_eq!(code(age(NOW - 90 * DAY, NOW)), Some((Code::EventOld, Severity::Warning)));
        assert_eq!(code(age(NOW - 90 * DAY - 1, NOW)), Some((Code::EventTooOld, Severity::Error)));
        assert_eq!(code(age(NOW + 1, NOW)), Some((Code::TimeInFuture, Severity::Error)));
        for (seconds, said) in [(60, "60 seconds"), (600, "10 minutes"), (36_000, "10 hours"), (864_000, "10 days")] {
            assert!(age(NOW + seconds, NOW).is_some_and(|v| v.reason.contains(said)), "{said}");
        }
    }

    #[test]
    fn odd_click_ids_are_warned_about_shortened_and_impossible_ones_refused() {
        assert_eq!(click("Cj0KCQ_a-b"), None);
        let odd = click("abc%2Fdefghijk").map(|v| v.reason);
        assert!(odd.is_some_and(|reason| reason.contains("`abc%2Fde…`") && !reason.contains("ghijk")));
        assert_eq!(code(click("a b")), Some((Code::InvalidClickId, Severity::Error)));
    }

    #[test]
    fn order_ids_with_personal_data_are_refused_and_numbers_warned_about() {
        assert_eq!(order("A-1"), None);
        assert_eq!(code(order("17")), Some((Code::NumericOrderId, Severity::Warning)));
        assert_eq!(code(order("a@example.com")), Some((Code::OrderIdPersonal, Severity::Error)));
        assert_eq!(code(order("+49 151 23456789")), Some((Code::OrderIdPersonal, Severity::Error)));
        assert_eq!(code(order("a\tb")), Some((Code::InvalidOrderId, Severity::Error)));
    }
}
