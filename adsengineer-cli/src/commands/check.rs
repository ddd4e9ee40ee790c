//! `check`: what would happen to the rows of a file, without sending anything.

use std::{collections::BTreeMap, path::PathBuf};

use adsengineer_core::{
    finding::{Finding, Severity},
    import::{Context as FileContext, FileFault, Options, Reader, Rejects, RowKind, Summary},
};
use serde_json::{Value, json};

use super::import_flags::{ImportFlags, Input};
use crate::{
    context::Context,
    error::{CliError, Exit},
    output::{Report, table},
};

/// Findings kept for the report; all of them are in the rejects file.
const KEPT: usize = 10_000;
/// Findings shown to people.
const SHOWN: usize = 20;

/// Check conversion files without sending anything.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code 10 if any row would be refused, 2 if a file cannot be used at all.\n\nExamples:\n  adsengineer check deals.csv\n  adsengineer check deals.csv --map 'Close Date=Conversion Time' --time-zone Europe/Berlin --rejects bad.csv\n  crm-export | adsengineer check -"
)]
pub struct Args {
    /// Files in Google's templates, CRM exports or JSON lines; `-` reads standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    import: ImportFlags,
    /// Write refused rows here, with row, code, reason and hint, to be corrected and given again
    #[arg(long, value_name = "OUT.csv")]
    rejects: Option<PathBuf>,
}

/// What checking a file found.
#[derive(Debug, Default)]
pub struct Checked {
    /// Counts.
    pub summary: Summary,
    /// Findings, with the name of their file; no more than can be kept.
    pub findings: Vec<(String, Finding)>,
    /// Findings not kept.
    pub omitted: u64,
    /// Rows refused, by row, for the rejects file of a later pass.
    pub fault: Option<Finding>,
}

impl Checked {
    /// Keeps a finding.
    pub fn keep(&mut self, file: &str, finding: &Finding) {
        if self.findings.len() < KEPT { self.findings.push((file.to_owned(), finding.clone())) } else { self.omitted += 1 }
    }

    /// Keeps a warning and counts it.
    pub fn warned(&mut self, file: &str, finding: &Finding) {
        *self.summary.warnings.entry(finding.code).or_default() += 1;
        self.keep(file, finding);
    }

    /// Counts a refused row.
    pub fn refused(&mut self, code: adsengineer_core::finding::Code) {
        self.summary.refused += 1;
        *self.summary.errors.entry(code).or_default() += 1;
        self.summary.duplicates += u64::from(code == adsengineer_core::finding::Code::DuplicateInFile);
    }

    /// The findings as JSON.
    pub fn json_findings(&self) -> Vec<Value> {
        let one = |(file, finding): &(String, Finding)| {
            let mut value = serde_json::to_value(finding).unwrap_or_default();
            if let Some(object) = value.as_object_mut() {
                object.insert("file".to_owned(), file.clone().into());
            }
            value
        };
        self.findings.iter().map(one).collect()
    }

    /// The findings for people: errors first, at most a screenful, then counts by code.
    pub fn text(&self) -> String {
        let mut ordered: Vec<_> = self.findings.iter().collect();
        ordered.sort_by_key(|(_, finding)| finding.severity != Severity::Error);
        let row = |(file, finding): &&(String, Finding)| {
            let place = finding.row.map_or_else(|| file.clone(), |row| format!("{file}:{row}"));
            vec![
                place,
                finding.column.as_deref().unwrap_or("").to_owned(),
                finding.code.to_string(),
                format!("{}\n→ {}", finding.reason, finding.hint),
            ]
        };
        let mut text = String::new();
        if !ordered.is_empty() {
            text += &table(&["row", "column", "code", "what, and what to do"], ordered.iter().take(SHOWN).map(row));
            text.push('\n');
        }
        let more = ordered.len().saturating_sub(SHOWN) as u64 + self.omitted;
        if more > 0 {
            text += &format!("… and {more} more findings: {}\n", counts(&self.summary));
        }
        text
    }
}

fn counts(summary: &Summary) -> String {
    let all: BTreeMap<_, u64> = summary.errors.iter().chain(&summary.warnings).map(|(code, count)| (code.as_str(), *count)).collect();
    all.iter().map(|(code, count)| format!("{code} {count}")).collect::<Vec<_>>().join(", ")
}

