//! A Redis or Valkey server of a test's own, which lives in a temporary folder and ends with the test process, however that ends.
//! Where there is no such program and none can be installed a test fails.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

/// Starts `$2-server` in the folder `$1` on port `$3` with further options, says `done`, and obeys what it reads until its
/// input ends: so also when the test is killed.
const KEEPER: &str = r#"
trap '' INT HUP TERM
dir=$1 redis=$2 port=$3
shift 3
start() {
    "$redis-server" --port "$port" --bind 127.0.0.1 --dir "$dir" --logfile "$dir/log" --save '' "$@" >/dev/null 2>>"$dir/log" </dev/null &
    pid=$!
    until "$redis-cli" -p "$port" ping 2>&1 | grep -q 'PONG\|NOAUTH\|LOADING\|MASTERDOWN'; do
        kill -0 "$pid" 2>/dev/null || { cat "$dir/log"; rm -rf "$dir"; exit 1; }
    done
}
start "$@"
echo done
while read -r order; do
    case $order in
        start) start "$@" ;;
        KILL) kill -KILL "$pid"; wait "$pid" ;;
        *) kill "-$order" "$pid" ;;
    esac
    echo done
done
kill -KILL "$pid"
rm -rf "$dir"
"#;

/// A server of the test's own.
pub struct Server {
    port: u16,
    keeper: Mutex<Keeper>,
}

struct Keeper {
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    _child: Child,
}

impl Server {
    /// Starts one with these options of `redis-server`, on a free port.
    pub fn start(options: &[&str]) -> Self {
        // Somebody else may take a free port first.
        let started = (0..5).map(|_| Self::try_at(free_port(), options)).try_fold(String::new(), |_, tried| match tried {
            Ok(server) => Err(server),
            Err(said) => Ok(said),
        });
        started.map_or_else(|server| server, |said| panic!("Redis did not start:\n{said}"))
    }

    /// The same on a port that is known already.
    pub fn at(port: u16, options: &[&str]) -> Self {
        Self::try_at(port, options).unwrap_or_else(|said| panic!("Redis did not start:\n{said}"))
    }

    fn try_at(port: u16, options: &[&str]) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("adsredis").tempdir().unwrap().keep();
        let mut child = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(folder)
            .args([program(), &port.to_string()])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (orders, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut keeper = Keeper { orders, answers, _child: child };
        keeper.wait_until_done()?;
        Ok(Self { port, keeper: Mutex::new(keeper) })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it without a word.
    pub fn kill(&self) {
        self.order("KILL");
    }

    /// Starts it again after [`Server::kill`].
    pub fn start_again(&self) {
        self.order("start");
    }

    /// Lets it hang: its connections stay open, and new ones are taken.
    pub fn hang(&self) {
        self.order("STOP");
    }

    /// Lets it go on after [`Server::hang`].
    pub fn go_on(&self) {
        self.order("CONT");
    }

    fn order(&self, order: &str) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(keeper.orders, "{order}").unwrap();
        keeper.wait_until_done().unwrap_or_else(|said| panic!("Redis does not obey:\n{said}"));
    }

    /// What it says to a command.
    pub fn say(&self, command: &[&str]) -> String {
        let said = Command::new(format!("{}-cli", program())).args(["-p", &self.port.to_string()]).args(command).output().unwrap();
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    }
}

impl Keeper {
    fn wait_until_done(&mut self) -> Result<(), String> {
        let mut said = String::new();
        while self.answers.read_line(&mut said).unwrap() > 0 {
            if said.ends_with("done\n") {
                return Ok(());
            }
        }
        Err(said)
    }
}

/// A port that nobody has now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `redis` or `valkey`, whichever is there; installs Redis where neither is and that is possible.
fn program() -> &'static str {
    static PROGRAM: OnceLock<&str> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(found) = installed() {
            return found;
        }
        let install = "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server";
        let done = Command::new("sh").args(["-c", install]).stdout(Stdio::null()).status();
        let hint = "install it (`apt-get install redis-server`, as root)";
        assert!(done.is_ok_and(|status| status.success()), "there is no Redis here, and installing it failed: {hint}");
        installed().unwrap_or_else(|| panic!("there is no `redis-server`: {hint}"))
    })
}

fn installed() -> Option<&'static str> {
    let runs = |name: &&str| Command::new(format!("{name}-server")).arg("--version").output().is_ok_and(|said| said.status.success());
    ["redis", "valkey"].into_iter().find(runs)
}
