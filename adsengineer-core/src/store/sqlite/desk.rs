//! Where work for the writer is handed in, and who does it: the writer's thread, with everything that waits, or the caller itself.
//!
//! Handing a command to another thread and its answer back takes as long as the commit on a quick disk. So a caller that finds
//! nobody else there takes the writer's place for one transaction. Under load nothing is ever done this way: a group's commit
//! costs little more than one command's.

#[cfg(test)]
mod tests;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::runtime::{Handle, RuntimeFlavor};

use super::writer::{Job, Writer};
use crate::store::StoreError;

/// Rows in one transaction, beyond which nothing more is added to it: what comes after must not wait too long.
const ROWS_PER_COMMIT: usize = 16_384;
/// So many commits in a row had nobody beside them before callers do their own: under load most groups are larger.
const ALONE: u32 = 4;
/// A runtime's thread may be held up for so long, seen over the last commits: the `fdatasync` of a good disk takes a tenth of it.
pub(super) const QUICK: Duration = Duration::from_millis(1);

/// A job and how many rows it brings.
struct Waiting {
    job: Box<dyn Job>,
    rows: usize,
}

/// Where jobs are handed in. Full: refused at once. Dropping it waits for everything handed in.
pub(super) struct Desk {
    sender: Option<SyncSender<Waiting>>,
    place: Arc<Place>,
    most_rows: usize,
    thread: Option<JoinHandle<()>>,
}

/// The writer's place: whoever holds the lock writes.
struct Place {
    /// `None` once a job has panicked: the transaction it was in ended with its connection.
    writer: Mutex<Option<Box<Writer>>>,
    /// Rows that wait.
    rows: AtomicUsize,
    /// Whether a caller may write by itself; only a hint until the lock is held.
    is_calm: AtomicBool,
}

impl Desk {
    /// Starts the writer's thread, with room for `jobs` jobs that have `most_rows` rows together (one larger job passes when nothing
    /// waits).
    pub(super) fn open(writer: Writer, jobs: usize, most_rows: usize) -> std::io::Result<Self> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(jobs);
        let place = Place { writer: Mutex::new(Some(Box::new(writer))), rows: AtomicUsize::new(0), is_calm: AtomicBool::new(false) };
        let place = Arc::new(place);
        let thread = std::thread::Builder::new().name("sqlite-writer".into()).spawn({
            let place = place.clone();
            move || place.work(&receiver)
        })?;
        Ok(Self { sender: Some(sender), place, most_rows, thread: Some(thread) })
    }

    /// Hands in a job of which it is known that it takes but a moment: it may be done before this returns.
    pub(super) fn hand_in_small(&self, job: Box<dyn Job>, rows: usize) {
        if let Some(job) = self.place.try_now(job) {
            self.hand_in(job, rows);
        }
    }

    /// Hands in a job for the writer's thread.
    pub(super) fn hand_in(&self, job: Box<dyn Job>, rows: usize) {
        // Nothing that waits may go unseen.
        let rows = rows.max(1);
        let before = self.place.rows.fetch_add(rows, Ordering::AcqRel);
        if before > 0 && before + rows > self.most_rows {
            self.place.rows.fetch_sub(rows, Ordering::AcqRel);
            return job.refuse(StoreError::Busy);
        }
        let waiting = Waiting { job, rows };
        let sent = match &self.sender {
            Some(sender) => sender.try_send(waiting),
            None => Err(TrySendError::Disconnected(waiting)),
        };
        if let Err(error) = sent {
            let (why, waiting) = match error {
                TrySendError::Full(waiting) => (StoreError::Busy, waiting),
                TrySendError::Disconnected(waiting) => (ended(), waiting),
            };
            self.place.rows.fetch_sub(rows, Ordering::AcqRel);
            waiting.job.refuse(why);
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

pub(super) fn ended() -> StoreError {
    StoreError::Unavailable("its writer has ended".to_owned())
}

impl Place {
    /// The thread: works until nobody can hand anything in any more, or a job has panicked.
    fn work(&self, jobs: &Receiver<Waiting>) {
        while let Ok(first) = jobs.recv() {
            let mut place = self.lock();
            // Taken out, so that a panic ends it: its connection closes, and what was begun is rolled back.
            let Some(mut writer) = place.take() else { return };
            let mut rows = first.rows;
            let mut group = vec![first.job];
            while rows < ROWS_PER_COMMIT
                && let Ok(next) = jobs.try_recv()
            {
                rows += next.rows;
                group.push(next.job);
            }
            self.rows.fetch_sub(rows, Ordering::AcqRel);
            let alone = group.len() == 1;
            let begun = now();
            writer.commit(group);
            writer.pace.note(begun.elapsed(), alone);
            writer.tidy();
            self.leave(place, writer);
        }
        if let Some(writer) = self.lock().take() {
            writer.close();
        }
    }

    /// Does the job in the caller's thread, if nobody is there or waits and it will not take long; else gives it back.
    fn try_now(&self, job: Box<dyn Job>) -> Option<Box<dyn Job>> {
        if !self.is_calm.load(Ordering::Acquire) || !may_be_held_up() {
            return Some(job);
        }
        let Ok(mut place) = self.writer.try_lock() else { return Some(job) };
        // Seen under the lock: what was handed in before is done before.
        if self.rows.load(Ordering::Acquire) > 0 {
            return Some(job);
        }
        let Some(mut writer) = place.take() else { return Some(job) };
        let done = catch_unwind(AssertUnwindSafe(move || {
            let begun = now();
            let left = writer.commit_alone(job);
            writer.pace.note(begun.elapsed(), left.is_none());
            (writer, left)
        }));
        // A panic has told the caller as it would have in the thread: the answer's other end is gone.
        let (writer, left) = done.ok()?;
        self.leave(place, writer);
        left
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Writer>>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, mut place: MutexGuard<'_, Option<Box<Writer>>>, writer: Box<Writer>) {
        let is_calm = writer.pace.is_calm() && !writer.has_to_tidy() && self.rows.load(Ordering::Acquire) == 0;
        self.is_calm.store(is_calm, Ordering::Release);
        *place = Some(writer);
    }
}

/// How commits went of late.
pub(super) struct Pace {
    /// What a caller may be held up for.
    quick: Duration,
    /// How long they took, later ones counting more.
    usual: Duration,
    /// How many in a row had nobody beside them.
    alone: u32,
}

impl Pace {
    pub(super) fn new(quick: Duration) -> Self {
        Self { quick, usual: Duration::ZERO, alone: 0 }
    }

    fn note(&mut self, took: Duration, alone: bool) {
        self.usual = (self.usual * 7 + took) / 8;
        self.alone = if alone { self.alone.saturating_add(1) } else { 0 };
    }

    fn is_calm(&self) -> bool {
        self.alone >= ALONE && self.usual < self.quick
    }
}

/// Whether the runtime has other threads that go on meanwhile.
fn may_be_held_up() -> bool {
    Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread && handle.metrics().num_workers() > 1)
}

#[expect(clippy::disallowed_methods, reason = "how long the disk takes is no matter of the clock that rows are stamped with")]
fn now() -> Instant {
    Instant::now()
}
