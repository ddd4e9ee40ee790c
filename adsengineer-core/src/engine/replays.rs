//! Replays of dead letters that go on by themselves, at a rate, until they are finished or stopped.

use std::sync::Arc;

use super::{Engine, EngineError, OnceKey, accept, require};
use crate::{
    delivery::{OUTCOME_UNKNOWN, State},
    id::{DeliveryId, ReplayId},
    org::{Caller, Role},
    store::{DeadLetter, DeadLetterQuery, Done, Repair, RepairAction, Replay, ReplayState, Request, StoreError, Write},
};

/// Replays of one organization that run at a time: every process reads all of them every second.
pub const MOST_REPLAYS: usize = 20;
/// Dead letters that one step queues again at most.
const STEP: usize = 500;
/// How far ahead a step queues, in milliseconds: what a stop can no longer hold back.
const AHEAD_MS: i64 = 2_000;

/// Which dead letters are sent again, and how.
#[derive(Clone, Debug, Default)]
pub struct ReplayRequest {
    /// These; if empty, those that the filters leave.
    pub ids: Vec<DeliveryId>,
    /// The filters.
    pub filter: DeadLetterQuery,
    /// Milliseconds between two; 0: as fast as the platform allows.
    pub every_ms: i64,
    /// Also those of unknown outcome, which may count twice.
    pub accept_duplicates: bool,
    /// Why, for the audit log.
    pub note: Option<Arc<str>>,
}

/// How many dead letters a replay would send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Matched {
    /// Dead letters that match.
    pub matched: u64,
    /// Of them, those that would only be sent with `accept_duplicates`.
    pub needs_accept_duplicates: u64,
}

impl Engine {
    /// How many dead letters match, and how many of them may count twice.
    pub async fn count_dead_letters(&self, caller: &Caller, request: &ReplayRequest) -> Result<Matched, EngineError> {
        require(caller, Role::Member)?;
        let mut counts = Matched::default();
        let mut add = |unknown: bool| {
            counts.matched += 1;
            counts.needs_accept_duplicates += u64::from(unknown);
        };
        if !request.ids.is_empty() {
            for id in &request.ids {
                if let Some(unknown) = self.dead_with_unknown_outcome(caller, *id).await? {
                    add(unknown);
                }
            }
            return Ok(counts);
        }
        let mut query = DeadLetterQuery { limit: 1000, cursor: None, ..request.filter.clone() };
        loop {
            let page = self.store.dead_letters(caller.org(), &query).await?;
            page.items.iter().for_each(|letter| add(letter.may_duplicate));
            match page.next_cursor {
                Some(cursor) => query.cursor = Some(cursor),
                None => return Ok(counts),
            }
        }
    }

    /// The dead letters that match.
    pub async fn matching(&self, caller: &Caller, request: &ReplayRequest) -> Result<Vec<DeliveryId>, EngineError> {
        require(caller, Role::Admin)?;
        if !request.ids.is_empty() {
            return Ok(request.ids.clone());
        }
        let mut ids = Vec::new();
        let mut query = DeadLetterQuery { limit: 1000, cursor: None, ..request.filter.clone() };
        loop {
            let page = self.store.dead_letters(caller.org(), &query).await?;
            ids.extend(page.items.iter().map(|letter| letter.delivery.id));
            match page.next_cursor {
                Some(cursor) => query.cursor = Some(cursor),
                None => return Ok(ids),
            }
        }
    }

