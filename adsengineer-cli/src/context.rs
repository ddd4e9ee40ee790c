//! What every command needs: the settings, where to print, and the engine, opened when it is first used.

use std::{
    future::Future,
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use adsengineer_core::{
    backoff::Backoff,
    breaker,
    clock::{Clock, ShiftedClock, SystemClock},
    delivery::Policy,
    destination::google::GoogleSettings,
    engine::{CredentialSources, Engine, EngineConfig},
    org::{Caller, OrgId, Role},
    secret::Secret,
    store::{Database, Migrate, NoDatabase},
    vault::{Vault, parse_key},
    worker::WorkerSettings,
};
use adsengineer_server::{
    config::{Settings, Sources},
    sandbox::Sandbox,
};
use etcetera::{AppStrategy, AppStrategyArgs, choose_app_strategy};

use crate::{
    cli::Global,
    error::{CliError, Exit},
    output::Output,
};

mod keys;
mod place;

/// Waits against the stand-in, which answers at once.
const SANDBOX_RETRY: Duration = Duration::from_millis(200);
const SANDBOX_POLL: Duration = Duration::from_millis(300);
const SANDBOX_CAP: Duration = Duration::from_secs(1);

pub use keys::generate as generate_key;
pub use keys::write_private;
pub use place::{Me, Place};

/// What every command needs.
pub struct Context {
    /// The merged configuration.
    pub settings: Settings,
    /// Where to print.
    pub out: Output,
    /// The flags of every command.
    pub global: Global,
}

impl Context {
    /// Reads the configuration.
    pub fn new(global: Global, out: Output) -> Result<Self, CliError> {
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
        let flags = [("org", &global.org), ("database_url", &global.database), ("server", &global.server), ("profile", &global.profile)];
        let flags = flags.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect();
        let file = global.config.clone().or_else(|| config_file().filter(|path| path.exists()));
        let (settings, warnings) = Settings::load(&Sources { flags, environment, file })?;
        warnings.iter().for_each(|warning| out.warn("UNKNOWN_VARIABLE", warning));
        start_log(&settings, global.verbose, out);
        Ok(Self { settings, out, global })
    }

    /// The organization.
    pub fn org(&self) -> Result<OrgId, CliError> {
        self.settings.text("org").unwrap_or("default").parse().map_err(|e| CliError::usage(format!("{e}")))
    }

    /// Whoever runs this program is its owner.
    pub fn caller(&self) -> Result<Caller, CliError> {
        Ok(Caller::trusted(self.org()?, Role::Owner))
    }

    /// The database.
    pub fn database(&self) -> Result<Database, CliError> {
        match self.settings.text("database_url") {
            Some(url) => url.parse().map_err(|e: NoDatabase| CliError::new(Exit::Config, "DATABASE_URL", e.to_string())),
            None => Ok(data_folder()?.join("adsengineer.db").into()),
        }
    }

    /// The clock, moved where the configuration says so.
    pub fn clock(&self) -> Arc<dyn Clock> {
        match self.settings.text("now").and_then(|now| now.parse().ok()) {
            Some(start) => Arc::new(ShiftedClock::starting_at(start)),
            None => Arc::new(SystemClock),
        }
    }

    /// Whether a question may be asked.
    pub fn may_ask(&self) -> bool {
        !self.global.no_input && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks before something that cannot be undone.
    pub fn confirm(&self, question: &str) -> Result<(), CliError> {
        if self.global.yes {
            return Ok(());
        }
        if !self.may_ask() {
            return Err(CliError::usage(format!("{question} There is nobody to ask")).hint("give --yes"));
        }
        let answer = dialoguer::Confirm::new().with_prompt(question).default(false).interact();
        match answer {
            Ok(true) => Ok(()),
            Ok(false) => Err(CliError::new(Exit::Interrupted, "DECLINED", "nothing was changed")),
            Err(error) => Err(CliError::usage(error.to_string())),
        }
    }

    /// Opens the engine on the configured database.
    pub async fn engine(&self) -> Result<Engine, CliError> {
        let database = self.database()?;
        let migrate = match self.settings.text("migrate") {
            Some("check") => Migrate::Check,
            Some(_) => Migrate::Auto,
            None => database.usual_migrate(),
        };
        self.open(database, self.google()?, migrate, self.worker_settings()?).await
    }

    /// Opens the engine and brings the database up to date, whatever the configuration says of that.
    pub async fn engine_migrating(&self) -> Result<Engine, CliError> {
        self.open(self.database()?, self.google()?, Migrate::Auto, self.worker_settings()?).await
    }

    /// Opens the engine on a database of its own, against a stand-in for Google: the same rules with shorter waits.
    pub async fn engine_on(&self, database: Database, sandbox: &Sandbox) -> Result<Engine, CliError> {
        let google = GoogleSettings { data_manager_url: sandbox.url(), token_url: sandbox.token_url(), timeout: self.global.timeout };
        let policy =
            Policy { backoff: Backoff::try_new(SANDBOX_RETRY, SANDBOX_CAP).unwrap_or_default(), ..WorkerSettings::default().policy };
        let worker = WorkerSettings { policy, poll_first: SANDBOX_POLL, poll_cap: SANDBOX_CAP, ..WorkerSettings::default() };
        self.open(database, google, Migrate::Auto, worker).await
    }

    async fn open(&self, database: Database, google: GoogleSettings, migrate: Migrate, worker: WorkerSettings) -> Result<Engine, CliError> {
        make_folder(&database)?;
        let config = EngineConfig {
            vault: Arc::new(self.vault(&database)?),
            database,
            migrate,
            clock: self.clock(),
            google,
            credentials: CredentialSources::default(),
            worker,
            scoring: self.settings.scoring().clone(),
        };
        Ok(Engine::open(config).await?)
    }

    /// The vault with the configured key, or the one kept beside the database's file.
    pub fn vault(&self, database: &Database) -> Result<Vault, CliError> {
        let bad =
            |e: &dyn std::fmt::Display| CliError::new(Exit::Config, "ENCRYPTION_KEY", format!("the encryption key cannot be used: {e}"));
        let current = match self.settings.secret("encryption_key") {
            Some(text) => text,
            None => match database.file() {
                Some(file) => keys::beside(file, self.settings.is_development())?,
                None => return Err(keys::none_for_server("ENCRYPTION_KEY", "encryption key", "`adsengineer key generate` prints one")),
            },
        };
        let current = parse_key(current.expose()).map_err(|e| bad(&e))?;
        let previous = self.settings.secret("encryption_previous_keys").unwrap_or_else(|| Secret::new(String::new()));
        let previous: Result<Vec<_>, _> = previous.expose().split(',').map(str::trim).filter(|k| !k.is_empty()).map(parse_key).collect();
        Ok(Vault::new(&current, &previous.map_err(|e| bad(&e))?))
    }

    /// The secret for tokens that development keeps beside its database, where none is configured.
    pub fn made_jwt_secret(&self, database: &Database) -> Result<Option<Secret<String>>, CliError> {
        if self.settings.secret("jwt_secret").is_some() {
            return Ok(None);
        }
        let Some(file) = database.file() else {
            return Err(keys::none_for_server("JWT_SECRET", "secret for tokens", "it is 32 bytes or more"));
        };
        make_folder(database)?;
        keys::jwt_beside(file, self.settings.is_development())
    }

    /// Where the key is kept when none is configured; nowhere for a server's.
    pub fn key_file(database: &Database) -> Option<PathBuf> {
        database.file().map(keys::path)
    }

    /// Where Google is.
    pub fn google(&self) -> Result<GoogleSettings, CliError> {
        let url = |key: &str| self.settings.text(key).unwrap_or_default().to_owned();
        Ok(GoogleSettings {
            data_manager_url: url("google_data_manager_url"),
            token_url: url("google_token_url"),
            timeout: self.global.timeout,
        })
    }

    /// How deliveries are worked off.
    pub fn worker_settings(&self) -> Result<WorkerSettings, CliError> {
        let bad = |e: &dyn std::fmt::Display| CliError::new(Exit::Config, "CONFIGURATION", e.to_string());
        let s = &self.settings;
        let backoff =
            Backoff::try_new(s.duration("retry_base"), s.duration("retry_cap")).map_err(|e| bad(&format!("retry_base, retry_cap: {e}")))?;
        let breaker = breaker::Settings::try_new(s.number("breaker_failures"), s.number("breaker_successes"), s.duration("breaker_open"));
        Ok(WorkerSettings {
            policy: Policy { backoff, attempts: u16::try_from(s.number("retry_attempts")).unwrap_or(u16::MAX), dedupe_window: None },
            breaker: breaker.map_err(|e| bad(&e))?,
            lease: s.duration("lease"),
            poll_first: s.duration("status_poll_first"),
            poll_cap: s.duration("status_poll_cap"),
            ..WorkerSettings::default()
        })
    }

    /// Runs asynchronous work.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> Result<T, CliError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let result = runtime.block_on(work);
        runtime.shutdown_timeout(std::time::Duration::from_millis(500));
        Ok(result)
    }
}

/// The folder of a file.
fn make_folder(database: &Database) -> Result<(), CliError> {
    match database.file().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => std::fs::create_dir_all(folder).map_err(|e| folder_error(folder, &e)),
        None => Ok(()),
    }
}

