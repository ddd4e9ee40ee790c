//! How many events per second the sandbox takes, judging and quick: one caller, full batches, both on one thread.
//!
//! `cargo bench -p adsengineer-server --bench sandbox [-- BATCHES]`

use std::{
    io::Write,
    time::{Duration, Instant},
};

use adsengineer_server::sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};

const BATCH: u64 = 2000;

fn body(batch: u64) -> String {
    let events: Vec<Value> = (batch * BATCH..(batch + 1) * BATCH).map(event).collect();
    json!({
        "destinations": [{
            "operatingAccount": { "accountType": "GOOGLE_ADS", "accountId": "1234567890" },
            "productDestinationId": "987654321",
        }],
        "events": events,
        "consent": { "adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED" },
        "encoding": "HEX",
    })
    .to_string()
}

/// A click id, a value and one hash: about 400 bytes.
fn event(id: u64) -> Value {
    json!({
        "transactionId": format!("{id:032x}"),
        "eventTimestamp": "2026-01-02T03:04:05Z",
        "eventSource": "WEB",
        "currency": "EUR",
        "conversionValue": 12.5,
        "adIdentifiers": { "gclid": format!("CjwKCAiA{id:08x}BhBgEiwA_test{id:08}") },
        "userData": { "userIdentifiers": [{ "emailAddress": format!("{id:064x}") }] },
    })
}

async fn token(sandbox: &Sandbox, http: &reqwest::Client) -> Result<String, Box<dyn std::error::Error>> {
    let mut form: Value = serde_json::from_str(&sandbox.credentials_json())?;
    form["grant_type"] = json!("refresh_token");
    let answer: Value = http.post(sandbox.token_url()).form(&form).send().await?.json().await?;
    Ok(answer["access_token"].as_str().unwrap_or_default().to_owned())
}

/// Only the calls are timed, not the making of their bodies.
async fn run(quick: bool, batches: u64) -> Result<(u64, Duration), Box<dyn std::error::Error>> {
    let sandbox = Sandbox::start(SandboxOptions { quick, ..SandboxOptions::default() }).await?;
    let http = reqwest::Client::new();
    let token = token(&sandbox, &http).await?;
    let url = format!("{}/v1/events:ingest", sandbox.url());
    let mut spent = Duration::ZERO;
    for batch in 0..batches {
        let request = http.post(&url).bearer_auth(&token).header("content-type", "application/json").body(body(batch));
        let start = Instant::now();
        request.send().await?.error_for_status()?.bytes().await?;
        spent += start.elapsed();
    }
    let accepted = sandbox.counters().events_accepted;
    sandbox.shutdown().await;
    Ok((accepted, spent))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let batches = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(100);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (name, quick) in [("judging", false), ("quick", true)] {
        let (events, spent) = runtime.block_on(run(quick, batches))?;
        let per_second = u128::from(events) * 1_000_000 / spent.as_micros().max(1);
        writeln!(std::io::stdout(), "{name}: {events} events in {spent:.2?}, {per_second} events/s")?;
    }
    Ok(())
}
