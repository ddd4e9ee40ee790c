//! Signing in with a browser: authorization code with PKCE over the loopback interface (RFC 8252 §7.3, RFC 7636).
//!
//! The caller listens on 127.0.0.1, shows the URL of [`Login::authorization_url`], hands the redirect to [`Login::code`] and the code to
//! [`Login::exchange`].

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Credentials, SCOPE, TokenError, request};
use crate::{
    clock::Clock,
    destination::http::{self, HttpSetupError, Url},
    secret::Secret,
};

/// Google's page that asks for consent.
pub const AUTHORIZATION_URL: &str = "https://accounts.google.com/o/oauth2/v2/auth";

/// An OAuth client, from the file that Google's console offers.
#[derive(Clone, Debug)]
pub struct ClientSecrets {
    /// The client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret<String>,
}

/// Why signing in did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The client file is something else.
    #[error(
        "this is not the file of an OAuth client: {0}; create a client of type desktop app in the Google Cloud console and download its JSON"
    )]
    NotAClientFile(&'static str),
    /// An address or the HTTP client.
    #[error(transparent)]
    Http(#[from] HttpSetupError),
    /// The redirect does not belong to this attempt.
    #[error("the browser came back with an answer that does not belong to this sign-in; start again")]
    ForeignAnswer,
    /// The person or Google said no.
    #[error("Google refused the sign-in: {0}")]
    Refused(String),
    /// The code could not be exchanged.
    #[error("the sign-in could not be completed: {0}")]
    Token(#[from] TokenError),
    /// The grant is of no use.
    #[error("Google gave no {0}; start again and tick every box on the consent screen")]
    Incomplete(&'static str),
}

#[derive(Deserialize)]
struct ClientFile {
    installed: Option<ClientFields>,
    web: Option<ClientFields>,
}

#[derive(Deserialize)]
struct ClientFields {
    client_id: String,
    client_secret: String,
}

impl ClientSecrets {
    /// Reads the file of a desktop (`installed`) or web (`web`) client.
    pub fn from_json(text: &str) -> Result<Self, LoginError> {
        let file: ClientFile =
            serde_json::from_str(text).map_err(|_| LoginError::NotAClientFile("no client id and secret can be read from it"))?;
        let fields = file.installed.or(file.web).ok_or(LoginError::NotAClientFile("it has neither `installed` nor `web`"))?;
        Ok(Self { client_id: fields.client_id, client_secret: fields.client_secret.into() })
    }
}

/// One attempt to sign in.
#[derive(Debug)]
pub struct Login {
    client: ClientSecrets,
    redirect_uri: String,
    state: Secret<String>,
    verifier: Secret<String>,
}

/// What signing in brought.
#[derive(Debug)]
pub struct LoggedIn {
    /// To be stored.
    pub credentials: Credentials,
    /// When the grant dies by itself: seven days while the consent screen is in testing mode.
    pub expires_in: Option<Duration>,
}

impl Login {
    /// Starts an attempt; `redirect_uri` is the listener's `http://127.0.0.1:PORT`.
    pub fn start(client: ClientSecrets, redirect_uri: &str) -> Self {
        let [state, verifier] = [(); 2].map(|()| Secret::new(BASE64.encode(rand::random::<[u8; 32]>())));
        Self { client, redirect_uri: redirect_uri.to_owned(), state, verifier }
    }

    /// The page to open. It asks for offline access and always for consent, without which Google gives no refresh token.
    pub fn authorization_url(&self, base: &str) -> Result<Url, LoginError> {
        let mut url = http::endpoint(base, "signing in")?;
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &self.client.client_id),
            ("redirect_uri", &self.redirect_uri),
            ("scope", SCOPE),
            ("state", self.state.expose()),
            ("code_challenge", &BASE64.encode(Sha256::digest(self.verifier.expose()))),
            ("code_challenge_method", "S256"),
            ("access_type", "offline"),
            ("prompt", "consent"),
        ]);
        Ok(url)
    }

    /// The code in `target`, the path and query with which the browser came back.
    pub fn code(&self, target: &str) -> Result<Secret<String>, LoginError> {
        let url = Url::parse("http://127.0.0.1").and_then(|base| base.join(target)).map_err(|_| LoginError::ForeignAnswer)?;
        let field = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        if field("state").as_deref() != Some(self.state.expose()) {
            return Err(LoginError::ForeignAnswer);
        }
        match (field("error"), field("code").filter(|code| !code.is_empty())) {
            (Some(error), _) => Err(LoginError::Refused(error.chars().take(100).collect())),
            (None, Some(code)) => Ok(code.into()),
            (None, None) => Err(LoginError::ForeignAnswer),
        }
    }

    /// Exchanges the code for credentials.
    pub async fn exchange(
        self,
        code: &Secret<String>,
        token_url: &str,
        timeout: Duration,
        clock: &dyn Clock,
    ) -> Result<LoggedIn, LoginError> {
        let url = http::endpoint(token_url, "access tokens")?;
        let client = http::client(&url, timeout)?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("client_id", &self.client.client_id),
            ("client_secret", self.client.client_secret.expose()),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", self.verifier.expose()),
        ];
        let answer = request(&client, &url, &form, clock.now()).await?;
        if answer.scope.is_some_and(|scope| !scope.split(' ').any(|granted| granted == SCOPE)) {
            return Err(LoginError::Incomplete("access to the Data Manager API"));
        }
        let refresh_token = answer.refresh_token.filter(|token| !token.is_empty()).ok_or(LoginError::Incomplete("refresh token"))?;
        let ClientSecrets { client_id, client_secret } = self.client;
        let credentials = Credentials::AuthorizedUser { client_id, client_secret, refresh_token: refresh_token.into() };
        Ok(LoggedIn { credentials, expires_in: answer.refresh_token_expires_in.map(Duration::from_secs) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        let client = ClientSecrets::from_json(r#"{"installed":{"client_id":"c","client_secret":"hunter2","auth_uri":"x"}}"#).unwrap();
        Login::start(client, "http://127.0.0.1:5000")
    }

    #[test]
    fn the_url_asks_for_offline_access_consent_and_the_scope_with_a_challenge_of_the_verifier() {
        let login = login();
        let url = login.authorization_url(AUTHORIZATION_URL).unwrap();
        let field = |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        assert_eq!([field("access_type"), field("prompt"), field("scope")], ["offline", "consent", SCOPE]);
        assert_eq!(field("redirect_uri"), "http://127.0.0.1:5000");
        assert_eq!(field("code_challenge"), BASE64.encode(Sha256::digest(login.verifier.expose())));
        assert!((43..=128).contains(&login.verifier.expose().len()), "RFC 7636 §4.1");
        assert!(!url.as_str().contains("hunter2"));
    }

    #[test]
    fn only_the_answer_to_this_attempt_is_taken() {
        let login = login();
        let state = login.state.expose();
        assert_eq!(login.code(&format!("/?state={state}&code=4%2Fabc")).unwrap().expose(), "4/abc");
        for foreign in ["/?code=x", "/?state=other&code=x", "/favicon.ico", &format!("/?state={state}"), "//"] {
            assert!(matches!(login.code(foreign), Err(LoginError::ForeignAnswer)), "{foreign}");
        }
        let refused = login.code(&format!("/?state={state}&error=access_denied"));
        assert!(matches!(refused, Err(LoginError::Refused(error)) if error == "access_denied"));
    }

    #[test]
    fn two_attempts_share_nothing() {
        let (one, two) = (login(), login());
        assert_ne!(one.state.expose(), two.state.expose());
        assert_ne!(one.verifier.expose(), two.verifier.expose());
        assert_ne!(one.state.expose(), one.verifier.expose());
    }

    #[test]
    fn client_files_of_both_kinds_are_read_and_others_refused() {
        assert_eq!(ClientSecrets::from_json(r#"{"web":{"client_id":"w","client_secret":"s"}}"#).unwrap().client_id, "w");
        for bad in ["", "{}", r#"{"type":"authorized_user"}"#, r#"{"installed":{"client_id":"x"}}"#] {
            assert!(matches!(ClientSecrets::from_json(bad), Err(LoginError::NotAClientFile(_))), "{bad}");
        }
    }
}
