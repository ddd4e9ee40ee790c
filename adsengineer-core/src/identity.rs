//! Identifiers of a person: e-mail, phone, name and address; normalisation and hashing by each platform's rule.
//!
//! Plain values live only in memory and in sealed columns; what leaves the machine is a SHA-256 hash.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use phone::{InvalidPhone, phone};

mod phone;

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

impl Identifier {
    /// The plain text, or the hash in hexadecimal.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Plain(text) => Cow::Borrowed(text),
            Self::Hashed(hash) => {
                let digits = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
                Cow::Owned(digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect())
            }
        }
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
    /// Where there is neither, that of a complete address.
    pub fn match_hashes(&self) -> impl Iterator<Item = Hash> + '_ {
        let email = self.email.as_ref().map(google_email_hash);
        let phone = self.phone.as_ref().map(google_phone_hash);
        let address = (email.is_none() && phone.is_none()).then(|| self.address_hash()).flatten();
        email.into_iter().chain(phone).chain(address)
    }

    /// Whether the address has every part that Google matches by: both names, country and postal code.
    pub fn has_address(&self) -> bool {
        self.first_name.is_some() && self.last_name.is_some() && self.country.is_some() && self.postal_code.is_some()
    }

    /// Whether a platform can match the person by any of it.
    pub fn can_match(&self) -> bool {
        self.email.is_some() || self.phone.is_some() || self.has_address()
    }

    fn address_hash(&self) -> Option<Hash> {
        let mut hash = Sha256::new();
        hash.update(google_name_hash(self.first_name.as_ref()?));
        hash.update(google_name_hash(self.last_name.as_ref()?));
        for part in [self.country.as_deref()?, self.postal_code.as_deref()?] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Some(hash.finalize().into())
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

/// Google's hash of a given or family name: trimmed and lower case. Source: Data Manager formatting guide.
pub fn google_name_hash(name: &Identifier) -> Hash {
    match name {
        Identifier::Hashed(hash) => *hash,
        Identifier::Plain(text) => sha256(&text.trim().to_lowercase()),
    }
}

/// The hash that `text` spells in 64 hexadecimal digits of either case.
pub fn hashed(text: &str) -> Option<Hash> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(hash)
}

/// A name, plain or hashed; `None` if nothing is there.
pub fn name(text: &str) -> Option<Identifier> {
    let text = text.trim();
    (!text.is_empty()).then(|| hashed(text).map_or_else(|| Identifier::Plain(text.into()), Identifier::Hashed))
}

/// Why a text is not an e-mail address. Never says the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEmail {
    /// Not one `@` with something on both sides, or no dot in the domain.
    #[error("the e-mail address is not of the form name@domain")]
    Form,
    /// White space or a control character inside.
    #[error("the e-mail address has a space inside")]
    Space,
    /// Nothing left before the `@` in a Gmail address.
    #[error("the e-mail address has nothing before the @ once normalised")]
    Hollow,
    /// A hash, but not SHA-256.
    #[error("this looks like a hash, but not like SHA-256 in hexadecimal")]
    OtherHash,
}

/// Reads an e-mail address, plain or hashed.
pub fn email(text: &str) -> Result<Identifier, InvalidEmail> {
    let text = text.trim();
    if let Some(hash) = hashed(text) {
        return Ok(Identifier::Hashed(hash));
    }
    let Some((local, domain)) = text.split_once('@') else {
        return Err(if looks_like_other_hash(text) { InvalidEmail::OtherHash } else { InvalidEmail::Form });
    };
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(InvalidEmail::Space);
    }
    let dotted = domain.split('.').count() > 1 && domain.split('.').all(|label| !label.is_empty());
    if local.is_empty() || domain.contains('@') || !dotted || text.contains([',', ';', '<', '>', '"', '(', ')']) {
        return Err(InvalidEmail::Form);
    }
    if is_gmail(domain) && google_email(text).starts_with('@') {
        return Err(InvalidEmail::Hollow);
    }
    Ok(Identifier::Plain(text.into()))
}

fn is_gmail(domain: &str) -> bool {
    domain.eq_ignore_ascii_case("gmail.com") || domain.eq_ignore_ascii_case("googlemail.com")
}

/// MD5, SHA-1 or SHA-512 in hexadecimal, or SHA-256 in base64.
fn looks_like_other_hash(text: &str) -> bool {
    let hexadecimal = matches!(text.len(), 32 | 40 | 64 | 128) && text.bytes().all(|b| b.is_ascii_hexdigit());
    hexadecimal || (text.len() == 44 && text.ends_with('='))
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

    fn hexadecimal(hash: Hash) -> String {
        Identifier::Hashed(hash).text().into_owned()
    }

    #[test]
    fn googles_own_test_vectors_hold() {
        let hash = |text: &str| email(text).map(|e| hexadecimal(google_email_hash(&e)));
        let alex = "509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a";
        for text in ["alexz@example.com", " AlexZ@example.com ", alex, &alex.to_uppercase()] {
            assert_eq!(hash(text).as_deref(), Ok(alex), "{text}");
        }
        let phone = phone("+1 (800) 555-0100", None).map(|p| hexadecimal(google_phone_hash(&p)));
        assert_eq!(phone.as_deref(), Ok("fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30"));
    }

    #[test]
    fn what_is_no_e_mail_address_is_refused_with_the_reason() {
        use InvalidEmail::*;
        for (text, why) in [
            ("", Form),
            ("ada", Form),
            ("@example.com", Form),
            ("ada@", Form),
            ("ada@localhost", Form),
            ("ada@example..com", Form),
            ("a@b@example.com", Form),
            ("Ada <ada@example.com>", Space),
            ("<ada@example.com>", Form),
            ("a@example.com;b@example.com", Form),
            ("ada @example.com", Space),
            ("...@gmail.com", Hollow),
            ("+x@gmail.com", Hollow),
            ("d41d8cd98f00b204e9800998ecf8427e", OtherHash),
            ("da39a3ee5e6b4b0d3255bfef95601890afd80709", OtherHash),
            ("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", OtherHash),
        ] {
            assert_eq!(email(text), Err(why), "{text}");
        }
    }

    #[test]
    fn names_are_hashed_trimmed_in_lower_case_and_an_address_counts_only_complete() {
        let lower = name("ada").map(|n| google_name_hash(&n));
        assert_eq!(name(" ADA ").map(|n| google_name_hash(&n)), lower);
        assert_eq!(lower.map(Identifier::Hashed).map(|n| google_name_hash(&n)), lower);
        assert_eq!(name("  "), None);
        let mut person = Identifiers { first_name: name("Ada"), last_name: name("L"), ..Identifiers::default() };
        assert!(!person.can_match() && !person.is_empty() && person.match_hashes().next().is_none());
        person.country = Some("GB".into());
        person.postal_code = Some("W1".into());
        assert!(person.can_match());
        assert_eq!(person.match_hashes().count(), 1);
        person.email = email("ada@example.com").ok();
        assert_eq!(person.match_hashes().collect::<Vec<_>>(), [sha256("ada@example.com")]);
    }

    #[test]
    fn plain_and_hashed_input_of_one_person_match() {
        let plain = Identifier::Plain("AlexZ@example.com".into());
        let hashed = Identifier::Hashed(sha256("alexz@example.com"));
        assert_eq!(google_email_hash(&plain), google_email_hash(&hashed));
    }
}
