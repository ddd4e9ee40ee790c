//! What a token says, once its signature holds: every claim there, of its type, ours, and valid now.

use std::{borrow::Cow, sync::Arc};

use super::{
    AUDIENCE, ISSUER, LEEWAY_S, TokenError,
    json::{Object, Value},
};
use crate::org::{OrgId, Role};

/// Longest `sub` and `jti` in characters.
pub(super) const MAX_NAME_CHARS: usize = 200;

/// The last second that RFC 3339 can write, with room for every time zone.
pub(super) const LAST_SECOND: i64 = 253_402_207_200;

/// What a verified token says.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Claims {
    /// Who.
    pub sub: Arc<str>,
    /// For which organization; `org_id` in the token.
    pub org: OrgId,
    /// As what.
    pub role: Role,
    /// When it was issued, in Unix seconds.
    pub iat: i64,
    /// When it ends, in Unix seconds.
    pub exp: i64,
    /// Its own id, by which it can be revoked.
    pub jti: Arc<str>,
}

impl Claims {
    pub(super) fn read(mut claims: Object<'_>, now_s: i64) -> Result<Self, TokenError> {
        let sub = name(&mut claims, "sub")?;
        let org = text(&mut claims, "org_id")?.parse().map_err(|_| TokenError::ClaimInvalid("org_id"))?;
        let role = text(&mut claims, "role")?.parse().map_err(|_| TokenError::ClaimInvalid("role"))?;
        let ours = text(&mut claims, "iss")? == ISSUER;
        let for_us = audience(&mut claims)?;
        let iat = required(&mut claims, "iat").and_then(|value| second(&value, "iat"))?;
        let exp = required(&mut claims, "exp").and_then(|value| second(&value, "exp"))?;
        let jti = name(&mut claims, "jti")?;
        let nbf = claims.take("nbf").map(|value| second(&value, "nbf")).transpose()?;
        if !ours {
            return Err(TokenError::Issuer);
        }
        if !for_us {
            return Err(TokenError::Audience);
        }
        hold_at(now_s, iat, exp, nbf)?;
        Ok(Self { sub, org, role, iat, exp, jti })
    }
}

/// `exp` is the first second at which a token is no longer valid, `nbf` and `iat` the first at which it is; all with
/// the leeway. Source: RFC 7519, sections 4.1.4 to 4.1.6.
fn hold_at(now_s: i64, iat: i64, exp: i64, nbf: Option<i64>) -> Result<(), TokenError> {
    let (latest, earliest) = (now_s.saturating_add(LEEWAY_S), now_s.saturating_sub(LEEWAY_S));
    if exp <= iat {
        Err(TokenError::ClaimInvalid("exp"))
    } else if exp <= earliest {
        Err(TokenError::Expired)
    } else if iat > latest {
        Err(TokenError::NotYetValid("iat"))
    } else if nbf.is_some_and(|nbf| nbf > latest) {
        Err(TokenError::NotYetValid("nbf"))
    } else {
        Ok(())
    }
}

fn required<'a>(claims: &mut Object<'a>, claim: &'static str) -> Result<Value<'a>, TokenError> {
    claims.take(claim).ok_or(TokenError::ClaimMissing(claim))
}

fn text<'a>(claims: &mut Object<'a>, claim: &'static str) -> Result<Cow<'a, str>, TokenError> {
    match required(claims, claim)? {
        Value::Text(text) => Ok(text),
        _ => Err(TokenError::ClaimInvalid(claim)),
    }
}

fn name(claims: &mut Object<'_>, claim: &'static str) -> Result<Arc<str>, TokenError> {
    let name = text(claims, claim)?;
    if is_name(&name) { Ok(name.into()) } else { Err(TokenError::ClaimInvalid(claim)) }
}

/// Whether `text` can be a `sub` or `jti`: it goes to logs and the audit.
pub(super) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_CHARS).contains(&text.chars().count()) && !text.contains(char::is_control)
}

fn second(value: &Value<'_>, claim: &'static str) -> Result<i64, TokenError> {
    match value {
        Value::Whole(second) if (0..=LAST_SECOND).contains(second) => Ok(*second),
        _ => Err(TokenError::ClaimInvalid(claim)),
    }
}

/// Whether we are, or are among, those the token is for.
fn audience(claims: &mut Object<'_>) -> Result<bool, TokenError> {
    match required(claims, "aud")? {
        Value::Text(audience) => Ok(audience == AUDIENCE),
        Value::Texts(audiences) => Ok(audiences.iter().any(|audience| audience == AUDIENCE)),
        _ => Err(TokenError::ClaimInvalid("aud")),
    }
}
