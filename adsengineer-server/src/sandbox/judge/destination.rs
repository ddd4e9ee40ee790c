//! What a destination must hold: known accounts and actions, ids in their form. Pure.

use std::collections::BTreeSet;

use super::{Found, Rules};
use crate::sandbox::{
    format,
    wire::{Account, AccountType, Destination, Request},
};

const MAX_DESTINATIONS: usize = 10;

impl Found {
    pub(super) fn destinations(&mut self, request: &Request<'_>, rules: &Rules) {
        let count = request.destinations.len();
        if count == 0 {
            self.missing("destinations".into());
        } else if count > MAX_DESTINATIONS {
            self.add("destinations".into(), format!("{count} destinations; {MAX_DESTINATIONS} is the most."), "TOO_MANY_DESTINATIONS");
        }
        let mut references = BTreeSet::new();
        for (index, (destination, _)) in request.destinations.iter().enumerate() {
            let place = format!("destinations[{index}]");
            if let Some(reference) = &destination.reference
                && !references.insert(reference)
            {
                self.add(format!("{place}.reference"), "The reference is used twice.", "DUPLICATE_DESTINATION_REFERENCE");
            }
            self.accounts(&place, destination);
            self.action(&place, destination, rules);
        }
    }

    fn accounts(&mut self, place: &str, destination: &Destination) {
        match &destination.operating_account {
            None => self.missing(format!("{place}.operating_account")),
            Some(account) => self.account(&format!("{place}.operating_account"), account, true),
        }
        if let Some(account) = &destination.login_account {
            self.account(&format!("{place}.login_account"), account, false);
        }
        if let Some(account) = &destination.linked_account {
            self.account(&format!("{place}.linked_account"), account, false);
        }
    }

    fn account(&mut self, place: &str, account: &Account, must_be_ads: bool) {
        match account.account_type.or(account.product) {
            None | Some(AccountType::Unspecified) => self.missing(format!("{place}.account_type")),
            Some(kind) if must_be_ads && kind != AccountType::GoogleAds => {
                self.add(format!("{place}.account_type"), "Only Google Ads accounts take these events here.", "INVALID_DESTINATION");
            }
            Some(_) => {}
        }
        match account.account_id.as_deref() {
            None | Some("") => self.missing(format!("{place}.account_id")),
            Some(id) if id.len() != 10 || !format::digits(id) => {
                self.add(format!("{place}.account_id"), "An account id is ten digits without hyphens.", "INVALID_FORMAT");
            }
            Some(_) => {}
        }
    }

    fn action(&mut self, place: &str, destination: &Destination, rules: &Rules) {
        let field = format!("{place}.product_destination_id");
        let account = destination.operating_account.as_ref().and_then(|account| account.account_id.as_deref()).unwrap_or_default();
        match destination.product_destination_id.as_deref() {
            None | Some("") => self.missing(field),
            Some(id) if !format::digits(id) => self.add(field, "The id must be a number.", "INVALID_FORMAT"),
            Some(id) if rules.actions.as_ref().is_some_and(|known| !known.contains(&(account.to_owned(), id.to_owned()))) => {
                self.add(field, "The conversion action does not exist in the account.", "INVALID_CONVERSION_ACTION_ID");
            }
            Some(_) => {}
        }
    }
}
