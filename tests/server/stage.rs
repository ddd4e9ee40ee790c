//! A real database, a real server on a free port, a clock that tests move, and what was answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use adsengineer_core::{
    clock::Clock,
    destination::google::GoogleSettings,
    engine::{CredentialSources, Engine, EngineConfig, new_token_id},
    limiter::{LimiterStore, MemoryLimiter},
    org::Role,
    scoring::Scoring,
    secret::Secret,
    store::Migrate,
    token::{Grant, KeyRing, mint},
    vault::{Vault, parse_key},
    worker::{Goal, WorkerSettings},
};
use adsengineer_server::{Api, Rates, ServeOptions, api_router, sandbox::Sandbox, serve};
use jiff::Timestamp;
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{base::Base, said::Said};

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// When the clock starts: 2026-11-20T12:00:00Z.
pub const START_S: i64 = 1_795_176_000;

/// A clock that stands still until it is moved; it can be told to panic.
pub struct TestClock {
    now_ms: AtomicI64,
    /// Looks at it until it panics.
    looks: AtomicI64,
}

impl TestClock {
    pub fn advance_ms(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    fn new() -> Arc<Self> {
        Arc::new(Self { now_ms: AtomicI64::new(START_S * 1000), looks: AtomicI64::new(i64::MAX) })
    }

    /// The look after so many panics, once.
    pub fn panic_in(&self, looks: i64) {
        self.looks.store(looks, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        assert!(self.looks.fetch_sub(1, Ordering::SeqCst) != 0, "the clock at 10.0.0.1 broke");
        Timestamp::from_millisecond(self.now_ms.load(Ordering::SeqCst)).unwrap()
    }
}

/// A running server; it drains when dropped.
pub struct Stage {
    pub engine: Engine,
    pub api: Api,
    pub clock: Arc<TestClock>,
    pub http: reqwest::Client,
    pub url: String,
    pub stop: watch::Sender<bool>,
    pub server: JoinHandle<()>,
    ring: KeyRing,
    base: Arc<Base>,
}

pub fn ring() -> KeyRing {
    KeyRing::try_new(&Secret::new(SECRET.to_owned()), Some("now"), &Secret::new(String::new())).unwrap()
}

pub fn limiter() -> Arc<dyn LimiterStore> {
    Arc::new(MemoryLimiter::default())
}

/// Budgets that no test spends by accident.
pub fn generous() -> Rates {
    let rate = |text: &str| text.parse::<adsengineer_core::rate_limit::Rate>().unwrap().quota();
    Rates { ip: rate("100000/h"), shop: rate("100000/h"), org: rate("100000/h"), auth: rate("100000/h") }
}

pub fn rates(ip: &str, org: &str, auth: &str) -> Rates {
    let rate = |text: &str| text.parse::<adsengineer_core::rate_limit::Rate>().unwrap().quota();
    Rates { ip: rate(ip), org: rate(org), auth: rate(auth), ..generous() }
}

async fn engine(base: &Base, clock: Arc<TestClock>, sandbox: Option<&Sandbox>) -> Engine {
    let google = sandbox.map_or_else(GoogleSettings::default, |sandbox| GoogleSettings {
        data_manager_url: sandbox.url(),
        token_url: sandbox.token_url(),
        ..GoogleSettings::default()
    });
    Engine::open(EngineConfig {
        database: base.database(),
        migrate: Migrate::Auto,
        vault: Arc::new(Vault::new(&parse_key(KEY).unwrap(), &[])),
        clock,
        google,
        credentials: CredentialSources::default(),
        worker: WorkerSettings::default(),
        scoring: Scoring::default(),
    })
    .await
    .unwrap()
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(|api| api).await
    }

    pub async fn with(change: impl FnOnce(Api) -> Api) -> Self {
        Self::serving(change, ServeOptions::default()).await
    }

    pub async fn serving(change: impl FnOnce(Api) -> Api, options: ServeOptions) -> Self {
        Self::on(Arc::new(Base::new()), TestClock::new(), None, change, options).await
    }

    /// One whose destinations are played by `sandbox`.
    pub async fn against(sandbox: &Sandbox) -> Self {
        Self::on(Arc::new(Base::new()), TestClock::new(), Some(sandbox), |api| api, ServeOptions::default()).await
    }

    /// Another server on the same database.
    pub async fn beside(&self) -> Self {
        Self::on(self.base.clone(), self.clock.clone(), None, |api| api, ServeOptions::default()).await
    }

    async fn on(
        base: Arc<Base>,
        clock: Arc<TestClock>,
        sandbox: Option<&Sandbox>,
        change: impl FnOnce(Api) -> Api,
        options: ServeOptions,
    ) -> Self {
        let engine = engine(&base, clock.clone(), sandbox).await;
        let api = change(Api::new(engine.clone()).tokens(ring()).limits(Some(limiter()), generous()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(serve(listener, api_router(api.clone()), options, stopped));
        let http = reqwest::Client::new();
        Self { engine, api, clock, http, url, stop, server, ring: ring(), base }
    }

    /// A token of `org`.
    pub fn token(&self, org: &str, role: Role) -> String {
        self.token_with(org, role, &new_token_id())
    }

    pub fn token_with(&self, org: &str, role: Role, jti: &str) -> String {
        let grant = Grant { sub: "tester".to_owned(), org: org.parse().unwrap(), role, ttl_s: 90 * 86_400 };
        mint(&self.ring, &grant, jti, self.clock.now_ms() / 1000).unwrap().expose().clone()
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method.parse().unwrap(), format!("{}{path}", self.url))
    }

    /// Asks as `token`, with a JSON body if there is one.
    pub async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Option<&Value>) -> Said {
        let mut request = self.request(method, path);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Said::of(request).await
    }

    /// Asks as a role of the organization `acme`.
    pub async fn by(&self, role: Role, method: &str, path: &str, body: Option<&Value>) -> Said {
        self.ask(method, path, Some(&self.token("acme", role)), body).await
    }

    pub async fn get(&self, path: &str) -> Said {
        self.by(Role::Owner, "GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Said {
        self.by(Role::Owner, "POST", path, Some(body)).await
    }

    /// Sends everything that is due, and asks for the verdicts half an hour later.
    pub async fn work(&self) {
        let (_stop, never) = watch::channel(false);
        let worker = self.engine.worker(self.engine.worker_settings().clone()).unwrap();
        for _ in 0..2 {
            worker.run_until(Goal::Settled { patience: Duration::ZERO }, never.clone()).await.unwrap();
            self.clock.advance_ms(31 * 60_000);
        }
    }

    /// Where the data is.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// Whether these bytes are anywhere in the database.
    pub fn is_on_disk(&self, wanted: impl AsRef<[u8]>) -> bool {
        self.base.keeps(wanted.as_ref())
    }

    /// All acts in the audit log: who, what, to what, how often.
    pub async fn acts(&self) -> Vec<(String, String, u64)> {
        let links = self.engine.store().audit(0, 10_000).await.unwrap();
        links.into_iter().flat_map(|link| link.entries).map(|entry| (entry.action, entry.object, entry.count)).collect()
    }

    /// A number that changes with every act that has an effect.
    pub async fn effects(&self) -> u64 {
        self.acts().await.iter().map(|act| act.2).sum::<u64>() + self.acts().await.len() as u64
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}
