//! Everyday verbs by a server.

use std::time::{Duration, Instant};

use adsengineer_core::{
    destination::DestinationSpec,
    engine::{Matched, ReplayRequest, new_token_id},
    secret::Secret,
    shape::{
        Conversion, Conversions, DeadLetter, DeadLetters, Destination, Destinations, Lead, Leads, Reconciliation, ReplayStatus, Rule,
        Rules, Status,
    },
    store::{ConversionQuery, DeadLetterQuery, ReplayState},
};
use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, Checked, Follow, LeadFilter, Mended};
use crate::{
    client::{Client, Request},
    error::{CliError, Exit},
};

/// Items that one request asks for at most.
const PAGE: usize = 1000;
/// Between two looks at a replay.
const LOOK: Duration = Duration::from_millis(500);

/// A server.
pub struct Remote {
    client: Client,
}

/// What a dry run says.
#[derive(Deserialize)]
struct Counted {
    matched: u64,
    needs_accept_duplicates: u64,
}

/// What became of dead letters that were given up.
#[derive(Deserialize)]
struct Discarded {
    matched: u64,
    discarded: u64,
}

/// A destination is gone.
#[derive(Deserialize)]
struct Removed {
    suppressed: u64,
}

impl Remote {
    /// The server that `client` asks.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &[&str]) -> Result<T, CliError> {
        self.client.call(Request::get(&[&["api", "v1"], path].concat())).await
    }

    /// Pages until `limit` items are there or no more.
    async fn pages<P: serde::de::DeserializeOwned, T>(
        &self,
        resource: &str,
        filter: Vec<(&'static str, Option<String>)>,
        (mut cursor, limit): (Option<String>, usize),
        take: fn(P) -> (Vec<T>, Option<String>),
    ) -> Result<(Vec<T>, Option<String>), CliError> {
        let mut all = Vec::new();
        loop {
            let page = (limit - all.len()).clamp(1, PAGE);
            let path = ["api", "v1", resource];
            let request = Request::get(&path).query(filter.clone());
            let request = request.query([("cursor", cursor.take()), ("limit", Some(page.to_string()))]);
            let (items, next) = take(self.client.call(request).await?);
            all.extend(items);
            cursor = next;
            if cursor.is_none() || all.len() >= limit {
                return Ok((all, cursor));
            }
        }
    }

    /// The replay until it ends, or until Ctrl-C, which leaves it running.
    async fn followed(&self, mut status: ReplayStatus, patience: Duration, follow: &Follow) -> Result<ReplayStatus, CliError> {
        let mut moved = (Instant::now(), status.replayed + status.skipped);
        while status.state == ReplayState::Running {
            follow(&status);
            let done = status.replayed + status.skipped;
            if done != moved.1 {
                moved = (Instant::now(), done);
            } else if moved.0.elapsed() > patience {
                return Err(stalled(&status.replay_id));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = tokio::signal::ctrl_c() => return Ok(status),
            }
            status = self.get(&["dlq", "replays", &status.replay_id]).await?;
        }
        follow(&status);
        Ok(status)
    }
}

/// Nobody goes on with a replay.
fn stalled(id: &str) -> CliError {
    let text = format!("replay {id} has begun, but nothing goes on with it; does a worker run where the server is?");
    CliError::new(Exit::Unavailable, "REPLAY_STALLED", text).hint(format!("`adsengineer dlq stop {id}` stops it; a worker goes on with it"))
}

fn instant(ms: Option<i64>) -> Option<String> {
    Timestamp::from_millisecond(ms?).ok().map(|at| at.to_string())
}

fn order(descending: bool) -> Option<String> {
    Some(if descending { "desc" } else { "asc" }.to_owned())
}

/// Which dead letters, as the server reads it.
fn choice(request: &ReplayRequest) -> Value {
    let mut body = json!({"note": request.note});
    if request.ids.is_empty() {
        let f = &request.filter;
        body["filter"] =
            json!({"reason": f.reason, "destination": f.destination, "since": instant(f.since_ms), "until": instant(f.until_ms)});
    } else {
        body["ids"] = request.ids.iter().map(ToString::to_string).collect();
    }
    body
}

