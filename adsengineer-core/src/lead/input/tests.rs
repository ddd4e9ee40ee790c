use proptest::prelude::*;

use super::*;
use crate::{
    consent::{ConsentState, Method},
    lead::{Judged, Lead, LeadStatus},
};

const NOW: i64 = 1_795_010_700; // 2026-11-18T14:05:00Z

fn parse(body: &str) -> Result<Parsed, BodyError> {
    parse_leads(body.as_bytes(), 1000, NOW)
}

fn errors(body: &str) -> Vec<(String, &'static str)> {
    match parse(body) {
        Err(BodyError::Invalid(errors)) => errors.into_iter().map(|e| (e.pointer, e.code)).collect(),
        other => panic!("{body}: {other:?}"),
    }
}

fn granted(fields: &str) -> String {
    format!(r#"{{{fields},"consent":{{"storage":"granted"}}}}"#)
}

fn lead(body: &str) -> Lead {
    match parse(body).map(|mut parsed| parsed.leads.remove(0)) {
        Ok(Judged::Lead(lead)) => *lead,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn every_field_is_taken() {
    let lead = lead(
        r#"{"external_id":" L-1 ","email":" Ada@Example.com ","phone":"+49 (0)151 234-567 89","gclid":"g","gbraid":"b","wbraid":"w",
        "fbclid":"F","fbc":"fb.1.1795000000000.IwAR_x-1","fbp":"fb.1.1795000000000.123456.AQIAAQMC","msclkid":"m","ttclid":"E.C.P.x",
        "landing_page":"HTTPS://example.com?x=1","utm":{"source":"google","medium":"cpc","campaign":"c","content":"d","term":"t"},
        "site_id":"s","company":"Caf\u00e9","tags":["hot",""],"budget":15000.500,"vertical":"dental","status":"qualified",
        "value":"120.50","currency":"eur","occurred_at":"2026-11-18T15:00:00.7+01:00",
        "consent":{"storage":"granted","ad_user_data":"Denied","ad_personalization":"pending","method":"form_checkbox",
        "at":"2026-11-18T14:00:00Z","text_version":"v1","gpc":true}}"#,
    );
    assert_eq!((lead.external_id.as_deref(), lead.site_id.as_deref(), lead.company.as_deref()), (Some("L-1"), Some("s"), Some("Café")));
    assert_eq!(lead.email.as_ref().map(|e| e.text().into_owned()).as_deref(), Some("Ada@Example.com"));
    assert_eq!(lead.phone.as_ref().map(|p| p.text().into_owned()).as_deref(), Some("+4915123456789"));
    assert_eq!((lead.tags.len(), lead.budget.as_deref(), lead.status), (1, Some("15000.50"), LeadStatus::Qualified));
    assert_eq!(lead.value.map(|v| v.to_string()).as_deref(), Some("120.50 EUR"));
    assert_eq!(lead.occurred_at.map(|t| t.to_string()).as_deref(), Some("2026-11-18T14:00:00Z"));
    assert_eq!(lead.utm.term.as_deref(), Some("t"));
    assert_eq!(lead.click_seen.ttclid, Some(NOW));
    let consent = lead.consent;
    assert_eq!((consent.ad_user_data, consent.method, consent.gpc), (Some(ConsentState::Denied), Some(Method::FormCheckbox), Some(true)));
}

#[test]
fn null_and_empty_texts_count_as_absent() {
    let body = granted(
        r#""email":"a@example.com","phone":null,"gclid":"","utm":null,"tags":null,"company":"","budget":null,"value":null,"currency":null,"status":null,"occurred_at":null"#,
    );
    let lead = lead(&body);
    assert!(lead.phone.is_none() && lead.clicks.is_empty() && lead.company.is_none() && lead.value.is_none());
}

#[test]
fn who_did_not_agree_to_storage_is_denied_and_not_an_error() {
    for consent in [
        r#""x":0"#,
        r#""consent":null"#,
        r#""consent":{}"#,
        r#""consent":{"storage":null,"ad_user_data":"granted"}"#,
        r#""consent":{"storage":"denied"}"#,
        r#""consent":{"storage":"pending"}"#,
        r#""consent":{"storage":"withdrawn"}"#,
    ] {
        let body = format!(r#"{{"email":" a@example.com ",{consent}}}"#).replace(r#","x":0"#, "");
        let parsed = parse(&body).unwrap();
        assert_eq!(parsed, Parsed { many: false, leads: vec![Judged::Denied { email: Some("a@example.com".to_owned()) }] }, "{consent}");
        assert!(!format!("{parsed:?}").contains("example"));
    }
}

#[test]
fn malformed_consent_is_an_error_with_its_place() {
    for (consent, pointer, code) in [
        ("true", "/consent", "INVALID_TYPE"),
        (r#"["granted"]"#, "/consent", "INVALID_TYPE"),
        (r#"{"storage":true}"#, "/consent/storage", "INVALID_TYPE"),
        (r#"{"storage":"yes"}"#, "/consent/storage", "INVALID_CONSENT"),
        (r#"{"storage":""}"#, "/consent/storage", "INVALID_CONSENT"),
        (r#"{"storage":"granted","ad_user_data":"1"}"#, "/consent/ad_user_data", "INVALID_CONSENT"),
        (r#"{"storage":"denied","method":"telepathy"}"#, "/consent/method", "INVALID_CONSENT"),
        (r#"{"storage":"granted","at":"yesterday"}"#, "/consent/at", "INVALID_TIME"),
        (r#"{"storage":"granted","tcf":"BPx"}"#, "/consent/tcf", "INVALID_TCF"),
        (r#"{"storage":"granted","gpc":"1"}"#, "/consent/gpc", "INVALID_TYPE"),
        (r#"{"storage":"granted","storage":"denied"}"#, "/consent/storage", "DUPLICATE_FIELD"),
        (r#"{"analytics":"granted"}"#, "/consent/analytics", "UNKNOWN_FIELD"),
    ] {
        assert_eq!(errors(&format!(r#"{{"email":"a@example.com","consent":{consent}}}"#)), [(pointer.to_owned(), code)], "{consent}");
    }
}

#[test]
fn every_wrong_field_is_pointed_at() {
    let long = |n: usize| "x".repeat(n);
    for (field, value, pointer, code) in [
        ("email", "\"ada\"".to_owned(), "/email", "INVALID_EMAIL"),
        ("email", format!("\"{}@example.com\"", long(250)), "/email", "TOO_LONG"),
        ("email", r#""a\u0000@example.com""#.to_owned(), "/email", "CONTROL_CHARACTER"),
        ("phone", "\"0151 234567\"".to_owned(), "/phone", "PHONE_NEEDS_COUNTRY"),
        ("phone", "\"+49 call me\"".to_owned(), "/phone", "INVALID_PHONE"),
        ("phone", "15123456".to_owned(), "/phone", "INVALID_TYPE"),
        ("gbraid", "\"a b\"".to_owned(), "/gbraid", "INVALID_CLICK_ID"),
        ("msclkid", format!("\"{}\"", long(1025)), "/msclkid", "INVALID_CLICK_ID"),
        ("fbc", "\"IwAR\"".to_owned(), "/fbc", "INVALID_CLICK_ID"),
        ("fbp", "\"fb.1.x.1\"".to_owned(), "/fbp", "INVALID_CLICK_ID"),
        ("fbc", "\"fb.1.1795000000000.\"".to_owned(), "/fbc", "INVALID_CLICK_ID"),
        ("external_id", format!("\"{}\"", long(201)), "/external_id", "TOO_LONG"),
        ("company", r#""a\u0000b""#.to_owned(), "/company", "CONTROL_CHARACTER"),
        ("landing_page", "\"ftp://example.com\"".to_owned(), "/landing_page", "INVALID_URL"),
        ("landing_page", "\"https://?x\"".to_owned(), "/landing_page", "INVALID_URL"),
        ("landing_page", "\"javascript:alert(1)\"".to_owned(), "/landing_page", "INVALID_URL"),
        ("utm", "{\"source\":1}".to_owned(), "/utm/source", "INVALID_TYPE"),
        ("utm", format!("{{\"term\":\"{}\"}}", long(501)), "/utm/term", "TOO_LONG"),
        ("utm", "[\"google\"]".to_owned(), "/utm", "INVALID_TYPE"),
        ("tags", "\"hot\"".to_owned(), "/tags", "INVALID_TYPE"),
        ("tags", format!("[\"a\",\"{}\"]", long(101)), "/tags/1", "TOO_LONG"),
        ("tags", format!("[{}\"a\"]", "\"a\",".repeat(50)), "/tags", "TOO_MANY"),
        ("budget", "true".to_owned(), "/budget", "INVALID_TYPE"),
        ("status", "\"Closed\"".to_owned(), "/status", "INVALID_STATUS"),
        ("value", "\"1\"".to_owned(), "/currency", "CURRENCY_MISSING"),
        ("currency", "\"EUR\"".to_owned(), "/value", "VALUE_MISSING"),
        ("occurred_at", "\"2026-11-18T14:10:01Z\"".to_owned(), "/occurred_at", "TIME_IN_FUTURE"),
        ("id", "\"lead_1\"".to_owned(), "/id", "UNKNOWN_FIELD"),
        ("org_id", "\"other\"".to_owned(), "/org_id", "UNKNOWN_FIELD"),
        ("score", "99".to_owned(), "/score", "UNKNOWN_FIELD"),
    ] {
        assert_eq!(errors(&granted(&format!(r#""ttclid":"t","{field}":{value}"#))), [(pointer.to_owned(), code)], "{field} {value}");
    }
}

#[test]
fn budgets_of_any_size_are_taken() {
    for (number, expected) in [("1e300", "1000000000000000.00"), ("-1e-300", "-0.00"), ("1e4", "10000"), ("19.990000000000002", "19.99")] {
        assert_eq!(lead(&granted(&format!(r#""ttclid":"t","budget":{number}"#))).budget.as_deref(), Some(expected), "{number}");
    }
    assert!(lead(&granted(&format!(r#""ttclid":"t","budget":{}"#, "9".repeat(400)))).budget.is_some());
}

#[test]
fn somebody_must_be_named_by_something() {
    assert_eq!(errors(&granted(r#""company":"x""#)), [(String::new(), "IDENTIFIER_REQUIRED")]);
    assert_eq!(errors(&format!("[{}]", granted(r#""email":" ","gclid":"""#))), [("/0".to_owned(), "IDENTIFIER_REQUIRED")]);
    assert_eq!(errors(r#"{"email":"ada"}"#), [("/email".to_owned(), "INVALID_EMAIL")]);
    for click in ["gclid", "gbraid", "wbraid", "fbclid", "msclkid", "ttclid"] {
        lead(&granted(&format!(r#""{click}":"x""#)));
    }
}

#[test]
fn one_wrong_lead_of_many_refuses_all_and_a_denied_one_does_not() {
    let good = granted(r#""email":"a@example.com""#);
    let body = format!(r#"[{good},{{"email":"b"}},{{"email":"c@example.com"}},{{"email":"d","phone":"e"}}]"#);
    let expected = [("/1/email", "INVALID_EMAIL"), ("/3/email", "INVALID_EMAIL"), ("/3/phone", "INVALID_PHONE")];
    assert_eq!(errors(&body), expected.map(|(pointer, code)| (pointer.to_owned(), code)));
    let parsed = parse(&format!(r#"[{good},{{"email":"c@example.com"}}]"#)).unwrap();
    assert!(parsed.many && matches!(parsed.leads[..], [Judged::Lead(_), Judged::Denied { .. }]));
}

#[test]
fn errors_never_quote_what_may_be_personal_and_are_bounded() {
    let body = granted(r#""email":"secretname","phone":"secret","company":"secret\u0000","landing_page":"secret","status":"secret""#);
    let Err(BodyError::Invalid(errors)) = parse(&body) else { panic!("accepted") };
    assert!(errors.iter().all(|e| !e.detail.contains("secret")), "{errors:?}");
    let many = format!("[{}]", vec![r#"{"email":"x"}"#; 500].join(","));
    assert!(matches!(parse(&many), Err(BodyError::Invalid(errors)) if errors.len() == crate::body::ERRORS_MAX));
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let text = prop_oneof![any::<String>(), Just("granted".to_owned()), Just("a@example.com".to_owned()), Just("EUR".to_owned())];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        text.prop_map(Into::into),
    ];
    let keys = [
        "email",
        "phone",
        "gclid",
        "fbc",
        "utm",
        "tags",
        "budget",
        "value",
        "currency",
        "status",
        "consent",
        "storage",
        "occurred_at",
        "x",
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map(prop::sample::select(keys.to_vec()), inner, 0..6).prop_map(|map| map
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_leads(&body, 10, NOW);
    }

    #[test]
    fn arbitrary_json_is_accepted_or_refused_with_a_reason_and_never_malformed(value in json()) {
        match parse_leads(value.to_string().as_bytes(), 10, NOW) {
            Ok(parsed) => prop_assert!(!parsed.leads.is_empty()),
            Err(BodyError::Invalid(errors)) => {
                prop_assert!(!errors.is_empty());
                prop_assert!(errors.iter().all(|e| e.detail != "the body does not have the expected form"));
            }
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }
}
