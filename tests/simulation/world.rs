//! What a run shares: virtual time, the faults that are on, what is true, and what went wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use adsengineer_core::{
    clock::Clock,
    id::{DeliveryId, UploadId},
    store::{Begin, Lease, PersonKey, WorkerId},
};
use jiff::Timestamp;
use tokio::{sync::Notify, time::Instant};

use crate::{planted::Bug, random::Random};

/// When every run starts, in Unix milliseconds.
pub const START_MS: i64 = 1_795_000_000_000;
pub const LEASE: Duration = Duration::from_secs(60);

/// How the platform takes a row, known beforehand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nature {
    Good,
    /// Refused at once, and the answer says which row it is.
    Located,
    /// Refused at once together with its neighbours.
    Unlocated,
    /// Refused by the verdict.
    Late,
}

impl Nature {
    /// The only reason that a row of this nature may end with.
    pub fn code(self) -> &'static str {
        match self {
            Self::Good => "",
            Self::Located => "BAD_ROW",
            Self::Unlocated => "BAD_REQUEST",
            Self::Late => "BAD_LATE",
        }
    }
}

/// What is true of a conversion, whatever happens to it on its way.
#[derive(Clone, Debug)]
pub struct Truth {
    pub nature: Nature,
    pub action: &'static str,
    pub person: PersonKey,
    pub destinations: Vec<usize>,
    /// Whole euros; each restatement is dearer, so that an older value is seen as such.
    pub value: i64,
    pub suppressed: bool,
}

/// What was recorded and sent so far.
#[derive(Default)]
pub struct Ledger {
    pub truth: BTreeMap<String, Truth>,
    /// Claims as they were given out.
    pub claims: BTreeMap<DeliveryId, Lease>,
    /// Uploads that a planted bug puts on record after they were sent.
    pub late_begins: BTreeMap<UploadId, Begin>,
    /// When each delivery's latest upload was recorded, counted in commits and in milliseconds.
    begun: BTreeMap<DeliveryId, (u64, i64)>,
    /// Bodies recorded and not yet sent.
    unsent: BTreeMap<[u8; 32], u32>,
    /// The commit that suppressed a person.
    suppressed: BTreeMap<PersonKey, u64>,
    commits: u64,
    sends_ms: Vec<i64>,
    violations: Vec<String>,
    log: Vec<String>,
}

pub struct World {
    pub random: Random,
    pub bug: Option<Bug>,
    pub ledger: Mutex<Ledger>,
    pub gone: Mutex<BTreeSet<WorkerId>>,
    start: Instant,
    faults: AtomicBool,
    verbose: bool,
}

impl World {
    pub fn new(seed: u64, bug: Option<Bug>, verbose: bool) -> Self {
        Self {
            random: Random::new(seed),
            bug,
            ledger: Mutex::default(),
            gone: Mutex::default(),
            start: Instant::now(),
            faults: AtomicBool::new(true),
            verbose,
        }
    }

    pub fn stop_faults(&self) {
        self.note(|| "faults end".to_owned());
        self.faults.store(false, Ordering::Relaxed);
    }

    pub fn faulty(&self) -> bool {
        self.faults.load(Ordering::Relaxed)
    }

    /// Whether a fault of this probability happens now.
    pub fn fault(&self, per_mille: u64) -> bool {
        self.faulty() && self.random.chance(per_mille)
    }

    pub fn note(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            let line = format!("{:>9} ms  {}", self.now_ms() - START_MS, text());
            self.ledger.lock().unwrap().log.push(line);
        }
    }

    pub fn violated(&self, what: String) {
        self.note(|| format!("VIOLATION {what}"));
        self.ledger.lock().unwrap().violations.push(what);
    }

    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.ledger.lock().unwrap().violations)
    }

    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.ledger.lock().unwrap().log)
    }

    /// Notes that an upload is on record.
    pub fn begun(&self, rows: &[(DeliveryId, u64)], body: [u8; 32]) {
        let now_ms = self.now_ms();
        let mut ledger = self.ledger.lock().unwrap();
        ledger.commits += 1;
        let commit = ledger.commits;
        ledger.begun.extend(rows.iter().map(|(id, _)| (*id, (commit, now_ms))));
        *ledger.unsent.entry(body).or_default() += 1;
    }

    pub fn suppressed(&self, persons: &[PersonKey]) {
        let mut ledger = self.ledger.lock().unwrap();
        ledger.commits += 1;
        let commit = ledger.commits;
        for person in persons {
            ledger.suppressed.entry(*person).or_insert(commit);
        }
        ledger.truth.values_mut().filter(|t| persons.contains(&t.person)).for_each(|t| t.suppressed = true);
    }

    /// Notes a request as it goes out, and whether it may.
    pub fn sent(&self, body: [u8; 32], rows: &[(DeliveryId, String)]) {
        let now_ms = self.now_ms();
        let mut wrong = Vec::new();
        {
            let mut ledger = self.ledger.lock().unwrap();
            ledger.sends_ms.push(now_ms);
            match ledger.unsent.get_mut(&body) {
                Some(left) if *left > 0 => *left -= 1,
                _ => wrong.push("a request went out that is not on record".to_owned()),
            }
            for (id, order) in rows {
                let Some(since) = ledger.truth.get(order).and_then(|t| ledger.suppressed.get(&t.person)) else { continue };
                let on_its_way = ledger.begun.get(id).is_some_and(|(commit, at)| commit < since && now_ms - at < LEASE_MS);
                if !on_its_way {
                    wrong.push(format!("{order} was sent after its person was suppressed"));
                }
            }
        }
        for what in wrong {
            self.violated(what);
        }
    }

    /// The most requests in any minute.
    pub fn busiest_minute(&self) -> usize {
        let ledger = self.ledger.lock().unwrap();
        let sends = &ledger.sends_ms;
        let in_minute = |i: usize| sends.partition_point(|at| *at < sends[i] + 60_000) - i;
        (0..sends.len()).map(in_minute).max().unwrap_or(0)
    }

    /// Lets virtual time pass.
    pub async fn pass(&self, ms: u64) {
        let _over = tokio::time::timeout(Duration::from_millis(ms), pending::<()>()).await;
    }
}

const LEASE_MS: i64 = 60_000;

impl Clock for World {
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.start.elapsed().as_millis()).unwrap();
        Timestamp::from_millisecond(START_MS + elapsed).unwrap()
    }
}

/// The end of a worker process: after so many steps it stands still, and whoever watches ends it.
pub struct Doom {
    left: AtomicI64,
    pub reached: Notify,
}

impl Doom {
    pub fn after(steps: i64) -> Self {
        Self { left: AtomicI64::new(steps), reached: Notify::new() }
    }

    pub fn never() -> Self {
        Self::after(i64::MAX)
    }

    /// One step; the last one never returns.
    pub async fn step(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) <= 1 {
            self.reached.notify_one();
            pending::<()>().await;
        }
    }
}
