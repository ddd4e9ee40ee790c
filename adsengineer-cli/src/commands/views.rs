//! How conversions, deliveries and dead letters look on the screen and in JSON.

use adsengineer_core::{
    delivery::State,
    destination::google::codes,
    store::{ConversionView, DeadLetter, DeliveryView},
};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

/// An instant in the machine's zone, with its offset.
pub fn local(at: Timestamp) -> String {
    at.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// The same of Unix milliseconds.
pub fn local_ms(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), local)
}

/// What a human should do about a delivery.
pub fn next_action(delivery: &DeliveryView) -> String {
    let by_code = || delivery.reason.as_deref().map_or("", codes::next_action).to_owned();
    match delivery.state {
        State::Queued | State::Retrying | State::InFlight => "nothing; `adsengineer work` sends it when it is due".to_owned(),
        State::AwaitingConfirmation => "nothing; `adsengineer work` asks for the verdict when it is due".to_owned(),
        State::Held => format!("{}; then `adsengineer work`", by_code()),
        State::Dead => format!("{}; then `adsengineer dlq replay {}`", by_code(), delivery.id),
        State::Delivered | State::DeliveredUnverified | State::Suppressed | State::Superseded | State::Discarded => "nothing".to_owned(),
    }
}

/// A delivery as JSON.
pub fn delivery_json(delivery: &DeliveryView) -> Value {
    let mut value = serde_json::to_value(delivery).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.insert("next_action".to_owned(), next_action(delivery).into());
    }
    value
}

/// A conversion as JSON.
pub fn conversion_json(conversion: &ConversionView) -> Value {
    let mut value = serde_json::to_value(conversion).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.insert("deliveries".to_owned(), conversion.deliveries.iter().map(delivery_json).collect());
    }
    value
}

/// A dead letter as JSON; personal data is not in it.
pub fn dead_letter_json(letter: &DeadLetter, org: &str) -> Value {
    let (c, d) = (&letter.conversion, &letter.delivery);
    let attempts: Vec<_> = d.history.iter().map(|a| json!({"at": a.at, "error": a.error, "detail": a.detail})).collect();
    json!({
        "id": d.id, "kind": "delivery", "conversion_id": c.id, "org_id": org, "destination": d.destination,
        "reason": d.reason, "detail": d.detail, "attempts": attempts,
        "first_failed_at": letter.first_failed_at, "died_at": letter.died_at,
        "next_action": next_action(d), "may_duplicate": letter.may_duplicate,
        "payload": {"action": c.action, "occurred_at": c.occurred_at, "value": c.value, "currency": c.currency,
            "order_id": c.order_id, "click_id": c.click_id, "click_id_kind": c.click_id_kind,
            "transaction_id": d.transaction_id, "has_identifiers": c.has_identifiers},
    })
}

/// The value with its currency, for tables.
pub fn money(conversion: &ConversionView) -> String {
    match (&conversion.value, &conversion.currency) {
        (Some(value), Some(currency)) => format!("{value} {currency}"),
        _ => "default".to_owned(),
    }
}

/// What a conversion is called in tables: its order id, else its click id.
pub fn name(conversion: &ConversionView) -> String {
    conversion.order_id.clone().or_else(|| conversion.click_id.clone()).unwrap_or_else(|| "identifiers".to_owned())
}

/// The whole story of a conversion, for people.
pub fn story(c: &ConversionView) -> String {
    let mut text = format!("{}  {}  {}  {}\n", c.id, c.action, money(c), local(c.occurred_at));
    text += &format!("  captured {}, revision {}", local(c.captured_at), c.revision);
    for (what, value) in [("order id", c.order_id.as_deref()), (c.click_id_kind.unwrap_or("click id"), c.click_id.as_deref())] {
        if let Some(value) = value {
            text += &format!(", {what} {value}");
        }
    }
    let consent = c.consent.ad_user_data.map_or("unspecified", |s| s.as_str());
    text += &format!(", consent to ad_user_data {consent}\n");
    for d in &c.deliveries {
        text += &format!("\n  {}  to {}: {}", d.id, d.destination, d.state.as_str());
        if let Some(reason) = &d.reason {
            text += &format!(" because {reason}: {}", d.detail.as_deref().unwrap_or(""));
        }
        text += &format!("\n    transaction id {}, {} attempts", d.transaction_id, d.attempts);
        for (what, at) in [("first sent", d.first_sent_at), ("next attempt", d.next_attempt_at)] {
            text += &at.map(|at| format!(", {what} {}", local(at))).unwrap_or_default();
        }
        text += &d.request_id.as_ref().map(|id| format!(", request {id}")).unwrap_or_default();
        for attempt in &d.history {
            text += &format!("\n    {}  {}: {}", local(attempt.at), attempt.error, attempt.detail);
        }
        text += &format!("\n    next: {}\n", next_action(d));
    }
    text
}
