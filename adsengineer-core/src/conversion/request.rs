//! Conversions that come in a request: judged by the rules of the file import, refused together, by JSON pointer.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Conversion, OrderId,
    input::{ConversionInput, SHAPE},
};
use crate::{
    body::{self, BodyError, FieldError, Fields, amount, rfc3339},
    click_id::{self, ClickId, ClickIdKind},
    consent::ConsentState,
    finding::{Code, Finding, Severity},
    import::{Context, Judge, RowKind},
    lead::Lead,
    money::Currency,
    org::OrgId,
};

/// The conversions of a request.
#[derive(Clone, PartialEq, Debug)]
pub struct RequestedConversions {
    /// Whether the body was an array.
    pub many: bool,
    /// Its conversions, in order.
    pub conversions: Vec<RequestedConversion>,
}

/// One conversion of a request.
#[derive(Clone, PartialEq, Debug)]
pub struct RequestedConversion {
    /// The conversion; `None` if its person said no, so that nothing of it is taken in. Where `lead_id` is given,
    /// [`Conversion::complete`] it before asking for its natural key.
    pub conversion: Option<Box<Conversion>>,
    /// The lead that it comes from.
    pub lead_id: Option<String>,
    /// Names of destinations; `None` leaves it to the organization's rules.
    pub destinations: Option<Vec<String>>,
    /// Remarks.
    pub findings: Vec<Remark>,
}

/// A finding as the answer to a request has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Remark {
    /// What kind.
    pub code: &'static str,
    /// The field, such as `order_id` or `consent.ad_user_data`; empty for the whole conversion.
    pub field: String,
    /// What to do.
    pub hint: String,
    /// How bad.
    pub severity: Severity,
}

/// Reads one conversion or an array of at most `max`, as of `now_s` (Unix seconds). One that cannot be used refuses all.
pub fn parse_conversions(body: &[u8], max: usize, now_s: i64) -> Result<RequestedConversions, BodyError> {
    let read = body::read::<ConversionInput>(body, max, &SHAPE)?;
    // The organization only matters for natural keys, which are asked for later.
    let context = Context { org: OrgId::default(), now: Timestamp::from_second(now_s).unwrap_or(Timestamp::MAX) };
    let mut judge = Judge::of_requests(&context);
    let mut errors: Vec<FieldError> = Vec::new();
    let mut requested = Vec::with_capacity(read.items.len());
    for (index, mut input) in read.items.into_iter().enumerate() {
        input.lead_id = input.lead_id.filter(|id| !id.is_empty());
        let mut fields = Fields::new(read.many.then_some(index), &mut errors);
        limits(&input, &mut fields);
        input.occurred_at = input.occurred_at.map(|text| rfc3339(&text).map_or(text, utc));
        // Of a person who said no nothing is taken in, and what is wrong with the rest is told all the same.
        let denied = take_denial(&mut input);
        let judged = judge.conversion(index as u64, &input);
        let (conversion, findings) = match judged.kind {
            RowKind::Conversion(_) if denied => (None, vec![said_no()]),
            RowKind::Conversion(candidate) => {
                strict(&input, &mut fields);
                (Some(Box::new(candidate.into_conversion())), judged.warnings.iter().map(remark).collect())
            }
            RowKind::Refused(refused) => {
                refused.iter().for_each(|finding| fault(finding, &mut fields));
                (None, Vec::new())
            }
            _ => (None, vec![said_no()]),
        };
        requested.push(RequestedConversion { conversion, lead_id: input.lead_id, destinations: input.destinations, findings });
    }
    let many = read.many;
    if errors.is_empty() { Ok(RequestedConversions { many, conversions: requested }) } else { Err(BodyError::Invalid(errors)) }
}

impl Conversion {
    /// Fills in from `lead` what the conversion leaves open: the click that still counts at `now_s` (Unix seconds) and who
    /// the person is. Consent is always the lead's, which is where it is withdrawn.
    pub fn complete(&mut self, lead: &Lead, now_s: i64) {
        self.consent = lead.consent.ads();
        if self.click_id.is_none() {
            let clicks = lead.clicks_at(now_s);
            let kinds = [(ClickIdKind::Gclid, clicks.gclid), (ClickIdKind::Gbraid, clicks.gbraid), (ClickIdKind::Wbraid, clicks.wbraid)];
            self.click_id = kinds.into_iter().find_map(|(kind, id)| ClickId::new(kind, &id?).ok());
        }
        if self.identifiers.email.is_none() {
            self.identifiers.email.clone_from(&lead.email);
        }
        if self.identifiers.phone.is_none() {
            self.identifiers.phone.clone_from(&lead.phone);
        }
    }
}

/// A second of Unix time as RFC 3339; what is before 1970 is too old whatever it says.
fn utc(second: i64) -> String {
    Timestamp::from_second(second.max(0)).unwrap_or(Timestamp::MAX).to_string()
}

/// Whether the person said no, which is taken out.
fn take_denial(input: &mut ConversionInput) -> bool {
    let Some(consent) = &mut input.consent else { return false };
    let state = consent.ad_user_data.as_deref().and_then(|text| text.trim().parse::<ConsentState>().ok());
    let denied = state.is_some_and(|state| state != ConsentState::Granted);
    if denied {
        consent.ad_user_data = Some(ConsentState::Granted.as_str().to_owned());
    }
    denied
}

