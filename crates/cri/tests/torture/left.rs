//! What may be left behind: descriptors, threads, mounts and namespaces.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use podtrail_netns::Netns;
use rustix::fs::{Mode, OFlags, open, openat, readlinkat};

/// How much of it there is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left {
    descriptors: Vec<PathBuf>,
    mounts: usize,
    threads: usize,
}

impl Left {
    pub(crate) fn now() -> Self {
        let entries = |path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let mut descriptors: Vec<_> = entries("/proc/self/fd").filter_map(|path| fs::read_link(path).ok()).collect();
        descriptors.sort();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts = mounts.lines().filter(|line| line.contains(" /run/netns/pod-")).count();
        Self { descriptors, mounts, threads: entries("/proc/self/task").count() }
    }
}

/// How many threads there are, and which are in another namespace and do not say by their name that they are meant to be.
pub(crate) fn strayed() -> (usize, Vec<String>) {
    let home = fs::read_link("/proc/self/ns/net").unwrap();
    let (mut count, mut strayed) = (0, Vec::new());
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        // By its folder it stays the same thread, also when its number is used again.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(folder) = open(&task, flags, Mode::empty()) else { continue };
        let Ok(link) = readlinkat(&folder, "ns/net", Vec::new()) else { continue };
        count += 1;
        if link.to_str().unwrap() != home.to_str().unwrap()
            && let Ok(name) = openat(folder.as_fd(), "comm", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            && let Ok(name) = std::io::read_to_string(fs::File::from(name))
            && name.trim() != "netns"
        {
            strayed.push(format!("{} {} is in {link:?}", task.display(), name.trim()));
        }
    }
    (count, strayed)
}

/// That the kernel counts none that was made in this user namespace: with room for one, there is room for one.
pub(crate) fn no_namespace_is_left() {
    fs::write("/proc/sys/user/max_net_namespaces", "1").unwrap();
    // It takes them apart in its own time.
    let made = (0..300).find_map(|_| {
        thread::sleep(Duration::from_millis(100));
        Netns::create().ok()
    });
    let made = made.expect("a network namespace is left");
    assert!(Netns::create().is_err(), "the kernel does not count: {made:?}");
}
