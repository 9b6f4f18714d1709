use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::{Error, ErrorKind};

/// Holds `PATH.lock` while a tracker writes the ledger. Readers do not need it.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock is held while the file is open")] File);

impl Lock {
    pub(super) fn take(ledger: &Path) -> Result<Self, Error> {
        // One ledger has one lock, by whichever link it is named.
        let mut path = std::fs::canonicalize(ledger).unwrap_or_else(|_| ledger.to_owned()).into_os_string();
        path.push(".lock");
        let object = path.to_string_lossy().into_owned();
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(|e| Error::new(ErrorKind::Io, &*object).because(e))?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(e @ rustix::io::Errno::WOULDBLOCK) => {
                Err(Error::new(ErrorKind::Locked, ledger.display().to_string()).because(e))
            }
            Err(e) => Err(Error::new(ErrorKind::Io, object).because(e)),
        }
    }
}
