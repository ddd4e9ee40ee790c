//! Replays of dead letters that go on by themselves, at a rate, until they are finished or stopped.

use std::sync::Arc;

use super::{Engine, EngineError, accept, require};
use crate::{
    delivery::{OUTCOME_UNKNOWN, State},
    id::{DeliveryId, ReplayId},
    org::{Caller, OrgId, Role},
    store::{DeadLetter, DeadLetterQuery, Done, Once, Repair, RepairAction, Replay, ReplayState, Request, StoreError, Write},
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

/// A delivery that a request is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Match {
    /// Which.
    pub id: DeliveryId,
    /// Whether sending it again may count it twice; `None` if it is not dead.
    pub may_duplicate: Option<bool>,
}

impl Engine {
    /// How many dead letters match, and how many of them may count twice.
    pub async fn count_dead_letters(&self, caller: &Caller, request: &ReplayRequest) -> Result<Matched, EngineError> {
        require(caller, Role::Member)?;
        let found = self.find_dead(caller.org(), request).await?;
        let count = |wanted: fn(bool) -> bool| found.iter().filter(|letter| letter.may_duplicate.is_some_and(wanted)).count() as u64;
        Ok(Matched { matched: count(|_| true), needs_accept_duplicates: count(|unknown| unknown) })
    }

    /// The dead letters that match; of those named also the ones that are not dead.
    pub async fn matching(&self, caller: &Caller, request: &ReplayRequest) -> Result<Vec<Match>, EngineError> {
        require(caller, Role::Admin)?;
        self.find_dead(caller.org(), request).await
    }

    async fn find_dead(&self, org: &OrgId, request: &ReplayRequest) -> Result<Vec<Match>, EngineError> {
        let mut found = Vec::new();
        for id in &request.ids {
            found.push(Match { id: *id, may_duplicate: self.find_letter(org, *id).await?.map(|letter| letter.may_duplicate) });
        }
        if !request.ids.is_empty() {
            return Ok(found);
        }
        let mut query = DeadLetterQuery { limit: 1000, cursor: None, ..request.filter.clone() };
        loop {
            let page = self.store.dead_letters(org, &query).await?;
            found.extend(page.items.iter().map(|letter| Match { id: letter.delivery.id, may_duplicate: Some(letter.may_duplicate) }));
            match page.next_cursor {
                Some(cursor) => query.cursor = Some(cursor),
                None => return Ok(found),
            }
        }
    }

    /// One dead letter.
    pub async fn dead_letter(&self, caller: &Caller, id: DeliveryId) -> Result<DeadLetter, EngineError> {
        require(caller, Role::Member)?;
        self.find_letter(caller.org(), id).await?.ok_or_else(|| EngineError::NotFound(format!("dead letter `{id}`")))
    }

    /// `None` if it is not dead, or not the organization's.
    async fn find_letter(&self, org: &OrgId, id: DeliveryId) -> Result<Option<DeadLetter>, EngineError> {
        let Some(conversion) = self.store.conversion_of(org, id).await? else { return Ok(None) };
        let Some(conversion) = self.store.conversion(org, conversion).await? else { return Ok(None) };
        let Some(delivery) = conversion.deliveries.iter().find(|d| d.id == id && d.state == State::Dead).cloned() else { return Ok(None) };
        let died_at = delivery.history.last().map_or(conversion.captured_at, |attempt| attempt.at);
        let first_failed_at = delivery.history.first().map_or(died_at, |attempt| attempt.at);
        let may_duplicate = delivery.reason.as_deref() == Some(OUTCOME_UNKNOWN);
        Ok(Some(DeadLetter { conversion, delivery, first_failed_at, died_at, may_duplicate }))
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

    /// Begins a replay; [`Engine::run_replays`] goes on with it, in whatever process.
    pub async fn start_replay(&self, caller: &Caller, request: ReplayRequest, once: Option<Once>) -> Result<Replay, EngineError> {
        require(caller, Role::Admin)?;
        let matched = self.count_dead_letters(caller, &request).await?.matched;
        if matched > 0 && self.store.running_replays().await?.iter().filter(|replay| replay.org == *caller.org()).count() >= MOST_REPLAYS {
            return match self.done_before(once.as_ref()).await? {
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
            let taken: Vec<_> = replay.ids.drain(..room.min(replay.ids.len())).collect();
            for id in taken {
                match self.find_letter(&replay.org, id).await? {
                    Some(letter) if !letter.may_duplicate || replay.accept_duplicates => found.push(id),
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
