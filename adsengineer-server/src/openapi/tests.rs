use std::collections::BTreeSet;

use adsengineer_core::{
    conversion::request::parse_conversions,
    id::{ChangeId, ConversionId, DeliveryId, LeadId, ReplayId},
    lead::{parse_leads, parse_patch},
    rule::parse_rule,
};
use serde_json::{Value, json};

use super::{document, patterns as is};
use crate::{
    extract::json as read,
    handlers::{
        destinations::DestinationBody,
        dlq::{DiscardBody, ReplayBody},
        tokens::TokenBody,
    },
};

const NOW: i64 = 1_795_010_700; // 2026-11-18T14:05:00Z

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push((format!("{method} {path}"), operation));
        }
    }
    all
}

fn each(value: &Value, look: &mut impl FnMut(&Value)) {
    look(value);
    match value {
        Value::Object(map) => map.values().for_each(|value| each(value, look)),
        Value::Array(items) => items.iter().for_each(|value| each(value, look)),
        _ => {}
    }
}

#[test]
fn every_example_of_a_body_is_taken() {
    let document = document(None);
    let bodies: BTreeSet<&str> = document["components"]["schemas"].as_object().unwrap().keys().map(String::as_str).collect();
    let bodies: Vec<_> = bodies.into_iter().filter(|name| name.ends_with("Body")).collect();
    let mut taken = 0;
    for name in bodies {
        let Some(example) = document["components"]["schemas"][name].get("example") else { continue };
        let body = example.to_string();
        let body = body.as_bytes();
        let fits = match name {
            "LeadBody" => parse_leads(body, 1, NOW).is_ok(),
            "ConversionBody" => parse_conversions(body, 1, NOW).is_ok(),
            "LeadPatchBody" => parse_patch(body).is_ok(),
            "RuleBody" => parse_rule(body).is_ok(),
            "DestinationBody" => read::<DestinationBody>(body).and_then(DestinationBody::read).is_ok(),
            "TokenBody" => read::<TokenBody>(body).is_ok(),
            "ReplayBody" => read::<ReplayBody>(body).is_ok(),
            "DiscardBody" => read::<DiscardBody>(body).is_ok(),
            other => panic!("nothing reads the example of {other}"),
        };
        assert!(fits, "{name}: {example}");
        taken += 1;
    }
    assert!(taken >= 7, "only {taken} bodies have an example");
}

#[test]
fn every_operation_says_what_it_does_to_whom_and_what_it_answers() {
    let document = document(Some("https://ads.example.com"));
    let mut names = BTreeSet::new();
    for (what, operation) in operations(&document) {
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{what}: summary");
        assert!(operation["tags"].as_array().is_some_and(|tags| !tags.is_empty()), "{what}: tags");
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "{what}: its name is not its own");
        let security = operation["security"].as_array().unwrap();
        assert_eq!(security.is_empty(), !what.contains("/api/"), "{what}: security");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let content = response.get("content").and_then(Value::as_object);
            assert_eq!(content.is_none(), status == "204", "{what}: {status} without a body, or with one");
            for (kind, content) in content.into_iter().flatten() {
                assert!(content["schema"].is_object(), "{what}: {status} has no schema");
                let own = !what.contains("/api/") && status == "503";
                let expected = if status.as_str() < "400" || own { "application/json" } else { "application/problem+json" };
                assert_eq!(kind, expected, "{what}: {status}");
            }
            assert!(response["headers"]["x-request-id"].is_object(), "{what}: {status}");
        }
    }
    assert!(names.len() > 30);
}

#[test]
fn every_reference_and_every_link_leads_somewhere() {
    let document = document(None);
    let names: BTreeSet<_> = operations(&document).into_iter().filter_map(|(_, o)| o["operationId"].as_str()).collect();
    let mut seen = 0;
    each(&document, &mut |value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let place = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(place).is_some_and(Value::is_object), "{reference}");
        }
        for link in value.get("links").and_then(Value::as_object).into_iter().flat_map(serde_json::Map::values) {
            assert!(names.contains(link["operationId"].as_str().unwrap()), "{link}");
            seen += 1;
        }
    });
    assert!(seen > 15, "{seen}");
    // A response that a link hangs on is one that is documented.
    for (what, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(response["description"].is_string(), "{what}: {status}");
        }
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    regex::Regex::new(pattern).unwrap().is_match(text)
}

