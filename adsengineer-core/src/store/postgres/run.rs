//! What a group of commands does inside a transaction.

use super::{accept, destinations, fault::Fault, leads, queue, repair, requests, seen::Wanted, settle, tx::Tx};
use crate::{
    id::DestinationId,
    store::{Claimed, Done, Lease, PendingUpload, Request, StoreError, WorkerId, Write, audited},
};

/// Something to do in a transaction. It may be done again when the transaction fails.
pub(super) enum Task {
    Write(Write),
    Claim { destination: DestinationId, limit: usize, lease: Lease, now_ms: i64 },
    Polls { destination: DestinationId, limit: usize, lease: Lease, now_ms: i64 },
    Recover { gone: Vec<WorkerId>, now_ms: i64 },
}

/// What a task did.
#[derive(Debug)]
pub(super) enum Outcome {
    Done(Done),
    Claimed(Vec<Claimed>),
    Polls(Vec<PendingUpload>),
    Freed(u64),
}

/// Does everything in order; what is refused has its own error and leaves the others alone.
pub(super) async fn all<'t>(tx: &mut Tx<'t>, tasks: &[&'t Task]) -> Result<Vec<Result<Outcome, StoreError>>, Fault> {
    if tasks.len() > 1 {
        look_ahead(tx, tasks).await?;
    }
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(match one(tx, task).await {
            Ok(outcome) => Ok(outcome),
            Err(Fault::Refused(error)) => Err(error),
            Err(fault) => return Err(fault),
        });
    }
    Ok(results)
}

/// Looks up at once what the commands that only add rows will ask for one by one.
async fn look_ahead<'t>(tx: &mut Tx<'t>, tasks: &[&'t Task]) -> Result<(), Fault> {
    let mut wanted = Wanted::default();
    for task in tasks {
        let Task::Write(command) = task else { continue };
        let command = match command {
            Write::Request(request) => {
                if let Some(once) = &request.once {
                    wanted.once.push((tx.org_number(&once.org).await?, once.key));
                }
                &request.command
            }
            command => command,
        };
        let intake = match command {
            Write::Accept(intake) => Some(intake),
            Write::Leads(batch) => {
                let org = tx.org_number(&batch.org).await?;
                let new = batch.leads.iter().filter(|lead| lead.known.is_none());
                wanted.leads.extend(new.filter_map(|lead| Some((org, lead.external?))));
                batch.intake.as_ref()
            }
            _ => None,
        };
        if let Some(intake) = intake {
            let org = tx.org_number(&intake.org).await?;
            tx.share(org).await?;
            wanted.intakes.push((org, intake));
        }
    }
    tx.seen.look_up(tx.conn, &wanted).await
}

async fn one<'t>(tx: &mut Tx<'t>, task: &'t Task) -> Result<Outcome, Fault> {
    if let Task::Write(command) = task {
        return execute(tx, command).await.map(Outcome::Done);
    }
    tx.flush().await?;
    match task {
        Task::Claim { destination, limit, lease, now_ms } => {
            queue::claim(tx, *destination, *limit, *lease, *now_ms).await.map(Outcome::Claimed)
        }
        Task::Polls { destination, limit, lease, now_ms } => {
            queue::claim_polls(tx, *destination, *limit, *lease, *now_ms).await.map(Outcome::Polls)
        }
        Task::Recover { gone, now_ms } => repair::recover(tx, gone, *now_ms).await.map(Outcome::Freed),
        Task::Write(_) => Err(StoreError::Conflict("a command is done elsewhere".to_owned()).into()),
    }
}

/// Does a command and notes it for the audit log.
async fn execute<'t>(tx: &mut Tx<'t>, command: &'t Write) -> Result<Done, Fault> {
    let done = match command {
        Write::Request(request) => match requested(tx, request).await? {
            (done, true) => done,
            (done, false) => return Ok(done),
        },
        command => run(tx, command).await?,
    };
    let held = match command {
        Write::Hold { destination, .. } => destinations::stored(tx.conn, *destination).await?.map(|s| s.destination.org),
        Write::Request(request) => match &request.command {
            Write::Hold { destination, .. } => destinations::stored(tx.conn, *destination).await?.map(|s| s.destination.org),
            _ => None,
        },
        _ => None,
    };
    tx.note(audited(command, &done, &|_| held.clone()), command.now_ms());
    Ok(done)
}

/// Does what was not done before under the same key; whether it did.
async fn requested<'t>(tx: &mut Tx<'t>, request: &'t Request) -> Result<(Done, bool), Fault> {
    let now_ms = request.command.now_ms();
    if let Some(once) = &request.once
        && let Some(done) = requests::before(tx, once, now_ms).await?
    {
        return Ok((done, false));
    }
    let done = run(tx, &request.command).await?;
    if let Some(once) = &request.once {
        requests::after(tx, once, &done, now_ms).await?;
    }
    Ok((done, true))
}

async fn run<'t>(tx: &mut Tx<'t>, command: &'t Write) -> Result<Done, Fault> {
    if !matches!(command, Write::Accept(_) | Write::Leads(_) | Write::Note { .. } | Write::Request(_)) {
        tx.flush().await?;
    }
    Ok(match command {
        Write::Accept(intake) => accept::accept(tx, intake).await?,
        Write::Begin(begin) => Done::Begun(queue::begin(tx, begin).await?),
        Write::Settle(settled) => Done::Settled(settle::settle(tx, settled).await?),
        Write::PutDestination(put) => Done::Destination(destinations::put(tx, put).await?),
        Write::RemoveDestination { org, destination, force, now_ms } => {
            Done::Changed(destinations::remove(tx, org, *destination, *force, *now_ms).await?)
        }
        Write::Hold { destination, action_id, scope, why, now_ms } => {
            Done::Changed(settle::hold(tx, *destination, action_id.as_ref(), *scope, why, *now_ms).await?)
        }
        Write::Release { org, destination, reviewed, now_ms } => {
            Done::Changed(settle::release(tx, org, *destination, *reviewed, *now_ms).await?)
        }
        Write::Repair(wanted) => Done::Repaired(repair::repair(tx, wanted).await?),
        Write::Suppress { org, persons, now_ms } => Done::Changed(settle::suppress(tx, org, persons, *now_ms).await?),
        Write::Reserve { quota, limits, now_ms } => Done::Reserved(queue::reserve(tx, quota, limits, *now_ms).await?),
        Write::Leads(batch) => leads::store(tx, batch).await?,
        Write::DeleteLead { org, lead, .. } => Done::Changed(leads::delete(tx, org, *lead).await?),
        Write::PutRule { org, name, spec, .. } => requests::put_rule(tx, org, name, spec.as_deref()).await?,
        Write::RevokeToken { org, jti, until_ms, now_ms } => requests::revoke(tx, org, jti, *until_ms, *now_ms).await?,
        Write::PutReplay { replay, repair, now_ms } => requests::put_replay(tx, replay, repair.as_ref(), *now_ms).await?,
        Write::Note { .. } => Done::Noted,
        Write::Request(_) => return Err(StoreError::Conflict("a request cannot be part of another".to_owned()).into()),
    })
}
