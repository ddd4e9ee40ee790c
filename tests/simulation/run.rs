//! One run: workers come and go under faults, then faults end, and everything must come to its right end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use adsengineer_core::{
    backoff::Backoff,
    clock::Clock,
    delivery::Policy,
    destination::Destination,
    id::DestinationId,
    identity::Identifiers,
    org::OrgId,
    outcome::{Outcome, Why},
    store::{StoredDestination, WorkerId, model::ModelStore},
    worker::{Connector, Goal, Liveness, Worker, WorkerSettings},
};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::{
    checks,
    people::People,
    planted::Bug,
    platform::{Door, Platform},
    store::Faulty,
    world::{Doom, LEASE, World},
};

/// What a run came to.
pub struct Report {
    pub violations: Vec<String>,
    pub log: Vec<String>,
}

struct Doors {
    platforms: BTreeMap<DestinationId, Arc<Platform>>,
    world: Arc<World>,
    doom: Arc<Doom>,
}

#[async_trait::async_trait]
impl Connector for Doors {
    async fn connect(&self, destination: &StoredDestination) -> Result<Arc<dyn Destination>, Outcome> {
        if self.world.fault(10) {
            let why = Why::new("NO_TOKEN", "the simulation gave no token");
            return Err(Outcome::Retry { after: None, counts: false, why });
        }
        let platform = self.platforms[&destination.id].clone();
        Ok(Arc::new(Door { platform, doom: self.doom.clone() }))
    }

    fn identifiers(&self, _org: &OrgId, _sealed: &[u8]) -> Result<Identifiers, Why> {
        Ok(Identifiers::default())
    }

    fn quota(&self, _destination: &StoredDestination) -> Arc<str> {
        "project".into()
    }
}

struct Alive {
    world: Arc<World>,
    worker: WorkerId,
}

impl Liveness for Alive {
    fn worker(&self) -> WorkerId {
        self.worker
    }

    fn gone(&self, workers: &[WorkerId]) -> Vec<WorkerId> {
        let gone = self.world.gone.lock().unwrap();
        workers.iter().copied().filter(|worker| gone.contains(worker)).collect()
    }
}

/// What every worker of a run is made from.
#[derive(Clone)]
struct Site {
    world: Arc<World>,
    store: Arc<ModelStore>,
    platforms: BTreeMap<DestinationId, Arc<Platform>>,
    workers: Arc<Mutex<i64>>,
}

impl Site {
    fn worker(&self, doom: &Arc<Doom>) -> (WorkerId, Worker) {
        let id = {
            let mut workers = self.workers.lock().unwrap();
            *workers += 1;
            WorkerId(*workers)
        };
        let (world, doom) = (self.world.clone(), doom.clone());
        let store = Faulty { inner: self.store.clone(), world: world.clone(), doom: doom.clone() };
        let doors = Doors { platforms: self.platforms.clone(), world: world.clone(), doom };
        let settings = WorkerSettings {
            policy: Policy {
                backoff: Backoff::try_new(Duration::from_secs(1), Duration::from_secs(5)).unwrap(),
                attempts: 8,
                dedupe_window: None,
            },
            lease: LEASE,
            poll_first: Duration::from_secs(120),
            poll_cap: Duration::from_secs(600),
            ..WorkerSettings::default()
        };
        let alive = Alive { world: world.clone(), worker: id };
        let worker = Worker::new(Arc::new(store), world.clone(), Arc::new(doors), Arc::new(alive), settings);
        (id, worker.seeded(world.random.next()))
    }

    /// Workers one after another, each until it dies, fails or all is over.
    async fn slot(self, mut over: watch::Receiver<bool>) {
        while !*over.borrow_and_update() {
            let random = &self.world.random;
            let steps = if random.chance(700) { i64::try_from(random.between(1, 400)).unwrap() } else { i64::MAX };
            let doom = Arc::new(Doom::after(steps));
            let (id, worker) = self.worker(&doom);
            let (stop, stopped) = watch::channel(false);
            let mut task = tokio::spawn(async move { worker.run(stopped).await });
            tokio::select! {
                biased;
                () = doom.reached.notified() => {}
                ended = &mut task => self.world.note(|| format!("worker {id:?} ended: {:?}", ended.is_ok_and(|r| r.is_ok()))),
                _ = over.changed() => {
                    stop.send_replace(true);
                    if random.chance(500) {
                        let _drained = tokio::time::timeout(Duration::from_secs(300), &mut task).await;
                    }
                }
            }
            task.abort();
            self.world.note(|| format!("worker {id:?} is gone"));
            // Sometimes nobody can tell, as on another machine: its leases must run out.
            if random.chance(700) {
                self.world.gone.lock().unwrap().insert(id);
            }
            self.world.pass(random.between(1, 20_000)).await;
        }
    }

    /// A worker that nothing happens to any more, until nothing is open.
    async fn finish(&self) {
        let (_, worker) = self.worker(&Arc::new(Doom::never()));
        let deadline = Timestamp::from_millisecond(self.world.now_ms() + 12 * 3_600_000).unwrap();
        let stop = watch::Sender::new(false);
        if let Err(error) = worker.run_until(Goal::Final { deadline }, stop.subscribe()).await {
            self.world.violated(format!("a worker without faults failed: {error}"));
        }
    }
}

/// Runs `seed`, with a bug planted or none.
pub fn run(seed: u64, bug: Option<Bug>, verbose: bool) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = Arc::new(World::new(seed, bug, verbose));
        live(&world).await;
        Report { violations: world.take_violations(), log: world.take_log() }
    })
}

async fn live(world: &Arc<World>) {
    let store = Arc::new(ModelStore::default());
    let faulty = Faulty { inner: store.clone(), world: world.clone(), doom: Arc::new(Doom::never()) };
    let mut people = People::new(world.clone(), faulty).await;
    let platforms = people.destinations.iter().cloned().collect();
    let site = Site { world: world.clone(), store, platforms, workers: Arc::default() };
    // One channel each: receivers of the same one are woken in no particular order.
    let slot = || {
        let over = watch::Sender::new(false);
        let task = tokio::spawn(site.clone().slot(over.subscribe()));
        (over, task)
    };
    let slots: Vec<_> = (0..world.random.between(1, 2)).map(|_| slot()).collect();
    people.live(world.random.between(200_000, 900_000)).await;
    for (over, _) in &slots {
        over.send_replace(true);
    }
    for (_, task) in slots {
        task.await.unwrap();
    }
    world.stop_faults();
    let rounds = if world.bug.is_some() { 5 } else { 30 };
    for _ in 0..rounds {
        people.repair_all().await;
        people.replay(false).await;
        site.finish().await;
        if people.is_final().await {
            break;
        }
        // Claims of workers that nobody knows to be gone.
        world.pass(61_000).await;
    }
    checks::all(&people).await;
}
