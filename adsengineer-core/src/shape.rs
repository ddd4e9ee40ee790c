//! What users see of conversions, deliveries, dead letters, destinations and leads: one set of shapes for the HTTP API,
//! the CLI's `--json` and its tables, so that the same thing looks the same everywhere.
//!
//! Times are RFC 3339 in UTC, money is decimal text with its ISO 4217 code, ids are opaque text.

mod conversion;
mod destination;
mod lead;
mod rule;

pub use conversion::{Attempt, Conversion, Conversions, DeadLetter, DeadLetters, Delivery, Payload, ReplayStatus};
pub use destination::{Destination, Destinations, Held, Reconciliation, Standing, Status};
pub use lead::{FirstTouch, Lead, Leads};
pub use rule::{Rule, Rules};

use jiff::Timestamp;

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}
