//! Who a row is about: e-mail address, phone number, name and address.

use super::{cells::Cells, columns::Column, found::Found};
use crate::{
    finding::Code,
    identity::{self, Identifiers, InvalidPhone},
};

/// Reads the identifiers of a row. One that cannot be used refuses the row only if nothing else names the person.
pub(crate) fn read(cells: &Cells<'_>, has_click: bool, found: &mut Found) -> Identifiers {
    let [email, phone] = [Column::Email, Column::Phone].map(|column| cells.get(column));
    let names = [Column::FirstName, Column::LastName, Column::Country, Column::Zip];
    let nothing = email.is_empty() && phone.is_empty() && names.iter().all(|column| cells.get(*column).is_empty());
    let mut person = Identifiers::default();
    let mut unusable = Vec::new();
    if !nothing {
        person.country = country(cells, found);
        person.first_name = identity::name(cells.get(Column::FirstName));
        person.last_name = identity::name(cells.get(Column::LastName));
        person.postal_code = Some(cells.get(Column::Zip)).filter(|zip| !zip.is_empty()).map(Into::into);
        if !email.is_empty() {
            match identity::email(email) {
                Ok(identifier) => person.email = Some(identifier),
                Err(why) => unusable.push((Column::Email, Code::InvalidEmail, why.to_string())),
            }
        }
        if !phone.is_empty() {
            match identity::phone(phone, person.country.as_deref()) {
                Ok(identifier) => person.phone = Some(identifier),
                Err(why) => unusable.push((Column::Phone, phone_code(phone, why), why.to_string())),
            }
        }
    }
    let named = has_click || person.can_match();
    if !named && unusable.is_empty() && !any_broken(cells) {
        found.refuse(Code::NoIdentifier, Code::NoIdentifier.meaning());
    }
    for (column, code, reason) in unusable {
        if named && code != Code::ScientificNotation {
            found.warn(column, code, format!("{reason}; it is left out"));
        } else {
            found.error(column, code, reason);
        }
    }
    person
}

fn phone_code(text: &str, why: InvalidPhone) -> Code {
    match why {
        _ if super::damage::is_certainly_scientific(text) => Code::ScientificNotation,
        InvalidPhone::NoCountry => Code::PhoneNeedsCountry,
        _ => Code::InvalidPhone,
    }
}

fn any_broken(cells: &Cells<'_>) -> bool {
    Column::CLICK_IDS.into_iter().chain([Column::Email, Column::Phone]).any(|column| cells.is_broken(column))
}

fn country(cells: &Cells<'_>, found: &mut Found) -> Option<Box<str>> {
    let text = cells.get(Column::Country);
    if text.is_empty() {
        return None;
    }
    if text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Some(text.to_ascii_uppercase().into());
    }
    found.warn(Column::Country, Code::InvalidCountry, Code::InvalidCountry.meaning());
    None
}
