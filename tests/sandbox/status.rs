//! Verdicts that come later, and what is counted.

use adsengineer_server::sandbox::{RecordIndices, SandboxOptions};
use serde_json::{Value, json};

use crate::client::{ACCOUNT, ACTION, Caller, HASH, event, request, request_of};

#[tokio::test]
async fn a_valid_request_is_counted_and_confirmed() {
    let caller = Caller::new().await;
    let id = caller.take(&request_of(3)).await;
    let verdict = caller.verdict(&id).await;
    assert_eq!(verdict["requestStatus"], "SUCCESS");
    assert_eq!(verdict["eventsIngestionStatus"]["recordCount"], "3");
    assert_eq!(verdict["destination"]["productDestinationId"], ACTION);
    assert!(verdict.get("errorInfo").is_none());
    let conversions = caller.sandbox.accepted();
    let first = &conversions[0];
    assert_eq!((first.account.as_str(), first.action.as_str(), first.transaction_id.as_str()), (ACCOUNT, ACTION, "order-0"));
    assert_eq!((first.currency.as_deref(), first.click_id.as_deref()), (Some("EUR"), Some("Cj0KCQ-0")));
    assert_eq!((first.event_timestamp.as_str(), first.times_received), ("2026-01-02T03:04:05Z", 1));
    assert_eq!(caller.sandbox.counters().polls, 1);
    caller.assert_sums_close();
}

#[tokio::test]
async fn a_value_is_kept_to_the_letter() {
    let caller = Caller::new().await;
    let mut text = request_of(1).to_string();
    text = text.replace("12.5", "1234567890123456.70");
    assert_eq!(caller.ingest_text(text).await.0, 200);
    assert_eq!(caller.sandbox.accepted()[0].value.as_deref(), Some("1234567890123456.70"));
}

#[tokio::test]
async fn some_failed_events_make_a_partial_success_with_their_places() {
    let caller = Caller::new().await;
    let mut events: Vec<_> = (0..5).map(event).collect();
    events[1]["consent"] = json!({ "adUserData": "CONSENT_DENIED" });
    events[3]["adIdentifiers"]["gclid"] = json!("sandbox-INVALID_GCLID-1");
    let verdict = caller.verdict(&caller.take(&request(&events)).await).await;
    assert_eq!(verdict["requestStatus"], "PARTIAL_SUCCESS");
    let counts = json!([
        { "recordCount": "1", "reason": "PROCESSING_ERROR_REASON_DENIED_CONSENT", "recordIndices": [1] },
        { "recordCount": "1", "reason": "PROCESSING_ERROR_REASON_INVALID_GCLID", "recordIndices": [3] },
    ]);
    assert_eq!(verdict["errorInfo"]["errorCounts"], counts);
    assert_eq!(caller.sandbox.counters().events_failed, 2);
    caller.assert_sums_close();
}

#[tokio::test]
async fn nothing_is_counted_without_consent() {
    let caller = Caller::with(SandboxOptions { record_indices: RecordIndices::Absent, ..SandboxOptions::default() }).await;
    let mut silent = request_of(2);
    silent.as_object_mut().unwrap().remove("consent");
    let verdict = caller.verdict(&caller.take(&silent).await).await;
    assert_eq!(verdict["requestStatus"], "FAILED");
    assert_eq!(verdict["errorInfo"]["errorCounts"], json!([{ "recordCount": "2", "reason": "PROCESSING_ERROR_REASON_NO_CONSENT" }]));
    assert!(caller.sandbox.accepted().is_empty());
    caller.assert_sums_close();
}

#[tokio::test]
async fn a_status_is_processing_for_as_many_polls_as_asked() {
    let caller = Caller::with(SandboxOptions { polls_before_final: 2, ..SandboxOptions::default() }).await;
    let id = caller.take(&request_of(1)).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(caller.verdict(&id).await["requestStatus"].take());
    }
    assert_eq!(seen, ["PROCESSING", "PROCESSING", "SUCCESS"]);
}

