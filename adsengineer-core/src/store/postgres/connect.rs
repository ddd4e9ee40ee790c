//! Connections: how they are made, and the few that reads share.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::{Client, Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{args::Typed, fault::Fault, tls};
use crate::store::StoreError;

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Readers at the same time.
const READERS: usize = 4;

/// The writer looks rows up by index, each by its key: what the planner knows of tables that grow this fast is old, and reading
/// a whole queue, or all rows of a tenant, for a few of them would make every command slower with what is there.
const BY_INDEX: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off;
    SET LOCAL enable_mergejoin = off";

/// Where the database is, and what a transaction begins with.
pub(super) struct Server {
    config: Config,
    tls: MakeRustlsConnect,
    /// Ends the settings of a transaction: names the schema, and limits how long it waits.
    settings: String,
}

/// A connection. It has no state outside a transaction.
pub(super) struct Conn {
    client: Client,
    settings: String,
}

impl Server {
    pub(super) fn new(url: &str, schema: &str, patience: Duration) -> Result<Self, StoreError> {
        let invalid = |what: String| StoreError::Unavailable(format!("the database's URL cannot be used: {what}"));
        let plain = !schema.is_empty() && schema.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !plain {
            return Err(invalid(format!("`{schema}` is not a schema's name: use small letters, digits and `_`")));
        }
        let (url, wanted) = tls::split(url).map_err(invalid)?;
        let tls = wanted.connector().map_err(invalid)?;
        let mut config: Config = url.parse().map_err(|e: tokio_postgres::Error| invalid(e.to_string()))?;
        config.ssl_mode(wanted.mode).connect_timeout(CONNECT).keepalives_idle(Duration::from_secs(30)).tcp_user_timeout(patience);
        if config.get_application_name().is_none() {
            config.application_name("adsengineer");
        }
        let ms = patience.as_millis();
        let settings = format!(
            "SET LOCAL search_path = {schema}; SET LOCAL jit = off; SET LOCAL statement_timeout = {ms}; SET LOCAL lock_timeout = {ms};
             SET LOCAL idle_in_transaction_session_timeout = {ms}"
        );
        Ok(Self { config, tls, settings })
    }

    pub(super) async fn connect(&self) -> Result<Conn, Fault> {
        let (client, connection) = self.config.connect(self.tls.clone()).await.map_err(|e| match Fault::from(e) {
            Fault::Broken(error) => Fault::Lost(StoreError::Unavailable(error.to_string())),
            fault => fault,
        })?;
        tokio::spawn(async move {
            // The client learns of it by its own next answer.
            drop(connection.await);
        });
        Ok(Conn { client, settings: self.settings.clone() })
    }
}

impl Conn {
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Begins a transaction that writes; each of its statements sees what is committed by then.
    pub(super) async fn begin(&self) -> Result<(), Fault> {
        self.run(&format!("BEGIN ISOLATION LEVEL READ COMMITTED; {}; {BY_INDEX}", self.settings)).await
    }

    /// Begins a transaction that reads.
    async fn begin_reading(&self, seeing: Seeing) -> Result<(), Fault> {
        let level = match seeing {
            Seeing::One => "REPEATABLE READ",
            Seeing::Latest => "READ COMMITTED",
        };
        self.run(&format!("BEGIN ISOLATION LEVEL {level}, READ ONLY; {}", self.settings)).await
    }

    /// Statements without arguments.
    pub(super) async fn run(&self, sql: &str) -> Result<(), Fault> {
        Ok(self.client.batch_execute(sql).await?)
    }

    pub(super) async fn query(&self, sql: &str, args: &[Typed<'_>]) -> Result<Vec<Row>, Fault> {
        Ok(self.client.query_typed(sql, args).await?)
    }

    pub(super) async fn first(&self, sql: &str, args: &[Typed<'_>]) -> Result<Option<Row>, Fault> {
        Ok(self.client.query_typed(sql, args).await?.into_iter().next())
    }

    /// Rows changed.
    pub(super) async fn execute(&self, sql: &str, args: &[Typed<'_>]) -> Result<u64, Fault> {
        Ok(self.client.execute_typed(sql, args).await?)
    }
}

/// What the statements of a transaction that reads see.
#[derive(Clone, Copy)]
pub(super) enum Seeing {
    /// All see the same.
    One,
    /// Each sees what is committed by then.
    Latest,
}

/// Connections that reads share.
pub(super) struct Readers {
    server: Arc<Server>,
    idle: Mutex<Vec<Conn>>,
    free: Semaphore,
}

impl Readers {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self { server, idle: Mutex::default(), free: Semaphore::new(READERS) }
    }

    /// Begins to read. A connection that was cut while it waited for work is replaced.
    pub(super) async fn begin(&self, seeing: Seeing) -> Result<Reading<'_>, StoreError> {
        let permit = self.free.acquire().await.map_err(|_| StoreError::Unavailable("the store is closed".to_owned()))?;
        while let Some(conn) = self.take() {
            match conn.begin_reading(seeing).await {
                Ok(()) => return Ok(Reading { conn, readers: self, _permit: permit }),
                Err(Fault::Lost(_)) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        let conn = self.server.connect().await?;
        conn.begin_reading(seeing).await?;
        Ok(Reading { conn, readers: self, _permit: permit })
    }

    fn take(&self) -> Option<Conn> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// A transaction that reads. One that is dropped takes its connection with it.
pub(super) struct Reading<'a> {
    pub(super) conn: Conn,
    readers: &'a Readers,
    _permit: SemaphorePermit<'a>,
}

impl Reading<'_> {
    /// Ends it and gives the connection back.
    pub(super) async fn end<T>(self, result: Result<T, Fault>) -> Result<T, StoreError> {
        if self.conn.run("COMMIT").await.is_ok() {
            self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.conn);
        }
        Ok(result?)
    }
}
