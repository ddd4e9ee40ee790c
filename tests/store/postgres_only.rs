//! What only a store on a server can show: several processes' worth of stores, lost servers, schemas, plans.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use adsengineer_core::{
    audit,
    delivery::State,
    store::{
        Captured, Done, Intake, LeadBatch, LeadQuery, LeadWrite, Migrate, NewConversion, Once, Request, Store, StoreError, Write,
        postgres::{Options, PostgresStore, migration_status_in},
    },
};

use crate::fixture::{Fixture, NOW, audit_key, lease, money, one, org, over, person, postgres_in, server};

#[path = "../support/cutting.rs"]
mod cutting;
use cutting::{Cut, Way};

/// Statements of the test's own, in a schema.
async fn execute(url: &str, schema: &str, sql: &str) -> Vec<String> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let said = client.simple_query(&format!("SET search_path = {schema}; {sql}")).await.unwrap();
    let rows = said.into_iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    rows.collect()
}

/// Two stores on one schema, as two processes would have them.
async fn two() -> (Fixture, Arc<dyn Store>) {
    let (url, schema) = (server::url(), server::schema());
    let first = over(Arc::new(postgres_in(&url, &schema, 1).await)).await;
    (first, Arc::new(postgres_in(&url, &schema, 2).await))
}

