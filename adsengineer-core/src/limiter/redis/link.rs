//! The connection to Redis: one that many requests share, made and watched over in the background.
//!
//! It counts as made when the script has run on it, so that whoever cannot spend is not connected: a replica, a server that
//! still loads or has no memory left, a wrong password, a version that is too old. After anything unusual it is given up and
//! made anew.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError, ServerErrorKind, Value,
    aio::{ConnectionLike as _, MultiplexedConnection},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    LimiterError, RedisUrl,
    script::{Answer, Request, SCRIPT, Unusable},
};

/// Longest time for a connection to be made.
const CONNECT: Duration = Duration::from_secs(1);
/// Between two looks whether a connection still works.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Waits before a new connection: the first, which doubles, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What keeps a connection; it ends when this is dropped.
pub(super) struct Link {
    state: watch::Receiver<State>,
    keeper: JoinHandle<()>,
}

/// How the connection is.
#[derive(Clone)]
enum State {
    /// Nobody knows yet.
    First,
    /// It works.
    Up(Connection),
    /// There is none, and why.
    Down(Arc<str>),
}

/// A connection that worked.
#[derive(Clone)]
struct Connection {
    redis: MultiplexedConnection,
    /// The script's hash.
    hash: Arc<str>,
    given_up: mpsc::Sender<Loss>,
}

/// Why there is no connection, and where else one may be found.
#[derive(Debug)]
struct Loss {
    why: String,
    node: Option<String>,
}

impl Link {
    /// Begins to connect.
    pub(super) fn new(url: RedisUrl, deadline: Duration) -> Self {
        let (sender, state) = watch::channel(State::First);
        Self { state, keeper: tokio::spawn(Keeper { url, deadline, state: sender }.keep()) }
    }

