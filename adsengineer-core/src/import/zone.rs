//! From local readings to instants: zones, daylight saving, and a cache that makes a row cost nanoseconds.

use jiff::{
    Timestamp,
    fmt::strtime::BrokenDownTime,
    tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase},
};

use super::time::{self, InvalidTime, LocalTime, ZoneText};

/// Why a text yields no instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoInstant {
    #[error(transparent)]
    Text(#[from] InvalidTime),
    #[error("does not match the time format given")]
    OtherFormat,
    #[error("says no time zone")]
    NoZone,
    #[error("names a time zone that does not exist")]
    UnknownZone,
    #[error("was skipped when clocks went forward in {0}")]
    Gap(Box<str>),
    #[error("happened twice when clocks went back in {zone}: at {earlier} and at {later}")]
    Overlap { zone: Box<str>, earlier: Offset, later: Offset },
}

/// The zone of all times that name none.
pub(crate) enum FileZone {
    /// Seconds east of UTC.
    Fixed(i32),
    Named(Zone),
}

impl FileZone {
    /// Reads an IANA name, `±HHMM`, `±HH:MM` or `Z`.
    pub(crate) fn parse(text: &str, database: &TimeZoneDatabase) -> Option<Self> {
        if let Some(seconds) = time::offset(text) {
            return Some(Self::Fixed(seconds));
        }
        if text.eq_ignore_ascii_case("z") {
            return Some(Self::Fixed(0));
        }
        Zone::get(text, database).map(Self::Named)
    }
}

/// Makes instants (Unix seconds) of texts.
pub(crate) struct Times {
    format: Option<Box<str>>,
    default: Option<FileZone>,
    database: TimeZoneDatabase,
    /// Zones that rows named, for reuse; bounded.
    named: Vec<Zone>,
    evict: usize,
}

/// Zones remembered at once; a file that names more of them looks them up again.
const NAMED_MAX: usize = 64;

impl Times {
    pub(crate) fn new(format: Option<Box<str>>, default: Option<FileZone>, database: TimeZoneDatabase) -> Self {
        Self { format, default, database, named: Vec::new(), evict: 0 }
    }

    /// The instant of `text`: its own zone wins over the file's.
    pub(crate) fn instant(&mut self, text: &str) -> Result<i64, NoInstant> {
        if let Some(format) = self.format.take() {
            let result = self.by_format(&format, text);
            self.format = Some(format);
            return result;
        }
        let local = time::parse(text)?;
        self.resolve(local)
    }

    fn resolve(&mut self, local: LocalTime<'_>) -> Result<i64, NoInstant> {
        match local.zone {
            ZoneText::Offset(offset) => Ok(local.seconds - i64::from(offset)),
            ZoneText::Name(name) => self.named(name)?.instant(local.seconds),
            ZoneText::None => match &mut self.default {
                Some(FileZone::Fixed(offset)) => Ok(local.seconds - i64::from(*offset)),
                Some(FileZone::Named(zone)) => zone.instant(local.seconds),
                None => Err(NoInstant::NoZone),
            },
        }
    }

    fn by_format(&mut self, format: &str, text: &str) -> Result<i64, NoInstant> {
        let parsed = BrokenDownTime::parse(format, text).map_err(|_| NoInstant::OtherFormat)?;
        if let Some(instant) = parsed.timestamp() {
            return Ok(instant.as_second());
        }
        let civil = parsed.to_datetime().map_err(|_| NoInstant::OtherFormat)?;
        let seconds = Offset::UTC.to_timestamp(civil).map_err(|_| NoInstant::OtherFormat)?.as_second();
        let zone = match (parsed.offset(), parsed.iana_time_zone()) {
            (Some(offset), _) => ZoneText::Offset(offset.seconds()),
            (None, Some(name)) => ZoneText::Name(name),
            (None, None) => ZoneText::None,
        };
        self.resolve(LocalTime { seconds, zone })
    }

    fn named(&mut self, name: &str) -> Result<&mut Zone, NoInstant> {
        let at = match self.named.iter().position(|zone| &*zone.name == name) {
            Some(at) => at,
            None => self.remember(Zone::get(name, &self.database).ok_or(NoInstant::UnknownZone)?),
        };
        self.named.get_mut(at).ok_or(NoInstant::UnknownZone)
    }

