//! Many callers at once: each has its own answer, the failure of one is no other's, and whoever goes away leaves nothing half done.

use std::{collections::BTreeSet, sync::Arc, task::Poll};

use adsengineer_core::{
    audit,
    id::{DestinationId, LeadId},
    store::{Done, LeadBatch, LeadQuery, LeadWrite, Store, StoreError, Write},
};

use crate::fixture::{Fixture, NOW, audit_key, one, person};

const CALLERS: u8 = 8;
const EACH: u8 = 20;

/// A new lead with a sale of its own.
fn lead(f: &Fixture, caller: u8, n: u8, destination: DestinationId) -> Write {
    let mut external = [0; 16];
    external[..2].copy_from_slice(&[caller, n]);
    let lead = LeadWrite {
        known: None,
        external: Some(external),
        persons: vec![person("ada")],
        status: 0,
        score: 60,
        consent: r#"{"storage":"granted"}"#.into(),
        content: vec![caller, n].into(),
    };
    let sale = f.sale_to(&format!("{caller}-{n}"), &[destination]);
    Write::Leads(LeadBatch { org: f.org.clone(), now_ms: NOW, leads: vec![lead], denied: 0, intake: Some(f.intake(vec![sale])) })
}

/// What is there of it, each lead by its content.
async fn contents(f: &Fixture) -> BTreeSet<Vec<u8>> {
    let page = f.store.leads(&f.org, &LeadQuery { limit: 1000, ..LeadQuery::default() }).await.unwrap();
    let all: BTreeSet<_> = page.items.iter().map(|lead| lead.content.to_vec()).collect();
    assert_eq!(all.len(), page.items.len(), "nothing is there twice");
    all
}

async fn all_is_whole(f: &Fixture, leads: u64) {
    assert_eq!(f.store.lead_counts(&f.org).await.unwrap().stored, leads);
    let sums = f.store.reconciliation(&f.org).await.unwrap();
    assert!(sums.closes());
    audit::verify(&audit_key(), &f.store.audit(0, 1000).await.unwrap()).unwrap();
}

async fn call(store: Arc<dyn Store>, commands: Vec<(Write, bool)>) -> Vec<LeadId> {
    let mut ids = Vec::new();
    for (command, is_good) in commands {
        match one(&*store, command).await {
            Ok(Done::Leads(new, _)) if is_good => ids.extend(new),
            Err(StoreError::NotFound(_)) if !is_good => {}
            other => panic!("{other:?}"),
        }
    }
    ids
}

pub async fn callers_beside_each_other_have_each_their_own_answer(f: Fixture) {
    let nowhere = DestinationId(1);
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let command = |n: u8| (lead(&f, caller, n, if n % 5 == 4 { nowhere } else { f.destination }), n % 5 != 4);
        callers.push(tokio::spawn(call(f.store.clone(), (0..EACH).map(command).collect())));
    }
    let mut ids = Vec::new();
    for caller in callers {
        let own = caller.await.unwrap();
        assert!(own.is_sorted(), "what a caller does later comes later");
        ids.extend(own);
    }
    let good = usize::from(CALLERS) * usize::from(EACH / 5 * 4);
    assert_eq!((ids.iter().collect::<BTreeSet<_>>().len(), contents(&f).await.len()), (good, good));
    all_is_whole(&f, good as u64).await;
}

pub async fn callers_that_go_away_leave_nothing_half_done(f: Fixture) {
    let mut answered = BTreeSet::new();
    for n in 0..40 {
        let mut write = std::pin::pin!(f.store.write(vec![lead(&f, 0, n, f.destination)]));
        if n % 4 == 3 {
            assert!(write.await[0].is_ok());
            answered.insert(vec![0, n]);
            continue;
        }
        let first = std::future::poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await;
        if let Poll::Ready(answer) = first {
            assert!(answer[0].is_ok());
            answered.insert(vec![0, n]);
        }
    }
    // What is handed in after them is done after them.
    f.sell(&["last"]).await;
    let there = contents(&f).await;
    assert!(there.is_superset(&answered));
    all_is_whole(&f, there.len() as u64).await;
}
