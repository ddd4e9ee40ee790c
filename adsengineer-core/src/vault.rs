//! The vault: seals what must not be readable in the database, and makes the keyed hashes that find people in it.
//!
//! The current key seals; previous keys only open, so that a key can be changed without touching every row at once.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::Mac;
use zeroize::Zeroizing;

use crate::{
    aead::{KeyVersion, OpenError, Place, Sealer, sealed_with},
    audit::{AuditKey, keyed},
    org::OrgId,
    secret::Secret,
    store::PersonKey,
};

/// Seals and opens with the keys of one installation.
pub struct Vault {
    current: Sealer,
    previous: Vec<Sealer>,
    person_key: Secret<[u8; 32]>,
    audit_key: AuditKey,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(***)")
    }
}

/// Why a sealed value cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The key that sealed it is not configured.
    #[error("sealed with key {0}, which is not configured: add it to the previous keys")]
    UnknownKey(String),
    /// It cannot be opened with the key that sealed it.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Why a text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// Nothing there.
    #[error("the key is empty: `adsengineer key generate` makes one")]
    Empty,
    /// Not base64.
    #[error("the key is not base64: `adsengineer key generate` makes one")]
    Encoding,
    /// Base64 of another number of bytes.
    #[error("the key has {0} bytes and needs 32: `adsengineer key generate` makes one")]
    Length(usize),
    /// One byte, 32 times: nobody drew that at random.
    #[error("the key is the same byte 32 times: `adsengineer key generate` makes a random one")]
    Weak,
}

/// What names a person.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PersonKind {
    /// E-mail address.
    Email,
    /// Phone number.
    Phone,
    /// Click id.
    ClickId,
    /// The user's own id of the person.
    ExternalId,
}

impl PersonKind {
    fn tag(self) -> &'static [u8] {
        match self {
            Self::Email => b"email",
            Self::Phone => b"phone",
            Self::ClickId => b"click_id",
            Self::ExternalId => b"external_id",
        }
    }
}

/// Reads a key as `key generate` prints it: 32 bytes in base64; white space around it is ignored.
pub fn parse_key(text: &str) -> Result<Secret<[u8; 32]>, InvalidKey> {
    let text = text.trim();
    if text.is_empty() {
        return Err(InvalidKey::Empty);
    }
    let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| InvalidKey::Encoding)?);
    let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| InvalidKey::Length(bytes.len()))?;
    if key.iter().all(|b| *b == key[0]) {
        return Err(InvalidKey::Weak);
    }
    Ok(Secret::new(key))
}

/// A new random key in base64.
pub fn generate_key() -> Secret<String> {
    let key = Zeroizing::new(rand::random::<[u8; 32]>());
    Secret::new(STANDARD.encode(*key))
}

/// A key for one use: HMAC-SHA-256 of the use's name under the vault's key.
fn derive(key: &Secret<[u8; 32]>, name: &[u8]) -> Secret<[u8; 32]> {
    Secret::new(keyed(key).chain_update(name).finalize().into_bytes().into())
}

fn shown(version: KeyVersion) -> String {
    format!("{:08x}", u32::from_be_bytes(version))
}

impl Vault {
    /// A vault that seals with `current` and opens with `previous` too. People are found under keys of the oldest of all,
    /// and the audit log is signed under it, so that both go on working after a change of keys.
    pub fn new(current: &Secret<[u8; 32]>, previous: &[Secret<[u8; 32]>]) -> Self {
        let root = previous.last().unwrap_or(current);
        Self {
            current: Sealer::new(current),
            previous: previous.iter().map(Sealer::new).collect(),
            person_key: derive(root, b"adsengineer person v1"),
            audit_key: derive(root, b"adsengineer audit v1"),
        }
    }

    /// Seals `plain` so that it opens only for the same organization, table and purpose.
    pub fn seal(&self, org: &OrgId, table: &str, purpose: &str, plain: &[u8]) -> Box<[u8]> {
        self.current.seal(&Place { org, table, purpose }, rand::random(), plain)
    }

    /// Opens what was sealed for the same organization, table and purpose.
    pub fn open(&self, org: &OrgId, table: &str, purpose: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let version = sealed_with(sealed)?;
        let sealer = std::iter::once(&self.current).chain(&self.previous).find(|s| s.version() == version);
        let sealer = sealer.ok_or_else(|| VaultError::UnknownKey(shown(version)))?;
        Ok(sealer.open(&Place { org, table, purpose }, sealed)?)
    }

