//! Leads, and what surrounds requests: once-only, rules, revoked tokens, replays.

use std::sync::Arc;

use adsengineer_core::{
    audit,
    id::{ChangeId, LeadId, ReplayId},
    store::{
        Captured, Done, Intake, LeadBatch, LeadCounts, LeadQuery, LeadWrite, ONCE_MS, Once, Replay, ReplayState, Request, StoreError, Write,
    },
};

use crate::fixture::{Fixture, NOW, audit_key, one, org, person};

fn lead(external: Option<u8>) -> LeadWrite {
    LeadWrite {
        known: None,
        external: external.map(|n| [n; 16]),
        persons: vec![person("ada")],
        status: 0,
        score: 60,
        consent: r#"{"storage":"granted"}"#.into(),
        content: vec![1, 2, 3].into(),
    }
}

fn batch(f: &Fixture, leads: Vec<LeadWrite>) -> LeadBatch {
    LeadBatch { org: f.org.clone(), now_ms: NOW, leads, denied: 0, intake: None }
}

async fn stored(f: &Fixture, batch: LeadBatch) -> Vec<LeadId> {
    match one(&*f.store, Write::Leads(batch)).await {
        Ok(Done::Leads(ids, _)) => ids,
        other => panic!("{other:?}"),
    }
}

async fn changes(f: &Fixture, query: LeadQuery) -> Vec<LeadId> {
    f.store.leads(&f.org, &query).await.unwrap().items.into_iter().map(|lead| lead.id).collect()
}

pub async fn a_lead_is_stored_with_its_status_score_and_content_and_counted(f: Fixture) {
    let ids = stored(&f, LeadBatch { denied: 2, ..batch(&f, vec![lead(Some(1)), lead(None)]) }).await;
    let found = f.store.lead(&f.org, ids[0]).await.unwrap().unwrap();
    assert_eq!((found.id, found.changed, found.status, found.score), (ids[0], ChangeId(ids[0].0), 0, 60));
    assert_eq!(&*found.content, [1, 2, 3]);
    assert_eq!(f.store.lead_counts(&f.org).await.unwrap(), LeadCounts { stored: 2, updated: 0, denied: 2 });
    assert_eq!(f.store.lead_counts(&org("other")).await.unwrap(), LeadCounts::default());
    assert_eq!(f.store.lead(&org("other"), ids[0]).await.unwrap(), None);
    assert_eq!(f.store.lead(&f.org, LeadId(1)).await.unwrap(), None);
}

pub async fn a_sites_own_id_names_one_lead_and_a_batch_that_is_not_as_expected_stores_nothing(f: Fixture) {
    let id = stored(&f, batch(&f, vec![lead(Some(1))])).await[0];
    let moved = one(&*f.store, Write::Leads(batch(&f, vec![lead(Some(2)), lead(Some(1))]))).await;
    assert_eq!(moved, Ok(Done::LeadsMoved(vec![(1, id)])));
    assert_eq!(changes(&f, LeadQuery::default()).await, [id]);
    let stranger = LeadBatch { org: org("other"), ..batch(&f, vec![lead(Some(1))]) };
    assert_ne!(stored(&f, stranger).await, [id], "another organization's own id is another lead");
}

pub async fn an_update_needs_the_change_it_was_computed_from(f: Fixture) {
    let id = stored(&f, batch(&f, vec![lead(Some(1))])).await[0];
    let first = f.store.lead(&f.org, id).await.unwrap().unwrap().changed;
    let update = |changed| LeadWrite { known: Some((id, changed)), status: 2, content: vec![9].into(), ..lead(Some(1)) };
    assert_eq!(stored(&f, batch(&f, vec![update(first)])).await, [id]);
    let second = f.store.lead(&f.org, id).await.unwrap().unwrap();
    assert!(second.changed > first && second.status == 2 && *second.content == [9]);
    let stale = one(&*f.store, Write::Leads(batch(&f, vec![update(first)]))).await;
    assert_eq!(stale, Ok(Done::LeadsMoved(vec![(0, id)])));
    assert_eq!(f.store.lead(&f.org, id).await.unwrap(), Some(second));
    assert_eq!(f.store.lead_counts(&f.org).await.unwrap(), LeadCounts { stored: 1, updated: 1, denied: 0 });
}

