//! The circuit breaker of a destination: a value, not a task. It is stored with the destination, so that every
//! process and every run of a cron job sees the same one. An open breaker costs no delivery an attempt.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::delivery::millis;

/// When a breaker opens, for how long, and what closes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    failures: u32,
    successes: u32,
    open: Duration,
}

/// Why breaker settings cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a breaker needs at least one failure to open and one success to close")]
pub struct InvalidSettings;

impl Default for Settings {
    fn default() -> Self {
        Self { failures: 5, successes: 3, open: Duration::from_secs(60) }
    }
}

impl Settings {
    /// Opens after `failures` in a row, for `open`; closes after `successes` in a row after that.
    pub fn try_new(failures: u32, successes: u32, open: Duration) -> Result<Self, InvalidSettings> {
        if failures == 0 || successes == 0 {
            return Err(InvalidSettings);
        }
        Ok(Self { failures, successes, open })
    }
}

/// The breaker of one destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Breaker {
    /// Requests pass.
    Closed {
        /// Failures in a row so far.
        failures: u32,
    },
    /// Nothing passes.
    Open {
        /// Until then, in Unix milliseconds; after it one request at a time may try.
        until_ms: i64,
    },
    /// One request at a time passes, as a trial.
    HalfOpen {
        /// Trials in a row that went well.
        successes: u32,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// How many requests may be on their way at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passage {
    /// As many as the platform allows.
    Free,
    /// One, as a trial.
    Trial,
    /// None before this time, in Unix milliseconds.
    Blocked(i64),
}

impl Breaker {
    /// What may pass at `now_ms`.
    pub fn passage(self, now_ms: i64) -> Passage {
        match self {
            Self::Closed { .. } => Passage::Free,
            Self::Open { until_ms } if now_ms < until_ms => Passage::Blocked(until_ms),
            Self::Open { .. } | Self::HalfOpen { .. } => Passage::Trial,
        }
    }

    /// The breaker after a request that went well or not.
    #[must_use]
    pub fn after(self, healthy: bool, settings: &Settings, now_ms: i64) -> Self {
        let opened = Self::Open { until_ms: now_ms.saturating_add(millis(settings.open)) };
        match (self, healthy) {
            (Self::Open { until_ms }, _) if now_ms < until_ms => self,
            (Self::Closed { .. }, true) => Self::default(),
            (Self::Closed { failures }, false) if failures + 1 < settings.failures => Self::Closed { failures: failures + 1 },
            (_, false) => opened,
            (Self::Open { .. }, true) => Self::HalfOpen { successes: 1 }.closed_if_enough(settings),
            (Self::HalfOpen { successes }, true) => Self::HalfOpen { successes: successes + 1 }.closed_if_enough(settings),
        }
    }

    fn closed_if_enough(self, settings: &Settings) -> Self {
        match self {
            Self::HalfOpen { successes } if successes >= settings.successes => Self::default(),
            other => other,
        }
    }

    /// The state's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half_open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { failures: 5, successes: 3, open: Duration::from_secs(60) };

    fn after(breaker: Breaker, results: &[bool], now_ms: i64) -> Breaker {
        results.iter().fold(breaker, |b, healthy| b.after(*healthy, &SETTINGS, now_ms))
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_success_starts_the_count_again() {
        let closed = after(Breaker::default(), &[false, false, false, false, true, false, false, false, false], 0);
        assert_eq!(closed, Breaker::Closed { failures: 4 });
        let open = after(closed, &[false], 1000);
        assert_eq!(open, Breaker::Open { until_ms: 61_000 });
        assert_eq!(open.passage(60_999), Passage::Blocked(61_000));
        assert_eq!(open.passage(61_000), Passage::Trial);
    }

    #[test]
    fn three_good_trials_close_it_and_one_bad_one_opens_it_again() {
        let open = Breaker::Open { until_ms: 100 };
        assert_eq!(after(open, &[true, true], 100), Breaker::HalfOpen { successes: 2 });
        assert_eq!(after(open, &[true, true, true], 100), Breaker::default());
        assert_eq!(after(open, &[true, true, false], 100), Breaker::Open { until_ms: 60_100 });
        assert_eq!(after(open, &[false], 100), Breaker::Open { until_ms: 60_100 });
    }

    #[test]
    fn answers_of_requests_sent_before_it_opened_do_not_move_it() {
        let open = Breaker::Open { until_ms: 100 };
        assert_eq!(after(open, &[true, false], 50), open);
    }

    #[test]
    fn settings_without_a_count_are_refused() {
        assert!(Settings::try_new(0, 3, Duration::ZERO).is_err());
        assert!(Settings::try_new(1, 0, Duration::ZERO).is_err());
        assert!(Settings::try_new(1, 1, Duration::ZERO).is_ok());
    }
}
