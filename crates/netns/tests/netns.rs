//! What a namespace is and is not; entering one needs root.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

use std::os::fd::AsFd as _;
use std::thread;

use podtrail_netns::{ErrorKind, Netns};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

#[test]
fn the_same_namespace_is_equal_however_it_was_opened() {
    let current = Netns::current().unwrap();
    assert_eq!(current, Netns::open("/proc/self/ns/net").unwrap());
    let link = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    assert_eq!(link.to_str().unwrap(), format!("net:[{}]", current.inode()));
}

/// As nobody this shows that no capability is needed; as root only that it works.
#[test]
fn in_the_namespace_that_the_caller_is_in_a_closure_needs_no_capability() {
    let current = Netns::current().unwrap();
    assert_eq!(current.run(|| Netns::current().unwrap()).unwrap(), current);
}

#[test]
fn a_namespace_is_taken_over_by_its_descriptor() {
    let current = Netns::current().unwrap();
    assert_eq!(Netns::adopt(current.as_fd().try_clone_to_owned().unwrap()).unwrap(), current);
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(Netns::adopt(file.into()).unwrap_err().kind(), ErrorKind::NotANamespace);
}

#[test]
fn what_is_no_network_namespace_is_refused() {
    let check = |path: &str, kind: ErrorKind| assert_eq!(Netns::open(path).unwrap_err().kind(), kind, "{path}");
    check("/proc/self/status", ErrorKind::NotANamespace);
    check("/tmp", ErrorKind::NotANamespace);
    check("/dev/null", ErrorKind::NotANamespace);
    check("/proc/self/ns/pid", ErrorKind::NotANamespace);
    check("/proc/self/ns/mnt", ErrorKind::NotANamespace);
    check("/nonexistent", ErrorKind::Open);
}

#[test]
fn a_closure_runs_inside_and_the_caller_stays_outside() {
    let Some(fresh) = fresh() else { return };
    let before = Netns::current().unwrap();
    assert_ne!(fresh, before);
    let inside = fresh.run(Netns::current).unwrap().unwrap();
    assert_eq!(inside, fresh);
    assert_eq!(Netns::current().unwrap(), before);
    // The thread that made it is gone: only the descriptor holds it.
    let interfaces = fresh.run(|| std::fs::read_to_string("/proc/thread-self/net/dev")).unwrap().unwrap();
    assert_eq!(
        interfaces.lines().skip(2).filter(|line| !line.trim_start().starts_with("lo:")).count(),
        0,
        "{interfaces}"
    );
}

#[test]
fn a_panic_inside_goes_on_outside() {
    let Some(fresh) = fresh() else { return };
    let panic = thread::spawn(move || fresh.run(|| panic!("inside"))).join().unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"inside"));
}

/// A network namespace that nobody else is in; `None`, said aloud, if one may not be made.
fn fresh() -> Option<Netns> {
    let make = || {
        #[expect(deprecated, reason = "the safe form; of what it warns about, a network namespace does nothing")]
        rustix::thread::unshare(UnshareFlags::NEWNET)?;
        Ok(Netns::current().unwrap())
    };
    match thread::spawn(make).join().unwrap() {
        Err(Errno::PERM) => {
            eprintln!("skipped: a network namespace of one's own needs root");
            None
        }
        made => Some(made.unwrap()),
    }
}
