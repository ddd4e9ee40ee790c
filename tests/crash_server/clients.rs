//! Clients that post each item again, under the same key, to this server or that, until it is acknowledged.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde_json::json;
use tokio::{sync::watch, task::JoinHandle};

/// Where to send, and whether to begin anything new.
#[derive(Clone, Default)]
struct Orders {
    urls: Vec<String>,
    last: bool,
}

impl Orders {
    /// Where an attempt goes; nowhere at first.
    fn to(&self, attempt: usize, path: &str) -> String {
        let server = self.urls.get(attempt % self.urls.len().max(1)).map_or("http://127.0.0.1:1", String::as_str);
        format!("{server}/api/v1/{path}")
    }
}

pub struct Clients {
    orders: watch::Sender<Orders>,
    answered: Arc<AtomicU64>,
    running: Vec<JoinHandle<Vec<String>>>,
}

impl Clients {
    pub fn start(count: u32, token: &str) -> Self {
        let (orders, told) = watch::channel(Orders::default());
        let answered = Arc::new(AtomicU64::new(0));
        let running = (0..count).map(|n| tokio::spawn(client(n, token.to_owned(), told.clone(), answered.clone()))).collect();
        Self { orders, answered, running }
    }

    pub fn turn_to(&self, urls: &[String]) {
        self.orders.send_modify(|orders| urls.clone_into(&mut orders.urls));
    }

    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Lets every client end what it has begun; the e-mail addresses that were acknowledged.
    pub async fn finish(self) -> Vec<String> {
        self.orders.send_modify(|orders| orders.last = true);
        let mut all = Vec::new();
        for client in self.running {
            all.extend(client.await.unwrap());
        }
        all
    }
}

/// The status and text of an answer that arrived whole.
async fn answer(request: reqwest::RequestBuilder) -> Option<(u16, String)> {
    let answer = request.send().await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

async fn client(number: u32, token: String, told: watch::Receiver<Orders>, answered: Arc<AtomicU64>) -> Vec<String> {
    let http = reqwest::Client::new();
    let yesterday = jiff::Timestamp::now().saturating_sub(jiff::SignedDuration::from_hours(24)).unwrap();
    let yesterday = yesterday.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut noted = Vec::new();
    for item in 0.. {
        let email = format!("c{number}-{item}@example.com");
        // Two kinds: the odd ones are known by their keys alone.
        let mut lead = json!({"email": email, "consent": {"storage": "granted", "ad_user_data": "granted"}});
        if item % 2 == 0 {
            lead["external_id"] = json!(format!("X-{number}-{item}"));
        }
        let sale = json!({"action": "Sale", "occurred_at": yesterday, "value": "1", "currency": "EUR",
            "order_id": format!("O-{number}-{item}"), "identifiers": {"email": email}, "consent": {"ad_user_data": "granted"}});
        for (path, body, expected) in [("leads", lead, 201), ("conversions", sale, 202)] {
            let key = format!("{path}-{number}-{item}");
            for attempt in number as usize.. {
                let url = told.borrow().to(attempt, path);
                match answer(http.post(url).bearer_auth(&token).header("idempotency-key", &key).json(&body)).await {
                    Some((status, _)) if status == expected => break,
                    Some((409 | 503, _)) | None => tokio::task::yield_now().await,
                    Some((status, text)) => panic!("{path} answered {status}: {text}"),
                }
            }
            answered.fetch_add(1, Ordering::SeqCst);
        }
        noted.push(email);
        if told.borrow().last {
            break;
        }
    }
    noted
}
