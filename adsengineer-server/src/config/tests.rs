use std::io::Write as _;

use super::*;

fn variables(pairs: &[(&str, &str)]) -> Sources {
    Sources { environment: pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(), ..Sources::default() }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn error(sources: &Sources) -> String {
    Settings::load(sources).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let config = file("org = \"from-file\"\nretry_attempts = 4\nlease = \"9s\"\n");
    let mut sources = variables(&[("ADSENGINEER_ORG", "from-env"), ("ADSENGINEER_LEASE", "8s")]);
    sources.file = Some(config.path().to_owned());
    sources.flags = vec![("org", "from-flag".to_owned())];
    let (settings, _) = Settings::load(&sources).unwrap();
    assert_eq!((settings.text("org"), settings.origin("org")), (Some("from-flag"), Some("--org")));
    assert_eq!((settings.duration("lease"), settings.origin("lease")), (Duration::from_secs(8), Some("ADSENGINEER_LEASE")));
    assert_eq!(settings.number("retry_attempts"), 4);
    assert_eq!((settings.number("breaker_failures"), settings.origin("breaker_failures")), (5, Some("default")));
}

#[test]
fn unknown_keys_of_the_file_are_errors_that_name_the_nearest() {
    let config = file("retry_atempts = 4\n");
    let text = error(&Sources { file: Some(config.path().to_owned()), ..Sources::default() });
    assert!(text.contains("there is no setting `retry_atempts`; did you mean `retry_attempts`?"), "{text}");
}

#[test]
fn unknown_variables_are_warnings_and_those_of_kubernetes_are_not() {
    let (_, warnings) = Settings::load(&variables(&[
        ("ADSENGINEER_LEESE", "1s"),
        ("ADSENGINEER_SERVICE_HOST", "10.0.0.1"),
        ("ADSENGINEER_PORT_80_TCP", "x"),
        ("ADSENGINEER_API_SERVICE_PORT_HTTP", "80"),
        ("ADSENGINEER_CONFIG", "x"),
        ("OTHER", "x"),
    ]))
    .unwrap();
    assert_eq!(warnings, ["the environment variable ADSENGINEER_LEESE means nothing here; did you mean ADSENGINEER_LEASE?"]);
}

#[test]
fn secrets_come_from_variables_or_files_but_not_both_and_are_never_shown() {
    let held = file("from-file\n");
    let path = held.path().display().to_string();
    let (settings, _) = Settings::load(&variables(&[("ADSENGINEER_GOOGLE_REFRESH_TOKEN_FILE", &path)])).unwrap();
    assert_eq!(settings.secret("google_refresh_token").unwrap().expose(), "from-file");
    let line = settings.show().into_iter().find(|s| s.key == "google_refresh_token").unwrap();
    assert_eq!((line.value.as_deref(), line.origin.as_str()), (Some("***"), "ADSENGINEER_GOOGLE_REFRESH_TOKEN_FILE"));
    let both = variables(&[("ADSENGINEER_GOOGLE_REFRESH_TOKEN_FILE", &path), ("ADSENGINEER_GOOGLE_REFRESH_TOKEN", "x")]);
    assert!(error(&both).contains("keep one of them"));
    let missing = variables(&[("ADSENGINEER_ENCRYPTION_KEY_FILE", "/nowhere/key")]);
    assert!(error(&missing).contains("/nowhere/key"));
    let wrong = error(&variables(&[("ADSENGINEER_ENCRYPTION_KEY", "c2hvcnQ=")]));
    assert!(wrong.contains("`***`") && !wrong.contains("c2hvcnQ"), "{wrong}");
}

#[test]
fn values_that_cannot_be_used_say_what_they_must_be() {
    for (variable, value, expected) in [
        ("ADSENGINEER_LEASE", "soon", "a duration"),
        ("ADSENGINEER_RETRY_ATTEMPTS", "0", "from 1"),
        ("ADSENGINEER_MIGRATE", "maybe", "one of auto, check"),
        ("ADSENGINEER_ORG", "Acme Corp", "organization name"),
        ("ADSENGINEER_DATABASE_URL", "mysql://x", "sqlite://path"),
        ("ADSENGINEER_DATABASE_URL", "host=h user=u", "postgres://user@host"),
        ("ADSENGINEER_GOOGLE_TOKEN_URL", "http://example.com/token", "only to loopback"),
        ("ADSENGINEER_GOOGLE_TOKEN_URL", "http://127.0.0.1.example.com/token", "only to loopback"),
        ("ADSENGINEER_NOW", "yesterday", "RFC 3339"),
        ("ADSENGINEER_GOOGLE_CUSTOMER_ID", "12", "ten digits"),
        ("ADSENGINEER_LOG_FORMAT", "xml", "one of text, json"),
        ("ADSENGINEER_RATE_LIMIT_URL", "redis", "memory://, none:// in development, or redis://"),
        ("ADSENGINEER_RATE_LIMIT_URL", "redis://u:p/w@h", "`redis://***@h`"),
    ] {
        let text = error(&variables(&[(variable, value)]));
        assert!(text.starts_with(variable) && text.contains(expected), "{text}");
        assert!(!text.contains(":p@"), "{text}");
    }
    for url in ["http://127.0.0.1:9/x", "http://[::1]:9", "http://localhost", "https://example.com"] {
        assert!(Settings::load(&variables(&[("ADSENGINEER_GOOGLE_TOKEN_URL", url)])).is_ok(), "{url}");
    }
}

#[test]
fn a_url_with_a_password_may_be_in_a_file_and_is_shown_without_it() {
    let held = file("redis://me:hunter2@cache.example.com/1\n");
    let path = held.path().display().to_string();
    let (settings, warnings) = Settings::load(&variables(&[("ADSENGINEER_RATE_LIMIT_URL_FILE", &path)])).unwrap();
    assert_eq!((settings.text("rate_limit_url"), warnings.len()), (Some("redis://me:hunter2@cache.example.com/1"), 0));
    let line = settings.show().into_iter().find(|s| s.key == "rate_limit_url").unwrap();
    assert_eq!(line.value.as_deref(), Some("redis://***@cache.example.com/1"));
    assert_eq!(line.origin, "ADSENGINEER_RATE_LIMIT_URL_FILE");
    assert!(!format!("{settings:?}").contains("hunter2"));
    let both = variables(&[("ADSENGINEER_RATE_LIMIT_URL_FILE", &path), ("ADSENGINEER_RATE_LIMIT_URL", "redis://h")]);
    assert!(error(&both).contains("keep one of them"));
    let flag = Sources { flags: vec![("rate_limit_url", "redis://:hunter2@h".to_owned())], ..Sources::default() };
    assert!(error(&flag).starts_with("--rate-limit must not carry a password"));
}

#[test]
fn a_url_with_a_password_is_refused_as_a_flag() {
    let sources = Sources { flags: vec![("database_url", "postgres://u:p@h/d".to_owned())], ..Sources::default() };
    assert_eq!(
        error(&sources),
        "--database must not carry a password, which others could read in the process list; set ADSENGINEER_DATABASE_URL or ADSENGINEER_DATABASE_URL_FILE instead"
    );
}

#[test]
fn the_import_table_is_read_and_its_mistakes_are_named() {
    let config = file("[import]\nmap = {\"Close Date\" = \"Conversion Time\"}\ntime_zone = \"Europe/Berlin\"\n");
    let (settings, _) = Settings::load(&Sources { file: Some(config.path().to_owned()), ..Sources::default() }).unwrap();
    assert_eq!(settings.import().map["Close Date"], "Conversion Time");
    assert_eq!(settings.import().time_zone.as_deref(), Some("Europe/Berlin"));
    for (text, expected) in [("[import]\nzone = 1\n", "[import]"), ("org = [1]\n", "must be a text"), ("org = \n", "cannot be read")] {
        let config = file(text);
        let message = error(&Sources { file: Some(config.path().to_owned()), ..Sources::default() });
        assert!(message.contains(expected), "{message}");
    }
    assert!(error(&Sources { file: Some("/nowhere.toml".into()), ..Sources::default() }).contains("/nowhere.toml"));
}

#[test]
fn scores_are_an_organizations_own_or_everybodys_and_their_mistakes_are_named() {
    let config = file("[scoring.\"*\"]\nbase_cents = 5000\n[scoring.acme]\nphone = { points = 1, percent = 2 }\nqualified_at = 90\n");
    let (settings, _) = Settings::load(&Sources { file: Some(config.path().to_owned()), ..Sources::default() }).unwrap();
    let of = |org: &str| settings.scoring().of(&org.parse().unwrap()).clone();
    assert_eq!((of("other").base_cents, of("other").qualified_at), (5000, 70));
    assert_eq!((of("acme").base_cents, of("acme").phone.points, of("acme").qualified_at), (10_000, 1, 90));
    for (text, expected) in [
        ("scoring = 1\n", "tables such as [scoring.acme]"),
        ("[scoring.acme]\nbase = 5\n", "[scoring.acme]"),
        ("[scoring.acme]\nbonus = 5\n", "unknown field `bonus`"),
        ("[scoring.acme]\nbase_cents = -1\n", "0 or more"),
        ("[scoring.acme]\nqualified_at = 101\n", "100 or less"),
        ("[scoring.\"a b\"]\n", "[scoring.a b]"),
    ] {
        let config = file(text);
        let message = error(&Sources { file: Some(config.path().to_owned()), ..Sources::default() });
        assert!(message.contains(expected), "{message}");
    }
}
