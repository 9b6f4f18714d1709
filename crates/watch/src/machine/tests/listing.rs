use super::*;

#[test]
fn a_first_start_lists_and_watches_without_a_gap() {
    let mut driven = Driven::paged();
    driven.list(100, 1.0);
    let expected = [
        Delta::Connected { at: wall(1.5) },
        Delta::ListStarted { sent: wall(1.0) },
        Delta::Listed(pod("listed", 100)),
        Delta::Snapshot {
            resource_version: "100".into(),
            sent: wall(1.0),
            received: wall(1.5),
            gap: None,
            after_version: None,
        },
    ];
    assert_eq!(driven.take(), expected);
    driven.watch(100, 2.0);
    assert_eq!(driven.take(), []);
}

#[test]
fn pages_are_one_listing_dated_by_the_first() {
    let mut driven = Driven::paged();
    driven.machine.request(now(1.0));
    assert!(driven.machine.page(100, Some("a".into()), now(1.5), &mut driven.out));
    driven.machine.page_end(now(1.6), &mut driven.out);
    assert_eq!(driven.machine.request(now(2.0)), Request::Page { limit: 500, more: Some("a".into()) });
    // A page that does not come is asked for again.
    driven.machine.failed("cut".into(), now(2.5), &mut driven.out);
    assert_eq!(driven.machine.request(now(3.0)), Request::Page { limit: 500, more: Some("a".into()) });
    assert!(driven.machine.page(100, None, now(3.5), &mut driven.out));
    driven.machine.page_end(now(3.6), &mut driven.out);
    let out = driven.take();
    assert_eq!(out.iter().filter(|d| matches!(d, Delta::ListStarted { .. })).count(), 1);
    let Some(Delta::Snapshot { sent, received, .. }) = out.last() else { panic!("{out:?}") };
    assert_eq!((*sent, *received), (wall(1.0), wall(1.5)));
}

#[test]
fn an_expired_page_starts_the_listing_over_and_not_hot() {
    let mut driven = Driven::paged();
    let mut waits = Vec::new();
    for round in 0..6 {
        let at = f64::from(round) * 100.0;
        assert_eq!(driven.machine.request(now(at)), Request::Page { limit: 500, more: None });
        assert!(driven.machine.page(100, Some("a".into()), now(at + 0.5), &mut driven.out));
        driven.machine.page_end(now(at + 0.5), &mut driven.out);
        driven.machine.request(now(at + 1.0));
        driven.refused(410, at + 1.5);
        waits.push(driven.machine.wait());
    }
    assert_eq!(driven.take().iter().filter(|d| matches!(d, Delta::ListStarted { .. })).count(), 6);
    assert_eq!(waits[0], Duration::ZERO);
    assert!(waits[1..].windows(2).all(|w| w[1] > w[0] / 2) && waits[5] >= SECOND, "{waits:?}");
    // What had not been covered before is no gap.
    driven.list(100, 700.0);
    assert!(driven.take().iter().all(|d| !matches!(d, Delta::Snapshot { gap: Some(_), .. })));
}

#[test]
fn a_page_that_is_too_long_is_asked_for_in_halves() {
    let mut driven = Driven::paged();
    driven.machine.page_too_long(now(1.0), &mut driven.out);
    assert_eq!(driven.machine.request(now(1.0)), Request::Page { limit: 250, more: None });
    (0..8).for_each(|_| driven.machine.page_too_long(now(1.0), &mut driven.out));
    assert!(driven.disconnected().0.contains("max_page"));
}

