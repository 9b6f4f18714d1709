//! The first 100 bytes of an SQLite file, read before SQLite opens it: what is not ours is not touched.
//! Format: <https://www.sqlite.org/fileformat2.html#the_database_header>.

/// `application_id` of a spool: "pods".
pub(super) const APPLICATION_ID: u32 = 0x706f_6473;
/// `user_version` that this release writes.
pub(super) const SCHEMA_VERSION: u32 = 1;
/// Length of the header.
pub(super) const LENGTH: usize = 100;

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// A spool that this release can use.
    Spool,
    /// A spool of a newer release, with this version.
    Newer(u32),
    /// Something else, or cut short.
    Foreign,
}

impl Header {
    pub(super) fn read(bytes: &[u8]) -> Self {
        let number = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        if bytes.len() < LENGTH || !bytes.starts_with(b"SQLite format 3\0") || number(68) != Some(APPLICATION_ID) {
            return Self::Foreign;
        }
        match number(60) {
            Some(SCHEMA_VERSION) => Self::Spool,
            Some(version) if version > SCHEMA_VERSION => Self::Newer(version),
            _ => Self::Foreign,
        }
    }
}
