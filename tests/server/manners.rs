//! What surrounds answers: security headers, browsers of other origins, compression.

use adsengineer_core::org::Role;
use reqwest::header::HeaderValue;
use serde_json::json;

use crate::{said::Said, stage::Stage};

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let stage = Stage::new().await;
    for path in ["/livez", "/health", "/openapi.json", "/docs/", "/nothing", "/api/v1/me"] {
        let said = stage.ask("GET", path, None, None).await;
        let expected = [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
        ];
        for (name, value) in expected {
            assert_eq!(said.header(name), Some(value), "{path}");
        }
        assert!(said.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
        assert_eq!((said.header("strict-transport-security"), said.header("server")), (None, None));
    }
    let tls = Stage::with(adsengineer_server::Api::over_tls).await;
    assert_eq!(tls.ask("GET", "/livez", None, None).await.header("strict-transport-security"), Some("max-age=31536000"));
}

fn preflight(stage: &Stage, origin: &str) -> reqwest::RequestBuilder {
    let request = stage.request("OPTIONS", "/api/v1/leads").header("origin", origin);
    request.header("access-control-request-method", "POST").header("access-control-request-headers", "authorization,idempotency-key")
}

#[tokio::test]
async fn pages_of_other_origins_may_not_use_the_api_unless_they_are_named() {
    let closed = Stage::new().await;
    assert_eq!(Said::of(preflight(&closed, "https://app.example.com")).await.header("access-control-allow-origin"), None);
    let stage = Stage::with(|api| api.origins(vec![HeaderValue::from_static("https://app.example.com")])).await;
    let said = Said::of(preflight(&stage, "https://app.example.com")).await;
    assert_eq!((said.status, said.header("access-control-allow-origin")), (200, Some("https://app.example.com")));
    assert!(said.header("access-control-allow-headers").unwrap().contains("authorization"));
    assert!(said.header("access-control-allow-methods").unwrap().contains("POST"));
    assert_eq!(said.header("access-control-allow-credentials"), None);
    assert_eq!(Said::of(preflight(&stage, "https://evil.example.com")).await.header("access-control-allow-origin"), None);
    let request = stage.request("GET", "/api/v1/me").header("origin", "https://app.example.com");
    let said = Said::of(request.bearer_auth(stage.token("acme", Role::Viewer))).await;
    said.ok(200);
    let exposed = said.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("x-request-id") && exposed.contains("ratelimit"), "{exposed}");
    assert_eq!(said.header("access-control-allow-origin"), Some("https://app.example.com"));
    // A refused request can be read by the page too.
    let said = Said::of(stage.request("GET", "/api/v1/me").header("origin", "https://app.example.com")).await;
    assert_eq!((said.status, said.header("access-control-allow-origin")), (401, Some("https://app.example.com")));
}

#[tokio::test]
async fn large_answers_are_compressed_only_for_whom_asks() {
    let stage = Stage::new().await;
    let leads: Vec<_> = (0..50).map(|n| json!({"email": format!("p{n}@example.com"), "consent": {"storage": "granted"}})).collect();
    stage.post("/api/v1/leads", &json!(leads)).await.ok(201);
    let get = async |path: &str, encoding: Option<&str>| {
        let request = stage.request("GET", path).bearer_auth(stage.token("acme", Role::Viewer));
        Said::of(if let Some(encoding) = encoding { request.header("accept-encoding", encoding) } else { request }).await
    };
    let plain = get("/api/v1/leads", None).await;
    assert_eq!((plain.header("content-encoding"), plain.json()["leads"].as_array().unwrap().len()), (None, 50));
    assert!(plain.header("vary").is_some_and(|vary| vary.contains("accept-encoding")), "{:?}", plain.headers);
    let packed = get("/api/v1/leads", Some("br, gzip")).await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.bytes.starts_with(&[0x1f, 0x8b]) && packed.bytes.len() * 3 < plain.bytes.len());
    assert_eq!(get("/api/v1/leads", Some("identity")).await.header("content-encoding"), None);
    assert_eq!(get("/api/v1/me", Some("gzip")).await.header("content-encoding"), None);
}

#[tokio::test]
async fn health_names_what_was_checked_and_readiness_proves_a_write() {
    let stage = Stage::new().await;
    let health = stage.ask("GET", "/health", None, None).await.ok(200);
    assert_eq!((&health["status"], &health["checks"]["database"]["status"]), (&json!("healthy"), &json!("healthy")));
    assert_eq!((&health["version"], &health["timestamp"]), (&json!(env!("CARGO_PKG_VERSION")), &json!("2026-11-20T12:00:00Z")));
    assert_eq!(stage.ask("GET", "/readyz", None, None).await.ok(200), json!({"ready": true}));
    assert_eq!(stage.ask("GET", "/livez", None, None).await.ok(200), json!({"status": "ok"}));
}
