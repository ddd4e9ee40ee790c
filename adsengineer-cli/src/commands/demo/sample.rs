//! The sample file of the demo: Google's click conversions template with the mistakes that files have.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// Good rows.
const GOOD: u32 = 1200;
/// Rows that the stand-in refuses after a while, as Google refuses click ids it does not know.
const REFUSED: u32 = 3;

/// A file whose rows happened in the days before `now`.
pub fn file(now: Timestamp) -> String {
    let zone = TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC);
    let time = |minutes: u32| {
        let at = now.saturating_sub(SignedDuration::from_mins(i64::from(minutes) * 7 + 600)).unwrap_or(now);
        at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    };
    let mut text = String::from(
        "Parameters:TimeZone=Europe/Berlin\nGoogle Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency,Order ID,Ad User Data\n",
    );
    for i in 0..GOOD {
        text += &format!("Cj0KCQ_demo-{i:05}AbC,Qualified lead,{},{}.{:02},EUR,D-{i:05},Granted\n", time(i), 40 + i % 160, i % 100);
    }
    for i in 0..REFUSED {
        text += &format!("sandbox-INVALID_GCLID-{i},Qualified lead,{},75.00,EUR,X-{i},Granted\n", time(i));
    }
    text += &format!("1.2E+25,Qualified lead,{},80.00,EUR,S-1,Granted\n", time(1));
    text += &format!("Cj0KCQ_demo-euro,Qualified lead,{},€80,EUR,S-2,Granted\n", time(2));
    text += &format!("Cj0KCQ_demo-00007AbC,Qualified lead,{},44.00,EUR,D-00007,Granted\n", time(7));
    text += &format!("Cj0KCQ_demo-silent,Qualified lead,{},80.00,EUR,S-3,\n", time(3));
    text += &format!("Cj0KCQ_demo-no,Qualified lead,{},80.00,EUR,S-4,Denied\n", time(4));
    text
}
