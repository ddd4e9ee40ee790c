//! One file for each resource: its handlers, and what they take and answer.

pub(crate) mod conversions;
pub(crate) mod destinations;
pub(crate) mod dlq;
pub(crate) mod leads;
pub(crate) mod rules;
pub(crate) mod status;
pub(crate) mod system;
pub(crate) mod tokens;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Problem;

/// How many items a page has when nobody says.
const LIMIT: usize = 50;
/// How many items a page has at most.
const LIMIT_MAX: usize = 1000;

/// Something is gone.
#[derive(Debug, Serialize, ToSchema)]
pub struct Removed {
    /// Always true.
    pub removed: bool,
}

fn limit(limit: Option<u32>) -> Result<usize, Problem> {
    match limit.map_or(LIMIT, |n| usize::try_from(n).unwrap_or(usize::MAX)) {
        n @ 1..=LIMIT_MAX => Ok(n),
        _ => Err(Problem::field("?limit", "INVALID_PARAMETER", format!("the limit is not between 1 and {LIMIT_MAX}"))),
    }
}

fn cursor<T: std::str::FromStr>(text: Option<&str>) -> Result<Option<T>, Problem> {
    let parse =
        |text: &str| text.parse().map_err(|_| Problem::field("?cursor", "INVALID_CURSOR", "the cursor is not one that this list gave out"));
    text.map(parse).transpose()
}

/// An instant of the query, in Unix milliseconds.
fn millis(name: &str, text: Option<&str>) -> Result<Option<i64>, Problem> {
    let parse = |text: &str| {
        let time = text.parse::<Timestamp>().ok().or_else(|| (text.starts_with("9999-12-3")).then_some(Timestamp::MAX));
        time.map(Timestamp::as_millisecond).ok_or_else(|| {
            Problem::field(format!("?{name}"), "INVALID_PARAMETER", "the time is not RFC 3339, such as 2026-11-20T12:00:00Z")
        })
    };
    text.map(parse).transpose()
}

/// `asc` or `desc`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Oldest first.
    #[default]
    Asc,
    /// Newest first.
    Desc,
}
