//! Conversions that come in a request: completed from their leads, sent where they should go, captured together.

use super::{Batch, Engine, EngineError, Incoming, Setup, require};
use crate::{
    conversion::request::{Remark, RequestedConversions},
    finding::Severity,
    id::{ConversionId, LeadId},
    lead::FieldError,
    org::{Caller, Role},
    store::{Captured, Done, Once, StoredDestination, Write},
};

/// What became of one conversion of a request.
#[derive(Clone, PartialEq, Debug)]
pub struct AcceptedConversion {
    /// Its id; that of the known one if it is a duplicate, `None` if nothing of it was taken in.
    pub id: Option<ConversionId>,
    /// Whether it was known.
    pub duplicate: bool,
    /// Remarks.
    pub findings: Vec<Remark>,
}

/// What became of a request's conversions, in order.
#[derive(Clone, PartialEq, Debug)]
pub struct AcceptedConversions {
    /// One for each.
    pub conversions: Vec<AcceptedConversion>,
    /// Whether this was done before, under the same key.
    pub repeated: bool,
}

impl Engine {
    /// Captures the conversions of a request, all or none.
    pub async fn accept_conversions(
        &self,
        caller: &Caller,
        requested: RequestedConversions,
        once: Option<Once>,
    ) -> Result<AcceptedConversions, EngineError> {
        require(caller, Role::Member)?;
        let setup = self.setup(caller.org()).await?;
        let RequestedConversions { many, conversions: requested } = requested;
        let rows = requested.len() as u64;
        let mut errors = Vec::new();
        let mut receipts = Vec::with_capacity(requested.len());
        let mut incoming: Vec<(Incoming, Vec<StoredDestination>)> = Vec::with_capacity(requested.len());
        for (index, request) in requested.into_iter().enumerate() {
            let at = if many { format!("/{index}") } else { String::new() };
            let mut receipt = Receipt { place: None, findings: request.findings };
            if let Some(mut conversion) = request.conversion {
                if let Some(lead_id) = &request.lead_id {
                    match self.lead_of(caller, lead_id).await? {
                        Some(lead) => conversion.complete(&lead, self.clock.now_ms() / 1000),
                        None => errors.push(fault(
                            &at,
                            "/lead_id",
                            "LEAD_NOT_FOUND",
                            "there is no such lead; nothing of this request was taken in",
                        )),
                    }
                }
                let to = places(&setup, &conversion.action, request.destinations.as_deref(), &at, &mut errors, &mut receipt.findings);
                if conversion.consent.permit().is_err() {
                    receipt.findings.push(remark(
                        "CONSENT_REQUIRED",
                        "consent.ad_user_data",
                        "the person did not agree to ad_user_data; nothing was taken in",
                    ));
                } else if conversion.click_id.is_none() && conversion.identifiers.is_empty() {
                    errors.push(fault(&at, "", "NO_IDENTIFIER", "neither the conversion nor its lead has a click id or identifiers"));
                } else {
                    receipt.place = Some(incoming.len());
                    let key = conversion.natural_key(caller.org());
                    incoming.push((Incoming::Conversion(conversion, key), to));
                }
            }
            receipts.push(receipt);
        }
        if !errors.is_empty() {
            // A request that was done before answers as it did, also if its destination or lead is gone by now.
            return match self.done_before(once.as_ref()).await? {
                Some(Done::Accepted(_, captured)) if captured.len() == incoming.len() => {
                    let conversions = receipts.into_iter().map(|receipt| receipt.with(&captured, &incoming)).collect();
                    Ok(AcceptedConversions { conversions, repeated: true })
                }
                _ => Err(EngineError::Invalid(errors)),
            };
        }
        let denied = rows - incoming.len() as u64;
        let batch = Batch { source: "api".into(), consent_proof: None, rows, refused: 0, denied, restate: false, incoming: Vec::new() };
        let intake = self.intake(caller.org(), &batch, incoming.iter().map(|(one, to)| (one, to.as_slice())))?;
        let (captured, repeated) =
            match self.request(caller, once, Write::Accept(intake)).await.map_err(|error| self.outdated(caller.org(), error))? {
                Done::Accepted(_, captured) => (captured, false),
                Done::Repeated(first) => match *first {
                    Done::Accepted(_, captured) => (captured, true),
                    _ => return Err(EngineError::KeyReused),
                },
                _ => return Err(EngineError::KeyReused),
            };
        let conversions = receipts.into_iter().map(|receipt| receipt.with(&captured, &incoming)).collect();
        Ok(AcceptedConversions { conversions, repeated })
    }

