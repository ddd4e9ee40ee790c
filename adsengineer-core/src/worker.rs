//! The loop that delivers: claim, plan, persist the upload, send, settle; and ask for verdicts that come later.
//!
//! A row is claimed under a lease, an upload is on disk before it is sent, and a settle under a lost lease changes
//! nothing: the process may end at any instant. Each request runs in a task of its own, so that a platform that hangs
//! delays nobody else.

mod answers;
mod gate;
pub mod lock;
mod pace;
mod plan;
mod report;
mod run;
mod send;
mod settings;
mod verdicts;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::sync::watch;

pub use report::{DestinationReport, Progress, RunReport};
pub use settings::{Goal, WorkerSettings};

use run::Run;

use crate::{
    breaker::Breaker,
    clock::Clock,
    delivery::millis,
    destination::Destination,
    id::DestinationId,
    identity::Identifiers,
    org::OrgId,
    outcome::{Outcome, Why},
    store::{Lease, Store, StoreError, StoredDestination, WorkerId},
};

/// Opens the doors that the worker sends through.
#[async_trait]
pub trait Connector: Send + Sync {
    /// The door to a destination; a hold or a retry says why there is none.
    async fn connect(&self, destination: &StoredDestination) -> Result<Arc<dyn Destination>, Outcome>;

    /// Opens sealed identifiers.
    fn identifiers(&self, org: &OrgId, sealed: &[u8]) -> Result<Identifiers, Why>;

    /// The name of the platform quota that the destination's requests count against.
    fn quota(&self, destination: &StoredDestination) -> Arc<str>;
}

/// Knows which workers are alive.
pub trait Liveness: Send + Sync {
    /// This worker.
    fn worker(&self) -> WorkerId;

    /// Those of `workers` that are certainly gone.
    fn gone(&self, workers: &[WorkerId]) -> Vec<WorkerId>;
}

/// Works deliveries off; cheap to clone.
#[derive(Clone)]
pub struct Worker {
    shared: Arc<Shared>,
}

/// What every task of a worker uses.
struct Shared {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    connector: Arc<dyn Connector>,
    liveness: Arc<dyn Liveness>,
    settings: WorkerSettings,
    /// What must survive from one task to the next; never held across an await.
    state: Mutex<Volatile>,
    progress: watch::Sender<Progress>,
    /// Whether the run was told to stop.
    stopping: watch::Sender<bool>,
    lines: pace::Lines,
}

struct Volatile {
    random: SmallRng,
    /// Refusals in a row that no row could be blamed for, by destination.
    unlocated: HashMap<DestinationId, u32>,
    /// The breakers as this worker's own answers have moved them.
    breakers: HashMap<DestinationId, Breaker>,
    report: RunReport,
}

