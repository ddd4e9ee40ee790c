//! The body of `events:ingest`, byte for byte: the same events make the same bytes.
//!
//! Shape: Data Manager API v1 `IngestEventsRequest`. Amounts are written as exact decimals and never pass through floating point.
//! `eventSource` is required for offline conversions (Data Manager release notes, v1.2). No page prescribes its value for them; it is
//! `WEB`, because that is where the click happened.

use std::io::Write;

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use sha2::{Digest, Sha256};

use super::{json::string, person};
use crate::{
    click_id::ClickId,
    consent::ConsentState,
    destination::{CustomerId, DestinationSpec, Event, Rendered},
    money::Money,
};

/// Most events in one request. Source: `IngestEventsRequest.events`.
pub const MAX_EVENTS: usize = 2000;

const PRINTER: DateTimePrinter = DateTimePrinter::new();
/// A guess that is right for an event with two identifiers.
const EVENT_BYTES: usize = 512;

/// The accounts that every request of a destination names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accounts {
    /// Owns the conversion actions.
    pub operating: CustomerId,
    /// The manager whose user the credentials are.
    pub login: Option<CustomerId>,
}

impl From<&DestinationSpec> for Accounts {
    fn from(spec: &DestinationSpec) -> Self {
        Self { operating: spec.customer_id, login: spec.login_customer_id }
    }
}

/// Renders one request, ready to be persisted and sent.
pub fn request(accounts: &Accounts, action_id: &str, events: &[Event], validate_only: bool) -> Rendered {
    let mut event_hashes = Vec::with_capacity(events.len());
    let body = body(accounts, action_id, events, validate_only, |event| event_hashes.push(first_eight(&Sha256::digest(event))));
    Rendered { body, event_hashes }
}

/// The body of one request; `each` sees the bytes of every event.
pub fn body(accounts: &Accounts, action_id: &str, events: &[Event], validate_only: bool, mut each: impl FnMut(&[u8])) -> Vec<u8> {
    let mut body = Vec::with_capacity(256 + events.len() * EVENT_BYTES);
    open(accounts, action_id, &mut body);
    let mut any_user_data = false;
    for (i, event) in events.iter().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        let start = body.len();
        any_user_data |= render_event(event, &mut body);
        each(&body[start..]);
    }
    close(any_user_data, validate_only, &mut body);
    body
}

