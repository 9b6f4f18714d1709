//! What a runtime says wrongly costs nothing else, and is not taken for what it could be.

use std::error::Error as _;
use std::time::SystemTime;

use crate::fake::{self, Fake, container, sandbox};
use podtrail_cri::{ErrorKind, Filter, Labels, Location, Pod};

fn web() -> Pod {
    Pod::named("default", "web")
}

type Change = fn(&mut fake::PodSandboxStatus);

/// What is wrong in one record of a list.
const WRONG: [(&str, Change); 5] = [
    ("an empty id", |status| status.id.clear()),
    ("a path as id", |status| status.id = "../aa".into()),
    ("an id with a line break", |status| status.id = "a\na".into()),
    ("a long id", |status| status.id = "a".repeat(1 << 20)),
    ("no pod", |status| status.metadata = None),
];

#[tokio::test]
async fn a_sandbox_with_an_odd_id_or_no_pod_costs_no_other() {
    let fake = Fake::start();
    let client = fake.client();
    for (what, change) in WRONG {
        let mut odd = sandbox("aa", "odd", "u1", "");
        change(odd.status());
        fake.state().sandboxes = vec![odd, sandbox("bb", "web", "u2", "")];
        for listing in
            [client.sandboxes(&Filter::default()).await.unwrap(), client.ready_sandboxes(&Labels::new()).await.unwrap()]
        {
            let ids: Vec<_> = listing.found.iter().map(|sandbox| &*sandbox.id).collect();
            assert_eq!(ids, ["bb"], "{what}");
            let [error] = &*listing.malformed else { panic!("{what}: {listing:?}") };
            let text = error.to_string();
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Malformed, false), "{text}");
            assert!(text.contains("\"odd\"") || text.contains("sandbox \"aa\""), "{text}");
            assert!(text.len() < 500 && !text.contains('\n'), "{text}");
        }
        assert_eq!(client.sandbox_of(&web()).await.unwrap().sandbox.id, "bb", "{what}");
    }
}

#[tokio::test]
async fn a_sandbox_that_the_filter_leaves_out_is_not_missed() {
    let fake = Fake::start();
    fake.state().ignores_filters = true;
    fake.state().sandboxes = vec![sandbox("../aa", "odd", "u1", ""), sandbox("bb", "web", "u2", "")];
    let labels = Labels::new().with("io.kubernetes.pod.name", "web");
    let listing = fake.client().ready_sandboxes(&labels).await.unwrap();
    assert_eq!((listing.found.len(), listing.malformed.len()), (1, 0));
}

