//! Everything that can be wrong with a Redis: no verdict, quickly, and verdicts again when it is right.

use std::time::Duration;

use adsengineer_core::limiter::{LimiterError, LimiterStore, RedisLimiter, RedisSettings, TimeOf};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    fixture::{NOW_US, Names, PATIENT, limiter, one, until_back, until_gone},
    redis::{Server, free_port},
};

/// As servers ask.
const USUAL: RedisSettings = RedisSettings { deadline: Duration::from_millis(200), in_flight: 4096, time: TimeOf::Redis };

/// Far less than a request may take, far more than the deadline, so that a busy machine fails nothing.
const SOON: Duration = Duration::from_secs(10);

/// Asks; it must fail soon.
async fn refused(limiter: &RedisLimiter, names: &Names) -> LimiterError {
    let charges = [names.charge("a", 100, 1)];
    tokio::time::timeout(SOON, limiter.charge(&charges, NOW_US)).await.unwrap().unwrap_err()
}

#[test]
fn verdicts_come_before_whoever_waits_for_them_gives_up() {
    let usual = RedisSettings::default();
    assert_eq!((usual.deadline, usual.time), (USUAL.deadline, USUAL.time));
    assert!(usual.deadline < Duration::from_millis(250) && usual.in_flight == USUAL.in_flight);
}

#[tokio::test]
async fn killed_it_is_missed_at_once_and_found_again_with_what_it_kept() {
    let server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (limiter, names) = (limiter(&server.url(), RedisSettings { deadline: PATIENT.deadline, ..USUAL }), Names::new());
    assert_eq!(one(&limiter, names.charge("a", 100, 10), NOW_US).await.remaining, 90);
    server.kill();
    until_gone(&limiter, names.charge("b", 100, 0)).await;
    for _ in 0..100 {
        assert!(matches!(refused(&limiter, &names).await, LimiterError::Unreachable(_)));
    }
    server.start_again();
    until_back(&limiter, names.charge("b", 100, 0)).await;
    assert_eq!(one(&limiter, names.charge("a", 100, 0), NOW_US).await.remaining, 90);
}

#[tokio::test]
async fn hanging_it_is_given_up_in_time_and_asked_again_when_it_goes_on() {
    let server = Server::start(&[]);
    let (limiter, names) = (limiter(&server.url(), USUAL), Names::new());
    until_back(&limiter, names.charge("a", 100, 1)).await;
    server.hang();
    let error = until_gone(&limiter, names.charge("a", 100, 1)).await;
    assert!(error.to_string().contains("does not answer"), "{error}");
    while !refused(&limiter, &names).await.to_string().contains("when connecting") {}
    server.go_on();
    until_back(&limiter, names.charge("a", 100, 1)).await;
}

