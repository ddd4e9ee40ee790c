//! The rejects file: refused rows as they stood, and why, to be corrected and given again.

use std::io::Write;

use crate::finding::Finding;

use super::{
    header::REJECT_COLUMNS,
    reader::{Row, RowKind},
};

/// Why a rejects file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("writing the rejects file failed")]
pub struct RejectsFailed(#[from] csv::Error);

impl From<std::io::Error> for RejectsFailed {
    fn from(error: std::io::Error) -> Self {
        Self(error.into())
    }
}

/// Writes refused rows as CSV in UTF-8.
pub struct Rejects<W: Write> {
    writer: csv::Writer<W>,
    columns: usize,
}

impl<W: Write> Rejects<W> {
    /// Begins a file with these original `columns`, and the original's zone.
    pub fn new(writer: W, columns: &[Box<str>], time_zone: Option<&str>) -> Result<Self, RejectsFailed> {
        let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(writer);
        if let Some(zone) = time_zone {
            writer.write_record([format!("Parameters:TimeZone={zone}")])?;
        }
        let ours = columns.len().saturating_sub(REJECT_COLUMNS.len());
        let kept = if columns[ours..].iter().map(|name| &**name).eq(REJECT_COLUMNS) { ours } else { columns.len() };
        writer.write_record(columns[..kept].iter().map(|name| &**name).chain(REJECT_COLUMNS))?;
        Ok(Self { writer, columns: kept })
    }

    /// Writes `row` if it was refused: the first reason's code, all reasons and hints.
    pub fn write(&mut self, row: &Row<'_>) -> Result<(), RejectsFailed> {
        let RowKind::Refused(findings @ [first, ..]) = &row.kind else { return Ok(()) };
        for index in 0..self.columns {
            self.writer.write_field(row.raw.cell(index))?;
        }
        self.write_reasons(row.number, first, findings)
    }

    /// Writes a row that was refused after it was read, for one reason.
    pub fn write_cells(&mut self, cells: &[Box<str>], finding: &Finding) -> Result<(), RejectsFailed> {
        for index in 0..self.columns {
            self.writer.write_field(cells.get(index).map_or("", |cell| cell))?;
        }
        self.write_reasons(finding.row.unwrap_or(0), finding, std::slice::from_ref(finding))
    }

    fn write_reasons(&mut self, row: u64, first: &Finding, findings: &[Finding]) -> Result<(), RejectsFailed> {
        let joined = |texts: Vec<&str>| texts.join("; ");
        self.writer.write_field(row.to_string())?;
        self.writer.write_field(first.code.as_str())?;
        self.writer.write_field(joined(findings.iter().map(|finding| &*finding.reason).collect()))?;
        self.writer.write_field(joined(findings.iter().map(|finding| &*finding.hint).collect()))?;
        self.writer.write_record(None::<&[u8]>)?;
        Ok(())
    }

    /// Writes what is still buffered and gives the writer back.
    pub fn finish(mut self) -> Result<W, RejectsFailed> {
        self.writer.flush()?;
        self.writer.into_inner().map_err(|e| e.into_error().into())
    }
}