async fn accept(store: &dyn Store, intake: Intake) -> Vec<Captured> {
    match one(store, Write::Accept(intake)).await {
        Ok(Done::Accepted(_, captured)) => captured,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_capture_each_conversion_once_and_claim_each_row_once() {
    let (first, second) = two().await;
    let orders: Vec<String> = (0..400).map(|n| n.to_string()).collect();
    // Both bring everything, the second in the other order, so that they meet in the middle and wait for each other.
    let forth: Vec<_> = orders.chunks(10).map(|c| first.intake(c.iter().map(|o| first.sale(o)).collect())).collect();
    let back: Vec<_> =
        forth.iter().rev().map(|i| Intake { conversions: i.conversions.iter().rev().cloned().collect(), ..i.clone() }).collect();
    let bring = |store: Arc<dyn Store>, intakes: Vec<Intake>| {
        tokio::spawn(async move {
            let mut new = 0;
            for intake in intakes.chunks(5) {
                let results = store.write(intake.iter().cloned().map(Write::Accept).collect()).await;
                for result in results {
                    let Ok(Done::Accepted(_, captured)) = result else { panic!("{result:?}") };
                    new += captured.iter().filter(|c| matches!(c, Captured::New(_))).count();
                }
            }
            new
        })
    };
    let (one, two) = (bring(first.store.clone(), forth), bring(second.clone(), back));
    assert_eq!(one.await.unwrap() + two.await.unwrap(), 400);
    let claim = |store: Arc<dyn Store>, from: i64| {
        let destination = first.destination;
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for token in from..from + 45 {
                ids.extend(store.claim(destination, 10, lease(token), NOW).await.unwrap().iter().map(|c| c.id));
            }
            ids
        })
    };
    let (one, two) = (claim(first.store.clone(), 1000), claim(second, 2000));
    let mut ids = one.await.unwrap();
    ids.extend(two.await.unwrap());
    assert_eq!(ids.len(), 400);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 400);
    assert!(first.store.reconciliation(&first.org).await.unwrap().closes());
    assert_eq!(first.store.status(&first.org, NOW).await.unwrap()[0].states, [(State::InFlight, 400)].into());
    audit::verify(&audit_key(), &first.store.audit(0, 1000).await.unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_restate_and_suppress_without_losing_each_others_changes() {
    let (f, second) = two().await;
    f.accept(vec![f.sale("1"), f.sale("2")]).await;
    let restate = |store: Arc<dyn Store>, from: i64| {
        let intakes: Vec<_> = (0..20)
            .map(|n| {
                let sale = NewConversion { value: money(&format!("{}", 100 + from + n)), ..f.sale("1") };
                Intake { restate: true, now_ms: NOW + 1000 * (from + n), ..f.intake(vec![sale]) }
            })
            .collect();
        tokio::spawn(async move {
            for intake in intakes {
                assert!(matches!(accept(&*store, intake).await[..], [Captured::Restated { .. } | Captured::Known { .. }]));
            }
        })
    };
    let (one, two) = (restate(f.store.clone(), 0), restate(second.clone(), 20));
    one.await.unwrap();
    two.await.unwrap();
    let view = f.store.conversions(&f.org, &adsengineer_core::store::ConversionQuery::default()).await.unwrap().items.remove(0);
    assert_eq!(view.value.as_deref(), Some("139.00"));
    assert_eq!(view.deliveries.len(), view.revision as usize);
    assert_eq!(view.deliveries.iter().filter(|d| d.state == State::Queued).count(), 1);
    let suppress = Write::Suppress { org: f.org.clone(), persons: vec![person("2")], now_ms: NOW };
    assert_eq!(one_changed(&*second, suppress).await, 1);
    assert_eq!(f.accept(vec![f.sale("2")]).await, [Captured::Suppressed]);
}

async fn one_changed(store: &dyn Store, command: Write) -> u64 {
    match one(store, command).await {
        Ok(Done::Changed(rows)) => rows,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_done_once_by_two_stores_and_a_sites_own_id_names_one_lead() {
    let (f, second) = two().await;
    let request = |key: u8, external: Option<[u8; 16]>| {
        let lead = LeadWrite {
            known: None,
            external,
            persons: vec![person("ada")],
            status: 0,
            score: 1,
            consent: "{}".into(),
            content: vec![1].into(),
        };
        let command = Write::Leads(LeadBatch { org: f.org.clone(), now_ms: NOW, leads: vec![lead], denied: 0, intake: None });
        let once = Some(Once { org: f.org.clone(), key: [key; 16], body: [1; 16] });
        Write::Request(Box::new(Request { by: "erp".into(), once, command }))
    };
    for key in 0..40 {
        let (one, two) = tokio::join!(one(&*f.store, request(key, None)), one(&*second, request(key, None)));
        let first = |done: &Result<Done, StoreError>| matches!(done, Ok(Done::Leads(..)));
        let again = |done: &Result<Done, StoreError>| matches!(done, Ok(Done::Repeated(_)));
        assert!(first(&one) && again(&two) || again(&one) && first(&two), "{one:?} {two:?}");
    }
    for n in 100..140 {
        let (one, two) = tokio::join!(one(&*f.store, request(n, Some([n; 16]))), one(&*second, request(n + 100, Some([n; 16]))));
        let moved = [&one, &two].iter().filter(|done| matches!(done, Ok(Done::LeadsMoved(_)))).count();
        let stored = [&one, &two].iter().filter(|done| matches!(done, Ok(Done::Leads(..)))).count();
        assert_eq!((stored, moved), (1, 1), "{one:?} {two:?}");
    }
    assert_eq!(f.store.lead_counts(&f.org).await.unwrap().stored, 80);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_miss_nothing_that_another_store_commits_later_under_a_smaller_number() {
    let (url, schema) = (server::url(), server::schema());
    let f = over(Arc::new(postgres_in(&url, &schema, 1).await)).await;
    let second: Arc<dyn Store> = Arc::new(postgres_in(&url, &schema, 2).await);
    let lead = |n: u8| {
        let content: Box<[u8]> = [n].into();
        let lead = LeadWrite { known: None, external: Some([n; 16]), persons: vec![], status: 0, score: 1, consent: "{}".into(), content };
        let command = Write::Leads(LeadBatch { org: f.org.clone(), now_ms: NOW, leads: vec![lead], denied: 0, intake: None });
        Write::Request(Box::new(Request { by: "erp".into(), once: None, command }))
    };
    assert!(one(&*f.store, lead(1)).await.is_ok());
    // The late one has its numbers, and waits for somebody who may yet store the same lead.
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let same = "INSERT INTO leads SELECT org, 9, 9, status, score, decode(repeat('02', 16), 'hex'), persons, consent, content FROM leads";
    client.batch_execute(&format!("SET search_path = {schema}; BEGIN; {same}")).await.unwrap();
    let late = {
        let (second, lead) = (second.clone(), lead(2));
        tokio::spawn(async move { one(&*second, lead).await })
    };
    let waits = "SELECT count(*) FROM pg_locks l WHERE NOT granted AND EXISTS (SELECT 1 FROM pg_locks o WHERE o.pid = l.pid
        AND o.relation = 'slots'::regclass)";
    while execute(&url, &schema, waits).await[0] == "0" {
        tokio::task::yield_now().await;
    }
    for n in 3..6 {
        assert!(one(&*f.store, lead(n)).await.is_ok());
    }
    let query = |cursor| LeadQuery { cursor, limit: 100, ..LeadQuery::default() };
    let page = async |cursor| {
        let page = f.store.leads(&f.org, &query(cursor)).await.unwrap().items;
        (page.iter().map(|lead| lead.content[0]).collect::<Vec<_>>(), page.last().map(|lead| lead.changed))
    };
    let audited = async |after| f.store.audit(after, 100).await.unwrap();
    let (first, cursor) = page(None).await;
    let links = audited(0).await;
    assert_eq!(first, [1], "what came after the late one is not shown before it");
    assert_eq!(f.store.leads(&f.org, &LeadQuery { descending: true, ..query(None) }).await.unwrap().items.len(), 4);
    client.batch_execute("ROLLBACK").await.unwrap();
    assert!(matches!(late.await.unwrap(), Ok(Done::Leads(..))));
    assert_eq!(page(cursor).await.0, [2, 3, 4, 5]);
    let all = [links.clone(), audited(links.last().unwrap().seq).await].concat();
    assert_eq!((all.len(), all.iter().filter(|link| link.writer == 2).count()), (audited(0).await.len(), 1));
    audit::verify(&audit_key(), &all).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_acknowledged_survives_crashes_of_the_server_and_nothing_is_doubled() {
    let server = Arc::new(server::Server::start(false));
    let url = server.url();
    let f = over(Arc::new(postgres_in(&url, "crash", 1).await)).await;
    let (store, base) = (f.store.clone(), f.intake(Vec::new()));
    let sales: Vec<_> = (0..6000).map(|n| f.sale(&n.to_string())).collect();
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (stopped, counted) = (stop.clone(), acknowledged.clone());
    let writing = tokio::spawn(async move {
        for batch in sales.chunks(20) {
            let intake = Intake { conversions: batch.to_vec(), ..base.clone() };
            // Whatever was not acknowledged is brought again until it is.
            while !matches!(one(&*store, Write::Accept(intake.clone())).await, Ok(Done::Accepted(..))) {
                tokio::task::yield_now().await;
            }
            counted.fetch_add(20, Ordering::SeqCst);
            if stopped.load(Ordering::SeqCst) {
                break;
            }
        }
    });
    for _ in 0..4 {
        let before = acknowledged.load(Ordering::SeqCst);
        while acknowledged.load(Ordering::SeqCst) < before + 60 {
            tokio::task::yield_now().await;
        }
        let server = server.clone();
        tokio::task::spawn_blocking(move || server.crash()).await.unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    writing.await.unwrap();
    let acknowledged = acknowledged.load(Ordering::SeqCst);
    let sum = f.store.reconciliation(&f.org).await.unwrap();
    assert_eq!((sum.conversions, sum.closes()), (acknowledged, true));
    assert_eq!(f.store.status(&f.org, NOW).await.unwrap()[0].states, sum.states);
    audit::verify(&audit_key(), &f.store.audit(0, 100_000).await.unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_looked_up_and_never_guessed() {
    let server = server::Server::start(false);
    let way = Way::to(server.folder());
    let f = over(Arc::new(postgres_in(&way.url(), "cut", 1).await)).await;
    for (n, cut) in [Cut::After, Cut::Before, Cut::After, Cut::Nowhere].into_iter().enumerate() {
        way.cut_next(cut);
        let captured = f.accept(vec![f.sale(&n.to_string())]).await;
        // Tried again after it was done, it would be known.
        assert!(matches!(captured[..], [Captured::New(_)]) && way.is_whole(), "{cut:?}: {captured:?}");
    }
    way.cut_next(Cut::After);
    assert_eq!(f.claim(1, NOW).await.len(), 4);
    let sum = f.store.reconciliation(&f.org).await.unwrap();
    assert_eq!((sum.conversions, sum.states), (4, [(State::InFlight, 4)].into()));
    audit::verify(&audit_key(), &f.store.audit(0, 100).await.unwrap()).unwrap();
}

#[tokio::test]
async fn a_command_that_cannot_be_stored_fails_alone() {
    let f = crate::fixture::postgres().await;
    let bad = Intake { source: "a\0b".into(), ..f.intake(vec![f.sale("2")]) };
    let commands = vec![Write::Accept(f.intake(vec![f.sale("1")])), Write::Accept(bad), Write::Accept(f.intake(vec![f.sale("3")]))];
    let results = f.store.write(commands).await;
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    assert!(matches!(&results[1], Err(StoreError::Conflict(text)) if text.contains("cannot be stored")), "{results:?}");
    let sum = f.store.reconciliation(&f.org).await.unwrap();
    assert_eq!((sum.conversions, sum.closes()), (2, true));
    assert_eq!(f.claim(1, NOW).await.len(), 2);
}

#[tokio::test]
async fn damaged_rows_are_said_to_be_damaged_and_are_neither_claimed_nor_changed() {
    for damage in [
        "UPDATE deliveries SET scale = 77",
        "UPDATE deliveries SET currency = 'euro'",
        "UPDATE conversions SET click_kind = 9, click = 'x'",
        "UPDATE conversions SET click_kind = 1, click = ''",
        "UPDATE conversions SET consent = 200",
    ] {
        let (url, schema) = (server::url(), server::schema());
        let f = over(Arc::new(postgres_in(&url, &schema, 1).await)).await;
        f.sell(&["1"]).await;
        execute(&url, &schema, damage).await;
        let claimed = f.store.claim(f.destination, 10, lease(1), NOW).await;
        assert!(matches!(claimed, Err(StoreError::Damaged(_))), "{damage}: {claimed:?}");
        let agenda = f.store.agenda(NOW).await.unwrap();
        assert_eq!((agenda[0].next_due_ms, agenda[0].in_flight), (Some(NOW), 0), "{damage}");
    }
}

#[tokio::test]
async fn an_empty_database_is_not_filled_unasked_and_a_newer_schema_is_refused() {
    let (url, schema) = (server::url(), server::schema());
    let options = |migrate| Options { migrate, schema: schema.clone(), ..Options::new(audit_key(), 1) };
    let open = async |migrate| PostgresStore::open(&url, options(migrate)).await.err().map(|error| error.to_string());
    for refusing in [Migrate::Check, Migrate::Off] {
        let error = open(refusing).await.unwrap();
        assert!(error.contains("is empty") && error.contains("adsengineer migrate"), "{error}");
    }
    let applied = async || migration_status_in(&url, &schema).await.unwrap().iter().all(|m| m.applied);
    assert!(!applied().await);
    let (one, two) = tokio::join!(open(Migrate::Auto), open(Migrate::Auto));
    assert_eq!((one, two), (None, None), "two that migrate at once wait for each other");
    assert!(applied().await);
    assert_eq!(open(Migrate::Check).await, None);
    // The next release's schema says itself whether programs of this one may go on; nothing is known of those after it.
    let later = |number: i64, works_from: i64| {
        format!(
            "DELETE FROM schema_migrations WHERE number > 1; INSERT INTO schema_migrations (number, name, works_from) VALUES ({number}, 'later', {works_from})"
        )
    };
    execute(&url, &schema, &later(2, 1)).await;
    for migrate in [Migrate::Auto, Migrate::Check, Migrate::Off] {
        assert_eq!(open(migrate).await, None);
    }
    execute(&url, &schema, &later(2, 2)).await;
    assert!(open(Migrate::Check).await.unwrap().contains("schema 2"));
    execute(&url, &schema, &later(99, 1)).await;
    for migrate in [Migrate::Auto, Migrate::Check, Migrate::Off] {
        let error = open(migrate).await.unwrap();
        assert!(error.contains("schema 99") && error.contains("install the newer version"), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_work_is_said_when_the_store_is_opened() {
    let open = async |url: &str, schema: &str| {
        let options = Options { schema: schema.to_owned(), ..Options::new(audit_key(), 1) };
        PostgresStore::open(url, options).await.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(open("postgres://127.0.0.1:1/x", "adsengineer").await.contains("not available"));
    assert!(open("nonsense", "adsengineer").await.contains("cannot be used"));
    assert!(open(&server::url(), "x; DROP TABLE y").await.contains("not a schema's name"));
    assert!(open(&server::url(), "").await.contains("not a schema's name"));
}

#[tokio::test]
async fn tenants_of_one_schema_do_not_see_each_other_through_shared_keys() {
    let f = crate::fixture::postgres().await;
    f.sell(&["1"]).await;
    let other = Intake { org: org("other"), ..f.intake(Vec::new()) };
    assert!(accept(&*f.store, other).await.is_empty());
    assert_eq!(f.store.organizations().await.unwrap(), [f.org.clone(), org("other")]);
    assert_eq!(f.store.reconciliation(&org("other")).await.unwrap().captured, 0);
}

/// The writer's own settings, and statements like its own.
const SETTINGS: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off";

#[tokio::test]
async fn claims_and_questions_read_their_index_in_order_and_sort_nothing() {
    let (url, schema) = (server::url(), server::schema());
    let _store = postgres_in(&url, &schema, 1).await;
    for (sql, index) in [
        ("SELECT id FROM queue WHERE destination = 1 AND kind = 0 AND due_ms <= 9 ORDER BY due_ms, id", "queue_pkey"),
        (
            "SELECT id FROM uploads WHERE destination = 1 AND poll_at_ms <= 9 AND org = 1 ORDER BY poll_at_ms, id LIMIT 5 FOR UPDATE SKIP LOCKED",
            "uploads_poll",
        ),
        ("SELECT due_ms FROM queue WHERE destination = 1 AND kind = 0 ORDER BY due_ms LIMIT 1", "queue_pkey"),
        ("SELECT id FROM deliveries WHERE org = 1 AND id = 5", "deliveries_pkey"),
        ("SELECT id FROM deliveries WHERE conversion = 5", "deliveries_conversion"),
    ] {
        let plan = execute(&url, &schema, &format!("{SETTINGS}; EXPLAIN {sql}")).await.join("\n");
        assert!(plan.contains(index) && !plan.contains("Sort") && !plan.contains("Seq Scan"), "{sql}\n{plan}");
    }
}
