//! Honest tokens, time, and that no bit of a token can be changed; the attacks are in `attacks`.

mod attacks;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Claims, Grant, KeyRing, TokenError, UnverifiedToken, mint};
use crate::{org::Role, secret::Secret};
use TokenError::{
    Algorithm, Audience, ClaimInvalid, ClaimMissing, Expired, Extension, Issuer, KeyUnknown, NotYetValid, Signature, TooLong, Type,
};

const NOW: i64 = 1_700_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OLD_SECRET: &str = "fedcba9876543210fedcba9876543210";
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT","kid":"now"}"#;

const PARTS: TokenError = super::NOT_THREE_PARTS;

fn ring() -> KeyRing {
    let old = Secret::new(format!("old={OLD_SECRET}"));
    KeyRing::try_new(&Secret::new(SECRET.to_owned()), Some("now"), &old).unwrap()
}

fn verify(token: &str) -> Result<Claims, TokenError> {
    UnverifiedToken::parse(token)?.verify(&ring(), NOW)
}

fn b64(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn hs256(secret: &str, message: &str) -> Vec<u8> {
    Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(message).finalize().into_bytes().to_vec()
}

/// Correctly signed over parts that are already encoded.
fn signed_parts(header: &str, payload: &str) -> String {
    let message = format!("{header}.{payload}");
    let signature = b64(hs256(SECRET, &message));
    format!("{message}.{signature}")
}

/// Correctly signed, whatever it says.
fn signed(header: &str, payload: &str) -> String {
    signed_parts(&b64(header), &b64(payload))
}

fn payload() -> Value {
    json!({
        "sub": "me", "org_id": "acme", "role": "member", "iss": "adsengineer", "aud": "adsengineer-api",
        "iat": NOW - 10, "exp": NOW + 600, "jti": "tok_1"
    })
}

fn good() -> String {
    signed(HEADER, &payload().to_string())
}

fn with_header(header: &str) -> String {
    signed(header, &payload().to_string())
}

fn with_claim(claim: &str, value: Value) -> String {
    let mut payload = payload();
    payload[claim] = value;
    signed(HEADER, &payload.to_string())
}

/// The good payload with `more` written before its end.
fn with_text(more: &str) -> String {
    let payload = payload().to_string();
    signed(HEADER, &format!("{}{more}}}", payload.strip_suffix('}').unwrap()))
}

#[test]
fn the_honest_token_that_all_others_vary_is_taken() {
    let claims = verify(&good()).unwrap();
    assert_eq!((&*claims.sub, claims.org.as_str(), claims.role, &*claims.jti), ("me", "acme", Role::Member, "tok_1"));
    assert_eq!((claims.iat, claims.exp), (NOW - 10, NOW + 600));
}

#[test]
fn honest_variations_are_taken() {
    for (name, token) in [
        ("no typ", with_header(r#"{"alg":"HS256","kid":"now"}"#)),
        ("typ in lower case", with_header(r#"{"alg":"HS256","typ":"jwt","kid":"now"}"#)),
        ("no kid, current secret", with_header(r#"{"alg":"HS256"}"#)),
        ("b64 as it is anyway", with_header(r#"{"alg":"HS256","b64":true}"#)),
        ("members nobody knows", with_header(r#"{"alg":"HS256","kid":"now","x":[1,{"y":null}]}"#)),
        ("claims nobody knows", with_claim("scope", json!({"a": ["b"]}))),
        ("audience in a list", with_claim("aud", json!(["other", "adsengineer-api"]))),
        ("whole float", with_text(r#","nbf":1.7e9"#)),
        ("escaped text", signed(HEADER, &payload().to_string().replace("acme", "ac\\u006de"))),
        ("white space in JSON", signed(HEADER, &serde_json::to_string_pretty(&payload()).unwrap())),
    ] {
        assert_eq!(verify(&token).map(|claims| claims.org.to_string()), Ok("acme".to_owned()), "{name}");
    }
}

#[test]
fn a_previous_secret_still_verifies_with_and_without_its_key_id() {
    for header in [r#"{"alg":"HS256","kid":"old"}"#, r#"{"alg":"HS256"}"#] {
        let message = format!("{}.{}", b64(header), b64(payload().to_string()));
        assert!(verify(&format!("{message}.{}", b64(hs256(OLD_SECRET, &message)))).is_ok(), "{header}");
    }
    let message = format!("{}.{}", b64(HEADER), b64(payload().to_string()));
    assert_eq!(verify(&format!("{message}.{}", b64(hs256(OLD_SECRET, &message)))), Err(Signature));
}

#[test]
fn time_is_exact_at_the_boundary_with_a_minute_of_leeway() {
    let both = |iat: i64, exp: i64| {
        let mut payload = payload();
        (payload["iat"], payload["exp"]) = (json!(iat), json!(exp));
        verify(&signed(HEADER, &payload.to_string())).map(|claims| claims.exp)
    };
    assert_eq!(both(NOW - 3600, NOW - 59), Ok(NOW - 59));
    assert_eq!(both(NOW - 3600, NOW - 60), Err(Expired));
    assert_eq!(both(0, 1), Err(Expired));
    assert_eq!(both(NOW + 60, NOW + 61), Ok(NOW + 61));
    assert_eq!(both(NOW + 61, NOW + 62), Err(NotYetValid("iat")));
    assert_eq!(both(NOW, NOW), Err(ClaimInvalid("exp")));
    assert_eq!(both(NOW + 10, NOW + 9), Err(ClaimInvalid("exp")));
    assert!(verify(&with_claim("nbf", json!(NOW + 60))).is_ok());
    assert_eq!(verify(&with_claim("nbf", json!(NOW + 61))), Err(NotYetValid("nbf")));
    for now_s in [i64::MIN, i64::MAX] {
        assert!(UnverifiedToken::parse(&good()).unwrap().verify(&ring(), now_s).is_err());
    }
}

#[test]
fn every_refusal_has_a_code_and_tells_nothing_of_the_token() {
    let all = [
        TooLong,
        PARTS,
        Algorithm,
        Type,
        Extension,
        KeyUnknown,
        Signature,
        ClaimMissing("sub"),
        ClaimInvalid("sub"),
        Issuer,
        Audience,
        NotYetValid("nbf"),
        Expired,
    ];
    let codes: std::collections::BTreeSet<_> = all.iter().map(TokenError::code).collect();
    assert_eq!(codes.len(), all.len());
    assert!(codes.iter().all(|code| code.starts_with("TOKEN_") && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')));
    let error = verify(&with_claim("role", json!("telltale"))).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), ("TOKEN_CLAIM_INVALID", "the token's claim `role` is not valid"));
}

#[test]
fn no_single_bit_of_a_token_can_be_changed() {
    for token in [good(), with_header(r#"{"alg":"HS256"}"#), with_header(r#"{"typ":"JWT","alg":"HS256","kid":"old","x":"y"}"#)] {
        let honest = verify(&token);
        for bit in 0..token.len() * 8 {
            same_or_refused(&token, bit, &honest);
        }
    }
}

fn same_or_refused(token: &str, bit: usize, honest: &Result<Claims, TokenError>) {
    let mut bytes = token.as_bytes().to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    let Ok(changed) = String::from_utf8(bytes) else { return };
    let result = verify(&changed);
    assert!(result.is_err() || result == *honest, "bit {bit} of {token}");
}

proptest! {
    #[test]
    fn whatever_is_granted_survives_and_no_bit_of_it_can_be_changed(
        sub in "[^\\p{C}]{1,40}", jti in "[ -~]{1,40}", role in 0usize..4, ttl_s in 1i64..7_776_000, bit in any::<proptest::sample::Index>(),
    ) {
        let grant = Grant { sub, org: "acme".parse().unwrap(), role: Role::ALL[role], ttl_s };
        let token = mint(&ring(), &grant, &jti, NOW).unwrap();
        let honest = verify(token.expose());
        let claims = honest.as_ref().unwrap();
        prop_assert_eq!((&*claims.sub, &*claims.jti, claims.role, claims.exp), (&*grant.sub, &*jti, grant.role, NOW + ttl_s));
        same_or_refused(token.expose(), bit.index(token.expose().len() * 8), &honest);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}", header in "\\PC{0,60}", payload in "\\PC{0,60}") {
        prop_assert!(verify(&text).is_err());
        prop_assert!(verify(&signed(&header, &payload)).is_err());
        prop_assert!(verify(&signed(HEADER, &payload)).is_err());
    }
}
