//! Identifiers of a person: e-mail, phone, name and address; normalisation and hashing by each platform's rule.
//!
//! Plain values live only in memory and in sealed columns; what leaves the machine is a SHA-256 hash.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A SHA-256 hash of a normalised identifier.
pub type Hash = [u8; 32];

/// A value that the file gave in plain or already hashed.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identifier {
    /// Plain text, trimmed.
    Plain(Box<str>),
    /// Hashed by the user.
    Hashed(Hash),
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Everything known of who a person is; all parts optional.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Identifiers {
    /// E-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Identifier>,
    /// Phone number; plain ones in E.164 with `+`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<Identifier>,
    /// Given name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<Identifier>,
    /// Family name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<Identifier>,
    /// ISO 3166-1 alpha-2, upper case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Box<str>>,
    /// Postal code as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<Box<str>>,
}

impl Identifiers {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The hashes that tell two people apart: e-mail, then phone, by Google's rule; the same for plain and hashed input.
    pub fn match_hashes(&self) -> impl Iterator<Item = Hash> + '_ {
        let email = self.email.as_ref().map(google_email_hash);
        let phone = self.phone.as_ref().map(google_phone_hash);
        email.into_iter().chain(phone)
    }
}

/// SHA-256 of `text` in UTF-8.
pub fn sha256(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

/// Google's hash of an e-mail address.
pub fn google_email_hash(email: &Identifier) -> Hash {
    match email {
        Identifier::Hashed(hash) => *hash,
        Identifier::Plain(text) => sha256(&google_email(text)),
    }
}

/// Google's hash of a phone number.
pub fn google_phone_hash(phone: &Identifier) -> Hash {
    match phone {
        Identifier::Hashed(hash) => *hash,
        Identifier::Plain(text) => sha256(text),
    }
}

/// Google's normal form of an e-mail address: trimmed, lower case; for gmail.com and googlemail.com without dots and `+suffix` in the local part.
/// Source: Data Manager formatting guide.
pub fn google_email(text: &str) -> String {
    let lower = text.trim().to_lowercase();
    match lower.rsplit_once('@') {
        Some((local, domain @ ("gmail.com" | "googlemail.com"))) => {
            let kept = local.split('+').next().unwrap_or(local).replace('.', "");
            format!("{kept}@{domain}")
        }
        _ => lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gmail_addresses_lose_dots_and_suffix_and_others_do_not() {
        assert_eq!(google_email(" Jefferson.Loves.hiking@gmail.com "), "jeffersonloveshiking@gmail.com");
        assert_eq!(google_email("a.b+c@googlemail.com"), "ab@googlemail.com");
        assert_eq!(google_email("A.b+C@Example.com"), "a.b+c@example.com");
    }

    #[test]
    fn plain_and_hashed_input_of_one_person_match() {
        let plain = Identifier::Plain("AlexZ@example.com".into());
        let hashed = Identifier::Hashed(sha256("alexz@example.com"));
        assert_eq!(google_email_hash(&plain), google_email_hash(&hashed));
    }
}
