//! Rates as the generic cell rate algorithm (GCRA): one number per limit, exact at the boundary.
//!
//! The number is the *theoretical arrival time* (TAT) in Unix microseconds, kept wherever the limit is shared.
//! Source: ITU-T I.371, annex A.

use serde::{Deserialize, Serialize};

/// A limit: `limit` requests in `period_ms`, of which `burst` may come at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Quota {
    limit: u32,
    period_ms: u32,
    burst: u32,
}

/// Why a quota cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a quota needs a limit, a period and a burst of at least one, and a burst not above the limit")]
pub struct InvalidQuota;

impl Quota {
    /// A quota; every number is at least one, and `burst` at most `limit`.
    pub fn try_new(limit: u32, period_ms: u32, burst: u32) -> Result<Self, InvalidQuota> {
        if limit == 0 || period_ms == 0 || burst == 0 || burst > limit {
            return Err(InvalidQuota);
        }
        Ok(Self { limit, period_ms, burst })
    }

    /// Microseconds between requests at the steady rate, rounded up so that the limit is never exceeded.
    fn interval_us(self) -> i64 {
        (i64::from(self.period_ms) * 1000 + i64::from(self.limit) - 1) / i64::from(self.limit)
    }

    /// The TAT after one more request and the earliest time for it, both in Unix microseconds.
    fn reserve(self, tat_us: i64, now_us: i64) -> (i64, i64) {
        let interval = self.interval_us();
        let tolerance = interval.saturating_mul(i64::from(self.burst) - 1);
        let start = tat_us.max(now_us);
        (start.saturating_add(interval), start.saturating_sub(tolerance).max(now_us))
    }
}

/// Takes one request out of every quota; `tats_us` holds one number per quota, 0 for a fresh one.
/// Returns the earliest time for the request, in Unix milliseconds: at `now_ms` when there is room.
pub fn reserve(quotas: &[Quota], tats_us: &mut Vec<i64>, now_ms: i64) -> i64 {
    let now_us = now_ms.saturating_mul(1000);
    tats_us.resize(quotas.len(), 0);
    let mut at_us = now_us;
    for (quota, tat_us) in quotas.iter().zip(tats_us) {
        let (tat, earliest) = quota.reserve(*tat_us, now_us);
        *tat_us = tat;
        at_us = at_us.max(earliest);
    }
    at_us.saturating_add(999) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_spread_evenly_when_no_burst_is_allowed() {
        let quota = [Quota::try_new(300, 60_000, 1).unwrap()];
        let mut tats = vec![];
        let times: Vec<_> = (0..4).map(|_| reserve(&quota, &mut tats, 1_000_000)).collect();
        assert_eq!(times, [1_000_000, 1_000_200, 1_000_400, 1_000_600]);
    }

    #[test]
    fn a_burst_passes_at_once_and_the_rest_waits() {
        let quota = [Quota::try_new(10, 1000, 3).unwrap()];
        let mut tats = vec![];
        let times: Vec<_> = (0..5).map(|_| reserve(&quota, &mut tats, 5000)).collect();
        assert_eq!(times, [5000, 5000, 5000, 5100, 5200]);
    }

    #[test]
    fn the_strictest_quota_decides_and_an_idle_one_recovers() {
        let quotas = [Quota::try_new(10, 1000, 10).unwrap(), Quota::try_new(1, 60_000, 1).unwrap()];
        let mut tats = vec![];
        assert_eq!(reserve(&quotas, &mut tats, 0), 0);
        assert_eq!(reserve(&quotas, &mut tats, 0), 60_000);
        assert_eq!(reserve(&quotas, &mut tats, 500_000), 500_000);
    }

    #[test]
    fn no_window_ever_holds_more_than_the_limit() {
        let quota = [Quota::try_new(7, 1000, 1).unwrap()];
        let mut tats = vec![];
        let times: Vec<_> = (0..100).map(|_| reserve(&quota, &mut tats, 10)).collect();
        for (i, start) in times.iter().enumerate() {
            let in_window = times[i..].iter().filter(|t| **t < start + 1000).count();
            assert!(in_window <= 7, "{in_window} from {start}");
        }
    }

    #[test]
    fn senseless_quotas_are_refused() {
        for (limit, period, burst) in [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 2)] {
            assert!(Quota::try_new(limit, period, burst).is_err());
        }
    }
}
