//! The HTTP server as its clients see it: a real database, real connections, a clock that tests move.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "server/access.rs"]
mod access;
#[path = "server/attacks.rs"]
mod attacks;
#[path = "server/closed.rs"]
mod closed;
#[path = "server/consent.rs"]
mod consent;
#[path = "server/conversions.rs"]
mod conversions;
#[path = "server/document.rs"]
mod document;
#[path = "server/leads.rs"]
mod leads;
#[path = "server/limits.rs"]
mod limits;
#[path = "server/once.rs"]
mod once;
#[path = "server/routes.rs"]
mod routes;
#[path = "server/said.rs"]
mod said;
#[path = "server/stage.rs"]
mod stage;
#[path = "server/tokens.rs"]
mod tokens;
