//! Who sends a request, and whether they may send that many.
//!
//! A token spends its organization's budget, a request without one that of its address. A bad token spends only the address's
//! budget of bad tokens; when that is gone, bad tokens and requests without one are refused, good tokens are not.
//! What cannot be counted is not let through.

use std::{net::IpAddr, panic::AssertUnwindSafe, time::Duration};

use adsengineer_core::{
    client_address::client_address,
    limiter::{Charge, KeyKind, LimiterKey},
    org::Caller,
    rate_limit::{Quota, Verdict},
    token::{TokenError, UnverifiedToken},
};
use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use futures_util::FutureExt;

use super::edge::{REQUEST_ID, guarded};
use crate::{Api, error::Problem};

/// Longest time for the limiter's answer.
const LIMITER_TIMEOUT: Duration = Duration::from_millis(250);
/// The same for a path that is let through anyway, and watched by those who expect an answer within 100 ms.
const WATCHED_TIMEOUT: Duration = Duration::from_millis(40);

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// What says how much remains of a budget.
pub(crate) const BUDGET_HEADERS: [HeaderName; 5] = [STATE, POLICY, X_LIMIT, X_REMAINING, X_RESET];

/// The address of whoever sends the request, as the connection knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Who sends a request.
enum Sender {
    /// Somebody known.
    Known(Caller),
    /// Somebody without a token.
    Nobody,
    /// Somebody with a token that is not good.
    Impostor(Problem),
}

/// Paths that are never limited: whoever watches a server must reach it.
pub(super) fn is_watched(path: &str) -> bool {
    matches!(path, "/health" | "/livez" | "/readyz")
}

pub(crate) async fn gate(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let address = address(&api, &request);
    let sender = if is_watched(request.uri().path()) { Sender::Nobody } else { sender(&api, &request) };
    let charged = charge(&api, &sender, address, is_watched(request.uri().path())).await;
    let (budget, verdict) = match charged {
        Ok(charged) => charged,
        Err(problem) => {
            let (name, quota) = budget_of(&api, &sender);
            let verdict = Verdict { allowed: false, limit: quota.limit(), remaining: 0, retry_after_ms: 60_000, reset_ms: 60_000 };
            return with_headers(problem.into_response(), &Budget { name, quota }, &verdict);
        }
    };
    if !verdict.allowed {
        let problem = refused(&budget, &verdict);
        return with_headers(problem.into_response(), &budget, &verdict);
    }
    // Also the answer to a panic carries the budget.
    let id = request.headers().get(REQUEST_ID).cloned().unwrap_or(HeaderValue::from_static(""));
    let response = match sender {
        Sender::Known(caller) => {
            request.extensions_mut().insert(caller);
            guarded(&id, next.run(request)).await
        }
        Sender::Nobody => guarded(&id, next.run(request)).await,
        Sender::Impostor(problem) => problem.into_response(),
    };
    with_headers(response, &budget, &verdict)
}

/// The client's address: the connection's, or what a trusted proxy says.
fn address(api: &Api, request: &Request) -> IpAddr {
    let extensions = request.extensions();
    let peer = extensions.get::<Peer>().map(|peer| peer.0);
    let peer = peer.or_else(|| extensions.get::<ConnectInfo<std::net::SocketAddr>>().map(|info| info.0.ip()));
    // A host that does not tell addresses has one budget for all of them.
    let peer = peer.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    let forwarded = request.headers().get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    client_address(peer, forwarded, api.proxies())
}

fn sender(api: &Api, request: &Request) -> Sender {
    if let Some(caller) = request.extensions().get::<Caller>() {
        return Sender::Known(caller.clone());
    }
    let mut headers = request.headers().get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (headers.next(), headers.next()) else {
        let many = request.headers().contains_key(header::AUTHORIZATION);
        return if many { impostor("TOKEN_MALFORMED", "the request has more than one Authorization header") } else { Sender::Nobody };
    };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim_matches(' '))
    });
    let Some(token) = token else { return impostor("TOKEN_MALFORMED", "the Authorization header is not `Bearer` and a token") };
    let Some(ring) = api.ring() else { return impostor("TOKEN_KEY_UNKNOWN", "this server takes no tokens") };
    let now_s = api.engine().clock().now_ms().div_euclid(1000);
    match UnverifiedToken::parse(token).and_then(|token| token.verify(ring, now_s)) {
        Ok(claims) if api.engine().is_revoked(&claims.org, &claims.jti) => impostor("TOKEN_REVOKED", "the token was revoked"),
        Ok(claims) => Sender::Known(Caller::with_token(&claims)),
        Err(error) => bad(&error),
    }
}

fn bad(error: &TokenError) -> Sender {
    impostor(error.code(), &error.to_string())
}

fn impostor(code: &'static str, detail: &str) -> Sender {
    Sender::Impostor(Problem::new(StatusCode::UNAUTHORIZED, code, detail))
}

/// What a request spends from.
struct Budget {
    name: &'static str,
    quota: Quota,
}

