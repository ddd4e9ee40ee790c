//! What `requestStatus:retrieve` says of an earlier request, row by row where it can be told.
//!
//! Counts come as text or numbers, and `recordIndices` (v1.9) in an unpublished JSON type and spelling, so every form is taken.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    answer::Reply,
    codes::{self, Class, short},
    failure::Failure,
};
use crate::{
    destination::{Answer, Verdict},
    outcome::{Outcome, Why},
};

/// Judges the status of a request that had `rows` rows.
pub(super) fn judge(reply: &Reply, rows: usize) -> Verdict {
    if (200..=299).contains(&reply.status) {
        return read(&reply.body, rows);
    }
    let Some(failure) = Failure::parse(&reply.body) else {
        return not_yet("STATUS_UNAVAILABLE", &format!("HTTP {} without Google's JSON", reply.status));
    };
    let why = failure
        .violations
        .iter()
        .find(|v| codes::known_class(&v.reason) == Some(Class::Gone))
        .map_or_else(|| failure.why("STATUS_UNAVAILABLE"), |violation| Why::new(&violation.reason, &violation.description));
    let gone = reply.status == 404 || codes::known_class(&why.code) == Some(Class::Gone);
    if gone { Verdict::Gone(why) } else { Verdict::NotYet(Some(why)) }
}

fn not_yet(code: &str, detail: &str) -> Verdict {
    Verdict::NotYet(Some(Why::new(code, detail)))
}

/// Our requests have one destination, so one status.
fn read(body: &[u8], rows: usize) -> Verdict {
    let json: Value = match serde_json::from_slice(body) {
        Ok(json) => json,
        Err(_) => return not_yet("UNREADABLE_ANSWER", "HTTP 200 with a status that is not JSON"),
    };
    let Some(status) = field(&json, "requestStatusPerDestination", "request_status_per_destination").and_then(|list| list.get(0)) else {
        return not_yet("UNREADABLE_ANSWER", "HTTP 200 with a status of no destination");
    };
    match field(status, "requestStatus", "request_status").and_then(Value::as_str) {
        Some("SUCCESS") => Verdict::Final(Answer { warnings: warnings(status), ..Answer::all(Outcome::Accepted) }),
        Some("FAILED" | "FAILURE") => failed(&errors(status), rows, true),
        Some("PARTIAL_SUCCESS") => failed(&errors(status), rows, false),
        Some("PROCESSING" | "REQUEST_STATUS_UNKNOWN") | None => Verdict::NotYet(None),
        Some(other) => not_yet("STATUS_UNKNOWN", &format!("the request status is `{other}`, which this program does not know")),
    }
}

fn field<'a>(json: &'a Value, camel: &str, snake: &str) -> Option<&'a Value> {
    json.get(camel).or_else(|| json.get(snake))
}

/// Rows that failed for one reason.
struct Failed {
    count: u64,
    outcome: Outcome,
    /// Empty where the platform does not say which.
    rows: Vec<usize>,
}

fn errors(status: &Value) -> Vec<Failed> {
    let info = field(status, "errorInfo", "error_info");
    let counts = info.and_then(|info| field(info, "errorCounts", "error_counts"));
    counts.and_then(Value::as_array).into_iter().flatten().map(error).collect()
}

fn error(json: &Value) -> Failed {
    let code = json.get("reason").and_then(Value::as_str).unwrap_or("PROCESSING_ERROR_REASON_UNSPECIFIED");
    let indices = field(json, "recordIndices", "record_indices").and_then(Value::as_array);
    let mut rows: Vec<usize> = indices.into_iter().flatten().filter_map(number).filter_map(|n| usize::try_from(n).ok()).collect();
    rows.sort_unstable();
    rows.dedup();
    let count = field(json, "recordCount", "record_count").and_then(number).unwrap_or(rows.len() as u64);
    let outcome = codes::class(code).outcome(Why::new(short(code), &format!("Google's verdict after processing: {code}")));
    Failed { count, outcome, rows }
}

