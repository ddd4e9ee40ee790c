//! Conversions: taken in, completed from leads, delivered by a worker, and explained.

use adsengineer_core::org::Role;
use serde_json::{Value, json};

use crate::{
    routes::{sale, sandbox, shop},
    stage::Stage,
};

const CONVERSIONS: &str = "/api/v1/conversions";

fn with(mut body: Value, more: &Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn codes(receipt: &Value) -> Vec<&str> {
    receipt["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

async fn selling(stage: &Stage) {
    let body = json!({"kind": "google", "customer_id": "1234567890", "actions": {"Sale": "987654321"}});
    stage.by(Role::Admin, "PUT", "/api/v1/destinations/shop", Some(&body)).await.ok(200);
}

#[tokio::test]
async fn a_conversion_is_taken_in_once_and_known_again() {
    let stage = Stage::new().await;
    selling(&stage).await;
    let first = stage.post(CONVERSIONS, &sale("Cj0KCQ-1")).await.ok(202)["conversions"][0].clone();
    assert_eq!((&first["duplicate"], &first["findings"]), (&json!(false), &json!([])));
    let again = stage.post(CONVERSIONS, &sale("Cj0KCQ-1")).await.ok(202)["conversions"][0].clone();
    assert_eq!((&again["id"], &again["duplicate"], &again["findings"]), (&first["id"], &json!(true), &json!([])));
    let sum = stage.get("/api/v1/reconciliation").await.ok(200);
    assert_eq!((&sum["captured"], &sum["closes"], &sum["states"]["queued"]), (&json!(1), &json!(true), &json!(1)));
}

#[tokio::test]
async fn the_same_sale_with_another_value_is_told_with_both_and_changes_nothing() {
    let stage = Stage::new().await;
    selling(&stage).await;
    let first = stage.post(CONVERSIONS, &sale("Cj0KCQ-1")).await.ok(202)["conversions"][0].clone();
    let other = with(sale("Cj0KCQ-1"), &json!({"value": "150.00"}));
    let receipt = stage.post(CONVERSIONS, &other).await.ok(202)["conversions"][0].clone();
    assert_eq!((&receipt["id"], &receipt["duplicate"], codes(&receipt)), (&first["id"], &json!(true), vec!["ALREADY_CAPTURED_DIFFERENT"]));
    let hint = receipt["findings"][0]["hint"].as_str().unwrap();
    assert!(hint.contains("120.00 EUR") && hint.contains("150.00") && hint.contains("restatement"), "{hint}");
    assert_eq!(receipt["findings"][0]["severity"], "error");
    let shown = stage.get(&format!("{CONVERSIONS}/{}", first["id"].as_str().unwrap())).await.ok(200);
    assert_eq!((&shown["value"], &shown["revision"]), (&json!("120.00"), &json!(1)));
}

#[tokio::test]
async fn an_order_id_belongs_to_one_conversion() {
    let stage = Stage::new().await;
    let body = json!({"kind": "google", "customer_id": "1234567890", "actions": {"Sale": "987654321", "Deal": "987654321"}});
    stage.by(Role::Admin, "PUT", "/api/v1/destinations/shop", Some(&body)).await.ok(200);
    let order = |action: &str| with(sale("Cj0KCQ-1"), &json!({"action": action, "order_id": "A-1"}));
    let owner = stage.post(CONVERSIONS, &order("Sale")).await.ok(202)["conversions"][0].clone();
    let receipt = stage.post(CONVERSIONS, &order("Deal")).await.ok(202)["conversions"][0].clone();
    assert_eq!((codes(&receipt), &receipt["id"]), (vec!["ORDER_ID_TAKEN"], &owner["id"]), "{receipt}");
}

#[tokio::test]
async fn a_conversion_without_a_destination_is_kept_with_a_warning_and_unknown_names_are_refused() {
    let stage = Stage::new().await;
    selling(&stage).await;
    let stray = with(sale("Cj0KCQ-1"), &json!({"action": "Other"}));
    let receipt = stage.post(CONVERSIONS, &stray).await.ok(202)["conversions"][0].clone();
    assert_eq!((codes(&receipt), &receipt["findings"][0]["severity"]), (vec!["NO_DESTINATION"], &json!("warning")));
    let before = stage.effects().await;
    let batch = json!([
        sale("Cj0KCQ-2"),
        with(sale("Cj0KCQ-3"), &json!({"destinations": ["shop", "till"]})),
        with(sale("Cj0KCQ-4"), &json!({"action": "Other", "destinations": ["shop"]})),
        with(sale("Cj0KCQ-5"), &json!({"lead_id": "lead_0000000000001"})),
    ]);
    let expected =
        [("/1/destinations/1", "UNKNOWN_DESTINATION"), ("/2/destinations/0", "UNKNOWN_ACTION"), ("/3/lead_id", "LEAD_NOT_FOUND")];
    let expected = expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned()));
    assert_eq!(stage.post(CONVERSIONS, &batch).await.faults_under(404), expected);
    assert_eq!(stage.effects().await, before);
}

#[tokio::test]
async fn a_lead_completes_a_conversion_and_another_organizations_lead_does_not() {
    let stage = Stage::new().await;
    let lead = json!({"email": "lead@example.com", "gclid": "Cj0KCQ-lead", "consent": {"storage": "granted", "ad_user_data": "granted"}});
    let id = stage.post("/api/v1/leads", &lead).await.ok(201)["leads"][0]["id"].clone();
    let body = json!({"action": "Sale", "occurred_at": "2026-11-20T10:00:00Z", "lead_id": id});
    let made = stage.post(CONVERSIONS, &body).await.ok(202)["conversions"][0]["id"].as_str().unwrap().to_owned();
    let shown = stage.get(&format!("{CONVERSIONS}/{made}")).await.ok(200);
    assert_eq!((&shown["click_id_kind"], &shown["has_identifiers"]), (&json!("gclid"), &json!(true)));
    assert_eq!(shown["consent"]["ad_user_data"], "granted");
    let stranger = stage.token("globex", Role::Owner);
    let theirs = stage.ask("POST", CONVERSIONS, Some(&stranger), Some(&body)).await;
    assert_eq!(theirs.faults_under(404), [("/lead_id".to_owned(), "LEAD_NOT_FOUND".to_owned())]);
}

#[tokio::test]
async fn without_consent_nothing_of_a_conversion_is_taken_in() {
    let stage = Stage::new().await;
    selling(&stage).await;
    for consent in [json!({"ad_user_data": "denied"}), json!({"ad_user_data": "withdrawn"})] {
        let body = with(sale("Cj0KCQ-denied"), &json!({"consent": consent, "identifiers": {"email": "said.no@example.com"}}));
        let receipt = stage.post(CONVERSIONS, &body).await.ok(202)["conversions"][0].clone();
        assert_eq!((&receipt["id"], codes(&receipt)), (&Value::Null, vec!["CONSENT_DENIED"]));
    }
    let mut silent = sale("Cj0KCQ-denied");
    silent.as_object_mut().unwrap().remove("consent");
    assert_eq!(stage.post(CONVERSIONS, &silent).await.faults()[0].1, "CONSENT_REQUIRED");
    let lead = json!({"email": "quiet@example.com", "consent": {"storage": "granted", "ad_user_data": "denied"}});
    let id = stage.post("/api/v1/leads", &lead).await.ok(201)["leads"][0]["id"].clone();
    let body = json!({"action": "Sale", "occurred_at": "2026-11-20T10:00:00Z", "value": "1", "currency": "EUR", "lead_id": id});
    let receipt = stage.post(CONVERSIONS, &body).await.ok(202)["conversions"][0].clone();
    assert_eq!((&receipt["id"], codes(&receipt)), (&Value::Null, vec!["CONSENT_REQUIRED"]));
    assert!(!stage.is_on_disk("Cj0KCQ-denied") && !stage.is_on_disk("said.no"));
    let sum = stage.get("/api/v1/reconciliation").await.ok(200);
    assert_eq!((&sum["captured"], &sum["denied"], &sum["closes"]), (&json!(0), &json!(3), &json!(true)), "{sum}");
}

#[tokio::test]
async fn a_worker_delivers_what_was_taken_in_and_every_view_says_so() {
    let sandbox = sandbox().await;
    let stage = Stage::against(&sandbox).await;
    stage.by(Role::Admin, "PUT", "/api/v1/destinations/shop", Some(&shop(&sandbox))).await.ok(200);
    let body = with(sale("Cj0KCQ-good"), &json!({"order_id": "A-7"}));
    let id = stage.post(CONVERSIONS, &body).await.ok(202)["conversions"][0]["id"].as_str().unwrap().to_owned();
    let state = async || stage.get(&format!("{CONVERSIONS}/{id}")).await.ok(200)["deliveries"][0]["state"].clone();
    assert_eq!(state().await, "queued");
    stage.work().await;
    assert_eq!(state().await, "delivered");
    let explained = stage.get("/api/v1/explain/A-7").await.ok(200);
    let delivery = &explained["deliveries"][0];
    assert_eq!((&explained["id"], &delivery["destination"], &delivery["transaction_id"]), (&json!(id), &json!("shop"), &json!("A-7")));
    let by_delivery = stage.get(&format!("/api/v1/explain/{}", delivery["id"].as_str().unwrap())).await.ok(200);
    assert_eq!(by_delivery, explained);
    let status = stage.get("/api/v1/status").await.ok(200);
    assert_eq!((&status["destinations"][0]["name"], &status["destinations"][0]["states"]["delivered"]), (&json!("shop"), &json!(1)));
    let sum = stage.get("/api/v1/reconciliation").await.ok(200);
    assert_eq!((&sum["captured"], &sum["states"]["delivered"], &sum["closes"]), (&json!(1), &json!(1), &json!(true)));
    for (query, found) in [("state=delivered", 1), ("state=dead", 0), ("order_id=A-7", 1), ("order_id=A-8", 0)] {
        let list = stage.get(&format!("{CONVERSIONS}?{query}")).await.ok(200);
        assert_eq!(list["conversions"].as_array().unwrap().len(), found, "{query}");
    }
    assert_eq!(sandbox.accepted().len(), 1);
    assert_eq!(stage.get("/health").await.ok(200)["status"], "healthy");
}

#[tokio::test]
async fn conversions_are_listed_by_pages_in_both_orders() {
    let stage = Stage::new().await;
    let batch: Vec<_> = (0..7).map(|n| sale(&format!("Cj0KCQ-{n}"))).collect();
    let said = stage.post(CONVERSIONS, &json!(batch)).await.ok(202);
    let taken: Vec<_> = said["conversions"].as_array().unwrap().iter().map(|c| c["id"].clone()).collect();
    for (order, reversed) in [("asc", false), ("desc", true)] {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = stage.get(&format!("{CONVERSIONS}?limit=3&order={order}{cursor}")).await.ok(200);
            ids.extend(page["conversions"].as_array().unwrap().iter().map(|c| c["id"].clone()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        if reversed {
            ids.reverse();
        }
        assert_eq!(ids, taken, "{order}");
    }
}