pub async fn leads_are_listed_by_change_in_both_directions_page_by_page(f: Fixture) {
    let ids = stored(&f, batch(&f, (1..=5).map(|n| lead(Some(n))).collect())).await;
    let first = f.store.lead(&f.org, ids[0]).await.unwrap().unwrap();
    let qualified = LeadWrite { known: Some((ids[0], first.changed)), status: 2, ..lead(Some(1)) };
    stored(&f, LeadBatch { now_ms: NOW + 5000, ..batch(&f, vec![qualified]) }).await;
    let in_order = [ids[1], ids[2], ids[3], ids[4], ids[0]];
    assert_eq!(changes(&f, LeadQuery::default()).await, in_order);
    for descending in [false, true] {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = f.store.leads(&f.org, &LeadQuery { limit: 2, cursor, descending, ..LeadQuery::default() }).await.unwrap();
            assert!(page.items.len() <= 2);
            found.extend(page.items.into_iter().map(|lead| lead.id));
            let Some(next) = page.next_cursor else { break };
            cursor = Some(next.parse().unwrap());
        }
        if descending {
            found.reverse();
        }
        assert_eq!(found, in_order);
    }
    assert_eq!(changes(&f, LeadQuery { updated_since_ms: Some(NOW + 5000), ..LeadQuery::default() }).await, [ids[0]]);
    assert_eq!(changes(&f, LeadQuery { status: Some(2), ..LeadQuery::default() }).await, [ids[0]]);
    assert!(f.store.leads(&org("other"), &LeadQuery::default()).await.unwrap().items.is_empty());
}

