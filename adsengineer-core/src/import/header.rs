//! What stands before the rows: separator, Parameters row, and the header with the flags that change its meaning.

use std::sync::Arc;

use super::{columns::Column, options::Options, records::Record, time};
use crate::finding::{Code, Finding};

/// Columns that a rejects file has behind the original ones; they are ours, so they are left out silently.
pub(crate) const REJECT_COLUMNS: [&str; 4] = ["row", "code", "reason", "hint"];

/// What the rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Conversions,
    Adjustments,
}

/// Which cell means what.
#[derive(Debug)]
pub(crate) struct Layout {
    pub kind: Kind,
    /// The header as it stands in the file.
    pub names: Vec<Box<str>>,
    /// The meaning of each cell.
    pub columns: Vec<Option<Column>>,
    /// Values for absent columns and empty cells.
    pub fills: Vec<(Column, Box<str>)>,
    /// What the file calls each column.
    pub titles: Vec<Arc<str>>,
    pub warnings: Vec<Finding>,
}

/// The separator that the line uses most, outside quotes.
pub(crate) fn separator(line: &str) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for byte in line.bytes() {
        quoted ^= byte == b'"';
        if !quoted && let Some((_, count)) = counts.iter_mut().find(|(separator, _)| *separator == byte) {
            *count += 1;
        }
    }
    let mut best = counts[0];
    for candidate in counts {
        if candidate.1 > best.1 {
            best = candidate;
        }
    }
    best.0
}

/// The zone of a `Parameters:` row; `None` if the line is none.
pub(crate) fn parameters(line: &str) -> Option<Result<Option<String>, Finding>> {
    let line = line.trim_start_matches(['"', ' ']);
    let rest = line.get(..11).filter(|start| start.eq_ignore_ascii_case("parameters:")).map(|_| &line[11..])?;
    let mut zone = None;
    for part in rest.split([',', ';', '\t', '"']).map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('=').map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim())) {
            Some((key, value)) if key == "timezone" => zone = (!value.is_empty()).then(|| value.to_owned()),
            // Older templates carry it; it says what the columns say anyway.
            Some((key, _)) if key == "entitytype" => {}
            _ => return Some(Err(Finding::file(Code::InvalidParameters, "the Parameters row has a part that is not `TimeZone=…`"))),
        }
    }
    Some(Ok(zone))
}

