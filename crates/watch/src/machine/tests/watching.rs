use super::*;

#[test]
fn a_checkpoint_is_resumed_without_a_gap() {
    let mut driven = Driven::new(Config::default(), Some(("100", -50.0)));
    driven.watch(100, 0.0);
    assert_eq!(driven.event(applied("a", 101), 0.1), Flow::Continue);
    let expected = [
        Delta::Connected { at: wall(0.0) },
        Delta::Applied { object: pod("a", 101), received: wall(0.1), live: false },
    ];
    assert_eq!(driven.take(), expected);
}

#[test]
fn a_stream_is_live_once_it_has_caught_up() {
    let lives = |driven: &mut Driven| -> Vec<bool> {
        let live = |delta| match delta {
            Delta::Applied { live, .. } | Delta::Deleted { live, .. } => Some(live),
            _ => None,
        };
        driven.take().into_iter().filter_map(live).collect()
    };
    let mut driven = Driven::watching();
    ignore(driven.event(applied("a", 101), 2.1));
    assert_eq!((driven.machine.deadline(), lives(&mut driven)), (now(3.1).mono, vec![false]));
    ignore(driven.idle(3.1));
    ignore(driven.event(applied("a", 102), 3.2));
    assert_eq!(lives(&mut driven), [true]);

    let mut driven = Driven::watching();
    ignore((driven.event(bookmark(101), 2.1), driven.event(Event::Deleted(pod("a", 102)), 2.2)));
    assert_eq!(lives(&mut driven), [true]);

    // A stamp of the API server that is near to now.
    for (created, deletion, grace, live) in [
        (Some(1.0), None, 0, true),
        (Some(-1.0), None, 0, false),
        (Some(-900.0), Some(32.0), 30, true),
        (Some(-900.0), Some(32.0), 0, false),
    ] {
        let mut driven = Driven::watching();
        let mut fresh = pod("a", 101);
        fresh.pod.created = created.map(wall);
        fresh.pod.deletion = deletion.map(wall);
        fresh.grace = Some(Duration::from_secs(grace));
        ignore((driven.event(Event::Applied(fresh), 2.5), driven.event(applied("b", 102), 2.6)));
        assert_eq!(lives(&mut driven), [live, live]);
    }

    // A consumer that was busy for long: what came meanwhile is not dated by when it is read.
    let mut driven = Driven::live();
    driven.machine.arrived(now(4.0));
    driven.machine.settled(now(6.5));
    ignore(driven.event(applied("a", 101), 6.6));
    assert_eq!(lives(&mut driven), [false]);

    // A new connection has to catch up anew.
    let mut driven = Driven::live();
    driven.end(End::Clean, 4.0);
    driven.watch(100, 4.0);
    ignore(driven.event(applied("a", 101), 4.1));
    assert_eq!(lives(&mut driven), [false]);
}

#[test]
fn silence_is_said_at_each_heartbeat_once_caught_up() {
    let mut driven = Driven::watching();
    assert_eq!(driven.machine.deadline(), now(3.0).mono);
    ignore(driven.idle(2.9));
    assert_eq!(driven.take(), []);
    for at in [3.0, 3.5, 4.0] {
        assert_eq!(driven.machine.deadline(), now(at).mono);
        assert_eq!(driven.idle(at), Flow::Continue);
        assert_eq!(driven.take(), [Delta::Alive { since: Some(wall(2.0)), at: wall(at) }]);
    }
    ignore(driven.event(applied("a", 101), 4.4));
    assert_eq!(driven.machine.deadline(), now(4.9).mono);
    driven.out.clear();
    ignore(driven.idle(4.9));
    assert_eq!(driven.take(), [Delta::Alive { since: None, at: wall(4.9) }]);
}

#[test]
fn a_silent_watch_is_dead_at_last() {
    let mut driven = Driven::live();
    assert_eq!(driven.idle(91.9), Flow::Continue);
    driven.out.clear();
    assert_eq!(driven.idle(92.0), Flow::Close);
    assert!(driven.disconnected().0.contains("90s"));
    driven.watch(100, 93.0);
}

#[test]
fn a_watch_that_ends_in_good_order_is_resumed_at_once_from_the_last_version() {
    let mut driven = Driven::live();
    ignore((driven.event(applied("a", 105), 4.0), driven.event(bookmark(110), 4.5)));
    driven.out.clear();
    driven.end(End::Clean, 5.0);
    assert_eq!((driven.take(), driven.machine.wait()), (vec![], Duration::ZERO));
    driven.watch(110, 5.0);

    // One that brought something is worth it, however short; one that did not is so only once.
    ignore(driven.event(applied("a", 111), 5.1));
    driven.end(End::Clean, 5.2);
    assert_eq!(driven.machine.wait(), Duration::ZERO);
    driven.watch(111, 5.2);
    driven.out.clear();
    driven.end(End::Clean, 5.3);
    assert_eq!((driven.take().pop(), driven.machine.wait()), (None, Duration::ZERO));
    driven.watch(111, 5.3);
    driven.end(End::Clean, 5.4);
    assert!(driven.disconnected().1 >= Duration::from_millis(100));
}

