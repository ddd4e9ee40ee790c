//! The loop that delivers: claim, plan, persist the upload, send, settle; and ask for verdicts that come later.
//!
//! A row is claimed under a lease, an upload is on disk before it is sent, and a settle under a lost lease changes
//! nothing: the process may end at any instant. Each request runs in a task of its own, so that a platform that hangs
//! delays nobody else.

mod answers;
pub mod lock;
mod plan;
mod report;
mod send;
mod verdicts;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{sync::watch, task::JoinSet};

pub use report::{DestinationReport, Progress, RunReport};

use crate::{
    backoff::Backoff,
    breaker::{self, Passage},
    clock::Clock,
    delivery::{Policy, millis},
    destination::Destination,
    id::{self, DestinationId},
    identity::Identifiers,
    org::OrgId,
    outcome::{Outcome, Why},
    rate_limit::Quota,
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

/// How deliveries are worked off.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Waits and attempts; the platform's dedupe window comes from the destination.
    pub policy: Policy,
    /// When a destination's breaker opens and closes.
    pub breaker: breaker::Settings,
    /// How long rows may be held; a request is cut off shortly before.
    pub lease: Duration,
    /// First question for a verdict.
    pub poll_first: Duration,
    /// Longest wait between questions.
    pub poll_cap: Duration,
    /// What the platform allows of requests that send; empty: everything.
    pub write_quota: Vec<Quota>,
    /// What it allows of questions; empty: everything.
    pub read_quota: Vec<Quota>,
    /// Requests of one destination at the same time.
    pub concurrency: usize,
    /// Only these destinations; `None`: all.
    pub only: Option<Vec<DestinationId>>,
}

impl Default for WorkerSettings {
    /// Data Manager allows 300 requests a minute and 100,000 a day per Cloud project, questions counted apart. 290 a minute without
    /// bursts, and 50,000 a day after a burst of 50,000, stay below both in every window.
    fn default() -> Self {
        let quota = |limit, period_ms, burst| Quota::try_new(limit, period_ms, burst).ok();
        let quotas: Vec<Quota> = [quota(290, 60_000, 1), quota(50_000, 86_400_000, 50_000)].into_iter().flatten().collect();
        Self {
            policy: Policy { backoff: Backoff::default(), attempts: 8, dedupe_window: None },
            breaker: breaker::Settings::default(),
            lease: Duration::from_secs(60),
            poll_first: Duration::from_secs(30 * 60),
            poll_cap: Duration::from_secs(4 * 3600),
            write_quota: quotas.clone(),
            read_quota: quotas,
            concurrency: 4,
            only: None,
        }
    }
}

/// When a run is over.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// When nothing is on its way and nothing will be due within `patience`.
    Settled {
        /// How long a wait is still worth it.
        patience: Duration,
    },
    /// When nothing is open any more, verdicts included, or at the deadline.
    Final {
        /// Latest end.
        deadline: Timestamp,
    },
    /// When told to stop.
    Stopped,
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
}

