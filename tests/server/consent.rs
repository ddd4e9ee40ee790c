//! Consent comes before anything is stored: of whoever said no, nothing is kept anywhere.

use adsengineer_core::org::Role;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{said::Said, stage::Stage};

const LEADS: &str = "/api/v1/leads";

fn lead(consent: &Value) -> Value {
    json!({"email": "denied.person@example.com", "phone": "+4915123456789", "gclid": "Cj0KCQ-denied-click", "external_id": "D-77",
        "company": "Denied Works", "landing_page": "https://shop.example.com/denied-page", "consent": consent})
}

fn denials() -> Vec<Value> {
    let said = |storage: &str| json!({"storage": storage, "ad_user_data": "granted"});
    vec![
        said("denied"),
        said("pending"),
        said("withdrawn"),
        json!({"storage": null}),
        json!({"ad_user_data": "granted"}),
        json!({}),
        Value::Null,
    ]
}

fn leaves_no_trace(stage: &Stage) {
    for text in ["denied.person", "DENIED.PERSON", "4915123456789", "15123456789", "Cj0KCQ-denied", "D-77", "Denied Works", "denied-page"] {
        assert!(!stage.is_on_disk(text), "{text} is in the database");
    }
    // Nor what anybody could compute of them.
    for text in ["denied.person@example.com", "+4915123456789", "Cj0KCQ-denied-click"] {
        let hash = Sha256::digest(text);
        let hex = format!("{:016x}", u64::from_be_bytes(hash[..8].try_into().unwrap()));
        assert!(!stage.is_on_disk(&hash[..16]) && !stage.is_on_disk(hex), "the hash of {text} is in the database");
    }
    // The database is read at all.
    assert!(stage.is_on_disk(crate::base::MARK));
}

#[tokio::test]
async fn of_whoever_did_not_agree_to_storage_nothing_is_kept_but_a_count() {
    let stage = Stage::new().await;
    for (count, consent) in denials().iter().enumerate() {
        let said = stage.post(LEADS, &lead(consent)).await.ok(200);
        assert_eq!((&said["success"], &said["stored"], &said["denied"]), (&json!(true), &json!(0), &json!(1)), "{consent}");
        let denied = json!([{"index": 0, "email": "denied.person@example.com", "reason": "consent_required"}]);
        assert_eq!((&said["leads"], &said["denied_leads"]), (&json!([]), &denied));
        assert_eq!(stage.get("/api/v1/status").await.ok(200)["leads"]["denied"], count + 1);
    }
    let mut without = lead(&Value::Null);
    without.as_object_mut().unwrap().remove("consent");
    stage.post(LEADS, &without).await.ok(200);
    leaves_no_trace(&stage);
    assert_eq!(stage.get(LEADS).await.ok(200)["leads"], json!([]));
}

#[tokio::test]
async fn a_denied_lead_leaves_no_trace_under_an_idempotency_key_either() {
    let stage = Stage::new().await;
    let token = stage.token("acme", Role::Member);
    let kept = json!({"email": "kept@example.com", "consent": {"storage": "granted"}});
    let body = json!([lead(&json!({"storage": "denied"})), kept]);
    let send = || Said::of(stage.request("POST", LEADS).bearer_auth(&token).header("idempotency-key", "denied-1").json(&body));
    let (first, again) = (send().await, send().await);
    assert_eq!(first.ok(201)["denied_leads"][0]["email"], "denied.person@example.com");
    assert_eq!(first.ok(201), again.ok(201));
    leaves_no_trace(&stage);
}

#[tokio::test]
async fn denied_and_granted_leads_of_one_batch_are_told_apart_by_their_places() {
    let stage = Stage::new().await;
    let granted = |n: u32| json!({"email": format!("g{n}@example.com"), "consent": {"storage": "granted"}});
    let batch = json!([granted(0), lead(&json!({"storage": "denied"})), granted(2), lead(&Value::Null)]);
    let said = stage.post(LEADS, &batch).await.ok(201);
    assert_eq!((&said["stored"], &said["denied"]), (&json!(2), &json!(2)));
    let places: Vec<_> = said["denied_leads"].as_array().unwrap().iter().map(|denied| denied["index"].clone()).collect();
    assert_eq!(places, [json!(1), json!(3)]);
    leaves_no_trace(&stage);
}

#[tokio::test]
async fn malformed_consent_is_refused_and_leaves_no_trace() {
    let stage = Stage::new().await;
    let before = stage.effects().await;
    for (consent, pointer) in [
        (json!("granted"), "/consent"),
        (json!(true), "/consent"),
        (json!([]), "/consent"),
        (json!({"storage": true}), "/consent/storage"),
        (json!({"storage": "yes"}), "/consent/storage"),
        (json!({"storage": "Granted "}), "/consent/storage"),
        (json!({"storage": "denied", "ad_user_data": "maybe"}), "/consent/ad_user_data"),
        (json!({"storage": "granted", "method": "telepathy"}), "/consent/method"),
        (json!({"storage": "granted", "at": "yesterday"}), "/consent/at"),
        (json!({"storage": "granted", "gpc": "1"}), "/consent/gpc"),
        (json!({"storage": "granted", "marketing": "granted"}), "/consent/marketing"),
    ] {
        let faults = stage.post(LEADS, &lead(&consent)).await.faults();
        assert_eq!(faults[0].0, pointer, "{consent} {faults:?}");
    }
    assert_eq!(stage.effects().await, before);
    leaves_no_trace(&stage);
}

#[tokio::test]
async fn a_stored_leads_identifiers_are_sealed_on_disk() {
    let stage = Stage::new().await;
    let said = stage.post(LEADS, &lead(&json!({"storage": "granted", "ad_user_data": "granted"}))).await.ok(201);
    let id = said["leads"][0]["id"].as_str().unwrap();
    leaves_no_trace(&stage);
    let shown = stage.get(&format!("{LEADS}/{id}")).await.ok(200);
    assert_eq!((&shown["email"], &shown["phone"]), (&json!("denied.person@example.com"), &json!("+4915123456789")));
    assert_eq!((&shown["clicks"]["gclid"], &shown["external_id"]), (&json!("Cj0KCQ-denied-click"), &json!("D-77")));
}