    /// One dead letter.
    pub async fn dead_letter(&self, caller: &Caller, id: DeliveryId) -> Result<DeadLetter, EngineError> {
        require(caller, Role::Member)?;
        let missing = || EngineError::NotFound(format!("dead letter `{id}`"));
        let conversion = self.store.conversion_of(caller.org(), id).await?.ok_or_else(missing)?;
        let conversion = self.store.conversion(caller.org(), conversion).await?.ok_or_else(missing)?;
        let delivery = conversion.deliveries.iter().find(|d| d.id == id && d.state == State::Dead).ok_or_else(missing)?.clone();
        let died_at = delivery.history.last().map_or(conversion.captured_at, |attempt| attempt.at);
        let first_failed_at = delivery.history.first().map_or(died_at, |attempt| attempt.at);
        let may_duplicate = delivery.reason.as_deref() == Some(OUTCOME_UNKNOWN);
        Ok(DeadLetter { conversion, delivery, first_failed_at, died_at, may_duplicate })
    }

    /// Who the person of a dead letter is, as JSON; `None` if nothing but a click id is known. It is audited.
    pub async fn reveal(&self, caller: &Caller, id: DeliveryId) -> Result<Option<serde_json::Value>, EngineError> {
        require(caller, Role::Admin)?;
        let letter = self.dead_letter(caller, id).await?;
        self.note(caller, "dead_letter.revealed", &id.to_string()).await?;
        let Some(sealed) = self.store.identifiers(caller.org(), letter.conversion.id).await? else { return Ok(None) };
        let plain = self.vault.open(caller.org(), accept::CONVERSION_TABLE, accept::IDENTIFIERS, &sealed)?;
        Ok(serde_json::from_slice(&plain).ok())
    }

    /// `None` if it is not dead; whether its outcome is unknown.
    async fn dead_with_unknown_outcome(&self, caller: &Caller, id: DeliveryId) -> Result<Option<bool>, EngineError> {
        let Some(conversion) = self.store.conversion_of(caller.org(), id).await? else { return Ok(None) };
        let view = self.store.conversion(caller.org(), conversion).await?;
        let delivery = view.and_then(|view| view.deliveries.into_iter().find(|d| d.id == id && d.state == State::Dead));
        Ok(delivery.map(|d| d.reason.as_deref() == Some(OUTCOME_UNKNOWN)))
    }

    /// Begins a replay; [`Engine::run_replays`] goes on with it, in whatever process.
    pub async fn start_replay(&self, caller: &Caller, request: ReplayRequest, once: Option<OnceKey>) -> Result<Replay, EngineError> {
        require(caller, Role::Admin)?;
        let matched = self.count_dead_letters(caller, &request).await?.matched;
        if matched > 0 && self.store.running_replays().await?.iter().filter(|replay| replay.org == *caller.org()).count() >= MOST_REPLAYS {
            return match self.done_before(caller, once.as_ref()).await? {
                Some(Done::Replay(id)) => self.replay(caller, id).await,
                _ => Err(EngineError::TooMany { what: "replays at a time", most: MOST_REPLAYS }),
            };
        }
        let now_ms = self.clock.now_ms();
        let replay = Replay {
            id: ReplayId(0),
            org: caller.org().clone(),
            by: caller.subject().into(),
            // With nothing to send it has nothing to go on with.
            state: if matched == 0 { ReplayState::Finished } else { ReplayState::Running },
            matched,
            replayed: 0,
            skipped: if matched == 0 { request.ids.len() as u64 } else { 0 },
            by_name: !request.ids.is_empty(),
            ids: request.ids,
            reason: request.filter.reason,
            destination: request.filter.destination,
            since_ms: request.filter.since_ms,
            until_ms: request.filter.until_ms.map_or(now_ms + 1, |until| until.min(now_ms + 1)),
            cursor: None,
            every_ms: request.every_ms,
            next_ms: now_ms,
            accept_duplicates: request.accept_duplicates,
            note: request.note,
            steps: 0,
        };
        let done = self.request(caller, once, Write::PutReplay { replay: Box::new(replay.clone()), repair: None, now_ms }).await?;
        match done {
            Done::Replay(id) => Ok(Replay { id, ..replay }),
            Done::Repeated(first) => match *first {
                Done::Replay(id) => self.replay(caller, id).await,
                _ => Err(EngineError::KeyReused),
            },
            _ => Err(EngineError::KeyReused),
        }
    }

