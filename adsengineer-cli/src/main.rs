//! `adsengineer`: the operator's command line.

mod cli;
mod commands;
mod context;
mod error;
mod output;

use std::process::ExitCode;

use clap::Parser;

use crate::{cli::Cli, context::Context, output::Output};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.global.json, cli.global.quiet, cli.global.color);
    let result = Context::new(cli.global, output).and_then(|context| commands::run(cli.command, &context));
    let exit = match result {
        Ok(report) => output.report(report),
        Err(error) => output.error(&error),
    };
    ExitCode::from(exit as u8)
}