#[tokio::test]
async fn a_connection_is_looked_at_although_nobody_asks() {
    let server = Server::start(&[]);
    let (limiter, names) = (limiter(&server.url(), USUAL), Names::new());
    until_back(&limiter, names.charge("a", 100, 1)).await;
    let looks = || {
        let stats = server.say(&["INFO", "commandstats"]);
        let after = stats.split_once("cmdstat_evalsha:calls=").unwrap().1;
        after.split(',').next().unwrap().parse::<u32>().unwrap()
    };
    let before = looks();
    while looks() == before {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn checks_that_nobody_waits_for_are_bounded_too() {
    let server = Server::start(&[]);
    let (limiter, names) = (limiter(&server.url(), RedisSettings { in_flight: 10, deadline: PATIENT.deadline, ..USUAL }), Names::new());
    until_back(&limiter, names.charge("a", 100, 0)).await;
    server.hang();
    for _ in 0..10 {
        let charges = [names.charge("a", 100, 1)];
        let mut check = limiter.charge(&charges, NOW_US);
        let began = std::future::poll_fn(|context| std::task::Poll::Ready(check.as_mut().poll(context))).await;
        assert!(began.is_pending());
    }
    let error = refused(&limiter, &names).await;
    assert!(error.to_string().contains("10 checks wait"), "{error}");
    server.go_on();
    until_back(&limiter, names.charge("a", 100, 0)).await;
}

#[tokio::test]
async fn where_nothing_listens_every_check_fails_until_something_does() {
    let port = free_port();
    let (limiter, names) = (limiter(&format!("redis://127.0.0.1:{port}"), USUAL), Names::new());
    for _ in 0..10 {
        assert!(matches!(refused(&limiter, &names).await, LimiterError::Unreachable(_)));
    }
    let _server = Server::at(port, &[]);
    until_back(&limiter, names.charge("a", 100, 1)).await;
}

/// A server that answers every command with `answer`, and keeps the connection open.
async fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = [0; 8192];
                while let Ok(length @ 1..) = stream.read(&mut heard).await {
                    let commands = heard[..length].split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"*")).count();
                    if stream.write_all(&answer.repeat(commands)).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn what_is_no_redis_gives_no_verdict() {
    let names = Names::new();
    for answer in [
        b"".as_slice(),
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"+OK\r\n",
        b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
        b":1\r\n:1\r\n:1\r\n",
        b"$-1\r\n$-1\r\n$-1\r\n",
        b"$4000000000\r\nxxxxxxxx",
        b"$-7\r\n=-7\r\n",
        b"*4000000000\r\n:1\r\n",
        b"%9223372036854775807\r\n",
        b"|9223372036854775807\r\n+OK\r\n",
        b">-1\r\n>1\r\n:1\r\n",
        b"$99999999999999999999\r\n",
        b"\0\0\0\0\xff\xfe",
        b"$40\r\n0000000000000000000000000000000000000000\r\n*3\r\n:1\r\n:0\r\n$1\r\n0\r\n",
        b"-ERR \xff\r\n",
    ] {
        let limiter = limiter(&answering(answer).await, RedisSettings { deadline: Duration::from_millis(50), ..USUAL });
        for _ in 0..2 {
            refused(&limiter, &names).await;
        }
    }
}

#[tokio::test]
async fn a_replica_is_no_place_to_spend_until_it_is_promoted() {
    let primary = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    let (limiter, names) = (limiter(&replica.url(), USUAL), Names::new());
    let error = until_gone(&limiter, names.charge("a", 100, 0)).await;
    assert!(matches!(error, LimiterError::Unreachable(_)), "{error}");
    replica.say(&["REPLICAOF", "NO", "ONE"]);
    until_back(&limiter, names.charge("a", 100, 1)).await;
    replica.say(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    until_gone(&limiter, names.charge("a", 100, 0)).await;
}

#[tokio::test]
async fn without_memory_even_looks_fail_until_there_is_some() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let (limiter, names) = (limiter(&server.url(), USUAL), Names::new());
    until_back(&limiter, names.charge("a", 100, 1)).await;
    assert_eq!(server.say(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    let error = until_gone(&limiter, names.charge("a", 100, 0)).await;
    assert!(matches!(error, LimiterError::Unreachable(_)), "{error}");
    assert_eq!(server.say(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    until_back(&limiter, names.charge("a", 100, 1)).await;
}

#[tokio::test]
async fn other_data_under_a_key_refuse_that_key_and_no_other() {
    let server = Server::start(&[]);
    let (limiter, names) = (limiter(&server.url(), RedisSettings { deadline: PATIENT.deadline, ..USUAL }), Names::new());
    until_back(&limiter, names.charge("look", 100, 0)).await;
    let key = format!("{{adsengineer}}:rate:{:032x}", names.key("a").0);
    for foreign in
        [["RPUSH", &key, "x"], ["SET", &key, "mine"], ["SET", &key, "-1"], ["SET", &key, "1e300"], ["SET", &key, "12345678901234567"]]
    {
        server.say(&["DEL", &key]);
        server.say(&foreign);
        let error = limiter.charge(&[names.charge("b", 100, 1), names.charge("a", 100, 1)], NOW_US).await.unwrap_err();
        assert!(matches!(&error, LimiterError::Nonsense(text) if text.contains(&key)), "{error}");
    }
    // None of it was spent, and nobody else noticed.
    assert_eq!(one(&limiter, names.charge("b", 100, 0), NOW_US).await.remaining, 100);
    server.say(&["DEL", &key]);
    assert!(one(&limiter, names.charge("a", 100, 1), NOW_US).await.allowed);
}

#[tokio::test]
async fn a_wrong_password_is_said_without_being_shown() {
    let server = Server::start(&["--requirepass", "correct-horse"]);
    let names = Names::new();
    for credentials in ["", ":hunter2@", "nobody:hunter2@"] {
        let url = format!("redis://{credentials}127.0.0.1:{}", server.port());
        let limiter = limiter(&url, RedisSettings { deadline: PATIENT.deadline, ..USUAL });
        let error = refused(&limiter, &names).await;
        assert!(matches!(error, LimiterError::Unreachable(_)) && !format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let right = limiter(&format!("redis://:correct-horse@127.0.0.1:{}", server.port()), USUAL);
    until_back(&right, names.charge("a", 100, 1)).await;
}

#[tokio::test]
async fn a_server_that_still_loads_is_waited_for() {
    let names = Names::new();
    let loading = answering(b"-LOADING Redis is loading the dataset in memory\r\n").await;
    let waiting = limiter(&loading, USUAL);
    let error = refused(&waiting, &names).await;
    assert!(error.to_string().contains("LOADING") || error.to_string().contains("loading"), "{error}");
    let old = answering(b"-ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'\r\n").await;
    let error = refused(&limiter(&old, USUAL), &names).await;
    assert!(error.to_string().contains("Redis 7"), "{error}");
}

#[tokio::test]
async fn tls_is_spoken_and_a_certificate_that_nobody_vouches_for_is_refused() {
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors");
    let (certificate, key) = (format!("{vectors}/self_signed_certificate.pem"), format!("{vectors}/self_signed_key.pem"));
    let port = free_port().to_string();
    let options = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &certificate];
    let _server = Server::start(&[&options[..], &["--tls-auth-clients", "no"]].concat());
    let limiter = limiter(&format!("rediss://localhost:{port}"), RedisSettings { deadline: PATIENT.deadline, ..USUAL });
    // Before that it may be too slow for a machine that is busy.
    while !refused(&limiter, &Names::new()).await.to_string().contains("certificate") {}
}