impl Layout {
    /// Makes sense of the header.
    pub(crate) fn resolve(header: &Record<'_>, options: &Options) -> Result<Self, Finding> {
        let names: Vec<Box<str>> = header.iter().map(|name| name.trim().into()).collect();
        let fills = fills(options)?;
        let map = maps(options)?;
        let ours = reject_columns_start(&names);
        let mut columns = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let mapped = map.iter().find(|(from, _)| from.eq_ignore_ascii_case(name)).map(|(_, to)| *to);
            columns.push(if index >= ours { None } else { mapped.or_else(|| Column::named(name)) });
        }
        let mut titles: Vec<Arc<str>> = Column::ALL.iter().map(|column| column.name().into()).collect();
        for (name, column) in names.iter().zip(&columns) {
            if let Some(column) = column {
                titles[*column as usize] = (&**name).into();
            }
        }
        let adjustment = |c: &Column| matches!(c, Column::AdjustmentTime | Column::AdjustmentType);
        let kind = if columns.iter().flatten().any(adjustment) { Kind::Adjustments } else { Kind::Conversions };
        let mut layout = Self { kind, names, columns, fills, titles, warnings: Vec::new() };
        layout.check(header.row, ours, &map, options)?;
        Ok(layout)
    }

    fn check(&mut self, row: u64, ours: usize, map: &[(String, Column)], options: &Options) -> Result<(), Finding> {
        let names = self.names[..ours].iter().zip(&self.columns);
        let unknown: Vec<Box<str>> =
            names.filter(|(name, column)| column.is_none() && !name.is_empty()).map(|(name, _)| name.clone()).collect();
        if self.columns.iter().all(Option::is_none) && self.names.iter().any(|name| looks_like_data(name)) {
            return Err(Finding::file(Code::MissingHeader, "the first row has no column name of the template").at(row));
        }
        self.refuse_repeated(row)?;
        if !unknown.is_empty() && !options.ignore_unknown_columns {
            return Err(self.unknown_columns(row, &unknown));
        }
        if let Some((from, to)) = map.iter().find(|(from, to)| !self.has(*to) && !self.names.iter().any(|n| n.eq_ignore_ascii_case(from))) {
            let reason = format!("--map names a column `{from}` for `{}`, and the header has none of that name", to.name());
            return Err(Finding::file(Code::MissingColumn, reason).at(row).hint(format!("the header has: {}", self.names.join(", "))));
        }
        self.refuse_missing(row, &unknown, options)?;
        self.remarks(row, &unknown);
        Ok(())
    }

    fn has(&self, column: Column) -> bool {
        self.columns.contains(&Some(column)) || self.fills.iter().any(|(filled, _)| *filled == column)
    }

    fn refuse_repeated(&self, row: u64) -> Result<(), Finding> {
        for (index, column) in self.columns.iter().enumerate() {
            let Some(column) = column else { continue };
            if let Some(first) = self.columns[..index].iter().position(|other| other.as_ref() == Some(column)) {
                let (first, second) = (&self.names[first], &self.names[index]);
                let reason = format!("the columns `{first}` and `{second}` both mean `{}`", column.name());
                return Err(Finding::file(Code::RepeatedColumn, reason).at(row).column(&**second));
            }
        }
        Ok(())
    }

    fn unknown_columns(&self, row: u64, unknown: &[Box<str>]) -> Finding {
        let listed: Vec<String> = unknown.iter().take(8).map(|name| format!("`{}`", printable(name))).collect();
        let more = if unknown.len() > 8 { format!(" and {} more", unknown.len() - 8) } else { String::new() };
        let plural = if unknown.len() == 1 { "column" } else { "columns" };
        let reason = format!("the template has no {plural} {}{more}", listed.join(", "));
        let finding = Finding::file(Code::UnknownColumn, reason).at(row).column(printable(&unknown[0]));
        match self.suggest(unknown) {
            maps if maps.is_empty() => finding,
            maps => finding.hint(format!("{maps}; columns that are not needed are left out with --ignore-unknown-columns")),
        }
    }

    /// `--map` flags, ready to paste, for unknown columns whose meaning can be guessed and is still wanted.
    fn suggest(&self, unknown: &[Box<str>]) -> String {
        let mut wanted: Vec<Column> = Column::ALL.iter().copied().filter(|column| !self.has(*column)).collect();
        let mut flags = Vec::new();
        for name in unknown {
            if let Some(at) = Column::guess(name).and_then(|column| wanted.iter().position(|w| *w == column)) {
                let column = wanted.remove(at);
                flags.push(format!("--map '{}={}'", printable(name).replace('\'', "'\\''"), column.name()));
            }
        }
        flags.join(" ")
    }

    fn refuse_missing(&self, row: u64, unknown: &[Box<str>], options: &Options) -> Result<(), Finding> {
        use Column::{Action, AdjustmentTime, AdjustmentType, Gclid, OrderId, Time};
        let click = Column::CLICK_IDS.iter().any(|column| self.has(*column));
        let named = self.has(Action) || options.default_action.is_some();
        let missing = match self.kind {
            Kind::Conversions => [
                (!self.has(Time)).then_some(Time),
                (!named).then_some(Action),
                (!click && !self.has(Column::Email) && !self.has(Column::Phone) && !self.has_address()).then_some(Gclid),
            ],
            Kind::Adjustments => [
                (!self.has(AdjustmentTime)).then_some(AdjustmentTime),
                (!self.has(AdjustmentType)).then_some(AdjustmentType),
                if named { (!(self.has(OrderId) || click && self.has(Time))).then_some(OrderId) } else { Some(Action) },
            ],
        };
        let missing: Vec<Column> = missing.into_iter().flatten().collect();
        let Some(first) = missing.first() else { return Ok(()) };
        let listed: Vec<String> = missing.iter().map(|column| format!("`{}`", column.name())).collect();
        let alternative = if missing.contains(&Gclid) { " (or `GBRAID`, `WBRAID`, `Email`, `Phone Number`)" } else { "" };
        let finding = Finding::file(Code::MissingColumn, format!("the header has no column {}{alternative}", listed.join(", "))).at(row);
        let finding = finding.column(first.name());
        let guesses = self.suggest(unknown);
        Err(match guesses.is_empty() {
            false => finding.hint(guesses),
            true if *first == Action => finding.hint("give --action ID, or --set 'Conversion Name=Qualified lead'"),
            true => finding.hint(format!("name the column that holds it: --map 'Your column={}'", first.name())),
        })
    }

    fn has_address(&self) -> bool {
        [Column::FirstName, Column::LastName, Column::Country, Column::Zip].iter().all(|column| self.has(*column))
    }

    fn remarks(&mut self, row: u64, ignored: &[Box<str>]) {
        let remark =
            |name: &str, reason: &'static str| Finding::file(Code::ColumnIgnored, reason).at(row).column(printable(name)).warning();
        self.warnings.extend(ignored.iter().map(|name| remark(name, "the column is not in the template and is left out")));
        for column in [Column::AttributionModel, Column::AttributedCredit] {
            if self.columns.contains(&Some(column)) {
                self.warnings.push(remark(column.name(), "external attribution is not sent"));
            }
        }
        if self.kind == Kind::Conversions && !self.has(Column::Value) {
            let reason = "there is no value column: the action's default value counts for every row";
            self.warnings.push(Finding::file(Code::ValueMissing, reason).at(row).warning());
        }
    }
}

