//! The line of business that a lead's words tell.

use serde::{Deserialize, Serialize};

use crate::lead::Lead;

/// A line of business and the phrases that tell it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vertical {
    /// Its name, for example `real_estate`.
    pub name: Box<str>,
    /// Whole words or phrases, in any case.
    pub keywords: Vec<Box<str>>,
}

/// The lines that are known from the start.
pub(super) fn defaults() -> Vec<Vertical> {
    let vertical = |name: &str, keywords: &[&str]| Vertical { name: name.into(), keywords: keywords.iter().map(|k| (*k).into()).collect() };
    vec![
        vertical("real_estate", &["real estate", "realtor"]),
        vertical("dental", &["dental"]),
        vertical("legal", &["legal", "law"]),
        vertical("hvac", &["hvac"]),
        vertical("roofing", &["roofing", "roof"]),
        vertical("ecommerce", &["ecommerce", "shopify"]),
    ]
}

/// The lead's line: what it says itself, else what its tags or its source say.
pub(super) fn of(lead: &Lead, verticals: &[Vertical]) -> Option<Box<str>> {
    if let Some(own) = &lead.vertical {
        return Some(told_by(own, verticals).map_or_else(|| own.clone(), |vertical| vertical.name.clone()));
    }
    let texts = lead.tags.iter().chain(&lead.utm.source);
    texts.into_iter().find_map(|text| told_by(text, verticals)).map(|vertical| vertical.name.clone())
}

fn told_by<'a>(text: &str, verticals: &'a [Vertical]) -> Option<&'a Vertical> {
    verticals.iter().find(|vertical| vertical.keywords.iter().any(|keyword| has_phrase(text, keyword)))
}

/// Whether the words of `phrase` stand in `text` one after the other, in any case and with ASCII between them that
/// is neither letter nor digit: `Real-Estate agents` has `real estate`, `lawn care` has no `law`.
pub fn has_phrase(text: &str, phrase: &str) -> bool {
    let mut rest = words(text);
    loop {
        let mut here = rest.clone();
        if words(phrase).all(|word| here.next().is_some_and(|w| w.eq_ignore_ascii_case(word))) {
            return words(phrase).next().is_some();
        }
        if rest.next().is_none() {
            return false;
        }
    }
}

/// Runs of ASCII letters and digits and of anything beyond ASCII.
fn words(text: &str) -> impl Iterator<Item = &[u8]> + Clone {
    text.as_bytes().split(|b| !b.is_ascii_alphanumeric() && b.is_ascii()).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vertical(lead: &Lead) -> Option<Box<str>> {
        of(lead, &defaults())
    }

    #[test]
    fn whole_words_of_tags_and_source_tell_the_vertical() {
        for (tag, expected) in [
            ("Real Estate", Some("real_estate")),
            ("real-estate lead", Some("real_estate")),
            ("REALTOR", Some("real_estate")),
            ("Dental", Some("dental")),
            ("family law", Some("legal")),
            ("HVAC", Some("hvac")),
            ("new_roof", Some("roofing")),
            ("Shopify", Some("ecommerce")),
            ("lawn care", None),
            ("waterproof", None),
            ("real big estate", None),
            ("", None),
        ] {
            let tagged = Lead { tags: vec!["vip".into(), tag.into()], ..Lead::default() };
            assert_eq!(vertical(&tagged).as_deref(), expected, "{tag}");
        }
        let mut sourced = Lead::default();
        sourced.utm.source = Some("shopify".into());
        assert_eq!(vertical(&sourced).as_deref(), Some("ecommerce"));
    }

    #[test]
    fn what_the_lead_says_itself_wins() {
        let own = |text: &str| Lead { vertical: Some(text.into()), tags: vec!["dental".into()], ..Lead::default() };
        assert_eq!(vertical(&own("Roofing")).as_deref(), Some("roofing"));
        assert_eq!(vertical(&own("astrology")).as_deref(), Some("astrology"));
    }

    #[test]
    fn a_phrase_without_words_is_in_nothing() {
        assert!(!has_phrase("anything", "--") && !has_phrase("", ""));
    }
}
