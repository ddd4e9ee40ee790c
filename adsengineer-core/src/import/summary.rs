//! What became of a file's rows.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::finding::Code;

/// Counts of a file's rows; every row is in exactly one of `accepted`, `refused`, `denied` and `skipped`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Summary {
    /// Rows with something in them, header and Parameters row not counted.
    pub rows: u64,
    /// Rows that may go in.
    pub accepted: u64,
    /// Rows that were refused, duplicates included.
    pub refused: u64,
    /// Rows of persons who said no.
    pub denied: u64,
    /// Rows left out by `--skip`.
    pub skipped: u64,
    /// Refused because an earlier row is the same conversion.
    pub duplicates: u64,
    /// Errors by code.
    pub errors: BTreeMap<Code, u64>,
    /// Warnings by code.
    pub warnings: BTreeMap<Code, u64>,
}
