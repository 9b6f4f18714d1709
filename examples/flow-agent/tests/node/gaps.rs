//! When nobody listened, that is said, and when somebody did, it is not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::Duration;

use podtrail_writer::{Change, Spool, StateChange};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::harness::{Agent, Lines, Place, Truth, command, compare, now, turn, wait};

#[test]
fn a_holder_that_was_killed_leaves_a_gap_from_its_last_observation_on() {
    let Some(_turn) = turn() else { return };
    let (place, home) = (Place::tracked(), tempfile::tempdir().unwrap());
    let truth = Truth::of(&place);
    let mut caller = place.caller();
    let agent = Agent::start(&place.path(), home.path(), &[]);
    for _ in 0..20 {
        assert!(caller.call(100));
    }
    place.flush();
    wait("all ends are told", Duration::from_secs(10), || agent.lines().closed() == 20);
    thread::sleep(Duration::from_secs(2));
    drop(agent);
    let killed = now();
    let before = truth.ended();
    // Nobody hears of that.
    assert!(caller.call(100));
    place.flush();
    assert!(caller.call(100));
    let agent = Agent::start(&place.path(), home.path(), &[]);
    let started = now();
    place.flush();
    wait("the end of the last one is told", Duration::from_secs(10), || agent.lines().closed() == 21);
    assert!(agent.stop().success());

    let mut lines = Lines::read(&home.path().join("flows.ndjson"));
    let [gap] = &lines.gaps[..] else { panic!("one gap: {:?}", lines.gaps) };
    assert_eq!((&*gap.reason, gap.lost), ("crashed", None));
    let second = 1_000_000_000;
    assert!((killed - 3 * second..killed).contains(&gap.from), "{gap:?}, killed at {killed}");
    assert!((killed..started).contains(&gap.to), "{gap:?}, killed at {killed}, started at {started}");
    lines.flows.retain(|flow| before.contains_key(&flow.name));
    compare(&lines, &before);
}

#[test]
fn only_who_was_there_before_leaves_a_gap_and_a_stop_is_called_so() {
    let Some(_turn) = turn() else { return };
    let (place, home) = (Place::tracked(), tempfile::tempdir().unwrap());
    let caller = place.caller();
    let agent = Agent::start(&place.path(), home.path(), &[]);
    assert!(caller.send([127, 0, 0, 9].into(), 100));
    thread::sleep(Duration::from_millis(300));
    let asked = now();
    assert!(agent.stop().success());
    let lines = Lines::read(&home.path().join("flows.ndjson"));
    assert_eq!((lines.reasons(), lines.flows.len()), (vec![], 1), "the last look is told: {lines:?}");

    // The same connection goes on.
    assert!(caller.send([127, 0, 0, 9].into(), 100));
    let agent = Agent::start(&place.path(), home.path(), &[]);
    let started = now();
    place.flush();
    wait("its end is told", Duration::from_secs(10), || agent.lines().closed() == 1);
    let lines = agent.lines();
    assert_eq!(lines.reasons(), ["stopped"]);
    let gap = &lines.gaps[0];
    assert!(asked - 1_000_000_000 < gap.from && gap.from < gap.to && gap.to < started, "{gap:?}, asked at {asked}");
    let total = lines.flows.last().unwrap().total.unwrap();
    assert_eq!(total[..2], [2, 256]);
    assert!(agent.stop().success());
}

#[test]
fn another_namespace_in_the_same_place_ends_what_was_counted_in_the_first() {
    let Some(_turn) = turn() else { return };
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("place");
    let first = Place::tracked();
    symlink(first.path(), &place).unwrap();
    first.fill(3);
    let agent = Agent::start(&place, home.path(), &[]);
    thread::sleep(Duration::from_secs(1));
    assert!(agent.stop().success());

    let second = Place::tracked();
    fs::remove_file(&place).unwrap();
    symlink(second.path(), &place).unwrap();
    second.fill(2);
    let agent = Agent::start(&place, home.path(), &[]);
    assert!(agent.stop().success());
    let lines = Lines::read(&home.path().join("flows.ndjson"));
    assert_eq!(lines.reasons(), ["replaced"]);
    let of = |place: &Place| lines.flows.iter().filter(|flow| flow.netns == place.netns.inode()).collect::<Vec<_>>();
    assert_eq!((of(&first).len(), of(&second).len()), (6, 2));
    assert_eq!(of(&first).iter().filter(|flow| flow.is_closed).count(), 3);
    assert_eq!(lines.closed(), 3);
}

