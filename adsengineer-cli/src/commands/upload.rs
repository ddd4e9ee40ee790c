//! `upload`: a conversion file goes in, every row is delivered once or explained.

mod dry_run;
mod remote;
mod rows;
mod target;

use std::{path::PathBuf, sync::Arc, time::Duration};

use adsengineer_core::{
    destination::CustomerId,
    engine::Engine,
    import::{Context as FileContext, Options},
};
use adsengineer_server::sandbox::{Sandbox, SandboxOptions};
use serde_json::json;

use super::{
    check::{self, Checked, RejectsFile},
    destination::action,
    import_flags::{ImportFlags, Input},
    running,
};
use crate::{
    context::Context,
    error::{CliError, Exit},
    output::Report,
};
pub use rows::{Accepted, Job, accept};
pub use target::Target;

/// Send a conversion file to a platform; safe to run again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The whole file is checked before anything is sent. A row that was captured before is not sent again, whatever file it comes from.\n\nExit codes: 3 rows refused or dead, 4 credentials, 5 configuration, 8 platform down, 9 quota; after 4, 5, 8 and 9 run it again.\n\nExamples:\n  adsengineer upload deals.csv --to google --action 987654321 --customer-id 123-456-7890 --dry-run\n  adsengineer upload deals.csv --to shop --default-consent granted --wait\n  adsengineer upload deals.csv --to google --sandbox"
)]
pub struct Args {
    /// A file in one of Google's templates, a CRM export or JSON lines; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to: a destination's name, or a kind (google)
    #[arg(long, value_name = "NAME", default_value = "google")]
    to: String,
    /// A conversion action and its id ('Qualified lead=987654321'), or the id for every row
    #[arg(long, value_name = "NAME=ID", value_parser = action)]
    action: Vec<(String, String)>,
    /// Account that owns the conversion actions
    #[arg(long, value_name = "ID")]
    customer_id: Option<CustomerId>,
    /// Manager account through which the credentials reach it
    #[arg(long, value_name = "ID")]
    login_customer_id: Option<CustomerId>,
    /// Put before every order id
    #[arg(long, value_name = "TEXT")]
    order_id_prefix: Option<String>,
    /// Rows already captured with another value become restatements; one with another click id is refused
    #[arg(long)]
    restate: bool,
    /// Print the exact requests, send and store nothing
    #[arg(long, conflicts_with_all = ["validate_only", "sandbox"])]
    dry_run: bool,
    /// Let the platform check the requests; nothing is stored, here or there
    #[arg(long)]
    validate_only: bool,
    /// Write refused rows here, with row, code, reason and hint, to be corrected and given again
    #[arg(long, value_name = "OUT.csv")]
    rejects: Option<PathBuf>,
    /// Until everything is final, verdicts included, or this time has passed
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "1h", require_equals = true, value_parser = adsengineer_server::config::parse_duration)]
    wait: Option<Duration>,
    /// Send to a stand-in on this machine, with a database of its own that is thrown away
    #[arg(long)]
    sandbox: bool,
    #[command(flatten)]
    import: ImportFlags,
}

impl Args {
    /// The action for rows that name none: the bare id, if there is just one.
    fn default_action(&self) -> Option<&str> {
        self.action.iter().find(|(name, id)| name == id).map(|(_, id)| id.as_str())
    }
}

/// A file that was read once and can be used.
struct Inspected {
    input: Input,
    options: Options,
    context: FileContext,
    checked: Checked,
}

/// How long `--sandbox` waits for everything to be final when `--wait` says nothing: its database is gone afterwards.
const SANDBOX_WAIT: Duration = Duration::from_secs(30);

/// Runs the command. Nothing is opened or made before the whole file has been read.
pub async fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    if args.sandbox {
        context.only_here("upload --sandbox")?;
    }
    let server = if args.sandbox { None } else { context.remote().await? };
    if server.is_some() {
        remote::usable(args)?;
    }
    let file = inspect(args, context)?;
    if let Some(fault) = &file.checked.fault {
        let text = format!("{}{}: the file cannot be used as it is; nothing was sent", file.checked.text(), fault.code);
        return Ok(Report::ok(text, summary_json(&file.checked, None)).exit(Exit::Usage));
    }
    if let Some(client) = server {
        return remote::deliver(args, context, &file, client).await;
    }
    if args.sandbox {
        return sandboxed(args, context, &file).await;
    }
    let given = target::Given::of(args);
    if args.dry_run || args.validate_only {
        return unstored(args, context, &file, &given, None).await;
    }
    deliver(args, context, &file, &given, &context.engine().await?).await
}

