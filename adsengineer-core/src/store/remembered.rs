//! What a request did, as it is remembered under its key: ids and codes, never personal data.

use serde::{Deserialize, Serialize};

use super::{Captured, Done};
use crate::{
    id::{ConversionId, IntakeId, LeadId, ReplayId},
    money::Money,
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Remembered {
    Leads(Vec<LeadId>, Vec<One>),
    Accepted(IntakeId, Vec<One>),
    Replay(ReplayId),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum One {
    New(ConversionId),
    Known(ConversionId, u32),
    Different(ConversionId, Option<(String, String)>, String),
    Restated(ConversionId, u32),
    Taken(ConversionId),
    Suppressed,
    Missing,
}

/// `done` as text; `None` for what need not be remembered.
pub(super) fn remember(done: &Done) -> Option<String> {
    let ones = |captured: &[Captured]| captured.iter().map(One::of).collect();
    let remembered = match done {
        Done::Leads(ids, captured) => Remembered::Leads(ids.clone(), ones(captured)),
        Done::Accepted(id, captured) => Remembered::Accepted(*id, ones(captured)),
        Done::Replay(id) => Remembered::Replay(*id),
        _ => return None,
    };
    serde_json::to_string(&remembered).ok()
}

/// What [`remember`] wrote; `None` if it makes no sense.
pub(super) fn recall(text: &str) -> Option<Done> {
    let captured = |ones: Vec<One>| ones.into_iter().map(One::captured).collect::<Option<Vec<_>>>();
    Some(match serde_json::from_str(text).ok()? {
        Remembered::Leads(ids, ones) => Done::Leads(ids, captured(ones)?),
        Remembered::Accepted(id, ones) => Done::Accepted(id, captured(ones)?),
        Remembered::Replay(id) => Done::Replay(id),
    })
}

impl One {
    fn of(captured: &Captured) -> Self {
        match captured {
            Captured::New(id) => Self::New(*id),
            Captured::Known { conversion, added } => Self::Known(*conversion, *added),
            Captured::Different { conversion, value, field } => {
                let value = value.map(|money| (money.decimal().to_string(), money.currency.to_string()));
                Self::Different(*conversion, value, field.to_string())
            }
            Captured::Restated { conversion, revision } => Self::Restated(*conversion, *revision),
            Captured::OrderIdTaken { owner } => Self::Taken(*owner),
            Captured::Suppressed => Self::Suppressed,
            Captured::OriginalMissing => Self::Missing,
        }
    }

    fn captured(self) -> Option<Captured> {
        Some(match self {
            Self::New(id) => Captured::New(id),
            Self::Known(conversion, added) => Captured::Known { conversion, added },
            Self::Different(conversion, value, field) => {
                let money =
                    |(amount, currency): (String, String)| Some(Money { amount: amount.parse().ok()?, currency: currency.parse().ok()? });
                let value = match value {
                    Some(value) => Some(money(value)?),
                    None => None,
                };
                Captured::Different { conversion, value, field: field.into() }
            }
            Self::Restated(conversion, revision) => Captured::Restated { conversion, revision },
            Self::Taken(owner) => Captured::OrderIdTaken { owner },
            Self::Suppressed => Captured::Suppressed,
            Self::Missing => Captured::OriginalMissing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_request_did_is_recalled_as_it_was() {
        let id = ConversionId(7);
        let money = Money { amount: "120.50".parse().unwrap(), currency: "EUR".parse().unwrap() };
        let captured = vec![
            Captured::New(id),
            Captured::Known { conversion: id, added: 2 },
            Captured::Different { conversion: id, value: Some(money), field: "value".into() },
            Captured::Different { conversion: id, value: None, field: "click_id".into() },
            Captured::Restated { conversion: id, revision: 3 },
            Captured::OrderIdTaken { owner: id },
            Captured::Suppressed,
            Captured::OriginalMissing,
        ];
        for done in
            [Done::Leads(vec![LeadId(1), LeadId(2)], captured.clone()), Done::Accepted(IntakeId(3), captured), Done::Replay(ReplayId(4))]
        {
            let text = remember(&done).unwrap();
            assert_eq!(recall(&text), Some(done), "{text}");
        }
    }

    #[test]
    fn what_changes_with_time_is_not_remembered_and_nonsense_is_not_recalled() {
        assert_eq!(remember(&Done::Noted), None);
        assert_eq!(remember(&Done::LeadsMoved(vec![(0, LeadId(1))])), None);
        assert_eq!(recall("{}"), None);
        assert_eq!(recall(r#"{"leads":[[],[{"different":["conv_0000000000001",["x","EUR"],"value"]}]]}"#), None);
    }
}
