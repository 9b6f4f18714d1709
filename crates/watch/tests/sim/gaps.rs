//! What cannot be resumed: the state is that of the API again, and the gap is stated.

use podtrail_sim::{Config, Fault, Verb};

use crate::harness::{Seen, Sim, config};

/// A consumer that was caught up, went away, and comes back after things happened and `forget`.
async fn after_absence(wanted: bool, forget: impl Fn(&Sim)) -> (Sim, Seen) {
    let sim = Sim::new(Config { watch_list: wanted, ..Config::default() }).await;
    sim.stir(0);
    let gone = sim.start("goes-unseen", 200);
    let mut seen = Seen::new(sim.client.clone(), config(wanted), None);
    seen.catch_up(&sim).await;
    sim.stir(1);
    sim.cluster.remove(&gone).unwrap();
    forget(&sim);
    let mut seen = Seen::resume(sim.client.clone(), config(wanted), seen);
    seen.catch_up(&sim).await;
    (sim, seen)
}

#[tokio::test]
async fn a_restart_resumes_without_a_list_and_without_a_gap() {
    let (_sim, seen) = after_absence(true, |_| {}).await;
    assert_eq!((seen.snapshots, seen.gaps.len()), (0, 0));
    // What came while it was away is not dated by when it is read.
    assert!(!seen.live.contains("goes-unseen"));
}

#[tokio::test]
async fn a_version_that_is_too_old_is_a_gap_from_what_was_covered_to_the_list() {
    let as_status: fn(&Sim) = |sim| sim.cluster.compact();
    let in_stream: fn(&Sim) = |sim| {
        sim.cluster.compact();
        sim.cluster.inject(Fault::GoneInStream);
    };
    let and_in_the_list: fn(&Sim) = |sim| {
        sim.cluster.compact();
        sim.cluster.inject(Fault::ShortPage(1));
        sim.cluster.inject(Fault::ExpiredPage);
    };
    for (wanted, forget) in
        [(false, as_status), (true, as_status), (false, in_stream), (true, in_stream), (false, and_in_the_list)]
    {
        let before = podtrail_event::Timestamp::from(std::time::SystemTime::now());
        let (sim, seen) = after_absence(wanted, forget).await;
        assert_eq!(sim.cluster.faults_pending(), 0);
        let [(gap, Some(after))] = &seen.gaps[..] else { panic!("{:?}", seen.gaps) };
        assert_eq!(gap.source, "pods");
        assert!(before < gap.from && gap.from < gap.to && gap.to <= sim.cluster.now(), "{gap:?}");
        assert!(gap.reason.contains("410"), "{gap:?}");
        assert!(after.parse::<u64>().unwrap() < sim.cluster.version());
        assert_eq!((seen.snapshots, seen.disconnected.len()), (1, 0));
    }
}

#[tokio::test]
async fn history_that_is_lost_under_an_open_watch_is_a_gap() {
    let sim = Sim::default().await;
    let mut seen = Seen::new(sim.client.clone(), config(true), None);
    seen.catch_up(&sim).await;
    sim.stir(1);
    sim.cluster.compact();
    seen.catch_up(&sim).await;
    assert_eq!(seen.gaps.len(), 1, "{:?}", seen.gaps);
}

#[tokio::test]
async fn a_frame_that_can_never_be_decoded_is_rejected_and_listed_past() {
    for fault in [Fault::Garbage, Fault::UnknownType, Fault::Oversize, Fault::OtherKind] {
        let sim = Sim::default().await;
        let pod = sim.start("here", 1);
        let mut seen = Seen::new(sim.client.clone(), config(false), None);
        seen.catch_up(&sim).await;
        sim.cluster.inject(fault.clone());
        sim.cluster.inject(fault.clone());
        sim.cluster.relabel(&pod, &[("x", "y")]).unwrap();
        seen.catch_up(&sim).await;
        assert_eq!((seen.gaps.len(), seen.rejected.len(), seen.snapshots), (1, 1, 2), "{fault:?}");
        assert!(seen.gaps[0].0.reason.contains("cannot be used"), "{:?}", seen.gaps);
        assert!(!seen.rejected[0].excerpt.is_empty() && seen.rejected[0].length > 0);
    }
}

#[tokio::test]
async fn a_first_start_is_no_gap_however_it_goes() {
    let sim = Sim::default().await;
    (0..6).for_each(|n| drop(sim.start(&format!("pod-{n}"), n + 1)));
    for fault in [
        Fault::Status { on: Verb::List, code: 500, retry_after: None },
        Fault::ExpiredPage,
        Fault::ExpiredPage,
        Fault::Status { on: Verb::Watch, code: 410, retry_after: None },
    ] {
        sim.cluster.inject(fault);
    }
    let mut pages = config(false);
    pages.page_size = 2;
    let mut seen = Seen::new(sim.client.clone(), pages, None);
    seen.until("a snapshot", |seen| seen.snapshots == 1).await;
    assert_eq!(seen.gaps.len(), 0);
    // But a version lost after that is one, from when the list was asked for.
    seen.catch_up(&sim).await;
    assert_eq!((seen.snapshots, seen.gaps.len()), (2, 1));
}

#[tokio::test]
async fn a_cluster_restored_from_an_older_state_is_a_new_epoch() {
    let mut old = Sim::default().await;
    (0..3).for_each(|round| old.stir(round));
    let mut seen = Seen::new(old.client.clone(), config(false), None);
    seen.catch_up(&old).await;
    old.stop().await;
    let new = Sim::default().await;
    new.start("restored", 1);
    assert!(new.cluster.version() < old.cluster.version());
    new.cluster.inject(Fault::Status { on: Verb::Watch, code: 410, retry_after: None });
    // The other cluster answers at the address of the first.
    old.cluster = new.cluster.clone();
    old.restart().await;
    seen.catch_up(&old).await;
    let [(gap, _)] = &seen.gaps[..] else { panic!("{:?}", seen.gaps) };
    assert!(gap.reason.contains("went back"), "{gap:?}");
}
