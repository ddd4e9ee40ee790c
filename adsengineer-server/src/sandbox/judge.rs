//! The checks that refuse a whole request at once (fast fail): limits, formats and required fields. Pure.
//!
//! Written from the published messages and reasons, apart from the core's own rules: what one side gets wrong, the other shows.

mod destination;

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use jiff::Timestamp;

use super::{
    answer::Violation,
    format::{self, BadHash},
    wire::{AdIdentifiers, CustomVariable, Encoding, Event, EventSource, Request, UserIdentifier},
};

const MAX_EVENTS: usize = 2000;
const MAX_IDENTIFIERS: usize = 10;
/// A click id that begins so asks for the `ErrorReason` that follows.
const ASKED: &str = "sandbox-400-";

/// What the judge knows of the world.
pub(super) struct Rules {
    /// Account and action ids that exist; `None`: all.
    pub(super) actions: Option<Arc<BTreeSet<(String, String)>>>,
    /// Whether click ids may ask for a verdict.
    pub(super) click_verdicts: bool,
    pub(super) now: Timestamp,
}

/// Everything that is wrong with a request; nothing: it is processed.
pub(super) fn violations(request: &Request<'_>, rules: &Rules) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    found.destinations(request, rules);
    found.amount_of_events(request.events.len());
    let references: BTreeSet<&str> = request.destinations.iter().filter_map(|(it, _)| it.reference.as_deref()).collect();
    for (index, (event, _)) in request.events.iter().enumerate() {
        let place = Place { index, references: &references };
        found.event(&place, event, rules);
        found.user_data(&place, event, request);
    }
    if request.encoding.is_none() && request.events.iter().any(|(event, _)| event.user_data.is_some()) {
        found.add("encoding".into(), "Required field is missing.", "REQUIRED_FIELD_MISSING");
    }
    if request.encrypted {
        found.add("encryption_info".into(), "The sandbox cannot decrypt.", "INVALID_ARGUMENT");
    }
    found.0
}

struct Place<'a> {
    index: usize,
    references: &'a BTreeSet<&'a str>,
}

impl Place<'_> {
    /// The doubled prefix is Google's own.
    fn field(&self, rest: &str) -> String {
        format!("events.events[{}]{}{rest}", self.index, if rest.is_empty() { "" } else { "." })
    }
}

struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, field: String, description: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) {
        self.0.push(Violation { field, description: description.into(), reason: reason.into() });
    }

    fn missing(&mut self, field: String) {
        self.add(field, "Required field is missing.", "REQUIRED_FIELD_MISSING");
    }

    fn amount_of_events(&mut self, count: usize) {
        if count == 0 {
            self.missing("events".into());
        } else if count > MAX_EVENTS {
            self.add("events".into(), format!("{count} events; {MAX_EVENTS} is the most."), "TOO_MANY_EVENTS");
        }
    }

    fn event(&mut self, place: &Place<'_>, event: &Event<'_>, rules: &Rules) {
        match event.transaction_id.as_deref() {
            None | Some("") => self.missing(place.field("transaction_id")),
            Some(_) => {}
        }
        match event.event_timestamp.as_deref().map(format::timestamp) {
            None => self.missing(place.field("event_timestamp")),
            Some(None) => self.add(place.field("event_timestamp"), "The time is not RFC 3339.", "INVALID_FORMAT"),
            Some(Some(at)) if at > rules.now => {
                self.add(place.field("event_timestamp"), "The time is in the future.", "EVENT_TIME_INVALID");
            }
            Some(Some(_)) => {}
        }
        if event.last_updated_timestamp.as_deref().is_some_and(|time| format::timestamp(time).is_none()) {
            self.add(place.field("last_updated_timestamp"), "The time is not RFC 3339.", "INVALID_FORMAT");
        }
        if matches!(event.event_source, None | Some(EventSource::Unspecified)) {
            self.missing(place.field("event_source"));
        }
        self.money(place, event);
        self.references(place, event);
        self.click_ids(place, event, rules);
    }

    fn money(&mut self, place: &Place<'_>, event: &Event<'_>) {
        if event.currency.as_deref().is_some_and(|code| !format::is_currency(code)) {
            self.add(place.field("currency"), "The currency is no ISO 4217 code.", "INVALID_CURRENCY_CODE");
        }
        if event.conversion_value.is_some_and(|raw| format::number(raw.get()).is_none()) {
            self.add(place.field("conversion_value"), "The value is no finite number.", "INVALID_NUMBER_FORMAT");
        }
        if event.conversion_count.is_some_and(|raw| format::number(raw.get()).is_none_or(|(_, count)| count <= 0.0)) {
            self.add(place.field("conversion_count"), "The count is no positive number.", "INVALID_NUMBER_FORMAT");
        }
        for (at, variable) in event.custom_variables.iter().flatten().enumerate() {
            let CustomVariable { variable, value, destination_references } = variable;
            if variable.as_deref().unwrap_or_default().is_empty() || value.is_none() {
                self.missing(place.field(&format!("custom_variables[{at}]")));
            }
            self.known(place, &format!("custom_variables[{at}].destination_references"), destination_references.as_deref());
        }
    }

    fn references(&mut self, place: &Place<'_>, event: &Event<'_>) {
        self.known(place, "destination_references", event.destination_references.as_deref());
    }

    fn known(&mut self, place: &Place<'_>, field: &str, references: Option<&[String]>) {
        if references.unwrap_or_default().iter().any(|reference| !place.references.contains(reference.as_str())) {
            self.add(place.field(field), "No destination has this reference.", "INVALID_DESTINATION");
        }
    }

    fn click_ids(&mut self, place: &Place<'_>, event: &Event<'_>, rules: &Rules) {
        let ids = event.ad_identifiers.as_ref();
        let has_click =
            ids.is_some_and(|ids| ids.click_id().is_some() || ids.session_attributes.as_deref().is_some_and(|it| !it.is_empty()));
        let has_user = event.user_data.as_ref().is_some_and(|data| data.user_identifiers.as_ref().is_some_and(|it| !it.is_empty()));
        if !has_click && !has_user {
            self.add(place.field(""), "At least one identifier is required.", "NO_IDENTIFIERS_PROVIDED");
        }
        if let Some((name, id)) = ids.and_then(AdIdentifiers::click_id)
            && rules.click_verdicts
            && let Some(reason) = id.strip_prefix(ASKED).map(format::reason).filter(|reason| !reason.is_empty())
        {
            self.add(place.field(&format!("ad_identifiers.{name}")), "The click id asked for this refusal.", reason.to_owned());
        }
    }

    fn user_data(&mut self, place: &Place<'_>, event: &Event<'_>, request: &Request<'_>) {
        let Some(data) = &event.user_data else { return };
        let identifiers = data.user_identifiers.as_deref().unwrap_or_default();
        if identifiers.is_empty() {
            self.missing(place.field("user_data.user_identifiers"));
        }
        if identifiers.len() > MAX_IDENTIFIERS {
            let text = format!("{} identifiers; {MAX_IDENTIFIERS} is the most.", identifiers.len());
            self.add(place.field("user_data.user_identifiers"), text, "TOO_MANY_USER_IDENTIFIERS");
        }
        for (at, identifier) in identifiers.iter().enumerate() {
            self.identifier(place, at, identifier, request.encoding.unwrap_or(Encoding::Hex));
        }
    }

    fn identifier(&mut self, place: &Place<'_>, at: usize, identifier: &UserIdentifier, encoding: Encoding) {
        let field = || place.field(&format!("user_data.user_identifiers[{at}]"));
        let mut hashes = vec![identifier.email_address.as_deref(), identifier.phone_number.as_deref()];
        let kinds = hashes.iter().flatten().count() + usize::from(identifier.address.is_some());
        if kinds != 1 {
            self.add(field(), "Exactly one of email_address, phone_number and address is set.", "INVALID_FORMAT");
        }
        if let Some(address) = &identifier.address {
            hashes.extend([address.given_name.as_deref(), address.family_name.as_deref()]);
            let parts = [&address.given_name, &address.family_name, &address.region_code, &address.postal_code];
            if parts.into_iter().any(|part| part.as_deref().unwrap_or_default().is_empty()) {
                self.missing(field());
            }
        }
        for hash in hashes.into_iter().flatten() {
            match format::hash(hash, encoding) {
                Ok(()) => {}
                Err(BadHash::Hex) => self.add(field(), "The hash is no lower-case hex.", "INVALID_HEX_ENCODING"),
                Err(BadHash::Base64) => self.add(field(), "The hash is no base64.", "INVALID_BASE64_ENCODING"),
                Err(BadHash::Length) => self.add(field(), "The hash is no SHA-256 digest.", "INVALID_SHA256_FORMAT"),
            }
        }
    }
}

impl AdIdentifiers {
    /// The first click id that is set, with its field name.
    pub(super) fn click_id(&self) -> Option<(&'static str, &str)> {
        let ids = [("gclid", &self.gclid), ("gbraid", &self.gbraid), ("wbraid", &self.wbraid)];
        ids.into_iter().find_map(|(name, id)| id.as_deref().filter(|id| !id.is_empty()).map(|id| (name, id)))
    }
}
