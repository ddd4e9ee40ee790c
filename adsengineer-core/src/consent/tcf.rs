//! The core segment of an IAB TCF v2 string: what a consent platform recorded.
//!
//! Source: IAB Tech Lab, Consent string and vendor list formats v2. The string is kept as received; this says what it
//! means for Google, vendor 755.

use jiff::Timestamp;

use super::{AdConsent, ConsentState};

/// Google Advertising Products in the global vendor list.
const GOOGLE: u64 = 755;
/// Core, disclosed vendors, allowed vendors, publisher TC.
const SEGMENTS_MAX: usize = 4;

/// What a TCF string says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tcf {
    /// When the person first answered.
    pub created: Timestamp,
    /// When the answer last changed.
    pub updated: Timestamp,
    /// The version of the policies that the answer was given under.
    pub policy_version: u8,
    /// Whether Google may rely on it.
    pub google: bool,
    purposes: u32,
}

/// Why a text is not a TCF v2 string. Does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTcf {
    /// Not segments of base64url.
    #[error("the TCF string is not base64url in up to 4 segments")]
    Encoding,
    /// Another version of the format.
    #[error("the TCF string has version {0}, not 2")]
    Version(u64),
    /// Shorter than it says.
    #[error("the TCF string ends too early")]
    Truncated,
    /// Vendors in no order.
    #[error("the TCF string names an impossible range of vendors")]
    Range,
    /// A time that does not exist.
    #[error("the TCF string has an impossible time")]
    Time,
}

/// Whether `text` has the form of a TCF v2 string. One that is kept as proof needs no more: what a consent platform sent
/// proves something even where it cannot be read to its end.
pub fn check(text: &str) -> Result<(), InvalidTcf> {
    let sound = |segment: &str| !segment.is_empty() && segment.bytes().all(|digit| sextet(digit).is_some());
    if text.split('.').count() > SEGMENTS_MAX || !text.split('.').all(sound) {
        return Err(InvalidTcf::Encoding);
    }
    match text.bytes().next().and_then(sextet).map_or(0, u64::from) {
        2 => Ok(()),
        version => Err(InvalidTcf::Version(version)),
    }
}

/// Reads a TCF string.
pub fn decode(text: &str) -> Result<Tcf, InvalidTcf> {
    check(text)?;
    let core = text.split('.').next().unwrap_or_default();
    let mut bits = Bits { digits: core.as_bytes(), at: 0 };
    // The version.
    bits.skip(6);
    let created = bits.time()?;
    let updated = bits.time()?;
    // The consent platform: id, version, screen, language, vendor list version.
    bits.skip(12 + 12 + 6 + 12 + 12);
    let policy_version = u8::try_from(bits.take(6)?).unwrap_or(u8::MAX);
    // Service specific, non-standard texts, special features.
    bits.skip(1 + 1 + 12);
    let mut purposes = 0;
    for purpose in 1..=24 {
        purposes |= u32::from(bits.flag()?) << purpose;
    }
    // Legitimate interests, purpose one treatment, publisher's country.
    bits.skip(24 + 1 + 12);
    let google = bits.vendors()?;
    bits.vendors()?;
    for _ in 0..bits.take(12)? {
        let (purpose, kind) = (bits.take(6)?, bits.take(2)?);
        let restricted = bits.ranges(u64::from(u16::MAX))?;
        if kind == 0 && restricted {
            purposes &= !(1_u32.checked_shl(u32::try_from(purpose).unwrap_or(u32::MAX)).unwrap_or(0));
        }
    }
    Ok(Tcf { created, updated, policy_version, google, purposes })
}

impl Tcf {
    /// Whether the person consented to `purpose` (1 to 24) and the publisher does not keep Google from it.
    pub fn purpose(&self, purpose: u8) -> bool {
        (1..=24).contains(&purpose) && self.purposes & 1 << purpose != 0
    }

    /// What it comes to for Google: purposes 1 and 7 for the data, 3 and 4 for personalisation. Source: Google, implement TCF strings.
    pub fn ads(&self) -> AdConsent {
        let state = |granted: bool| Some(if self.google && granted { ConsentState::Granted } else { ConsentState::Denied });
        AdConsent {
            ad_user_data: state(self.purpose(1) && self.purpose(7)),
            ad_personalization: state(self.purpose(1) && self.purpose(3) && self.purpose(4)),
        }
    }
}

