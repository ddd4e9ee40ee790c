//! `explain`: what became of a conversion, and what to do next.

use super::conversion;
use crate::{context::Context, error::CliError, output::Report};

/// Say what became of a conversion, and what to do next.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// conv_…, dlv_… or an order id
    id: String,
}

/// Runs the command.
pub async fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    Ok(conversion::shown(&context.api().await?.explain(&args.id).await?))
}
