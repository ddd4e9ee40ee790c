//! The model store behind faults: it fails before and after the commit, is slow, and its user dies at any step.

use std::sync::Arc;

use adsengineer_core::{
    id::{DestinationId, UploadId},
    store::{
        Agenda, Begin, Begun, Claimed, Done, Guard, Lease, PendingUpload, Queue, Replay, RevokedToken, Settle, Settled, Store, StoreError,
        StoredDestination, WorkerId, Write, model::ModelStore,
    },
};
use async_trait::async_trait;

use crate::{
    planted::Bug,
    world::{Doom, World},
};

pub struct Faulty {
    pub inner: Arc<ModelStore>,
    pub world: Arc<World>,
    pub doom: Arc<Doom>,
}

impl Faulty {
    async fn before(&self) -> Result<(), StoreError> {
        self.doom.step().await;
        if self.world.fault(100) {
            self.world.pass(self.world.random.between(1, 300)).await;
        }
        self.stand_still().await;
        if self.world.fault(8) {
            return Err(if self.world.random.chance(500) { StoreError::Busy } else { unavailable() });
        }
        Ok(())
    }

    /// Sometimes a process does not run for longer than its leases last.
    async fn stand_still(&self) {
        let often = if self.world.bug == Some(Bug::AnyLease) { 40 } else { 4 };
        if self.world.fault(often) {
            self.world.pass(self.world.random.between(20_000, 150_000)).await;
        }
    }

    /// After the commit: the answer may be lost.
    async fn after(&self) -> Result<(), StoreError> {
        self.doom.step().await;
        self.stand_still().await;
        if self.world.fault(5) { Err(unavailable()) } else { Ok(()) }
    }

    async fn run(&self, command: Write) -> Result<Done, StoreError> {
        if let Write::Begin(begin) = &command
            && self.world.bug == Some(Bug::NoBegin)
        {
            return Ok(self.begin_later(begin));
        }
        let commands = match command.clone() {
            Write::Settle(settle) if self.world.bug == Some(Bug::AnyLease) => self.for_any_lease(&settle),
            Write::Settle(settle) if self.world.bug == Some(Bug::NoBegin) => vec![Write::Settle(self.begin_now(settle).await)],
            other => vec![other],
        };
        let done = self.inner.write(commands).await.remove(0)?;
        match (&command, &done) {
            (Write::Begin(begin), Done::Begun(Begun::Upload(..))) => self.world.begun(&begin.rows, begin.body_hash),
            (Write::Suppress { persons, .. }, _) => self.world.suppressed(persons),
            _ => {}
        }
        self.world.note(|| told(&command, &done));
        Ok(done)
    }

    /// Puts a Begin off until its answer is settled.
    fn begin_later(&self, begin: &Begin) -> Done {
        self.world.begun(&begin.rows, begin.body_hash);
        let mut ledger = self.world.ledger.lock().unwrap();
        let upload = UploadId(-1 - i64::try_from(ledger.late_begins.len()).unwrap());
        ledger.late_begins.insert(upload, begin.clone());
        Done::Begun(Begun::Upload(upload))
    }

    async fn begin_now(&self, mut settle: Settle) -> Settle {
        let upload = settle.upload.as_ref().map(|result| result.upload);
        let begin = upload.and_then(|upload| self.world.ledger.lock().unwrap().late_begins.get(&upload).cloned());
        if let Some(begin) = begin
            && let Ok(Done::Begun(Begun::Upload(upload))) = self.inner.write(vec![Write::Begin(begin)]).await.remove(0)
            && let Some(result) = &mut settle.upload
        {
            result.upload = upload;
        }
        settle
    }

    /// The same settle under the claims that hold its rows now.
    fn for_any_lease(&self, settle: &Settle) -> Vec<Write> {
        let Guard::Lease(_) = settle.guard else { return vec![Write::Settle(settle.clone())] };
        let ledger = self.world.ledger.lock().unwrap();
        let mut all = vec![Write::Settle(settle.clone())];
        for settled in &settle.rows {
            for id in &settled.deliveries {
                let Some(lease) = ledger.claims.get(id) else { continue };
                let rows = vec![Settled { deliveries: vec![*id], ..settled.clone() }];
                let guard = Guard::Lease(*lease);
                all.push(Write::Settle(Settle { guard, rows, upload: None, breaker: None, paused_until_ms: None, ..settle.clone() }));
            }
        }
        all
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("the simulation cut the connection".to_owned())
}

fn told(command: &Write, done: &Done) -> String {
    match command {
        Write::Begin(begin) => format!("begin {:?}: {done:?}", begin.rows.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>()),
        Write::Settle(settle) => {
            let one = |s: &Settled| format!("{:?} {:?} {:?}", s.next.state, s.next.due_ms, s.deliveries);
            format!("settle {:?} {:?}: {done:?}", settle.guard, settle.rows.iter().map(one).collect::<Vec<_>>())
        }
        Write::Accept(intake) => format!("accept {} rows", intake.rows),
        other => format!("{other:?}: {done:?}"),
    }
}

#[async_trait]
impl Queue for Faulty {
    async fn enabled_destinations(&self) -> Result<Vec<StoredDestination>, StoreError> {
        self.inner.enabled_destinations().await
    }
    async fn agenda(&self, now_ms: i64) -> Result<Vec<Agenda>, StoreError> {
        self.inner.agenda(now_ms).await
    }

    async fn claim(&self, destination: DestinationId, limit: usize, lease: Lease, now_ms: i64) -> Result<Vec<Claimed>, StoreError> {
        self.before().await?;
        let rows = self.inner.claim(destination, limit, lease, now_ms).await?;
        self.world.note(|| format!("claim {} {:?}", lease.token, rows.iter().map(|r| r.id.to_string()).collect::<Vec<_>>()));
        self.world.ledger.lock().unwrap().claims.extend(rows.iter().map(|row| (row.id, lease)));
        self.after().await?;
        Ok(rows)
    }

    async fn claim_polls(
        &self,
        destination: DestinationId,
        limit: usize,
        lease: Lease,
        now_ms: i64,
    ) -> Result<Vec<PendingUpload>, StoreError> {
        self.before().await?;
        let uploads = self.inner.claim_polls(destination, limit, lease, now_ms).await?;
        self.after().await?;
        Ok(uploads)
    }

    async fn recover(&self, gone: &[WorkerId], now_ms: i64) -> Result<u64, StoreError> {
        self.before().await?;
        let rows = self.inner.recover(gone, now_ms).await?;
        self.world.note(|| format!("recover {gone:?}: {rows}"));
        self.after().await?;
        Ok(rows)
    }

    async fn revoked_tokens(&self, after: i64, now_ms: i64) -> Result<Vec<RevokedToken>, StoreError> {
        self.inner.revoked_tokens(after, now_ms).await
    }

    async fn running_replays(&self) -> Result<Vec<Replay>, StoreError> {
        self.inner.running_replays().await
    }

    async fn workers(&self) -> Result<Vec<WorkerId>, StoreError> {
        self.inner.workers().await
    }
}

#[async_trait]
impl Store for Faulty {
    async fn write(&self, commands: Vec<Write>) -> Vec<Result<Done, StoreError>> {
        let count = commands.len();
        if let Err(error) = self.before().await {
            return vec![Err(error); count];
        }
        let mut results = Vec::with_capacity(count);
        for command in commands {
            results.push(self.run(command).await);
        }
        if let Err(error) = self.after().await {
            return vec![Err(error); count];
        }
        results
    }
}

crate::forward_reads!(Faulty);