impl Worker {
    /// A worker on `store`.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        connector: Arc<dyn Connector>,
        liveness: Arc<dyn Liveness>,
        settings: WorkerSettings,
    ) -> Self {
        let seed = clock.now_ms().unsigned_abs() ^ liveness.worker().0.unsigned_abs().rotate_left(32);
        Self::build(store, clock, connector, liveness, settings, seed)
    }

    /// The same with its randomness fixed.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        let s = &self.shared;
        Self::build(s.store.clone(), s.clock.clone(), s.connector.clone(), s.liveness.clone(), s.settings.clone(), seed)
    }

    fn build(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        connector: Arc<dyn Connector>,
        liveness: Arc<dyn Liveness>,
        settings: WorkerSettings,
        seed: u64,
    ) -> Self {
        let state = Mutex::new(Volatile {
            random: SmallRng::seed_from_u64(seed),
            unlocated: HashMap::new(),
            breakers: HashMap::new(),
            report: RunReport::default(),
        });
        let (progress, stopping) = (watch::Sender::new(Progress::default()), watch::Sender::new(false));
        Self {
            shared: Arc::new(Shared {
                store,
                clock,
                connector,
                liveness,
                settings,
                state,
                progress,
                stopping,
                lines: pace::Lines::default(),
            }),
        }
    }

    /// Rows sent and settled so far, as they happen.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    /// Works until `stop` turns true.
    pub async fn run(&self, stop: watch::Receiver<bool>) -> Result<RunReport, StoreError> {
        self.run_until(Goal::Stopped, stop).await
    }

    /// Works until the goal is reached or `stop` turns true; what is on its way is finished first.
    pub async fn run_until(&self, goal: Goal, mut stop: watch::Receiver<bool>) -> Result<RunReport, StoreError> {
        let mut run = Run::new(&self.shared);
        loop {
            let stopping = *stop.borrow_and_update();
            // Told only when it changes: waiters are woken in no particular order, and the same seed must give the same run.
            self.shared.stopping.send_if_modified(|told| std::mem::replace(told, stopping) != stopping);
            let agenda = if stopping { Some(Vec::new()) } else { run.look().await? };
            let wait = match agenda {
                Some(agenda) => run.wait(&agenda, goal, stopping),
                None => Some(run.rest()),
            };
            let Some(wait) = wait else { break };
            tokio::select! {
                // In this order always, so that the same seed gives the same run.
                biased;
                Some(finished) = run.tasks.join_next_with_id() => run.finished(finished)?,
                changed = stop.changed(), if !stopping => {
                    if changed.is_err() {
                        // Nobody can tell us to stop any more; only the goal ends the run.
                        stop = watch::Sender::new(false).subscribe();
                        tokio::time::sleep(wait.min(Duration::from_millis(50))).await;
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
        match run.broken.take() {
            // Whoever waits for the goal must hear of it; a service goes on, and has said so in its log.
            Some(error) if !matches!(goal, Goal::Stopped) => Err(error),
            _ => run.summarize().await,
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Volatile> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// A number in `0.0..1.0`.
    fn random(&self) -> f64 {
        self.state().random.random()
    }

    /// A number that no other worker has drawn: 63 random bits.
    fn number(&self) -> i64 {
        (self.state().random.random::<u64>() >> 1).cast_signed()
    }

    /// A fresh claim.
    fn lease(&self) -> Lease {
        let until_ms = self.now_ms().saturating_add(millis(self.settings.lease));
        Lease { worker: self.liveness.worker(), token: self.number(), until_ms }
    }

    fn is_ours(&self, destination: DestinationId) -> bool {
        self.settings.only.as_ref().is_none_or(|only| only.contains(&destination))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::model::ModelStore;

    struct Nobody(i64);

    #[async_trait]
    impl Connector for Nobody {
        async fn connect(&self, _destination: &StoredDestination) -> Result<Arc<dyn Destination>, Outcome> {
            Err(Outcome::Accepted)
        }

        fn identifiers(&self, _org: &OrgId, _sealed: &[u8]) -> Result<Identifiers, Why> {
            Ok(Identifiers::default())
        }

        fn quota(&self, _destination: &StoredDestination) -> Arc<str> {
            "none".into()
        }
    }

    impl Liveness for Nobody {
        fn worker(&self) -> WorkerId {
            WorkerId(self.0)
        }

        fn gone(&self, _workers: &[WorkerId]) -> Vec<WorkerId> {
            Vec::new()
        }
    }

    /// A clock that stands still.
    struct Still;

    impl Clock for Still {
        fn now(&self) -> jiff::Timestamp {
            jiff::Timestamp::UNIX_EPOCH
        }
    }

    #[test]
    fn claims_of_many_workers_in_one_millisecond_have_tokens_of_their_own() {
        let worker = |id| {
            let store: Arc<dyn Store> = Arc::<ModelStore>::default();
            Worker::new(store, Arc::new(Still), Arc::new(Nobody(id)), Arc::new(Nobody(id)), WorkerSettings::default())
        };
        let mut tokens = BTreeSet::new();
        for id in 1..=20 {
            let worker = worker(id);
            tokens.extend((0..5000).map(|_| worker.shared.lease().token));
        }
        assert_eq!(tokens.len(), 100_000);
    }
}