    /// Whether a value was sealed with the current key.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed_with(sealed) == Ok(self.current.version())
    }

    /// The keyed hash that finds a person: HMAC-SHA-256 over organization, kind and the normalised identifier, first 16 bytes.
    /// Without the vault's key nobody can test whether somebody is in the database.
    pub fn person_key(&self, org: &OrgId, kind: PersonKind, normalised: &[u8]) -> PersonKey {
        let mut mac = keyed(&self.person_key);
        for field in [org.as_str().as_bytes(), kind.tag(), normalised] {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
        let hash: [u8; 32] = mac.finalize().into_bytes().into();
        let mut key = [0; 16];
        key.copy_from_slice(&hash[..16]);
        PersonKey(key)
    }

    /// The keyed hash of a request: HMAC-SHA-256 over organization and parts, first 16 bytes. Of what a person denied, not even
    /// a hash that others could test may stay.
    pub fn request_key(&self, org: &OrgId, parts: &[&[u8]]) -> [u8; 16] {
        let mut mac = keyed(&self.person_key);
        mac.update(b"request\0");
        for field in std::iter::once(org.as_str().as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
        let hash: [u8; 32] = mac.finalize().into_bytes().into();
        let mut key = [0; 16];
        key.copy_from_slice(&hash[..16]);
        key
    }

    /// The key of the audit log.
    pub fn audit_key(&self) -> AuditKey {
        self.audit_key.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Secret<[u8; 32]> {
        let mut key = [byte; 32];
        key[0] = 0;
        Secret::new(key)
    }

    fn org(name: &str) -> OrgId {
        name.parse().unwrap()
    }

    #[test]
    fn values_sealed_with_a_previous_key_open_and_are_known_as_old() {
        let sealed = Vault::new(&key(1), &[]).seal(&org("a"), "t", "p", b"x");
        let rotated = Vault::new(&key(2), &[key(1)]);
        assert_eq!(rotated.open(&org("a"), "t", "p", &sealed).unwrap().as_slice(), b"x");
        assert!(!rotated.is_current(&sealed) && rotated.is_current(&rotated.seal(&org("a"), "t", "p", b"x")));
        let stranger = Vault::new(&key(3), &[]).open(&org("a"), "t", "p", &sealed);
        assert!(matches!(stranger, Err(VaultError::UnknownKey(_))), "{stranger:?}");
    }

    #[test]
    fn the_same_value_never_looks_the_same_twice() {
        let vault = Vault::new(&key(1), &[]);
        assert_ne!(vault.seal(&org("a"), "t", "p", b"x"), vault.seal(&org("a"), "t", "p", b"x"));
    }

    #[test]
    fn people_are_found_within_their_organization_by_kind_and_only_with_the_key() {
        let vault = Vault::new(&key(1), &[]);
        let found = vault.person_key(&org("a"), PersonKind::Email, b"x");
        assert_eq!(found, vault.person_key(&org("a"), PersonKind::Email, b"x"));
        assert_ne!(found, vault.person_key(&org("b"), PersonKind::Email, b"x"));
        assert_ne!(found, vault.person_key(&org("a"), PersonKind::Phone, b"x"));
        assert_ne!(found, Vault::new(&key(2), &[]).person_key(&org("a"), PersonKind::Email, b"x"));
        assert_eq!(found, Vault::new(&key(2), &[key(1)]).person_key(&org("a"), PersonKind::Email, b"x"));
    }

    #[test]
    fn generated_keys_are_read_and_what_is_no_key_is_named() {
        let generated = generate_key();
        assert!(parse_key(&format!(" {}\n", generated.expose())).is_ok());
        let refused = |text: &str| parse_key(text).err();
        assert_eq!(refused(" "), Some(InvalidKey::Empty));
        assert_eq!(refused("not base64!"), Some(InvalidKey::Encoding));
        assert_eq!(refused("YWJj"), Some(InvalidKey::Length(3)));
        assert_eq!(refused(&STANDARD.encode([5; 32])), Some(InvalidKey::Weak));
    }

    #[test]
    fn nothing_of_a_vault_is_printed() {
        assert_eq!(format!("{:?}", Vault::new(&key(1), &[])), "Vault(***)");
    }
}
