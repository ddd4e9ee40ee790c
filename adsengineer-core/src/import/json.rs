//! JSON lines: one conversion per line, in the words of the API.

use std::sync::Arc;

use super::{
    cells::Cells,
    columns::{COUNT, Column},
    found::Found,
};
use crate::{conversion::input::ConversionInput, finding::Code};

/// The JSON name of each column; empty where JSON has none.
const FIELDS: [(Column, &str); 16] = [
    (Column::Gclid, "gclid"),
    (Column::Gbraid, "gbraid"),
    (Column::Wbraid, "wbraid"),
    (Column::Action, "action"),
    (Column::Time, "occurred_at"),
    (Column::Value, "value"),
    (Column::Currency, "currency"),
    (Column::OrderId, "order_id"),
    (Column::AdUserData, "consent.ad_user_data"),
    (Column::AdPersonalization, "consent.ad_personalization"),
    (Column::Email, "identifiers.email"),
    (Column::Phone, "identifiers.phone"),
    (Column::FirstName, "identifiers.first_name"),
    (Column::LastName, "identifiers.last_name"),
    (Column::Country, "identifiers.country"),
    (Column::Zip, "identifiers.postal_code"),
];

/// What findings call each column.
pub(crate) fn titles() -> Vec<Arc<str>> {
    let mut titles: Vec<Arc<str>> = vec![Arc::from(""); COUNT];
    for (column, field) in FIELDS {
        titles[column as usize] = field.into();
    }
    titles
}

/// The columns under which refused lines are written, so that they can be corrected in a spreadsheet.
pub(crate) fn columns() -> Vec<Box<str>> {
    FIELDS.iter().map(|(column, _)| column.name().into()).collect()
}

/// Reads a line; `None` with the reason in `found` if it is no conversion.
pub(crate) fn parse(line: &str, found: &mut Found) -> Option<ConversionInput> {
    let input = match serde_json::from_str::<ConversionInput>(line) {
        Ok(input) => input,
        Err(why) => {
            let (code, reason) = explain(&why);
            found.refuse(code, reason);
            return None;
        }
    };
    for (key, given, hint) in [("lead_id", input.lead_id.is_some(), "a click id"), ("destinations", input.destinations.is_some(), "--to")] {
        if given {
            found.refuse(Code::UnknownKey, format!("the key `{key}` works only over the API; a file gives {hint} instead"));
        }
    }
    Some(input)
}

/// Says what is wrong without quoting values, which may be personal.
fn explain(why: &serde_json::Error) -> (Code, String) {
    let text = why.to_string();
    let at = why.column();
    match why.classify() {
        serde_json::error::Category::Data => match text.split_once('`') {
            Some(("unknown field ", rest)) => {
                let key: String = rest.split('`').next().unwrap_or("").chars().filter(|c| !c.is_control()).take(40).collect();
                (Code::UnknownKey, format!("conversions have no key `{key}`"))
            }
            Some(("duplicate field ", rest)) => {
                (Code::UnknownKey, format!("the key `{}` stands twice", rest.split('`').next().unwrap_or("")))
            }
            _ => (Code::UnknownKey, format!("a value of the wrong type at character {at}")),
        },
        serde_json::error::Category::Eof => (Code::TruncatedRow, "the line ends in the middle of an object".to_owned()),
        _ => (Code::MalformedJson, format!("the line is not a JSON object: it breaks at character {at}")),
    }
}

/// The cells of a conversion in a line of a file, looked at for the damage that spreadsheets do.
pub(crate) fn cells<'a>(input: &'a ConversionInput, found: &mut Found) -> Cells<'a> {
    let mut cells = Cells::empty();
    for (column, text) in texts(input) {
        cells.put(column, text, found);
    }
    cells
}

/// The cells of a conversion in a request, which no spreadsheet has touched.
pub(crate) fn sound_cells(input: &ConversionInput) -> Cells<'_> {
    let mut cells = Cells::empty();
    for (column, text) in texts(input) {
        // Click ids are opaque; a space in one is told, not cut off.
        cells.fill(column, if Column::CLICK_IDS.contains(&column) { text } else { text.trim() });
    }
    cells
}

fn texts(input: &ConversionInput) -> impl Iterator<Item = (Column, &str)> {
    let person = input.identifiers.as_ref();
    let consent = input.consent.as_ref();
    let texts = [
        &input.gclid,
        &input.gbraid,
        &input.wbraid,
        &input.action,
        &input.occurred_at,
        &None,
        &input.currency,
        &input.order_id,
        consent.map_or(&None, |c| &c.ad_user_data),
        consent.map_or(&None, |c| &c.ad_personalization),
        person.map_or(&None, |p| &p.email),
        person.map_or(&None, |p| &p.phone),
        person.map_or(&None, |p| &p.first_name),
        person.map_or(&None, |p| &p.last_name),
        person.map_or(&None, |p| &p.country),
        person.map_or(&None, |p| &p.postal_code),
    ];
    let texts = FIELDS.iter().zip(texts).map(|((column, _), text)| (*column, text.as_deref().unwrap_or("")));
    texts.chain([(Column::Value, input.value.as_ref().map_or("", |value| &*value.0))])
}

/// The cells of a refused line, in the order of [`columns`].
pub(crate) fn raw<'a>(cells: &Cells<'a>) -> Vec<&'a str> {
    FIELDS.iter().map(|(column, _)| cells.texts()[*column as usize]).collect()
}
