//! Requests that are refused as a whole: the reason, the place, and that nothing was counted.

use adsengineer_server::sandbox::SandboxOptions;
use serde_json::{Value, json};

use crate::client::{ACCOUNT, ACTION, Caller, HASH, event, request, request_of, spoil};

/// The violations as (field, reason), of a request that must be refused.
async fn refused(caller: &Caller, body: &Value) -> Vec<(String, String)> {
    let (status, answer) = caller.ingest(body).await;
    let error = &answer["error"];
    assert_eq!((status, &error["code"], &error["status"]), (400, &json!(400), &json!("INVALID_ARGUMENT")), "{answer}");
    assert_eq!(error["details"][0]["domain"], "datamanager.googleapis.com");
    assert_eq!(error["details"][1]["requestId"], error["details"][0]["metadata"]["requestId"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let violations = error["details"][2]["fieldViolations"].as_array().unwrap();
    violations.iter().map(|it| (text(&it["field"]), text(&it["reason"]))).collect()
}

#[tokio::test]
async fn each_broken_rule_is_named_with_its_place() {
    let caller = Caller::new().await;
    let identifier = |value: Value| json!({ "userIdentifiers": [value] });
    let cases = [
        ("/events/1/transactionId", Value::Null, "events.events[1].transaction_id", "REQUIRED_FIELD_MISSING"),
        ("/events/1/transactionId", json!(""), "events.events[1].transaction_id", "REQUIRED_FIELD_MISSING"),
        ("/events/1/eventTimestamp", Value::Null, "events.events[1].event_timestamp", "REQUIRED_FIELD_MISSING"),
        ("/events/1/eventTimestamp", json!("2026-01-02 03:04:05+00:00"), "events.events[1].event_timestamp", "INVALID_FORMAT"),
        ("/events/1/eventTimestamp", json!("2199-01-02T03:04:05Z"), "events.events[1].event_timestamp", "EVENT_TIME_INVALID"),
        ("/events/1/lastUpdatedTimestamp", json!("x"), "events.events[1].last_updated_timestamp", "INVALID_FORMAT"),
        ("/events/1/eventSource", Value::Null, "events.events[1].event_source", "REQUIRED_FIELD_MISSING"),
        ("/events/1/currency", json!("EURO"), "events.events[1].currency", "INVALID_CURRENCY_CODE"),
        ("/events/1/conversionValue", json!("NaN"), "events.events[1].conversion_value", "INVALID_NUMBER_FORMAT"),
        ("/events/1/conversionCount", json!("0"), "events.events[1].conversion_count", "INVALID_NUMBER_FORMAT"),
        ("/events/1/adIdentifiers", Value::Null, "events.events[1]", "NO_IDENTIFIERS_PROVIDED"),
        ("/events/1/adIdentifiers", json!({ "gclid": "" }), "events.events[1]", "NO_IDENTIFIERS_PROVIDED"),
        ("/events/1/destinationReferences", json!(["x"]), "events.events[1].destination_references", "INVALID_DESTINATION"),
        ("/events/1/customVariables", json!([{ "value": "x" }]), "events.events[1].custom_variables[0]", "REQUIRED_FIELD_MISSING"),
        ("/events/1/userData", json!({}), "events.events[1].user_data.user_identifiers", "REQUIRED_FIELD_MISSING"),
        ("/events/1/userData", identifier(json!({})), "events.events[1].user_data.user_identifiers[0]", "INVALID_FORMAT"),
        (
            "/events/1/userData",
            identifier(json!({ "emailAddress": "a@example.com" })),
            "events.events[1].user_data.user_identifiers[0]",
            "INVALID_HEX_ENCODING",
        ),
        (
            "/events/1/userData",
            identifier(json!({ "phoneNumber": &HASH[2..] })),
            "events.events[1].user_data.user_identifiers[0]",
            "INVALID_SHA256_FORMAT",
        ),
        (
            "/events/1/userData",
            identifier(json!({ "address": { "givenName": HASH, "familyName": HASH, "regionCode": "DE" } })),
            "events.events[1].user_data.user_identifiers[0]",
            "REQUIRED_FIELD_MISSING",
        ),
        (
            "/events/1/userData",
            json!({ "userIdentifiers": vec![json!({ "emailAddress": HASH }); 11] }),
            "events.events[1].user_data.user_identifiers",
            "TOO_MANY_USER_IDENTIFIERS",
        ),
        ("/destinations/0/operatingAccount", Value::Null, "destinations[0].operating_account", "REQUIRED_FIELD_MISSING"),
        (
            "/destinations/0/operatingAccount/accountId",
            json!("123-456-7890"),
            "destinations[0].operating_account.account_id",
            "INVALID_FORMAT",
        ),
        (
            "/destinations/0/operatingAccount/accountType",
            Value::Null,
            "destinations[0].operating_account.account_type",
            "REQUIRED_FIELD_MISSING",
        ),
        (
            "/destinations/0/operatingAccount/accountType",
            json!("DATA_PARTNER"),
            "destinations[0].operating_account.account_type",
            "INVALID_DESTINATION",
        ),
        (
            "/destinations/0/loginAccount",
            json!({ "accountType": "GOOGLE_ADS", "accountId": "1" }),
            "destinations[0].login_account.account_id",
            "INVALID_FORMAT",
        ),
        ("/destinations/0/productDestinationId", Value::Null, "destinations[0].product_destination_id", "REQUIRED_FIELD_MISSING"),
        (
            "/destinations/0/productDestinationId",
            json!("customers/1/conversionActions/2"),
            "destinations[0].product_destination_id",
            "INVALID_FORMAT",
        ),
        ("/encryptionInfo", json!({}), "encryption_info", "INVALID_ARGUMENT"),
    ];
    let count = cases.len() as u64;
    for (pointer, value, field, reason) in cases {
        let mut body = request_of(3);
        spoil(&mut body, pointer, value.clone());
        assert_eq!(refused(&caller, &body).await, [(field.to_owned(), reason.to_owned())], "{pointer} {value}");
    }
    let counters = caller.sandbox.counters();
    assert_eq!((counters.events_refused, counters.requests_refused), (3 * count, count));
    assert!(caller.sandbox.accepted().is_empty());
    caller.assert_sums_close();
}

#[tokio::test]
async fn hashes_need_their_encoding_named() {
    let caller = Caller::new().await;
    let mut body = request_of(1);
    body["events"][0]["userData"] = json!({ "userIdentifiers": [{ "emailAddress": HASH }] });
    body.as_object_mut().unwrap().remove("encoding");
    assert_eq!(refused(&caller, &body).await, [("encoding".to_owned(), "REQUIRED_FIELD_MISSING".to_owned())]);
    body["encoding"] = json!("BASE64");
    assert_eq!(refused(&caller, &body).await[0].1, "INVALID_SHA256_FORMAT");
    body["encoding"] = json!("HEX");
    caller.take(&body).await;
}

#[tokio::test]
async fn limits_are_inclusive() {
    let caller = Caller::new().await;
    caller.take(&request_of(2000)).await;
    assert_eq!(refused(&caller, &request_of(2001)).await, [("events".to_owned(), "TOO_MANY_EVENTS".to_owned())]);
    assert_eq!(refused(&caller, &request_of(0)).await[0].1, "REQUIRED_FIELD_MISSING");
    let mut body = request_of(1);
    let destination = body["destinations"][0].clone();
    body["destinations"] = vec![destination.clone(); 10].into();
    caller.take(&body).await;
    body["destinations"] = vec![destination; 11].into();
    assert_eq!(refused(&caller, &body).await[0].1, "TOO_MANY_DESTINATIONS");
    body["destinations"] = json!([]);
    assert_eq!(refused(&caller, &body).await[0].1, "REQUIRED_FIELD_MISSING");
    caller.assert_sums_close();
}

#[tokio::test]
async fn two_destinations_cannot_share_a_reference() {
    let caller = Caller::new().await;
    let mut body = request_of(1);
    body["destinations"][0]["reference"] = json!("a");
    body["destinations"] = vec![body["destinations"][0].clone(); 2].into();
    assert_eq!(refused(&caller, &body).await, [("destinations[1].reference".to_owned(), "DUPLICATE_DESTINATION_REFERENCE".to_owned())]);
}

#[tokio::test]
async fn only_actions_that_exist_take_events() {
    let caller = Caller::with(SandboxOptions { actions: Some([(ACCOUNT.into(), "1".into())].into()), ..SandboxOptions::default() }).await;
    let place = "destinations[0].product_destination_id".to_owned();
    assert_eq!(refused(&caller, &request_of(1)).await, [(place, "INVALID_CONVERSION_ACTION_ID".to_owned())]);
    caller.sandbox.set_actions([(ACCOUNT, ACTION)]);
    caller.take(&request_of(1)).await;
    caller.sandbox.set_actions([("9999999999", ACTION)]);
    assert_eq!(refused(&caller, &request_of(1)).await[0].1, "INVALID_CONVERSION_ACTION_ID");
    caller.sandbox.accept_any_action();
    caller.take(&request_of(1)).await;
}

#[tokio::test]
async fn click_ids_can_ask_for_a_refusal_until_that_is_switched_off() {
    let caller = Caller::new().await;
    let mut events: Vec<_> = (0..4).map(event).collect();
    events[3]["adIdentifiers"]["gclid"] = json!("sandbox-400-INVALID_AD_IDENTIFIER_FOR_ACCOUNT-7");
    let body = request(&events);
    let expected = ("events.events[3].ad_identifiers.gclid".to_owned(), "INVALID_AD_IDENTIFIER_FOR_ACCOUNT".to_owned());
    assert_eq!(refused(&caller, &body).await, [expected]);
    caller.sandbox.set_click_verdicts(false);
    caller.take(&body).await;
    assert_eq!(caller.sandbox.counters().conversions, 4);
}

#[tokio::test]
async fn places_can_be_left_out() {
    let caller = Caller::with(SandboxOptions { omit_locations: true, ..SandboxOptions::default() }).await;
    let mut body = request_of(1);
    body["events"][0]["currency"] = json!("x");
    assert_eq!(refused(&caller, &body).await, [(String::new(), "INVALID_CURRENCY_CODE".to_owned())]);
}

#[tokio::test]
async fn a_fixed_clock_decides_what_the_future_is() {
    let now = Some("2026-01-02T03:04:04Z".parse().unwrap());
    let caller = Caller::with(SandboxOptions { now, ..SandboxOptions::default() }).await;
    assert_eq!(refused(&caller, &request_of(1)).await[0].1, "EVENT_TIME_INVALID");
}
