//! Click ids: opaque, case-sensitive marks that an ad click leaves in a URL.
//!
//! Google publishes no format, so only what cannot be a click id is refused; what merely looks odd is flagged.
//! Nothing is ever trimmed inside, lower-cased or decoded.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Our own limit, in characters: ids in the wild have 26 to about 120 bytes, and no maximum is published.
pub const MAX_CHARS: usize = 1024;

/// Which parameter carried the click id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClickIdKind {
    /// Google click id.
    Gclid,
    /// Google click id of an iOS app click.
    Gbraid,
    /// Google click id of an iOS web click.
    Wbraid,
}

impl ClickIdKind {
    /// The parameter's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gclid => "gclid",
            Self::Gbraid => "gbraid",
            Self::Wbraid => "wbraid",
        }
    }
}

/// A click id that may be sent.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ClickId {
    kind: ClickIdKind,
    value: Box<str>,
}

/// Why a text cannot be a click id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidClickId {
    /// Nothing there.
    #[error("the click id is empty")]
    Empty,
    /// Longer than [`MAX_CHARS`].
    #[error("the click id has {0} characters, more than {MAX_CHARS}")]
    TooLong(usize),
    /// White space, a control character, or one of `< > " '`.
    #[error("the click id contains {0:?}, which no click id has")]
    Character(char),
}

/// Checks `text` without copying it; `Ok(true)` if it has a character outside `A-Z a-z 0-9 - _`, worth a warning.
pub fn check(text: &str) -> Result<bool, InvalidClickId> {
    if text.is_empty() {
        return Err(InvalidClickId::Empty);
    }
    if text.len() > MAX_CHARS && text.chars().count() > MAX_CHARS {
        return Err(InvalidClickId::TooLong(text.chars().count()));
    }
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Ok(false);
    }
    match text.chars().find(|c| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"' | '\'')) {
        Some(c) => Err(InvalidClickId::Character(c)),
        None => Ok(true),
    }
}

impl ClickId {
    /// Takes `value` untouched if it can be a click id.
    pub fn new(kind: ClickIdKind, value: &str) -> Result<Self, InvalidClickId> {
        check(value)?;
        Ok(Self { kind, value: value.into() })
    }

    /// Takes `value` that [`check`] has accepted before.
    pub(crate) fn from_checked(kind: ClickIdKind, value: &str) -> Self {
        debug_assert!(check(value).is_ok());
        Self { kind, value: value.into() }
    }

    /// Which parameter carried it.
    pub fn kind(&self) -> ClickIdKind {
        self.kind
    }

    /// The id, exactly as it came.
    pub fn as_str(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for ClickId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind.as_str(), self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_but_possible_ids_are_flagged_not_refused() {
        for plain in ["Cj0KCQ_test-1AbC", "CMrlnPq42q8CFQdb3wodOkkGBg", "x"] {
            assert_eq!(check(plain), Ok(false));
        }
        for odd in ["abc=", "abc%2F", "TeSter.123", "ünlaut", "a+b/c"] {
            assert_eq!(check(odd), Ok(true), "{odd}");
        }
    }

    #[test]
    fn only_what_cannot_be_a_click_id_is_refused() {
        assert_eq!(check(""), Err(InvalidClickId::Empty));
        assert_eq!(check(&"a".repeat(1025)), Err(InvalidClickId::TooLong(1025)));
        assert_eq!(check(&"a".repeat(1024)), Ok(false));
        for bad in ["a b", "a\tb", "a\u{a0}b", "<a", "a>", "a\"b", "a'b", "a\u{0}"] {
            assert!(matches!(check(bad), Err(InvalidClickId::Character(_))), "{bad:?}");
        }
    }

    #[test]
    fn the_value_is_kept_as_it_came() {
        let id = ClickId::new(ClickIdKind::Wbraid, "AbC-_9").map(|c| (c.to_string(), c.as_str().to_owned()));
        assert_eq!(id, Ok(("wbraid=AbC-_9".to_owned(), "AbC-_9".to_owned())));
    }
}
