//! What a person answered, by which means and when: the record that is kept with a lead.

use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AdConsent, ConsentState};

/// How an answer was given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Method {
    /// In a cookie banner or consent platform.
    CookieBanner,
    /// By a box on a form.
    FormCheckbox,
    /// As told by whoever calls the API.
    ApiCall,
    /// As told by a shop or CRM.
    Webhook,
    /// As told by a file.
    Import,
}

/// Why a text is not a method. Does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the consent method is unknown: use cookie_banner, form_checkbox, api_call, webhook or import")]
pub struct InvalidMethod;

impl Method {
    const ALL: [Self; 5] = [Self::CookieBanner, Self::FormCheckbox, Self::ApiCall, Self::Webhook, Self::Import];

    /// The method's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CookieBanner => "cookie_banner",
            Self::FormCheckbox => "form_checkbox",
            Self::ApiCall => "api_call",
            Self::Webhook => "webhook",
            Self::Import => "import",
        }
    }
}

impl FromStr for Method {
    type Err = InvalidMethod;

    fn from_str(text: &str) -> Result<Self, InvalidMethod> {
        Self::ALL.into_iter().find(|method| method.as_str() == text).ok_or(InvalidMethod)
    }
}

/// A person's answers by purpose, and what proves them. `None` is unspecified.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConsentRecord {
    /// May the data be stored at all?
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<ConsentState>,
    /// May it go to platforms for advertising?
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ad_user_data: Option<ConsentState>,
    /// May it be used for personalised advertising?
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ad_personalization: Option<ConsentState>,
    /// How the answers were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Which wording the person saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_version: Option<String>,
    /// The IAB TCF string as received; it has the form of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcf: Option<String>,
    /// Whether the browser sent Global Privacy Control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpc: Option<bool>,
}

impl ConsentRecord {
    /// Whether the data may be stored: only what was granted.
    pub fn may_store(&self) -> bool {
        self.storage == Some(ConsentState::Granted)
    }

    /// The part that decides about sending.
    pub fn ads(&self) -> AdConsent {
        AdConsent { ad_user_data: self.ad_user_data, ad_personalization: self.ad_personalization }
    }

    /// The record after `newer` answers; what they leave open stays.
    #[must_use]
    pub fn updated(self, newer: Self) -> Self {
        Self {
            storage: newer.storage.or(self.storage),
            ad_user_data: newer.ad_user_data.or(self.ad_user_data),
            ad_personalization: newer.ad_personalization.or(self.ad_personalization),
            method: newer.method.or(self.method),
            at: newer.at.or(self.at),
            text_version: newer.text_version.or(self.text_version),
            tcf: newer.tcf.or(self.tcf),
            gpc: newer.gpc.or(self.gpc),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_granted_storage_may_be_stored() {
        let record = |storage| ConsentRecord { storage, ..ConsentRecord::default() };
        assert!(record(Some(ConsentState::Granted)).may_store());
        for state in [None, Some(ConsentState::Denied), Some(ConsentState::Pending), Some(ConsentState::Withdrawn)] {
            assert!(!record(state).may_store(), "{state:?}");
        }
    }

    #[test]
    fn a_record_is_written_without_what_it_does_not_say_and_read_back() {
        let json = r#"{"storage":"granted","method":"form_checkbox","at":"2026-11-18T14:05:00Z","gpc":true}"#;
        let record: ConsentRecord = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), json);
        assert_eq!(record.ads(), AdConsent::default());
        for method in Method::ALL {
            assert_eq!(method.as_str().parse(), Ok(method));
            assert_eq!(serde_json::to_value(method).unwrap(), method.as_str());
        }
        assert_eq!("telepathy".parse::<Method>(), Err(InvalidMethod));
    }

    #[test]
    fn newer_answers_win_and_open_ones_leave_the_old() {
        let old = ConsentRecord { ad_user_data: Some(ConsentState::Granted), gpc: Some(true), ..ConsentRecord::default() };
        let newer = ConsentRecord { ad_user_data: Some(ConsentState::Withdrawn), ..ConsentRecord::default() };
        let updated = old.updated(newer);
        assert_eq!((updated.ad_user_data, updated.gpc), (Some(ConsentState::Withdrawn), Some(true)));
    }
}
