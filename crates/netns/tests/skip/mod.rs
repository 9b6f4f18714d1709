//! What becomes of a test that cannot be made here.

use std::fmt::Display;

/// Says why it is skipped; where nothing may be skipped, as root on a machine with all tools, it fails.
pub(crate) fn skip(why: impl Display) {
    assert!(std::env::var_os("PODTRAIL_REQUIRE_ROOT_TESTS").is_none(), "it is skipped: {why}");
    eprintln!("skipped: {why}");
}
