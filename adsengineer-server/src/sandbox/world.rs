//! Everything that a sandbox remembers, behind one lock.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

use super::{Counters, Fault, FaultPlan, ledger::Ledger, oauth::Tokens, options::SandboxOptions, status::Taken};

/// What handlers share.
pub(super) struct World {
    state: Mutex<State>,
    /// Changes when the sandbox stops.
    pub(super) stopped: watch::Receiver<()>,
    names: RandomState,
    named: AtomicU64,
}

pub(super) struct State {
    pub(super) options: SandboxOptions,
    pub(super) actions: Option<Arc<BTreeSet<(String, String)>>>,
    pub(super) counters: Counters,
    pub(super) ledger: Ledger,
    pub(super) taken: HashMap<String, Taken>,
    pub(super) tokens: Tokens,
    /// How many of the next token requests fail.
    pub(super) token_outage: u64,
    /// How many of the next polls fail.
    pub(super) poll_outage: u64,
    /// The number of the last request under the present plan.
    number: u64,
}

impl World {
    pub(super) fn new(mut options: SandboxOptions, stopped: watch::Receiver<()>) -> Self {
        let actions = options.actions.take().map(Arc::new);
        let state = State {
            options,
            actions,
            counters: Counters::default(),
            ledger: Ledger::default(),
            taken: HashMap::new(),
            tokens: Tokens::default(),
            token_outage: 0,
            poll_outage: 0,
            number: 0,
        };
        Self { state: Mutex::new(state), stopped, names: RandomState::new(), named: AtomicU64::new(0) }
    }

    /// A panic elsewhere leaves numbers that are still the best there are.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unique over restarts: a client may remember the ids of an earlier sandbox.
    pub(super) fn fresh_request_id(&self) -> String {
        let [a, b] = self.fresh();
        format!("t-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", a >> 32, (a >> 16) & 0xffff, a & 0xffff, b >> 48, b & 0xffff_ffff_ffff)
    }

    pub(super) fn fresh_token(&self) -> String {
        let [a, b] = self.fresh();
        format!("ya29.sandbox-{a:016x}{b:016x}")
    }

    fn fresh(&self) -> [u64; 2] {
        let number = self.named.fetch_add(1, Ordering::Relaxed);
        [self.names.hash_one((number, 'a')), self.names.hash_one((number, 'b'))]
    }
}

impl State {
    /// Counts one arriving request and says what it meets.
    pub(super) fn next_fault(&mut self) -> Option<Fault> {
        self.counters.requests += 1;
        self.number += 1;
        let fault = self.options.faults.fault_for(self.number)?;
        *self.counters.faults.entry(fault.name()).or_default() += 1;
        Some(fault)
    }

    /// A new plan counts requests from 1.
    pub(super) fn set_faults(&mut self, plan: FaultPlan) {
        self.options.faults = plan;
        self.number = 0;
    }

    pub(super) fn counters(&self) -> Counters {
        Counters { conversions: self.ledger.len(), ..self.counters.clone() }
    }
}

/// Whether this one fails too.
pub(super) fn is_out(left: &mut u64) -> bool {
    let out = *left > 0;
    *left = left.saturating_sub(1);
    out
}
