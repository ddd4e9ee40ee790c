//! Stores of rate limits: the same cases in memory and in Redis, sharing between processes, and everything that can be wrong.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "limiter/cases.rs"]
mod cases;
#[path = "limiter/faults.rs"]
mod faults;
#[path = "limiter/fixture.rs"]
mod fixture;
#[path = "support/redis.rs"]
mod redis;
#[path = "limiter/sharing.rs"]
mod sharing;
