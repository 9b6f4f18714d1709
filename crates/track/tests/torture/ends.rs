//! When a pod ceases to hold its address.

use crate::harness::{World, pod, running, within};

const X: &str = "10.0.0.1";
const V6: &str = "fd00::1";

/// mermin#487, azure#1066: a pod that terminates still sends.
#[test]
fn terminating_pod_still_holds_its_address() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a);
    let a = a.deleting(50.0, 30);
    world.at(50.2).applied(&a).at(65.0).alive();
    world.says(X, &[(48.9, "certain a"), (55.0, "ambiguous a"), (63.0, "ambiguous a")]);
    world.at(71.0).deleted(&a.ends(70.0)).at(75.0).alive();
    // Its last word dates its end: until then it had it.
    world.says(X, &[(55.0, "certain a"), (68.9, "certain a"), (70.0, "ambiguous a"), (72.5, "nobody")]);
}

#[test]
fn deadline_of_a_deletion_is_not_its_end() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a);
    // An hour of grace; then the deadline passes, and the kubelet is late.
    let a = a.deleting(50.0, 3600);
    world.at(50.2).applied(&a).at(3700.0).alive();
    world.says(X, &[(60.0, "ambiguous a"), (3660.0, "ambiguous a"), (3690.0, "ambiguous a")]);
}

#[test]
fn forced_deletion_leaves_the_end_open_until_the_address_is_used_again() {
    let mut world = World::new();
    let a = running("a", "db-0", 10.0, X);
    world.at(11.1).applied(&a).at(38.0).confirmed(&a);
    // `kubectl delete --force`: the object goes at once, what its node does is not known.
    world.at(40.1).deleted(&a.deleting(40.0, 0)).at(100.0).alive();
    world.says(X, &[(30.0, "certain a"), (50.0, "ambiguous a"), (95.0, "ambiguous a")]);
    let end = world.claim("a", X).interval.end().unwrap();
    within(end, 36.0..=40.0, None);
    assert_eq!(world.told("a"), ["address-assigned 10.0.0.1", "created", "address-released 10.0.0.1", "deleted"]);

    let b = running("b", "db-0", 120.0, X);
    world.at(121.1).applied(&b).at(140.0).confirmed(&b).alive();
    world.says(X, &[(30.0, "certain a"), (95.0, "ambiguous a"), (121.0, "ambiguous a b"), (130.0, "certain b")]);
    let at_95 = world.reply(X, 95.0);
    within(at_95.answer.named()[0].end.unwrap(), 36.0..=40.0, Some(121.0..=123.0));
}

/// One whose deletion had only been asked for may have been forced away before it was over.
#[test]
fn removal_that_was_not_seen_ends_only_what_had_ended() {
    let a = || running("a", "web-1", 10.0, X);
    let cases = [
        ("ran", a(), "ambiguous a"),
        ("was to end", a().deleting(30.0, 30), "ambiguous a"),
        ("had ended", a().ends(30.0), "nobody"),
        ("was to end and had", a().deleting(30.0, 30).ends(30.0), "nobody"),
    ];
    for (what, last, after) in &cases {
        for way in ["listing", "listing after a restart", "GET", "its name's next bearer"] {
            // Why it may end is not stored, only that it may.
            let after = if way.contains("restart") { "ambiguous a" } else { after };
            let mut world = World::new();
            world.at(11.1).applied(&a()).at(31.1).applied(last).at(35.0).alive();
            match way {
                "listing" => world.at(40.0).list(Some(35.0), &[]),
                "listing after a restart" => world.restart().at(40.0).list(Some(35.0), &[]),
                "GET" => {
                    assert!(world.at(38.0).alive().got("a", None));
                    assert!(!world.at(40.0).alive().got("a", None));
                    &mut world
                }
                _ => world.at(40.0).applied(&pod("b", "web-1", 39.0)),
            };
            assert_eq!(world.told("a").last().unwrap(), "deleted", "{what}, {way}");
            assert_eq!(world.at(60.0).alive().owner(X, 55.0), after, "{what}, {way}");
        }
    }
}

#[test]
fn halves_of_a_dual_stack_pod_are_released_apart() {
    let mut world = World::new();
    let a = pod("a", "web-1", 10.0).shows(&[X, V6]).runs(11.0);
    world.at(11.1).applied(&a).at(30.0).confirmed(&a);
    let half = a.shows(&[X]);
    world.at(40.0).applied(&half).at(60.0).confirmed(&half).alive();
    world.says(X, &[(20.0, "certain a"), (50.0, "certain a")]);
    world.says(V6, &[(20.0, "certain a"), (35.0, "ambiguous a"), (50.0, "nobody")]);
    world.at(70.0).deleted(&half.deleting(65.0, 30).ends(69.0)).at(80.0).alive();
    world.says(X, &[(67.0, "certain a"), (75.0, "nobody")]);
    assert_eq!(
        world.told("a"),
        [
            "address-assigned 10.0.0.1",
            "address-assigned fd00::1",
            "created",
            "address-released fd00::1",
            "address-released 10.0.0.1",
            "deleted"
        ]
    );
}

