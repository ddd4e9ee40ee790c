//! Budgets: exact at the boundary, told in headers on every answer, and spent by whom they should be.

use adsengineer_core::org::Role;
use serde_json::json;

use crate::{
    said::Said,
    stage::{Stage, generous, rates},
    wire::Wire,
};

const ME: &str = "/api/v1/me";
const NAMES: [&str; 5] = ["ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];

async fn limited(ip: &str, org: &str, auth: &str) -> Stage {
    let rates = rates(ip, org, auth);
    Stage::with(|api| api.limits(Some(crate::stage::limiter()), rates)).await
}

fn number(said: &Said, name: &str) -> i64 {
    said.header(name).unwrap_or_else(|| panic!("{name}")).parse().unwrap()
}

/// Spends a budget of three; the fourth request must wait exactly as long as it is told.
async fn exact(stage: &Stage, token: Option<&str>, path: &str, passes: u16) {
    for remaining in [2, 1, 0] {
        let said = stage.ask("GET", path, token, None).await;
        assert_eq!((said.status, number(&said, "x-ratelimit-remaining")), (passes, remaining), "{}", said.text());
    }
    let refused = stage.ask("GET", path, token, None).await;
    assert_eq!(refused.refused(429), "RATE_LIMITED");
    let wait = number(&refused, "retry-after");
    assert_eq!((wait, refused.json()["retry_after"].as_i64()), (20, Some(20)));
    stage.clock.advance_ms(wait * 1000 - 1);
    assert_eq!(stage.ask("GET", path, token, None).await.status, 429);
    stage.clock.advance_ms(1);
    assert_eq!(stage.ask("GET", path, token, None).await.status, passes);
    assert_eq!(stage.ask("GET", path, token, None).await.status, 429);
    stage.clock.advance_ms(60_000);
    assert_eq!(number(&stage.ask("GET", path, token, None).await, "x-ratelimit-remaining"), 2);
}

#[tokio::test]
async fn an_address_without_a_token_has_exactly_its_budget() {
    exact(&limited("3/m", "100/h", "100/h").await, None, "/openapi.json", 200).await;
    exact(&limited("3/m", "100/h", "100/h").await, None, ME, 401).await;
}

#[tokio::test]
async fn an_organization_has_exactly_its_budget_whoever_of_it_asks() {
    let stage = limited("100/h", "3/m", "100/h").await;
    let token = stage.token("acme", Role::Viewer);
    exact(&stage, Some(&token), ME, 200).await;
    stage.get(ME).await.ok(200);
    stage.by(Role::Member, "GET", ME, None).await.ok(200);
    assert_eq!(stage.by(Role::Owner, "GET", ME, None).await.status, 429);
    assert_eq!(stage.ask("GET", ME, Some(&stage.token("globex", Role::Viewer)), None).await.status, 200);
}

#[tokio::test]
async fn bad_tokens_from_an_address_have_exactly_their_budget() {
    exact(&limited("100/h", "100/h", "3/m").await, Some("a.bad.token"), ME, 401).await;
}

#[tokio::test]
async fn a_good_token_spends_only_its_organizations_budget() {
    let stage = limited("1/h", "100/h", "1/h").await;
    let token = stage.token("acme", Role::Viewer);
    for _ in 0..5 {
        stage.ask("GET", ME, Some(&token), None).await.ok(200);
    }
    assert_eq!(stage.ask("GET", ME, None, None).await.status, 401);
    assert_eq!(stage.ask("GET", ME, None, None).await.status, 429);
    let said = stage.ask("GET", ME, Some(&token), None).await;
    assert_eq!((said.status, number(&said, "x-ratelimit-limit")), (200, 100));
}

#[tokio::test]
async fn a_bad_token_spends_only_the_budget_of_bad_tokens() {
    let stage = limited("2/h", "100/h", "3/h").await;
    for _ in 0..2 {
        let said = stage.ask("GET", ME, Some("a.bad.token"), None).await;
        assert_eq!((said.status, said.header("ratelimit-policy")), (401, Some("\"auth\";q=3;w=3600")));
    }
    let said = stage.ask("GET", ME, None, None).await;
    assert_eq!((said.status, number(&said, "x-ratelimit-remaining")), (401, 1));
}

#[tokio::test]
async fn exhausted_bad_tokens_refuse_bad_and_missing_tokens_but_never_good_ones() {
    let stage = limited("100/h", "100/h", "2/15m").await;
    let token = stage.token("acme", Role::Viewer);
    for _ in 0..2 {
        assert_eq!(stage.ask("GET", ME, Some("a.bad.token"), None).await.status, 401);
    }
    for token in [Some("a.bad.token"), None] {
        let said = stage.ask("GET", ME, token, None).await;
        assert_eq!((said.refused(429).as_str(), number(&said, "retry-after")), ("RATE_LIMITED", 450));
    }
    stage.ask("GET", ME, Some(&token), None).await.ok(200);
    stage.ask("GET", "/livez", None, None).await.ok(200);
    stage.clock.advance_ms(450_000);
    assert_eq!(stage.ask("GET", ME, None, None).await.status, 401);
}

#[tokio::test]
async fn watched_paths_are_never_limited_and_carry_the_headers() {
    let stage = limited("1/h", "1/h", "1/h").await;
    for token in [None, None, Some("a.bad.token")] {
        stage.ask("GET", ME, token, None).await;
    }
    for path in ["/health", "/livez", "/readyz"] {
        for token in [None, Some("a.bad.token"), Some(stage.token("acme", Role::Viewer).as_str())] {
            let said = stage.ask("GET", path, token, None).await;
            said.ok(200);
            assert!(NAMES.iter().all(|name| said.header(name).is_some()), "{path}");
        }
    }
}

#[tokio::test]
async fn paths_that_only_look_like_watched_ones_are_charged() {
    let stage = limited("100/h", "100/h", "100/h").await;
    let mut remaining = 100;
    for path in
        ["//health", "/health/", "/%68ealth", "/HEALTH", "/health%2f", "/health;a", "/./health", "/x/../health", "/livez/..", "/readyz/x"]
    {
        let mut wire = Wire::to(&stage).await;
        wire.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        let answer = wire.rest().await;
        remaining -= 1;
        assert!(
            answer.starts_with("HTTP/1.1 404 ") && answer.contains(&format!("x-ratelimit-remaining: {remaining}\r")),
            "{path}: {answer}"
        );
    }
    for method in ["HEAD", "OPTIONS", "TRACE", "POST", "BREW"] {
        let said = stage.ask(method, ME, None, None).await;
        remaining -= 1;
        assert_eq!(number(&said, "x-ratelimit-remaining"), remaining, "{method}");
    }
}

#[tokio::test]
async fn every_answer_of_every_status_carries_the_budget_in_both_forms() {
    let stage = Stage::with(|api| api.limits(Some(crate::stage::limiter()), rates("100/h", "3600/h", "5/15m"))).await;
    let member = stage.token("acme", Role::Member);
    let token = Some(member.as_str());
    let large = "x".repeat((4 << 20) + 1);
    let mut answers = vec![
        (200, stage.ask("GET", ME, token, None).await),
        (401, stage.ask("GET", ME, None, None).await),
        (403, stage.ask("DELETE", "/api/v1/rules/x", token, None).await),
        (404, stage.ask("GET", "/nothing/here", token, None).await),
        (405, stage.ask("PUT", "/api/v1/leads", token, None).await),
        (413, Said::of(stage.request("POST", "/api/v1/leads").bearer_auth(&member).json(&large)).await),
        (415, Said::of(stage.request("POST", "/api/v1/leads").bearer_auth(&member).body("x")).await),
        (422, stage.ask("POST", "/api/v1/leads", token, Some(&json!({"id": 1}))).await),
    ];
    stage.clock.panic_in(2);
    answers.push((500, stage.ask("POST", "/api/v1/leads", token, Some(&json!({}))).await));
    for (status, said) in &answers {
        assert_eq!(said.status, *status, "{}", said.text());
        let (limit, reset) = (number(said, "x-ratelimit-limit"), number(said, "x-ratelimit-reset"));
        let remaining = number(said, "x-ratelimit-remaining");
        let (name, window) = if *status == 401 { ("ip", 3600) } else { ("org", 3600) };
        assert_eq!(said.header("ratelimit-policy"), Some(format!("\"{name}\";q={limit};w={window}").as_str()));
        assert_eq!(said.header("ratelimit"), Some(format!("\"{name}\";r={remaining};t={reset}").as_str()));
        assert!(said.header("x-request-id").is_some() && remaining < limit, "{status}");
    }
}

#[tokio::test]
async fn a_forwarded_address_counts_only_when_a_trusted_proxy_says_so() {
    let from = |stage: &Stage, address: &str| Said::of(stage.request("GET", ME).header("x-forwarded-for", address));
    let strict = limited("1/h", "100/h", "100/h").await;
    assert_eq!(from(&strict, "203.0.113.1").await.status, 401);
    assert_eq!(from(&strict, "203.0.113.2").await.status, 429);
    let behind = Stage::with(|api| {
        let proxies = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        api.limits(Some(crate::stage::limiter()), rates("1/h", "100/h", "100/h")).trusted_proxies(proxies)
    })
    .await;
    assert_eq!(from(&behind, "203.0.113.1").await.status, 401);
    assert_eq!(from(&behind, "203.0.113.2").await.status, 401);
    assert_eq!(from(&behind, "203.0.113.2").await.status, 429);
    // Whatever the client wrote before the proxies' part is not believed.
    assert_eq!(from(&behind, "198.51.100.7, 203.0.113.2").await.status, 429);
    assert_eq!(from(&behind, "203.0.113.2, 10.1.2.3").await.status, 429);
}

#[tokio::test]
async fn without_a_limiter_nothing_is_refused_and_the_headers_are_there() {
    let stage = Stage::with(|api| api.limits(None, generous())).await;
    let said = stage.ask("GET", ME, None, None).await;
    assert_eq!(said.status, 401);
    assert!(NAMES.iter().all(|name| said.header(name).is_some()));
}