struct Volatile {
    random: SmallRng,
    last_token: i64,
    /// Refusals in a row that no row could be blamed for, by destination.
    unlocated: HashMap<DestinationId, u32>,
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
        let state =
            Volatile { random: SmallRng::seed_from_u64(seed), last_token: 0, unlocated: HashMap::new(), report: RunReport::default() };
        let progress = watch::Sender::new(Progress::default());
        Self { shared: Arc::new(Shared { store, clock, connector, liveness, settings, state: Mutex::new(state), progress }) }
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
            busy: BTreeMap::new(),
            schedule: Schedule::default(),
            recover_at_ms: 0,
            moved: (0, self.shared.now_ms()),
        };
        loop {
            let stopping = *stop.borrow_and_update();
            let agenda = if stopping { Vec::new() } else { run.start_due().await? };
            let wait = run.wait(&agenda, goal, stopping);
            let Some(wait) = wait else { break };
            tokio::select! {
                // In this order always, so that the same seed gives the same run.
                biased;
                Some(finished) = run.tasks.join_next() => run.finished(finished)?,
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
        run.summarize().await
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
    tasks: JoinSet<(DestinationId, Result<(), StoreError>)>,
    /// Tasks by destination.
    busy: BTreeMap<DestinationId, usize>,
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
        let due: BTreeMap<_, _> = agenda.iter().filter(|a| is_due(a, now_ms)).map(|a| (a.destination.id, a)).collect();
        let order = self.schedule.order(&due.keys().copied().collect::<Vec<_>>());
        for id in order {
            self.start(due[&id], now_ms);
        }
        Ok(agenda)
    }

    fn start(&mut self, entry: &Agenda, now_ms: i64) {
        let id = entry.destination.id;
        let allowed = match entry.destination.health.breaker.passage(now_ms) {
            Passage::Free => self.shared.settings.concurrency.max(1),
            Passage::Trial => 1,
            Passage::Blocked(_) => 0,
        };
        let running = self.busy.get(&id).copied().unwrap_or(0);
        let may_send = earliest_send(entry).is_some_and(|at| at <= now_ms);
        let may_ask = entry.next_poll_ms.is_some_and(|at| at <= now_ms);
        for slot in running..allowed {
            let asks = may_ask && (slot == 0 || !may_send);
            if !may_send && (!asks || slot > 0) {
                break;
            }
            let (shared, destination) = (self.shared.clone(), entry.destination.clone());
            self.tasks.spawn(async move {
                let result = if asks { shared.ask(&destination).await } else { Box::pin(shared.serve(&destination)).await };
                (destination.id, result)
            });
            *self.busy.entry(id).or_default() += 1;
            self.schedule.charge(id, 1, 1);
        }
    }

    fn finished(&mut self, finished: Result<(DestinationId, Result<(), StoreError>), tokio::task::JoinError>) -> Result<(), StoreError> {
        match finished {
            Ok((id, result)) => {
                if let Some(running) = self.busy.get_mut(&id) {
                    *running = running.saturating_sub(1);
                }
                match result {
                    // The rows stay claimed and come back when the lease ends.
                    Err(StoreError::Busy | StoreError::Unavailable(_)) => Ok(()),
                    other => other,
                }
            }
            Err(error) => Err(StoreError::Unavailable(format!("a worker task ended early: {error}"))),
        }
    }

    /// How long to sleep unless something happens; `None` when the run is over.
    fn wait(&mut self, agenda: &[Agenda], goal: Goal, stopping: bool) -> Option<Duration> {
        let now_ms = self.shared.now_ms();
        let settled = self.shared.progress.borrow().settled;
        if settled != self.moved.0 {
            self.moved = (settled, now_ms);
        }
        if !self.tasks.is_empty() {
            return Some(LONGEST_SLEEP);
        }
        if stopping {
            return None;
        }
        let next_ms = agenda.iter().filter_map(|a| [earliest_send(a), a.next_poll_ms].into_iter().flatten().min()).min();
        let until_next = next_ms.map(|at| Duration::from_millis(u64::try_from(at.saturating_sub(now_ms)).unwrap_or(0)));
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

/// When a destination's earliest row may go, its pause and its breaker considered.
fn earliest_send(entry: &Agenda) -> Option<i64> {
    let health = &entry.destination.health;
    let blocked = match health.breaker {
        breaker::Breaker::Open { until_ms } => until_ms,
        _ => i64::MIN,
    };
    entry.next_due_ms.map(|due| due.max(health.paused_until_ms.unwrap_or(i64::MIN)).max(blocked))
}

fn is_due(entry: &Agenda, now_ms: i64) -> bool {
    earliest_send(entry).is_some_and(|at| at <= now_ms) || entry.next_poll_ms.is_some_and(|at| at <= now_ms)
}
