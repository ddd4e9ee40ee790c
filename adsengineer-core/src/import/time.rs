//! Times as files write them: the formats of Google's templates, each optionally followed by a zone.
//!
//! Parsing yields the local reading and what the text itself says about the zone; `zone.rs` makes an instant of it.

/// Why a text is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidTime {
    #[error("is in no known time format")]
    Format,
    #[error("names a day that does not exist")]
    Date,
    #[error("names a time of day that does not exist")]
    Clock,
    #[error("ends in an offset that does not exist")]
    Offset,
    #[error("is a date without a time of day")]
    DateOnly,
    #[error("has a 12-hour clock without AM or PM")]
    Meridiem,
}

/// What the text says about its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ZoneText<'a> {
    None,
    /// Seconds east of UTC.
    Offset(i32),
    /// Presumably an IANA name.
    Name(&'a str),
}

/// A local reading: seconds from 1970-01-01T00:00:00 on a clock without zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LocalTime<'a> {
    pub seconds: i64,
    pub zone: ZoneText<'a>,
}

/// Reads any format of the templates. Fractions of a second are cut.
pub(crate) fn parse(text: &str) -> Result<LocalTime<'_>, InvalidTime> {
    let mut cursor = Cursor { text, at: 0 };
    let bytes = text.as_bytes();
    let (days, twelve_hours) = if bytes.get(4) == Some(&b'-') {
        (cursor.iso_date()?, Clock::Full)
    } else if bytes.first().is_some_and(u8::is_ascii_alphabetic) {
        (cursor.named_date()?, Clock::Halves)
    } else {
        (cursor.american_date()?, Clock::Either)
    };
    let seconds = days * 86_400 + cursor.clock(twelve_hours)?;
    Ok(LocalTime { seconds, zone: cursor.zone()? })
}

/// Which clocks a date format goes with.
#[derive(Clone, Copy, PartialEq)]
enum Clock {
    Full,
    Halves,
    Either,
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn byte(&mut self, byte: u8) -> Result<(), InvalidTime> {
        if self.eat(byte) { Ok(()) } else { Err(InvalidTime::Format) }
    }

    /// Skips white space, the narrow no-break space before AM and PM included.
    fn spaces(&mut self) -> bool {
        let before = self.at;
        match self.peek() {
            Some(b' ') => self.at += 1,
            None | Some(0..=127) => return false,
            _ => {}
        }
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.at > before
    }