/// 64-bit numbers are text in protobuf's JSON.
fn number(json: &Value) -> Option<u64> {
    json.as_u64().or_else(|| json.as_str()?.parse().ok())
}

fn warnings(status: &Value) -> Vec<String> {
    let counts = field(status, "warningInfo", "warning_info").and_then(|info| field(info, "warningCounts", "warning_counts"));
    let all = counts.and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|w| {
        Some(format!("{} on {} rows", w.get("reason")?.as_str()?, field(w, "recordCount", "record_count").and_then(number)?))
    })
    .collect()
}

/// `everything`: the status says that no row succeeded.
fn failed(errors: &[Failed], rows: usize, everything: bool) -> Verdict {
    let located: BTreeMap<usize, &Outcome> =
        errors.iter().flat_map(|e| e.rows.iter().filter(|row| **row < rows).map(move |row| (*row, &e.outcome))).collect();
    let unlocated: Vec<&Failed> =
        errors.iter().filter(|e| e.count != e.rows.len() as u64 || e.rows.iter().any(|row| *row >= rows)).collect();
    let rest = rows.saturating_sub(located.len());
    let default = match unlocated.as_slice() {
        [] if !everything => (!errors.is_empty()).then_some(Outcome::Accepted),
        [] if rest == 0 => Some(Outcome::Accepted),
        [] => Some(Outcome::Unclear(Why::new("UNSPECIFIED", "Google's verdict is that the request failed, without a reason for this row"))),
        [only] if only.rows.is_empty() && (everything || only.count >= rest as u64) => Some(only.outcome.clone()),
        _ => None,
    };
    match default {
        Some(default) => {
            let rows = located.into_iter().map(|(row, outcome)| (row, outcome.clone())).collect();
            Verdict::Final(Answer { rows, ..Answer::all(default) })
        }
        None => Verdict::Partly { counts: errors.iter().map(|e| (e.count, e.outcome.clone())).collect() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, retry_after: None, body: body.into() }
    }

    fn verdict(status: &str, errors: &str, rows: usize) -> Verdict {
        let info = if errors.is_empty() { String::new() } else { format!(r#","errorInfo":{{"errorCounts":[{errors}]}}"#) };
        judge(&reply(200, &format!(r#"{{"requestStatusPerDestination":[{{"requestStatus":"{status}"{info}}}]}}"#)), rows)
    }

    fn answer(verdict: Verdict) -> Answer {
        match verdict {
            Verdict::Final(answer) => answer,
            other => panic!("not final: {other:?}"),
        }
    }

    const GCLID: &str = r#"{"recordCount":"1","reason":"PROCESSING_ERROR_REASON_INVALID_GCLID"}"#;

    fn is_gclid(outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Rejected(why) if why.code.as_ref() == "INVALID_GCLID")
    }

    #[test]
    fn success_is_final_and_processing_is_not() {
        assert_eq!(answer(verdict("SUCCESS", "", 3)).default, Outcome::Accepted);
        assert!(matches!(verdict("PROCESSING", "", 3), Verdict::NotYet(None)));
        assert!(matches!(verdict("SOMETHING_NEW", "", 3), Verdict::NotYet(Some(_))));
    }

    #[test]
    fn rows_are_located_by_indices_of_any_json_type_and_spelling() {
        for indices in [r#""recordIndices":[1]"#, r#""recordIndices":["1"]"#, r#""record_indices":[1,1]"#] {
            let error = format!(r#"{{"recordCount":1,"reason":"PROCESSING_ERROR_REASON_INVALID_GCLID",{indices}}}"#);
            let answer = answer(verdict("PARTIAL_SUCCESS", &error, 3));
            assert_eq!((answer.default, answer.rows.len(), answer.rows[0].0), (Outcome::Accepted, 1, 1));
            assert!(is_gclid(&answer.rows[0].1));
        }
    }

    #[test]
    fn without_indices_one_reason_for_all_rows_is_still_a_verdict() {
        assert!(is_gclid(&answer(verdict("FAILED", GCLID, 1)).default));
        assert!(is_gclid(&answer(verdict("FAILURE", GCLID, 5)).default));
        assert!(is_gclid(&answer(verdict("PARTIAL_SUCCESS", GCLID, 1)).default));
    }

    #[test]
    fn without_indices_a_part_that_failed_is_only_counted() {
        let Verdict::Partly { counts } = verdict("PARTIAL_SUCCESS", GCLID, 5) else { panic!("must be partly") };
        assert!(counts.len() == 1 && counts[0].0 == 1 && is_gclid(&counts[0].1));
        assert!(matches!(verdict("PARTIAL_SUCCESS", "", 5), Verdict::Partly { counts } if counts.is_empty()));
        let two = format!(r#"{GCLID},{{"recordCount":"1","reason":"PROCESSING_ERROR_REASON_NO_CONSENT"}}"#);
        assert!(matches!(verdict("FAILED", &two, 2), Verdict::Partly { counts } if counts.len() == 2));
    }

    #[test]
    fn the_one_reason_without_indices_is_for_the_rows_that_the_others_leave() {
        let located = r#"{"recordCount":"1","reason":"PROCESSING_ERROR_REASON_NO_CONSENT","recordIndices":[0]}"#;
        let answer = answer(verdict("FAILED", &format!("{located},{GCLID}"), 2));
        assert!(is_gclid(&answer.default));
        assert_eq!(answer.rows.len(), 1);
    }

    #[test]
    fn indices_that_do_not_add_up_locate_nothing() {
        for indices in ["[0]", "[7,8]"] {
            let error = format!(r#"{{"recordCount":"2","reason":"PROCESSING_ERROR_REASON_INVALID_GCLID","recordIndices":{indices}}}"#);
            assert!(matches!(verdict("PARTIAL_SUCCESS", &error, 3), Verdict::Partly { .. }), "{indices}");
        }
    }

    #[test]
    fn a_failure_without_any_reason_is_unclear() {
        assert!(matches!(answer(verdict("FAILED", "", 2)).default, Outcome::Unclear(_)));
        let strange = r#"{"recordCount":"2"}"#;
        assert!(matches!(answer(verdict("FAILED", strange, 2)).default, Outcome::Unclear(_)));
    }

    #[test]
    fn a_request_that_google_does_not_know_is_gone_and_other_failures_are_asked_again() {
        let violation = r#"{"error":{"status":"INVALID_ARGUMENT","details":[{"fieldViolations":[{"field":"request_id","reason":"REQUEST_TOO_OLD"}]}]}}"#;
        assert!(matches!(judge(&reply(400, violation), 1), Verdict::Gone(why) if why.code.as_ref() == "REQUEST_TOO_OLD"));
        let info = r#"{"error":{"details":[{"reason":"INVALID_REQUEST_ID"}]}}"#;
        assert!(matches!(judge(&reply(400, info), 1), Verdict::Gone(_)));
        assert!(matches!(judge(&reply(404, r#"{"error":{"status":"NOT_FOUND"}}"#), 1), Verdict::Gone(_)));
        for (status, body) in
            [(404, "<html>"), (503, "{}"), (429, r#"{"error":{"status":"RESOURCE_EXHAUSTED"}}"#), (200, "garbage"), (200, "{}")]
        {
            assert!(matches!(judge(&reply(status, body), 1), Verdict::NotYet(Some(_))), "{status} {body}");
        }
    }

    #[test]
    fn warnings_are_passed_on() {
        let body = r#"{"requestStatusPerDestination":[{"requestStatus":"SUCCESS","warningInfo":{"warningCounts":[{"recordCount":"2","reason":"W"}]}}]}"#;
        assert_eq!(answer(judge(&reply(200, body), 2)).warnings, ["W on 2 rows"]);
    }
}
