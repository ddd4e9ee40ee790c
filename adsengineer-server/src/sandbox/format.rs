//! Formats of single values, by their published standards. Pure.

use jiff::Timestamp;

use super::wire::Encoding;

/// Active alphabetic codes of ISO 4217.
const CURRENCIES: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD \
    CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF \
    GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD \
    MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON \
    RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD \
    USN UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG ZWL";

/// Why a text is no encoded SHA-256 digest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadHash {
    Hex,
    Base64,
    Length,
}

pub(super) fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn is_currency(code: &str) -> bool {
    code.len() == 3 && CURRENCIES.split(' ').any(|known| known == code)
}

/// A SHA-256 digest, 32 bytes, in the encoding that the request names.
pub(super) fn hash(text: &str, encoding: Encoding) -> Result<(), BadHash> {
    match encoding {
        Encoding::Base64 => base64(text),
        Encoding::Hex | Encoding::Unspecified => {
            if !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                Err(BadHash::Hex)
            } else if text.len() == 64 {
                Ok(())
            } else {
                Err(BadHash::Length)
            }
        }
    }
}

/// RFC 4648 with padding: 32 bytes are 43 letters and one `=`.
fn base64(text: &str) -> Result<(), BadHash> {
    let letters = text.trim_end_matches('=');
    let plain = letters.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    if !plain || !text.len().is_multiple_of(4) || text.len() - letters.len() > 2 {
        Err(BadHash::Base64)
    } else if letters.len() == 43 {
        Ok(())
    } else {
        Err(BadHash::Length)
    }
}

/// RFC 3339 as protobuf JSON takes it: `T`, an offset or `Z`, at most nine digits of a second.
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let matches = |(byte, want): (&u8, &u8)| if *want == b'd' { byte.is_ascii_digit() } else { byte == want };
    if bytes.len() <= shape.len() || !bytes.iter().zip(shape).all(matches) || &bytes[17..19] > b"59".as_slice() {
        return None;
    }
    let rest = &text[shape.len()..];
    let rest = match rest.strip_prefix('.') {
        None => rest,
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            (1..=9).contains(&digits).then(|| &fraction[digits..])?
        }
    };
    let offset = rest.as_bytes();
    let is_offset = match offset {
        [b'Z'] => true,
        [b'+' | b'-', a, b, b':', c, d] => [a, b, c, d].into_iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_offset.then(|| text.parse().ok())?
}

/// A JSON number, or a string with one, as protobuf JSON takes both: its exact text and its size.
pub(super) fn number(raw: &str) -> Option<(&str, f64)> {
    let text = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(raw);
    let first = text.bytes().next()?;
    let value: f64 = (first.is_ascii_digit() || first == b'-').then(|| text.parse().ok())??;
    value.is_finite().then_some((text, value))
}

/// The enum value at the start of a text: `INVALID_GCLID` of `INVALID_GCLID-17`.
pub(super) fn reason(text: &str) -> &str {
    let name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    match text.split_once('-').map_or(text, |(first, _)| first) {
        first if first.bytes().all(name) => first,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::{BadHash, hash, is_currency, number, reason, timestamp};
    use crate::sandbox::wire::Encoding;

    #[test]
    fn times_need_the_letter_t_and_an_offset() {
        for good in ["2026-11-01T10:00:00Z", "2026-11-01T10:00:00+01:00", "2026-11-01T10:00:00.123456789-05:30"] {
            assert!(timestamp(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "2026-11-01",
            "2026-11-01T10:00:00",
            "2026-11-01 10:00:00Z",
            "2026-11-01t10:00:00Z",
            "2026-11-01T10:00:00z",
            "2026-11-01T10:00:00+0100",
            "2026-11-01T10:00:00.Z",
            "2026-11-01T10:00:00.1234567890Z",
            "2026-02-30T10:00:00Z",
            "2026-11-01T10:00:60Z",
            "2026-11-01T25:00:00Z",
            "2026-11-01T10:00:00Z[UTC]",
            "é026-11-01T10:00:00Z",
        ] {
            assert!(timestamp(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_same_instant_is_the_same_in_every_offset() {
        assert_eq!(timestamp("2026-11-01T10:00:00+01:00"), timestamp("2026-11-01T09:00:00Z"));
    }

    #[test]
    fn hashes_are_judged_by_their_encoding() {
        let hex = "509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a";
        assert_eq!(hash(hex, Encoding::Hex), Ok(()));
        assert_eq!(hash(&hex.to_uppercase(), Encoding::Hex), Err(BadHash::Hex));
        assert_eq!(hash(&hex[1..], Encoding::Hex), Err(BadHash::Length));
        assert_eq!(hash("a@example.com", Encoding::Hex), Err(BadHash::Hex));
        assert_eq!(hash("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", Encoding::Base64), Ok(()));
        assert_eq!(hash("47DEQpj8HBSa+/TImW==", Encoding::Base64), Err(BadHash::Length));
        assert_eq!(hash("47DEQpj8_BSa", Encoding::Base64), Err(BadHash::Base64));
    }

    #[test]
    fn numbers_keep_their_text() {
        assert_eq!(number("199.90"), Some(("199.90", 199.9)));
        assert_eq!(number("\"-1.50\""), Some(("-1.50", -1.5)));
        for bad in ["\"\"", "\"NaN\"", "\"Infinity\"", "1e999", "true", "{}", "\"1,5\"", "\"inf\""] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }

    #[test]
    fn currencies_are_upper_case_codes_in_use() {
        assert!(["EUR", "USD", "JPY", "KWD"].into_iter().all(is_currency));
        assert!(!["eur", "EURO", "XXX", "", "R U", "D A"].into_iter().any(is_currency));
    }

    #[test]
    fn a_reason_ends_at_the_first_hyphen() {
        assert_eq!(reason("INVALID_GCLID-1"), "INVALID_GCLID");
        assert_eq!(reason("INVALID_SHA256_FORMAT"), "INVALID_SHA256_FORMAT");
        assert_eq!(reason("ordinary-1"), "");
    }
}
