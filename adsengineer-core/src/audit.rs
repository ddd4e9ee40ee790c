//! The audit log: one link per committed batch, each bound to the one before it and to a key that is not in the database.

use serde::{Deserialize, Serialize};

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
    /// Anything else, for example a note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A link of a writer's chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Position over all chains in the order of commits.
    pub seq: i64,
    /// Whose chain.
    pub writer: i64,
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
