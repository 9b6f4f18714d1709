//! One address, one pod after the other.

use crate::harness::{World, pod, running, within};

const X: &str = "10.0.0.1";

/// antrea#8030, k8s#98611: the object of a finished job shows its address for as long as it exists.
#[test]
fn job_pod_that_succeeded_does_not_keep_the_address_from_its_next_holder() {
    let mut world = World::new();
    let job = running("job", "job-1", 10.0, X);
    world.at(11.2).applied(&job);
    let done = job.ends(30.0);
    world.at(30.4).applied(&done).at(34.0).alive();
    world.says(X, &[(20.0, "certain job"), (32.0, "ambiguous job")]);

    let web = running("web", "web-1", 35.0, X);
    world.at(36.3).applied(&web);
    world.at(40.0).applied(&done.clone().label("seen-by", "ttl-controller"));
    world.at(60.0).confirmed(&web).at(63.0).alive();
    world.says(
        X,
        &[
            (20.0, "certain job"),
            (35.5, "ambiguous job web"),
            (40.0, "certain web"),
            (58.5, "certain web"),
            (61.0, "presumed web"),
        ],
    );
    // The job's object goes long after: that says nothing of the address.
    world.at(70.0).deleted(&done.label("seen-by", "ttl-controller")).at(90.0).confirmed(&web);
    world.says(X, &[(20.0, "certain job"), (69.9, "certain web"), (80.0, "certain web")]);
    assert_eq!(world.told("job"), ["address-assigned 10.0.0.1", "created", "address-released 10.0.0.1", "deleted"]);
}

/// otel#42978: a delayed removal of the old holder took the new one with it.
#[test]
fn delete_grace_of_the_old_holder_does_not_remove_the_newcomer() {
    let mut world = World::new();
    let old = running("old", "web-1", 10.0, X);
    world.at(11.1).applied(&old);
    let old = old.deleting(40.0, 30);
    world.at(40.1).applied(&old).at(50.0).deleted(&old.clone().ends(49.0));
    let new = running("new", "web-2", 50.0, X);
    world.at(52.0).applied(&new);
    // Everything that may still be said of the old one is said.
    world.deleted(&old.clone().ends(49.0)).applied(&old).at(81.0).alive();
    world.at(100.0).confirmed(&new).at(103.0).alive();
    world.says(
        X,
        &[
            (39.0, "certain old"),
            (47.9, "certain old"),
            (60.0, "certain new"),
            (98.5, "certain new"),
            (101.5, "presumed new"),
        ],
    );
    assert_eq!(world.told("new"), ["address-assigned 10.0.0.1", "created"]);
}

/// vpc-cni#1127: after a restart of the address manager an address is handed out again at once.
#[test]
fn address_handed_out_again_at_once_is_never_given_to_the_wrong_pod() {
    let mut world = World::new();
    let old = running("old", "web-1", 10.0, X);
    world.at(11.1).applied(&old);
    let old = old.deleting(40.0, 30);
    // Gone at 45.0, and given away in the same second to a pod that had waited since 39.
    let new = pod("new", "web-2", 39.0);
    world.at(39.5).applied(&new).at(40.1).applied(&old);
    world.at(45.1).deleted(&old.clone().ends(45.0));
    let new = new.shows(&[X]).runs(45.0);
    world.at(45.6).applied(&new).at(70.0).confirmed(&new).alive();
    world.says(
        X,
        &[
            (30.0, "certain old"),
            (43.9, "certain old"),
            (44.9, "ambiguous new old"),
            (45.3, "ambiguous new old"),
            (50.0, "certain new"),
        ],
    );
}

#[test]
fn address_reused_within_one_poll_interval_is_told_apart_by_the_stamps() {
    let mut world = World::new();
    let old = running("old", "web-1", 10.0, X);
    world.at(11.1).applied(&old).at(20.0).confirmed(&old);
    // Between two looks the one has gone and the other has come, with nothing of it seen.
    let new = running("new", "web-2", 31.0, X);
    world.at(60.0).list(Some(20.0), std::slice::from_ref(&new));
    world.at(90.0).confirmed(&new);
    world.says(
        X,
        &[
            (18.0, "certain old"),
            (25.0, "unknown old"),
            (33.0, "unknown new old"),
            (40.0, "certain new"),
            (80.0, "certain new"),
        ],
    );
    assert_eq!(world.gaps(), 1);
}

#[test]
fn address_that_moves_between_nodes_goes_with_its_pods() {
    let mut world = World::new();
    let a = running("a", "db-0", 10.0, X).on("n1");
    world.at(11.1).applied(&a).at(20.0).deleted(&a.clone().deleting(15.0, 30).ends(19.0));
    let b = running("b", "db-0", 21.0, X).on("n2");
    world.at(22.1).applied(&b).at(40.0).confirmed(&b);
    world.says(X, &[(17.0, "certain a"), (30.0, "certain b")]);
    let claim = |at| world.reply(X, at).answer.named()[0].clone();
    assert_eq!((claim(17.0).node.as_str(), claim(30.0).node.as_str()), ("n1", "n2"));
}

