//! Trying a destination without storing anything: a token, then one validate-only request for each conversion action.
//!
//! The probe's click id is made up, so a refusal of that row alone proves that account and action were accepted.

use jiff::Timestamp;

use super::codes;
use crate::{
    click_id::{ClickId, ClickIdKind},
    consent::{AdConsent, ConsentState},
    destination::{Answer, CheckFinding, Event},
    id::DeliveryId,
    outcome::{HoldScope, Outcome, Why},
};

/// An event that no account knows.
pub(super) fn probe(now: Timestamp) -> Option<Event> {
    let consent = AdConsent { ad_user_data: Some(ConsentState::Granted), ad_personalization: None };
    Some(Event {
        delivery: DeliveryId(0),
        permit: consent.permit().ok()?,
        transaction_id: "adsengineer-check".into(),
        occurred_at: now.as_second() - 3600,
        value: None,
        click_id: ClickId::new(ClickIdKind::Gclid, "adsengineer-check").ok(),
        identifiers: crate::identity::Identifiers::default(),
    })
}

/// What the answer to a probe, or to the request for a token, says of the destination.
pub(super) fn finding(action: Option<&str>, answer: &Answer) -> Option<CheckFinding> {
    let (why, blocking) = match &answer.default {
        // The row is refused, the rest is not: that is as good as acceptance.
        Outcome::Accepted | Outcome::Pending | Outcome::Rejected(_) | Outcome::Duplicate(_) | Outcome::Hold(HoldScope::Row, _) => {
            return None;
        }
        _ if !answer.rows.is_empty() && !matches!(answer.default, Outcome::Hold(..)) => return None,
        Outcome::Hold(_, why) => (why, true),
        Outcome::Retry { why, .. }
        | Outcome::Later { why, .. }
        | Outcome::Unclear(why)
        | Outcome::Unknown(why)
        | Outcome::Unlocated(why) => (why, false),
    };
    Some(describe(action, why, blocking))
}

fn describe(action: Option<&str>, why: &Why, blocking: bool) -> CheckFinding {
    let reason = action.map_or_else(|| why.detail.to_string(), |name| format!("conversion action `{name}`: {}", why.detail));
    CheckFinding { code: why.code.to_string(), blocking, reason, hint: codes::next_action(&why.code).to_owned() }
}

/// Nothing to probe.
pub(super) fn no_actions() -> CheckFinding {
    CheckFinding {
        code: "NO_ACTIONS".to_owned(),
        blocking: false,
        reason: "the destination has no conversion actions, so only its credentials could be tried".to_owned(),
        hint: "add one with its id, for example --action 'Qualified lead=987654321'".to_owned(),
    }
}
