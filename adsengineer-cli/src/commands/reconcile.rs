//! `reconcile`: what came in against what became of it.

use adsengineer_core::shape::Reconciliation;

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
    let sum = context.api().await?.reconciliation().await?;
    let exit = if sum.closes { Exit::Ok } else { Exit::Differences };
    Ok(Report::of(text(&sum), &sum).exit(exit))
}

/// The sum, for people.
pub fn text(sum: &Reconciliation) -> String {
    let rows = sum.states.iter().map(|(state, n)| vec![state.clone(), n.to_string()]);
    let mut text = table(&["state", "deliveries"], rows);
    text += &format!(
        "\n{} rows came in: {} refused, {} without consent, {} known already, {} new conversions\n",
        sum.rows, sum.refused, sum.denied, sum.duplicates, sum.conversions
    );
    let found: u64 = sum.states.values().sum();
    text += &if sum.closes {
        format!("the sum closes: {} deliveries captured, {found} accounted for", sum.captured)
    } else {
        format!(
            "THE SUM DOES NOT CLOSE: {} deliveries captured, {found} accounted for; keep the database as it is and look at `adsengineer doctor`",
            sum.captured
        )
    };
    text
}
