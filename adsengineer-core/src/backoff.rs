//! Waits between attempts: exponential with full jitter while a failure may be short, then long and growing.
//!
//! With the defaults (1 s, 5 min, 8 attempts) the quick waits are up to 1, 2, 4 and 8 s and the long ones 1, 4 and 16 h:
//! a platform that is down over night costs no dead letter. Source of full jitter: AWS Architecture Blog,
//! "Exponential Backoff And Jitter".

use std::time::Duration;

/// The longest wait that a platform may ask for.
pub const MAX_ASKED: Duration = Duration::from_secs(3600);

/// Retries that are quick; later ones are long.
const QUICK: u16 = 4;
/// The first long wait, in caps; each further one is four times as long.
const LONG_CAPS: u32 = 12;
const MAX_LONG: Duration = Duration::from_secs(16 * 3600);

/// How long to wait after the n-th attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

/// Why a backoff cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBackoff {
    /// A base of zero would retry in a busy loop.
    #[error("the base wait must be longer than zero")]
    ZeroBase,
    /// The cap is below the base.
    #[error("the longest wait must not be less than the base wait")]
    CapBelowBase,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), cap: Duration::from_secs(300) }
    }
}

impl Backoff {
    /// Quick waits start at `base` and double up to `cap`.
    pub fn try_new(base: Duration, cap: Duration) -> Result<Self, InvalidBackoff> {
        if base.is_zero() {
            return Err(InvalidBackoff::ZeroBase);
        }
        if cap < base {
            return Err(InvalidBackoff::CapBelowBase);
        }
        Ok(Self { base, cap })
    }

    /// The wait after `attempts` attempts; `random` in `0.0..1.0`. A wait the platform asked for is honoured up to [`MAX_ASKED`].
    pub fn wait(&self, attempts: u16, asked: Option<Duration>, random: f64) -> Duration {
        if let Some(asked) = asked {
            return asked.min(MAX_ASKED);
        }
        if attempts <= QUICK {
            let doublings = u32::from(attempts.saturating_sub(1));
            let ceiling = self.base.saturating_mul(1 << doublings).min(self.cap);
            return ceiling.mul_f64(random.clamp(0.0, 1.0));
        }
        let fourfolds = u32::from(attempts - QUICK - 1).min(8);
        self.cap.saturating_mul(LONG_CAPS).saturating_mul(4_u32.pow(fourfolds)).min(MAX_LONG.max(self.cap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn quick_waits_double_under_full_jitter_up_to_the_cap() {
        let backoff = Backoff::try_new(secs(1), secs(3)).unwrap();
        assert_eq!([1, 2, 3, 4].map(|n| backoff.wait(n, None, 1.0)), [secs(1), secs(2), secs(3), secs(3)]);
        assert_eq!(backoff.wait(3, None, 0.0), Duration::ZERO);
        assert_eq!(backoff.wait(0, None, 1.0), secs(1));
    }

    #[test]
    fn the_default_policy_spans_about_a_day_in_eight_attempts() {
        let backoff = Backoff::default();
        let total: Duration = (1..8).map(|n| backoff.wait(n, None, 1.0)).sum();
        assert!((secs(20 * 3600)..secs(25 * 3600)).contains(&total), "{total:?}");
    }

    #[test]
    fn an_asked_wait_wins_and_is_clamped_to_an_hour() {
        assert_eq!(Backoff::default().wait(1, Some(secs(30)), 0.9), secs(30));
        assert_eq!(Backoff::default().wait(1, Some(secs(86_400)), 0.9), MAX_ASKED);
    }

    #[test]
    fn nothing_overflows_and_bad_values_are_refused() {
        assert_eq!(Backoff::default().wait(u16::MAX, None, 7.0), MAX_LONG);
        assert_eq!(Backoff::try_new(Duration::ZERO, secs(1)), Err(InvalidBackoff::ZeroBase));
        assert_eq!(Backoff::try_new(secs(2), secs(1)), Err(InvalidBackoff::CapBelowBase));
    }
}
