//! The same random commands on the model and on another store give the same results and the same views.

use crate::fixture::{Fixture, NOW, add_destination, lease, model, money, next, org, person, sqlite, why};
use adsengineer_core::{
    delivery::{Next, State},
    id::{DeliveryId, DestinationId, UploadId},
    outcome::HoldScope,
    store::{
        Adjust, Begun, Claimed, ConversionQuery, DeadLetterQuery, Done, Guard, Intake, Lease, NewConversion, Repair, RepairAction, Settle,
        UploadResult, WorkerId, Write,
    },
};

/// SplitMix64 (Steele, Lea and Flood, 2014): the same seed draws the same commands.
struct Steps(u64);

impl Steps {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u32) -> u32 {
        u32::try_from(self.next() % u64::from(n)).unwrap()
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        let at = self.below(u32::try_from(list.len().max(1)).unwrap());
        list.get(at as usize).copied()
    }
}

/// What the commands so far have brought up.
#[derive(Default)]
struct Seen {
    claims: Vec<(DestinationId, Lease, Vec<DeliveryId>)>,
    uploads: Vec<(UploadId, DestinationId, Lease, Vec<DeliveryId>)>,
    deliveries: Vec<DeliveryId>,
}

struct Pair {
    model: Fixture,
    other: Fixture,
    destinations: [DestinationId; 2],
    steps: Steps,
    seen: Seen,
    now_ms: i64,
    token: i64,
}

impl Pair {
    async fn write(&mut self, command: Write) -> Option<Done> {
        let mut expected = self.model.store.write(vec![command.clone()]).await;
        let found = self.other.store.write(vec![command.clone()]).await;
        assert_eq!(found, expected, "after {command:?}");
        expected.remove(0).ok()
    }

    fn sale(&mut self) -> NewConversion {
        let order = format!("o{}", self.steps.below(25));
        let both = self.destinations;
        let to = if self.steps.below(3) == 0 { &both[..] } else { &both[..1] };
        let mut sale = self.model.sale_to(&order, to);
        sale.deliveries.iter_mut().for_each(|d| d.due_ms = self.now_ms);
        if self.steps.below(4) == 0 {
            sale.value = money(["10", "20", "0", "3.5"][self.steps.below(4) as usize]);
        }
        if self.steps.below(4) == 0 {
            let at = NOW / 1000 + i64::from(self.steps.below(10));
            sale.adjustment = Some(Adjust { at, retract: self.steps.below(3) == 0 });
        }
        if self.steps.below(12) == 0 {
            sale.deliveries[0].owned = self.model.sale("o1").deliveries[0].owned;
        }
        sale
    }

    async fn accept(&mut self) {
        let count = 1 + self.steps.below(5);
        let sales = (0..count).map(|_| self.sale()).collect();
        let restate = self.steps.below(3) == 0;
        let intake = Intake { restate, now_ms: self.now_ms, ..self.model.intake(sales) };
        self.write(Write::Accept(intake)).await;
    }

    async fn claim(&mut self) {
        self.token += 1;
        let lease = Lease { worker: WorkerId(i64::from(self.steps.below(3))), token: self.token, until_ms: self.now_ms + 20_000 };
        let (at, limit) = (self.steps.below(2) as usize, 1 + self.steps.below(6) as usize);
        let claim = async |f: &Fixture| f.store.claim(self.destinations[at], limit, lease, self.now_ms).await.unwrap();
        let (expected, found): (Vec<Claimed>, Vec<Claimed>) = (claim(&self.model).await, claim(&self.other).await);
        assert_eq!(format!("{found:?}"), format!("{expected:?}"));
        self.seen.deliveries.extend(expected.iter().map(|c| c.id));
        self.seen.claims.push((self.destinations[at], lease, expected.iter().map(|c| c.id).collect()));
    }

