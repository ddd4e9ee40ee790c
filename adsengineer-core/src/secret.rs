//! Values that must not leak: `Debug` prints `***`, memory is wiped on drop, and opening one is a loud act.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// A secret value. It cannot be printed, compared by accident or serialised.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Wraps `value`.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself; every call is a place to review.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl From<String> for Secret<String> {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

/// `url` with any password replaced by `***`, fit for logs and screens.
pub fn redact_url(url: &str) -> String {
    let url = redact_parameter(url);
    let Some((scheme, rest)) = url.split_once("://") else { return url };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password that was written as it is may hold what ends an authority: rather too much is hidden than a part of it shown.
    let unescaped = || rest[..authority_end].contains(':').then(|| rest.rfind('@')).flatten();
    let Some(at) = rest[..authority_end].rfind('@').or_else(unescaped) else { return url };
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***{}", &rest[at..]),
        None => url,
    }
}

/// A password may also be a parameter, as in `postgres://host/?password=…`.
fn redact_parameter(url: &str) -> String {
    let Some((head, query)) = url.split_once('?') else { return url.to_owned() };
    let shown = |part: &str| match part.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().ends_with("password") => format!("{name}=***"),
        _ => part.to_owned(),
    };
    format!("{head}?{}", query.split('&').map(shown).collect::<Vec<_>>().join("&"))
}

/// Whether `url` carries a password.
pub fn url_has_password(url: &str) -> bool {
    redact_url(url) != url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_value() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn passwords_in_urls_are_redacted_and_nothing_else() {
        assert_eq!(redact_url("postgres://u:p@h:1/db?x=a@b"), "postgres://u:***@h:1/db?x=a@b");
        assert_eq!(redact_url("postgres://u:p@ss@h/db"), "postgres://u:***@h/db");
        assert_eq!(redact_url("postgres:///d?user=u&password=p&host=/run"), "postgres:///d?user=u&password=***&host=/run");
        for raw in ["postgres://u:p/w@h/d", "postgres://u:p?w@h/d", "postgres://u:p#w@h/d"] {
            assert_eq!(redact_url(raw), "postgres://u:***@h/d");
        }
        for same in ["postgres://h:5432/d", "sqlite:///a/b.db", "postgres://u@h/db", "memory://", "plain"] {
            assert_eq!(redact_url(same), same);
            assert!(!url_has_password(same));
        }
    }
}
