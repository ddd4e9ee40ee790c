//! `reconcile`: what came in against what became of it.

use adsengineer_core::store::Reconciliation;
use serde_json::json;

use crate::{
    context::Context,
    error::{CliError, Exit},
    output::{Report, table},
};

/// Compare what came in with what became of it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The number of deliveries that every accepted batch recorded must equal the number of deliveries there are. Exit code 10 if it does not."
)]
pub struct Args {}

/// Runs the command.
pub async fn run(_: &Args, context: &Context) -> Result<Report, CliError> {
    let sum = context.engine()?.reconciliation(&context.caller()?).await?;
    let states: serde_json::Map<_, _> = sum.states.iter().map(|(state, n)| (state.as_str().to_owned(), (*n).into())).collect();
    let closes = sum.closes();
    let json = json!({
        "captured": sum.captured, "states": states, "closes": closes,
        "rows": sum.rows, "refused": sum.refused, "denied": sum.denied, "duplicates": sum.duplicates, "conversions": sum.conversions,
    });
    Ok(Report::ok(text(&sum), json).exit(if closes { Exit::Ok } else { Exit::Differences }))
}

/// The sum, for people.
pub fn text(sum: &Reconciliation) -> String {
    let rows = sum.states.iter().map(|(state, n)| vec![state.as_str().to_owned(), n.to_string()]);
    let mut text = table(&["state", "deliveries"], rows);
    text += &format!(
        "\n{} rows came in: {} refused, {} without consent, {} known already, {} new conversions\n",
        sum.rows, sum.refused, sum.denied, sum.duplicates, sum.conversions
    );
    let found: u64 = sum.states.values().sum();
    text += &if sum.closes() {
        format!("the sum closes: {} deliveries captured, {found} accounted for", sum.captured)
    } else {
        format!(
            "THE SUM DOES NOT CLOSE: {} deliveries captured, {found} accounted for; keep the database as it is and look at `adsengineer doctor`",
            sum.captured
        )
    };
    text
}
