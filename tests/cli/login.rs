//! Signing in: the test plays the browser.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use adsengineer_server::sandbox::SandboxOptions;
use serde_json::Value;

use crate::stage::{Said, Stage};

const CLIENT: &str =
    r#"{"installed":{"client_id":"sandbox-client.apps.googleusercontent.com","client_secret":"sandbox-client-secret","redirect_uris":[]}}"#;
const LOGIN: [&str; 7] = ["destination", "login", "shop", "--client-file", "client.json", "--no-browser", "--json"];

/// A destination without credentials, and the file of an OAuth client.
fn stage() -> Stage {
    let stage = Stage::new(SandboxOptions::default());
    stage.file("client.json", CLIENT);
    let mut add = stage.command();
    add.env_remove("ADSENGINEER_GOOGLE_CREDENTIALS_FILE").args(["destination", "add", "shop", "--customer-id", "1234567890"]);
    add.assert().success();
    stage
}

/// A sign-in that waits for its browser.
struct Waiting {
    child: Child,
    url: String,
}

impl Waiting {
    fn start(stage: &Stage, variables: &[(&str, &str)], args: &[&str]) -> Self {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("adsengineer"));
        command.args(args).current_dir(stage.path("")).envs(stage.variables()).envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        // A byte at a time: what follows the address is left in the pipe.
        let stderr = child.stderr.as_mut().unwrap();
        while !(line.contains("https://") && line.ends_with('\n')) {
            let mut byte = [0];
            assert_eq!(stderr.read(&mut byte).unwrap(), 1, "no address was named: {line}");
            line.push(char::from(byte[0]));
        }
        let url = match serde_json::from_str::<Value>(line.trim()) {
            Ok(json) => json["visit"]["url"].as_str().unwrap().to_owned(),
            Err(_) => line[line.find("https://").unwrap()..].trim().to_owned(),
        };
        Self { child, url }
    }

    fn field(&self, name: &str) -> String {
        let start = self.url.find(&format!("{name}=")).unwrap() + name.len() + 1;
        let encoded = self.url[start..].split('&').next().unwrap();
        encoded.replace("%3A", ":").replace("%2F", "/")
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.field("redirect_uri").trim_start_matches("http://").trim_end_matches('/')).unwrap()
    }

    /// What the browser shows after it was sent to `target`.
    fn come_back(&self, target: &str) -> String {
        let mut stream = self.connect();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    }

    fn with_code(&self) -> String {
        format!("/?state={}&code=4%2Fsandbox-authorization-code&scope=x", self.field("state"))
    }

    fn end(self) -> Said {
        self.child.wait_with_output().unwrap().into()
    }
}

fn credentials_of(stage: &Stage) -> Value {
    stage.run(&["destination", "show", "shop", "--json"]).json()["credentials"].clone()
}

fn message(said: &Said) -> String {
    let last: Value = serde_json::from_str(said.stderr.lines().last().unwrap_or_default()).unwrap();
    assert_eq!(last["error"]["exit_code"].as_i64(), Some(said.code.into()));
    last["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_sign_in_stores_a_grant_that_works() {
    let stage = stage();
    assert_eq!(credentials_of(&stage), "missing");
    let login = Waiting::start(&stage, &[], &LOGIN);
    assert_eq!((login.field("code_challenge_method"), login.field("access_type")), ("S256".to_owned(), "offline".to_owned()));
    let page = login.come_back(&login.with_code());
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("You are signed in"), "{page}");
    let said = login.end();
    assert_eq!((said.code, &said.json()["name"], &said.json()["expires_in_seconds"]), (0, &"shop".into(), &Value::Null));
    assert_eq!(credentials_of(&stage), "stored");
    let check = stage.run(&["destination", "check", "shop", "--json"]);
    assert_eq!((check.code, &check.json()["ok"]), (0, &true.into()), "{}", check.stdout);
    stage.close();
}

#[test]
fn answers_that_do_not_belong_to_the_sign_in_and_idle_connections_do_not_disturb_it() {
    let stage = stage();
    let login = Waiting::start(&stage, &[], &LOGIN);
    let _idle = login.connect();
    for foreign in ["/favicon.ico", "/?state=other&code=4%2Fsandbox-authorization-code", &format!("/?state={}", login.field("state"))] {
        let page = login.come_back(foreign);
        assert!(page.starts_with("HTTP/1.1 404"), "{foreign}: {page}");
    }
    login.come_back(&login.with_code());
    assert_eq!((login.end().code, credentials_of(&stage)), (0, "stored".into()));
    stage.close();
}

