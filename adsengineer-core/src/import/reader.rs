//! Reads a conversion file row by row.

use std::io::Read;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    candidate::{Adjustment, Candidate},
    cells::Cells,
    columns::Column,
    decode::Text,
    found::Found,
    header::{self, Kind, Layout},
    json,
    opening::{Opening, times},
    options::Options,
    records::{Cut, Record, Records},
    rules::{Person, Rules, Verdict},
    seen::Seen,
    summary::Summary,
};
use crate::{
    conversion::input::ConversionInput,
    finding::{Code, Finding},
    org::OrgId,
};

/// Whose file it is, and when.
#[derive(Clone, Debug)]
pub struct Context {
    /// The organization; part of every conversion's identity.
    pub org: OrgId,
    /// The present, against which times are judged.
    pub now: Timestamp,
}

/// What makes a whole file unusable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{finding}")]
#[serde(transparent)]
pub struct FileFault {
    /// What is wrong and what to do.
    pub finding: Box<Finding>,
}

impl From<Finding> for FileFault {
    fn from(finding: Finding) -> Self {
        Self { finding: Box::new(finding) }
    }
}

/// One row and what it means.
#[derive(Debug)]
pub struct Row<'a> {
    /// The row as a spreadsheet shows it.
    pub number: u64,
    /// Its cells as they stand in the file.
    pub raw: Raw<'a>,
    /// What it means.
    pub kind: RowKind<'a>,
    /// Remarks; the row goes in all the same.
    pub warnings: &'a [Finding],
}

/// What a row means.
#[derive(Debug)]
pub enum RowKind<'a> {
    /// A conversion that may go in.
    Conversion(Candidate<'a>),
    /// A change of an earlier conversion.
    Adjustment(Adjustment<'a>),
    /// A person who said no; nothing of the row is kept.
    Denied,
    /// Not usable, for these reasons; never empty.
    Refused(&'a [Finding]),
    /// Left out, as `--skip` asks.
    Skipped(Code),
}

/// The cells of a row as they stand in the file.
#[derive(Debug)]
pub struct Raw<'a>(RawCells<'a>);

#[derive(Debug)]
enum RawCells<'a> {
    Csv(Record<'a>),
    Json(Vec<&'a str>),
}

impl<'a> Raw<'a> {
    /// How many cells there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            RawCells::Csv(record) => record.len(),
            RawCells::Json(cells) => cells.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A cell; empty beyond the last.
    pub fn cell(&self, index: usize) -> &'a str {
        match &self.0 {
            RawCells::Csv(record) => record.cell(index),
            RawCells::Json(cells) => cells.get(index).copied().unwrap_or(""),
        }
    }
}

/// A conversion file being read, in memory that does not grow with it.
pub struct Reader<R> {
    records: Records<R>,
    form: Form,
    rules: Rules,
    found: Found,
    seen: Seen,
    skip: Vec<Code>,
    summary: Summary,
    columns: Vec<Box<str>>,
    warnings: Vec<Finding>,
    zone: Option<String>,
}

enum Form {
    Csv(Layout),
    /// JSON lines: the current one.
    Jsonl(Option<Box<ConversionInput>>, Vec<(Column, Box<str>)>),
}

impl<R: Read> Reader<R> {
    /// Reads what stands before the rows: encoding, Parameters row, header.
    pub fn open(input: R, options: &Options, context: &Context) -> Result<Self, FileFault> {
        let mut records = Records::new(Text::open(input, options.encoding.as_deref())?);
        let opening = Opening::read(&mut records, options.format)?;
        let form = match opening.separator {
            None => {
                records.cut(Cut::Lines);
                Form::Jsonl(None, header::fills(options)?)
            }
            Some(separator) => {
                records.cut(Cut::Cells(separator));
                let header = records.next()?.ok_or_else(|| Finding::file(Code::EmptyFile, "the file has no header"))?;
                Form::Csv(Layout::resolve(&header, options)?)
            }
        };
        let (titles, columns, warnings) = match &form {
            Form::Csv(layout) => (layout.titles.clone(), layout.names.clone(), layout.warnings.clone()),
            Form::Jsonl(..) => (json::titles(), json::columns(), Vec::new()),
        };
        let mut reader = Self {
            records,
            form,
            rules: Rules::new(context, options, times(options, opening.zone.as_ref())?),
            found: Found::new(titles),
            seen: Seen::new(options.index_bytes),
            skip: options.skip.clone(),
            summary: Summary::default(),
            columns,
            warnings: Vec::new(),
            zone: opening.zone.map(|(zone, _)| zone),
        };
        reader.remark(warnings);
        Ok(reader)
    }

    /// The file's header, for the rejects file; for JSON lines, the columns of the template.
    pub fn columns(&self) -> &[Box<str>] {
        &self.columns
    }

    /// The zone of the Parameters row.
    pub fn parameters_time_zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// Remarks on the whole file; complete once the last row has been read.
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// What became of the rows so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The next row that is not blank; `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "rows borrow from the reader, which iterators cannot express")]
    pub fn next(&mut self) -> Result<Option<Row<'_>>, FileFault> {
        let Some(record) = self.records.next()? else {
            if self.summary.rows == 0 && self.warnings.iter().all(|w| w.code != Code::NoRows) {
                let finding = Finding::file(Code::NoRows, Code::NoRows.meaning()).warning();
                *self.summary.warnings.entry(finding.code).or_default() += 1;
                self.warnings.push(finding);
            }
            return Ok(None);
        };
        self.found.start(record.row);
        self.summary.rows += 1;
        let (mut verdict, raw) = match &mut self.form {
            Form::Csv(layout) => (judge_csv(layout, &record, &mut self.rules, &mut self.found), RawCells::Csv(record)),
            Form::Jsonl(line, fills) => judge_json(line, fills, &record, &mut self.rules, &mut self.found),
        };
        if !is_first(&verdict, &mut self.seen, &mut self.found)? {
            verdict = Verdict::Refused;
        }
        let skipped = self.skip.iter().copied().find(|code| self.found.errors.iter().any(|finding| finding.code == *code));
        count(&verdict, skipped, &self.found, &mut self.summary);
        let (kind, warnings) = match (verdict, skipped) {
            (Verdict::Conversion(candidate), _) => (RowKind::Conversion(candidate), &self.found.warnings[..]),
            (Verdict::Adjustment(adjustment), _) => (RowKind::Adjustment(adjustment), &self.found.warnings[..]),
            (Verdict::Denied, _) => (RowKind::Denied, &[][..]),
            (Verdict::Refused, Some(code)) => (RowKind::Skipped(code), &[][..]),
            (Verdict::Refused, None) => (RowKind::Refused(&self.found.errors), &self.found.warnings[..]),
        };
        Ok(Some(Row { number: record.row, raw: Raw(raw), kind, warnings }))
    }

    fn remark(&mut self, warnings: Vec<Finding>) {
        for warning in &warnings {
            *self.summary.warnings.entry(warning.code).or_default() += 1;
        }
        self.warnings.extend(warnings);
    }
}

