//! The domain logic of AdsEngineer: offline conversions delivered to ad platforms once, provably, or explained.
//!
//! Data flows one way: **words** (types that are valid once they exist), **rules** (pure functions and small
//! state machines; time, randomness and data are arguments) and **doors** (the only code that touches the world).
//! Words and rules need no feature; `engine`, `sqlite`, `postgres` and `http` add the doors.
//!
//! ```
//! use adsengineer_core::{
//!     click_id::{ClickId, ClickIdKind},
//!     consent::{AdConsent, ConsentState},
//! };
//!
//! let click = ClickId::new(ClickIdKind::Gclid, "EAIaIQobChMI1example0000000001")?;
//! let consent = AdConsent { ad_user_data: Some(ConsentState::Granted), ad_personalization: None };
//! assert_eq!(click.as_str(), "EAIaIQobChMI1example0000000001");
//! assert!(consent.permit().is_ok(), "without a permit no event can be built");
//! assert!(AdConsent::default().permit().is_err());
//! # Ok::<(), adsengineer_core::click_id::InvalidClickId>(())
//! ```

// words
pub mod body;
pub mod click_id;
pub mod consent;
pub mod conversion;
pub mod finding;
pub mod id;
pub mod lead;
pub mod money;
pub mod org;
pub mod outcome;
pub mod rule;
pub mod secret;

// rules
pub mod aead;
pub mod audit;
pub mod backoff;
pub mod breaker;
pub mod client_address;
pub mod delivery;
pub mod identity;
pub mod import;
pub mod preflight;
pub mod rate_limit;
pub mod schedule;
pub mod scoring;
pub mod token;

// doors
pub mod clock;
pub mod destination;
#[cfg(feature = "http")]
pub mod engine;
#[cfg(feature = "engine")]
pub mod limiter;
#[cfg(feature = "http")]
pub mod shape;
#[cfg(feature = "engine")]
pub mod store;
#[cfg(feature = "engine")]
pub mod vault;
#[cfg(feature = "engine")]
pub mod worker;
