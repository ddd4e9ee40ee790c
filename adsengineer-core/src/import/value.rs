//! Amounts as files write them: exact decimals, thousands separators only where they can mean nothing else.

use std::str::FromStr;

use super::options::Decimal;
use crate::{finding::Code, money::Amount};

/// Why a cell is not an amount: the code and the sentence.
pub(crate) type InvalidValue = (Code, &'static str);

/// Reads an amount. `.` is the decimal point unless `decimal` says otherwise.
pub(crate) fn parse(text: &str, decimal: Decimal) -> Result<Amount, InvalidValue> {
    if decimal != Decimal::Comma
        && let Ok(amount) = Amount::from_str(text)
    {
        return Ok(amount);
    }
    refuse_damage(text)?;
    let (point, separators): (char, &[char]) = match decimal {
        Decimal::Comma => (',', &['.', '\'', '’', ' ', '\u{a0}', '\u{202f}']),
        _ => ('.', &[',', '\'', '’', ' ', '\u{a0}', '\u{202f}']),
    };
    let (whole, fraction) = match text.split_once(point) {
        Some((whole, fraction)) if fraction.bytes().all(|b| b.is_ascii_digit()) && !fraction.is_empty() => (whole, Some(fraction)),
        Some(_) => return Err(misplaced(text, decimal)),
        None => (text, None),
    };
    let digits = ungroup(whole, separators).ok_or_else(|| misplaced(text, decimal))?;
    // `1,234` alone could be a decimal comma as well as a thousands separator.
    let one_comma = fraction.is_none() && whole.matches(',').count() == 1;
    if decimal == Decimal::Auto && one_comma {
        return Err((Code::AmbiguousValue, "the comma can separate thousands or decimals"));
    }
    let plain = fraction.map_or_else(|| digits.clone(), |fraction| format!("{digits}.{fraction}"));
    plain.parse().map_err(|_| (Code::ValueTooPrecise, "the value has more than 15 digits or 6 decimals"))
}

/// Signs, symbols, exponents and words, each by its own name.
fn refuse_damage(text: &str) -> Result<(), InvalidValue> {
    if text.starts_with(['-', '−', '–']) && text.len() > 1 || (text.starts_with('(') && text.ends_with(')')) {
        return Err((Code::NegativeValue, "the value is below zero"));
    }
    let symbol = |c: char| matches!(c, '$' | '€' | '£' | '¥' | '₹' | '₽' | '₩' | '₺' | '₴' | '₪' | '฿' | '₫' | '₱' | '₦' | '¢' | '¤');
    let letters: Vec<&str> = text.split(|c: char| !c.is_alphabetic()).filter(|run| !run.is_empty()).collect();
    let code = matches!(letters[..], [one] if one.len() == 3 || matches!(one, "kr" | "Kr" | "zł" | "Kč" | "Fr" | "R" | "RM" | "Rs" | "лв"));
    if text.contains(symbol) || (code && text.bytes().any(|b| b.is_ascii_digit())) {
        return Err((Code::CurrencySymbol, "the value carries a currency sign or code"));
    }
    if super::damage::is_scientific(text) {
        return Err((Code::ScientificNotation, "the value is in scientific notation"));
    }
    if !letters.is_empty() || !text.bytes().any(|b| b.is_ascii_digit()) {
        return Err((Code::InvalidValue, "the value is not a number"));
    }
    Ok(())
}

/// The digits of a whole number in groups of three, all separated by one and the same separator; `None` for anything else.
fn ungroup(text: &str, separators: &[char]) -> Option<String> {
    let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if all_digits(text) {
        return Some(text.to_owned());
    }
    let separator = text.chars().find(|c| separators.contains(c))?;
    let mut groups = text.split(separator);
    let first = groups.next().filter(|g| all_digits(g) && g.len() <= 3)?;
    let mut digits = first.to_owned();
    for group in groups {
        if group.len() != 3 || !all_digits(group) {
            return None;
        }
        digits.push_str(group);
    }
    Some(digits)
}

/// Separators in places where the chosen decimal sign allows none.
fn misplaced(text: &str, decimal: Decimal) -> InvalidValue {
    match decimal {
        Decimal::Auto | Decimal::Point if text.contains(',') => {
            (Code::AmbiguousValue, "the value has a comma where a thousands separator cannot be; `.` is the decimal point")
        }
        Decimal::Comma if text.contains(['.', ',']) => {
            (Code::AmbiguousValue, "the value has a point or comma where a thousands separator cannot be")
        }
        _ => (Code::InvalidValue, "the value is not a decimal number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, decimal: Decimal) -> Result<String, Code> {
        parse(text, decimal).map(|a| a.to_string()).map_err(|(code, _)| code)
    }

    #[test]
    fn separators_are_read_only_where_they_can_mean_one_thing() {
        for (text, auto, point, comma) in [
            ("1234.50", Ok("1234.5"), Ok("1234.5"), Err(Code::AmbiguousValue)),
            ("1234", Ok("1234"), Ok("1234"), Ok("1234")),
            ("0", Ok("0"), Ok("0"), Ok("0")),
            ("1,234.50", Ok("1234.5"), Ok("1234.5"), Err(Code::AmbiguousValue)),
            ("1,234,567", Ok("1234567"), Ok("1234567"), Err(Code::AmbiguousValue)),
            ("1,234,567.89", Ok("1234567.89"), Ok("1234567.89"), Err(Code::AmbiguousValue)),
            ("1,234", Err(Code::AmbiguousValue), Ok("1234"), Ok("1.234")),
            ("1234,50", Err(Code::AmbiguousValue), Err(Code::AmbiguousValue), Ok("1234.5")),
            ("1.234,50", Err(Code::AmbiguousValue), Err(Code::AmbiguousValue), Ok("1234.5")),
            ("1.234", Ok("1.234"), Ok("1.234"), Ok("1234")),
            ("1.234.567", Err(Code::InvalidValue), Err(Code::InvalidValue), Ok("1234567")),
            ("1 234.50", Ok("1234.5"), Ok("1234.5"), Err(Code::AmbiguousValue)),
            ("1\u{202f}234,50", Err(Code::AmbiguousValue), Err(Code::AmbiguousValue), Ok("1234.5")),
            ("1'234.50", Ok("1234.5"), Ok("1234.5"), Err(Code::AmbiguousValue)),
            ("12,34.50", Err(Code::AmbiguousValue), Err(Code::AmbiguousValue), Err(Code::AmbiguousValue)),
            ("1,23,456.00", Err(Code::AmbiguousValue), Err(Code::AmbiguousValue), Err(Code::AmbiguousValue)),
            ("1234,567.00", Err(Code::AmbiguousValue), Err(Code::AmbiguousValue), Err(Code::AmbiguousValue)),
        ] {
            let owned = |r: Result<&str, Code>| r.map(str::to_owned);
            assert_eq!(read(text, Decimal::Auto), owned(auto), "{text} auto");
            assert_eq!(read(text, Decimal::Point), owned(point), "{text} point");
            assert_eq!(read(text, Decimal::Comma), owned(comma), "{text} comma");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_by_its_own_name() {
        for (text, code) in [
            ("€120.00", Code::CurrencySymbol),
            ("120.00 €", Code::CurrencySymbol),
            ("$1,234.50", Code::CurrencySymbol),
            ("120 EUR", Code::CurrencySymbol),
            ("CHF 120", Code::CurrencySymbol),
            ("99 kr", Code::CurrencySymbol),
            ("-5", Code::NegativeValue),
            ("−5.00", Code::NegativeValue),
            ("(5.00)", Code::NegativeValue),
            ("1.2E+3", Code::ScientificNotation),
            ("1e5", Code::ScientificNotation),
            ("n/a", Code::InvalidValue),
            ("NaN", Code::InvalidValue),
            ("-", Code::InvalidValue),
            ("5%", Code::InvalidValue),
            ("5.", Code::InvalidValue),
            (".5", Code::InvalidValue),
            ("+5", Code::InvalidValue),
            ("1.2.3", Code::InvalidValue),
            ("1234567890123456", Code::ValueTooPrecise),
            ("0.1234567", Code::ValueTooPrecise),
        ] {
            assert_eq!(read(text, Decimal::Auto), Err(code), "{text}");
        }
    }
}
