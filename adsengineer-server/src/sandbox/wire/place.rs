//! Where in an event or a destination the JSON is not the message: one level deep, as Google's front end names it. Pure.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::{Account, AdIdentifiers, Consent, UserData, UserProperties};

/// The first part that cannot be read, by its proto name; `None`: the fault is in the object itself.
pub(super) fn of_fault(raw: &RawValue) -> Option<(&'static str, serde_json::Error)> {
    let item: Value = serde_json::from_str(raw.get()).ok()?;
    fault::<AdIdentifiers>(&item, "adIdentifiers", "ad_identifiers")
        .or_else(|| fault::<UserData>(&item, "userData", "user_data"))
        .or_else(|| fault::<Consent>(&item, "consent", "consent"))
        .or_else(|| fault::<UserProperties>(&item, "userProperties", "user_properties"))
        .or_else(|| fault::<Account>(&item, "operatingAccount", "operating_account"))
        .or_else(|| fault::<Account>(&item, "loginAccount", "login_account"))
        .or_else(|| fault::<Account>(&item, "linkedAccount", "linked_account"))
}

fn fault<T: DeserializeOwned>(item: &Value, json: &str, proto: &'static str) -> Option<(&'static str, serde_json::Error)> {
    let part = item.get(json).or_else(|| item.get(proto))?;
    Option::<T>::deserialize(part).err().map(|error| (proto, error))
}
