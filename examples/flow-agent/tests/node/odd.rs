//! Kernels that do not say everything.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use podtrail_conntrack::Table;
use rustix::process::{Signal, kill_process};

use crate::harness::{Agent, Lines, Place, Truth, turn, wait};

#[test]
fn a_connection_that_is_gone_without_a_word_is_closed_with_its_last_counters() {
    let Some(_turn) = turn() else { return };
    let (place, home) = (Place::tracked(), tempfile::tempdir().unwrap());
    place.set("udp_timeout", 60);
    let agent = Agent::start(&place.path(), home.path(), &[]);
    place.set("events", 0);
    let caller = place.caller();
    assert!(caller.send([127, 0, 0, 9].into(), 100));
    wait("it is counted", Duration::from_secs(5), || agent.lines().flows.len() == 1);
    place.sh("conntrack -D -p udp");
    wait("its end is told", Duration::from_secs(10), || agent.lines().closed() == 1);
    wait("that nobody knows how it ended is told", Duration::from_secs(5), || !agent.lines().gaps.is_empty());
    assert!(agent.stop().success());
    let lines = Lines::read(&home.path().join("flows.ndjson"));
    assert_eq!(lines.flows.iter().map(|flow| flow.total).collect::<Vec<_>>(), [Some([1, 128, 0, 0]); 2]);
    assert_eq!(lines.flows.iter().map(|flow| flow.delta).collect::<Vec<_>>(), [Some([1, 128, 0, 0]), Some([0; 4])]);
    assert_eq!((lines.reasons(), lines.gaps[0].lost), (vec!["no-destroy"], Some(1)));
}

#[test]
fn where_the_kernel_does_not_count_no_numbers_are_given() {
    let Some(_turn) = turn() else { return };
    let (place, home) = (Place::tracked(), tempfile::tempdir().unwrap());
    place.set("acct", 0);
    let agent = Agent::start(&place.path(), home.path(), &[]);
    let mut caller = place.caller();
    assert!(caller.call(100) && caller.call(100));
    thread::sleep(Duration::from_millis(1500));
    place.flush();
    wait("the ends are told", Duration::from_secs(10), || agent.lines().closed() == 2);
    let lines = agent.lines();
    assert!(lines.flows.iter().all(|flow| flow.delta.is_none() && flow.total.is_none()), "{lines:?}");
    assert_eq!(lines.reasons(), [""; 0]);
    assert!(agent.stop().success());
}

/// Connections one after the other.
const ROUNDS: usize = 1000;

#[test]
fn without_stamps_incarnations_of_the_same_tuple_are_told_apart() {
    let Some(_turn) = turn() else { return };
    let (place, home) = (Place::tracked(), tempfile::tempdir().unwrap());
    place.set("timestamp", 0);
    let truth = Truth::of(&place);
    let agent = Agent::start(&place.path(), home.path(), &["--interval", "100ms"]);
    let (caller, mut table) = (place.caller(), Table::open_in(&place.netns).unwrap());
    for round in 0..ROUNDS {
        for packet in 0..=round % 3 {
            assert!(caller.send([127, 0, 0, 9].into(), 10 + round % 7 + packet));
        }
        if round % 1000 == 500 {
            kill_process(agent.wait_for_worker(), Signal::KILL).unwrap();
        }
        thread::sleep(Duration::from_millis([0, 0, 0, 0, 15][round % 5]));
        assert!(table.delete(&caller.tuple([127, 0, 0, 9].into()), 0, None).unwrap());
    }
    wait("all ends are told", Duration::from_secs(15), || agent.lines().closed() >= ROUNDS);
    let lines = agent.lines();
    let mut ended: Vec<_> = truth.said().into_iter().map(|(_, counts)| counts).collect();
    let mut closed: Vec<_> = lines.flows.iter().filter(|flow| flow.is_closed).map(|flow| flow.total.unwrap()).collect();
    ended.sort_unstable();
    closed.sort_unstable();
    assert_eq!(closed, ended);
    let sum = |counts: &mut dyn Iterator<Item = [u64; 4]>| counts.map(|counts| counts[1]).sum::<u64>();
    assert_eq!(sum(&mut lines.flows.iter().map(|flow| flow.delta.unwrap())), sum(&mut ended.into_iter()), "bytes");
    let ids: BTreeSet<_> = lines.ids.iter().collect();
    assert_eq!(ids.len(), lines.ids.len(), "no id twice");
    assert!(lines.flows.iter().all(|flow| flow.name.start.is_none() && flow.generation.is_some()));
    assert_eq!(lines.reasons(), [""; 0]);
    assert!(agent.stop().success());
}
