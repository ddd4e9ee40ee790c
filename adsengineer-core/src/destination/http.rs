//! The one way out over HTTP: clients with time limits and without redirects, addresses that may be called, bodies with a limit.

use std::{net::IpAddr, time::Duration};

use jiff::{Timestamp, fmt::rfc2822};
pub use reqwest::{Client, Url};
use reqwest::{Response, header, redirect};

/// Longest wait for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest body that is read.
pub const MAX_BODY: usize = 4 << 20;

/// Why nothing can be called.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpSetupError {
    /// Not a URL.
    #[error("`{url}` is not a URL for {purpose}: {source}")]
    NotAUrl {
        /// What it was given as.
        url: String,
        /// What it is for.
        purpose: &'static str,
        /// What is wrong with it.
        #[source]
        source: <Url as std::str::FromStr>::Err,
    },
    /// Plain HTTP over a network, or another scheme.
    #[error("`{url}` cannot be used for {purpose}: use https, or plain http to localhost only, because requests carry secrets")]
    NotEncrypted {
        /// What it was given as.
        url: String,
        /// What it is for.
        purpose: &'static str,
    },
    /// The TLS library could not be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(#[source] reqwest::Error),
}

/// Reads the address of `purpose`; plain http is taken to the loopback interface only.
pub fn endpoint(text: &str, purpose: &'static str) -> Result<Url, HttpSetupError> {
    let shown = || crate::secret::redact_url(text);
    let url: Url = text.trim().parse().map_err(|source| HttpSetupError::NotAUrl { url: shown(), purpose, source })?;
    if url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url)) {
        Ok(url)
    } else {
        Err(HttpSetupError::NotEncrypted { url: shown(), purpose })
    }
}

/// Whether `url` stays on this machine.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// A client for `url`: limited in time, never redirected, with the machine's proxy unless the address is on the machine.
pub fn client(url: &Url, timeout: Duration) -> Result<Client, HttpSetupError> {
    let builder = Client::builder()
        .user_agent(concat!("adsengineer/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .timeout(timeout)
        .redirect(redirect::Policy::none());
    let builder = if is_loopback(url) { builder.no_proxy() } else { builder };
    builder.build().map_err(HttpSetupError::Client)
}

/// Why an answer's body is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The connection broke or time ran out.
    #[error("the answer broke off: {}", chain(.0))]
    Broken(#[source] reqwest::Error),
    /// More than [`MAX_BODY`].
    #[error("the answer has more than {MAX_BODY} bytes")]
    TooLong,
}

/// The body of `response`, up to [`MAX_BODY`].
pub async fn body(mut response: Response) -> Result<Vec<u8>, BodyError> {
    let mut all = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Broken)? {
        if all.len() + chunk.len() > MAX_BODY {
            return Err(BodyError::TooLong);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// The wait that the `Retry-After` header asks for, in seconds or as a date (RFC 9110 §10.2.3).
pub fn retry_after(response: &Response, now: Timestamp) -> Option<Duration> {
    parse_retry_after(response.headers().get(header::RETRY_AFTER)?.to_str().ok()?, now)
}

fn parse_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = rfc2822::parse(text).ok()?.timestamp();
    Some(at.duration_since(now).try_into().unwrap_or(Duration::ZERO))
}

/// An error with its causes, which `reqwest` leaves out of its own text; without the URL, which is said elsewhere.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_taken_to_this_machine_only() {
        for good in
            ["https://datamanager.googleapis.com", "http://127.0.0.1:8080", "http://127.9.9.9/x", "http://localhost:1", "http://[::1]:1/"]
        {
            assert!(endpoint(good, "test").is_ok(), "{good}");
        }
        for bad in ["http://example.com", "http://localhost.example.com", "http://10.0.0.1", "ftp://localhost", "http://[::2]/"] {
            assert!(matches!(endpoint(bad, "test"), Err(HttpSetupError::NotEncrypted { .. })), "{bad}");
        }
        assert!(matches!(endpoint("localhost", "test"), Err(HttpSetupError::NotAUrl { .. })));
    }

    #[test]
    fn passwords_in_refused_addresses_are_not_repeated() {
        let error = endpoint("http://user:hunter2@example.com", "test").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn waits_are_read_in_seconds_and_as_dates_and_past_dates_are_no_wait() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        for (text, wait) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Fri, 20 Nov 2026 12:00:30 GMT", Some(30)),
            ("Fri, 20 Nov 2026 11:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(parse_retry_after(text, now).map(|w| w.as_secs()), wait, "{text}");
        }
    }
}