pub async fn consent_is_only_ever_added_to_and_stays_when_the_lead_is_deleted(f: Fixture) {
    let id = stored(&f, batch(&f, vec![lead(Some(1))])).await[0];
    for record in [r#"{"storage":"granted"}"#, r#"{"storage":"withdrawn"}"#] {
        let changed = f.store.lead(&f.org, id).await.unwrap().unwrap().changed;
        stored(&f, batch(&f, vec![LeadWrite { known: Some((id, changed)), consent: record.into(), ..lead(Some(1)) }])).await;
    }
    let records = |all: Vec<adsengineer_core::store::StoredConsent>| all.into_iter().map(|c| c.record.to_string()).collect::<Vec<_>>();
    let both = [r#"{"storage":"granted"}"#, r#"{"storage":"withdrawn"}"#];
    assert_eq!(records(f.store.lead_consents(&f.org, id).await.unwrap()), both);
    let delete = |whose: &str| Write::DeleteLead { org: org(whose), lead: id, now_ms: NOW };
    assert_eq!(one(&*f.store, delete("other")).await, Ok(Done::Changed(0)));
    assert_eq!(one(&*f.store, delete("acme")).await, Ok(Done::Changed(1)));
    assert_eq!(one(&*f.store, delete("acme")).await, Ok(Done::Changed(0)));
    assert_eq!(f.store.lead(&f.org, id).await.unwrap(), None);
    assert_eq!(records(f.store.lead_consents(&f.org, id).await.unwrap()), both);
    assert!(f.store.lead_consents(&org("other"), id).await.unwrap().is_empty());
    assert_ne!(stored(&f, batch(&f, vec![lead(Some(1))])).await, [id], "after that the site's own id is free");
}

pub async fn a_lead_and_its_conversions_are_stored_together_or_not_at_all(f: Fixture) {
    let intake = |conversions| Intake {
        org: f.org.clone(),
        now_ms: NOW,
        source: "api".into(),
        consent_proof: None,
        rows: 1,
        refused: 0,
        denied: 0,
        restate: false,
        conversions,
    };
    let good = LeadBatch { intake: Some(intake(vec![f.sale("A-1")])), ..batch(&f, vec![lead(Some(1))]) };
    let done = one(&*f.store, Write::Leads(good)).await;
    assert!(matches!(&done, Ok(Done::Leads(ids, captured)) if ids.len() == 1 && matches!(captured[..], [Captured::New(_)])), "{done:?}");
    let foreign = f.sale_to("A-2", &[adsengineer_core::id::DestinationId(1)]);
    let bad = LeadBatch { intake: Some(intake(vec![foreign])), ..batch(&f, vec![lead(Some(2))]) };
    assert!(matches!(one(&*f.store, Write::Leads(bad)).await, Err(StoreError::NotFound(_))));
    assert_eq!(changes(&f, LeadQuery::default()).await.len(), 1);
    assert_eq!(f.store.lead_counts(&f.org).await.unwrap().stored, 1);
}

fn request(f: &Fixture, key: u8, body: u8, command: Write) -> Write {
    let once = Some(Once { org: f.org.clone(), key: [key; 16], body: [body; 16] });
    Write::Request(Box::new(Request { by: "erp".into(), once, command }))
}

pub async fn a_request_with_a_key_is_done_once_for_a_day_and_another_body_is_told(f: Fixture) {
    let write = |now_ms| Write::Leads(LeadBatch { now_ms, ..batch(&f, vec![lead(None)]) });
    let first = one(&*f.store, request(&f, 1, 1, write(NOW))).await.unwrap();
    assert!(matches!(first, Done::Leads(..)), "{first:?}");
    let again = one(&*f.store, request(&f, 1, 1, write(NOW + ONCE_MS - 1))).await.unwrap();
    assert_eq!(again, Done::Repeated(Box::new(first.clone())));
    assert_eq!(one(&*f.store, request(&f, 1, 2, write(NOW + 1))).await, Ok(Done::OtherRequest));
    assert!(matches!(one(&*f.store, request(&f, 2, 1, write(NOW))).await, Ok(Done::Leads(..))));
    let later = one(&*f.store, request(&f, 1, 1, write(NOW + ONCE_MS))).await.unwrap();
    assert!(matches!(&later, Done::Leads(..)) && later != first, "after a day it is a new request");
    assert_eq!(changes(&f, LeadQuery::default()).await.len(), 3);
}

pub async fn a_request_that_did_nothing_does_not_take_its_key(f: Fixture) {
    let id = stored(&f, batch(&f, vec![lead(Some(1))])).await[0];
    let write = |external| Write::Leads(batch(&f, vec![lead(Some(external))]));
    assert_eq!(one(&*f.store, request(&f, 1, 1, write(1))).await, Ok(Done::LeadsMoved(vec![(0, id)])));
    assert!(matches!(one(&*f.store, request(&f, 1, 2, write(2))).await, Ok(Done::Leads(..))));
    let nested = request(&f, 3, 3, request(&f, 4, 4, write(3)));
    assert!(matches!(one(&*f.store, nested).await, Err(StoreError::Conflict(_))));
}

pub async fn the_audit_log_says_who_and_one_entry_counts_many_leads_of_a_commit(f: Fixture) {
    let command = |whose: &str, by: &str| {
        let leads = LeadBatch { org: org(whose), ..batch(&f, vec![lead(None)]) };
        Write::Request(Box::new(Request { by: by.into(), once: None, command: Write::Leads(leads) }))
    };
    let note = Write::Note { org: f.org.clone(), action: "dead_letter.revealed", object: "dlv_1".into(), now_ms: NOW };
    let note = Write::Request(Box::new(Request { by: "eve".into(), once: None, command: note }));
    let commands = vec![command("acme", "erp"), command("acme", "erp"), command("acme", "crm"), command("other", "crm"), note];
    assert!(f.store.write(commands).await.iter().all(Result::is_ok));
    let links = f.store.audit(0, 100).await.unwrap();
    audit::verify(&audit_key(), &links).unwrap();
    let last = &links.last().unwrap().entries;
    let told: Vec<_> = last.iter().map(|e| (e.org.as_str(), e.action.as_str(), e.by.as_deref(), e.count)).collect();
    assert_eq!(
        told,
        [
            ("acme", "leads.stored", Some("erp"), 2),
            ("acme", "leads.stored", Some("crm"), 1),
            ("other", "leads.stored", Some("crm"), 1),
            ("acme", "dead_letter.revealed", Some("eve"), 1),
        ]
    );
}

pub async fn rules_are_replaced_listed_and_removed(f: Fixture) {
    let put =
        |name: &str, spec: Option<&str>| Write::PutRule { org: f.org.clone(), name: name.into(), spec: spec.map(Arc::from), now_ms: NOW };
    for (name, spec) in [("won", "1"), ("qualified", "2"), ("won", "3")] {
        assert_eq!(one(&*f.store, put(name, Some(spec))).await, Ok(Done::Noted));
    }
    let rules = f.store.rules(&f.org).await.unwrap();
    assert_eq!(rules.iter().map(|r| (&*r.name, &*r.spec)).collect::<Vec<_>>(), [("qualified", "2"), ("won", "3")]);
    assert_eq!(one(&*f.store, put("won", None)).await, Ok(Done::Noted));
    assert!(matches!(one(&*f.store, put("won", None)).await, Err(StoreError::NotFound(_))));
    assert_eq!(f.store.rules(&f.org).await.unwrap().len(), 1);
    assert!(f.store.rules(&org("other")).await.unwrap().is_empty());
}

pub async fn revoked_tokens_are_read_in_order_until_they_cannot_be_valid_anyway(f: Fixture) {
    let revoke = |jti: &str, until_ms| Write::RevokeToken { org: f.org.clone(), jti: jti.into(), until_ms, now_ms: NOW };
    for (jti, until_ms) in [("a", NOW + 10), ("b", NOW + 1000), ("b", NOW + 1000)] {
        assert_eq!(one(&*f.store, revoke(jti, until_ms)).await, Ok(Done::Noted));
    }
    let names = |list: Vec<adsengineer_core::store::RevokedToken>| list.iter().map(|t| t.jti.to_string()).collect::<Vec<_>>();
    let all = f.store.revoked_tokens(0, NOW).await.unwrap();
    let first = all[0].seq;
    assert_eq!(names(all), ["a", "b"]);
    assert_eq!(names(f.store.revoked_tokens(first, NOW).await.unwrap()), ["b"]);
    assert_eq!(names(f.store.revoked_tokens(0, NOW + 500).await.unwrap()), ["b"]);
}

fn replay(f: &Fixture) -> Replay {
    Replay {
        id: ReplayId(0),
        org: f.org.clone(),
        by: "erp".into(),
        state: ReplayState::Running,
        matched: 7,
        replayed: 0,
        skipped: 0,
        by_name: false,
        ids: Vec::new(),
        reason: Some("INVALID_GCLID".to_owned()),
        destination: None,
        since_ms: None,
        until_ms: NOW,
        cursor: None,
        every_ms: 20,
        next_ms: NOW,
        accept_duplicates: false,
        note: None,
        steps: 0,
    }
}

pub async fn a_replay_goes_on_until_it_is_stopped_or_finished(f: Fixture) {
    let put = |replay: Replay| Write::PutReplay { replay: Box::new(replay), repair: None, now_ms: NOW };
    let Ok(Done::Replay(id)) = one(&*f.store, put(replay(&f))).await else { panic!("no replay") };
    let running = f.store.running_replays().await.unwrap();
    assert_eq!(running, [Replay { id, steps: 1, ..replay(&f) }]);
    let further = Replay { replayed: 3, cursor: Some("dlv_".to_owned()), ..running[0].clone() };
    assert_eq!(one(&*f.store, put(further.clone())).await, Ok(Done::Replay(id)));
    let again = one(&*f.store, put(further.clone())).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))), "a step computed from an older record is refused: {again:?}");
    let further = Replay { steps: 2, ..further };
    assert_eq!(f.store.replay(&f.org, id).await.unwrap(), Some(further.clone()));
    let stopped = Replay { state: ReplayState::Stopped, ..further.clone() };
    assert_eq!(one(&*f.store, put(stopped.clone())).await, Ok(Done::Replay(id)));
    assert!(matches!(one(&*f.store, put(further)).await, Err(StoreError::Conflict(_))), "whoever goes on must learn of the stop");
    assert_eq!(f.store.replay(&f.org, id).await.unwrap(), Some(Replay { steps: 3, ..stopped }));
    assert!(f.store.running_replays().await.unwrap().is_empty());
    assert_eq!(f.store.replay(&org("other"), id).await.unwrap(), None);
    let foreign = Replay { id, org: org("other"), ..replay(&f) };
    assert!(one(&*f.store, put(foreign)).await.is_err());
}
