//! What was held when: the claims that a filter and a span let through.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use podtrail_event::{Subject, Timestamp};
use podtrail_ledger::{Change, ClaimRow, Error, ErrorKind, Evidence, Filter, Held, Interval, Store};

use crate::ledger::{Place, claim, interval, node, pod, said, t};

const ALWAYS: RangeInclusive<Timestamp> = Timestamp::MIN..=Timestamp::MAX;

fn fill(store: &mut Store) {
    let mut elsewhere = pod(3);
    elsewhere.pod.node = Some("node-2".into());
    let mut gone = pod(2);
    gone.gone = Some(t(50));
    // The same name, another incarnation.
    let mut again = pod(4);
    again.pod.name = "web-1".into();
    let pods = [pod(1), gone, elsewhere, again].map(|row| Change::Pod(Box::new(row)));
    let blue = ClaimRow { network: "ns/blue".into(), ..claim(5, 1, "10.0.0.1", interval(12, None, None)) };
    let of_node = ClaimRow { subject: Subject::Node, ..claim(6, 1, "172.18.0.2", interval(0, None, None)) };
    let uses = ClaimRow { shared: true, ..claim(7, 3, "172.18.0.2", interval(20, None, None)) };
    let claims = [
        claim(1, 1, "10.0.0.1", interval(10, Some(20), Some(30))),
        claim(2, 2, "10.0.0.1", interval(40, Some(45), Some(50))),
        claim(3, 3, "10.0.0.2", interval(15, None, None)),
        claim(4, 4, "fd00::2", interval(60, None, None)),
        blue,
        of_node,
        uses,
        claim(8, 1, "::ffff:a00:7", interval(70, None, None)),
        claim(9, 4, "::1", interval(60, None, None)),
    ];
    store.commit(&pods).unwrap();
    store.commit(&[Change::Node(node(1)), said(1, &claims)]).unwrap();
}

fn held(store: &Store, filter: &Filter, span: &RangeInclusive<Timestamp>) -> Vec<Held> {
    let mut found = vec![];
    store
        .history(filter, span, |held| {
            found.push(held);
            Ok::<_, Error>(())
        })
        .unwrap();
    found
}

fn addresses(from: &str, to: &str) -> Filter {
    Filter::Addresses(from.parse().unwrap()..=to.parse().unwrap())
}

#[test]
fn a_filter_lets_through_what_it_names_and_no_more() {
    let place = Place::new();
    let mut store = place.open();
    fill(&mut store);
    let pod_named = |name: &str| Filter::Pod { namespace: "shop".into(), name: name.into() };
    let check = |filter: &Filter, want: &[&str]| {
        let found = held(&store, filter, &ALWAYS);
        let found: Vec<_> =
            found.iter().map(|Held { claim, .. }| format!("{} {} {}", claim.network, claim.ip, claim.uid)).collect();
        assert_eq!(found, want, "{filter:?}");
    };
    let (first, second) = ("default 10.0.0.1 pod-1", "default 10.0.0.1 pod-2");
    let blue = "ns/blue 10.0.0.1 pod-1";
    let (third, six, loopback) = ("default 10.0.0.2 pod-3", "default fd00::2 pod-4", "default ::1 pod-4");
    let (of_node, uses) = ("default 172.18.0.2 node-uid-1", "default 172.18.0.2 pod-3");
    let mapped = "default ::ffff:10.0.0.7 pod-1";
    check(&Filter::All, &[loopback, first, second, blue, third, mapped, of_node, uses, six]);
    check(&addresses("10.0.0.1", "10.0.0.1"), &[first, second, blue]);
    check(&addresses("10.0.0.0", "10.0.0.255"), &[first, second, blue, third]);
    check(&addresses("0.0.0.0", "255.255.255.255"), &[first, second, blue, third, of_node, uses]);
    check(&addresses("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), &[loopback, mapped, six]);
    check(&addresses("::ffff:0:0", "::ffff:ffff:ffff"), &[mapped]);
    check(&addresses("fd00::", "fd00::ffff"), &[six]);
    check(&addresses("10.0.0.3", "10.0.0.2"), &[]);
    check(&pod_named("web-1"), &[loopback, first, blue, mapped, six]);
    check(&pod_named("web-2"), &[second]);
    check(&pod_named("web-9"), &[]);
    check(&Filter::Pod { namespace: "other".into(), name: "web-1".into() }, &[]);
    check(&Filter::Uid("pod-1".into()), &[first, blue, mapped]);
    check(&Filter::Uid("node-uid-1".into()), &[of_node]);
    check(&Filter::Node("node-1".into()), &[loopback, first, second, blue, mapped, of_node, six]);
    check(&Filter::Node("node-2".into()), &[third, uses]);
    let shared: Vec<_> = held(&store, &Filter::All, &ALWAYS).into_iter().map(|held| held.shared).collect();
    assert_eq!(shared.iter().filter(|shared| **shared).count(), 1);
}

#[test]
fn a_span_lets_through_what_may_have_held_within_it() {
    let place = Place::new();
    let mut store = place.open();
    fill(&mut store);
    let filter = addresses("10.0.0.1", "10.0.0.1");
    for (from, until, want) in [
        (0, 9, vec![]),
        (0, 10, vec!["pod-1"]),
        (25, 30, vec!["pod-1"]),
        (31, 39, vec![]),
        (30, 40, vec!["pod-1", "pod-2"]),
        (50, 1000, vec!["pod-2"]),
        (51, 1000, vec![]),
        (1000, 0, vec![]),
    ] {
        let found = held(&store, &filter, &(t(from)..=t(until)));
        let found: Vec<_> =
            found.iter().filter(|h| h.claim.network == "default").map(|h| h.claim.uid.as_str()).collect();
        assert_eq!(found, want, "{from} to {until}");
    }
}

#[test]
fn a_pod_is_bounded_by_others_that_the_filter_leaves_out() {
    let place = Place::new();
    let mut store = place.open();
    let mut first = Interval::starting(t(10), t(10));
    first.tighten(Evidence::HeldUntil(t(20)));
    let turns = [claim(1, 1, "10.0.0.1", first), claim(2, 2, "10.0.0.1", interval(40, None, None))];
    let pods = [1, 2].map(|n| Change::Pod(Box::new(pod(n))));
    store.commit(&[&pods[..], &[said(40, &turns)]].concat()).unwrap();
    let found = held(&store, &Filter::Uid("pod-1".into()), &ALWAYS);
    assert_eq!(found[0].claim.end.and_then(|end| end.latest), Some(t(40)));
}

#[test]
fn who_asks_may_stop() {
    #[derive(Debug)]
    enum Stop {
        Enough,
        Ledger(ErrorKind),
    }
    impl From<Error> for Stop {
        fn from(e: Error) -> Self {
            Self::Ledger(e.kind())
        }
    }
    let place = Place::new();
    let mut store = place.open();
    fill(&mut store);
    let mut seen = 0;
    let stopped = store.history(&Filter::All, &ALWAYS, |_| {
        seen += 1;
        if seen == 2 { Err(Stop::Enough) } else { Ok(()) }
    });
    assert!(matches!(stopped, Err(Stop::Enough)) && seen == 2);
    place.sqlite().execute("UPDATE claims SET address = 'nowhere'", []).unwrap();
    let broken = store.history(&Filter::All, &ALWAYS, |_| Ok::<_, Stop>(()));
    assert!(matches!(broken, Err(Stop::Ledger(ErrorKind::Corrupt))), "{broken:?}");
    let e = store.owner("default", "10.0.0.1".parse::<IpAddr>().unwrap(), t(1)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt);
}
