//! Budgets in Redis: servers share them, and without it nothing is let through.

use std::{sync::Arc, time::Duration};

use adsengineer_core::{
    limiter::{RedisLimiter, RedisSettings},
    org::Role,
};
use serde_json::{Value, json};

use crate::{
    redis::Server,
    said::Said,
    stage::{Stage, generous, rates},
};

/// A server that counts in `redis`.
async fn counting_in(redis: &Server, rates: adsengineer_server::Rates) -> Stage {
    let limiter = RedisLimiter::start(redis.url().parse().unwrap(), RedisSettings::default());
    Stage::with(|api| api.limits(Some(Arc::new(limiter)), rates)).await
}

fn lead() -> Value {
    json!({"email": "limiter@example.com", "consent": {"storage": "granted"}})
}

/// A lead is sent, and answered long before a client gives up.
async fn send(stage: &Stage, token: &str) -> Said {
    let request = stage.request("POST", "/api/v1/leads").bearer_auth(token).json(&lead()).timeout(Duration::from_secs(5));
    Said::of(request).await
}

/// Sends until there is this answer.
async fn until(stage: &Stage, status: u16) -> Said {
    loop {
        let said = send(stage, &stage.token("acme", Role::Owner)).await;
        if said.status == status {
            return said;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_redis_let_exactly_one_budget_through() {
    let redis = Server::start(&[]);
    let stages = [counting_in(&redis, rates("100/h", "30/h", "5/h")).await, counting_in(&redis, rates("100/h", "30/h", "5/h")).await];
    assert!(stages[0].api.health().can_count().await && stages[1].api.health().can_count().await);
    let ask = |stage: &Stage| {
        let request = stage.request("GET", "/api/v1/me").bearer_auth(stage.token("acme", Role::Viewer));
        async move {
            let mut statuses = Vec::new();
            for _ in 0..25 {
                statuses.push(request.try_clone().unwrap().send().await.unwrap().status().as_u16());
            }
            statuses
        }
    };
    let asked = tokio::join!(ask(&stages[0]), ask(&stages[1]), ask(&stages[0]), ask(&stages[1]));
    let statuses = [asked.0, asked.1, asked.2, asked.3].concat();
    let count = |status| statuses.iter().filter(|said| **said == status).count();
    // On a machine that stands still for a quarter of a second a request may be paid and yet refused; never the other way round.
    assert!(count(200) <= 30 && count(200) + count(503) >= 30, "{statuses:?}");
    assert_eq!(count(200) + count(429) + count(503), 100);
    let other = Said::of(stages[1].request("GET", "/api/v1/me").bearer_auth(stages[1].token("other", Role::Viewer))).await;
    assert_eq!(other.header("x-ratelimit-remaining"), Some("29"));
}

#[tokio::test]
async fn bad_tokens_at_one_server_are_bad_tokens_at_all() {
    let redis = Server::start(&[]);
    let stages = [counting_in(&redis, rates("100/h", "100/h", "4/h")).await, counting_in(&redis, rates("100/h", "100/h", "4/h")).await];
    for stage in stages.iter().cycle().take(4) {
        assert!(stage.api.health().can_count().await);
        assert_eq!(stage.ask("GET", "/api/v1/me", Some("a.bad.token"), None).await.status, 401);
    }
    for stage in &stages {
        assert_eq!(stage.ask("GET", "/api/v1/me", Some("a.bad.token"), None).await.refused(429), "RATE_LIMITED");
        assert_eq!(stage.ask("GET", "/api/v1/me", None, None).await.refused(429), "RATE_LIMITED");
        stage.get("/api/v1/me").await.ok(200);
    }
}

/// What stops a Redis, and lets it go on.
type Fault = (fn(&Server), fn(&Server));

#[tokio::test]
async fn while_redis_is_gone_or_hangs_every_request_is_refused_without_effect_and_then_none() {
    let faults: [Fault; 2] = [(Server::kill, Server::start_again), (Server::hang, Server::go_on)];
    for (stop, go_on) in faults {
        let redis = Server::start(&[]);
        let stage = counting_in(&redis, generous()).await;
        assert!(stage.api.health().can_count().await);
        stop(&redis);
        until(&stage, 503).await;
        let before = stage.effects().await;
        for token in [stage.token("acme", Role::Owner), "a.bad.token".to_owned()] {
            for _ in 0..10 {
                let said = send(&stage, &token).await;
                assert_eq!(said.refused(503), "RATE_LIMIT_CONFIG_ERROR");
                assert_eq!((said.json()["retry_after"].as_u64(), said.header("retry-after")), (Some(60), Some("60")));
                assert!(!said.text().contains("127.0.0.1") && !said.text().contains("redis"), "{}", said.text());
            }
        }
        assert_eq!(stage.effects().await, before);
        stage.api.health().check_limiter().await;
        let health = stage.ask("GET", "/health", None, None).await.ok(503);
        assert_eq!(health["checks"]["rate_limit"]["status"], "unhealthy");
        stage.ask("GET", "/livez", None, None).await.ok(200);
        go_on(&redis);
        until(&stage, 201).await;
        stage.api.health().check().await;
        assert_eq!(stage.ask("GET", "/health", None, None).await.ok(200)["checks"]["rate_limit"]["status"], "healthy");
    }
}

#[tokio::test]
async fn while_redis_is_gone_no_lead_reaches_the_disk() {
    let redis = Server::start(&[]);
    let stage = counting_in(&redis, generous()).await;
    assert!(stage.api.health().can_count().await);
    redis.kill();
    for _ in 0..20 {
        assert_eq!(send(&stage, &stage.token("acme", Role::Owner)).await.refused(503), "RATE_LIMIT_CONFIG_ERROR");
    }
    assert!(!stage.is_on_disk("limiter@example.com"));
    assert_eq!(stage.get("/api/v1/leads").await.status, 503);
}
