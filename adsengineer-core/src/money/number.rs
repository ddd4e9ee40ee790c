//! Amounts out of JSON numbers, which programs write with exponents and with the noise of floating point.

use super::{Amount, MAX_DIGITS, MAX_SCALE};

impl Amount {
    /// Reads a number as JSON writes it (RFC 8259, section 6), rounded half to even to six decimals, fewer where more than 15
    /// digits would stand: `0.30000000000000004` is 0.3. `None` if it is below zero, or has more than 15 digits before the point.
    ///
    /// A double has 15 digits that can be relied on (IEEE 754), so nothing that somebody meant is lost.
    pub fn from_json_number(text: &str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        if all.is_empty() || !all.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let zeros = all.iter().take_while(|digit| **digit == b'0').count();
        let digits = &all[zeros..];
        if digits.is_empty() {
            return Some(Self::ZERO);
        }
        // The value is 0.d₁d₂d₃… × 10^point.
        let point = exponent.parse::<i64>().ok()?.checked_add(i64::try_from(whole.len()).ok()? - i64::try_from(zeros).ok()?)?;
        let most = i64::try_from(MAX_DIGITS).ok()?;
        let scale = (most - point.max(0)).min(i64::from(MAX_SCALE));
        if negative || scale < 0 {
            return None;
        }
        let kept = point + scale;
        let mantissa = usize::try_from(kept).map_or(Some(0), |kept| rounded(digits, kept))?;
        Self::from_parts(mantissa, u8::try_from(scale).ok()?)
    }
}

/// The first `kept` of `digits` as a number, rounded half to even by the rest.
fn rounded(digits: &[u8], kept: usize) -> Option<i64> {
    let digit = |at: usize| digits.get(at).map_or(0, |byte| i64::from(byte - b'0'));
    let number = (0..kept).try_fold(0_i64, |number, at| number.checked_mul(10)?.checked_add(digit(at)))?;
    let rest = digits.get(kept..).unwrap_or_default();
    let more = rest.iter().skip(1).any(|byte| *byte != b'0');
    let up = match rest.first() {
        Some(b'6'..=b'9') => true,
        Some(b'5') => more || number % 2 == 1,
        _ => false,
    };
    Some(number + i64::from(up))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        Amount::from_json_number(text).map(|amount| amount.to_string())
    }

    #[test]
    fn the_noise_of_floating_point_is_rounded_away() {
        for (text, expected) in [
            ("0.30000000000000004", "0.3"),
            ("19.990000000000002", "19.99"),
            ("119.99999999999999", "120"),
            ("0.10000000000000000001", "0.1"),
            ("0.0000005", "0"),
            ("0.0000015", "0.000002"),
            ("0.00000050001", "0.000001"),
            ("999999999999998.9", "999999999999999"),
            ("123456789012.3456", "123456789012.346"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn exponents_are_read() {
        for (text, expected) in [
            ("1e3", "1000"),
            ("1.5E+2", "150"),
            ("25e-1", "2.5"),
            ("1e-7", "0"),
            ("1e-400", "0"),
            ("0e999", "0"),
            ("-0.0", "0"),
            ("1e14", "100000000000000"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_none() {
        for text in ["-1", "-1e-3", "1e15", "1e300", "1e99999999999999999999", "", "-", "x", "1x", "1e", "1.2.3"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
