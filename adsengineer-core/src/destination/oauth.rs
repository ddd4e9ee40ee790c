//! Access tokens for Google: one request at a time, cached, renewed early, and dropped when the platform refuses one.
//!
//! Refresh token grant and error bodies: RFC 6749 §6, §5.2. Service account grant: RFC 7523 with RS256. Early renewal by 3 min 45 s: google-auth.

mod credentials;
mod grant;
pub mod login;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{
    Answer,
    google::codes,
    http::{self, Client, HttpSetupError, Url},
};
use crate::{
    clock::Clock,
    outcome::{Outcome, Why},
    secret::Secret,
};
pub use credentials::{Credentials, InvalidCredentials};
use grant::Grant;

/// The scope that uploads need.
pub const SCOPE: &str = "https://www.googleapis.com/auth/datamanager";
/// Google's token endpoint.
pub const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

/// How long before its end a token is renewed.
const EARLY: Duration = Duration::from_secs(225);
/// How long a token is taken to live when the answer does not say.
const DEFAULT_LIFE: Duration = Duration::from_secs(3600);

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no access token: {}: {}", why.code, why.detail)]
pub struct TokenError {
    why: Why,
    after: Option<Duration>,
}

impl TokenError {
    fn new(code: &str, detail: &str) -> Self {
        Self { why: Why::new(code, detail), after: None }
    }

    /// The reason.
    pub fn why(&self) -> &Why {
        &self.why
    }

    /// What it means for rows that were to be sent: nothing went out. A refused token endpoint holds them, a silent one lets them wait.
    pub fn answer(&self) -> Answer {
        let outcome = match codes::class(&self.why.code).outcome(self.why.clone()) {
            Outcome::Retry { why, .. } => Outcome::Retry { after: self.after, counts: false, why },
            held => held,
        };
        let healthy = !matches!(outcome, Outcome::Retry { .. });
        Answer { healthy, ..Answer::all(outcome) }
    }
}

/// A token and when it is renewed.
struct Cached {
    token: Arc<Secret<String>>,
    renew_at: Timestamp,
}