/// Each way in which a server says that a version is too old, from a checkpoint that was covered until -50 s.
#[test]
fn each_form_of_410_lists_again_and_declares_the_gap() {
    type Refuse = fn(&mut Driven);
    let status: Refuse = |driven| driven.refused(410, 0.5);
    let word: Refuse = |driven| {
        let failure = Failure { reason: "Expired".into(), ..answer(400) };
        driven.machine.refused(&failure, None, now(0.5), &mut driven.out);
    };
    let in_stream: Refuse = |driven| {
        driven.machine.opened(now(0.2), &mut driven.out);
        assert_eq!(driven.event(Event::Failed(answer(410)), 0.5), Flow::Close);
    };
    let nonsense: Refuse = |driven| driven.refused(400, 0.5);
    for refuse in [status, word, in_stream, nonsense] {
        let config = Config { streaming_lists: false, ..Config::default() };
        let mut driven = Driven::new(config, Some(("100", -50.0)));
        assert_eq!(driven.machine.request(now(0.0)), Request::Watch { version: 100 });
        refuse(&mut driven);
        assert_eq!(driven.machine.wait(), Duration::ZERO);
        driven.list(900, 1.0);
        let out = driven.out.clone();
        let (from, to, reason, after) = driven.gap();
        assert_eq!((from, to, after.as_str()), (0.0, 1.5, "100"), "{reason}");
        assert!(out.iter().any(|d| matches!(d, Delta::Snapshot { gap: Some(g), .. } if g.from == wall(-50.0))));
        driven.watch(900, 2.0);
    }
}

#[test]
fn a_410_mid_list_keeps_the_gap_that_the_listing_is_for() {
    let mut driven = Driven::live();
    driven.end(End::Clean, 4.0);
    driven.machine.request(now(4.0));
    driven.refused(410, 4.1);
    driven.machine.request(now(5.0));
    assert!(driven.machine.page(200, Some("a".into()), now(5.1), &mut driven.out));
    driven.machine.page_end(now(5.2), &mut driven.out);
    driven.machine.request(now(6.0));
    driven.refused(410, 6.1);
    driven.list(210, 7.0);
    assert_eq!(driven.gap(), (4.0, 7.5, "the API server answered 410: no".into(), "100".into()));
}

#[test]
fn a_watch_that_is_always_refused_with_410_does_not_loop_hot() {
    let mut driven = Driven::live();
    let mut waits = Vec::new();
    for round in 1..=8_u32 {
        let at = f64::from(round) * 100.0;
        driven.machine.request(now(at));
        driven.refused(410, at);
        waits.push(driven.machine.wait());
        driven.list(100 + u64::from(round), at + 50.0);
    }
    assert_eq!(waits[0], Duration::ZERO);
    assert!(waits[7] > 2 * SECOND, "{waits:?}");
    let gaps = driven.take().iter().filter(|d| matches!(d, Delta::Snapshot { gap: Some(_), .. })).count();
    assert_eq!(gaps, 8);
}

#[test]
fn a_checkpoint_that_is_no_version_is_a_gap() {
    let mut driven = Driven::new(Config { streaming_lists: false, ..Config::default() }, Some(("x", 0.0)));
    driven.list(100, 1.0);
    let Some(Delta::Snapshot { gap: Some(gap), .. }) = driven.out.last() else { panic!("{:?}", driven.out) };
    assert_eq!((gap.from, gap.to), (wall(0.0), wall(1.5)));
    assert!(gap.reason.contains("checkpoint"), "{gap:?}");
}

#[test]
fn a_gap_begins_where_something_was_last_heard() {
    type Cover = fn(&mut Driven);
    let cases: &[(&str, Cover, f64)] = &[
        ("nothing came since the list was asked for", |_| {}, 1.0),
        ("a frame before it had caught up", |d| ignore(d.event(applied("a", 101), 2.5)), 1.0),
        // That nothing came was taken for that nothing happened.
        ("a heartbeat", |d| ignore(d.idle(3.5)), 1.0),
        ("a live frame", |d| ignore((d.idle(3.0), d.event(applied("a", 101), 3.7))), 3.7),
        ("a bookmark", |d| ignore(d.event(bookmark(120), 2.7)), 2.7),
        ("an end in good order after a heartbeat", |d| ignore((d.idle(3.0), d.end(End::Clean, 3.4))), 3.4),
        ("a cut after a heartbeat", |d| ignore((d.idle(3.0), d.end(End::Cut("x".into()), 3.4))), 1.0),
        (
            "a stall after a bookmark and heartbeats",
            |d| ignore((d.event(bookmark(120), 2.7), d.idle(9.0), d.idle(100.0))),
            2.7,
        ),
    ];
    for (name, cover, from) in cases {
        let mut driven = Driven::watching();
        cover(&mut driven);
        driven.machine.request(now(200.0));
        driven.refused(410, 200.0);
        driven.list(900, 201.0);
        let gap = driven.gap();
        assert!((gap.0 - from).abs() < 1e-6 && gap.1 == 201.5, "{name}: {gap:?}");
    }
}

