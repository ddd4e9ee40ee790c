//! Judges leads field by field: what they mean, and everything that is wrong with them.

use std::fmt;

use super::{
    Clicks, Lead, LeadStatus, Utm,
    input::{ConsentInput, LeadInput, UtmInput},
};
use crate::{
    body::{BodyError, FieldError, Fields, Items, Text},
    click_id,
    consent::{ConsentRecord, ConsentState, tcf},
    finding::Code,
    identity::{self, Identifier, InvalidPhone},
};

/// What a body said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// Whether the body was an array.
    pub many: bool,
    /// Its leads, in order.
    pub leads: Vec<Judged>,
}

/// What became of one lead.
#[derive(Clone, PartialEq, Eq)]
pub enum Judged {
    /// It may be stored.
    Lead(Box<Lead>),
    /// The person did not agree to storage: nothing of this may be stored anywhere.
    Denied {
        /// The e-mail address as given, for the answer alone.
        email: Option<String>,
    },
}

impl fmt::Debug for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lead(lead) => lead.fmt(f),
            Self::Denied { .. } => f.write_str("Denied"),
        }
    }
}

/// Judges all; with one error, all are refused.
pub(super) fn all(read: &Items<LeadInput<'_>>, now_s: i64) -> Result<Parsed, BodyError> {
    let mut errors: Vec<FieldError> = Vec::new();
    let mut leads = Vec::with_capacity(read.items.len());
    for (index, input) in read.items.iter().enumerate() {
        let mut judge = Judge { fields: Fields::new(read.many.then_some(index), &mut errors), now_s };
        let lead = judge.lead(input);
        leads.push(if lead.consent.may_store() {
            Judged::Lead(Box::new(lead))
        } else {
            Judged::Denied { email: input.email.as_deref().map(|email| email.trim().to_owned()).filter(|email| !email.is_empty()) }
        });
    }
    if errors.is_empty() { Ok(Parsed { many: read.many, leads }) } else { Err(BodyError::Invalid(errors)) }
}

struct Judge<'e> {
    fields: Fields<'e>,
    now_s: i64,
}

