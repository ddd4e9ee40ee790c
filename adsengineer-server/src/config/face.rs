//! The settings of the HTTP face, checked together before anything listens.

use std::{net::SocketAddr, path::Path, sync::Arc};

use adsengineer_core::{
    client_address::Cidr,
    engine::Engine,
    limiter::{InvalidRedisUrl, LimiterStore, MemoryLimiter, RedisLimiter, RedisSettings},
    rate_limit::{Quota, Rate},
    secret::Secret,
    token::{InvalidKeyRing, KeyRing},
};
use axum::http::HeaderValue;

use super::{Settings, keys::list};
use crate::{Api, Rates, Tls, TlsError};

/// Why a server cannot start with these settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaceError {
    /// Others can reach it, and nobody said how careful it must be.
    #[error("{0} can be reached from other machines: set ADSENGINEER_ENVIRONMENT to production, staging or development first")]
    Exposed(SocketAddr),
    /// The clock is moved where it must not be: tokens that have ended would be good again.
    #[error("`now` moves the clock, which only development may do; unset ADSENGINEER_NOW")]
    Clock,
    /// Limits are off where they must not be.
    #[error("rate_limit_url is none://, which only development may use")]
    Unlimited,
    /// Several processes would each give everybody the whole budget.
    #[error(
        "rate_limit_url is memory://, which counts in one process only, while a database on a server is used by several: set ADSENGINEER_RATE_LIMIT_URL to redis://…"
    )]
    CountedApart,
    /// There is no such store of limits.
    #[error("rate_limit_url must be memory://, none:// in development, or {0}")]
    Limiter(#[from] InvalidRedisUrl),
    /// There is no secret to sign tokens with.
    #[error(
        "outside development no secret is made silently: set ADSENGINEER_JWT_SECRET to 32 random bytes or more; `adsengineer key generate` prints a good one"
    )]
    NoSecret,
    /// The secrets cannot be used.
    #[error("the secrets for tokens cannot be used: {0}")]
    Ring(#[from] InvalidKeyRing),
    /// Only one of certificate and key is given.
    #[error("tls_cert_file and tls_key_file go together; only one is set")]
    HalfTls,
    /// Certificate and key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Settings {
    /// Whether this installation may make its own secrets.
    pub fn is_development(&self) -> bool {
        matches!(self.text("environment"), None | Some("development"))
    }

    /// The address to listen on; refused if others can reach it and `environment` is not set.
    pub fn listen(&self) -> Result<SocketAddr, FaceError> {
        let address = self.text("listen").and_then(|text| text.parse().ok()).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8090)));
        if self.text("now").is_some() && !self.is_development() {
            return Err(FaceError::Clock);
        }
        let on_a_server = self.text("database_url").is_some_and(|url| url.starts_with("postgres"));
        if on_a_server && self.text("rate_limit_url") == Some("memory://") && !self.is_development() {
            return Err(FaceError::CountedApart);
        }
        match address {
            exposed if !exposed.ip().is_loopback() && self.text("environment").is_none() => Err(FaceError::Exposed(exposed)),
            address => Ok(address),
        }
    }

    /// The keys for tokens: the configured ones, else `made`, a secret that development keeps beside its database.
    pub fn key_ring(&self, made: Option<Secret<String>>) -> Result<KeyRing, FaceError> {
        let secret = self.secret("jwt_secret").or(made).ok_or(FaceError::NoSecret)?;
        let previous = self.secret("jwt_previous_secrets").unwrap_or_else(|| Secret::new(String::new()));
        Ok(KeyRing::try_new(&secret, self.text("jwt_kid"), &previous)?)
    }

    /// The certificate to serve TLS with, if there is one.
    pub fn tls(&self) -> Result<Option<Tls>, FaceError> {
        match (self.text("tls_cert_file"), self.text("tls_key_file")) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(Tls::read(Path::new(certificate), Path::new(key))?)),
            _ => Err(FaceError::HalfTls),
        }
    }

    /// The HTTP face of `engine`; in a Tokio runtime, in which it stays connected to a Redis that counts its requests.
    pub fn api(&self, engine: Engine, ring: KeyRing) -> Result<Api, FaceError> {
        let limiter: Option<Arc<dyn LimiterStore>> = match self.text("rate_limit_url") {
            Some("none://") if !self.is_development() => return Err(FaceError::Unlimited),
            Some("none://") => None,
            Some("memory://") | None => Some(Arc::new(MemoryLimiter::default())),
            Some(url) => Some(Arc::new(RedisLimiter::start(url.parse()?, RedisSettings::default()))),
        };
        let usual = Rates::default();
        let rate = |key: &str, usual: Quota| self.text(key).and_then(|text| text.parse::<Rate>().ok()).map_or(usual, Rate::quota);
        let rates = Rates {
            ip: rate("rate_limit_ip", usual.ip),
            shop: rate("rate_limit_shop", usual.shop),
            org: rate("rate_limit_org", usual.org),
            auth: rate("rate_limit_auth", usual.auth),
        };
        let networks = list(self.text("trusted_proxies").unwrap_or_default()).filter_map(|text| text.parse::<Cidr>().ok()).collect();
        let origins = list(self.text("cors_origins").unwrap_or_default()).filter_map(|text| HeaderValue::from_str(text).ok()).collect();
        let mut api = Api::new(engine).tokens(ring).limits(limiter, rates).trusted_proxies(networks).origins(origins);
        if let Some(url) = self.text("public_url") {
            api = api.public_url(url.trim_end_matches('/').to_owned());
        }
        Ok(if self.text("tls_cert_file").is_some() { api.over_tls() } else { api })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::config::Sources;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let environment = pairs.iter().map(|(n, v)| (format!("ADSENGINEER_{n}"), (*v).to_owned())).collect();
        Settings::load(&Sources { environment, ..Sources::default() }).unwrap().0
    }

    fn made() -> Option<Secret<String>> {
        Some(Secret::new("made 0123456789abcdef0123456789abcdef".to_owned()))
    }

    #[test]
    fn others_reach_a_server_only_where_its_environment_is_said() {
        let local = settings(&[]).listen().unwrap();
        assert_eq!((local.ip(), local.port()), (Ipv4Addr::LOCALHOST.into(), 8090));
        for open in ["0.0.0.0:8090", "[::]:8090", "192.0.2.1:80"] {
            assert!(matches!(settings(&[("LISTEN", open)]).listen(), Err(FaceError::Exposed(_))), "{open}");
            for environment in ["production", "staging", "development"] {
                assert_eq!(settings(&[("LISTEN", open), ("ENVIRONMENT", environment)]).listen().unwrap().to_string(), open);
            }
        }
        assert!(settings(&[("LISTEN", "[::1]:0")]).listen().is_ok());
    }

    #[test]
    fn what_several_processes_use_is_counted_together_outside_development() {
        let on = |environment| settings(&[("DATABASE_URL", "postgres://u@h/d"), ("ENVIRONMENT", environment)]).listen();
        assert!(on("development").is_ok());
        assert!(matches!(on("production"), Err(FaceError::CountedApart)));
    }

    #[test]
    fn only_development_moves_the_clock() {
        let moved = |environment| settings(&[("NOW", "2026-11-20T12:00:00Z"), ("ENVIRONMENT", environment)]).listen();
        assert!(moved("development").is_ok());
        assert!(matches!(moved("staging"), Err(FaceError::Clock)) && matches!(moved("production"), Err(FaceError::Clock)));
    }

    #[test]
    fn only_development_makes_its_own_secret() {
        assert!(settings(&[]).is_development() && settings(&[("ENVIRONMENT", "development")]).is_development());
        assert!(!settings(&[("ENVIRONMENT", "staging")]).is_development());
        assert!(settings(&[]).key_ring(made()).is_ok());
        assert!(matches!(settings(&[("ENVIRONMENT", "production")]).key_ring(None), Err(FaceError::NoSecret)));
    }

    #[test]
    fn a_configured_secret_wins_and_a_weak_one_is_refused_without_being_shown() {
        let secret = "0123456789abcdef0123456789abcdef";
        let ring =
            settings(&[("JWT_SECRET", secret), ("JWT_KID", "2026-11"), ("JWT_PREVIOUS_SECRETS", "old=fedcba9876543210fedcba9876543210")]);
        assert_eq!(ring.key_ring(made()).unwrap().kid(), "2026-11");
        let error = settings(&[("JWT_SECRET", "short-and-weak")]).key_ring(made()).unwrap_err();
        assert!(matches!(error, FaceError::Ring(_)) && !error.to_string().contains("short-and"), "{error}");
    }

    #[test]
    fn certificate_and_key_go_together() {
        assert!(settings(&[]).tls().unwrap().is_none());
        for half in ["TLS_CERT_FILE", "TLS_KEY_FILE"] {
            assert!(matches!(settings(&[(half, "/nowhere/x.pem")]).tls(), Err(FaceError::HalfTls)));
        }
        let both = settings(&[("TLS_CERT_FILE", "/nowhere/c.pem"), ("TLS_KEY_FILE", "/nowhere/k.pem")]);
        assert!(both.tls().map(|_| ()).unwrap_err().to_string().contains("/nowhere/c.pem"));
    }
}
