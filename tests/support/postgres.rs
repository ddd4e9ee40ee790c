//! A PostgreSQL server for tests: the one that `ADSENGINEER_TEST_POSTGRES_URL` names, else one of the test process's own, which
//! lives in a temporary folder and ends with the process, however that ends. Without either a test fails.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
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
    chown postgres "$dir"
    as() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
else
    as() { "$@"; }
fi
start() {
    as "$bin/pg_ctl" start -w -t 60 -D "$dir/data" -l "$dir/server.log" \
        -o "-k $dir -c listen_addresses= -c fsync=$3 -c max_connections=300 -c shared_buffers=256MB" >/dev/null 2>>"$dir/log"
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
        let folder = tempfile::Builder::new().prefix("adspg").tempdir().unwrap().keep();
        let mut child = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .args([&folder, &programs()])
            .arg(if fsync { "on" } else { "off" })
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
        format!("host={} user=postgres dbname=postgres", self.folder.display())
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
    #[expect(clippy::disallowed_methods, reason = "tests are told where a server is by the environment")]
    let given = std::env::var(URL).ok();
    given.unwrap_or_else(|| {
        let shared = SHARED.get_or_init(|| std::panic::catch_unwind(|| Server::start(false)).ok());
        let Some(server) = shared else { panic!("the shared server did not start; the first test that needed it says why") };
        server.url()
    })
}

/// A schema's name that no other test uses.
pub fn schema() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
