//! What a churn does to a cluster.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashMap;
use std::time::Duration;

use podtrail_event::Timestamp;
use podtrail_sim::{Churn, ChurnConfig, Cluster, Config, Hold, ManualClock};

/// A churn of 200 s in steps of `step`, and what was true in it.
fn run(seed: u64, step: Duration) -> (Cluster, Churn, Vec<Hold>) {
    let clock = ManualClock::new(Timestamp::from_second(1_000_000));
    let cluster = Cluster::new(Config { clock: clock.clone().into(), log_capacity: 100_000, ..Config::default() });
    let config = ChurnConfig { forced_share: 0.3, host_network_share: 0.1, ..ChurnConfig::default() };
    let mut churn = Churn::new(seed, config);
    let end = clock.now().saturating_add(Duration::from_secs(200));
    while clock.now() <= end {
        churn.step(&cluster, clock.now()).unwrap();
        clock.advance(step);
    }
    let truth = cluster.truth();
    (cluster, churn, truth)
}

#[test]
fn addresses_and_names_are_reused_but_never_held_by_two() {
    let (_, churn, truth) = run(1, Duration::from_millis(20));
    assert!(churn.alive() > 5);
    let mut by_ip: HashMap<_, Vec<&Hold>> = HashMap::new();
    for hold in truth.iter().filter(|h| !h.host_network) {
        by_ip.entry(hold.ip).or_default().push(hold);
    }
    assert_eq!(by_ip.len(), 48, "every address of the pool, both families");
    assert!(by_ip.values().all(|holds| holds.len() > 3), "each is reused");
    for holds in by_ip.values() {
        for pair in holds.windows(2) {
            assert!(pair[0].to.is_some_and(|to| to <= pair[1].from), "{pair:?}");
        }
    }
    let incarnations = |name: &str| {
        truth.iter().filter(|h| &*h.name == name).map(|h| &h.uid).collect::<std::collections::HashSet<_>>().len()
    };
    assert!(incarnations("db-0") > 3);
    assert!(truth.iter().any(|h| h.host_network));
}

#[test]
fn a_seed_gives_one_course_whatever_the_steps() {
    let course = |seed, step| {
        let (_, _, truth) = run(seed, Duration::from_millis(step));
        truth.into_iter().map(|h| (h.uid, h.name, h.ip)).collect::<Vec<_>>()
    };
    let (fine, coarse, other) = (course(7, 10), course(7, 1000), course(8, 10));
    assert_eq!(fine[..300], coarse[..300]);
    assert_ne!(fine[..300], other[..300]);
}

#[test]
fn a_drained_churn_leaves_nothing_behind() {
    let (cluster, mut churn, _) = run(3, Duration::from_millis(50));
    assert!(churn.drain(&cluster).unwrap() > 0);
    assert_eq!(churn.alive(), 0);
    assert!(cluster.truth().iter().all(|hold| hold.to.is_some()));
    let last = cluster.version();
    assert_eq!(churn.drain(&cluster).unwrap(), 0);
    assert_eq!(cluster.version(), last);
}

#[test]
fn without_births_nodes_or_addresses_nothing_is_born() {
    for config in [
        ChurnConfig { births_per_second: 0.0, ..ChurnConfig::default() },
        ChurnConfig { nodes: 0, ..ChurnConfig::default() },
        ChurnConfig { addresses: 0, ..ChurnConfig::default() },
        ChurnConfig { namespaces: vec![], ..ChurnConfig::default() },
    ] {
        let cluster = Cluster::new(Config::default());
        let mut churn = Churn::new(1, config.clone());
        for second in 0..60 {
            churn.step(&cluster, Timestamp::from_second(second)).unwrap();
        }
        assert_eq!(churn.alive(), 0, "{config:?}");
    }
}
