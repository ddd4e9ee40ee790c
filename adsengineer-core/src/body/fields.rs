//! Judges the fields of one item and collects what is wrong with them.

use jiff::Timestamp;

use super::{ERRORS_MAX, FieldError};
use crate::{
    conversion::input::DecimalText,
    finding::Code,
    money::{Amount, Currency, InvalidAmount, Money},
};

/// Clocks of clients may be ahead by this much.
const SKEW_S: i64 = 300;

/// The fields of one item; a pointer is only made for a fault.
pub(crate) struct Fields<'e> {
    /// The item's place in an array.
    item: Option<usize>,
    errors: &'e mut Vec<FieldError>,
}

impl<'e> Fields<'e> {
    pub(crate) fn new(item: Option<usize>, errors: &'e mut Vec<FieldError>) -> Self {
        Self { item, errors }
    }

    /// Notes a fault at `field`, a pointer within the item such as `/email`.
    pub(crate) fn fail(&mut self, field: &str, code: &'static str, detail: impl Into<String>) {
        if self.errors.len() < ERRORS_MAX {
            let pointer = self.item.map_or_else(|| field.to_owned(), |item| format!("/{item}{field}"));
            self.errors.push(FieldError { pointer, code, detail: detail.into() });
        }
    }

    /// A text of at most `max` characters, of which white space around it is left out; an empty one counts as absent.
    pub(crate) fn text<'t>(&mut self, field: &str, text: Option<&'t str>, max: usize) -> Option<&'t str> {
        let text = text?;
        if !self.fits(field, text, max) {
            return None;
        }
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        if has_control(text) {
            self.fail(field, "CONTROL_CHARACTER", "the text has a control character");
            return None;
        }
        Some(text)
    }

    /// Whether a text has at most `max` characters.
    pub(crate) fn fits(&mut self, field: &str, text: &str, max: usize) -> bool {
        let fits = text.len() <= max || text.chars().count() <= max;
        if !fits {
            self.fail(field, "TOO_LONG", format!("the text is longer than {max} characters"));
        }
        fits
    }

    /// A time with its offset, to the second.
    pub(crate) fn time(&mut self, field: &str, text: Option<&str>, now_s: i64) -> Option<Timestamp> {
        let text = text?;
        let Some(time_s) = rfc3339(text) else {
            self.fail(field, Code::InvalidTime.as_str(), "the time is not RFC 3339 with its offset, such as 2026-11-18T14:05:00Z");
            return None;
        };
        if time_s > now_s.saturating_add(SKEW_S) {
            self.fail(field, Code::TimeInFuture.as_str(), "the time is more than 5 minutes in the future");
            return None;
        }
        // Years before 1970 are a program's zero, not a time.
        if time_s < 0 {
            self.fail(field, "TIME_TOO_EARLY", "the time is before 1970");
            return None;
        }
        Timestamp::from_second(time_s).ok()
    }

    /// A value and its currency, both or none.
    pub(crate) fn money(&mut self, value: Option<&DecimalText>, currency: Option<&str>) -> Option<Money> {
        let value = value.map(|text| amount(&text.0));
        let currency = currency.map(str::parse::<Currency>);
        if let Some(Err(why)) = &value {
            let code = match why {
                InvalidAmount::Negative => Code::NegativeValue,
                InvalidAmount::TooPrecise => Code::ValueTooPrecise,
                _ => Code::InvalidValue,
            };
            self.fail("/value", code.as_str(), format!("{}; write it as 1234.50", code.meaning()));
        }
        if let Some(Err(_)) = &currency {
            self.fail("/currency", Code::InvalidCurrency.as_str(), "the currency is not a current ISO 4217 code such as EUR");
        }
        match (value, currency) {
            (Some(amount), Some(currency)) => Some(Money { amount: amount.ok()?, currency: currency.ok()? }),
            (Some(_), None) => {
                self.fail("/currency", Code::CurrencyMissing.as_str(), Code::CurrencyMissing.meaning());
                None
            }
            (None, Some(_)) => {
                self.fail("/value", Code::ValueMissing.as_str(), "there is a currency but no value");
                None
            }
            (None, None) => None,
        }
    }
}

fn has_control(text: &str) -> bool {
    text.bytes().any(|b| b < b' ' || b == 0x7f) || (!text.is_ascii() && text.chars().any(char::is_control))
}

/// An amount as a request may write it: no longer than 15 digits and a point.
pub(crate) fn amount(text: &str) -> Result<Amount, InvalidAmount> {
    if text.len() > 16 { Err(InvalidAmount::TooPrecise) } else { text.parse() }
}