    async fn lead_of(&self, caller: &Caller, id: &str) -> Result<Option<crate::lead::Lead>, EngineError> {
        let Ok(id) = id.parse::<LeadId>() else { return Ok(None) };
        match self.lead(caller, id).await {
            Ok(view) => Ok(Some(view.lead)),
            Err(EngineError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Where a conversion goes: to the destinations named, else to every one that has its action.
fn places(
    setup: &Setup,
    action: &str,
    named: Option<&[String]>,
    at: &str,
    errors: &mut Vec<FieldError>,
    findings: &mut Vec<Remark>,
) -> Vec<StoredDestination> {
    let Some(names) = named else {
        let to: Vec<_> = setup.with_action(action).cloned().collect();
        if to.is_empty() {
            findings.push(remark(
                "NO_DESTINATION",
                "action",
                "no destination has this action yet; add it to one and send the conversion again",
            ));
        }
        return to;
    };
    let mut to = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let field = format!("/destinations/{index}");
        match setup.destinations.iter().find(|d| *d.name == **name) {
            None => errors.push(fault(at, &field, "UNKNOWN_DESTINATION", "there is no such destination")),
            Some(d) if d.spec.action_id(action).is_none() => {
                errors.push(fault(at, &field, "UNKNOWN_ACTION", "this destination has no such conversion action"));
            }
            Some(d) if to.iter().any(|known: &StoredDestination| known.id == d.id) => {}
            Some(d) => to.push(d.clone()),
        }
    }
    to
}

/// What is to be said of one conversion.
struct Receipt {
    /// Its place among those that were sent to the store.
    place: Option<usize>,
    findings: Vec<Remark>,
}

impl Receipt {
    fn with(mut self, captured: &[Captured], incoming: &[(Incoming, Vec<StoredDestination>)]) -> AcceptedConversion {
        let Some((place, captured)) = self.place.and_then(|place| Some((place, captured.get(place)?))) else {
            return AcceptedConversion { id: None, duplicate: false, findings: self.findings };
        };
        let (id, duplicate) = match captured {
            Captured::New(id) | Captured::Restated { conversion: id, .. } => (Some(*id), false),
            Captured::Known { conversion, .. } => (Some(*conversion), true),
            Captured::Different { conversion, value, field } => {
                self.findings.push(different(field, value.as_ref(), &incoming[place].0));
                (Some(*conversion), true)
            }
            Captured::OrderIdTaken { owner } => {
                self.findings.push(error(
                    "ORDER_ID_TAKEN",
                    "order_id",
                    "another conversion of this account and action has this order id; nothing was taken in",
                ));
                (Some(*owner), true)
            }
            Captured::Suppressed => {
                self.findings.push(error("SUPPRESSED_PERSON", "", "the person withdrew consent or was erased; nothing was taken in"));
                (None, false)
            }
            Captured::OriginalMissing => (None, false),
        };
        AcceptedConversion { id, duplicate, findings: self.findings }
    }
}

/// Known with other content: what it has, and what this one says.
fn different(field: &str, known: Option<&crate::money::Money>, incoming: &Incoming) -> Remark {
    let said = |money: Option<&crate::money::Money>| money.map_or_else(|| "no value".to_owned(), ToString::to_string);
    let new = match incoming {
        Incoming::Conversion(conversion, _) => conversion.value,
        Incoming::Adjustment { value, .. } => *value,
    };
    let hint = if field == "value" {
        format!("captured with {}, this says {}; send a restatement", said(known), said(new.as_ref()))
    } else {
        format!("captured with another {field}; give this conversion an order id of its own if it is another one")
    };
    Remark { code: "ALREADY_CAPTURED_DIFFERENT", field: field.to_owned(), hint, severity: Severity::Error }
}

fn error(code: &'static str, field: &str, hint: &str) -> Remark {
    Remark { code, field: field.to_owned(), hint: hint.to_owned(), severity: Severity::Error }
}

fn remark(code: &'static str, field: &str, hint: &str) -> Remark {
    Remark { code, field: field.to_owned(), hint: hint.to_owned(), severity: Severity::Warning }
}

fn fault(at: &str, field: &str, code: &'static str, detail: &str) -> FieldError {
    FieldError { pointer: format!("{at}{field}"), code, detail: detail.to_owned() }
}
