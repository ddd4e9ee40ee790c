//! One run: what is due is started, what ends is noted, and between them the run waits, until its goal is reached.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::task::{self, JoinError, JoinSet};

use super::{DestinationReport, Goal, RunReport, Shared, gate, send};
use crate::{
    breaker::Passage,
    delivery::millis,
    id::DestinationId,
    outcome::Why,
    schedule::Schedule,
    store::{Agenda, StoreError},
};

/// How often a run that waits for rows of another worker looks at them.
const OTHERS_SLEEP: Duration = Duration::from_millis(500);
/// The longest sleep; open work of other processes is seen after it at the latest.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// One run of a worker.
pub(super) struct Run<'a> {
    shared: &'a Arc<Shared>,
    pub(super) tasks: JoinSet<Result<(), StoreError>>,
    /// Which destination each task is for, and whether it asks for verdicts.
    running: HashMap<task::Id, (DestinationId, bool)>,
    /// Why a task ended that should not have.
    pub(super) broken: Option<StoreError>,
    schedule: Schedule<DestinationId>,
    recover_at_ms: i64,
    /// Failures of the store in a row, and until when it is left alone, in Unix milliseconds.
    failures: u32,
    rest_until_ms: i64,
    /// Rows settled so far, and since when that has not changed, in Unix milliseconds.
    moved: (u64, i64),
}

impl<'a> Run<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>) -> Self {
        Self {
            shared,
            tasks: JoinSet::new(),
            running: HashMap::new(),
            broken: None,
            schedule: Schedule::default(),
            recover_at_ms: 0,
            failures: 0,
            rest_until_ms: 0,
            moved: (0, shared.now_ms()),
        }
    }

    /// Starts what is due, and returns what is open; `None` while a store that could not answer is left alone.
    pub(super) async fn look(&mut self) -> Result<Option<Vec<Agenda>>, StoreError> {
        if !self.rest().is_zero() {
            return Ok(None);
        }
        match self.start_due().await {
            Err(StoreError::Busy | StoreError::Unavailable(_)) if self.failures < send::TRIES => {
                self.rest_until_ms = self.shared.now_ms().saturating_add(millis(send::FIRST_WAIT * (1 << self.failures)));
                self.failures += 1;
                Ok(None)
            }
            Err(error) => Err(error),
            Ok(agenda) => {
                self.failures = 0;
                Ok(Some(agenda))
            }
        }
    }

    /// How long the store is left alone yet.
    pub(super) fn rest(&self) -> Duration {
        until(self.rest_until_ms, self.shared.now_ms())
    }

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

    pub(super) fn finished(&mut self, finished: Result<(task::Id, Result<(), StoreError>), JoinError>) -> Result<(), StoreError> {
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
    pub(super) fn wait(&mut self, agenda: &[Agenda], goal: Goal, stopping: bool) -> Option<Duration> {
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
        // None of it is ours: no task is left.
        let others = matches!(goal, Goal::Final { .. }) && agenda.iter().any(|a| a.in_flight > 0);
        match goal {
            Goal::Settled { patience } if until_next.is_none_or(|wait| wait > patience) => return None,
            // Short waits in a row without a single row moving, as while no token can be had, are one long wait.
            Goal::Settled { patience } if !patience.is_zero() && now_ms.saturating_sub(self.moved.1) > millis(patience) => return None,
            Goal::Final { deadline } if (next_ms.is_none() && !others) || now_ms >= deadline.as_millisecond() => return None,
            Goal::Settled { .. } | Goal::Final { .. } | Goal::Stopped => {}
        }
        let longest = if others { OTHERS_SLEEP } else { LONGEST_SLEEP };
        let sleep = until_next.unwrap_or(longest).min(longest);
        // What is due but could not be started is looked at again soon, not at once.
        Some(sleep.max(Duration::from_millis(20)))
    }

    /// The report with where every destination stands now.
    pub(super) async fn summarize(&mut self) -> Result<RunReport, StoreError> {
        let mut tries = 0;
        let agenda = loop {
            match self.shared.store.agenda(self.shared.now_ms()).await {
                Err(StoreError::Busy | StoreError::Unavailable(_)) if tries < send::TRIES => {
                    tokio::time::sleep(send::FIRST_WAIT * (1 << tries)).await;
                    tries += 1;
                }
                other => break other?,
            }
        };
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

/// From `now_ms` to `at_ms`; nothing if that is over.
pub(super) fn until(at_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0))
}
