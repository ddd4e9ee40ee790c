//! The binary with its data in PostgreSQL: sending, repair and recovery work there as `cli.rs` shows them of a file.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "cli/on_postgres.rs"]
mod base;
#[path = "cli/crash.rs"]
mod crash;
#[path = "cli/credentials.rs"]
mod credentials;
#[path = "cli/letters.rs"]
mod letters;
#[path = "cli/listing.rs"]
mod listing;
#[path = "cli/stage.rs"]
mod stage;
#[path = "cli/trouble.rs"]
mod trouble;
#[path = "cli/upload.rs"]
mod upload;
