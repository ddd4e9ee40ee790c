//! A lead: a person who showed interest, with what may be known of them and the clicks that led there.
//!
//! A lead is stored sealed, as compact JSON; [`std::fmt::Debug`] shows nothing of the person. [`parse_leads`] makes
//! leads of a request body and is the only way in that judges every field.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::body::{BodyError, FieldError};
pub use clicks::{CLICK_DAYS, ClickSeen, Clicks, Touch, Utm};
pub use input::parse_leads;
pub use judge::{Judged, Parsed};
pub use patch::{LeadPatch, parse_patch};
pub use status::{InvalidLeadStatus, LeadStatus};

use crate::{consent::ConsentRecord, identity::Identifier, money::Money};

mod clicks;
mod input;
mod judge;
mod merge;
mod patch;
mod sealed;
mod status;

/// A person who showed interest; every field has been validated.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lead {
    /// The user's own id for the lead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Box<str>>,
    /// The site that it came from; part of its identity with `external_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_id: Option<Box<str>>,
    /// E-mail address, trimmed, or hashed by the user.
    #[serde(with = "sealed::identifier", skip_serializing_if = "Option::is_none")]
    pub email: Option<Identifier>,
    /// Phone number in E.164 with `+`, or hashed by the user.
    #[serde(with = "sealed::identifier", skip_serializing_if = "Option::is_none")]
    pub phone: Option<Identifier>,
    /// The last click of each kind.
    #[serde(skip_serializing_if = "Clicks::is_empty")]
    pub clicks: Clicks,
    /// When each of those clicks was first seen, in Unix seconds.
    #[serde(rename = "seen", skip_serializing_if = "ClickSeen::is_empty")]
    pub click_seen: ClickSeen,
    /// The page that the click led to.
    #[serde(rename = "page", skip_serializing_if = "Option::is_none")]
    pub landing_page: Option<Box<str>>,
    /// Campaign parameters of that page.
    #[serde(skip_serializing_if = "Utm::is_empty")]
    pub utm: Utm,
    /// Where the person first came from, once that differs from the fields above; see [`Lead::first_touch`].
    #[serde(rename = "first", skip_serializing_if = "Option::is_none")]
    pub earlier_touch: Option<Box<Touch>>,
    /// When the lead was first captured, in Unix seconds.
    #[serde(rename = "captured")]
    pub captured_s: i64,
    /// The person's company.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company: Option<Box<str>>,
    /// The user's labels, as written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Box<str>>,
    /// What the person would spend, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Box<str>>,
    /// The line of business, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vertical: Option<Box<str>>,
    /// How far the sale has come.
    pub status: LeadStatus,
    /// What the sale is worth.
    #[serde(with = "sealed::money", skip_serializing_if = "Option::is_none")]
    pub value: Option<Money>,
    /// When the person became a lead.
    #[serde(rename = "at", skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// What the person agreed to.
    pub consent: ConsentRecord,
}

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead").field("status", &self.status).field("captured_s", &self.captured_s).finish_non_exhaustive()
    }
}

impl Lead {
    /// Where the person first came from, fixed at the first capture that says so; `None` if nothing ever did.
    pub fn first_touch(&self) -> Option<Touch> {
        self.earlier_touch.as_deref().cloned().or_else(|| self.touch())
    }

    /// Where the lead came from as it stands.
    fn touch(&self) -> Option<Touch> {
        let nothing = self.clicks.is_empty() && self.utm.is_empty() && self.landing_page.is_none();
        (!nothing).then(|| Touch {
            clicks: self.clicks.clone(),
            utm: self.utm.clone(),
            landing_page: self.landing_page.clone(),
            at: self.click_seen.earliest().unwrap_or(self.captured_s),
        })
    }

    /// The clicks that still count: those first seen no more than [`CLICK_DAYS`] before `now_s` (Unix seconds).
    pub fn clicks_at(&self, now_s: i64) -> Clicks {
        self.clicks.seen_since(&self.click_seen, now_s.saturating_sub(CLICK_DAYS * 86_400))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead() -> Lead {
        let body =
            br#"{"external_id":"L-1","email":"Ada@Example.com","phone":"+49 151 23456789","gclid":"Cj0A","value":"120.50","currency":"EUR",
            "landing_page":"https://example.com/?a","tags":["hot"],"consent":{"storage":"granted","ad_user_data":"granted"}}"#;
        match parse_leads(body, 1, 1_795_000_000).unwrap().leads.pop() {
            Some(Judged::Lead(lead)) => *lead,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sealed_lead_is_compact_and_comes_back_whole() {
        let json = serde_json::to_string(&lead()).unwrap();
        assert_eq!(
            json,
            r#"{"external_id":"L-1","email":"Ada@Example.com","phone":"+4915123456789","clicks":{"gclid":"Cj0A"},"seen":{"gclid":1795000000},"page":"https://example.com/?a","captured":1795000000,"tags":["hot"],"status":"new","value":"120.50 EUR","consent":{"storage":"granted","ad_user_data":"granted"}}"#
        );
        assert_eq!(serde_json::from_str::<Lead>(&json).unwrap(), lead());
        assert_eq!(serde_json::from_str::<Lead>("{}").unwrap(), Lead::default());
    }

    #[test]
    fn hashed_persons_come_back_hashed() {
        let hashed = Lead { email: Some(Identifier::Hashed([7; 32])), ..Lead::default() };
        let json = serde_json::to_string(&hashed).unwrap();
        assert_eq!(serde_json::from_str::<Lead>(&json).unwrap(), hashed);
    }

    #[test]
    fn debug_shows_nothing_of_the_person() {
        let shown = format!("{:?} {:?} {:?}", lead(), lead().clicks, lead().first_touch());
        for personal in ["Ada", "L-1", "4915", "Cj0A", "example", "hot", "120"] {
            assert!(!shown.contains(personal), "{personal}: {shown}");
        }
    }

    #[test]
    fn clicks_count_for_90_days_from_first_sight() {
        let seen = 1_795_000_000;
        assert_eq!(lead().clicks_at(seen + CLICK_DAYS * 86_400).gclid.as_deref(), Some("Cj0A"));
        assert!(lead().clicks_at(seen + CLICK_DAYS * 86_400 + 1).is_empty());
    }
}
