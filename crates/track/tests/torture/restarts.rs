//! The tracker is killed and started again.

use podtrail_watch::Delta;

use crate::harness::{World, address, running, t};

const X: &str = "10.0.0.1";
const Y: &str = "10.0.0.2";

#[test]
fn each_pod_is_created_once_however_often_the_tracker_starts() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a);
    for at in [20.0, 30.0] {
        world.restart().at(at).replayed(&a.clone().label("at", &at.to_string()));
    }
    world.restart().at(40.0).list(Some(30.0), std::slice::from_ref(&a));
    world.restart().at(50.0).deleted(&a.clone().deleting(48.0, 1).ends(49.0));
    world.restart().at(60.0).deleted(&a.deleting(48.0, 1).ends(49.0));
    assert_eq!(world.told("a"), ["address-assigned 10.0.0.1", "created", "address-released 10.0.0.1", "deleted"]);
}

/// The end of what was seen is not the end of what is known.
#[test]
fn five_seconds_of_downtime_make_answers_about_before_no_vaguer() {
    let tell = |down: bool| {
        let mut world = World::new();
        let (a, b) = (running("a", "web-1", 10.0, X), running("b", "web-2", 10.0, Y));
        world.at(11.1).applied(&a).applied(&b);
        // Both end while nobody may be looking: one finishes, one is deleted.
        let (a, b) = (a.ends(42.0), b.deleting(41.0, 30));
        let c = running("c", "web-3", 44.0, X);
        if down {
            world.at(40.0).alive().restart();
            world.at(45.5).replayed(&b).replayed(&a).replayed(&b.clone().ends(43.0)).replayed(&c);
        } else {
            world
                .at(41.1)
                .applied(&b)
                .at(42.1)
                .applied(&a)
                .at(43.5)
                .applied(&b.clone().ends(43.0))
                .at(45.5)
                .applied(&c);
        }
        world.at(50.0).alive().at(60.0).confirmed(&c).alive();
        let ask = |ip, at: f64| (ip, at, world.owner(ip, at));
        [ask(X, 30.0), ask(X, 39.9), ask(X, 40.9), ask(Y, 30.0), ask(Y, 39.9), ask(Y, 41.9), ask(X, 50.0)]
    };
    let (watched, down) = (tell(false), tell(true));
    assert_eq!(watched, down);
    assert!(watched.iter().all(|(_, _, answer)| answer.starts_with("certain")), "{watched:?}");
}

#[test]
fn resumed_watch_leaves_no_gap() {
    let mut world = World::new();
    world.at(40.0).alive().restart().at(45.0).alive().at(50.0).alive();
    world.says(X, &[(20.0, "nobody"), (42.0, "nobody"), (48.0, "nobody")]);
    assert_eq!(world.gaps(), 0);
}

#[test]
fn what_was_stored_is_no_sign_of_watching_now() {
    let mut world = World::new();
    world.at(40.0).alive();
    assert_eq!(world.tracker.watched_until("pods"), Some(t(40.0)));
    world.restart();
    assert_eq!((world.tracker.covered_until("pods"), world.tracker.watched_until("pods")), (Some(t(40.0)), None));
    world.at(45.0).alive();
    assert_eq!(world.tracker.watched_until("pods"), Some(t(45.0)));
}

/// P-C11: the deletion is told after the start, once.
#[test]
fn pod_deleted_while_the_tracker_was_down_is_told_of_afterwards() {
    for resumed in [true, false] {
        let mut world = World::new();
        let a = running("a", "web-1", 10.0, X);
        world.at(11.1).applied(&a).at(20.0).confirmed(&a).alive().restart().at(60.0);
        if resumed {
            world.deleted(&a.deleting(38.0, 30).ends(39.0));
        } else {
            world.list(Some(20.0), &[]);
        }
        assert_eq!(world.told("a"), ["address-assigned 10.0.0.1", "created", "address-released 10.0.0.1", "deleted"]);
        assert_eq!(world.events("a").pop().unwrap().addresses, [address(X)]);
    }
}

#[test]
fn ordinals_go_on_after_a_restart() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    world.at(11.1).applied(&a).at(30.2).applied(&a.clone().shows(&[Y]).runs(30.0)).restart();
    world.at(50.2).applied(&a.clone().runs(50.0)).restart();
    world.at(70.2).applied(&a.shows(&[Y]).runs(70.0));
    let claims: Vec<_> = world.claims("a").iter().map(|claim| (claim.ip.to_string(), claim.ordinal)).collect();
    assert_eq!(claims, [(X.to_owned(), 0), (Y.to_owned(), 0), (X.to_owned(), 1), (Y.to_owned(), 1)]);
}

