//! Collects what is found while one row is judged.

use std::{borrow::Cow, sync::Arc};

use super::columns::Column;
use crate::{
    finding::{Code, Finding, Severity},
    preflight::Verdict,
};

/// The findings of the current row; its memory is reused for every row.
pub(crate) struct Found {
    row: u64,
    /// What the file calls each column.
    titles: Vec<Arc<str>>,
    pub(crate) errors: Vec<Finding>,
    pub(crate) warnings: Vec<Finding>,
}

impl Found {
    pub(crate) fn new(titles: Vec<Arc<str>>) -> Self {
        Self { row: 0, titles, errors: Vec::new(), warnings: Vec::new() }
    }

    /// Forgets the last row.
    pub(crate) fn start(&mut self, row: u64) {
        self.row = row;
        self.errors.clear();
        self.warnings.clear();
    }

    /// Refuses the row for a reason in `column`.
    pub(crate) fn error(&mut self, column: Column, code: Code, reason: impl Into<Cow<'static, str>>) {
        let finding = self.finding(code, reason).column(self.titles[column as usize].clone());
        self.errors.push(finding);
    }

    /// Refuses the row as a whole.
    pub(crate) fn refuse(&mut self, code: Code, reason: impl Into<Cow<'static, str>>) {
        let finding = self.finding(code, reason);
        self.errors.push(finding);
    }

    /// Remarks on `column`.
    pub(crate) fn warn(&mut self, column: Column, code: Code, reason: impl Into<Cow<'static, str>>) {
        let finding = self.finding(code, reason).column(self.titles[column as usize].clone()).warning();
        self.warnings.push(finding);
    }

    /// Takes what a preflight rule says of `column`.
    pub(crate) fn take(&mut self, column: Column, verdict: Option<Verdict>) {
        match verdict {
            Some(Verdict { code, severity: Severity::Error, reason }) => self.error(column, code, reason),
            Some(Verdict { code, severity: Severity::Warning, reason }) => self.warn(column, code, reason),
            None => {}
        }
    }

    fn finding(&self, code: Code, reason: impl Into<Cow<'static, str>>) -> Finding {
        Finding::file(code, reason).at(self.row)
    }
}
