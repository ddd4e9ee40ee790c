//! The life cycle of a delivery: one revision of a conversion on its way to one destination. The row is the job.
//!
//! [`settle`] is the only place where an [`Outcome`] becomes a new state; stores apply its result and decide nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    backoff::Backoff,
    outcome::{HoldScope, Outcome, Why},
};

/// Where a delivery stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum State {
    /// Waits for its first send.
    Queued = 0,
    /// Claimed by a worker.
    InFlight = 1,
    /// Failed or unknown; will be sent again at its due time.
    Retrying = 2,
    /// Waits for a human to put something right; releasing it sends it.
    Held = 3,
    /// Taken by the platform, which has not given its verdict yet.
    AwaitingConfirmation = 4,
    /// The platform counted it.
    Delivered = 5,
    /// The platform took it, and its verdict cannot be had for this row.
    DeliveredUnverified = 6,
    /// Refused for good or out of attempts; a dead letter.
    Dead = 7,
    /// Stopped by consent or because its destination was removed.
    Suppressed = 8,
    /// A newer revision took its place before it was sent.
    Superseded = 9,
    /// A human gave it up.
    Discarded = 10,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Queued,
        Self::InFlight,
        Self::Retrying,
        Self::Held,
        Self::AwaitingConfirmation,
        Self::Delivered,
        Self::DeliveredUnverified,
        Self::Dead,
        Self::Suppressed,
        Self::Superseded,
        Self::Discarded,
    ];

    /// The state's name in JSON and on screens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InFlight => "in_flight",
            Self::Retrying => "retrying",
            Self::Held => "held",
            Self::AwaitingConfirmation => "awaiting_confirmation",
            Self::Delivered => "delivered",
            Self::DeliveredUnverified => "delivered_unverified",
            Self::Dead => "dead",
            Self::Suppressed => "suppressed",
            Self::Superseded => "superseded",
            Self::Discarded => "discarded",
        }
    }

    /// The state with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Whether nothing more happens by itself. Dead letters are final until replayed.
    pub fn is_final(self) -> bool {
        self >= Self::Delivered
    }

    /// Whether a worker may claim it once it is due.
    pub fn is_claimable(self) -> bool {
        matches!(self, Self::Queued | Self::Retrying)
    }
}

/// What the life cycle needs to know of a claimed delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Attempts that counted, this send not included.
    pub attempts: u16,
    /// Whether it was sent before this send, whatever came of it.
    pub sent_before: bool,
    /// When this delivery was first sent, in Unix milliseconds.
    pub first_sent_ms: Option<i64>,
    /// How often the batch it was in has been split to find a bad row.
    pub round: u8,
    /// After this it is too late for the platform, in Unix milliseconds.
    pub deadline_ms: i64,
}

/// How failures are retried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Waits between attempts.
    pub backoff: Backoff,
    /// Attempts before a delivery is dead.
    pub attempts: u16,
    /// How long the platform remembers a transaction id; `None`: for as long as matters. Older unknown outcomes are not resent.
    pub dedupe_window: Option<Duration>,
}

/// Splits of a batch whose bad rows could not be located, before its rows are settled without a verdict.
pub const MAX_ROUNDS: u8 = 2;

/// Attempts of a row that the platform refuses without saying why, before it is held for review.
pub const UNCLEAR_ATTEMPTS: u16 = 3;

/// The reason of a delivery whose outcome is unknown and which the platform would no longer recognise: sending it again may count it twice.
pub const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";

/// A delivery's next state.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Next {
    /// The state it enters.
    pub state: State,
    /// When it is due again, in Unix milliseconds; only for [`State::Queued`] and [`State::Retrying`].
    pub due_ms: Option<i64>,
    /// Attempts that have counted so far.
    pub attempts: u16,
    /// Splits so far.
    pub round: u8,
    /// Why it is there.
    pub why: Option<Why>,
    /// How much must stop with it; only for [`State::Held`].
    pub hold: Option<HoldScope>,
}

