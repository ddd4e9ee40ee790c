//! How everything is doing: checked in the background, answered from memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use adsengineer_core::{
    engine::Engine,
    limiter::{Charge, KeyKind, LimiterKey, LimiterStore},
    rate_limit::Quota,
    store::StoreError,
};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// The database must answer within this time.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// The limiter must answer within this time.
const LIMITER_TIMEOUT: Duration = Duration::from_millis(250);

/// The answer is not asked anew within this time.
const FRESH: Duration = Duration::from_millis(500);

/// How well something works.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It works.
    Healthy,
    /// It works in part.
    Degraded,
    /// It does not work.
    Unhealthy,
}

/// One thing that was checked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Check {
    /// How well it works.
    pub status: Condition,
    /// How long the check took.
    pub latency_ms: u64,
    /// When it was checked.
    #[schema(value_type = String, format = DateTime)]
    pub checked_at: Timestamp,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How everything is doing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Report {
    /// The worst of all.
    pub status: Condition,
    /// Now.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// The program's version.
    pub version: &'static str,
    /// What was checked, by name.
    pub checks: BTreeMap<&'static str, Check>,
}

/// The latest checks of an engine.
pub struct Health {
    engine: Engine,
    limiter: Option<Arc<dyn LimiterStore>>,
    checks: Mutex<BTreeMap<&'static str, Check>>,
    /// The latest check of the database; whoever asks while it runs waits for it.
    latest: tokio::sync::Mutex<Option<(Instant, Check)>>,
}

impl Health {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, limiter: None, checks: Mutex::default(), latest: tokio::sync::Mutex::default() }
    }

    /// Watches this limiter too.
    pub(crate) fn set_limiter(&mut self, limiter: Option<Arc<dyn LimiterStore>>) {
        self.limiter = limiter;
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.engine.clock().now_ms()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Checks everything; called in the background.
    pub async fn check(&self) {
        let mut found = BTreeMap::new();
        found.insert("database", self.database().await);
        found.insert("encryption", Check { status: Condition::Healthy, latency_ms: 0, checked_at: self.now(), detail: None });
        if let Some(limiter) = &self.limiter {
            found.insert("rate_limit", self.rate_limit(limiter.as_ref()).await);
        }
        let destinations = self.destinations().await;
        found.insert("queue", destinations.0);
        if let Some(google) = destinations.1 {
            found.insert("google_ads", google);
        }
        *self.checks.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// Checks anew whether requests can be counted; called in the background, more often than the rest, which costs more.
    pub async fn check_limiter(&self) {
        if let Some(limiter) = &self.limiter {
            let check = self.rate_limit(limiter.as_ref()).await;
            self.checks.lock().unwrap_or_else(PoisonError::into_inner).insert("rate_limit", check);
        }
    }

    /// Whether a durable write is possible, as of a moment ago at most: many watchers cost one write.
    pub async fn database(&self) -> Check {
        let mut latest = self.latest.lock().await;
        if let Some((at, check)) = &*latest
            && at.elapsed() < FRESH
        {
            return check.clone();
        }
        let check = self.probe().await;
        *latest = Some((Instant::now(), check.clone()));
        check
    }

    async fn probe(&self) -> Check {
        let started = Instant::now();
        let answer = tokio::time::timeout(DATABASE_TIMEOUT, self.engine.probe()).await;
        let (status, detail) = match answer {
            Ok(Ok(())) => (Condition::Healthy, None),
            Ok(Err(error)) => (Condition::Unhealthy, Some(plain(&error))),
            Err(_) => (Condition::Unhealthy, Some("the database does not answer".to_owned())),
        };
        Check { status, latency_ms: millis(started), checked_at: self.now(), detail }
    }

    /// Whether requests can be counted, asked when a server starts: as often as a first connection may take.
    pub async fn can_count(&self) -> bool {
        let Some(limiter) = &self.limiter else { return true };
        for _ in 0..8 {
            if self.rate_limit(limiter.as_ref()).await.status == Condition::Healthy {
                return true;
            }
        }
        false
    }

    /// Whether requests can be counted: without that none is let through.
    async fn rate_limit(&self, limiter: &dyn LimiterStore) -> Check {
        let started = Instant::now();
        let look = Quota::try_new(1, 1000, 1).map(|quota| Charge { key: LimiterKey::new(KeyKind::Ip, b"health"), quota, cost: 0 });
        let looks: Vec<_> = look.into_iter().collect();
        let now_us = self.engine.clock().now_ms().saturating_mul(1000);
        let answer = tokio::time::timeout(LIMITER_TIMEOUT, limiter.charge(&looks, now_us)).await;
        let (status, detail) = match answer {
            Ok(Ok(_)) => (Condition::Healthy, None),
            _ => (Condition::Unhealthy, Some("the rate limiter cannot be asked; requests are refused".to_owned())),
        };
        Check { status, latency_ms: millis(started), checked_at: self.now(), detail }
    }

    /// The queue as a whole, and the Google destinations of all organizations.
    async fn destinations(&self) -> (Check, Option<Check>) {
        let started = Instant::now();
        let all = self.engine.store().enabled_destinations().await;
        let (latency_ms, checked_at) = (millis(started), self.now());
        let check = |status, detail| Check { status, latency_ms, checked_at, detail };
        let Ok(all) = all else { return (check(Condition::Unhealthy, Some("the queue cannot be read".to_owned())), None) };
        let stopped = all.iter().filter(|d| d.health.hold.is_some() || d.health.breaker.as_str() == "open").count();
        let google = (!all.is_empty()).then(|| match stopped {
            0 => check(Condition::Healthy, None),
            // Anybody may ask, so it does not say how many there are.
            _ => check(Condition::Degraded, Some("destinations are stopped; `adsengineer status` says why".to_owned())),
        });
        (check(Condition::Healthy, None), google)
    }

    /// The latest checks; the database is asked anew, because writes depend on it.
    pub async fn report(&self) -> Report {
        let database = self.database().await;
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        checks.insert("database", database);
        let status = checks.values().map(|check| check.status).max().unwrap_or(Condition::Healthy);
        Report { status, timestamp: self.now(), version: env!("CARGO_PKG_VERSION"), checks }
    }
}

fn millis(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What is wrong, without paths or addresses.
fn plain(error: &StoreError) -> String {
    match error {
        StoreError::Busy => "the database has too much to do",
        StoreError::DiskFull(_) => "the disk is full",
        StoreError::Damaged(_) => "the database is damaged",
        _ => "the database cannot be used",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_database_is_said_without_its_place() {
        let path = || "/var/lib/adsengineer/db.sqlite".to_owned();
        for (error, said) in [
            (StoreError::Busy, "the database has too much to do"),
            (StoreError::DiskFull(path()), "the disk is full"),
            (StoreError::Damaged(path()), "the database is damaged"),
            (StoreError::Unavailable(path()), "the database cannot be used"),
        ] {
            assert_eq!(plain(&error), said);
        }
    }

    #[test]
    fn the_worst_condition_is_the_largest() {
        let all = [Condition::Degraded, Condition::Healthy, Condition::Unhealthy];
        assert_eq!((all.iter().max(), all.iter().min()), (Some(&Condition::Unhealthy), Some(&Condition::Healthy)));
    }
}
