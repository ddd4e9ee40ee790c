//! Sealing: AES-256-GCM (NIST SP 800-38D) bound to what is sealed and where it is kept.
//!
//! Stored form: format byte `1` ‖ key version (4 bytes) ‖ nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes). The additional
//! data is the organization, the table and the purpose, each with its length before it, so that a sealed value moved to
//! another place cannot be opened there.

use aes_gcm::{
    Aes256Gcm, Key, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{org::OrgId, secret::Secret};

/// A 256-bit key.
pub type AeadKey = Secret<[u8; 32]>;
/// Which key sealed a value: the first 4 bytes of SHA-256 of the key.
pub type KeyVersion = [u8; 4];

const FORMAT: u8 = 1;
const HEADER: usize = 1 + 4 + 12;
const TAG: usize = 16;

/// Why a sealed value cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Shorter than any sealed value.
    #[error("the sealed value is cut off")]
    Truncated,
    /// Not sealed by this program, or by a newer one.
    #[error("the sealed value has format {0}, and this program knows format {FORMAT}")]
    Format(u8),
    /// Damaged, moved from another place, or sealed with another key of the same version.
    #[error("the sealed value is damaged or does not belong here")]
    Damaged,
}

/// What a value is sealed for.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Whose.
    pub org: &'a OrgId,
    /// The table that keeps it.
    pub table: &'a str,
    /// What it is.
    pub purpose: &'a str,
}

impl Place<'_> {
    fn additional_data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(64);
        for field in [self.org.as_str(), self.table, self.purpose] {
            data.extend_from_slice(&(field.len() as u64).to_be_bytes());
            data.extend_from_slice(field.as_bytes());
        }
        data
    }
}

/// The key's version.
pub fn key_version(key: &AeadKey) -> KeyVersion {
    let hash = Sha256::digest(key.expose());
    [hash[0], hash[1], hash[2], hash[3]]
}

/// The version of the key that sealed a value.
pub fn sealed_with(sealed: &[u8]) -> Result<KeyVersion, OpenError> {
    match sealed {
        [FORMAT, a, b, c, d, ..] if sealed.len() >= HEADER + TAG => Ok([*a, *b, *c, *d]),
        [FORMAT, ..] | [] => Err(OpenError::Truncated),
        [format, ..] => Err(OpenError::Format(*format)),
    }
}

/// A key made ready: expanding it once saves most of the cost of sealing small values.
pub struct Sealer {
    cipher: Aes256Gcm,
    version: KeyVersion,
}

impl Sealer {
    /// Makes `key` ready.
    pub fn new(key: &AeadKey) -> Self {
        Self { cipher: Aes256Gcm::new(<&Key<Aes256Gcm>>::from(key.expose())), version: key_version(key) }
    }

    /// The key's version.
    pub fn version(&self) -> KeyVersion {
        self.version
    }

    /// Seals `plain` for `place`. `nonce` must be random: with one key, fewer than 2³² values may be sealed (SP 800-38D, 8.3).
    pub fn seal(&self, place: &Place<'_>, nonce: [u8; 12], plain: &[u8]) -> Box<[u8]> {
        let mut sealed = Vec::with_capacity(HEADER + plain.len() + TAG);
        sealed.push(FORMAT);
        sealed.extend_from_slice(&self.version);
        sealed.extend_from_slice(&nonce);
        let payload = Payload { msg: plain, aad: &place.additional_data() };
        // AES-GCM fails only for more than 64 GiB; an empty rest then opens as damaged and shows nothing.
        sealed.extend(self.cipher.encrypt(&Nonce::from(nonce), payload).unwrap_or_default());
        sealed.into_boxed_slice()
    }

    /// Opens what [`Sealer::seal`] made for the same place with the same key.
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        if sealed_with(sealed)? != self.version {
            return Err(OpenError::Damaged);
        }
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&sealed[5..HEADER]);
        let payload = Payload { msg: &sealed[HEADER..], aad: &place.additional_data() };
        self.cipher.decrypt(&Nonce::from(nonce), payload).map(Zeroizing::new).map_err(|_| OpenError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&Secret::new([byte; 32]))
    }

    fn sealed() -> Box<[u8]> {
        sealer(1).seal(&place(&org("a")), [7; 12], b"ada@example.com")
    }

    fn org(name: &str) -> OrgId {
        name.parse().unwrap()
    }

    fn place(org: &OrgId) -> Place<'_> {
        Place { org, table: "conversions", purpose: "identifiers" }
    }

    /// Test case 14 of the GCM specification (McGrew and Viega), all-zero key, nonce and block.
    #[test]
    fn the_cipher_gives_the_published_vector() {
        let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from([0; 32]));
        let out = cipher.encrypt(&Nonce::from([0; 12]), &[0_u8; 16][..]).unwrap();
        let (text, tag) = out.split_at(16);
        assert_eq!(u128::from_be_bytes(text.try_into().unwrap()), 0xcea7_403d_4d60_6b6e_074e_c5d3_baf3_9d18);
        assert_eq!(u128::from_be_bytes(tag.try_into().unwrap()), 0xd0d1_c8a7_9999_6bf0_265b_98b5_d48a_b919);
    }

    #[test]
    fn what_was_sealed_opens_where_it_belongs_and_nowhere_else() {
        let (a, b) = (org("a"), org("b"));
        assert_eq!(sealer(1).open(&place(&a), &sealed()).unwrap().as_slice(), b"ada@example.com");
        for elsewhere in [place(&b), Place { table: "leads", ..place(&a) }, Place { purpose: "content", ..place(&a) }] {
            assert_eq!(sealer(1).open(&elsewhere, &sealed()), Err(OpenError::Damaged));
        }
        let shifted = Place { table: "conversionsi", purpose: "dentifiers", ..place(&a) };
        assert_eq!(sealer(1).open(&shifted, &sealed()), Err(OpenError::Damaged));
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_noticed() {
        let a = org("a");
        for at in 0..sealed().len() {
            let mut changed = sealed();
            changed[at] ^= 1;
            assert!(sealer(1).open(&place(&a), &changed).is_err(), "byte {at}");
            assert!(sealer(1).open(&place(&a), &sealed()[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(sealer(1).open(&place(&a), &[]), Err(OpenError::Truncated));
        assert_eq!(sealer(1).open(&place(&a), &[2; 60]), Err(OpenError::Format(2)));
    }

    #[test]
    fn a_value_names_the_key_that_sealed_it_and_another_key_opens_nothing() {
        assert_eq!(sealed_with(&sealed()), Ok(sealer(1).version()));
        assert_ne!(sealer(1).version(), sealer(2).version());
        assert_eq!(sealer(2).open(&place(&org("a")), &sealed()), Err(OpenError::Damaged));
    }
}
