//! The bytes of messages, put together from the field numbers of k8s.io/cri-api's api.proto by hand.

use prost::Message as _;

use crate::generated::*;
use crate::{Container, ContainerState, Filter, Labels, SandboxStatus};

/// A field of bytes: a text, a message, an entry of a map.
fn bytes(number: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [&[number << 3 | 2, value.len().try_into().unwrap()], value].concat()
}

fn integer(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn entry(number: u8, key: &str, value: &str) -> Vec<u8> {
    bytes(number, [bytes(1, key), bytes(2, value)].concat())
}

#[test]
fn a_sandboxs_status_is_read_by_its_numbers() {
    let metadata = [bytes(1, "web"), bytes(2, "u1"), bytes(3, "default"), integer(4, 2)].concat();
    let network = [bytes(1, "10.0.0.1"), bytes(2, bytes(1, "fd00::1"))].concat();
    let status = [
        bytes(1, "aa"),
        bytes(2, metadata),
        integer(3, 1),
        integer(4, 5),
        bytes(5, network),
        bytes(6, bytes(1, bytes(2, integer(1, 2)))),
        entry(7, "app", "x"),
        entry(8, "an", "annotation"),
        bytes(9, "runc"),
    ]
    .concat();
    let answer = [bytes(1, status), entry(2, "info", r#"{"pid":7}"#), integer(4, 9)].concat();

    let status = SandboxStatus::answered(PodSandboxStatusResponse::decode(&*answer).unwrap()).unwrap();
    let sandbox = &status.sandbox;
    assert_eq!((&*sandbox.id, &*sandbox.name, &*sandbox.uid, &*sandbox.namespace), ("aa", "web", "u1", "default"));
    assert_eq!((sandbox.attempt, sandbox.ready, sandbox.created), (2, false, crate::sandbox::time(5)));
    assert_eq!(sandbox.labels.iter().next().unwrap(), (&"app".to_owned(), &"x".to_owned()));
    assert!(status.host_network);
    assert_eq!(status.addresses.len(), 2);
    assert_eq!(status.info().unwrap().unwrap().pid, Some(7));
}

#[test]
fn a_listing_is_asked_for_and_read_by_its_numbers() {
    let filter = Filter { id: Some("aa".into()), ready: Some(false), labels: Labels::new().with("app", "x") };
    let asked = ListPodSandboxRequest { filter: Some(filter.to_proto()) }.encode_to_vec();
    assert_eq!(asked, bytes(1, [bytes(1, "aa"), bytes(2, integer(1, 1)), entry(3, "app", "x")].concat()));

    let metadata = [bytes(1, "web"), bytes(3, "default")].concat();
    let item = [bytes(1, "aa"), bytes(2, metadata), integer(3, 1), integer(4, 5), entry(5, "app", "x")].concat();
    let sandbox = ListPodSandboxResponse::decode(&*bytes(1, item)).unwrap().items.remove(0);
    assert_eq!((&*sandbox.id, sandbox.state, sandbox.created_at, sandbox.labels.len()), ("aa", 1, 5, 1));
}

#[test]
fn containers_are_asked_for_and_read_by_their_numbers() {
    let filter = ContainerFilter { id: "cc".into(), pod_sandbox_id: "aa".into() };
    let asked = ListContainersRequest { filter: Some(filter) }.encode_to_vec();
    assert_eq!(asked, bytes(1, [bytes(1, "cc"), bytes(3, "aa")].concat()));
    let asked = ContainerStatusRequest { container_id: "cc".into(), verbose: true }.encode_to_vec();
    assert_eq!(asked, [bytes(1, "cc"), integer(2, 1)].concat());

    let metadata = [bytes(1, "app"), integer(2, 3)].concat();
    let item = [bytes(1, "cc"), bytes(2, "aa"), bytes(3, &metadata), bytes(5, "image"), integer(6, 1), integer(7, 5)];
    let listed = ListContainersResponse::decode(&*bytes(1, item.concat())).unwrap().containers.remove(0);
    assert_eq!(listed.pod_sandbox_id, "aa");
    let listed = Container::said(listed);
    assert_eq!((&*listed.name, listed.attempt, listed.state), ("app", 3, ContainerState::Running));

    let status = [bytes(1, "cc"), bytes(2, metadata), integer(3, 2), integer(4, 5), integer(5, 6)].concat();
    let answer = [bytes(1, status), entry(2, "info", "{}")].concat();
    let answer = ContainerStatusResponse::decode(&*answer).unwrap();
    let status = answer.status.unwrap();
    assert_eq!((status.state, status.created_at, answer.info.len()), (2, 5, 1));
}

#[test]
fn events_and_the_runtime_are_read_by_their_numbers() {
    let event = [bytes(1, "cc"), integer(2, 3), integer(3, 5), bytes(4, bytes(1, "aa"))].concat();
    let event = ContainerEventResponse::decode(&*event).unwrap();
    assert_eq!((&*event.container_id, event.container_event_type, event.created_at), ("cc", 3, 5));
    assert_eq!(event.pod_sandbox_status.unwrap().id, "aa");

    let version = [bytes(1, "0.1.0"), bytes(2, "containerd"), bytes(3, "2.1.0"), bytes(4, "v1")].concat();
    let version = VersionResponse::decode(&*version).unwrap();
    assert_eq!(
        (&*version.runtime_name, &*version.runtime_version, &*version.runtime_api_version),
        ("containerd", "2.1.0", "v1")
    );

    let condition = [bytes(1, "NetworkReady"), integer(2, 1), bytes(3, "why"), bytes(4, "because")].concat();
    let status = StatusResponse::decode(&*bytes(1, bytes(1, condition))).unwrap().status.unwrap();
    let condition = &status.conditions[0];
    assert_eq!(
        (&*condition.r#type, condition.status, &*condition.reason, &*condition.message),
        ("NetworkReady", true, "why", "because")
    );
}