fn replay_body(request: &ReplayRequest) -> Value {
    let mut body = choice(request);
    body["accept_duplicates"] = request.accept_duplicates.into();
    // One every n milliseconds, in the server's words.
    body["rate"] = match request.every_ms {
        ..=0 => Value::Null,
        ms @ 1..=1_000 => format!("{}/s", 1_000 / ms).into(),
        ms @ 1_001..=60_000 => format!("{}/m", 60_000 / ms).into(),
        ms => format!("{}/h", 3_600_000 / ms).into(),
    };
    body
}

#[async_trait]
impl Api for Remote {
    async fn conversions(&self, query: &ConversionQuery) -> Result<Conversions, CliError> {
        let filter = vec![
            ("state", query.state.map(|state| state.as_str().to_owned())),
            ("updated_since", instant(query.updated_since_ms)),
            ("order_id", query.order_id.clone()),
            ("order", order(query.descending)),
        ];
        let take = |page: Conversions| (page.conversions, page.next_cursor);
        let (conversions, next_cursor) = self.pages("conversions", filter, (query.cursor.clone(), query.limit), take).await?;
        Ok(Conversions { conversions, next_cursor })
    }

    async fn explain(&self, id: &str) -> Result<Conversion, CliError> {
        self.get(&["explain", id]).await
    }

    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<DeadLetters, CliError> {
        let filter = vec![
            ("reason", query.reason.clone()),
            ("destination", query.destination.clone()),
            ("since", instant(query.since_ms)),
            ("until", instant(query.until_ms)),
        ];
        let take = |page: DeadLetters| (page.dead_letters, page.next_cursor);
        let (dead_letters, next_cursor) = self.pages("dlq", filter, (query.cursor.clone(), query.limit), take).await?;
        Ok(DeadLetters { dead_letters, next_cursor })
    }

    async fn dead_letter(&self, id: &str) -> Result<DeadLetter, CliError> {
        self.get(&["dlq", id]).await
    }

    async fn count_dead_letters(&self, request: &ReplayRequest) -> Result<Matched, CliError> {
        let mut body = replay_body(request);
        body["dry_run"] = true.into();
        let Counted { matched, needs_accept_duplicates } =
            self.client.call(Request::new(Method::POST, &["api", "v1", "dlq", "replay"]).json(&body)).await?;
        Ok(Matched { matched, needs_accept_duplicates })
    }

    async fn replay(&self, request: &ReplayRequest, follow: &Follow) -> Result<Mended, CliError> {
        let counted = self.count_dead_letters(request).await?;
        let between = Duration::from_millis(u64::try_from(request.every_ms).unwrap_or(0));
        let patience = self.client.patience() + between * 2;
        let risky = if request.accept_duplicates { 0 } else { counted.needs_accept_duplicates };
        let start = Request::new(Method::POST, &["api", "v1", "dlq", "replay"]).json(&replay_body(request)).once(new_token_id());
        let status = self.followed(self.client.call(start).await?, patience, follow).await?;
        let asked = if request.ids.is_empty() { status.matched } else { request.ids.len() as u64 };
        let matched = asked.saturating_sub(risky);
        let finished = status.state == ReplayState::Finished;
        let left = if finished { matched.saturating_sub(status.replayed) } else { 0 };
        let not_found = if left == 0 { 0 } else { self.missing(request).await? };
        Ok(Mended {
            matched,
            repaired: status.replayed,
            not_dead: left.saturating_sub(not_found),
            not_found,
            needs_accept_duplicates: risky,
            unfinished: (!finished).then_some(status),
        })
    }

    async fn stop_replay(&self, id: &str) -> Result<ReplayStatus, CliError> {
        self.client.call(Request::new(Method::DELETE, &["api", "v1", "dlq", "replays", id])).await
    }

