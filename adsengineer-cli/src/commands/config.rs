//! `config init|show`.

use std::path::PathBuf;

use adsengineer_server::config::{KEYS, Shown};
use serde_json::json;

use crate::{
    context::{Context, config_file, write_private},
    error::{CliError, Exit},
    output::{Report, table},
};

/// Write or show the configuration.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write a commented file with every setting; never over an existing one
    Init,
    /// Show every setting, where it came from, and the folders; secrets stay hidden
    Show,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    match args.verb {
        Verb::Init => init(context),
        Verb::Show => show(context),
    }
}

fn path(context: &Context) -> Result<PathBuf, CliError> {
    let missing = || CliError::new(Exit::Config, "HOME", "the home folder is not known").hint("give --config FILE");
    context.global.config.clone().or_else(config_file).ok_or_else(missing)
}

fn init(context: &Context) -> Result<Report, CliError> {
    let path = path(context)?;
    if path.exists() {
        return Err(CliError::new(Exit::Conflict, "CONFIG_EXISTS", format!("{} is there already and stays as it is", path.display())));
    }
    let failed =
        |e: std::io::Error| CliError::new(Exit::Config, "CONFIG_NOT_WRITTEN", format!("{} cannot be written: {e}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    write_private(&path, template().as_bytes()).map_err(failed)?;
    Ok(Report::ok(format!("wrote {}", path.display()), json!({"path": path})))
}

fn template() -> String {
    let mut text = String::from(
        "# adsengineer configuration. A flag wins over an environment variable, which wins over this file.\n# Every line that starts with `# name =` shows a default; remove the `#` to change it.\n\n",
    );
    for key in KEYS.iter().filter(|key| !key.secret) {
        text += &format!("# {}\n# {} = \"{}\"\n\n", key.help, key.name, key.default.unwrap_or(""));
    }
    let secrets: Vec<_> = KEYS.iter().filter(|key| key.secret).map(adsengineer_server::config::Key::variable).collect();
    text += &format!("# Secrets are best kept out of files: set {} (or each with _FILE behind it).\n\n", secrets.join(", "));
    text += "# [import]\n# map = { \"Close Date\" = \"Conversion Time\" }\n# set = { \"Conversion Currency\" = \"EUR\" }\n# time_zone = \"Europe/Berlin\"\n\n# What a lead is worth: `\"*\"` for all, or an organization's name.\n# [scoring.acme]\n# base = { points = 50, percent = 100 }\n# base_cents = 10000\n# phone = { points = 10, percent = 20 }\n# tag = { points = 20, percent = 50 }\n# hot_tags = [\"qualified\", \"hot\"]\n# budget = { points = 15, percent = 30 }\n# budget_over = 10000\n# company = { points = 10, percent = 20 }\n# qualified_at = 70\n";
    text
}

fn show(context: &Context) -> Result<Report, CliError> {
    let mut settings = context.settings.show();
    let database = context.database()?;
    if let Some(line) = settings.iter_mut().find(|s| s.key == "database_url" && s.value.is_none()) {
        (line.value, line.origin) = (Some(database.to_string()), "default".to_owned());
    }
    let file = context.settings.file().map(|path| path.display().to_string());
    let row = |s: &Shown| vec![s.key.to_owned(), s.value.clone().unwrap_or_default(), s.origin.clone()];
    let mut text = table(&["setting", "value", "origin"], settings.iter().map(row));
    let place = context.place()?;
    let key_file = Context::key_file(&database).map_or_else(|| "none".to_owned(), |path| path.display().to_string());
    let place_text = context.place_text()?;
    text += &format!("\nin use: {place_text}\nfile: {}\nkey file: {key_file}", file.as_deref().unwrap_or("none"));
    Ok(Report::ok(text, json!({"settings": settings, "file": file, "in_use": place})))
}
