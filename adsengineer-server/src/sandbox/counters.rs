//! What the sandbox has seen and done, in numbers that must add up.

use std::collections::BTreeMap;

use serde::Serialize;

/// A snapshot of everything counted since the start.
///
/// The unit of events is one event for one destination. In [quick mode](super::SandboxOptions::quick) only requests and events
/// received and accepted are counted. Otherwise: `events_received` = `events_accepted` + `events_failed` + `events_refused` +
/// `events_validated`, and `events_accepted` = `conversions` + `repeated` + `overwritten`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// `events:ingest` requests whose body arrived, faulty ones included.
    pub requests: u64,
    /// Requests answered 4xx for what they held or lacked, not by a fault.
    pub requests_refused: u64,
    /// `requestStatus:retrieve` requests.
    pub polls: u64,
    /// Access tokens given out.
    pub tokens_issued: u64,
    /// Refusals of the token endpoint.
    pub tokens_refused: u64,
    /// Events of requests that were read.
    pub events_received: u64,
    /// Events that count as conversions, repeats of earlier ones included.
    pub events_accepted: u64,
    /// Events taken first and failed later: consent, click ids.
    pub events_failed: u64,
    /// Events of requests that were refused as a whole.
    pub events_refused: u64,
    /// Events of valid requests with `validateOnly`.
    pub events_validated: u64,
    /// Distinct conversions.
    pub conversions: u64,
    /// Events whose transaction id was known, with the same value and currency.
    pub repeated: u64,
    /// Those of `repeated` that differed elsewhere from the last event of that id.
    pub repeated_changed: u64,
    /// Events that gave a known conversion another value or currency.
    pub overwritten: u64,
    /// Faults met, by [`Fault::name`](super::Fault::name).
    pub faults: BTreeMap<&'static str, u64>,
}