impl Judge<'_> {
    fn lead(&mut self, input: &LeadInput<'_>) -> Lead {
        let clicks = self.clicks(input);
        let unnamed = [&input.email, &input.phone].into_iter().flatten().all(|text| text.trim().is_empty()) && no_click(input);
        if unnamed {
            self.fields.fail("", "IDENTIFIER_REQUIRED", "the lead has neither an e-mail address nor a phone number nor a click id");
        }
        Lead {
            external_id: self.boxed("/external_id", input.external_id.as_ref(), 200),
            site_id: self.boxed("/site_id", input.site_id.as_ref(), 200),
            email: self.email(input.email.as_deref()),
            phone: self.phone(input.phone.as_deref()),
            click_seen: clicks.seen_at(self.now_s),
            clicks,
            landing_page: self.page(input.landing_page.as_ref()),
            utm: input.utm.as_ref().map_or_else(Utm::default, |utm| self.utm(&utm.0)),
            earlier_touch: None,
            captured_s: self.now_s,
            company: self.boxed("/company", input.company.as_ref(), 200),
            tags: input.tags.as_deref().map_or_else(Vec::new, |tags| self.tags(tags)),
            budget: self.fields.text("/budget", input.budget.as_ref().map(|budget| budget.0.as_str()), 100).map(Into::into),
            vertical: self.boxed("/vertical", input.vertical.as_ref(), 100),
            status: self.status(input.status.as_deref()),
            value: self.fields.money(input.value.as_ref(), input.currency.as_deref()),
            occurred_at: self.fields.time("/occurred_at", input.occurred_at.as_deref(), self.now_s),
            consent: input.consent.as_ref().map_or_else(ConsentRecord::default, |consent| self.consent(&consent.0)),
        }
    }

    fn boxed(&mut self, field: &str, text: Option<&Text<'_>>, max: usize) -> Option<Box<str>> {
        self.fields.text(field, text.map(|text| &**text), max).map(Into::into)
    }

    fn email(&mut self, text: Option<&str>) -> Option<Identifier> {
        // RFC 5321 leaves 254 characters for an address.
        let text = self.fields.text("/email", text, 254)?;
        identity::email(text).map_err(|why| self.fields.fail("/email", Code::InvalidEmail.as_str(), why.to_string())).ok()
    }

    fn phone(&mut self, text: Option<&str>) -> Option<Identifier> {
        let text = self.fields.text("/phone", text, 64)?;
        let fault = |why: InvalidPhone| {
            let code = if why == InvalidPhone::NoCountry { Code::PhoneNeedsCountry } else { Code::InvalidPhone };
            let said = if why == InvalidPhone::NoCountry { "the phone number has no country code".to_owned() } else { why.to_string() };
            self.fields.fail("/phone", code.as_str(), format!("{said}; write it as +49 151 23456789"));
        };
        identity::phone(text, None).map_err(fault).ok()
    }

    fn clicks(&mut self, input: &LeadInput<'_>) -> Clicks {
        Clicks {
            gclid: self.click("/gclid", input.gclid.as_ref()),
            gbraid: self.click("/gbraid", input.gbraid.as_ref()),
            wbraid: self.click("/wbraid", input.wbraid.as_ref()),
            fbclid: self.click("/fbclid", input.fbclid.as_ref()),
            fbc: self.meta("/fbc", input.fbc.as_ref()),
            fbp: self.meta("/fbp", input.fbp.as_ref()),
            msclkid: self.click("/msclkid", input.msclkid.as_ref()),
            ttclid: self.click("/ttclid", input.ttclid.as_ref()),
        }
    }

    /// No platform publishes the form of its click ids, so only what cannot be one is refused.
    fn click(&mut self, field: &str, text: Option<&Text<'_>>) -> Option<Box<str>> {
        let text = text.map(|text| &**text).filter(|text| !text.is_empty())?;
        match click_id::check(text) {
            Ok(_) => Some(text.into()),
            Err(why) => {
                self.fields.fail(field, Code::InvalidClickId.as_str(), why.to_string());
                None
            }
        }
    }

    fn meta(&mut self, field: &str, text: Option<&Text<'_>>) -> Option<Box<str>> {
        let click = self.click(field, text)?;
        if is_meta_cookie(&click) {
            return Some(click);
        }
        self.fields.fail(
            field,
            Code::InvalidClickId.as_str(),
            format!("this is not of the form of Meta's cookie _{}: fb.1.<ms>.<id>", &field[1..]),
        );
        None
    }

    fn page(&mut self, text: Option<&Text<'_>>) -> Option<Box<str>> {
        let text = self.fields.text("/landing_page", text.map(|text| &**text), 2048)?;
        if is_web_address(text) {
            return Some(text.into());
        }
        self.fields.fail("/landing_page", "INVALID_URL", "this is not an address that begins with http:// or https://");
        None
    }

    fn utm(&mut self, utm: &UtmInput<'_>) -> Utm {
        Utm {
            source: self.boxed("/utm/source", utm.source.as_ref(), 500),
            medium: self.boxed("/utm/medium", utm.medium.as_ref(), 500),
            campaign: self.boxed("/utm/campaign", utm.campaign.as_ref(), 500),
            content: self.boxed("/utm/content", utm.content.as_ref(), 500),
            term: self.boxed("/utm/term", utm.term.as_ref(), 500),
        }
    }

    fn tags(&mut self, tags: &[Text<'_>]) -> Vec<Box<str>> {
        if tags.len() > 50 {
            self.fields.fail("/tags", "TOO_MANY", "the lead has more than 50 tags");
            return Vec::new();
        }
        let mut kept = Vec::with_capacity(tags.len());
        for (index, tag) in tags.iter().enumerate() {
            let plain = tag.len() <= 100 && tag.bytes().all(|b| (b' '..0x7f).contains(&b));
            // Nearly every tag is plain, and only a fault needs a pointer.
            let pointer = if plain { String::new() } else { format!("/tags/{index}") };
            kept.extend(self.fields.text(&pointer, Some(tag), 100).map(Box::from));
        }
        kept
    }

    fn status(&mut self, text: Option<&str>) -> LeadStatus {
        let Some(text) = text else { return LeadStatus::New };
        text.parse().unwrap_or_else(|why| {
            self.fields.fail("/status", "INVALID_STATUS", format!("{why}"));
            LeadStatus::New
        })
    }

    fn consent(&mut self, consent: &ConsentInput<'_>) -> ConsentRecord {
        let method = consent.method.as_deref().and_then(|text| {
            text.parse().map_err(|why| self.fields.fail("/consent/method", Code::InvalidConsent.as_str(), format!("{why}"))).ok()
        });
        ConsentRecord {
            storage: self.state("/consent/storage", consent.storage.as_deref()),
            ad_user_data: self.state("/consent/ad_user_data", consent.ad_user_data.as_deref()),
            ad_personalization: self.state("/consent/ad_personalization", consent.ad_personalization.as_deref()),
            method,
            at: self.fields.time("/consent/at", consent.at.as_deref(), self.now_s),
            text_version: self.fields.text("/consent/text_version", consent.text_version.as_deref(), 200).map(Into::into),
            tcf: self.tcf(consent.tcf.as_deref()),
            gpc: consent.gpc,
        }
    }

    fn tcf(&mut self, text: Option<&str>) -> Option<String> {
        let text = self.fields.text("/consent/tcf", text, 8192)?;
        match tcf::check(text) {
            Ok(()) => Some(text.to_owned()),
            Err(why) => {
                self.fields.fail("/consent/tcf", "INVALID_TCF", why.to_string());
                None
            }
        }
    }

    fn state(&mut self, field: &str, text: Option<&str>) -> Option<ConsentState> {
        let unknown = |_| self.fields.fail(field, Code::InvalidConsent.as_str(), "consent is granted, denied, pending or withdrawn");
        text?.parse().map_err(unknown).ok()
    }
}

fn no_click(input: &LeadInput<'_>) -> bool {
    let google = [&input.gclid, &input.gbraid, &input.wbraid];
    let others = [&input.fbclid, &input.fbc, &input.fbp, &input.msclkid, &input.ttclid];
    google.into_iter().chain(others).flatten().all(|text| text.is_empty())
}

/// `fb.<subdomain index>.<milliseconds>.<id>`, with or without a further part. Source: Meta Conversions API, fbp and fbc parameters.
fn is_meta_cookie(text: &str) -> bool {
    let mut parts = text.splitn(4, '.');
    let digits = |part: Option<&str>, most| part.is_some_and(|p| (1..=most).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()));
    let id = |part: &str| {
        !part.is_empty() && part.split('.').all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
    };
    parts.next() == Some("fb") && digits(parts.next(), 2) && digits(parts.next(), 16) && parts.next().is_some_and(id)
}

fn is_web_address(text: &str) -> bool {
    let scheme =
        ["https://", "http://"].into_iter().find(|scheme| text.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme)));
    let Some(rest) = scheme.map(|scheme| &text[scheme.len()..]) else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    !host.is_empty() && !text.contains(char::is_whitespace)
}
