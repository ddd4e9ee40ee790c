//! The domain logic of AdsEngineer: offline conversions delivered to ad platforms once, provably, or explained.
//!
//! Data flows one way: **words** (types that are valid once they exist), **rules** (pure functions and small
//! state machines; time, randomness and data are arguments) and **doors** (the only code that touches the world).
//! Words and rules need no feature; `engine`, `sqlite` and `http` add the doors.

// words
pub mod click_id;
pub mod consent;
pub mod conversion;
pub mod finding;
pub mod id;
pub mod money;
pub mod org;
pub mod outcome;
pub mod secret;

// rules
pub mod aead;
pub mod audit;
pub mod backoff;
pub mod breaker;
pub mod delivery;
pub mod identity;
pub mod import;
pub mod preflight;
pub mod rate_limit;
pub mod schedule;

// doors
pub mod clock;
pub mod destination;
#[cfg(all(feature = "sqlite", feature = "http"))]
pub mod engine;
#[cfg(feature = "engine")]
pub mod store;
#[cfg(feature = "engine")]
pub mod vault;
#[cfg(feature = "engine")]
pub mod worker;
