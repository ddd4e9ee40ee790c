//! What a poll is told about a request: nothing yet, or the verdict per destination. Pure.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::options::RecordIndices;

/// A request that was taken.
pub(super) struct Taken {
    /// When its verdict is out.
    pub(super) due: Instant,
    /// How many polls still find it `PROCESSING`.
    pub(super) polls_left: u32,
    /// In the order of the request's destinations.
    pub(super) tallies: Vec<Tally>,
}

/// What became of the events for one destination.
pub(super) struct Tally {
    /// The destination as it was sent.
    pub(super) destination: Value,
    pub(super) records: u64,
    /// Failed events' places in the request, by reason.
    pub(super) errors: BTreeMap<Cow<'static, str>, Vec<usize>>,
}

impl Taken {
    /// One poll's answer.
    pub(super) fn poll(&mut self, now: Instant, indices: RecordIndices) -> Value {
        let processing = self.polls_left > 0 || now < self.due;
        self.polls_left = self.polls_left.saturating_sub(1);
        let statuses: Vec<Value> =
            self.tallies.iter().map(|tally| if processing { tally.processing() } else { tally.verdict(indices) }).collect();
        json!({ "requestStatusPerDestination": statuses })
    }
}

impl Tally {
    pub(super) fn new(destination: Value) -> Self {
        Self { destination, records: 0, errors: BTreeMap::new() }
    }

    fn processing(&self) -> Value {
        json!({ "destination": self.destination, "requestStatus": "PROCESSING" })
    }

    /// Counts are strings: protobuf JSON writes 64-bit numbers so.
    fn verdict(&self, indices: RecordIndices) -> Value {
        let failed: u64 = self.errors.values().map(|places| places.len() as u64).sum();
        let status = match failed {
            0 => "SUCCESS",
            all if all == self.records => "FAILED",
            _ => "PARTIAL_SUCCESS",
        };
        let mut verdict = json!({
            "destination": self.destination,
            "requestStatus": status,
            "eventsIngestionStatus": { "recordCount": self.records.to_string() },
        });
        if failed > 0 {
            let counts: Vec<Value> = self.errors.iter().map(|(reason, places)| count(reason, places, indices)).collect();
            verdict["errorInfo"] = json!({ "errorCounts": counts });
        }
        verdict
    }
}

fn count(reason: &str, places: &[usize], indices: RecordIndices) -> Value {
    let mut count = json!({ "recordCount": places.len().to_string(), "reason": reason });
    match indices {
        RecordIndices::Absent => {}
        RecordIndices::Numbers => count["recordIndices"] = json!(places),
        RecordIndices::Strings => count["recordIndices"] = places.iter().map(ToString::to_string).collect(),
    }
    count
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::{Taken, Tally};
    use crate::sandbox::RecordIndices;

    fn verdict(records: u64, failed: &[usize], indices: RecordIndices) -> Value {
        let errors = if failed.is_empty() { BTreeMap::new() } else { BTreeMap::from([("X".into(), failed.to_vec())]) };
        let tally = Tally { destination: json!({ "reference": "a" }), records, errors };
        let mut taken = Taken { due: Instant::now(), polls_left: 1, tallies: vec![tally] };
        let first = taken.poll(Instant::now(), indices);
        assert_eq!(first["requestStatusPerDestination"][0]["requestStatus"], "PROCESSING");
        taken.poll(Instant::now(), indices)["requestStatusPerDestination"][0].take()
    }

    #[test]
    fn the_share_of_failed_events_names_the_status() {
        let status = |records, failed: &[usize]| verdict(records, failed, RecordIndices::Absent)["requestStatus"].take();
        assert_eq!([status(2, &[]), status(2, &[1]), status(2, &[0, 1])], ["SUCCESS", "PARTIAL_SUCCESS", "FAILED"]);
    }

    #[test]
    fn counts_are_strings_and_indices_as_asked() {
        let error = |indices| verdict(5, &[1, 3], indices)["errorInfo"]["errorCounts"][0].take();
        assert_eq!(error(RecordIndices::Absent), json!({ "recordCount": "2", "reason": "X" }));
        assert_eq!(error(RecordIndices::Numbers)["recordIndices"], json!([1, 3]));
        assert_eq!(error(RecordIndices::Strings)["recordIndices"], json!(["1", "3"]));
    }
}
