//! What is said of a pod's life: each thing once, in order.

use podtrail_track::{Format, Sink};
use podtrail_watch::{Globs, NamespaceFilter};

use crate::harness::{World, address, pod, running, within};

const X: &str = "10.0.0.1";
const Y: &str = "10.0.0.2";

#[test]
fn address_that_changes_within_one_pod_makes_three_claims() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a).at(20.0).confirmed(&a);
    // Its sandbox is made anew, twice.
    let b = a.clone().shows(&[Y]).runs(30.0);
    world.at(30.2).applied(&b).at(40.0).confirmed(&b);
    let c = a.clone().shows(&[X]).runs(50.0);
    world.at(50.2).applied(&c).at(70.0).confirmed(&c).alive();
    world.says(X, &[(18.0, "certain a"), (35.0, "nobody"), (60.0, "certain a")]);
    world.says(Y, &[(18.0, "nobody"), (38.0, "certain a"), (60.0, "nobody")]);
    let claims: Vec<_> = world.claims("a").iter().map(|claim| (claim.ip.to_string(), claim.ordinal)).collect();
    assert_eq!(claims, [(X.to_owned(), 0), (Y.to_owned(), 0), (X.to_owned(), 1)]);
    let told = world.told("a");
    let wanted = [
        "address-assigned 10.0.0.1",
        "created",
        "address-released 10.0.0.1",
        "address-assigned 10.0.0.2",
        "address-released 10.0.0.2",
        "address-assigned 10.0.0.1",
    ];
    assert_eq!(told, wanted);
}

#[test]
fn pending_pod_is_created_once_it_runs() {
    let mut world = World::new();
    let a = pod("a", "web-1", 10.0);
    world.at(10.1).applied(&a);
    assert!(world.told("a").is_empty());
    let a = a.shows(&[X]);
    world.at(11.0).applied(&a);
    assert_eq!(world.told("a"), ["address-assigned 10.0.0.1"]);
    let a = a.runs(12.0);
    world.at(12.1).applied(&a).at(12.5).applied(&a.clone().label("ready", "yes")).at(30.0).confirmed(&a);
    assert_eq!(world.told("a"), ["address-assigned 10.0.0.1", "created"]);
    let created = world.events("a").pop().unwrap();
    within(created.time, 9.0..=9.0, Some(13.0..=13.2));
    assert_eq!(created.addresses, [address(X)]);
}

#[test]
fn pending_pod_with_an_address_that_never_runs_is_neither_created_nor_deleted() {
    let mut world = World::new();
    let a = pod("a", "web-1", 10.0).shows(&[X]);
    world.at(11.0).applied(&a).at(40.0).deleted(&a.deleting(38.0, 1)).at(50.0).alive();
    assert_eq!(world.told("a"), ["address-assigned 10.0.0.1", "address-released 10.0.0.1"]);
    world.says(X, &[(20.0, "certain a"), (45.0, "nobody")]);
}

#[test]
fn pod_that_never_had_an_address_leaves_nothing() {
    let mut world = World::new();
    let a = pod("a", "web-1", 10.0);
    world
        .at(10.1)
        .applied(&a)
        .at(20.0)
        .applied(&a.clone().label("x", "y"))
        .at(40.0)
        .deleted(&a.clone().deleting(38.0, 1));
    world.deleted(&pod("b", "web-2", 30.0));
    assert!(world.records().is_empty());
    assert_eq!(world.store().pod_by_uid("a").unwrap(), None);
    assert_eq!(world.store().pod_by_uid("b").unwrap(), None);
    assert_eq!((world.tracker.pods_known(), world.tracker.open_claims()), (0, 0));
}

#[test]
fn created_comes_before_deleted_even_if_the_last_state_is_the_first_seen() {
    let mut world = World::new();
    let a = running("a", "job-1", 10.0, X).ends(12.0);
    world.at(14.0).deleted(&a).at(20.0).alive();
    assert_eq!(world.told("a"), ["address-assigned 10.0.0.1", "created", "address-released 10.0.0.1", "deleted"]);
    world.says(X, &[(5.0, "nobody"), (18.0, "nobody")]);
}

