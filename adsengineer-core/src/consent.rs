//! Consent: who agreed to what. No delivery can be built without an [`UploadPermit`], and only a granted
//! `ad_user_data` yields one.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use record::{ConsentRecord, InvalidMethod, Method};

pub mod tcf;

mod record;

/// A person's answer for one purpose. Unspecified is the absence of a state, never one of these.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ConsentState {
    /// Agreed.
    Granted,
    /// Refused.
    Denied,
    /// Not answered yet.
    Pending,
    /// Agreed once, then took it back.
    Withdrawn,
}

/// Why a text is not a consent state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a consent state: use granted, denied, pending or withdrawn")]
pub struct InvalidConsentState(String);

impl FromStr for ConsentState {
    type Err = InvalidConsentState;

    fn from_str(text: &str) -> Result<Self, InvalidConsentState> {
        [Self::Granted, Self::Denied, Self::Pending, Self::Withdrawn]
            .into_iter()
            .find(|state| state.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| InvalidConsentState(text.chars().take(40).collect()))
    }
}

impl ConsentState {
    /// The state's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Pending => "pending",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl fmt::Display for ConsentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a conversion says about consent; `None` is unspecified.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AdConsent {
    /// May personal data go to the platform for advertising?
    #[serde(default)]
    pub ad_user_data: Option<ConsentState>,
    /// May it be used for personalised advertising?
    #[serde(default)]
    pub ad_personalization: Option<ConsentState>,
}

/// Proof that a person allowed the upload of their data; only [`AdConsent::permit`] makes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UploadPermit {
    ad_personalization: Option<ConsentState>,
}

/// Why a conversion may not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPermit {
    /// Nobody said whether the person agreed.
    #[error("nothing says whether the person agreed to ad_user_data")]
    Unspecified,
    /// The person did not agree.
    #[error("ad_user_data is {0}")]
    Refused(ConsentState),
}

impl AdConsent {
    /// The permit to send, or why there is none.
    pub fn permit(self) -> Result<UploadPermit, NoPermit> {
        match self.ad_user_data {
            Some(ConsentState::Granted) => Ok(UploadPermit { ad_personalization: self.ad_personalization }),
            Some(other) => Err(NoPermit::Refused(other)),
            None => Err(NoPermit::Unspecified),
        }
    }

    /// Fills an unspecified `ad_user_data`, and nothing else.
    #[must_use]
    pub fn or_default(self, default: Option<ConsentState>) -> Self {
        Self { ad_user_data: self.ad_user_data.or(default), ..self }
    }
}

impl UploadPermit {
    /// What the person said about personalised advertising.
    pub fn ad_personalization(self) -> Option<ConsentState> {
        self.ad_personalization
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_granted_ad_user_data_yields_a_permit() {
        let consent = |ad_user_data| AdConsent { ad_user_data, ad_personalization: Some(ConsentState::Denied) };
        assert!(consent(Some(ConsentState::Granted)).permit().is_ok());
        assert_eq!(consent(None).permit(), Err(NoPermit::Unspecified));
        for state in [ConsentState::Denied, ConsentState::Pending, ConsentState::Withdrawn] {
            assert_eq!(consent(Some(state)).permit(), Err(NoPermit::Refused(state)));
        }
    }

    #[test]
    fn a_default_fills_ad_user_data_only_where_it_is_unspecified() {
        let granted = Some(ConsentState::Granted);
        assert_eq!(AdConsent::default().or_default(granted).ad_user_data, granted);
        assert_eq!(AdConsent::default().or_default(granted).ad_personalization, None);
        let denied = AdConsent { ad_user_data: Some(ConsentState::Denied), ad_personalization: None };
        assert_eq!(denied.or_default(granted), denied);
    }

    #[test]
    fn states_are_read_in_any_case() {
        assert_eq!("Granted".parse(), Ok(ConsentState::Granted));
        assert_eq!("DENIED".parse(), Ok(ConsentState::Denied));
        assert!("yes".parse::<ConsentState>().is_err());
    }
}
