//! The table of settings.

use super::parse_duration;

/// What a setting's value looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Text,
    Duration,
    Number,
    OneOf(&'static [&'static str]),
    Org,
    DatabaseUrl,
    HttpUrl,
    Key32,
    Instant,
    Customer,
    ServerUrl,
    Listen,
    Rate,
    Networks,
    LimiterUrl,
    Origins,
}

/// A setting.
#[derive(Debug)]
pub struct Key {
    /// Its name in the file and in `config show`.
    pub name: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// Its default.
    pub default: Option<&'static str>,
    /// What it does, in one line.
    pub help: &'static str,
    kind: Kind,
}

const fn key(name: &'static str, default: Option<&'static str>, kind: Kind, help: &'static str) -> Key {
    Key { name, secret: false, default, help, kind }
}

const fn secret(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key { name, secret: true, default: None, help, kind }
}

/// Every setting there is.
pub const KEYS: &[Key] = &[
    key("database_url", None, Kind::DatabaseUrl, "sqlite://path or postgres://user@host/database; default: a file in the data folder"),
    key("org", Some("default"), Kind::Org, "organization of local commands"),
    key("operator_org", None, Kind::Org, "organization whose owners may do instance-wide things over HTTP"),
    key("server", None, Kind::ServerUrl, "server that everyday commands use instead of a database of their own"),
    secret("token", Kind::Text, "token for that server; else the one that `adsengineer login` stored"),
    key("profile", None, Kind::Org, "which stored login to use"),
    key("listen", Some("127.0.0.1:8090"), Kind::Listen, "address that `serve` listens on; port 0: any free one"),
    key("public_url", None, Kind::HttpUrl, "how the server is reached from outside; default: the listen address"),
    key(
        "rate_limit_url",
        Some("memory://"),
        Kind::LimiterUrl,
        "where requests are counted: memory://, redis://… shared by processes, none:// in development",
    ),
    key("rate_limit_ip", Some("100/h"), Kind::Rate, "requests without a token, by address (IPv6 by /64)"),
    key("rate_limit_shop", Some("1000/h"), Kind::Rate, "verified webhooks, by source"),
    key("rate_limit_org", Some("60000/m"), Kind::Rate, "requests with a token, by organization"),
    key("rate_limit_auth", Some("5/15m"), Kind::Rate, "bad tokens, by address"),
    key("trusted_proxies", None, Kind::Networks, "networks whose X-Forwarded-For is believed, separated by commas"),
    key("cors_origins", None, Kind::Origins, "web origins that may use the API from a browser, separated by commas"),
    secret("jwt_secret", Kind::Text, "signs tokens; 32 bytes or more"),
    key("jwt_kid", None, Kind::Text, "name of that secret; default: first 8 hexadecimal digits of its SHA-256"),
    secret("jwt_previous_secrets", Kind::Text, "secrets whose tokens are still good: kid=secret, separated by commas"),
    key("tls_cert_file", None, Kind::Text, "certificate chain in PEM; with its key the server speaks TLS"),
    key("tls_key_file", None, Kind::Text, "key of that certificate in PEM"),
    key("environment", None, Kind::OneOf(&["development", "staging", "production"]), "development may make its own keys"),
    secret("encryption_key", Kind::Key32, "base64, 32 bytes; `adsengineer key generate` prints one"),
    secret("encryption_previous_keys", Kind::Text, "keys that may still open old rows, separated by commas"),
    key("google_credentials_file", None, Kind::Text, "service_account or authorized_user JSON"),
    key("google_client_id", None, Kind::Text, "OAuth client id, with client secret and refresh token"),
    secret("google_client_secret", Kind::Text, "OAuth client secret"),
    secret("google_refresh_token", Kind::Text, "OAuth refresh token"),
    key("google_customer_id", None, Kind::Customer, "account that owns the conversion actions"),
    key("google_login_customer_id", None, Kind::Customer, "manager account through which it is reached"),
    key("breaker_failures", Some("5"), Kind::Number, "failures in a row that open a destination's breaker"),
    key("breaker_successes", Some("3"), Kind::Number, "successes in a row that close it again"),
    key("breaker_open", Some("60s"), Kind::Duration, "how long it stays open"),
    key("retry_base", Some("1s"), Kind::Duration, "first wait after a failure; doubles"),
    key("retry_cap", Some("5m"), Kind::Duration, "longest quick wait"),
    key("retry_attempts", Some("8"), Kind::Number, "attempts before a delivery is a dead letter"),
    key("lease", Some("60s"), Kind::Duration, "how long a worker may hold rows"),
    key("status_poll_first", Some("30m"), Kind::Duration, "first question for Google's verdict"),
    key("status_poll_cap", Some("4h"), Kind::Duration, "longest wait between questions"),
    key(
        "migrate",
        None,
        Kind::OneOf(&["auto", "check"]),
        "bring an older database up to date at start, or refuse it; default: auto for a file, check for a server",
    ),
    key("log", Some("info"), Kind::Text, "log filter"),
    key("log_format", None, Kind::OneOf(&["text", "json"]), "text on a terminal, else json"),
    key("google_data_manager_url", Some("https://datamanager.googleapis.com"), Kind::HttpUrl, "for tests"),
    key("google_token_url", Some("https://oauth2.googleapis.com/token"), Kind::HttpUrl, "for tests: the full URL"),
    key("now", None, Kind::Instant, "development: instant at which the clock starts"),
];

