//! What spreadsheets do to cells: apostrophes, typographic quotes, formulas, error values, scientific notation.
//!
//! Damage with one possible repair is repaired; damage that loses information is named.

use crate::finding::Code;

/// What a cell's first look shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look<'a> {
    Fine,
    /// Repaired to this text; tell it.
    Repaired(&'a str, Code),
    /// Not usable.
    Broken(Code),
}

/// Looks at a trimmed cell. Costs the comparison of two bytes for cells that are fine.
#[inline]
pub(crate) fn look(cell: &str) -> Look<'_> {
    match cell.as_bytes() {
        [b'\'' | b'=' | b'#' | 0x80..=0xff, ..] | [.., 0x80..=0xff] => look_closer(cell),
        _ => Look::Fine,
    }
}

fn look_closer(cell: &str) -> Look<'_> {
    if let Some(rest) = cell.strip_prefix('\'') {
        return Look::Repaired(rest.strip_suffix('\'').unwrap_or(rest).trim(), Code::ApostropheRemoved);
    }
    if cell.starts_with('=') {
        return Look::Broken(Code::Formula);
    }
    if is_error_value(cell) {
        return Look::Broken(Code::SpreadsheetError);
    }
    let inner = cell.trim_matches(QUOTES);
    if inner.len() == cell.len() { Look::Fine } else { Look::Repaired(inner.trim(), Code::QuotesRemoved) }
}

/// Typographic quotes, which no id, time or amount begins or ends with.
const QUOTES: [char; 9] = ['“', '”', '„', '‟', '‘', '’', '‚', '«', '»'];

/// Error values of spreadsheet programs, German ones included, and columns too narrow to show their number.
fn is_error_value(cell: &str) -> bool {
    const ERRORS: [&str; 14] = [
        "#NAME?", "#REF!", "#VALUE!", "#N/A", "#DIV/0!", "#NUM!", "#NULL!", "#SPILL!", "#CALC!", "#ERROR!", "#WERT!", "#BEZUG!", "#NV",
        "#ZAHL!",
    ];
    ERRORS.iter().any(|error| cell.eq_ignore_ascii_case(error)) || (cell.len() > 2 && cell.bytes().all(|b| b == b'#'))
}

/// `1.2E+25`, `1,2E+25`, `1E+25`: digits, an exponent, and a decimal sign or a plus.
pub(crate) fn is_scientific(text: &str) -> bool {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let Some((mantissa, exponent)) = text.split_once(['E', 'e']) else { return false };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, "0"));
    whole.len() <= 3
        && digits(whole)
        && digits(fraction)
        && digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
        && exponent.len() <= 4
}

/// The same, and certain: only a decimal sign or a plus tells it from an id such as `1E5`.
pub(crate) fn is_certainly_scientific(text: &str) -> bool {
    is_scientific(text) && text.contains(['.', ',', '+'])
}

/// Whether `text` is a number of more than 15 digits whose further digits are all zeros; `None` if it is no such number.
pub(crate) fn lost_digits(text: &str) -> Option<bool> {
    let long = text.len() > 15 && text.bytes().all(|b| b.is_ascii_digit());
    long.then(|| text.as_bytes()[15..].iter().all(|b| *b == b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_possible_repair_is_made_and_told() {
        for (cell, repaired, code) in [
            ("'Cj0KCQ", "Cj0KCQ", Code::ApostropheRemoved),
            ("'Cj0KCQ'", "Cj0KCQ", Code::ApostropheRemoved),
            ("“Cj0KCQ”", "Cj0KCQ", Code::QuotesRemoved),
            ("„Cj0KCQ“", "Cj0KCQ", Code::QuotesRemoved),
            ("‘Cj0KCQ’", "Cj0KCQ", Code::QuotesRemoved),
            ("« Cj0KCQ »", "Cj0KCQ", Code::QuotesRemoved),
            ("“Cj0KCQ", "Cj0KCQ", Code::QuotesRemoved),
            ("Cj0KCQ”", "Cj0KCQ", Code::QuotesRemoved),
            ("““Cj0KCQ””", "Cj0KCQ", Code::QuotesRemoved),
            ("”", "", Code::QuotesRemoved),
        ] {
            assert_eq!(look(cell), Look::Repaired(repaired, code), "{cell}");
        }
    }

    #[test]
    fn lost_values_are_named_and_sound_ones_left_alone() {
        for (cell, code) in [
            ("#NAME?", Code::SpreadsheetError),
            ("#n/a", Code::SpreadsheetError),
            ("########", Code::SpreadsheetError),
            ("=A1", Code::Formula),
            ("=\"12\"", Code::Formula),
        ] {
            assert_eq!(look(cell), Look::Broken(code), "{cell}");
        }
        for fine in ["Cj0KCQ==", "#1001", "##", "Übermut", "Köln", "Café", "+49", "a'b", ""] {
            assert_eq!(look(fine), Look::Fine, "{fine}");
        }
    }

    #[test]
    fn scientific_notation_and_lost_digits_are_told_from_ids() {
        for damaged in ["1.2E+25", "1,2E+25", "1E+25", "4.91512E12", "1.2e+05"] {
            assert!(is_certainly_scientific(damaged), "{damaged}");
        }
        for id in ["1E5", "ABE+25", "E+25", "1.2E", "12345E+25", "Cj0E+25"] {
            assert!(!is_certainly_scientific(id), "{id}");
        }
        assert_eq!(lost_digits("123456789012345000000"), Some(true));
        assert_eq!(lost_digits("123456789012345678901"), Some(false));
        assert_eq!(lost_digits("1234567890123450"), Some(true));
        assert_eq!(lost_digits("123456789012345"), None);
        assert_eq!(lost_digits("12345678901234500a"), None);
    }
}