    async fn discard(&self, request: &ReplayRequest) -> Result<Mended, CliError> {
        let body = choice(request);
        let Discarded { matched, discarded } =
            self.client.call(Request::new(Method::POST, &["api", "v1", "dlq", "discard"]).json(&body)).await?;
        let matched = if request.ids.is_empty() { matched } else { request.ids.len() as u64 };
        let left = matched.saturating_sub(discarded);
        let not_found = if left == 0 { 0 } else { self.missing(request).await? };
        Ok(Mended { matched, repaired: discarded, not_dead: left.saturating_sub(not_found), not_found, ..Mended::default() })
    }

    async fn status(&self) -> Result<Status, CliError> {
        self.get(&["status"]).await
    }

    async fn reconciliation(&self) -> Result<Reconciliation, CliError> {
        self.get(&["reconciliation"]).await
    }

    async fn destinations(&self) -> Result<Destinations, CliError> {
        self.get(&["destinations"]).await
    }

    async fn destination(&self, name: &str) -> Result<Destination, CliError> {
        self.get(&["destinations", name]).await
    }

    async fn put_destination(
        &self,
        name: &str,
        spec: DestinationSpec,
        credentials: Option<&Secret<String>>,
    ) -> Result<Destination, CliError> {
        let mut body = json!({
            "kind": spec.kind, "customer_id": spec.customer_id.to_string(),
            "login_customer_id": spec.login_customer_id.map(|id| id.to_string()),
            "actions": spec.actions, "order_id_prefix": spec.order_id_prefix, "enabled": spec.enabled,
        });
        if let Some(credentials) = credentials {
            body["credentials"] = serde_json::from_str(credentials.expose()).unwrap_or_default();
        }
        self.client.call::<Value>(Request::new(Method::PUT, &["api", "v1", "destinations", name]).json(&body)).await?;
        self.destination(name).await
    }

    async fn check_destination(&self, name: &str) -> Result<Checked, CliError> {
        self.client.call(Request::new(Method::POST, &["api", "v1", "destinations", name, "check"])).await
    }

    async fn remove_destination(&self, name: &str, force: bool) -> Result<u64, CliError> {
        let path = ["api", "v1", "destinations", name];
        let remove = Request::new(Method::DELETE, &path).query([("force", Some(force.to_string()))]);
        Ok(self.client.call::<Removed>(remove).await?.suppressed)
    }

    async fn rules(&self) -> Result<Rules, CliError> {
        self.get(&["rules"]).await
    }

    async fn rule(&self, name: &str) -> Result<Rule, CliError> {
        self.get(&["rules", name]).await
    }

    async fn put_rule(&self, name: &str, rule: &Value) -> Result<Rule, CliError> {
        self.client.call(Request::new(Method::PUT, &["api", "v1", "rules", name]).json(rule)).await
    }

    async fn remove_rule(&self, name: &str) -> Result<(), CliError> {
        self.client.call::<Value>(Request::new(Method::DELETE, &["api", "v1", "rules", name])).await.map(|_| ())
    }

    async fn leads(&self, query: &LeadFilter) -> Result<Leads, CliError> {
        let filter = vec![
            ("status", query.status.map(|status| status.as_str().to_owned())),
            ("updated_since", instant(query.updated_since_ms)),
            ("order", order(query.descending)),
        ];
        let take = |page: Leads| (page.leads, page.next_cursor);
        let cursor = query.cursor.map(|cursor| cursor.to_string());
        let (leads, next_cursor) = self.pages("leads", filter, (cursor, query.limit), take).await?;
        Ok(Leads { leads, next_cursor })
    }

    async fn lead(&self, id: &str) -> Result<Lead, CliError> {
        self.get(&["leads", id]).await
    }

    async fn delete_lead(&self, id: &str) -> Result<(), CliError> {
        self.client.call::<Value>(Request::new(Method::DELETE, &["api", "v1", "leads", id])).await.map(|_| ())
    }
}

impl Remote {
    /// How many of the named dead letters are no delivery at all.
    async fn missing(&self, request: &ReplayRequest) -> Result<u64, CliError> {
        let mut missing = 0;
        for id in &request.ids {
            match self.explain(&id.to_string()).await {
                Ok(_) => {}
                Err(error) if error.exit == Exit::NotFound => missing += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(missing)
    }
}
