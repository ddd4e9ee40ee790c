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
mod send;
mod settings;
mod verdicts;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{
    sync::watch,
    task::{self, JoinError, JoinSet},
};

pub use report::{DestinationReport, Progress, RunReport};
pub use settings::{Goal, WorkerSettings};

use crate::{
    breaker::{Breaker, Passage},
    clock::Clock,
    delivery::millis,
    destination::Destination,
    id::{self, DestinationId},
    identity::Identifiers,
    org::OrgId,
    outcome::{Outcome, Why},
    schedule::Schedule,
    store::{Agenda, Lease, Store, StoreError, StoredDestination, WorkerId},
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
    last_token: i64,
    /// Refusals in a row that no row could be blamed for, by destination.
    unlocated: HashMap<DestinationId, u32>,
    /// The breakers as this worker's own answers have moved them.
    breakers: HashMap<DestinationId, Breaker>,
    report: RunReport,
}

/// The longest sleep; open work of other processes is seen after it at the latest.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

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
            last_token: 0,
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
        let mut run = Run {
            shared: &self.shared,
            tasks: JoinSet::new(),
            running: HashMap::new(),
            broken: None,
            schedule: Schedule::default(),
            recover_at_ms: 0,
            moved: (0, self.shared.now_ms()),
        };
        loop {
            let stopping = *stop.borrow_and_update();
            // Told only when it changes: waiters are woken in no particular order, and the same seed must give the same run.
            self.shared.stopping.send_if_modified(|told| std::mem::replace(told, stopping) != stopping);
            let agenda = if stopping { Vec::new() } else { run.start_due().await? };
            let wait = run.wait(&agenda, goal, stopping);
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

    /// A fresh claim.
    fn lease(&self) -> Lease {
        let now_ms = self.now_ms();
        let mut state = self.state();
        // The low bits keep the tokens of two workers in one millisecond apart.
        state.last_token = id::next(state.last_token, now_ms) ^ i64::from(state.random.random::<u16>());
        Lease { worker: self.liveness.worker(), token: state.last_token, until_ms: now_ms.saturating_add(millis(self.settings.lease)) }
    }

    fn is_ours(&self, destination: DestinationId) -> bool {
        self.settings.only.as_ref().is_none_or(|only| only.contains(&destination))
    }
}

/// One run of a worker.
struct Run<'a> {
    shared: &'a Arc<Shared>,
    tasks: JoinSet<Result<(), StoreError>>,
    /// Which destination each task is for, and whether it asks for verdicts.
    running: HashMap<task::Id, (DestinationId, bool)>,
    /// Why a task ended that should not have.
    broken: Option<StoreError>,
    schedule: Schedule<DestinationId>,
    recover_at_ms: i64,
    /// Rows settled so far, and since when that has not changed, in Unix milliseconds.
    moved: (u64, i64),
}