#[test]
fn pod_first_seen_when_it_has_succeeded_is_created_late() {
    let mut world = World::new();
    let a = running("a", "job-1", -100.0, X).ends(-50.0);
    world.at(5.0).list(Some(0.0), &[a]);
    assert_eq!(world.told("a"), ["address-assigned 10.0.0.1", "created"]);
    world.says(X, &[(-150.0, "unknown"), (-96.0, "certain a"), (-52.0, "certain a"), (-40.0, "unknown a")]);
}

#[test]
fn host_network_pods_have_all_events_and_own_nothing() {
    let mut world = World::new();
    world.node("n1", &["198.18.0.11"]);
    let a = pod("a", "proxy-1", 10.0).host_network().shows(&["198.18.0.11"]).runs(11.0);
    world.at(11.1).applied(&a).at(30.0).deleted(&a.deleting(28.0, 1).ends(29.0));
    let wanted = ["address-assigned 198.18.0.11", "created", "address-released 198.18.0.11", "deleted"];
    assert_eq!(world.told("a"), wanted);
    assert_eq!(world.events("a")[1].addresses, [address("198.18.0.11")]);
    assert!(world.claims("a").iter().all(|claim| claim.shared));
}

#[test]
fn last_known_labels_are_in_the_deletion_even_if_it_was_only_inferred() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X).label("version", "1");
    world.at(11.1).applied(&a).at(20.0).applied(&a.clone().label("version", "2"));
    world.restart().at(60.0).list(Some(20.0), &[]);
    let last = world.events("a").pop().unwrap();
    assert_eq!((last.event.as_str(), last.pod.deletion), ("deleted", None));
    assert_eq!(last.pod.labels.unwrap()["version"], "2");
    assert_eq!(last.addresses, [address(X)]);
}

#[test]
fn mirror_of_a_static_pod_may_have_held_its_address_before_the_api_knew() {
    let mut world = World::new();
    // Started at 10, told to the API at 40, when there was one.
    let a = pod("a", "static-n1", 40.0).mirrors(10.0).shows(&[X]).runs(11.0);
    world.at(40.2).replayed(&a).at(60.0).confirmed(&a);
    within(world.claim("a", X).interval.start(), 9.0..=9.0, Some(13.0..=13.0));
    world.says(X, &[(20.0, "certain a"), (50.0, "certain a")]);
    // The mirror is deleted; its kubelet makes another, of the same sandbox.
    world.at(61.0).deleted(&a.deleting(61.0, 0));
    let b = pod("b", "static-n1", 61.0).mirrors(10.0).shows(&[X]).runs(11.0);
    world.at(62.0).applied(&b).at(90.0).confirmed(&b);
    world.says(X, &[(80.0, "certain b")]);
}

/// A namespace that a sink does not want is in the ledger all the same.
#[test]
fn filter_of_a_sink_keeps_lines_back_and_answers_complete() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a).at(30.0).confirmed(&a).at(60.0).list(Some(30.0), &[a]);
    let sink = |include: &str, format| Sink {
        name: "s".into(),
        namespaces: NamespaceFilter {
            include: Globs::new([include]).unwrap(),
            exclude: Globs::new([] as [&str; 0]).unwrap(),
        },
        format,
        tracked_by: String::new(),
        from_now: false,
    };
    let lines = |sink: Sink| world.records().iter().filter(|record| sink.render(record).is_some()).count();
    assert_eq!(lines(sink("shop", Format::Podtrail)), 3, "two events and the gap");
    assert_eq!(lines(sink("bank", Format::Podtrail)), 1, "a gap concerns all");
    assert_eq!(lines(sink("sh*", Format::PodTracker)), 1, "created");
    assert_eq!(lines(sink("bank", Format::PodTracker)), 0);
    world.says(X, &[(20.0, "certain a")]);
}
