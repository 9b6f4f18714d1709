//! Many ends at once.

use std::time::{Duration, Instant};

use crate::harness::{Agent, Place, turn, wait};

#[test]
#[ignore = "takes a while: CI asks for it"]
fn of_100_000_ends_in_a_burst_none_is_lost() {
    ends(100_000);
}

#[test]
fn of_10_000_ends_in_a_burst_none_is_lost() {
    ends(10_000);
}

fn ends(connections: u32) {
    let Some(_turn) = turn() else { return };
    let (place, home) = (Place::tracked(), tempfile::tempdir().unwrap());
    let agent = Agent::start(&place.path(), home.path(), &[]);
    place.fill(connections);
    let begin = Instant::now();
    place.flush();
    let closed = || agent.metric("podtrail_flow_events_total") >= Some(f64::from(connections));
    wait("all ends have come", Duration::from_secs(60), closed);
    eprintln!("{connections} ends were read {:?} after they began", begin.elapsed());
    wait("all ends are told", Duration::from_secs(30), || agent.lines().closed() >= connections as usize);
    let lines = agent.lines();
    assert_eq!((lines.closed(), lines.reasons()), (connections as usize, vec![]));
    assert!(agent.stop().success());
}
