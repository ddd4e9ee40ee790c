//! `demo`: the whole product in one command, against a stand-in for Google on this machine.

mod sample;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use adsengineer_core::{
    destination::{DestinationKind, DestinationSpec},
    engine::Engine,
    import::{Context as FileContext, Options},
    org::Caller,
    shape::DeadLetter,
    store::{DeadLetterQuery, RepairAction, StoredDestination},
    worker::Goal,
};
use adsengineer_server::sandbox::{Counters, Fault, FaultPlan, Sandbox, SandboxOptions};
use serde_json::json;

use super::{
    check::{self, Checked},
    import_flags::Input,
    reconcile, running, status,
    upload::{self, Target},
    views,
};
use crate::{
    api::{Api, Local},
    context::Context,
    error::{CliError, Exit},
    output::{Report, table},
};

/// Show the whole product in one go: nothing to configure, nothing leaves this machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Keep the sample file and the database in this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// The demo's engine with what surrounds it.
struct Stage<'a> {
    context: &'a Context,
    engine: Engine,
    caller: Caller,
    sandbox: &'a Sandbox,
    destination: StoredDestination,
}

/// Runs the command.
pub async fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    let temporary = tempfile::tempdir()?;
    let folder = args.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("deals.csv");
    let database = folder.join("demo.db");
    if database.exists() {
        return Err(CliError::new(Exit::Conflict, "DEMO_EXISTS", format!("{} is there already", database.display()))
            .hint("choose an empty folder for --keep"));
    }
    let now = context.clock().now();
    std::fs::write(&file, sample::file(now))?;
    let sandbox = Sandbox::start(SandboxOptions {
        actions: Some([(ACCOUNT.to_owned(), ACTION.to_owned())].into()),
        click_verdicts: true,
        faults: faults(),
        ..SandboxOptions::default()
    })
    .await?;
    let result = play(context, &sandbox, &file, &database).await;
    sandbox.shutdown().await;
    let mut report = result?;
    if let Some(folder) = &args.keep {
        report.text += &format!(
            "\n\nkept in {}: deals.csv and demo.db; `adsengineer --database sqlite://{} conversion list` looks inside",
            folder.display(),
            database.display()
        );
    }
    Ok(report)
}

const ACCOUNT: &str = "1234567890";
const ACTION: &str = "987654321";

/// What goes wrong on the way, in this order.
fn faults() -> FaultPlan {
    FaultPlan::none()
        .at(1, Fault::Unavailable503)
        .at(2, Fault::ResetAfterCommit)
        .at(3, Fault::ExpiredToken401)
        .at(4, Fault::Quota429 { retry_delay: Some(Duration::from_secs(1)) })
}

async fn play(context: &Context, sandbox: &Sandbox, file: &Path, database: &Path) -> Result<Report, CliError> {
    let out = context.out;
    out.note("A stand-in for Google runs on this machine; it is as strict as the real one, and nothing leaves the machine.\n");
    let stage = stage(context, sandbox, database).await?;

    out.note(&format!("1. Check the file: adsengineer check {}\n", file.display()));
    let input = Input::open(file)?;
    let (options, file_context) = (Options::default(), FileContext { org: stage.caller.org().clone(), now: context.clock().now() });
    let mut checked = Checked::default();
    check::read_all(&input, &options, &file_context, &mut checked, &mut None)?;
    out.note(&format!("{}{}\n", checked.text(), check::summary_line(&checked.summary)));

    out.note("2. Upload it while things go wrong: a 503, a connection that breaks after Google has taken the request, an expired token, a quota\n");
    let mut target = Target::of(stage.destination.clone());
    let stop = running::stop_signal();
    let job =
        upload::Job { input: &input, options: &options, context: &file_context, restate: false, proof: None, total: checked.summary.rows };
    let accepted = upload::accept(&job, &stage.engine, &stage.caller, &mut target, context, &mut None, &stop).await?;
    let sent = stage.work(accepted.new).await?;
    out.note(&format!("{}\n{}\n", accepted.line(), running::text(&sent)));
    out.note(&format!("{}\n", met(&sandbox.counters())));

    out.note("3. What could not be delivered is a dead letter with its reason: adsengineer dlq list\n");
    let letters = Local::new(stage.engine.clone(), stage.caller.clone()).dead_letters(&DeadLetterQuery::default()).await?.dead_letters;
    out.note(&format!("{}\n", dead(&letters)));

    out.note("4. The cause is put right, and the dead letters are sent again: adsengineer dlq replay --all && adsengineer work\n");
    sandbox.set_click_verdicts(false);
    let ids = letters.iter().filter_map(|letter| letter.id.parse().ok()).collect();
    stage.engine.repair(&stage.caller, ids, RepairAction::Replay { every_ms: 0 }, None).await?;
    let again = stage.work(letters.len() as u64).await?;
    out.note(&format!("{}\n", running::text(&again)));

    out.note("5. The same file once more: nothing is sent twice\n");
    let known = upload::accept(&job, &stage.engine, &stage.caller, &mut target, context, &mut None, &stop).await?;
    out.note(&format!("{}\n", known.line()));
    stage.close(&checked, &accepted).await
}

