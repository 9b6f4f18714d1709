//! What was not watched.

use podtrail_event::Record;
use podtrail_watch::{Delta, PodState};

use crate::harness::{Shown, World, pod, running, t, within};

const X: &str = "10.0.0.1";
const Y: &str = "10.0.0.2";

#[test]
fn relist_releases_what_was_missed_and_dates_what_is_new() {
    let mut world = World::new();
    let (stays, goes) = (running("stays", "web-1", 10.0, X), running("goes", "web-2", 10.0, Y));
    world.at(11.1).applied(&stays).applied(&goes).at(20.0).confirmed(&stays).confirmed(&goes).alive();
    // Between 20 and 100 one is removed and another created, with nothing of it seen.
    let comes = running("comes", "web-3", 60.0, Y);
    world.at(100.0).list(Some(20.0), &[stays.clone(), comes.clone()]);
    world.at(130.0).confirmed(&stays).confirmed(&comes).alive();
    // What is on both sides of a gap was there within it.
    world.says(X, &[(18.0, "certain stays"), (50.0, "certain stays"), (120.0, "certain stays")]);
    world.says(
        Y,
        &[
            (18.0, "certain goes"),
            (40.0, "unknown goes"),
            (61.0, "unknown comes goes"),
            (70.0, "certain comes"),
            (120.0, "certain comes"),
        ],
    );
    // An address that no known pod had may have been a pod's that was never seen.
    world.says("10.0.0.9", &[(15.0, "nobody"), (50.0, "unknown"), (120.0, "nobody")]);
    assert_eq!(world.told("goes").last().unwrap(), "deleted");
    within(world.events("goes").pop().unwrap().time, 18.0..=20.0, Some(100.0..=101.0));
    let gaps = world.reply("10.0.0.9", 50.0).gaps;
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].from, gaps[0].to), (t(20.0), t(100.0)));
}

#[test]
fn pod_born_and_gone_within_a_gap_is_never_denied() {
    let mut world = World::new();
    let later = running("later", "web-1", 90.0, X);
    world.at(20.0).alive().at(100.0).list(Some(20.0), std::slice::from_ref(&later)).at(130.0).confirmed(&later).alive();
    world.says(X, &[(15.0, "nobody"), (50.0, "unknown"), (88.5, "unknown"), (120.0, "certain later")]);
}

#[test]
fn each_gap_is_one_record_whose_id_does_not_depend_on_the_tracker() {
    let ids = |world: &World| -> Vec<_> {
        world.records().iter().filter(|record| matches!(record, Record::Gap(_))).map(Record::id).collect()
    };
    let tell = |delay: f64| {
        let mut world = World::new();
        let a = running("a", "web-1", 10.0, X);
        world.at(11.0 + delay).applied(&a).at(60.0 + delay).list(Some(12.0 + delay), std::slice::from_ref(&a));
        world.at(80.0).applied(&a.clone().label("x", "y")).at(120.0).list(Some(81.0), &[a]);
        ids(&world)
    };
    let (one, other) = (tell(0.1), tell(0.3));
    assert_eq!(one.len(), 2);
    assert_eq!(one, other);
    assert_ne!(one[0], one[1]);
}

#[test]
fn gaps_without_a_version_before_them_are_told_apart() {
    let mut world = World::new();
    // The watch knows of no gap; the ledger does.
    world.at(50.0).bookmark(150).at(70.0).list(None, &[]);
    world.at(90.0).bookmark(160).at(120.0).list(None, &[]);
    assert_eq!(world.gaps(), 2);
    assert_eq!(world.tracker.counts().gaps, 2);
    world.says(X, &[(48.0, "nobody"), (60.0, "unknown"), (80.0, "nobody"), (100.0, "unknown")]);
}

/// The machine's clock is set back while nothing is watched.
#[test]
fn gap_is_not_closed_by_a_clock_that_goes_back() {
    let mut world = World::new();
    world.at(60.0).alive();
    // By the true clock it is 90; this one says 50.
    let snapshot = |at, from| Delta::Snapshot {
        resource_version: "900".into(),
        sent: t(at),
        received: t(at),
        gap: Some(podtrail_event::Gap { source: "pods".into(), from: t(from), to: t(from), reason: "gone".into() }),
        after_version: Some("800".into()),
    };
    world.take(Delta::ListStarted { sent: t(50.0) }).take(snapshot(50.0, 60.0));
    world.at(80.0).alive();
    world.says(X, &[(50.0, "nobody"), (60.0, "unknown"), (70.0, "nobody")]);
}

