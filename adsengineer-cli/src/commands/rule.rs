//! `rule list|show|put|remove`.

use adsengineer_core::shape::Rule;
use serde_json::json;

use crate::{
    context::Context,
    error::CliError,
    output::{Report, table},
};

/// Decide which changes of leads become conversions.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  adsengineer rule put won --on lead.won --action 'Closed won'\n  adsengineer rule put qualified --on lead.qualified --action 'Qualified lead' --value 25 --currency EUR --destination shop"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List rules
    List,
    /// Show one rule
    Show { name: String },
    /// Create or replace a rule
    #[command(alias = "add")]
    Put(Put),
    /// Remove a rule; conversions that it made stay
    Remove { name: String },
}

#[derive(Debug, clap::Args)]
struct Put {
    /// How it is called
    name: String,
    /// What makes it fire: lead.created, lead.contacted, lead.qualified, lead.won or lead.lost
    #[arg(long, value_name = "EVENT")]
    on: String,
    /// The conversion action's name
    #[arg(long, value_name = "NAME")]
    action: String,
    /// What each conversion is worth; else the lead's own value, else its scored one where a currency is given
    #[arg(long, value_name = "DECIMAL", requires = "currency")]
    value: Option<String>,
    /// The currency of the value, or of scored values
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// Only to this destination; several times for several; else to every one that has the action
    #[arg(long, value_name = "NAME")]
    destination: Vec<String>,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    let api = context.api().await?;
    match args.verb {
        Verb::List => {
            let rules = api.rules().await?;
            let row = |r: &Rule| vec![r.name.clone(), r.on.clone(), r.action.clone(), worth(r), to(r)];
            let text = if rules.rules.is_empty() {
                "no rules yet; `adsengineer rule put` makes one".to_owned()
            } else {
                table(&["name", "on", "action", "worth", "to"], rules.rules.iter().map(row))
            };
            Ok(Report::of(text, &rules))
        }
        Verb::Show { name } => Ok(show(&api.rule(&name).await?)),
        Verb::Put(put) => {
            let mut rule = json!({"on": put.on, "action": put.action, "value": put.value, "currency": put.currency});
            if !put.destination.is_empty() {
                rule["destinations"] = put.destination.into();
            }
            Ok(show(&api.put_rule(&put.name, &rule).await?))
        }
        Verb::Remove { name } => {
            api.rule(&name).await?;
            context.confirm(&format!("remove rule {name}?"))?;
            api.remove_rule(&name).await?;
            Ok(Report::ok(format!("removed rule {name}"), json!({"name": name, "removed": true})))
        }
    }
}

fn show(rule: &Rule) -> Report {
    let text = format!("{}: {} makes `{}`, worth {}, to {}", rule.name, rule.on, rule.action, worth(rule), to(rule));
    Report::of(text, rule)
}

fn worth(rule: &Rule) -> String {
    match (&rule.value, &rule.currency) {
        (Some(value), Some(currency)) => format!("{value} {currency}"),
        (_, Some(currency)) => format!("what the lead is, in {currency}"),
        _ => "what the lead is".to_owned(),
    }
}

fn to(rule: &Rule) -> String {
    if rule.destinations.is_empty() { "every destination that has it".to_owned() } else { rule.destinations.join(", ") }
}
