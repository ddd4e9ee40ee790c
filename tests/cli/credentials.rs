//! Where credentials may come from, and what is said of those that cannot be used.

use adsengineer_server::sandbox::SandboxOptions;
use serde_json::Value;

use crate::stage::{Said, Stage};

const SET: [&str; 4] = ["destination", "set-credentials", "till", "--json"];

/// Variables, arguments and standard input.
type Way<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a str);

/// A destination without credentials.
fn stage() -> Stage {
    let stage = Stage::new(SandboxOptions::default());
    let said = run(&stage, &[], &["destination", "add", "till", "--customer-id", "1112223333"], "");
    assert!(said.code == 0 && said.stdout.contains("no credentials yet"), "{}{}", said.stdout, said.stderr);
    stage
}

/// Runs without the credentials that the stage offers otherwise.
fn run(stage: &Stage, variables: &[(&str, &str)], args: &[&str], input: &str) -> Said {
    let mut command = stage.command();
    command.env_remove("ADSENGINEER_GOOGLE_CREDENTIALS_FILE").envs(variables.iter().copied());
    command.args(args).write_stdin(input).output().unwrap().into()
}

fn code_of(said: &Said) -> (i32, String) {
    let error: Value = serde_json::from_str(said.stderr.trim()).unwrap_or_else(|e| panic!("{e}: {}", said.stderr));
    (said.code, error["error"]["code"].as_str().unwrap().to_owned())
}

fn works(stage: &Stage) -> bool {
    run(stage, &[], &["destination", "check", "till", "--json"], "").code == 0
}

#[test]
fn credentials_come_from_a_file_from_standard_input_or_from_the_environment() {
    let stage = stage();
    let text = stage.sandbox.credentials_json();
    let json: Value = serde_json::from_str(&text).unwrap();
    let field = |name: &str| json[name].as_str().unwrap().to_owned();
    let (id, secret, token) = (field("client_id"), field("client_secret"), field("refresh_token"));
    stage.file("secret.txt", &format!("{secret}\n"));
    let secret_file = stage.path("secret.txt").display().to_string();
    let file = stage.path("credentials.json").display().to_string();
    let ways: [Way<'_>; 5] = [
        (&[], &["--file", "credentials.json"], ""),
        (&[], &["--file", "-"], &text),
        (&[("ADSENGINEER_GOOGLE_CREDENTIALS_FILE", &file)], &[], ""),
        (
            &[
                ("ADSENGINEER_GOOGLE_CLIENT_ID", &id),
                ("ADSENGINEER_GOOGLE_CLIENT_SECRET", &secret),
                ("ADSENGINEER_GOOGLE_REFRESH_TOKEN", &token),
            ],
            &[],
            "",
        ),
        (
            &[
                ("ADSENGINEER_GOOGLE_CLIENT_ID", &id),
                ("ADSENGINEER_GOOGLE_CLIENT_SECRET_FILE", &secret_file),
                ("ADSENGINEER_GOOGLE_REFRESH_TOKEN", &token),
            ],
            &[],
            "",
        ),
    ];
    for (variables, args, input) in ways {
        let wrong = text.replace(&token, "1//withdrawn");
        assert_eq!(run(&stage, &[], &[&SET[..], &["--file", "-"]].concat(), &wrong).code, 0);
        assert!(!works(&stage));
        let said = run(&stage, variables, &[&SET[..], args].concat(), input);
        assert_eq!((said.code, &said.json()["name"]), (0, &"till".into()), "{variables:?} {args:?}: {}", said.stderr);
        assert!(works(&stage), "{variables:?} {args:?}");
    }
    stage.close();
}

#[test]
fn credentials_that_cannot_be_used_are_refused_and_those_before_stay() {
    let stage = stage();
    assert_eq!(run(&stage, &[], &[&SET[..], &["--file", "-"]].concat(), &stage.sandbox.credentials_json()).code, 0);
    for text in ["", "{", "[]", "{}", r#"{"type":"external_account"}"#, r#"{"type":"authorized_user","client_id":"x"}"#] {
        stage.file("bad.json", text);
        let from_file = run(&stage, &[], &[&SET[..], &["--file", "bad.json"]].concat(), "");
        assert_eq!(code_of(&from_file), (5, "CREDENTIALS".to_owned()), "{text}");
        let from_input = run(&stage, &[], &[&SET[..], &["--file", "-"]].concat(), text);
        assert_eq!(code_of(&from_input), (5, "CREDENTIALS".to_owned()), "{text}");
    }
    let missing = run(&stage, &[], &[&SET[..], &["--file", "nowhere.json"]].concat(), "");
    assert_eq!(code_of(&missing), (5, "CREDENTIALS".to_owned()));
    assert!(missing.stderr.contains("nowhere.json cannot be read"), "{}", missing.stderr);
    let half = run(&stage, &[("ADSENGINEER_GOOGLE_CLIENT_ID", "x"), ("ADSENGINEER_GOOGLE_REFRESH_TOKEN", "y")], &SET, "");
    assert_eq!(code_of(&half), (5, "CREDENTIALS".to_owned()));
    assert!(half.stderr.contains("only some of"), "{}", half.stderr);
    assert!(works(&stage));
    stage.close();
}

#[test]
fn without_credentials_or_a_terminal_nobody_is_asked() {
    let stage = stage();
    for args in [&SET[..], &[&SET[..], &["--no-input"]].concat()] {
        let said = run(&stage, &[], args, "");
        assert_eq!(code_of(&said), (2, "USAGE".to_owned()));
        assert!(said.stderr.contains("nobody to ask") && said.stderr.contains("--file"), "{}", said.stderr);
    }
    assert_eq!(run(&stage, &[], &["destination", "set-credentials", "other", "--file", "-"], "{}").code, 6);
    stage.close();
}
