//! The checks whose result comes later, with the request's status: consent, and click ids that ask for a verdict. Pure.

use std::borrow::Cow;

use super::{
    format,
    wire::{AdIdentifiers, Consent, ConsentStatus, Event},
};

const PREFIX: &str = "PROCESSING_ERROR_REASON_";
/// A click id that begins so asks for the `ProcessingErrorReason` that follows.
const ASKED: &str = "sandbox-";
/// The one reason whose published name lacks the prefix.
const IRREGULAR: &str = "OPERATING_ACCOUNT_MISMATCH_FOR_AD_IDENTIFIER";

/// What the later checks depend on.
#[derive(Clone, Copy)]
pub(super) struct Later {
    pub(super) consent_required: bool,
    pub(super) click_verdicts: bool,
}

/// Why an event that was taken is not counted; `None`: it is.
pub(super) fn failure(event: &Event<'_>, default_consent: Consent, rules: Later) -> Option<Cow<'static, str>> {
    if rules.consent_required
        && let Some(reason) = without_consent(event.consent.unwrap_or_default(), default_consent)
    {
        return Some(reason.into());
    }
    let (name, id) = event.ad_identifiers.as_ref().and_then(AdIdentifiers::click_id)?;
    if rules.click_verdicts
        && let Some(asked) = id.strip_prefix(ASKED).map(format::reason).filter(|asked| asked.contains(|c: char| c.is_ascii_uppercase()))
    {
        return Some(full_name(asked).into());
    }
    let damaged = id.contains(|c: char| c.is_whitespace() || c.is_control());
    damaged.then(|| full_name(&format!("INVALID_{}", name.to_ascii_uppercase())).into())
}

/// A published reason with its prefix.
pub(super) fn full_name(reason: &str) -> String {
    if reason == IRREGULAR { format!("PROCESSING_ERROR_{reason}") } else { format!("{PREFIX}{reason}") }
}

/// The event's own consent, where it says nothing the request's.
fn without_consent(own: Consent, default: Consent) -> Option<&'static str> {
    let said = |consent: Consent| consent.ad_user_data.filter(|status| *status != ConsentStatus::Unspecified);
    match said(own).or_else(|| said(default)) {
        Some(ConsentStatus::Granted) => None,
        Some(ConsentStatus::Denied) => Some("PROCESSING_ERROR_REASON_DENIED_CONSENT"),
        _ => Some("PROCESSING_ERROR_REASON_NO_CONSENT"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Later, failure};
    use crate::sandbox::wire::Consent;

    const STRICT: Later = Later { consent_required: true, click_verdicts: true };

    fn judged(event: &str, consent: &str) -> Option<String> {
        let consent: Consent = serde_json::from_str(consent).unwrap();
        failure(&serde_json::from_str(event).unwrap(), consent, STRICT).map(|reason| reason["PROCESSING_ERROR_".len()..].to_owned())
    }

    #[test]
    fn consent_of_the_event_goes_before_that_of_the_request() {
        let (granted, denied) = (r#"{"adUserData":"CONSENT_GRANTED"}"#, r#"{"adUserData":"CONSENT_DENIED"}"#);
        let event = |consent: &str| format!(r#"{{"consent":{consent}}}"#);
        assert_eq!(judged(&event(granted), denied), None);
        assert_eq!(judged(&event(denied), granted).unwrap(), "REASON_DENIED_CONSENT");
        assert_eq!(judged("{}", granted), None);
        assert_eq!(judged("{}", "{}").unwrap(), "REASON_NO_CONSENT");
        assert_eq!(judged(&event(r#"{"adUserData":"CONSENT_STATUS_UNSPECIFIED"}"#), granted), None);
        let free = Later { consent_required: false, click_verdicts: true };
        assert_eq!(failure(&serde_json::from_str("{}").unwrap(), Consent::default(), free), None);
    }

    #[test]
    fn click_ids_ask_for_their_verdict() {
        let granted = r#"{"adUserData":"CONSENT_GRANTED"}"#;
        let click = |id: &str| judged(&format!(r#"{{"adIdentifiers":{{"gclid":"{id}"}}}}"#), granted);
        assert_eq!(click("sandbox-INVALID_GCLID-1").unwrap(), "REASON_INVALID_GCLID");
        assert_eq!(click("sandbox-TOO_RECENT_CLICK").unwrap(), "REASON_TOO_RECENT_CLICK");
        let irregular = "OPERATING_ACCOUNT_MISMATCH_FOR_AD_IDENTIFIER";
        assert_eq!(click(&format!("sandbox-{irregular}-2")).unwrap(), irregular);
        assert_eq!(click("has space").unwrap(), "REASON_INVALID_GCLID");
        assert_eq!(click("sandbox-1"), None);
        assert_eq!(click("Cj0KCQ-ordinary_1"), None);
    }
}
