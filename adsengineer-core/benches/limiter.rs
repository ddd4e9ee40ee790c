//! How many checks of rate limits a second, in Redis and in memory, beside what Redis's own benchmark program gets of the same server.
//!
//! `cargo bench -p adsengineer-core --features redis --bench limiter` starts a Redis of its own.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a program to be read")]
#![allow(clippy::cast_precision_loss, unreachable_pub, dead_code, reason = "rates for people; a server shared with the tests")]

#[path = "../../tests/support/redis.rs"]
mod server;

use std::{
    io::Write as _,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use adsengineer_core::{
    limiter::{Charge, KeyKind, LimiterKey, LimiterStore, MemoryLimiter, RedisLimiter, RedisSettings},
    rate_limit::Quota,
};
use tokio::task::JoinSet;

const FOR: Duration = Duration::from_secs(4);

/// Charges as requests have them: of an organization, or of an address with a look at its bad tokens.
fn charges(number: u64, count: u64) -> Vec<Charge> {
    let quota = Quota::try_new(1_000_000_000, 3_600_000, 1_000_000_000).unwrap();
    let key = |kind| LimiterKey::new(kind, &(number % 1000).to_le_bytes());
    match count {
        1 => vec![Charge { key: key(KeyKind::Org), quota, cost: 1 }],
        _ => vec![Charge { key: key(KeyKind::BadTokens), quota, cost: 0 }, Charge { key: key(KeyKind::Ip), quota, cost: 1 }],
    }
}

/// Checks a second with so many callers, and how long the middle one and the slowest of a hundred took.
async fn measure(limiter: Arc<dyn LimiterStore>, callers: u64, count: u64) -> (f64, Duration, Duration) {
    let (started, mut tasks) = (Instant::now(), JoinSet::new());
    for caller in 0..callers {
        let limiter = limiter.clone();
        tasks.spawn(async move {
            let (mut took, mut number) = (Vec::new(), caller * 1_000_003);
            while started.elapsed() < FOR {
                let asked = Instant::now();
                let verdicts = limiter.charge(&charges(number, count), 1_700_000_000_000_000).await.unwrap();
                assert!(verdicts.iter().all(|verdict| verdict.allowed));
                took.push(asked.elapsed());
                number += 1;
            }
            took
        });
    }
    let mut took = tasks.join_all().await.concat();
    took.sort_unstable();
    let rate = took.len() as f64 / started.elapsed().as_secs_f64();
    (rate, took[took.len() / 2], took[took.len() / 100 * 99])
}

/// What `redis-benchmark` says.
fn benchmark(server: &server::Server, how: &[&str], command: &[&str]) -> String {
    let port = server.port().to_string();
    let said = Command::new("redis-benchmark").args(["-p", &port, "-q"]).args(how).args(command).output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout).replace('\r', "\n");
    let line = text.lines().rfind(|line| line.contains("requests per second")).unwrap_or("nothing");
    line.rsplit(": ").next().unwrap_or(line).to_owned()
}

#[tokio::main]
async fn main() {
    let mut out = std::io::stdout();
    let server = server::Server::start(&[]);
    let redis: Arc<dyn LimiterStore> = Arc::new(RedisLimiter::start(server.url().parse().unwrap(), RedisSettings::default()));
    let memory: Arc<dyn LimiterStore> = Arc::new(MemoryLimiter::default());
    while redis.charge(&charges(0, 1), 0).await.is_err() {}
    for (name, limiter) in [("redis", &redis), ("memory", &memory)] {
        for (callers, count) in [(1, 1), (64, 1), (64, 2)] {
            let (rate, middle, slow) = measure(limiter.clone(), callers, count).await;
            writeln!(out, "{name}, {callers} callers, {count} charges: {rate:.0} checks/s, p50 {middle:?}, p99 {slow:?}").unwrap();
        }
    }
    let hash = server.say(&["SCRIPT", "LOAD", include_str!("../src/limiter/redis/charge.lua")]);
    let script = ["evalsha", &hash, "1", "{adsengineer}:rate:__rand_int__", "0", "0", "4", "3600000000", "4"];
    for (name, command) in [("the same script", &script[..]), ("SET", &["set", "key:__rand_int__", "1700000000000000", "px", "60000"])] {
        for how in [&["-c", "1", "-n", "60000"][..], &["-c", "64", "-n", "300000"], &["-c", "1", "-P", "64", "-n", "600000"]] {
            let said = benchmark(&server, &[how, &["-r", "1000"]].concat(), command);
            writeln!(out, "redis-benchmark {} {name}: {said}", how.join(" ")).unwrap();
        }
    }
}
