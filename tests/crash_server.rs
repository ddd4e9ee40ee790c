//! `adsengineer serve` is killed at any moment: what was acknowledged is there, once; told to stop politely it cuts nothing.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "crash_server/clients.rs"]
mod clients;
#[path = "crash_server/server.rs"]
mod server;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use clients::Clients;
use server::{Home, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A number below `end` for a seed: splitmix64 (Steele, Lea, Flood 2014).
fn below(state: &mut u64, end: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % end
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_a_server_has_every_acknowledged_item_exactly_once() {
    let seed = std::env::var("CRASH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
    let mut state = seed;
    let home = Home::new();
    let clients = Clients::start(8, &home.token("member"));
    for _ in 0..8 {
        let mut server = home.serve();
        clients.turn_to(std::slice::from_ref(&server.url));
        // Killed after so many answers of this round, or amid the first ones.
        let enough = clients.answered() + below(&mut state, 150);
        let mut looks = below(&mut state, 2_000_000);
        while clients.answered() < enough && looks > 0 {
            looks -= 1;
            tokio::task::yield_now().await;
        }
        server.kill();
    }
    let server = home.serve();
    clients.turn_to(std::slice::from_ref(&server.url));
    let posted = clients.finish().await;
    let mut found = BTreeMap::new();
    for name in server.leads(&home.token("viewer")).await {
        *found.entry(name).or_insert(0_u32) += 1;
    }
    let wrong: Vec<_> = posted.iter().filter(|email| found.get(*email) != Some(&1)).collect();
    assert!(wrong.is_empty(), "seed {seed}: {wrong:?}");
    assert_eq!(found.len(), posted.len(), "seed {seed}: something is there that nobody sent");
    assert!(posted.len() > 50, "seed {seed}: only {} were posted", posted.len());
    let sum = server.get("/api/v1/reconciliation", &home.token("viewer")).await;
    assert_eq!(sum["closes"], true, "seed {seed}: {sum}");
    let conversions = posted.len() as u64;
    assert_eq!(sum["conversions"].as_u64(), Some(conversions), "seed {seed}: one conversion for each lead: {sum}");
}

/// The head of a POST whose body the server asks for, so that the request is known to be in flight.
fn head(token: &str, length: usize) -> String {
    format!(
        "POST /api/v1/leads HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn told_to_stop_a_server_answers_what_is_in_flight_and_ends_well() {
    let home = Home::new();
    let mut server = home.serve();
    let (address, token) = (server.url.strip_prefix("http://").unwrap().to_owned(), home.token("member"));
    let mut flights = Vec::new();
    for n in 0..10 {
        let body = format!(r#"{{"email":"flight{n}@example.com","consent":{{"storage":"granted"}}}}"#);
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(head(&token, body.len()).as_bytes()).await.unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        flights.push((stream, body));
    }
    server.terminate();
    while TcpStream::connect(&address).await.is_ok() {}
    for (stream, body) in &mut flights {
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 201 ") && answer.ends_with('}'), "{answer}");
    }
    assert_eq!(server.wait(), Some(0));
    let server = home.serve();
    assert_eq!(server.leads(&home.token("viewer")).await.len(), 10);
}

#[tokio::test]
async fn a_server_answers_soon_after_its_start_and_says_where_and_how() {
    let home = Home::new();
    let started = Instant::now();
    let server: Server = home.serve();
    assert_eq!(server.get("/livez", "").await["status"], "ok");
    // An unoptimised build on a busy machine; a release build takes a fiftieth of it.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(server.url.starts_with("http://127.0.0.1:"));
    assert!(!server.url.ends_with(":0"));
}
