//! Words and rules alone: no runtime, no database, no network.
//!
//! `cargo run -p adsengineer-core --example rules_only --no-default-features`

use std::io::Write;

use adsengineer_core::{
    lead::{Judged, parse_leads},
    scoring::ScoringRules,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let body = br#"{"email": "ada@example.com", "phone": "+49 151 23456789", "tags": ["hot"],
        "consent": {"storage": "granted", "ad_user_data": "granted"}}"#;
    let now_s = 1_795_000_000;
    for judged in parse_leads(body, 100, now_s)?.leads {
        let Judged::Lead(lead) = judged else { continue };
        let score = ScoringRules::default().score(&lead);
        let mut out = std::io::stdout();
        writeln!(out, "score {}, worth {} cents, may be sent: {}", score.score, score.value_cents, lead.consent.ads().permit().is_ok())?;
        for part in score.breakdown {
            writeln!(out, "  {}: {:+} points", part.what, part.points)?;
        }
    }
    Ok(())
}
