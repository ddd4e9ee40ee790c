//! A way to a server that can be cut at the worst moment: when a commit is on its way.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

/// Where the next commit is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Cut {
    /// Nowhere.
    Nowhere = 0,
    /// Before it reaches the server.
    Before = 1,
    /// After the server has done it, before the answer comes back.
    After = 2,
}

/// A socket through which a server can be reached.
pub struct Way {
    folder: tempfile::TempDir,
    cut: Arc<AtomicU8>,
}

/// The simple query `COMMIT` (PostgreSQL's message formats: `Q`, length, text, zero byte).
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

impl Way {
    /// A way to the server whose socket is in `folder`.
    pub fn to(folder: &Path) -> Self {
        let own = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(own.path().join(".s.PGSQL.5432")).unwrap();
        let (cut, target) = (Arc::new(AtomicU8::new(0)), folder.join(".s.PGSQL.5432"));
        let armed = cut.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, target.clone(), armed.clone()));
            }
        });
        Self { folder: own, cut }
    }

    /// How to connect through it.
    pub fn url(&self) -> String {
        format!("postgres:///postgres?user=postgres&host={}", self.folder.path().display())
    }

    /// Cuts the connection of the next commit.
    pub fn cut_next(&self, where_: Cut) {
        self.cut.store(where_ as u8, Ordering::SeqCst);
    }

    /// Whether the cut was made.
    pub fn is_whole(&self) -> bool {
        self.cut.load(Ordering::SeqCst) == Cut::Nowhere as u8
    }
}

async fn pass_on(mut client: UnixStream, target: PathBuf, cut: Arc<AtomicU8>) {
    let Ok(mut server) = UnixStream::connect(target).await else { return };
    let (mut from_client, mut from_server) = ([0; 8192], [0; 8192]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(n @ 1..) = read else { return };
                let bytes = &from_client[..n];
                let wanted = if bytes.ends_with(COMMIT) { cut.swap(0, Ordering::SeqCst) } else { 0 };
                if wanted == Cut::Before as u8 || server.write_all(bytes).await.is_err() {
                    return;
                }
                if wanted == Cut::After as u8 {
                    // The answer means that it is done; nobody else hears of it.
                    drop(server.read(&mut from_server).await);
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(n @ 1..) = read else { return };
                if client.write_all(&from_server[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}
