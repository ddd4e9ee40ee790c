//! Every error is a problem of RFC 9457 and says nothing of what is inside.

use std::time::Duration;

use adsengineer_core::org::Role;
use serde_json::json;

use crate::{
    said::Said,
    stage::Stage,
    wire::{Wire, post_head},
};

const LEADS: &str = "/api/v1/leads";
const MAX: usize = 4 << 20;

async fn post(stage: &Stage, kind: Option<&str>, body: impl Into<reqwest::Body>) -> Said {
    let request = stage.request("POST", LEADS).bearer_auth(stage.token("acme", Role::Member)).body(body);
    Said::of(if let Some(kind) = kind { request.header("content-type", kind) } else { request }).await
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let stage = Stage::new().await;
    for path in ["/", "/api", "/api/v1", "/api/v1/leads/", "/api/v2/leads", "/api/v1/leads/a/b", "/favicon.ico", "//", "/%2e%2e/etc/passwd"]
    {
        for token in [None, Some(stage.token("acme", Role::Owner))] {
            assert_eq!(stage.ask("GET", path, token.as_deref(), None).await.refused(404), "NOT_FOUND", "{path}");
        }
    }
    for (method, path, allow) in [
        ("PUT", LEADS, ["GET", "POST"].as_slice()),
        ("POST", "/api/v1/me", &["GET"]),
        ("PATCH", "/api/v1/rules/x", &["GET", "PUT", "DELETE"]),
        ("DELETE", "/health", &["GET"]),
        ("BREW", LEADS, &["GET", "POST"]),
        ("OPTIONS", LEADS, &["GET", "POST"]),
    ] {
        let said = stage.ask(method, path, Some(&stage.token("acme", Role::Owner)), None).await;
        assert_eq!(said.refused(405), "METHOD_NOT_ALLOWED", "{method} {path}");
        let told = said.header("allow").unwrap();
        assert!(allow.iter().all(|known| told.split(',').any(|method| method.trim() == *known)), "{told}");
    }
    let head = stage.by(Role::Viewer, "HEAD", "/api/v1/me", None).await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    let head = stage.ask("HEAD", "/api/v1/me", None, None).await;
    assert_eq!((head.status, head.bytes.len()), (401, 0));
}

#[tokio::test]
async fn what_is_not_json_is_malformed_and_what_is_of_the_wrong_type_is_told_by_field() {
    let stage = Stage::new().await;
    for body in ["", "{", "null x", "{\"email\":}", "{'email':1}", "\u{feff}{}", "[{}", "{\"a\":1,}"] {
        let said = post(&stage, Some("application/json"), body).await;
        assert_eq!(said.refused(400), "MALFORMED_JSON", "{body}");
    }
    assert_eq!(post(&stage, Some("application/json"), vec![0xff, 0xfe]).await.refused(400), "MALFORMED_JSON");
    let deep = format!("{{\"tags\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!([400, 422].contains(&post(&stage, Some("application/json"), deep).await.status));
    for (body, pointer) in
        [("1", ""), ("\"x\"", ""), ("null", ""), ("[1]", "/0"), ("{\"email\":1}", "/email"), ("{\"tags\":\"x\"}", "/tags")]
    {
        let said = post(&stage, Some("application/json"), body).await;
        assert_eq!(said.faults()[0], (pointer.to_owned(), "INVALID_TYPE".to_owned()), "{body}");
    }
    for (path, body) in [("/api/v1/tokens", "{"), ("/api/v1/dlq/replay", "nope"), ("/api/v1/dlq/discard", "")] {
        let request = stage.request("POST", path).bearer_auth(stage.token("acme", Role::Owner));
        assert_eq!(Said::of(request.header("content-type", "application/json").body(body)).await.refused(400), "MALFORMED_JSON");
    }
}

#[tokio::test]
async fn a_body_of_another_kind_is_refused() {
    let stage = Stage::new().await;
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data"),
        Some("application/xml"),
        Some(""),
    ] {
        assert_eq!(post(&stage, kind, "{}").await.refused(415), "UNSUPPORTED_MEDIA_TYPE", "{kind:?}");
    }
    for kind in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"] {
        assert_eq!(post(&stage, Some(kind), "{").await.refused(400), "MALFORMED_JSON", "{kind}");
    }
}

