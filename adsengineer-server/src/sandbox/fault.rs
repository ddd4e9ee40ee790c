//! Which ingest request meets which fault: by its number, or by chance from a seed. Pure.

use std::{collections::BTreeMap, time::Duration};

/// What goes wrong with one `events:ingest` request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// 503 `UNAVAILABLE`; nothing was processed.
    Unavailable503,
    /// The connection is reset; nothing was processed.
    ResetBefore,
    /// Everything was processed, then the connection is reset without an answer.
    ResetAfterCommit,
    /// No answer for so long, then a reset; nothing was processed.
    Hang(Duration),
    /// Everything was processed, then no answer for so long, then a reset.
    HangAfterCommit(Duration),
    /// The access token expires at this moment: 401; nothing was processed.
    ExpiredToken401,
    /// 429 `RESOURCE_EXHAUSTED`; nothing was processed.
    Quota429 {
        /// The wait in `RetryInfo`, which may be missing.
        retry_delay: Option<Duration>,
    },
    /// Everything was processed, then 200 with a body that is no JSON.
    GarbageAfterCommit,
    /// 502 with an HTML page; nothing was processed.
    Html502,
}

impl Fault {
    /// The kind's name, as counted.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unavailable503 => "unavailable_503",
            Self::ResetBefore => "reset_before",
            Self::ResetAfterCommit => "reset_after_commit",
            Self::Hang(_) => "hang",
            Self::HangAfterCommit(_) => "hang_after_commit",
            Self::ExpiredToken401 => "expired_token_401",
            Self::Quota429 { .. } => "quota_429",
            Self::GarbageAfterCommit => "garbage_after_commit",
            Self::Html502 => "html_502",
        }
    }

    /// Whether the request is processed although its answer is lost.
    pub fn commits(self) -> bool {
        matches!(self, Self::ResetAfterCommit | Self::HangAfterCommit(_) | Self::GarbageAfterCommit)
    }
}

/// The faults to come. Requests are numbered from 1, starting anew when a plan is set.
///
/// ```
/// use adsengineer_server::sandbox::{Fault, FaultPlan};
/// let plan = FaultPlan::none().at(1, Fault::Unavailable503).chance(Fault::ResetAfterCommit, 0.05).seed(42);
/// assert_eq!(plan.fault_for(1), Some(Fault::Unavailable503));
/// ```
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    listed: BTreeMap<u64, Fault>,
    chances: Vec<(Fault, f64)>,
    seed: u64,
    last: Option<u64>,
}

impl FaultPlan {
    /// No faults.
    pub fn none() -> Self {
        Self::default()
    }

    /// The request of this number meets this fault, whatever the chances say.
    #[must_use]
    pub fn at(mut self, number: u64, fault: Fault) -> Self {
        self.listed.insert(number, fault);
        self
    }

    /// Each request meets this fault with this probability; chances of several faults add up.
    #[must_use]
    pub fn chance(mut self, fault: Fault, probability: f64) -> Self {
        self.chances.push((fault, probability));
        self
    }

    /// The seed of the chances: the same seed decides the same for the same number.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// No fault by chance after the request of this number, so that a run ends.
    #[must_use]
    pub fn until(mut self, last: u64) -> Self {
        self.last = Some(last);
        self
    }

    /// What the request of this number meets.
    pub fn fault_for(&self, number: u64) -> Option<Fault> {
        if let Some(fault) = self.listed.get(&number) {
            return Some(*fault);
        }
        if self.last.is_some_and(|last| number > last) {
            return None;
        }
        let mut left = unit(self.seed, number);
        for (fault, probability) in &self.chances {
            if left < *probability {
                return Some(*fault);
            }
            left -= probability;
        }
        None
    }
}

/// A number in `0.0..1.0` for a seed and a place: splitmix64 (Steele, Lea, Flood 2014).
fn unit(seed: u64, place: u64) -> f64 {
    let mut z = seed.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    f64::from(u32::try_from(z >> 32).unwrap_or_default()) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::{Fault, FaultPlan};

    #[test]
    fn listed_faults_come_at_their_numbers_and_nowhere_else() {
        let plan = FaultPlan::none().at(2, Fault::Html502);
        assert_eq!([1, 2, 3].map(|number| plan.fault_for(number)), [None, Some(Fault::Html502), None]);
    }

    #[test]
    fn chances_come_about_as_often_as_they_say() {
        let plan = FaultPlan::none().chance(Fault::ResetBefore, 0.2).chance(Fault::Unavailable503, 0.3).seed(7);
        let count = |fault| (1..=10_000).filter(|number| plan.fault_for(*number) == Some(fault)).count();
        assert!((1800..2200).contains(&count(Fault::ResetBefore)));
        assert!((2800..3200).contains(&count(Fault::Unavailable503)));
    }

    #[test]
    fn a_seed_decides_alike_each_time_and_another_seed_otherwise() {
        let decide = |seed| {
            let plan = FaultPlan::none().chance(Fault::Html502, 0.5).seed(seed);
            (1..100).map(|number| plan.fault_for(number).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(decide(1), decide(1));
        assert_ne!(decide(1), decide(2));
    }

    #[test]
    fn chance_ends_at_the_last_number_and_lists_do_not() {
        let plan = FaultPlan::none().chance(Fault::Html502, 1.0).until(2).at(9, Fault::ResetBefore);
        assert_eq!([1, 2, 3, 9].map(|number| plan.fault_for(number).is_some()), [true, true, false, true]);
    }
}
