//! PgBouncer in transaction mode before the tests' PostgreSQL server: a few connections to it, each lent for one transaction.
//! It ends with the test process, however that ends. Where it is not installed and cannot be, a test fails.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
};

/// Starts it in the folder `$1` with the program `$2`, says `ready`, and ends it when the input ends. It refuses to run as root.
const KEEPER: &str = r#"
trap '' INT HUP TERM
dir=$1 program=$2
as() { exec "$@"; }
if [ "$(id -u)" = 0 ]; then
    chown -R postgres "$dir"
    as() { exec setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
fi
# `exec`, so that the process known is the program's own.
as "$program" "$dir/pgbouncer.ini" >"$dir/log" 2>&1 </dev/null &
pid=$!
until [ -S "$dir/.s.PGSQL.6432" ]; do
    kill -0 "$pid" 2>/dev/null || { cat "$dir/log"; rm -rf "$dir"; exit 1; }
done
echo ready
cat >/dev/null
kill -KILL "$pid"
rm -rf "$dir"
"#;

struct Pooler {
    folder: PathBuf,
    _orders: ChildStdin,
    _child: Child,
}

impl Pooler {
    fn start(server: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("adsbounce").tempdir().unwrap().keep();
        let dir = folder.display();
        let config = format!(
            "[databases]\n* = host={}\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = {dir}\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 6\nmax_client_conn = 1000\nserver_tls_sslmode = disable\n\
             ignore_startup_parameters = extra_float_digits\n",
            server.display()
        );
        // Whoever comes is the one user of the server.
        std::fs::write(folder.join("pgbouncer.ini"), config.replace("* = host", "* = user=postgres host")).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .args([&folder, &program()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let mut said = String::new();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        while !said.ends_with("ready\n") {
            assert!(answers.read_line(&mut said).unwrap() > 0, "PgBouncer did not start:\n{said}");
        }
        // The socket is there a moment before anybody listens on it.
        while std::os::unix::net::UnixStream::connect(folder.join(".s.PGSQL.6432")).is_err() {
            std::thread::yield_now();
        }
        Self { folder, _orders: orders, _child: child }
    }
}

/// Where the program is; installs it where it is not and that is possible.
fn program() -> PathBuf {
    let program = PathBuf::from("/usr/sbin/pgbouncer");
    if !program.exists() {
        let install = "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq pgbouncer";
        let done = Command::new("sh").args(["-c", install]).stdout(Stdio::null()).status();
        let hint = "install it (`apt-get install pgbouncer`, as root)";
        assert!(done.is_ok_and(|status| status.success()) && program.exists(), "there is no PgBouncer here: {hint}");
    }
    program
}

/// How to connect through it to a server of the tests' own, which all tests of this process share.
pub fn url() -> String {
    static SHARED: OnceLock<Option<(super::server::Server, Pooler)>> = OnceLock::new();
    let start = || {
        let server = super::server::Server::start(false);
        let pooler = Pooler::start(server.folder());
        (server, pooler)
    };
    let shared = SHARED.get_or_init(|| std::panic::catch_unwind(start).ok());
    let Some((_, pooler)) = shared else { panic!("PgBouncer did not start; the first test that needed it says why") };
    format!("postgres://postgres@/postgres?host={}&port=6432", pooler.folder.display())
}
