//! What the model shows.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    ConversionQuery, ConversionView, DeadLetter, DeadLetterQuery, Delivery, DestinationStatus, OrgId, Page, Reconciliation,
    StoredDestination, UploadView, World,
};
use crate::{
    delivery::{OUTCOME_UNKNOWN, State},
    id::{ConversionId, DeliveryId, DestinationId},
    money::{Amount, Totals},
    store::{AttemptView, DeliveryView, HeldCount, shorten},
};

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn page<T>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Page<T> {
    let limit = if limit == 0 { 50 } else { limit };
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = items.last().filter(|_| more).map(cursor);
    Page { items, next_cursor }
}

impl World {
    pub(super) fn destinations_of(&self, org: &OrgId) -> Vec<StoredDestination> {
        let mut list: Vec<_> = self.destinations.values().filter(|d| d.org == *org && !self.removed.contains(&d.id)).cloned().collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }

    pub(super) fn organizations(&self) -> Vec<OrgId> {
        let own = self.destinations.values().map(|d| &d.org).chain(self.intakes.iter().map(|i| &i.org)).cloned();
        own.chain(self.people.organizations()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(super) fn conversion(&self, org: &OrgId, id: ConversionId) -> Option<ConversionView> {
        let conversion = self.conversions.get(&id).filter(|c| c.org == *org)?;
        let value = conversion.value();
        let click = conversion.new.click_id.as_ref();
        let deliveries: Vec<_> =
            self.deliveries.iter().filter(|(_, d)| d.conversion == id).map(|(id, d)| self.delivery_view(*id, d)).collect();
        Some(ConversionView {
            id,
            action: conversion.new.action.clone(),
            occurred_at: Timestamp::from_second(conversion.new.occurred_at).unwrap_or(Timestamp::UNIX_EPOCH),
            value: value.map(|money| money.decimal().to_string()),
            currency: value.map(|money| money.currency.to_string()),
            order_id: conversion.new.order_id.as_ref().map(ToString::to_string),
            click_id_kind: click.map(|c| c.kind().as_str()),
            click_id: click.map(|c| shorten(c.as_str())),
            has_identifiers: conversion.new.identifiers.is_some(),
            consent: conversion.new.consent,
            revision: conversion.revision,
            captured_at: id.created_at(),
            deliveries,
        })
    }

    fn delivery_view(&self, id: DeliveryId, row: &Delivery) -> DeliveryView {
        DeliveryView {
            id,
            destination: self.destinations[&row.destination].name.clone(),
            revision: row.revision,
            state: row.state,
            reason: row.why.as_ref().map(|w| w.code.clone()),
            detail: row.why.as_ref().map(|w| w.detail.clone()),
            attempts: row.attempts,
            next_attempt_at: row.due_ms.filter(|_| row.state.is_claimable()).map(time),
            transaction_id: row.transaction_id.clone(),
            first_sent_at: row.first_sent_ms.map(time),
            request_id: row.upload.and_then(|u| self.uploads[&u].result.request_id.clone()),
            history: row
                .history
                .iter()
                .map(|(at, why)| AttemptView { at: time(*at), error: why.code.clone(), detail: why.detail.clone() })
                .collect(),
        }
    }

    fn last_change(&self, id: ConversionId) -> i64 {
        let deliveries = self.deliveries.values().filter(|d| d.conversion == id).map(|d| d.changed_ms);
        deliveries.chain([self.conversions[&id].updated_ms]).max().unwrap_or(0)
    }

    pub(super) fn conversions(&self, org: &OrgId, query: &ConversionQuery) -> Page<ConversionView> {
        let from: Option<ConversionId> = query.cursor.as_deref().and_then(|c| c.parse().ok());
        let after_cursor = |id: ConversionId| from.is_none_or(|from| if query.descending { id < from } else { id > from });
        let wanted = |id: ConversionId, c: &super::Conversion| {
            c.org == *org
                && after_cursor(id)
                && query.order_id.as_ref().is_none_or(|wanted| c.new.order_id.as_ref().is_some_and(|o| o.as_str() == wanted))
                && query.updated_since_ms.is_none_or(|since| self.last_change(id) >= since)
                && query.state.is_none_or(|s| self.deliveries.values().any(|d| d.conversion == id && d.state == s))
        };
        let mut ids: Vec<_> = self.conversions.iter().filter(|(id, c)| wanted(**id, c)).map(|(id, _)| *id).collect();
        if query.descending {
            ids.reverse();
        }
        page(ids.into_iter().filter_map(|id| self.conversion(org, id)).collect(), query.limit, |c| c.id.to_string())
    }

    pub(super) fn dead_letters(&self, org: &OrgId, query: &DeadLetterQuery) -> Page<DeadLetter> {
        let from: Option<DeliveryId> = query.cursor.as_deref().and_then(|c| c.parse().ok());
        let wanted = |id: DeliveryId, d: &Delivery| {
            d.org == *org
                && d.state == State::Dead
                && from.is_none_or(|from| id > from)
                && query.reason.as_ref().is_none_or(|r| d.why.as_ref().is_some_and(|w| w.code.as_ref() == r))
                && query.destination.as_ref().is_none_or(|name| self.destinations[&d.destination].name.as_ref() == name)
                && query.since_ms.is_none_or(|since| d.changed_ms >= since)
                && query.until_ms.is_none_or(|until| d.changed_ms < until)
        };
        let dead = self.deliveries.iter().filter(|(id, d)| wanted(**id, d)).filter_map(|(id, d)| self.dead_letter(org, *id, d));
        page(dead.collect(), query.limit, |d| d.delivery.id.to_string())
    }

    fn dead_letter(&self, org: &OrgId, id: DeliveryId, row: &Delivery) -> Option<DeadLetter> {
        Some(DeadLetter {
            conversion: self.conversion(org, row.conversion)?,
            delivery: self.delivery_view(id, row),
            first_failed_at: time(row.history.first().map_or(row.changed_ms, |(at, _)| *at)),
            died_at: time(row.changed_ms),
            may_duplicate: row.why.as_ref().is_some_and(|w| w.code.as_ref() == OUTCOME_UNKNOWN),
        })
    }

    pub(super) fn status(&self, org: &OrgId, now_ms: i64) -> Vec<DestinationStatus> {
        self.destinations_of(org).into_iter().map(|d| self.destination_status(d, now_ms)).collect()
    }

    fn destination_status(&self, destination: StoredDestination, now_ms: i64) -> DestinationStatus {
        let id: DestinationId = destination.id;
        let rows = || self.deliveries.values().filter(|d| d.destination == id);
        let mut states = BTreeMap::new();
        let mut risk = Totals::default();
        let mut held: BTreeMap<_, HeldCount> = BTreeMap::new();
        for row in rows() {
            *states.entry(row.state).or_default() += 1;
            if row.state < State::AwaitingConfirmation || row.state == State::Dead {
                row.value.into_iter().filter(|money| money.amount != Amount::ZERO).for_each(|money| risk.add(money));
            }
            if let (State::Held, Some(why)) = (row.state, &row.why) {
                let count = held.entry(why.code.clone()).or_insert(HeldCount { why: why.clone(), count: 0, since_ms: row.changed_ms });
                count.count += 1;
                count.since_ms = count.since_ms.min(row.changed_ms);
            }
        }
        let due = || rows().filter(|d| d.state.is_claimable()).filter_map(|d| d.due_ms);
        DestinationStatus {
            states,
            held: held.into_values().collect(),
            next_due_ms: due().min(),
            next_poll_ms: self.uploads.values().filter(|u| u.destination == id).filter_map(|u| u.result.poll_at_ms).min(),
            oldest_due_ms: due().filter(|due| *due <= now_ms).map(|due| now_ms - due).max(),
            value_at_risk: risk.decimals(),
            destination,
        }
    }

    pub(super) fn reconciliation(&self, org: &OrgId) -> Reconciliation {
        let mut sum = Reconciliation::default();
        for intake in self.intakes.iter().filter(|i| i.org == *org) {
            sum.captured += intake.deliveries;
            sum.rows += intake.rows;
            sum.refused += intake.refused;
            sum.denied += intake.denied;
            sum.duplicates += intake.duplicates;
            sum.conversions += intake.conversions;
        }
        for row in self.deliveries.values().filter(|d| d.org == *org) {
            *sum.states.entry(row.state).or_default() += 1;
        }
        sum
    }

    pub(super) fn uploads_of(&self, org: &OrgId, limit: usize) -> Vec<UploadView> {
        let newest = self.uploads.iter().rev().filter(|(_, u)| u.org == *org).take(limit);
        newest
            .map(|(id, upload)| UploadView {
                id: *id,
                destination: self.destinations[&upload.destination].name.clone(),
                rows: upload.rows.len() as u64,
                sent_at: time(upload.sent_ms),
                answered: upload.answered,
                request_id: upload.result.request_id.clone(),
                next_poll_at: upload.result.poll_at_ms.map(time),
                error: upload.result.why.clone(),
            })
            .collect()
    }
}
