//! `adsengineer`: the operator's command line.

mod api;
mod cli;
mod client;
mod commands;
mod context;
mod error;
mod logins;
mod output;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::Cli,
    context::Context,
    error::CliError,
    output::{Color, Output},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let output = Output::new(cli.global.json, cli.global.quiet, cli.global.color);
    let result = Context::new(cli.global, output).and_then(|context| commands::run(cli.command, &context));
    let exit = match result {
        Ok(report) => output.report(report),
        Err(error) => output.error(&error),
    };
    ExitCode::from(exit as u8)
}

/// Prints help and version as they are, and a command line that cannot be used as an error like any other.
fn refuse(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if !error.use_stderr() || !json {
        error.exit();
    }
    let text = error.render().to_string();
    let message = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default().trim();
    let error = CliError::usage(message).hint("`--help` shows how the command is used");
    ExitCode::from(Output::new(true, false, Color::Never).error(&error) as u8)
}
