//! The one writer of a process: everything that waits goes into one transaction, and is answered after the commit.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use super::{
    accept, checkpoint::Checkpointer, desk::Pace, destinations, error::damaged, keys::Keys, leads, queue, requests, settle, tx::Tx,
};
use crate::{
    audit::{self, AuditKey, Head},
    store::{Done, Request, StoreError, Write, audited},
};

/// Rows of a command that is small.
const SMALL_ROWS: usize = 8;

/// A command's work inside the transaction.
pub(super) type Run<T> = Box<dyn FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send>;

/// An answer, kept until the commit.
type Answer = Box<dyn FnOnce(Result<(), StoreError>)>;

/// Something to do in a transaction.
pub(super) trait Job: Send {
    /// Does it; what it returns answers the caller once the commit is on disk.
    fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Answer;
    /// Tells the caller that nothing was done.
    fn refuse(self: Box<Self>, error: StoreError);
}

/// One thing with one result.
pub(super) struct Single<T> {
    pub(super) run: Run<T>,
    pub(super) reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send + 'static> Job for Single<T> {
    fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Answer {
        let result = tx.attempt(self.run);
        let reply = self.reply;
        // A caller that is gone needs no answer.
        Box::new(move |committed| drop(reply.send(committed.and(result))))
    }

    fn refuse(self: Box<Self>, error: StoreError) {
        drop(self.reply.send(Err(error)));
    }
}

/// Commands, each with a result of its own.
pub(super) struct Batch {
    pub(super) commands: Vec<Write>,
    pub(super) reply: oneshot::Sender<Vec<Result<Done, StoreError>>>,
}

impl Job for Batch {
    fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Answer {
        let results: Vec<_> = self.commands.iter().map(|command| tx.attempt(|tx| execute(tx, command))).collect();
        let reply = self.reply;
        Box::new(move |committed| {
            let results = match committed {
                Ok(()) => results,
                Err(error) => results.into_iter().map(|_| Err(error.clone())).collect(),
            };
            drop(reply.send(results));
        })
    }

    fn refuse(self: Box<Self>, error: StoreError) {
        let results = self.commands.iter().map(|_| Err(error.clone())).collect();
        drop(self.reply.send(results));
    }
}

/// Whether a command's work is known beforehand to be little; many change whatever number of rows there is.
pub(super) fn is_small(command: &Write) -> bool {
    match command {
        Write::Request(request) => is_small(&request.command),
        Write::Accept(intake) => intake.conversions.len() <= SMALL_ROWS,
        Write::Leads(batch) => batch.leads.len() + batch.intake.as_ref().map_or(0, |i| i.conversions.len()) <= SMALL_ROWS,
        _ => false,
    }
}

/// Does a command and notes it for the audit log.
fn execute(tx: &mut Tx<'_>, command: &Write) -> Result<Done, StoreError> {
    let done = match command {
        Write::Request(request) => match requested(tx, request)? {
            (done, true) => done,
            (done, false) => return Ok(done),
        },
        command => run(tx, command)?,
    };
    let org_of = |id| destinations::stored(tx.conn, id).ok().flatten().map(|s| s.destination.org);
    let entry = audited(command, &done, &org_of);
    tx.note(entry, command.now_ms());
    Ok(done)
}

/// Does what was not done before under the same key; whether it did.
fn requested(tx: &mut Tx<'_>, request: &Request) -> Result<(Done, bool), StoreError> {
    let now_ms = request.command.now_ms();
    if let Some(once) = &request.once
        && let Some(done) = requests::before(tx.conn, once, now_ms)?
    {
        return Ok((done, false));
    }
    let done = run(tx, &request.command)?;
    if let Some(once) = &request.once {
        requests::after(tx, once, &done, now_ms)?;
    }
    Ok((done, true))
}

fn run(tx: &mut Tx<'_>, command: &Write) -> Result<Done, StoreError> {
    Ok(match command {
        Write::Accept(intake) => accept::accept(tx, intake)?,
        Write::Begin(begin) => Done::Begun(queue::begin(tx, begin)?),
        Write::Settle(settled) => Done::Settled(settle::settle(tx, settled)?),
        Write::PutDestination(put) => Done::Destination(destinations::put(tx, put)?),
        Write::RemoveDestination { org, destination, force, now_ms } => {
            Done::Changed(destinations::remove(tx, org, *destination, *force, *now_ms)?)
        }
        Write::Hold { destination, action_id, scope, why, now_ms } => {
            Done::Changed(settle::hold(tx, *destination, action_id.as_ref(), *scope, why, *now_ms)?)
        }
        Write::Release { org, destination, reviewed, now_ms } => Done::Changed(settle::release(tx, org, *destination, *reviewed, *now_ms)?),
        Write::Repair(repair) => Done::Repaired(settle::repair(tx, repair)?),
        Write::Suppress { org, persons, now_ms } => Done::Changed(settle::suppress(tx, org, persons, *now_ms)?),
        Write::Reserve { quota, limits, now_ms } => Done::Reserved(queue::reserve(tx, quota, limits, *now_ms)?),
        Write::Leads(batch) => leads::store(tx, batch)?,
        Write::DeleteLead { org, lead, .. } => Done::Changed(leads::delete(tx, org, *lead)?),
        Write::PutRule { org, name, spec, .. } => requests::put_rule(tx, org, name, spec.as_deref())?,
        Write::RevokeToken { org, jti, until_ms, now_ms } => requests::revoke(tx, org, jti, *until_ms, *now_ms)?,
        Write::PutReplay { replay, repair, now_ms } => requests::put_replay(tx, replay, repair.as_ref(), *now_ms)?,
        Write::Note { .. } => Done::Noted,
        Write::Request(_) => return Err(StoreError::Conflict("a request cannot be part of another".to_owned())),
    })
}

