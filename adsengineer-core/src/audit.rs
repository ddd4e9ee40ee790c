//! The audit log: one link per committed batch, each bound to the one before it and to a key that is not in the database.
//!
//! Each writer (process) has a chain of its own. A link's digest is over the hashes of its entries, so that the entries
//! of one organization can be shown and verified with only the hashes of the others.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::secret::Secret;

/// One thing that happened, without personal data.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Whose.
    pub org: String,
    /// What happened, for example `conversions.accepted`.
    pub action: String,
    /// To what: an id or a name.
    pub object: String,
    /// How many rows.
    pub count: u64,
    /// Who did it, where it was done on somebody's behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Anything else, for example a note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[cfg(feature = "engine")]
impl Entry {
    /// Whether `next` only goes on with this act: more leads of the same organization by the same caller.
    pub(crate) fn merges(&self, next: &Self) -> bool {
        self.action == LEADS_STORED
            && (&self.action, &self.org, &self.by, &self.detail) == (&next.action, &next.org, &next.by, &next.detail)
    }
}

/// Leads were stored; the object is the first of them.
#[cfg(feature = "engine")]
pub(crate) const LEADS_STORED: &str = "leads.stored";

/// A link of a writer's chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Position over all chains in the order of commits.
    pub seq: i64,
    /// Whose chain.
    pub writer: i64,
    /// Position in the writer's chain, from 1.
    pub position: i64,
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// What happened.
    pub entries: Vec<Entry>,
    /// The digest of the entries.
    pub digest: [u8; 32],
    /// The code of the link before it in its chain; zeros for the first.
    pub previous: [u8; 32],
    /// The code of this link.
    pub mac: [u8; 32],
}

/// The key of the audit log.
pub type AuditKey = Secret<[u8; 32]>;

/// Where a chain ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Whose chain.
    pub writer: i64,
    /// Position of its last link; 0: none yet.
    pub position: i64,
    /// The code of its last link.
    pub mac: [u8; 32],
}

/// The first link that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenChain {
    /// Its entries were changed.
    #[error("audit link {seq}: its entries are not the ones that were written")]
    Entries {
        /// Which link.
        seq: i64,
    },
    /// A link before it was removed, inserted or reordered.
    #[error("audit link {seq}: it does not follow the link before it in the chain of writer {writer}")]
    Order {
        /// Which link.
        seq: i64,
        /// Whose chain.
        writer: i64,
    },
    /// It was changed, or written without the key.
    #[error("audit link {seq}: its code is wrong: it was changed, or written with another key")]
    Code {
        /// Which link.
        seq: i64,
    },
}

/// SHA-256 of an entry, every field with its length before it.
pub fn entry_hash(entry: &Entry) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(b"adsengineer audit entry v1\0");
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    field(entry.org.as_bytes());
    field(entry.action.as_bytes());
    field(entry.object.as_bytes());
    field(&entry.count.to_be_bytes());
    field(&[u8::from(entry.by.is_some())]);
    field(entry.by.as_deref().unwrap_or_default().as_bytes());
    field(&[u8::from(entry.detail.is_some())]);
    field(entry.detail.as_deref().unwrap_or_default().as_bytes());
    hash.finalize().into()
}

/// SHA-256 over the entries' hashes, in order.
pub fn digest(hashes: impl IntoIterator<Item = [u8; 32]>) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(b"adsengineer audit digest v1\0");
    hashes.into_iter().for_each(|h| hash.update(h));
    hash.finalize().into()
}

/// HMAC-SHA-256 (RFC 2104): a key shorter than the block of 64 bytes is filled up with zeros.
pub(crate) fn keyed(key: &Secret<[u8; 32]>) -> Hmac<Sha256> {
    let mut block = zeroize::Zeroizing::new([0_u8; 64]);
    block[..32].copy_from_slice(key.expose());
    Hmac::new((&*block).into())
}

/// HMAC-SHA-256 (RFC 2104) under the audit key over writer ‖ position ‖ time ‖ previous ‖ digest, numbers big-endian.
fn code(key: &AuditKey, link: &Link) -> Hmac<Sha256> {
    let mut mac = keyed(key);
    mac.update(&link.writer.to_be_bytes());
    mac.update(&link.position.to_be_bytes());
    mac.update(&link.at_ms.to_be_bytes());
    mac.update(&link.previous);
    mac.update(&link.digest);
    mac
}

/// The link that follows `head`; its `seq` is for the store to give.
pub fn link(key: &AuditKey, head: Head, entries: Vec<Entry>, at_ms: i64) -> Link {
    let digest = digest(entries.iter().map(entry_hash));
    let position = head.position + 1;
    let mut link = Link { seq: 0, writer: head.writer, position, at_ms, entries, digest, previous: head.mac, mac: [0; 32] };
    link.mac = code(key, &link).finalize().into_bytes().into();
    link
}

