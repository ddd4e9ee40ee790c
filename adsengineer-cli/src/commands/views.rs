//! How conversions, deliveries and dead letters look on the screen.

use adsengineer_core::shape::Conversion;
use jiff::{Timestamp, tz::TimeZone};

/// An instant in the machine's zone, with its offset.
pub fn local(at: Timestamp) -> String {
    at.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// The same of Unix milliseconds.
pub fn local_ms(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), local)
}

/// A value with its currency, for tables.
pub fn money(value: Option<&str>, currency: Option<&str>) -> String {
    match (value, currency) {
        (Some(value), Some(currency)) => format!("{value} {currency}"),
        _ => "default".to_owned(),
    }
}

/// What a conversion is called in tables: its order id, else its click id.
pub fn name(order_id: Option<&str>, click_id: Option<&str>) -> String {
    order_id.or(click_id).unwrap_or("identifiers").to_owned()
}

/// The whole story of a conversion, for people.
pub fn story(c: &Conversion) -> String {
    let mut text = format!("{}  {}  {}  {}\n", c.id, c.action, money(c.value.as_deref(), c.currency.as_deref()), local(c.occurred_at));
    text += &format!("  captured {}, revision {}", local(c.captured_at), c.revision);
    for (what, value) in [("order id", c.order_id.as_deref()), (c.click_id_kind.as_deref().unwrap_or("click id"), c.click_id.as_deref())] {
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
        text += &format!("\n    next: {}\n", d.next_action);
    }
    text
}
