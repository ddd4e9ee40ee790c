//! Rates as the generic cell rate algorithm (GCRA): one number per limit, exact at the boundary.
//!
//! The number is the *theoretical arrival time* (TAT) in Unix microseconds, kept wherever the limit is shared.
//! Source: ITU-T I.371, annex A.

mod rate;

use serde::{Deserialize, Serialize};

pub use rate::{InvalidRate, Rate};

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

    /// How many requests a period has.
    pub fn limit(self) -> u32 {
        self.limit
    }

    /// The length of the period in milliseconds.
    pub fn period_ms(self) -> u32 {
        self.period_ms
    }

    /// Whether a request that costs `cost` fits at `now_us`, all or nothing, and the TAT that follows: unchanged when it is
    /// refused. Both are in Unix microseconds, a fresh TAT is 0. Cost 0 looks whether one more would fit, and spends nothing.
    /// `burst` requests fit at once and each comes back after one interval. A clock that goes back finds no more room than
    /// it left, and a cost above the burst never fits.
    pub fn admit(self, tat_us: i64, cost: u32, now_us: i64) -> (i64, Verdict) {
        let Terms { need, budget, price } = self.terms(cost);
        let used = tat_us.max(now_us).saturating_sub(now_us);
        let allowed = need <= budget.saturating_sub(used);
        let used = if allowed { used + price } else { used };
        let tat_us = if allowed && cost > 0 { now_us.saturating_add(used) } else { tat_us };
        (tat_us, self.verdict(allowed, used, cost))
    }

    /// The numbers that decide on a request that costs `cost`.
    pub(crate) fn terms(self, cost: u32) -> Terms {
        let interval = self.interval_us();
        let price = interval.saturating_mul(i64::from(cost));
        Terms { need: price.max(interval), budget: interval.saturating_mul(i64::from(self.burst)), price }
    }

    /// What is said when `used` microseconds of the budget are taken.
    fn verdict(self, allowed: bool, used: i64, cost: u32) -> Verdict {
        let interval = self.interval_us();
        let budget = interval.saturating_mul(i64::from(self.burst));
        let free = budget.saturating_sub(used).max(0) / interval;
        let next = interval.saturating_mul(i64::from(if allowed { 1 } else { cost.clamp(1, self.burst) }));
        let wait = used.saturating_add(next).saturating_sub(budget);
        Verdict {
            allowed,
            limit: self.limit,
            remaining: u32::try_from(free).unwrap_or(self.burst),
            retry_after_ms: ms_up(wait.max(0)),
            reset_ms: ms_up(used),
        }
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

/// What decides on a request, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// What must be free.
    pub(crate) need: i64,
    /// All that can be free; at most the period, and a microsecond for each of the limit.
    pub(crate) budget: i64,
    /// What is taken.
    pub(crate) price: i64,
}

/// What a quota says of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Whether it fits; of one that costs nothing, whether one more would.
    pub allowed: bool,
    /// How many requests a period has.
    pub limit: u32,
    /// How many more fit now.
    pub remaining: u32,
    /// Milliseconds until the next request fits: until this one does when it was refused, else until one more; 0 when one fits now.
    pub retry_after_ms: i64,
    /// Milliseconds until the budget is full again.
    pub reset_ms: i64,
}