async fn stage<'a>(context: &'a Context, sandbox: &'a Sandbox, database: &Path) -> Result<Stage<'a>, CliError> {
    let engine = context.engine_on(database.to_owned().into(), sandbox).await?;
    let caller = context.caller()?;
    let spec = DestinationSpec {
        kind: DestinationKind::Google,
        customer_id: ACCOUNT.parse().map_err(|e| CliError::new(Exit::Internal, "INTERNAL", format!("{e}")))?,
        login_customer_id: None,
        actions: [("Qualified lead".to_owned(), ACTION.to_owned())].into(),
        order_id_prefix: None,
        credentials_ref: None,
        enabled: true,
    };
    let destination = engine.put_destination(&caller, "google-demo", spec, Some(&sandbox.credentials_json().into())).await?;
    Ok(Stage { context, engine, caller, sandbox, destination })
}

impl Stage<'_> {
    /// Works until everything is final, for at most ten seconds.
    async fn work(&self, rows: u64) -> Result<adsengineer_core::worker::RunReport, CliError> {
        let deadline = self.engine.clock().now().saturating_add(jiff::SignedDuration::from_secs(10)).unwrap_or(jiff::Timestamp::MAX);
        let never = tokio::sync::watch::Sender::new(false);
        running::work(self.context, &self.engine, vec![self.destination.id], Goal::Final { deadline }, rows, never.subscribe()).await
    }

    /// The sum, and the stand-in's own count as the proof.
    async fn close(&self, checked: &Checked, accepted: &upload::Accepted) -> Result<Report, CliError> {
        let out = self.context.out;
        out.note("6. The sum closes: adsengineer status, adsengineer reconcile\n");
        let api = Local::new(self.engine.clone(), self.caller.clone());
        out.note(&format!("{}\n", status::text(&api.status().await?, self.engine.clock().now())));
        let sum = api.reconciliation().await?;
        let counters = self.sandbox.counters();
        let delivered = sum.states.get("delivered").copied().unwrap_or(0);
        let proven = counters.conversions == delivered && counters.overwritten == 0 && sum.closes && delivered == accepted.new;
        let text = format!(
            "{}\nThe stand-in's own count: {} conversions, {} of them received more than once and counted once, none overwritten.\n\n{}\n\nInstall:  cargo install --path adsengineer-cli\nNext:     adsengineer check YOUR_FILE.csv\n          adsengineer upload YOUR_FILE.csv --to google --action ACTION_ID --customer-id 123-456-7890 --dry-run",
            reconcile::text(&sum),
            counters.conversions,
            counters.repeated,
            if proven { "Every row was delivered once or explained." } else { "SOMETHING IS WRONG: the counts differ." },
        );
        let json = json!({
            "rows": checked.summary.rows, "refused": checked.summary.refused, "denied": checked.summary.denied, "captured": accepted.new,
            "delivered": delivered, "closes": sum.closes, "proven": proven,
            "sandbox": {"conversions": counters.conversions, "repeated": counters.repeated, "overwritten": counters.overwritten, "faults": counters.faults},
        });
        Ok(Report::ok(text, json).exit(if proven { Exit::Ok } else { Exit::Internal }))
    }
}

fn met(counters: &Counters) -> String {
    let faults: Vec<_> = counters.faults.iter().map(|(name, n)| format!("{n} × {name}")).collect();
    format!(
        "On the way it met {}. {} events reached the stand-in, {} of them again; it counted {} conversions.",
        faults.join(", "),
        counters.events_received,
        counters.repeated,
        counters.conversions
    )
}

fn dead(letters: &[DeadLetter]) -> String {
    let row = |l: &DeadLetter| {
        vec![
            views::name(l.payload.order_id.as_deref(), l.payload.click_id.as_deref()),
            views::money(l.payload.value.as_deref(), l.payload.currency.as_deref()),
            l.reason.clone().unwrap_or_default(),
            l.next_action.clone(),
        ]
    };
    table(&["click or order", "value", "reason", "next action"], letters.iter().map(row))
}
