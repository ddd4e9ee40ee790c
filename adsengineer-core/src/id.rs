//! Opaque, prefixed, time-ordered ids: `conv_…`, `dlv_…`, `upl_…`, `dst_…`.
//!
//! An id is a positive 63-bit integer whose upper bits are milliseconds since 2020-01-01 UTC and whose lower
//! 22 bits count within a millisecond, so ids sort by creation and rows need no column for it. As text it is the
//! prefix and 13 characters of Crockford's base 32, which sort the same way.

use std::{fmt, str::FromStr};

use jiff::Timestamp;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const EPOCH_MS: i64 = 1_577_836_800_000;
const COUNTER_BITS: u32 = 22;

/// Why a text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id of this kind: expected `{prefix}` and 13 characters")]
pub struct InvalidId {
    text: String,
    prefix: &'static str,
}

/// The id after `last` for something created at `now_ms` (Unix milliseconds): larger than `last` even when the clock stands still or goes back.
pub fn next(last: i64, now_ms: i64) -> i64 {
    let from_clock = now_ms.saturating_sub(EPOCH_MS).max(0) << COUNTER_BITS;
    from_clock.max(last.saturating_add(1))
}

fn encode(value: i64) -> [u8; 13] {
    let mut out = [0; 13];
    for (i, byte) in out.iter_mut().enumerate() {
        let shift = 60 - 5 * i;
        *byte = ALPHABET[usize::from((value >> shift & 31).to_le_bytes()[0])];
    }
    out
}

fn decode(text: &str) -> Option<i64> {
    if text.len() != 13 {
        return None;
    }
    let mut value: i64 = 0;
    for (i, byte) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|c| *c == byte)?;
        if i == 0 && digit > 7 {
            return None;
        }
        value = value << 5 | i64::try_from(digit).ok()?;
    }
    Some(value)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub i64);

        impl $name {
            /// The smallest id that something created at `ms` (Unix milliseconds) can have.
            pub fn from_millis(ms: i64) -> Self {
                Self(ms.saturating_sub(EPOCH_MS).clamp(0, i64::MAX >> COUNTER_BITS) << COUNTER_BITS)
            }

            /// When the thing was created, to the millisecond.
            pub fn created_at(self) -> Timestamp {
                Timestamp::from_millisecond((self.0 >> COUNTER_BITS) + EPOCH_MS).unwrap_or(Timestamp::UNIX_EPOCH)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                encode(self.0).iter().try_for_each(|b| fmt::Write::write_char(f, char::from(*b)))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix).and_then(decode).map(Self)
                    .ok_or_else(|| InvalidId { text: text.chars().take(40).collect(), prefix: $prefix })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'_, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A conversion.
    ConversionId = "conv_";
    /// A delivery: one revision of a conversion on its way to one destination.
    DeliveryId = "dlv_";
    /// One request to a platform.
    UploadId = "upl_";
    /// A destination.
    DestinationId = "dst_";
    /// One accepted batch of incoming rows.
    IntakeId = "int_";
    /// A lead: a person's enquiry.
    LeadId = "lead_";
    /// A place in the sequence of changes: where the next page of a list starts.
    ChangeId = "chg_";
    /// A replay of dead letters.
    ReplayId = "rpl_";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_even_when_the_clock_goes_back_and_tell_their_creation_time() {
        let now = 1_795_000_000_000;
        let first = next(0, now);
        let second = next(first, now - 5000);
        assert!(second > first);
        assert_eq!(ConversionId(first).created_at().as_millisecond(), now);
    }

    #[test]
    fn text_round_trips_and_sorts_like_the_number() {
        for value in [0, 1, 31, 32, i64::MAX, next(0, 1_795_000_000_000)] {
            let id = DeliveryId(value);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert!(DeliveryId(31).to_string() < DeliveryId(32).to_string());
    }

    #[test]
    fn foreign_prefixes_and_bad_characters_are_refused() {
        let conversion = ConversionId(7).to_string();
        assert!(conversion.parse::<DeliveryId>().is_err());
        for bad in ["conv_", "conv_zzzzzzzzzzzzz", "conv_000000000000u", "conv_00000000000000"] {
            assert!(bad.parse::<ConversionId>().is_err(), "{bad}");
        }
    }
}
