//! The token endpoint: refresh token, service account assertion, authorization code; and the tokens it gave out.

use std::collections::{BTreeMap, HashMap};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::options::SandboxOptions;

const SCOPE: &str = "https://www.googleapis.com/auth/datamanager";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How far a client's clock may be off, and the longest life of an assertion; both Google's.
const SKEW_S: i64 = 300;
const LONGEST_S: i64 = 3600;

/// The form's fields by name.
pub(super) type Form = BTreeMap<String, String>;

/// The tokens that live.
#[derive(Default)]
pub(super) struct Tokens {
    live: HashMap<String, Instant>,
    code_used: bool,
    revoked: bool,
}

/// An OAuth error (RFC 6749, section 5.2).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) error: &'static str,
    pub(super) description: &'static str,
}

fn refuse<T>(status: u16, error: &'static str, description: &'static str) -> Result<T, Refusal> {
    Err(Refusal { status, error, description })
}

impl Tokens {
    /// Answers one form; `fresh` is what a new access token is called, `unix_s` the time.
    pub(super) fn grant(&mut self, form: &Form, options: &SandboxOptions, fresh: &str, unix_s: i64) -> Result<Value, Refusal> {
        let mut more = None;
        match field(form, "grant_type") {
            "refresh_token" => {
                check_client(form, options)?;
                if self.revoked || field(form, "refresh_token") != options.refresh_token {
                    return refuse(400, "invalid_grant", "Token has been expired or revoked.");
                }
            }
            JWT_BEARER => check_assertion(field(form, "assertion"), unix_s)?,
            "authorization_code" => {
                check_client(form, options)?;
                self.check_code(form, options)?;
                more = Some(&options.refresh_token);
            }
            "" => return refuse(400, "invalid_request", "Missing required parameter: grant_type"),
            _ => return refuse(400, "unsupported_grant_type", "Invalid grant_type"),
        }
        self.live.insert(fresh.to_owned(), Instant::now() + options.token_lifetime);
        let mut answer =
            json!({ "access_token": fresh, "expires_in": options.token_lifetime.as_secs(), "scope": SCOPE, "token_type": "Bearer" });
        if let Some(token) = more {
            answer["refresh_token"] = json!(token);
        }
        Ok(answer)
    }

    /// Whether a token was given out and still lives.
    pub(super) fn is_live(&self, token: &str) -> bool {
        self.live.get(token).is_some_and(|end| Instant::now() < *end)
    }

    /// Every token given out so far is expired from now on.
    pub(super) fn expire_all(&mut self) {
        self.live.clear();
    }

    /// The refresh token works no more, or again.
    pub(super) fn set_revoked(&mut self, revoked: bool) {
        self.revoked = revoked;
    }

    /// RFC 7636: the verifier is 43 to 128 unreserved characters. There is no challenge to compare it with.
    fn check_code(&mut self, form: &Form, options: &SandboxOptions) -> Result<(), Refusal> {
        let verifier = field(form, "code_verifier");
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(unreserved) {
            return refuse(400, "invalid_grant", "Invalid code verifier.");
        }
        if field(form, "redirect_uri").is_empty() {
            return refuse(400, "invalid_request", "Missing parameter: redirect_uri");
        }
        if std::mem::replace(&mut self.code_used, true) || field(form, "code") != options.authorization_code {
            return refuse(400, "invalid_grant", "Malformed auth code.");
        }
        Ok(())
    }
}

fn field<'a>(form: &'a Form, name: &str) -> &'a str {
    form.get(name).map(String::as_str).unwrap_or_default()
}

fn check_client(form: &Form, options: &SandboxOptions) -> Result<(), Refusal> {
    if field(form, "client_id") != options.client_id {
        return refuse(401, "invalid_client", "The OAuth client was not found.");
    }
    if field(form, "client_secret") != options.client_secret {
        return refuse(401, "invalid_client", "Unauthorized");
    }
    Ok(())
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    scope: String,
    aud: String,
    iat: i64,
    exp: i64,
}

/// RFC 7523 by shape: the sandbox has no key to check the signature with.
fn check_assertion(assertion: &str, unix_s: i64) -> Result<(), Refusal> {
    let Some((header, claims)) = parts(assertion) else {
        return refuse(400, "invalid_grant", "Invalid JWT: not three base64url parts.");
    };
    if header.get("alg").and_then(Value::as_str) != Some("RS256") {
        return refuse(400, "invalid_grant", "Invalid JWT Signature.");
    }
    if claims.iss.is_empty() || claims.aud.is_empty() {
        return refuse(400, "invalid_grant", "Invalid JWT: Failed audience check.");
    }
    if !claims.scope.split(' ').any(|scope| scope == SCOPE) {
        return refuse(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.");
    }
    if claims.exp <= unix_s || claims.iat > unix_s + SKEW_S || claims.exp - claims.iat > LONGEST_S {
        return refuse(400, "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.");
    }
    Ok(())
}

fn parts(assertion: &str) -> Option<(Value, Claims)> {
    let mut parts = assertion.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok().filter(|bytes| !bytes.is_empty()));
    let (header, claims, _signature) = (parts.next()??, parts.next()??, parts.next()??);
    let read = (serde_json::from_slice(&header).ok()?, serde_json::from_slice(&claims).ok()?);
    parts.next().is_none().then_some(read)
}

