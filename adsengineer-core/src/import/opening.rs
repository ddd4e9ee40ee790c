//! What stands before a file's rows: blank and comment lines, `sep=`, the Parameters row; and whether it is CSV at all.

use std::io::Read;

use jiff::{
    Timestamp,
    fmt::strtime,
    tz::{TimeZone, TimeZoneDatabase},
};

use super::{
    header,
    options::{Format, Options},
    records::Records,
    zone::{FileZone, Times},
};
use crate::finding::{Code, Finding};

/// What stands before the header.
pub(crate) struct Opening {
    /// The zone of the Parameters row, and that row.
    pub zone: Option<(String, u64)>,
    /// `None` for JSON lines.
    pub separator: Option<u8>,
}

impl Opening {
    pub(crate) fn read<R: Read>(records: &mut Records<R>, format: Format) -> Result<Self, Finding> {
        let mut opening = Self { zone: None, separator: (format != Format::Jsonl).then_some(b',') };
        let mut declared = None;
        let mut lines = 0;
        while let Some(line) = records.peek()? {
            let start = line.trim_start();
            if opening.separator.is_none() || (format == Format::Auto && lines == 0 && start.starts_with('{')) {
                return Ok(Self { separator: None, ..opening });
            }
            if format == Format::Auto && lines == 0 && start.starts_with('[') {
                return Err(Finding::file(Code::NotJsonLines, "the file is a JSON array, not one object per line"));
            }
            lines += 1;
            if let Some(zone) = header::parameters(line) {
                let row = records.row() + 1;
                opening.zone = zone.map_err(|finding| finding.at(row))?.map(|zone| (zone, row));
            } else if let [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', separator] = start.trim_end().as_bytes() {
                declared = Some(*separator);
            } else if !is_comment(start) {
                opening.separator = Some(declared.filter(u8::is_ascii).unwrap_or_else(|| header::separator(line)));
                return Ok(opening);
            }
            records.skip_line()?;
        }
        if format == Format::Jsonl {
            return Ok(Self { separator: None, ..opening });
        }
        Err(Finding::file(Code::EmptyFile, if lines == 0 { "the file is empty" } else { "the file has no header" }))
    }
}

/// A line of instructions in Google's template; a column may be named `#`.
fn is_comment(line: &str) -> bool {
    let line = line.trim_start_matches('"');
    line.starts_with("##") || line.starts_with("# ")
}

/// How the file's times become instants: the Parameters row wins over `--time-zone`.
pub(crate) fn times(options: &Options, parameters: Option<&(String, u64)>) -> Result<Times, Finding> {
    let database = TimeZoneDatabase::bundled();
    let parse = |text: &str, what: &str| {
        FileZone::parse(text.trim(), &database).ok_or_else(|| {
            let text: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
            Finding::file(Code::UnknownTimeZone, format!("{what} names the time zone `{text}`, which does not exist"))
        })
    };
    // Both are checked, also the one that the other overrides.
    let flag = options.time_zone.as_deref().map(|text| parse(text, "--time-zone")).transpose()?;
    let file = parameters.map(|(text, row)| parse(text, "the Parameters row").map_err(|finding| finding.at(*row))).transpose()?;
    if options.time_format.as_deref().is_some_and(|format| !describes_times(format)) {
        let finding = Finding::file(Code::InvalidOption, "--time-format does not describe a date with a time of day");
        return Err(finding.hint("use strftime terms, for example --time-format '%d.%m.%Y %H:%M'"));
    }
    Ok(Times::new(options.time_format.as_deref().map(Into::into), file.or(flag), database))
}

/// Whether a time written in `format` can be read back to the minute.
fn describes_times(format: &str) -> bool {
    let instant = Timestamp::from_second(1_795_000_000).unwrap_or(Timestamp::UNIX_EPOCH);
    let written = strtime::format(format, &instant.to_zoned_datetime(TimeZone::UTC));
    let mut times = Times::new(Some(format.into()), Some(FileZone::Fixed(0)), TimeZoneDatabase::bundled());
    written.is_ok_and(|text| times.instant(&text).is_ok_and(|read| read / 60 == instant.as_second() / 60))
}
