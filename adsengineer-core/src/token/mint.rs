//! Making tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use super::{
    AUDIENCE, ISSUER, KeyRing,
    claims::{LAST_SECOND, MAX_NAME_CHARS, is_name},
};
use crate::{
    org::{OrgId, Role},
    secret::Secret,
};

/// Longest life of a token in seconds: 90 days.
pub const MAX_TTL_S: i64 = 90 * 24 * 3600;

/// What a token shall say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Who: 1 to 200 characters.
    pub sub: String,
    /// For which organization.
    pub org: OrgId,
    /// As what.
    pub role: Role,
    /// How long, in seconds: 1 to [`MAX_TTL_S`].
    pub ttl_s: i64,
}

/// Why no token can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// No time, or too long.
    #[error("a token lives at least one second and at most 90 days")]
    Lifetime,
    /// Empty, long, or with control characters.
    #[error("the subject of a token has 1 to {MAX_NAME_CHARS} characters, none of them a control character")]
    Subject,
    /// As for the subject.
    #[error("the id of a token has 1 to {MAX_NAME_CHARS} characters, none of them a control character")]
    Id,
    /// The clock of this machine.
    #[error("the clock is wrong: a token cannot be dated before 1970 or after 9999")]
    Clock,
    /// The library failed.
    #[error("the token cannot be signed")]
    Signing(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl MintError {
    /// The stable code, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Lifetime => "TOKEN_LIFETIME",
            Self::Subject => "TOKEN_SUBJECT",
            Self::Id => "TOKEN_ID",
            Self::Clock => "TOKEN_CLOCK",
            Self::Signing(_) => "TOKEN_SIGNING",
        }
    }
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    kid: &'a str,
}

#[derive(Serialize)]
struct Payload<'a> {
    sub: &'a str,
    org_id: &'a str,
    role: &'static str,
    iss: &'static str,
    aud: &'static str,
    iat: i64,
    exp: i64,
    jti: &'a str,
}

/// A token for `grant` with the id `jti`, signed with the current key at `now_s` (Unix seconds).
pub fn mint(ring: &KeyRing, grant: &Grant, jti: &str, now_s: i64) -> Result<Secret<String>, MintError> {
    if !(1..=MAX_TTL_S).contains(&grant.ttl_s) {
        return Err(MintError::Lifetime);
    }
    if !is_name(&grant.sub) {
        return Err(MintError::Subject);
    }
    if !is_name(jti) {
        return Err(MintError::Id);
    }
    if !(0..=LAST_SECOND - MAX_TTL_S).contains(&now_s) {
        return Err(MintError::Clock);
    }
    let payload = Payload {
        sub: &grant.sub,
        org_id: grant.org.as_str(),
        role: grant.role.as_str(),
        iss: ISSUER,
        aud: AUDIENCE,
        iat: now_s,
        exp: now_s + grant.ttl_s,
        jti,
    };
    signed(ring, &payload).map(Secret::new).map_err(MintError::Signing)
}

/// The compact form. Source: RFC 7515, section 3.1.
fn signed(ring: &KeyRing, payload: &Payload<'_>) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let header = Header { alg: "HS256", typ: "JWT", kid: ring.kid() };
    let mut token = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header)?);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(payload)?, &mut token);
    let signature = ring.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{MAX_TOKEN_BYTES, UnverifiedToken};

    const NOW: i64 = 1_700_000_000;

    fn ring() -> KeyRing {
        let secret = Secret::new("0123456789abcdef0123456789abcdef".to_owned());
        KeyRing::try_new(&secret, Some("now"), &Secret::new(String::new())).unwrap()
    }

    fn grant() -> Grant {
        Grant { sub: "me".into(), org: "acme".parse().unwrap(), role: Role::Admin, ttl_s: 60 }
    }

    fn refusal(grant: &Grant, jti: &str, now_s: i64) -> &'static str {
        mint(&ring(), grant, jti, now_s).unwrap_err().code()
    }

    #[test]
    fn a_minted_token_is_the_text_every_jwt_library_makes() {
        let token = mint(&ring(), &grant(), "tok_1", NOW).unwrap();
        let decoded = jsonwebtoken::decode::<serde_json::Value>(token.expose(), &decoding_key(), &validation()).unwrap();
        assert_eq!(decoded.header.kid.as_deref(), Some("now"));
        let payload = serde_json::json!({
            "sub": "me", "org_id": "acme", "role": "admin", "iss": "adsengineer", "aud": "adsengineer-api",
            "iat": NOW, "exp": NOW + 60, "jti": "tok_1"
        });
        assert_eq!(decoded.claims, payload);
    }

    fn decoding_key() -> jsonwebtoken::DecodingKey {
        jsonwebtoken::DecodingKey::from_secret(b"0123456789abcdef0123456789abcdef")
    }

    fn validation() -> jsonwebtoken::Validation {
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
        validation.validate_exp = false;
        validation.set_audience(&[AUDIENCE]);
        validation
    }

    #[test]
    fn a_minted_token_verifies_and_says_what_was_granted() {
        let token = mint(&ring(), &grant(), "tok_1", NOW).unwrap();
        let token = UnverifiedToken::parse(token.expose()).unwrap();
        assert_eq!((token.kid(), format!("{token:?}").as_str()), (Some("now"), "UnverifiedToken(***)"));
        let claims = token.verify(&ring(), NOW).unwrap();
        assert_eq!((&*claims.sub, claims.org.as_str(), claims.role), ("me", "acme", Role::Admin));
        assert_eq!((claims.iat, claims.exp, &*claims.jti), (NOW, NOW + 60, "tok_1"));
        let caller = crate::org::Caller::with_token(&claims);
        assert_eq!((caller.subject(), caller.role(), caller.token_id()), ("me", Role::Admin, Some("tok_1")));
    }

    #[test]
    fn no_token_lives_for_ever_or_not_at_all() {
        for ttl_s in [i64::MIN, -1, 0, MAX_TTL_S + 1, i64::MAX] {
            assert_eq!(refusal(&Grant { ttl_s, ..grant() }, "j", NOW), "TOKEN_LIFETIME");
        }
        assert!(mint(&ring(), &Grant { ttl_s: MAX_TTL_S, ..grant() }, "j", NOW).is_ok());
        assert_eq!(refusal(&grant(), "j", -1), "TOKEN_CLOCK");
        assert_eq!(refusal(&grant(), "j", i64::MAX), "TOKEN_CLOCK");
    }

    #[test]
    fn subject_and_id_are_short_and_printable() {
        for bad in ["", "a\nb", "a\0", &"x".repeat(201)] {
            assert_eq!(refusal(&Grant { sub: bad.into(), ..grant() }, "j", NOW), "TOKEN_SUBJECT");
            assert_eq!(refusal(&grant(), bad, NOW), "TOKEN_ID");
        }
    }

    #[test]
    fn the_longest_grant_makes_a_token_that_is_not_too_long() {
        let (sub, jti) = ("\u{10ffff}".repeat(200), "\"".repeat(200));
        let grant = Grant { sub: sub.clone(), org: "o".repeat(64).parse().unwrap(), role: Role::Member, ttl_s: MAX_TTL_S };
        let token = mint(&ring(), &grant, &jti, LAST_SECOND - MAX_TTL_S).unwrap();
        assert!(token.expose().len() < MAX_TOKEN_BYTES / 2, "{}", token.expose().len());
        let claims = UnverifiedToken::parse(token.expose()).unwrap().verify(&ring(), LAST_SECOND - 1).unwrap();
        assert_eq!((&*claims.sub, &*claims.jti), (sub.as_str(), jti.as_str()));
    }
}
