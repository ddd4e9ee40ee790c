//! A limiter that cannot be asked lets nothing through, quickly, and nothing happens.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use adsengineer_core::{
    limiter::{Charge, LimiterError, LimiterStore},
    org::Role,
    rate_limit::Verdict,
};
use async_trait::async_trait;
use serde_json::json;

use crate::stage::{Stage, generous};

#[derive(Clone, Copy, Debug)]
enum Fault {
    Fails,
    Hangs,
    Panics,
    TooFew,
    TooMany,
    OtherLimit,
    MoreThanAll,
}

struct Broken(Fault);

#[async_trait]
impl LimiterStore for Broken {
    async fn charge(&self, charges: &[Charge], _: i64) -> Result<Vec<Verdict>, LimiterError> {
        let fine = |charge: &Charge| {
            let limit = charge.quota.limit();
            Verdict { allowed: true, limit, remaining: limit - 1, retry_after_ms: 0, reset_ms: 0 }
        };
        let changed = |change: fn(Verdict) -> Verdict| Ok(charges.iter().map(fine).map(change).collect());
        match self.0 {
            Fault::Fails => Err(LimiterError::Unreachable("connection refused".to_owned())),
            Fault::Hangs => std::future::pending().await,
            Fault::Panics => panic!("out of memory at 10.0.0.1"),
            Fault::TooFew => Ok(Vec::new()),
            Fault::TooMany => Ok(charges.iter().chain(charges).map(fine).collect()),
            Fault::OtherLimit => changed(|verdict| Verdict { limit: verdict.limit + 1, ..verdict }),
            Fault::MoreThanAll => changed(|verdict| Verdict { remaining: verdict.limit + 1, ..verdict }),
        }
    }
}

const ALL: [Fault; 7] = [Fault::Fails, Fault::Hangs, Fault::Panics, Fault::TooFew, Fault::TooMany, Fault::OtherLimit, Fault::MoreThanAll];

#[tokio::test]
async fn a_limiter_that_cannot_be_asked_refuses_everything_quickly_and_without_effect() {
    for fault in ALL {
        let stage = Stage::with(|api| api.limits(Some(Arc::new(Broken(fault))), generous())).await;
        let before = stage.effects().await;
        let token = stage.token("acme", Role::Owner);
        for token in [Some(token.as_str()), Some("a.bad.token"), None] {
            let lead = json!({"email": "limiter@example.com", "consent": {"storage": "granted"}});
            let started = Instant::now();
            let said = stage.ask("POST", "/api/v1/leads", token, Some(&lead)).await;
            assert_eq!(said.refused(503), "RATE_LIMIT_CONFIG_ERROR", "{fault:?}");
            assert_eq!((said.json()["retry_after"].as_u64(), said.header("retry-after")), (Some(60), Some("60")));
            assert!(started.elapsed() < Duration::from_secs(5), "{fault:?} took {:?}", started.elapsed());
            assert!(said.header("ratelimit").is_some() && said.header("x-ratelimit-limit").is_some());
            assert!(!said.text().contains("10.0.0.1") && !said.text().contains("refused"), "{}", said.text());
        }
        assert_eq!(stage.effects().await, before, "{fault:?}");
        assert!(!stage.is_on_disk("limiter@example.com"));
    }
}

#[tokio::test]
async fn whoever_watches_the_server_reaches_it_without_a_limiter() {
    for fault in ALL {
        let stage = Stage::with(|api| api.limits(Some(Arc::new(Broken(fault))), generous())).await;
        for path in ["/livez", "/readyz", "/health"] {
            let said = stage.ask("GET", path, None, None).await;
            assert!(said.header("ratelimit").is_some(), "{fault:?} {path}");
            assert_eq!(said.status, 200, "{fault:?} {path}");
        }
    }
}

#[tokio::test]
async fn health_says_whether_requests_can_be_counted() {
    for (fault, status) in [(None, 200), (Some(Fault::Fails), 503), (Some(Fault::Hangs), 503)] {
        let limiter: Arc<dyn LimiterStore> = fault.map_or_else(crate::stage::limiter, |fault| Arc::new(Broken(fault)));
        let stage = Stage::with(|api| api.limits(Some(limiter), generous())).await;
        stage.api.health().check().await;
        let health = stage.ask("GET", "/health", None, None).await.ok(status);
        let expected = if status == 200 { "healthy" } else { "unhealthy" };
        assert_eq!((&health["status"], &health["checks"]["rate_limit"]["status"]), (&json!(expected), &json!(expected)), "{fault:?}");
        stage.ask("GET", "/readyz", None, None).await.ok(200);
    }
}
