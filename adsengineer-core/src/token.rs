//! Access tokens: JSON Web Tokens signed with HMAC-SHA256 (RFC 7519, RFC 8725), minted and verified.
//!
//! An [`UnverifiedToken`] tells only which key it names; [`UnverifiedToken::verify`] is the only way to [`Claims`].
//! The algorithm is pinned, and no key is ever taken from a token.
//!
//! ```
//! use adsengineer_core::{org::Role, secret::Secret, token::{Grant, KeyRing, UnverifiedToken, mint}};
//!
//! let secret = Secret::new("an example, not a secret: 7f9c2ba4e88f827d".to_owned());
//! let ring = KeyRing::try_new(&secret, None, &Secret::new(String::new()))?;
//! let grant = Grant { sub: "crm".into(), org: "acme".parse()?, role: Role::Member, ttl_s: 3600 };
//! let token = mint(&ring, &grant, "tok_1", 1_700_000_000)?;
//! let claims = UnverifiedToken::parse(token.expose())?.verify(&ring, 1_700_000_001)?;
//! assert_eq!((&*claims.sub, claims.role), ("crm", Role::Member));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod claims;
mod json;
mod keys;
mod mint;
#[cfg(test)]
mod tests;

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

pub use claims::Claims;
pub use keys::{InvalidKeyRing, KeyRing};
pub use mint::{Grant, MAX_TTL_S, MintError, mint};

use json::{Object, Value};

/// Who issues: the `iss` of every token.
pub const ISSUER: &str = "adsengineer";
/// Whom tokens are for: the `aud` of every token.
pub const AUDIENCE: &str = "adsengineer-api";
/// How far clocks may differ, in seconds.
pub const LEEWAY_S: i64 = 60;
/// Longest token in bytes.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// Why a token is refused. Messages name claims and never hold anything of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// More than [`MAX_TOKEN_BYTES`].
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not a token in its outer form.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// `alg` is missing or another.
    #[error("the token is not signed with HS256, the only algorithm taken")]
    Algorithm,
    /// `typ` is another.
    #[error("the token's typ is not JWT")]
    Type,
    /// An extension that must be understood and is not, such as `crit` or `b64`.
    #[error("the token's header demands an extension (`crit`, `b64`) that is not supported")]
    Extension,
    /// `kid` names no key.
    #[error("the token names a signing key that is not configured; mint a new one")]
    KeyUnknown,
    /// Signed with another secret, or changed since.
    #[error("the token's signature is wrong")]
    Signature,
    /// A required claim is not there.
    #[error("the token lacks the claim `{0}`")]
    ClaimMissing(&'static str),
    /// A claim of another type, or with a value that cannot be.
    #[error("the token's claim `{0}` is not valid")]
    ClaimInvalid(&'static str),
    /// `iss` is another.
    #[error("the token was issued by somebody else (iss)")]
    Issuer,
    /// `aud` does not name us.
    #[error("the token is meant for somebody else (aud)")]
    Audience,
    /// `nbf` or `iat` lies in the future.
    #[error("the token is not valid yet (`{0}`); compare the clocks")]
    NotYetValid(&'static str),
    /// `exp` has passed.
    #[error("the token has expired; mint a new one")]
    Expired,
}

impl TokenError {
    /// The stable code, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "TOKEN_TOO_LONG",
            Self::Malformed(_) => "TOKEN_MALFORMED",
            Self::Algorithm => "TOKEN_ALGORITHM",
            Self::Type => "TOKEN_TYPE",
            Self::Extension => "TOKEN_EXTENSION",
            Self::KeyUnknown => "TOKEN_KEY_UNKNOWN",
            Self::Signature => "TOKEN_SIGNATURE",
            Self::ClaimMissing(_) => "TOKEN_CLAIM_MISSING",
            Self::ClaimInvalid(_) => "TOKEN_CLAIM_INVALID",
            Self::Issuer => "TOKEN_ISSUER",
            Self::Audience => "TOKEN_AUDIENCE",
            Self::NotYetValid(_) => "TOKEN_NOT_YET_VALID",
            Self::Expired => "TOKEN_EXPIRED",
        }
    }
}

/// A token nobody has checked yet. `Debug` shows nothing of it.
pub struct UnverifiedToken<'a> {
    /// Header, dot and payload: what is signed.
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
    kid: Option<Box<str>>,
}

impl<'a> UnverifiedToken<'a> {
    /// Takes the token apart (RFC 7515, section 3.1) and looks at its header; the payload stays unread until it is verified.
    pub fn parse(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(NOT_THREE_PARTS)?;
        let (header, payload) = signed.split_once('.').ok_or(NOT_THREE_PARTS)?;
        if payload.contains('.') {
            return Err(NOT_THREE_PARTS);
        }
        let signature = decode(signature)?;
        let kid = kid_of_header(&decode(header)?)?;
        Ok(Self { signed, payload, signature, kid })
    }

    /// The key it says it was signed with.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The claims, if a key of `ring` signed them and they hold at `now_s` (Unix seconds). With a `kid` only that key is tried.
    pub fn verify(&self, ring: &KeyRing, now_s: i64) -> Result<Claims, TokenError> {
        match ring.signed(self.kid(), self.signed.as_bytes(), &self.signature) {
            None => return Err(TokenError::KeyUnknown),
            Some(false) => return Err(TokenError::Signature),
            Some(true) => {}
        }
        let payload = decode(self.payload)?;
        let object = Object::parse(&payload).ok_or(TokenError::Malformed("its payload is not a JSON object with every name once"))?;
        Claims::read(object, now_s)
    }
}

impl fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnverifiedToken(***)")
    }
}

const NOT_THREE_PARTS: TokenError = TokenError::Malformed("it has not three parts");

/// Base64url without padding, white space or stray bits. Source: RFC 7515, section 2.
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed("a part is not base64url without padding"))
}

/// Checks the header; keys it brings along (`jwk`, `jku`, `x5c`, `x5u`) are never looked at.
fn kid_of_header(header: &[u8]) -> Result<Option<Box<str>>, TokenError> {
    let mut header = Object::parse(header).ok_or(TokenError::Malformed("its header is not a JSON object with every name once"))?;
    if !matches!(header.take("alg"), Some(Value::Text(alg)) if alg == "HS256") {
        return Err(TokenError::Algorithm);
    }
    match header.take("typ") {
        None => {}
        Some(Value::Text(typ)) if typ.eq_ignore_ascii_case("JWT") => {}
        Some(_) => return Err(TokenError::Type),
    }
    if header.take("crit").is_some() || !matches!(header.take("b64"), None | Some(Value::Flag(true))) {
        return Err(TokenError::Extension);
    }
    match header.take("kid") {
        None => Ok(None),
        Some(Value::Text(kid)) => Ok(Some(kid.into())),
        Some(_) => Err(TokenError::Malformed("its kid is not text")),
    }
}
