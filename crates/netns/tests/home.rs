//! That nothing is left behind: in a process of its own, whose threads and descriptors are all this test's.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod skip;

use std::fs;
use std::process::Stdio;
use std::sync::Barrier;
use std::thread;

use podtrail_netns::{ErrorKind, Netns};
use skip::skip;

#[test]
fn all_threads_stay_at_home_and_no_descriptor_is_left() {
    let made: Result<Vec<_>, _> = (0..8).map(|_| Netns::create()).collect();
    let made = match made {
        Err(e) if e.kind() == ErrorKind::MissingCapability => return skip(e),
        made => made.unwrap(),
    };
    let home = Netns::current().unwrap();
    let before = descriptors();
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (start, made, home) = (&start, &made, &home);
            scope.spawn(move || {
                start.wait();
                for round in 0..50 {
                    let netns = &made[(worker + round) % made.len()];
                    let link = netns.command("readlink").arg("/proc/self/ns/net").stdout(Stdio::piped()).spawn();
                    let link = link.unwrap().wait_with_output().unwrap().stdout;
                    assert_eq!(String::from_utf8(link).unwrap().trim(), format!("net:[{}]", netns.inode()));
                    assert_eq!(netns.run(|| Netns::current().unwrap()).unwrap(), *netns);
                    assert!(netns.command("/no/such").spawn().is_err());
                    assert_eq!(Netns::current().unwrap(), *home);
                }
            });
        }
    });
    let at_home = fs::read_link("/proc/self/ns/net").unwrap();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        // A thread that is ending has no namespace any more.
        if let Ok(link) = fs::read_link(task.join("ns/net")) {
            assert_eq!(link, at_home, "{}", task.display());
        }
    }
    assert_eq!(descriptors(), before);
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}
