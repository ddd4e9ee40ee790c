//! `upload` to a server: the file is read and checked here, its good rows are posted, the server delivers them.

use std::time::{Duration, Instant};

use adsengineer_core::{
    conversion::Conversion,
    engine::{Incoming, new_token_id},
    finding::Code,
    id::DestinationId,
    import::Reader,
    shape::Destination,
    store::{Health, StoredDestination},
};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    Accepted, Args, Inspected, Target,
    rows::{Job, Open, Waiting, fill, refuse},
    summary_json,
};
use crate::{
    api::{Api, Remote},
    client::{Client, Request},
    commands::{
        check::{self, RejectsFile},
        destination, running,
    },
    context::Context,
    error::{CliError, Exit},
    output::Report,
};

/// Conversions of one request; the server takes no more.
const CHUNK: usize = 2000;
/// Between two looks of `--wait`.
const LOOK: Duration = Duration::from_secs(1);
/// States in which a delivery still changes by itself.
const MOVING: [&str; 4] = ["queued", "in_flight", "retrying", "awaiting_confirmation"];

/// What became of conversions, in order.
#[derive(Deserialize)]
struct Answer {
    conversions: Vec<Receipt>,
}

/// What became of one.
#[derive(Deserialize)]
struct Receipt {
    duplicate: bool,
    findings: Vec<Remark>,
}

/// A remark on one.
#[derive(Deserialize)]
struct Remark {
    code: String,
    hint: String,
    severity: String,
}

/// Refuses flags that only work where the database is.
pub fn usable(args: &Args) -> Result<(), CliError> {
    let named = |(name, id): &(String, String)| name != id;
    let flags = [
        ("--sandbox", args.sandbox),
        ("--customer-id", args.customer_id.is_some()),
        ("--login-customer-id", args.login_customer_id.is_some()),
        ("--order-id-prefix", args.order_id_prefix.is_some()),
        ("--restate", args.restate),
        ("--dry-run", args.dry_run),
        ("--validate-only", args.validate_only),
        ("--default-consent", args.import.default_consent.is_some()),
        ("--action 'Name=ID'", args.action.iter().any(named)),
    ];
    match flags.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((flag, _)) => Err(CliError::usage(format!("`upload` with {flag} works on this machine only, and a server is in use")).hint(
            "leave it out, or give --database to work on a database of this machine; `destination add` changes the server's destination",
        )),
    }
}

/// Posts the good rows of a file.
pub async fn deliver(args: &Args, context: &Context, file: &Inspected, client: Client) -> Result<Report, CliError> {
    let stop = running::stop_signal();
    let api = Remote::new(client);
    let shown = destination(&args.to, &api).await?;
    let name = shown.name.clone();
    let mut target = Target::of(stored(shown, context)?);
    let mut rejects = RejectsFile::new(args.rejects.as_ref());
    let job = Job {
        input: &file.input,
        options: &file.options,
        context: &file.context,
        restate: false,
        proof: None,
        total: file.checked.summary.rows,
    };
    let accepted = post(&job, &api, &mut target, context, &mut rejects, &stop).await?;
    rejects.map(RejectsFile::finish).transpose()?;
    let open = match args.wait {
        Some(wait) if accepted.complete => Some(settled(&api, &name, wait, &stop).await?),
        _ => None,
    };
    let summary = &accepted.checked.summary;
    let exit = match (accepted.complete && !*stop.borrow(), summary.refused) {
        (false, _) => Exit::Interrupted,
        (true, 1..) => Exit::Refused,
        (true, 0) => Exit::Ok,
    };
    let mut json = summary_json(&accepted.checked, Some(&accepted));
    json["destination"] = name.as_str().into();
    json["open"] = open.into();
    let then = match open {
        Some(0) => format!("everything at {name} is settled; `adsengineer status` shows how"),
        Some(open) => format!("{open} deliveries at {name} are not settled yet; `adsengineer status` shows them"),
        None => format!("the server sends them to {name}; `adsengineer status` shows how far it is"),
    };
    let text = format!("{}{}\n{}\n{then}", accepted.checked.text(), check::summary_line(summary), accepted.line());
    Ok(Report::ok(text, json).exit(exit))
}

/// The server's destination of that name, or the only one of that kind.
async fn destination(to: &str, api: &Remote) -> Result<Destination, CliError> {
    let all = api.destinations().await?.destinations;
    let names: Vec<_> = all.iter().map(|d| d.name.clone()).collect();
    let (named, kind): (Vec<_>, Vec<_>) = all.into_iter().filter(|d| d.name == to || d.kind == to).partition(|d| d.name == to);
    let mut fitting = if named.is_empty() { kind } else { named };
    match (fitting.pop(), fitting.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(CliError::usage(format!("several destinations fit: {}", names.join(", "))).hint("name one with --to")),
        (None, _) => Err(CliError::new(Exit::NotFound, "NO_DESTINATION", format!("the server has no destination `{to}`"))
            .hint("`adsengineer destination add` makes one there")),
    }
}

