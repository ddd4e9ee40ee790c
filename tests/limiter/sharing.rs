//! Several limiters on one Redis, as several processes have them.

use std::{sync::Arc, time::Duration};

use adsengineer_core::limiter::{LimiterStore as _, RedisSettings, TimeOf};
use tokio::task::JoinSet;

use crate::{
    fixture::{NOW_US, Names, PATIENT, limiter, one, url},
    redis::{Server, free_port},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_tasks_on_two_limiters_are_admitted_exactly_one_budget() {
    let (url, names) = (url(), Arc::new(Names::new()));
    let limiters = [Arc::new(limiter(&url, PATIENT)), Arc::new(limiter(&url, PATIENT))];
    let mut tasks = JoinSet::new();
    for task in 0..50 {
        let (limiter, names) = (limiters[task % 2].clone(), names.clone());
        tasks.spawn(async move {
            let mut admitted = 0;
            for round in 0..40 {
                let own = names.charge(&format!("{task} {round}"), 5, 1);
                let mut charges = vec![names.charge("shared", 1000, 1), own];
                if task % 3 == 0 {
                    charges.reverse();
                }
                let verdicts = limiter.charge(&charges, NOW_US).await.unwrap();
                admitted += u32::from(verdicts.iter().all(|verdict| verdict.allowed));
            }
            admitted
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<u32>(), 1000);
}

#[tokio::test]
async fn redis_s_own_clock_counts_whatever_the_callers_believe() {
    let settings = RedisSettings { time: TimeOf::Redis, ..PATIENT };
    let (ahead, behind, names) = (limiter(&url(), settings), limiter(&url(), settings), Names::new());
    let hour_us = 3_600_000_000;
    for (limiter, now_us, remaining) in [(&ahead, NOW_US + 24 * hour_us, 2), (&behind, NOW_US - 24 * hour_us, 1), (&ahead, i64::MAX, 0)] {
        let verdict = one(limiter, names.charge("a", 3, 1), now_us).await;
        assert_eq!((verdict.allowed, verdict.remaining), (true, remaining));
        assert!((1..=3_600_000).contains(&verdict.reset_ms), "{}", verdict.reset_ms);
    }
    assert!(!one(&behind, names.charge("a", 3, 1), 0).await.allowed);
}

#[tokio::test]
async fn keys_end_by_themselves_and_hold_nothing_but_a_number() {
    let server = Server::start(&[]);
    let (limiter, names) = (limiter(&server.url(), RedisSettings { time: TimeOf::Redis, ..PATIENT }), Names::new());
    let quota = adsengineer_core::rate_limit::Quota::try_new(1, 1, 1).unwrap();
    let brief = adsengineer_core::limiter::Charge { quota, ..names.charge("brief", 1, 1) };
    limiter.charge(&[brief, names.charge("long", 10, 1)], NOW_US).await.unwrap();
    while server.say(&["DBSIZE"]) != "1" {
        tokio::task::yield_now().await;
    }
    let key = server.say(&["KEYS", "*"]);
    assert!(key.starts_with("{adsengineer}:rate:") && key.len() == 51, "{key}");
    let left_ms: i64 = server.say(&["PTTL", &key]).parse().unwrap();
    assert!((1..=360_000).contains(&left_ms), "{left_ms}");
    assert!(server.say(&["GET", &key]).parse::<i64>().unwrap() > NOW_US);
}

#[tokio::test]
async fn a_budget_survives_flushed_scripts_and_a_new_connection() {
    let server = Server::start(&[]);
    let (limiter, names) = (limiter(&server.url(), PATIENT), Names::new());
    assert_eq!(one(&limiter, names.charge("a", 3, 1), NOW_US).await.remaining, 2);
    server.say(&["SCRIPT", "FLUSH"]);
    assert_eq!(one(&limiter, names.charge("a", 3, 1), NOW_US).await.remaining, 1);
    server.say(&["CLIENT", "KILL", "TYPE", "normal"]);
    crate::fixture::until_back(&limiter, names.charge("b", 3, 0)).await;
    assert_eq!(one(&limiter, names.charge("a", 3, 1), NOW_US).await.remaining, 0);
}

#[tokio::test]
async fn a_user_with_few_rights_is_enough() {
    let server = Server::start(&[]);
    let rights = ["on", ">s:e/c@r", "~{adsengineer}:*", "-@all", "+evalsha", "+eval", "+script|load", "+get", "+set", "+time", "+select"];
    assert_eq!(server.say(&[&["ACL", "SETUSER", "limits"], &rights[..]].concat()), "OK");
    let url = format!("redis://limits:s%3Ae%2Fc%40r@127.0.0.1:{}/3", server.port());
    let (limiter, names) = (limiter(&url, PATIENT), Names::new());
    assert_eq!(one(&limiter, names.charge("a", 3, 1), NOW_US).await.remaining, 2);
}

#[tokio::test]
async fn in_a_cluster_the_node_that_has_the_budgets_is_found() {
    // Otherwise ten thousand above the port, which may be none.
    let between = [free_port().to_string(), free_port().to_string()];
    let nodes = [0, 1].map(|n| Server::start(&["--cluster-enabled", "yes", "--cluster-port", &between[n]]));
    assert_eq!(nodes[0].say(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]), "OK");
    assert_eq!(nodes[1].say(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]), "OK");
    assert_eq!(nodes[0].say(&["CLUSTER", "MEET", "127.0.0.1", &nodes[1].port().to_string(), &between[1]]), "OK");
    while !nodes.iter().all(|node| node.say(&["CLUSTER", "INFO"]).starts_with("cluster_state:ok")) {
        tokio::task::yield_now().await;
    }
    let names = Names::new();
    for node in &nodes {
        let limiter = limiter(&node.url(), RedisSettings { deadline: Duration::from_secs(10), ..PATIENT });
        crate::fixture::until_back(&limiter, names.charge("look", 9, 0)).await;
        limiter.charge(&[names.charge("a", 9, 1), names.charge("b", 9, 1)], NOW_US).await.unwrap();
    }
    let limiter = limiter(&nodes[0].url(), PATIENT);
    crate::fixture::until_back(&limiter, names.charge("look", 9, 0)).await;
    assert_eq!(one(&limiter, names.charge("a", 9, 0), NOW_US).await.remaining, 7);
}
