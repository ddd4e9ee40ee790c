//! What goes on beside requests: health checks, revoked tokens, replays, and the worker.

use std::time::Duration;

use adsengineer_core::worker::Worker;
use tokio::{sync::watch, task::JoinSet};

use crate::Api;

/// Between two health checks.
const HEALTH_EVERY: Duration = Duration::from_secs(10);
/// Between two looks whether requests can be counted: without that all are refused.
const LIMITER_EVERY: Duration = Duration::from_secs(1);
/// Between two looks for tokens that other processes revoked.
const REVOKED_EVERY: Duration = Duration::from_secs(1);
/// Between two steps of replays.
const REPLAYS_EVERY: Duration = Duration::from_secs(1);
/// Before a worker that failed is started again.
const WORKER_AFTER: Duration = Duration::from_secs(2);

/// Runs until `shutdown` becomes true and everything has ended. Without `worker` nothing is sent to platforms here.
pub async fn background(api: Api, worker: Option<Worker>, shutdown: watch::Receiver<bool>) {
    let mut tasks = JoinSet::new();
    tasks.spawn(every(HEALTH_EVERY, shutdown.clone(), {
        let api = api.clone();
        move || {
            let api = api.clone();
            async move { api.health().check().await }
        }
    }));
    tasks.spawn(every(LIMITER_EVERY, shutdown.clone(), {
        let api = api.clone();
        move || {
            let api = api.clone();
            async move { api.health().check_limiter().await }
        }
    }));
    tasks.spawn(every(REVOKED_EVERY, shutdown.clone(), {
        let api = api.clone();
        move || {
            let api = api.clone();
            async move {
                if let Err(error) = api.engine().read_revoked().await {
                    tracing::warn!(%error, "revoked tokens cannot be read");
                }
            }
        }
    }));
    tasks.spawn(every(REPLAYS_EVERY, shutdown.clone(), move || {
        let api = api.clone();
        async move { replays(&api).await }
    }));
    if let Some(worker) = worker {
        tasks.spawn(work(worker, shutdown));
    }
    while tasks.join_next().await.is_some() {}
}

/// Goes on with replays until they wait for their time.
async fn replays(api: &Api) {
    loop {
        match api.engine().run_replays().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::warn!(%error, "replays cannot go on"),
        }
    }
}

async fn work(worker: Worker, shutdown: watch::Receiver<bool>) {
    loop {
        let ended = worker.run(shutdown.clone()).await;
        if *shutdown.borrow() {
            return;
        }
        if let Err(error) = ended {
            tracing::error!(%error, "the worker ended; it is started again");
        }
        if wait(WORKER_AFTER, &mut shutdown.clone()).await {
            return;
        }
    }
}

/// Does something now and every `period`, until told to stop.
async fn every<F: Future<Output = ()>>(period: Duration, mut shutdown: watch::Receiver<bool>, run: impl Fn() -> F) {
    loop {
        run().await;
        if wait(period, &mut shutdown).await {
            return;
        }
    }
}

/// Waits; whether it is time to stop.
async fn wait(period: Duration, shutdown: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = tokio::time::sleep(period) => false,
        _ = shutdown.wait_for(|stop| *stop) => true,
    }
}