impl Link {
    /// The chain's end after this link.
    pub fn head(&self) -> Head {
        Head { writer: self.writer, position: self.position, mac: self.mac }
    }
}

impl Head {
    /// Before the first link of a writer's chain.
    pub fn start(writer: i64) -> Self {
        Self { writer, position: 0, mac: [0; 32] }
    }
}

/// Checks links in the order of `seq`, page by page; a chain's first link must be its first.
#[derive(Default)]
pub struct Verifier {
    heads: std::collections::HashMap<i64, Head>,
    last_seq: i64,
}

impl Verifier {
    /// Checks the next link.
    pub fn check(&mut self, key: &AuditKey, link: &Link) -> Result<(), BrokenChain> {
        let (seq, writer) = (link.seq, link.writer);
        let head = self.heads.get(&writer).copied().unwrap_or_else(|| Head::start(writer));
        if seq <= self.last_seq || link.position != head.position + 1 || link.previous != head.mac {
            return Err(BrokenChain::Order { seq, writer });
        }
        if digest(link.entries.iter().map(entry_hash)) != link.digest {
            return Err(BrokenChain::Entries { seq });
        }
        code(key, link).verify((&link.mac).into()).map_err(|_| BrokenChain::Code { seq })?;
        self.last_seq = seq;
        self.heads.insert(writer, link.head());
        Ok(())
    }
}

/// Checks all `links`, in the order of `seq`.
pub fn verify(key: &AuditKey, links: &[Link]) -> Result<(), BrokenChain> {
    let mut verifier = Verifier::default();
    links.iter().try_for_each(|link| verifier.check(key, link))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AuditKey {
        Secret::new([7; 32])
    }

    fn entry(org: &str, count: u64) -> Entry {
        Entry { org: org.into(), action: "conversions.accepted".into(), object: "int_1".into(), count, by: None, detail: None }
    }

    /// Two writers, three links.
    fn chain() -> Vec<Link> {
        let first = Link { seq: 1, ..link(&key(), Head::start(1), vec![entry("a", 1), entry("b", 2)], 10) };
        let other = Link { seq: 2, ..link(&key(), Head::start(2), vec![entry("a", 3)], 11) };
        let second = Link { seq: 3, ..link(&key(), first.head(), vec![entry("b", 4)], 12) };
        vec![first, other, second]
    }

    #[test]
    fn an_untouched_log_holds() {
        assert_eq!(verify(&key(), &chain()), Ok(()));
    }

    #[test]
    fn the_first_changed_link_is_named() {
        let mut entries = chain();
        entries[1].entries[0].count = 30;
        assert_eq!(verify(&key(), &entries), Err(BrokenChain::Entries { seq: 2 }));
        let mut time = chain();
        time[2].at_ms += 1;
        assert_eq!(verify(&key(), &time), Err(BrokenChain::Code { seq: 3 }));
    }

    #[test]
    fn removed_and_reordered_links_are_noticed() {
        let mut removed = chain();
        removed.remove(0);
        assert_eq!(verify(&key(), &removed), Err(BrokenChain::Order { seq: 3, writer: 1 }));
        let mut swapped = chain();
        swapped.swap(0, 2);
        assert_eq!(verify(&key(), &swapped), Err(BrokenChain::Order { seq: 3, writer: 1 }));
    }

    #[test]
    fn another_key_is_noticed_and_whole_forgeries_with_it() {
        assert_eq!(verify(&Secret::new([8; 32]), &chain()), Err(BrokenChain::Code { seq: 1 }));
    }

    #[test]
    fn one_organizations_entries_are_verified_with_only_the_hashes_of_the_others() {
        let link = &chain()[0];
        let shown = entry("a", 1);
        let hidden = entry_hash(&entry("b", 2));
        assert_eq!(digest([entry_hash(&shown), hidden]), link.digest);
        assert_ne!(digest([entry_hash(&entry("a", 2)), hidden]), link.digest);
    }

    #[test]
    fn fields_cannot_run_into_each_other() {
        let one = Entry { action: "ab".into(), object: "c".into(), ..entry("a", 1) };
        let two = Entry { action: "a".into(), object: "bc".into(), ..entry("a", 1) };
        assert_ne!(entry_hash(&one), entry_hash(&two));
        let none = Entry { detail: None, ..one.clone() };
        let empty = Entry { detail: Some(String::new()), ..one };
        assert_ne!(entry_hash(&none), entry_hash(&empty));
    }
}