#[tokio::test]
async fn a_request_id_that_was_never_given_out_is_refused() {
    let caller = Caller::new().await;
    let (status, answer) = caller.poll("t-unknown").await;
    assert_eq!((status, &answer["error"]["details"][2]["fieldViolations"][0]["reason"]), (400, &json!("INVALID_REQUEST_ID")));
}

#[tokio::test]
async fn validation_alone_stores_nothing_and_has_no_status() {
    let caller = Caller::new().await;
    let mut only = request_of(2);
    only["validateOnly"] = json!(true);
    let id = caller.take(&only).await;
    assert_eq!(caller.poll(&id).await.0, 400);
    assert_eq!(caller.sandbox.counters().events_validated, 2);
    assert!(caller.sandbox.accepted().is_empty());
    only["events"][0]["currency"] = json!("euro");
    assert_eq!(caller.ingest(&only).await.0, 400);
    caller.assert_sums_close();
}

#[tokio::test]
async fn a_repeat_is_one_conversion_and_another_value_overwrites_it() {
    let caller = Caller::new().await;
    caller.take(&request_of(2)).await;
    caller.take(&request_of(2)).await;
    let mut restated = event(0);
    restated["conversionValue"] = json!(7);
    restated["adIdentifiers"]["gclid"] = json!("another");
    caller.take(&request(&[restated])).await;
    let counters = caller.sandbox.counters();
    assert_eq!((counters.conversions, counters.repeated, counters.repeated_changed, counters.overwritten), (2, 2, 0, 1));
    let kept = &caller.sandbox.accepted()[0];
    assert_eq!((kept.value.as_deref(), kept.click_id.as_deref(), kept.times_received), (Some("7"), Some("Cj0KCQ-0"), 3));
    caller.assert_sums_close();
}

#[tokio::test]
async fn repeats_can_be_answered_as_duplicates() {
    let caller = Caller::with(SandboxOptions { answer_duplicates: true, ..SandboxOptions::default() }).await;
    let first = caller.take(&request_of(1)).await;
    let again = caller.take(&request_of(1)).await;
    assert_eq!(caller.verdict(&first).await["requestStatus"], "SUCCESS");
    let verdict = caller.verdict(&again).await;
    assert_eq!(verdict["errorInfo"]["errorCounts"][0]["reason"], "PROCESSING_ERROR_REASON_DUPLICATE_TRANSACTION_ID");
    caller.assert_sums_close();
}

#[tokio::test]
async fn events_go_to_the_destinations_that_they_name() {
    let caller = Caller::new().await;
    let mut both = request_of(2);
    let mut second = both["destinations"][0].clone();
    second["productDestinationId"] = json!("2");
    second["reference"] = json!("b");
    both["destinations"].as_array_mut().unwrap().push(second);
    both["events"][1]["destinationReferences"] = json!(["b"]);
    let (_, answer) = caller.poll(&caller.take(&both).await).await;
    let counts: Vec<Value> =
        (0..2).map(|at| answer["requestStatusPerDestination"][at]["eventsIngestionStatus"]["recordCount"].clone()).collect();
    assert_eq!(counts, ["1", "2"]);
    caller.assert_sums_close();
}

#[tokio::test]
async fn hashes_are_shown_as_they_came() {
    let caller = Caller::new().await;
    let mut with_user = event(0);
    with_user.as_object_mut().unwrap().remove("adIdentifiers");
    with_user["userData"] = json!({ "userIdentifiers": [{ "emailAddress": HASH }] });
    caller.take(&request(&[with_user])).await;
    assert_eq!(caller.sandbox.accepted()[0].identifiers, [HASH]);
}

#[tokio::test]
async fn quick_mode_counts_and_confirms_without_judging() {
    let caller = Caller::with(SandboxOptions { quick: true, ..SandboxOptions::default() }).await;
    let id = caller.take(&request(&[json!({ "anything": 1 }), json!({})])).await;
    assert_eq!(caller.verdict(&id).await["eventsIngestionStatus"]["recordCount"], "2");
    assert_eq!(caller.sandbox.counters().events_accepted, 2);
    assert!(caller.sandbox.accepted().is_empty());
    assert_eq!(caller.ingest_text("{".into()).await.0, 400);
}
