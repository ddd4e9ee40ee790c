//! `doctor`: is this machine fit to work?

use adsengineer_core::{engine::Engine, org::Caller, store::Database};
use serde_json::json;

use crate::{
    context::{Context, config_file},
    error::{CliError, Exit},
    output::{Report, table},
};

/// Check this machine: configuration, database, keys, credentials.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 10 if something is wrong. Credentials are tried against the platform unless --offline is given.")]
pub struct Args {
    /// Do not call any platform
    #[arg(long)]
    offline: bool,
}

struct Finding {
    check: String,
    ok: bool,
    detail: String,
    hint: String,
}

fn good(check: &str, detail: impl Into<String>) -> Finding {
    Finding { check: check.to_owned(), ok: true, detail: detail.into(), hint: String::new() }
}

fn bad(check: &str, error: &CliError) -> Finding {
    Finding { check: check.to_owned(), ok: false, detail: error.message.clone(), hint: error.hint.clone().unwrap_or_default() }
}

/// Runs the command.
pub async fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    let mut findings = vec![configuration(context), place(context)];
    let database = context.database()?;
    findings.push(key(context, &database));
    if database.may_exist() {
        match context.engine().await {
            Ok(engine) => {
                findings.push(good("database", format!("{database} opens, schema up to date")));
                let caller = context.caller()?;
                findings.extend(destinations(args, &engine, &caller).await?);
                findings.extend(sum(&engine, &caller).await);
            }
            Err(error) => findings.push(bad("database", &error)),
        }
    } else {
        findings.push(good("database", format!("{database} is not there yet; the first upload makes it")));
    }
    findings.push(clock(context));
    Ok(report(&findings))
}

fn configuration(context: &Context) -> Finding {
    match (context.settings.file(), config_file()) {
        (Some(file), _) => good("configuration", format!("read from {}", file.display())),
        (None, Some(file)) => good("configuration", format!("no file at {}; defaults and environment only", file.display())),
        (None, None) => good("configuration", "defaults and environment only"),
    }
}

fn place(context: &Context) -> Finding {
    match context.place_text() {
        Ok(place) => good("in use", place),
        Err(error) => bad("in use", &error),
    }
}

fn key(context: &Context, database: &Database) -> Finding {
    if let Some(origin) = context.settings.origin("encryption_key") {
        return match context.vault(database) {
            Ok(_) => good("encryption key", format!("from {origin}")),
            Err(error) => bad("encryption key", &error),
        };
    }
    let Some(file) = Context::key_file(database) else {
        return match context.vault(database) {
            Ok(_) => good("encryption key", "from the configuration"),
            Err(error) => bad("encryption key", &error),
        };
    };
    if !database.may_exist() && !file.exists() {
        return good("encryption key", format!("will be made at {} with the database", file.display()));
    }
    match context.vault(database) {
        Ok(_) => good(
            "encryption key",
            format!(
                "{}; keep a copy of it apart from the database: without it nothing sealed can be read, backups included",
                file.display()
            ),
        ),
        Err(error) => bad("encryption key", &error),
    }
}

async fn destinations(args: &Args, engine: &Engine, caller: &Caller) -> Result<Vec<Finding>, CliError> {
    let mut findings = Vec::new();
    for destination in engine.destinations(caller).await? {
        let check = format!("destination {}", destination.name);
        if let Some(hold) = &destination.health.hold {
            findings.push(Finding {
                check: check.clone(),
                ok: false,
                detail: format!("everything is held: {}: {}", hold.why.code, hold.why.detail),
                hint: adsengineer_core::destination::google::codes::next_action(&hold.why.code).to_owned(),
            });
        }
        if args.offline {
            findings.push(good(&check, "not tried (--offline)"));
            continue;
        }
        let tried = engine.try_destination(&destination).await;
        if tried.is_empty() {
            findings.push(good(&check, "token and account work"));
        }
        findings.extend(tried.into_iter().map(|f| Finding {
            check: check.clone(),
            ok: !f.blocking,
            detail: format!("{}: {}", f.code, f.reason),
            hint: f.hint,
        }));
    }
    Ok(findings)
}

async fn sum(engine: &Engine, caller: &Caller) -> Vec<Finding> {
    match engine.reconciliation(caller).await {
        Ok(sum) if sum.closes() => vec![good("reconciliation", format!("the sum closes over {} deliveries", sum.captured))],
        Ok(sum) => vec![Finding {
            check: "reconciliation".to_owned(),
            ok: false,
            detail: format!("{} deliveries captured, {} found", sum.captured, sum.states.values().sum::<u64>()),
            hint: "stop all workers and keep a copy of the database".to_owned(),
        }],
        Err(error) => vec![bad("reconciliation", &error.into())],
    }
}

fn clock(context: &Context) -> Finding {
    let now = context.clock().now();
    match context.settings.origin("now") {
        Some(origin) => Finding {
            check: "clock".to_owned(),
            ok: false,
            detail: format!("moved to {now} by {origin}"),
            hint: "unset it outside of tests".to_owned(),
        },
        None => good("clock", format!("{now}; a clock that is wrong by minutes makes Google refuse service accounts")),
    }
}

fn report(findings: &[Finding]) -> Report {
    let row = |f: &Finding| {
        let detail = if f.hint.is_empty() { f.detail.clone() } else { format!("{}\n→ {}", f.detail, f.hint) };
        vec![if f.ok { "ok" } else { "WRONG" }.to_owned(), f.check.clone(), detail]
    };
    let all_ok = findings.iter().all(|f| f.ok);
    let list: Vec<_> = findings.iter().map(|f| json!({"check": f.check, "ok": f.ok, "detail": f.detail, "hint": f.hint})).collect();
    let text = table(&["", "check", "what"], findings.iter().map(row));
    Report::ok(text, json!({"ok": all_ok, "checks": list})).exit(if all_ok { Exit::Ok } else { Exit::Differences })
}
