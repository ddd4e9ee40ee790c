//! Two servers and two workers on one PostgreSQL and one Redis, with a stand-in for Google beside them.

use std::process::{Child, Command, Stdio};

use adsengineer_server::sandbox::{FaultPlan, Sandbox, SandboxOptions};

use crate::{
    cutting::Way,
    postgres, redis,
    server::{Home, Server},
};

/// Shorter than in earnest, so that a test sees leases end.
const LEASE: &str = "2s";

pub struct Fleet {
    pub home: Home,
    pub postgres: postgres::Server,
    pub redis: redis::Server,
    /// The way to PostgreSQL that every process takes.
    pub way: Way,
    pub sandbox: Sandbox,
    pub servers: Vec<Server>,
    pub workers: Vec<Worker>,
}

/// A process that only sends.
pub struct Worker(Child);

impl Fleet {
    pub async fn start(faults: FaultPlan) -> Self {
        let (postgres, redis) = (postgres::Server::start(false), redis::Server::start(&[]));
        let way = Way::to(postgres.folder());
        let sandbox = Sandbox::start(SandboxOptions { faults, ..SandboxOptions::default() }).await.unwrap();
        let said = |name, value: &str| (name, value.to_owned());
        let home = Home::with(vec![
            said("ADSENGINEER_DATABASE_URL", &way.url()),
            said("ADSENGINEER_RATE_LIMIT_URL", &redis.url()),
            said("ADSENGINEER_ENVIRONMENT", "production"),
            said("ADSENGINEER_ENCRYPTION_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
            said("ADSENGINEER_JWT_SECRET", "0123456789abcdef0123456789abcdef"),
            said("ADSENGINEER_GOOGLE_DATA_MANAGER_URL", &sandbox.url()),
            said("ADSENGINEER_GOOGLE_TOKEN_URL", &sandbox.token_url()),
            said("ADSENGINEER_LEASE", LEASE),
            said("ADSENGINEER_RETRY_BASE", "20ms"),
            said("ADSENGINEER_RETRY_CAP", "50ms"),
            said("ADSENGINEER_RETRY_ATTEMPTS", "500"),
            said("ADSENGINEER_BREAKER_OPEN", "200ms"),
            said("ADSENGINEER_STATUS_POLL_FIRST", "50ms"),
            said("ADSENGINEER_STATUS_POLL_CAP", "200ms"),
        ]);
        ran(home.command(&["migrate"]));
        let mut add = home.command(&["destination", "add", "shop", "--customer-id", "1234567890", "--action", "Sale=77"]);
        let credentials = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(credentials.path(), sandbox.credentials_json()).unwrap();
        add.arg("--credentials-file").arg(credentials.path());
        ran(add);
        let servers = vec![home.serve_as("api"), home.serve_as("api")];
        let workers = vec![Worker::start(&home), Worker::start(&home)];
        Self { home, postgres, redis, way, sandbox, servers, workers }
    }

    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.url.clone()).collect()
    }

    /// Kills a server, and starts another in its place.
    pub fn replace_server(&mut self, at: usize) {
        self.servers[at].kill();
        self.servers[at] = self.home.serve_as("api");
    }

    /// Does what a supervisor does: a worker that found no database when it started is started again.
    pub fn supervise(&mut self) {
        for worker in &mut self.workers {
            if let Some(ended) = worker.0.try_wait().unwrap() {
                assert_eq!(ended.code(), Some(8), "a worker ended that should not have");
                *worker = Worker::start(&self.home);
            }
        }
    }

    /// Kills a worker, and starts another in its place.
    pub fn replace_worker(&mut self, at: usize) {
        self.workers[at] = Worker::start(&self.home);
    }
}

fn ran(mut command: Command) {
    let said = command.stderr(Stdio::piped()).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

impl Worker {
    fn start(home: &Home) -> Self {
        Self(home.command(&["serve", "--role", "worker"]).stdout(Stdio::null()).spawn().unwrap())
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
