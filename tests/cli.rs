//! The binary as its user runs it, against the stand-in for Google.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "cli/on_file.rs"]
mod base;
#[path = "cli/crash.rs"]
mod crash;
#[path = "cli/credentials.rs"]
mod credentials;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/letters.rs"]
mod letters;
#[path = "cli/limited.rs"]
mod limited;
#[path = "cli/listing.rs"]
mod listing;
#[path = "cli/login.rs"]
mod login;
#[path = "cli/logins.rs"]
mod logins;
#[path = "cli/manners.rs"]
mod manners;
#[path = "cli/quiet.rs"]
mod quiet;
#[expect(dead_code, reason = "tests of the store itself need more of it")]
#[path = "support/redis.rs"]
mod redis;
#[path = "cli/remote.rs"]
mod remote;
#[path = "cli/served.rs"]
mod served;
#[path = "cli/stage.rs"]
mod stage;
#[path = "cli/tokens.rs"]
mod tokens;
#[path = "cli/trouble.rs"]
mod trouble;
#[path = "cli/upload.rs"]
mod upload;
#[path = "cli/wire.rs"]
mod wire;
