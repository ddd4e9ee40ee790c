//! Tokens that are no longer valid although they are signed: kept in the database, remembered in every process.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError, RwLock},
};

use super::{Engine, EngineError, require};
use crate::{
    org::{Caller, OrgId, Role},
    store::Write,
};

/// Revocations that an installation may have at a time; beyond that its secret should change.
pub const MOST_REVOKED: usize = 250_000;
/// Revocations that one organization may have of them, so that none takes the others' room.
pub const MOST_REVOKED_OF_ONE: usize = 10_000;
/// A revocation has no end: whoever knows the secret may sign a token that lives for ever.
const FOREVER_MS: i64 = i64::MAX;

/// An id for a new token.
pub fn new_token_id() -> String {
    format!("tok_{:032x}", rand::random::<u128>())
}

/// Revoked tokens by a hash of organization and id, and how many each organization has.
#[derive(Default)]
pub(super) struct Revoked {
    hashes: RwLock<HashSet<[u8; 16]>>,
    counts: Mutex<HashMap<OrgId, usize>>,
    /// The last revocation that was read.
    seq: Mutex<i64>,
}

impl Revoked {
    fn add(&self, org: &OrgId, jti: &str) {
        if self.hashes.write().unwrap_or_else(PoisonError::into_inner).insert(hash(org, jti)) {
            *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(org.clone()).or_default() += 1;
        }
    }

    fn is_full_for(&self, org: &OrgId) -> bool {
        let own = self.counts.lock().unwrap_or_else(PoisonError::into_inner).get(org).copied().unwrap_or(0);
        own >= MOST_REVOKED_OF_ONE || self.hashes.read().unwrap_or_else(PoisonError::into_inner).len() >= MOST_REVOKED
    }
}

fn hash(org: &OrgId, jti: &str) -> [u8; 16] {
    let digest = crate::identity::sha256(&format!("{org}\0{jti}"));
    let mut hash = [0; 16];
    hash.copy_from_slice(&digest[..16]);
    hash
}

impl Engine {
    /// Whether a token was revoked, as far as this process has read.
    pub fn is_revoked(&self, org: &OrgId, jti: &str) -> bool {
        let hashes = self.revoked.hashes.read().unwrap_or_else(PoisonError::into_inner);
        !hashes.is_empty() && hashes.contains(&hash(org, jti))
    }

    /// Reads what was revoked since the last time, by whatever process.
    pub async fn read_revoked(&self) -> Result<(), EngineError> {
        let after = *self.revoked.seq.lock().unwrap_or_else(PoisonError::into_inner);
        for token in self.store.revoked_tokens(after, self.clock.now_ms()).await? {
            self.revoked.add(&token.org, &token.jti);
            let mut seq = self.revoked.seq.lock().unwrap_or_else(PoisonError::into_inner);
            *seq = token.seq.max(*seq);
        }
        Ok(())
    }

    /// Makes a token of the caller's organization invalid, here at once and elsewhere within a second.
    pub async fn revoke_token(&self, caller: &Caller, jti: &str) -> Result<(), EngineError> {
        require(caller, Role::Owner)?;
        if self.revoked.is_full_for(caller.org()) {
            return Err(EngineError::TooManyRevoked);
        }
        let now_ms = self.clock.now_ms();
        let command = Write::RevokeToken { org: caller.org().clone(), jti: jti.into(), until_ms: FOREVER_MS, now_ms };
        self.request(caller, None, command).await?;
        self.revoked.add(caller.org(), jti);
        Ok(())
    }

    /// Records that a token was minted.
    pub async fn note_minted(&self, caller: &Caller, jti: &str) -> Result<(), EngineError> {
        require(caller, Role::Owner)?;
        self.note(caller, "token.minted", jti).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_organization_never_takes_the_others_room_for_revocations() {
        let (revoked, acme, globex) = (Revoked::default(), "acme".parse().unwrap(), "globex".parse().unwrap());
        for n in 0..MOST_REVOKED_OF_ONE {
            assert!(!revoked.is_full_for(&acme), "{n}");
            revoked.add(&acme, &n.to_string());
            revoked.add(&acme, &n.to_string());
        }
        assert!(revoked.is_full_for(&acme) && !revoked.is_full_for(&globex));
    }
}
