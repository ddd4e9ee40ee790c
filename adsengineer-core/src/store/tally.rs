//! Changes of the counts that are kept with the rows, so that nobody has to count them: deliveries by state, and the value at risk.

use std::collections::HashMap;

use crate::{
    delivery::State,
    id::DestinationId,
    money::{Currency, Money, Totals},
};

/// Changes not written yet.
#[derive(Clone, Default)]
pub(super) struct Tally {
    counts: HashMap<(DestinationId, State), i64>,
    risks: HashMap<(DestinationId, Currency), i128>,
}

/// Whether a row in this state may still bring its value, or needs a human to.
fn at_risk(state: State) -> bool {
    state < State::AwaitingConfirmation || state == State::Dead
}

impl Tally {
    /// A row appeared.
    pub(super) fn made(&mut self, destination: DestinationId, state: State, value: Option<&Money>) {
        *self.counts.entry((destination, state)).or_default() += 1;
        if at_risk(state) {
            self.risk(destination, value, 1);
        }
    }

    /// A row went from one state to another.
    pub(super) fn moved(&mut self, destination: DestinationId, from: State, to: State, value: Option<&Money>) {
        if from == to {
            return;
        }
        *self.counts.entry((destination, from)).or_default() -= 1;
        *self.counts.entry((destination, to)).or_default() += 1;
        match (at_risk(from), at_risk(to)) {
            (true, false) => self.risk(destination, value, -1),
            (false, true) => self.risk(destination, value, 1),
            _ => {}
        }
    }

    fn risk(&mut self, destination: DestinationId, value: Option<&Money>, sign: i128) {
        if let Some(money) = value {
            *self.risks.entry((destination, money.currency)).or_default() += sign * Totals::micros(*money);
        }
    }

    /// Whether anything of the destination was counted and not written yet.
    pub(super) fn touches(&self, destination: DestinationId) -> bool {
        self.counts.keys().any(|(id, _)| *id == destination)
    }

    /// Takes the changes of counts: destination, state, how many.
    pub(super) fn take_counts(&mut self) -> impl Iterator<Item = (DestinationId, State, i64)> {
        self.counts.drain().filter(|(_, delta)| *delta != 0).map(|((destination, state), delta)| (destination, state, delta))
    }

    /// Takes the changes of values: destination, currency, micros.
    pub(super) fn take_risks(&mut self) -> impl Iterator<Item = (DestinationId, Currency, i128)> {
        self.risks.drain().filter(|(_, delta)| *delta != 0).map(|((destination, currency), delta)| (destination, currency, delta))
    }
}