fn ms_up(us: i64) -> i64 {
    us / 1000 + i64::from(us % 1000 > 0)
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
    ms_up(at_us)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    /// `limit` in `period_ms`, all at once.
    fn quota(limit: u32, period_ms: u32) -> Quota {
        Quota::try_new(limit, period_ms, limit).unwrap()
    }

    const NOW_US: i64 = 1_700_000_000_000_000;

    #[test]
    fn a_fresh_quota_admits_its_limit_at_once_and_not_one_more() {
        for (limit, period_ms) in [(1, 1000), (5, 900_000), (7, 1000), (100, 3_600_000), (60_000, 60_000)] {
            let (quota, mut tat) = (quota(limit, period_ms), 0);
            for remaining in (0..limit).rev() {
                let (next, verdict) = quota.admit(tat, 1, NOW_US);
                assert_eq!((verdict.allowed, verdict.limit, verdict.remaining), (true, limit, remaining));
                assert_eq!(verdict.retry_after_ms == 0, remaining > 0);
                tat = next;
            }
            let (unchanged, refused) = quota.admit(tat, 1, NOW_US);
            assert_eq!((unchanged, refused.allowed, refused.remaining), (tat, false, 0));
            let (before, at) = (NOW_US + (refused.retry_after_ms - 1) * 1000, NOW_US + refused.retry_after_ms * 1000);
            assert!(!quota.admit(tat, 1, before).1.allowed && quota.admit(tat, 1, at).1.allowed, "{limit}/{period_ms}");
        }
    }

    #[test]
    fn the_budget_is_full_again_after_reset_and_not_before() {
        let quota = quota(7, 1000);
        let (tat, verdict) = quota.admit(0, 3, NOW_US);
        assert_eq!((verdict.remaining, verdict.reset_ms), (4, 429));
        assert_eq!(quota.admit(tat, 0, NOW_US + 428_000).1.remaining, 6);
        let full = quota.admit(tat, 0, NOW_US + 429_000).1;
        assert_eq!((full.remaining, full.reset_ms, full.retry_after_ms), (7, 0, 0));
    }

    #[test]
    fn looking_costs_nothing_and_tells_whether_one_more_would_fit() {
        let quota = quota(2, 1000);
        assert_eq!(quota.admit(0, 0, NOW_US).0, 0);
        let (tat, _) = quota.admit(0, 2, NOW_US);
        let (same, looked) = quota.admit(tat, 0, NOW_US);
        assert_eq!((same, looked.allowed, looked.remaining, looked.retry_after_ms), (tat, false, 0, 500));
        assert!(quota.admit(tat, 0, NOW_US + 500_000).1.allowed);
    }

    #[test]
    fn a_request_that_costs_more_is_admitted_whole_or_not_at_all() {
        let quota = quota(10, 1000);
        let (tat, _) = quota.admit(0, 8, NOW_US);
        let (same, refused) = quota.admit(tat, 5, NOW_US);
        assert_eq!((same, refused.allowed, refused.remaining, refused.retry_after_ms), (tat, false, 2, 300));
        assert!(!quota.admit(tat, 5, NOW_US + 299_000).1.allowed && quota.admit(tat, 5, NOW_US + 300_000).1.allowed);
        for cost in [11, u32::MAX] {
            let (tat, never) = quota.admit(0, cost, NOW_US);
            assert_eq!((tat, never.allowed, never.remaining), (0, false, 10));
        }
    }

    #[test]
    fn a_clock_that_goes_back_admits_no_more() {
        let quota = quota(3, 1000);
        let (tat, _) = quota.admit(0, 3, NOW_US);
        for back_us in [1, 1000, 3_600_000_000, NOW_US, i64::MAX] {
            let (same, verdict) = quota.admit(tat, 1, NOW_US - back_us);
            assert_eq!((same, verdict.allowed, verdict.remaining), (tat, false, 0));
            assert!(verdict.retry_after_ms >= 333);
        }
        assert!(!quota.admit(i64::MAX, 1, i64::MIN).1.allowed);
    }

    proptest! {
        /// The model keeps the time of every unit admitted: a bucket of `limit` that gains one each interval.
        #[test]
        fn a_schedule_admits_exactly_what_a_bucket_would(
            limit in 1u32..20, period_ms in 1u32..5000, steps in proptest::collection::vec((0i64..400_000, 0u32..5), 1..200),
        ) {
            let quota = quota(limit, period_ms);
            let interval = quota.interval_us();
            let (mut now, mut tat, mut admitted) = (NOW_US, 0, vec![]);
            for (wait, cost) in steps {
                now += wait;
                let (next, verdict) = quota.admit(tat, cost, now);
                let free = model_free(&admitted, limit, interval, now);
                prop_assert_eq!(verdict.allowed, free >= cost.max(1));
                prop_assert_eq!(verdict.remaining, if verdict.allowed { free - cost } else { free });
                prop_assert!(verdict.allowed || next == tat);
                tat = next;
                if verdict.allowed {
                    admitted.extend(std::iter::repeat_n(now, cost as usize));
                }
            }
            for (first, from) in admitted.iter().enumerate() {
                for (last, to) in admitted.iter().enumerate().skip(first) {
                    let most = i64::from(limit) + (to - from) / interval;
                    prop_assert!(i64::try_from(last - first + 1).unwrap() <= most);
                }
            }
        }
    }

    /// How many fit at `now`: the fill of a bucket that is drained by one unit each interval, counted in microseconds.
    fn model_free(admitted: &[i64], limit: u32, interval: i64, now: i64) -> u32 {
        let (mut fill, mut at) = (0, 0);
        for time in admitted {
            fill = (fill - (time - at)).max(0) + interval;
            at = *time;
        }
        let fill = (fill - (now - at)).max(0);
        u32::try_from((interval * i64::from(limit) - fill) / interval).unwrap()
    }

    #[test]
    fn senseless_quotas_are_refused() {
        for (limit, period, burst) in [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 2)] {
            assert!(Quota::try_new(limit, period, burst).is_err());
        }
    }
}