    fn remember(&mut self, zone: Zone) -> usize {
        if self.named.len() < NAMED_MAX {
            self.named.push(zone);
            return self.named.len() - 1;
        }
        self.evict = (self.evict + 1) % NAMED_MAX;
        self.named[self.evict] = zone;
        self.evict
    }
}

/// A zone with the windows of local time that were asked for last.
pub(crate) struct Zone {
    name: Box<str>,
    rules: TimeZone,
    windows: [Window; 4],
    next: usize,
}

/// Local readings `from..to` that all have the same single offset.
#[derive(Clone, Copy, Default)]
struct Window {
    from: i64,
    to: i64,
    offset: i64,
}

impl Zone {
    fn get(name: &str, database: &TimeZoneDatabase) -> Option<Self> {
        let rules = database.get(name).ok().filter(|rules| !rules.is_unknown())?;
        Some(Self { name: name.into(), rules, windows: Default::default(), next: 0 })
    }

    fn instant(&mut self, local: i64) -> Result<i64, NoInstant> {
        match self.windows.iter().find(|window| (window.from..window.to).contains(&local)) {
            Some(window) => Ok(local - window.offset),
            None => self.look_up(local),
        }
    }

    fn look_up(&mut self, local: i64) -> Result<i64, NoInstant> {
        let civil = Timestamp::from_second(local).map(|t| Offset::UTC.to_datetime(t)).map_err(|_| InvalidTime::Date)?;
        let offset = match self.rules.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { .. } => return Err(NoInstant::Gap(self.name.clone())),
            AmbiguousOffset::Fold { before, after } => {
                return Err(NoInstant::Overlap { zone: self.name.clone(), earlier: before, later: after });
            }
        };
        let offset = i64::from(offset.seconds());
        self.windows[self.next] = self.window(local - offset, offset);
        self.next = (self.next + 1) % self.windows.len();
        Ok(local - offset)
    }

    /// The unambiguous local readings around `instant`, between the transitions next to it.
    fn window(&self, instant: i64, offset: i64) -> Window {
        let offset_at = |second: i64| Timestamp::from_second(second).map_or(offset, |t| i64::from(self.rules.to_offset(t).seconds()));
        let (mut from, mut to) = (instant + offset, instant + offset + 1);
        if let (Ok(at), Ok(next)) = (Timestamp::from_second(instant), Timestamp::from_second(instant + 1)) {
            // Both iterators leave their starting point out.
            let before = self.rules.preceding(next).next().map(|t| t.timestamp().as_second());
            let after = self.rules.following(at).next().map(|t| t.timestamp().as_second());
            from = before.map_or(i64::MIN, |t| t + offset.max(offset_at(t - 1))).min(from);
            to = after.map_or(i64::MAX, |t| t + offset.min(offset_at(t))).max(to);
        }
        Window { from, to, offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(zone: Option<&str>, format: Option<&str>) -> Times {
        let database = TimeZoneDatabase::bundled();
        let default = zone.map(|z| FileZone::parse(z, &database).unwrap());
        Times::new(format.map(Into::into), default, database)
    }

    fn utc(times: &mut Times, text: &str) -> Result<String, NoInstant> {
        times.instant(text).map(|s| Timestamp::from_second(s).unwrap().to_string())
    }

    #[test]
    fn the_zone_in_the_row_wins_over_the_files() {
        let mut berlin = times(Some("Europe/Berlin"), None);
        assert_eq!(utc(&mut berlin, "2026-07-01 12:00:00").as_deref(), Ok("2026-07-01T10:00:00Z"));
        assert_eq!(utc(&mut berlin, "2026-11-18 14:05:00").as_deref(), Ok("2026-11-18T13:05:00Z"));
        assert_eq!(utc(&mut berlin, "2026-11-18 14:05:00 America/New_York").as_deref(), Ok("2026-11-18T19:05:00Z"));
        assert_eq!(utc(&mut berlin, "2026-11-18 14:05:00-0300").as_deref(), Ok("2026-11-18T17:05:00Z"));
        assert_eq!(utc(&mut times(Some("-0500"), None), "2026-07-01 12:00").as_deref(), Ok("2026-07-01T17:00:00Z"));
        assert_eq!(utc(&mut times(Some("Z"), None), "2026-07-01 12:00").as_deref(), Ok("2026-07-01T12:00:00Z"));
        assert_eq!(times(None, None).instant("2026-07-01 12:00"), Err(NoInstant::NoZone));
    }

    #[test]
    fn gaps_and_overlaps_are_refused_to_the_second_unless_an_offset_is_given() {
        let mut berlin = times(Some("Europe/Berlin"), None);
        assert_eq!(utc(&mut berlin, "2026-03-29 01:59:59").as_deref(), Ok("2026-03-29T00:59:59Z"));
        for gap in ["2026-03-29 02:00:00", "2026-03-29 02:59:59"] {
            assert!(matches!(berlin.instant(gap), Err(NoInstant::Gap(_))), "{gap}");
        }
        assert_eq!(utc(&mut berlin, "2026-03-29 03:00:00").as_deref(), Ok("2026-03-29T01:00:00Z"));
        assert_eq!(utc(&mut berlin, "2026-10-25 01:59:59").as_deref(), Ok("2026-10-24T23:59:59Z"));
        for twice in ["2026-10-25 02:00:00", "2026-10-25 02:59:59"] {
            assert!(matches!(berlin.instant(twice), Err(NoInstant::Overlap { .. })), "{twice}");
        }
        assert_eq!(utc(&mut berlin, "2026-10-25 03:00:00").as_deref(), Ok("2026-10-25T02:00:00Z"));
        assert_eq!(utc(&mut berlin, "2026-10-25 02:30:00+0200").as_deref(), Ok("2026-10-25T00:30:00Z"));
        assert_eq!(utc(&mut berlin, "2026-10-25 02:30:00+0100").as_deref(), Ok("2026-10-25T01:30:00Z"));
    }

    #[test]
    fn cached_windows_agree_with_the_time_library_around_every_transition() {
        for name in ["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata", "UTC", "Pacific/Apia"] {
            let mut times = times(Some(name), None);
            let zone = TimeZoneDatabase::bundled().get(name).unwrap();
            for step in 0..4000 {
                let local = 1_735_689_600 + step * 20_011;
                let civil = Offset::UTC.to_datetime(Timestamp::from_second(local).unwrap());
                let expected = zone.to_ambiguous_timestamp(civil).unambiguous().ok().map(Timestamp::as_second);
                let text = Timestamp::from_second(local).unwrap().to_string().replace('T', " ").replace('Z', "");
                assert_eq!(times.instant(&text).ok(), expected, "{name} {text}");
            }
        }
    }

    #[test]
    fn a_format_in_strftime_terms_replaces_the_known_ones() {
        let mut german = times(Some("Europe/Berlin"), Some("%d.%m.%Y %H:%M"));
        assert_eq!(utc(&mut german, "18.11.2026 14:05").as_deref(), Ok("2026-11-18T13:05:00Z"));
        assert_eq!(german.instant("2026-11-18 14:05:00"), Err(NoInstant::OtherFormat));
        let mut offset = times(None, Some("%Y%m%dT%H%M%S%z"));
        assert_eq!(utc(&mut offset, "20261118T140500+0100").as_deref(), Ok("2026-11-18T13:05:00Z"));
        assert_eq!(utc(&mut times(None, Some("%s")), "1795000000").as_deref(), Ok("2026-11-18T11:06:40Z"));
        assert_eq!(times(None, Some("%d.%m.%Y %H:%M")).instant("18.11.2026 14:05"), Err(NoInstant::NoZone));
    }

    #[test]
    fn unknown_zones_are_refused_and_many_zones_are_remembered_boundedly() {
        let mut times = times(None, None);
        assert_eq!(times.instant("2026-11-18 14:05:00 Europe/Atlantis"), Err(NoInstant::UnknownZone));
        let names: Vec<String> = TimeZoneDatabase::bundled().available().map(|n| n.to_string()).collect();
        for name in names.iter().chain(&names) {
            let _ = times.instant(&format!("2026-11-18 14:05:00 {name}"));
        }
        assert!(names.len() > NAMED_MAX && times.named.len() == NAMED_MAX);
    }
}
