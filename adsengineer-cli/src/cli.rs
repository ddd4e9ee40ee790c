//! The command line, all of it on one screen.

use clap::{Args, Parser, Subcommand};

use crate::{
    commands::{
        check, completions, config, conversion, demo, destination, dlq, doctor, explain, health, key, lead, login, man, migrate, org,
        reconcile, rule, serve, status, token, upload, work,
    },
    output::Color,
};

const EXAMPLES: &str = "\
Send        demo  check  upload  work
Repair      status  dlq  explain  conversion  lead  reconcile
Configure   destination  rule  org  config  key  token  login  logout  whoami
Operate     serve  health  migrate  doctor  completions  man

Examples:
  adsengineer demo
  adsengineer check deals.csv --map 'Close Date=Conversion Time' --time-zone Europe/Berlin
  adsengineer upload deals.csv --to google --action 987654321 --customer-id 123-456-7890 --dry-run
  adsengineer work
  adsengineer dlq list";

/// Delivers offline conversions to the ad platforms once, provably, or says why not.
#[derive(Debug, Parser)]
#[command(name = "adsengineer", version, after_help = EXAMPLES, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Configuration file instead of the one in the configuration folder
    #[arg(long, global = true, value_name = "FILE", env = "ADSENGINEER_CONFIG")]
    pub config: Option<std::path::PathBuf>,
    /// Organization that the command acts for
    #[arg(long, global = true, value_name = "NAME")]
    pub org: Option<String>,
    /// Database, for example sqlite://deals.db
    #[arg(long, global = true, value_name = "URL")]
    pub database: Option<String>,
    /// Server to work on, for example `https://ads.example.com`
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// Stored login to use; `login` makes them
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but data and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Log more; twice for everything
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// Never ask; fail where a question would be asked
    #[arg(long, global = true)]
    pub no_input: bool,
    /// Answer every question with yes
    #[arg(long, short, global = true)]
    pub yes: bool,
    /// Longest time for one request to a platform or server
    #[arg(long, global = true, value_name = "DURATION", default_value = "60s", value_parser = adsengineer_server::config::parse_duration)]
    pub timeout: std::time::Duration,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the whole product in one go: nothing to configure, nothing leaves this machine
    Demo(demo::Args),
    /// Check conversion files without sending anything
    Check(check::Args),
    /// Send a conversion file to a platform; safe to run again
    Upload(upload::Args),
    /// Do everything that is due: sends, retries, verdicts; safe in cron
    Work(work::Args),
    /// Show where every destination stands
    Status(status::Args),
    /// Look at dead letters, send them again or give them up
    Dlq(dlq::Args),
    /// Say what became of a conversion, and what to do next
    Explain(explain::Args),
    /// List and show conversions
    Conversion(conversion::Args),
    /// List, show and delete leads
    Lead(lead::Args),
    /// Compare what came in with what became of it
    Reconcile(reconcile::Args),
    /// Set up, try and manage destinations
    Destination(destination::Args),
    /// Decide which changes of leads become conversions
    Rule(rule::Args),
    /// List organizations
    Org(org::Args),
    /// Write or show the configuration
    Config(config::Args),
    /// Make encryption keys
    Key(key::Args),
    /// Mint, check and revoke tokens for the HTTP API
    Token(token::Args),
    /// Store a token; everyday commands then work on its server
    Login(login::Args),
    /// Forget a stored token; everyday commands then work on this machine again
    Logout(login::LogoutArgs),
    /// Show which server is in use, as whom, and until when
    Whoami(login::WhoamiArgs),
    /// Serve the HTTP API on this machine's database
    Serve(serve::Args),
    /// Ask a server whether it is up and well
    Health(health::Args),
    /// Bring the database up to date
    Migrate(migrate::Args),
    /// Check this machine: configuration, database, keys, credentials
    Doctor(doctor::Args),
    /// Print completions for a shell
    Completions(completions::Args),
    /// Print the manual page
    Man(man::Args),
}
