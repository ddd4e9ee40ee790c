//! The same judgement for conversions that come one by one, as over the API.

use super::{
    found::Found,
    json,
    opening::times,
    options::Options,
    reader::{Context, FileFault, RowKind},
    rules::{Person, Rules, Verdict},
    zone::Times,
};
use crate::{conversion::input::ConversionInput, finding::Finding};

/// Judges conversions in their JSON form. Whether two are the same is for the caller to find out.
pub struct Judge {
    rules: Rules,
    found: Found,
    /// Whether the texts may have been through a spreadsheet.
    may_be_damaged: bool,
}

/// What a conversion means, and remarks on it.
#[derive(Debug)]
pub struct Judged<'a> {
    /// What it means; never an adjustment, never skipped.
    pub kind: RowKind<'a>,
    /// Remarks; it goes in all the same.
    pub warnings: &'a [Finding],
}

impl Judge {
    /// A judge that applies zone, format, decimal sign, consent and action of `options`.
    pub fn new(options: &Options, context: &Context) -> Result<Self, FileFault> {
        Ok(Self { rules: Rules::new(context, options, times(options, None)?), found: Found::new(json::titles()), may_be_damaged: true })
    }

    /// A judge for requests, which have no flags.
    pub(crate) fn of_requests(context: &Context) -> Self {
        let times = Times::new(None, None, jiff::tz::TimeZoneDatabase::bundled());
        let rules = Rules::new(context, &Options::default(), times).without_spreadsheets();
        Self { rules, found: Found::new(json::titles()), may_be_damaged: false }
    }

    /// Judges `input`, the `index`th of its request; findings carry the index as their row. One that names a lead may
    /// leave click ids, identifiers and consent to it.
    pub fn conversion<'a>(&'a mut self, index: u64, input: &'a ConversionInput) -> Judged<'a> {
        self.found.start(index);
        let cells = if self.may_be_damaged { json::cells(input, &mut self.found) } else { json::sound_cells(input) };
        let person = if input.lead_id.is_some() { Person::Known } else { Person::InRow };
        let kind = match self.rules.conversion(&cells, person, &mut self.found) {
            Verdict::Conversion(candidate) => RowKind::Conversion(candidate),
            Verdict::Adjustment(adjustment) => RowKind::Adjustment(adjustment),
            Verdict::Denied => RowKind::Denied,
            Verdict::Refused => RowKind::Refused(&self.found.errors),
        };
        let warnings = if matches!(kind, RowKind::Denied) { &[] } else { &self.found.warnings[..] };
        Judged { kind, warnings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge() -> Judge {
        let context = Context { org: "default".parse().unwrap(), now: "2026-11-20T12:00:00Z".parse().unwrap() };
        Judge::new(&Options::default(), &context).unwrap()
    }

    #[test]
    fn conversions_of_a_request_are_judged_like_rows_of_a_file() {
        let mut judge = judge();
        let input = |json: &str| serde_json::from_str::<ConversionInput>(json).unwrap();
        let good = input(r#"{"action":"Lead","occurred_at":"2026-11-18T14:05:00Z","gclid":"Cj0A","consent":{"ad_user_data":"granted"}}"#);
        let judged = judge.conversion(0, &good);
        assert!(matches!(judged.kind, RowKind::Conversion(_)) && judged.warnings.len() == 1);
        let denied = input(r#"{"gclid":"a b","consent":{"ad_user_data":"denied"}}"#);
        let judged = judge.conversion(1, &denied);
        assert!(matches!(judged.kind, RowKind::Denied) && judged.warnings.is_empty());
        let bad = input(r#"{"action":"Lead","occurred_at":"2026-11-18T14:05:00Z","gclid":"a b","consent":{"ad_user_data":"granted"}}"#);
        let RowKind::Refused([finding]) = judge.conversion(2, &bad).kind else { panic!("not refused by one finding") };
        assert_eq!((finding.row, finding.column.as_deref(), finding.code.as_str()), (Some(2), Some("gclid"), "INVALID_CLICK_ID"));
    }
}
