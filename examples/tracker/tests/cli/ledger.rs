//! A ledger with a known history, written without a tracker.

use std::path::Path;
use std::time::Duration;

use podtrail_event::{Address, Bounds, Cluster, EventKind, Gap, NodeAddresses, Pod, Subject, Timestamp};
use podtrail_ledger::{Change, ClaimRow, Evidence, Happened, Interval, NodeRow, Observation, PodRow, Source, Store};

/// So many seconds after 2026-01-24T20:00:00Z.
pub(crate) fn t(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_769_284_800 + seconds)
}

fn pod(id: i64, name: &str, gone: Option<i64>) -> Change {
    let pod = Pod {
        uid: format!("uid-{id}"),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        node: Some("node-0".to_owned()),
        host_network: name == "proxy",
        created: Some(t(0)),
        ..Pod::default()
    };
    Change::Pod(Box::new(PodRow { id, version: 7, created: true, deleted: gone.is_some(), gone: gone.map(t), pod }))
}

/// Evidence that the pod or node of row `holder` has this address.
fn claim(id: i64, ip: &str, subject: Subject, holder: i64, interval: Interval) -> Change {
    let ip = ip.parse().unwrap();
    let shared = subject == Subject::Pod && holder == 3;
    let network = "default".to_owned();
    let row = ClaimRow { id, network, ip, subject, holder, ordinal: 0, shared, interval };
    let mut observation = Observation { claims: vec![row], ..Observation::default() };
    if subject == Subject::Pod {
        let (uid, name) = (format!("uid-{holder}"), format!("web-{holder}"));
        let address = Address { network: "default".to_owned(), ip };
        observation.pod = Some(Box::new(Pod { uid, namespace: "shop".to_owned(), name, ..Pod::default() }));
        observation.addresses = vec![address.clone()];
        let time = Bounds { earliest: interval.start_earliest, latest: Some(interval.start_latest) };
        observation.events = vec![Happened { event: EventKind::AddressAssigned, time, address: Some((address, 0)) }];
    }
    Change::Observed(interval.start_latest, Source::Watch, Box::new(observation))
}

fn held(start: (i64, i64), evidence: &[Evidence]) -> Interval {
    let mut interval = Interval::starting(t(start.0), t(start.1));
    for evidence in evidence {
        interval.tighten(*evidence);
    }
    interval
}

fn covered(source: &'static str, start: i64, until: i64) -> Change {
    Change::Covered { source, start: t(start), until: t(until), proven: t(until) }
}

/// Watched from 0 s to 400 s and from 420 s to 600 s. 10.244.0.17: web-1 from 10..12 s to 60..65 s, then web-2 from
/// 70..72 s on, confirmed at 300 s. node-0: 198.18.0.10, which shop/proxy uses. fd00::17 was web-2's until it may have ended.
pub(crate) fn make(path: &Path) {
    let cluster = Cluster::new("cluster-uid").named(Some("test".to_owned()));
    let mut store = Store::open(path, &cluster, Duration::from_secs(1)).unwrap();
    let until = |last, by| [Evidence::HeldUntil(t(last)), Evidence::EndedBy(t(by))];
    let addresses: NodeAddresses = [("InternalIP".to_owned(), "198.18.0.10".to_owned())].into_iter().collect();
    let node = NodeRow { id: 1, uid: "uid-node".to_owned(), name: "node-0".to_owned(), addresses, gone: None };
    let gap = Gap { source: "pods".to_owned(), from: t(400), to: t(420), reason: "history was compacted".to_owned() };
    let gap = Observation { gap: Some((gap, "99".to_owned())), ..Observation::default() };
    let changes = [
        pod(1, "web-1", Some(65)),
        pod(2, "web-2", None),
        pod(3, "proxy", None),
        Change::Node(node),
        claim(1, "10.244.0.17", Subject::Pod, 1, held((10, 12), &until(60, 65))),
        claim(2, "10.244.0.17", Subject::Pod, 2, held((70, 72), &[Evidence::HeldUntil(t(300))])),
        claim(3, "198.18.0.10", Subject::Node, 1, held((0, 1), &[Evidence::HeldUntil(t(600))])),
        claim(4, "198.18.0.10", Subject::Pod, 3, held((5, 6), &[])),
        claim(5, "fd00::17", Subject::Pod, 2, held((70, 72), &[Evidence::HeldUntil(t(90)), Evidence::MayEnd])),
        Change::Observed(t(420), Source::Tracker, Box::new(gap)),
        covered("pods", 0, 400),
        covered("pods", 420, 600),
        covered("nodes", 0, 600),
    ];
    store.commit(&changes).unwrap();
}
