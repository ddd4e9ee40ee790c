//! What the platform counts: one conversion per account, action and transaction id; a repeat overwrites its value. Pure.
//!
//! Source: Data Manager API, conversion adjustments in `events:ingest`.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    format,
    wire::{AdIdentifiers, Event, UserIdentifier},
};

/// A conversion as the sandbox counts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AcceptedConversion {
    /// The Google Ads account, ten digits.
    pub account: String,
    /// The conversion action's id.
    pub action: String,
    /// The event's transaction id.
    pub transaction_id: String,
    /// The latest value, as it was written.
    pub value: Option<String>,
    /// The latest currency.
    pub currency: Option<String>,
    /// The first event's time, as it was written.
    pub event_timestamp: String,
    /// The first event's gclid, gbraid or wbraid.
    pub click_id: Option<String>,
    /// The hashes of the first event that had any: e-mail, phone, names.
    pub identifiers: Vec<String>,
    /// How many events with this transaction id were taken.
    pub times_received: u64,
}

/// What became of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// A new conversion.
    New,
    /// Known, with the same value and currency; `changed` if anything else differs from the last time.
    Repeated { changed: bool },
    /// Known, and its value or currency is another now.
    Overwritten,
}

/// Everything that is counted.
#[derive(Default)]
pub(super) struct Ledger {
    actions: HashMap<(String, String), HashMap<String, Record>>,
}

struct Record {
    value: Option<Box<str>>,
    currency: Option<Box<str>>,
    event_timestamp: Box<str>,
    click_id: Option<Box<str>>,
    identifiers: Box<[Box<str>]>,
    times_received: u64,
    digest: u64,
}

impl Ledger {
    /// Counts an event that nothing speaks against; `raw` is its text.
    pub(super) fn record(&mut self, action: &(String, String), event: &Event<'_>, raw: &RawValue) -> Entry {
        if !self.actions.contains_key(action) {
            self.actions.insert(action.clone(), HashMap::new());
        }
        let (Some(conversions), Some(id)) = (self.actions.get_mut(action), &event.transaction_id) else {
            return Entry::New;
        };
        if let Some(record) = conversions.get_mut(id) {
            return record.repeat(event, raw);
        }
        conversions.insert(id.clone(), Record::first(event, raw));
        Entry::New
    }

    /// How many conversions are counted.
    pub(super) fn len(&self) -> u64 {
        self.actions.values().map(|conversions| conversions.len() as u64).sum()
    }

    /// All of them, sorted by account, action and transaction id.
    pub(super) fn snapshot(&self) -> Vec<AcceptedConversion> {
        let all = self.actions.iter().flat_map(|(action, conversions)| conversions.iter().map(move |(id, record)| record.show(action, id)));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable_by(|a, b| (&a.account, &a.action, &a.transaction_id).cmp(&(&b.account, &b.action, &b.transaction_id)));
        all
    }
}

impl Record {
    fn first(event: &Event<'_>, raw: &RawValue) -> Self {
        Self {
            value: value(event).map(Into::into),
            currency: event.currency.as_deref().map(Into::into),
            event_timestamp: event.event_timestamp.as_deref().unwrap_or_default().into(),
            click_id: event.ad_identifiers.as_ref().and_then(AdIdentifiers::click_id).map(|(_, id)| id.into()),
            identifiers: identifiers(event),
            times_received: 1,
            digest: digest(raw),
        }
    }

    fn repeat(&mut self, event: &Event<'_>, raw: &RawValue) -> Entry {
        self.times_received += 1;
        let changed = std::mem::replace(&mut self.digest, digest(raw)) != self.digest;
        if self.identifiers.is_empty() {
            self.identifiers = identifiers(event);
        }
        let same_value = size(self.value.as_deref()) == size(value(event));
        if same_value && self.currency.as_deref() == event.currency.as_deref() {
            return Entry::Repeated { changed };
        }
        self.value = value(event).map(Into::into);
        self.currency = event.currency.as_deref().map(Into::into);
        Entry::Overwritten
    }

