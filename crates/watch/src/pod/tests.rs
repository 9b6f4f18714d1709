use serde_json::{Value, json};

use super::*;
use crate::decode::Frame;
use crate::error::ErrorKind;

const RECEIVED: Timestamp = Timestamp::from_second(1_769_287_600);

/// A pod as an API server sends it, with much that is of no interest.
pub(crate) fn sample() -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "name": "coredns-1", "generateName": "coredns-", "namespace": "kube-system",
            "uid": "7a4f2fa3-9f4c-4d6e-8e0e-3f1b6a0c2d11", "resourceVersion": "1024", "generation": 1,
            "creationTimestamp": "2026-01-24T20:44:08Z",
            "labels": {"k8s-app": "kube-dns", "quoted": "a \"b\" \u{1f600}\n"},
            "annotations": {"note": "\u{0}\u{7f}"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": "other", "uid": "x"},
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "coredns", "uid": "y", "controller": true},
            ],
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:x": {}}}}}],
        },
        "spec": {
            "volumes": [{"name": "config", "configMap": {"name": "coredns", "defaultMode": 420}}],
            "containers": [{"name": "coredns", "image": "coredns:v1", "args": ["-conf", "/etc/Corefile"]}],
            "serviceAccountName": "coredns", "nodeName": "local-control-plane", "hostNetwork": false,
            "priority": 2_000_000_000,
        },
        "status": {
            "phase": "Running", "hostIP": "172.18.0.2", "podIP": "10.244.0.17",
            "podIPs": [{"ip": "10.244.0.17"}, {"ip": "fd00:10:244::11"}],
            "startTime": "2026-01-24T20:44:09Z", "qosClass": "Burstable",
            "conditions": [
                {"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-01-24T20:44:12Z"},
                {"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-01-24T20:44:08Z"},
            ],
            "containerStatuses": [
                {"name": "b", "restartCount": 1, "state": {"running": {"startedAt": "2026-01-24T20:50:00Z"}},
                 "lastState": {"terminated": {"exitCode": 1, "startedAt": "2026-01-24T20:44:10Z", "finishedAt": "2026-01-24T20:49:00Z"}}},
                {"name": "a", "restartCount": 0, "state": {"running": {"startedAt": "2026-01-24T20:44:11Z"}}},
            ],
        },
    })
}

/// The sample with these JSON Pointers set (null: removed).
fn with(changes: &[(&str, Value)]) -> Value {
    let mut pod = sample();
    for (pointer, value) in changes {
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        let parent = pod.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Value::Null => drop(parent.remove(member)),
            value => drop(parent.insert(member.to_owned(), value.clone())),
        }
    }
    pod
}

fn state(pod: &Value) -> (PodState, Vec<Rejected>) {
    let (json, mut rejected) = (pod.to_string(), Vec::new());
    let state = PodLite::object(json.as_bytes()).unwrap().state(RECEIVED, &mut rejected).unwrap();
    (state, rejected)
}