#[tokio::test]
async fn a_body_over_four_mebibytes_is_refused_with_a_length_and_in_chunks() {
    let stage = Stage::new().await;
    let padded = |len: usize| format!("{{\"x\":\"{}\"}}", "x".repeat(len - 8));
    assert_eq!(post(&stage, Some("application/json"), padded(MAX)).await.faults()[0].0, "/x");
    assert_eq!(post(&stage, Some("application/json"), padded(MAX + 1)).await.refused(413), "BODY_TOO_LARGE");
    let mut wire = Wire::to(&stage).await;
    wire.send(&post_head(&stage.token("acme", Role::Member), MAX + 1)).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 413 "), "refused before the body");
    let token = stage.token("acme", Role::Member);
    let mut wire = Wire::to(&stage).await;
    let head = format!(
        "POST {LEADS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    wire.send(&head).await;
    for _ in 0..4 {
        wire.send(&format!("100000\r\n{}\r\n", " ".repeat(1 << 20))).await;
    }
    wire.send("1\r\n \r\n0\r\n\r\n").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn parameters_that_cannot_be_are_refused_by_name() {
    let stage = Stage::new().await;
    for (query, name) in [
        ("limit=0", "?limit"),
        ("limit=1001", "?limit"),
        ("limit=-1", "?limit"),
        ("limit=ten", "?limit"),
        ("limit=", "?limit"),
        ("limit=1&limit=2", "?limit"),
        ("cursor=x", "?cursor"),
        ("cursor=conv_0000000000001", "?cursor"),
        ("cursor=", "?cursor"),
        ("order=up", "?order"),
        ("status=closed", "?status"),
        ("updated_since=yesterday", "?updated_since"),
        ("updated_since=2026-11-20", "?updated_since"),
        ("page=2", "?page"),
        ("org_id=globex", "?org_id"),
    ] {
        let faults = stage.get(&format!("{LEADS}?{query}")).await.faults();
        assert_eq!(faults[0].0, name, "{query} {faults:?}");
    }
    for path in [
        "/api/v1/conversions?state=lost",
        "/api/v1/conversions?cursor=chg_1",
        "/api/v1/dlq?cursor=lead_0000000000001",
        "/api/v1/dlq?kind=x",
    ] {
        assert_eq!(stage.get(path).await.refused(422), "VALIDATION_FAILED", "{path}");
    }
    stage.get(&format!("{LEADS}?limit=1000&order=desc")).await.ok(200);
}

#[tokio::test]
async fn broken_percent_encoding_and_odd_ids_name_nothing() {
    let stage = Stage::new().await;
    for id in [
        "%ff",
        "%00",
        "lead_",
        "lead_0000000000001%20",
        "LEAD_0000000000001",
        "conv_0000000000001",
        "%F0%9F%92%A9",
        "'; DROP TABLE leads; --",
    ] {
        assert_eq!(stage.get(&format!("{LEADS}/{id}")).await.refused(404), "NOT_FOUND", "{id}");
    }
    for path in ["/api/v1/explain/%ff", "/api/v1/explain/%00", "/api/v1/destinations/%ff", "/api/v1/rules/%ff"] {
        assert_eq!(stage.get(path).await.refused(404), "NOT_FOUND", "{path}");
    }
    assert_eq!(stage.by(Role::Owner, "DELETE", "/api/v1/tokens/%ff", None).await.refused(404), "NOT_FOUND");
}

#[tokio::test]
async fn a_panic_says_nothing_but_its_request_id() {
    let stage = Stage::new().await;
    let token = stage.token("acme", Role::Member);
    for looks in 0..3 {
        stage.clock.panic_in(looks);
        let lead = json!({"email": "a@example.com", "consent": {"storage": "granted"}});
        let said = Said::of(stage.request("POST", LEADS).bearer_auth(&token).header("x-request-id", "mine-1").json(&lead)).await;
        assert_eq!((said.refused(500).as_str(), said.header("x-request-id")), ("INTERNAL", Some("mine-1")));
        assert!(!said.text().contains("clock") && !said.text().contains("10.0.0.1"), "{}", said.text());
    }
    stage.get("/api/v1/me").await.ok(200);
}

#[tokio::test]
async fn more_requests_than_there_is_room_for_are_refused_at_once() {
    let stage = Stage::with(|api| api.bounds(1, Duration::from_secs(30))).await;
    let mut wire = Wire::to(&stage).await;
    wire.send(&post_head(&stage.token("acme", Role::Member), 100)).await;
    let token = stage.token("acme", Role::Viewer);
    let refused = loop {
        let said = stage.ask("GET", LEADS, Some(&token), None).await;
        if said.status != 200 {
            break said;
        }
    };
    assert_eq!((refused.refused(503).as_str(), refused.header("retry-after")), ("OVERLOADED", Some("1")));
    assert!(refused.header("ratelimit").is_some());
    drop(wire);
    while stage.ask("GET", LEADS, Some(&token), None).await.status != 200 {}
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up_and_has_no_effect() {
    let stage = Stage::with(|api| api.bounds(8, Duration::from_millis(200))).await;
    let before = stage.effects().await;
    let mut wire = Wire::to(&stage).await;
    wire.send(&post_head(&stage.token("acme", Role::Member), 100)).await;
    wire.send("{\"email\":").await;
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("retry-after: 5"), "{head}");
    assert_eq!(stage.effects().await, before);
}

#[tokio::test]
async fn valid_request_ids_are_kept_and_others_replaced() {
    let stage = Stage::new().await;
    let with = async |id: &[u8]| {
        let id = reqwest::header::HeaderValue::from_bytes(id).unwrap();
        let said = Said::of(stage.request("GET", "/nothing").header("x-request-id", id)).await;
        said.refused(404);
        said.header("x-request-id").unwrap().to_owned()
    };
    for good in ["7f3a-9.b_c:1", "a", &"x".repeat(128)] {
        assert_eq!(with(good.as_bytes()).await, good);
    }
    for bad in ["", "a b", "<script>", "a\"b", "ä", &"x".repeat(129)] {
        assert!(with(bad.as_bytes()).await.starts_with("req_"), "{bad}");
    }
    let fresh = stage.ask("GET", "/livez", None, None).await;
    assert!(fresh.header("x-request-id").unwrap().starts_with("req_"));
}
