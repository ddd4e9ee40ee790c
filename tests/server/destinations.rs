//! Destinations and rules: set up, tried, removed; credentials go in and never come out.

use adsengineer_core::org::Role;
use serde_json::{Value, json};

use crate::{
    routes::{sale, sandbox, shop},
    stage::Stage,
};

const SHOP: &str = "/api/v1/destinations/shop";

async fn put(stage: &Stage, path: &str, body: &Value) -> crate::said::Said {
    stage.by(Role::Admin, "PUT", path, Some(body)).await
}

#[tokio::test]
async fn a_destination_is_made_replaced_shown_and_listed_without_its_credentials() {
    let sandbox = sandbox().await;
    let stage = Stage::against(&sandbox).await;
    let body = shop(&sandbox);
    let made = put(&stage, SHOP, &body).await.ok(200);
    assert!(made["name"] == "shop" && made["id"].as_str().unwrap().starts_with("dst_"), "{made}");
    let mut other = body.clone();
    other["order_id_prefix"] = json!("web-");
    assert_eq!(put(&stage, SHOP, &other).await.ok(200)["id"], made["id"]);
    let shown = stage.get(SHOP).await;
    let destination = shown.ok(200);
    assert_eq!((&destination["customer_id"], &destination["order_id_prefix"]), (&json!("123-456-7890"), &json!("web-")));
    assert_eq!((&destination["credentials"], &destination["actions"]), (&json!("stored"), &json!({"Sale": "987654321"})));
    stage.post("/api/v1/conversions", &sale("Cj0KCQ-1")).await.ok(202);
    for path in ["/api/v1/destinations", SHOP, "/api/v1/status", "/api/v1/conversions", "/openapi.json"] {
        let text = stage.get(path).await.text();
        for secret in ["sandbox-client-secret", "sandbox-refresh-token", "refresh_token\":"] {
            assert!(!text.contains(secret), "{path} shows {secret}");
        }
    }
    assert!(!stage.is_on_disk("sandbox-client-secret") && !stage.is_on_disk("sandbox-refresh-token"));
}

#[tokio::test]
async fn credentials_left_out_stay_and_null_removes_them() {
    let sandbox = sandbox().await;
    let stage = Stage::against(&sandbox).await;
    let state = async || stage.get(SHOP).await.ok(200)["credentials"].clone();
    let mut body = shop(&sandbox);
    put(&stage, SHOP, &body).await.ok(200);
    body.as_object_mut().unwrap().remove("credentials");
    put(&stage, SHOP, &body).await.ok(200);
    assert_eq!(state().await, "stored");
    let checked = stage.by(Role::Admin, "POST", &format!("{SHOP}/check"), None).await.ok(200);
    assert_eq!((&checked["ok"], &checked["released"]), (&json!(true), &json!(0)), "{checked}");
    body["credentials"] = Value::Null;
    put(&stage, SHOP, &body).await.ok(200);
    assert_eq!(state().await, "missing");
    let checked = stage.by(Role::Admin, "POST", &format!("{SHOP}/check"), None).await.ok(200);
    assert_eq!((&checked["ok"], &checked["findings"][0]["code"]), (&json!(false), &json!("CREDENTIALS_MISSING")), "{checked}");
}