/// antrea `Test_GetPodByIPAndTime`: by either address of a dual-stack pod, and not at other times.
#[test]
fn either_address_finds_a_dual_stack_pod_at_its_time_only() {
    let mut world = World::new();
    let a = pod("a", "web-1", 10.0).shows(&[X, V6]).runs(11.0);
    world.at(11.1).applied(&a).at(30.0).confirmed(&a);
    world.at(42.0).deleted(&a.deleting(40.0, 30).ends(41.0)).at(60.0).alive();
    for address in [X, V6] {
        // A tool that takes the only candidate whatever the time says `a` at 5 and at 50 too.
        world.says(address, &[(5.0, "nobody"), (20.0, "certain a"), (50.0, "nobody")]);
    }
    world.says("10.0.0.9", &[(20.0, "nobody")]);
}

#[test]
fn object_that_outlives_its_address_does_not_prolong_it() {
    let mut world = World::new();
    let a = running("a", "job-1", 10.0, X);
    world.at(11.1).applied(&a);
    let done = a.ends(20.0);
    world.at(20.2).applied(&done);
    for at in [30.0, 60.0, 90.0] {
        world.at(at).confirmed(&done).alive();
    }
    world.says(X, &[(15.0, "certain a"), (18.9, "certain a"), (25.0, "ambiguous a"), (85.0, "ambiguous a")]);
    within(world.claim("a", X).interval.end().unwrap(), 19.0..=19.0, None);
}

/// What evicted a pod does not always say when: nothing is made up.
#[test]
fn evicted_pod_without_any_stamp_may_have_ended_at_any_time_since_it_was_seen() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a).at(30.0).confirmed(&a);
    let mut evicted = a.clone();
    evicted.0.phase = podtrail_watch::Phase::Failed;
    (evicted.0.running_since, evicted.0.running) = (None, false);
    world.at(50.0).applied(&evicted).at(60.0).alive();
    world.says(X, &[(28.0, "certain a"), (40.0, "ambiguous a"), (58.0, "ambiguous a")]);
    world.at(70.0).deleted(&evicted).at(80.0).alive();
    world.says(X, &[(40.0, "ambiguous a"), (75.0, "nobody")]);
}

/// A container that ends may be started again in the same sandbox, which keeps the address.
#[test]
fn crash_of_a_container_is_not_an_end() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a);
    let mut crashed = a.clone();
    crashed.0.running_since = None;
    crashed.0.finished = crate::harness::t(30.0).into();
    world.at(30.2).applied(&crashed);
    world.at(60.0).applied(&a.clone().runs(59.0)).at(90.0).confirmed(&a);
    world.says(X, &[(25.0, "certain a"), (45.0, "certain a"), (80.0, "certain a")]);
    assert_eq!(world.told("a"), ["address-assigned 10.0.0.1", "created"]);
}

/// A node is gone, and the control plane says so for it: the pods fail, and are removed by force.
#[test]
fn phase_that_the_kubelet_did_not_give_is_no_end() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a).at(38.0).confirmed(&a);
    let mut failed = a;
    failed.0.phase = podtrail_watch::Phase::Failed;
    world.at(40.0).applied(&failed).at(40.1).deleted(&failed.deleting(40.0, 0)).at(100.0).alive();
    world.says(X, &[(30.0, "certain a"), (50.0, "ambiguous a"), (95.0, "ambiguous a")]);
}

/// An annotation that is no JSON any more, an address that is none: what cannot be read is not gone.
#[test]
fn addresses_that_can_no_longer_be_read_may_still_be_held() {
    const SECOND: &str = "team-a/storage 192.168.7.4";
    let mut world = World::new();
    let a = pod("a", "web-1", 10.0).shows(&[X, SECOND]).runs(11.0);
    world.at(11.1).applied(&a).at(30.0).confirmed(&a);
    let mut spoilt = a.clone().shows(&[X]);
    spoilt.0.addresses_spoilt = true;
    world.at(40.0).applied(&spoilt).at(60.0).confirmed(&spoilt).alive();
    world.says(SECOND, &[(20.0, "certain a"), (50.0, "ambiguous a")]);
    world.says(X, &[(50.0, "certain a")]);
    assert_eq!(world.told("a").len(), 3, "nothing was released");
    // It can be read again.
    world.at(70.0).applied(&a).at(80.0).confirmed(&a).alive();
    world.says(SECOND, &[(50.0, "certain a"), (75.0, "certain a")]);
    assert_eq!(world.claims("a").len(), 2);
    // And is gone.
    world.at(90.0).applied(&a.shows(&[X])).at(100.0).alive();
    world.says(SECOND, &[(95.0, "nobody")]);
}
