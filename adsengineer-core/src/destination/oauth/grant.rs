//! The form that asks for a token: a refresh token, or an assertion signed with a service account's key.

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, errors};
use serde::Serialize;

use super::{Credentials, SCOPE, TokenError};
use crate::{destination::http::Url, secret::Secret};

/// Longest life of an assertion, in seconds. Source: Google, "Using OAuth 2.0 for Server to Server Applications".
const ASSERTION_SECONDS: i64 = 3600;

/// What a token request is made of.
pub(super) enum Grant {
    RefreshToken { client_id: String, client_secret: Secret<String>, refresh_token: Secret<String> },
    Assertion { issuer: String, key_id: Option<String>, key: EncodingKey, audience: String },
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

/// A form whose secrets are wiped.
pub(super) struct Form(Vec<(&'static str, Secret<String>)>);

impl Grant {
    /// The audience of an assertion is the token endpoint itself.
    pub(super) fn new(credentials: Credentials, token_url: &Url) -> Result<Self, errors::Error> {
        Ok(match credentials {
            Credentials::AuthorizedUser { client_id, client_secret, refresh_token } => {
                Self::RefreshToken { client_id, client_secret, refresh_token }
            }
            Credentials::ServiceAccount { client_email, private_key_id, private_key } => Self::Assertion {
                issuer: client_email,
                key_id: private_key_id,
                key: EncodingKey::from_rsa_pem(private_key.expose().as_bytes())?,
                audience: token_url.as_str().to_owned(),
            },
        })
    }

    pub(super) fn form(&self, now: Timestamp) -> Result<Form, TokenError> {
        let plain = |text: &str| Secret::new(text.to_owned());
        Ok(Form(match self {
            Self::RefreshToken { client_id, client_secret, refresh_token } => vec![
                ("grant_type", plain("refresh_token")),
                ("client_id", plain(client_id)),
                ("client_secret", client_secret.clone()),
                ("refresh_token", refresh_token.clone()),
            ],
            Self::Assertion { .. } => {
                vec![("grant_type", plain("urn:ietf:params:oauth:grant-type:jwt-bearer")), ("assertion", self.assertion(now)?)]
            }
        }))
    }

    fn assertion(&self, now: Timestamp) -> Result<Secret<String>, TokenError> {
        let Self::Assertion { issuer, key_id, key, audience } = self else { return Ok(Secret::new(String::new())) };
        let iat = now.as_second();
        let claims = Claims { iss: issuer, scope: SCOPE, aud: audience, iat, exp: iat + ASSERTION_SECONDS };
        let header = Header { kid: key_id.clone(), ..Header::new(Algorithm::RS256) };
        let signed = jsonwebtoken::encode(&header, &claims, key);
        signed.map(Secret::new).map_err(|e| TokenError::new("SERVICE_ACCOUNT_KEY_INVALID", &format!("the assertion cannot be signed: {e}")))
    }
}

impl Form {
    /// The fields, to be sent.
    pub(super) fn fields(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.expose().as_str())).collect()
    }
}