    /// A position near the end of a list, mostly.
    fn recent(&mut self, len: usize) -> usize {
        let back = if self.steps.below(3) == 0 { len } else { len.min(2) };
        len - 1 - self.steps.below(u32::try_from(back).unwrap()) as usize
    }

    async fn begin(&mut self) {
        if self.seen.claims.is_empty() {
            return;
        }
        let at = self.recent(self.seen.claims.len());
        let (destination, lease, rows) = self.seen.claims[at].clone();
        let begin = adsengineer_core::store::Begin {
            destination,
            lease,
            action_id: "77".into(),
            rows: rows.iter().map(|id| (*id, id.0.cast_unsigned())).collect(),
            body_hash: [1; 32],
            now_ms: self.now_ms,
        };
        let limits = vec![adsengineer_core::rate_limit::Quota::try_new(10, 1000, 2).unwrap()];
        self.write(Write::Reserve { quota: "q".into(), limits, now_ms: self.now_ms }).await;
        if let Some(Done::Begun(Begun::Upload(upload))) = self.write(Write::Begin(begin)).await {
            self.seen.uploads.push((upload, destination, lease, rows));
        }
    }

    fn outcome(&mut self) -> Next {
        let due_ms = Some(self.now_ms + i64::from(self.steps.below(9000)));
        let why = Some(why(["A", "B"][self.steps.below(2) as usize]));
        match self.steps.below(7) {
            0 => next(State::Delivered),
            1 => Next { due_ms, why, ..next(State::Retrying) },
            2 => Next { why, ..next(State::Dead) },
            3 => Next { why, hold: Some([HoldScope::Row, HoldScope::Action][self.steps.below(2) as usize]), ..next(State::Held) },
            4 => Next { due_ms, round: 1, ..next(State::Queued) },
            _ => next(State::AwaitingConfirmation),
        }
    }

    async fn settle(&mut self) {
        if self.seen.uploads.is_empty() {
            return;
        }
        let at = self.recent(self.seen.uploads.len());
        let (upload, destination, lease, rows) = self.seen.uploads[at].clone();
        let next = self.outcome();
        let guard = if self.steps.below(3) == 0 { Guard::Verdict(upload) } else { Guard::Lease(lease) };
        let poll_at_ms = (next.state == State::AwaitingConfirmation).then_some(self.now_ms + 3000);
        let result = UploadResult { upload, request_id: Some("r".into()), poll_at_ms, why: next.why.clone() };
        let paused_until_ms = (self.steps.below(8) == 0).then_some(self.now_ms + 2000);
        let settled = Settle { destination, upload: Some(result), paused_until_ms, ..self.model.settled(guard, &rows, next) };
        self.write(Write::Settle(Settle { now_ms: self.now_ms, ..settled })).await;
    }

    async fn act(&mut self) {
        let (org, now_ms) = (self.model.org.clone(), self.now_ms);
        let destination = self.destinations[self.steps.below(2) as usize];
        let command = match self.steps.below(12) {
            0 => {
                let action_id = (self.steps.below(2) == 0).then(|| "77".into());
                Write::Hold { destination, action_id, scope: HoldScope::Destination, why: why("H"), now_ms }
            }
            1..=3 => Write::Release { org, destination, reviewed: self.steps.below(2) == 0, now_ms },
            4 | 6 => Write::Suppress { org, persons: vec![person(&format!("o{}", self.steps.below(25)))], now_ms },
            5 if self.steps.below(12) == 0 => Write::RemoveDestination { org, destination, force: self.steps.below(2) == 0, now_ms },
            _ => {
                let action = if self.steps.below(4) == 0 { RepairAction::Discard } else { RepairAction::Replay { every_ms: 7 } };
                let deliveries = (0..4).filter_map(|_| self.steps.one_of(&self.seen.deliveries)).collect();
                Write::Repair(Repair { org, deliveries, action, note: None, now_ms })
            }
        };
        self.write(command).await;
    }

