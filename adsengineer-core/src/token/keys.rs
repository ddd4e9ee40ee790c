//! The secrets that sign tokens: one current, any number of previous ones that only verify.

use std::{fmt, sync::Arc};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto::aws_lc::DEFAULT_PROVIDER, errors};
use sha2::{Digest as _, Sha256};

use crate::secret::Secret;

/// Shortest secret in bytes: as long as the hash. Source: RFC 7518, section 3.2.
const MIN_SECRET_BYTES: usize = 32;

/// Fewest different bytes of a secret; a random one of 32 bytes has far more, even in hexadecimal.
const MIN_DIFFERENT_BYTES: usize = 4;

const MAX_KID_CHARS: usize = 64;

/// The keys of one installation. Clones share them; `Debug` shows key ids only.
#[derive(Clone)]
pub struct KeyRing(Arc<Keys>);

struct Keys {
    current: Key,
    signing: EncodingKey,
    previous: Vec<Key>,
}

struct Key {
    kid: Box<str>,
    verifying: DecodingKey,
}

/// Why secrets cannot be used to sign tokens. No message holds any part of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKeyRing {
    /// Fewer than 32 bytes.
    #[error("{which} has {bytes} bytes; use at least {MIN_SECRET_BYTES} random ones")]
    TooShort {
        /// `the signing secret` or `previous signing secret 2`.
        which: String,
        /// How many it has.
        bytes: usize,
    },
    /// Long, but easily guessed.
    #[error("{which} repeats so few bytes that it can be guessed; use at least {MIN_SECRET_BYTES} random ones")]
    Weak {
        /// Which secret.
        which: String,
    },
    /// A key id with other characters.
    #[error("the key id of {which} is not 1 to {MAX_KID_CHARS} of A-Z, a-z, 0-9, `-`, `_`, `.`")]
    Kid {
        /// Which secret.
        which: String,
    },
    /// One id for two keys.
    #[error("two signing secrets have the key id `{0}`; give each its own")]
    DuplicateKid(String),
}

impl KeyRing {
    /// The keys of one installation. `previous` lists `kid=secret` or bare secrets, separated by commas, and may be empty;
    /// a secret that holds `=` before its end must be given with its key id, and none in the list can hold a comma.
    /// The id of a key that has none is the first eight hexadecimal digits of the secret's SHA-256.
    pub fn try_new(current: &Secret<String>, kid: Option<&str>, previous: &Secret<String>) -> Result<Self, InvalidKeyRing> {
        let signing = EncodingKey::from_secret(current.expose().as_bytes());
        let current = Key::try_new("the signing secret", kid, current.expose())?;
        let listed = previous.expose().split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let previous = listed.enumerate().map(|(index, entry)| {
            let (kid, secret) = kid_and_secret(entry);
            Key::try_new(&format!("previous signing secret {}", index + 1), kid, secret)
        });
        let keys = Keys { current, signing, previous: previous.collect::<Result<_, _>>()? };
        keys.refuse_duplicates()?;
        Ok(Self(Arc::new(keys)))
    }

    /// The id of the key that signs.
    pub fn kid(&self) -> &str {
        &self.0.current.kid
    }

    /// Whether the key `kid`, or any key when none is named, made `signature` over `message`; `None` when `kid` is unknown.
    pub(super) fn signed(&self, kid: Option<&str>, message: &[u8], signature: &Vec<u8>) -> Option<bool> {
        let mut keys = self.0.all();
        match kid {
            Some(kid) => Some(keys.find(|key| *key.kid == *kid)?.signed(message, signature)),
            None => Some(keys.any(|key| key.signed(message, signature))),
        }
    }

    /// HMAC-SHA256 of `message` under the current key. Source: RFC 7518, section 3.2.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, errors::Error> {
        let signer = (DEFAULT_PROVIDER.signer_factory)(&Algorithm::HS256, &self.0.signing)?;
        Ok(signer.try_sign(message)?)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.all().map(|key| (&key.kid, format_args!("***")))).finish()
    }
}

impl Keys {
    fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    fn refuse_duplicates(&self) -> Result<(), InvalidKeyRing> {
        let mut kids: Vec<_> = self.all().map(|key| &*key.kid).collect();
        kids.sort_unstable();
        match kids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(InvalidKeyRing::DuplicateKid(pair[0].to_owned())),
            None => Ok(()),
        }
    }
}

impl Key {
    fn try_new(which: &str, kid: Option<&str>, secret: &str) -> Result<Self, InvalidKeyRing> {
        let which = || which.to_owned();
        if secret.len() < MIN_SECRET_BYTES {
            return Err(InvalidKeyRing::TooShort { which: which(), bytes: secret.len() });
        }
        if different_bytes(secret) < MIN_DIFFERENT_BYTES {
            return Err(InvalidKeyRing::Weak { which: which() });
        }
        let kid = kid.map_or_else(|| default_kid(secret), Box::from);
        if !is_kid(&kid) {
            return Err(InvalidKeyRing::Kid { which: which() });
        }
        Ok(Self { kid, verifying: DecodingKey::from_secret(secret.as_bytes()) })
    }

