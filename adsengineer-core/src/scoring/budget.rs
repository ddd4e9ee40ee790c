//! Reads budgets as people write them: `$15,000`, `15.000 €`, `15k`, `1,5k`, `15 000`, `EUR 15.000,50`.
//!
//! A hint for scoring, never money that is sent: of a range the lower end counts, and a sign before the number makes it zero.

/// The first amount in `text`, in hundredths of its currency's unit, rounded down; `None` if there is no number.
pub fn read(text: &str) -> Option<u64> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    if text[..start].trim_end_matches(|c: char| !c.is_alphanumeric() && !is_minus(c)).ends_with(is_minus) {
        return Some(0);
    }
    let number = number(&text[start..]);
    let thousands = scale(text[start + number.length..].trim_start());
    Some(number.hundredths(thousands))
}

fn is_minus(c: char) -> bool {
    matches!(c, '-' | '−' | '–')
}

/// The decimal exponent that a word behind the number means.
fn scale(rest: &str) -> u32 {
    let word = rest.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    let is = |names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
    if is(&["k", "tsd", "thousand", "tausend", "grand"]) {
        3
    } else if is(&["m", "mn", "mm", "mio", "million", "millions", "millionen"]) {
        6
    } else {
        0
    }
}

struct Number {
    whole: u128,
    /// The first digits after the point, and how many.
    fraction: u128,
    decimals: u32,
    /// Bytes read.
    length: usize,
}

/// Digits after the point that matter at all.
const DECIMALS_MAX: u32 = 8;

impl Number {
    fn hundredths(&self, exponent: u32) -> u64 {
        let scale = 10_u128.pow(exponent) * 100;
        let whole = self.whole.saturating_mul(scale);
        let fraction = self.fraction * scale / 10_u128.pow(self.decimals);
        u64::try_from(whole.saturating_add(fraction)).unwrap_or(u64::MAX)
    }
}

/// Reads a number that begins with a digit, separators and all.
fn number(text: &str) -> Number {
    let point = decimal_point(text);
    let mut number = Number { whole: 0, fraction: 0, decimals: 0, length: 0 };
    while let Some(c) = text[number.length..].chars().next() {
        let at = number.length;
        match c.to_digit(10) {
            Some(digit) if point.is_some_and(|point| at > point) => {
                if number.decimals < DECIMALS_MAX {
                    number.fraction = number.fraction * 10 + u128::from(digit);
                    number.decimals += 1;
                }
            }
            Some(digit) => number.whole = number.whole.saturating_mul(10).saturating_add(u128::from(digit)),
            None if point == Some(at) || (is_separator(c) && point.is_none_or(|point| at < point) && group(&text[at + c.len_utf8()..])) => {
            }
            None => break,
        }
        number.length += c.len_utf8();
    }
    number
}

/// Where the decimal point stands, if there is one: the last of two different signs, or a single one that three digits
/// do not follow.
fn decimal_point(text: &str) -> Option<usize> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !is_separator(c)).unwrap_or(text.len());
    let text = &text[..end];
    let last = text.rfind(['.', ',']).filter(|at| text[at + 1..].starts_with(|c: char| c.is_ascii_digit()))?;
    let sign = text.as_bytes()[last];
    let before = &text[..last];
    let grouped_before = before.contains(|c: char| is_separator(c) && c != char::from(sign));
    let single = !before.contains(char::from(sign));
    let thousands = group(&text[last + 1..]) && before.len() <= 3 && !before.starts_with('0');
    (single && (grouped_before || !thousands)).then_some(last)
}

fn is_separator(c: char) -> bool {
    matches!(c, '.' | ',' | '\'' | '’' | ' ' | '\u{a0}' | '\u{202f}')
}

/// Whether exactly three digits follow.
fn group(text: &str) -> bool {
    text.bytes().take_while(u8::is_ascii_digit).count() == 3
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_read_in_the_ways_people_write_them() {
        for (text, whole) in [
            ("15000", 15_000),
            ("$15,000", 15_000),
            ("15.000 €", 15_000),
            ("15k", 15_000),
            ("15 K", 15_000),
            ("15K€", 15_000),
            ("1,5k", 1_500),
            ("1.5k", 1_500),
            ("12.5k USD", 12_500),
            ("15 000", 15_000),
            ("15\u{a0}000 kr", 15_000),
            ("15\u{202f}000", 15_000),
            ("CHF 15'000", 15_000),
            ("15’000.00", 15_000),
            ("1,234,567", 1_234_567),
            ("1.234.567 EUR", 1_234_567),
            ("US$ 20,000.00", 20_000),
            ("2 Mio. €", 2_000_000),
            ("1.5m", 1_500_000),
            ("20 tsd", 20_000),
            ("10 thousand dollars", 10_000),
            ("15 kr", 15),
            ("15 km", 15),
            ("12,50", 12),
            ("0.999", 0),
            ("0,001", 0),
            ("15000.000", 15_000),
            ("15000,000", 15_000),
            ("10k - 20k", 10_000),
            ("5.000–10.000 €", 5_000),
            ("> 10k", 10_000),
            ("10000+", 10_000),
            ("ca. 12.000", 12_000),
            ("10 20", 10),
            ("15,000,", 15_000),
            ("15.", 15),
            ("-15000", 0),
            ("- $15,000", 0),
        ] {
            assert_eq!(read(text).map(|hundredths| hundredths / 100), Some(whole), "{text}");
        }
        assert_eq!(read("EUR 15.000,50"), Some(1_500_050));
        assert_eq!(read("10,000.01"), Some(1_000_001));
        assert_eq!(read("10 000,01 €"), Some(1_000_001));
        for text in ["", "none", "€", "a lot", "k"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&"9".repeat(60)), Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn anything_is_read_or_not_without_panic(text in ".{0,40}|[0-9.,' k-]{0,60}") {
            let _ = read(&text);
        }

        #[test]
        fn whole_numbers_read_the_same_however_they_are_grouped(n in 0_u64..1_000_000_000_000, sign in prop::sample::select(vec![',', '.', ' ', '\''])) {
            let digits = n.to_string();
            let mut grouped = String::new();
            for (i, digit) in digits.chars().enumerate() {
                if i > 0 && (digits.len() - i) % 3 == 0 {
                    grouped.push(sign);
                }
                grouped.push(digit);
            }
            prop_assert_eq!(read(&grouped), Some(n * 100), "{}", grouped);
        }
    }
}
