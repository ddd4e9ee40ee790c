//! Which workers are alive: beside a file each holds a lock on a file of its own, and the system lets go of it when the process
//! ends; on a server each has its leases, and nothing else is known of it.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use rand::RngExt;

use super::Liveness;
use crate::store::WorkerId;

/// A worker among workers of other machines: who is gone shows only when its leases end.
#[derive(Clone, Copy, Debug)]
pub struct LeaseLiveness(WorkerId);

impl Default for LeaseLiveness {
    fn default() -> Self {
        Self(fresh())
    }
}

impl Liveness for LeaseLiveness {
    fn worker(&self) -> WorkerId {
        self.0
    }

    fn gone(&self, _workers: &[WorkerId]) -> Vec<WorkerId> {
        Vec::new()
    }
}

fn fresh() -> WorkerId {
    WorkerId(rand::rng().random_range(1..i64::MAX))
}

/// A worker's own lock, held for as long as this value lives.
#[derive(Debug)]
pub struct FileLiveness {
    database: PathBuf,
    worker: WorkerId,
    _lock: File,
}

impl FileLiveness {
    /// Takes a fresh lock beside `database`.
    pub fn acquire(database: &Path) -> io::Result<Self> {
        let worker = fresh();
        let mut options = File::options();
        options.write(true).create_new(true);
        // Whoever could open it could lock it, and pass for a worker that lives.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let lock = options.open(path(database, worker))?;
        lock.lock()?;
        Ok(Self { database: database.to_owned(), worker, _lock: lock })
    }
}

fn path(database: &Path, worker: WorkerId) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(format!(".worker-{:016x}.lock", worker.0));
    PathBuf::from(name)
}

impl Liveness for FileLiveness {
    fn worker(&self) -> WorkerId {
        self.worker
    }

    /// A worker is gone if its lock can be taken, or its file was removed.
    fn gone(&self, workers: &[WorkerId]) -> Vec<WorkerId> {
        let is_gone = |worker: &WorkerId| match File::options().write(true).open(path(&self.database, *worker)) {
            Ok(file) => match file.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
            },
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let gone: Vec<_> = workers.iter().copied().filter(|worker| *worker != self.worker && is_gone(worker)).collect();
        for worker in &gone {
            // Someone else may have removed it already.
            let _ = std::fs::remove_file(path(&self.database, *worker));
        }
        gone
    }
}

impl Drop for FileLiveness {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(path(&self.database, self.worker));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_worker_is_not_gone_and_an_ended_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("x.db");
        let (first, second) = (FileLiveness::acquire(&database).unwrap(), FileLiveness::acquire(&database).unwrap());
        let both = [first.worker(), second.worker()];
        assert_eq!(first.gone(&both), []);
        let ended = second.worker();
        drop(second);
        assert_eq!(first.gone(&both), [ended]);
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("x.db");
        let alive = FileLiveness::acquire(&database).unwrap();
        let mode = path(&database, alive.worker()).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_lock_file_left_by_a_killed_worker_is_taken_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("x.db");
        let alive = FileLiveness::acquire(&database).unwrap();
        let killed = WorkerId(7);
        std::fs::write(path(&database, killed), "").unwrap();
        assert_eq!(alive.gone(&[killed]), [killed]);
        assert!(!path(&database, killed).exists());
    }
}