#[test]
fn a_person_who_says_no_and_a_code_that_is_wrong_store_nothing() {
    let stage = stage();
    let denied = Waiting::start(&stage, &[], &LOGIN);
    let page = denied.come_back(&format!("/?state={}&error=access_denied", denied.field("state")));
    assert!(page.contains("refused"), "{page}");
    let said = denied.end();
    assert!(said.code == 4 && message(&said).contains("access_denied"), "{}", said.stderr);
    let wrong = Waiting::start(&stage, &[], &LOGIN);
    wrong.come_back(&format!("/?state={}&code=guessed", wrong.field("state")));
    let said = wrong.end();
    assert!(said.code == 4 && message(&said).contains("invalid_grant"), "{}", said.stderr);
    assert_eq!(credentials_of(&stage), "missing");
    stage.close();
}

/// A token endpoint that gives every client the same answer, once.
fn token_endpoint(answer: &'static str) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let mut length = 0;
        let mut line = String::new();
        while stream.read_line(&mut line).unwrap() > 2 {
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        assert!(String::from_utf8(body).unwrap().contains("grant_type=authorization_code"));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", answer.len());
        stream.get_mut().write_all((head + answer).as_bytes()).unwrap();
    });
    (url, served)
}

#[test]
fn a_grant_without_a_refresh_token_or_without_the_scope_is_refused_and_one_that_dies_soon_is_said() {
    let stage = stage();
    let cases = [
        (r#"{"access_token":"a","expires_in":3599}"#, 4, "refresh token"),
        (r#"{"access_token":"a","expires_in":3599,"refresh_token":"r","scope":"openid"}"#, 4, "Data Manager"),
        (r#"{"access_token":"a","expires_in":3599,"refresh_token":"r","refresh_token_expires_in":604799}"#, 0, "dies in 7 days"),
    ];
    let plain = &LOGIN[..6];
    for (answer, code, words) in cases {
        assert_eq!(credentials_of(&stage), "missing");
        let (url, served) = token_endpoint(answer);
        let login = Waiting::start(&stage, &[("ADSENGINEER_GOOGLE_TOKEN_URL", &url)], &[plain, &["--quiet"]].concat());
        login.come_back(&login.with_code());
        let said = login.end();
        served.join().unwrap();
        assert_eq!(said.code, code, "{}{}", said.stdout, said.stderr);
        assert!(format!("{}{}", said.stdout, said.stderr).contains(words), "{words}: {}{}", said.stdout, said.stderr);
    }
    assert_eq!(credentials_of(&stage), "stored");
    stage.close();
}

#[test]
fn without_a_client_file_or_a_destination_nobody_is_sent_to_a_browser() {
    let stage = stage();
    let run = |name: &str, file: &str| stage.run(&["destination", "login", name, "--client-file", file, "--no-browser", "--json"]);
    let missing = run("shop", "nowhere.json");
    assert!(missing.code == 5 && message(&missing).contains("nowhere.json"), "{}", missing.stderr);
    stage.file("other.json", r#"{"type":"service_account"}"#);
    let other = run("shop", "other.json");
    assert!(other.code == 5 && message(&other).contains("desktop app"), "{}", other.stderr);
    assert_eq!(run("till", "client.json").code, 6);
    assert_eq!(stage.run(&["destination", "login", "shop"]).code, 2);
    stage.close();
}

#[cfg(target_os = "linux")]
#[test]
fn the_browser_is_opened_at_the_address_that_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let stage = stage();
    let program = stage.file("xdg-open", "#!/bin/sh\nprintf %s \"$1\" > opening && mv opening opened\n");
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", stage.path("").display(), std::env::var("PATH").unwrap());
    let login = Waiting::start(&stage, &[("PATH", &path)], &LOGIN[..5]);
    while !stage.path("opened").exists() {
        std::thread::yield_now();
    }
    assert_eq!(std::fs::read_to_string(stage.path("opened")).unwrap(), login.url);
    login.come_back(&login.with_code());
    assert_eq!(login.end().code, 0);
    stage.close();
}
