//! The loop that serves connections: slow clients, the drain, TLS.

use std::{path::Path, time::Duration};

use adsengineer_core::org::Role;
use adsengineer_server::{ServeOptions, Tls};
use serde_json::json;
use tokio::net::TcpStream;

use crate::{
    said::Said,
    stage::Stage,
    wire::{Wire, post_head},
};

#[tokio::test]
async fn headers_that_never_end_close_the_connection() {
    let options = ServeOptions { header_timeout: Duration::from_millis(100), ..ServeOptions::default() };
    let stage = Stage::serving(|api| api, options).await;
    let mut wire = Wire::to(&stage).await;
    wire.send("GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
    let rest = wire.rest().await;
    assert!(!rest.contains("200 OK"), "{rest}");
    // Who says nothing at all, and who stays after an answer, goes too.
    assert_eq!(Wire::to(&stage).await.rest().await, "");
    let mut wire = Wire::to(&stage).await;
    wire.send("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(wire.rest().await.starts_with("HTTP/1.1 200 OK"));
    stage.ask("GET", "/livez", None, None).await.ok(200);
}

#[tokio::test]
async fn bytes_that_are_not_http_are_refused_and_harm_nobody() {
    let stage = Stage::new().await;
    for bytes in ["\u{16}\u{3}\u{1}\u{0}", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nbad header\r\n\r\n"] {
        let mut wire = Wire::to(&stage).await;
        wire.send(bytes).await;
        wire.send("\r\n\r\n").await;
        let rest = wire.rest().await;
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 4") || rest.starts_with("HTTP/1.1 505"), "{rest}");
    }
    let mut wire = Wire::to(&stage).await;
    wire.send(&format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(1 << 20))).await;
    assert!(wire.rest().await.starts_with("HTTP/1.1 431 "));
    stage.ask("GET", "/livez", None, None).await.ok(200);
}

#[tokio::test]
async fn a_request_in_flight_is_answered_in_full_while_new_connections_are_refused() {
    let mut stage = Stage::new().await;
    let body = json!({"email": "drained@example.com", "consent": {"storage": "granted"}}).to_string();
    let mut wire = Wire::to(&stage).await;
    wire.send(&post_head(&stage.token("acme", Role::Member), body.len())).await;
    wire.send(&body[..10]).await;
    // Another connection is idle after an answer.
    let mut idle = Wire::to(&stage).await;
    idle.send("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(idle.head().await.starts_with("HTTP/1.1 200"));
    stage.stop.send_replace(true);
    let address = stage.url.strip_prefix("http://").unwrap().to_owned();
    while TcpStream::connect(&address).await.is_ok() {}
    idle.rest().await;
    assert!(!stage.server.is_finished());
    wire.send(&body[10..]).await;
    let answer = wire.rest().await;
    assert!(answer.starts_with("HTTP/1.1 201 ") && answer.contains("\"stored\":1"), "{answer}");
    (&mut stage.server).await.unwrap();
}

#[tokio::test]
async fn a_drain_ends_also_when_a_client_does_not() {
    let options = ServeOptions { drain: Duration::from_millis(100), ..ServeOptions::default() };
    let mut stage = Stage::serving(|api| api, options).await;
    let mut wire = Wire::to(&stage).await;
    wire.send(&post_head(&stage.token("acme", Role::Member), 10)).await;
    stage.get("/api/v1/me").await.ok(200);
    stage.stop.send_replace(true);
    (&mut stage.server).await.unwrap();
}

#[tokio::test]
async fn a_client_that_asks_and_never_reads_is_given_up() {
    let options = ServeOptions { connections: 1, write_timeout: Duration::from_millis(100), ..ServeOptions::default() };
    let stage = Stage::serving(|api| api, options).await;
    let mut deaf = Wire::to(&stage).await;
    let many = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(500);
    deaf.send(&many).await;
    // The only place for a connection is free again.
    let mut next = Wire::to(&stage).await;
    next.send("GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(next.rest().await.starts_with("HTTP/1.1 200"));
    assert!(deaf.rest().await.matches("HTTP/1.1 200").count() < 500);
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let stage = Stage::serving(|api| api, ServeOptions { connections: 1, ..ServeOptions::default() }).await;
    let mut first = Wire::to(&stage).await;
    first.send("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(first.head().await.starts_with("HTTP/1.1 200"));
    let mut second = Wire::to(&stage).await;
    second.send("GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    drop(first);
    assert!(second.rest().await.starts_with("HTTP/1.1 200"));
}

fn vector(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name)
}

#[tokio::test]
async fn requests_over_tls_are_answered_and_plain_ones_are_not() {
    let tls = Tls::read(&vector("self_signed_certificate.pem"), &vector("self_signed_key.pem")).unwrap();
    let options = ServeOptions { tls: Some(tls), header_timeout: Duration::from_millis(500), ..ServeOptions::default() };
    assert!(format!("{options:?}").contains("tls: true"));
    let stage = Stage::serving(adsengineer_server::Api::over_tls, options).await;
    let certificate = std::fs::read(vector("self_signed_certificate.pem")).unwrap();
    let trusted = reqwest::Certificate::from_pem(&certificate).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([trusted]).build().unwrap();
    let url = stage.url.replace("http://", "https://");
    let said = Said::of(http.get(format!("{url}/livez"))).await;
    assert_eq!((said.status, said.header("strict-transport-security")), (200, Some("max-age=31536000")));
    assert!(stage.http.get(format!("{url}/livez")).send().await.is_err());
    assert!(stage.http.get(format!("{}/livez", stage.url)).send().await.is_err());
}

#[test]
fn certificates_that_cannot_be_served_are_refused_with_their_path() {
    let read = |certificate: &str, key: &str| Tls::read(&vector(certificate), &vector(key)).map(|_| ()).unwrap_err().to_string();
    assert!(read("none.pem", "self_signed_key.pem").contains("none.pem"));
    assert!(read("self_signed_certificate.pem", "none.pem").contains("none.pem"));
    assert!(read("self_signed_key.pem", "self_signed_key.pem").contains("cannot be"));
    assert!(read("self_signed_certificate.pem", "service_account_test_key.pem").contains("cannot be used"));
}
