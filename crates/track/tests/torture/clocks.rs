//! Clocks that differ, by more than was assumed.

use crate::harness::{World, pod, running, t, within};

const X: &str = "10.0.0.1";

/// A node whose clock is `skew` ahead: a pod of it runs at 20.3 and finishes at `end`, true time; another pod, of a node
/// with a good clock, gets the address at once.
fn tell(skew: f64, end: f64, delay: f64) -> World {
    let mut world = World::new();
    let a = pod("a", "job-1", 20.0).on("skewed");
    let b = pod("b", "web-1", end - 5.0).on("good");
    world.at(20.0 + delay).applied(&a);
    let a = a.shows(&[X]).runs(20.3 + skew);
    world.at(20.3 + delay).applied(&a);
    world.at(end - 5.0 + delay).applied(&b);
    let a = a.ends(end + skew);
    world.at(end + delay).applied(&a);
    let b = b.shows(&[X]).runs(end + 0.01);
    world.at(end + 0.01 + delay).applied(&b);
    world.at(80.0).confirmed(&b).alive();
    world
}

#[test]
fn node_clock_two_seconds_off_never_makes_an_answer_wrong() {
    for skew in [-2.0, -1.5, 1.5, 2.0] {
        for fraction in 0..10 {
            let end = 40.0 + f64::from(fraction) * 0.1;
            for delay in [0.001, 0.4] {
                let world = tell(skew, end, delay);
                // Every hundredth of a second about the two changes.
                let about = |from: f64, steps: u32| (0..steps).map(move |step| from + f64::from(step) * 0.01);
                for at in about(19.5, 300).chain(about(end - 2.0, 500)) {
                    let truth = match at {
                        at if at < 20.3 => None,
                        at if at < end => Some("a"),
                        at if at < end + 0.01 => None,
                        _ => Some("b"),
                    };
                    let answer = world.owner(X, at);
                    let named: Vec<&str> = answer.split(' ').skip(1).collect();
                    let right = match answer.split(' ').next().unwrap() {
                        "certain" | "presumed" => truth == named.first().copied(),
                        "ambiguous" => truth.is_none_or(|truth| named.contains(&truth)),
                        "nobody" => truth.is_none(),
                        _ => false,
                    };
                    assert!(right, "skew {skew}, end {end}, delay {delay}: {answer} at {at}, truth {truth:?}");
                }
                world.says(X, &[(30.0, "certain a"), (50.0, "certain b")]);
            }
        }
    }
}

#[test]
fn skew_of_a_node_is_counted_and_bounds_only_its_own_pods() {
    let mut world = World::new();
    let a = pod("a", "web-1", 20.0).on("skewed").shows(&[X]).runs(32.0);
    world.at(20.5).applied(&a);
    assert_eq!(world.tracker.counts().skews, 1, "it started 11 s after it was seen to run");
    let a = a.ends(52.0);
    world.at(40.5).applied(&a);
    assert!(world.claim("a", X).interval.end_earliest <= t(40.0));
    let b = running("b", "web-2", 20.0, "10.0.0.2").on("good");
    world.at(41.0).applied(&b).at(60.2).applied(&b.ends(60.0));
    assert_eq!(world.claim("b", "10.0.0.2").interval.end_earliest, t(59.0));
}

#[test]
fn kubelet_that_starts_a_pod_before_it_was_scheduled_is_slow() {
    let mut world = World::new();
    let mut a = pod("a", "web-1", 20.0).on("slow").shows(&[X]).runs(10.0);
    a.0.kubelet_started = Some(t(10.0));
    // Read from history: when it came says nothing, its stamps are 10 s early.
    world.at(60.0).replayed(&a);
    assert_eq!(world.tracker.counts().skews, 1);
    within(world.claim("a", X).interval.start(), 19.0..=19.0, Some(22.0..=24.0));
}

#[test]
fn static_pod_of_a_node_that_is_ahead_is_not_dated_too_late() {
    let mut world = World::new();
    // The node's clock shows 5 s more: it started at 30.
    let a = pod("a", "static", 40.0).on("ahead").mirrors(35.0).shows(&[X]).runs(45.0);
    world.at(40.2).applied(&a);
    within(world.claim("a", X).interval.start(), 27.0..=30.0, Some(41.0..=42.0));
}

#[test]
fn stamps_from_the_far_future_or_past_do_no_harm() {
    for year in [-1_000_000_000.0, 4_000_000_000.0] {
        let mut world = World::new();
        let mut a = running("a", "web-1", 20.0, X);
        a.0.pod.created = Some(t(year));
        a.0.scheduled = Some(t(year));
        a.0.running_since = Some(t(year));
        world.at(21.1).applied(&a).at(40.0).confirmed(&a).alive();
        let b = running("b", "web-2", 30.0, "10.0.0.2");
        world.at(41.0).applied(&b).at(60.0).confirmed(&b).alive();
        // Nothing is concluded from it about others.
        world.says("10.0.0.2", &[(25.0, "nobody"), (50.0, "certain b")]);
        let answer = world.owner(X, 30.0);
        assert!(["certain a", "presumed a", "ambiguous a"].contains(&&*answer), "{answer}");
    }
}

/// A static pod is scheduled by its kubelet: that stamp dates no other pod's frame.
#[test]
fn stamp_of_a_node_does_not_date_the_frames_that_follow() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a).at(30.0).alive().restart().at(100.0);
    // All of this happened at 40, and is told at 100; the static pod's node is 40 s ahead.
    let mut mirror = pod("m", "static-1", 80.0).on("skewed").shows(&["10.0.0.9"]).mirrors(80.0);
    mirror.0.pod.created = Some(t(40.0));
    world.replayed(&mirror).replayed(&a.label("seen", "x")).alive();
    assert!(world.claim("a", X).interval.end_earliest <= t(40.0));
}

#[test]
fn skew_of_a_node_is_known_after_a_restart() {
    let mut world = World::new();
    // 30 s ahead, as its first pod shows.
    let a = pod("a", "web-1", 10.0).on("skewed").shows(&[X]).runs(41.0);
    world.at(11.1).applied(&a).at(40.0).alive().restart().at(100.0);
    // It ends at 50, says its node 80, which no look at 100 gives away.
    world.replayed(&a.deleting(80.0, 1).ends(80.0)).alive();
    assert!(world.claim("a", X).interval.end_earliest <= t(50.0));
}
