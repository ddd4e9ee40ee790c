//! Exit codes, and the one place where errors become them.

use std::borrow::Cow;

use adsengineer_core::{engine::EngineError, import::FileFault, store::StoreError};
use adsengineer_server::config::{ConfigError, FaceError};

use crate::client::{Failure, Problem};

/// How the program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// A fault of this program.
    Internal = 1,
    /// The command line or the input cannot be used.
    Usage = 2,
    /// Finished, but some rows were refused.
    Refused = 3,
    /// Not authenticated or not allowed.
    Auth = 4,
    /// The configuration does not work.
    Config = 5,
    /// What was named is not there.
    NotFound = 6,
    /// Something stands in the way.
    Conflict = 7,
    /// An outside system is down; safe to run again.
    Unavailable = 8,
    /// A rate or quota is exhausted.
    Quota = 9,
    /// A check found differences.
    Differences = 10,
    /// Something is damaged.
    Integrity = 11,
    /// Interrupted, state saved.
    Interrupted = 130,
}

/// An error as the user sees it: what happened, and what to do.
#[derive(Debug)]
pub struct CliError {
    /// How the program ends.
    pub exit: Exit,
    /// Stable code for `--json`.
    pub code: Cow<'static, str>,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl CliError {
    /// An error with a stable code.
    pub fn new(exit: Exit, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { exit, code: code.into(), message: message.into(), hint: None }
    }

    /// The command line cannot be used.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "USAGE", message)
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl CliError {
    /// What a server, or whatever answers at its address, made of a request.
    pub fn from_server(server: &str, failure: Failure) -> Self {
        match failure {
            Failure::Refused(problem) => Self::refused(server, problem),
            Failure::NotOurs(why) => Self::new(Exit::Unavailable, "NOT_A_SERVER", format!("{server} is not an AdsEngineer server: {why}"))
                .hint("check the address; a proxy or login page in between answers like this too"),
            Failure::Unreachable(why) => Self::new(Exit::Unavailable, "SERVER_UNREACHABLE", format!("{server} cannot be reached: {why}"))
                .hint("`adsengineer health` says whether a server is up; it is safe to run this again"),
            Failure::BadToken => Self::new(Exit::Auth, "TOKEN_MALFORMED", "the token has characters that no token has")
                .hint("`adsengineer login` stores another"),
        }
    }

    fn refused(server: &str, problem: Problem) -> Self {
        let Problem { status, code, mut detail, request_id, retry_after, errors } = problem;
        let (exit, hint) = match status {
            401 => (Exit::Auth, "`adsengineer login` stores another token"),
            403 => (Exit::Auth, "`adsengineer whoami` shows what the token may do"),
            404 => (Exit::NotFound, ""),
            409 => (Exit::Conflict, ""),
            429 => (Exit::Quota, "it is safe to run this again later"),
            503 => (Exit::Unavailable, "it is safe to run this again"),
            400..=499 => (Exit::Usage, ""),
            _ => (Exit::Internal, "the server's log has more under the request id"),
        };
        for error in errors {
            let field = if error.pointer.is_empty() { String::new() } else { format!("{} ", error.pointer) };
            detail += &format!("; {field}{}: {}", error.code, error.detail);
        }
        if let Some(seconds) = retry_after {
            detail += &format!("; try again after {seconds} s");
        }
        let request = request_id.map(|id| format!(" (request {id})")).unwrap_or_default();
        let built = Self::new(exit, code, format!("{server}: {detail}{request}"));
        if hint.is_empty() { built } else { built.hint(hint) }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let (exit, code, hint) = match &error {
            StoreError::Busy | StoreError::Unavailable(_) => (Exit::Unavailable, "DATABASE_UNAVAILABLE", "it is safe to run this again"),
            StoreError::DiskFull(_) => (Exit::Unavailable, "DISK_FULL", "free some space, then run this again"),
            StoreError::Schema(_) => (Exit::Config, "SCHEMA", "`adsengineer migrate --status` shows where the database stands"),
            StoreError::Damaged(_) => (Exit::Integrity, "DATABASE_DAMAGED", "`adsengineer doctor` says more"),
            StoreError::NotFound(_) => (Exit::NotFound, "NOT_FOUND", ""),
            StoreError::Conflict(_) => (Exit::Conflict, "CONFLICT", ""),
            _ => (Exit::Internal, "INTERNAL", ""),
        };
        let built = Self::new(exit, code, error.to_string());
        if hint.is_empty() { built } else { built.hint(hint) }
    }
}

impl From<EngineError> for CliError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => error.into(),
            EngineError::Forbidden { .. } => Self::new(Exit::Auth, "FORBIDDEN", error.to_string()),
            EngineError::NoDestination { .. } => {
                Self::new(Exit::NotFound, "NO_DESTINATION", error.to_string()).hint("`adsengineer destination add` makes one")
            }
            EngineError::NotFound(_) => Self::new(Exit::NotFound, "NOT_FOUND", error.to_string()),
            EngineError::Refused(_) => Self::new(Exit::Config, "UNKNOWN_ACTION", error.to_string())
                .hint("`adsengineer destination add NAME --action 'Name=ID'` adds it"),
            EngineError::KeyReused | EngineError::Status { .. } | EngineError::TooManyRevoked => {
                Self::new(Exit::Conflict, "CONFLICT", error.to_string())
            }
            EngineError::Invalid(_) => Self::new(Exit::Usage, "VALIDATION_FAILED", error.to_string()),
            EngineError::TooMany { .. } => Self::new(Exit::Conflict, "TOO_MANY", error.to_string()),
            EngineError::OpenDeliveries(_) => Self::new(Exit::Conflict, "OPEN_DELIVERIES", error.to_string()),
            EngineError::Vault(_) => Self::new(Exit::Config, "ENCRYPTION_KEY", error.to_string()),
            EngineError::Lock(_) => Self::new(Exit::Conflict, "LOCK", error.to_string()),
            _ => Self::new(Exit::Internal, "INTERNAL", error.to_string()),
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let exit = match &error {
            ConfigError::SecretInFlag { .. } => Exit::Usage,
            ConfigError::Invalid { origin, .. } if origin.starts_with("--") => Exit::Usage,
            _ => Exit::Config,
        };
        Self::new(exit, "CONFIGURATION", error.to_string()).hint("`adsengineer config show` prints every setting and where it came from")
    }
}

