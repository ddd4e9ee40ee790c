//! What a lead is probably worth: points and a multiplier for what is known of it.
//!
//! Whole numbers only; every number is an organization's to set. The parts of a score are kept with the lead, so that
//! it can be explained.
//!
//! ```
//! use adsengineer_core::{lead::Lead, scoring::ScoringRules};
//!
//! let lead = Lead { company: Some("Lovelace Ltd".into()), budget: Some("15k".into()), ..Lead::default() };
//! let score = ScoringRules::default().score(&lead);
//! assert_eq!((score.score, score.value_cents, score.qualified), (75, 15_000, true));
//! ```

use std::{borrow::Cow, collections::HashMap};

use serde::{Deserialize, Serialize};

pub use budget::read as read_budget;
pub use vertical::{Vertical, has_phrase};

use crate::{lead::Lead, org::OrgId};

mod budget;
mod vertical;

/// What one thing that is known adds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adder {
    /// Points of the score.
    pub points: i32,
    /// Percent of the base value: 20 makes a multiplier of 1.0 into 1.2.
    pub percent: i32,
}

/// An organization's rules; missing ones are the defaults.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoringRules {
    /// What every lead starts with.
    pub base: Adder,
    /// What a lead is worth at 100 percent, in cents.
    pub base_cents: i64,
    /// For a phone number.
    pub phone: Adder,
    /// For one of `hot_tags`, once.
    pub tag: Adder,
    /// Tags that count, in any case.
    pub hot_tags: Vec<Box<str>>,
    /// For a budget over `budget_over`.
    pub budget: Adder,
    /// In whole units of whatever currency the budget names.
    pub budget_over: u64,
    /// For a company name.
    pub company: Adder,
    /// From this score on a lead is qualified.
    pub qualified_at: u8,
    /// Lines of business and the words that tell them.
    pub verticals: Vec<Vertical>,
}

impl Default for ScoringRules {
    fn default() -> Self {
        Self {
            base: Adder { points: 50, percent: 100 },
            base_cents: 10_000,
            phone: Adder { points: 10, percent: 20 },
            tag: Adder { points: 20, percent: 50 },
            hot_tags: vec!["qualified".into(), "hot".into()],
            budget: Adder { points: 15, percent: 30 },
            budget_over: 10_000,
            company: Adder { points: 10, percent: 20 },
            qualified_at: 70,
            verticals: vertical::defaults(),
        }
    }
}

/// Everybody's rules.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scoring {
    /// Of organizations that have none of their own.
    pub usual: ScoringRules,
    /// An organization's own.
    pub own: HashMap<OrgId, ScoringRules>,
}

impl Scoring {
    /// The organization's rules.
    pub fn of(&self, org: &OrgId) -> &ScoringRules {
        self.own.get(org).unwrap_or(&self.usual)
    }
}

/// What a lead is probably worth, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Score {
    /// 0 to 100.
    pub score: u8,
    /// In cents; never below zero.
    pub value_cents: i64,
    /// What the base value was multiplied by, in percent: 120 is 1.2.
    pub multiplier_percent: i32,
    /// Whether the score is high enough.
    pub qualified: bool,
    /// The line of business.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vertical: Option<Box<str>>,
    /// What made the score, in order.
    pub breakdown: Vec<Part>,
}

/// One part of a score.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Part {
    /// What is known: `base`, `phone`, `tag`, `budget`, `company`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub what: Cow<'static, str>,
    /// The points for it.
    pub points: i32,
    /// The percent for it.
    pub percent: i32,
}

impl ScoringRules {
    /// Scores `lead`.
    pub fn score(&self, lead: &Lead) -> Score {
        let mut breakdown = Vec::with_capacity(5);
        let (mut points, mut percent) = (0_i32, 0_i32);
        let mut add = |what: &'static str, adder: Adder| {
            points = points.saturating_add(adder.points);
            percent = percent.saturating_add(adder.percent);
            breakdown.push(Part { what: Cow::Borrowed(what), points: adder.points, percent: adder.percent });
        };
        add("base", self.base);
        if lead.phone.is_some() {
            add("phone", self.phone);
        }
        if lead.tags.iter().any(|tag| self.is_hot(tag)) {
            add("tag", self.tag);
        }
        if lead.budget.as_deref().and_then(read_budget).is_some_and(|cents| cents > self.budget_over.saturating_mul(100)) {
            add("budget", self.budget);
        }
        if lead.company.is_some() {
            add("company", self.company);
        }
        let score = u8::try_from(points.clamp(0, 100)).unwrap_or(100);
        Score {
            score,
            value_cents: share(self.base_cents, percent),
            multiplier_percent: percent,
            qualified: score >= self.qualified_at,
            vertical: vertical::of(lead, &self.verticals),
            breakdown,
        }
    }

    fn is_hot(&self, tag: &str) -> bool {
        self.hot_tags.iter().any(|hot| hot.eq_ignore_ascii_case(tag.trim()))
    }
}

