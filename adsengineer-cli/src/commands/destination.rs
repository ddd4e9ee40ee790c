//! `destination add|list|show|check|login|actions|set-credentials|enable|disable|remove`.

pub mod credentials;
mod login;

use std::{collections::BTreeMap, path::PathBuf};

use adsengineer_core::{
    destination::{CustomerId, DestinationKind, DestinationSpec},
    engine::Engine,
    org::Caller,
    store::StoredDestination,
};
use serde_json::{Value, json};

use crate::{
    context::Context,
    error::{CliError, Exit},
    output::{Report, table},
};

/// Set up, try and manage destinations.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  adsengineer destination add shop --customer-id 123-456-7890 --action 'Sale=987654321' --credentials-file key.json\n  adsengineer destination login shop --client-file client_secret.json\n  adsengineer destination check shop"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Create a destination, or change one
    Add(Add),
    /// List destinations
    List,
    /// Show one destination
    Show { name: String },
    /// Try token and account; on success let every held row go and close the breaker
    Check { name: String },
    /// Sign in with a browser and store the grant
    Login(login::Args),
    /// List conversion actions and their ids
    Actions { name: String },
    /// Store credentials, sealed: from a file, `-`, the environment or a prompt
    SetCredentials {
        name: String,
        /// `service_account` or `authorized_user` JSON; `-` reads standard input
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Send to it again
    Enable { name: String },
    /// Send nothing to it for now; rows wait
    Disable { name: String },
    /// Remove it; open deliveries are stopped
    Remove {
        name: String,
        /// Even with open deliveries
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Add {
    /// How it is called here
    name: String,
    /// Which platform
    #[arg(long, default_value = "google", value_parser = kind)]
    kind: DestinationKind,
    /// Account that owns the conversion actions, such as 123-456-7890
    #[arg(long, value_name = "ID")]
    customer_id: Option<CustomerId>,
    /// Manager account through which the credentials reach it
    #[arg(long, value_name = "ID")]
    login_customer_id: Option<CustomerId>,
    /// A conversion action and its id: 'Qualified lead=987654321'
    #[arg(long, value_name = "NAME=ID", value_parser = action)]
    action: Vec<(String, String)>,
    /// Put before every order id
    #[arg(long, value_name = "TEXT")]
    order_id_prefix: Option<String>,
    /// `service_account` or `authorized_user` JSON; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,
}

/// The kinds there are, and a clear word about those to come.
pub fn kind(text: &str) -> Result<DestinationKind, String> {
    match text {
        "google" => Ok(DestinationKind::Google),
        "google-ads" | "google_ads" | "meta" => Err("this version sends to `google` (Data Manager) only".to_owned()),
        _ => Err("google".to_owned()),
    }
}

/// `Name=ID` of a conversion action.
pub fn action(text: &str) -> Result<(String, String), String> {
    let (name, id) = text.rsplit_once('=').unwrap_or((text, text));
    let (name, id) = (name.trim(), id.trim());
    if name.is_empty() || id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
        return Err("write it as 'Qualified lead=987654321' or as the bare id; the id has digits only, as Google Ads shows it".to_owned());
    }
    Ok((name.to_owned(), id.to_owned()))
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    let (engine, caller) = (context.engine()?, context.caller()?);
    match args.verb {
        Verb::Add(args) => add(args, context, &engine, &caller).await,
        Verb::List => list(&engine, &caller).await,
        Verb::Show { name } => Ok(show(&engine.destination(&caller, &name).await?)),
        Verb::Check { name } => check(&name, &engine, &caller).await,
        Verb::Login(args) => login::run(&args, context, &engine, &caller).await,
        Verb::Actions { name } => Ok(actions(&engine.destination(&caller, &name).await?)),
        Verb::SetCredentials { name, file } => {
            let destination = engine.destination(&caller, &name).await?;
            let secret = credentials::obtain(context, file.as_deref())?;
            engine.put_destination(&caller, &name, destination.spec, Some(&secret)).await?;
            Ok(Report::ok(
                format!("stored the credentials of {name}, sealed; `adsengineer destination check {name}` tries them"),
                json!({"name": name}),
            ))
        }
        Verb::Enable { name } => enable(&name, true, &engine, &caller).await,
        Verb::Disable { name } => enable(&name, false, &engine, &caller).await,
        Verb::Remove { name, force } => remove(&name, force, context, &engine, &caller).await,
    }
}

async fn add(args: Add, context: &Context, engine: &Engine, caller: &Caller) -> Result<Report, CliError> {
    let known = engine.destinations(caller).await?.into_iter().find(|d| d.name.as_ref() == args.name).map(|d| d.spec);
    let configured = |key: &str| context.settings.text(key).and_then(|text| text.parse::<CustomerId>().ok());
    let customer_id = args.customer_id.or_else(|| known.as_ref().map(|k| k.customer_id)).or_else(|| configured("google_customer_id"));
    let customer_id = customer_id.ok_or_else(|| CliError::usage("nothing says which account").hint("give --customer-id 123-456-7890"))?;
    let mut spec = known.unwrap_or(DestinationSpec {
        kind: args.kind,
        customer_id,
        login_customer_id: configured("google_login_customer_id"),
        actions: BTreeMap::new(),
        order_id_prefix: None,
        credentials_ref: None,
        enabled: true,
    });
    spec.customer_id = customer_id;
    spec.login_customer_id = args.login_customer_id.or(spec.login_customer_id);
    spec.order_id_prefix = args.order_id_prefix.or(spec.order_id_prefix);
    spec.actions.extend(args.action);
    let secret = match &args.credentials_file {
        Some(file) => Some(credentials::from_file(file)?),
        None => credentials::configured(context)?,
    };
    let stored = engine.put_destination(caller, &args.name, spec, secret.as_ref()).await?;
    let mut report = show(&stored);
    if stored.credentials.is_none() {
        report.text += &format!(
            "\nno credentials yet: `adsengineer destination login {0} --client-file F` or `adsengineer destination set-credentials {0}`",
            args.name
        );
    }
    Ok(report)
}

async fn list(engine: &Engine, caller: &Caller) -> Result<Report, CliError> {
    let all = engine.destinations(caller).await?;
    let row = |d: &StoredDestination| {
        let state = if d.spec.enabled { "enabled" } else { "disabled" };
        vec![
            d.name.to_string(),
            d.spec.kind.to_string(),
            d.spec.customer_id.to_string(),
            d.spec.actions.len().to_string(),
            state.to_owned(),
            has(d).to_owned(),
        ]
    };
    let text = if all.is_empty() {
        "no destinations yet; `adsengineer destination add` makes one".to_owned()
    } else {
        table(&["name", "kind", "account", "actions", "state", "credentials"], all.iter().map(row))
    };
    Ok(Report::ok(text, json!({"destinations": all.iter().map(to_json).collect::<Vec<_>>()})))
}

fn has(destination: &StoredDestination) -> &'static str {
    if destination.credentials.is_some() {
        "stored"
    } else if destination.spec.credentials_ref.is_some() {
        "configured"
    } else {
        "missing"
    }
}

