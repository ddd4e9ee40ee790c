//! A simulated platform: the first request with a transaction id counts, later ones overwrite its value.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use adsengineer_core::{
    destination::{Answer, CheckFinding, Destination, Event, Limits, Polled, Rendered, Verdict},
    id::DeliveryId,
    outcome::{HoldScope, Outcome, Why},
};
use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::{
    planted::Bug,
    random::Random,
    world::{Doom, Nature, World},
};

/// The reason of a refusal that is put right at the platform.
pub const MENDABLE: &str = "MENDABLE";

/// What the platform keeps of a transaction.
#[derive(Clone, Debug)]
pub struct Record {
    pub value: i64,
    pub count: u32,
    delivery: DeliveryId,
}

/// A row as it arrives.
#[derive(Clone, Debug)]
struct Row {
    delivery: DeliveryId,
    transaction_id: String,
    value: i64,
}

/// A request whose verdict comes later.
struct Request {
    verdict: Verdict,
    /// Questions answered with "not yet".
    not_yet: u64,
}

/// One account at the platform.
pub struct Platform {
    world: Arc<World>,
    random: Random,
    /// Whether verdicts come later.
    pub late: bool,
    pub limits: Limits,
    pub records: Mutex<BTreeMap<(String, String), Record>>,
    requests: Mutex<BTreeMap<String, Request>>,
    /// Its configuration is wrong until repaired.
    pub broken: Mutex<Option<HoldScope>>,
    seen: Mutex<BTreeSet<DeliveryId>>,
}

