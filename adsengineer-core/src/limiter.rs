//! Budgets that requests spend: the door to where their numbers are kept, in memory or shared between processes.
//!
//! The arithmetic is [`Quota::admit`]; a store only keeps one number per key and changes several of them as one.

use std::net::IpAddr;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use crate::rate_limit::{Quota, Verdict};

mod memory;
#[cfg(feature = "redis")]
mod redis;

pub use memory::{DEFAULT_CAPACITY, MemoryLimiter};
#[cfg(feature = "redis")]
pub use redis::{InvalidRedisUrl, RedisLimiter, RedisSettings, RedisUrl, TimeOf};

/// Most charges at once.
pub const MAX_CHARGES: usize = 8;

/// Whose budget it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum KeyKind {
    /// Requests of an address without a token.
    Ip = 1,
    /// Verified webhooks of a source.
    Source = 2,
    /// Requests with a token of an organization.
    Org = 3,
    /// Bad tokens from an address.
    BadTokens = 4,
}

/// The name of one budget, alike in every process: the first 16 bytes of SHA-256 over the kind and the text. The last bit tells
/// strangers (addresses) from the known (sources, organizations), so that a flood of the ones cannot take the others' places.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LimiterKey(pub u128);

/// What a request takes out of one budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Charge {
    /// Whose.
    pub key: LimiterKey,
    /// How large the budget is.
    pub quota: Quota,
    /// How much; 0 looks whether one more would fit, and spends nothing.
    pub cost: u32,
}

/// Where the numbers of budgets are kept.
#[async_trait]
pub trait LimiterStore: Send + Sync + 'static {
    /// Spends all charges or none: when one is refused nothing is spent, and the others' verdicts say what is left to them.
    /// One verdict per charge, in order; a charge that only looks is refused when one more would be. The time is in Unix
    /// microseconds; a store that has a clock of its own, the same for all who ask, may go by that.
    async fn charge(&self, charges: &[Charge], now_us: i64) -> Result<Vec<Verdict>, LimiterError>;
}

/// Why a store gives no verdict; the request must then have no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimiterError {
    /// It does not answer.
    #[error("the store of rate limits cannot be reached: {0}")]
    Unreachable(String),
    /// It answers what cannot be, or was asked what it cannot do.
    #[error("the store of rate limits makes no sense: {0}")]
    Nonsense(String),
}

/// What becomes of charges.
struct Judgement {
    /// One per charge.
    verdicts: Vec<Verdict>,
    /// What is to be kept for each, if they are spent; that of a key's last charge counts.
    tats_us: [i64; MAX_CHARGES],
    /// Whether all fit.
    fits: bool,
}

/// Judges charges one after the other: a key that comes again pays again. `stored_us` has the number that is kept for each.
fn judge(charges: &[Charge], stored_us: &[i64; MAX_CHARGES], now_us: i64) -> Judgement {
    let (mut verdicts, mut tats_us) = (Vec::with_capacity(charges.len()), *stored_us);
    for (index, Charge { key, quota, cost }) in charges.iter().enumerate() {
        let earlier = charges[..index].iter().rposition(|charge| charge.key == *key);
        let (tat_us, verdict) = quota.admit(tats_us[earlier.unwrap_or(index)], *cost, now_us);
        tats_us[index] = tat_us;
        verdicts.push(verdict);
    }
    let fits = verdicts.iter().all(|verdict| verdict.allowed);
    if !fits {
        // Nothing is spent, so those that would have fitted say what is there.
        for ((verdict, charge), stored_us) in verdicts.iter_mut().zip(charges).zip(stored_us).filter(|((verdict, _), _)| verdict.allowed) {
            *verdict = charge.quota.admit(*stored_us, 0, now_us).1;
        }
    }
    Judgement { verdicts, tats_us, fits }
}

/// Refuses more charges than a request can have.
fn check_count(charges: &[Charge]) -> Result<(), LimiterError> {
    if charges.len() > MAX_CHARGES {
        return Err(LimiterError::Nonsense(format!("{} charges at once; {MAX_CHARGES} are the most", charges.len())));
    }
    Ok(())
}

impl LimiterKey {
    /// The key of `bytes` among those of its kind.
    pub fn new(kind: KeyKind, bytes: &[u8]) -> Self {
        let hash = Sha256::new().chain_update([kind as u8]).chain_update(bytes).finalize();
        let key = hash.iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte));
        Self(key & !1 | u128::from(matches!(kind, KeyKind::Source | KeyKind::Org)))
    }

    /// The key of a client's address: IPv4 whole, also when it is written as IPv6, and IPv6 by /64, since the other half is
    /// the host's own choice. Source: RFC 4291, section 2.5.4.
    pub fn for_ip(kind: KeyKind, address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::new(kind, &v4.octets()),
            IpAddr::V6(v6) => Self::new(kind, &v6.octets()[..8]),
        }
    }
}

/// The key under which requests of `address` without a token are counted.
pub fn ip_key(address: IpAddr) -> LimiterKey {
    LimiterKey::for_ip(KeyKind::Ip, address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_same_in_every_process() {
        // printf '\003acme' | sha256sum | cut -c1-32, with the last bit set
        assert_eq!(format!("{:032x}", LimiterKey::new(KeyKind::Org, b"acme").0), "363393c3cdbc447d2a2d9442845ed5c7");
    }

    #[test]
    fn kinds_and_texts_have_keys_of_their_own() {
        let kinds = [KeyKind::Ip, KeyKind::Source, KeyKind::Org, KeyKind::BadTokens];
        let keys = kinds.map(|kind| ["", "a", "b"].map(|text| LimiterKey::new(kind, text.as_bytes())));
        let different: std::collections::HashSet<_> = keys.iter().flatten().collect();
        assert_eq!(different.len(), 12);
    }

    #[test]
    fn addresses_count_whole_for_ipv4_and_by_network_for_ipv6() {
        let key = |text: &str| ip_key(text.parse().unwrap());
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_ne!(key("192.0.2.1"), LimiterKey::for_ip(KeyKind::BadTokens, "192.0.2.1".parse().unwrap()));
    }
}