#[test]
fn secondary_network_with_an_overlapping_range_is_another_address() {
    let mut world = World::new();
    let (red, blue) = ("shop/red 10.0.0.1", "shop/blue 10.0.0.1");
    let a = running("a", "web-1", 10.0, X);
    let b = pod("b", "web-2", 10.0).shows(&["10.0.0.2", red]).runs(11.0);
    let c = pod("c", "web-3", 10.0).shows(&["10.0.0.3", blue]).runs(11.0);
    for shown in [&a, &b, &c] {
        world.at(12.0).applied(shown);
    }
    for shown in [&a, &b, &c] {
        world.at(30.0).confirmed(shown);
    }
    for (address, owner) in [(X, "certain a"), (red, "certain b"), (blue, "certain c")] {
        world.says(address, &[(20.0, owner)]);
    }
    world.at(40.0).deleted(&b.deleting(38.0, 1).ends(39.0)).at(60.0).confirmed(&a).confirmed(&c).alive();
    for (address, owner) in [(X, "certain a"), (red, "nobody"), (blue, "certain c")] {
        world.says(address, &[(50.0, owner)]);
    }
}

/// A network may be attached long after the pod began to run: its stamps do not say since when.
#[test]
fn network_attached_to_a_running_pod_is_not_dated_back_to_its_start() {
    let mut world = World::new();
    let red = "shop/red 10.9.0.1";
    let a = pod("a", "web-1", 10.0).shows(&["10.0.0.1", red]).runs(11.0);
    let b = pod("b", "web-2", 10.0).shows(&["10.0.0.2"]).runs(11.0);
    world.at(12.0).applied(&b);
    // First seen at 100, after a gap: the network may be seconds old.
    world.at(100.0).list(Some(13.0), &[a.clone(), b]).at(120.0).confirmed(&a);
    world.says("10.0.0.1", &[(50.0, "certain a")]);
    world.says(red, &[(50.0, "unknown a"), (110.0, "certain a")]);
}

/// vpc-cni#711: two pods that run and have one address. That is a fault to be shown, not to be decided.
#[test]
fn two_live_claims_for_one_address_are_shown_both() {
    let mut world = World::new();
    let (a, b) = (running("a", "web-1", 10.0, X), running("b", "web-2", 48.0, X));
    world.at(11.1).applied(&a).at(40.0).confirmed(&a);
    world.at(49.1).applied(&b);
    world.at(100.0).confirmed(&a).confirmed(&b);
    world.says(X, &[(30.0, "certain a"), (70.0, "ambiguous a b"), (98.0, "ambiguous a b")]);
    // When one of them goes, the other is left, and what was ambiguous stays so.
    world.at(110.0).deleted(&a.deleting(108.0, 1).ends(109.0)).at(140.0).confirmed(&b);
    world.says(X, &[(30.0, "certain a"), (70.0, "ambiguous a b"), (120.0, "certain b")]);
}

/// pixie `ReusedIPs`: three pods, one after the other; nobody before the first.
#[test]
fn three_pods_one_after_the_other_each_have_their_time() {
    let mut world = World::new();
    let mut at = 10.0;
    for (uid, name) in [("a", "web-1"), ("b", "web-2"), ("c", "web-3")] {
        let shown = running(uid, name, at, X);
        world.at(at + 1.1).applied(&shown);
        world.at(at + 15.0).confirmed(&shown);
        if uid != "c" {
            world.at(at + 18.0).deleted(&shown.deleting(at + 16.0, 30).ends(at + 17.0));
        }
        at += 30.0;
    }
    world.says(
        X,
        &[
            (5.0, "nobody"),
            (20.0, "certain a"),
            (35.0, "nobody"),
            (50.0, "certain b"),
            (65.0, "nobody"),
            (80.0, "certain c"),
        ],
    );
}

/// A pod's node is cut off: the API shows its address still, while it has ended and another has the address.
#[test]
fn late_sighting_that_is_taken_back_leaves_no_bound_behind() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a).at(60.0).confirmed(&a);
    // It ended at 30 already, and its address was given to another at 40: first its kubelet tells of that one.
    let b = running("b", "web-2", 38.0, X);
    world.at(61.5).applied(&b).at(62.0).applied(&a.ends(30.0)).at(90.0).confirmed(&b).alive();
    let start = world.claim("b", X).interval.start();
    within(start, 36.0..=38.0, Some(40.0..=63.0));
    for at in [41.0, 45.0, 55.0] {
        let answer = world.owner(X, at);
        assert!(answer.starts_with("ambiguous") && answer.contains('b') || answer == "certain b", "{at}: {answer}");
    }
    world.says(X, &[(25.0, "certain a"), (70.0, "certain b")]);
}

/// Two on one address is a fault of the cluster's, or a network whose nodes each give out the same range.
#[test]
fn holder_whose_rival_came_later_and_went_first_still_holds() {
    for restart in [false, true] {
        let mut world = World::new();
        let (a, b) = (running("a", "web-1", 10.0, X), running("b", "web-2", 48.0, X));
        world.at(11.1).applied(&a).at(40.0).confirmed(&a).at(49.1).applied(&b);
        world.at(60.0).deleted(&b.deleting(58.0, 1).ends(59.0)).at(65.0).alive();
        if restart {
            world.restart();
        }
        let before = world.told("a");
        world.at(80.0).confirmed(&a).at(90.0).alive();
        world.says(X, &[(30.0, "certain a"), (75.0, "certain a"), (85.0, "presumed a")]);
        assert_eq!(world.told("a"), before);
    }
}
