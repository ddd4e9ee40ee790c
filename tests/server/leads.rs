//! Leads: taking them in, updating them, following their status, listing them while they change.

use std::collections::BTreeSet;

use adsengineer_core::org::Role;
use serde_json::{Value, json};

use crate::stage::Stage;

const LEADS: &str = "/api/v1/leads";

fn lead(external: &str, more: &Value) -> Value {
    let mut lead = json!({"external_id": external, "email": format!("{external}@example.com").to_lowercase(),
        "consent": {"storage": "granted", "ad_user_data": "granted"}});
    lead.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    lead
}

async fn stored(stage: &Stage, body: &Value) -> String {
    stage.post(LEADS, body).await.ok(201)["leads"][0]["id"].as_str().unwrap().to_owned()
}

async fn shown(stage: &Stage, id: &str) -> Value {
    stage.get(&format!("{LEADS}/{id}")).await.ok(200)
}

#[tokio::test]
async fn what_only_the_server_may_set_is_refused_by_name() {
    let stage = Stage::new().await;
    let before = stage.effects().await;
    for field in ["id", "org_id", "score", "qualified", "created_at", "first_touch", "Email", "__proto__"] {
        let body = lead("M-1", &json!({field: "x"}));
        assert_eq!(stage.post(LEADS, &body).await.faults(), [(format!("/{field}"), "UNKNOWN_FIELD".to_owned())]);
        let batch = json!([lead("M-0", &json!({})), body]);
        assert_eq!(stage.post(LEADS, &batch).await.faults()[0].0, format!("/1/{field}"));
    }
    assert_eq!(stage.effects().await, before);
}

#[tokio::test]
async fn one_bad_lead_refuses_its_whole_batch_and_all_faults_are_told() {
    let stage = Stage::new().await;
    let before = stage.effects().await;
    let bad = json!({"email": "no address", "phone": "12", "consent": {"storage": "granted"}});
    let faults = stage.post(LEADS, &json!([lead("B-0", &json!({})), bad, lead("B-2", &json!({"value": "1"}))])).await.faults();
    let pointers: Vec<_> = faults.iter().map(|fault| fault.0.as_str()).collect();
    assert_eq!(pointers, ["/1/email", "/1/phone", "/2/currency"]);
    let nameless = json!({"company": "Example", "consent": {"storage": "granted"}});
    assert_eq!(stage.post(LEADS, &nameless).await.faults()[0].1, "IDENTIFIER_REQUIRED");
    assert_eq!(stage.post(LEADS, &json!([])).await.faults()[0].1, "EMPTY_BATCH");
    let many: Vec<_> = (0..1001).map(|n| lead(&format!("T-{n}"), &json!({}))).collect();
    assert_eq!(stage.post(LEADS, &json!(many)).await.refused(422), "TOO_MANY_ITEMS");
    assert_eq!(stage.effects().await, before);
    assert_eq!(stage.post(LEADS, &json!(many[..1000])).await.ok(201)["stored"], 1000);
}

#[tokio::test]
async fn a_lead_is_scored_and_the_score_explained() {
    let stage = Stage::new().await;
    let body = lead("S-1", &json!({"phone": "+4915123456789", "company": "Example Ltd", "tags": ["hot"], "budget": "$15,000"}));
    let said = stage.post(LEADS, &body).await.ok(201);
    let summary = &said["leads"][0];
    let full = shown(&stage, summary["id"].as_str().unwrap()).await;
    assert_eq!((&summary["score"], &summary["qualified"]), (&full["score"], &json!(true)));
    assert_eq!(summary["scored_value_cents"], full["scored_value_cents"]);
    assert!(full["score"].as_u64().unwrap() > 75 && full["scoring"]["breakdown"].as_array().is_some_and(|parts| parts.len() > 3), "{full}");
    let plain = stage.post(LEADS, &lead("S-2", &json!({}))).await.ok(201);
    assert!(plain["leads"][0]["score"].as_u64() < summary["score"].as_u64());
}

