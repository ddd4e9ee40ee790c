//! Minting and revoking tokens over HTTP.

use adsengineer_core::org::Role;
use serde_json::json;

use crate::stage::Stage;

const ME: &str = "/api/v1/me";

#[tokio::test]
async fn a_token_says_who_it_is_for_and_until_when() {
    let stage = Stage::new().await;
    let me = stage.by(Role::Viewer, "GET", ME, None).await.ok(200);
    assert_eq!(me, json!({"sub": "tester", "org_id": "acme", "role": "viewer", "exp": "2027-02-18T12:00:00Z"}));
}

#[tokio::test]
async fn an_owner_mints_a_token_for_the_own_organization_that_works_and_is_audited() {
    let stage = Stage::new().await;
    let said = stage.post("/api/v1/tokens", &json!({"sub": "crm", "role": "member", "ttl_seconds": 60})).await;
    let minted = said.ok(201);
    assert_eq!((&minted["org_id"], &minted["role"], &minted["exp"]), (&json!("acme"), &json!("member"), &json!("2026-11-20T12:01:00Z")));
    assert_eq!(said.header("cache-control"), Some("no-store"));
    let token = minted["token"].as_str().unwrap();
    let me = stage.ask("GET", ME, Some(token), None).await.ok(200);
    assert_eq!((&me["sub"], &me["role"]), (&json!("crm"), &json!("member")));
    let jti = minted["jti"].as_str().unwrap();
    assert!(stage.acts().await.iter().any(|(action, object, _)| action == "token.minted" && object == jti));
    stage.clock.advance_ms(121_000);
    assert_eq!(stage.ask("GET", ME, Some(token), None).await.refused(401), "TOKEN_EXPIRED");
}

#[tokio::test]
async fn no_token_is_minted_for_another_organization_or_beyond_reason() {
    let stage = Stage::new().await;
    let before = stage.effects().await;
    let foreign = json!({"sub": "crm", "role": "viewer", "org_id": "globex"});
    assert_eq!(stage.post("/api/v1/tokens", &foreign).await.refused(403), "FORBIDDEN");
    for role in [Role::Viewer, Role::Member, Role::Admin] {
        let same = json!({"sub": "crm", "role": "viewer"});
        assert_eq!(stage.by(role, "POST", "/api/v1/tokens", Some(&same)).await.refused(403), "FORBIDDEN");
    }
    for (body, pointer) in [
        (json!({"sub": "crm", "role": "root"}), "/role"),
        (json!({"sub": "", "role": "viewer"}), "/sub"),
        (json!({"sub": "a\nb", "role": "viewer"}), "/sub"),
        (json!({"sub": "crm", "role": "viewer", "ttl_seconds": 0}), "/ttl_seconds"),
        (json!({"sub": "crm", "role": "viewer", "ttl_seconds": 7_776_001}), "/ttl_seconds"),
        (json!({"sub": "crm", "role": "viewer", "jti": "mine"}), "/jti"),
        (json!({"role": "viewer"}), "/sub"),
    ] {
        assert_eq!(stage.post("/api/v1/tokens", &body).await.faults()[0].0, pointer, "{body}");
    }
    assert_eq!(stage.effects().await, before);
}

#[tokio::test]
async fn a_revoked_token_is_refused_here_at_once_and_elsewhere_after_the_next_look() {
    let stage = Stage::new().await;
    let other = stage.beside().await;
    let token = stage.token_with("acme", Role::Admin, "tok_lost");
    let twin = stage.token_with("globex", Role::Admin, "tok_lost");
    other.ask("GET", ME, Some(&token), None).await.ok(200);
    stage.by(Role::Owner, "DELETE", "/api/v1/tokens/tok_lost", None).await.ok(204);
    assert_eq!(stage.ask("GET", ME, Some(&token), None).await.refused(401), "TOKEN_REVOKED");
    other.engine.read_revoked().await.unwrap();
    assert_eq!(other.ask("GET", ME, Some(&token), None).await.refused(401), "TOKEN_REVOKED");
    stage.ask("GET", ME, Some(&twin), None).await.ok(200);
    let later = stage.beside().await;
    later.engine.read_revoked().await.unwrap();
    assert_eq!(later.ask("GET", ME, Some(&token), None).await.refused(401), "TOKEN_REVOKED");
}

#[tokio::test]
async fn a_revoked_token_is_refused_however_long_it_was_to_live() {
    let stage = Stage::new().await;
    stage.by(Role::Owner, "DELETE", "/api/v1/tokens/tok_lost", None).await.ok(204);
    stage.clock.advance_ms(10 * 365 * 86_400_000);
    let token = stage.token_with("acme", Role::Admin, "tok_lost");
    let later = stage.beside().await;
    later.engine.read_revoked().await.unwrap();
    assert_eq!(later.ask("GET", ME, Some(&token), None).await.refused(401), "TOKEN_REVOKED");
}

#[tokio::test]
async fn ids_of_tokens_that_cannot_be_are_refused_and_unknown_ones_are_revoked_before_they_are_seen() {
    let stage = Stage::new().await;
    let long = format!("/api/v1/tokens/{}", "j".repeat(201));
    assert_eq!(stage.by(Role::Owner, "DELETE", &long, None).await.faults()[0].0, "/jti");
    assert_eq!(stage.by(Role::Owner, "DELETE", "/api/v1/tokens/a%0Ab", None).await.faults()[0].0, "/jti");
    stage.by(Role::Owner, "DELETE", "/api/v1/tokens/tok_future", None).await.ok(204);
    let token = stage.token_with("acme", Role::Viewer, "tok_future");
    assert_eq!(stage.ask("GET", ME, Some(&token), None).await.refused(401), "TOKEN_REVOKED");
}
