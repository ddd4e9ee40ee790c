//! The HTTP client for a server of ours: one token, one time limit, no redirects, and only safe requests are repeated.

use std::time::{Duration, Instant};

use adsengineer_core::{
    destination::http::{self, Url, chain},
    secret::Secret,
};
use reqwest::{
    Method, Response, StatusCode,
    header::{self, HeaderValue},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::error::CliError;

/// Attempts of a request that may be repeated.
const ATTEMPTS: u32 = 4;
/// Wait after the first of them; doubles.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Why a request was not done.
#[derive(Debug)]
pub enum Failure {
    /// The server refused it.
    Refused(Problem),
    /// Something answered that is not a server of ours.
    NotOurs(String),
    /// Nobody answered in time.
    Unreachable(String),
    /// The token cannot be sent.
    BadToken,
}

/// What the server says of a refused request (RFC 9457).
#[derive(Debug, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// Stable, UPPER_SNAKE.
    pub code: String,
    /// What happened.
    pub detail: String,
    /// What finds the request in the server's log.
    pub request_id: Option<String>,
    /// Seconds after which it may work.
    pub retry_after: Option<u64>,
    /// What is wrong with which field.
    #[serde(default)]
    pub errors: Vec<FieldProblem>,
}

/// What is wrong with a field.
#[derive(Debug, Deserialize)]
pub struct FieldProblem {
    /// The field.
    pub pointer: String,
    /// Stable, UPPER_SNAKE.
    pub code: String,
    /// What is wrong.
    pub detail: String,
}

/// A request.
pub struct Request<'a> {
    method: Method,
    path: &'a [&'a str],
    query: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
    key: Option<String>,
}

impl<'a> Request<'a> {
    /// Asks for something.
    pub fn get(path: &'a [&'a str]) -> Self {
        Self::new(Method::GET, path)
    }

    /// Any other request without a body.
    pub fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self { method, path, query: Vec::new(), body: None, key: None }
    }

    /// Sends JSON along.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        Self { body: Some(body.to_string().into_bytes()), ..self }
    }

    /// With these parameters, those that have a value.
    #[must_use]
    pub fn query(mut self, parameters: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Self {
        self.query.extend(parameters.into_iter().filter_map(|(name, value)| Some((name, value?))));
        self
    }

    /// Safe to repeat: the server does it once.
    #[must_use]
    pub fn once(self, key: String) -> Self {
        Self { key: Some(key), ..self }
    }
}

/// An answer, whatever its status.
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    json: bool,
    bytes: Vec<u8>,
}

impl Answer {
    /// The body as `T`, if it is one.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let bytes = if self.status == StatusCode::NO_CONTENT { b"null".as_slice() } else { &self.bytes };
        if !self.json && self.status != StatusCode::NO_CONTENT {
            return Err(Failure::NotOurs(format!("it answered {} with something that is not JSON", self.status)));
        }
        serde_json::from_slice(bytes).map_err(|_| Failure::NotOurs(format!("it answered {} with JSON of another kind", self.status)))
    }

    fn accepted<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        if self.status.is_success() {
            return self.read();
        }
        match self.read::<Problem>() {
            Ok(problem) => Err(Failure::Refused(problem)),
            Err(_) if self.status.is_redirection() => {
                Err(Failure::NotOurs(format!("it redirects ({}), which is not followed", self.status)))
            }
            Err(_) => Err(Failure::NotOurs(format!("it answered {} without saying why", self.status))),
        }
    }

    /// How long to wait before another attempt, if that may help.
    fn wait(&self) -> Option<Duration> {
        let busy = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&self.status);
        let problem = self.read::<Problem>().ok();
        let running = problem.as_ref().is_some_and(|p| p.code == "IDEMPOTENCY_KEY_IN_USE");
        (busy || running).then(|| Duration::from_secs(problem.and_then(|p| p.retry_after).unwrap_or(0)))
    }
}

/// A connection to one server.
#[derive(Debug)]
pub struct Client {
    base: Url,
    http: http::Client,
    token: Option<Secret<String>>,
    patience: Duration,
}

impl Client {
    /// A client for `server`; every request ends within `patience`, repeats included.
    pub fn new(server: &str, token: Option<Secret<String>>, patience: Duration) -> Result<Self, CliError> {
        let wrong = |e: &dyn std::fmt::Display| CliError::usage(e.to_string());
        let base = http::endpoint(server, "the server").map_err(|e| wrong(&e))?;
        let http = http::client(&base, patience).map_err(|e| wrong(&e))?;
        Ok(Self { base, http, token, patience })
    }

    /// Where it is, without anything secret.
    pub fn server(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// How long one request may take.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Sends a request and reads the answer as `T`.
    pub async fn call<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, CliError> {
        let answer = self.send(request).await.and_then(|answer| answer.accepted());
        answer.map_err(|failure| CliError::from_server(self.server(), failure))
    }

    /// Sends a request; repeated a few times if that is safe and may help.
    pub async fn send(&self, request: Request<'_>) -> Result<Answer, Failure> {
        let repeatable = request.method == Method::GET || request.key.is_some();
        let until = Instant::now() + self.patience;
        for attempt in 1.. {
            let answer = self.attempt(&request).await;
            let asked = match &answer {
                Ok(answer) => answer.wait(),
                Err(Failure::Unreachable(_)) => Some(Duration::ZERO),
                Err(_) => None,
            };
            let Some(asked) = asked.filter(|_| repeatable && attempt < ATTEMPTS) else { return answer };
            let wait = asked.max(FIRST_WAIT * 2_u32.pow(attempt - 1));
            if Instant::now() + wait >= until {
                return answer;
            }
            tokio::time::sleep(wait).await;
        }
        Err(Failure::Unreachable("no attempt was made".to_owned()))
    }

    async fn attempt(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(request.path);
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let mut builder = self.http.request(request.method.clone(), url).header(header::ACCEPT, "application/json");
        if let Some(token) = &self.token {
            let value = HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| Failure::BadToken)?;
            builder = builder.header(header::AUTHORIZATION, sensitive(value));
        }
        if let Some(key) = &request.key {
            builder = builder.header("idempotency-key", key);
        }
        if let Some(body) = &request.body {
            builder = builder.header(header::CONTENT_TYPE, "application/json").body(body.clone());
        }
        let lost = |e: reqwest::Error| Failure::Unreachable(chain(&e.without_url()));
        answer(builder.send().await.map_err(lost)?).await
    }
}

fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

async fn answer(response: Response) -> Result<Answer, Failure> {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let json = kind.starts_with("application/json") || kind.starts_with("application/problem+json");
    let status = response.status();
    match http::body(response).await {
        Ok(bytes) => Ok(Answer { status, json, bytes }),
        Err(http::BodyError::TooLong) => Err(Failure::NotOurs("its answer is too long".to_owned())),
        Err(error) => Err(Failure::Unreachable(error.to_string())),
    }
}