/// etcd tells of a compaction when it gets to it, which may be after a while of silence.
#[test]
fn an_expired_watch_takes_back_what_its_silence_suggested() {
    let mut driven = Driven::new(Config { streaming_lists: false, ..Config::default() }, Some(("100", -600.0)));
    driven.watch(100, 1.0);
    assert_eq!(driven.idle(2.0), Flow::Continue);
    assert_eq!(driven.take().pop(), Some(Delta::Alive { since: Some(wall(1.0)), at: wall(2.0) }));
    assert_eq!(driven.event(Event::Failed(answer(410)), 2.5), Flow::Close);
    driven.list(900, 3.0);
    assert_eq!(
        driven.take().into_iter().find_map(|delta| match delta {
            Delta::Snapshot { gap, .. } => gap.map(|gap| (gap.from, gap.to)),
            _ => None,
        }),
        Some((wall(-600.0), wall(3.5)))
    );
}

/// After etcd was restored from a backup, a watch from a version that is still to come brings nothing, not even
/// bookmarks.
#[test]
fn watches_that_stay_silent_twice_are_followed_by_a_listing() {
    let mut driven = Driven::watching();
    ignore(driven.event(bookmark(120), 2.7));
    for (at, again) in [(100.0, Request::Watch { version: 120 }), (200.0, Request::Page { limit: 500, more: None })] {
        assert_eq!(driven.idle(at), Flow::Close);
        assert_eq!(driven.machine.request(now(at + 1.0)), again);
        driven.machine.opened(now(at + 1.0), &mut driven.out);
    }
    // A bookmark in between says that all is well.
    let mut driven = Driven::watching();
    for at in [100.0, 300.0, 500.0] {
        assert_eq!(driven.idle(at), Flow::Close);
        driven.watch(120.min(driven.machine.last.unwrap()), at + 1.0);
        ignore(driven.event(bookmark(120), at + 2.0));
    }
}

#[test]
fn a_listing_of_an_earlier_version_is_believed_at_the_fourth_time() {
    let mut driven = Driven::live();
    driven.machine.request(now(4.0));
    driven.refused(410, 4.0);
    for n in 0..3 {
        let at = 5.0 + f64::from(n);
        driven.machine.request(now(at));
        assert!(!driven.machine.page(50, None, now(at), &mut driven.out));
        assert!(driven.disconnected().0.contains("version 50 after 100"));
    }
    driven.list(50, 9.0);
    assert_eq!(
        driven.gap(),
        (1.0, 9.5, "the history went back: a listing of version 50 after 100".into(), "100".into())
    );
    driven.watch(50, 10.0);
    assert_eq!(driven.event(applied("a", 51), 10.1), Flow::Continue);
    assert!(matches!(driven.take().pop(), Some(Delta::Applied { .. })));
}

#[test]
fn a_streaming_list_ends_with_its_bookmark_and_goes_on_as_a_watch() {
    let mut driven = Driven::new(Config::default(), None);
    assert_eq!(driven.machine.request(now(1.0)), Request::StreamingList);
    driven.machine.opened(now(1.1), &mut driven.out);
    // In the order of keys, not of versions; with changes that happened meanwhile.
    for event in [applied("a", 90), applied("b", 20), Event::Deleted(pod("a", 95))] {
        assert_eq!(driven.event(event, 1.2), Flow::Continue);
    }
    assert_eq!(driven.event(Event::Bookmark { version: 100, ends_listing: true }, 1.5), Flow::Continue);
    assert_eq!(driven.event(applied("b", 101), 1.6), Flow::Continue);
    let expected = [
        Delta::Connected { at: wall(1.1) },
        Delta::ListStarted { sent: wall(1.0) },
        Delta::Listed(pod("a", 90)),
        Delta::Listed(pod("b", 20)),
        Delta::Deleted { object: pod("a", 95), received: wall(1.2), live: false },
        Delta::Snapshot {
            resource_version: "100".into(),
            sent: wall(1.0),
            received: wall(1.5),
            gap: None,
            after_version: None,
        },
        Delta::Applied { object: pod("b", 101), received: wall(1.6), live: false },
    ];
    assert_eq!(driven.take(), expected);
    driven.end(End::Clean, 5.0);
    driven.watch(101, 5.0);
}