impl Key {
    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!("ADSENGINEER_{}", self.name.to_ascii_uppercase())
    }

    /// Whether a file may hold its value, named by the variable with `_FILE` behind it: a URL may carry a password.
    pub(super) fn may_be_in_file(&self) -> bool {
        self.secret || matches!(self.kind, Kind::DatabaseUrl | Kind::LimiterUrl)
    }

    /// `text`, fit for a screen, whether or not it can be the value.
    pub(super) fn shown(&self, text: &str) -> String {
        match text.split_once("://") {
            _ if self.secret => "***".to_owned(),
            // Also of a URL that is none because its password was written as it is, nothing is shown.
            Some((scheme, rest)) if self.kind == Kind::LimiterUrl && rest.contains('@') => {
                format!("{scheme}://***@{}", rest.rsplit('@').next().unwrap_or_default())
            }
            _ => adsengineer_core::secret::redact_url(text),
        }
    }

    /// Its flag, without the dashes.
    pub fn flag(&self) -> String {
        self.name.trim_end_matches("_url").replace('_', "-")
    }

    /// Whether `text` can be its value; otherwise what it must be.
    pub(super) fn check(&self, text: &str) -> Result<(), String> {
        match self.kind {
            Kind::Text => Ok(()),
            Kind::Duration => parse_duration(text).map(|_| ()),
            Kind::Number => match text.parse::<u32>() {
                Ok(1..=1_000_000) => Ok(()),
                _ => Err("a whole number from 1 to 1000000".to_owned()),
            },
            Kind::OneOf(choices) if choices.contains(&text) => Ok(()),
            Kind::OneOf(choices) => Err(format!("one of {}", choices.join(", "))),
            Kind::Org => text.parse::<adsengineer_core::org::OrgId>().map(|_| ()).map_err(|e| e.to_string()),
            Kind::DatabaseUrl => text.parse::<adsengineer_core::store::Database>().map(|_| ()).map_err(|e| e.to_string()),
            Kind::HttpUrl => check_http(text),
            Kind::Key32 => adsengineer_core::vault::parse_key(text).map(|_| ()).map_err(|e| e.to_string()),
            Kind::Instant => {
                text.parse::<jiff::Timestamp>().map(|_| ()).map_err(|_| "an RFC 3339 instant such as 2026-11-20T12:00:00Z".to_owned())
            }
            Kind::ServerUrl => check_server(text),
            Kind::Listen if text.parse::<std::net::SocketAddr>().is_ok() => Ok(()),
            Kind::Listen => Err("an address and a port such as 127.0.0.1:8090 or [::]:8090".to_owned()),
            Kind::Rate => text.parse::<adsengineer_core::rate_limit::Rate>().map(|_| ()).map_err(|e| e.to_string()),
            Kind::Networks => {
                list(text).try_for_each(|n| n.parse::<adsengineer_core::client_address::Cidr>().map(|_| ()).map_err(|e| e.to_string()))
            }
            Kind::LimiterUrl => match text {
                "memory://" | "none://" => Ok(()),
                _ => match text.parse::<adsengineer_core::limiter::RedisUrl>() {
                    Ok(_) => Ok(()),
                    Err(error) => Err(format!("memory://, none:// in development, or {error}")),
                },
            },
            Kind::Origins => list(text).try_for_each(|origin| match check_server(origin) {
                Ok(()) if origin.matches('/').count() == 2 => Ok(()),
                _ => Err("origins such as https://app.example.com".to_owned()),
            }),
            Kind::Customer => text.parse::<adsengineer_core::destination::CustomerId>().map(|_| ()).map_err(|e| e.to_string()),
        }
    }
}

/// The items of a list that is separated by commas.
pub fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// A server of ours: https, or plain http only to loopback.
fn check_server(text: &str) -> Result<(), String> {
    check_http(text.trim_end_matches('/'))
}

fn check_http(text: &str) -> Result<(), String> {
    let host = |rest: &str| rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
    match text.split_once("://") {
        Some(("https", rest)) if !host(rest).is_empty() => Ok(()),
        Some(("http", rest)) if is_loopback(&host(rest)) => Ok(()),
        Some(("http", _)) => Err("https://…; plain http only to loopback".to_owned()),
        _ => Err("an https:// URL".to_owned()),
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What to say of an environment variable that looks like ours and is not; `None` if it is known, or nobody's fault.
pub(super) fn unknown_variable(name: &str) -> Option<String> {
    let rest = name.strip_prefix("ADSENGINEER_")?;
    // The whole name counts: a Service called `adsengineer` gives ADSENGINEER_SERVICE_HOST.
    let injected = name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || name.contains("_PORT_") || name.ends_with("_PORT");
    let known =
        rest == "CONFIG" || KEYS.iter().any(|k| k.variable() == name || (k.may_be_in_file() && format!("{}_FILE", k.variable()) == name));
    if injected || known {
        return None;
    }
    let hint = nearest(&rest.to_ascii_lowercase()).map(|key| format!("; did you mean ADSENGINEER_{}?", key.to_ascii_uppercase()));
    Some(format!("the environment variable {name} means nothing here{}", hint.unwrap_or_default()))
}

/// The known setting most like `name`, if any is.
pub fn nearest(name: &str) -> Option<&'static str> {
    let best = KEYS.iter().map(|key| (distance(name, key.name), key.name)).min()?;
    (best.0 <= 1 + name.len() / 4).then_some(best.1)
}

/// Levenshtein distance.
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
