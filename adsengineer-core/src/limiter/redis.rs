//! Budgets in Redis or Valkey, which any number of processes share.
//!
//! One script for each check, over one connection that all requests share. It spends all charges or none, and tells what it
//! found, from which the verdicts follow by the arithmetic that the memory form uses too; what contradicts itself is no answer.
//! An answer that is lost may have been spent: never less is counted than was let through.
//!
//! - **Time** is Redis's own, in the script: one clock for all who share it. By clocks of their own a process that is ahead
//!   would find budgets fuller than they are.
//! - **Keys** end by themselves when their budget is full again.
//! - **A cluster** keeps all budgets in one slot; its node is found by itself.

mod link;
mod script;
mod url;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::Semaphore;

pub use self::url::{InvalidRedisUrl, RedisUrl};
use self::{link::Link, script::Request};
use super::{Charge, LimiterError, LimiterKey, LimiterStore, MAX_CHARGES, Verdict, check_count, judge};

/// Whose clock counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TimeOf {
    /// Redis's: the same for all who share it.
    #[default]
    Redis,
    /// The caller's, for tests with a clock that stands still.
    Caller,
}

/// How Redis is asked.
#[derive(Clone, Copy, Debug)]
pub struct RedisSettings {
    /// Longest time for one check.
    pub deadline: Duration,
    /// Checks at a time; more are refused at once.
    pub in_flight: usize,
    /// Whose clock counts.
    pub time: TimeOf,
}

impl Default for RedisSettings {
    /// 200 ms, so that who waits 250 ms for a verdict hears why there is none; 4096 checks, a few MiB while Redis hangs.
    fn default() -> Self {
        Self { deadline: Duration::from_millis(200), in_flight: 4096, time: TimeOf::Redis }
    }
}

/// Budgets in Redis.
pub struct RedisLimiter {
    link: Link,
    places: Arc<Semaphore>,
    settings: RedisSettings,
}

impl RedisLimiter {
    /// Begins to connect, in the background of the Tokio runtime in which this must be called. Whether Redis is there shows
    /// when it is asked; while it is not, every check fails at once, and none does any more soon after it is back.
    pub fn start(url: RedisUrl, settings: RedisSettings) -> Self {
        Self { link: Link::new(url, settings.deadline), places: Arc::new(Semaphore::new(settings.in_flight)), settings }
    }
}

#[async_trait]
impl LimiterStore for RedisLimiter {
    async fn charge(&self, charges: &[Charge], now_us: i64) -> Result<Vec<Verdict>, LimiterError> {
        check_count(charges)?;
        if charges.is_empty() {
            return Ok(Vec::new());
        }
        let request = Request::new(charges, now_us, self.settings.time)?;
        let too_many = |_| LimiterError::Unreachable(format!("{} checks wait for its answer already", self.settings.in_flight));
        let place = self.places.clone().try_acquire_owned().map_err(too_many)?;
        let ask = self.link.ask(request, self.settings.deadline);
        // A task of its own: its place is taken until there is an answer, or none in time, also when nobody waits any more.
        let asked = tokio::spawn(async move {
            let answer = ask.await;
            drop(place);
            answer
        });
        let answer = asked.await.map_err(|_| LimiterError::Nonsense("asking it panicked".to_owned()))??;
        answer.verdicts(charges).ok_or_else(|| LimiterError::Nonsense("its answer contradicts itself".to_owned()))
    }
}