#[test]
fn first_start_is_no_gap_and_what_was_before_is_not_known() {
    let mut world = World::unwatched();
    let a = running("a", "web-1", -100.0, X);
    world.at(10.0).list(None, std::slice::from_ref(&a)).at(40.0).confirmed(&a).alive();
    assert_eq!(world.gaps(), 0);
    // What it says of itself dates it back; of others nothing is known.
    world.says(X, &[(-200.0, "unknown"), (-50.0, "certain a"), (30.0, "certain a")]);
    world.says(Y, &[(-50.0, "unknown"), (30.0, "nobody")]);
}

/// An object that a listing has and that cannot be read is not missing.
#[test]
fn pod_whose_entry_in_a_listing_cannot_be_read_is_not_released() {
    use podtrail_watch::PodLite;

    let mut world = World::new();
    let (a, b) = (running("a", "web-1", 10.0, X), running("b", "web-2", 10.0, Y));
    world.at(11.1).applied(&a).applied(&b);
    // What cannot be used of an object, as the decoder reports it.
    let spoilt = br#"{"metadata":{"uid":"a","namespace":"shop","name":"web-1","resourceVersion":"7"},"status":{"podIP":"no address"}}"#;
    let mut rejected = Vec::new();
    PodLite::object(spoilt).unwrap().state(t(60.0), &mut rejected).unwrap();
    world.at(60.0).begin_list();
    world.take(Delta::Rejected(rejected.pop().unwrap())).end_list(Some(12.0), Some("9".into()));
    assert_eq!(world.told("a"), ["address-assigned 10.0.0.1", "created"]);
    assert_eq!(world.told("b").last().unwrap(), "deleted");
    assert_eq!(world.tracker.counts().rejected, 1);
    let stored = world.store().observations(0, usize::MAX).unwrap();
    let refused: Vec<_> = stored.into_iter().filter_map(|stored| stored.observation.quarantined).collect();
    let sha256 = "5917eeb9744277c183411a62d542fa17aceae749d76a75c7d06766ee7e48ed88";
    assert_eq!((refused.len(), refused[0].length, refused[0].sha256.as_deref()), (1, 10, Some(sha256)));
    world.at(90.0).confirmed(&a).alive();
    world.says(X, &[(30.0, "certain a"), (80.0, "certain a")]);
}

/// An API server restored from a backup has again what was deleted, at an older version.
#[test]
fn pod_that_a_restored_api_server_has_again_is_tracked_again() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a).at(30.0).confirmed(&a);
    world.at(40.0).deleted(&a.clone().deleting(38.0, 1).ends(39.0)).at(50.0).alive();
    world.says(X, &[(25.0, "certain a"), (45.0, "nobody")]);
    // The history goes back to before the deletion.
    world.version = 50;
    world.at(100.0).list(Some(50.0), std::slice::from_ref(&a)).at(130.0).confirmed(&a).alive();
    world.says(X, &[(25.0, "certain a"), (120.0, "certain a")]);
    assert_eq!(world.claim("a", X).ordinal, 1, "it holds the address for the second time");
    world.at(150.0).deleted(&a.deleting(148.0, 1).ends(149.0)).at(160.0).alive();
    world.says(X, &[(120.0, "certain a"), (155.0, "nobody")]);
    let told = world.told("a");
    assert_eq!(told.iter().filter(|event| *event == "created").count(), 1);
    assert_eq!(told.iter().filter(|event| *event == "deleted").count(), 1);
    assert_eq!(told.iter().filter(|event| event.starts_with("address")).count(), 4);
}