impl Platform {
    pub fn new(world: Arc<World>) -> Self {
        let random = world.random.fork();
        let batch = usize::try_from(random.one_of(&[1, 3, 10, 10, 50])).unwrap();
        let limits = Limits { batch, dedupe_window: None, event_window: Duration::from_secs(1000 * 86_400) };
        let late = random.chance(700);
        Self {
            world,
            random,
            late,
            limits,
            records: Mutex::default(),
            requests: Mutex::default(),
            broken: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    fn nature(&self, row: &Row) -> Nature {
        self.world.ledger.lock().unwrap().truth.get(&row.transaction_id).map_or(Nature::Good, |t| t.nature)
    }

    /// The answer to a request that arrives whole and is answered properly.
    fn judge(&self, action: &str, rows: &[Row]) -> Answer {
        if let Some(scope) = *self.broken.lock().unwrap() {
            return Answer::all(Outcome::Hold(scope, why("NOT_SET_UP")));
        }
        let natures: Vec<_> = rows.iter().map(|row| self.nature(row)).collect();
        if natures.contains(&Nature::Unlocated) {
            return Answer::all(Outcome::Unlocated(why(Nature::Unlocated.code())));
        }
        let bad = positions(&natures, Nature::Located);
        if !bad.is_empty() {
            let rejected = |i: usize| (i, Outcome::Rejected(why(Nature::Located.code())));
            let again = Outcome::Retry { after: Some(Duration::ZERO), counts: false, why: why("NEIGHBOUR") };
            return Answer { rows: bad.into_iter().map(rejected).collect(), ..Answer::all(again) };
        }
        self.commit(action, rows, &natures)
    }

    fn commit(&self, action: &str, rows: &[Row], natures: &[Nature]) -> Answer {
        let late = positions(natures, Nature::Late);
        let unclear = self.late && self.random.chance(150);
        let mut outcomes = Vec::new();
        for (i, row) in rows.iter().enumerate() {
            if late.contains(&i) {
                outcomes.push((i, Outcome::Rejected(why(Nature::Late.code()))));
            } else if !unclear && self.world.fault(30) {
                outcomes.push((i, self.not_now()));
            } else if self.record(action, row) {
                outcomes.push((i, Outcome::Duplicate(why("DUPLICATE"))));
            }
        }
        let answer = Answer { rows: outcomes, ..Answer::all(Outcome::Accepted) };
        if self.late { self.defer(answer, unclear, late.len() as u64) } else { answer }
    }

    fn not_now(&self) -> Outcome {
        match self.random.below(4) {
            0 => Outcome::Later { after: Duration::from_secs(300), tries: 6, why: why("TOO_RECENT") },
            1 => Outcome::Unclear(why("UNSPECIFIED")),
            // Someone puts it right at the platform and replays it.
            2 => Outcome::Rejected(why(MENDABLE)),
            _ => Outcome::Retry { after: None, counts: true, why: why("PROCESSING_ERROR") },
        }
    }

    fn defer(&self, answer: Answer, unclear: bool, refused: u64) -> Answer {
        let verdict = match (unclear, refused) {
            (true, 0) if self.random.chance(500) => Verdict::Gone(why("STATUS_GONE")),
            (true, 1..) => Verdict::Partly { counts: vec![(refused, Outcome::Rejected(why(Nature::Late.code())))] },
            _ => Verdict::Final(answer),
        };
        let not_yet = if self.random.chance(400) { self.random.below(4) } else { 0 };
        let mut requests = self.requests.lock().unwrap();
        let id = format!("r{}", requests.len());
        requests.insert(id.clone(), Request { verdict, not_yet });
        Answer { request_id: Some(id.into()), ..Answer::all(Outcome::Pending) }
    }

    /// Takes a row; says whether it is refused as one that is known already.
    fn record(&self, action: &str, row: &Row) -> bool {
        let mut records = self.records.lock().unwrap();
        let key = (action.to_owned(), row.transaction_id.clone());
        let Some(known) = records.get_mut(&key) else {
            records.insert(key, Record { value: row.value, count: 1, delivery: row.delivery });
            return false;
        };
        if row.value < known.value {
            self.world.violated(format!("{}: {} overwrote the newer {}", row.transaction_id, row.value, known.value));
        }
        if known.value == row.value && known.delivery == row.delivery && self.random.chance(300) {
            return true;
        }
        (known.value, known.delivery) = (row.value, row.delivery);
        false
    }

    async fn answer(&self, action: &str, rows: &[Row]) -> Answer {
        let slow = if self.world.fault(50) { self.random.between(5_000, 55_000) } else { self.random.between(1, 800) };
        if !self.world.faulty() {
            self.world.pass(slow).await;
            return self.judge(action, rows);
        }
        let unwell = |outcome| Answer { healthy: false, ..Answer::all(outcome) };
        match self.random.below(100) {
            0..4 => unwell(Outcome::Retry { after: None, counts: true, why: why("UNAVAILABLE") }),
            4..7 => {
                let pause = Duration::from_secs(self.random.between(1, 60));
                let quota = Outcome::Retry { after: Some(pause), counts: false, why: why("QUOTA") };
                Answer { pause: Some(pause), ..Answer::all(quota) }
            }
            7..10 => unwell(Outcome::Unknown(why("RESET"))),
            10..12 => pending().await,
            12..15 => {
                self.judge(action, rows);
                pending().await
            }
            15..20 => {
                self.judge(action, rows);
                self.world.pass(slow).await;
                unwell(Outcome::Unknown(why("RESET")))
            }
            20..23 => {
                self.judge(action, rows);
                unwell(Outcome::Unknown(why("GARBAGE")))
            }
            23..60 => {
                self.world.pass(slow).await;
                self.judge(action, rows)
            }
            _ => {
                let answer = self.judge(action, rows);
                self.world.pass(slow).await;
                answer
            }
        }
    }

    async fn verdict(&self, request: &str) -> Verdict {
        self.world.pass(self.random.between(1, 500)).await;
        if self.world.fault(20) {
            return pending().await;
        }
        if self.world.fault(100) {
            return Verdict::NotYet(Some(why("UNAVAILABLE")));
        }
        let mut requests = self.requests.lock().unwrap();
        let Some(known) = requests.get_mut(request) else {
            drop(requests);
            self.world.violated(format!("asked about {request}, which was never given"));
            return Verdict::Gone(why("UNKNOWN_REQUEST"));
        };
        if known.not_yet > 0 {
            known.not_yet -= 1;
            return Verdict::NotYet(None);
        }
        known.verdict.clone()
    }

    /// The row as the planted bug makes it: a resend under another transaction id.
    fn changed(&self, mut row: Row) -> Row {
        let first = self.seen.lock().unwrap().insert(row.delivery);
        if self.world.bug == Some(Bug::NewTransactionId) && !first {
            row.transaction_id += "-again";
        }
        row
    }
}

fn positions(natures: &[Nature], wanted: Nature) -> Vec<usize> {
    natures.iter().enumerate().filter(|(_, nature)| **nature == wanted).map(|(i, _)| i).collect()
}

fn why(code: &str) -> Why {
    Why::new(code, "the simulated platform says so")
}

/// One worker's way to the platform.
pub struct Door {
    pub platform: Arc<Platform>,
    pub doom: Arc<Doom>,
}

#[async_trait]
impl Destination for Door {
    fn limits(&self) -> Limits {
        self.platform.limits
    }

    fn render(&self, action_id: &str, events: &[Event], _validate_only: bool) -> Rendered {
        let line = |event: &Event| {
            let value = event.value.map_or(0, |money| money.amount.mantissa());
            format!("{} {} {value}\n", event.delivery, event.transaction_id)
        };
        let lines: Vec<String> = events.iter().map(line).collect();
        let hash = |line: &String| u64::from_be_bytes(Sha256::digest(line)[..8].try_into().unwrap());
        Rendered { event_hashes: lines.iter().map(hash).collect(), body: format!("{action_id}\n{}", lines.concat()).into_bytes() }
    }

    async fn send(&self, request: &Rendered, _rows: usize) -> Answer {
        let (platform, world) = (&self.platform, &self.platform.world);
        let (action, rows) = read(&request.body);
        let sent: Vec<_> = rows.iter().map(|row| (row.delivery, row.transaction_id.clone())).collect();
        world.sent(Sha256::digest(&request.body).into(), &sent);
        self.doom.step().await;
        let rows: Vec<_> = rows.into_iter().map(|row| platform.changed(row)).collect();
        let answer = platform.answer(&action, &rows).await;
        self.doom.step().await;
        world.note(|| format!("sent {sent:?}: {:?} {:?}", answer.default, answer.rows));
        match answer.default {
            Outcome::Unknown(why) if world.bug == Some(Bug::LostIsRefused) => Answer { default: Outcome::Rejected(why), ..answer },
            _ => answer,
        }
    }

    async fn poll(&self, upload: &Polled) -> Verdict {
        let world = &self.platform.world;
        let verdict = self.platform.verdict(&upload.request_id).await;
        self.doom.step().await;
        world.note(|| format!("verdict on {}: {verdict:?}", upload.request_id));
        match verdict {
            Verdict::Final(answer) if world.bug == Some(Bug::WrongRows) => {
                let rows = answer.rows.into_iter().map(|(i, outcome)| ((i + 1) % upload.rows, outcome)).collect();
                Verdict::Final(Answer { rows, ..answer })
            }
            other => other,
        }
    }

    async fn check(&self) -> Vec<CheckFinding> {
        Vec::new()
    }
}

fn read(body: &[u8]) -> (String, Vec<Row>) {
    let text = std::str::from_utf8(body).unwrap();
    let (action, rows) = text.split_once('\n').unwrap();
    let row = |line: &str| {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap();
        Row { delivery: word().parse().unwrap(), transaction_id: word().to_owned(), value: word().parse().unwrap() }
    };
    (action.to_owned(), rows.lines().map(row).collect())
}