/// The Unix second of a time of RFC 3339, with `T` or a space; fractions are cut.
pub(crate) fn rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let at = |place: usize, byte: u8| bytes.get(place) == Some(&byte);
    let form = at(4, b'-') && at(7, b'-') && at(13, b':') && at(16, b':') && bytes.len() <= 40 && !text.ends_with(']');
    if !form {
        return None;
    }
    text.parse::<Timestamp>().map(Timestamp::as_second).ok().or_else(|| last_day(text))
}

/// What west of Greenwich belongs to the year 9999 and in UTC no longer does.
fn last_day(text: &str) -> Option<i64> {
    let day_and_time = text.strip_prefix("9999-12-3")?;
    format!("9999-12-2{day_and_time}").parse::<Timestamp>().is_ok().then(|| Timestamp::MAX.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged<T>(judge: impl FnOnce(&mut Fields<'_>) -> T) -> (T, Vec<(String, &'static str)>) {
        let mut errors = Vec::new();
        let value = judge(&mut Fields::new(Some(3), &mut errors));
        (value, errors.into_iter().map(|e| (e.pointer, e.code)).collect())
    }

    #[test]
    fn times_need_an_offset_and_may_be_five_minutes_ahead() {
        let now = 1_795_010_700; // 2026-11-18T14:05:00Z
        for good in ["2026-11-18T14:05:00Z", "2026-11-18T15:05:00+01:00", "2026-11-18T14:05:00.987Z", "2026-11-18 14:10:00Z"] {
            let (time, errors) = judged(|f| f.time("/at", Some(good), now));
            assert!(time.is_some_and(|t| t.subsec_nanosecond() == 0) && errors.is_empty(), "{good} {errors:?}");
        }
        let code = |text: &str| judged(|f| f.time("/at", Some(text), now)).1.first().map(|e| e.1);
        assert_eq!(code("2026-11-18T14:10:01Z"), Some("TIME_IN_FUTURE"));
        assert_eq!(code("9999-12-31T23:59:59-23:59"), Some("TIME_IN_FUTURE"));
        assert_eq!(code("0001-01-01T00:00:00Z"), Some("TIME_TOO_EARLY"));
        for bad in [
            "",
            "2026-11-18",
            "2026-11-18T14:05:00",
            "1795000000",
            "11/18/2026 14:05:00Z",
            "2026-11-18T25:00:00Z",
            "9999-12-31T25:00:00-02:00",
        ] {
            assert_eq!(code(bad), Some("INVALID_TIME"), "{bad}");
        }
    }

    #[test]
    fn a_value_needs_its_currency_and_the_reverse() {
        let money = |value: Option<&str>, currency| judged(|f| f.money(value.map(|v| DecimalText(v.to_owned())).as_ref(), currency));
        assert_eq!(money(Some("120.50"), Some("eur")).0.map(|m| m.to_string()).as_deref(), Some("120.50 EUR"));
        assert_eq!(money(None, None), (None, Vec::new()));
        for (value, currency, pointer, code) in [
            (Some("1"), None, "/3/currency", "CURRENCY_MISSING"),
            (None, Some("EUR"), "/3/value", "VALUE_MISSING"),
            (Some("-1"), Some("EUR"), "/3/value", "NEGATIVE_VALUE"),
            (Some("1e3"), Some("EUR"), "/3/value", "INVALID_VALUE"),
            (Some("0.1234567"), Some("EUR"), "/3/value", "VALUE_TOO_PRECISE"),
            (Some("1"), Some("EURO"), "/3/currency", "INVALID_CURRENCY"),
        ] {
            assert_eq!(money(value, currency), (None, vec![(pointer.to_owned(), code)]), "{value:?} {currency:?}");
        }
    }

    #[test]
    fn texts_are_trimmed_measured_in_characters_and_free_of_controls() {
        let text = |text| judged(|f| f.text("/x", Some(text), 4));
        assert_eq!(text(" äö ").0, Some("äö"));
        assert_eq!(text("äöüß").0, Some("äöüß"));
        assert_eq!(text("  ").0, None);
        for long in ["abcde", " äöü ", "     "] {
            assert_eq!(text(long).1, [("/3/x".to_owned(), "TOO_LONG")], "{long}");
        }
        for bad in ["a\0b", "a\nb", "a\u{7f}b", "a\u{85}b"] {
            assert_eq!(text(bad).1, [("/3/x".to_owned(), "CONTROL_CHARACTER")], "{bad:?}");
        }
    }
}
