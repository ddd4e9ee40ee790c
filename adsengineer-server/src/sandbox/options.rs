//! How a sandbox behaves.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::FaultPlan;

/// How a sandbox behaves; the default is a well-behaved platform on a free port that knows every account and action.
///
/// ```
/// use adsengineer_server::sandbox::{RecordIndices, SandboxOptions};
/// let options = SandboxOptions { record_indices: RecordIndices::Absent, ..SandboxOptions::default() };
/// assert!(options.consent_required);
/// ```
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, named where they are set")]
pub struct SandboxOptions {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The account and action ids that exist; `None`: all.
    pub actions: Option<BTreeSet<(String, String)>>,
    /// Whether events without granted consent fail.
    pub consent_required: bool,
    /// Whether click ids `sandbox-<ProcessingErrorReason>…` fail so, and `sandbox-400-<ErrorReason>…` refuse the request.
    pub click_verdicts: bool,
    /// Whether field violations come without their places.
    pub omit_locations: bool,
    /// Whether an unchanged repeat of a transaction id is answered `DUPLICATE_TRANSACTION_ID` rather than taken silently.
    pub answer_duplicates: bool,
    /// Whether and how a status names the events that failed.
    pub record_indices: RecordIndices,
    /// How long a request's status stays `PROCESSING`.
    pub status_delay: Duration,
    /// How many polls of a request at least answer `PROCESSING`.
    pub polls_before_final: u32,
    /// How long an access token lives.
    pub token_lifetime: Duration,
    /// What access tokens may do.
    pub access: Access,
    /// What goes wrong.
    pub faults: FaultPlan,
    /// The time by which events lie in the future; `None`: the machine's.
    pub now: Option<Timestamp>,
    /// Only counts events, for benchmarks of the other side: no checks, no conversions.
    pub quick: bool,
    /// The OAuth client that the token endpoint knows.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// The refresh token that the endpoint knows.
    pub refresh_token: String,
    /// The authorization code that can be exchanged, once, for the refresh token.
    pub authorization_code: String,
}

/// How a request's status names the events that failed. Google added the indices in v1.9; their JSON type is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordIndices {
    /// Counts only.
    Absent,
    /// `"recordIndices": [0, 7]`
    #[default]
    Numbers,
    /// `"recordIndices": ["0", "7"]`
    Strings,
}

/// What valid access tokens may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Access {
    /// Everything.
    #[default]
    Granted,
    /// 403 `ACCESS_TOKEN_SCOPE_INSUFFICIENT`: the grant is for another API.
    ScopeMissing,
    /// 403 `SERVICE_DISABLED`: the API is off in the project.
    ServiceDisabled,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            port: 0,
            actions: None,
            consent_required: true,
            click_verdicts: true,
            omit_locations: false,
            answer_duplicates: false,
            record_indices: RecordIndices::default(),
            status_delay: Duration::ZERO,
            polls_before_final: 0,
            token_lifetime: Duration::from_secs(3599),
            access: Access::default(),
            faults: FaultPlan::none(),
            now: None,
            quick: false,
            client_id: "sandbox-client.apps.googleusercontent.com".into(),
            client_secret: "sandbox-client-secret".into(),
            refresh_token: "1//sandbox-refresh-token".into(),
            authorization_code: "4/sandbox-authorization-code".into(),
        }
    }
}