fn budget_of(api: &Api, sender: &Sender) -> (&'static str, Quota) {
    match sender {
        Sender::Known(_) => ("org", api.rates().org),
        Sender::Nobody => ("ip", api.rates().ip),
        Sender::Impostor(_) => ("auth", api.rates().auth),
    }
}

/// Takes the request out of its sender's budget; of a watched path nothing is taken.
async fn charge(api: &Api, sender: &Sender, address: IpAddr, watched: bool) -> Result<(Budget, Verdict), Problem> {
    let (name, quota) = budget_of(api, sender);
    let budget = Budget { name, quota };
    let Some(limiter) = api.limiter() else {
        let verdict = Verdict { allowed: true, limit: quota.limit(), remaining: quota.limit(), retry_after_ms: 0, reset_ms: 0 };
        return Ok((budget, verdict));
    };
    let now_us = api.engine().clock().now_ms().saturating_mul(1000);
    let bad_tokens = |cost| Charge { key: LimiterKey::for_ip(KeyKind::BadTokens, address), quota: api.rates().auth, cost };
    let charges = match sender {
        Sender::Known(caller) => vec![Charge { key: LimiterKey::new(KeyKind::Org, caller.org().as_str().as_bytes()), quota, cost: 1 }],
        Sender::Nobody if watched => vec![Charge { key: LimiterKey::for_ip(KeyKind::Ip, address), quota, cost: 0 }],
        Sender::Nobody => vec![bad_tokens(0), Charge { key: LimiterKey::for_ip(KeyKind::Ip, address), quota, cost: 1 }],
        Sender::Impostor(_) => vec![bad_tokens(1)],
    };
    let answer = AssertUnwindSafe(limiter.charge(&charges, now_us)).catch_unwind();
    let patience = if watched { WATCHED_TIMEOUT } else { LIMITER_TIMEOUT };
    let why = match tokio::time::timeout(patience, answer).await {
        Ok(Ok(Ok(verdicts))) if make_sense(&charges, &verdicts) => return Ok(counted(api, budget, &verdicts, watched)),
        Ok(Ok(Ok(_))) => "its answer makes no sense".to_owned(),
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(_)) => "it panicked".to_owned(),
        Err(_) => "no answer in time".to_owned(),
    };
    if watched { Ok(unknown(budget)) } else { Err(no_limiter(&why)) }
}

/// One verdict for each charge, and none that promises what the budget does not have.
fn make_sense(charges: &[Charge], verdicts: &[Verdict]) -> bool {
    let fits = |(charge, verdict): (&Charge, &Verdict)| {
        verdict.limit == charge.quota.limit() && verdict.remaining <= verdict.limit && verdict.retry_after_ms >= 0 && verdict.reset_ms >= 0
    };
    !charges.is_empty() && charges.len() == verdicts.len() && charges.iter().zip(verdicts).all(fits)
}

/// The verdict that counts, and on which budget.
fn counted(api: &Api, budget: Budget, verdicts: &[Verdict], watched: bool) -> (Budget, Verdict) {
    match verdicts {
        [only] => (budget, Verdict { allowed: only.allowed || watched, ..*only }),
        // Of two budgets the one that refuses counts.
        [first, ..] if !first.allowed => (Budget { name: "auth", quota: api.rates().auth }, *first),
        [.., last] => (budget, *last),
        [] => unknown(budget),
    }
}

/// A watched path is let through even where nothing can be counted.
fn unknown(budget: Budget) -> (Budget, Verdict) {
    let verdict = Verdict { allowed: true, limit: budget.quota.limit(), remaining: 0, retry_after_ms: 0, reset_ms: 60_000 };
    (budget, verdict)
}

fn no_limiter(why: &str) -> Problem {
    tracing::error!(why, "the rate limiter cannot be asked");
    Problem::no_limiter()
}

fn refused(budget: &Budget, verdict: &Verdict) -> Problem {
    let what = match budget.name {
        "auth" => "too many bad tokens came from this address",
        "ip" => "too many requests without a token came from this address",
        _ => "the organization sent too many requests",
    };
    let seconds = seconds_up(verdict.retry_after_ms);
    let detail = format!("{what}; nothing was done, try again in {seconds} s");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", detail).retry_after(seconds)
}

fn seconds_up(ms: i64) -> u64 {
    u64::try_from(ms.saturating_add(999) / 1000).unwrap_or(0)
}

/// The limits of the IETF draft `ratelimit-headers`, and the older form; all times are seconds from now.
fn with_headers(mut response: Response, budget: &Budget, verdict: &Verdict) -> Response {
    let Budget { name, quota } = budget;
    let reset = seconds_up(if verdict.allowed { verdict.reset_ms } else { verdict.retry_after_ms });
    let window = quota.period_ms().div_ceil(1000);
    let headers = response.headers_mut();
    set(headers, POLICY, &format!("\"{name}\";q={};w={window}", quota.limit()));
    set(headers, STATE, &format!("\"{name}\";r={};t={reset}", verdict.remaining));
    headers.insert(X_LIMIT, HeaderValue::from(quota.limit()));
    headers.insert(X_REMAINING, HeaderValue::from(verdict.remaining));
    headers.insert(X_RESET, HeaderValue::from(reset));
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
