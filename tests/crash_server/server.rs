//! The binary with a home of its own.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

pub struct Home {
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

pub struct Server {
    child: Child,
    pub url: String,
}

impl Home {
    pub fn new() -> Self {
        Self::with(Vec::new())
    }

    /// One in whose environment more is said.
    pub fn with(variables: Vec<(&'static str, String)>) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), variables }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adsengineer"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ADSENGINEER_")) {
            command.env_remove(name);
        }
        let home = self.folder.path();
        command.env("HOME", home).env("XDG_DATA_HOME", home.join("data")).env("XDG_CONFIG_HOME", home.join("config"));
        command.env("ADSENGINEER_LISTEN", "127.0.0.1:0").env("ADSENGINEER_RATE_LIMIT_ORG", "1000000/s");
        command.envs(self.variables.iter().cloned()).args(args).stderr(Stdio::null());
        command
    }

    pub fn token(&self, role: &str) -> String {
        let said = self.command(&["token", "mint", "--sub", "test", "--org", "default", "--role", role]).output().unwrap();
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }

    /// Starts it; returns when it has said where it listens.
    pub fn serve(&self) -> Server {
        self.serve_as("all")
    }

    /// The same in a role that answers requests.
    pub fn serve_as(&self, role: &str) -> Server {
        let mut child = self.command(&["serve", "--role", role]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}")).to_owned();
        Server { child, url }
    }
}

impl Server {
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub async fn get(&self, path: &str, token: &str) -> Value {
        let request = reqwest::Client::new().get(format!("{}{path}", self.url));
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        request.send().await.unwrap().json().await.unwrap()
    }

    /// The e-mail addresses of all leads.
    pub async fn leads(&self, token: &str) -> Vec<String> {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/api/v1/leads?limit=1000{cursor}"), token).await;
            found.extend(page["leads"].as_array().unwrap().iter().map(|lead| lead["email"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { return found };
            cursor = format!("&cursor={next}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
