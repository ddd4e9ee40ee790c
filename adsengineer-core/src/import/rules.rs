//! Judges the cells of one row: what they mean, and everything that is wrong with them.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    candidate::{Adjustment, Candidate, Change, Target},
    cells::Cells,
    columns::Column,
    damage,
    found::Found,
    identifiers,
    options::{Decimal, Options},
    reader::Context,
    value,
    zone::{NoInstant, Times},
};
use crate::{
    click_id::ClickIdKind,
    consent::{AdConsent, ConsentState},
    conversion::{KeyPrefix, KeySubject},
    finding::{Code, shown},
    money::{Currency, Money},
    org::OrgId,
    preflight,
};

/// Actions remembered at once; a file that names more of them hashes their names again.
const ACTIONS_MAX: usize = 64;

/// What a row turned out to be.
pub(crate) enum Verdict<'a> {
    Conversion(Candidate<'a>),
    Adjustment(Adjustment<'a>),
    /// The person said no.
    Denied,
    /// For the reasons found.
    Refused,
}

/// Where a conversion's person, clicks and consent come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Person {
    /// The row must name somebody who agreed.
    InRow,
    /// They are known already; what the row says all the same is judged.
    Known,
}

/// The rules of one file.
pub(crate) struct Rules {
    org: OrgId,
    now: i64,
    times: Times,
    decimal: Decimal,
    default_consent: Option<ConsentState>,
    default_action: Option<Box<str>>,
    actions: Vec<(Arc<str>, KeyPrefix)>,
    last_action: usize,
    /// An order id of more than 15 digits that a spreadsheet has not cut was seen, so none is.
    long_order_ids_are_sound: bool,
    /// No spreadsheet can have cut digits off.
    no_spreadsheets: bool,
}

impl Rules {
    pub(crate) fn new(context: &Context, options: &Options, times: Times) -> Self {
        Self {
            org: context.org.clone(),
            now: context.now.as_second(),
            times,
            decimal: options.decimal,
            default_consent: options.default_consent,
            default_action: options.default_action.as_deref().map(str::trim).filter(|name| !name.is_empty()).map(Into::into),
            actions: Vec::new(),
            last_action: 0,
            long_order_ids_are_sound: false,
            no_spreadsheets: false,
        }
    }

    /// The rules of texts that no spreadsheet has touched, so that long numbers are what they seem.
    pub(crate) fn without_spreadsheets(self) -> Self {
        Self { long_order_ids_are_sound: true, no_spreadsheets: true, ..self }
    }