/// What files may write in several ways and requests in one.
fn strict(input: &ConversionInput, fields: &mut Fields<'_>) {
    if input.value.as_ref().is_some_and(|value| amount(&value.0).is_err()) {
        fields.fail("/value", Code::InvalidValue.as_str(), "the value is not a decimal number; write it as 1234.50");
    }
    if input.currency.as_deref().is_some_and(|currency| currency.parse::<Currency>().is_err()) {
        fields.fail("/currency", Code::InvalidCurrency.as_str(), "the currency is not a current ISO 4217 code such as EUR");
    }
    let consent = input.consent.as_ref().map(|consent| [&consent.ad_user_data, &consent.ad_personalization]);
    let names = ["/consent/ad_user_data", "/consent/ad_personalization"];
    for (field, state) in names.into_iter().zip(consent.into_iter().flatten()) {
        if state.as_deref().is_some_and(|state| state.parse::<ConsentState>().is_err()) {
            fields.fail(field, Code::InvalidConsent.as_str(), "consent is granted, denied, pending or withdrawn");
        }
    }
}

/// What files need no limit for: their rows have one.
fn limits(input: &ConversionInput, fields: &mut Fields<'_>) {
    let texts = [("/action", &input.action, 256), ("/occurred_at", &input.occurred_at, 64), ("/lead_id", &input.lead_id, 64)];
    for (field, text, max) in texts {
        fields.text(field, text.as_deref(), max);
    }
    let clicks = [("/gclid", &input.gclid), ("/gbraid", &input.gbraid), ("/wbraid", &input.wbraid)];
    let clicks = clicks.map(|(field, text)| (field, text, click_id::MAX_CHARS));
    for (field, text, max) in clicks.into_iter().chain([("/order_id", &input.order_id, OrderId::MAX_CHARS)]) {
        fields.fits(field, text.as_deref().unwrap_or_default(), max);
    }
    if let Some(person) = &input.identifiers {
        let texts = [
            ("/identifiers/email", &person.email, 254),
            ("/identifiers/phone", &person.phone, 64),
            ("/identifiers/first_name", &person.first_name, 200),
            ("/identifiers/last_name", &person.last_name, 200),
            ("/identifiers/postal_code", &person.postal_code, 32),
            ("/identifiers/country", &person.country, 32),
        ];
        for (field, text, max) in texts {
            fields.text(field, text.as_deref(), max);
        }
    }
    match input.destinations.as_deref() {
        Some(names) if names.len() > 50 => fields.fail("/destinations", "TOO_MANY", "the conversion names more than 50 destinations"),
        Some([]) => fields.fail("/destinations", "EMPTY", "the list of destinations is empty; leave it out to follow the rules"),
        Some(names) => {
            for (index, name) in names.iter().enumerate() {
                fields.text(&format!("/destinations/{index}"), Some(name), 100);
            }
        }
        None => {}
    }
}

fn fault(finding: &Finding, fields: &mut Fields<'_>) {
    let pointer = match (&finding.column, finding.code) {
        (Some(field), _) => format!("/{}", field.replace('.', "/")),
        (None, Code::ConsentRequired) => "/consent".to_owned(),
        (None, _) => String::new(),
    };
    fields.fail(&pointer, finding.code.as_str(), format!("{}; {}", finding.reason, hint(finding)));
}

fn remark(finding: &Finding) -> Remark {
    Remark {
        code: finding.code.as_str(),
        field: finding.column.as_deref().unwrap_or_default().to_owned(),
        hint: hint(finding).to_owned(),
        severity: finding.severity,
    }
}

fn said_no() -> Remark {
    Remark {
        code: "CONSENT_DENIED",
        field: "consent.ad_user_data".to_owned(),
        hint: "nothing: the person did not agree, so the conversion was neither stored nor sent".to_owned(),
        severity: Severity::Warning,
    }
}

/// What to do, in the words of the API where a file's would mislead.
fn hint(finding: &Finding) -> &str {
    match finding.code {
        Code::ActionMissing => "name the conversion action in `action`",
        Code::TimeMissing | Code::InvalidTime | Code::TimeZoneMissing => "write it as 2026-11-18T14:05:00Z",
        Code::AmbiguousValue => "write 1234 or 1234.50",
        Code::CurrencySymbol => "write the bare number, and the currency into `currency`",
        Code::CurrencyMissing => "give `currency`",
        Code::ThreeDecimals => "nothing, if the point is the decimal point",
        Code::NegativeValue => "send a restatement of the sale instead",
        Code::TwoClickIds => "keep one of gclid, gbraid and wbraid",
        Code::NoIdentifier => "give a click id, `identifiers` or `lead_id`",
        Code::ConsentRequired => "say `granted` or `denied` in `consent.ad_user_data`",
        Code::PhoneNeedsCountry => "write it as +49…, or give `identifiers.country`",
        Code::NumericOrderId => "give the destination an `order_id_prefix`",
        Code::InvalidConsent => "write granted, denied, pending or withdrawn",
        _ => &finding.hint,
    }
}

#[cfg(test)]
mod tests;
