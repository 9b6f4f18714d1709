use crate::{Error, Result};

/// What a runtime lists, one record after the other: what is wrong with one costs no other.
#[derive(Debug)]
#[non_exhaustive]
pub struct Listing<T> {
    /// The records that are what CRI v1 says.
    pub found: Vec<T>,
    /// What is wrong with each of the others, which it names. The list is complete only without any: one of them may be what is looked
    /// for.
    pub malformed: Vec<Error>,
}

impl<T> Listing<T> {
    pub(crate) fn of(records: impl IntoIterator<Item = T>, check: impl Fn(&T) -> Result<()>) -> Self {
        let mut listing = Self { found: Vec::new(), malformed: Vec::new() };
        for record in records {
            match check(&record) {
                Ok(()) => listing.found.push(record),
                Err(e) => listing.malformed.push(e),
            }
        }
        listing
    }
}
