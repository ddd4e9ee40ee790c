//! Where a Redis is.

use std::{fmt, str::FromStr};

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};

/// `redis://[user][:password@]host[:port][/database]`, or `rediss://…` over TLS. Shown without user and password.
#[derive(Clone)]
pub struct RedisUrl(ConnectionInfo);

/// Why a text is no such URL; it may hold a password, so that it is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "redis://[[user]:password@]host[:port][/database], or rediss:// for TLS, without `?` or `#`; \
     in user and password write characters such as `/`, `@` and `:` as %2F, %40 and %3A"
)]
pub struct InvalidRedisUrl;

impl RedisUrl {
    /// How to connect, to another node of the same cluster if one is named as `host:port`.
    pub(super) fn info(&self, node: Option<&str>) -> ConnectionInfo {
        let info = self.0.clone();
        let settings = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_tcp_settings(settings);
        let Some((host, port)) = node.and_then(address) else { return info };
        let host = if host.is_empty() { self.host().to_owned() } else { host.to_owned() };
        let address = match info.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        info.set_addr(address)
    }

    fn host(&self) -> &str {
        match self.0.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
            _ => "",
        }
    }
}

/// Host, which may be empty, and port of a cluster's `MOVED`; an IPv6 address stands there without brackets.
fn address(node: &str) -> Option<(&str, u16)> {
    let (host, port) = node.rsplit_once(':')?;
    Some((host.trim_start_matches('[').trim_end_matches(']'), port.parse().ok()?))
}

impl FromStr for RedisUrl {
    type Err = InvalidRedisUrl;

    fn from_str(text: &str) -> Result<Self, InvalidRedisUrl> {
        let known = ["redis://", "rediss://"].iter().any(|scheme| text.starts_with(scheme));
        if !known || text.contains(['?', '#']) || text.contains(char::is_whitespace) {
            return Err(InvalidRedisUrl);
        }
        let info = text.into_connection_info().map_err(|_| InvalidRedisUrl)?;
        if info.redis_settings().db() < 0 {
            return Err(InvalidRedisUrl);
        }
        Ok(Self(info))
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if matches!(self.0.addr(), ConnectionAddr::TcpTls { .. }) { "rediss" } else { "redis" };
        write!(f, "{scheme}://{}/{}", self.0.addr(), self.0.redis_settings().db())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown_without_user_and_password() {
        for (text, shown) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://:hunter2@10.0.0.1:7000/3", "redis://10.0.0.1:7000/3"),
            ("rediss://me:hunter2%2F%40@cache.example.com", "rediss://cache.example.com:6379/0"),
            ("redis://[::1]:7000/", "redis://::1:7000/0"),
        ] {
            let url: RedisUrl = text.parse().unwrap();
            assert_eq!((format!("{url}"), format!("{url:?}")), (shown.to_owned(), shown.to_owned()));
        }
        let url: RedisUrl = "redis://me:a%2Fb%40@h".parse().unwrap();
        assert_eq!((url.0.redis_settings().username(), url.0.redis_settings().password()), (Some("me"), Some("a/b@")));
    }

    #[test]
    fn other_texts_are_refused_without_being_repeated() {
        for text in [
            "",
            "redis",
            "redis:localhost",
            "redis://",
            "redis:///0",
            "http://hunter2@h",
            "unix:///run/hunter2",
            "redis://:hunter/2@h",
            "redis://:hunter2@h/x",
            "redis://:hunter2@h/-1",
            "redis://:hunter2@h:99999",
            "redis://:hunter2@h?protocol=resp3",
            "rediss://:hunter2@h#insecure",
            "redis://:hunter 2@h",
            "redis://0.0.0.0",
        ] {
            let error = text.parse::<RedisUrl>().unwrap_err().to_string();
            assert!(!error.contains("hunter") && error.starts_with("redis://"), "{text}: {error}");
        }
    }

    #[test]
    fn a_cluster_names_other_nodes_with_or_without_a_host() {
        let plain: RedisUrl = "redis://:p@h:1/".parse().unwrap();
        let tls: RedisUrl = "rediss://h:1".parse().unwrap();
        let at = |url: &RedisUrl, node: Option<&str>| url.info(node).addr().to_string();
        assert_eq!(at(&plain, None), "h:1");
        assert_eq!(at(&plain, Some("10.0.0.2:7001")), "10.0.0.2:7001");
        assert_eq!(at(&plain, Some(":7001")), "h:7001");
        assert_eq!(at(&plain, Some("::1:7001")), "::1:7001");
        assert_eq!(at(&plain, Some("nonsense")), "h:1");
        assert_eq!(at(&tls, Some("b:2")), "b:2");
        assert!(matches!(tls.info(Some("b:2")).addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
        assert_eq!(plain.info(Some("b:2")).redis_settings().password(), Some("p"));
    }
}
