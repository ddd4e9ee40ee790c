//! The second reading of a file: good rows are captured, a few thousand at a time.

use std::sync::Arc;

use adsengineer_core::{
    engine::{Batch, Engine, Incoming},
    finding::{Code, Finding},
    import::{Adjustment, Candidate, Change, Context as FileContext, Options, Reader, RowKind},
    org::Caller,
    store::Captured,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Target;
use crate::{
    commands::{
        check::{Checked, RejectsFile},
        import_flags::Input,
    },
    context::Context,
    error::CliError,
};

/// Rows captured in one transaction.
const BATCH: usize = 4000;

/// What is to be captured.
pub struct Job<'a> {
    /// The file.
    pub input: &'a Input,
    /// How it is read.
    pub options: &'a Options,
    /// Whose it is.
    pub context: &'a FileContext,
    /// Whether other values restate.
    pub restate: bool,
    /// How consent was established where rows do not say.
    pub proof: Option<Arc<str>>,
    /// Rows in the file.
    pub total: u64,
}

/// What became of the rows.
#[derive(Debug, Default)]
pub struct Accepted {
    /// Counts and findings, those of the first reading included.
    pub checked: Checked,
    /// New conversions.
    pub new: u64,
    /// Known already, with the same content.
    pub known: u64,
    /// Restated.
    pub restated: u64,
    /// Read to the end.
    pub complete: bool,
}

impl Accepted {
    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({"new": self.new, "known": self.known, "restated": self.restated, "refused": self.checked.summary.refused, "denied": self.checked.summary.denied})
    }

    /// For people.
    pub fn line(&self) -> String {
        let mut line = format!("captured {} new conversions", self.new);
        if self.known > 0 {
            line += &format!(", {} known already and not sent again", self.known);
        }
        if self.restated > 0 {
            line += &format!(", {} restated", self.restated);
        }
        line
    }
}

/// A row that waits for its batch, and what is needed to refuse it after all.
pub struct Waiting {
    /// Its number in the file.
    pub row: u64,
    cells: Vec<Box<str>>,
}

/// Rows on their way into the store.
#[derive(Default)]
pub struct Open {
    /// What is to be captured.
    pub incoming: Vec<Incoming>,
    /// The rows of it, in the same order.
    pub waiting: Vec<Waiting>,
    /// Rows read, whatever became of them.
    pub rows: u64,
    refused: u64,
    denied: u64,
}

/// Captures the rows of a file. Ends early, between batches, when `stop` turns true.
pub async fn accept(
    job: &Job<'_>,
    engine: &Engine,
    caller: &Caller,
    target: &mut Target,
    context: &Context,
    rejects: &mut Option<RejectsFile>,
    stop: &watch::Receiver<bool>,
) -> Result<Accepted, CliError> {
    let bar = context.out.bar(job.total, "capturing");
    let mut accepted = Accepted::default();
    let mut reader = Reader::open(job.input.read()?, job.options, job.context)?;
    if let Some(rejects) = rejects {
        rejects.begin(reader.columns(), reader.parameters_time_zone())?;
    }
    let keep_cells = rejects.is_some();
    let mut open = Open::default();
    loop {
        let more = fill(&mut reader, job, target, &mut open, &mut accepted.checked, rejects, keep_cells)?;
        bar.inc(open.rows);
        flush(&mut open, job, engine, caller, target, &mut accepted, rejects).await?;
        if !more {
            accepted.complete = true;
            break;
        }
        if *stop.borrow() {
            break;
        }
    }
    bar.finish_and_clear();
    reader.warnings().iter().for_each(|finding| accepted.checked.keep(&job.input.name, finding));
    Ok(accepted)
}