#[tokio::test]
async fn the_same_external_id_at_the_same_site_is_the_same_lead_and_its_first_touch_is_kept() {
    let stage = Stage::new().await;
    let first = lead("E-1", &json!({"site_id": "a", "gclid": "Cj0KCQ-first", "utm": {"source": "google"}, "company": "Example"}));
    let id = stored(&stage, &first).await;
    stage.clock.advance_ms(86_400_000);
    let second = lead("E-1", &json!({"site_id": "a", "gclid": "Cj0KCQ-second", "utm": {"source": "bing"}}));
    assert_eq!(stored(&stage, &second).await, id);
    assert_ne!(stored(&stage, &lead("E-1", &json!({"site_id": "b"}))).await, id);
    let full = shown(&stage, &id).await;
    assert_eq!((&full["clicks"]["gclid"], &full["company"]), (&json!("Cj0KCQ-second"), &json!("Example")));
    assert_eq!(full["first_touch"]["clicks"]["gclid"], "Cj0KCQ-first");
    assert_eq!(full["first_touch"]["utm"]["source"], "google");
    assert_eq!(full["first_touch"]["at"], "2026-11-20T12:00:00Z");
    assert_eq!((&full["created_at"], &full["updated_at"]), (&json!("2026-11-20T12:00:00Z"), &json!("2026-11-21T12:00:00Z")));
    let counts = stage.get("/api/v1/status").await.ok(200)["leads"].clone();
    assert_eq!(counts, json!({"stored": 2, "updated": 1, "denied": 0}));
    // The same id twice in one batch is one lead too.
    let batch = json!([lead("E-9", &json!({})), lead("E-9", &json!({"company": "Both"}))]);
    let said = stage.post(LEADS, &batch).await.ok(201);
    assert_eq!(said["leads"][0]["id"], said["leads"][1]["id"]);
}

#[tokio::test]
async fn a_click_counts_for_ninety_days() {
    let stage = Stage::new().await;
    let id = stored(&stage, &lead("C-1", &json!({"gclid": "Cj0KCQ-old"}))).await;
    let sale = |at: &str| json!({"action": "Sale", "occurred_at": at, "lead_id": id});
    let kind = |said: &Value| said["conversions"][0]["id"].as_str().unwrap().to_owned();
    stage.clock.advance_ms(89 * 86_400_000);
    let early = kind(&stage.post("/api/v1/conversions", &sale("2027-02-17T10:00:00Z")).await.ok(202));
    assert_eq!(stage.get(&format!("/api/v1/conversions/{early}")).await.ok(200)["click_id_kind"], "gclid");
    stage.clock.advance_ms(2 * 86_400_000);
    let token = stage.token("acme", Role::Owner);
    let late = kind(&stage.ask("POST", "/api/v1/conversions", Some(&token), Some(&sale("2027-02-19T10:00:00Z"))).await.ok(202));
    assert_eq!(stage.get(&format!("/api/v1/conversions/{late}")).await.ok(200)["click_id_kind"], Value::Null);
}

