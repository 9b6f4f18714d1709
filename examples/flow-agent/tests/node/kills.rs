//! Workers that are killed at any moment, disks that are full, a table that is flushed: nothing is lost, nothing is doubled.

use std::thread;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::{Signal, kill_process};

use crate::bytes::{compare_with_nft, finish};
use crate::harness::{Agent, Disk, Lab, Lines, Place, Traffic, Truth, command, compare, ping, turn, wait};

/// How often a worker is killed, of both agents together.
const KILLS: u32 = 200;

#[test]
fn killed_now_and_then_nothing_is_lost_or_doubled() {
    survives(10);
}

#[test]
#[ignore = "takes a minute: CI asks for it"]
fn killed_hundreds_of_times_nothing_is_lost_or_doubled() {
    survives(KILLS);
}

#[test]
fn a_worker_that_is_killed_before_it_has_said_anything_is_replaced() {
    let Some(_turn) = turn() else { return };
    let (place, home) = (Place::tracked(), tempfile::tempdir().unwrap());
    let agent = Agent::spawn(command(&place.path(), home.path(), &["--state"]).arg(home.path()), home.path());
    for _ in 0..5 {
        let worker = agent.wait_for_worker();
        kill_process(worker, Signal::KILL).unwrap();
        wait("it is gone", Duration::from_secs(5), || agent.worker() != Some(worker));
    }
    place.fill(100);
    agent.wait_until_ready();
    place.flush();
    wait("all ends are told", Duration::from_secs(10), || agent.lines().closed() == 100);
    assert_eq!(agent.lines().reasons(), [""; 0]);
    assert!(agent.stop().success());
}

/// Two agents listen to one router; a small disk has the state of one and the file of the other one.
fn survives(kills: u32) {
    let Some(_turn) = turn() else { return };
    let lab = Lab::new();
    let homes = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let disk = Disk::new(homes[0].path().join("small"));
    let truth = Truth::of(&lab.router);
    let mut with_state = command(&lab.router.path(), homes[0].path(), &[]);
    with_state.arg("--state").arg(disk.path().join("state"));
    let file = format!("file:{}", disk.path().join("flows.ndjson").display());
    let states = homes[1].path().join("state");
    let mut with_file = command(&lab.router.path(), homes[1].path(), &["--writer", &file, "--state"]);
    with_file.arg(states);
    let agents = [Agent::spawn(&mut with_state, homes[0].path()), Agent::spawn(&mut with_file, homes[1].path())];
    agents.iter().for_each(Agent::wait_until_ready);

    let traffic = Traffic::begin(&lab, 3, Duration::from_millis(5));
    thread::scope(|scope| {
        for (seed, agent) in (0..).zip(&agents) {
            scope.spawn(move || kill(agent, kills / 2, seed));
        }
        ping(&lab, 20);
        let full = disk.fill();
        thread::sleep(Duration::from_secs(2));
        drop(full);
        lab.router.sh("conntrack -F");
    });
    traffic.end();
    let [first, second] = agents;
    // The file on the small disk is complete as well.
    let small = disk.path().join("flows.ndjson");
    let lines = finish(&lab, &truth, first);
    let others = finish(&lab, &truth, second);
    let smalls = Lines::read(&small);
    for lines in [lines, others, smalls] {
        assert_eq!(lines.reasons(), [""; 0]);
        compare(&lines, &truth.ended());
        compare_with_nft(&lines, &lab);
    }
    eprintln!("{} connections, {kills} kills", truth.ended().len());
}

fn kill(agent: &Agent, kills: u32, seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    for kill in 0..kills {
        // One that lived for a second is followed by another one at once, others after a while.
        let life = if kill % 4 == 3 { 1000..1300 } else { 0..500 };
        let worker = agent.wait_for_worker();
        thread::sleep(Duration::from_millis(rng.random_range(life)));
        kill_process(worker, Signal::KILL).unwrap();
        wait("it is gone", Duration::from_secs(5), || agent.worker() != Some(worker));
    }
}