/// Where the columns of a rejects file begin; the number of columns if there are none.
fn reject_columns_start(names: &[Box<str>]) -> usize {
    let start = names.len().saturating_sub(REJECT_COLUMNS.len());
    if names[start..].iter().map(|name| &**name).eq(REJECT_COLUMNS) { start } else { names.len() }
}

fn looks_like_data(name: &str) -> bool {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    time::parse(name).is_ok() || name.contains('@') || (name.len() >= 20 && digits >= 2 && !name.contains(' '))
}

/// A column's name as a report may show it.
fn printable(name: &str) -> String {
    if name.contains('@') { "…@…".to_owned() } else { name.chars().filter(|c| !c.is_control()).take(60).collect() }
}

/// What `--set` says.
pub(crate) fn fills(options: &Options) -> Result<Vec<(Column, Box<str>)>, Finding> {
    let fill = |(name, value): &(String, String)| Ok((target("--set", name)?, value.trim().into()));
    options.set.iter().map(fill).collect()
}

fn maps(options: &Options) -> Result<Vec<(String, Column)>, Finding> {
    options.map.iter().map(|(from, to)| Ok((from.trim().to_owned(), target("--map", to)?))).collect()
}

fn target(flag: &str, name: &str) -> Result<Column, Finding> {
    Column::named(name).ok_or_else(|| {
        let finding = Finding::file(Code::InvalidOption, format!("{flag} names `{name}`, and the template has no such column"));
        match Column::guess(name) {
            Some(column) => finding.hint(format!("write `{}`", column.name())),
            None => finding.hint(format!("the template has: {}", all_names())),
        }
    })
}

fn all_names() -> String {
    let names: Vec<&str> = Column::ALL.iter().map(|column| column.name()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_separator_outside_quotes_wins() {
        for (line, expected) in [("a,b", b','), ("a;b", b';'), ("a\tb", b'\t'), ("\"a,b,c\";d", b';'), ("a", b','), ("a,b;c", b',')] {
            assert_eq!(separator(line), expected, "{line}");
        }
    }

    #[test]
    fn the_parameters_row_names_a_zone_whatever_pads_it() {
        let zone = |line| parameters(line).map(|r| r.map_err(|f| f.code));
        for line in [
            "Parameters:TimeZone=+0100",
            "parameters:timezone=+0100,,,",
            "\"Parameters:TimeZone=+0100\";;",
            "Parameters: TimeZone = +0100\t\t",
        ] {
            assert_eq!(zone(line), Some(Ok(Some("+0100".to_owned()))), "{line}");
        }
        assert_eq!(zone("Parameters:EntityType=OFFLINECONVERSION;TimeZone=-0500;"), Some(Ok(Some("-0500".to_owned()))));
        assert_eq!(zone("Parameters:"), Some(Ok(None)));
        assert_eq!(zone("Parameters:Zone=x"), Some(Err(Code::InvalidParameters)));
        assert_eq!(zone("Google Click ID,Conversion Name"), None);
    }
}
