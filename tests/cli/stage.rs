//! The binary, a home of its own, and a stand-in for Google.

use std::{fs, path::PathBuf, process::Output};

use adsengineer_server::sandbox::{Sandbox, SandboxOptions};
use assert_cmd::Command;
use serde_json::Value;

/// Everything a run of the binary needs.
pub struct Stage {
    pub sandbox: Sandbox,
    runtime: tokio::runtime::Runtime,
    home: tempfile::TempDir,
    /// Variables that say where the data is.
    base: Vec<(&'static str, String)>,
}

/// What the binary said.
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(self.stdout.trim()).unwrap_or_else(|e| panic!("{e}: {} {}", self.stdout, self.stderr))
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

impl Stage {
    pub fn new(options: SandboxOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let sandbox = runtime.block_on(Sandbox::start(options)).unwrap();
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("credentials.json"), sandbox.credentials_json()).unwrap();
        Self { sandbox, runtime, home, base: crate::base::variables() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// The environment of every run: nothing of ours from outside, short waits.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let home = self.home.path().display().to_string();
        let mut all = vec![
            ("HOME", home.clone()),
            ("XDG_DATA_HOME", format!("{home}/data")),
            ("XDG_CONFIG_HOME", format!("{home}/config")),
            ("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={home}/no-bus")),
            ("ADSENGINEER_GOOGLE_DATA_MANAGER_URL", self.sandbox.url()),
            ("ADSENGINEER_GOOGLE_TOKEN_URL", self.sandbox.token_url()),
            ("ADSENGINEER_GOOGLE_CREDENTIALS_FILE", self.path("credentials.json").display().to_string()),
            ("ADSENGINEER_RETRY_BASE", "20ms".to_owned()),
            ("ADSENGINEER_RETRY_CAP", "100ms".to_owned()),
            ("ADSENGINEER_STATUS_POLL_FIRST", "50ms".to_owned()),
            ("ADSENGINEER_STATUS_POLL_CAP", "200ms".to_owned()),
            ("ADSENGINEER_BREAKER_OPEN", "300ms".to_owned()),
        ];
        all.extend(self.base.iter().cloned());
        all
    }

    pub fn command(&self) -> Command {
        let mut command = Command::cargo_bin("adsengineer").unwrap();
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ADSENGINEER_")) {
            command.env_remove(name);
        }
        command.envs(self.variables()).current_dir(self.home.path());
        command
    }

    pub fn run(&self, args: &[&str]) -> Said {
        self.command().args(args).output().unwrap().into()
    }

    /// `upload` to the usual account and action.
    pub fn upload(&self, file: &str, more: &[&str]) -> Said {
        let usual = ["upload", file, "--to", "google", "--customer-id", "123-456-7890", "--action", "Sale=987654321", "--json"];
        self.run(&[&usual, more].concat())
    }

    /// Transaction ids and values that the stand-in counted.
    pub fn counted(&self) -> Vec<(String, Option<String>)> {
        self.sandbox.accepted().into_iter().map(|c| (c.transaction_id, c.value)).collect()
    }

    /// Waits for asynchronous work.
    #[allow(dead_code, reason = "not every target has servers beside the binary")]
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub fn close(self) {
        self.runtime.block_on(self.sandbox.shutdown());
    }
}

/// A file in the click conversions template; each row is `order,click,value`.
pub fn click_file(rows: &[(&str, &str, &str)]) -> String {
    let head = "Google Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency,Order ID,Ad User Data\n";
    let row =
        |(order, click, value): &(&str, &str, &str)| format!("{click},Sale,{} 14:05:00+0100,{value},EUR,{order},Granted\n", yesterday());
    head.to_owned() + &rows.iter().map(row).collect::<String>()
}

/// A day that is neither in the future nor too old.
pub fn yesterday() -> String {
    let now = jiff::Timestamp::now().saturating_sub(jiff::SignedDuration::from_hours(48)).unwrap();
    now.strftime("%Y-%m-%d").to_string()
}
