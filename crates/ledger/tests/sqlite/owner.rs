//! Who had an address: answers from the file.

use std::time::Duration;

use podtrail_event::{DEFAULT_NETWORK, Gap, Subject};
use podtrail_ledger::{
    Answer, Change, ClaimRow, Evidence, Index, Interval, Observation, OwnerReply, Source, Store, Uncovered,
};
use proptest::prelude::*;

use crate::ledger::{Place, claim, cluster, covered, interval, node, nodes_too, observed, pod, said, t};
use crate::truth::{self, ASKED, history};

fn ask(store: &Store, ip: &str, at: i64) -> OwnerReply {
    let reply = store.owner(DEFAULT_NETWORK, ip.parse().unwrap(), t(at)).unwrap();
    let timeline = store.timeline(DEFAULT_NETWORK, ip.parse().unwrap()).unwrap();
    assert_eq!(timeline.owner(t(at)).map(Clone::clone), reply.answer, "{ip} at {at}");
    reply
}

#[test]
fn an_answer_says_what_it_rests_on() {
    let place = Place::new();
    let mut store = place.open();
    let gap = Gap { source: "pods".into(), from: t(100), to: t(200), reason: "the API server was away".into() };
    let mut doubtful = Interval::starting(t(300), t(310));
    doubtful.tighten(Evidence::MayEnd);
    store
        .commit(&[
            Change::Pod(Box::new(pod(1))),
            Change::Pod(Box::new(pod(2))),
            said(10, &[claim(1, 1, "10.0.0.1", interval(10, Some(150), Some(205)))]),
            said(310, &[claim(2, 2, "10.0.0.1", doubtful), claim(3, 2, "10.0.0.3", interval(310, None, None))]),
            observed(200, Observation { gap: Some((gap.clone(), "41".into())), ..Observation::default() }),
            covered(0, 100),
            nodes_too(),
            covered(200, 400),
        ])
        .unwrap();
    for (ip, at, word, names, gaps, reason) in [
        ("10.0.0.1", -1, "unknown", vec![], 0, "before history: nothing was watched before 1970-01-01T00:00:00Z"),
        ("10.0.0.1", 5, "nobody", vec![], 0, "all that happened then was seen, and nothing held the address"),
        ("10.0.0.1", 50, "certain", vec!["web-1"], 0, "since 1970-01-01T00:00:10Z at the latest"),
        ("10.0.0.1", 150, "certain", vec!["web-1"], 1, "until 1970-01-01T00:02:30Z at least"),
        ("10.0.0.1", 160, "unknown", vec!["web-1"], 1, "the API server was away"),
        ("10.0.0.1", 202, "ambiguous", vec!["web-1"], 0, "it may have released the address by then"),
        ("10.0.0.1", 305, "ambiguous", vec!["web-2"], 0, "it may not have had it yet"),
        ("10.0.0.1", 350, "ambiguous", vec!["web-2"], 0, "it may have released the address by then"),
        ("10.0.0.3", 350, "presumed", vec!["web-2"], 0, "last confirmed before then"),
        ("10.0.0.3", 401, "unknown", vec!["web-2"], 0, "known until 1970-01-01T00:06:40Z"),
    ] {
        let reply = ask(&store, ip, at);
        let named: Vec<_> = reply.answer.named().iter().map(|claim| claim.name.as_str()).collect();
        assert_eq!((reply.answer.as_str(), named, reply.gaps.len()), (word, names, gaps), "{ip} at {at}");
        assert!(reply.reason.contains(reason), "{ip} at {at}: {}", reply.reason);
        assert!(reply.gaps.iter().all(|g| *g == gap) && reply.users.is_empty());
    }
    let Answer::Certain(held) = ask(&store, "10.0.0.1", 50).answer else { panic!("certain") };
    assert_eq!((held.namespace.as_str(), held.uid.as_str(), held.node.as_str()), ("shop", "pod-1", "node-1"));
    assert_eq!((held.start.earliest, held.start.latest), (t(10), Some(t(10))));
    assert_eq!(held.end.map(|end| (end.earliest, end.latest)), Some((t(150), Some(t(205)))));
}

