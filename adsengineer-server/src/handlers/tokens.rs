//! Tokens: minting and revoking them.

use adsengineer_core::{
    engine::new_token_id,
    org::Role,
    token::{Grant, MintError, mint},
};
use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use utoipa::ToSchema;

use crate::{
    Api,
    error::Problem,
    extract::{As, JsonBytes, Name, Owner, json},
};

/// How long a token is valid when nobody says, in seconds.
const TTL_S: u32 = 3600;

/// Mints a token
///
/// For the caller's own organization and no role above its own. It is shown once.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = TokenBody, responses((status = 201, description = "The token", body = TokenAnswer)))]
pub(crate) async fn create(
    caller: As<Owner>,
    State(api): State<Api>,
    JsonBytes(body): JsonBytes,
) -> Result<(StatusCode, Json<TokenAnswer>), Problem> {
    let caller = caller.0;
    let body: TokenBody = json(&body)?;
    let role: Role =
        body.role.parse().map_err(|_| Problem::field("/role", "INVALID_ROLE", "the role is one of viewer, member, admin, owner"))?;
    if body.org_id.as_ref().is_some_and(|org| org != caller.org().as_str()) || role > caller.role() {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "FORBIDDEN",
            "tokens are minted for the own organization, and for no role above the own",
        ));
    }
    let ring = api.ring().ok_or_else(|| Problem::new(StatusCode::CONFLICT, "NO_TOKENS", "this server has no key to sign tokens with"))?;
    let grant = Grant { sub: body.sub, org: caller.org().clone(), role, ttl_s: i64::from(body.ttl_seconds.unwrap_or(TTL_S)) };
    let jti = new_token_id();
    let now_s = api.engine().clock().now_ms().div_euclid(1000);
    let token = mint(ring, &grant, &jti, now_s).map_err(|why| {
        let field = match why {
            MintError::Subject => "/sub",
            MintError::Lifetime => "/ttl_seconds",
            _ => "",
        };
        Problem::field(field, why.code(), why.to_string())
    })?;
    api.engine().note_minted(&caller, &jti).await?;
    let exp = Timestamp::from_second(now_s + grant.ttl_s).unwrap_or(Timestamp::MAX);
    let answer = TokenAnswer {
        token: token.expose().clone(),
        jti,
        sub: grant.sub,
        org_id: grant.org.to_string(),
        role: role.as_str().to_owned(),
        exp,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Revokes a token
///
/// Of the caller's own organization, by its `jti`; for this server at once, for others within a second.
#[utoipa::path(delete, path = "/api/v1/tokens/{jti}", tag = "tokens", params(("jti" = String, Path, description = "The token's id", min_length = 1, max_length = 200)), responses((status = 204, description = "It is not valid any more")))]
pub(crate) async fn revoke(caller: As<Owner>, State(api): State<Api>, Name(jti): Name) -> Result<StatusCode, Problem> {
    if !(1..=200).contains(&jti.chars().count()) || jti.chars().any(char::is_control) {
        return Err(Problem::field("/jti", "INVALID_JTI", "a token's id has 1 to 200 characters"));
    }
    api.engine().revoke_token(&caller.0, &jti).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whose token, and what it may do.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"sub": "crm", "role": "member", "ttl_seconds": 86400}))]
pub struct TokenBody {
    /// Who uses it; no e-mail address.
    #[schema(min_length = 1, max_length = 200)]
    sub: String,
    /// What it may do.
    #[schema(pattern = "^(viewer|member|admin|owner)$")]
    role: String,
    /// The caller's own organization; may be left out.
    org_id: Option<String>,
    /// How long it is valid; an hour when nothing is said.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 7_776_000)]
    ttl_seconds: Option<u32>,
}

/// A whole number, also as `86400.0`: JSON does not tell the two apart.
fn whole<'de, D: Deserializer<'de>>(json: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<f64>::deserialize(json)? else { return Ok(None) };
    if number.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&number) {
        return Err(D::Error::custom("not a whole number"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and in range")]
    let number = number as u32;
    Ok(Some(number))
}

/// A token.
#[derive(Serialize, ToSchema)]
pub struct TokenAnswer {
    /// The token; it is not shown again.
    token: String,
    /// Its id, for revoking it.
    jti: String,
    /// Who uses it.
    sub: String,
    /// The organization.
    org_id: String,
    /// What it may do.
    role: String,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    exp: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_a_whole_number_however_it_is_written() {
        let ttl = |text: &str| {
            serde_json::from_str::<TokenBody>(&format!(r#"{{"sub":"a","role":"viewer","ttl_seconds":{text}}}"#)).map(|b| b.ttl_seconds)
        };
        for (text, expected) in [("60", Some(60)), ("60.0", Some(60)), ("6e1", Some(60)), ("null", None)] {
            assert_eq!(ttl(text).unwrap(), expected, "{text}");
        }
        for text in ["60.5", "-1", "1e300", "\"60\"", "true"] {
            assert!(ttl(text).is_err(), "{text}");
        }
    }
}