#[test]
fn failures_back_off_with_jitter_up_to_the_cap_and_forever() {
    type Fail = fn(&mut Driven, f64);
    let fails: [(&str, Fail); 5] = [
        ("429", |d, at| d.refused(429, at)),
        ("500", |d, at| d.refused(500, at)),
        ("403", |d, at| d.refused(403, at)),
        ("unreachable", |d, at| d.machine.failed("no route".into(), now(at), &mut d.out)),
        ("cut", |d, at| {
            d.machine.opened(now(at), &mut d.out);
            d.end(End::Cut("reset".into()), at);
        }),
    ];
    for (name, fail) in fails {
        let mut driven = Driven::live();
        let mut waits = Vec::new();
        for n in 0..40 {
            driven.ask(f64::from(n));
            fail(&mut driven, f64::from(n));
            waits.push(driven.disconnected().1);
        }
        for (n, wait) in (0..).zip(&waits) {
            let most = Duration::from_millis(200).saturating_mul(2_u32.saturating_pow(n)).min(5 * SECOND);
            assert!((most / 2..=most).contains(wait), "{name} {n}: {wait:?}");
        }
        assert!(waits[30..].windows(2).any(|w| w[0] != w[1]), "{name}: jitter");
        // Progress forgets them.
        driven.watch(100, 50.0);
        ignore(driven.event(applied("a", 101), 50.1));
        driven.end(End::Cut("reset".into()), 50.2);
        assert!(driven.disconnected().1 <= Duration::from_millis(200), "{name}");
    }
}

#[test]
fn retry_after_is_honoured_within_reason() {
    for (asked, least, most) in [(7, 7, 7), (0, 0, 1), (86_400, 300, 300)] {
        let mut driven = Driven::live();
        driven.machine.request(now(4.0));
        let asked = Some(Duration::from_secs(asked));
        driven.machine.refused(&answer(429), asked, now(4.0), &mut driven.out);
        let (reason, wait) = driven.disconnected();
        assert!(wait >= least * SECOND && wait <= most * SECOND, "{wait:?}");
        assert_eq!(reason, "the API server answered 429: no");
    }
}

#[test]
fn error_frames_other_than_410_are_cuts() {
    let mut driven = Driven::live();
    assert_eq!(driven.event(Event::Failed(answer(500)), 4.0), Flow::Close);
    assert!(driven.disconnected().0.contains("500"));
    driven.watch(100, 5.0);
}

#[test]
fn duplicates_and_older_frames_are_dropped() {
    let mut driven = Driven::live();
    for (event, expected) in [
        (applied("a", 105), Some(Delta::Applied { object: pod("a", 105), received: wall(4.0), live: true })),
        (applied("a", 105), Some(Delta::Duplicate { received: wall(4.0) })),
        // Another object at the same version is no duplicate.
        (applied("b", 105), Some(Delta::Applied { object: pod("b", 105), received: wall(4.0), live: true })),
        (applied("a", 104), None),
        (
            Event::Deleted(pod("a", 106)),
            Some(Delta::Deleted { object: pod("a", 106), received: wall(4.0), live: true }),
        ),
        (bookmark(106), Some(Delta::Bookmark { resource_version: "106".into(), received: wall(4.0) })),
        (applied("c", 106), Some(Delta::Duplicate { received: wall(4.0) })),
    ] {
        assert_eq!(driven.event(event, 4.0), Flow::Continue);
        match (driven.take().pop(), expected) {
            (Some(Delta::Rejected(rejected)), None) => {
                assert_eq!(rejected.key.as_deref(), Some("n/a"));
                assert_eq!((rejected.reason.as_str(), rejected.excerpt.as_str()), ("version 104 after 105", "raw"));
            }
            (said, expected) => assert_eq!(said, expected),
        }
    }
    driven.end(End::Clean, 5.0);
    driven.watch(106, 5.0);
}

#[test]
fn a_history_that_went_back_in_the_watch_is_listed_again() {
    let mut driven = Driven::live();
    assert_eq!(driven.event(bookmark(50), 4.0), Flow::Close);
    assert!(matches!(driven.take()[..], [Delta::Rejected(_)]));
    driven.list(150, 5.0);
    assert_eq!(driven.gap().2, "the history went back: a bookmark of version 50 after 100");

    let mut driven = Driven::live();
    let flows: Vec<_> = (0..8).map(|n| driven.event(applied("a", 10 + n), 4.0)).collect();
    assert_eq!(flows.iter().position(|flow| *flow == Flow::Close), Some(7));
    assert!(driven.take().iter().all(|d| matches!(d, Delta::Rejected(_))));
}

#[test]
fn an_undecodable_frame_is_a_cut_the_first_time_and_a_gap_the_second() {
    let mut driven = Driven::live();
    ignore(driven.event(applied("a", 105), 4.0));
    driven.out.clear();
    assert_eq!(driven.undecodable(None, 4.1), Flow::Close);
    assert!(driven.disconnected().0.contains("cannot be used: not a watch event"));
    driven.watch(105, 5.0);
    driven.out.clear();
    assert_eq!(driven.undecodable(Some("n/a"), 5.1), Flow::Close);
    assert_eq!(driven.take(), [Delta::Rejected(bad(Some("n/a")))]);
    driven.list(200, 6.0);
    let (from, to, reason, after) = driven.gap();
    assert_eq!((from, to, after.as_str()), (4.0, 6.5, "105"));
    assert_eq!(reason, "a frame of the watch cannot be used: not a watch event");

    // From another version it is the first time again.
    driven.watch(200, 7.0);
    assert_eq!(driven.undecodable(None, 7.1), Flow::Close);
    driven.disconnected();
    driven.watch(200, 8.0);
    ignore(driven.event(applied("a", 201), 8.1));
    assert_eq!(driven.undecodable(None, 8.2), Flow::Close);
    driven.disconnected();
}
