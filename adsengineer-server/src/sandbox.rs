//! A strict local stand-in for Google's Data Manager API: real wire format, real error shapes, faults by plan, numbers that add up.
//!
//! It judges by the published rules alone and shares no code with what it judges. It keeps everything in memory and only
//! listens on this machine.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use adsengineer_server::sandbox::{Fault, FaultPlan, Sandbox, SandboxOptions};
//!
//! let faults = FaultPlan::none().at(1, Fault::Unavailable503);
//! let sandbox = Sandbox::start(SandboxOptions { faults, ..SandboxOptions::default() }).await?;
//! // point a destination at `sandbox.url()`, with `sandbox.credentials_json()` …
//! assert_eq!(sandbox.counters().conversions, 0);
//! sandbox.shutdown().await;
//! # Ok(())
//! # })
//! # }
//! ```

mod answer;
mod counters;
mod fault;
mod format;
mod http;
mod ingest;
mod judge;
mod ledger;
mod line;
mod oauth;
mod options;
mod status;
mod verdict;
mod wire;
mod world;

pub use counters::Counters;
pub use fault::{Fault, FaultPlan};
pub use ledger::AcceptedConversion;
pub use options::{Access, RecordIndices, SandboxOptions};

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use world::World;

/// How long open connections may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running sandbox; it stops when dropped.
pub struct Sandbox {
    address: SocketAddr,
    world: Arc<World>,
    stop: watch::Sender<()>,
    server: JoinHandle<io::Result<()>>,
}

impl Sandbox {
    /// Binds 127.0.0.1 and serves on the present tokio runtime.
    pub async fn start(options: SandboxOptions) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(());
        let world = Arc::new(World::new(options, stopped.clone()));
        let app = http::router(Arc::clone(&world)).into_make_service_with_connect_info::<line::Line>();
        let ended = async move {
            let mut stopped = stopped;
            let _ = stopped.changed().await;
        };
        let server = axum::serve(line::Lines(listener), app).with_graceful_shutdown(ended);
        Ok(Self { address, world, stop, server: tokio::spawn(server.into_future()) })
    }

    /// The base of the Data Manager API's paths, as `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The OAuth token endpoint.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.url())
    }

    /// An `authorized_user` credentials file that this sandbox accepts.
    pub fn credentials_json(&self) -> String {
        oauth::credentials_json(&self.world.state().options, &self.token_url())
    }

    /// What was seen and done so far.
    pub fn counters(&self) -> Counters {
        self.world.state().counters()
    }

    /// The conversions counted so far, sorted by account, action and transaction id.
    pub fn accepted(&self) -> Vec<AcceptedConversion> {
        self.world.state().ledger.snapshot()
    }

    /// Another plan from now on; the next request is its number 1.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.world.state().set_faults(plan);
    }

    /// The account and action ids that exist from now on; no others do.
    pub fn set_actions<A: Into<String>, B: Into<String>>(&self, actions: impl IntoIterator<Item = (A, B)>) {
        let actions = actions.into_iter().map(|(account, action)| (account.into(), action.into())).collect();
        self.world.state().actions = Some(Arc::new(actions));
    }

    /// Every account and action exists from now on.
    pub fn accept_any_action(&self) {
        self.world.state().actions = None;
    }

    /// Whether click ids may ask for a verdict, see [`SandboxOptions::click_verdicts`].
    pub fn set_click_verdicts(&self, asked: bool) {
        self.world.state().options.click_verdicts = asked;
    }

    /// What access tokens may do from now on.
    pub fn set_access(&self, access: Access) {
        self.world.state().options.access = access;
    }

    /// Expires every access token given out so far.
    pub fn expire_tokens(&self) {
        self.world.state().tokens.expire_all();
    }

    /// Revokes the refresh token (`invalid_grant`), or takes that back.
    pub fn set_revoked(&self, revoked: bool) {
        self.world.state().tokens.set_revoked(revoked);
    }

    /// The next so many token requests answer 503 `temporarily_unavailable`.
    pub fn fail_tokens(&self, count: u64) {
        self.world.state().token_outage = count;
    }

    /// The next so many polls answer 503 `UNAVAILABLE`.
    pub fn fail_polls(&self, count: u64) {
        self.world.state().poll_outage = count;
    }

    /// Stops listening and ends all connections; hanging answers are cut.
    pub async fn shutdown(self) {
        drop(self.stop);
        let abort = self.server.abort_handle();
        if tokio::time::timeout(PATIENCE, self.server).await.is_err() {
            abort.abort();
        }
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sandbox").field("address", &self.address).finish_non_exhaustive()
    }
}
