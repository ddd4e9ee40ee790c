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
pub mod health;
pub mod import_flags;
pub mod key;
pub mod lead;
pub mod login;
pub mod man;
pub mod migrate;
pub mod org;
pub mod reconcile;
pub mod rule;
pub mod running;
pub mod serve;
pub mod status;
pub mod token;
pub mod upload;
pub mod views;
pub mod work;

use crate::{cli::Command, context::Context, error::CliError, output::Report};

/// Commands that need the machine itself, by name.
fn needs_machine(command: &Command) -> Option<&'static str> {
    Some(match command {
        Command::Completions(_) => "completions",
        Command::Config(_) => "config",
        Command::Check(_) => "check",
        Command::Demo(_) => "demo",
        Command::Doctor(_) => "doctor",
        Command::Key(_) => "key",
        Command::Man(_) => "man",
        Command::Migrate(_) => "migrate",
        Command::Org(_) => "org",
        Command::Serve(_) => "serve",
        Command::Token(_) => "token",
        Command::Work(_) => "work",
        _ => return None,
    })
}

/// Runs a command.
pub fn run(command: Command, context: &Context) -> Result<Report, CliError> {
    if let Some(name) = needs_machine(&command) {
        context.only_here(name)?;
    }
    match command {
        Command::Check(args) => check::run(&args, context),
        Command::Completions(args) => completions::run(&args),
        Command::Config(args) => config::run(&args, context),
        Command::Key(args) => key::run(&args),
        Command::Logout(args) => login::logout(&args, context),
        Command::Man(args) => man::run(&args),
        Command::Conversion(args) => context.block_on(conversion::run(&args, context))?,
        Command::Demo(args) => context.block_on(demo::run(&args, context))?,
        Command::Destination(args) => context.block_on(destination::run(args, context))?,
        Command::Dlq(args) => context.block_on(dlq::run(&args, context))?,
        Command::Doctor(args) => context.block_on(doctor::run(&args, context))?,
        Command::Explain(args) => context.block_on(explain::run(&args, context))?,
        Command::Health(args) => context.block_on(health::run(&args, context))?,
        Command::Lead(args) => context.block_on(lead::run(&args, context))?,
        Command::Login(args) => context.block_on(login::run(&args, context))?,
        Command::Migrate(args) => context.block_on(migrate::run(&args, context))?,
        Command::Org(args) => context.block_on(org::run(&args, context))?,
        Command::Reconcile(args) => context.block_on(reconcile::run(&args, context))?,
        Command::Rule(args) => context.block_on(rule::run(args, context))?,
        Command::Serve(args) => context.block_on(serve::run(&args, context))?,
        Command::Status(args) => context.block_on(status::run(&args, context))?,
        Command::Token(args) => context.block_on(token::run(&args, context))?,
        Command::Upload(args) => context.block_on(upload::run(&args, context))?,
        Command::Whoami(args) => context.block_on(login::whoami(&args, context))?,
        Command::Work(args) => context.block_on(work::run(&args, context))?,
    }
}
