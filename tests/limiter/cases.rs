//! What every store of rate limits does alike.

use adsengineer_core::{
    limiter::{Charge, LimiterError, LimiterStore, MemoryLimiter},
    rate_limit::Quota,
};

use crate::fixture::{NOW_US, Names, PATIENT, limiter, one, url};

/// Runs each case on each store.
macro_rules! cases {
    ($($case:ident)*) => {
        mod in_memory {
            use super::*;
            $(#[tokio::test] async fn $case() {
                super::$case(&MemoryLimiter::default(), &Names::new()).await;
            })*
        }
        mod in_redis {
            use super::*;
            $(#[tokio::test] async fn $case() {
                super::$case(&limiter(&url(), PATIENT), &Names::new()).await;
            })*
        }
    };
}

cases! {
    a_budget_admits_its_limit_and_then_waits_for_the_next
    a_budget_is_full_again_after_reset_and_not_before
    all_charges_are_spent_or_none
    one_key_charged_twice_pays_twice
    looking_spends_nothing_and_an_exhausted_budget_looked_at_refuses_the_others
    a_request_that_costs_more_is_admitted_whole_or_not_at_all
    a_clock_that_goes_back_admits_no_more
    more_charges_than_a_request_can_have_are_refused
    the_largest_numbers_count_like_small_ones
}

async fn a_budget_admits_its_limit_and_then_waits_for_the_next(store: &dyn LimiterStore, names: &Names) {
    for remaining in (0..5).rev() {
        let verdict = one(store, names.charge("a", 5, 1), NOW_US).await;
        assert_eq!((verdict.allowed, verdict.limit, verdict.remaining), (true, 5, remaining));
    }
    let refused = one(store, names.charge("a", 5, 1), NOW_US).await;
    assert_eq!((refused.allowed, refused.retry_after_ms, refused.reset_ms), (false, 720_000, 3_600_000));
    assert!(!one(store, names.charge("a", 5, 1), NOW_US + 719_999_999).await.allowed);
    assert!(one(store, names.charge("a", 5, 1), NOW_US + 720_000_000).await.allowed);
    assert!(!one(store, names.charge("a", 5, 1), NOW_US + 720_000_000).await.allowed);
    assert!(one(store, names.charge("b", 5, 1), NOW_US).await.allowed);
}

async fn a_budget_is_full_again_after_reset_and_not_before(store: &dyn LimiterStore, names: &Names) {
    let reset_us = one(store, names.charge("a", 5, 3), NOW_US).await.reset_ms * 1000;
    assert_eq!(one(store, names.charge("a", 5, 0), NOW_US + reset_us - 1).await.remaining, 4);
    let full = one(store, names.charge("a", 5, 0), NOW_US + reset_us).await;
    assert_eq!((full.remaining, full.reset_ms, full.retry_after_ms), (5, 0, 0));
}

async fn all_charges_are_spent_or_none(store: &dyn LimiterStore, names: &Names) {
    one(store, names.charge("spent", 1, 1), NOW_US).await;
    let all = [names.charge("rich", 10, 3), names.charge("spent", 1, 1), names.charge("other", 10, 1)];
    for _ in 0..3 {
        let verdicts = store.charge(&all, NOW_US).await.unwrap();
        let said: Vec<_> = verdicts.iter().map(|verdict| (verdict.allowed, verdict.remaining)).collect();
        assert_eq!(said, [(true, 10), (false, 0), (true, 10)]);
    }
    assert_eq!(one(store, names.charge("rich", 10, 3), NOW_US).await.remaining, 7);
    let both = store.charge(&[names.charge("rich", 10, 2), names.charge("other", 10, 1)], NOW_US).await.unwrap();
    assert_eq!((both[0].remaining, both[1].remaining), (5, 9));
}

async fn one_key_charged_twice_pays_twice(store: &dyn LimiterStore, names: &Names) {
    let twice = |cost| [names.charge("a", 5, cost), names.charge("a", 5, cost)];
    let verdicts = store.charge(&twice(2), NOW_US).await.unwrap();
    assert_eq!((verdicts[0].remaining, verdicts[1].remaining), (3, 1));
    let refused = store.charge(&twice(1), NOW_US).await.unwrap();
    assert_eq!((refused[0].allowed, refused[1].allowed), (true, false));
    assert_eq!(one(store, names.charge("a", 5, 0), NOW_US).await.remaining, 1);
}