#[tokio::test]
async fn a_destination_that_cannot_be_is_refused_by_field_and_without_effect() {
    let stage = Stage::new().await;
    let before = stage.effects().await;
    let good = json!({"kind": "google", "customer_id": "1234567890", "actions": {"Sale": "987654321"}});
    for (field, value, pointer, code) in [
        ("kind", json!("meta"), "/kind", "UNKNOWN_KIND"),
        ("customer_id", json!("12345"), "/customer_id", "INVALID_CUSTOMER_ID"),
        ("customer_id", Value::Null, "/customer_id", "INVALID_TYPE"),
        ("login_customer_id", json!("x"), "/login_customer_id", "INVALID_CUSTOMER_ID"),
        ("actions", json!({"a/b": "x"}), "/actions/a~1b", "INVALID_ACTION"),
        ("actions", json!({" ": "1"}), "/actions/ ", "INVALID_ACTION"),
        ("order_id_prefix", json!("p".repeat(65)), "/order_id_prefix", "INVALID_PREFIX"),
        ("credentials", json!({"ref": "agency"}), "/credentials/ref", "REF_NOT_ALLOWED"),
        ("credentials", json!("text"), "/credentials", "INVALID_TYPE"),
        ("credentials_ref", json!("agency"), "/credentials_ref", "UNKNOWN_FIELD"),
        ("org_id", json!("globex"), "/org_id", "UNKNOWN_FIELD"),
        ("id", json!("dst_1"), "/id", "UNKNOWN_FIELD"),
        ("enabled", json!("yes"), "/enabled", "INVALID_TYPE"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let faults = put(&stage, SHOP, &body).await.faults();
        assert_eq!(faults, [(pointer.to_owned(), code.to_owned())], "{body}");
    }
    for name in ["Shop", "a%20b", "%2E%2E%2Fx", "-x", &"x".repeat(65)] {
        let said = put(&stage, &format!("/api/v1/destinations/{name}"), &good).await;
        assert_eq!(said.faults()[0], ("/name".to_owned(), "INVALID_NAME".to_owned()), "{name}");
    }
    assert_eq!(stage.effects().await, before);
}

#[tokio::test]
async fn a_destination_with_open_deliveries_is_removed_only_by_force() {
    let stage = Stage::new().await;
    let body = json!({"kind": "google", "customer_id": "1234567890", "actions": {"Sale": "987654321"}});
    put(&stage, SHOP, &body).await.ok(200);
    let id = stage.post("/api/v1/conversions", &sale("Cj0KCQ-1")).await.ok(202)["conversions"][0]["id"].as_str().unwrap().to_owned();
    let remove = async |query: &str| stage.by(Role::Admin, "DELETE", &format!("{SHOP}{query}"), None).await;
    for query in ["", "?force=false"] {
        assert_eq!(remove(query).await.refused(409), "OPEN_DELIVERIES");
    }
    for query in ["?force=yes", "?force=1", "?force=true&force=true", "?forced=true"] {
        assert_eq!(remove(query).await.refused(422), "VALIDATION_FAILED", "{query}");
    }
    assert_eq!(remove("?force=true").await.ok(200), json!({"removed": true, "suppressed": 1}));
    let shown = stage.get(&format!("/api/v1/conversions/{id}")).await.ok(200);
    let delivery = &shown["deliveries"][0];
    assert_eq!((&delivery["state"], &delivery["reason"]), (&json!("suppressed"), &json!("DESTINATION_REMOVED")));
    assert_eq!(remove("?force=true").await.refused(404), "NOT_FOUND");
    assert_eq!(stage.get("/api/v1/reconciliation").await.ok(200)["closes"], true);
    // With nothing open no force is needed.
    put(&stage, SHOP, &body).await.ok(200);
    assert_eq!(remove("").await.ok(200)["suppressed"], 0);
}

#[tokio::test]
async fn a_destination_that_another_server_removed_takes_nothing_and_is_known_to_be_gone_at_the_next_try() {
    let stage = Stage::new().await;
    let other = stage.beside().await;
    let body = json!({"kind": "google", "customer_id": "1234567890", "actions": {"Sale": "987654321"}});
    put(&stage, SHOP, &body).await.ok(200);
    put(&stage, "/api/v1/rules/new", &json!({"on": "lead.created", "action": "Sale"})).await.ok(200);
    let lead = |n: u32| json!({"email": format!("l{n}@example.com"), "consent": {"storage": "granted", "ad_user_data": "granted"}});
    other.post("/api/v1/conversions", &sale("Cj0KCQ-1")).await.ok(202);
    stage.by(Role::Admin, "DELETE", &format!("{SHOP}?force=true"), None).await.ok(200);
    assert_eq!(other.post("/api/v1/conversions", &sale("Cj0KCQ-2")).await.refused(503), "OVERLOADED");
    let receipt = other.post("/api/v1/conversions", &sale("Cj0KCQ-2")).await.ok(202);
    assert_eq!(receipt["conversions"][0]["findings"][0]["code"], "NO_DESTINATION");
    put(&stage, SHOP, &body).await.ok(200);
    other.clock.advance_ms(1000);
    other.post("/api/v1/leads", &lead(1)).await.ok(201);
    stage.by(Role::Admin, "DELETE", &format!("{SHOP}?force=true"), None).await.ok(200);
    assert_eq!(other.post("/api/v1/leads", &lead(2)).await.refused(503), "OVERLOADED");
    other.post("/api/v1/leads", &lead(2)).await.ok(201);
}

#[tokio::test]
async fn a_check_that_succeeds_lets_held_rows_go() {
    let sandbox = sandbox().await;
    let stage = Stage::against(&sandbox).await;
    let mut body = shop(&sandbox);
    let credentials = body["credentials"].take();
    put(&stage, SHOP, &body).await.ok(200);
    stage.post("/api/v1/conversions", &sale("Cj0KCQ-1")).await.ok(202);
    stage.work().await;
    let status = stage.get("/api/v1/status").await.ok(200);
    let held = &status["destinations"][0];
    assert_eq!((&held["states"]["held"], &held["held"][0]["count"]), (&json!(1), &json!(1)), "{held}");
    assert!(held["held"][0]["next_action"].as_str().is_some_and(|text| !text.is_empty()));
    assert_eq!(stage.get("/health").await.status, 200);
    body["credentials"] = credentials;
    put(&stage, SHOP, &body).await.ok(200);
    let checked = stage.by(Role::Admin, "POST", &format!("{SHOP}/check"), None).await.ok(200);
    assert_eq!(checked["ok"], true, "{checked}");
    stage.work().await;
    assert_eq!(stage.get("/api/v1/status").await.ok(200)["destinations"][0]["states"]["delivered"], 1);
}

#[tokio::test]
async fn a_rule_is_made_replaced_listed_and_removed() {
    let stage = Stage::new().await;
    let path = "/api/v1/rules/won";
    let rule = json!({"on": "lead.won", "action": "Closed", "value": "50", "currency": "EUR", "destinations": ["shop"]});
    put(&stage, path, &rule).await.ok(200);
    let shown = stage.get(path).await.ok(200);
    assert_eq!((&shown["name"], &shown["on"], &shown["destinations"]), (&json!("won"), &json!("lead.won"), &json!(["shop"])));
    put(&stage, path, &json!({"on": "lead.lost", "action": "Lost"})).await.ok(200);
    put(&stage, "/api/v1/rules/a", &json!({"on": "lead.created", "action": "New"})).await.ok(200);
    let names: Vec<_> = stage.get("/api/v1/rules").await.ok(200)["rules"].as_array().unwrap().iter().map(|r| r["name"].clone()).collect();
    assert_eq!(names, [json!("a"), json!("won")]);
    assert_eq!(stage.by(Role::Admin, "DELETE", path, None).await.ok(200), json!({"removed": true}));
    for method in ["GET", "DELETE"] {
        assert_eq!(stage.by(Role::Admin, method, path, None).await.refused(404), "NOT_FOUND");
    }
    for (body, pointer) in [
        (json!({"on": "lead.sold", "action": "x"}), "/on"),
        (json!({"on": "lead.won"}), "/action"),
        (json!({"on": "lead.won", "action": "x", "value": "1"}), "/currency"),
        (json!({"on": "lead.won", "action": "x", "org": "y"}), "/org"),
    ] {
        assert_eq!(put(&stage, path, &body).await.faults()[0].0, pointer, "{body}");
    }
    assert_eq!(put(&stage, "/api/v1/rules/No%20name", &rule).await.faults()[0].0, "/name");
    let faults = stage.by(Role::Admin, "PUT", path, Some(&json!([rule]))).await.faults();
    assert_eq!(faults[0].1, "INVALID_TYPE");
}

#[tokio::test]
async fn a_rule_fires_for_a_new_lead_and_says_why_it_made_nothing() {
    let stage = Stage::new().await;
    put(&stage, "/api/v1/rules/new", &json!({"on": "lead.created", "action": "New", "currency": "EUR"})).await.ok(200);
    let lead = |consent: &str| json!({"email": "a@example.com", "external_id": consent, "consent": {"storage": "granted", "ad_user_data": consent}});
    let said = stage.post("/api/v1/leads", &json!([lead("granted"), lead("denied")])).await.ok(201);
    assert_eq!((&said["conversions"][0]["rule"], &said["conversions"][0]["reason"]), (&json!("new"), &Value::Null));
    let silent = json!({"rule": "new", "id": null, "duplicate": false, "reason": "CONSENT_REQUIRED"});
    assert_eq!(said["conversions"][1], silent);
    let again = stage.post("/api/v1/leads", &lead("granted")).await.ok(201);
    assert_eq!(again["conversions"], json!([]));
    assert_eq!(stage.get("/api/v1/conversions").await.ok(200)["conversions"].as_array().unwrap().len(), 1);
}
