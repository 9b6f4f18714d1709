//! `GET`s beside the watch: they heal what a watch has dropped, and are not misled by one that is late.

use podtrail_event::Timestamp;

use crate::harness::{World, running, t};

const X: &str = "10.0.0.1";
const Y: &str = "10.0.0.2";
const Z: &str = "10.0.0.3";

#[test]
fn pod_that_is_twice_not_there_is_gone() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a).at(30.0).confirmed(&a);
    // Removed at 40; the watch never says so.
    world.at(60.0).alive();
    assert!(world.got("a", None), "the watch may be late: ask again");
    assert_eq!(world.told("a").len(), 2);
    world.at(62.0).alive();
    assert!(!world.got("a", None));
    world.at(70.0).alive();
    // Its end was not announced: forced away, its containers may go on.
    world.says(X, &[(28.0, "certain a"), (50.0, "ambiguous a"), (65.0, "ambiguous a")]);
    let counts = *world.tracker.counts();
    assert_eq!((counts.confirmations, counts.divergences), (3, 1));
    assert_eq!(world.told("a").last().unwrap(), "deleted");
    assert_eq!(world.events("a").pop().unwrap().source, "get");
    assert_eq!(world.claim("a", X).interval.end_latest, None);
    // And if the watch says so after all, it is known.
    let told = world.records().len();
    world.at(80.0).deleted(&a.deleting(38.0, 1).ends(39.0));
    assert_eq!(world.records().len(), told);
}

#[test]
fn pod_that_is_not_there_is_left_to_a_watch_that_is_only_late() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a).at(40.5).alive();
    assert!(world.got("a", None));
    world.at(40.6).deleted(&a.deleting(37.0, 30).ends(39.0));
    assert!(!world.got("a", None), "nobody is left to ask for");
    assert_eq!(world.tracker.counts().divergences, 0);
    assert_eq!(world.told("a").last().unwrap(), "deleted");
    assert_eq!(world.events("a").pop().unwrap().source, "watch");
    // What the frame says of when is kept.
    world.at(60.0).alive().says(X, &[(37.9, "certain a"), (50.0, "nobody")]);
}

#[test]
fn get_ahead_of_the_watch_doubles_nothing_and_hides_nothing() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a);
    // Two changes; a look sees the second before the watch tells of the first, and again.
    let (b, c) = (a.clone().shows(&[Y]).runs(30.0), a.shows(&[Z]).runs(33.0));
    let ahead = world.version + 2;
    for at in [34.0, 36.0, 38.0] {
        world.at(at).alive();
        assert!(world.got("a", Some((&c, ahead))));
        assert_eq!(world.told("a").len(), 2, "the watch will tell");
    }
    world.at(38.5).applied(&b).applied(&c);
    let told = world.told("a");
    assert_eq!(
        told[2..],
        [
            "address-released 10.0.0.1",
            "address-assigned 10.0.0.2",
            "address-released 10.0.0.2",
            "address-assigned 10.0.0.3"
        ]
    );
    assert!(!world.got("a", Some((&c, ahead))));
    assert_eq!((world.told("a").len(), world.tracker.counts().divergences), (6, 0));
}

#[test]
fn change_that_the_watch_has_passed_over_is_healed_by_a_look() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a).at(20.0).confirmed(&a);
    let b = a.clone().shows(&[Y]).runs(30.0);
    let dropped = world.version + 1;
    world.at(45.0).alive();
    assert!(world.got("a", Some((&b, dropped))), "the watch may be late");
    // It tells of a later version, and so will never tell of this one.
    world.at(50.0).bookmark(dropped + 1);
    assert!(!world.got("a", Some((&b, dropped))));
    assert_eq!(world.tracker.counts().divergences, 1);
    // If it comes after all, it is known.
    let told = world.records().len();
    world.version = dropped - 1;
    world.at(53.0).applied(&b);
    assert_eq!(world.records().len(), told);
    world.at(80.0).confirmed(&b).alive();
    world.says(X, &[(18.0, "certain a"), (40.0, "ambiguous a"), (70.0, "nobody")]);
    world.says(Y, &[(15.0, "nobody"), (40.0, "ambiguous a"), (70.0, "certain a")]);
    assert_eq!(world.tracker.counts().divergences, 1);
}

/// Once changed and then not there: it was there at the first look.
#[test]
fn end_is_dated_by_the_first_look_that_did_not_find_it() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X).deleting(49.0, 1).ends(49.0);
    world.at(11.1).applied(&running("a", "web-1", 10.0, X)).at(49.5).applied(&a).at(50.0).alive();
    let ahead = world.version + 1;
    assert!(world.got("a", Some((&a.clone().label("x", "y"), ahead))));
    // It is removed at 51.5.
    for (at, again) in [(52.0, true), (54.0, false)] {
        world.at(at).alive();
        assert_eq!(world.got("a", None), again);
    }
    assert_eq!(world.claim("a", X).interval.end_latest, Some(t(53.0)));
    assert_eq!(world.told("a").last().unwrap(), "deleted");
}