    /// How far a replay is.
    pub async fn replay(&self, caller: &Caller, id: ReplayId) -> Result<Replay, EngineError> {
        require(caller, Role::Admin)?;
        self.store.replay(caller.org(), id).await?.ok_or_else(|| EngineError::NotFound(format!("replay `{id}`")))
    }

    /// Stops a replay; what it has queued is sent, the rest stays dead.
    pub async fn stop_replay(&self, caller: &Caller, id: ReplayId) -> Result<Replay, EngineError> {
        loop {
            let replay = self.replay(caller, id).await?;
            if replay.state != ReplayState::Running {
                return Ok(replay);
            }
            let stopped = Replay { state: ReplayState::Stopped, ..replay };
            let now_ms = self.clock.now_ms();
            match self.request(caller, None, Write::PutReplay { replay: Box::new(stopped), repair: None, now_ms }).await {
                // Stopped now, or changed by a step in the meantime: look again.
                Ok(_) | Err(EngineError::Store(StoreError::Conflict(_))) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// One step of every replay that runs; whether any goes on at once.
    pub async fn run_replays(&self) -> Result<bool, EngineError> {
        let mut more = false;
        for replay in self.store.running_replays().await? {
            if replay.next_ms <= self.clock.now_ms() + AHEAD_MS {
                more |= self.step(replay).await?;
            }
        }
        Ok(more)
    }

    /// Queues the next dead letters and records how far the replay is, in one transaction.
    async fn step(&self, mut replay: Replay) -> Result<bool, EngineError> {
        let now_ms = self.clock.now_ms();
        let room = if replay.every_ms == 0 { STEP } else { usize::try_from(AHEAD_MS / replay.every_ms + 1).unwrap_or(STEP).min(STEP) };
        let deliveries = self.next_dead(&mut replay, room).await?;
        let from_ms = replay.next_ms.max(now_ms);
        replay.next_ms = from_ms + i64::try_from(deliveries.len()).unwrap_or(0) * replay.every_ms;
        let action = RepairAction::Replay { every_ms: replay.every_ms };
        let repair = Repair { org: replay.org.clone(), deliveries, action, note: replay.note.clone(), now_ms: from_ms };
        let goes_on = replay.state == ReplayState::Running;
        let by = replay.by.clone();
        let command = Write::PutReplay { replay: Box::new(replay), repair: Some(repair), now_ms };
        match self.write(Write::Request(Box::new(Request { by, once: None, command }))).await {
            Ok(_) => Ok(goes_on),
            // Somebody stopped it, or another process was quicker.
            Err(EngineError::Store(StoreError::Conflict(_))) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The next dead letters of a replay; finishes it when there are no more.
    async fn next_dead(&self, replay: &mut Replay, room: usize) -> Result<Vec<DeliveryId>, EngineError> {
        let mut found = Vec::with_capacity(room);
        if replay.by_name {
            let caller = Caller::trusted(replay.org.clone(), Role::Admin);
            let taken: Vec<_> = replay.ids.drain(..room.min(replay.ids.len())).collect();
            for id in taken {
                match self.dead_with_unknown_outcome(&caller, id).await? {
                    Some(unknown) if !unknown || replay.accept_duplicates => found.push(id),
                    _ => replay.skipped += 1,
                }
            }
            if replay.ids.is_empty() {
                replay.state = ReplayState::Finished;
            }
            return Ok(found);
        }
        let page = self.store.dead_letters(&replay.org, &replay.query(room)).await?;
        for letter in page.items {
            if letter.may_duplicate && !replay.accept_duplicates {
                replay.skipped += 1;
            } else {
                found.push(letter.delivery.id);
            }
            replay.cursor = Some(letter.delivery.id.to_string());
        }
        if page.next_cursor.is_none() {
            replay.state = ReplayState::Finished;
        }
        Ok(found)
    }
}
