//! A network namespace for a test.

use podtrail_netns::{ErrorKind, Netns};
use skip::skip;

#[path = "../../../netns/tests/skip/mod.rs"]
pub(crate) mod skip;

/// A network namespace that nobody else is in; `None`, said aloud, if one may not be made.
pub(crate) fn fresh() -> Option<Netns> {
    match Netns::create() {
        Err(e) if e.kind() == ErrorKind::MissingCapability => {
            skip(e);
            None
        }
        made => Some(made.unwrap()),
    }
}