/// A credentials file of the kind `authorized_user` for these options.
pub(super) fn credentials_json(options: &SandboxOptions, token_url: &str) -> String {
    json!({
        "type": "authorized_user",
        "client_id": options.client_id,
        "client_secret": options.client_secret,
        "refresh_token": options.refresh_token,
        "token_uri": token_url,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::{Form, JWT_BEARER, SCOPE, Tokens};
    use crate::sandbox::SandboxOptions;

    fn form(fields: &[(&str, &str)]) -> Form {
        let client = [("client_id", "sandbox-client.apps.googleusercontent.com"), ("client_secret", "sandbox-client-secret")];
        client.iter().chain(fields).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn grant(tokens: &mut Tokens, fields: &[(&str, &str)]) -> Result<Value, &'static str> {
        tokens.grant(&form(fields), &SandboxOptions::default(), "fresh", 1_000_000).map_err(|refusal| refusal.error)
    }

    fn assertion(claims: &Value) -> String {
        let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", encode(&json!({ "alg": "RS256", "typ": "JWT" })), encode(claims))
    }

    #[test]
    fn a_refresh_token_gives_a_token_that_lives_until_it_is_expired() {
        let mut tokens = Tokens::default();
        let fields = [("grant_type", "refresh_token"), ("refresh_token", "1//sandbox-refresh-token")];
        let answer = grant(&mut tokens, &fields).unwrap();
        assert_eq!((&answer["access_token"], &answer["expires_in"]), (&json!("fresh"), &json!(3599)));
        assert!(answer.get("refresh_token").is_none() && tokens.is_live("fresh") && !tokens.is_live("other"));
        tokens.expire_all();
        assert!(!tokens.is_live("fresh"));
        tokens.set_revoked(true);
        assert_eq!(grant(&mut tokens, &fields), Err("invalid_grant"));
    }

    #[test]
    fn strangers_are_refused_by_their_names() {
        let mut tokens = Tokens::default();
        let refresh = ("grant_type", "refresh_token");
        assert_eq!(grant(&mut tokens, &[refresh, ("client_id", "x")]), Err("invalid_client"));
        assert_eq!(grant(&mut tokens, &[refresh, ("client_secret", "x")]), Err("invalid_client"));
        assert_eq!(grant(&mut tokens, &[refresh, ("refresh_token", "x")]), Err("invalid_grant"));
        assert_eq!(grant(&mut tokens, &[("grant_type", "password")]), Err("unsupported_grant_type"));
        assert_eq!(grant(&mut tokens, &[]), Err("invalid_request"));
    }

    #[test]
    fn an_authorization_code_needs_its_verifier_and_works_once() {
        let mut tokens = Tokens::default();
        let verifier = "v".repeat(43);
        let fields = |verifier| {
            let redirect = ("redirect_uri", "http://127.0.0.1:1/");
            [("grant_type", "authorization_code"), ("code", "4/sandbox-authorization-code"), redirect, ("code_verifier", verifier)]
        };
        assert_eq!(grant(&mut tokens, &fields("short")), Err("invalid_grant"));
        assert_eq!(grant(&mut tokens, &fields(&verifier)[..2]), Err("invalid_grant"));
        assert_eq!(grant(&mut tokens, &fields(&verifier)).unwrap()["refresh_token"], "1//sandbox-refresh-token");
        assert_eq!(grant(&mut tokens, &fields(&verifier)), Err("invalid_grant"));
    }

    #[test]
    fn an_assertion_is_judged_by_its_shape_scope_and_times() {
        let mut tokens = Tokens::default();
        let good = json!({ "iss": "a", "aud": "b", "scope": SCOPE, "iat": 1_000_000, "exp": 1_003_600 });
        let mut judge = |assertion: &str| grant(&mut tokens, &[("grant_type", JWT_BEARER), ("assertion", assertion)]).err();
        assert_eq!(judge(&assertion(&good)), None);
        for (name, value, error) in [
            ("scope", json!("https://www.googleapis.com/auth/adwords"), "invalid_scope"),
            ("exp", json!(1_000_000), "invalid_grant"),
            ("exp", json!(1_003_601), "invalid_grant"),
            ("iat", json!(1_000_301), "invalid_grant"),
            ("aud", json!(""), "invalid_grant"),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            assert_eq!(judge(&assertion(&bad)), Some(error), "{bad}");
        }
        for bad in ["", "a.b", "a.b.c.d", "e30.e30.c2ln"] {
            assert_eq!(judge(bad), Some("invalid_grant"), "{bad}");
        }
        let unsigned = assertion(&good).replace("c2ln", "");
        assert_eq!(judge(&unsigned), Some("invalid_grant"));
    }
}
