//! Tokens and what happens without them.

use std::time::Duration;

use adsengineer_server::sandbox::{Access, SandboxOptions};
use serde_json::Value;

use crate::client::{Caller, request_of};

fn info(answer: &Value) -> (&str, &str) {
    let error = &answer["error"];
    (error["status"].as_str().unwrap(), error["details"][0]["reason"].as_str().unwrap())
}

#[tokio::test]
async fn a_call_needs_a_live_token() {
    let mut caller = Caller::new().await;
    let anonymous = caller.http.post(format!("{}/v1/events:ingest", caller.sandbox.url())).body("{}").send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
    assert!(anonymous.headers().contains_key("www-authenticate"));
    assert_eq!(info(&anonymous.json().await.unwrap()), ("UNAUTHENTICATED", "CREDENTIALS_MISSING"));

    caller.sandbox.expire_tokens();
    let (status, answer) = caller.ingest(&request_of(1)).await;
    assert_eq!((status, info(&answer)), (401, ("UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED")));
    assert_eq!(caller.poll("t-1").await.0, 401);

    caller.refresh().await;
    caller.take(&request_of(1)).await;
    let counters = caller.sandbox.counters();
    assert_eq!((counters.tokens_issued, counters.requests_refused, counters.conversions), (2, 2, 1));
}

#[tokio::test]
async fn a_token_of_no_lifetime_is_expired_at_once() {
    let caller = Caller::with(SandboxOptions { token_lifetime: Duration::ZERO, ..SandboxOptions::default() }).await;
    assert_eq!(caller.ingest(&request_of(1)).await.0, 401);
}

#[tokio::test]
async fn a_grant_without_the_scope_and_a_switched_off_api_are_told_apart() {
    let caller = Caller::with(SandboxOptions { access: Access::ScopeMissing, ..SandboxOptions::default() }).await;
    let (status, answer) = caller.ingest(&request_of(1)).await;
    assert_eq!((status, info(&answer)), (403, ("PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT")));
    caller.sandbox.set_access(Access::ServiceDisabled);
    let (status, answer) = caller.ingest(&request_of(1)).await;
    assert_eq!((status, info(&answer)), (403, ("PERMISSION_DENIED", "SERVICE_DISABLED")));
    caller.sandbox.set_access(Access::Granted);
    caller.take(&request_of(1)).await;
}

#[tokio::test]
async fn the_token_endpoint_answers_in_oauth_words() {
    let caller = Caller::new().await;
    let file: Value = serde_json::from_str(&caller.sandbox.credentials_json()).unwrap();
    let ask = async |secret: &str| {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", file["client_id"].as_str().unwrap()),
            ("client_secret", secret),
            ("refresh_token", file["refresh_token"].as_str().unwrap()),
        ];
        let answer = caller.http.post(caller.sandbox.token_url()).form(&form).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let secret = file["client_secret"].as_str().unwrap();
    let (status, good) = ask(secret).await;
    assert_eq!((status, good["token_type"].as_str(), good["expires_in"].as_u64()), (200, Some("Bearer"), Some(3599)));
    let (status, stranger) = ask("wrong").await;
    assert_eq!((status, stranger["error"].as_str()), (401, Some("invalid_client")));
    caller.sandbox.set_revoked(true);
    let (status, revoked) = ask(secret).await;
    assert_eq!((status, revoked["error"].as_str()), (400, Some("invalid_grant")));
    let not_a_form = caller.http.post(caller.sandbox.token_url()).body("{}").send().await.unwrap();
    assert_eq!(not_a_form.json::<Value>().await.unwrap()["error"], "invalid_request");
    assert_eq!(caller.sandbox.counters().tokens_refused, 3);
}
