use proptest::prelude::*;

use super::*;
use crate::{
    consent::{ConsentRecord, ConsentState},
    conversion::KeySubject,
    identity::Identifier,
    lead::{Judged, parse_leads},
};

const NOW: i64 = 1_795_010_700; // 2026-11-18T14:05:00Z

fn parse(body: &str) -> Result<Vec<RequestedConversion>, BodyError> {
    parse_conversions(body.as_bytes(), 2000, NOW).map(|requested| requested.conversions)
}

fn errors(body: &str) -> Vec<(String, &'static str)> {
    match parse(body) {
        Err(BodyError::Invalid(errors)) => errors.into_iter().map(|e| (e.pointer, e.code)).collect(),
        other => panic!("{body}: {other:?}"),
    }
}

fn with(fields: &str) -> String {
    format!(r#"{{"action":"Sale","occurred_at":"2026-11-18T14:05:00Z",{fields}}}"#)
}

const AGREED: &str = r#""consent":{"ad_user_data":"granted"}"#;

#[test]
fn a_complete_conversion_is_what_a_file_would_make_of_it() {
    let body = with(&format!(r#""gclid":"Cj0A","value":120.50,"currency":"EUR","order_id":"A-1","destinations":["google"],{AGREED}"#));
    let requested = parse(&body).unwrap().remove(0);
    let conversion = requested.conversion.unwrap();
    assert_eq!((conversion.value.map(|v| v.to_string()).as_deref(), conversion.occurred_at.as_second()), (Some("120.50 EUR"), NOW));
    assert_eq!((requested.destinations, requested.findings), (Some(vec!["google".to_owned()]), Vec::new()));
    let org = "acme".parse().unwrap();
    assert_eq!(conversion.natural_key(&org), super::super::NaturalKey::of(&org, "Sale", KeySubject::Order("A-1"), NOW));
}

#[test]
fn remarks_come_with_the_field_and_what_to_do_about_it() {
    let requested = parse(&format!("[{}]", with(&format!(r#""gclid":"a%2F","order_id":"17",{AGREED}"#)))).unwrap().remove(0);
    let seen: Vec<_> = requested.findings.iter().map(|f| (f.code, f.field.as_str(), f.severity)).collect();
    let warning = Severity::Warning;
    assert_eq!(
        seen,
        [("VALUE_MISSING", "value", warning), ("NUMERIC_ORDER_ID", "order_id", warning), ("UNUSUAL_CLICK_ID", "gclid", warning)]
    );
    assert!(requested.findings.iter().all(|f| !f.hint.contains("--")));
}

#[test]
fn every_error_of_every_item_is_pointed_at_and_refuses_all() {
    let good = with(&format!(r#""gclid":"Cj0A",{AGREED}"#));
    let bad = format!(
        r#"{{"occurred_at":"18.11.2026","value":"12 EUR","currency":"EURO","order_id":"a@example.com","identifiers":{{"email":"x"}},{AGREED}}}"#
    );
    let body = format!("[{good},{bad},{}]", with(&format!(r#""gclid":"a b",{AGREED}"#)));
    let mut found = errors(&body);
    found.sort();
    let expected = [
        ("/1/action", "ACTION_MISSING"),
        ("/1/currency", "INVALID_CURRENCY"),
        ("/1/identifiers/email", "INVALID_EMAIL"),
        ("/1/occurred_at", "INVALID_TIME"),
        ("/1/order_id", "ORDER_ID_CONTAINS_PII"),
        ("/1/value", "CURRENCY_SYMBOL"),
        ("/2/gclid", "INVALID_CLICK_ID"),
    ];
    assert_eq!(found, expected.map(|(pointer, code)| (pointer.to_owned(), code)));
}

#[test]
fn who_is_meant_and_whether_they_agreed_must_be_said_without_a_lead() {
    assert_eq!(errors(&format!("[{}]", with(r#""gclid":"Cj0A""#))), [("/0/consent".to_owned(), "CONSENT_REQUIRED")]);
    assert_eq!(errors(&with(r#""lead_id":"","gclid":"Cj0A""#)), [("/consent".to_owned(), "CONSENT_REQUIRED")]);
    assert_eq!(errors(&with(AGREED)), [(String::new(), "NO_IDENTIFIER")]);
    assert_eq!(errors(&with(r#""gclid":"a","consent":{"ad_user_data":"yes"}"#)), [("/consent/ad_user_data".to_owned(), "INVALID_CONSENT")]);
}

#[test]
fn of_a_person_who_said_no_nothing_is_taken_in() {
    for consent in ["denied", "pending", "withdrawn"] {
        let body = with(&format!(r#""gclid":"Cj0A","consent":{{"ad_user_data":"{consent}"}}"#));
        let requested = parse(&body).unwrap().remove(0);
        assert_eq!((requested.conversion, requested.findings[0].code), (None, "CONSENT_DENIED"), "{consent}");
    }
}

#[test]
fn who_said_no_is_told_what_else_is_wrong() {
    assert_eq!(errors(&with(r#""gclid":"a b","consent":{"ad_user_data":"denied"}"#)), [("/gclid".to_owned(), "INVALID_CLICK_ID")]);
}

#[test]
fn what_files_may_write_in_several_ways_requests_write_in_one() {
    for (fields, pointer, code) in [
        (r#""value":"1,234.50","currency":"EUR""#, "/value", "INVALID_VALUE"),
        (r#""value":"","currency":"EUR""#, "/value", "INVALID_VALUE"),
        (r#""currency":"""#, "/currency", "INVALID_CURRENCY"),
        (r#""currency":"AAA""#, "/currency", "INVALID_CURRENCY"),
    ] {
        assert_eq!(errors(&with(&format!(r#""gclid":"a",{fields},{AGREED}"#))), [(pointer.to_owned(), code)], "{fields}");
    }
    let empty = r#""gclid":"a","consent":{"ad_user_data":"granted","ad_personalization":""}"#;
    assert_eq!(errors(&with(empty)), [("/consent/ad_personalization".to_owned(), "INVALID_CONSENT")]);
    assert_eq!(errors(&with(&format!(r#""gclid":" a",{AGREED}"#))), [("/gclid".to_owned(), "INVALID_CLICK_ID")]);
}

#[test]
fn requests_are_not_looked_at_for_the_damage_of_spreadsheets() {
    let body = format!(
        r#"{{"action":"=A1","occurred_at":"2026-11-18T14:05:00Z","gclid":"{0}","order_id":"{0}","value":19.990000000000002,"currency":"EUR",{AGREED}}}"#,
        "0".repeat(20)
    );
    let conversion = parse(&body).unwrap().remove(0).conversion.unwrap();
    assert_eq!((&*conversion.action, conversion.value.map(|v| v.to_string()).as_deref()), ("=A1", Some("19.99 EUR")));
}

#[test]
fn times_with_any_offset_are_judged_by_the_clock() {
    for (time, code) in
        [("2026-11-19T14:04:00+23:59", ""), ("9999-12-31T23:59:59-23:59", "TIME_IN_FUTURE"), ("0001-01-01T00:00:00+23:59", "EVENT_TOO_OLD")]
    {
        let body = with(&format!(r#""gclid":"a",{AGREED}"#)).replace("2026-11-18T14:05:00Z", time);
        match parse(&body) {
            Ok(_) => assert_eq!(code, "", "{time}"),
            Err(_) => assert_eq!(errors(&body), [("/occurred_at".to_owned(), code)], "{time}"),
        }
    }
}

#[test]
fn wrong_types_names_and_sizes_are_refused() {
    let long = "x".repeat(300);
    for (fields, pointer, code) in [
        (r#""gclid":1"#.to_owned(), "/gclid", "INVALID_TYPE"),
        (r#""id":"conv_1""#.to_owned(), "/id", "UNKNOWN_FIELD"),
        (r#""consent":{"storage":"granted"}"#.to_owned(), "/consent/storage", "UNKNOWN_FIELD"),
        (r#""identifiers":["a@example.com"]"#.to_owned(), "/identifiers", "INVALID_TYPE"),
        (format!(r#""lead_id":"{long}""#), "/lead_id", "TOO_LONG"),
        (format!(r#""lead_id":"l","identifiers":{{"first_name":"{long}"}}"#), "/identifiers/first_name", "TOO_LONG"),
        (r#""lead_id":"l","destinations":[]"#.to_owned(), "/destinations", "EMPTY"),
        (format!(r#""lead_id":"l","destinations":["a","{long}"]"#), "/destinations/1", "TOO_LONG"),
        (format!(r#""lead_id":"l","destinations":[{}"a"]"#, r#""a","#.repeat(50)), "/destinations", "TOO_MANY"),
    ] {
        assert_eq!(errors(&with(&fields)), [(pointer.to_owned(), code)], "{pointer} {code}");
    }
    assert!(matches!(parse_conversions(b"[{},{},{}]", 2, NOW), Err(BodyError::TooMany { given: 3, max: 2 })));
    assert!(matches!(parse("nope"), Err(BodyError::Malformed { .. })));
}

fn lead(fields: &str) -> Lead {
    let body = format!(r#"{{{fields},"consent":{{"storage":"granted","ad_user_data":"granted"}}}}"#);
    match parse_leads(body.as_bytes(), 1, NOW).unwrap().leads.remove(0) {
        Judged::Lead(lead) => *lead,
        denied @ Judged::Denied { .. } => panic!("{denied:?}"),
    }
}

#[test]
fn a_lead_fills_in_clicks_person_and_consent() {
    let requested = parse(&with(r#""lead_id":"lead_1""#)).unwrap().remove(0);
    assert_eq!(requested.lead_id.as_deref(), Some("lead_1"));
    let mut conversion = requested.conversion.unwrap();
    assert!(conversion.click_id.is_none() && conversion.identifiers.is_empty() && conversion.consent.ad_user_data.is_none());
    conversion.complete(&lead(r#""email":"a@example.com","phone":"+4915123456789","wbraid":"w","gbraid":"g""#), NOW);
    assert_eq!(conversion.click_id.as_ref().map(ToString::to_string).as_deref(), Some("gbraid=g"));
    assert!(conversion.identifiers.can_match() && conversion.consent.permit().is_ok());
}

#[test]
fn what_the_conversion_says_itself_stays_but_consent_is_the_leads() {
    let body = with(&format!(r#""lead_id":"lead_1","gclid":"own","identifiers":{{"email":"own@example.com"}},{AGREED}"#));
    let mut conversion = parse(&body).unwrap().remove(0).conversion.unwrap();
    let withdrawn = ConsentRecord { ad_user_data: Some(ConsentState::Withdrawn), ..ConsentRecord::default() };
    conversion.complete(&Lead { consent: withdrawn, ..lead(r#""email":"lead@example.com","gclid":"lead""#) }, NOW);
    assert_eq!(conversion.click_id.as_ref().map(ClickId::as_str), Some("own"));
    assert_eq!(conversion.identifiers.email, Some(Identifier::Plain("own@example.com".into())));
    assert!(conversion.consent.permit().is_err());
}

#[test]
fn a_click_that_has_expired_is_not_filled_in() {
    let mut conversion = parse(&with(r#""lead_id":"lead_1""#)).unwrap().remove(0).conversion.unwrap();
    conversion.complete(&lead(r#""gclid":"old""#), NOW + 91 * 86_400);
    assert_eq!(conversion.click_id, None);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_conversions(&body, 10, NOW);
    }

    #[test]
    fn arbitrary_texts_in_any_field_are_answered(text in any::<String>(), field in prop::sample::select(vec!["action", "occurred_at", "value", "currency", "order_id", "gclid", "lead_id"])) {
        let body = serde_json::json!({ field: text, "consent": { "ad_user_data": "granted" } }).to_string();
        let malformed = matches!(parse(&body), Err(BodyError::Malformed { .. }));
        prop_assert!(!malformed);
    }
}
