//! What a namespace is and is not; entering one needs root.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod skip;

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use podtrail_netns::{ErrorKind, Netns, Resident};
use rustix::fs::{FlockOperation, flock};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use skip::skip;

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
    let file = File::open("/dev/null").unwrap();
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

#[test]
fn a_resident_stays_inside_whatever_its_closures_do() {
    let Some(fresh) = fresh() else { return };
    let home = Netns::current().unwrap();
    let resident = fresh.resident().unwrap();
    let inside = |resident: &Resident| resident.run(|| Netns::current().unwrap()).unwrap();
    assert_eq!(inside(&resident), fresh);
    let panic = thread::scope(|scope| scope.spawn(|| resident.run(|| panic!("inside"))).join()).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"inside"));
    assert_eq!(inside(&resident), fresh);
    // More at a time than may wait for it.
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| assert_eq!(inside(&resident), fresh));
        }
    });
    assert_eq!(Netns::current().unwrap(), home);
}

#[test]
fn a_resident_is_not_waited_for_by_its_own_closure() {
    let resident = Arc::new(Netns::current().unwrap().resident().unwrap());
    let (said, hear) = channel();
    thread::spawn(move || {
        let same = Arc::clone(&resident);
        let inside = resident.run(move || same.run(|| ()).map_err(|e| e.kind()));
        said.send(inside.unwrap()).unwrap();
    });
    assert_eq!(hear.recv_timeout(Duration::from_secs(5)), Ok(Err(ErrorKind::Thread)));
}

#[test]
fn a_process_has_its_namespace_until_it_ends() {
    let current = Netns::current().unwrap();
    assert_eq!(Netns::of_process(std::process::id()).unwrap(), current);
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = Pid::from_child(&child);
    let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    assert_eq!(Netns::of_pidfd(&process).unwrap(), current);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(Netns::of_pidfd(&process).unwrap_err().kind(), ErrorKind::Open);
    let file = File::open("/dev/null").unwrap();
    assert_eq!(Netns::of_pidfd(&file).unwrap_err().kind(), ErrorKind::Open);
}

#[test]
fn a_name_is_a_namespace_until_it_is_deleted() {
    let name = format!("podtrail-{}", std::process::id());
    let made = match Netns::create_named(&name) {
        Err(e) if e.kind() == ErrorKind::MissingCapability => return skip(e),
        made => made.unwrap(),
    };
    assert_eq!(Netns::named(&name).unwrap(), made);
    assert!(Netns::names().unwrap().contains(&OsString::from(&name)));
    assert_eq!(Netns::create_named(&name).unwrap_err().kind(), ErrorKind::Name);
    Netns::delete_named(&name).unwrap();
    assert!(!Netns::names().unwrap().contains(&OsString::from(&name)));
    assert_eq!(Netns::named(&name).unwrap_err().kind(), ErrorKind::Open);
    assert_eq!(Netns::delete_named(&name).unwrap_err().kind(), ErrorKind::Name);

    // A name need not be text.
    let name = OsString::from_vec([name.as_bytes(), b"\xff"].concat());
    let made = Netns::create_named(&name).unwrap();
    assert!(Netns::names().unwrap().contains(&name));
    assert_eq!(Netns::named(&name).unwrap(), made);
    Netns::delete_named(&name).unwrap();
    // It lives as long as it is open.
    assert_eq!(made.run(|| Netns::current().unwrap()).unwrap(), made);
}

/// Says that the test below may mount: it is in a mount namespace of its own.
const MOUNTS: &str = "PODTRAIL_NETNS_TEST_MOUNTS";

#[test]
fn of_two_who_give_the_first_name_at_once_neither_hides_the_others() {
    let mut copy = Command::new("unshare");
    copy.arg("--mount").arg(std::env::current_exe().unwrap()).env(MOUNTS, "1");
    let output = copy.args(["--exact", "first_names_at_once", "--ignored"]).output().unwrap();
    let (said, complained) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    if complained.starts_with("unshare: ") {
        return skip(complained);
    }
    assert!(output.status.success() && said.contains("1 passed"), "{said}{complained}");
}

#[test]
#[ignore = "run by of_two_who_give_the_first_name_at_once_neither_hides_the_others"]
fn first_names_at_once() {
    const FOLDER: &str = "/run/netns";
    let Ok(_) = std::env::var(MOUNTS) else { return };
    // Nobody has given a name on this machine yet, and another one who is about to has begun, as ip-netns(8) does.
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).unwrap();
    std::fs::create_dir(FOLDER).unwrap();
    let folder = File::open(FOLDER).unwrap();
    flock(&folder, FlockOperation::LockExclusive).unwrap();
    let ours = thread::spawn(|| Netns::create_named("ours").unwrap());
    thread::sleep(Duration::from_millis(200));
    mount_bind(FOLDER, FOLDER).unwrap();
    mount_change(FOLDER, MountPropagationFlags::SHARED | MountPropagationFlags::REC).unwrap();
    drop(folder);
    let theirs = Netns::create_named("theirs").unwrap();
    let ours = ours.join().unwrap();
    assert_eq!(Netns::named("ours").unwrap(), ours);
    assert_eq!(Netns::named("theirs").unwrap(), theirs);
}

#[test]
fn what_is_no_name_is_refused() {
    for name in ["", ".", "..", "a/b", "/etc/passwd", "a\0b", &"x".repeat(256)] {
        for refused in [Netns::named(name).map(drop), Netns::create_named(name).map(drop), Netns::delete_named(name)] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Name, "{name:?}");
        }
    }
}

/// A network namespace that nobody else is in; `None`, said aloud, if one may not be made.
fn fresh() -> Option<Netns> {
    match Netns::create() {
        Err(e) if e.kind() == ErrorKind::MissingCapability => {
            skip(e);
            None
        }
        made => Some(made.unwrap()),
    }
}