#[tokio::test]
async fn a_status_moves_forward_only_and_rules_make_a_conversion_once() {
    let stage = Stage::new().await;
    let rule = json!({"on": "lead.won", "action": "Closed", "currency": "EUR"});
    stage.by(Role::Admin, "PUT", "/api/v1/rules/closed", Some(&rule)).await.ok(200);
    let id = stored(&stage, &lead("W-1", &json!({}))).await;
    let path = format!("{LEADS}/{id}");
    let patch = async |body: Value| stage.by(Role::Member, "PATCH", &path, Some(&body)).await;
    patch(json!({"status": "qualified"})).await.ok(200);
    assert_eq!(patch(json!({"status": "contacted"})).await.refused(409), "INVALID_STATUS_CHANGE");
    let won = patch(json!({"status": "won", "value": "99.50", "currency": "EUR"})).await.ok(200);
    assert_eq!((&won["status"], &won["value"], &won["conversions"][0]["rule"]), (&json!("won"), &json!("99.50"), &json!("closed")));
    let conversion = won["conversions"][0]["id"].as_str().unwrap();
    let made = stage.get(&format!("/api/v1/conversions/{conversion}")).await.ok(200);
    assert_eq!((&made["action"], &made["value"]), (&json!("Closed"), &json!("99.50")));
    assert_eq!(patch(json!({"status": "won"})).await.ok(200)["conversions"], json!([]));
    assert_eq!(patch(json!({"status": "qualified"})).await.refused(409), "INVALID_STATUS_CHANGE");
    for (body, pointer) in [
        (json!({}), ""),
        (json!({"status": "closed"}), "/status"),
        (json!({"score": 99}), "/score"),
        (json!({"email": "other@example.com"}), "/email"),
        (json!({"value": "1"}), "/currency"),
    ] {
        assert_eq!(patch(body).await.faults()[0].0, pointer);
    }
    assert_eq!(stage.get("/api/v1/conversions").await.ok(200)["conversions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_deleted_lead_is_gone_and_its_external_id_free_again() {
    let stage = Stage::new().await;
    let id = stored(&stage, &lead("X-1", &json!({}))).await;
    let path = format!("{LEADS}/{id}");
    stage.by(Role::Admin, "DELETE", &path, None).await.ok(204);
    for method in ["GET", "DELETE"] {
        assert_eq!(stage.by(Role::Owner, method, &path, None).await.refused(404), "NOT_FOUND");
    }
    assert_eq!(stage.by(Role::Member, "PATCH", &path, Some(&json!({"status": "won"}))).await.refused(404), "NOT_FOUND");
    assert_eq!(stage.get(LEADS).await.ok(200)["leads"], json!([]));
    assert_ne!(stored(&stage, &lead("X-1", &json!({}))).await, id);
}

/// Every id on the pages of a list, in order; `between` runs after each page.
async fn pages(stage: &Stage, query: &str, mut between: impl AsyncFnMut(usize)) -> Vec<String> {
    let (mut ids, mut path, mut page) = (Vec::new(), format!("{LEADS}?{query}"), 0);
    loop {
        let said = stage.get(&path).await.ok(200);
        ids.extend(said["leads"].as_array().unwrap().iter().map(|lead| lead["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = said["next_cursor"].as_str() else { return ids };
        between(page).await;
        page += 1;
        path = format!("{LEADS}?{query}&cursor={cursor}");
    }
}

#[tokio::test]
async fn pages_miss_nothing_in_either_order_while_leads_change() {
    let stage = Stage::new().await;
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(stored(&stage, &lead(&format!("P-{n}"), &json!({}))).await);
        stage.clock.advance_ms(1000);
    }
    let all: BTreeSet<_> = ids.iter().cloned().collect();
    let patch = async |at: usize, status: &str| {
        stage.by(Role::Member, "PATCH", &format!("{LEADS}/{}", ids[at]), Some(&json!({"status": status}))).await.ok(200);
    };
    assert_eq!(pages(&stage, "limit=3", async |_| {}).await, ids);
    let mut newest_first = pages(&stage, "limit=3&order=desc", async |_| {}).await;
    newest_first.reverse();
    assert_eq!(newest_first, ids);
    // One changes behind the reader, who meets it again at the end; one before, which just moves.
    let met = pages(&stage, "limit=4", async |page| {
        if page == 0 {
            patch(0, "contacted").await;
            patch(8, "contacted").await;
        }
    })
    .await;
    assert_eq!((met.iter().cloned().collect::<BTreeSet<_>>(), met.len()), (all.clone(), 11));
    let met = pages(&stage, "limit=4&order=desc", async |page| {
        if page == 0 {
            patch(9, "qualified").await;
        }
    })
    .await;
    assert_eq!((met.iter().cloned().collect::<BTreeSet<_>>(), met.len()), (all, 10));
}

#[tokio::test]
async fn lists_are_filtered_by_status_and_by_the_time_of_the_last_change() {
    let stage = Stage::new().await;
    let old = stored(&stage, &lead("F-1", &json!({}))).await;
    let changed = stored(&stage, &lead("F-2", &json!({}))).await;
    stage.clock.advance_ms(3_600_000);
    stage.by(Role::Member, "PATCH", &format!("{LEADS}/{changed}"), Some(&json!({"status": "won"}))).await.ok(200);
    assert_eq!(pages(&stage, "updated_since=2026-11-20T12:30:00Z", async |_| {}).await, [changed.as_str()]);
    assert_eq!(pages(&stage, "updated_since=2026-11-20T13:30:00%2B01:00", async |_| {}).await, [changed.as_str()]);
    assert_eq!(pages(&stage, "updated_since=2026-11-20T12:00:00Z&order=desc", async |_| {}).await, [changed.as_str(), old.as_str()]);
    assert_eq!(pages(&stage, "status=new", async |_| {}).await, [old.as_str()]);
    assert_eq!(pages(&stage, "status=won&limit=1", async |_| {}).await, [changed.as_str()]);
    assert!(pages(&stage, "updated_since=2027-01-01T00:00:00Z", async |_| {}).await.is_empty());
}
