//! What a platform said of one row, and why. Retryability is data here: each platform maps its codes to an
//! [`Outcome`] in one table, and nothing else ever looks at a code's text.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// A reason: the platform's own code (or ours), and text for a human.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Why {
    /// Stable upper snake case code, the platform's where it gave one.
    pub code: Arc<str>,
    /// What the platform said, shortened; never personal data.
    pub detail: Arc<str>,
}

impl Why {
    /// Longest detail kept, in bytes.
    pub const MAX_DETAIL: usize = 500;

    /// A reason; `detail` is cut at [`Why::MAX_DETAIL`].
    pub fn new(code: &str, detail: &str) -> Self {
        let end = (0..=detail.len().min(Self::MAX_DETAIL)).rev().find(|i| detail.is_char_boundary(*i)).unwrap_or(0);
        Self { code: code.into(), detail: detail[..end].into() }
    }
}

/// How much stops when something must be put right by a human first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldScope {
    /// Every row of the destination: its credentials do not work.
    Credentials,
    /// Every row of the destination: its configuration does not work.
    Destination,
    /// Every row of the conversion action at this destination.
    Action,
    /// This row alone, for review.
    Row,
}

/// What a platform said of one row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Taken, and that is final.
    Accepted,
    /// Taken; the verdict must be asked for later.
    Pending,
    /// Known already. Proof of delivery after an earlier attempt of ours, somebody else's conversion on a first one.
    Duplicate(Why),
    /// Refused for good.
    Rejected(Why),
    /// Not taken; the same row may succeed later.
    Retry {
        /// The wait that the platform asked for.
        after: Option<Duration>,
        /// Whether it counts as one of the row's attempts; quota and shared failures do not.
        counts: bool,
        /// What went wrong.
        why: Why,
    },
    /// Not taken because it is too early; how long to wait is known from the platform's documents, and may be many hours.
    Later {
        /// The wait.
        after: Duration,
        /// Attempts in all before the row is dead.
        tries: u16,
        /// What is too early.
        why: Why,
    },
    /// Not taken, and the platform itself does not say why: a few more attempts, then a human looks.
    Unclear(Why),
    /// Not taken; a human must put something right first.
    Hold(HoldScope, Why),
    /// May or may not have been taken: the answer was lost or unreadable.
    Unknown(Why),
    /// Refused together with others, and nothing says which row is at fault: send smaller parts.
    Unlocated(Why),
}

impl Outcome {
    /// Why it was not simply taken.
    pub fn why(&self) -> Option<&Why> {
        match self {
            Self::Accepted | Self::Pending => None,
            Self::Duplicate(why)
            | Self::Rejected(why)
            | Self::Retry { why, .. }
            | Self::Later { why, .. }
            | Self::Hold(_, why)
            | Self::Unknown(why)
            | Self::Unclear(why)
            | Self::Unlocated(why) => Some(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_but_a_plain_success_says_why() {
        let why = Why::new("X", "text");
        let silent = [Outcome::Accepted, Outcome::Pending];
        assert!(silent.iter().all(|outcome| outcome.why().is_none()));
        let retry = Outcome::Retry { after: None, counts: true, why: why.clone() };
        for outcome in [retry, Outcome::Hold(HoldScope::Row, why.clone()), Outcome::Unclear(why.clone()), Outcome::Unlocated(why.clone())] {
            assert_eq!(outcome.why(), Some(&why));
        }
    }

    #[test]
    fn details_are_cut_at_a_character_boundary() {
        let why = Why::new("X", &"ä".repeat(400));
        assert_eq!(why.detail.len(), Why::MAX_DETAIL);
        assert_eq!(Why::new("X", "short").detail.as_ref(), "short");
    }
}
