//! A store that cannot take settles for a while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use adsengineer_core::{
    delivery::State,
    id::DestinationId,
    store::{
        Agenda, Claimed, Done, Lease, PendingUpload, Queue, Replay, RevokedToken, Store, StoreError, WorkerId, Write, model::ModelStore,
    },
    worker::Goal,
};
use async_trait::async_trait;
use tokio::sync::watch;

use crate::{accepted, plain, stand::Stand};

/// Refuses settles with rows, `left` times; `after` the commit if so. Refuses to be read or recovered `reads` times.
struct Flaky {
    inner: Arc<ModelStore>,
    left: AtomicI32,
    after: bool,
    reads: AtomicI32,
}

impl Flaky {
    fn read(&self) -> Result<(), StoreError> {
        match self.reads.fetch_sub(1, Ordering::Relaxed) {
            left if left <= 0 => Ok(()),
            left if left % 2 == 0 => Err(StoreError::Busy),
            _ => Err(StoreError::Unavailable("another process writes".to_owned())),
        }
    }

    fn refuses(&self, command: &Write) -> bool {
        matches!(command, Write::Settle(settle) if !settle.rows.is_empty()) && self.left.fetch_sub(1, Ordering::Relaxed) > 0
    }
}

#[async_trait]
impl Queue for Flaky {
    async fn agenda(&self, now_ms: i64) -> Result<Vec<Agenda>, StoreError> {
        self.read()?;
        self.inner.agenda(now_ms).await
    }

    async fn claim(&self, destination: DestinationId, limit: usize, lease: Lease, now_ms: i64) -> Result<Vec<Claimed>, StoreError> {
        self.inner.claim(destination, limit, lease, now_ms).await
    }

    async fn claim_polls(&self, to: DestinationId, limit: usize, lease: Lease, now_ms: i64) -> Result<Vec<PendingUpload>, StoreError> {
        self.inner.claim_polls(to, limit, lease, now_ms).await
    }

    async fn recover(&self, gone: &[WorkerId], now_ms: i64) -> Result<u64, StoreError> {
        self.read()?;
        self.inner.recover(gone, now_ms).await
    }

    async fn revoked_tokens(&self, after: i64, now_ms: i64) -> Result<Vec<RevokedToken>, StoreError> {
        self.inner.revoked_tokens(after, now_ms).await
    }

    async fn running_replays(&self) -> Result<Vec<Replay>, StoreError> {
        self.inner.running_replays().await
    }

    async fn workers(&self) -> Result<Vec<WorkerId>, StoreError> {
        self.read()?;
        self.inner.workers().await
    }
}

#[async_trait]
impl Store for Flaky {
    async fn write(&self, commands: Vec<Write>) -> Vec<Result<Done, StoreError>> {
        let refused = commands.iter().any(|command| self.refuses(command));
        if refused && !self.after {
            return vec![Err(StoreError::Busy); commands.len()];
        }
        let results = self.inner.write(commands).await;
        if refused { results.iter().map(|_| Err(StoreError::Unavailable("cut off".to_owned()))).collect() } else { results }
    }
}

crate::forward_reads!(Flaky);

#[tokio::test(start_paused = true)]
async fn an_answer_is_not_lost_to_a_store_that_is_busy_for_some_seconds() {
    for after in [false, true] {
        let stand = Stand::new(accepted).await;
        stand.sell(&["1", "2"]).await;
        let flaky = Flaky { inner: stand.store.clone(), left: AtomicI32::new(5), after, reads: AtomicI32::new(0) };
        let (_stop, stopped) = watch::channel(false);
        let goal = Goal::Settled { patience: Duration::from_secs(5) };
        stand.worker_on(Arc::new(flaky)).run_until(goal, stopped).await.unwrap();
        assert!(stand.states().await.values().all(|state| *state == plain(State::Delivered)));
        assert_eq!(stand.sent(), [["1", "2"]]);
    }
}

/// A run on a store that refuses so many looks.
async fn run_after(stand: &Stand, reads: i32, goal: Goal) -> Result<(), StoreError> {
    let flaky = Flaky { inner: stand.store.clone(), left: AtomicI32::new(0), after: false, reads: AtomicI32::new(reads) };
    let (_stop, stopped) = watch::channel(false);
    stand.worker_on(Arc::new(flaky)).run_until(goal, stopped).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn a_run_sits_out_a_store_that_cannot_be_read_for_some_seconds() {
    let stand = Stand::new(accepted).await;
    stand.sell(&["1"]).await;
    let goal = Goal::Settled { patience: Duration::from_secs(5) };
    let start = stand.now_ms();
    run_after(&stand, 6, goal).await.unwrap();
    assert_eq!(stand.state("1").await, plain(State::Delivered));
    let waited = stand.now_ms() - start;
    assert!((6_300..7_000).contains(&waited), "{waited} ms");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_ends_the_run_with_its_error() {
    for goal in [Goal::Settled { patience: Duration::from_secs(5) }, Goal::Stopped] {
        let stand = Stand::new(accepted).await;
        stand.sell(&["1"]).await;
        let ended = run_after(&stand, 1000, goal).await;
        assert!(matches!(ended, Err(StoreError::Busy | StoreError::Unavailable(_))), "{ended:?}");
        assert_eq!(stand.state("1").await, plain(State::Queued));
    }
}