/// The object of a finished pod shows its address still; that it was given away was known before the restart.
#[test]
fn address_given_away_is_not_begun_again_after_a_restart() {
    let stories: [fn(crate::harness::Shown) -> crate::harness::Shown; 2] = [|a| a.ends(20.0), |a| a.deleting(20.0, 30)];
    for over in stories {
        let mut world = World::new();
        let a = running("a", "job-1", 10.0, X);
        world.at(11.1).applied(&a);
        let a = over(a);
        world.at(20.2).applied(&a);
        let b = running("b", "web-1", 30.0, X);
        world.at(31.1).applied(&b).restart();
        let told = world.told("a");
        world.at(40.0).applied(&a.clone().label("seen-by", "a controller"));
        assert_eq!(world.told("a"), told, "nothing new has happened to it");
        world.at(50.0).deleted(&a).at(60.0).confirmed(&b);
        assert_eq!(world.told("a").len(), 4);
        assert_eq!(world.claims("a").len(), 1);
        world.says(X, &[(15.0, "certain a"), (40.0, "certain b"), (55.0, "certain b")]);
    }
}

#[test]
fn deletion_told_after_a_restart_shows_the_addresses_that_the_pod_had_last() {
    let mut world = World::new();
    let a = running("a", "job-1", 10.0, X);
    world.at(11.1).applied(&a).at(15.0).applied(&a.clone().shows(&[Y]).runs(14.0));
    let done = a.shows(&[Y]).runs(14.0).ends(20.0);
    world.at(20.2).applied(&done);
    let b = running("b", "web-1", 30.0, Y);
    world.at(31.1).applied(&b).restart();
    world.at(60.0).list(Some(32.0), &[b]);
    let last = world.events("a").pop().unwrap();
    assert_eq!((last.event.as_str(), last.addresses), ("deleted", vec![address(Y)]));
}

/// The stored version of a pod may be older than what the watch had reached: that is no divergence.
#[test]
fn confirmation_after_a_restart_agrees_with_what_was_watched_before_it() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    // The last change is of nothing that is stored.
    world.at(11.1).applied(&a).at(12.0).applied(&a).restart().at(40.0).alive();
    world.confirmed(&a);
    assert_eq!(world.tracker.counts().divergences, 0);
    world.says(X, &[(30.0, "certain a")]);
}

/// What was taken but not committed comes again.
#[test]
fn frames_that_come_again_after_a_kill_say_nothing_twice() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, X);
    let object = podtrail_watch::PodState { resource_version: 500, ..a.0.clone() };
    let frame = |live| Delta::Applied { object: object.clone(), received: t(11.1), live };
    // Taken, and killed before the commit.
    let store = world.store.take().unwrap();
    world.tracker.pods(frame(true), t(11.1), &store).unwrap();
    world.store = Some(store);
    world.restart();
    assert!(world.records().is_empty());
    world.at(12.0).take(frame(false)).take(frame(false)).restart().take(frame(false));
    assert_eq!(world.told("a"), ["address-assigned 10.0.0.1", "created"]);
}

/// Said to be gone, its end not known, and back: after a restart it is not given its old claims again.
#[test]
fn pod_that_went_and_came_back_has_one_claim_of_an_address() {
    for ip in [X, Y] {
        let mut world = World::new();
        let a = running("a", "web-1", 10.0, X);
        world.at(11.1).applied(&a).at(40.0).list(Some(30.0), &[]);
        world.at(45.0).bookmark(150).at(50.0).list(Some(45.0), std::slice::from_ref(&a)).restart();
        let a = a.shows(&[ip]).runs(59.0);
        world.at(60.0).applied(&a).at(70.0).confirmed(&a).alive();
        world.says(ip, &[(65.0, "certain a")]);
        world.at(80.0).deleted(&a.deleting(78.0, 1).ends(79.0)).at(90.0).alive();
        world.says(ip, &[(85.0, "nobody")]);
        let released = world.told("a").iter().filter(|told| told.starts_with("address-released")).count();
        let assigned = world.told("a").iter().filter(|told| told.starts_with("address-assigned")).count();
        assert_eq!((released, assigned), if ip == X { (2, 2) } else { (3, 3) });
    }
}
