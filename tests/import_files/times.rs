//! Times: every format, every way to say the zone, daylight saving, age.

use adsengineer_core::import::Options;

use crate::harness::{granted, plain};

fn at(time: &str, zone: Option<&str>) -> String {
    let options = Options { time_zone: zone.map(str::to_owned), ..granted() };
    let cell = if time.contains(',') { format!("\"{time}\"") } else { time.to_owned() };
    let row = plain(&format!("Cj0A,Lead,{cell},1,EUR"), &options);
    row.strip_suffix(" gclid=Cj0A 1.00 EUR").map_or(row.clone(), str::to_owned)
}

#[test]
fn every_format_with_every_kind_of_zone_is_the_same_instant() {
    let formats = [
        "2026-11-18 14:05:00",
        "2026-11-18 14:05",
        "2026-11-18T14:05:00",
        "2026-11-18 14:05:00.999",
        "11/18/2026 14:05:00",
        "11/18/2026 02:05:00 PM",
        "11/18/2026 2:05:00 pm",
        "Nov 18, 2026 02:05:00 PM",
        "Nov 18,2026 02:05:00 PM",
    ];
    for format in formats {
        for zone in ["+0100", "+01:00", " +0100", " Europe/Berlin", " europe/berlin", " Etc/GMT-1"] {
            assert_eq!(at(&format!("{format}{zone}"), Some("Asia/Tokyo")), "2026-11-18T13:05:00Z", "{format}{zone}");
        }
        assert_eq!(at(&format!("{format}Z"), None), "2026-11-18T14:05:00Z", "{format}Z");
        for zone in ["Europe/Berlin", "+0100", "+01:00"] {
            assert_eq!(at(format, Some(zone)), "2026-11-18T13:05:00Z", "{format} in {zone}");
        }
        assert_eq!(at(format, None), "-TIME_ZONE_MISSING[Conversion Time]", "{format}");
    }
}

#[test]
fn zones_with_odd_offsets_and_daylight_saving_give_exact_instants() {
    for (time, expected) in [
        ("2026-11-18 14:05:00 Asia/Kolkata", "2026-11-18T08:35:00Z"),
        ("2026-11-18 14:05:00 Asia/Kathmandu", "2026-11-18T08:20:00Z"),
        ("2026-11-18 14:05:00 America/St_Johns", "2026-11-18T17:35:00Z"),
        ("2026-11-18 14:05:00 Australia/Lord_Howe", "2026-11-18T03:05:00Z"),
        ("2026-11-18 14:05:00 Pacific/Kiritimati", "2026-11-18T00:05:00Z"),
        ("2026-11-18 14:05:00 America/New_York", "2026-11-18T19:05:00Z"),
        ("2026-10-30 14:05:00 America/New_York", "2026-10-30T18:05:00Z"),
        ("2026-10-24 14:05:00 Europe/Berlin", "2026-10-24T12:05:00Z"),
        ("2026-10-26 14:05:00 Europe/Berlin", "2026-10-26T13:05:00Z"),
        ("2026-11-18 14:05:00 UTC", "2026-11-18T14:05:00Z"),
        ("2026-11-18 23:30:00 -0330", "2026-11-19T03:00:00Z"),
        ("11/01/2026 12:00:00 AM +0000", "2026-11-01T00:00:00Z"),
    ] {
        assert_eq!(at(time, None), expected, "{time}");
    }
}

