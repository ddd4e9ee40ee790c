//! What all requests share: the engine, who may do what, and what is going on.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use adsengineer_core::{
    client_address::Cidr,
    engine::Engine,
    limiter::{LimiterStore, MemoryLimiter},
    rate_limit::Quota,
    token::KeyRing,
};
use axum::http::HeaderValue;
use tokio::sync::Semaphore;

use crate::{health::Health, layers::room::Seats};

/// Budgets of requests.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Requests without a token, by address.
    pub ip: Quota,
    /// Verified webhooks, by source.
    pub shop: Quota,
    /// Requests with a token, by organization.
    pub org: Quota,
    /// Bad tokens, by address.
    pub auth: Quota,
}

impl Default for Rates {
    fn default() -> Self {
        let rate = |limit, period_ms| Quota::try_new(limit, period_ms, limit).unwrap_or_else(|_| unreachable!("fixed numbers"));
        Self { ip: rate(100, 3_600_000), shop: rate(1000, 3_600_000), org: rate(60_000, 60_000), auth: rate(5, 900_000) }
    }
}

/// The HTTP face of an engine: who may use it, and how much.
#[derive(Clone)]
pub struct Api {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    ring: Option<KeyRing>,
    limiter: Option<Arc<dyn LimiterStore>>,
    rates: Rates,
    proxies: Vec<Cidr>,
    origins: Vec<HeaderValue>,
    public_url: Option<String>,
    places: Arc<Semaphore>,
    place_count: usize,
    seats: Seats,
    timeout: Duration,
    running: Arc<Mutex<HashSet<[u8; 16]>>>,
    health: Health,
    tls: bool,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

/// Requests that are worked on at a time; more are refused at once.
const PLACES: usize = 2048;
/// Longest time for one request.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Api {
    /// The face of `engine` for a host with its own authentication: only requests to which the host has added a
    /// [`Caller`](adsengineer_core::org::Caller) extension have one. The usual budgets are kept in memory.
    pub fn new(engine: Engine) -> Self {
        let limiter: Option<Arc<dyn LimiterStore>> = Some(Arc::new(MemoryLimiter::default()));
        let mut health = Health::new(engine.clone());
        health.set_limiter(limiter.clone());
        let shared = Shared {
            engine,
            ring: None,
            limiter,
            rates: Rates::default(),
            proxies: Vec::new(),
            origins: Vec::new(),
            public_url: None,
            places: Arc::new(Semaphore::new(PLACES)),
            place_count: PLACES,
            seats: Seats::default(),
            timeout: TIMEOUT,
            running: Arc::default(),
            health,
            tls: false,
        };
        Self { shared: Arc::new(shared) }
    }

    fn change(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        // Only a face that is not in use yet can be changed.
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            change(shared);
        }
        self
    }

    /// Takes tokens that were signed with these keys.
    #[must_use]
    pub fn tokens(self, ring: KeyRing) -> Self {
        self.change(|shared| shared.ring = Some(ring))
    }

    /// Counts requests in `limiter` (`None`: not at all), with these budgets.
    #[must_use]
    pub fn limits(self, limiter: Option<Arc<dyn LimiterStore>>, rates: Rates) -> Self {
        self.change(|shared| {
            shared.health.set_limiter(limiter.clone());
            (shared.limiter, shared.rates) = (limiter, rates);
        })
    }

    /// Believes `X-Forwarded-For` of these proxies.
    #[must_use]
    pub fn trusted_proxies(self, proxies: Vec<Cidr>) -> Self {
        self.change(|shared| shared.proxies = proxies)
    }

    /// Lets pages of these origins use the API from a browser.
    #[must_use]
    pub fn origins(self, origins: Vec<HeaderValue>) -> Self {
        self.change(|shared| shared.origins = origins)
    }

    /// Where it is reached from outside, for the OpenAPI document.
    #[must_use]
    pub fn public_url(self, url: String) -> Self {
        self.change(|shared| shared.public_url = Some(url))
    }

    /// Works on so many requests at a time, and on each for so long.
    #[must_use]
    pub fn bounds(self, places: usize, timeout: Duration) -> Self {
        self.change(|shared| (shared.places, shared.place_count, shared.timeout) = (Arc::new(Semaphore::new(places)), places, timeout))
    }

    /// It is served over TLS.
    #[must_use]
    pub fn over_tls(self) -> Self {
        self.change(|shared| shared.tls = true)
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    pub(crate) fn ring(&self) -> Option<&KeyRing> {
        self.shared.ring.as_ref()
    }

    pub(crate) fn limiter(&self) -> Option<&dyn LimiterStore> {
        self.shared.limiter.as_deref()
    }

    pub(crate) fn rates(&self) -> &Rates {
        &self.shared.rates
    }

    pub(crate) fn proxies(&self) -> &[Cidr] {
        &self.shared.proxies
    }

    pub(crate) fn allowed_origins(&self) -> &[HeaderValue] {
        &self.shared.origins
    }

    pub(crate) fn url(&self) -> Option<&str> {
        self.shared.public_url.as_deref()
    }

    pub(crate) fn places(&self) -> &Arc<Semaphore> {
        &self.shared.places
    }

    pub(crate) fn place_count(&self) -> usize {
        self.shared.place_count
    }

    pub(crate) fn seats(&self) -> &Seats {
        &self.shared.seats
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.shared.timeout
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.shared.tls
    }

    pub(crate) fn running(&self) -> RunningKeys {
        RunningKeys(self.shared.running.clone())
    }

    /// How everything is doing.
    pub fn health(&self) -> &Health {
        &self.shared.health
    }
}

/// Idempotency keys of requests that run now.
pub(crate) struct RunningKeys(Arc<Mutex<HashSet<[u8; 16]>>>);

impl RunningKeys {
    /// Holds a key; `None` if it is held already.
    pub(crate) fn hold(self, key: [u8; 16]) -> Option<Running> {
        let is_new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        is_new.then_some(Running { keys: self.0, key })
    }
}

/// A key that is held until this is dropped.
pub(crate) struct Running {
    keys: Arc<Mutex<HashSet<[u8; 16]>>>,
    key: [u8; 16],
}

impl Drop for Running {
    fn drop(&mut self) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
