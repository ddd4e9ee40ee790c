//! The loop that serves connections: timeouts against slow clients, TLS, and a drain that cuts no request.

mod patience;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use tower::ServiceExt;

use self::patience::Patient;
use crate::layers::gate::Peer;

/// How connections are served.
#[derive(Clone)]
pub struct ServeOptions {
    /// Headers must have arrived within this time.
    pub header_timeout: Duration,
    /// A client that takes nothing of its answer for so long is given up.
    pub write_timeout: Duration,
    /// Connections at a time; more wait.
    pub connections: usize,
    /// Requests that run when the server is told to stop may take so long.
    pub drain: Duration,
    /// Serves TLS.
    pub tls: Option<Tls>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        let (header_timeout, write_timeout, drain) = (Duration::from_secs(10), Duration::from_secs(30), Duration::from_secs(25));
        Self { header_timeout, write_timeout, connections: 10_000, drain, tls: None }
    }
}

impl std::fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServeOptions").field("connections", &self.connections).field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("{path} cannot be read as PEM: {reason}")]
    File {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not go together.
    #[error("certificate and key cannot be used: {0}")]
    Pair(#[from] tokio_rustls::rustls::Error),
}

impl Tls {
    /// A certificate chain and its key, both PEM files.
    pub fn read(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        let bad = |path: &Path, reason: String| TlsError::File { path: path.display().to_string(), reason };
        let chain = CertificateDer::pem_file_iter(certificates).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|e| bad(certificates, e.to_string()))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|e| bad(key, e.to_string()))?;
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = config.with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

/// Serves `router` on `listener` until `shutdown` becomes true; then takes no more connections, lets requests end, and returns.
pub async fn serve(listener: TcpListener, router: Router, options: ServeOptions, mut shutdown: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(options.connections));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = shutdown.wait_for(|stop| *stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files: others must close first.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        drop(stream.set_nodelay(true));
        let stream = Patient::new(stream, options.write_timeout);
        let (router, options, watcher) = (router.clone(), options.clone(), graceful.watcher());
        tokio::spawn(async move {
            match &options.tls {
                None => connection(stream, peer, router, options.header_timeout, watcher).await,
                Some(Tls(acceptor)) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(options.header_timeout, acceptor.accept(stream)).await {
                        connection(stream, peer, router, options.header_timeout, watcher).await;
                    }
                }
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(options.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests still ran at the end of the drain");
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    header_timeout: Duration,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(Peer(peer.ip()));
        router.clone().oneshot(request)
    });
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(header_timeout).serve_connection(TokioIo::new(stream), service);
    // A client that goes away is no error of ours.
    drop(watcher.watch(connection).await);
}
