//! The same server with its data in PostgreSQL: every test of `server.rs` once more.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "server/access.rs"]
mod access;
#[path = "server/attacks.rs"]
mod attacks;
#[path = "server/on_postgres.rs"]
mod base;
#[path = "server/beside.rs"]
mod beside;
#[path = "server/bounds.rs"]
mod bounds;
#[path = "server/closed.rs"]
mod closed;
#[path = "server/consent.rs"]
mod consent;
#[path = "server/conversions.rs"]
mod conversions;
#[path = "server/destinations.rs"]
mod destinations;
#[path = "server/document.rs"]
mod document;
#[path = "server/errors.rs"]
mod errors;
#[path = "server/leads.rs"]
mod leads;
#[path = "server/letters.rs"]
mod letters;
#[path = "server/limits.rs"]
mod limits;
#[path = "server/manners.rs"]
mod manners;
#[path = "server/once.rs"]
mod once;
#[expect(dead_code, reason = "tests of the store itself need more of it")]
#[path = "support/redis.rs"]
mod redis;
#[path = "server/routes.rs"]
mod routes;
#[path = "server/said.rs"]
mod said;
#[path = "server/serving.rs"]
mod serving;
#[path = "server/settings.rs"]
mod settings;
#[path = "server/shared.rs"]
mod shared;
#[path = "server/stage.rs"]
mod stage;
#[path = "server/tokens.rs"]
mod tokens;
#[path = "server/wire.rs"]
mod wire;