fn folder_error(folder: &Path, error: &std::io::Error) -> CliError {
    CliError::new(Exit::Config, "DATA_FOLDER", format!("the folder {} cannot be made: {error}", folder.display()))
        .hint("choose another database with --database sqlite://PATH")
}

fn strategy() -> Result<impl AppStrategy, CliError> {
    let names = AppStrategyArgs { top_level_domain: "com".into(), author: "adsengineer".into(), app_name: "adsengineer".into() };
    choose_app_strategy(names).map_err(|e| {
        CliError::new(Exit::Config, "HOME", format!("the home folder is not known: {e}")).hint("set HOME, or give --database and --config")
    })
}

/// The folder that holds the database when no other is configured.
pub fn data_folder() -> Result<PathBuf, CliError> {
    Ok(strategy()?.data_dir())
}

/// The configuration file, whether it is there or not.
pub fn config_file() -> Option<PathBuf> {
    strategy().ok().map(|s| s.config_dir().join("config.toml"))
}

fn start_log(settings: &Settings, verbose: u8, out: Output) {
    let filter = match verbose {
        0 => settings.text("log").filter(|_| settings.origin("log") != Some("default")).unwrap_or("warn"),
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_new(filter).unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let as_json = settings.text("log_format").map_or(out.is_json(), |format| format == "json");
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call in one process keeps the first subscriber.
    let _already = if as_json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
}