/// Reads rows until a batch is full; `false` at the end of the file.
pub fn fill<R: std::io::Read>(
    reader: &mut Reader<R>,
    job: &Job<'_>,
    target: &mut Target,
    open: &mut Open,
    checked: &mut Checked,
    rejects: &mut Option<RejectsFile>,
    keep_cells: bool,
) -> Result<bool, CliError> {
    while open.rows < BATCH as u64 {
        let Some(row) = reader.next()? else { return Ok(false) };
        open.rows += 1;
        checked.summary.rows += 1;
        row.warnings.iter().for_each(|finding| checked.warned(&job.input.name, finding));
        let cells = || if keep_cells { (0..row.raw.len()).map(|i| row.raw.cell(i).into()).collect() } else { Vec::new() };
        let incoming = match &row.kind {
            RowKind::Conversion(candidate) => Some((candidate.action.clone(), conversion(candidate.clone()))),
            RowKind::Adjustment(change) => Some((change.action.clone(), adjustment(change))),
            RowKind::Denied => {
                open.denied += 1;
                checked.summary.denied += 1;
                None
            }
            RowKind::Skipped(_) => {
                checked.summary.skipped += 1;
                open.refused += 1;
                None
            }
            RowKind::Refused(findings) => {
                findings.iter().for_each(|finding| checked.keep(&job.input.name, finding));
                findings.iter().take(1).for_each(|finding| checked.refused(finding.code));
                open.refused += 1;
                if let Some(rejects) = rejects {
                    rejects.write(&row)?;
                }
                None
            }
        };
        let Some((action, incoming)) = incoming else { continue };
        if target.knows(&action) {
            open.waiting.push(Waiting { row: row.number, cells: cells() });
            open.incoming.push(incoming);
        } else {
            let reason = format!("destination `{}` has no conversion action `{action}`", target.destination.name);
            refuse(&Waiting { row: row.number, cells: cells() }, Code::UnknownAction, &reason, job, checked, rejects)?;
            open.refused += 1;
        }
    }
    Ok(true)
}

fn conversion(candidate: Candidate<'_>) -> Incoming {
    let key = candidate.natural_key;
    Incoming::Conversion(Box::new(candidate.into_conversion()), key)
}

fn adjustment(change: &Adjustment<'_>) -> Incoming {
    let value = match change.change {
        Change::Restate(money) => Some(money),
        Change::Retract => None,
    };
    Incoming::Adjustment { key: change.conversion_key, action: change.action.clone(), at: change.adjusted_at.as_second(), value }
}

/// Captures what is open and judges what the store said of each row.
async fn flush(
    open: &mut Open,
    job: &Job<'_>,
    engine: &Engine,
    caller: &Caller,
    target: &Target,
    accepted: &mut Accepted,
    rejects: &mut Option<RejectsFile>,
) -> Result<(), CliError> {
    let Open { incoming, waiting, rows, refused, denied } = std::mem::take(open);
    if rows == 0 {
        return Ok(());
    }
    let (source, proof) = (format!("file:{}", job.input.name).into(), job.proof.clone());
    let batch = Batch { source, consent_proof: proof, rows, refused, denied, restate: job.restate, incoming };
    let captured = engine.accept(caller, batch, std::slice::from_ref(&target.destination)).await?;
    for (captured, waiting) in captured.iter().zip(&waiting) {
        match captured {
            Captured::New(_) => accepted.new += 1,
            Captured::Known { .. } => accepted.known += 1,
            Captured::Restated { .. } => accepted.restated += 1,
            Captured::Different { value, field, .. } => {
                let was = value.map_or_else(|| "the action's default".to_owned(), |money| money.to_string());
                let reason = if *field == "value" {
                    format!("captured before with {was}; this row says something else")
                } else {
                    format!("captured before with another {}, and a value of {was}", field.replace('_', " "))
                };
                refuse(waiting, Code::AlreadyCapturedDifferent, &reason, job, &mut accepted.checked, rejects)?;
                continue;
            }
            Captured::OrderIdTaken { owner } => {
                refuse(waiting, Code::OrderIdTaken, &format!("the order id belongs to {owner}"), job, &mut accepted.checked, rejects)?;
                continue;
            }
            Captured::Suppressed => {
                refuse(waiting, Code::SuppressedPerson, Code::SuppressedPerson.meaning(), job, &mut accepted.checked, rejects)?;
                continue;
            }
            Captured::OriginalMissing => {
                refuse(waiting, Code::OriginalMissing, Code::OriginalMissing.meaning(), job, &mut accepted.checked, rejects)?;
                continue;
            }
        }
        accepted.checked.summary.accepted += 1;
    }
    Ok(())
}

/// Refuses a row that was read without fault.
pub fn refuse(
    waiting: &Waiting,
    code: Code,
    reason: &str,
    job: &Job<'_>,
    checked: &mut Checked,
    rejects: &mut Option<RejectsFile>,
) -> Result<(), CliError> {
    let finding = Finding::file(code, reason.to_owned()).at(waiting.row);
    checked.keep(&job.input.name, &finding);
    checked.refused(code);
    match rejects {
        Some(rejects) => rejects.write_cells(&waiting.cells, &finding),
        None => Ok(()),
    }
}