async fn looking_spends_nothing_and_an_exhausted_budget_looked_at_refuses_the_others(store: &dyn LimiterStore, names: &Names) {
    for _ in 0..3 {
        assert!(one(store, names.charge("a", 1, 0), NOW_US).await.allowed);
    }
    one(store, names.charge("a", 1, 1), NOW_US).await;
    let verdicts = store.charge(&[names.charge("a", 1, 0), names.charge("b", 1, 1)], NOW_US).await.unwrap();
    assert_eq!((verdicts[0].allowed, verdicts[1].remaining), (false, 1));
}

async fn a_request_that_costs_more_is_admitted_whole_or_not_at_all(store: &dyn LimiterStore, names: &Names) {
    one(store, names.charge("a", 10, 8), NOW_US).await;
    for cost in [3, 11, u32::MAX] {
        let refused = one(store, names.charge("a", 10, cost), NOW_US).await;
        assert_eq!((refused.allowed, refused.remaining), (false, 2), "{cost}");
    }
    assert_eq!(one(store, names.charge("a", 10, 2), NOW_US).await.remaining, 0);
}

async fn a_clock_that_goes_back_admits_no_more(store: &dyn LimiterStore, names: &Names) {
    one(store, names.charge("a", 3, 3), NOW_US).await;
    for back_us in [1, 1000, 3_600_000_000, NOW_US - 1] {
        let verdict = one(store, names.charge("a", 3, 1), NOW_US - back_us).await;
        assert_eq!((verdict.allowed, verdict.remaining), (false, 0));
    }
}

async fn more_charges_than_a_request_can_have_are_refused(store: &dyn LimiterStore, names: &Names) {
    let charges: Vec<_> = (0..=8).map(|number| names.charge(&number.to_string(), 5, 1)).collect();
    assert_eq!(store.charge(&charges[..8], NOW_US).await.map(|verdicts| verdicts.len()), Ok(8));
    assert!(matches!(store.charge(&charges, NOW_US).await, Err(LimiterError::Nonsense(_))));
    assert_eq!(store.charge(&[], NOW_US).await, Ok(vec![]));
}

async fn the_largest_numbers_count_like_small_ones(store: &dyn LimiterStore, names: &Names) {
    let charge = |name, limit, burst, cost| Charge { key: names.key(name), quota: Quota::try_new(limit, u32::MAX, burst).unwrap(), cost };
    let most = one(store, charge("most", u32::MAX, u32::MAX, u32::MAX), NOW_US).await;
    assert_eq!((most.allowed, most.remaining), (true, 0));
    assert!(!one(store, charge("most", u32::MAX, u32::MAX, 1), NOW_US + 999).await.allowed);
    assert!(one(store, charge("most", u32::MAX, u32::MAX, 1), NOW_US + 1000).await.allowed);
    assert!(one(store, charge("once", 1, 1, 1), NOW_US).await.allowed);
    let period_us = i64::from(u32::MAX) * 1000;
    assert!(!one(store, charge("once", 1, 1, 1), NOW_US + period_us - 1).await.allowed);
    assert!(one(store, charge("once", 1, 1, 1), NOW_US + period_us).await.allowed);
}

/// A number below `end` for a seed: splitmix64 (Steele, Lea, Flood 2014).
fn below(state: &mut u64, end: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % end
}

#[tokio::test]
async fn any_schedule_is_judged_alike_in_redis_and_in_memory() {
    let (redis, memory, names) = (limiter(&url(), PATIENT), MemoryLimiter::default(), Names::new());
    let quotas: [Quota; 4] = [(5, 1000, 5), (7, 999, 3), (60_000, 60_000, 60_000), (1, 4_000_000_000, 1)]
        .map(|(limit, period_ms, burst)| Quota::try_new(limit, period_ms, burst).unwrap());
    let (mut state, mut now_us, mut admitted) = (7, NOW_US, 0);
    for step in 0..3000 {
        now_us += i64::try_from(below(&mut state, 300_000)).unwrap() - 20_000;
        let count = 1 + below(&mut state, 4);
        let mut charge = |_| {
            let which = usize::try_from(below(&mut state, 4)).unwrap();
            let cost = [0, 1, 1, 2, 5, 70_000][usize::try_from(below(&mut state, 6)).unwrap()];
            Charge { key: names.key(&which.to_string()), quota: quotas[which], cost }
        };
        let charges: Vec<_> = (0..count).map(&mut charge).collect();
        let expected = memory.charge_now(&charges, now_us);
        assert_eq!(redis.charge(&charges, now_us).await, expected, "seed 7, step {step}: {charges:?}");
        admitted += u32::from(expected.unwrap().iter().all(|verdict| verdict.allowed));
    }
    assert!((300..2700).contains(&admitted), "{admitted}");
}