impl Run<'_> {
    /// Starts a task for everything that is due and may go; returns what is open.
    async fn start_due(&mut self) -> Result<Vec<Agenda>, StoreError> {
        let now_ms = self.shared.now_ms();
        if now_ms >= self.recover_at_ms {
            let workers = self.shared.store.workers().await?;
            let gone = self.shared.liveness.gone(&workers);
            self.shared.store.recover(&gone, now_ms).await?;
            self.recover_at_ms = now_ms + millis(self.shared.settings.lease) / 2;
        }
        let mut agenda = self.shared.store.agenda(now_ms).await?;
        agenda.retain(|entry| self.shared.is_ours(entry.destination.id));
        for entry in &mut agenda {
            let idle = !self.running.values().any(|(id, _)| *id == entry.destination.id);
            self.shared.agree_on_breaker(&mut entry.destination, idle);
        }
        let due: BTreeMap<_, _> = agenda.iter().filter(|a| gate::is_due(a, now_ms)).map(|a| (a.destination.id, a)).collect();
        let order = self.schedule.order(&due.keys().copied().collect::<Vec<_>>());
        for id in order {
            self.start(due[&id], now_ms);
        }
        Ok(agenda)
    }

    fn start(&mut self, entry: &Agenda, now_ms: i64) {
        let id = entry.destination.id;
        let passage = entry.destination.health.breaker.passage(now_ms);
        let busy = |asks: bool| self.running.values().filter(|turn| **turn == (id, asks)).count();
        let (sending, asking) = (busy(false), busy(true));
        let is_due = |at: Option<i64>| at.is_some_and(|at| at <= now_ms);
        // Verdicts have a turn of their own: rows may wait for one, and a long queue must not keep it back.
        let asks = is_due(gate::earliest_poll(entry)) && asking == 0 && (passage == Passage::Free || sending == 0);
        let allowed = match passage {
            Passage::Free => self.shared.settings.concurrency.max(1),
            Passage::Trial if asks || asking > 0 => 0,
            Passage::Trial => 1,
            Passage::Blocked(_) => return,
        };
        if asks {
            self.turn(entry, true);
        }
        if is_due(gate::earliest_send(entry)) {
            (sending..allowed).for_each(|_| self.turn(entry, false));
        }
    }

    /// Starts a turn of a destination: asking for verdicts, or sending.
    fn turn(&mut self, entry: &Agenda, asks: bool) {
        let (shared, destination) = (self.shared.clone(), entry.destination.clone());
        let id = destination.id;
        let task =
            self.tasks.spawn(async move { if asks { shared.ask(&destination).await } else { Box::pin(shared.serve(&destination)).await } });
        self.running.insert(task.id(), (id, asks));
        self.schedule.charge(id, 1, 1);
    }

    fn finished(&mut self, finished: Result<(task::Id, Result<(), StoreError>), JoinError>) -> Result<(), StoreError> {
        let (task, result) = match finished {
            Ok(finished) => finished,
            Err(error) => {
                self.panicked(&error);
                (error.id(), Ok(()))
            }
        };
        self.running.remove(&task);
        match result {
            // The rows stay claimed and come back when the lease ends.
            Err(StoreError::Busy | StoreError::Unavailable(_)) => Ok(()),
            other => other,
        }
    }

    /// A fault in the program while it served one destination; the others go on.
    fn panicked(&mut self, error: &JoinError) {
        let destination = self.running.get(&error.id()).map(|(id, _)| id);
        tracing::error!(destination = destination.map(tracing::field::display), "a turn of the worker ended early: {error}");
        let why = Why::new("INTERNAL", "a fault in the program ended its turn; its rows come back when their lease ends");
        if let Some(id) = destination {
            self.shared.state().report.destinations.entry(*id).or_default().last_error = Some(why);
        }
        self.broken.get_or_insert_with(|| StoreError::Unavailable(format!("a turn of the worker ended early: {error}")));
    }

    /// How long to sleep unless something happens; `None` when the run is over.
    fn wait(&mut self, agenda: &[Agenda], goal: Goal, stopping: bool) -> Option<Duration> {
        let now_ms = self.shared.now_ms();
        let settled = self.shared.progress.borrow().settled;
        if settled != self.moved.0 {
            self.moved = (settled, now_ms);
        }
        if !self.tasks.is_empty() {
            // What is due now was started, or starts when a task of its destination ends.
            let later =
                agenda.iter().flat_map(|a| [gate::earliest_send(a), gate::earliest_poll(a)]).flatten().filter(|at| *at > now_ms).min();
            return Some(later.map_or(LONGEST_SLEEP, |at| until(at, now_ms).min(LONGEST_SLEEP)));
        }
        if stopping {
            return None;
        }
        let next_ms = agenda.iter().flat_map(|a| [gate::earliest_send(a), gate::earliest_poll(a)]).flatten().min();
        let until_next = next_ms.map(|at| until(at, now_ms));
        match goal {
            Goal::Settled { patience } if until_next.is_none_or(|wait| wait > patience) => return None,
            // Short waits in a row without a single row moving, as while no token can be had, are one long wait.
            Goal::Settled { patience } if !patience.is_zero() && now_ms.saturating_sub(self.moved.1) > millis(patience) => return None,
            Goal::Final { deadline } if next_ms.is_none() || now_ms >= deadline.as_millisecond() => return None,
            Goal::Settled { .. } | Goal::Final { .. } | Goal::Stopped => {}
        }
        let sleep = until_next.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP);
        // What is due but could not be started is looked at again soon, not at once.
        Some(sleep.max(Duration::from_millis(20)))
    }

    /// The report with where every destination stands now.
    async fn summarize(&mut self) -> Result<RunReport, StoreError> {
        let agenda = self.shared.store.agenda(self.shared.now_ms()).await?;
        let now_ms = self.shared.now_ms();
        let progress = *self.shared.progress.borrow();
        let mut state = self.shared.state();
        state.report.destinations.values_mut().for_each(DestinationReport::stands_idle);
        for entry in agenda.iter().filter(|a| self.shared.is_ours(a.destination.id)) {
            state.report.of(&entry.destination).stands(entry, now_ms);
        }
        state.report.progress = progress;
        Ok(state.report.clone())
    }
}

fn until(at_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0))
}
