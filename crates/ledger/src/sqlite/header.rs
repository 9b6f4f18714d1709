//! The first 100 bytes of an SQLite file, read before SQLite opens it: what is not ours is not touched.
//! Format: <https://www.sqlite.org/fileformat2.html#the_database_header>.

/// `application_id` of a ledger: "podt".
pub(crate) const APPLICATION_ID: u32 = 0x706f_6474;
/// `user_version` that this release writes.
pub(crate) const SCHEMA_VERSION: u32 = 2;
/// Length of the header.
pub(crate) const LENGTH: usize = 100;

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Header {
    /// A ledger whose schema has this version, at most ours.
    Ledger(u32),
    /// A ledger of a newer release.
    Newer(u32),
    /// Something else, or cut short.
    Foreign,
}

impl Header {
    /// Reads a file's first bytes; 100 are enough.
    ///
    /// ```
    /// assert_eq!(podtrail_ledger::Header::read(b"SQLite format 3\0"), podtrail_ledger::Header::Foreign);
    /// ```
    pub fn read(bytes: &[u8]) -> Self {
        let number = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        if bytes.len() < LENGTH || !bytes.starts_with(b"SQLite format 3\0") || number(68) != Some(APPLICATION_ID) {
            return Self::Foreign;
        }
        match number(60) {
            Some(version @ 1..=SCHEMA_VERSION) => Self::Ledger(version),
            Some(version) if version > SCHEMA_VERSION => Self::Newer(version),
            _ => Self::Foreign,
        }
    }
}
