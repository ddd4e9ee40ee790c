//! Where the binary's data is: a database of its own on the tests' PostgreSQL server.

#[path = "../support/postgres.rs"]
mod support;

/// Only its lease tells that a worker was killed.
pub const LEASE: &str = "1s";

/// How many runs a test makes whose choices come from a seed; each waits for leases.
pub const SEEDS: u64 = 2;

pub fn variables() -> Vec<(&'static str, String)> {
    vec![
        ("ADSENGINEER_DATABASE_URL", support::database()),
        ("ADSENGINEER_MIGRATE", "auto".to_owned()),
        ("ADSENGINEER_ENCRYPTION_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned()),
        ("ADSENGINEER_JWT_SECRET", "0123456789abcdef0123456789abcdef".to_owned()),
    ]
}
