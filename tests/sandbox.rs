//! The sandbox over HTTP: what a client of the Data Manager API would see, and what was counted meanwhile.

#![expect(clippy::unwrap_used, reason = "a call that cannot be made fails the test")]

#[path = "sandbox/client.rs"]
mod client;
#[path = "sandbox/faults.rs"]
mod faults;
#[path = "sandbox/judging.rs"]
mod judging;
#[path = "sandbox/oauth.rs"]
mod oauth;
#[path = "sandbox/payload.rs"]
mod payload;
#[path = "sandbox/status.rs"]
mod status;