/// A watch that is later than was thought: what it tells at last still counts.
#[test]
fn what_a_late_watch_tells_of_a_pod_that_was_not_there_is_not_lost() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a).at(50.0).alive();
    for (at, again) in [(50.0, true), (52.0, false)] {
        world.at(at).alive();
        assert_eq!(world.got("a", None), again);
    }
    assert_eq!(world.told("a").last().unwrap(), "deleted");
    // Before it was removed, at 45, it had got another address.
    let b = a.shows(&[Y]).runs(30.0);
    world.at(55.0).replayed(&b).replayed(&b.clone().deleting(40.0, 30)).deleted(&b.deleting(40.0, 30).ends(44.0));
    world.at(60.0).alive();
    world.says(Y, &[(20.0, "ambiguous a"), (40.0, "ambiguous a"), (58.0, "nobody")]);
    let told = world.told("a");
    assert_eq!(told.iter().filter(|event| *event == "deleted").count(), 1);
    assert_eq!(told[4..], ["address-assigned 10.0.0.2", "address-released 10.0.0.2"]);
}

#[test]
fn another_pod_of_the_name_is_not_this_one() {
    let mut world = World::new();
    let first = running("first", "db-0", 10.0, X);
    world.at(11.1).applied(&first).at(60.0).alive();
    let second = running("second", "db-0", 41.0, X);
    for (at, again) in [(60.0, true), (62.0, false)] {
        world.at(at).alive();
        // Asked for by name: its successor answers.
        assert_eq!(world.got_instead("first", &second, 900), again);
    }
    assert_eq!(world.told("first").last().unwrap(), "deleted");
    assert!(world.told("second").is_empty(), "the watch will tell of it");
}

/// While nothing is heard from the watch it may be late for any time: nothing is concluded.
#[test]
fn nothing_is_concluded_while_the_watch_is_down() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a).at(40.0);
    let down = podtrail_watch::Delta::Disconnected { at: t(40.0), reason: "gone".into(), retry_in: Default::default() };
    world.take(down);
    for at in [50.0, 52.0, 54.0] {
        assert!(world.at(at).got("a", None));
    }
    assert_eq!(world.told("a").len(), 2);
    world.at(60.0).deleted(&a.deleting(38.0, 30).ends(45.0));
    assert_eq!(world.told("a").len(), 4);
    assert_eq!(world.claim("a", X).interval.end_earliest, t(44.0));
}

#[test]
fn confirmations_are_one_record_for_many_pods() {
    let mut world = World::new();
    let shown: Vec<_> =
        (0..20).map(|i| running(&format!("p{i}"), &format!("web-{i}"), 10.0, &format!("10.0.1.{i}"))).collect();
    for shown in &shown {
        world.at(11.1).applied(shown);
    }
    let head = world.store().head().unwrap();
    let store = world.store.take().unwrap();
    let mut held: Vec<Timestamp> = Vec::new();
    for shown in &shown {
        let row = store.pod_by_uid(&shown.0.pod.uid).unwrap().unwrap();
        let found = Some(podtrail_watch::PodState { resource_version: row.version, ..shown.0.clone() });
        let got =
            podtrail_watch::confirm::Confirmation { sent: t(60.0), received: t(60.1), found, rejected: Vec::new() };
        assert!(!world.tracker.confirmed(row.id, got, &store).unwrap());
        held.push(t(59.0));
    }
    world.store = Some(store);
    world.at(61.0).alive();
    assert_eq!(world.store().head().unwrap(), head + 1);
    let found: Vec<_> = shown.iter().map(|s| world.claims(&s.0.pod.uid)[0].interval.end_earliest).collect();
    assert_eq!(found, held);
}

/// Removed and back within one commit, as a look and a late watch have it: it must be looked at again.
#[test]
fn pod_that_is_gone_and_back_is_still_to_be_confirmed() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a).at(50.0).alive();
    let (born, dead) = world.tracker.take_turnover();
    assert_eq!((born.len(), dead.len()), (1, 0));
    let store = world.store.take().unwrap();
    for at in [50.0, 52.0] {
        let got =
            podtrail_watch::confirm::Confirmation { sent: t(at), received: t(at), found: None, rejected: Vec::new() };
        world.tracker.confirmed(born[0], got, &store).unwrap();
    }
    let object = podtrail_watch::PodState { resource_version: 900, ..a.clone().label("x", "y").0 };
    let late = podtrail_watch::Delta::Applied { object, received: t(52.0), live: true };
    world.tracker.pods(late, t(52.0), &store).unwrap();
    world.store = Some(store);
    world.at(53.0).alive();
    assert_eq!(world.tracker.take_turnover(), (born, vec![]));
    assert_eq!(world.claim("a", X).ordinal, 1);
}

/// A fault of an object comes with each of its frames, and with each `GET`.
#[test]
fn fault_that_comes_again_is_counted_and_quarantined_once() {
    use podtrail_watch::{Delta, PodLite};

    let spoilt = br#"{"metadata":{"uid":"a","namespace":"shop","name":"web-1","resourceVersion":"7"},"status":{"podIP":"no address"}}"#;
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a);
    for _ in 0..3 {
        let mut rejected = Vec::new();
        let found = PodLite::object(spoilt).unwrap().state(t(20.0), &mut rejected).unwrap();
        assert!(found.addresses_spoilt);
        world.take(Delta::Rejected(rejected.pop().unwrap()));
    }
    assert_eq!(world.tracker.counts().rejected, 3);
    let stored = world.store().observations(0, usize::MAX).unwrap();
    assert_eq!(stored.iter().filter(|o| o.observation.quarantined.is_some()).count(), 1);
}
