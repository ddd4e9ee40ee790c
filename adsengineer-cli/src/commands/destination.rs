//! `destination add|list|show|check|login|actions|set-credentials|enable|disable|remove`.

pub mod credentials;
mod login;

use std::{collections::BTreeMap, path::PathBuf};

use adsengineer_core::{
    delivery::State,
    destination::{CheckFinding, CustomerId, DestinationKind, DestinationSpec},
    shape::Destination,
};
use serde_json::json;

use crate::{
    api::Api,
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
    let api = context.api().await?;
    let api = api.as_ref();
    match args.verb {
        Verb::Add(args) => add(args, context, api).await,
        Verb::List => list(api).await,
        Verb::Show { name } => Ok(show(&api.destination(&name).await?)),
        Verb::Check { name } => check(&name, api).await,
        Verb::Login(args) => login::run(&args, context, api).await,
        Verb::Actions { name } => Ok(actions(&api.destination(&name).await?)),
        Verb::SetCredentials { name, file } => {
            let spec = spec(api.destination(&name).await?)?;
            let secret = credentials::obtain(context, file.as_deref())?;
            api.put_destination(&name, spec, Some(&secret)).await?;
            Ok(Report::ok(
                format!("stored the credentials of {name}, sealed; `adsengineer destination check {name}` tries them"),
                json!({"name": name}),
            ))
        }
        Verb::Enable { name } => enable(&name, true, api).await,
        Verb::Disable { name } => enable(&name, false, api).await,
        Verb::Remove { name, force } => remove(&name, force, context, api).await,
    }
}

/// How a destination is set up, to be changed and put back.
pub fn spec(shown: Destination) -> Result<DestinationSpec, CliError> {
    let strange = |what: &str| CliError::new(Exit::Internal, "STRANGE_DESTINATION", format!("`{}` has {what} unknown here", shown.name));
    let id = |text: &str| text.parse::<CustomerId>().map_err(|_| strange("an account id"));
    Ok(DestinationSpec {
        kind: kind(&shown.kind).map_err(|_| strange("a kind"))?,
        customer_id: id(&shown.customer_id)?,
        login_customer_id: shown.login_customer_id.as_deref().map(id).transpose()?,
        actions: shown.actions,
        order_id_prefix: shown.order_id_prefix,
        credentials_ref: None,
        enabled: shown.enabled,
    })
}

async fn add(args: Add, context: &Context, api: &dyn Api) -> Result<Report, CliError> {
    let known = api.destinations().await?.destinations.into_iter().find(|d| d.name == args.name).map(spec).transpose()?;
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
    let stored = api.put_destination(&args.name, spec, secret.as_ref()).await?;
    let mut report = show(&stored);
    if stored.credentials == "missing" {
        report.text += &format!(
            "\nno credentials yet: `adsengineer destination login {0} --client-file F` or `adsengineer destination set-credentials {0}`",
            args.name
        );
    }
    Ok(report)
}

async fn list(api: &dyn Api) -> Result<Report, CliError> {
    let all = api.destinations().await?;
    let row = |d: &Destination| {
        let state = if d.enabled { "enabled" } else { "disabled" };
        let texts = [&d.name, &d.kind, &d.customer_id, &d.actions.len().to_string(), state, &d.credentials];
        texts.map(str::to_owned).to_vec()
    };
    let text = if all.destinations.is_empty() {
        "no destinations yet; `adsengineer destination add` makes one".to_owned()
    } else {
        table(&["name", "kind", "account", "actions", "state", "credentials"], all.destinations.iter().map(row))
    };
    Ok(Report::of(text, &all))
}

fn show(d: &Destination) -> Report {
    let mut text = format!("{}: {} account {}", d.name, d.kind, d.customer_id);
    text += &d.login_customer_id.as_ref().map(|id| format!(" through manager {id}")).unwrap_or_default();
    text += &d.order_id_prefix.as_ref().map(|prefix| format!(", order ids start with `{prefix}`")).unwrap_or_default();
    let enabled = if d.enabled { "enabled" } else { "disabled" };
    text += &format!("\n{enabled}, credentials {}, breaker {}", d.credentials, d.breaker);
    for (name, id) in &d.actions {
        text += &format!("\n  {name} = {id}");
    }
    if let Some(hold) = &d.hold {
        text += &format!("\neverything is held because {}: {}", hold.reason, hold.detail);
    }
    Report::of(text, d)
}

async fn check(name: &str, api: &dyn Api) -> Result<Report, CliError> {
    let checked = api.check_destination(name).await?;
    let row = |f: &CheckFinding| {
        vec![if f.blocking { "error" } else { "warning" }.to_owned(), f.code.clone(), format!("{}\n→ {}", f.reason, f.hint)]
    };
    let mut text = String::new();
    if !checked.findings.is_empty() {
        text = table(&["", "code", "what, and what to do"], checked.findings.iter().map(row)) + "\n";
    }
    text += &if checked.ok {
        format!("{name} works; {} held rows were let go", checked.released)
    } else {
        format!("{name} does not work yet; nothing was let go")
    };
    Ok(Report::of(text, &checked).exit(if checked.ok { Exit::Ok } else { Exit::Differences }))
}

fn actions(d: &Destination) -> Report {
    let row = |(name, id): (&String, &String)| vec![name.clone(), id.clone()];
    let mut text = table(&["action", "id"], d.actions.iter().map(row));
    text += "\nThese are the actions set up here. Data Manager offers no list of an account's actions; Google Ads shows an action's id as `ctId` in its address.";
    Report::ok(text, json!({"name": d.name, "actions": d.actions}))
}

async fn enable(name: &str, enabled: bool, api: &dyn Api) -> Result<Report, CliError> {
    let known = spec(api.destination(name).await?)?;
    Ok(show(&api.put_destination(name, DestinationSpec { enabled, ..known }, None).await?))
}

async fn remove(name: &str, force: bool, context: &Context, api: &dyn Api) -> Result<Report, CliError> {
    let destination = api.destination(name).await?;
    let status = api.status().await?.destinations.into_iter().find(|s| s.id == destination.id);
    let is_final = |name: &str| State::ALL.iter().any(|state| state.as_str() == name && state.is_final());
    let open: u64 = status.map_or(0, |s| s.states.iter().filter(|(state, _)| !is_final(state)).map(|(_, n)| n).sum());
    if open > 0 && !force {
        return Err(CliError::new(Exit::Conflict, "OPEN_DELIVERIES", format!("{name} has {open} open deliveries, which would be stopped"))
            .hint("`adsengineer work` finishes them, or give --force"));
    }
    context.confirm(&format!("remove {name}?"))?;
    let stopped = api.remove_destination(name, force).await?;
    Ok(Report::ok(format!("removed {name}; {stopped} deliveries were stopped"), json!({"name": name, "stopped": stopped})))
}