/// A streaming list may be interrupted by changes: until it is complete there is nothing to resume from.
#[test]
fn unfinished_listing_leaves_no_checkpoint() {
    let mut world = World::unwatched();
    let (a, b) = (running("a", "web-1", 1.0, X), running("b", "web-2", 1.0, Y));
    world.at(10.0).begin_list();
    let listed = |world: &mut World, shown: &Shown| {
        let state = world.next(shown);
        world.take(Delta::Listed(state));
    };
    listed(&mut world, &a);
    let object = PodState { resource_version: world.version + 1, ..a.clone().deleting(9.0, 0).0 };
    world.take(Delta::Deleted { object, received: t(10.5), live: false });
    assert!(world.store().live().unwrap().checkpoints.is_empty(), "b has not been listed yet");
    listed(&mut world, &b);
    world.end_list(None, None);
    assert!(world.store().live().unwrap().checkpoints.contains_key("pods"));
    assert_eq!(world.told("a").last().unwrap(), "deleted");
    world.at(30.0).confirmed(&b);
    world.says(Y, &[(20.0, "certain b")]);
}

#[test]
fn listing_that_starts_over_counts_once() {
    let mut world = World::new();
    let (a, b) = (running("a", "web-1", 10.0, X), running("b", "web-2", 10.0, Y));
    world.at(11.1).applied(&a).applied(&b);
    world.at(40.0).begin_list();
    let object = PodState { resource_version: 500, ..b.0.clone() };
    world.take(Delta::Listed(object));
    // The token of its next page expires: b has gone meanwhile.
    world.at(50.0).list(Some(12.0), std::slice::from_ref(&a)).at(60.0).alive();
    world.says(Y, &[(55.0, "ambiguous b")]);
    assert_eq!((world.gaps(), world.tracker.counts().relists), (1, 2));
    assert_eq!(world.told("b").last().unwrap(), "deleted");
    assert_eq!(world.told("a"), ["address-assigned 10.0.0.1", "created"]);
}

#[test]
fn pending_pods_are_listed_without_a_word() {
    let mut world = World::unwatched();
    world.at(10.0).list(None, &[pod("a", "web-1", 1.0)]).at(50.0).list(Some(10.0), &[]);
    assert_eq!(world.records().len(), 1, "the gap");
}

/// A connection dies without a word; the tracker is started anew before it was found out.
#[test]
fn silence_before_a_restart_is_part_of_the_gap_after_it() {
    let mut world = World::new();
    world.at(20.0).bookmark(150).at(60.0).alive().restart();
    assert_eq!(world.store().live().unwrap().coverage["pods"].proven, t(20.0));
    // As the watch declares it, which resumes from what was proven.
    world.at(100.0).list(Some(20.0), &[]).at(120.0).alive();
    world.says(X, &[(15.0, "nobody"), (40.0, "unknown"), (59.0, "unknown"), (80.0, "unknown"), (110.0, "nobody")]);
    // One that knows of no version to resume from declares the same.
    world.at(130.0).bookmark(160).at(160.0).alive().restart().at(200.0).list(None, &[]).at(220.0).alive();
    world.says(X, &[(125.0, "nobody"), (150.0, "unknown"), (190.0, "unknown"), (210.0, "nobody")]);
}

/// The server has been slow to tell what happened: silence is no sign of before the watch was opened.
#[test]
fn downtime_is_not_known_before_something_is_heard() {
    use podtrail_watch::Delta;

    let mut world = World::new();
    world.at(20.0).bookmark(150).restart().at(62.0);
    for at in [62.0, 64.0] {
        world.at(at).take(Delta::Alive { since: Some(t(60.0)), at: t(at) });
    }
    let told = [(15.0, "nobody"), (30.0, "unknown"), (58.0, "unknown"), (62.5, "nobody")];
    world.says(X, &told);
    // Nor after another restart.
    world.restart().at(90.0).take(Delta::Alive { since: Some(t(80.0)), at: t(90.0) });
    world.says(X, &told).says(X, &[(70.0, "unknown"), (85.0, "nobody")]);
    assert_eq!(world.store().live().unwrap().coverage["pods"].proven, t(20.0));
    world.at(95.0).bookmark(160);
    world.says(X, &[(15.0, "nobody"), (30.0, "nobody"), (58.0, "nobody"), (70.0, "nobody"), (93.0, "nobody")]);
    assert_eq!(world.gaps(), 0);
    world.restart();
    assert_eq!(world.store().live().unwrap().coverage["pods"].proven, t(95.0));
}