#[test]
fn namespaces_that_change_their_names_go_on_under_the_new_ones() {
    let Some(_turn) = turn() else { return };
    let home = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| home.path().join(name));
    let (one, other) = (Place::tracked(), Place::tracked());
    one.fill(3);
    other.fill(2);
    for (is_swapped, expected) in [(false, &[][..]), (true, &["stopped", "stopped"])] {
        for (link, place) in [(&first, &one), (&second, &other)] {
            let link = if is_swapped == (link == &first) { &second } else { &first };
            fs::remove_file(link).ok();
            symlink(place.path(), link).unwrap();
        }
        let agent = Agent::start(&first, home.path(), &["--netns", second.to_str().unwrap()]);
        thread::sleep(Duration::from_millis(1500));
        assert!(agent.stop().success());
        let lines = Lines::read(&home.path().join("flows.ndjson"));
        // They are counted once, and none has ended.
        assert_eq!((lines.flows.len(), lines.closed(), &*lines.reasons()), (5, 0, expected));
    }
}

#[test]
fn without_a_folder_a_killed_worker_leaves_a_gap_and_nothing_is_counted_twice() {
    let Some(_turn) = turn() else { return };
    let (place, home) = (Place::tracked(), tempfile::tempdir().unwrap());
    let began = now();
    let agent = Agent::spawn(&mut command(&place.path(), home.path(), &[]), home.path());
    agent.wait_until_ready();
    place.fill(3);
    wait("they are told", Duration::from_secs(10), || agent.lines().flows.len() == 3);
    kill_process(agent.wait_for_worker(), Signal::KILL).unwrap();
    wait("the gap is told", Duration::from_secs(10), || agent.lines().gaps.len() == 1);
    place.flush();
    wait("their ends are told", Duration::from_secs(10), || agent.lines().closed() == 3);
    assert!(agent.stop().success());

    let lines = Lines::read(&home.path().join("flows.ndjson"));
    let [gap] = &lines.gaps[..] else { panic!("one gap: {:?}", lines.gaps) };
    assert_eq!((&*gap.reason, gap.lost), ("forgotten", None));
    assert!((began..began + 3_000_000_000).contains(&gap.from), "{gap:?}, began at {began}");
    assert!(lines.flows[3..].iter().all(|flow| flow.delta == Some([0; 4])), "{lines:?}");
}

#[test]
fn after_a_boot_nothing_goes_on() {
    let Some(_turn) = turn() else { return };
    let (place, home) = (Place::tracked(), tempfile::tempdir().unwrap());
    place.fill(3);
    let agent = Agent::start(&place.path(), home.path(), &[]);
    thread::sleep(Duration::from_secs(1));
    assert!(agent.stop().success());
    pretend_other_boot(&home.path().join("state/flows.db"));
    let agent = Agent::start(&place.path(), home.path(), &[]);
    assert!(agent.stop().success());
    let lines = Lines::read(&home.path().join("flows.ndjson"));
    assert_eq!(lines.reasons(), ["rebooted"]);
    // Counted, closed, and counted again as others.
    assert_eq!((lines.flows.len(), lines.closed()), (9, 3));
}

/// What is stored was stored before the machine was started.
fn pretend_other_boot(store: &Path) {
    let spool = Spool::open(store, 64 << 20).unwrap();
    let mut change = Change::default();
    let take = |slot, bytes: &[u8]| {
        let mut site: Value = serde_json::from_slice(bytes).unwrap();
        site["boot"] = "another".into();
        change.state.push(StateChange { space: 0, slot, value: Some(site.to_string().into()) });
    };
    spool.state(0, take).unwrap();
    spool.write(&change).unwrap();
}