/// The six bits of a digit of base64url (RFC 4648, section 5).
fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

/// Reads bits, the most significant first, digit by digit: consent platforms fill up to six, eight or 24 bits.
struct Bits<'a> {
    digits: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn flag(&mut self) -> Result<bool, InvalidTcf> {
        let digit = self.digits.get(self.at / 6).ok_or(InvalidTcf::Truncated)?;
        let bit = sextet(*digit).ok_or(InvalidTcf::Encoding)? >> (5 - self.at % 6) & 1;
        self.at += 1;
        Ok(bit == 1)
    }

    fn take(&mut self, count: usize) -> Result<u64, InvalidTcf> {
        (0..count).try_fold(0, |value, _| Ok(value << 1 | u64::from(self.flag()?)))
    }

    fn skip(&mut self, count: usize) {
        self.at += count;
    }

    /// Deciseconds since 1970, cut to the second.
    fn time(&mut self) -> Result<Timestamp, InvalidTcf> {
        let seconds = i64::try_from(self.take(36)? / 10).map_err(|_| InvalidTcf::Time)?;
        Timestamp::from_second(seconds).map_err(|_| InvalidTcf::Time)
    }

    /// Whether Google is among the vendors of a section.
    fn vendors(&mut self) -> Result<bool, InvalidTcf> {
        let last = self.take(16)?;
        if self.flag()? {
            return self.ranges(last);
        }
        let mut found = false;
        for vendor in 1..=last {
            found |= self.flag()? && vendor == GOOGLE;
        }
        Ok(found)
    }

    /// The same for ranges, none of which may go beyond `last`.
    fn ranges(&mut self, last: u64) -> Result<bool, InvalidTcf> {
        let mut found = false;
        for _ in 0..self.take(12)? {
            let several = self.flag()?;
            let start = self.take(16)?;
            let end = if several { self.take(16)? } else { start };
            if start == 0 || start > end || end > last {
                return Err(InvalidTcf::Range);
            }
            found |= (start..=end).contains(&GOOGLE);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes bits, the most significant first.
    #[derive(Default)]
    struct Pen(Vec<bool>);

    impl Pen {
        fn put(&mut self, count: usize, value: u64) -> &mut Self {
            self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
            self
        }

        fn text(&self) -> String {
            const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let digit = |bits: &[bool]| (0..6).fold(0, |value, bit| value << 1 | usize::from(bits.get(bit) == Some(&true)));
            self.0.chunks(6).map(|bits| char::from(DIGITS[digit(bits)])).collect()
        }
    }

    const CREATED_S: u64 = 1_795_000_000;

    /// Everything up to the vendor sections.
    fn head(version: u64, purposes: &[u64]) -> Pen {
        let mut pen = Pen::default();
        pen.put(6, version).put(36, CREATED_S * 10).put(36, CREATED_S * 10 + 864_000);
        pen.put(12, 31).put(12, 1).put(6, 1).put(12, 0).put(12, 120).put(6, 5).put(1, 1).put(1, 0).put(12, 0);
        pen.put(24, purposes.iter().map(|purpose| 1 << (24 - purpose)).sum());
        pen.put(24, 0).put(1, 0).put(12, 0);
        pen
    }

    fn bitfield(pen: &mut Pen, last: u64, consented: &[u64]) {
        pen.put(16, last).put(1, 0);
        (1..=last).for_each(|vendor| {
            pen.put(1, consented.contains(&vendor).into());
        });
    }

    fn ranges(pen: &mut Pen, ranges: &[(u64, u64)]) {
        pen.put(12, ranges.len() as u64);
        for (start, end) in ranges {
            if start == end {
                pen.put(1, 0).put(16, *start);
            } else {
                pen.put(1, 1).put(16, *start).put(16, *end);
            }
        }
    }

    /// A whole string whose vendors are given as ranges.
    fn ranged(purposes: &[u64], vendors: &[(u64, u64)]) -> Pen {
        let mut pen = head(2, purposes);
        pen.put(16, vendors.iter().map(|range| range.1).max().unwrap_or(0)).put(1, 1);
        ranges(&mut pen, vendors);
        bitfield(&mut pen, 0, &[]);
        pen.put(12, 0);
        pen
    }

    fn states(text: &str) -> (Option<ConsentState>, Option<ConsentState>) {
        let ads = decode(text).unwrap().ads();
        (ads.ad_user_data, ads.ad_personalization)
    }

    const YES: Option<ConsentState> = Some(ConsentState::Granted);
    const NO: Option<ConsentState> = Some(ConsentState::Denied);

    #[test]
    fn the_specifications_own_example_is_read() {
        let tcf = decode("COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA.IFoEUQQgAIQwgIwQABAEAAAAOIAACAIAAAAQAIAgEAACEAAAAAgAQBAAAAAAAGBAAgAAAAAAAFAAECAAAgAAQARAEQAAAAAJAAIAAgAAAYQEAAAQmAgBC3ZAYzUw").unwrap();
        assert_eq!((1..=24).filter(|p| tcf.purpose(*p)).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!((tcf.created.to_string().as_str(), tcf.google), ("2020-02-20T23:57:39Z", false));
    }

    #[test]
    fn times_purposes_and_google_are_read_from_a_bit_field() {
        let mut pen = head(2, &[1, 3, 4, 7]);
        bitfield(&mut pen, 800, &[2, 755]);
        bitfield(&mut pen, 5, &[1]);
        pen.put(12, 0);
        let tcf = decode(&format!("{}.IFoE", pen.text())).unwrap();
        assert_eq!((tcf.created.as_second(), tcf.updated.as_second()), (1_795_000_000, 1_795_086_400));
        assert_eq!((tcf.policy_version, tcf.google), (5, true));
        assert_eq!((1..=24).filter(|p| tcf.purpose(*p)).collect::<Vec<_>>(), [1, 3, 4, 7]);
        assert!(!tcf.purpose(0) && !tcf.purpose(200));
    }

    #[test]
    fn google_is_found_in_ranges_their_ends_included() {
        for (vendors, google) in [
            (&[(755, 755)][..], true),
            (&[(1, 3), (700, 755)], true),
            (&[(755, 800)], true),
            (&[(1, 754), (756, 800)], false),
            (&[], false),
        ] {
            assert_eq!(decode(&ranged(&[1], vendors).text()).map(|tcf| tcf.google), Ok(google), "{vendors:?}");
        }
    }

    #[test]
    fn purposes_and_vendor_together_make_ad_consent() {
        let google = &[(755, 755)];
        assert_eq!(states(&ranged(&[1, 3, 4, 7], google).text()), (YES, YES));
        assert_eq!(states(&ranged(&[1, 7], google).text()), (YES, NO));
        assert_eq!(states(&ranged(&[1, 3, 4], google).text()), (NO, YES));
        assert_eq!(states(&ranged(&[3, 4, 7], google).text()), (NO, NO));
        assert_eq!(states(&ranged(&[1, 3, 4, 7], &[(2, 2)]).text()), (NO, NO));
    }

    #[test]
    fn a_publisher_can_keep_google_from_a_purpose() {
        let mut pen = head(2, &[1, 3, 4, 7]);
        bitfield(&mut pen, 755, &[755]);
        bitfield(&mut pen, 0, &[]);
        pen.put(12, 2).put(6, 7).put(2, 0);
        ranges(&mut pen, &[(700, 800)]);
        pen.put(6, 3).put(2, 1);
        ranges(&mut pen, &[(755, 755)]);
        assert_eq!(states(&pen.text()), (NO, YES));
    }

    #[test]
    fn what_is_no_tcf_string_is_refused() {
        let whole = ranged(&[1], &[(755, 755)]);
        for bad in ["", ".", "!!", "a b", "C=", &format!("{}.", whole.text()), &format!("{}.A.A.A.A", whole.text())] {
            assert_eq!(decode(bad), Err(InvalidTcf::Encoding), "{bad}");
        }
        assert_eq!(decode(&head(1, &[]).text()), Err(InvalidTcf::Version(1)));
        assert_eq!(decode(&head(2, &[]).text()), Err(InvalidTcf::Truncated));
        assert_eq!(decode(&ranged(&[1], &[(9, 3)]).text()), Err(InvalidTcf::Range));
        assert_eq!(decode(&ranged(&[1], &[(0, 3)]).text()), Err(InvalidTcf::Range));
        let full = whole.text();
        for end in 1..full.len() - 1 {
            assert!(decode(&full[..end]).is_err(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_texts_are_answered(text in "C[A-Za-z0-9_-]{0,300}(\\.[A-Za-z0-9_-]{0,9})?|.{0,50}") {
            let _ = decode(&text);
        }
    }
}
