//! One `events:ingest` request from its bytes to its answer: read, judge, count, remember the verdict.

use std::{borrow::Cow, fmt};

use axum::response::Response;
use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use tokio::time::Instant;

use super::{
    answer,
    judge::{self, Rules},
    ledger::Entry,
    options::SandboxOptions,
    status::{Taken, Tally},
    verdict::{self, Later},
    wire::{Destination, Event, PayloadError, Request},
    world::{State, World},
};

const DUPLICATE: &str = "PROCESSING_ERROR_REASON_DUPLICATE_TRANSACTION_ID";

/// Processes a request and answers it.
pub(super) fn process(world: &World, body: &[u8]) -> Response {
    let request_id = world.fresh_request_id();
    if world.state().options.quick {
        return quick(world, body, &request_id);
    }
    let request = match Request::read(body) {
        Ok(request) => request,
        Err(error) => {
            world.state().counters.requests_refused += 1;
            return answer::bad_payload(&error);
        }
    };
    let (rules, located) = rules(&world.state());
    let violations = judge::violations(&request, &rules);
    let mut state = world.state();
    let addressed = (request.events.len() * request.destinations.len().max(1)) as u64;
    if !violations.is_empty() {
        state.counters.requests_refused += 1;
        state.counters.events_received += addressed;
        state.counters.events_refused += addressed;
        return answer::violations(&request_id, &violations, located);
    }
    if request.validate_only {
        state.counters.events_received += addressed;
        state.counters.events_validated += addressed;
        return answer::taken(&request_id);
    }
    let tallies = state.count(&request);
    state.remember(&request_id, tallies);
    answer::taken(&request_id)
}

fn rules(state: &State) -> (Rules, bool) {
    let SandboxOptions { click_verdicts, omit_locations, now, .. } = &state.options;
    let rules = Rules { actions: state.actions.clone(), click_verdicts: *click_verdicts, now: now.unwrap_or_else(Timestamp::now) };
    (rules, !omit_locations)
}

impl State {
    fn count(&mut self, request: &Request<'_>) -> Vec<Tally> {
        let later = Later { consent_required: self.options.consent_required, click_verdicts: self.options.click_verdicts };
        let failures: Vec<_> = request.events.iter().map(|(event, _)| verdict::failure(event, request.consent, later)).collect();
        request.destinations.iter().map(|destination| self.count_for(destination, request, &failures)).collect()
    }

    fn count_for(
        &mut self,
        (destination, text): &(Destination, &RawValue),
        request: &Request<'_>,
        failures: &[Option<Cow<'static, str>>],
    ) -> Tally {
        let account = destination.operating_account.as_ref().and_then(|account| account.account_id.clone());
        let action = (account.unwrap_or_default(), destination.product_destination_id.clone().unwrap_or_default());
        let mut tally = Tally::new(serde_json::from_str(text.get()).unwrap_or(Value::Null));
        for (index, ((event, raw), failure)) in request.events.iter().zip(failures).enumerate() {
            if !is_addressed(event, destination.reference.as_deref()) {
                continue;
            }
            tally.records += 1;
            self.counters.events_received += 1;
            let failure = match failure {
                Some(reason) => {
                    self.counters.events_failed += 1;
                    Some(reason.clone())
                }
                None => self.take(&action, event, raw),
            };
            if let Some(reason) = failure {
                tally.errors.entry(reason).or_default().push(index);
            }
        }
        tally
    }

    fn take(&mut self, action: &(String, String), event: &Event<'_>, raw: &RawValue) -> Option<Cow<'static, str>> {
        self.counters.events_accepted += 1;
        match self.ledger.record(action, event, raw) {
            Entry::New => None,
            Entry::Overwritten => {
                self.counters.overwritten += 1;
                None
            }
            Entry::Repeated { changed } => {
                self.counters.repeated += 1;
                self.counters.repeated_changed += u64::from(changed);
                self.options.answer_duplicates.then_some(Cow::Borrowed(DUPLICATE))
            }
        }
    }

    fn remember(&mut self, request_id: &str, tallies: Vec<Tally>) {
        let due = Instant::now() + self.options.status_delay;
        self.taken.insert(request_id.to_owned(), Taken { due, polls_left: self.options.polls_before_final, tallies });
    }
}

/// No references: every destination.
fn is_addressed(event: &Event<'_>, reference: Option<&str>) -> bool {
    let references = event.destination_references.as_deref().unwrap_or_default();
    references.is_empty() || references.iter().any(|it| Some(it.as_str()) == reference)
}

#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    destinations: Vec<Value>,
    #[serde(default)]
    events: Items,
}

#[derive(Default)]
struct Items(u64);

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Items(0))
    }
}

impl<'de> Visitor<'de> for Items {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {
            self.0 += 1;
        }
        Ok(self)
    }
}

fn quick(world: &World, body: &[u8], request_id: &str) -> Response {
    let read: Result<Counted, _> = serde_json::from_slice(body);
    let mut state = world.state();
    let Ok(counted) = read else {
        state.counters.requests_refused += 1;
        let description = "Invalid JSON payload received.".to_owned();
        return answer::bad_payload(&PayloadError { field: String::new(), description });
    };
    let Items(records) = counted.events;
    let all = records * counted.destinations.len() as u64;
    state.counters.events_received += all;
    state.counters.events_accepted += all;
    let tallies = counted.destinations.into_iter().map(|destination| Tally { records, ..Tally::new(destination) }).collect();
    state.remember(request_id, tallies);
    answer::taken(request_id)
}
