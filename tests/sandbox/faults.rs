//! Faults by plan: what the caller sees, and whether the events were counted.

use std::time::Duration;

use adsengineer_server::sandbox::{Fault, FaultPlan, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::client::{Caller, request_of};

async fn meeting(fault: Fault) -> Caller {
    Caller::with(SandboxOptions { faults: FaultPlan::none().at(1, fault), ..SandboxOptions::default() }).await
}

/// Sends one request into the fault, another after it; how many conversions each left.
async fn counted(caller: &Caller) -> (u64, u64) {
    let before = caller.sandbox.counters().conversions;
    caller.take(&request_of(1)).await;
    caller.assert_sums_close();
    (before, caller.sandbox.counters().conversions)
}

#[tokio::test]
async fn answers_that_mean_not_processed_leave_nothing() {
    let quota = Fault::Quota429 { retry_delay: Some(Duration::from_millis(1500)) };
    for (fault, status) in [(Fault::Unavailable503, 503), (Fault::Html502, 502), (quota, 429)] {
        let caller = meeting(fault).await;
        let answer = caller.request(request_of(1).to_string()).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(counted(&caller).await, (0, 1));
        assert_eq!(caller.sandbox.counters().faults, [(fault.name(), 1)].into());
        assert_eq!(caller.sandbox.counters().requests_refused, 0);
    }
}

#[tokio::test]
async fn a_quota_error_names_the_quota_and_the_wait_where_there_is_one() {
    let caller = meeting(Fault::Quota429 { retry_delay: Some(Duration::from_millis(1500)) }).await;
    let (_, answer) = caller.ingest(&request_of(1)).await;
    assert_eq!(answer["error"]["status"], "RESOURCE_EXHAUSTED");
    assert!(answer["error"]["details"][0]["metadata"]["quota_limit"].is_string());
    assert_eq!(answer["error"]["details"][1]["retryDelay"], "1.5s");
    caller.sandbox.set_faults(FaultPlan::none().at(1, Fault::Quota429 { retry_delay: None }));
    let (_, answer) = caller.ingest(&request_of(1)).await;
    assert_eq!(answer["error"]["details"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_reset_before_processing_leaves_nothing_and_no_answer() {
    let caller = meeting(Fault::ResetBefore).await;
    assert!(caller.request(request_of(1).to_string()).send().await.is_err());
    assert_eq!(counted(&caller).await, (0, 1));
}

#[tokio::test]
async fn a_reset_after_commit_leaves_the_events_and_no_answer() {
    let caller = meeting(Fault::ResetAfterCommit).await;
    assert!(caller.request(request_of(1).to_string()).send().await.is_err());
    assert_eq!(counted(&caller).await, (1, 1));
    assert_eq!(caller.sandbox.counters().repeated, 1);
}

#[tokio::test]
async fn a_reset_is_a_reset_on_the_wire() {
    use std::io::{Read, Write};
    let caller = meeting(Fault::ResetBefore).await;
    let address = caller.sandbox.url().replace("http://", "");
    let error = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"POST /v1/events:ingest HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").unwrap();
        stream.read(&mut [0; 64]).unwrap_err()
    });
    assert_eq!(error.await.unwrap().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn garbage_after_commit_is_a_200_that_cannot_be_read() {
    let caller = meeting(Fault::GarbageAfterCommit).await;
    let answer = caller.request(request_of(1).to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.json::<Value>().await.is_err());
    assert_eq!(counted(&caller).await, (1, 1));
}

#[tokio::test]
async fn a_token_that_expires_meanwhile_needs_a_refresh() {
    let mut caller = meeting(Fault::ExpiredToken401).await;
    let (status, answer) = caller.ingest(&request_of(1)).await;
    assert_eq!((status, &answer["error"]["details"][0]["reason"]), (401, &json!("ACCESS_TOKEN_EXPIRED")));
    assert_eq!(caller.ingest(&request_of(1)).await.0, 401);
    caller.refresh().await;
    assert_eq!(counted(&caller).await, (0, 1));
}

#[tokio::test]
async fn a_hang_ends_in_a_reset() {
    for (fault, conversions) in [(Fault::Hang(Duration::from_millis(1)), 0), (Fault::HangAfterCommit(Duration::from_millis(1)), 1)] {
        let caller = meeting(fault).await;
        assert!(caller.request(request_of(1).to_string()).send().await.is_err());
        assert_eq!(counted(&caller).await, (conversions, 1));
    }
}

#[tokio::test]
async fn shutting_down_ends_hanging_requests() {
    let caller = meeting(Fault::HangAfterCommit(Duration::from_secs(300))).await;
    let sent = tokio::spawn(caller.request(request_of(1).to_string()).send());
    while caller.sandbox.counters().conversions == 0 {
        tokio::task::yield_now().await;
    }
    caller.sandbox.shutdown().await;
    assert!(sent.await.unwrap().is_err());
}

#[tokio::test]
async fn a_stopped_sandbox_frees_its_port() {
    let first = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let port = first.url().rsplit_once(':').unwrap().1.parse().unwrap();
    assert!(Sandbox::start(SandboxOptions { port, ..SandboxOptions::default() }).await.is_err());
    first.shutdown().await;
    let second = Sandbox::start(SandboxOptions { port, ..SandboxOptions::default() }).await.unwrap();
    assert!(second.token_url().ends_with(&format!(":{port}/token")));
}

#[tokio::test]
async fn resending_until_taken_loses_and_doubles_nothing_whatever_the_faults() {
    let faults = FaultPlan::none()
        .chance(Fault::Unavailable503, 0.1)
        .chance(Fault::ResetBefore, 0.1)
        .chance(Fault::ResetAfterCommit, 0.2)
        .chance(Fault::GarbageAfterCommit, 0.2)
        .seed(11)
        .until(500);
    let caller = Caller::with(SandboxOptions { faults, ..SandboxOptions::default() }).await;
    for id in 0..50 {
        let body = crate::client::request(&[crate::client::event(id)]).to_string();
        loop {
            let Ok(answer) = caller.request(body.clone()).send().await else { continue };
            if answer.json::<Value>().await.is_ok_and(|answer| answer["requestId"].is_string()) {
                break;
            }
        }
    }
    let counters = caller.sandbox.counters();
    assert_eq!((counters.conversions, counters.repeated_changed, counters.overwritten), (50, 0, 0));
    assert!(counters.repeated > 0 && counters.faults.len() == 4, "{counters:?}");
    caller.assert_sums_close();
}

#[tokio::test]
async fn polls_and_tokens_can_be_away_for_a_while() {
    let caller = Caller::new().await;
    let id = caller.take(&request_of(1)).await;
    caller.sandbox.fail_polls(1);
    assert_eq!(caller.poll(&id).await.0, 503);
    assert_eq!(caller.verdict(&id).await["requestStatus"], "SUCCESS");
    caller.sandbox.fail_tokens(1);
    let ask = async || caller.http.post(caller.sandbox.token_url()).form(&[("grant_type", "x")]).send().await.unwrap();
    let away = ask().await;
    assert_eq!(away.status(), 503);
    assert_eq!(away.json::<Value>().await.unwrap()["error"], "temporarily_unavailable");
    assert_eq!(ask().await.status(), 400);
}
