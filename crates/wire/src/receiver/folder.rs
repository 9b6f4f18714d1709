//! The files: what is here blocks, and is durable when it returns unless it says otherwise.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, fsync, mkdirat, open, openat, renameat, unlinkat};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::ReceiverLimits;
use super::room::Room;
use super::runs::Turn;
use crate::{Ended, Ending, Header};

/// The longest start of a file's name, so that names stay below 255 bytes.
const LONGEST_STEM: usize = 240;
/// The longest description of a run, in bytes: more than headers may hold.
const LONGEST_DESCRIPTION: u64 = 1 << 20;
/// Those of a run: its output and its description.
const FILES: u64 = 2;

#[derive(Debug)]
pub(super) struct Folder {
    folder: OwnedFd,
    room: Arc<Room>,
}

impl Folder {
    pub(super) fn open(path: &Path, limits: &ReceiverLimits) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = open(path, flags, Mode::empty())?;
        let room = Room::new(folder.try_clone()?, limits.files, limits.free_bytes);
        Ok(Self { folder, room: Arc::new(room) })
    }

    /// A folder in this one, made if it is missing.
    pub(super) fn within(&self, name: &str) -> io::Result<Self> {
        match mkdirat(&self.folder, name, Mode::RWXU) {
            Err(Errno::EXIST) => {}
            made => made?,
        }
        fsync(&self.folder)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Self { folder: openat(&self.folder, name, flags, Mode::empty())?, room: Arc::clone(&self.room) })
    }

    /// A regular file to append to, made if it is missing and there is room for so many files.
    pub(super) fn append(&self, name: &str, files: u64) -> io::Result<File> {
        let how = OFlags::APPEND | OFlags::RDWR;
        match self.file(name, how) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.room.take_files(files)?;
                self.file(name, how | OFlags::CREATE)
            }
            file => file,
        }
    }

    /// What checks that there is room for what is to be appended.
    pub(super) const fn room(&self) -> &Arc<Room> {
        &self.room
    }

    fn file(&self, name: &str, how: OFlags) -> io::Result<File> {
        // Should it be a pipe, opening it must not wait.
        let how = how | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let irregular = || io::Error::new(io::ErrorKind::InvalidData, format!("{name} is not a regular file"));
        let file = match openat(&self.folder, name, how, Mode::RUSR | Mode::WUSR) {
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Err(irregular()),
            opened => File::from(opened?),
        };
        if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
    }

    fn sync(&self) -> io::Result<()> {
        Ok(fsync(&self.folder)?)
    }

    fn read(&self, name: &str) -> io::Result<Option<Value>> {
        let file = match self.file(name, OFlags::RDONLY) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut text = Vec::new();
        file.take(LONGEST_DESCRIPTION).read_to_end(&mut text)?;
        Ok(Some(serde_json::from_slice(&text)?))
    }

    /// Replaces a file as a whole.
    fn write(&self, name: &str, value: &Value) -> io::Result<()> {
        let new = format!("{name}.new");
        match unlinkat(&self.folder, &new, AtFlags::empty()) {
            Err(Errno::NOENT) => {}
            removed => removed?,
        }
        let mut file = self.file(&new, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY)?;
        file.write_all(format!("{value}\n").as_bytes())?;
        file.sync_all()?;
        renameat(&self.folder, &new, &self.folder, name)?;
        self.sync()
    }
}

/// The files of one run, and the right to write them.
#[derive(Debug)]
pub(super) struct RunFiles {
    folder: Arc<Folder>,
    stem: String,
    /// Locked, against other receivers.
    out: File,
    /// How much is durable.
    length: u64,
    description: Value,
    /// The last field, as fields are dropped in order: whoever is next must find `out` unlocked.
    _turn: Turn,
}

impl RunFiles {
    /// Opens the files of a run, new or begun; everything that is in them is durable then.
    pub(super) fn open(folder: Arc<Folder>, header: &Header, turn: Turn) -> io::Result<Self> {
        let stem = stem(header);
        let out = folder.append(&format!("{stem}.out"), FILES)?;
        out.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => io::Error::other("another receiver is writing the run"),
            TryLockError::Error(e) => e,
        })?;
        let description = match described(&folder, header)? {
            Some(old) => old,
            None => {
                let new = describe(header);
                folder.write(&format!("{stem}.json"), &new)?;
                new
            }
        };
        out.sync_all()?;
        folder.sync()?;
        let length = out.metadata()?.len();
        Ok(Self { folder, stem, out, length, description, _turn: turn })
    }

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn is_ended(&self) -> bool {
        !self.description["end"].is_null()
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.folder.room.check_bytes(bytes.len())?;
        if let Err(error) = self.out.write_all(bytes).and_then(|()| self.out.sync_data()) {
            // What is not durable must not look as if it were when the client comes back: after a failure the kernel
            // may call pages clean that never reached the disk.
            self.out.set_len(self.length)?;
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn end(&mut self, ending: Ending) -> io::Result<()> {
        let (exit_code, signal) = match ending.status {
            Ended::Exited(code) => (Some(code), None),
            Ended::Signalled(signal) => (None, Some(signal)),
            Ended::Unknown => (None, None),
        };
        let mut ended = self.description.clone();
        ended["end"] = json!({ "length": self.length, "exit_code": exit_code, "signal": signal, "lost": ending.lost });
        self.folder.write(&format!("{}.json", self.stem), &ended)?;
        self.description = ended;
        Ok(())
    }
}

/// What was said of the run before, and how it ended; an error if that is another run with the same id.
pub(super) fn described(folder: &Folder, header: &Header) -> io::Result<Option<Value>> {
    let name = format!("{}.json", stem(header));
    let Some(mut old) = folder.read(&name)? else { return Ok(None) };
    let end = old.get_mut("end").map(Value::take);
    if old != describe(header) {
        let what = format!("{name} describes another run with the same id");
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    old["end"] = end.unwrap_or(Value::Null);
    Ok(Some(old))
}

/// What the names of a run's files begin with.
pub(super) fn stem(header: &Header) -> String {
    let Header { namespace, pod, run, .. } = header;
    let room = LONGEST_STEM - 2 - 32;
    // Half of the room is more than any namespace's name in Kubernetes needs.
    let namespace = &namespace[..namespace.floor_char_boundary(room / 2)];
    let pod = &pod[..pod.floor_char_boundary(room - namespace.len())];
    format!("{namespace}_{pod}_{run}")
}

pub(super) fn describe(header: &Header) -> Value {
    json!({
        "v": 1,
        "run": header.run.to_string(),
        "cluster": header.cluster,
        "namespace": header.namespace,
        "pod": header.pod,
        "container": header.container,
        "tool": header.tool,
        "arguments": header.arguments,
        "node": header.node,
        "started": header.started.to_string(),
        "end": null,
    })
}
