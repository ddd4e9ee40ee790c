//! Tokens that somebody without the secret, or with a token of another kind, might send; over HTTP, all refused alike.

use adsengineer_core::org::Role;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::{Sha256, Sha384};

use crate::{
    said::Said,
    stage::{SECRET, START_S, Stage},
};

const ROUTE: &str = "/api/v1/me";
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT","kid":"now"}"#;

fn b64(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn hs256(secret: &str, message: &str) -> Vec<u8> {
    Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(message).finalize().into_bytes().to_vec()
}

fn signed_by(secret: &str, header: &str, payload: &str) -> String {
    let message = format!("{}.{}", b64(header), b64(payload));
    let signature = b64(hs256(secret, &message));
    format!("{message}.{signature}")
}

fn signed(header: &str, payload: &str) -> String {
    signed_by(SECRET, header, payload)
}

fn payload() -> Value {
    json!({"sub": "me", "org_id": "acme", "role": "member", "iss": "adsengineer", "aud": "adsengineer-api",
        "iat": START_S - 10, "exp": START_S + 600, "jti": "tok_1"})
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

fn without(claim: &str) -> String {
    let mut payload = payload();
    payload.as_object_mut().unwrap().remove(claim);
    signed(HEADER, &payload.to_string())
}

fn headers() -> Vec<String> {
    let algs = [
        "none", "None", "NONE", "", "hs256", "HS256 ", "RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "HS384", "HS512",
        "dir",
    ];
    let mut tokens: Vec<String> =
        algs.iter().map(|alg| with_header(&json!({"alg": alg, "typ": "JWT", "kid": "now"}).to_string())).collect();
    tokens.push(format!("{}.{}.", b64(r#"{"alg":"none"}"#), b64(payload().to_string())));
    for header in [
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"typ":"JWT","kid":"now"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","typ":"at+jwt"}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","b64":false}"#,
        r#"{"alg":"HS256","kid":"other"}"#,
        r#"{"alg":"HS256","kid":"../../../../dev/null"}"#,
        r#"{"alg":"HS256","kid":"x' UNION SELECT 'secret' --"}"#,
        r#"{"alg":"HS256","kid":1}"#,
        "",
        "[]",
    ] {
        tokens.push(with_header(header));
    }
    let own = "a secret that the sender brings along";
    let jwk = format!(r#"{{"alg":"HS256","jwk":{{"kty":"oct","k":"{}"}}}}"#, b64(own));
    tokens.push(signed_by(own, &jwk, &payload().to_string()));
    tokens.push(signed_by(own, r#"{"alg":"HS256","jku":"https://example.com/jwks.json"}"#, &payload().to_string()));
    tokens
}

fn claims() -> Vec<String> {
    let mut tokens: Vec<String> = ["sub", "org_id", "role", "iss", "aud", "iat", "exp", "jti"].map(without).into();
    for (claim, value) in [
        ("role", json!("root")),
        ("role", json!("OWNER")),
        ("role", json!(["owner"])),
        ("org_id", json!("")),
        ("org_id", json!("Acme")),
        ("org_id", json!("../acme")),
        ("org_id", json!("*")),
        ("org_id", json!("a' OR 1=1")),
        ("sub", json!("me\nlevel=error")),
        ("jti", json!("")),
        ("iss", json!("https://accounts.google.com")),
        ("aud", json!("other-api")),
        ("aud", json!(["a", "b"])),
        ("exp", json!(START_S - 60)),
        ("exp", json!("never")),
        ("exp", json!(1e300)),
        ("exp", json!(null)),
        ("iat", json!(START_S + 61)),
        ("iat", json!(-1)),
        ("nbf", json!(START_S + 61)),
        ("nbf", json!("now")),
    ] {
        tokens.push(with_claim(claim, value));
    }
    tokens.push(signed(HEADER, "{}"));
    tokens.push(signed(HEADER, &good()));
    tokens.push(signed(HEADER, &payload().to_string().replacen('{', r#"{"role":"owner","#, 1)));
    tokens
}

fn shapes() -> Vec<String> {
    let token = good();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let other = b64(payload().to_string().replace("member", "owner"));
    let sha384 = Hmac::<Sha384>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(message).finalize().into_bytes();
    vec![
        message.to_owned(),
        format!("{message}."),
        format!("{message}.{}", &signature[..20]),
        format!("{message}.{}", b64([0; 32])),
        format!("{message}.{}", b64(sha384)),
        format!("{message}.{}", b64(hs256("another secret of thirty-two bytes", message))),
        format!("{message}.{}", b64(hs256("", message))),
        format!("{}.{other}.{signature}", b64(HEADER)),
        format!("{token}.{signature}"),
        format!("{token}="),
        format!(".{token}"),
        format!("{token},{token}"),
        format!("{token} {token}"),
        format!("Bearer {token}"),
        format!("{}.{}.{signature}", URL_SAFE.encode(HEADER), STANDARD.encode(payload().to_string())),
        format!("{token}{}", "A".repeat(8192)),
        "..".to_owned(),
        "null".to_owned(),
        payload().to_string(),
    ]
}

async fn with_authorization(stage: &Stage, values: &[&str]) -> Said {
    let request = values.iter().fold(stage.request("GET", ROUTE), |request, value| request.header("authorization", *value));
    Said::of(request).await
}

#[tokio::test]
async fn every_forged_token_is_refused_and_not_repeated_in_the_answer() {
    let stage = Stage::new().await;
    with_authorization(&stage, &[&format!("Bearer {}", good())]).await.ok(200);
    let all = [headers(), claims(), shapes()].concat();
    assert!(all.len() >= 75, "{}", all.len());
    for token in all {
        let said = with_authorization(&stage, &[&format!("Bearer {token}")]).await;
        let code = said.refused(401);
        assert!(code.starts_with("TOKEN_"), "{code}: {token}");
        assert!(said.header("www-authenticate").is_some_and(|value| value.contains("invalid_token")));
        assert!(token.len() < 5 || !said.text().contains(&token), "{}", said.text());
        assert!(!said.text().contains(SECRET));
    }
}

#[tokio::test]
async fn the_scheme_is_told_in_any_case_and_no_other_scheme_is_taken() {
    let stage = Stage::new().await;
    let token = good();
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        with_authorization(&stage, &[&format!("{scheme} {token}")]).await.ok(200);
    }
    let basic = format!("Basic {}", STANDARD.encode(format!("me:{token}")));
    for value in [token.as_str(), "Bearer", "Bearer ", &basic, &format!("Token {token}"), &format!("Bearer\t{token}"), ""] {
        let said = with_authorization(&stage, &[value]).await;
        assert_eq!(said.refused(401), "TOKEN_MALFORMED", "{value}");
    }
}

#[tokio::test]
async fn two_authorization_headers_are_refused_whichever_is_good() {
    let stage = Stage::new().await;
    let good = format!("Bearer {}", good());
    for pair in [[good.as_str(), "Bearer x"], ["Bearer x", &good], [&good, &good]] {
        assert_eq!(with_authorization(&stage, &pair).await.refused(401), "TOKEN_MALFORMED");
    }
}

#[tokio::test]
async fn a_token_anywhere_else_than_in_its_header_is_no_token() {
    let stage = Stage::new().await;
    let token = stage.token("acme", Role::Owner);
    for path in [format!("{ROUTE}?token={token}"), format!("{ROUTE}?access_token={token}")] {
        assert_eq!(stage.ask("GET", &path, None, None).await.refused(401), "TOKEN_MISSING");
    }
    for header in ["cookie", "x-api-key", "proxy-authorization", "x-authorization"] {
        let said = Said::of(stage.request("GET", ROUTE).header(header, format!("Bearer {token}"))).await;
        assert_eq!(said.refused(401), "TOKEN_MISSING", "{header}");
    }
}