/// Everything before the first event.
fn open(accounts: &Accounts, action_id: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"destinations":[{"reference":"google_ads""#);
    if let Some(login) = accounts.login {
        account("loginAccount", login, out);
    }
    account("operatingAccount", accounts.operating, out);
    out.extend_from_slice(br#","productDestinationId":"#);
    string(action_id, out);
    out.extend_from_slice(br#"}],"events":["#);
}

fn account(field: &str, id: CustomerId, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(field.as_bytes());
    out.extend_from_slice(br#"":{"accountType":"GOOGLE_ADS","accountId":""#);
    out.extend_from_slice(id.digits().as_bytes());
    out.extend_from_slice(br#""}"#);
}

/// Everything after the last event.
fn close(any_user_data: bool, validate_only: bool, out: &mut Vec<u8>) {
    out.push(b']');
    if any_user_data {
        out.extend_from_slice(br#","encoding":"HEX""#);
    }
    if validate_only {
        out.extend_from_slice(br#","validateOnly":true"#);
    }
    out.push(b'}');
}

/// Appends the JSON of one event to `out`; says whether it carries user data.
pub fn render_event(event: &Event, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(br#"{"transactionId":"#);
    string(&event.transaction_id, out);
    out.extend_from_slice(br#","eventTimestamp":""#);
    timestamp(event.occurred_at, out);
    out.extend_from_slice(br#"","eventSource":"WEB""#);
    if let Some(click) = &event.click_id {
        click_id(click, out);
    }
    let has_user_data = person::write(&event.identifiers, out);
    consent(event.permit.ad_personalization(), out);
    if let Some(money) = &event.value {
        value(money, out);
    }
    out.push(b'}');
    has_user_data
}

fn click_id(click: &ClickId, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","adIdentifiers":{""#);
    out.extend_from_slice(click.kind().as_str().as_bytes());
    out.extend_from_slice(b"\":");
    string(click.as_str(), out);
    out.push(b'}');
}

/// A permit exists only for granted `ad_user_data`. Whoever has not agreed to personalisation yet has not agreed.
fn consent(ad_personalization: Option<ConsentState>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","consent":{"adUserData":"CONSENT_GRANTED""#);
    match ad_personalization {
        Some(ConsentState::Granted) => out.extend_from_slice(br#","adPersonalization":"CONSENT_GRANTED""#),
        Some(_) => out.extend_from_slice(br#","adPersonalization":"CONSENT_DENIED""#),
        None => {}
    }
    out.push(b'}');
}

fn value(money: &Money, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","currency":""#);
    out.extend_from_slice(money.currency.as_str().as_bytes());
    out.extend_from_slice(br#"","conversionValue":"#);
    let _infallible = write!(out, "{}", money.amount);
}

fn timestamp(second: i64, out: &mut Vec<u8>) {
    let at = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
    let _infallible = PRINTER.print_timestamp(&at, jiff::fmt::StdIoWrite(out));
}

/// The first 8 bytes as a number.
fn first_eight(hash: &[u8]) -> u64 {
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        click_id::ClickIdKind,
        consent::AdConsent,
        id::DeliveryId,
        identity::{Identifier, Identifiers},
    };

    fn accounts() -> Accounts {
        Accounts { operating: "123-456-7890".parse().unwrap(), login: None }
    }

    fn event(personalization: Option<ConsentState>) -> Event {
        let consent = AdConsent { ad_user_data: Some(ConsentState::Granted), ad_personalization: personalization };
        Event {
            delivery: DeliveryId(1),
            permit: consent.permit().unwrap(),
            transaction_id: "A-\"1\"".into(),
            occurred_at: 1_795_000_000,
            value: Some(Money { amount: "120.10".parse().unwrap(), currency: "EUR".parse().unwrap() }),
            click_id: Some(ClickId::new(ClickIdKind::Gbraid, "Abc_1").unwrap()),
            identifiers: Identifiers::default(),
        }
    }

    fn body(accounts: &Accounts, events: &[Event], validate_only: bool) -> String {
        String::from_utf8(request(accounts, "987654321", events, validate_only).body).unwrap()
    }

    #[test]
    fn the_request_is_exactly_this() {
        let expected = concat!(
            r#"{"destinations":[{"reference":"google_ads","operatingAccount":{"accountType":"GOOGLE_ADS","accountId":"1234567890"},"#,
            r#""productDestinationId":"987654321"}],"events":[{"transactionId":"A-\"1\"","eventTimestamp":"2026-11-18T11:06:40Z","eventSource":"WEB","#,
            r#""adIdentifiers":{"gbraid":"Abc_1"},"consent":{"adUserData":"CONSENT_GRANTED"},"currency":"EUR","conversionValue":120.1}]}"#
        );
        assert_eq!(body(&accounts(), &[event(None)], false), expected);
    }

    #[test]
    fn encoding_comes_with_user_data_only_and_the_manager_when_there_is_one() {
        let mut with_email = event(Some(ConsentState::Granted));
        with_email.identifiers.email = Some(Identifier::Plain("a@b.example".into()));
        with_email.value = None;
        with_email.click_id = None;
        let managed = Accounts { login: Some("0000000001".parse().unwrap()), ..accounts() };
        let json: serde_json::Value = serde_json::from_str(&body(&managed, &[event(None), with_email], true)).unwrap();
        assert_eq!((&json["encoding"], &json["validateOnly"]), (&"HEX".into(), &true.into()));
        assert_eq!(json["destinations"][0]["loginAccount"]["accountId"], "0000000001");
        assert_eq!(json["events"][1]["userData"]["userIdentifiers"].as_array().map(Vec::len), Some(1));
        let absent = ["adIdentifiers", "currency", "conversionValue"].map(|field| json["events"][1].get(field));
        assert_eq!(absent, [None, None, None]);
    }

    #[test]
    fn personalisation_is_granted_denied_or_not_mentioned() {
        for (state, sent) in [
            (None, None),
            (Some(ConsentState::Granted), Some("CONSENT_GRANTED")),
            (Some(ConsentState::Denied), Some("CONSENT_DENIED")),
            (Some(ConsentState::Withdrawn), Some("CONSENT_DENIED")),
            (Some(ConsentState::Pending), Some("CONSENT_DENIED")),
        ] {
            let json: serde_json::Value = serde_json::from_str(&body(&accounts(), &[event(state)], false)).unwrap();
            assert_eq!(json["events"][0]["consent"].get("adPersonalization").and_then(|v| v.as_str()), sent, "{state:?}");
        }
    }

    #[test]
    fn the_same_event_has_the_same_hash_wherever_it_stands_and_a_changed_one_another() {
        let mut dearer = event(None);
        dearer.value = Some(Money { amount: "120.11".parse().unwrap(), currency: "EUR".parse().unwrap() });
        let rendered = request(&accounts(), "1", &[event(None), dearer, event(None)], false);
        assert_eq!(rendered.event_hashes[0], rendered.event_hashes[2]);
        assert_ne!(rendered.event_hashes[0], rendered.event_hashes[1]);
        assert_eq!(first_eight(&[0, 0, 0, 0, 0, 0, 1, 2, 9]), 258);
    }
}