#[test]
fn times_that_never_were_or_were_twice_are_refused() {
    for (time, expected) in [
        ("2026-10-25 01:59:59 Europe/Berlin", "2026-10-24T23:59:59Z"),
        ("2026-10-25 02:00:00 Europe/Berlin", "-TIME_IN_DST_OVERLAP[Conversion Time]"),
        ("2026-10-25 02:59:59 Europe/Berlin", "-TIME_IN_DST_OVERLAP[Conversion Time]"),
        ("2026-10-25 03:00:00 Europe/Berlin", "2026-10-25T02:00:00Z"),
        ("2026-10-25 02:30:00 +0200", "2026-10-25T00:30:00Z"),
        ("2026-10-25 02:30:00 +0100", "2026-10-25T01:30:00Z"),
        ("2026-11-01 01:30:00 America/New_York", "-TIME_IN_DST_OVERLAP[Conversion Time]"),
        ("2026-11-01 02:00:00 America/New_York", "2026-11-01T07:00:00Z"),
        ("2026-10-04 02:30:00 Australia/Sydney", "-TIME_IN_DST_GAP[Conversion Time]"),
        ("2026-10-04 01:59:59 Australia/Sydney", "2026-10-03T15:59:59Z"),
        ("2026-10-04 03:00:00 Australia/Sydney", "2026-10-03T16:00:00Z"),
        ("2026-10-04 02:15:00 Australia/Lord_Howe", "-TIME_IN_DST_GAP[Conversion Time]"),
        ("2026-10-04 02:30:00 Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
        ("2026-09-06 00:30:00 America/Santiago", "-TIME_IN_DST_GAP[Conversion Time]"),
    ] {
        assert_eq!(at(time, None), expected, "{time}");
    }
    assert_eq!(at("10/25/2026 02:30:00", Some("Europe/Berlin")), "-TIME_IN_DST_OVERLAP[Conversion Time]");
}

#[test]
fn what_is_no_time_is_refused_and_named() {
    for time in [
        "18.11.2026 14:05:00",
        "2026/11/18 14:05:00",
        "18/11/2026 14:05:00",
        "2026-11-18",
        "14:05:00",
        "1795000000",
        "46344.586805",
        "2026-11-31 10:00:00Z",
        "2025-02-29 10:00:00Z",
        "2026-11-18 24:00:00Z",
        "2026-11-18 10:60:00Z",
        "2026-11-18 10:00:60Z",
        "11/18/2026 13:00:00 PM",
        "Nov 18, 2026 14:05:00",
        "Okt 18, 2026 02:05:00 PM",
        "11/18/26 14:05:00",
        "2026-11-18 14:05:00 +2500",
        "yesterday",
        "2026-11-18 14:05:00 (CET)",
    ] {
        assert_eq!(at(time, Some("Europe/Berlin")), "-INVALID_TIME[Conversion Time]", "{time}");
    }
    assert_eq!(at("", Some("Europe/Berlin")), "-TIME_MISSING[Conversion Time]");
    assert_eq!(at("2026-11-18 14:05:00 Europe/Atlantis", None), "-UNKNOWN_TIME_ZONE[Conversion Time]");
    assert_eq!(at("2026-11-18 14:05:00 MEZ", None), "-UNKNOWN_TIME_ZONE[Conversion Time]");
    assert_eq!(at("4.63446E+04", None), "-SCIENTIFIC_NOTATION[Conversion Time]");
}

#[test]
fn age_is_judged_against_the_present() {
    for (time, expected) in [
        ("2026-11-20 12:00:00Z", "2026-11-20T12:00:00Z"),
        ("2026-11-20 12:00:01Z", "-TIME_IN_FUTURE[Conversion Time]"),
        ("2027-01-01 00:00:00Z", "-TIME_IN_FUTURE[Conversion Time]"),
        ("2026-09-21 12:00:00Z", "2026-09-21T12:00:00Z"),
        ("2026-08-22 11:59:59Z", "-EVENT_TOO_OLD[Conversion Time]"),
        ("1970-01-01 00:00:00Z", "-EVENT_TOO_OLD[Conversion Time]"),
    ] {
        assert_eq!(at(time, None), expected, "{time}");
    }
    let old = plain("Cj0A,Lead,2026-08-22 12:00:00Z,1,EUR", &granted());
    assert_eq!(old, "2026-08-22T12:00:00Z gclid=Cj0A 1.00 EUR !EVENT_OLD");
}

#[test]
fn formats_in_strftime_terms_are_read_with_the_zone_from_wherever_it_is() {
    for (format, time, zone, expected) in [
        ("%d.%m.%Y %H:%M", "18.11.2026 14:05", Some("Europe/Berlin"), "2026-11-18T13:05:00Z"),
        ("%d/%m/%Y %I:%M %p", "18/11/2026 02:05 PM", Some("+0100"), "2026-11-18T13:05:00Z"),
        ("%Y%m%d%H%M%S", "20261118140500", Some("UTC"), "2026-11-18T14:05:00Z"),
        ("%d.%m.%Y %H:%M %z", "18.11.2026 14:05 +0100", None, "2026-11-18T13:05:00Z"),
        ("%s", "1794999900", None, "2026-11-18T11:05:00Z"),
        ("%d.%m.%Y %H:%M", "18.11.2026 14:05", None, "-TIME_ZONE_MISSING[Conversion Time]"),
        ("%d.%m.%Y %H:%M", "2026-11-18 14:05:00", Some("UTC"), "-INVALID_TIME[Conversion Time]"),
        ("%d.%m.%Y %H:%M", "25.10.2026 02:30", Some("Europe/Berlin"), "-TIME_IN_DST_OVERLAP[Conversion Time]"),
    ] {
        let options = Options { time_zone: zone.map(str::to_owned), time_format: Some(format.to_owned()), ..granted() };
        let row = plain(&format!("Cj0A,Lead,{time},1,EUR"), &options);
        assert_eq!(row.strip_suffix(" gclid=Cj0A 1.00 EUR").unwrap_or(&row), expected, "{format} {time}");
    }
}