    fn show(&self, (account, action): &(String, String), id: &str) -> AcceptedConversion {
        let owned = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        AcceptedConversion {
            account: account.clone(),
            action: action.clone(),
            transaction_id: id.to_owned(),
            value: owned(&self.value),
            currency: owned(&self.currency),
            event_timestamp: self.event_timestamp.to_string(),
            click_id: owned(&self.click_id),
            identifiers: self.identifiers.iter().map(ToString::to_string).collect(),
            times_received: self.times_received,
        }
    }
}

fn value<'a>(event: &Event<'a>) -> Option<&'a str> {
    event.conversion_value.and_then(|raw| format::number(raw.get())).map(|(text, _)| text)
}

/// Google keeps a double: `10` and `10.0` are one value.
fn size(value: Option<&str>) -> Option<u64> {
    value.and_then(format::number).map(|(_, size)| (size + 0.0).to_bits())
}

fn identifiers(event: &Event<'_>) -> Box<[Box<str>]> {
    let all = event.user_data.iter().flat_map(|data| data.user_identifiers.iter().flatten());
    all.flat_map(UserIdentifier::hashes).map(Into::into).collect()
}

impl UserIdentifier {
    fn hashes(&self) -> impl Iterator<Item = &str> {
        let names = self.address.iter().flat_map(|address| [address.given_name.as_deref(), address.family_name.as_deref()]);
        [self.email_address.as_deref(), self.phone_number.as_deref()].into_iter().chain(names).flatten()
    }
}

fn digest(raw: &RawValue) -> u64 {
    let mut hasher = DefaultHasher::new();
    raw.get().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::{Entry, Ledger};

    fn record(ledger: &mut Ledger, action: &str, event: &str) -> Entry {
        let raw: &serde_json::value::RawValue = serde_json::from_str(event).unwrap();
        ledger.record(&("1234567890".into(), action.into()), &serde_json::from_str(event).unwrap(), raw)
    }

    #[test]
    fn the_same_event_again_is_no_second_conversion() {
        let mut ledger = Ledger::default();
        let event = r#"{"transactionId":"t","conversionValue":10.10,"currency":"EUR"}"#;
        assert_eq!(record(&mut ledger, "1", event), Entry::New);
        assert_eq!(record(&mut ledger, "1", event), Entry::Repeated { changed: false });
        assert_eq!((ledger.len(), ledger.snapshot()[0].times_received), (1, 2));
        assert_eq!(ledger.snapshot()[0].value.as_deref(), Some("10.10"));
    }

    #[test]
    fn another_value_overwrites_and_the_rest_stays() {
        let mut ledger = Ledger::default();
        record(&mut ledger, "1", r#"{"transactionId":"t","conversionValue":1,"eventTimestamp":"a","adIdentifiers":{"gclid":"g"}}"#);
        let later = r#"{"transactionId":"t","conversionValue":2,"eventTimestamp":"b","adIdentifiers":{"wbraid":"w"},
            "userData":{"userIdentifiers":[{"emailAddress":"e"},{"address":{"givenName":"n"}}]}}"#;
        assert_eq!(record(&mut ledger, "1", later), Entry::Overwritten);
        let kept = &ledger.snapshot()[0];
        assert_eq!((kept.value.as_deref(), kept.event_timestamp.as_str(), kept.click_id.as_deref()), (Some("2"), "a", Some("g")));
        assert_eq!(kept.identifiers, ["e", "n"]);
    }

    #[test]
    fn equal_sizes_in_other_words_are_a_changed_repeat() {
        let mut ledger = Ledger::default();
        record(&mut ledger, "1", r#"{"transactionId":"t","conversionValue":10}"#);
        assert_eq!(record(&mut ledger, "1", r#"{"transactionId":"t","conversionValue":"10.0"}"#), Entry::Repeated { changed: true });
        assert_eq!(record(&mut ledger, "1", r#"{"transactionId":"t","conversionValue":10,"currency":"USD"}"#), Entry::Overwritten);
    }

    #[test]
    fn each_action_counts_for_itself() {
        let mut ledger = Ledger::default();
        assert_eq!(record(&mut ledger, "2", r#"{"transactionId":"t"}"#), Entry::New);
        assert_eq!(record(&mut ledger, "1", r#"{"transactionId":"t"}"#), Entry::New);
        let actions: Vec<_> = ledger.snapshot().into_iter().map(|conversion| conversion.action).collect();
        assert_eq!(actions, ["1", "2"]);
    }
}
