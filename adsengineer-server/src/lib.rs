//! The HTTP face of AdsEngineer: routes over an engine, the loop that serves them, configuration, and the sandbox that
//! stands in for the ad platforms.
//!
//! [`router`] nests into any axum application and installs nothing global; [`serve`] runs it with timeouts and a drain.

mod background;
pub mod config;
pub mod error;
pub mod extract;
mod handlers;
pub mod health;
mod layers;
mod openapi;
mod router;
pub mod sandbox;
mod serve;
mod state;

pub use background::background;
pub use openapi::document as openapi;
pub use router::{api_router, router};
pub use serve::{ServeOptions, Tls, TlsError, serve};
pub use state::{Api, Rates};