    async fn polls_and_recovery(&mut self) {
        let (at, now) = (self.steps.below(2) as usize, self.now_ms);
        let polls = async |f: &Fixture| {
            let lease = Lease { until_ms: now + 500, ..lease(1) };
            f.store.claim_polls(self.destinations[at], 2, lease, now).await.unwrap()
        };
        let (expected, found) = (polls(&self.model).await, polls(&self.other).await);
        assert_eq!(format!("{found:?}"), format!("{expected:?}"));
        let gone = if self.steps.below(3) == 0 { vec![WorkerId(1)] } else { Vec::new() };
        let recover = async |f: &Fixture| f.store.recover(&gone, now).await.unwrap();
        let (expected, found) = (recover(&self.model).await, recover(&self.other).await);
        assert_eq!(found, expected);
    }

    async fn step(&mut self) {
        self.now_ms += i64::from(self.steps.below(2500));
        match self.steps.below(10) {
            0..=2 => self.accept().await,
            3 => self.claim().await,
            4 | 5 => self.begin().await,
            6 | 7 => self.settle().await,
            8 => self.act().await,
            _ => self.polls_and_recovery().await,
        }
    }

    async fn compare(&self) {
        let views = async |f: &Fixture| views(f, self.now_ms).await;
        let (expected, found) = (views(&self.model).await, views(&self.other).await);
        for (expected, found) in expected.into_iter().zip(found) {
            assert_eq!(found, expected);
        }
        assert!(self.other.store.reconciliation(&self.other.org).await.unwrap().closes());
    }
}

/// Everything that a store shows, as text.
async fn views(f: &Fixture, now_ms: i64) -> Vec<String> {
    let (store, org) = (&f.store, &f.org);
    let conversions = |state, updated_since_ms| ConversionQuery { state, updated_since_ms, limit: 1000, ..ConversionQuery::default() };
    let mut views = vec![
        format!("{:#?}", store.conversions(org, &conversions(None, None)).await),
        format!("{:#?}", store.conversions(org, &conversions(Some(State::Dead), None)).await),
        format!("{:#?}", store.conversions(org, &conversions(None, Some(now_ms - 5000))).await),
        format!("{:#?}", store.dead_letters(org, &DeadLetterQuery { limit: 1000, ..DeadLetterQuery::default() }).await),
    ];
    views.push(format!("{:#?}", store.status(org, now_ms).await));
    views.push(format!("{:#?}", store.reconciliation(org).await));
    views.push(format!("{:#?}", store.uploads(org, 1000).await));
    views.push(format!("{:#?}", store.agenda(now_ms).await));
    views.push(format!("{:#?}", store.workers().await));
    views.push(format!("{:#?}", store.destinations(org).await));
    let links = store.audit(0, 10_000).await.unwrap();
    views.push(format!("{:#?}", links.into_iter().map(|l| (l.at_ms, l.entries)).collect::<Vec<_>>()));
    views
}

/// Random commands from a few seeds.
async fn compare_with(other: impl AsyncFn() -> Fixture, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let (model, other) = (model().await, other().await);
        assert_eq!(model.destination, other.destination);
        let second = add_destination(&*model.store, &org("acme"), "second").await;
        assert_eq!(add_destination(&*other.store, &org("acme"), "second").await, second);
        let destinations = [model.destination, second];
        let steps = Steps(seed);
        let mut pair = Pair { model, other, destinations, steps, seen: Seen::default(), now_ms: NOW, token: 1000 };
        for step in 0..120 {
            pair.step().await;
            if step % 20 == 19 {
                pair.compare().await;
            }
        }
    }
}

#[tokio::test]
async fn random_commands_have_the_same_results_and_leave_the_same_views() {
    compare_with(sqlite, 0..30).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn random_commands_have_the_same_results_and_leave_the_same_views_on_postgresql() {
    compare_with(crate::fixture::postgres, 0..20).await;
}