/// `percent` of `cents`, rounded half up, not below zero.
fn share(cents: i64, percent: i32) -> i64 {
    let product = i128::from(cents) * i128::from(percent);
    i64::try_from((product + 50).div_euclid(100)).unwrap_or(i64::MAX).max(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::Identifier;

    fn lead(phone: bool, tags: &[&str], budget: Option<&str>, company: bool) -> Lead {
        Lead {
            phone: phone.then(|| Identifier::Plain("+4915123456789".into())),
            tags: tags.iter().map(|tag| (*tag).into()).collect(),
            budget: budget.map(Into::into),
            company: company.then(|| "Lovelace Ltd".into()),
            ..Lead::default()
        }
    }

    fn scored(lead: &Lead) -> (u8, i64, bool) {
        let score = ScoringRules::default().score(lead);
        (score.score, score.value_cents, score.qualified)
    }

    #[test]
    fn every_thing_known_adds_its_points_and_percent() {
        assert_eq!(scored(&lead(false, &[], None, false)), (50, 10_000, false));
        assert_eq!(scored(&lead(true, &[], None, false)), (60, 12_000, false));
        assert_eq!(scored(&lead(false, &["cold", "HOT"], None, false)), (70, 15_000, true));
        assert_eq!(scored(&lead(false, &[], Some("$15,000"), false)), (65, 13_000, false));
        assert_eq!(scored(&lead(false, &[], Some("10.000 €"), false)), (50, 10_000, false));
        assert_eq!(scored(&lead(false, &[], None, true)), (60, 12_000, false));
        assert_eq!(scored(&lead(true, &["hot", "Qualified", "hot"], Some("15k"), true)), (100, 22_000, true));
    }

    #[test]
    fn an_organization_may_have_rules_of_its_own() {
        let own = ScoringRules { base_cents: 500, ..ScoringRules::default() };
        let scoring = Scoring { own: [("acme".parse().unwrap(), own)].into(), ..Scoring::default() };
        let value = |org: &str| scoring.of(&org.parse().unwrap()).score(&lead(true, &[], None, false)).value_cents;
        assert_eq!((value("acme"), value("other")), (600, 12_000));
    }

    #[test]
    fn the_breakdown_adds_up_and_survives_storage() {
        let score = ScoringRules::default().score(&lead(true, &["hot"], None, true));
        assert_eq!(score.breakdown.iter().map(|part| part.points).sum::<i32>(), 90);
        assert_eq!(score.breakdown.iter().map(|part| part.percent).sum::<i32>(), score.multiplier_percent);
        let json = serde_json::to_string(&score).unwrap();
        assert!(json.ends_with(r#"{"what":"company","points":10,"percent":20}]}"#), "{json}");
        assert_eq!(serde_json::from_str::<Score>(&json).unwrap(), score);
    }

    #[test]
    fn every_number_is_configuration_and_unknown_ones_are_refused() {
        let rules: ScoringRules =
            serde_json::from_str(r#"{"base_cents":333,"phone":{"points":-60,"percent":-50},"qualified_at":0,"hot_tags":["vip"]}"#).unwrap();
        let score = rules.score(&lead(true, &["hot"], None, false));
        assert_eq!((score.score, score.value_cents, score.qualified), (0, 167, true));
        assert_eq!(rules.score(&lead(false, &["VIP"], None, false)).score, 70);
        for bad in [r#"{"bonus":1}"#, r#"{"phone":{"points":1,"percent":2,"x":3}}"#, r#"{"phone":{"points":0.5,"percent":0}}"#] {
            assert!(serde_json::from_str::<ScoringRules>(bad).is_err(), "{bad}");
        }
        let json = serde_json::to_string(&ScoringRules::default()).unwrap();
        assert_eq!(serde_json::from_str::<ScoringRules>(&json).unwrap(), ScoringRules::default());
    }

    #[test]
    fn values_are_rounded_half_up_and_never_overflow() {
        for (cents, percent, expected) in
            [(1, 50, 1), (1, 49, 0), (333, 150, 500), (0, 100, 0), (-5, 100, 0), (5, -100, 0), (i64::MAX, i32::MAX, i64::MAX)]
        {
            assert_eq!(share(cents, percent), expected, "{cents} {percent}");
        }
    }

    proptest! {
        #[test]
        fn default_scores_stay_within_their_bounds(phone: bool, tags in prop::collection::vec(".{0,12}|hot|qualified", 0..5), budget in prop::option::of(".{0,20}|[0-9.,k €]{0,12}"), company: bool) {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            let (score, cents, qualified) = scored(&lead(phone, &tags, budget.as_deref(), company));
            prop_assert!((50..=100).contains(&score) && (10_000..=22_000).contains(&cents));
            prop_assert_eq!(qualified, score >= 70);
        }
    }
}
