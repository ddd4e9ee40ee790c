//! Google Ads through the Data Manager API: `events:ingest` for sending, `requestStatus:retrieve` for the verdict.
//!
//! Rules (`codes`, `render`, `answer`, `status`) are pure; `door` is the only part that opens a connection.

pub mod codes;

#[cfg(feature = "engine")]
mod json;
#[cfg(feature = "engine")]
mod person;
#[cfg(feature = "engine")]
pub mod render;

#[cfg(feature = "http")]
mod answer;
#[cfg(feature = "http")]
mod check;
#[cfg(feature = "http")]
mod door;
#[cfg(feature = "http")]
mod failure;
#[cfg(feature = "http")]
mod status;

#[cfg(feature = "http")]
pub use door::{GoogleDestination, GoogleSettings, GoogleSetupError};