#[test]
fn a_node_owns_its_address_and_host_network_pods_use_it() {
    let place = Place::new();
    let mut store = place.open();
    let of_node = ClaimRow { subject: Subject::Node, ..claim(1, 1, "172.18.0.2", interval(0, Some(100), None)) };
    let uses = |id, holder, held| ClaimRow { shared: true, ..claim(id, holder, "172.18.0.2", held) };
    store
        .commit(&[
            Change::Node(node(1)),
            Change::Pod(Box::new(pod(1))),
            Change::Pod(Box::new(pod(2))),
            said(
                10,
                &[of_node, uses(2, 1, interval(10, Some(90), None)), uses(3, 2, interval(20, Some(30), Some(35)))],
            ),
            covered(0, 100),
            nodes_too(),
        ])
        .unwrap();
    for (at, users) in [(5, vec![]), (10, vec!["web-1"]), (25, vec!["web-1", "web-2"]), (60, vec!["web-1"])] {
        let reply = ask(&store, "172.18.0.2", at);
        let Answer::Certain(owner) = &reply.answer else { panic!("{:?} at {at}", reply.answer) };
        assert_eq!((owner.subject, owner.name.as_str(), owner.uid.as_str()), (Subject::Node, "node-1", "node-uid-1"));
        assert_eq!((owner.namespace.as_str(), owner.node.as_str()), ("", "node-1"));
        assert_eq!(reply.users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), users, "at {at}");
    }
}

#[test]
fn a_holder_that_is_gone_keeps_its_name() {
    let place = Place::new();
    let mut store = place.open();
    let held = [claim(1, 1, "10.0.0.1", interval(10, Some(20), Some(30)))];
    store.commit(&[Change::Pod(Box::new(pod(1))), said(10, &held), covered(0, 50), nodes_too()]).unwrap();
    let mut gone = pod(1);
    (gone.gone, gone.deleted) = (Some(t(30)), true);
    store.commit(&[Change::Pod(Box::new(gone))]).unwrap();
    drop(store);
    let reply = ask(&place.open(), "10.0.0.1", 15);
    assert_eq!(reply.answer.named()[0].name, "web-1");
    assert_eq!(reply.answer.as_str(), "certain");
}

#[test]
fn the_next_holder_bounds_the_one_before() {
    let place = Place::new();
    let mut store = place.open();
    let turns =
        [claim(1, 1, "10.0.0.1", interval(10, Some(20), None)), claim(2, 2, "10.0.0.1", interval(50, None, None))];
    let pods = [1, 2].map(|n| Change::Pod(Box::new(pod(n))));
    store.commit(&[&pods[..], &[said(50, &turns), covered(0, 100), nodes_too()]].concat()).unwrap();
    let named = |at| {
        let answer = ask(&store, "10.0.0.1", at).answer;
        (answer.as_str(), answer.map(|claim| claim.name).named().to_vec())
    };
    assert_eq!(named(15), ("certain", vec!["web-1".into()]));
    assert_eq!(named(40), ("ambiguous", vec!["web-1".into()]));
    assert_eq!(named(60), ("presumed", vec!["web-2".into()]));
    let Answer::Ambiguous(one) = ask(&store, "10.0.0.1", 40).answer else { panic!("ambiguous") };
    assert_eq!(one[0].end.and_then(|end| end.latest), Some(t(50)));
}

#[test]
fn all_sources_must_have_been_watching_within_the_clocks_error() {
    let place = Place::new();
    let nodes = Change::Covered { source: "nodes", start: t(50), until: t(90), proven: t(90) };
    let mut store = Store::open(place.path(), &cluster(), Duration::from_secs(2)).unwrap();
    store.commit(&[covered(0, 100), nodes]).unwrap();
    for (at, want) in [
        (51, Answer::Unknown(Uncovered::BeforeHistory, vec![])),
        (52, Answer::Nobody),
        (88, Answer::Nobody),
        (89, Answer::Unknown(Uncovered::NotYet, vec![])),
    ] {
        assert_eq!(ask(&store, "10.0.0.1", at).answer, want, "{at}");
    }
}

#[test]
fn what_was_watched_by_a_worse_clock_is_judged_by_that() {
    let place = Place::new();
    let open = |seconds| Store::open(place.path(), &cluster(), Duration::from_secs(seconds)).unwrap();
    open(1).commit(&[covered(0, 100), nodes_too()]).unwrap();
    for (now, worst) in [(5, 5), (2, 5), (0, 5), (9, 9), (1, 9)] {
        let check = |store: &Store| {
            assert_eq!(store.clock_error(), Duration::from_secs(now));
            assert_eq!(store.coverage().unwrap().clock_error(), Duration::from_secs(worst), "{now}");
            let found = [worst as i64 - 1, worst as i64].map(|at| ask(store, "10.0.0.1", at).answer);
            assert_eq!(found, [Answer::Unknown(Uncovered::BeforeHistory, vec![]), Answer::Nobody], "{now}");
        };
        check(&open(now));
        check(&place.open_read_only());
    }
}