impl From<FaceError> for CliError {
    fn from(error: FaceError) -> Self {
        Self::new(Exit::Config, "CONFIGURATION", error.to_string())
    }
}

impl From<FileFault> for CliError {
    fn from(fault: FileFault) -> Self {
        Self::new(Exit::Usage, fault.finding.code.as_str(), fault.finding.to_string()).hint(fault.finding.hint.to_string())
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Internal, "IO", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use adsengineer_core::org::Role;

    use super::*;

    fn parts(error: impl Into<CliError>) -> (Exit, &'static str, bool) {
        let error = error.into();
        assert!(!error.message.is_empty());
        let Cow::Borrowed(code) = error.code else { panic!("a code of our own") };
        (error.exit, code, error.hint.is_some())
    }

    #[test]
    fn every_error_of_the_database_has_an_ending_that_says_whether_to_run_again() {
        let text = || "why".to_owned();
        assert_eq!(parts(StoreError::Busy), (Exit::Unavailable, "DATABASE_UNAVAILABLE", true));
        assert_eq!(parts(StoreError::Unavailable(text())), (Exit::Unavailable, "DATABASE_UNAVAILABLE", true));
        assert_eq!(parts(StoreError::DiskFull(text())), (Exit::Unavailable, "DISK_FULL", true));
        assert_eq!(parts(StoreError::Schema(text())), (Exit::Config, "SCHEMA", true));
        assert_eq!(parts(StoreError::Damaged(text())), (Exit::Integrity, "DATABASE_DAMAGED", true));
        assert_eq!(parts(StoreError::NotFound(text())), (Exit::NotFound, "NOT_FOUND", false));
        assert_eq!(parts(StoreError::Conflict(text())), (Exit::Conflict, "CONFLICT", false));
        assert!(CliError::from(StoreError::DiskFull(text())).message.contains("why"));
    }

    #[test]
    fn every_error_of_the_engine_has_an_ending() {
        assert_eq!(parts(EngineError::Store(StoreError::Busy)), (Exit::Unavailable, "DATABASE_UNAVAILABLE", true));
        let forbidden = EngineError::Forbidden { needed: Role::Admin, has: Role::Viewer };
        assert_eq!(parts(forbidden), (Exit::Auth, "FORBIDDEN", false));
        let none = EngineError::NoDestination { name: "shop".to_owned(), names: vec!["till".into()] };
        let none = CliError::from(none);
        assert_eq!((none.exit, none.code.as_ref()), (Exit::NotFound, "NO_DESTINATION"));
        assert!(none.message.contains("`shop`") && none.message.contains("till") && none.hint.unwrap().contains("destination add"));
        assert_eq!(parts(EngineError::NotFound("x".to_owned())), (Exit::NotFound, "NOT_FOUND", false));
        assert_eq!(parts(EngineError::Lock(std::io::Error::other("held"))), (Exit::Conflict, "LOCK", false));
    }

    #[test]
    fn a_setting_from_the_command_line_is_a_fault_of_the_command_line() {
        let invalid = |origin: &str| ConfigError::Invalid {
            origin: origin.to_owned(),
            key: "lease".to_owned(),
            value: "soon".to_owned(),
            expected: "a duration".to_owned(),
        };
        assert_eq!(parts(invalid("--lease")), (Exit::Usage, "CONFIGURATION", true));
        assert_eq!(parts(invalid("ADSENGINEER_LEASE")), (Exit::Config, "CONFIGURATION", true));
        assert_eq!(parts(ConfigError::Twice { variable: "A".to_owned() }), (Exit::Config, "CONFIGURATION", true));
        assert_eq!(parts(std::io::Error::other("broken pipe")), (Exit::Internal, "IO", false));
    }

    #[test]
    fn what_stands_in_the_way_of_an_operation_is_a_conflict_and_bad_input_is_usage() {
        assert_eq!(parts(EngineError::KeyReused), (Exit::Conflict, "CONFLICT", false));
        assert_eq!(parts(EngineError::TooMany { what: "rules", most: 200 }), (Exit::Conflict, "TOO_MANY", false));
        assert_eq!(parts(EngineError::OpenDeliveries("`shop` has 3".to_owned())), (Exit::Conflict, "OPEN_DELIVERIES", false));
        assert_eq!(parts(EngineError::Invalid(Vec::new())), (Exit::Usage, "VALIDATION_FAILED", false));
        let refusal = adsengineer_core::engine::Refusal::UnknownAction { destination: "shop".into(), action: "Sale".into() };
        assert_eq!(parts(EngineError::Refused(refusal)), (Exit::Config, "UNKNOWN_ACTION", true));
    }

    #[test]
    fn what_a_server_refuses_ends_as_the_same_thing_here_would() {
        for (status, exit, hint) in [
            (401, Exit::Auth, true),
            (403, Exit::Auth, true),
            (404, Exit::NotFound, false),
            (409, Exit::Conflict, false),
            (422, Exit::Usage, false),
            (429, Exit::Quota, true),
            (500, Exit::Internal, true),
            (503, Exit::Unavailable, true),
        ] {
            let body = r#"{"status":STATUS,"code":"SOME_CODE","detail":"what happened","request_id":"req_1","retry_after":7,
                "errors":[{"pointer":"/0/email","code":"INVALID_EMAIL","detail":"no address"}]}"#;
            let problem: Problem = serde_json::from_str(&body.replace("STATUS", &status.to_string())).unwrap();
            let error = CliError::refused("https://ads.example.com", problem);
            assert_eq!((error.exit, &*error.code, error.hint.is_some()), (exit, "SOME_CODE", hint), "{status}");
            for part in ["https://ads.example.com: what happened", "/0/email INVALID_EMAIL: no address", "after 7 s", "(request req_1)"] {
                assert!(error.message.contains(part), "{}", error.message);
            }
        }
    }
}
