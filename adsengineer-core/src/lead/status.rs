//! How far a sale has come.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How far a sale has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum LeadStatus {
    /// Just come in.
    #[default]
    New,
    /// Somebody has spoken with the person.
    Contacted,
    /// Worth pursuing.
    Qualified,
    /// Sold.
    Won,
    /// Not sold.
    Lost,
}

/// Why a text is not a status. Does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the status is unknown: use new, contacted, qualified, won or lost")]
pub struct InvalidLeadStatus;

impl LeadStatus {
    /// Every status, in order.
    pub const ALL: [Self; 5] = [Self::New, Self::Contacted, Self::Qualified, Self::Won, Self::Lost];

    /// The status's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Contacted => "contacted",
            Self::Qualified => "qualified",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }

    /// The number under which it is stored, 0 to 4.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The status of a stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Whether a lead may go from this status to `next`: forward, any number of steps, and between won and lost to
    /// correct a mistake; never back. The same status is no change and allowed.
    pub fn may_become(self, next: Self) -> bool {
        let step = |status: Self| status.number().min(Self::Won.number());
        step(next) >= step(self)
    }
}

impl FromStr for LeadStatus {
    type Err = InvalidLeadStatus;

    fn from_str(text: &str) -> Result<Self, InvalidLeadStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(InvalidLeadStatus)
    }
}

impl fmt::Display for LeadStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_goes_forward_and_between_won_and_lost_and_never_back() {
        use LeadStatus::*;
        let allowed = |from: LeadStatus| LeadStatus::ALL.into_iter().filter(|to| from.may_become(*to)).collect::<Vec<_>>();
        assert_eq!(allowed(New), LeadStatus::ALL);
        assert_eq!(allowed(Contacted), [Contacted, Qualified, Won, Lost]);
        assert_eq!(allowed(Qualified), [Qualified, Won, Lost]);
        assert_eq!((allowed(Won), allowed(Lost)), (vec![Won, Lost], vec![Won, Lost]));
    }

    #[test]
    fn names_and_numbers_round_trip() {
        for status in LeadStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(LeadStatus::from_number(status.number()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.to_string());
        }
        assert_eq!(LeadStatus::from_number(5), None);
        assert_eq!("closed".parse::<LeadStatus>(), Err(InvalidLeadStatus));
    }
}
