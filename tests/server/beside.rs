//! What goes on beside requests, and what is said when the database cannot be used.

use std::time::{Duration, Instant};

use adsengineer_core::org::Role;
use adsengineer_server::background;
use serde_json::json;
use tokio::sync::watch;

use crate::{
    routes::{sale, sandbox, shop},
    stage::Stage,
};

#[tokio::test]
async fn the_background_delivers_reads_revocations_goes_on_with_replays_and_stops_when_told() {
    let sandbox = sandbox().await;
    let stage = Stage::against(&sandbox).await;
    stage.by(Role::Admin, "PUT", "/api/v1/destinations/shop", Some(&shop(&sandbox))).await.ok(200);
    let token = stage.token_with("acme", Role::Viewer, "tok_elsewhere");
    let other = stage.beside().await;
    other.by(Role::Owner, "DELETE", "/api/v1/tokens/tok_elsewhere", None).await.ok(204);
    let (stop, stopped) = watch::channel(false);
    let worker = stage.engine.worker(stage.engine.worker_settings().clone()).unwrap();
    let beside = tokio::spawn(background(stage.api.clone(), Some(worker), stopped));
    stage.post("/api/v1/conversions", &sale("Cj0KCQ-1")).await.ok(202);
    while stage.get("/api/v1/status").await.ok(200)["destinations"][0]["states"]["awaiting_confirmation"] != 1 {
        tokio::task::yield_now().await;
    }
    while stage.ask("GET", "/api/v1/me", Some(&token), None).await.status != 401 {}
    let replay = stage.post("/api/v1/dlq/replay", &json!({"filter": {}})).await.ok(202);
    let path = format!("/api/v1/dlq/replays/{}", replay["replay_id"].as_str().unwrap());
    while stage.get(&path).await.ok(200)["state"] != "finished" {}
    let health = stage.get("/health").await.ok(200);
    for check in ["database", "encryption", "queue"] {
        assert_eq!(health["checks"][check]["status"], "healthy", "{health}");
    }
    stop.send_replace(true);
    beside.await.unwrap();
}

#[tokio::test]
async fn a_destination_that_is_stopped_degrades_health_and_no_more() {
    let sandbox = sandbox().await;
    let stage = Stage::against(&sandbox).await;
    stage.by(Role::Admin, "PUT", "/api/v1/destinations/shop", Some(&shop(&sandbox))).await.ok(200);
    stage.post("/api/v1/conversions", &sale("Cj0KCQ-1")).await.ok(202);
    stage.api.health().check().await;
    assert_eq!(stage.get("/health").await.ok(200)["checks"]["google_ads"]["status"], "healthy");
    sandbox.set_revoked(true);
    stage.work().await;
    stage.api.health().check().await;
    let health = stage.get("/health").await.ok(200);
    assert_eq!((&health["status"], &health["checks"]["google_ads"]["status"]), (&json!("degraded"), &json!("degraded")), "{health}");
    let detail = health["checks"]["google_ads"]["detail"].as_str().unwrap();
    assert!(detail.contains("are stopped") && !detail.contains(|c: char| c.is_ascii_digit()), "{detail}");
    stage.get("/readyz").await.ok(200);
}

#[tokio::test]
async fn while_another_process_holds_the_database_nothing_is_taken_in_and_it_recovers_by_itself() {
    let stage = Stage::new().await;
    stage.ask("GET", "/readyz", None, None).await.ok(200);
    let held = stage.base().hold();
    let lead = json!({"email": "locked@example.com", "consent": {"storage": "granted"}});
    let write = stage.post("/api/v1/leads", &lead);
    let watch = async {
        while stage.ask("GET", "/readyz", None, None).await.status != 503 {}
        let started = Instant::now();
        let health = stage.ask("GET", "/health", None, None).await;
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        assert_eq!(health.ok(503)["status"], "unhealthy");
        assert_eq!(health.header("content-type"), Some("application/json"));
        assert!(health.header("ratelimit").is_some());
        stage.ask("GET", "/livez", None, None).await.ok(200);
    };
    let (refused, ()) = tokio::join!(write, watch);
    assert!(["DATABASE_UNAVAILABLE", "OVERLOADED"].contains(&refused.refused(503).as_str()));
    assert!(refused.header("retry-after").is_some());
    assert!(!refused.text().contains("server.db") && !refused.text().contains("locked"), "{}", refused.text());
    // Reads go on.
    assert_eq!(stage.get("/api/v1/leads").await.ok(200)["leads"], json!([]));
    drop(held);
    while stage.ask("GET", "/readyz", None, None).await.status != 200 {}
    stage.post("/api/v1/leads", &lead).await.ok(201);
    assert_eq!(stage.get("/api/v1/leads").await.ok(200)["leads"].as_array().unwrap().len(), 1);
}
