//! Where the binary's data is: in the data folder, with everything else at its default.

/// What was claimed or asked by a process that is gone is free before its lease ends.
pub const LEASE: &str = "10m";

/// How many runs a test makes whose choices come from a seed.
pub const SEEDS: u64 = 6;

pub fn variables() -> Vec<(&'static str, String)> {
    Vec::new()
}