/// The state a delivery enters for `outcome` at `now_ms`; `random` in `0.0..1.0` spreads retries.
///
/// A row whose batch must be split comes back as [`State::Queued`] with `round` one higher; the caller assigns its part.
pub fn settle(progress: Progress, outcome: &Outcome, policy: &Policy, now_ms: i64, random: f64) -> Next {
    let attempts = progress.attempts.saturating_add(1);
    let next = |state, why: Option<&Why>| Next { state, due_ms: None, attempts, round: progress.round, why: why.cloned(), hold: None };
    match outcome {
        Outcome::Accepted => next(State::Delivered, None),
        Outcome::Pending => next(State::AwaitingConfirmation, None),
        Outcome::Duplicate(_) if progress.sent_before => next(State::Delivered, None),
        Outcome::Duplicate(why) => next(State::Dead, Some(&Why::new("TRANSACTION_ID_TAKEN", &format!("{}: {}", why.code, why.detail)))),
        Outcome::Rejected(why) => next(State::Dead, Some(why)),
        Outcome::Retry { after, counts: false, why } => {
            retry(Next { attempts: progress.attempts, ..next(State::Retrying, Some(why)) }, progress, *after, policy, now_ms, random)
        }
        Outcome::Retry { after, counts: true, why } => retry(next(State::Retrying, Some(why)), progress, *after, policy, now_ms, random),
        Outcome::Later { after, tries, why } => later(next(State::Retrying, Some(why)), progress, *after, *tries, now_ms),
        Outcome::Unclear(why) if attempts >= UNCLEAR_ATTEMPTS => Next { hold: Some(HoldScope::Row), ..next(State::Held, Some(why)) },
        Outcome::Unclear(why) => retry(next(State::Retrying, Some(why)), progress, None, policy, now_ms, random),
        Outcome::Hold(scope, why) => Next { attempts: progress.attempts, hold: Some(*scope), ..next(State::Held, Some(why)) },
        Outcome::Unknown(why) => unknown(next(State::Retrying, Some(why)), progress, policy, now_ms, random),
        Outcome::Unlocated(why) => Next {
            attempts: progress.attempts,
            round: progress.round.saturating_add(1),
            due_ms: Some(now_ms),
            ..next(State::Queued, Some(why))
        },
    }
}

/// An unknown outcome is sent again, unchanged, while the platform still recognises it.
fn unknown(next: Next, progress: Progress, policy: &Policy, now_ms: i64, random: f64) -> Next {
    let first_sent_ms = progress.first_sent_ms.unwrap_or(now_ms);
    let next = retry(next, progress, None, policy, now_ms, random);
    let resend_by_ms = policy.dedupe_window.map_or(i64::MAX, |window| first_sent_ms.saturating_add(millis(window)));
    match next.due_ms {
        Some(due_ms) if due_ms >= resend_by_ms => {
            let detail = next.why.as_ref().map_or_else(String::new, |why| format!("{}: {}", why.code, why.detail));
            Next { state: State::Dead, due_ms: None, why: Some(Why::new(OUTCOME_UNKNOWN, &detail)), ..next }
        }
        _ => next,
    }
}

/// A known wait, however long; over after `tries` attempts.
fn later(next: Next, progress: Progress, after: Duration, tries: u16, now_ms: i64) -> Next {
    let due_ms = now_ms.saturating_add(millis(after));
    if next.attempts >= tries || due_ms > progress.deadline_ms {
        return Next { state: State::Dead, ..next };
    }
    Next { due_ms: Some(due_ms), ..next }
}

fn retry(next: Next, progress: Progress, after: Option<Duration>, policy: &Policy, now_ms: i64, random: f64) -> Next {
    let wait = policy.backoff.wait(next.attempts, after, random);
    let due_ms = now_ms.saturating_add(millis(wait));
    let counted = next.attempts > progress.attempts;
    if (counted && next.attempts >= policy.attempts) || due_ms > progress.deadline_ms {
        return Next { state: State::Dead, ..next };
    }
    Next { due_ms: Some(due_ms), ..next }
}