#[test]
fn nobody_is_said_only_when_pods_and_nodes_were_watched() {
    let place = Place::new();
    let mut store = place.open();
    let unknown = Answer::Unknown(Uncovered::BeforeHistory, vec![]);
    let asked = |store: &Store| {
        let reply = ask(store, "10.0.0.1", 60);
        (reply.answer, reply.reason)
    };
    assert_eq!(asked(&store), (unknown.clone(), "no watch of pods or nodes is recorded".into()));
    store.commit(&[covered(0, 100)]).unwrap();
    assert_eq!(asked(&store), (unknown.clone(), "no watch of nodes is recorded".into()));
    assert_eq!(store.coverage().unwrap().spans(), []);
    let nodes =
        |start: i64, until| Change::Covered { source: "nodes", start: t(start), until: t(until), proven: t(until) };
    store.commit(&[nodes(110, 120)]).unwrap();
    assert_eq!(asked(&store), (unknown, "pods and nodes were never watched together".into()));
    store.commit(&[nodes(50, 90)]).unwrap();
    assert_eq!(asked(&store).0, Answer::Nobody);
}

#[test]
fn nobody_is_not_said_where_host_network_pods_used_the_address() {
    let place = Place::new();
    let mut store = place.open();
    let uses = ClaimRow { shared: true, ..claim(1, 1, "172.18.0.2", interval(10, Some(30), Some(35))) };
    let of_node = ClaimRow { subject: Subject::Node, ..claim(2, 1, "172.18.0.2", interval(20, Some(50), Some(51))) };
    store
        .commit(&[
            Change::Node(node(1)),
            Change::Pod(Box::new(pod(1))),
            said(10, &[uses, of_node]),
            covered(0, 100),
            nodes_too(),
        ])
        .unwrap();
    let unseen = Answer::Unknown(Uncovered::Unseen, vec![]);
    for (at, word, users) in
        [(9, "nobody", 0), (10, "unknown", 1), (25, "certain", 1), (40, "certain", 0), (60, "nobody", 0)]
    {
        let reply = ask(&store, "172.18.0.2", at);
        assert_eq!((reply.answer.as_str(), reply.users.len()), (word, users), "at {at}");
        assert_eq!(reply.answer == unseen, word == "unknown" && reply.reason.contains("no node is known"), "at {at}");
    }
}

#[test]
fn sources_are_named_as_they_are_stored() {
    use Source::{Cni, Conntrack, Cri, Get, List, Netlink, Tracker, Watch};
    let place = Place::new();
    let mut store = place.open();
    let all = [Watch, List, Get, Tracker, Cri, Cni, Netlink, Conntrack];
    let changes = all.map(|source| Change::Observed(t(1), source, Box::default()));
    store.commit(&changes).unwrap();
    let stored: Vec<_> = store.observations(0, 10).unwrap().into_iter().map(|o| o.source).collect();
    assert_eq!(stored, all.map(Source::as_str));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_file_answers_as_memory_does_and_neither_is_wrong(history in history()) {
        let place = Place::new();
        let mut store = place.open();
        let ip = "10.244.0.17".parse().unwrap();
        let rows = history.claims.iter().enumerate().map(|(n, (who, interval))| {
            claim(n as i64 + 1, *who as i64 + 1, "10.244.0.17", *interval)
        });
        let mut changes = vec![said(1, &rows.collect::<Vec<_>>())];
        changes.extend(history.claims.iter().map(|(who, _)| Change::Pod(Box::new(pod(*who as i64 + 1)))));
        changes.extend(history.coverage.spans().iter().map(|(start, until)| {
            Change::Covered { source: "pods", start: *start, until: *until, proven: *until }
        }));
        changes.push(nodes_too());
        store.commit(&changes).unwrap();
        store.verify().unwrap();
        let timeline = store.timeline(DEFAULT_NETWORK, ip).unwrap();
        let owner = |at| {
            let answer = store.owner(DEFAULT_NETWORK, ip, at).unwrap().answer;
            assert_eq!(timeline.owner(at).map(Clone::clone), answer, "at {at:?}");
            answer.map(|claim| claim.uid.strip_prefix("pod-").unwrap().parse::<usize>().unwrap() - 1)
        };
        history.check(owner)?;
        let index = Index::build(history.claims.iter().map(|(n, i)| ("default", ip, *i, *n)), history.coverage.clone());
        for at in ASKED.map(truth::t) {
            prop_assert_eq!(owner(at), index.owner("default", ip, at), "at {:?}", at);
        }
    }
}
