//! Bodies that are not the message, and the two spellings that are.

use serde_json::{Value, json};

use crate::client::{ACCOUNT, ACTION, Caller, request_of, spoil};

#[tokio::test]
async fn unknown_fields_and_values_are_refused_as_the_front_end_does() {
    let caller = Caller::new().await;
    for (pointer, field, name) in [
        ("/conversionAction", None, "conversionAction"),
        ("/events/1/currencyCode", Some("events[1]"), "currencyCode"),
        ("/events/1/adIdentifiers/dclid", Some("events[1].ad_identifiers"), "dclid"),
        ("/events/1/consent", Some("events[1].consent"), "adUserdata"),
        ("/destinations/0/operatingAccount/customerId", Some("destinations[0].operating_account"), "customerId"),
        ("/destinations/0/customerId", Some("destinations[0]"), "customerId"),
    ] {
        let mut body = request_of(2);
        let value = if pointer.ends_with("consent") { json!({ name: "x" }) } else { json!("x") };
        spoil(&mut body, pointer, value);
        let (status, answer) = caller.ingest(&body).await;
        let violation = &answer["error"]["details"][0]["fieldViolations"][0];
        assert_eq!((status, violation["field"].as_str()), (400, field), "{answer}");
        assert!(violation["description"].as_str().unwrap().contains(&format!("Unknown name \"{name}\"")), "{answer}");
        assert!(violation.get("reason").is_none());
    }
    for (pointer, value) in [("/events/0/eventSource", json!("WEBSITE")), ("/encoding", json!("hex")), ("/events", json!({}))] {
        let mut body = request_of(1);
        spoil(&mut body, pointer, value);
        assert_eq!(caller.ingest(&body).await.0, 400);
    }
    assert_eq!(caller.ingest_text("{\"events\":".into()).await.0, 400);
    assert_eq!(caller.sandbox.counters().requests_refused, 10);
    assert!(caller.sandbox.accepted().is_empty());
}

#[tokio::test]
async fn snake_case_names_are_the_same_message() {
    let caller = Caller::new().await;
    let body = json!({
        "destinations": [{
            "operating_account": { "account_type": "GOOGLE_ADS", "account_id": ACCOUNT },
            "product_destination_id": ACTION,
        }],
        "events": [{
            "transaction_id": "a",
            "event_timestamp": "2026-01-02T03:04:05+05:30",
            "event_source": "PHONE",
            "ad_identifiers": { "wbraid": "w" },
            "conversion_value": "3.50",
            "consent": { "ad_user_data": "CONSENT_GRANTED", "ad_personalization": null },
        }],
        "validate_only": false,
    });
    caller.take(&body).await;
    assert_eq!(caller.sandbox.accepted()[0].value.as_deref(), Some("3.50"));
}

#[tokio::test]
async fn other_paths_and_content_types_are_no_method_of_the_api() {
    let caller = Caller::new().await;
    let other = caller.http.get(format!("{}/v1/events:insert", caller.sandbox.url())).send().await.unwrap();
    assert_eq!(other.status(), 404);
    assert_eq!(other.json::<Value>().await.unwrap()["error"]["status"], "NOT_FOUND");
    let text = caller.http.post(format!("{}/v1/events:ingest", caller.sandbox.url())).bearer_auth(&caller.token);
    assert_eq!(text.body(request_of(1).to_string()).send().await.unwrap().status(), 400);
}