/// Whole milliseconds, saturating.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn policy() -> Policy {
        Policy { backoff: Backoff::default(), attempts: 8, dedupe_window: None }
    }

    fn progress() -> Progress {
        Progress { deadline_ms: i64::MAX, ..Progress::default() }
    }

    fn why() -> Why {
        Why::new("CODE", "text")
    }

    fn retry_outcome(counts: bool) -> Outcome {
        Outcome::Retry { after: None, counts, why: why() }
    }

    #[test]
    fn a_duplicate_is_delivered_only_after_an_earlier_send_of_ours() {
        let duplicate = Outcome::Duplicate(why());
        let first = settle(progress(), &duplicate, &policy(), NOW, 0.5);
        assert_eq!((first.state, first.why.map(|w| w.code)), (State::Dead, Some("TRANSACTION_ID_TAKEN".into())));
        let again = settle(Progress { sent_before: true, ..progress() }, &duplicate, &policy(), NOW, 0.5);
        assert_eq!(again.state, State::Delivered);
    }

    #[test]
    fn attempts_run_out_only_where_they_count() {
        let last = Progress { attempts: 7, ..progress() };
        assert_eq!(settle(last, &retry_outcome(true), &policy(), NOW, 0.5).state, State::Dead);
        let quota = settle(last, &retry_outcome(false), &policy(), NOW, 0.5);
        assert_eq!((quota.state, quota.attempts), (State::Retrying, 7));
    }

    #[test]
    fn the_platforms_wait_is_honoured_and_nothing_is_sent_after_the_deadline() {
        let after = Outcome::Retry { after: Some(Duration::from_secs(60)), counts: true, why: why() };
        assert_eq!(settle(progress(), &after, &policy(), NOW, 0.0).due_ms, Some(NOW + 60_000));
        let late = Progress { deadline_ms: NOW + 59_000, ..progress() };
        assert_eq!(settle(late, &after, &policy(), NOW, 0.0).state, State::Dead);
    }

    #[test]
    fn what_is_too_early_waits_as_long_as_it_takes_and_not_for_ever() {
        let after = Duration::from_secs(24 * 3600);
        let later = Outcome::Later { after, tries: 2, why: why() };
        assert_eq!(settle(progress(), &later, &policy(), NOW, 0.5).due_ms, Some(NOW + millis(after)));
        assert_eq!(settle(Progress { attempts: 1, ..progress() }, &later, &policy(), NOW, 0.5).state, State::Dead);
        let no_time = Progress { deadline_ms: NOW + 1, ..progress() };
        assert_eq!(settle(no_time, &later, &policy(), NOW, 0.5).state, State::Dead);
    }

    #[test]
    fn a_refusal_without_a_reason_is_tried_three_times_and_then_held_for_review() {
        let unclear = Outcome::Unclear(why());
        let states: Vec<_> = (0..3)
            .map(|attempts| settle(Progress { attempts, ..progress() }, &unclear, &policy(), NOW, 0.5))
            .map(|n| (n.state, n.hold))
            .collect();
        assert_eq!(states, [(State::Retrying, None), (State::Retrying, None), (State::Held, Some(HoldScope::Row))]);
    }

    #[test]
    fn an_unknown_outcome_is_resent_only_within_the_dedupe_window() {
        let unknown = Outcome::Unknown(why());
        assert_eq!(settle(progress(), &unknown, &policy(), NOW, 0.5).state, State::Retrying);
        let window = Policy { dedupe_window: Some(Duration::from_secs(10)), ..policy() };
        let old = Progress { first_sent_ms: Some(NOW - 10_000), ..progress() };
        assert_eq!(settle(old, &unknown, &window, NOW, 0.0).state, State::Dead);
    }

    #[test]
    fn holds_burn_no_attempt_and_splits_raise_the_round() {
        let held = settle(progress(), &Outcome::Hold(HoldScope::Action, why()), &policy(), NOW, 0.5);
        assert_eq!((held.state, held.attempts, held.hold), (State::Held, 0, Some(HoldScope::Action)));
        let split = settle(progress(), &Outcome::Unlocated(why()), &policy(), NOW, 0.5);
        assert_eq!((split.state, split.round, split.due_ms), (State::Queued, 1, Some(NOW)));
    }

    #[test]
    fn states_keep_their_numbers_and_names() {
        for (number, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, number);
            assert_eq!(State::from_number(u8::try_from(number).unwrap()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert_eq!(State::from_number(11), None);
        let open: Vec<_> = State::ALL.into_iter().filter(|s| !s.is_final()).collect();
        assert_eq!(open, State::ALL[..5]);
    }
}