fn to_json(d: &StoredDestination) -> Value {
    let mut value = serde_json::to_value(&d.spec).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.insert("name".to_owned(), d.name.as_ref().into());
        object.insert("id".to_owned(), d.id.to_string().into());
        object.insert("credentials".to_owned(), has(d).into());
        object.insert("breaker".to_owned(), d.health.breaker.as_str().into());
        object.insert("hold".to_owned(), serde_json::to_value(&d.health.hold).unwrap_or_default());
    }
    value
}

fn show(d: &StoredDestination) -> Report {
    let mut text = format!("{}: {} account {}", d.name, d.spec.kind, d.spec.customer_id);
    text += &d.spec.login_customer_id.map(|id| format!(" through manager {id}")).unwrap_or_default();
    text += &d.spec.order_id_prefix.as_ref().map(|prefix| format!(", order ids start with `{prefix}`")).unwrap_or_default();
    text += &format!(
        "\n{}, credentials {}, breaker {}",
        if d.spec.enabled { "enabled" } else { "disabled" },
        has(d),
        d.health.breaker.as_str()
    );
    for (name, id) in &d.spec.actions {
        text += &format!("\n  {name} = {id}");
    }
    if let Some(hold) = &d.health.hold {
        text += &format!("\neverything is held because {}: {}", hold.why.code, hold.why.detail);
    }
    Report::ok(text, to_json(d))
}

async fn check(name: &str, engine: &Engine, caller: &Caller) -> Result<Report, CliError> {
    let (findings, released) = engine.check_destination(caller, name).await?;
    let ok = !findings.iter().any(|f| f.blocking);
    let row = |f: &adsengineer_core::destination::CheckFinding| {
        vec![if f.blocking { "error" } else { "warning" }.to_owned(), f.code.clone(), format!("{}\n→ {}", f.reason, f.hint)]
    };
    let mut text =
        if findings.is_empty() { String::new() } else { table(&["", "code", "what, and what to do"], findings.iter().map(row)) + "\n" };
    text += &if ok {
        format!("{name} works; {released} held rows were let go")
    } else {
        format!("{name} does not work yet; nothing was let go")
    };
    let json = json!({"ok": ok, "findings": findings, "released": released});
    Ok(Report::ok(text, json).exit(if ok { Exit::Ok } else { Exit::Differences }))
}

fn actions(d: &StoredDestination) -> Report {
    let row = |(name, id): (&String, &String)| vec![name.clone(), id.clone()];
    let mut text = table(&["action", "id"], d.spec.actions.iter().map(row));
    text += "\nThese are the actions set up here. Data Manager offers no list of an account's actions; Google Ads shows an action's id as `ctId` in its address.";
    Report::ok(text, json!({"name": d.name, "actions": d.spec.actions}))
}

async fn enable(name: &str, enabled: bool, engine: &Engine, caller: &Caller) -> Result<Report, CliError> {
    let destination = engine.destination(caller, name).await?;
    let stored = engine.put_destination(caller, name, DestinationSpec { enabled, ..destination.spec }, None).await?;
    Ok(show(&stored))
}

async fn remove(name: &str, force: bool, context: &Context, engine: &Engine, caller: &Caller) -> Result<Report, CliError> {
    let destination = engine.destination(caller, name).await?;
    let status = engine.status(caller).await?.into_iter().find(|s| s.destination.id == destination.id);
    let open: u64 = status.map_or(0, |s| s.states.iter().filter(|(state, _)| !state.is_final()).map(|(_, n)| n).sum());
    if open > 0 && !force {
        return Err(CliError::new(Exit::Conflict, "OPEN_DELIVERIES", format!("{name} has {open} open deliveries, which would be stopped"))
            .hint("`adsengineer work` finishes them, or give --force"));
    }
    context.confirm(&format!("remove {name}?"))?;
    let stopped = engine.remove_destination(caller, name).await?;
    Ok(Report::ok(format!("removed {name}; {stopped} deliveries were stopped"), json!({"name": name, "stopped": stopped})))
}
