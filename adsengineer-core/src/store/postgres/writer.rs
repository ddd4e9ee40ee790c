//! The one writer of a process: everything that waits goes into one transaction, and is answered after the commit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    commit::{Chain, Unanswered, attempt, was_committed},
    connect::{Conn, Server},
    fault::Fault,
    run::{Outcome, Task},
    tx::Fixed,
};
use crate::store::StoreError;

/// Rows in one transaction, beyond which nothing more is added to it: what comes after must not wait too long.
const ROWS_PER_COMMIT: usize = 16_384;
/// Times that a transaction is tried when others were in its way.
const TRIES: u32 = 6;
/// The wait before a further try, doubled each time.
const PAUSE: Duration = Duration::from_millis(5);
/// While the server cannot be reached it is asked no more often than this; the first time and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

pub(super) type Results = Vec<Result<Outcome, StoreError>>;

/// Tasks of one caller, how many rows they bring, and where their results go.
pub(super) struct Job {
    pub(super) tasks: Vec<Task>,
    pub(super) rows: usize,
    pub(super) reply: oneshot::Sender<Results>,
}

impl Job {
    fn refuse(self, error: &StoreError) {
        let results = self.tasks.iter().map(|_| Err(error.clone())).collect();
        // A caller that is gone needs no answer.
        drop(self.reply.send(results));
    }
}

/// Where jobs are handed in. Full: refused at once.
pub(super) struct Inbox {
    sender: mpsc::Sender<Job>,
    rows: Arc<AtomicUsize>,
    most_rows: usize,
}

impl Inbox {
    /// A channel for `jobs` jobs with `most_rows` rows together (one larger job passes when nothing waits).
    pub(super) fn new(jobs: usize, most_rows: usize) -> (Self, mpsc::Receiver<Job>, Arc<AtomicUsize>) {
        let (sender, receiver) = mpsc::channel(jobs);
        let rows = Arc::new(AtomicUsize::new(0));
        (Self { sender, rows: rows.clone(), most_rows }, receiver, rows)
    }

    pub(super) fn hand_in(&self, job: Job) {
        let rows = job.rows;
        let before = self.rows.fetch_add(rows, Ordering::AcqRel);
        if before > 0 && before + rows > self.most_rows {
            self.rows.fetch_sub(rows, Ordering::AcqRel);
            return job.refuse(&StoreError::Busy);
        }
        if let Err(error) = self.sender.try_send(job) {
            let (why, job) = match error {
                mpsc::error::TrySendError::Full(job) => (StoreError::Busy, job),
                mpsc::error::TrySendError::Closed(job) => (ended(), job),
            };
            self.rows.fetch_sub(rows, Ordering::AcqRel);
            job.refuse(&why);
        }
    }
}

pub(super) fn ended() -> StoreError {
    StoreError::Unavailable("its writer has ended".to_owned())
}

/// The writer's task.
pub(super) struct Writer {
    pub(super) server: Arc<Server>,
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) rows: Arc<AtomicUsize>,
    pub(super) chain: Chain,
    pub(super) patience: Duration,
    pub(super) link: Link,
}

/// The writer's connection, and what it knows from one transaction to the next.
#[derive(Default)]
pub(super) struct Link {
    conn: Option<Conn>,
    fixed: Fixed,
    slot: i16,
    /// When the server may be asked again, how long after that, and what it said.
    down: Option<(Instant, Duration, StoreError)>,
}

impl Writer {
    /// Works until nobody can hand anything in any more.
    pub(super) async fn work(mut self) {
        while let Some(first) = self.jobs.recv().await {
            self.gather().await;
            let mut rows = first.rows;
            let mut group = vec![first];
            while rows < ROWS_PER_COMMIT
                && let Ok(next) = self.jobs.try_recv()
            {
                rows += next.rows;
                group.push(next);
            }
            self.rows.fetch_sub(rows, Ordering::AcqRel);
            self.serve(group).await;
        }
    }

