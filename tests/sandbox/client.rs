//! A small client, and requests that are valid until a test spoils them.

use adsengineer_server::sandbox::{Sandbox, SandboxOptions};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

pub(crate) const ACCOUNT: &str = "1234567890";
pub(crate) const ACTION: &str = "987654321";
pub(crate) const HASH: &str = "509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a";

/// A sandbox and a caller with a token.
pub(crate) struct Caller {
    pub(crate) sandbox: Sandbox,
    pub(crate) http: Client,
    pub(crate) token: String,
}

impl Caller {
    pub(crate) async fn with(options: SandboxOptions) -> Self {
        let sandbox = Sandbox::start(options).await.unwrap();
        let http = Client::new();
        let mut caller = Self { sandbox, http, token: String::new() };
        caller.refresh().await;
        caller
    }

    pub(crate) async fn new() -> Self {
        Self::with(SandboxOptions::default()).await
    }

    /// Takes a new token, as a client does with the credentials file.
    pub(crate) async fn refresh(&mut self) {
        let file: Value = serde_json::from_str(&self.sandbox.credentials_json()).unwrap();
        assert_eq!(file["type"], "authorized_user");
        let text = |name: &str| file[name].as_str().unwrap().to_owned();
        let form = [
            ("grant_type", "refresh_token".to_owned()),
            ("client_id", text("client_id")),
            ("client_secret", text("client_secret")),
            ("refresh_token", text("refresh_token")),
        ];
        let answer: Value = self.http.post(text("token_uri")).form(&form).send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap().clone_into(&mut self.token);
    }

    /// An ingest request; sending it is left to the test.
    pub(crate) fn request(&self, body: String) -> RequestBuilder {
        let url = format!("{}/v1/events:ingest", self.sandbox.url());
        self.http.post(url).bearer_auth(&self.token).header("content-type", "application/json").body(body)
    }

    pub(crate) async fn ingest(&self, body: &Value) -> (u16, Value) {
        self.ingest_text(body.to_string()).await
    }

    pub(crate) async fn ingest_text(&self, body: String) -> (u16, Value) {
        let answer = self.request(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The request id of a request that must be taken.
    pub(crate) async fn take(&self, body: &Value) -> String {
        let (status, answer) = self.ingest(body).await;
        assert_eq!(status, 200, "{answer}");
        answer["requestId"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn poll(&self, request_id: &str) -> (u16, Value) {
        let url = format!("{}/v1/requestStatus:retrieve?requestId={request_id}", self.sandbox.url());
        let answer = self.http.get(url).bearer_auth(&self.token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The first destination's verdict.
    pub(crate) async fn verdict(&self, request_id: &str) -> Value {
        let (status, mut answer) = self.poll(request_id).await;
        assert_eq!(status, 200, "{answer}");
        answer["requestStatusPerDestination"][0].take()
    }

    /// The numbers add up, whatever happened.
    pub(crate) fn assert_sums_close(&self) {
        let it = self.sandbox.counters();
        assert_eq!(it.events_received, it.events_accepted + it.events_failed + it.events_refused + it.events_validated, "{it:?}");
        assert_eq!(it.events_accepted, it.conversions + it.repeated + it.overwritten, "{it:?}");
        assert_eq!(it.conversions, self.sandbox.accepted().len() as u64);
        assert_eq!(it.events_accepted, self.sandbox.accepted().iter().map(|conversion| conversion.times_received).sum::<u64>());
    }
}

/// A valid event with a click id.
pub(crate) fn event(id: usize) -> Value {
    json!({
        "transactionId": format!("order-{id}"),
        "eventTimestamp": "2026-01-02T03:04:05Z",
        "eventSource": "WEB",
        "currency": "EUR",
        "conversionValue": 12.5,
        "adIdentifiers": { "gclid": format!("Cj0KCQ-{id}") },
    })
}

/// A valid request with these events.
pub(crate) fn request(events: &[Value]) -> Value {
    json!({
        "destinations": [{
            "operatingAccount": { "accountType": "GOOGLE_ADS", "accountId": ACCOUNT },
            "productDestinationId": ACTION,
        }],
        "events": events,
        "consent": { "adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED" },
        "encoding": "HEX",
    })
}

/// A valid request with this many events.
pub(crate) fn request_of(count: usize) -> Value {
    request(&(0..count).map(event).collect::<Vec<_>>())
}

/// Sets or removes (null) what a JSON pointer names.
pub(crate) fn spoil(body: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap();
    if value.is_null() {
        parent.as_object_mut().unwrap().remove(key);
    } else {
        parent[key] = value;
    }
}