    /// Asks once, within the deadline; only before the first connection was tried it waits for one.
    pub(super) fn ask(&self, request: Request, deadline: Duration) -> impl Future<Output = Result<Answer, LimiterError>> + use<> {
        let mut state = self.state.clone();
        async move {
            let until = Instant::now() + deadline;
            let known = timeout_at(until, state.wait_for(|state| !matches!(state, State::First))).await;
            let connection = match known.map(|known| known.map(|state| state.clone())) {
                Ok(Ok(State::Up(connection))) => connection,
                Ok(Ok(State::Down(why))) => return Err(LimiterError::Unreachable(why.to_string())),
                _ => return Err(LimiterError::Unreachable("it is not connected yet".to_owned())),
            };
            connection.ask_until(&request, until).await
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Connection {
    /// Asks; anything but an answer ends the connection, except that another program's data are where a budget should be.
    async fn ask_until(&self, request: &Request, until: Instant) -> Result<Answer, LimiterError> {
        let loss = match timeout_at(until, self.ask(request)).await {
            Ok(Ok(value)) => match request.read(&value) {
                Ok(answer) => return Ok(answer),
                Err(Unusable::Foreign(index)) => {
                    let key = request.key(index);
                    return Err(LimiterError::Nonsense(format!(
                        "its key `{key}` holds something else: delete that, or choose another database"
                    )));
                }
                Err(Unusable::Nonsense) => Loss { why: "it answers what no Redis would".to_owned(), node: None },
            },
            Ok(Err(error)) => Loss::from(&error),
            Err(_) => Loss { why: "it does not answer in time".to_owned(), node: None },
        };
        let error = LimiterError::Unreachable(loss.why.clone());
        // The first who gives up is enough.
        drop(self.given_up.try_send(loss));
        Err(error)
    }

    async fn ask(&self, request: &Request) -> Result<Value, RedisError> {
        match self.run(&request.command("EVALSHA", &self.hash)).await {
            // Scripts were flushed; nothing was spent.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => self.run(&request.command("EVAL", SCRIPT)).await,
            answer => answer,
        }
    }

    async fn run(&self, command: &redis::Cmd) -> Result<Value, RedisError> {
        self.redis.clone().req_packed_command(command).await?.extract_error()
    }
}

/// What makes connections.
struct Keeper {
    url: RedisUrl,
    deadline: Duration,
    state: watch::Sender<State>,
}

impl Keeper {
    async fn keep(self) {
        let (mut failures, mut node) = (0, None);
        loop {
            let loss = match self.connect(node.take()).await {
                Ok((connection, given_up)) => {
                    tracing::info!(url = %self.url, "the store of rate limits can be asked");
                    failures = 0;
                    self.state.send_replace(State::Up(connection.clone()));
                    self.watch_over(connection, given_up).await
                }
                Err(loss) => loss,
            };
            if failures == 0 {
                tracing::warn!(url = %self.url, why = loss.why, "the store of rate limits cannot be asked; requests are refused until it can");
            }
            self.state.send_replace(State::Down(loss.why.into()));
            node = loss.node;
            let pause = wait(failures, rand::random());
            sleep(pause).await;
            failures += 1;
        }
    }

    /// A connection on which the script has run. It is made in a task of its own: whatever panics there ends only that.
    async fn connect(&self, node: Option<String>) -> Result<(Connection, mpsc::Receiver<Loss>), Loss> {
        let made = tokio::spawn(connect(self.url.clone(), node));
        let (redis, hash) = made.await.unwrap_or_else(|_| Err(Loss { why: "connecting panicked".to_owned(), node: None }))?;
        let (sender, mut given_up) = mpsc::channel(1);
        let connection = Connection { redis, hash, given_up: sender };
        self.look(&connection).await;
        match given_up.try_recv() {
            Ok(loss) => Err(loss),
            Err(_) => Ok((connection, given_up)),
        }
    }

    /// Whether it works; if not, it is given up.
    async fn look(&self, connection: &Connection) {
        drop(connection.ask_until(&Request::look(), Instant::now() + self.deadline).await);
    }

    /// Returns when the connection is given up.
    async fn watch_over(&self, connection: Connection, mut given_up: mpsc::Receiver<Loss>) -> Loss {
        loop {
            match timeout(LOOK_EVERY, given_up.recv()).await {
                Ok(Some(loss)) => return loss,
                Ok(None) => return Loss { why: "the connection is gone".to_owned(), node: None },
                Err(_) => self.look(&connection).await,
            }
        }
    }
}

async fn connect(url: RedisUrl, node: Option<String>) -> Result<(MultiplexedConnection, Arc<str>), Loss> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let attempt = async {
        let client = Client::open(url.info(node.as_deref()))?;
        let mut redis = client.get_multiplexed_async_connection_with_config(&config).await?;
        let hash: String = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut redis).await?;
        Ok::<_, RedisError>((redis, hash.into()))
    };
    match timeout(CONNECT, attempt).await {
        Ok(made) => made.map_err(|error| Loss::from(&error)),
        Err(_) => Err(Loss { why: "it does not answer when connecting".to_owned(), node: None }),
    }
}

impl From<&RedisError> for Loss {
    fn from(error: &RedisError) -> Self {
        let too_old = error.detail().is_some_and(|detail| detail.contains("compiling script"));
        let why = if too_old { "it is older than version 7; use Redis 7 or Valkey".to_owned() } else { error.to_string() };
        Self { why, node: error.redirect_node().map(|(node, _)| node.to_owned()) }
    }
}

/// The wait after so many failures in a row; `random` in `0.0..1.0` spreads those who lost the same server.
fn wait(failures: u32, random: f64) -> Duration {
    let (first, longest) = WAITS;
    let wait = first.saturating_mul(1 << failures.min(10)).min(longest);
    wait.mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_second_and_are_spread() {
        let waits: Vec<_> = (0..8).map(|failures| wait(failures, 1.0).as_millis()).collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!((wait(0, 0.0), wait(u32::MAX, 0.0)), (Duration::from_millis(10), Duration::from_millis(500)));
    }
}
