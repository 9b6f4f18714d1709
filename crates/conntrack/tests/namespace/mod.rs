//! A network namespace for a test.

use std::thread;

use podtrail_netns::Netns;
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

/// A network namespace that nobody else is in; `None`, said aloud, if one may not be made.
pub(crate) fn fresh() -> Option<Netns> {
    let make = || {
        #[expect(deprecated, reason = "the safe form; of what it warns about, a network namespace does nothing")]
        rustix::thread::unshare(UnshareFlags::NEWNET)?;
        Ok(Netns::current().unwrap())
    };
    match thread::spawn(make).join().unwrap() {
        Err(Errno::PERM) => {
            eprintln!("skipped: a network namespace of one's own, with CAP_NET_ADMIN in it, needs root");
            None
        }
        made => Some(made.unwrap()),
    }
}
