//! A PostgreSQL server for tests: the one that `ADSENGINEER_TEST_POSTGRES_URL` names, else one of the test process's own, which
//! lives in a temporary folder and ends with the process, however that ends. Without either a test fails.
#![allow(dead_code, reason = "each test uses what it needs")]

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Names a server to use instead.
pub const URL: &str = "ADSENGINEER_TEST_POSTGRES_URL";

/// Starts a server in the folder `$1` with the programs in `$2`, says `ready`, and obeys what it reads until its input ends.
/// The server refuses to run as root, so root runs it as the user that the package made.
const KEEPER: &str = r#"
dir=$1 bin=$2
if [ "$(id -u)" = 0 ]; then
    chown -R postgres "$dir"
    as() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
else
    as() { "$@"; }
fi
start() {
    as "$bin/pg_ctl" start -w -t 60 -D "$dir/data" -l "$dir/server.log" \
        -o "-k $dir -c listen_addresses= -c fsync=$3 -c max_connections=300 -c shared_buffers=256MB $4" >/dev/null 2>>"$dir/log"
}
fail() {
    cat "$dir"/*log
    rm -rf "$dir"
    exit 1
}
cd "$dir"
as "$bin/initdb" -D "$dir/data" -A trust -U postgres -E UTF8 --locale=C --no-sync >>"$dir/log" 2>&1 || fail
start "$@" || fail
echo ready
while read -r command; do
    if [ "$command" = crash ]; then
        kill -9 "$(head -n 1 "$dir/data/postmaster.pid")"
        # Until the last of its children is gone, its memory is in use.
        until start "$@"; do :; done
        echo ready
    fi
done
as "$bin/pg_ctl" stop -m immediate -D "$dir/data" >/dev/null 2>&1
rm -rf "$dir"
"#;

/// A server of the test's own.
pub struct Server {
    folder: PathBuf,
    keeper: Mutex<Keeper>,
}

struct Keeper {
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    _child: Child,
}

impl Server {
    /// Starts one. `fsync` costs time, and is needed only where time is what is measured.
    pub fn start(fsync: bool) -> Self {
        Self::start_in(folder(), fsync, "")
    }

    /// Starts one that also listens on a port of this machine and there speaks TLS; gives its port.
    pub fn start_with_tls(certificate: &Path, key: &Path) -> (Self, u16) {
        let folder = folder();
        for (from, to) in [(certificate, "server.crt"), (key, "server.key")] {
            std::fs::copy(from, folder.join(to)).unwrap();
            std::fs::set_permissions(folder.join(to), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={port} -c ssl=on -c ssl_cert_file={} -c ssl_key_file={}",
            certificate.display(),
            key.display()
        );
        (Self::start_in(folder, false, &options), port)
    }

    fn start_in(folder: PathBuf, fsync: bool, options: &str) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .args([&folder, &programs()])
            .args([if fsync { "on" } else { "off" }, options])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut keeper = Keeper { orders, answers, _child: child };
        keeper.wait_until_ready();
        Self { folder, keeper: Mutex::new(keeper) }
    }

    /// How to connect to it.
    pub fn url(&self) -> String {
        socket_url(&self.folder)
    }

    /// Where its socket is.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Kills the server with all that it was doing, and starts it again.
    pub fn crash(&self) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        keeper.orders.write_all(b"crash\n").unwrap();
        keeper.wait_until_ready();
    }
}

/// How to connect to the server whose socket is in `folder`.
pub fn socket_url(folder: &Path) -> String {
    format!("postgres:///postgres?user=postgres&host={}", folder.display())
}

fn folder() -> PathBuf {
    tempfile::Builder::new().prefix("adspg").tempdir().unwrap().keep()
}

impl Keeper {
    fn wait_until_ready(&mut self) {
        let mut said = String::new();
        while self.answers.read_line(&mut said).unwrap() > 0 {
            if said.ends_with("ready\n") {
                return;
            }
        }
        panic!("PostgreSQL did not start:\n{said}");
    }
}

/// One of the server's programs.
#[allow(dead_code, reason = "benchmarks need it")]
pub fn program(name: &str) -> PathBuf {
    programs().join(name)
}

/// The folder of the newest server's programs; installs a server where there is none and that is possible.
fn programs() -> PathBuf {
    if let Some(found) = installed() {
        return found;
    }
    let install = "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql";
    let done = Command::new("sh").args(["-c", install]).stdout(Stdio::null()).status();
    let hint = format!("install it (`apt-get install postgresql`, as root), or name a server in {URL}");
    assert!(done.is_ok_and(|status| status.success()), "there is no PostgreSQL here, and installing it failed: {hint}");
    installed().unwrap_or_else(|| panic!("there is no PostgreSQL in /usr/lib/postgresql: {hint}"))
}

fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let newest = versions.filter_map(Result::ok).map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    newest.max_by_key(|bin| bin.parent().and_then(|v| v.file_name()?.to_str()?.parse::<u32>().ok()))
}

/// How to connect to the server that all tests of this process share.
pub fn url() -> String {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "tests are told where a server is by the environment")]
    let given = std::env::var(URL).ok();
    given.unwrap_or_else(|| {
        let shared = SHARED.get_or_init(|| std::panic::catch_unwind(|| Server::start(false)).ok());
        let Some(server) = shared else { panic!("the shared server did not start; the first test that needed it says why") };
        server.url()
    })
}

/// How to connect to a new, empty database on that server.
pub fn database() -> String {
    let (url, name) = (url(), schema());
    Session::open(&url).run(&format!("CREATE DATABASE {name}"));
    let (head, query) = url.split_once('?').map_or((url.as_str(), None), |(head, query)| (head, Some(query)));
    let server = head.rfind('/').filter(|at| *at > head.find("://").map_or(0, |at| at + 2)).map_or(head, |at| &head[..at]);
    format!("{server}/{name}{}", query.map(|query| format!("?{query}")).unwrap_or_default())
}

/// A connection of a test's own, which is used from anywhere and blocks.
pub struct Session {
    statements: std::sync::mpsc::Sender<String>,
    answers: std::sync::mpsc::Receiver<Vec<String>>,
}

impl Session {
    pub fn open(url: &str) -> Self {
        let (statements, inbox) = std::sync::mpsc::channel::<String>();
        let (outbox, answers) = std::sync::mpsc::channel();
        let url = url.to_owned();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (client, connection) = runtime.block_on(tokio_postgres::connect(&url, tokio_postgres::NoTls)).unwrap();
            let connection = runtime.spawn(connection);
            while let Ok(sql) = inbox.recv() {
                let said = runtime.block_on(client.simple_query(&sql)).unwrap();
                let first = |message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
                    _ => None,
                };
                drop(outbox.send(said.into_iter().filter_map(first).collect()));
            }
            drop((client, runtime.block_on(connection)));
        });
        Self { statements, answers }
    }

    /// Runs statements; the first column of what they return.
    pub fn run(&mut self, sql: &str) -> Vec<String> {
        self.statements.send(sql.to_owned()).unwrap();
        self.answers.recv().unwrap_or_else(|_| panic!("{sql}"))
    }
}

/// A schema's name that no other test uses.
pub fn schema() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
