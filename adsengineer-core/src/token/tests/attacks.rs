//! Tokens that somebody without the secret, or with a token of another kind, might send; each with why it is refused.

use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use sha2::{Sha384, Sha512};

use super::*;
use crate::token::MAX_TOKEN_BYTES;
use TokenError::Malformed;

const BASE64: TokenError = Malformed("a part is not base64url without padding");
const HEADER_JSON: TokenError = Malformed("its header is not a JSON object with every name once");
const PAYLOAD_JSON: TokenError = Malformed("its payload is not a JSON object with every name once");

type Case = (&'static str, String, TokenError);

#[track_caller]
fn refused(cases: Vec<Case>) {
    for (name, token, why) in cases {
        assert_eq!(verify(&token).map(|_| "accepted"), Err(why), "{name}");
    }
}

#[test]
fn other_algorithms_are_refused() {
    let alg = |alg: &str| with_header(&format!(r#"{{"alg":{alg},"typ":"JWT","kid":"now"}}"#));
    let unsigned = |name: &str| format!("{}.{}.", b64(format!(r#"{{"alg":"{name}"}}"#)), b64(payload().to_string()));
    let mut cases: Vec<Case> = vec![
        ("none, unsigned", unsigned("none"), Algorithm),
        ("None, unsigned", unsigned("None"), Algorithm),
        ("NONE, unsigned", unsigned("NONE"), Algorithm),
        ("nOnE, unsigned", unsigned("nOnE"), Algorithm),
        ("none, signed", alg("\"none\""), Algorithm),
        ("empty", alg("\"\""), Algorithm),
        ("lower case", alg("\"hs256\""), Algorithm),
        ("with a blank", alg("\"HS256 \""), Algorithm),
        ("with a zero byte", alg("\"HS256\\u0000\""), Algorithm),
        ("null", alg("null"), Algorithm),
        ("a list", alg("[\"HS256\"]"), Algorithm),
        ("a number", alg("256"), Algorithm),
        ("missing", with_header(r#"{"typ":"JWT","kid":"now"}"#), Algorithm),
        ("in upper case as a name", with_header(r#"{"ALG":"HS256"}"#), Algorithm),
    ];
    for name in ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "HS384", "HS512", "HS1", "dir"] {
        cases.push((name, alg(&format!("\"{name}\"")), Algorithm));
    }
    refused(cases);
}

#[test]
fn a_hash_of_another_family_or_over_a_public_key_is_no_signature() {
    let public_key = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    let message = format!("{}.{}", b64(HEADER), b64(payload().to_string()));
    let rs256 = format!("{}.{}", b64(r#"{"alg":"RS256","typ":"JWT"}"#), b64(payload().to_string()));
    let sha384 = Hmac::<Sha384>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(&message).finalize().into_bytes();
    let sha512 = Hmac::<Sha512>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(&message).finalize().into_bytes();
    refused(vec![
        ("RS256 over the text of a public key", format!("{rs256}.{}", b64(hs256(public_key, &rs256))), Algorithm),
        ("HS256 over the text of a public key", format!("{message}.{}", b64(hs256(public_key, &message))), Signature),
        ("HMAC-SHA384 called HS256", format!("{message}.{}", b64(sha384)), Signature),
        ("HMAC-SHA512 called HS256", format!("{message}.{}", b64(sha512)), Signature),
    ]);
}

#[test]
fn signatures_that_are_missing_cut_or_of_another_secret_are_refused() {
    let token = good();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let cut = b64(&bytes[..31]);
    let half = b64(&bytes[..16]);
    bytes.push(0);
    let other_payload = b64(payload().to_string().replace("member", "owner"));
    let with = |signature: String| format!("{message}.{signature}");
    refused(vec![
        ("empty", with(String::new()), Signature),
        ("stripped with its dot", message.to_owned(), PARTS),
        ("cut by a byte", with(cut), Signature),
        ("cut to half", with(half), Signature),
        ("longer by a byte", with(b64(&bytes)), Signature),
        ("all zero", with(b64([0; 32])), Signature),
        ("of another secret", with(b64(hs256("another secret of thirty-two bytes", message))), Signature),
        ("of an empty secret", with(b64(hs256("", message))), Signature),
        ("of the key id", with(b64(hs256("now", message))), Signature),
        ("of the payload alone", with(b64(hs256(SECRET, &b64(payload().to_string())))), Signature),
        ("in hexadecimal", with("0f".repeat(32)), Signature),
        ("of another payload", format!("{}.{other_payload}.{signature}", b64(HEADER)), Signature),
        ("of another header", format!("{}.{}.{signature}", b64(r#"{"alg":"HS256"}"#), b64(payload().to_string())), Signature),
    ]);
}

#[test]
fn key_ids_choose_among_the_keys_and_reach_nothing_else() {
    let kid = |kid: Value| with_header(&json!({"alg": "HS256", "kid": kid}).to_string());
    let unknown =
        ["../../../../dev/null", "/etc/passwd", "x' UNION SELECT 'secret' --", "", "NOW", "now ", "now\0", "old,now", "http://127.0.0.1/k"];
    let mut cases: Vec<Case> = unknown.into_iter().map(|text| (text, kid(json!(text)), KeyUnknown)).collect();
    cases.push(("a very long one", kid(json!("k".repeat(2000))), KeyUnknown));
    cases.push(("the id of the other key", kid(json!("old")), Signature));
    for value in [json!(null), json!(1), json!(["now"]), json!({"now": 1}), json!(true)] {
        cases.push(("not text", kid(value), Malformed("its kid is not text")));
    }
    refused(cases);
}

#[test]
fn keys_and_extensions_in_the_header_are_never_used() {
    let mine = "a secret that the sender brings along";
    let header = |more: &str| format!(r#"{{"alg":"HS256",{more}}}"#);
    let own_key = |more: &str| {
        let message = format!("{}.{}", b64(header(more)), b64(payload().to_string()));
        format!("{message}.{}", b64(hs256(mine, &message)))
    };
    let jwk = format!(r#""jwk":{{"kty":"oct","k":"{}"}}"#, b64(mine));
    refused(vec![
        ("jwk", own_key(&jwk), Signature),
        ("jku", own_key(r#""jku":"https://example.com/jwks.json""#), Signature),
        ("x5u", own_key(r#""x5u":"https://example.com/cert.pem""#), Signature),
        ("x5c", own_key(&format!(r#""x5c":["{}"]"#, STANDARD.encode(mine))), Signature),
        ("crit", with_header(&header(r#""crit":["exp"]"#)), Extension),
        ("empty crit", with_header(&header(r#""crit":[]"#)), Extension),
        ("crit null", with_header(&header(r#""crit":null"#)), Extension),
        ("b64 false", with_header(&header(r#""b64":false"#)), Extension),
        ("b64 as text", with_header(&header(r#""b64":"true""#)), Extension),
        ("another typ", with_header(&header(r#""typ":"at+jwt""#)), Type),
        ("an empty typ", with_header(&header(r#""typ":"""#)), Type),
        ("typ null", with_header(&header(r#""typ":null"#)), Type),
        ("typ in a list", with_header(&header(r#""typ":["JWT"]"#)), Type),
    ]);
}

#[test]
fn texts_that_are_not_three_parts_of_strict_base64url_are_refused() {
    let token = good();
    let (h, p) = (b64(HEADER), b64(payload().to_string()));
    let signature = token.rsplit('.').next().unwrap();
    // 32 bytes end in a digit of which only four bits count
    let stray_bits = format!("{}{}", &token[..token.len() - 1], next_digit(&token[token.len() - 1..]));
    let slashes =
        signed_parts(&h, &STANDARD.encode(payload().to_string().replace("\"me\"", "\"m>?\u{ff}\u{fe}\u{fb}>\"")).replace('=', ""));
    refused(vec![
        ("nothing", String::new(), PARTS),
        ("a word", "null".to_owned(), PARTS),
        ("one dot", format!("{h}.{p}"), PARTS),
        ("two dots alone", "..".to_owned(), HEADER_JSON),
        ("four parts", format!("{token}.{signature}"), PARTS),
        ("five parts, as when encrypted", format!("{h}.{p}.{p}.{p}.{p}"), PARTS),
        ("a dot at the end", format!("{token}."), PARTS),
        ("a dot at the start", format!(".{token}"), PARTS),
        ("two tokens", format!("{token},{token}"), PARTS),
        ("two tokens and a blank", format!("{token} {token}"), PARTS),
        ("the scheme left on", format!("Bearer {token}"), BASE64),
        ("a blank at the end", format!("{token} "), BASE64),
        ("a line break at the end", format!("{token}\n"), BASE64),
        ("a zero byte at the end", format!("{token}\0"), BASE64),
        ("padding at the end", format!("{token}="), BASE64),
        ("stray bits at the end", stray_bits, BASE64),
        ("padded header", signed_parts(&URL_SAFE.encode(r#"{"alg":"HS256"} "#), &p), BASE64),
        ("padded payload", signed_parts(&h, &URL_SAFE.encode(format!("{}{}", payload(), pad_to(1, &payload())))), BASE64),
        ("line break in the payload", signed_parts(&h, &format!("{}\n{}", &p[..8], &p[8..])), BASE64),
        ("the standard alphabet", slashes, BASE64),
        ("too long", format!("{token}{}", "A".repeat(MAX_TOKEN_BYTES)), TooLong),
        ("too long and signed", with_claim("x", json!("x".repeat(4000))), TooLong),
        ("header in upper case", token.replacen(&h, &h.to_uppercase(), 1), HEADER_JSON),
        ("JSON instead of a token", payload().to_string(), PARTS),
    ]);
}

/// The base64url digit that differs in the lowest bit only.
fn next_digit(digit: &str) -> char {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    DIGITS.chars().nth(DIGITS.find(digit).unwrap() ^ 1).unwrap()
}

/// Blanks after which the text leaves `rest` when divided by three, so that base64 needs padding.
fn pad_to(rest: usize, payload: &Value) -> String {
    " ".repeat((3 + rest - payload.to_string().len() % 3) % 3)
}

#[test]
fn headers_and_payloads_that_are_not_one_plain_object_are_refused() {
    let payload_text = payload().to_string();
    refused(vec![
        ("empty header", with_header(""), HEADER_JSON),
        ("header in a list", with_header(&format!("[{HEADER}]")), HEADER_JSON),
        ("text after the header", with_header(&format!("{HEADER}x")), HEADER_JSON),
        ("alg twice", with_header(r#"{"alg":"none","alg":"HS256"}"#), HEADER_JSON),
        ("alg twice, once escaped", with_header(r#"{"alg":"HS256","a\u006cg":"none"}"#), HEADER_JSON),
        ("kid twice", with_header(r#"{"alg":"HS256","kid":"now","kid":"old"}"#), HEADER_JSON),
        ("empty payload", signed(HEADER, ""), PAYLOAD_JSON),
        ("a token in a token", signed(HEADER, &good()), PAYLOAD_JSON),
        ("a token in a token, quoted", signed(HEADER, &format!("\"{}\"", good())), PAYLOAD_JSON),
        ("payload in a list", signed(HEADER, &format!("[{payload_text}]")), PAYLOAD_JSON),
        ("text after the payload", signed(HEADER, &format!("{payload_text}{{}}")), PAYLOAD_JSON),
        ("role twice", with_text(r#","role":"owner""#), PAYLOAD_JSON),
        ("role twice, once escaped", with_text(r#","rol\u0065":"owner""#), PAYLOAD_JSON),
        ("an unknown claim twice", with_text(r#","x":1,"x":1"#), PAYLOAD_JSON),
        ("not UTF-8", signed_parts(&b64(HEADER), &b64(b"{\"sub\":\"\xff\"}")), PAYLOAD_JSON),
        ("a number that is none", with_text(r#","nbf":NaN"#), PAYLOAD_JSON),
        ("a number beyond all", with_text(r#","nbf":1e999"#), PAYLOAD_JSON),
        ("a thousand lists", with_text(&format!(",\"x\":{}{}", "[".repeat(1000), "]".repeat(1000))), PAYLOAD_JSON),
        ("no claims", signed(HEADER, "{}"), ClaimMissing("sub")),
    ]);
}

#[test]
fn every_claim_is_required_and_of_its_type() {
    for claim in ["sub", "org_id", "role", "iss", "aud", "iat", "exp", "jti"] {
        let mut lacking = payload();
        lacking.as_object_mut().unwrap().remove(claim);
        assert_eq!(verify(&signed(HEADER, &lacking.to_string())), Err(ClaimMissing(claim)), "without {claim}");
        for value in [json!(null), json!(true), json!({"a": 1}), json!([1]), json!(1.5)] {
            assert_eq!(verify(&with_claim(claim, value.clone())), Err(ClaimInvalid(claim)), "{claim} {value}");
        }
    }
    for claim in ["sub", "org_id", "role", "iss", "jti"] {
        for value in [json!(7), json!(["owner"])] {
            assert_eq!(verify(&with_claim(claim, value)), Err(ClaimInvalid(claim)), "{claim}");
        }
    }
    for claim in ["iat", "exp", "nbf"] {
        let numbers = ["1700000000", "", "now"].map(|text| json!(text)).into_iter();
        for value in numbers.chain([json!(-1), json!(u64::MAX), json!(1e300), json!(i64::MAX), json!([NOW]), json!(null)]) {
            assert_eq!(verify(&with_claim(claim, value.clone())), Err(ClaimInvalid(claim)), "{claim} {value}");
        }
    }
}

#[test]
fn claims_with_values_that_cannot_be_are_refused() {
    refused(vec![
        ("unknown role", with_claim("role", json!("root")), ClaimInvalid("role")),
        ("role in upper case", with_claim("role", json!("OWNER")), ClaimInvalid("role")),
        ("role with a blank", with_claim("role", json!("owner ")), ClaimInvalid("role")),
        ("two roles", with_claim("role", json!("member,owner")), ClaimInvalid("role")),
        ("empty role", with_claim("role", json!("")), ClaimInvalid("role")),
        ("empty organization", with_claim("org_id", json!("")), ClaimInvalid("org_id")),
        ("organization in upper case", with_claim("org_id", json!("Acme")), ClaimInvalid("org_id")),
        ("organization as a path", with_claim("org_id", json!("../acme")), ClaimInvalid("org_id")),
        ("organization with SQL", with_claim("org_id", json!("a' OR 1=1")), ClaimInvalid("org_id")),
        ("any organization", with_claim("org_id", json!("*")), ClaimInvalid("org_id")),
        ("a look-alike letter", with_claim("org_id", json!("\u{430}cme")), ClaimInvalid("org_id")),
        ("a zero byte in the organization", with_claim("org_id", json!("acme\0")), ClaimInvalid("org_id")),
        ("a long organization", with_claim("org_id", json!("a".repeat(65))), ClaimInvalid("org_id")),
        ("empty subject", with_claim("sub", json!("")), ClaimInvalid("sub")),
        ("a line break in the subject", with_claim("sub", json!("me\nlevel=error")), ClaimInvalid("sub")),
        ("a long subject", with_claim("sub", json!("s".repeat(201))), ClaimInvalid("sub")),
        ("empty id", with_claim("jti", json!("")), ClaimInvalid("jti")),
        ("a long id", with_claim("jti", json!("j".repeat(201))), ClaimInvalid("jti")),
    ]);
}

#[test]
fn tokens_of_others_and_for_others_are_refused() {
    refused(vec![
        ("another issuer", with_claim("iss", json!("https://accounts.google.com")), Issuer),
        ("issuer in upper case", with_claim("iss", json!("AdsEngineer")), Issuer),
        ("issuer and more", with_claim("iss", json!("adsengineer.evil.example")), Issuer),
        ("empty issuer", with_claim("iss", json!("")), Issuer),
        ("issuer in a list", with_claim("iss", json!(["adsengineer"])), ClaimInvalid("iss")),
        ("another audience", with_claim("aud", json!("other-api")), Audience),
        ("audience and more", with_claim("aud", json!("adsengineer-api,other")), Audience),
        ("empty audience", with_claim("aud", json!("")), Audience),
        ("other audiences", with_claim("aud", json!(["a", "b"])), Audience),
        ("no audience in the list", with_claim("aud", json!([])), Audience),
        ("a list with a number", with_claim("aud", json!(["adsengineer-api", 1])), ClaimInvalid("aud")),
        ("a list in a list", with_claim("aud", json!([["adsengineer-api"]])), ClaimInvalid("aud")),
    ]);
}
