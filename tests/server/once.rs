//! Idempotency keys: one request, one effect, one answer.

use adsengineer_core::org::Role;
use serde_json::{Value, json};

use crate::{said::Said, stage::Stage};

const LEADS: &str = "/api/v1/leads";
const DAY_MS: i64 = 86_400_000;

fn lead(email: &str) -> Value {
    json!({"email": email, "consent": {"storage": "granted", "ad_user_data": "granted"}})
}

async fn with_key(stage: &Stage, token: &str, (method, path): (&str, &str), key: &str, body: &Value) -> Said {
    Said::of(stage.request(method, path).bearer_auth(token).header("idempotency-key", key).json(body)).await
}

async fn leads(stage: &Stage, key: &str, body: &Value) -> Said {
    let token = stage.token("acme", Role::Member);
    with_key(stage, &token, ("POST", LEADS), key, body).await
}

async fn count(stage: &Stage) -> u64 {
    stage.get("/api/v1/status").await.ok(200)["leads"]["stored"].as_u64().unwrap()
}

#[tokio::test]
async fn a_repeated_request_has_no_second_effect_and_the_same_answer() {
    let stage = Stage::new().await;
    let first = leads(&stage, "k-1", &lead("one@example.com")).await;
    let effects = stage.effects().await;
    let again = leads(&stage, "k-1", &lead("one@example.com")).await;
    assert_eq!((first.ok(201), first.bytes), (again.ok(201), again.bytes));
    assert_eq!((count(&stage).await, stage.effects().await), (1, effects));
    leads(&stage, "k-2", &lead("one@example.com")).await.ok(201);
    assert_eq!(count(&stage).await, 2);
}

#[tokio::test]
async fn quoted_and_bare_are_one_key() {
    let stage = Stage::new().await;
    let first = leads(&stage, "8e03978e-40d5", &lead("one@example.com")).await.ok(201);
    assert_eq!(leads(&stage, "\"8e03978e-40d5\"", &lead("one@example.com")).await.ok(201), first);
    assert_eq!(count(&stage).await, 1);
}

