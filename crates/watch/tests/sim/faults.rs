//! Faults after which nothing is lost: the state is that of the API, and there is no gap.

use std::time::Duration;

use futures::StreamExt;
use podtrail_sim::{Churn, ChurnConfig, Config, Fault, Verb, populate};
use podtrail_watch::Delta;

use crate::harness::{Seen, Sim, config};

fn status(on: Verb, code: u16) -> Fault {
    Fault::Status { on, code, retry_after: None }
}

/// With pages, with streaming lists, and with streaming lists that the server refuses.
const LISTS: [(bool, bool); 3] = [(false, true), (true, true), (true, false)];

/// The faults meet a watch that is live; what it was told of them besides is for `then`.
async fn check(faults: &[Fault], then: impl Fn(&Seen)) {
    for (wanted, known) in LISTS {
        let sim = Sim::new(Config { watch_list: known, ..Config::default() }).await;
        sim.stir(0);
        let mut seen = Seen::new(sim.client.clone(), config(wanted), None);
        seen.catch_up(&sim).await;
        faults.iter().for_each(|fault| sim.cluster.inject(fault.clone()));
        sim.stir(1);
        seen.catch_up(&sim).await;
        sim.stir(2);
        seen.catch_up(&sim).await;
        assert_eq!(sim.cluster.faults_pending(), 0, "{faults:?} were used");
        assert_eq!((seen.gaps.as_slice(), seen.snapshots), (&[] as &[_], 1), "{faults:?}");
        then(&seen);
    }
}

fn disconnected(seen: &Seen, reason: &str) {
    assert!(seen.disconnected.iter().any(|(said, _)| said.contains(reason)), "{reason}: {:?}", seen.disconnected);
}

#[tokio::test]
async fn nothing_is_lost_when_nothing_goes_wrong() {
    check(&[], |seen| {
        assert_eq!((seen.disconnected.as_slice(), seen.rejected.as_slice()), (&[] as &[_], &[] as &[_]));
        assert!(seen.live.contains("stir-1-1"));
    })
    .await;
}

#[tokio::test]
async fn nothing_is_lost_by_a_cut() {
    check(&[Fault::Cut, Fault::Cut], |seen| disconnected(seen, "cut")).await;
}

#[tokio::test]
async fn nothing_is_lost_by_an_end() {
    check(&[Fault::End], |seen| assert_eq!(seen.disconnected, [])).await;
}

#[tokio::test]
async fn nothing_is_lost_by_garbage() {
    check(&[Fault::Garbage], |seen| disconnected(seen, "not a watch event")).await;
}

#[tokio::test]
async fn nothing_is_lost_by_an_error_frame() {
    check(&[Fault::ErrorFrame], |seen| disconnected(seen, "500")).await;
}

#[tokio::test]
async fn nothing_is_lost_by_frames_in_pieces() {
    check(&[Fault::Split(7), Fault::Split(1), Fault::Split(1000)], |seen| assert_eq!(seen.disconnected, [])).await;
}

#[tokio::test]
async fn nothing_is_lost_by_a_delay() {
    check(&[Fault::Delay(Duration::from_millis(300))], |seen| assert_eq!(seen.disconnected, [])).await;
}

#[tokio::test]
async fn a_duplicate_is_counted_and_dropped() {
    check(&[Fault::Duplicate], |seen| assert_eq!((seen.duplicates, seen.rejected.len()), (1, 0))).await;
}