fn inspect(args: &Args, context: &Context) -> Result<Inspected, CliError> {
    let input = Input::open(&args.file)?;
    let options = args.import.options(context, args.default_action())?;
    let file_context = FileContext { org: context.org()?, now: context.clock().now() };
    let mut checked = Checked::default();
    check::read_all(&input, &options, &file_context, &mut checked, &mut None)?;
    Ok(Inspected { input, options, context: file_context, checked })
}

async fn sandboxed(args: &Args, context: &Context, file: &Inspected) -> Result<Report, CliError> {
    let folder = tempfile::tempdir()?;
    let sandbox = Sandbox::start(SandboxOptions::default()).await?;
    context.out.note("sandbox: nothing leaves this machine; a database of its own is used and thrown away");
    let engine = context.engine_on(folder.path().join("sandbox.db").into(), &sandbox).await?;
    let given = target::Given { credentials: Some(sandbox.credentials_json().into()), ..target::Given::of(args) };
    let report = if args.validate_only {
        unstored(args, context, file, &given, Some(&engine)).await
    } else {
        deliver(args, context, file, &given, &engine).await
    };
    drop(engine);
    sandbox.shutdown().await;
    report
}

/// `--dry-run` and `--validate-only`.
async fn unstored(
    args: &Args,
    context: &Context,
    file: &Inspected,
    given: &target::Given<'_>,
    engine: Option<&Engine>,
) -> Result<Report, CliError> {
    let mut target = target::resolve(given, context, engine, args.dry_run).await?;
    let door = if args.validate_only { Some(target::door(given, context, engine, &target).await?) } else { None };
    dry_run::run(args, context, &file.input, &file.options, &file.context, &mut target, door).await
}

async fn deliver(args: &Args, context: &Context, file: &Inspected, given: &target::Given<'_>, engine: &Engine) -> Result<Report, CliError> {
    let mut target = target::resolve(given, context, Some(engine), false).await?;
    let caller = context.caller()?;
    let stop = running::stop_signal();
    engine.release(&caller, &target.destination).await?;
    let mut rejects = RejectsFile::new(args.rejects.as_ref());
    let proof = args.import.default_consent.map(|answer| consent_proof(&file.input, answer.as_str(), context));
    let job = rows::Job {
        input: &file.input,
        options: &file.options,
        context: &file.context,
        restate: args.restate,
        proof,
        total: file.checked.summary.rows,
    };
    let accepted = rows::accept(&job, engine, &caller, &mut target, context, &mut rejects, &stop).await?;
    rejects.map(RejectsFile::finish).transpose()?;
    let report = running::work(
        context,
        engine,
        vec![target.destination.id],
        running::goal(args.wait.or(args.sandbox.then_some(SANDBOX_WAIT)), false, engine),
        accepted.new,
        stop.clone(),
    )
    .await?;
    let exit = running::exit(&report, accepted.checked.summary.refused > 0, *stop.borrow());
    let mut json = summary_json(&accepted.checked, Some(&accepted));
    json["delivery"] = running::to_json(&report);
    json["destination"] = target.destination.name.as_ref().into();
    let text = format!(
        "{}{}\n{}\n{}",
        accepted.checked.text(),
        check::summary_line(&accepted.checked.summary),
        accepted.line(),
        running::text(&report)
    );
    Ok(Report::ok(text, json).exit(exit))
}

/// Who answered for the rows that say nothing about consent, when, and for which file.
fn consent_proof(input: &Input, answer: &str, context: &Context) -> Arc<str> {
    use sha2::{Digest, Sha256};
    use std::io::Read as _;
    let mut hash = Sha256::new();
    if let Ok(mut reader) = input.read() {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n) = reader.read(&mut buffer) {
            if n == 0 {
                break;
            }
            hash.update(&buffer[..n]);
        }
    }
    let digest = hash.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let who = std::env::var_os("USER").map(|user| user.to_string_lossy().into_owned());
    json!({"answer": answer, "method": "import", "who": who, "at": context.clock().now(), "file_sha256": digest}).to_string().into()
}

fn summary_json(checked: &Checked, accepted: Option<&Accepted>) -> serde_json::Value {
    json!({
        "findings": checked.json_findings(), "findings_omitted": checked.omitted, "summary": checked.summary,
        "captured": accepted.map(Accepted::to_json),
    })
}
