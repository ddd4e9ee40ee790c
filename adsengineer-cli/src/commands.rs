//! One file per command.

pub mod check;
pub mod completions;
pub mod config;
pub mod conversion;
pub mod demo;
pub mod destination;
pub mod dlq;
pub mod doctor;
pub mod explain;
pub mod import_flags;
pub mod key;
pub mod man;
pub mod migrate;
pub mod org;
pub mod reconcile;
pub mod running;
pub mod serve;
pub mod status;
pub mod token;
pub mod upload;
pub mod views;
pub mod work;

use crate::{cli::Command, context::Context, error::CliError, output::Report};

/// Runs a command.
pub fn run(command: Command, context: &Context) -> Result<Report, CliError> {
    match command {
        Command::Check(args) => check::run(&args, context),
        Command::Completions(args) => completions::run(&args),
        Command::Config(args) => config::run(&args, context),
        Command::Doctor(args) => doctor::run(&args, context),
        Command::Key(args) => key::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Migrate(args) => migrate::run(&args, context),
        Command::Conversion(args) => context.block_on(conversion::run(&args, context))?,
        Command::Demo(args) => context.block_on(demo::run(&args, context))?,
        Command::Destination(args) => context.block_on(destination::run(args, context))?,
        Command::Dlq(args) => context.block_on(dlq::run(&args, context))?,
        Command::Explain(args) => context.block_on(explain::run(&args, context))?,
        Command::Org(args) => context.block_on(org::run(&args, context))?,
        Command::Reconcile(args) => context.block_on(reconcile::run(&args, context))?,
        Command::Serve(args) => context.block_on(serve::run(&args, context))?,
        Command::Status(args) => context.block_on(status::run(&args, context))?,
        Command::Token(args) => context.block_on(token::run(&args, context))?,
        Command::Upload(args) => context.block_on(upload::run(&args, context))?,
        Command::Work(args) => context.block_on(work::run(&args, context))?,
    }
}
