//! The connection to the Data Manager API.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::{RequestBuilder, header};

use super::{
    answer::{self, Reply},
    check, render, status,
};
use crate::{
    clock::Clock,
    destination::{
        Answer, CheckFinding, Destination, DestinationSpec, Event, Limits, Polled, Rendered, Verdict,
        http::{self, Client, HttpSetupError, Url},
        oauth::{Credentials, TOKEN_URL, TokenError, TokenSetupError, TokenSource},
    },
    outcome::{HoldScope, Outcome, Why},
};

/// Where Google is, and how long it may take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GoogleSettings {
    /// Base URL of the Data Manager API, without a path.
    pub data_manager_url: String,
    /// The token endpoint.
    pub token_url: String,
    /// Longest time for one request, answer included.
    pub timeout: Duration,
}

impl Default for GoogleSettings {
    fn default() -> Self {
        Self {
            data_manager_url: "https://datamanager.googleapis.com".to_owned(),
            token_url: TOKEN_URL.to_owned(),
            timeout: Duration::from_secs(60),
        }
    }
}

/// Why a Google destination cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GoogleSetupError {
    /// The API's URL or the HTTP client.
    #[error(transparent)]
    Http(#[from] HttpSetupError),
    /// The token URL or the key.
    #[error(transparent)]
    Token(#[from] TokenSetupError),
}

/// One Google Ads account, through the Data Manager API.
#[derive(Debug)]
pub struct GoogleDestination {
    accounts: render::Accounts,
    /// Names and ids of the conversion actions, for `check`.
    actions: Vec<(String, String)>,
    client: Client,
    ingest: Url,
    retrieve: Url,
    tokens: TokenSource,
    clock: Clocked,
}

/// A clock that can be debugged.
struct Clocked(Arc<dyn Clock>);

impl std::fmt::Debug for Clocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// Why there is no answer.
enum CallError {
    /// Nothing was sent.
    Token(TokenError),
    /// The connection failed.
    Transport(reqwest::Error),
}

impl GoogleDestination {
    /// A destination for `spec`; nothing is called yet.
    pub fn new(
        spec: &DestinationSpec,
        credentials: Credentials,
        settings: &GoogleSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, GoogleSetupError> {
        let base = settings.data_manager_url.trim().trim_end_matches('/');
        let url = |path: &str| http::endpoint(&format!("{base}{path}"), "the Data Manager API");
        let ingest = url("/v1/events:ingest")?;
        Ok(Self {
            accounts: spec.into(),
            actions: spec.actions.iter().map(|(name, id)| (name.clone(), id.clone())).collect(),
            client: http::client(&ingest, settings.timeout)?,
            retrieve: url("/v1/requestStatus:retrieve")?,
            ingest,
            tokens: TokenSource::new(credentials, &settings.token_url, settings.timeout, Arc::clone(&clock))?,
            clock: Clocked(clock),
        })
    }

    fn post(&self, body: Vec<u8>) -> RequestBuilder {
        self.client.post(self.ingest.clone()).header(header::CONTENT_TYPE, "application/json").body(body)
    }

    /// Sends what `build` makes; a refused token is replaced and the request repeated once.
    async fn call(&self, build: impl Fn() -> RequestBuilder + Send + Sync) -> Result<Reply, CallError> {
        let token = self.tokens.token().await.map_err(CallError::Token)?;
        let reply = self.call_with(build(), token.expose()).await?;
        if reply.status != 401 {
            return Ok(reply);
        }
        self.tokens.invalidate(&token).await;
        let token = self.tokens.token().await.map_err(CallError::Token)?;
        self.call_with(build(), token.expose()).await
    }

    async fn call_with(&self, request: RequestBuilder, token: &str) -> Result<Reply, CallError> {
        let response = request.bearer_auth(token).send().await.map_err(CallError::Transport)?;
        let (status, retry_after) = (response.status().as_u16(), http::retry_after(&response, self.clock.0.now()));
        // A body that broke off is judged like an empty one: a 2xx is then unknown, anything else speaks by its status.
        let body = http::body(response).await.unwrap_or_default();
        Ok(Reply { status, retry_after, body })
    }
}

/// What a broken connection means: only when it never existed is it certain that nothing was taken.
fn transport(error: reqwest::Error) -> Outcome {
    let (connect, timeout, builder) = (error.is_connect(), error.is_timeout(), error.is_builder());
    let detail = http::chain(&error.without_url());
    match (connect, timeout, builder) {
        (true, ..) => Outcome::Retry { after: None, counts: true, why: Why::new("CONNECTION_FAILED", &detail) },
        (_, _, true) => Outcome::Hold(HoldScope::Destination, Why::new("NOT_GOOGLE", &detail)),
        (_, true, _) => Outcome::Unknown(Why::new("TIMEOUT", &detail)),
        _ => Outcome::Unknown(Why::new("CONNECTION_LOST", &detail)),
    }
}

impl CallError {
    fn answer(self) -> Answer {
        match self {
            Self::Token(error) => error.answer(),
            Self::Transport(error) => Answer { healthy: false, ..Answer::all(transport(error)) },
        }
    }

    fn why(self) -> Why {
        match self {
            Self::Token(error) => error.why().clone(),
            Self::Transport(error) => Why::new("STATUS_UNAVAILABLE", &http::chain(&error.without_url())),
        }
    }
}

#[async_trait]
impl Destination for GoogleDestination {
    /// Sources: Data Manager API "Limits and quotas" and "Best practices"; click ids are kept 90 days; a transaction id is matched for good.
    fn limits(&self) -> Limits {
        Limits { batch: render::MAX_EVENTS, dedupe_window: None, event_window: Duration::from_secs(90 * 86_400) }
    }

    fn render(&self, action_id: &str, events: &[Event], validate_only: bool) -> Rendered {
        render::request(&self.accounts, action_id, events, validate_only)
    }

    async fn send(&self, request: &Rendered, rows: usize) -> Answer {
        match self.call(|| self.post(request.body.clone())).await {
            Ok(reply) => answer::judge(&reply, rows),
            Err(error) => error.answer(),
        }
    }

    async fn poll(&self, upload: &Polled) -> Verdict {
        let mut url = self.retrieve.clone();
        url.query_pairs_mut().append_pair("requestId", &upload.request_id);
        match self.call(|| self.client.get(url.clone())).await {
            Ok(reply) => status::judge(&reply, upload.rows),
            Err(error) => Verdict::NotYet(Some(error.why())),
        }
    }

    async fn check(&self) -> Vec<CheckFinding> {
        if let Err(error) = self.tokens.token().await {
            return check::finding(None, &error.answer()).into_iter().collect();
        }
        if self.actions.is_empty() {
            return vec![check::no_actions()];
        }
        let events: Vec<Event> = check::probe(self.clock.0.now()).into_iter().collect();
        let mut findings = Vec::new();
        for (name, action_id) in &self.actions {
            let probe = self.render(action_id, &events, true);
            findings.extend(check::finding(Some(name), &self.send(&probe, events.len()).await));
        }
        findings
    }
}
