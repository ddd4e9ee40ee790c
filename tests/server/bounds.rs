//! What one organization may take: it never takes what the others need.

use std::time::Duration;

use adsengineer_core::{
    engine::{MOST_ACTIONS, MOST_DESTINATIONS, MOST_REPLAYS, MOST_RULES},
    org::{Caller, Role},
    rule::parse_rule,
};
use serde_json::{Value, json};

use crate::{
    routes::{furnished, shop},
    stage::Stage,
    wire::{Wire, post_head},
};

const ME: &str = "/api/v1/me";

/// A destination with so many actions.
fn destination(actions: usize) -> Value {
    let actions: serde_json::Map<_, _> = (0..actions).map(|n| (format!("a{n}"), json!("1"))).collect();
    json!({"kind": "google", "customer_id": "1234567890", "actions": actions})
}

async fn put(stage: &Stage, path: &str, body: &Value) -> crate::said::Said {
    stage.by(Role::Admin, "PUT", path, Some(body)).await
}

#[tokio::test]
async fn an_organization_that_sends_slowly_leaves_room_for_the_others_and_for_whoever_watches() {
    let stage = Stage::with(|api| api.bounds(4, Duration::from_secs(30))).await;
    let mut slow = Wire::to(&stage).await;
    slow.send(&post_head(&stage.token("acme", Role::Member), 100)).await;
    let token = stage.token("acme", Role::Viewer);
    while stage.ask("GET", ME, Some(&token), None).await.status == 200 {}
    assert_eq!(stage.ask("GET", ME, Some(&token), None).await.refused(503), "OVERLOADED");
    stage.ask("GET", ME, Some(&stage.token("globex", Role::Viewer)), None).await.ok(200);
    let more: Vec<_> = ["initech", "umbrella", "hooli"].into_iter().map(|org| post_head(&stage.token(org, Role::Member), 100)).collect();
    let mut wires = Vec::new();
    for head in &more {
        let mut wire = Wire::to(&stage).await;
        wire.send(head).await;
        wires.push(wire);
    }
    // All places are taken.
    let stranger = stage.token("globex", Role::Viewer);
    while stage.ask("GET", ME, Some(&stranger), None).await.status == 200 {}
    for path in ["/livez", "/readyz", "/health"] {
        stage.ask("GET", path, None, None).await.ok(200);
    }
}

#[tokio::test]
async fn destinations_and_their_actions_have_a_limit_and_those_that_are_there_can_still_be_changed() {
    let stage = Stage::new().await;
    put(&stage, "/api/v1/destinations/full", &destination(MOST_ACTIONS)).await.ok(200);
    let faults = put(&stage, "/api/v1/destinations/more", &destination(MOST_ACTIONS + 1)).await.faults();
    assert_eq!(faults, [("/actions".to_owned(), "TOO_MANY".to_owned())]);
    for n in 1..MOST_DESTINATIONS {
        put(&stage, &format!("/api/v1/destinations/d{n}"), &destination(1)).await.ok(200);
    }
    assert_eq!(put(&stage, "/api/v1/destinations/more", &destination(1)).await.refused(409), "TOO_MANY");
    put(&stage, "/api/v1/destinations/d1", &destination(2)).await.ok(200);
    let stranger = stage.token("globex", Role::Admin);
    stage.ask("PUT", "/api/v1/destinations/d1", Some(&stranger), Some(&destination(1))).await.ok(200);
    stage.by(Role::Admin, "DELETE", "/api/v1/destinations/d1", None).await.ok(200);
    put(&stage, "/api/v1/destinations/more", &destination(1)).await.ok(200);
}

#[tokio::test]
async fn rules_and_the_destinations_they_name_have_a_limit() {
    let stage = Stage::new().await;
    let rule = json!({"on": "lead.won", "action": "Sale"});
    let admin = Caller::trusted("acme".parse().unwrap(), Role::Admin);
    let parsed = parse_rule(rule.to_string().as_bytes()).unwrap();
    for n in 0..MOST_RULES {
        stage.engine.put_rule(&admin, &format!("r{n}"), &parsed).await.unwrap();
    }
    assert_eq!(put(&stage, "/api/v1/rules/more", &rule).await.refused(409), "TOO_MANY");
    put(&stage, "/api/v1/rules/r1", &rule).await.ok(200);
    let names: Vec<_> = (0..51).map(|n| format!("d{n}")).collect();
    let wide = json!({"on": "lead.won", "action": "Sale", "destinations": names});
    assert_eq!(put(&stage, "/api/v1/rules/r1", &wide).await.faults(), [("/destinations".to_owned(), "TOO_MANY".to_owned())]);
}

#[tokio::test]
async fn replays_that_run_have_a_limit_and_a_repeated_request_is_still_known() {
    let (_sandbox, stage, things) = furnished().await;
    let body = json!({"ids": [things.dead], "rate": "1/h"});
    let begin = async |key: &str| {
        let request = stage.request("POST", "/api/v1/dlq/replay").bearer_auth(stage.token("acme", Role::Admin));
        crate::said::Said::of(request.header("idempotency-key", key).json(&body)).await
    };
    let first = begin("replay-0").await.ok(202);
    // One runs already.
    for n in 1..MOST_REPLAYS - 1 {
        begin(&format!("replay-{n}")).await.ok(202);
    }
    assert_eq!(begin("replay-more").await.refused(409), "TOO_MANY");
    assert_eq!(begin("replay-0").await.ok(202)["replay_id"], first["replay_id"]);
    let path = format!("/api/v1/dlq/replays/{}", first["replay_id"].as_str().unwrap());
    stage.by(Role::Admin, "DELETE", &path, None).await.ok(200);
    begin("replay-more").await.ok(202);
}

#[tokio::test]
async fn credentials_never_choose_where_they_are_sent() {
    let (sandbox, stage, _things) = furnished().await;
    let mut body = shop(&sandbox);
    for field in ["token_uri", "auth_uri", "universe_domain", "token_url"] {
        body["credentials"][field] = json!("http://127.0.0.1:1/");
    }
    put(&stage, "/api/v1/destinations/shop", &body).await.ok(200);
    // The machine's own token endpoint answers; nobody listens where the body points to.
    let check = stage.by(Role::Admin, "POST", "/api/v1/destinations/shop/check", None).await.ok(200);
    assert_eq!(check["ok"], true, "{check}");
}