    /// `least` to `most` decimal digits.
    fn number(&mut self, least: usize, most: usize) -> Result<i64, InvalidTime> {
        let (mut value, mut count) = (0, 0);
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            if count == most {
                return Err(InvalidTime::Format);
            }
            value = value * 10 + i64::from(digit - b'0');
            count += 1;
            self.at += 1;
        }
        if count < least { Err(InvalidTime::Format) } else { Ok(value) }
    }

    fn iso_date(&mut self) -> Result<i64, InvalidTime> {
        let year = self.number(4, 4)?;
        self.byte(b'-')?;
        let month = self.number(2, 2)?;
        self.byte(b'-')?;
        let day = self.number(2, 2)?;
        self.date_end(days(year, month, day)?, true)
    }

    fn american_date(&mut self) -> Result<i64, InvalidTime> {
        let month = self.number(1, 2)?;
        self.byte(b'/')?;
        let day = self.number(1, 2)?;
        self.byte(b'/')?;
        let year = self.number(4, 4)?;
        self.date_end(days(year, month, day)?, false)
    }

    fn named_date(&mut self) -> Result<i64, InvalidTime> {
        const MONTHS: &str = "janfebmaraprmayjunjulaugsepoctnovdec";
        let name = self.text.get(..3).ok_or(InvalidTime::Format)?.to_ascii_lowercase();
        let month = MONTHS.find(&name).filter(|at| at % 3 == 0).ok_or(InvalidTime::Format)?;
        self.at = 3;
        if !self.spaces() {
            return Err(InvalidTime::Format);
        }
        let day = self.number(1, 2)?;
        self.byte(b',')?;
        self.spaces();
        let year = self.number(4, 4)?;
        let month = i64::try_from(month / 3 + 1).map_err(|_| InvalidTime::Format)?;
        self.date_end(days(year, month, day)?, false)
    }

    /// What separates the date from the time of day.
    fn date_end(&mut self, days: i64, t_allowed: bool) -> Result<i64, InvalidTime> {
        if self.at == self.text.len() {
            return Err(InvalidTime::DateOnly);
        }
        if (t_allowed && (self.eat(b'T') || self.eat(b't'))) || self.spaces() { Ok(days) } else { Err(InvalidTime::Format) }
    }

    fn clock(&mut self, clock: Clock) -> Result<i64, InvalidTime> {
        let hour = self.number(if clock == Clock::Full { 2 } else { 1 }, 2)?;
        self.byte(b':')?;
        let minute = self.number(2, 2)?;
        let mut second = 0;
        if self.eat(b':') {
            second = self.number(2, 2)?;
            if self.peek() == Some(b'.') && self.text.as_bytes().get(self.at + 1).is_some_and(u8::is_ascii_digit) {
                self.at += 1;
                self.fraction();
            }
        }
        let hour = if clock == Clock::Full { hour } else { self.meridiem(hour, clock)? };
        if hour > 23 || minute > 59 || second > 59 {
            return Err(InvalidTime::Clock);
        }
        Ok(hour * 3600 + minute * 60 + second)
    }

    fn fraction(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
    }

    /// The hour on a 24-hour clock, taking AM or PM where there is one.
    fn meridiem(&mut self, hour: i64, clock: Clock) -> Result<i64, InvalidTime> {
        let before = self.at;
        self.spaces();
        let half = match self.text.as_bytes().get(self.at..self.at + 2) {
            Some([b'A' | b'a', b'M' | b'm']) => 0,
            Some([b'P' | b'p', b'M' | b'm']) => 12,
            _ if clock == Clock::Halves => return Err(InvalidTime::Meridiem),
            _ => {
                self.at = before;
                return Ok(hour);
            }
        };
        self.at += 2;
        if (1..=12).contains(&hour) { Ok(hour % 12 + half) } else { Err(InvalidTime::Clock) }
    }

    fn zone(&mut self) -> Result<ZoneText<'a>, InvalidTime> {
        let spaced = self.spaces();
        let rest = &self.text[self.at..];
        match rest.as_bytes() {
            [] => Ok(ZoneText::None),
            [b'Z' | b'z'] => Ok(ZoneText::Offset(0)),
            [b'+' | b'-', ..] => offset(rest).map(ZoneText::Offset).ok_or(InvalidTime::Offset),
            [first, ..] if spaced && first.is_ascii_alphabetic() => Ok(ZoneText::Name(rest)),
            _ => Err(InvalidTime::Format),
        }
    }
}

