use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use podtrail_event::Timestamp;
use serde::{Deserialize, Serialize};

/// What a file is known by while it is renamed, and how much of it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Token {
    pub(super) v: u8,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Bytes up to the end of the last committed batch.
    pub(super) length: u64,
    /// When the first batch was written to the file.
    pub(super) since: Timestamp,
}

impl Token {
    pub(super) fn new(file: &fs::File, length: u64, since: Timestamp) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self { v: 1, device: meta.dev(), inode: meta.ino(), length, since })
    }

    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    pub(super) fn to_text(self) -> String {
        serde_json::to_string(&self).expect("numbers and a time have a JSON form")
    }

    /// Whether this is the file, under whatever name.
    pub(super) fn is_of(&self, meta: &fs::Metadata) -> bool {
        (self.device, self.inode) == (meta.dev(), meta.ino())
    }
}