#[tokio::test]
async fn no_sandbox_is_said_only_where_the_odd_one_is_another_pods() {
    let fake = Fake::start();
    let client = fake.client();
    for (what, change) in WRONG {
        for (name, uid, is_other) in [("web", "u1", false), ("db", "u9", true)] {
            let mut odd = sandbox("aa", name, uid, "");
            change(odd.status());
            let says_whose = odd.status().metadata.is_some();
            fake.state().sandboxes = vec![odd, sandbox("bb", "cache", "u2", "")];
            for pod in [web(), Pod::with_uid("u1")] {
                let error = client.sandbox_of(&pod).await.unwrap_err();
                let names_it = error.source().is_some_and(|odd| odd.to_string().contains("sandbox \""));
                let is_certain = is_other && says_whose;
                let expected = if is_certain { ErrorKind::NoSandbox } else { ErrorKind::Malformed };
                assert_eq!((error.kind(), names_it), (expected, !is_certain), "{what}, {name}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn beside_a_sandbox_that_has_stopped_only_an_odd_one_that_is_ready_may_be_the_pods() {
    let fake = Fake::start();
    let client = fake.client();
    for (state, expected) in [(0, ErrorKind::Malformed), (1, ErrorKind::NotReady), (77, ErrorKind::NotReady)] {
        let (mut stopped, mut odd) = (sandbox("aa", "web", "u1", ""), sandbox("b/b", "web", "u1", ""));
        (stopped.status().state, odd.status().state) = (1, state);
        fake.state().sandboxes = vec![stopped, odd];
        assert_eq!(client.sandbox_of(&web()).await.unwrap_err().kind(), expected, "{state}");
    }
    let namesake = sandbox("b/b", "web", "u2", "");
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", ""), namesake];
    assert_eq!(client.sandbox_of(&web()).await.unwrap_err().kind(), ErrorKind::Ambiguous);
    assert_eq!(client.sandbox_of(&Pod::with_uid("u1")).await.unwrap().sandbox.id, "aa");
}

#[tokio::test]
async fn an_impossible_time_is_no_time_and_costs_nothing() {
    let fake = Fake::start();
    let client = fake.client();
    for (created, expected) in [(i64::MIN, 0), (-1, 0), (0, 0), (i64::MAX, i64::MAX.cast_unsigned())] {
        let mut odd = sandbox("aa", "web", "u1", "");
        odd.status().created_at = created;
        fake.state().sandboxes = vec![odd];
        let created = client.sandbox_of(&web()).await.unwrap().sandbox.created;
        let expected = std::time::Duration::from_nanos(expected);
        assert_eq!(created.duration_since(SystemTime::UNIX_EPOCH).unwrap(), expected);
    }
}

#[tokio::test]
async fn a_status_with_an_odd_address_is_an_error_of_that_sandbox() {
    let fake = Fake::start();
    let client = fake.client();
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", ""), sandbox("bb", "db", "u2", "")];
    fake.state().sandboxes[0].status().network.as_mut().unwrap().ip = "999.1.1.1".into();
    let error = client.sandbox_of(&web()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(error.to_string().contains("sandbox aa"), "{error}");
    assert_eq!(client.sandbox_of(&Pod::named("default", "db")).await.unwrap().sandbox.id, "bb");
}

#[tokio::test]
async fn an_odd_container_costs_no_other() {
    let fake = Fake::start();
    let client = fake.client();
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", "")];
    let status = client.sandbox_of(&web()).await.unwrap();
    let odd = |info: &str| ("aa".to_owned(), container("c/1", "odd", info));

    fake.state().containers = vec![odd(""), ("aa".to_owned(), container("c2", "app", r#"{"pid":7}"#))];
    let listing = client.containers(&status.sandbox).await.unwrap();
    assert_eq!((listing.found.len(), &*listing.found[0].id), (1, "c2"));
    let [error] = &*listing.malformed else { panic!("{listing:?}") };
    assert!(error.to_string().contains("\"odd\"") && error.to_string().contains("c/1"), "{error}");
    assert_eq!(client.namespace_of(&status).await.unwrap(), Location::Process(7));

    fake.state().containers.pop();
    assert_eq!(client.namespace_of(&status).await.unwrap_err().kind(), ErrorKind::Malformed);
}

#[tokio::test]
async fn a_pod_without_containers_has_no_namespace_where_only_they_would_tell_it() {
    let fake = Fake::start();
    let client = fake.client();
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", "")];
    let status = client.sandbox_of(&web()).await.unwrap();
    assert!(client.containers(&status.sandbox).await.unwrap().found.is_empty());
    assert_eq!(client.namespace_of(&status).await.unwrap_err().kind(), ErrorKind::NoNamespace);
}

#[tokio::test]
async fn info_that_names_no_namespace_and_process_0_are_no_place() {
    let fake = Fake::start();
    let client = fake.client();
    for info in [
        "",
        "{}",
        r#"{"pid":0}"#,
        r#"{"pid":null,"runtimeSpec":null,"sandboxMetadata":null}"#,
        r#"{"runtimeSpec":{"linux":{"namespaces":[]}}}"#,
        r#"{"pid":0,"runtimeSpec":{"linux":{"namespaces":[{"type":"network"}]}}}"#,
        r#"{"runtimeSpec":{"linux":{"namespaces":[{"type":"network","path":""}]}}}"#,
    ] {
        fake.state().sandboxes = vec![sandbox("aa", "web", "u1", info)];
        fake.state().containers = vec![("aa".to_owned(), container("c1", "app", info))];
        let status = client.sandbox_of(&web()).await.unwrap();
        assert_eq!(client.namespace_of(&status).await.unwrap_err().kind(), ErrorKind::NoNamespace, "{info}");
    }
}

#[tokio::test]
async fn what_one_container_says_wrongly_another_may_say_rightly() {
    let fake = Fake::start();
    let client = fake.client();
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", "")];
    let status = client.sandbox_of(&web()).await.unwrap();
    let good = ("aa".to_owned(), container("c2", "app", r#"{"pid":7}"#));
    for info in ["no json", r#"{"pid":-1}"#, r#"{"pid":4194305}"#] {
        let bad = ("aa".to_owned(), container("c1", "odd", info));
        fake.state().containers = vec![bad.clone(), good.clone()];
        assert_eq!(client.namespace_of(&status).await.unwrap(), Location::Process(7), "{info}");
        fake.state().containers = vec![bad];
        let error = client.namespace_of(&status).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
        assert!(error.source().is_some(), "{error}");
    }
}

#[tokio::test]
async fn an_odd_event_costs_no_other() {
    let fake = Fake::start();
    let client = fake.client();
    let event = |id: &str, pod_sandbox_status| fake::ContainerEventResponse {
        container_id: id.into(),
        container_event_type: 1,
        created_at: 5,
        pod_sandbox_status,
    };
    // Its addresses are no part of an event.
    let mut odd_address = sandbox("aa", "web", "u1", "");
    odd_address.status().network.as_mut().unwrap().ip = "nowhere".into();
    let no_sandbox = sandbox("a/a", "web", "u1", "").status;
    fake.state().events =
        vec![event("", None), event("c/c", None), event("c1", no_sandbox), event("c2", odd_address.status)];
    let mut events = client.events().await.unwrap();
    for names in ["\"\"", "c/c", "c1"] {
        let error = events.next().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(error.to_string().contains(names), "{error}");
    }
    let event = events.next().await.unwrap().unwrap();
    assert_eq!((&*event.id, event.change, &*event.sandbox.unwrap().id), ("c2", podtrail_cri::Change::Started, "aa"));
    assert!(events.next().await.unwrap().is_none());
}
