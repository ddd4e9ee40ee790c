//! Dead letters: looked at, shown in full to an admin, sent again, given up.

use adsengineer_core::org::Role;
use adsengineer_server::sandbox::Sandbox;
use serde_json::{Value, json};

use crate::{
    routes::{sale, sandbox, shop},
    said::Said,
    stage::Stage,
};

const DLQ: &str = "/api/v1/dlq";

/// A stage with so many dead letters, each with an e-mail address.
async fn with_dead(count: usize) -> (Sandbox, Stage, Vec<String>) {
    let sandbox = sandbox().await;
    let stage = Stage::against(&sandbox).await;
    stage.by(Role::Admin, "PUT", "/api/v1/destinations/shop", Some(&shop(&sandbox))).await.ok(200);
    let dead = |n: usize| {
        let mut sale = sale(&format!("sandbox-INVALID_GCLID-{n}"));
        sale["identifiers"] = json!({"email": format!("dead{n}@example.com")});
        sale
    };
    stage.post("/api/v1/conversions", &json!((0..count).map(dead).collect::<Vec<_>>())).await.ok(202);
    stage.work().await;
    let list = stage.get(DLQ).await.ok(200);
    let ids: Vec<_> = list["dead_letters"].as_array().unwrap().iter().map(|l| l["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), count, "{list}");
    (sandbox, stage, ids)
}

async fn act(stage: &Stage, verb: &str, body: &Value) -> Said {
    stage.by(Role::Admin, "POST", &format!("{DLQ}/{verb}"), Some(body)).await
}

/// Goes on with replays until they wait, and sends what they queued.
async fn replayed(stage: &Stage) {
    while stage.engine.run_replays().await.unwrap() {}
    stage.work().await;
}

#[tokio::test]
async fn dead_letters_are_listed_by_filters_without_personal_data() {
    let (_sandbox, stage, ids) = with_dead(3).await;
    let list = stage.by(Role::Member, "GET", DLQ, None).await;
    let letter = list.ok(200)["dead_letters"][0].clone();
    assert_eq!((&letter["kind"], &letter["org_id"], &letter["destination"]), (&json!("delivery"), &json!("acme"), &json!("shop")));
    assert_eq!(letter["payload"]["has_identifiers"], true);
    assert!(letter["next_action"].as_str().unwrap().contains("replay") && letter["attempts"].is_array());
    assert!(!list.text().contains("@example.com") && letter["payload"].get("identifiers").is_none());
    let reason = letter["reason"].as_str().unwrap();
    let count = async |query: &str| stage.get(&format!("{DLQ}?{query}")).await.ok(200)["dead_letters"].as_array().unwrap().len();
    assert_eq!(count(&format!("reason={reason}")).await, 3);
    assert_eq!(count("destination=shop&kind=delivery").await, 3);
    for none in
        ["reason=OTHER", "destination=till", "kind=webhook", "source=shopify", "since=2027-01-01T00:00:00Z", "until=2026-01-01T00:00:00Z"]
    {
        assert_eq!(count(none).await, 0, "{none}");
    }
    let first = stage.get(&format!("{DLQ}?limit=2")).await.ok(200);
    let rest = stage.get(&format!("{DLQ}?limit=2&cursor={}", first["next_cursor"].as_str().unwrap())).await.ok(200);
    assert_eq!((rest["dead_letters"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));
    assert_eq!(stage.by(Role::Member, "GET", &format!("{DLQ}/{}", ids[0]), None).await.ok(200), letter);
}

#[tokio::test]
async fn only_an_admin_sees_who_the_person_is_and_that_is_audited() {
    let (_sandbox, stage, ids) = with_dead(1).await;
    let path = format!("{DLQ}/{}?reveal=true", ids[0]);
    let before = stage.acts().await;
    assert_eq!(stage.by(Role::Member, "GET", &path, None).await.refused(403), "FORBIDDEN");
    assert!(!stage.get(&format!("{DLQ}/{}?reveal=false", ids[0])).await.text().contains("dead0@"));
    assert_eq!(stage.acts().await, before);
    let said = stage.by(Role::Admin, "GET", &path, None).await;
    assert_eq!(said.ok(200)["payload"]["identifiers"]["email"]["plain"], "dead0@example.com", "{}", said.text());
    let acts = stage.acts().await;
    assert_eq!(acts.last().unwrap(), &("dead_letter.revealed".to_owned(), ids[0].clone(), 1));
    let stranger = stage.token("globex", Role::Owner);
    assert_eq!(stage.ask("GET", &path, Some(&stranger), None).await.refused(404), "NOT_FOUND");
    assert_eq!(stage.acts().await, acts);
}

#[tokio::test]
async fn a_dry_run_counts_and_does_nothing() {
    let (_sandbox, stage, ids) = with_dead(2).await;
    let before = stage.effects().await;
    let said = act(&stage, "replay", &json!({"filter": {}, "dry_run": true})).await.ok(200);
    assert_eq!(said, json!({"dry_run": true, "matched": 2, "needs_accept_duplicates": 0}));
    let said = act(&stage, "replay", &json!({"ids": [ids[0]], "dry_run": true})).await.ok(200);
    assert_eq!(said["matched"], 1);
    let said = act(&stage, "discard", &json!({"filter": {"destination": "shop"}, "dry_run": true})).await.ok(200);
    assert_eq!(said, json!({"dry_run": true, "matched": 2, "discarded": 0}));
    assert_eq!(stage.effects().await, before);
}

#[tokio::test]
async fn a_replay_sends_what_it_names_again_and_is_followed_to_its_end() {
    let (sandbox, stage, ids) = with_dead(3).await;
    sandbox.set_click_verdicts(false);
    let started = act(&stage, "replay", &json!({"ids": [ids[0], ids[1]], "note": "fixed upstream"})).await.ok(202);
    assert_eq!((&started["matched"], &started["state"]), (&json!(2), &json!("running")));
    let path = format!("{DLQ}/replays/{}", started["replay_id"].as_str().unwrap());
    replayed(&stage).await;
    let followed = stage.by(Role::Admin, "GET", &path, None).await.ok(200);
    assert_eq!((&followed["state"], &followed["replayed"], &followed["skipped"]), (&json!("finished"), &json!(2), &json!(0)));
    assert_eq!(stage.get(DLQ).await.ok(200)["dead_letters"].as_array().unwrap().len(), 1);
    assert_eq!(sandbox.accepted().len(), 2);
    let sum = stage.get("/api/v1/reconciliation").await.ok(200);
    assert_eq!((&sum["closes"], &sum["states"]["delivered"], &sum["states"]["dead"]), (&json!(true), &json!(2), &json!(1)));
}

#[tokio::test]
async fn a_replay_at_a_rate_can_be_stopped_and_leaves_the_rest_dead() {
    let (sandbox, stage, _) = with_dead(6).await;
    sandbox.set_click_verdicts(false);
    let started = act(&stage, "replay", &json!({"filter": {}, "rate": "1/s"})).await.ok(202);
    let path = format!("{DLQ}/replays/{}", started["replay_id"].as_str().unwrap());
    while stage.engine.run_replays().await.unwrap() {
        assert!(stage.get(&path).await.ok(200)["replayed"].as_u64().unwrap() < 6);
    }
    let stopped = stage.by(Role::Admin, "DELETE", &path, None).await.ok(200);
    assert_eq!(stopped["state"], "stopped", "{stopped}");
    stage.clock.advance_ms(60_000);
    replayed(&stage).await;
    assert_eq!(stage.by(Role::Admin, "DELETE", &path, None).await.ok(200)["state"], "stopped");
    let dead = stage.get(DLQ).await.ok(200)["dead_letters"].as_array().unwrap().len() as u64;
    assert_eq!(dead + stopped["replayed"].as_u64().unwrap(), 6);
    assert!(dead > 0);
}

#[tokio::test]
async fn letters_of_unknown_outcome_are_replayed_only_where_duplicates_are_accepted() {
    let (sandbox, stage, ids) = with_dead(2).await;
    // As after a lost answer that the platform no longer recognises, which no platform of this version forgets.
    stage.base().lose_outcomes();
    sandbox.set_click_verdicts(false);
    assert_eq!(stage.get(DLQ).await.ok(200)["dead_letters"][0]["may_duplicate"], true);
    let counted = act(&stage, "replay", &json!({"filter": {}, "dry_run": true})).await.ok(200);
    assert_eq!((&counted["matched"], &counted["needs_accept_duplicates"]), (&json!(2), &json!(2)));
    for (body, done) in [
        (json!({"ids": [ids[0]]}), (0, 1)),
        (json!({"filter": {}}), (0, 2)),
        (json!({"ids": [ids[0]], "accept_duplicates": true}), (1, 0)),
        (json!({"filter": {"reason": "OUTCOME_UNKNOWN"}, "accept_duplicates": true}), (1, 0)),
    ] {
        let started = act(&stage, "replay", &body).await.ok(202);
        replayed(&stage).await;
        let ended = stage.get(&format!("{DLQ}/replays/{}", started["replay_id"].as_str().unwrap())).await.ok(200);
        assert_eq!((&ended["replayed"], &ended["skipped"]), (&json!(done.0), &json!(done.1)), "{body}");
    }
    assert_eq!(stage.get(DLQ).await.ok(200)["dead_letters"], json!([]));
}

#[tokio::test]
async fn a_replay_under_an_idempotency_key_starts_once() {
    let (_sandbox, stage, _) = with_dead(1).await;
    let token = stage.token("acme", Role::Admin);
    let start = async |body: &Value| {
        Said::of(stage.request("POST", &format!("{DLQ}/replay")).bearer_auth(&token).header("idempotency-key", "r-1").json(body)).await
    };
    let first = start(&json!({"filter": {}})).await.ok(202);
    assert_eq!(start(&json!({"filter": {}})).await.ok(202)["replay_id"], first["replay_id"]);
    assert_eq!(start(&json!({"filter": {}, "accept_duplicates": true})).await.refused(409), "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn discarded_letters_are_gone_for_good_and_the_note_is_audited() {
    let (_sandbox, stage, ids) = with_dead(2).await;
    let said = act(&stage, "discard", &json!({"ids": [ids[0]], "note": "test data"})).await.ok(200);
    assert_eq!((&said["matched"], &said["discarded"]), (&json!(1), &json!(1)));
    assert_eq!(stage.by(Role::Member, "GET", &format!("{DLQ}/{}", ids[0]), None).await.refused(404), "NOT_FOUND");
    let again = act(&stage, "discard", &json!({"ids": [ids[0]]})).await.ok(200);
    assert_eq!((&again["matched"], &again["discarded"]), (&json!(0), &json!(0)));
    assert!(stage.acts().await.iter().any(|(action, object, _)| action == "dead_letters.discarded" && *object == ids[0]));
    let sum = stage.get("/api/v1/reconciliation").await.ok(200);
    assert_eq!((&sum["states"]["discarded"], &sum["states"]["dead"], &sum["closes"]), (&json!(1), &json!(1), &json!(true)));
}

#[tokio::test]
async fn a_stranger_neither_replays_nor_discards() {
    let (_sandbox, stage, ids) = with_dead(1).await;
    let stranger = stage.token("globex", Role::Owner);
    for verb in ["replay", "discard"] {
        let said = stage.ask("POST", &format!("{DLQ}/{verb}"), Some(&stranger), Some(&json!({"ids": ids}))).await;
        assert_eq!(said.json()["matched"], 0, "{}", said.text());
    }
    while stage.engine.run_replays().await.unwrap() {}
    assert_eq!(stage.get(DLQ).await.ok(200)["dead_letters"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn choices_that_make_no_sense_are_refused_by_field() {
    let (_sandbox, stage, ids) = with_dead(1).await;
    let before = stage.effects().await;
    for (body, pointer) in [
        (json!({}), ""),
        (json!({"ids": ids, "filter": {}}), ""),
        (json!({"ids": []}), "/ids"),
        (json!({"ids": [ids[0], "conv_1"]}), "/ids/1"),
        (json!({"filter": {"since": "yesterday"}}), "/filter/since"),
        (json!({"filter": {}, "note": "n".repeat(501)}), "/note"),
        (json!({"filter": {}, "everything": true}), "/everything"),
    ] {
        for verb in ["replay", "discard"] {
            assert_eq!(act(&stage, verb, &body).await.faults()[0].0, pointer, "{verb} {body}");
        }
    }
    for rate in ["", "5", "0/s", "-1/s", "1001/s", "1/d", "/s", "1.5/s"] {
        assert_eq!(act(&stage, "replay", &json!({"filter": {}, "rate": rate})).await.faults()[0].0, "/rate", "{rate}");
    }
    assert_eq!(stage.effects().await, before);
}
