//! The server under load, beside a bare axum "hello" on the same cores in the same run.
//!
//! `cargo bench -p adsengineer-cli --bench http [-- SECONDS]`; needs `wrk`. The server is the real binary, durable (every answer
//! follows its fsync), with tokens, limits (raised, but on), consent, scoring, sealing and audit.

#[path = "http/paced.rs"]
mod paced;

use std::{
    error::Error,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use axum::{Router, routing::get};

/// What a client sends: one lead, or a batch of them, each with an id of its own.
const SCRIPT: &str = r#"
local thread_number, n = 0, 0
function setup(thread) thread:set("number", thread_number); thread_number = thread_number + 1 end
function init(args)
  headers = {["Authorization"] = "Bearer " .. args[1], ["Content-Type"] = "application/json"}
  batch, base = tonumber(args[2]), args[3] .. "-" .. number .. "-"
end
local function lead()
  n = n + 1
  return '{"external_id":"' .. base .. n .. '","email":"person' .. base .. n .. '@example.com","phone":"+4915123456789",' ..
    '"gclid":"EAIaIQobChMI1example' .. n .. '","company":"Example Ltd","tags":["hot"],"landing_page":"https://example.com/?a=1",' ..
    '"utm":{"source":"google","medium":"cpc"},"consent":{"storage":"granted","ad_user_data":"granted",' ..
    '"ad_personalization":"denied","method":"form_checkbox"}}'
end
function request()
  local body
  if batch == 1 then body = lead() else
    local all = {}
    for i = 1, batch do all[i] = lead() end
    body = "[" .. table.concat(all, ",") .. "]"
  end
  return wrk.format("POST", "/api/v1/leads", headers, body)
end
"#;

struct Server {
    child: Child,
    url: String,
    started: Duration,
}

impl Server {
    /// Starts the binary on a database of its own and waits for its address.
    fn start(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let begun = Instant::now();
        let mut child = command(folder).args(["serve", "--role", "api"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let url = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        Ok(Self { child, url, started: begun.elapsed() })
    }

    fn memory_mib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adsengineer"));
    command
        .env("ADSENGINEER_DATABASE_URL", format!("sqlite://{}", folder.join("bench.db").display()))
        .env("ADSENGINEER_LISTEN", "127.0.0.1:0")
        .env("ADSENGINEER_RATE_LIMIT_ORG", "1000000/s");
    command
}

/// One line of wrk's report, for example `Requests/sec`.
fn value(report: &str, name: &str) -> String {
    let line = report.lines().find(|line| line.trim().starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).unwrap_or("?").to_owned()
}

fn wrk(url: &str, connections: u32, seconds: &str, script: Option<(&Path, &[&str])>) -> Result<String, Box<dyn Error>> {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "--latency", "-d", seconds, "-c", &connections.to_string()]);
    if let Some((path, _)) = script {
        wrk.arg("-s").arg(path);
    }
    wrk.arg(url);
    if let Some((_, args)) = script {
        wrk.arg("--").args(args);
    }
    let output = wrk.output().map_err(|e| format!("wrk is needed and cannot be run: {e}"))?;
    let report = String::from_utf8(output.stdout)?;
    if report.contains("Non-2xx") {
        return Err(format!("some requests were refused:\n{report}").into());
    }
    Ok(report)
}

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).filter(|a| a.parse::<u32>().is_ok()).unwrap_or_else(|| "8".to_owned());
    let mut out = std::io::stdout();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let hello_url = format!("http://{}/", listener.local_addr()?);
    runtime.spawn(async move { axum::serve(listener, Router::new().route("/", get(|| async { "hello" }))).await });

    let folder = tempfile::tempdir()?;
    let script = folder.path().join("post.lua");
    std::fs::write(&script, SCRIPT)?;
    let server = Server::start(folder.path())?;
    let minted = command(folder.path()).args(["token", "mint", "--sub", "bench", "--org", "acme", "--role", "member"]).output()?;
    let token = String::from_utf8(minted.stdout)?.trim().to_owned();

    let hello = value(&wrk(&hello_url, 64, &seconds, None)?, "Requests/sec").parse::<f64>()?;
    writeln!(out, "hello, 64 connections: {hello:.0} requests/s; the server was ready after {:?}", server.started)?;
    say_times(&mut out, "hello, 1 connection", &wrk(&hello_url, 1, "2s", None)?)?;
    say_times(&mut out, "health, 1 connection", &wrk(&format!("{}/health", server.url), 1, "2s", None)?)?;
    let mut most = 0.0;
    for (connections, batch) in [(1, 1), (64, 1), (64, 100), (1, 1)] {
        let name = format!("b{connections}x{batch}-{most:.0}");
        let report = wrk(&server.url, connections, &seconds, Some((&script, &[&token, &batch.to_string(), &name])))?;
        let rate = value(&report, "Requests/sec").parse::<f64>()?;
        if (connections, batch) == (64, 1) {
            most = rate;
        }
        writeln!(
            out,
            "leads, {connections} connections, {batch} to a request: {rate:.0} requests/s ({:.1} % of hello), {:.0} leads/s, p50 {}, p99 {}, {} MiB",
            100.0 * rate / hello,
            rate * f64::from(batch),
            value(&report, "50%"),
            value(&report, "99%"),
            server.memory_mib().unwrap_or(0)
        )?;
    }
    let lasts = Duration::from_secs(seconds.parse()?);
    let address = server.url.trim_start_matches("http://").to_owned();
    let plan = paced::Plan { address, token, connections: 64, rate: most / 2.0, lasts };
    let times = runtime.block_on(paced::post_leads(plan)).map_err(|error| error.to_string())?;
    let [p50, p99] = [0.5, 0.99].map(|part| times.within(part));
    writeln!(
        out,
        "leads at half of that rate, 64 connections, one to a request: {} requests, p50 {p50:.1?}, p99 {p99:.1?}",
        times.count()
    )?;
    Ok(())
}

fn say_times(out: &mut impl Write, what: &str, report: &str) -> std::io::Result<()> {
    writeln!(out, "{what}: p50 {}, p99 {}", value(report, "50%"), value(report, "99%"))
}
