//! Phone numbers in E.164: numbers with `+` by their form alone, national ones by the numbering plan of their country.

use phonenumber::{Mode, country};

use super::{Identifier, hashed};

/// Why a text is not a phone number. Never says the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPhone {
    /// Not digits with the usual separators.
    #[error("the phone number has characters that phone numbers do not have")]
    Characters,
    /// Fewer than 7 or more than 15 digits (ITU-T E.164).
    #[error("the phone number has {0} digits with its country code, not 7 to 15")]
    Length(usize),
    /// No `+`, and no country to tell the country code from.
    #[error("the phone number has no country code, and nothing says the country")]
    NoCountry,
    /// Not a number of that country.
    #[error("the phone number is not one of its country")]
    Foreign,
}

/// Reads a phone number, plain or hashed; plain ones become E.164 with `+`. `country` is an ISO 3166-1 alpha-2 code.
pub fn phone(text: &str, country: Option<&str>) -> Result<Identifier, InvalidPhone> {
    let text = text.trim();
    if let Some(hash) = hashed(text) {
        return Ok(Identifier::Hashed(hash));
    }
    // `00` is the international prefix that ITU-T E.123 recommends; no national number begins so.
    let international = text.strip_prefix('+').or_else(|| text.strip_prefix("00"));
    let number = match international {
        Some(rest) => digits(&rest.replacen("(0)", "", 1))?,
        None => national(text, country)?,
    };
    match number.len() {
        7..=15 if !number.starts_with('0') => Ok(Identifier::Plain(format!("+{number}").into())),
        7..=15 => Err(InvalidPhone::Foreign),
        length => Err(InvalidPhone::Length(length)),
    }
}

/// The digits of a text that has nothing but digits and separators.
fn digits(text: &str) -> Result<String, InvalidPhone> {
    let separator = |c: char| matches!(c, '-' | '.' | '(' | ')' | '/' | '‑' | '–') || c.is_whitespace();
    if text.chars().any(|c| !c.is_ascii_digit() && !separator(c)) {
        return Err(InvalidPhone::Characters);
    }
    Ok(text.chars().filter(char::is_ascii_digit).collect())
}

fn national(text: &str, country: Option<&str>) -> Result<String, InvalidPhone> {
    let bare = digits(text)?;
    let region: country::Id = country.ok_or(InvalidPhone::NoCountry)?.parse().map_err(|_| InvalidPhone::NoCountry)?;
    if bare.len() < 4 || bare.len() > 17 {
        return Err(InvalidPhone::Length(bare.len()));
    }
    let number = phonenumber::parse(Some(region), &bare).map_err(|_| InvalidPhone::Foreign)?;
    let text = number.format().mode(Mode::E164).to_string();
    digits(text.trim_start_matches('+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, country: Option<&str>) -> Result<String, InvalidPhone> {
        phone(text, country).map(|p| match p {
            Identifier::Plain(text) => text.into(),
            Identifier::Hashed(_) => "hashed".to_owned(),
        })
    }

    #[test]
    fn international_numbers_are_read_by_their_form() {
        for text in ["+4915123456789", "+49 151 23456789", "+49 (0)151 234-567 89", "0049 151/23456789", " +49.151.23456789 "] {
            assert_eq!(read(text, None).as_deref(), Ok("+4915123456789"), "{text}");
        }
        assert_eq!(read("+1 (800) 555-0100", Some("DE")).as_deref(), Ok("+18005550100"));
        assert_eq!(read(&"ab".repeat(32), None).as_deref(), Ok("hashed"));
    }

    #[test]
    fn national_numbers_need_their_country() {
        for (text, country, expected) in [
            ("0151 23456789", "DE", "+4915123456789"),
            ("(650) 253-0000", "US", "+16502530000"),
            ("020 7946 0958", "GB", "+442079460958"),
            ("06 12 34 56 78", "FR", "+33612345678"),
            ("4915123456789", "DE", "+4915123456789"),
        ] {
            assert_eq!(read(text, Some(country)).as_deref(), Ok(expected), "{text}");
            assert_eq!(read(text, None), Err(InvalidPhone::NoCountry), "{text}");
        }
        assert_eq!(read("0151 23456789", Some("XX")), Err(InvalidPhone::NoCountry));
    }

    #[test]
    fn what_is_no_phone_number_is_refused_with_the_reason() {
        for (text, why) in [
            ("+49 151 abc", InvalidPhone::Characters),
            ("none", InvalidPhone::Characters),
            ("+49123", InvalidPhone::Length(5)),
            ("+1234567890123456", InvalidPhone::Length(16)),
            ("+0491512345678", InvalidPhone::Foreign),
            ("", InvalidPhone::NoCountry),
        ] {
            assert_eq!(read(text, None), Err(why), "{text}");
        }
        assert!(read("12", Some("DE")).is_err());
    }
}