    /// Lets others run while they hand more in: callers that were answered together come back together, and share a transaction then
    /// instead of following the first of them in another.
    async fn gather(&self) {
        let mut before = None;
        while before != Some(self.jobs.len()) {
            before = Some(self.jobs.len());
            tokio::task::yield_now().await;
        }
    }

    async fn serve(&mut self, group: Vec<Job>) {
        let tasks: Vec<&Task> = group.iter().flat_map(|job| &job.tasks).collect();
        let mut results = self.commit(&tasks).await.into_iter();
        for job in group {
            let own = results.by_ref().take(job.tasks.len()).collect();
            drop(job.reply.send(own));
        }
    }

    /// Commits all tasks; where that cannot be, halves of them, down to the one that is to blame.
    async fn commit(&mut self, tasks: &[&Task]) -> Results {
        let mut results = Vec::with_capacity(tasks.len());
        let mut parts = vec![tasks];
        while let Some(part) = parts.pop() {
            match self.persist(part).await {
                Ok(done) => results.extend(done),
                Err(Fault::Broken(_) | Fault::Again(_) | Fault::Aborted) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(fault) => {
                    let error = StoreError::from(fault);
                    results.extend(part.iter().map(|_| Err(error.clone())));
                }
            }
        }
        results
    }

    /// Tries until it is done, or until further tries are of no use.
    async fn persist(&mut self, tasks: &[&Task]) -> Result<Results, Fault> {
        let mut pause = PAUSE;
        for last in (0..TRIES).map(|n| n + 1 == TRIES) {
            match self.once(tasks).await {
                Err(Fault::Again(_)) if !last => tokio::time::sleep(pause + PAUSE.mul_f64(rand::random())).await,
                result => return result,
            }
            pause *= 2;
        }
        Err(Fault::overtaken())
    }

    async fn once(&mut self, tasks: &[&Task]) -> Result<Results, Fault> {
        // A connection that was cut while it waited for work says so only now; nothing was committed on it.
        let fresh = self.link.conn.as_ref().is_none_or(Conn::is_closed);
        match self.attempt(tasks).await {
            Err(Fault::Lost(_)) if !fresh => self.attempt(tasks).await,
            result => result,
        }
    }

    async fn attempt(&mut self, tasks: &[&Task]) -> Result<Results, Fault> {
        let conn = self.link.take(&self.server).await?;
        let batch = rand::random();
        let attempt = attempt(&conn, tasks, &mut self.chain, &mut self.link.fixed, &mut self.link.slot, batch);
        match tokio::time::timeout(self.patience * 4, attempt).await {
            Ok(Ok(results)) => {
                self.link.conn = Some(conn);
                Ok(results)
            }
            Ok(Err(Unanswered::Not(fault))) => {
                self.chain.forget();
                if !matches!(fault, Fault::Lost(_)) && conn.run("ROLLBACK").await.is_ok() {
                    self.link.conn = Some(conn);
                }
                Err(fault)
            }
            Ok(Err(Unanswered::Commit { place, results, error })) => {
                self.chain.forget();
                drop(conn);
                if was_committed(&self.server, place, batch, self.patience).await? { Ok(results) } else { Err(Fault::Again(error)) }
            }
            Err(_) => {
                self.chain.forget();
                Err(Fault::Lost(StoreError::Unavailable("the database does not answer".to_owned())))
            }
        }
    }
}

impl Link {
    /// The connection; a new one where it is gone, but not more often than the server can bear.
    async fn take(&mut self, server: &Server) -> Result<Conn, Fault> {
        if let Some(conn) = self.conn.take().filter(|conn| !conn.is_closed()) {
            return Ok(conn);
        }
        if let Some((_, _, error)) = self.down.as_ref().filter(|(until, ..)| Instant::now() < *until) {
            return Err(Fault::Lost(error.clone()));
        }
        match server.connect().await {
            Ok(conn) => {
                self.down = None;
                Ok(conn)
            }
            Err(fault) => {
                let wait = self.down.as_ref().map_or(BACKOFF.0, |(_, wait, _)| (*wait * 2).min(BACKOFF.1));
                self.down = Some((Instant::now() + wait, wait, fault.clone().into()));
                Err(fault)
            }
        }
    }
}