/// What writes: one at a time has it.
pub(super) struct Writer {
    pub(super) conn: Connection,
    /// How long another process that writes is waited for.
    pub(super) patience: Duration,
    pub(super) keys: Keys,
    pub(super) chain: i64,
    pub(super) audit_key: AuditKey,
    pub(super) checkpointer: Checkpointer,
    pub(super) pace: Pace,
}

impl Writer {
    /// Does everything in one transaction, and answers after its commit.
    pub(super) fn commit(&mut self, group: Vec<Box<dyn Job>>) {
        match Tx::begin(&self.conn, &mut self.keys) {
            Ok(tx) => {
                let done = run_all(tx, group, self.chain, &self.audit_key);
                self.answer(done);
            }
            Err(error) => {
                self.roll_back();
                group.into_iter().for_each(|job| job.refuse(error.clone()));
            }
        }
    }

    /// Does one job if the file is free; else gives it back: another process may write for as long as it likes.
    pub(super) fn commit_alone(&mut self, job: Box<dyn Job>) -> Option<Box<dyn Job>> {
        let begun = self.conn.busy_timeout(Duration::ZERO).map_err(StoreError::from);
        let begun = begun.and_then(|()| Tx::begin(&self.conn, &mut self.keys));
        drop(self.conn.busy_timeout(self.patience));
        let Ok(tx) = begun else {
            self.roll_back();
            return Some(job);
        };
        let done = run_all(tx, vec![job], self.chain, &self.audit_key);
        self.answer(done);
        None
    }

    fn answer(&mut self, (answers, committed): (Vec<Answer>, Result<(), StoreError>)) {
        if committed.is_err() {
            self.roll_back();
            self.keys.forget();
        }
        self.checkpointer.after_commit();
        for answer in answers {
            answer(committed.clone());
        }
    }

    fn roll_back(&self) {
        if !self.conn.is_autocommit() {
            // What cannot be rolled back is rolled back by the next one to open the file.
            drop(self.conn.execute_batch("ROLLBACK"));
        }
    }

    /// Whether there is work for between two transactions that a caller should not do.
    pub(super) fn has_to_tidy(&self) -> bool {
        self.keys.is_long() || self.checkpointer.has_to_catch_up()
    }

    /// Does what is to be done between two transactions, after the first one's answers.
    pub(super) fn tidy(&mut self) {
        self.compact();
        self.checkpointer.catch_up(&self.conn);
    }

    /// Nobody needs it any more.
    pub(super) fn close(self) {
        self.checkpointer.close(&self.conn);
    }

    /// Puts the keys in order where they have become many. What cannot be done now is done after a later commit.
    fn compact(&mut self) {
        if !self.keys.is_long() || self.conn.execute_batch("BEGIN IMMEDIATE").is_err() {
            return;
        }
        self.keys.begin();
        let done = self.keys.compact(&self.conn).and_then(|()| Ok(self.conn.execute_batch("COMMIT")?));
        if done.is_err() {
            self.keys.forget();
            self.roll_back();
        }
    }
}

fn run_all(mut tx: Tx<'_>, group: Vec<Box<dyn Job>>, chain: i64, audit_key: &AuditKey) -> (Vec<Answer>, Result<(), StoreError>) {
    let answers = group.into_iter().map(|job| job.run(&mut tx)).collect();
    (answers, finish(&mut tx, chain, audit_key))
}

fn finish(tx: &mut Tx<'_>, chain: i64, audit_key: &AuditKey) -> Result<(), StoreError> {
    let (entries, at_ms) = tx.finish()?;
    if !entries.is_empty() {
        link(tx.conn, chain, audit_key, entries, at_ms)?;
    }
    tx.conn.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}

fn link(conn: &Connection, chain: i64, audit_key: &AuditKey, entries: Vec<audit::Entry>, at_ms: i64) -> Result<(), StoreError> {
    let mut read = conn.prepare_cached("SELECT position, mac FROM audit_links WHERE writer = ?1 ORDER BY position DESC LIMIT 1")?;
    let head = read.query_row([chain], |r| Ok(Head { writer: chain, position: r.get(0)?, mac: r.get(1)? })).optional()?;
    let link = audit::link(audit_key, head.unwrap_or_else(|| Head::start(chain)), entries, at_ms);
    let text = serde_json::to_string(&link.entries).map_err(|_| damaged("an audit entry"))?;
    let mut insert = conn.prepare_cached(
        "INSERT INTO audit_links (writer, position, at_ms, entries, digest, previous, mac) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    insert.execute(params![link.writer, link.position, link.at_ms, text, link.digest, link.previous, link.mac])?;
    Ok(())
}