#[test]
fn a_server_without_streaming_lists_is_not_asked_again() {
    for code in [400, 404, 422] {
        let mut driven = Driven::new(Config::default(), None);
        assert_eq!(driven.machine.request(now(1.0)), Request::StreamingList);
        driven.refused(code, 1.1);
        assert_eq!((driven.take(), driven.machine.wait()), (vec![], Duration::ZERO), "{code}");
        driven.list(100, 2.0);
        driven.watch(100, 3.0);
        assert_eq!(driven.event(Event::Failed(answer(410)), 3.1), Flow::Close);
        driven.list(200, 4.0);
    }
    // One that does not know the wish, and sends what it likes.
    for (ignored, wait) in [(Some(bookmark(90)), false), (None, true)] {
        let mut driven = Driven::new(Config::default(), None);
        driven.machine.request(now(1.0));
        driven.machine.opened(now(1.0), &mut driven.out);
        assert_eq!(driven.machine.deadline(), now(11.0).mono);
        let flow = match ignored {
            Some(event) => driven.event(event, 1.5),
            None => driven.idle(11.0),
        };
        assert_eq!((flow, driven.machine.wait() > Duration::ZERO), (Flow::Close, wait));
        driven.list(100, 20.0);
    }
}

/// As one is for a moment while an API server starts.
#[test]
fn a_streaming_list_that_is_forbidden_is_paged_and_tried_at_the_next_listing() {
    let mut driven = Driven::new(Config::default(), None);
    assert_eq!(driven.machine.request(now(1.0)), Request::StreamingList);
    driven.refused(403, 1.1);
    driven.list(100, 2.0);
    driven.watch(100, 3.0);
    assert_eq!(driven.event(Event::Failed(answer(410)), 3.1), Flow::Close);
    assert_eq!(driven.machine.request(now(4.0)), Request::StreamingList);
}

#[test]
fn a_streaming_list_that_fails_is_paged_instead_and_tried_at_the_next_listing() {
    type Fail = fn(&mut Driven);
    let fails: [Fail; 4] = [
        |d| d.end(End::Cut("reset".into()), 1.5),
        |d| d.end(End::Clean, 1.5),
        |d| ignore(d.event(Event::Failed(answer(410)), 1.5)),
        |d| ignore(d.undecodable(None, 1.5)),
    ];
    for fail in fails {
        let mut driven = Driven::new(Config::default(), None);
        driven.machine.request(now(1.0));
        driven.machine.opened(now(1.1), &mut driven.out);
        fail(&mut driven);
        driven.disconnected();
        driven.list(100, 2.0);
        driven.watch(100, 3.0);
        assert_eq!(driven.event(Event::Failed(answer(410)), 3.1), Flow::Close);
        assert_eq!(driven.machine.request(now(4.0)), Request::StreamingList);
    }
    // A server that is busy may still know them.
    let mut driven = Driven::new(Config::default(), None);
    driven.machine.request(now(1.0));
    driven.refused(429, 1.1);
    driven.disconnected();
    assert_eq!(driven.machine.request(now(2.0)), Request::StreamingList);
}

#[test]
fn an_undecodable_item_of_a_streaming_list_is_reported_and_the_rest_listed() {
    let mut driven = Driven::new(Config::default(), None);
    driven.machine.request(now(1.0));
    driven.machine.opened(now(1.1), &mut driven.out);
    driven.out.clear();
    assert_eq!(driven.undecodable(Some("n/a"), 1.2), Flow::Continue);
    assert_eq!(driven.event(applied("b", 20), 1.3), Flow::Continue);
    assert_eq!(driven.take(), [Delta::Rejected(bad(Some("n/a"))), Delta::Listed(pod("b", 20))]);
}