#[tokio::test]
async fn the_same_key_for_another_body_or_path_is_a_conflict() {
    let stage = Stage::new().await;
    leads(&stage, "k-1", &lead("one@example.com")).await.ok(201);
    assert_eq!(leads(&stage, "k-1", &lead("two@example.com")).await.refused(409), "IDEMPOTENCY_KEY_REUSED");
    let token = stage.token("acme", Role::Member);
    let sale =
        json!({"action": "Sale", "occurred_at": "2026-11-19T10:00:00Z", "gclid": "Cj0KCQ-1", "consent": {"ad_user_data": "granted"}});
    let other = with_key(&stage, &token, ("POST", "/api/v1/conversions"), "k-1", &sale).await;
    assert_eq!(other.refused(409), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(count(&stage).await, 1);
    assert_eq!(stage.get("/api/v1/conversions").await.ok(200)["conversions"], json!([]));
}

#[tokio::test]
async fn a_refused_request_does_not_bind_its_key() {
    let stage = Stage::new().await;
    assert_eq!(leads(&stage, "k-1", &lead("no address")).await.refused(422), "VALIDATION_FAILED");
    let token = stage.token("acme", Role::Member);
    let broken = stage.request("POST", LEADS).bearer_auth(&token).header("idempotency-key", "k-1");
    assert_eq!(Said::of(broken.header("content-type", "application/json").body("{")).await.refused(400), "MALFORMED_JSON");
    leads(&stage, "k-1", &lead("one@example.com")).await.ok(201);
    let path = "/api/v1/leads/lead_0000000000001";
    let missing = with_key(&stage, &token, ("PATCH", path), "k-2", &json!({"status": "won"})).await;
    assert_eq!(missing.refused(404), "NOT_FOUND");
    leads(&stage, "k-2", &lead("two@example.com")).await.ok(201);
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day_and_not_before() {
    let stage = Stage::new().await;
    let first = leads(&stage, "k-1", &lead("one@example.com")).await.ok(201);
    stage.clock.advance_ms(DAY_MS - 1);
    assert_eq!(leads(&stage, "k-1", &lead("one@example.com")).await.ok(201), first);
    stage.clock.advance_ms(1);
    assert_ne!(leads(&stage, "k-1", &lead("one@example.com")).await.ok(201)["leads"][0]["id"], first["leads"][0]["id"]);
    assert_eq!(count(&stage).await, 2);
}

#[tokio::test]
async fn keys_belong_to_organizations() {
    let stage = Stage::new().await;
    leads(&stage, "k-1", &lead("one@example.com")).await.ok(201);
    let stranger = stage.token("globex", Role::Member);
    let theirs = with_key(&stage, &stranger, ("POST", LEADS), "k-1", &lead("two@example.com")).await;
    assert_eq!(theirs.ok(201)["stored"], 1);
}

#[tokio::test]
async fn fifty_requests_at_once_with_one_key_have_one_effect() {
    let stage = Stage::new().await;
    let body = lead("one@example.com");
    let answers = futures_util::future::join_all((0..50).map(|_| leads(&stage, "k-1", &body))).await;
    let (mut done, mut ids) = (0, std::collections::BTreeSet::new());
    for said in &answers {
        if said.status == 201 {
            done += 1;
            ids.insert(said.json()["leads"][0]["id"].to_string());
        } else {
            assert_eq!(said.refused(409), "IDEMPOTENCY_KEY_IN_USE");
            assert_eq!(said.header("retry-after"), Some("1"));
        }
    }
    assert!(done >= 1);
    assert_eq!((ids.len(), count(&stage).await), (1, 1));
    leads(&stage, "k-1", &body).await.ok(201);
    assert_eq!(count(&stage).await, 1);
}

#[tokio::test]
async fn two_servers_on_one_database_do_a_request_once() {
    let stage = Stage::new().await;
    let other = stage.beside().await;
    let body = lead("one@example.com");
    let both = async |n: usize| if n.is_multiple_of(2) { leads(&stage, "k-1", &body).await } else { leads(&other, "k-1", &body).await };
    let answers = futures_util::future::join_all((0..20).map(both)).await;
    assert!(answers.iter().all(|said| said.status == 201 || said.refused(409) == "IDEMPOTENCY_KEY_IN_USE"));
    assert_eq!(count(&stage).await, 1);
}

#[tokio::test]
async fn a_repeated_change_of_a_lead_answers_the_same_with_its_conversions() {
    let stage = Stage::new().await;
    let rule = json!({"on": "lead.won", "action": "Closed"});
    stage.by(Role::Admin, "PUT", "/api/v1/rules/closed", Some(&rule)).await.ok(200);
    let id = leads(&stage, "k-1", &lead("one@example.com")).await.ok(201)["leads"][0]["id"].as_str().unwrap().to_owned();
    let token = stage.token("acme", Role::Member);
    let path = format!("{LEADS}/{id}");
    let win = async || with_key(&stage, &token, ("PATCH", &path), "k-won", &json!({"status": "won"})).await.ok(200);
    let (first, again) = (win().await, win().await);
    assert!(first["conversions"][0]["id"].is_string(), "{first}");
    assert_eq!(first["conversions"], again["conversions"]);
    assert_eq!(first, again);
    assert_eq!(stage.get("/api/v1/conversions").await.ok(200)["conversions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_repeated_change_is_known_also_when_it_would_be_refused_by_now() {
    let stage = Stage::new().await;
    let token = stage.token("acme", Role::Member);
    let id = leads(&stage, "k-1", &lead("one@example.com")).await.ok(201)["leads"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("{LEADS}/{id}");
    let patch = async |key: &str, status: &str| with_key(&stage, &token, ("PATCH", &path), key, &json!({"status": status})).await;
    patch("k-2", "contacted").await.ok(200);
    patch("k-3", "won").await.ok(200);
    let effects = stage.effects().await;
    patch("k-2", "contacted").await.ok(200);
    assert_eq!(stage.get(&path).await.ok(200)["status"], "won");
    assert_eq!(patch("k-2", "qualified").await.refused(409), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(patch("k-4", "contacted").await.refused(409), "INVALID_STATUS_CHANGE");
    assert_eq!(stage.effects().await, effects);
}

#[tokio::test]
async fn a_repeated_conversion_is_known_also_when_its_destination_is_gone() {
    let stage = Stage::new().await;
    let token = stage.token("acme", Role::Member);
    let shop = json!({"kind": "google", "customer_id": "1234567890", "actions": {"Sale": "987654321"}});
    stage.by(Role::Admin, "PUT", "/api/v1/destinations/shop", Some(&shop)).await.ok(200);
    let sale = json!({"action": "Sale", "occurred_at": "2026-11-19T10:00:00Z", "value": "1", "currency": "EUR", "gclid": "Cj0KCQ-1",
        "consent": {"ad_user_data": "granted"}, "destinations": ["shop"]});
    let send = async |key: &str| with_key(&stage, &token, ("POST", "/api/v1/conversions"), key, &sale).await;
    let first = send("k-1").await.ok(202);
    stage.by(Role::Admin, "DELETE", "/api/v1/destinations/shop?force=true", None).await.ok(200);
    assert_eq!(send("k-1").await.ok(202), first);
    assert_eq!(send("k-2").await.faults_under(404)[0].1, "UNKNOWN_DESTINATION");
}

#[tokio::test]
async fn repeated_conversions_answer_the_same_with_their_findings() {
    let stage = Stage::new().await;
    let token = stage.token("acme", Role::Member);
    let sale = |consent: &str| json!({"action": "Sale", "occurred_at": "2026-11-19T10:00:00Z", "gclid": "Cj0KCQ-1", "consent": {"ad_user_data": consent}});
    let batch = json!([sale("granted"), sale("denied"), sale("granted")]);
    let send = async || with_key(&stage, &token, ("POST", "/api/v1/conversions"), "k-1", &batch).await.ok(202);
    let (first, again) = (send().await, send().await);
    assert_eq!(first, again);
    assert_eq!((&first["conversions"][0]["duplicate"], &first["conversions"][2]["duplicate"]), (&json!(false), &json!(true)));
}

#[tokio::test]
async fn keys_that_cannot_be_are_refused() {
    let stage = Stage::new().await;
    let long = "k".repeat(256);
    for key in ["", "\"\"", "a\"b", &long, "\t"] {
        assert_eq!(leads(&stage, key, &lead("one@example.com")).await.refused(400), "INVALID_IDEMPOTENCY_KEY", "{key:?}");
    }
    let token = stage.token("acme", Role::Member);
    let twice = stage.request("POST", LEADS).bearer_auth(&token).header("idempotency-key", "a").header("idempotency-key", "b");
    assert_eq!(Said::of(twice.json(&lead("one@example.com"))).await.refused(400), "INVALID_IDEMPOTENCY_KEY");
    assert_eq!(count(&stage).await, 0);
    leads(&stage, &long[1..], &lead("one@example.com")).await.ok(201);
}