fn judge_csv<'a>(layout: &'a Layout, record: &Record<'a>, rules: &mut Rules, found: &mut Found) -> Verdict<'a> {
    let wanted = layout.columns.len();
    if record.len() != wanted && !(record.len() > wanted && record.iter().skip(wanted).all(|cell| cell.trim().is_empty())) {
        let reason = format!("the row has {} cells, the header {wanted}", record.len());
        if record.cut {
            found.refuse(Code::TruncatedRow, format!("the file ends in the middle of the row: {reason}"));
        } else {
            found.refuse(Code::WrongCellCount, reason);
        }
        return Verdict::Refused;
    }
    let mut cells = Cells::empty();
    for (cell, column) in record.iter().zip(&layout.columns) {
        if let Some(column) = column {
            cells.put(*column, cell, found);
        }
    }
    for (column, text) in &layout.fills {
        cells.fill(*column, text);
    }
    match layout.kind {
        Kind::Conversions => rules.conversion(&cells, Person::InRow, found),
        Kind::Adjustments => rules.adjustment(&cells, found),
    }
}

fn judge_json<'a>(
    line: &'a mut Option<Box<ConversionInput>>,
    fills: &'a [(Column, Box<str>)],
    record: &Record<'_>,
    rules: &mut Rules,
    found: &mut Found,
) -> (Verdict<'a>, RawCells<'a>) {
    if record.too_long {
        found.refuse(Code::RowTooLong, Code::RowTooLong.meaning());
        return (Verdict::Refused, RawCells::Json(Vec::new()));
    }
    *line = json::parse(record.line(), found).map(Box::new);
    let Some(input) = line.as_ref() else { return (Verdict::Refused, RawCells::Json(Vec::new())) };
    let mut cells = json::cells(input, found);
    for (column, text) in fills {
        cells.fill(*column, text);
    }
    (rules.conversion(&cells, Person::InRow, found), RawCells::Json(json::raw(&cells)))
}

/// Whether no earlier row has said the same; if one has, that is an error.
fn is_first(verdict: &Verdict<'_>, seen: &mut Seen, found: &mut Found) -> Result<bool, Finding> {
    let (key, by) = match verdict {
        Verdict::Conversion(candidate) => match (candidate.order_id, candidate.click_id) {
            (Some(_), _) => (candidate.natural_key, "an earlier row has the same action and order id"),
            (None, Some(_)) => (candidate.natural_key, "an earlier row has the same action, click id and time"),
            (None, None) => (candidate.natural_key, "an earlier row has the same action, person and time"),
        },
        Verdict::Adjustment(adjustment) => (adjustment.key(), "an earlier row has the same conversion, adjustment time and type"),
        Verdict::Denied | Verdict::Refused => return Ok(true),
    };
    let new = seen.insert(key.short()).map_err(|e| Finding::file(Code::ReadFailed, format!("the temporary index failed: {e}")))?;
    if !new {
        found.refuse(Code::DuplicateInFile, by);
    }
    Ok(new)
}

/// Counts a row and its findings; of denied and skipped rows only that they were there.
fn count(verdict: &Verdict<'_>, skipped: Option<Code>, found: &Found, summary: &mut Summary) {
    match (verdict, skipped) {
        (Verdict::Denied, _) => {
            summary.denied += 1;
            return;
        }
        (Verdict::Refused, Some(_)) => {
            summary.skipped += 1;
            return;
        }
        (Verdict::Refused, None) => {
            summary.refused += 1;
            summary.duplicates += u64::from(found.errors.iter().any(|finding| finding.code == Code::DuplicateInFile));
        }
        (Verdict::Conversion(_) | Verdict::Adjustment(_), _) => summary.accepted += 1,
    }
    for (findings, counts) in [(&found.errors, &mut summary.errors), (&found.warnings, &mut summary.warnings)] {
        for finding in findings {
            *counts.entry(finding.code).or_default() += 1;
        }
    }
}