    /// Compares in constant time. A failure of the library counts as a wrong signature.
    fn signed(&self, message: &[u8], signature: &Vec<u8>) -> bool {
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&Algorithm::HS256, &self.verifying);
        verifier.is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }
}

/// `=` at the end only is the padding of a bare base64 secret.
fn kid_and_secret(entry: &str) -> (Option<&str>, &str) {
    match entry.split_once('=') {
        Some((kid, secret)) if secret.bytes().any(|b| b != b'=') => (Some(kid), secret),
        _ => (None, entry),
    }
}

fn is_kid(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=MAX_KID_CHARS).contains(&text.len()) && text.bytes().all(allowed)
}

fn default_kid(secret: &str) -> Box<str> {
    let hash = Sha256::digest(secret.as_bytes());
    format!("{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3]).into()
}

fn different_bytes(secret: &str) -> usize {
    let mut seen = [false; 256];
    secret.bytes().for_each(|b| seen[usize::from(b)] = true);
    seen.into_iter().filter(|seen| *seen).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210";

    fn ring(current: &str, kid: Option<&str>, previous: &str) -> Result<KeyRing, InvalidKeyRing> {
        KeyRing::try_new(&Secret::new(current.to_owned()), kid, &Secret::new(previous.to_owned()))
    }

    fn kids(ring: &KeyRing) -> Vec<&str> {
        ring.0.all().map(|key| &*key.kid).collect()
    }

    #[test]
    fn a_key_without_an_id_is_named_by_the_hash_of_its_secret() {
        // printf %s 0123456789abcdef0123456789abcdef | sha256sum
        assert_eq!(ring(SECRET, None, "").unwrap().kid(), "3eb1bd43");
        assert_eq!(ring(SECRET, Some("2026-10"), "").unwrap().kid(), "2026-10");
    }

    #[test]
    fn previous_secrets_come_bare_or_with_their_key_id() {
        let base64 = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=";
        let list = format!(" old={OTHER}, {base64} ,with={base64},");
        let ring = ring(SECRET, Some("now"), &list).unwrap();
        assert_eq!(kids(&ring), ["now", "old", &default_kid(base64), "with"]);
        assert_eq!(kid_and_secret("with=a=="), (Some("with"), "a=="));
        assert_eq!(kid_and_secret(base64), (None, base64));
    }

    #[test]
    fn short_and_guessable_secrets_are_refused_wherever_they_stand() {
        let short = |which: &str, bytes| InvalidKeyRing::TooShort { which: which.to_owned(), bytes };
        assert_eq!(ring(&SECRET[1..], None, "").unwrap_err(), short("the signing secret", 31));
        assert_eq!(ring("", None, "").unwrap_err(), short("the signing secret", 0));
        let list = format!("a={OTHER},b=short-but-with-a-key-id-of-its-own");
        assert_eq!(ring(SECRET, None, &list[..list.len() - 6]).unwrap_err(), short("previous signing secret 2", 28));
        for weak in ["a".repeat(64), "\0".repeat(32), "abc".repeat(20)] {
            assert!(matches!(ring(&weak, None, ""), Err(InvalidKeyRing::Weak { .. })), "{weak}");
        }
    }

    #[test]
    fn key_ids_are_plain_and_each_belongs_to_one_key() {
        for bad in ["", "a b", "../../etc/passwd", "a,b", "ä", &"a".repeat(65)] {
            assert!(matches!(ring(SECRET, Some(bad), ""), Err(InvalidKeyRing::Kid { .. })), "{bad}");
        }
        assert_eq!(ring(SECRET, None, SECRET).unwrap_err(), InvalidKeyRing::DuplicateKid("3eb1bd43".to_owned()));
        assert!(ring(SECRET, Some("a"), &format!("a={OTHER}")).is_err());
    }

    #[test]
    fn debug_and_errors_never_show_a_secret() {
        let shown = format!("{:?}", ring(SECRET, Some("now"), &format!("old={OTHER}")).unwrap());
        assert_eq!(shown, r#"{"now": ***, "old": ***}"#);
        let error = ring(SECRET, None, "old=tiny-secret").unwrap_err();
        assert!(!error.to_string().contains("tiny") && error.to_string().contains("at least 32"), "{error}");
    }

    #[test]
    fn a_named_key_alone_is_tried_and_without_a_name_all_are() {
        let old = ring(OTHER, Some("old"), "").unwrap();
        let ring = ring(SECRET, Some("now"), &format!("old={OTHER}")).unwrap();
        let signature = old.sign(b"message").unwrap();
        let signed = |kid| ring.signed(kid, b"message", &signature);
        assert_eq!((signed(Some("old")), signed(Some("now"))), (Some(true), Some(false)));
        assert_eq!((signed(None), signed(Some("other"))), (Some(true), None));
        assert_eq!(ring.signed(None, b"messagf", &signature), Some(false));
    }
}