#[tokio::test]
async fn an_older_frame_is_rejected() {
    let sim = Sim::default().await;
    let (pod, _) = (sim.start("a", 1), sim.start("b", 2));
    let mut seen = Seen::new(sim.client.clone(), config(false), None);
    seen.catch_up(&sim).await;
    sim.cluster.inject(Fault::Replay);
    sim.cluster.relabel(&pod, &[("x", "y")]).unwrap();
    seen.catch_up(&sim).await;
    let [rejected] = &seen.rejected[..] else { panic!("{:?}", seen.rejected) };
    assert!(rejected.reason.contains(" after "), "{rejected:?}");
    assert_eq!(rejected.key.as_deref(), Some("default/a"));
    assert!(rejected.length > 256 && rejected.excerpt.starts_with(r#"{\"type\":"#), "{rejected:?}");
    assert_eq!((seen.gaps.len(), seen.disconnected.len()), (0, 0));
}

#[tokio::test]
async fn nothing_is_lost_by_an_oversize_frame() {
    check(&[Fault::Oversize], |seen| disconnected(seen, "longer than 2097152 bytes")).await;
}

#[tokio::test]
async fn nothing_is_lost_by_an_object_of_another_kind() {
    check(&[Fault::OtherKind], |seen| disconnected(seen, "Service")).await;
}

#[tokio::test]
async fn nothing_is_lost_by_an_unknown_type() {
    check(&[Fault::UnknownType], |seen| disconnected(seen, "RENAMED")).await;
}

#[tokio::test]
async fn nothing_is_lost_by_refused_watches() {
    let refusals = [429, 500, 503, 403, 404].map(|code| status(Verb::Watch, code));
    let faults = [&[Fault::End], &refusals[..]].concat();
    check(&faults, |seen| assert_eq!(seen.disconnected.len(), 5, "{:?}", seen.disconnected)).await;
}

#[tokio::test]
async fn nothing_is_lost_by_a_stall() {
    let sim = Sim::new(Config { bookmark_every: Duration::from_secs(60), ..Config::default() }).await;
    let mut impatient = config(false);
    impatient.stall_timeout = Duration::from_millis(400);
    let mut seen = Seen::new(sim.client.clone(), impatient, None);
    seen.catch_up(&sim).await;
    sim.cluster.inject(Fault::Stall(Duration::from_secs(60)));
    sim.stir(1);
    seen.catch_up(&sim).await;
    disconnected(&seen, "no byte of the watch came for 400ms");
    assert_eq!((seen.gaps.len(), seen.snapshots), (0, 1));
}

#[tokio::test]
async fn lists_survive_refusals_short_pages_and_expired_pages() {
    for known in [true, false] {
        let sim = Sim::new(Config { watch_list: known, ..Config::default() }).await;
        (0..9).for_each(|n| drop(sim.start(&format!("pod-{n}"), n + 1)));
        let shown = sim.shown().await;
        let retry_after = Some(Duration::from_secs(1));
        for fault in [
            Fault::Status { on: Verb::List, code: 429, retry_after },
            status(Verb::List, 500),
            Fault::ShortPage(1),
            status(Verb::List, 503),
            Fault::ExpiredPage,
            Fault::ShortPage(2),
        ] {
            sim.cluster.inject(fault);
        }
        let mut pages = config(!known);
        pages.page_size = 4;
        let mut seen = Seen::new(sim.client.clone(), pages, None);
        seen.reach(shown).await;
        assert_eq!(sim.cluster.faults_pending(), 0);
        assert_eq!((seen.snapshots, seen.gaps.len(), seen.known().len()), (1, 0, 9));
        assert_eq!(seen.disconnected.len(), 3);
        assert!(seen.disconnected[0].1 >= Duration::from_secs(1), "Retry-After: {:?}", seen.disconnected);
        assert!(sim.cluster.requests().page >= 3);
    }
}

#[tokio::test]
async fn faults_in_a_streaming_list_lead_to_pages() {
    for fault in [Fault::Cut, Fault::Garbage, Fault::ErrorFrame, Fault::End, Fault::Oversize] {
        let sim = Sim::default().await;
        (0..5).for_each(|n| drop(sim.start(&format!("pod-{n}"), n + 1)));
        sim.cluster.inject(fault.clone());
        let mut seen = Seen::new(sim.client.clone(), config(true), None);
        seen.catch_up(&sim).await;
        assert_eq!((seen.snapshots, seen.gaps.len(), sim.cluster.requests().list), (1, 0, 2), "{fault:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for() {
    let mut sim = Sim::default().await;
    sim.stir(0);
    let mut seen = Seen::new(sim.client.clone(), config(true), None);
    seen.catch_up(&sim).await;
    sim.stop().await;
    seen.until("several failures", |seen| seen.disconnected.len() >= 4).await;
    sim.stir(1);
    sim.restart().await;
    seen.catch_up(&sim).await;
    assert_eq!((seen.gaps.len(), seen.snapshots), (0, 1));
}

#[tokio::test]
async fn a_churning_cluster_is_followed_through_many_faults() {
    for wanted in [false, true] {
        let sim = Sim::default().await;
        let mut churn = Churn::new(7, ChurnConfig { births_per_second: 20.0, ..ChurnConfig::default() });
        let mut seen = Seen::new(sim.client.clone(), config(wanted), None);
        let faults = [Fault::Cut, Fault::Duplicate, Fault::Replay, Fault::Split(100), Fault::UnknownType, Fault::End];
        let (mut at, mut changes) = (sim.cluster.now(), 0);
        for round in 0..12 {
            sim.cluster.inject(faults[round % faults.len()].clone());
            at = at.saturating_add(Duration::from_secs(3));
            changes += churn.step(&sim.cluster, at).unwrap();
            seen.catch_up(&sim).await;
        }
        assert!(changes > 200, "{changes}");
        assert_eq!((seen.gaps.len(), seen.snapshots), (0, 1));
    }
}

#[tokio::test]
async fn a_consumer_that_stops_reading_for_a_while_misses_nothing() {
    let sim = Sim::new(Config { managed_fields: 6200, ..Config::default() }).await;
    populate(&sim.cluster, 300).unwrap();
    let mut stream = podtrail_watch::pods(sim.client.clone(), config(false), None);
    let first = stream.next().await;
    assert!(matches!(first, Some(Delta::Connected { .. })), "{first:?}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut listed = 0;
    while let Some(delta) = stream.next().await {
        match delta {
            Delta::Listed(_) => listed += 1,
            Delta::Snapshot { .. } => break,
            _ => {}
        }
    }
    assert_eq!(listed, 300);
}
