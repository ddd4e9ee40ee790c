//! A real server on the stage's database, and its tokens.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::stage::{Said, Stage};

/// A running `adsengineer serve`; killed when dropped.
pub struct Server {
    pub url: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Serves the stage's database on a free port.
    pub fn start(stage: &Stage, role: &str) -> Self {
        Self::at(stage, role, "127.0.0.1:0")
    }

    /// The same, listening elsewhere.
    pub fn at(stage: &Stage, role: &str, listen: &str) -> Self {
        Self::with(stage, role, &[("ADSENGINEER_LISTEN", listen)])
    }

    /// The same with further variables; where it listens must be among them.
    pub fn with(stage: &Stage, role: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("adsengineer"));
        command.args(["serve", "--role", role]).current_dir(stage.path("")).envs(stage.variables());
        command.env("ADSENGINEER_ENVIRONMENT", "development").env("ADSENGINEER_LOG", "debug").envs(variables.iter().copied());
        // Into a file of its own: nobody reads a pipe, and a full one would hold the server up.
        let (file, log) = tempfile::Builder::new().prefix("server").suffix(".log").tempfile_in(stage.path("")).unwrap().keep().unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(file).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}")).to_owned();
        Self { url, child, log }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// A token of the stage's own secret.
pub fn token(stage: &Stage, org: &str, role: &str, ttl: &str) -> String {
    let said = stage.run(&["token", "mint", "--sub", "me", "--org", org, "--role", role, "--ttl", ttl]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    said.stdout.trim().to_owned()
}

/// `login` with the token on standard input.
pub fn login(stage: &Stage, token: &str, more: &[&str]) -> Said {
    stage.command().arg("login").args(more).write_stdin(format!("{token}\n")).output().unwrap().into()
}
