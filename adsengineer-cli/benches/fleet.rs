//! What a second worker brings where the platform's answers take their time: rows a second of one worker and of two on one
//! PostgreSQL server, to a stand-in that answers each request after `SECONDS`.
//!
//! `cargo bench -p adsengineer-cli --bench fleet -- [ROWS] [SECONDS]`
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use adsengineer_core::{
    clock::{Clock, SystemClock},
    consent::{AdConsent, ConsentState},
    conversion::Conversion,
    destination::{DestinationKind, DestinationSpec, google::GoogleSettings},
    engine::{Batch, CredentialSources, Engine, EngineConfig, Incoming},
    org::{Caller, OrgId, Role},
    scoring::Scoring,
    store::{Database, Migrate},
    vault::{Vault, parse_key},
    worker::{Goal, WorkerSettings},
};
use adsengineer_server::sandbox::{Sandbox, SandboxOptions};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

#[path = "../../tests/support/postgres.rs"]
mod postgres;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> std::io::Result<()> {
    let given: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let (rows, seconds) = (given.first().copied().unwrap_or(64_000), given.get(1).copied().unwrap_or(2));
    let server = postgres::Server::start(true);
    // The stand-in's tokens are good for any platform.
    let tokens = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let platform = MockServer::start().await;
    let answer = ResponseTemplate::new(200)
        .set_body_string(r#"{"requestId": "t-1"}"#)
        .insert_header("content-type", "application/json")
        .set_delay(Duration::from_secs(seconds));
    Mock::given(method("POST")).respond_with(answer).mount(&platform).await;

    let (mut rates, mut out) = (Vec::new(), std::io::stdout());
    for workers in [1, 2] {
        let url = server.url();
        postgres::Session::open(&url).run("DROP SCHEMA IF EXISTS adsengineer CASCADE");
        let mut engines = Vec::new();
        for _ in 0..workers {
            let google = GoogleSettings { data_manager_url: platform.uri(), token_url: tokens.token_url(), ..GoogleSettings::default() };
            engines.push(engine(url.parse().unwrap(), google).await);
        }
        fill(&engines[0], rows, &tokens.credentials_json()).await;
        let began = Instant::now();
        let never = tokio::sync::watch::Sender::new(false);
        let runs = engines.iter().map(|engine| {
            let (worker, stop) = (engine.worker(engine.worker_settings().clone()).unwrap(), never.subscribe());
            tokio::spawn(async move { worker.run_until(Goal::Settled { patience: Duration::from_secs(5) }, stop).await.unwrap() })
        });
        let mut sent = 0;
        for run in runs.collect::<Vec<_>>() {
            sent += run.await.unwrap().progress.awaiting;
        }
        assert_eq!(sent, rows);
        rates.push(f64::from(u32::try_from(rows).unwrap()) / began.elapsed().as_secs_f64());
        writeln!(out, "{workers} worker(s): {rows} rows in {:.2?}, {:.0} rows/s", began.elapsed(), rates[rates.len() - 1])?;
    }
    writeln!(out, "two of one: {:.2}", rates[1] / rates[0])
}

async fn engine(database: Database, google: GoogleSettings) -> Engine {
    let config = EngineConfig {
        database,
        migrate: Migrate::Auto,
        vault: Arc::new(Vault::new(&parse_key(KEY).unwrap(), &[])),
        clock: Arc::new(SystemClock),
        google,
        credentials: CredentialSources::default(),
        worker: WorkerSettings { write_quota: Vec::new(), read_quota: Vec::new(), ..WorkerSettings::default() },
        scoring: Scoring::default(),
    };
    Engine::open(config).await.unwrap()
}

async fn fill(engine: &Engine, rows: u64, credentials: &str) {
    let caller = Caller::trusted(OrgId::default(), Role::Owner);
    let spec = DestinationSpec {
        kind: DestinationKind::Google,
        customer_id: "1234567890".parse().unwrap(),
        login_customer_id: None,
        actions: [("Sale".to_owned(), "987654321".to_owned())].into(),
        order_id_prefix: None,
        credentials_ref: None,
        enabled: true,
    };
    let destination = engine.put_destination(&caller, "bench", spec, Some(&credentials.to_owned().into())).await.unwrap();
    for first in (0..rows).step_by(4000) {
        let incoming: Vec<_> = (first..rows.min(first + 4000)).map(conversion).collect();
        let rows = incoming.len() as u64;
        let batch = Batch { source: "bench".into(), consent_proof: None, rows, refused: 0, denied: 0, restate: false, incoming };
        engine.accept(&caller, batch, std::slice::from_ref(&destination)).await.unwrap();
    }
}

fn conversion(number: u64) -> Incoming {
    let conversion = Conversion {
        action: "Sale".into(),
        occurred_at: SystemClock.now(),
        value: None,
        order_id: Some(format!("order-{number}").parse().unwrap()),
        click_id: None,
        identifiers: adsengineer_core::identity::Identifiers::default(),
        consent: AdConsent { ad_user_data: Some(ConsentState::Granted), ad_personalization: None },
    };
    let key = conversion.natural_key(&OrgId::default());
    Incoming::Conversion(Box::new(conversion), key)
}