/// Seconds east of UTC of `±HH`, `±HHMM` or `±HH:MM`; `None` beyond 14 hours, the widest offset in use.
pub(crate) fn offset(text: &str) -> Option<i32> {
    let digit = |b: &u8| b.is_ascii_digit().then(|| i32::from(b - b'0'));
    let (sign, rest) = match text.as_bytes() {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest {
        [a, b] => (digit(a)? * 10 + digit(b)?, 0),
        [a, b, c, d] | [a, b, b':', c, d] => (digit(a)? * 10 + digit(b)?, digit(c)? * 10 + digit(d)?),
        _ => return None,
    };
    let seconds = hours * 3600 + minutes * 60;
    (minutes < 60 && seconds <= 14 * 3600).then_some(sign * seconds)
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar (years start in March, so that the leap day is last).
fn days(year: i64, month: i64, day: i64) -> Result<i64, InvalidTime> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return Err(InvalidTime::Date),
    };
    if !(1..=length).contains(&day) || year == 0 {
        return Err(InvalidTime::Date);
    }
    let shifted = if month > 2 { year } else { year - 1 };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Ok(shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> Result<String, InvalidTime> {
        let parsed = parse(text)?;
        let stamp = jiff::Timestamp::from_second(parsed.seconds).map_err(|_| InvalidTime::Format)?;
        Ok(format!("{} {:?}", stamp.to_string().trim_end_matches('Z'), parsed.zone))
    }

    #[test]
    fn every_format_of_the_templates_is_read() {
        for text in [
            "2026-11-18 14:05:00",
            "2026-11-18 14:05",
            "2026-11-18T14:05:00",
            "2026-11-18 14:05:00.987654",
            "11/18/2026 14:05:00",
            "11/18/2026 14:05",
            "11/18/2026 02:05:00 PM",
            "11/18/2026 2:05:00 pm",
            "11/18/2026 2:05 PM",
            "11/18/2026 2:05:00\u{202f}PM",
            "Nov 18, 2026 02:05:00 PM",
            "Nov 18,2026 2:05:00 PM",
            "nov 18, 2026 2:05:00 pm",
        ] {
            assert_eq!(local(text).as_deref(), Ok("2026-11-18T14:05:00 None"), "{text}");
        }
        assert_eq!(local("11/18/2026 12:00:00 AM").as_deref(), Ok("2026-11-18T00:00:00 None"));
        assert_eq!(local("11/18/2026 12:00:00 PM").as_deref(), Ok("2026-11-18T12:00:00 None"));
        assert_eq!(local("2024-02-29 00:00:00").as_deref(), Ok("2024-02-29T00:00:00 None"));
    }

    #[test]
    fn a_zone_may_follow() {
        for (zone, expected) in [
            ("Z", ZoneText::Offset(0)),
            (" Z", ZoneText::Offset(0)),
            ("+0100", ZoneText::Offset(3600)),
            ("+01:00", ZoneText::Offset(3600)),
            (" -0330", ZoneText::Offset(-12_600)),
            ("+01", ZoneText::Offset(3600)),
            (" Europe/Berlin", ZoneText::Name("Europe/Berlin")),
            (" UTC", ZoneText::Name("UTC")),
        ] {
            for time in ["2026-11-18 14:05:00", "2026-11-18T14:05:00.5", "11/18/2026 02:05:00 PM", "Nov 18, 2026 02:05:00 PM"] {
                assert_eq!(parse(&format!("{time}{zone}")).map(|t| t.zone), Ok(expected), "{time}{zone}");
            }
        }
    }

    #[test]
    fn other_formats_and_impossible_times_are_refused_with_the_reason() {
        use InvalidTime::*;
        for (text, why) in [
            ("", Format),
            ("18.11.2026 14:05:00", Format),
            ("2026/11/18 14:05:00", Format),
            ("1795000000", Format),
            ("46344.58", Format),
            ("18/11/2026 14:05:00", Date),
            ("2026-02-29 10:00:00", Date),
            ("2026-00-10 10:00:00", Date),
            ("2026-13-10 10:00:00", Date),
            ("2026-11-31 10:00:00", Date),
            ("2026-11-18 24:00:00", Clock),
            ("2026-11-18 10:60:00", Clock),
            ("2026-11-18 10:00:60", Clock),
            ("11/18/2026 13:00:00 PM", Clock),
            ("11/18/2026 00:00:00 AM", Clock),
            ("2026-11-18", DateOnly),
            ("11/18/2026", DateOnly),
            ("Nov 18, 2026 14:05:00", Meridiem),
            ("2026-11-18 14:05:00 +2500", Offset),
            ("2026-11-18 14:05:00 +0160", Offset),
            ("2026-11-18 14:05:00+1", Offset),
            ("2026-11-18 14:05:00Europe/Berlin", Format),
            ("2026-11-18 14:05:0", Format),
            ("2026-11-18 4:05:00", Format),
            ("26-11-18 14:05:00", Format),
            ("Nov 18 2026 02:05:00 PM", Format),
            ("növ 18, 2026 02:05:00 PM", Format),
            ("2026-11-18 14:05:00 (CET)", Format),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn days_agree_with_the_time_library_over_two_centuries() {
        for day in (-36_525..36_525).step_by(17) {
            let date = jiff::Timestamp::from_second(day * 86_400).map(|t| t.to_string()).unwrap();
            assert_eq!(parse(&format!("{} 00:00", &date[..10])).map(|t| t.seconds), Ok(day * 86_400), "{date}");
        }
    }
}