/// One line that says what became of the rows.
pub fn summary_line(summary: &Summary) -> String {
    let mut line = format!("{} rows: {} good, {} refused", summary.rows, summary.accepted, summary.refused);
    for (count, what) in
        [(summary.denied, "without consent"), (summary.skipped, "skipped"), (summary.duplicates, "of the refused duplicates")]
    {
        if count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    line
}

/// Reads a whole file; `row` sees every row. A fault of the file ends it and is kept.
pub fn read_all(
    input: &Input,
    options: &Options,
    context: &FileContext,
    checked: &mut Checked,
    rejects: &mut Option<RejectsFile>,
) -> Result<(), CliError> {
    let opened = Reader::open(input.read()?, options, context);
    let mut reader = match opened {
        Ok(reader) => reader,
        Err(fault) => {
            faulted(input, fault, checked);
            return Ok(());
        }
    };
    if let Some(rejects) = rejects {
        rejects.begin(reader.columns(), reader.parameters_time_zone())?;
    }
    loop {
        let row = match reader.next() {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(fault) => {
                add(&mut checked.summary, reader.summary());
                {
                    faulted(input, fault, checked);
                    return Ok(());
                };
            }
        };
        if let RowKind::Refused(findings) = &row.kind {
            findings.iter().for_each(|finding| checked.keep(&input.name, finding));
            if let Some(rejects) = rejects {
                rejects.write(&row)?;
            }
        }
        row.warnings.iter().for_each(|finding| checked.keep(&input.name, finding));
    }
    reader.warnings().iter().for_each(|finding| checked.keep(&input.name, finding));
    add(&mut checked.summary, reader.summary());
    Ok(())
}

fn faulted(input: &Input, fault: FileFault, checked: &mut Checked) {
    checked.findings.insert(0, (input.name.clone(), (*fault.finding).clone()));
    checked.fault.get_or_insert(*fault.finding);
}

fn add(total: &mut Summary, one: &Summary) {
    total.rows += one.rows;
    total.accepted += one.accepted;
    total.refused += one.refused;
    total.denied += one.denied;
    total.skipped += one.skipped;
    total.duplicates += one.duplicates;
    one.errors.iter().for_each(|(code, n)| *total.errors.entry(*code).or_default() += n);
    one.warnings.iter().for_each(|(code, n)| *total.warnings.entry(*code).or_default() += n);
}

/// The rejects file, made when the header of the original is known.
pub struct RejectsFile {
    path: PathBuf,
    writer: Option<Rejects<std::fs::File>>,
}

impl RejectsFile {
    /// Will write to `path`.
    pub fn new(path: Option<&PathBuf>) -> Option<Self> {
        path.map(|path| Self { path: path.clone(), writer: None })
    }

    /// Begins the file, when the header of the original is known.
    pub fn begin(&mut self, columns: &[Box<str>], zone: Option<&str>) -> Result<(), CliError> {
        if self.writer.is_none() {
            let file = std::fs::File::create(&self.path).map_err(|e| self.failed(&e))?;
            self.writer = Some(Rejects::new(file, columns, zone).map_err(|e| self.failed(&e))?);
        }
        Ok(())
    }

    /// Writes a refused row.
    pub fn write(&mut self, row: &adsengineer_core::import::Row<'_>) -> Result<(), CliError> {
        let written = self.writer.as_mut().map(|writer| writer.write(row));
        written.transpose().map(|_| ()).map_err(|e| self.failed(&e))
    }

    /// Writes a row that was refused after it was read.
    pub fn write_cells(&mut self, cells: &[Box<str>], finding: &Finding) -> Result<(), CliError> {
        let written = self.writer.as_mut().map(|writer| writer.write_cells(cells, finding));
        written.transpose().map(|_| ()).map_err(|e| self.failed(&e))
    }

    /// Writes what is still buffered.
    pub fn finish(mut self) -> Result<(), CliError> {
        let finished = self.writer.take().map(Rejects::finish);
        finished.transpose().map(|_| ()).map_err(|e| self.failed(&e))
    }

    fn failed(&self, reason: &dyn std::fmt::Display) -> CliError {
        CliError::new(Exit::Usage, "REJECTS", format!("{} cannot be written: {reason}", self.path.display()))
    }
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    let options = args.import.options(context, None)?;
    let file_context = FileContext { org: context.org()?, now: context.clock().now() };
    let mut checked = Checked::default();
    let mut rejects = RejectsFile::new(args.rejects.as_ref());
    for path in &args.files {
        read_all(&Input::open(path)?, &options, &file_context, &mut checked, &mut rejects)?;
    }
    rejects.map(RejectsFile::finish).transpose()?;
    let exit = match (&checked.fault, checked.summary.refused) {
        (Some(_), _) => Exit::Usage,
        (None, 1..) => Exit::Differences,
        _ => Exit::Ok,
    };
    let mut text = checked.text();
    text += &summary_line(&checked.summary);
    if exit == Exit::Usage {
        text += "\nthe file cannot be used as it is; nothing of it would be sent";
    }
    let json = json!({"findings": checked.json_findings(), "findings_omitted": checked.omitted, "summary": checked.summary});
    Ok(Report::ok(text, json).exit(exit))
}
