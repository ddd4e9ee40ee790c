//! The engine in another service: open a database, take conversions in, deliver them, read what became of them.
//!
//! `cargo run -p adsengineer-core --example embed --features sqlite,http`

use std::{io::Write, time::Duration};

use adsengineer_core::{
    conversion::request::parse_conversions,
    engine::{Engine, EngineConfig},
    org::{Caller, Role},
    store::ConversionQuery,
    vault::{Vault, generate_key, parse_key},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    // A real service keeps its key: `adsengineer key generate` prints one.
    let vault = Vault::new(&parse_key(generate_key().expose())?, &[]);
    let engine = Engine::open(EngineConfig::new(folder.path().join("deals.db"), vault)).await?;
    let caller = Caller::trusted("acme".parse()?, Role::Owner);

    let spec = serde_json::from_str(r#"{"kind": "google", "customer_id": "123-456-7890", "actions": {"Sale": "987654321"}}"#)?;
    engine.put_destination(&caller, "shop", spec, None).await?;
    let now_s = engine.clock().now_ms() / 1000;
    let body = format!(
        r#"{{"action": "Sale", "occurred_at": "{}", "value": "120.00", "currency": "EUR", "order_id": "A-1",
            "gclid": "EAIaIQobChMI1example0000000001", "consent": {{"ad_user_data": "granted"}}}}"#,
        engine.clock().now()
    );
    engine.accept_conversions(&caller, parse_conversions(body.as_bytes(), 100, now_s)?, None).await?;

    let (stop, shutdown) = tokio::sync::watch::channel(false);
    let worker = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run_worker(shutdown).await }
    });
    let delivery = loop {
        let page = engine.conversions(&caller, &ConversionQuery::default()).await?;
        let delivery = page.items[0].deliveries[0].clone();
        if delivery.reason.is_some() {
            break delivery;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    stop.send(true)?;
    worker.await??;
    // Without credentials the delivery is held, and says so.
    writeln!(std::io::stdout(), "{}: {} because {}", delivery.id, delivery.state.as_str(), delivery.reason.unwrap_or_default())?;
    Ok(())
}
