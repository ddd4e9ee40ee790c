//! How a worker works, and how long.

use std::time::Duration;

use jiff::Timestamp;

use crate::{backoff::Backoff, breaker, delivery::Policy, id::DestinationId, rate_limit::Quota};

/// How deliveries are worked off.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Waits and attempts; the platform's dedupe window comes from the destination.
    pub policy: Policy,
    /// When a destination's breaker opens and closes.
    pub breaker: breaker::Settings,
    /// How long rows may be held; a request is cut off shortly before.
    pub lease: Duration,
    /// First question for a verdict.
    pub poll_first: Duration,
    /// Longest wait between questions.
    pub poll_cap: Duration,
    /// What the platform allows of requests that send; empty: everything.
    pub write_quota: Vec<Quota>,
    /// What it allows of questions; empty: everything.
    pub read_quota: Vec<Quota>,
    /// Requests of one destination at the same time.
    pub concurrency: usize,
    /// Only these destinations; `None`: all.
    pub only: Option<Vec<DestinationId>>,
}

impl Default for WorkerSettings {
    /// Data Manager allows 300 requests a minute and 100,000 a day per Cloud project, questions counted apart. 290 a minute without
    /// bursts, and 50,000 a day after a burst of 50,000, stay below both in every window.
    fn default() -> Self {
        let quota = |limit, period_ms, burst| Quota::try_new(limit, period_ms, burst).ok();
        let quotas: Vec<Quota> = [quota(290, 60_000, 1), quota(50_000, 86_400_000, 50_000)].into_iter().flatten().collect();
        Self {
            policy: Policy { backoff: Backoff::default(), attempts: 8, dedupe_window: None },
            breaker: breaker::Settings::default(),
            lease: Duration::from_secs(60),
            poll_first: Duration::from_secs(30 * 60),
            poll_cap: Duration::from_secs(4 * 3600),
            write_quota: quotas.clone(),
            read_quota: quotas,
            concurrency: 4,
            only: None,
        }
    }
}

/// When a run is over.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// When nothing is on its way and nothing will be due within `patience`.
    Settled {
        /// How long a wait is still worth it.
        patience: Duration,
    },
    /// When nothing is open any more, verdicts and what other workers have in flight included, or at the deadline.
    Final {
        /// Latest end.
        deadline: Timestamp,
    },
    /// When told to stop.
    Stopped,
}