fn at(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

fn shown(state: &PodState) -> Vec<String> {
    state.addresses.iter().map(|a| format!("{} {}", a.network, a.ip)).collect()
}

#[test]
fn a_running_pod_is_read_in_full() {
    let (state, rejected) = state(&sample());
    assert_eq!(rejected, []);
    let map = |pairs: &[(&str, &str)]| Some(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
    let expected = PodState {
        pod: Pod {
            uid: "7a4f2fa3-9f4c-4d6e-8e0e-3f1b6a0c2d11".into(),
            namespace: "kube-system".into(),
            name: "coredns-1".into(),
            node: Some("local-control-plane".into()),
            service_account: Some("coredns".into()),
            owner: Some(Owner { kind: "ReplicaSet".into(), name: "coredns".into() }),
            host_network: false,
            labels: map(&[("k8s-app", "kube-dns"), ("quoted", "a \"b\" \u{1f600}\n")]),
            annotations: map(&[("note", "\u{0}\u{7f}")]),
            created: at("2026-01-24T20:44:08Z"),
            deletion: None,
        },
        resource_version: 1024,
        phase: Phase::Running,
        addresses: ["10.244.0.17", "fd00:10:244::11"]
            .map(|ip| Address { network: "default".into(), ip: ip.parse().unwrap() })
            .to_vec(),
        addresses_spoilt: false,
        scheduled: at("2026-01-24T20:44:08Z"),
        kubelet_started: at("2026-01-24T20:44:09Z"),
        running_since: at("2026-01-24T20:44:11Z"),
        running: true,
        finished: None,
        grace: None,
        mirror: false,
    };
    assert_eq!(state, expected);
}

#[test]
fn agrees_with_a_whole_pod() {
    let json = sample().to_string();
    let whole: k8s_openapi::api::core::v1::Pod = serde_json::from_str(&json).unwrap();
    let (lite, _) = state(&sample());
    let (spec, status) = (whole.spec.unwrap(), whole.status.unwrap());
    assert_eq!(whole.metadata.uid.as_deref(), Some(lite.pod.uid.as_str()));
    assert_eq!(whole.metadata.labels, lite.pod.labels);
    assert_eq!(whole.metadata.annotations, lite.pod.annotations);
    assert_eq!((spec.node_name, spec.service_account_name), (lite.pod.node.clone(), lite.pod.service_account.clone()));
    let ips: Vec<_> = status.pod_ips.unwrap().into_iter().map(|p| format!("default {}", p.ip)).collect();
    assert_eq!(ips, shown(&lite));
    let seconds = |t: Option<Timestamp>| t.unwrap().as_nanosecond() / 1_000_000_000;
    assert_eq!(whole.metadata.creation_timestamp.unwrap().0.as_second(), seconds(lite.pod.created));
    assert_eq!(status.start_time.unwrap().0.as_second(), seconds(lite.kubelet_started));
    assert_eq!(status.phase.unwrap(), format!("{:?}", lite.phase));
}

#[test]
fn a_pod_that_has_barely_begun_is_read() {
    let pod = json!({"metadata": {"uid": "u", "namespace": "n", "name": "p", "resourceVersion": "1", "labels": null}});
    let (state, rejected) = state(&pod);
    let expected = Pod { uid: "u".into(), namespace: "n".into(), name: "p".into(), ..Pod::default() };
    assert_eq!((state, rejected), (PodState { pod: expected, resource_version: 1, ..PodState::default() }, vec![]));
}

#[test]
fn a_finished_pod_says_when_it_ran() {
    let ended = |restarts: u32, from: &str, to: &str| json!({"restartCount": restarts, "state": {"terminated": {"exitCode": 0, "startedAt": from, "finishedAt": to}}});
    let first = ended(0, "2026-01-24T20:44:10Z", "2026-01-24T20:50:00Z");
    let again = ended(2, "2026-01-24T20:43:00Z", "2026-01-24T20:51:00Z");
    let phase = ("/status/phase", json!("Succeeded"));
    let (done, _) = state(&with(&[phase.clone(), ("/status/containerStatuses", json!([first, again]))]));
    assert!(done.phase.is_terminal());
    assert_eq!((done.running_since, done.finished), (at("2026-01-24T20:44:10Z"), at("2026-01-24T20:51:00Z")));

    let running = json!({"restartCount": 0, "state": {"running": {"startedAt": "2026-01-24T20:44:11Z"}}});
    for (containers, side_cars) in [
        (json!([first, running]), json!([])),
        (json!([first]), json!([running])),
        (json!([]), json!([first])),
        (json!([first, {"state": {}}]), json!([])),
    ] {
        let changes = [("/status/containerStatuses", containers), ("/status/initContainerStatuses", side_cars)];
        assert_eq!(state(&with(&changes)).0.finished, None, "{changes:?}");
    }
}

#[test]
fn a_terminating_mirror_pod_on_the_host_network_is_read() {
    let (state, rejected) = state(&with(&[
        ("/metadata/deletionTimestamp", json!("2026-01-24T20:48:37Z")),
        ("/metadata/deletionGracePeriodSeconds", json!(30)),
        ("/metadata/annotations", json!({"kubernetes.io/config.mirror": "abc"})),
        ("/spec/hostNetwork", json!(true)),
        ("/status/podIPs", Value::Null),
    ]));
    assert_eq!(rejected, []);
    assert_eq!(state.pod.deletion, at("2026-01-24T20:48:37Z"));
    assert_eq!(state.deletion_requested(), at("2026-01-24T20:48:07Z"));
    assert!(state.mirror && state.pod.host_network);
    assert_eq!(shown(&state), ["default 10.244.0.17"]);
}

#[test]
fn secondary_networks_come_after_the_pods_own() {
    let status =
        json!([{"name": "cbr0", "default": true, "ips": ["10.244.0.17"]}, {"name": "storage", "ips": ["192.0.2.4"]}]);
    for key in networks::KEYS {
        let (state, _) = state(&with(&[("/metadata/annotations", json!({key: status.to_string()}))]));
        assert_eq!(shown(&state)[1..], ["default fd00:10:244::11", "kube-system/storage 192.0.2.4"]);
    }
}

/// One bad field: it is reported and left out, and what is left is used.
#[test]
fn bad_fields_are_reported_and_the_rest_is_used() {
    let both = ["default 10.244.0.17", "default fd00:10:244::11"];
    let cases: &[(&str, Value, &[&str], &str)] = &[
        ("/status/podIPs", json!([{"ip": "999.1.1.1"}]), &[], "podIP"),
        ("/status/podIPs", json!([{"ip": "10.244.0.17"}, {"ip": "::ffff:0:0"}]), &both[..1], "IPv4-mapped"),
        ("/status/podIPs", json!([{"ip": "10.244.0.17"}, {"ip": "fe80::1%eth0"}]), &both[..1], "not an IP"),
        ("/status/podIPs", json!([{"ip": "10.244.0.17"}, {}]), &both[..1], "not an IP"),
        ("/status/podIPs", json!([{"ip": "10.244.0.17"}, {"ip": "::"}]), &both[..1], "unspecified"),
        ("/status/podIPs", json!([{"ip": "10.244.0.17"}, {"ip": "::1"}]), &both[..1], "loopback"),
        ("/status/podIPs", json!([{"ip": "10.244.0.17"}, {"ip": "ff02::1"}]), &both[..1], "multicast"),
        ("/status/podIPs", json!([{"ip": "10.244.0.17"}, {"ip": "10.244.0.17"}]), &both[..1], "twice"),
        ("/status/podIPs", json!([{"ip": "10.244.0.17"}, {"ip": "10.244.0.18"}]), &both[..1], "one family"),
        ("/status/podIP", json!("10.244.0.99"), &both, "not the first"),
        ("/status/phase", json!("Dancing"), &both, "phase"),
        ("/status/startTime", json!("yesterday"), &both, "startTime"),
        ("/metadata/creationTimestamp", json!("1969-12-31T23:59:59Z"), &both, "creationTimestamp"),
        ("/metadata/deletionTimestamp", json!("2200-01-01T00:00:00Z"), &both, "deletionTimestamp"),
        ("/metadata/deletionGracePeriodSeconds", json!(-1), &both, "deletionGracePeriodSeconds"),
        ("/metadata/annotations", json!({networks::KEYS[0]: "nonsense"}), &both, "network status"),
    ];
    for (pointer, value, addresses, reason) in cases {
        let (state, rejected) = state(&with(&[(pointer, value.clone())]));
        assert_eq!(shown(&state), *addresses, "{pointer} {value}");
        assert!(rejected[0].reason.contains(reason), "{pointer} {value}: {rejected:?}");
        assert_eq!(rejected[0].key.as_deref(), Some("kube-system/coredns-1"));
        assert_eq!(rejected[0].received, RECEIVED);
        assert_eq!(state.pod.name, "coredns-1");
    }
}

#[test]
fn labels_and_annotations_are_bounded_and_what_is_cut_is_reported() {
    let labels: Map = (0..70).map(|n| (format!("l{n:02}"), String::new())).collect();
    let annotations: Map = (0..5).map(|n| (format!("a{n}"), "x".repeat(100_000))).collect();
    let (read, rejected) =
        state(&with(&[("/metadata/labels", json!(labels)), ("/metadata/annotations", json!(annotations))]));
    assert_eq!(read.pod.labels.unwrap().len(), 64);
    assert_eq!(read.pod.annotations.unwrap().len(), 2);
    assert_eq!(rejected.len(), 6 + 3);

    let many: Vec<_> = (0..5000).map(|_| json!({"ip": "bad\u{7}"})).collect();
    let (_, rejected) = state(&with(&[("/status/podIPs", json!(many))]));
    assert_eq!(rejected.len(), 64, "the faults of one object are bounded");
    assert_eq!((rejected[1].excerpt.as_str(), rejected[1].length), (r"bad\x07", 4));
    assert_eq!(rejected[1].sha256, crate::digest::Sha256::of(b"bad\x07"), "of the bytes, not of the excerpt");
}

#[test]
fn a_pod_without_an_identity_is_refused() {
    for (member, value) in [
        ("uid", Value::Null),
        ("uid", json!("")),
        ("name", Value::Null),
        ("namespace", Value::Null),
        ("resourceVersion", Value::Null),
        ("resourceVersion", json!("abc")),
        ("resourceVersion", json!("+5")),
        ("resourceVersion", json!("-5")),
        ("resourceVersion", json!("99999999999999999999")),
    ] {
        let json = with(&[(&format!("/metadata/{member}"), value.clone())]).to_string();
        let error = PodLite::object(json.as_bytes()).unwrap().state(RECEIVED, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unusable, "{member} {value}");
    }
    let bare = PodLite::object(b"{}").unwrap();
    assert!(bare.state(RECEIVED, &mut Vec::new()).is_err());
}

#[test]
fn frames_are_told_apart() {
    let frame = |kind: &str, object: Value| json!({"type": kind, "object": object}).to_string();
    let text = frame("ADDED", sample());
    assert!(matches!(PodLite::frame(text.as_bytes()), Ok(Frame::Added(_))));
    let text = frame("MODIFIED", sample());
    assert!(matches!(PodLite::frame(text.as_bytes()), Ok(Frame::Modified(_))));
    let text = json!({"object": sample(), "type": "DELETED", "more": 1}).to_string();
    assert!(matches!(PodLite::frame(text.as_bytes()), Ok(Frame::Deleted(_))));

    let end = json!({"k8s.io/initial-events-end": "true"});
    for (annotations, ends) in [(Value::Null, false), (json!({"other": "true"}), false), (end, true)] {
        let object = json!({"kind": "Pod", "metadata": {"resourceVersion": "7", "creationTimestamp": null, "annotations": annotations},
                            "spec": {"containers": null}, "status": {}});
        let text = frame("BOOKMARK", object);
        let Ok(Frame::Bookmark { resource_version: 7, initial_events_end }) = PodLite::frame(text.as_bytes()) else {
            panic!("{text}");
        };
        assert_eq!(initial_events_end, ends);
    }

    for (status, expired) in [
        (json!({"kind": "Status", "status": "Failure", "message": "too old", "reason": "Expired", "code": 410}), true),
        (json!({"kind": "Status", "code": 410}), true),
        (json!({"reason": "Gone"}), true),
        (json!({"kind": "Status", "status": "Failure", "metadata": {}, "code": 500}), false),
    ] {
        let text = frame("ERROR", status);
        let Ok(Frame::Error(failure)) = PodLite::frame(text.as_bytes()) else { panic!("{text}") };
        assert_eq!(failure.is_expired(), expired, "{text}");
    }
}

#[test]
fn frames_that_are_none_are_refused() {
    let mut service = sample();
    service["kind"] = json!("Service");
    let whole = json!({"type": "ADDED", "object": sample()}).to_string();
    let mut invalid = whole.clone().into_bytes();
    let at = whole.find("kube-dns").unwrap();
    invalid[at] = 0xff;
    for line in [
        b"" as &[u8],
        b"null",
        b"not json",
        b"{}",
        b"{\"type\":\"ADDED\"}",
        b"{\"type\":7,\"object\":{}}",
        b"{\"type\":\"ERROR\",\"object\":7}",
        b"{\"type\":\"BOOKMARK\",\"object\":{}}",
        &whole.as_bytes()[..whole.len() / 2],
        format!("{whole}{whole}").as_bytes(),
        json!({"type": "RENAMED", "object": sample()}).to_string().as_bytes(),
        json!({"type": "MODIFIED", "object": service}).to_string().as_bytes(),
        json!({"type": "MODIFIED", "object": with(&[("/status/podIPs", json!("x"))])}).to_string().as_bytes(),
        "[".repeat(100_000).as_bytes(),
        &invalid,
    ] {
        let refused = PodLite::frame(line).expect_err(&String::from_utf8_lossy(&line[..line.len().min(80)]));
        assert!(!refused.is_retryable());
    }
}

#[test]
fn the_key_is_found_in_what_cannot_be_decoded() {
    let bad = json!({"type": "MODIFIED", "object": with(&[("/status/podIPs", json!("x"))])}).to_string();
    assert_eq!(decode::key_of_frame(bad.as_bytes()).as_deref(), Some("kube-system/coredns-1"));
    assert_eq!(decode::key_of_object(br#"{"metadata":{"name":"n"}}"#).as_deref(), Some("n"));
    for none in [&b""[..], b"{", b"{}", br#"{"object":{}}"#, br#"{"metadata":{"namespace":"x"}}"#] {
        assert_eq!((decode::key_of_frame(none), decode::key_of_object(none)), (None, None));
    }
}

#[test]
fn strings_are_borrowed_unless_escaped() {
    let json = sample().to_string();
    let pod = PodLite::object(json.as_bytes()).unwrap();
    let metadata = pod.metadata.as_ref().unwrap();
    let borrowed = |text: &Str<'_>| matches!(text.0, std::borrow::Cow::Borrowed(_));
    assert!(metadata.uid.as_ref().is_some_and(borrowed));
    let labels = &metadata.labels.as_ref().unwrap().0;
    assert!(borrowed(&labels[0].0) && borrowed(&labels[0].1) && !borrowed(&labels[1].1));
}

proptest::proptest! {
    /// Any part of a frame replaced by any bytes: it is decoded or refused, never worse.
    #[test]
    fn damaged_frames_never_panic(at in 0_usize..3000, cut in 0_usize..40, noise in proptest::collection::vec(proptest::num::u8::ANY, 0..8)) {
        let mut line = serde_json::json!({"type": "ADDED", "object": sample()}).to_string().into_bytes();
        let at = at.min(line.len());
        let end = (at + cut).min(line.len());
        line.splice(at..end, noise);
        if let Ok(Frame::Added(pod)) = PodLite::frame(&line) {
            pod.state(RECEIVED, &mut Vec::new()).ok();
        }
        decode::key_of_frame(&line);
    }
}