#[test]
fn patterns_say_what_the_core_takes() {
    let lead = |field: &str, text: &str| {
        let body = json!({"ttclid": "t", field: text}).to_string();
        parse_leads(body.as_bytes(), 1, NOW).is_ok()
    };
    let hash = "aB".repeat(32);
    for (field, pattern, texts) in [
        (
            "email",
            is::EMAIL_OR_BLANK,
            &["", " ", "a@b.c", " ä@b.c-d\n", "a@b", "a@@b.c", "a b@c.d", "a@b..c", "a@.b", "(a)@b.c", "a\u{0}@b.c", &hash][..],
        ),
        (
            "phone",
            is::PHONE_OR_BLANK,
            &[
                "",
                "\u{a0}",
                "+49 151 23456789",
                "0049/151-2345",
                "+1 (800) 555–0100",
                "+123456",
                "+1234567890123456",
                "+0491512345",
                "0151 234567",
                "+49\t1512345",
                &hash,
            ],
        ),
        ("gclid", is::CLICK, &["", "x", "a%2F=", "ü", "a b", " a", "<a", "a'", "\"", "a\u{85}"]),
        ("fbc", is::META, &["", "fb.1.1795000000000.IwAR_x-1", "fb.1.1.a.b", "fb.1.x.1", "fb.111.1.a", "fb.1.1.", "IwAR"]),
        (
            "landing_page",
            is::PAGE,
            &["", " https://example.com?x=1 ", "HTTP://x", "https://", "https://?x", "ftp://x", "https://a b", "https://a\u{1}"],
        ),
        ("company", is::TEXT, &["", "\n x y\t", "a\nb", "a\u{7f}", "\u{85}", "\u{1c}"]),
        ("occurred_at", "Z$", &["2026-11-18T14:05:00Z", "yesterday"]),
    ] {
        for text in texts {
            assert_eq!(matches(pattern, text), lead(field, text), "{field}: {text:?}");
        }
    }
    let priced = |value: &str| parse_patch(json!({"value": value, "currency": "EUR"}).to_string().as_bytes()).is_ok();
    for value in [
        "0",
        "120.00",
        "123456789012345",
        "1234567890123456",
        "123456789.123456",
        "1234567890.123456",
        "1.1234567",
        ".5",
        "5.",
        "-1",
        "1e3",
        "",
        " 1",
    ] {
        assert_eq!(matches(is::DECIMAL, value), priced(value), "{value:?}");
    }
    let rule = |action: &str| parse_rule(json!({"on": "lead.won", "action": action}).to_string().as_bytes()).is_ok();
    for action in ["Sale", " Sale\n", "", " ", "\u{a0}", "a\u{0}", "\u{2003}x y"] {
        assert_eq!(matches(is::SAID, action), rule(action), "{action:?}");
    }
    let proof = |tcf: &str| parse_leads(json!({"ttclid": "t", "consent": {"tcf": tcf}}).to_string().as_bytes(), 1, NOW).is_ok();
    for tcf in ["", " CPx.a ", "C", "BPx", "CPx.", "C.a.b.c", "C.a.b.c.d", "C+"] {
        assert_eq!(matches(is::TCF, tcf), proof(tcf), "{tcf:?}");
    }
}

#[test]
fn ids_that_are_given_out_fit_their_patterns() {
    for number in [0, 1, 1 << 40, i64::MAX] {
        for (pattern, id) in [
            (is::LEAD, LeadId(number).to_string()),
            (is::LEAD_OR_NONE, LeadId(number).to_string()),
            (is::CHANGE, ChangeId(number).to_string()),
            (is::CONVERSION, ConversionId(number).to_string()),
            (is::DELIVERY, DeliveryId(number).to_string()),
            (is::REPLAY, ReplayId(number).to_string()),
        ] {
            assert!(matches(pattern, &id), "{id}");
        }
    }
    assert!("lead_8000000000000".parse::<LeadId>().is_err() && !matches(is::LEAD, "lead_8000000000000"));
}