/// Gives out access tokens for one set of credentials.
pub struct TokenSource {
    client: Client,
    url: Url,
    grant: Grant,
    clock: Arc<dyn Clock>,
    cached: Mutex<Option<Cached>>,
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSource").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// Why a token source cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenSetupError {
    /// The token URL or the client.
    #[error(transparent)]
    Http(#[from] HttpSetupError),
    /// The service account's key.
    #[error("the private key of the service account cannot be used: {0}; it must be an RSA key in PEM, as Google's file has it")]
    Key(#[source] jsonwebtoken::errors::Error),
}

impl TokenSource {
    /// Tokens for `credentials` from `token_url`.
    pub fn new(credentials: Credentials, token_url: &str, timeout: Duration, clock: Arc<dyn Clock>) -> Result<Self, TokenSetupError> {
        let url = http::endpoint(token_url, "access tokens")?;
        let client = http::client(&url, timeout)?;
        let grant = Grant::new(credentials, &url).map_err(TokenSetupError::Key)?;
        Ok(Self { client, url, grant, clock, cached: Mutex::new(None) })
    }

    /// A token that still lives a while. Callers at the same time share one request.
    pub async fn token(&self) -> Result<Arc<Secret<String>>, TokenError> {
        let mut cached = self.cached.lock().await;
        let now = self.clock.now();
        if let Some(fresh) = cached.as_ref().filter(|c| now < c.renew_at) {
            return Ok(Arc::clone(&fresh.token));
        }
        *cached = None;
        let form = self.grant.form(now)?;
        let answer: TokenAnswer = request(&self.client, &self.url, &form.fields(), now).await?;
        let life = answer.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
        let token = Arc::new(Secret::new(answer.access_token));
        let renew_at = now.checked_add(life.saturating_sub(EARLY.min(life / 2))).unwrap_or(now);
        *cached = Some(Cached { token: Arc::clone(&token), renew_at });
        Ok(token)
    }

    /// Forgets `refused`, unless it has been replaced already.
    pub async fn invalidate(&self, refused: &Arc<Secret<String>>) {
        let mut cached = self.cached.lock().await;
        if cached.as_ref().is_some_and(|c| Arc::ptr_eq(&c.token, refused)) {
            *cached = None;
        }
    }
}

/// A successful answer of a token endpoint (RFC 6749 §5.1).
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    access_token: String,
    expires_in: Option<u64>,
    refresh_token: Option<String>,
    scope: Option<String>,
    /// Google's, while the consent screen is in testing mode.
    refresh_token_expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// Asks a token endpoint once.
async fn request(client: &Client, url: &Url, form: &[(&str, &str)], now: Timestamp) -> Result<TokenAnswer, TokenError> {
    let unavailable = |detail: &str| TokenError::new("TOKEN_UNAVAILABLE", detail);
    let sent = client.post(url.clone()).form(form).send().await;
    let response = sent.map_err(|e| unavailable(&http::chain(&e.without_url())))?;
    let (status, after) = (response.status(), http::retry_after(&response, now));
    let body = http::body(response).await.map_err(|e| unavailable(&e.to_string()))?;
    if status.is_success() {
        let answer = serde_json::from_slice::<TokenAnswer>(&body).ok().filter(|answer| !answer.access_token.is_empty());
        return answer.ok_or_else(|| unavailable("the token endpoint answered without a token"));
    }
    Err(TokenError { after, ..refusal(status.as_u16(), &body) })
}

/// What a token endpoint's refusal means. Retryable statuses and bodies: google-auth's lists.
fn refusal(status: u16, body: &[u8]) -> TokenError {
    let temporary = matches!(status, 408 | 429 | 500..=599);
    let Ok(error) = serde_json::from_slice::<ErrorAnswer>(body) else {
        let code = if temporary { "TOKEN_UNAVAILABLE" } else { "TOKEN_REFUSED" };
        return TokenError::new(code, &format!("HTTP {status} from the token endpoint, without an OAuth error"));
    };
    let detail = format!("HTTP {status} {}: {}", error.error, error.error_description);
    let (detail, known) = (detail.trim_end_matches([':', ' ']), codes::known_class(&error.error));
    match known {
        Some(class) if !(temporary && matches!(class, codes::Class::Hold(_))) => TokenError::new(&error.error, detail),
        _ if temporary => TokenError::new("TOKEN_UNAVAILABLE", detail),
        _ => TokenError::new("TOKEN_REFUSED", detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::HoldScope;

    #[test]
    fn refusals_hold_and_silence_waits() {
        for (status, body, code, held) in [
            (400, r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#, "invalid_grant", true),
            (401, r#"{"error":"invalid_client"}"#, "invalid_client", true),
            (400, r#"{"error":"something_new"}"#, "TOKEN_REFUSED", true),
            (404, "<html>", "TOKEN_REFUSED", true),
            (400, r#"{"error":"temporarily_unavailable"}"#, "temporarily_unavailable", false),
            (500, r#"{"error":"internal_failure"}"#, "internal_failure", false),
            (503, "<html>", "TOKEN_UNAVAILABLE", false),
            (503, r#"{"error":"invalid_grant"}"#, "TOKEN_UNAVAILABLE", false),
            (429, r#"{"error":"rate"}"#, "TOKEN_UNAVAILABLE", false),
        ] {
            let error = refusal(status, body.as_bytes());
            assert_eq!(error.why().code.as_ref(), code);
            let answer = error.answer();
            assert_eq!(matches!(answer.default, Outcome::Hold(HoldScope::Credentials, _)), held, "{body}");
            assert_eq!(matches!(answer.default, Outcome::Retry { counts: false, .. }), !held, "{body}");
            assert_eq!(answer.healthy, held, "a refusal is an answer: the endpoint is well");
        }
    }
}