fn stored(shown: Destination, context: &Context) -> Result<StoredDestination, CliError> {
    Ok(StoredDestination {
        id: DestinationId(0),
        org: context.org()?,
        name: shown.name.as_str().into(),
        spec: destination::spec(shown)?,
        credentials: None,
        health: Health::default(),
    })
}

async fn post(
    job: &Job<'_>,
    api: &Remote,
    target: &mut Target,
    context: &Context,
    rejects: &mut Option<RejectsFile>,
    stop: &watch::Receiver<bool>,
) -> Result<Accepted, CliError> {
    let bar = context.out.bar(job.total, "posting");
    let mut accepted = Accepted::default();
    let mut reader = Reader::open(job.input.read()?, job.options, job.context)?;
    if let Some(rejects) = rejects {
        rejects.begin(reader.columns(), reader.parameters_time_zone())?;
    }
    let keep_cells = rejects.is_some();
    // Repeats of this run's requests are done once; another run's rows are known by what they are.
    let run = new_token_id();
    let mut chunk = 0;
    loop {
        let mut open = Open::default();
        let more = fill(&mut reader, job, target, &mut open, &mut accepted.checked, rejects, keep_cells)?;
        bar.inc(open.rows);
        let rows: Vec<_> = open.incoming.iter().zip(&open.waiting).collect();
        for rows in rows.chunks(CHUNK) {
            chunk += 1;
            send(rows, &format!("{run}-{chunk}"), job, api, target, &mut accepted, rejects).await?;
        }
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

async fn send(
    rows: &[(&Incoming, &Waiting)],
    key: &str,
    job: &Job<'_>,
    api: &Remote,
    target: &Target,
    accepted: &mut Accepted,
    rejects: &mut Option<RejectsFile>,
) -> Result<(), CliError> {
    let (mut bodies, mut waiting) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for (incoming, row) in rows {
        if let Incoming::Conversion(conversion, _) = incoming {
            bodies.push(body(conversion, &target.destination.name));
            waiting.push(*row);
        } else {
            let reason = "changes of captured conversions cannot be given to a server; upload them where it runs";
            refuse(row, Code::OriginalMissing, reason, job, &mut accepted.checked, rejects)?;
        }
    }
    if bodies.is_empty() {
        return Ok(());
    }
    let request = Request::new(Method::POST, &["api", "v1", "conversions"]).json(&Value::Array(bodies)).once(key.to_owned());
    let answer: Answer = api.client().call(request).await.map_err(|error| of_rows(error, &waiting))?;
    for (receipt, row) in answer.conversions.iter().zip(waiting) {
        if let Some(remark) = receipt.findings.iter().find(|remark| remark.severity == "error") {
            let strange = |_| CliError::new(Exit::Internal, "STRANGE_ANSWER", format!("row {}: the server says {}", row.row, remark.code));
            refuse(row, remark.code.parse().map_err(strange)?, &remark.hint, job, &mut accepted.checked, rejects)?;
            continue;
        }
        if receipt.duplicate {
            accepted.known += 1;
        } else {
            accepted.new += 1;
        }
        accepted.checked.summary.accepted += 1;
    }
    Ok(())
}

/// A refusal of rows that this machine let pass is about rows, not about the command line.
fn of_rows(error: CliError, waiting: &[&Waiting]) -> CliError {
    let (Exit::Usage, Some(first), Some(last)) = (error.exit, waiting.first(), waiting.last()) else { return error };
    let message = format!("rows {} to {} were refused together: {}", first.row, last.row, error.message);
    CliError { exit: Exit::Refused, message, ..error }
}

/// A conversion as the API reads it.
fn body(c: &Conversion, destination: &str) -> Value {
    let person = &c.identifiers;
    let mut body = json!({
        "action": c.action, "occurred_at": c.occurred_at, "consent": c.consent, "destinations": [destination],
        "value": c.value.as_ref().map(|money| money.decimal().to_string()),
        "currency": c.value.as_ref().map(|money| money.currency.to_string()),
        "order_id": c.order_id.as_ref().map(ToString::to_string),
    });
    if let Some(click) = &c.click_id {
        body[click.kind().as_str()] = click.as_str().into();
    }
    if !person.is_empty() {
        let [email, phone, first_name, last_name] =
            [&person.email, &person.phone, &person.first_name, &person.last_name].map(|known| known.as_ref().map(|one| one.text()));
        body["identifiers"] = json!({"email": email, "phone": phone, "first_name": first_name, "last_name": last_name,
            "country": person.country, "postal_code": person.postal_code});
    }
    body
}

/// Waits until nothing at the destination changes by itself any more; returns how many deliveries still do.
async fn settled(api: &Remote, name: &str, wait: Duration, stop: &watch::Receiver<bool>) -> Result<u64, CliError> {
    let until = Instant::now() + wait;
    loop {
        let standing = api.status().await?.destinations.into_iter().find(|s| s.name == name);
        let moving = standing.map_or(0, |s| MOVING.iter().filter_map(|state| s.states.get(*state)).sum());
        if moving == 0 || *stop.borrow() || Instant::now() >= until {
            return Ok(moving);
        }
        tokio::time::sleep(LOOK).await;
    }
}
