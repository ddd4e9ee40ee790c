//! How fast leads and conversions of requests are read, judged, scored and written for sealing, on one core.
//!
//! `cargo bench -p adsengineer-core --bench lead [-- ROUNDS]`

use std::{hint::black_box, io::Write as _, time::Duration};

use adsengineer_core::{
    conversion::request::parse_conversions,
    lead::{Judged, Lead, parse_leads},
    scoring::ScoringRules,
};

const NOW: i64 = 1_795_010_700;

const LEAD: &str = r#"{"external_id":"crm-000123","site_id":"www.example.com","email":"Person.123@Example.com","phone":"+49 151 23456789",
"gclid":"CjwKCAiA00000001BhBgEiwA_test00000001","landing_page":"https://www.example.com/offer?utm_source=google","utm":{"source":"google",
"medium":"cpc","campaign":"brand"},"company":"Lovelace Ltd","tags":["hot","new roof"],"budget":"15.000 €","occurred_at":"2026-11-18T14:05:00Z",
"consent":{"storage":"granted","ad_user_data":"granted","ad_personalization":"denied","method":"form_checkbox","at":"2026-11-18T14:04:58Z","text_version":"v3"}}"#;

const CONVERSION: &str = r#"{"action":"Qualified lead","occurred_at":"2026-11-18T14:05:00Z","value":"120.50","currency":"EUR","order_id":"A-1001",
"gclid":"CjwKCAiA00000001BhBgEiwA_test00000001","consent":{"ad_user_data":"granted","ad_personalization":"denied"}}"#;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn timed(rounds: u32, mut work: impl FnMut()) -> Duration {
    let start = std::time::Instant::now();
    (0..rounds).for_each(|_| work());
    start.elapsed() / rounds
}

fn lead() -> Option<Lead> {
    match parse_leads(LEAD.as_bytes(), 1, NOW).ok()?.leads.pop()? {
        Judged::Lead(lead) => Some(*lead),
        Judged::Denied { .. } => None,
    }
}

fn main() {
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(200_000);
    let Some(lead) = lead() else { return };
    let rules = ScoringRules::default();
    let hundred = |item: &str| format!("[{}]", vec![item; 100].join(","));
    let (leads, conversions) = (hundred(LEAD), hundred(CONVERSION));
    let mut out = std::io::stdout();
    let mut tell = |what: &str, each: Duration| {
        let _ = writeln!(out, "{what}: {each:?}");
    };
    tell("read and judge one lead", timed(rounds, || drop(black_box(parse_leads(LEAD.as_bytes(), 1, NOW)))));
    tell("read and judge a hundred leads", timed(rounds / 100, || drop(black_box(parse_leads(leads.as_bytes(), 1000, NOW)))));
    tell("score a lead", timed(rounds, || drop(black_box(rules.score(black_box(&lead))))));
    tell("write a lead for sealing", timed(rounds, || drop(black_box(serde_json::to_vec(black_box(&lead))))));
    tell("read and judge one conversion", timed(rounds, || drop(black_box(parse_conversions(CONVERSION.as_bytes(), 1, NOW)))));
    tell(
        "read and judge a hundred conversions",
        timed(rounds / 100, || drop(black_box(parse_conversions(conversions.as_bytes(), 2000, NOW)))),
    );
}
