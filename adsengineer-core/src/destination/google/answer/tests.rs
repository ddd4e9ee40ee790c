//! The real shapes of Google's answers, and everything else that can come out of a connection.

use super::*;

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, retry_after: None, body: body.into() }
}

fn error(status: &str, details: &str) -> String {
    format!(r#"{{"error":{{"code":400,"message":"m","status":"{status}","details":[{details}]}}}}"#)
}

fn violations(list: &str) -> String {
    let info = r#"{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"INVALID_ARGUMENT","domain":"datamanager.googleapis.com"}"#;
    error("INVALID_ARGUMENT", &format!(r#"{info},{{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{list}]}}"#))
}

fn violation(field: &str, reason: &str) -> String {
    format!(r#"{{"field":"{field}","description":"d","reason":"{reason}"}}"#)
}

fn code(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Duplicate(why) | Outcome::Rejected(why) | Outcome::Unclear(why) | Outcome::Unknown(why) | Outcome::Unlocated(why) => {
            why.code.to_string()
        }
        Outcome::Retry { why, .. } | Outcome::Later { why, .. } | Outcome::Hold(_, why) => why.code.to_string(),
        Outcome::Accepted | Outcome::Pending => String::new(),
    }
}

fn scope(outcome: &Outcome) -> Option<HoldScope> {
    if let Outcome::Hold(scope, _) = outcome { Some(*scope) } else { None }
}

#[test]
fn an_accepted_request_is_pending_with_its_id_and_warnings() {
    let answer = judge(&reply(200, r#"{"requestId":"t-1","fieldWarnings":[{"reason":"R","description":"D","field":"events[0].x"}]}"#), 2);
    assert_eq!((answer.default, answer.request_id.as_deref(), answer.healthy), (Outcome::Pending, Some("t-1"), true));
    assert_eq!(answer.warnings, ["R at events[0].x: D"]);
}

#[test]
fn an_accepted_request_whose_answer_makes_no_sense_is_unknown_never_lost() {
    for body in ["", "garbage", "<html></html>", "{}", r#"{"requestId":""}"#, r#"{"requestId":7}"#, "[]", r#"{"requestId":"t-1""#] {
        let answer = judge(&reply(200, body), 2);
        assert!(matches!(answer.default, Outcome::Unknown(_)), "{body}");
        assert!(!answer.healthy);
    }
}

#[test]
fn a_bad_row_is_cut_out_and_its_neighbours_go_again_at_once() {
    let list =
        [violation("events.events[1].user_data", "INVALID_HEX_ENCODING"), violation("events[3].event_timestamp", "EVENT_TIME_INVALID")];
    let answer = judge(&reply(400, &violations(&list.join(","))), 5);
    let rows: Vec<_> = answer.rows.iter().map(|(row, outcome)| (*row, code(outcome), matches!(outcome, Outcome::Rejected(_)))).collect();
    assert_eq!(rows, [(1, "INVALID_HEX_ENCODING".into(), true), (3, "EVENT_TIME_INVALID".into(), true)]);
    assert!(matches!(answer.default, Outcome::Retry { after: Some(Duration::ZERO), counts: false, .. }));
    assert!(answer.healthy);
}

#[test]
fn several_faults_of_a_row_keep_the_first_reason_and_mention_the_others() {
    let list = [violation("events[0].a", "INVALID_FORMAT"), violation("events[0].b", "FIELD_VALUE_TOO_LONG")];
    let answer = judge(&reply(400, &violations(&list.join(","))), 2);
    let Outcome::Rejected(why) = &answer.rows[0].1 else { panic!("{answer:?}") };
    assert_eq!((why.code.as_ref(), why.detail.as_ref()), ("INVALID_FORMAT", "events[0].a: d; also FIELD_VALUE_TOO_LONG at events[0].b"));
}

#[test]
fn an_unknown_code_of_a_row_holds_it_for_review_with_the_platforms_text() {
    let answer = judge(&reply(400, &violations(&violation("events[0].a", "BRAND_NEW"))), 2);
    let Outcome::Hold(HoldScope::Row, why) = &answer.rows[0].1 else { panic!("{answer:?}") };
    assert_eq!((why.code.as_ref(), why.detail.as_ref()), ("BRAND_NEW", "events[0].a: d"));
}

#[test]
fn a_fault_outside_the_rows_is_one_of_the_configuration_or_is_searched() {
    let whole = |field: &str, reason: &str, rows| judge(&reply(400, &violations(&violation(field, reason))), rows).default;
    assert_eq!(scope(&whole("destinations[0].product_destination_id", "INVALID_CONVERSION_ACTION_ID", 5)), Some(HoldScope::Action));
    assert_eq!(scope(&whole("destinations[0].operating_account", "REQUIRED_FIELD_MISSING", 5)), Some(HoldScope::Destination));
    assert_eq!(scope(&whole("", "NOT_ALLOWLISTED", 5)), Some(HoldScope::Destination));
    assert!(matches!(whole("destinations[0]", "CONVERSION_ACTION_TOO_RECENTLY_CREATED", 5), Outcome::Later { .. }));
    assert!(matches!(whole("events", "TOO_MANY_EVENTS", 5), Outcome::Unlocated(_)));
    assert!(matches!(whole("", "INVALID_EVENT", 1), Outcome::Rejected(_)));
    assert!(matches!(whole("events[9].x", "INVALID_EVENT", 5), Outcome::Unlocated(_)), "a row that was not in the request");
    assert!(matches!(judge(&reply(400, &violations("")), 5).default, Outcome::Unlocated(_)));
    assert!(matches!(judge(&reply(400, &violations("")), 1).default, Outcome::Rejected(_)));
}

#[test]
fn a_configuration_fault_beside_bad_rows_holds_the_others() {
    let list = [violation("events[0].a", "INVALID_FORMAT"), violation("destinations[0]", "INVALID_DESTINATION")];
    let answer = judge(&reply(400, &violations(&list.join(","))), 3);
    assert_eq!((scope(&answer.default), answer.rows.len()), (Some(HoldScope::Destination), 1));
}

#[test]
fn quota_pauses_for_as_long_as_google_says_up_to_an_hour_and_burns_no_attempt() {
    let info = |delay: &str| error("RESOURCE_EXHAUSTED", &format!(r#"{{"retryDelay":"{delay}"}}"#));
    for (body, header, pause) in [
        (info("30s"), None, 30),
        (info("2.500s"), Some(9), 2),
        (info("99999s"), None, 3600),
        (error("RESOURCE_EXHAUSTED", ""), Some(9), 9),
        (error("RESOURCE_EXHAUSTED", ""), None, 60),
        ("<html>".to_owned(), None, 60),
    ] {
        let answer = judge(&Reply { status: 429, retry_after: header.map(Duration::from_secs), body: body.clone().into() }, 2);
        assert_eq!(answer.pause.map(|p| p.as_secs()), Some(pause), "{body}");
        assert!(matches!(answer.default, Outcome::Retry { counts: false, .. }) && answer.healthy);
    }
}

#[test]
fn refusals_of_the_whole_request_hold_what_a_human_must_put_right() {
    use HoldScope::{Credentials, Destination};
    let reason = |reason: &str| error("PERMISSION_DENIED", &format!(r#"{{"reason":"{reason}"}}"#));
    for (status, body, expected, expected_code) in [
        (401, error("UNAUTHENTICATED", ""), Credentials, "UNAUTHENTICATED"),
        (401, "<html>".to_owned(), Credentials, "UNAUTHENTICATED"),
        (403, reason("SERVICE_DISABLED"), Destination, "SERVICE_DISABLED"),
        (403, reason("ACCESS_TOKEN_SCOPE_INSUFFICIENT"), Credentials, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
        (403, reason("BRAND_NEW"), Destination, "BRAND_NEW"),
        (403, error("PERMISSION_DENIED", ""), Destination, "PERMISSION_DENIED"),
        (403, "<html>".to_owned(), Destination, "NOT_GOOGLE"),
        (404, error("NOT_FOUND", ""), Destination, "NOT_FOUND"),
        (404, "<html>Not found</html>".to_owned(), Destination, "ENDPOINT_NOT_FOUND"),
        (302, String::new(), Destination, "REDIRECTED"),
        (400, "<html>".to_owned(), Destination, "NOT_GOOGLE"),
        (405, String::new(), Destination, "METHOD_NOT_ALLOWED"),
        (418, "teapot".to_owned(), Destination, "NOT_GOOGLE"),
    ] {
        let outcome = judge(&reply(status, &body), 2).default;
        assert_eq!((scope(&outcome), code(&outcome).as_str()), (Some(expected), expected_code), "{status} {body}");
    }
    assert!(judge(&reply(403, &reason("RATE_LIMIT_EXCEEDED")), 2).pause.is_some());
}

#[test]
fn trouble_at_the_platform_is_retried_and_counts_against_its_health() {
    let unavailable = judge(&reply(503, &error("UNAVAILABLE", "")), 2);
    assert!(matches!(unavailable.default, Outcome::Retry { counts: true, .. }) && !unavailable.healthy);
    for (status, body) in
        [(500, error("INTERNAL", "")), (502, "<html>".to_owned()), (504, String::new()), (408, String::new()), (599, String::new())]
    {
        let answer = judge(&reply(status, &body), 2);
        assert!(matches!(answer.default, Outcome::Unknown(_)) && !answer.healthy, "{status}");
    }
}

#[test]
fn a_request_that_is_too_large_is_split() {
    assert!(matches!(judge(&reply(413, ""), 2).default, Outcome::Unlocated(_)));
}

#[test]
fn every_code_that_a_judgement_here_invents_has_a_next_action() {
    for code in
        ["NEIGHBOUR_REFUSED", "REQUEST_TOO_LARGE", "UNREADABLE_ANSWER", "ANSWER_WITHOUT_REQUEST_ID", "PLATFORM_UNAVAILABLE", "NOT_GOOGLE"]
    {
        assert!(codes::known_class(code).is_some(), "{code}");
    }
}
