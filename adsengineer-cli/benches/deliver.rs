//! Claim, build, send, settle with pacing off: conversions a second through the real worker, a real SQLite file and
//! real HTTP to a stand-in that answers at once. `cargo bench -p adsengineer-cli --bench deliver [-- ROWS]`.

use std::{io::Write as _, sync::Arc, time::Instant};

use adsengineer_core::{
    clock::{Clock as _, SystemClock},
    consent::{AdConsent, ConsentState},
    conversion::Conversion,
    destination::{DestinationKind, DestinationSpec, google::GoogleSettings},
    engine::{Batch, CredentialSources, Engine, EngineConfig, Incoming},
    org::{Caller, OrgId, Role},
    scoring::Scoring,
    store::sqlite::Migrate,
    vault::{Vault, generate_key, parse_key},
    worker::{Goal, WorkerSettings},
};
use adsengineer_server::sandbox::{Sandbox, SandboxOptions};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let rows: usize = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(200_000);
    let folder = tempfile::tempdir()?;
    let sandbox = Sandbox::start(SandboxOptions { quick: true, ..SandboxOptions::default() }).await?;
    let engine = Engine::open(EngineConfig {
        database: folder.path().join("bench.db").into(),
        migrate: Migrate::Auto,
        vault: Arc::new(Vault::new(&parse_key(generate_key().expose())?, &[])),
        clock: Arc::new(SystemClock),
        google: GoogleSettings { data_manager_url: sandbox.url(), token_url: sandbox.token_url(), ..GoogleSettings::default() },
        credentials: CredentialSources::default(),
        worker: WorkerSettings { write_quota: Vec::new(), read_quota: Vec::new(), ..WorkerSettings::default() },
        scoring: Scoring::default(),
    })
    .await?;
    let caller = Caller::trusted(OrgId::default(), Role::Owner);
    let spec = DestinationSpec {
        kind: DestinationKind::Google,
        customer_id: "1234567890".parse()?,
        login_customer_id: None,
        actions: [("Sale".to_owned(), "987654321".to_owned())].into(),
        order_id_prefix: None,
        credentials_ref: None,
        enabled: true,
    };
    let destination = engine.put_destination(&caller, "bench", spec, Some(&sandbox.credentials_json().into())).await?;

    let start = clock();
    for first in (0..rows).step_by(4000) {
        let incoming = (first..rows.min(first + 4000)).map(conversion).collect::<Result<Vec<_>, Failure>>()?;
        let source: Arc<str> = "bench".into();
        let batch = Batch { source, consent_proof: None, rows: incoming.len() as u64, refused: 0, denied: 0, restate: false, incoming };
        engine.accept(&caller, batch, std::slice::from_ref(&destination)).await?;
    }
    report("accept", rows, start)?;

    let start = clock();
    let never = tokio::sync::watch::Sender::new(false);
    let worker = engine.worker(engine.worker_settings().clone())?;
    let done = worker.run_until(Goal::Settled { patience: std::time::Duration::ZERO }, never.subscribe()).await?;
    report("claim, build, send, settle", usize::try_from(done.progress.awaiting)?, start)?;
    if done.progress.awaiting != rows as u64 || sandbox.counters().events_received != rows as u64 {
        return Err(format!("sent {} of {rows}: {done:?}", sandbox.counters().events_received).into());
    }
    Ok(())
}

fn conversion(i: usize) -> Result<Incoming, Failure> {
    let conversion = Conversion {
        action: "Sale".into(),
        occurred_at: SystemClock.now(),
        value: Some(adsengineer_core::money::Money { amount: "120.50".parse()?, currency: "EUR".parse()? }),
        order_id: Some(format!("order-{i}").parse()?),
        click_id: Some(adsengineer_core::click_id::ClickId::new(
            adsengineer_core::click_id::ClickIdKind::Gclid,
            &format!("Cj0KCQiA-{i:012}"),
        )?),
        identifiers: adsengineer_core::identity::Identifiers::default(),
        consent: AdConsent { ad_user_data: Some(ConsentState::Granted), ad_personalization: None },
    };
    let key = conversion.natural_key(&OrgId::default());
    Ok(Incoming::Conversion(Box::new(conversion), key))
}

fn clock() -> Instant {
    Instant::now()
}

fn report(what: &str, rows: usize, start: Instant) -> Result<(), Failure> {
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = rows as f64 / seconds;
    writeln!(std::io::stdout(), "{what}: {rows} rows in {seconds:.2} s, {rate:.0} rows/s")?;
    Ok(())
}
