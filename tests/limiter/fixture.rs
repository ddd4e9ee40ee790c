//! Stores, names that nobody else uses, and charges.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use adsengineer_core::{
    limiter::{Charge, KeyKind, LimiterError, LimiterKey, LimiterStore, RedisLimiter, RedisSettings, TimeOf},
    rate_limit::{Quota, Verdict},
};

use crate::redis::Server;

/// Names a server for the tests that break nothing.
const URL: &str = "ADSENGINEER_TEST_REDIS_URL";

pub const NOW_US: i64 = 1_700_000_000_000_000;

/// Time enough for a machine that is busy with other tests.
pub const PATIENT: RedisSettings = RedisSettings { deadline: Duration::from_secs(30), in_flight: 4096, time: TimeOf::Caller };

/// Names of budgets that no other test and no other run has.
pub struct Names(String);

impl Names {
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let folder = tempfile::tempdir().unwrap();
        Self(format!("{} {} {}", folder.path().display(), std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    pub fn key(&self, name: &str) -> LimiterKey {
        LimiterKey::new(KeyKind::Org, format!("{} {name}", self.0).as_bytes())
    }

    /// A charge on an hour's budget.
    pub fn charge(&self, name: &str, limit: u32, cost: u32) -> Charge {
        Charge { key: self.key(name), quota: Quota::try_new(limit, 3_600_000, limit).unwrap(), cost }
    }
}

pub fn limiter(url: &str, settings: RedisSettings) -> RedisLimiter {
    RedisLimiter::start(url.parse().unwrap(), settings)
}

/// One charge alone.
pub async fn one(store: &dyn LimiterStore, charge: Charge, now_us: i64) -> Verdict {
    store.charge(&[charge], now_us).await.unwrap()[0]
}

/// Asks until it succeeds; what was said before.
pub async fn until_back(store: &dyn LimiterStore, charge: Charge) -> Vec<LimiterError> {
    let mut refused = Vec::new();
    loop {
        match store.charge(&[charge], NOW_US).await {
            Ok(_) => return refused,
            Err(error) => refused.push(error),
        }
        tokio::task::yield_now().await;
    }
}

/// Asks until it fails.
pub async fn until_gone(store: &dyn LimiterStore, charge: Charge) -> LimiterError {
    loop {
        if let Err(error) = store.charge(&[charge], NOW_US).await {
            return error;
        }
    }
}

/// The URL of the server that all tests of this process share.
pub fn url() -> String {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "tests are told where a server is by the environment")]
    let given = std::env::var(URL).ok();
    given.unwrap_or_else(|| {
        let shared = SHARED.get_or_init(|| std::panic::catch_unwind(|| Server::start(&[])).ok());
        let Some(server) = shared else { panic!("the shared server did not start; the first test that needed it says why") };
        server.url()
    })
}
