//! One name, several incarnations.

use crate::harness::{World, pod, running};

const X: &str = "10.0.0.1";
const Y: &str = "10.0.0.2";

/// vector#25558: the successor in a StatefulSet has the name, and the address.
#[test]
fn stateful_pod_recreated_with_the_same_address_is_another_pod() {
    let mut world = World::new();
    let first = running("first", "db-0", 10.0, X);
    world.at(11.1).applied(&first).at(43.0).deleted(&first.deleting(40.0, 30).ends(42.0));
    let second = running("second", "db-0", 43.0, X);
    world.at(43.2).applied(&pod("second", "db-0", 43.0)).at(45.0).applied(&second).at(70.0).confirmed(&second);
    world.says(X, &[(30.0, "certain first"), (60.0, "certain second")]);
    assert_eq!(world.told("first").last().unwrap(), "deleted");
    assert_eq!(world.told("second"), ["address-assigned 10.0.0.1", "created"]);
}

/// whereabouts#176: and here it has another address; the old one is nobody's.
#[test]
fn stateful_pod_recreated_with_another_address_leaves_the_old_one() {
    let mut world = World::new();
    let first = running("first", "db-0", 10.0, X);
    world.at(11.1).applied(&first).at(43.0).deleted(&first.deleting(40.0, 30).ends(42.0));
    let second = running("second", "db-0", 43.0, Y);
    world.at(45.0).applied(&second).at(70.0).confirmed(&second).alive();
    world.says(X, &[(30.0, "certain first"), (60.0, "nobody")]);
    world.says(Y, &[(30.0, "nobody"), (60.0, "certain second")]);
}

/// antrea#6964: a removal and a creation that come as one update, with another UID.
#[test]
fn update_with_a_new_uid_ends_the_old_pod() {
    for address in [X, Y] {
        let mut world = World::new();
        let first = running("first", "db-0", 10.0, X).label("app", "db");
        world.at(11.1).applied(&first).at(30.0).confirmed(&first);
        let second = running("second", "db-0", 41.0, address);
        world.at(43.0).applied(&second).at(70.0).confirmed(&second).alive();
        world.says(X, &[(28.0, "certain first")]);
        world.says(address, &[(60.0, "certain second")]);
        if address != X {
            world.says(X, &[(35.0, "ambiguous first"), (60.0, "ambiguous first")]);
        }
        assert_eq!(
            world.told("first"),
            ["address-assigned 10.0.0.1", "created", "address-released 10.0.0.1", "deleted"]
        );
        let deleted = world.events("first").pop().unwrap();
        assert_eq!(deleted.pod.labels, first.0.pod.labels, "metadata as last known");
    }
}

/// cilium#47906: the removal of the old pod is heard of after its successor.
#[test]
fn late_delete_after_the_replacement_changes_nothing() {
    for successor in [X, Y] {
        let mut world = World::new();
        let first = running("first", "db-0", 10.0, X);
        world.at(11.1).applied(&first).at(30.0).confirmed(&first);
        let second = running("second", "db-0", 41.0, successor);
        world.at(43.0).applied(&second);
        let told = world.records().len();
        world.at(44.0).deleted(&first.deleting(39.0, 30).ends(40.0));
        assert_eq!(world.records().len(), told, "all of it was known");
        world.at(70.0).confirmed(&second).alive();
        world.says(successor, &[(60.0, "certain second")]);
        assert_eq!(world.told("second"), ["address-assigned ".to_owned() + successor, "created".to_owned()]);
    }
}

/// otel `TestPodDelete`: a removal of another pod with the same address must not remove this one.
#[test]
fn delete_of_one_pod_leaves_another_with_the_same_address() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a);
    let stranger = running("stranger", "web-9", 2.0, X);
    world.at(12.0).deleted(&stranger.deleting(5.0, 1).ends(6.0));
    world.at(40.0).confirmed(&a).alive();
    world.says(X, &[(30.0, "certain a")]);
    assert_eq!(world.told("stranger").last().unwrap(), "deleted");
}

/// otel `TestPodAddOutOfSync`: news of a pod that began earlier must not win over the one that holds the address now.
#[test]
fn older_start_does_not_win_because_it_is_heard_of_later() {
    let mut world = World::new();
    let new = running("new", "web-2", 50.0, X);
    let old = running("old", "web-1", 10.0, X).ends(45.0);
    world.at(51.1).applied(&new).at(52.0).replayed(&old);
    world.at(80.0).confirmed(&new).alive();
    world.says(
        X,
        &[
            (30.0, "certain old"),
            (43.9, "certain old"),
            (48.0, "ambiguous old"),
            (60.0, "certain new"),
            (78.0, "certain new"),
        ],
    );
}

#[test]
fn namesakes_in_two_namespaces_are_strangers() {
    let mut world = World::new();
    let a = running("a", "db-0", 10.0, X);
    let mut b = running("b", "db-0", 12.0, Y);
    b.0.pod.namespace = "bank".into();
    world.at(11.1).applied(&a).at(13.1).applied(&b).at(40.0).confirmed(&a).confirmed(&b);
    world.says(X, &[(30.0, "certain a")]);
    world.says(Y, &[(30.0, "certain b")]);
}