    /// Judges a row that describes a conversion. Consent comes first: of a person who said no, nothing else is looked at.
    pub(crate) fn conversion<'a>(&mut self, cells: &Cells<'a>, person: Person, found: &mut Found) -> Verdict<'a> {
        let Some(consent) = self.consent(cells, person, found) else { return Verdict::Denied };
        let action = self.action(cells, found);
        let occurred_at = self.time(Column::Time, cells, found);
        if let Some(time) = occurred_at {
            found.take(Column::Time, preflight::age(time, self.now));
        }
        let value = self.money(Column::Value, Column::Currency, cells, found);
        if value.is_none() && cells.get(Column::Value).is_empty() && !cells.is_broken(Column::Value) {
            found.warn(Column::Value, Code::ValueMissing, "the value is empty: the action's default value counts");
        }
        let order_id = self.order(cells, found);
        let click_id = click(cells, !self.no_spreadsheets, found);
        let identifiers = identifiers::read(cells, click_id.is_some() || person == Person::Known, found);
        let (true, Some(action), Some(occurred_at)) = (found.errors.is_empty(), action, occurred_at) else { return Verdict::Refused };
        let Ok(instant) = Timestamp::from_second(occurred_at) else { return Verdict::Refused };
        let subject = match (order_id, click_id) {
            (Some(order), _) => KeySubject::Order(order),
            (None, Some((_, click))) => KeySubject::Click(click),
            (None, None) => KeySubject::Identifiers(&identifiers),
        };
        let (action, prefix) = &self.actions[action];
        let natural_key = prefix.key(subject, occurred_at);
        let action = action.clone();
        Verdict::Conversion(Candidate { action, occurred_at: instant, value, order_id, click_id, identifiers, consent, natural_key })
    }

    /// Judges a row that changes an earlier conversion.
    pub(crate) fn adjustment<'a>(&mut self, cells: &Cells<'a>, found: &mut Found) -> Verdict<'a> {
        let action = self.action(cells, found);
        let adjusted_at = self.time(Column::AdjustmentTime, cells, found);
        if let Some(time) = adjusted_at.filter(|time| *time > self.now) {
            found.take(Column::AdjustmentTime, preflight::age(time, self.now));
        }
        let change = self.change(cells, found);
        let order_id = self.order(cells, found);
        let click_id = click(cells, !self.no_spreadsheets, found);
        let by_click = order_id.is_none().then_some(click_id).flatten();
        let occurred_at = by_click.and_then(|_| self.time(Column::Time, cells, found));
        if let (Some(before), Some(after)) = (occurred_at, adjusted_at)
            && after < before
        {
            found.error(Column::AdjustmentTime, Code::AdjustmentBeforeConversion, Code::AdjustmentBeforeConversion.meaning());
        }
        if order_id.is_none() && click_id.is_none() && found.errors.is_empty() {
            found.refuse(Code::NoIdentifier, "the row names neither an order id nor a click id");
        }
        let (true, Some(action), Some(at), Some(change)) = (found.errors.is_empty(), action, adjusted_at, change) else {
            return Verdict::Refused;
        };
        let (Ok(adjusted_at), Ok(occurred)) = (Timestamp::from_second(at), Timestamp::from_second(occurred_at.unwrap_or(0))) else {
            return Verdict::Refused;
        };
        let (target, subject) = match (order_id, by_click) {
            (Some(order), _) => (Target::Order(order), KeySubject::Order(order)),
            (None, Some((kind, click))) => (Target::Click(kind, click, occurred), KeySubject::Click(click)),
            (None, None) => return Verdict::Refused,
        };
        let (action, prefix) = &self.actions[action];
        let conversion_key = prefix.key(subject, occurred.as_second());
        Verdict::Adjustment(Adjustment { action: action.clone(), change, adjusted_at, target, conversion_key })
    }

    /// `None` if the person said no.
    fn consent(&self, cells: &Cells<'_>, person: Person, found: &mut Found) -> Option<AdConsent> {
        let mut read = |column: Column| {
            let text = cells.get(column);
            if text.is_empty() || text.eq_ignore_ascii_case("unspecified") {
                return None;
            }
            text.parse::<ConsentState>().map_err(|_| found.error(column, Code::InvalidConsent, Code::InvalidConsent.meaning())).ok()
        };
        let ad_user_data = read(Column::AdUserData);
        let ad_personalization = read(Column::AdPersonalization);
        let told = found.errors.iter().any(|finding| finding.code == Code::InvalidConsent) || cells.is_broken(Column::AdUserData);
        let consent = AdConsent { ad_user_data, ad_personalization };
        let consent = if told { consent } else { consent.or_default(self.default_consent) };
        match consent.permit() {
            Err(crate::consent::NoPermit::Refused(_)) => return None,
            Err(_) if !told && person == Person::InRow => found.refuse(Code::ConsentRequired, Code::ConsentRequired.meaning()),
            _ => {}
        }
        Some(consent)
    }

    /// The action's place in `actions`.
    fn action(&mut self, cells: &Cells<'_>, found: &mut Found) -> Option<usize> {
        let name = match (cells.get(Column::Action), &self.default_action) {
            ("", Some(default)) => default,
            (name, _) => name,
        };
        if self.actions.get(self.last_action).is_some_and(|(known, _)| **known == *name) {
            return Some(self.last_action);
        }
        if name.is_empty() {
            if !cells.is_broken(Column::Action) {
                found.error(Column::Action, Code::ActionMissing, Code::ActionMissing.meaning());
            }
            return None;
        }
        self.last_action = self.actions.iter().position(|(known, _)| **known == *name).unwrap_or_else(|| {
            if self.actions.len() == ACTIONS_MAX {
                self.actions.clear();
            }
            self.actions.push((name.into(), KeyPrefix::new(&self.org, name)));
            self.actions.len() - 1
        });
        Some(self.last_action)
    }

    fn time(&mut self, column: Column, cells: &Cells<'_>, found: &mut Found) -> Option<i64> {
        let text = cells.get(column);
        if text.is_empty() {
            if !cells.is_broken(column) {
                found.error(column, Code::TimeMissing, "the time is empty");
            }
            return None;
        }
        match self.times.instant(text) {
            Ok(instant) => Some(instant),
            Err(why) => {
                let code = match &why {
                    NoInstant::Text(_) | NoInstant::OtherFormat if damage::is_certainly_scientific(text) => Code::ScientificNotation,
                    NoInstant::Text(_) | NoInstant::OtherFormat => Code::InvalidTime,
                    NoInstant::NoZone => Code::TimeZoneMissing,
                    NoInstant::UnknownZone => Code::UnknownTimeZone,
                    NoInstant::Gap(_) => Code::TimeInDstGap,
                    NoInstant::Overlap { .. } => Code::TimeInDstOverlap,
                };
                found.error(column, code, format!("the time `{}` {why}", shown(text)));
                None
            }
        }
    }

    fn money(&self, amount: Column, currency: Column, cells: &Cells<'_>, found: &mut Found) -> Option<Money> {
        let (text, code) = (cells.get(amount), cells.get(currency));
        if text.is_empty() {
            return None;
        }
        let value =
            value::parse(text, self.decimal).map_err(|(code, reason)| found.error(amount, code, format!("{reason}: `{}`", shown(text))));
        let currency = match code {
            "" if cells.is_broken(currency) => None,
            "" => {
                found.error(currency, Code::CurrencyMissing, Code::CurrencyMissing.meaning());
                None
            }
            code => code.parse::<Currency>().map_err(|_| invalid_currency(currency, code, found)).ok(),
        };
        let money = Money { amount: value.ok()?, currency: currency? };
        if money.amount.scale() == 3 && money.currency.decimals() < 3 {
            found.warn(amount, Code::ThreeDecimals, format!("the value `{}` is read as {money}", shown(text)));
        }
        Some(money)
    }

    fn change(&self, cells: &Cells<'_>, found: &mut Found) -> Option<Change> {
        let kind = cells.get(Column::AdjustmentType);
        let is = |name: &str| kind.eq_ignore_ascii_case(name);
        if is("RETRACT") || is("RETRACTION") {
            if !cells.get(Column::AdjustedValue).is_empty() {
                found.warn(Column::AdjustedValue, Code::AdjustedValueIgnored, Code::AdjustedValueIgnored.meaning());
            }
            return Some(Change::Retract);
        }
        if !is("RESTATE") && !is("RESTATEMENT") {
            if !cells.is_broken(Column::AdjustmentType) {
                found.error(Column::AdjustmentType, Code::InvalidAdjustmentType, Code::InvalidAdjustmentType.meaning());
            }
            return None;
        }
        if cells.get(Column::AdjustedValue).is_empty() && !cells.is_broken(Column::AdjustedValue) {
            found.error(Column::AdjustedValue, Code::AdjustedValueMissing, Code::AdjustedValueMissing.meaning());
        }
        self.money(Column::AdjustedValue, Column::AdjustedCurrency, cells, found).map(Change::Restate)
    }

    fn order<'a>(&mut self, cells: &Cells<'a>, found: &mut Found) -> Option<&'a str> {
        let text = cells.get(Column::OrderId);
        if text.is_empty() {
            return None;
        }
        if damage::is_certainly_scientific(text) {
            found.error(Column::OrderId, Code::ScientificNotation, "the order id is in scientific notation");
            return None;
        }
        match damage::lost_digits(text) {
            Some(true) if !self.long_order_ids_are_sound => {
                found.error(Column::OrderId, Code::DigitsLost, "the order id has zeros from the 16th digit on");
                return None;
            }
            Some(false) => self.long_order_ids_are_sound = true,
            _ => {}
        }
        found.take(Column::OrderId, preflight::order(text));
        Some(text)
    }
}

fn invalid_currency(column: Column, text: &str, found: &mut Found) {
    let reason = format!("`{}` is not a current ISO 4217 currency", shown(text));
    found.error(column, Code::InvalidCurrency, reason);
}

/// The row's one click id.
fn click<'a>(cells: &Cells<'a>, may_be_cut: bool, found: &mut Found) -> Option<(ClickIdKind, &'a str)> {
    let kinds = [ClickIdKind::Gclid, ClickIdKind::Gbraid, ClickIdKind::Wbraid];
    let mut given = None;
    for (column, kind) in Column::CLICK_IDS.into_iter().zip(kinds) {
        let text = cells.get(column);
        if text.is_empty() {
            continue;
        }
        if given.is_some() {
            found.error(column, Code::TwoClickIds, Code::TwoClickIds.meaning());
            break;
        }
        given = Some((kind, text));
        if damage::is_certainly_scientific(text) {
            found.error(column, Code::ScientificNotation, "the click id is in scientific notation");
        } else if may_be_cut && damage::lost_digits(text) == Some(true) {
            found.error(column, Code::DigitsLost, "the click id has zeros from the 16th digit on");
        } else {
            found.take(column, preflight::click(text));
        }
    }
    given
}
