//! Processes that are stopped while 5,000 connections a second begin and end.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use podtrail_conntrack::Table;
use rustix::process::{Signal, kill_process};

use crate::harness::{Agent, Place, Truth, compare, turn, wait};

const PER_SECOND: u64 = 5000;

/// Connections at a steady rate.
struct Load {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// They end when they are forgotten, and if `is_flushed` sooner, some hundreds at once.
    fn begin(place: &Place, is_flushed: bool) -> Self {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (mut caller, mut table) = (place.caller(), Table::open_in(&place.netns).unwrap());
        let calling = thread::spawn({
            let (stop, made) = (stop.clone(), made.clone());
            move || {
                let (begin, mut tried) = (Instant::now(), 0_u64);
                while !stop.load(Ordering::Relaxed) {
                    while u128::from(tried) < begin.elapsed().as_millis() * u128::from(PER_SECOND) / 1000 {
                        tried += 1;
                        made.fetch_add(caller.call(10).into(), Ordering::Relaxed);
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let mut threads = vec![calling];
        if is_flushed {
            let stop = stop.clone();
            threads.push(thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(100));
                    table.flush().unwrap();
                }
            }));
        }
        Self { stop, made, threads }
    }

    /// New connections in a second, on average over this time.
    fn rate(&self, duration: Duration) -> f64 {
        let (begin, before) = (Instant::now(), self.made.load(Ordering::Relaxed));
        thread::sleep(duration);
        (self.made.load(Ordering::Relaxed) - before) as f64 / begin.elapsed().as_secs_f64()
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

#[test]
#[ignore = "measures: CI asks for it"]
fn a_stopped_worker_is_noticed_harms_nobody_and_what_is_lost_is_counted() {
    let Some(_turn) = turn() else { return };
    let (place, home) = (Place::tracked(), tempfile::tempdir().unwrap());
    let truth = Truth::of(&place);
    let agent = Agent::start(&place.path(), home.path(), &[]);
    let load = Load::begin(&place, true);
    let baseline = load.rate(Duration::from_secs(3));

    let worker = agent.worker().unwrap();
    kill_process(worker, Signal::STOP).unwrap();
    let stopped = Instant::now();
    wait("reliable mode is left", Duration::from_secs(5), || agent.log().contains("left reliable mode"));
    let left = stopped.elapsed();
    let meanwhile = load.rate(Duration::from_secs(5).saturating_sub(left));
    kill_process(worker, Signal::CONT).unwrap();
    thread::sleep(Duration::from_secs(1));
    load.end();

    place.flush();
    let lost = || agent.lines().gaps.iter().map(|gap| gap.lost.unwrap_or(0)).sum::<u64>();
    let read = || agent.metric("podtrail_flow_events_total").unwrap() as u64;
    wait("all ends are read, or declared as lost", Duration::from_secs(20), || {
        read() + lost() >= truth.ended().len() as u64
    });
    thread::sleep(Duration::from_secs(3));
    let (lines, lost, read, ended) = (agent.lines(), lost(), read(), truth.ended());
    eprintln!(
        "worker stopped: reliable mode left after {left:?}; {baseline:.0} new connections a second before, {meanwhile:.0} \
         meanwhile; of {} that ended {read} were read and {lost} declared as lost",
        ended.len()
    );
    assert!(left < Duration::from_secs(2), "{left:?}");
    assert!(meanwhile >= 0.95 * baseline, "{meanwhile} of {baseline}");
    assert!(lost > 0 && lines.gaps.iter().all(|gap| gap.reason == "lost" && gap.lost.is_some()), "{:?}", lines.gaps);
    assert_eq!(read + lost, ended.len() as u64);
    // Of those that were lost some had been seen before, and are closed with what was known of them.
    let closed: BTreeSet<_> = lines.flows.iter().filter(|flow| flow.is_closed).map(|flow| flow.name).collect();
    assert_eq!(closed.len(), lines.closed(), "closed once");
    assert!(closed.len() as u64 >= read && closed.iter().all(|name| ended.contains_key(name)));
    assert!(agent.stop().success());
}

#[test]
#[ignore = "measures: CI asks for it"]
fn while_the_holder_is_stopped_the_worker_goes_on() {
    let Some(_turn) = turn() else { return };
    let (place, home) = (Place::tracked(), tempfile::tempdir().unwrap());
    let truth = Truth::of(&place);
    let agent = Agent::start(&place.path(), home.path(), &[]);
    let load = Load::begin(&place, true);
    agent.signal(Signal::STOP);
    let rate = load.rate(Duration::from_secs(4));
    agent.signal(Signal::CONT);
    thread::sleep(Duration::from_secs(1));
    load.end();
    place.flush();
    wait("all ends are told", Duration::from_secs(20), || agent.lines().closed() >= truth.ended().len());
    assert!(!agent.log().contains("left reliable mode"));
    let lines = agent.lines();
    assert_eq!(lines.reasons(), [""; 0]);
    compare(&lines, &truth.ended());
    assert!(rate >= 0.95 * PER_SECOND as f64, "{rate}");
    assert!(agent.stop().success());
}

/// The residual risk: nobody is left to leave reliable mode.
#[test]
#[ignore = "measures: CI asks for it"]
fn how_long_it_takes_until_a_stopped_holder_and_worker_harm_the_node() {
    let Some(_turn) = turn() else { return };
    let max: u64 = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap().trim().parse().unwrap();
    if max > 400_000 {
        eprintln!("skipped: the connection table has room for {max}, too many to fill it here");
        return;
    }
    let (place, home) = (Place::tracked(), tempfile::tempdir().unwrap());
    let agent = Agent::start(&place.path(), home.path(), &[]);
    let others = max * 7 / 10;
    place.fill(u32::try_from(others).unwrap());
    let worker = agent.worker().unwrap();
    kill_process(worker, Signal::STOP).unwrap();
    agent.signal(Signal::STOP);
    let (load, stopped) = (Load::begin(&place, false), Instant::now());
    let mut suffers = None;
    while suffers.is_none() && stopped.elapsed() < Duration::from_secs(30) {
        let is_bad = load.rate(Duration::from_millis(500)) < 0.95 * PER_SECOND as f64;
        suffers = is_bad.then(|| stopped.elapsed());
    }
    let left = max - others;
    let estimate = left / PER_SECOND;
    eprintln!(
        "holder and worker stopped: with room for {left} connections, new ones fail after {suffers:?} (room / rate: {estimate} s)"
    );
    agent.signal(Signal::CONT);
    kill_process(worker, Signal::CONT).unwrap();
    thread::sleep(Duration::from_secs(3));
    let rate = load.rate(Duration::from_secs(1));
    load.end();
    assert!(rate >= 0.95 * PER_SECOND as f64, "all is well again: {rate}");
    assert!(agent.stop().success());
}
