//! What is made of a runtime's answers, and of their absence.

use std::time::{Duration, Instant, SystemTime};

use crate::fake::{self, Fake, Fault, container, sandbox};
use podtrail_cri::{Change, Client, Config, ContainerState, ErrorKind, Filter, Labels, Location, Pod};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixListener;

const CONTAINERD: &str = include_str!("info/containerd-sandbox.json");
const CONTAINERD_CONTAINER: &str = include_str!("info/containerd-container.json");
const SHIM: &str = include_str!("info/containerd2-shim.json");
const CRIO: &str = include_str!("info/crio-sandbox.json");
const CRIO_SPOOFED: &str = include_str!("info/crio-spoofed.json");
const DOCKERD: &str = include_str!("info/dockerd-container.json");

fn web() -> Pod {
    Pod::named("default", "web")
}

#[tokio::test]
async fn a_pod_is_found_by_its_name_and_by_its_uid_with_two_calls() {
    let fake = Fake::start();
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", CONTAINERD), sandbox("bb", "db", "u2", CONTAINERD)];
    let client = fake.client();

    for pod in [web(), Pod::with_uid("u1")] {
        fake.state().calls.clear();
        let found = client.sandbox_of(&pod).await.unwrap();
        let sandbox = &found.sandbox;
        assert_eq!((&*sandbox.id, &*sandbox.namespace, &*sandbox.name, &*sandbox.uid), ("aa", "default", "web", "u1"));
        assert_eq!(sandbox.created, SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        assert_eq!(found.addresses, ["10.244.0.7".parse::<std::net::IpAddr>().unwrap(), "fd00::7".parse().unwrap()]);
        assert!(sandbox.ready && !found.host_network);
        assert_eq!(fake.state().calls, ["ListPodSandbox", "PodSandboxStatus"]);
        assert!(!fake.state().filters.pop().unwrap().label_selector.is_empty(), "the runtime has to do the filtering");
    }
    assert_eq!(client.sandbox_of(&Pod::named("other", "web")).await.unwrap_err().kind(), ErrorKind::NoSandbox);
    assert_eq!(client.sandbox_of(&Pod::with_uid("u")).await.unwrap_err().kind(), ErrorKind::NoSandbox);
}

#[tokio::test]
async fn a_pod_is_found_without_labels_and_by_a_runtime_that_filters_nothing() {
    let fake = Fake::start();
    fake.state().sandboxes = vec![sandbox("bb", "db", "u2", ""), sandbox("aa", "web", "u1", "")];
    let client = fake.client();
    fake.state().ignores_filters = true;
    assert_eq!(client.sandbox_of(&web()).await.unwrap().sandbox.id, "aa");

    fake.state().ignores_filters = false;
    fake.state().sandboxes[1].status().labels.clear();
    assert_eq!(client.sandbox_of(&web()).await.unwrap().sandbox.id, "aa");
}

#[tokio::test]
async fn of_the_sandboxes_of_a_name_the_newest_that_is_ready_is_the_pods() {
    let fake = Fake::start();
    let client = fake.client();
    // Id, UID, attempt, made at, ready.
    type Made = (&'static str, &'static str, u32, i64, bool);
    let cases: [(&[Made], Result<&str, ErrorKind>); 6] = [
        (&[("aa", "u1", 0, 1, false), ("bb", "u1", 1, 2, true)], Ok("bb")),
        (&[("aa", "u1", 1, 2, true), ("bb", "u1", 0, 1, true)], Ok("aa")),
        (&[("aa", "u1", 1, 1, true), ("bb", "u1", 2, 1, true)], Ok("bb")),
        (&[("aa", "old", 0, 9, false), ("bb", "new", 0, 1, true)], Ok("bb")),
        (&[("aa", "u1", 0, 1, false), ("bb", "u1", 1, 2, false)], Err(ErrorKind::NotReady)),
        (&[("aa", "u1", 0, 1, true), ("bb", "u2", 0, 2, true)], Err(ErrorKind::Ambiguous)),
    ];
    for (sandboxes, expected) in cases {
        let made = sandboxes.iter().map(|&(id, uid, attempt, created, ready)| {
            let mut sandbox = sandbox(id, "web", uid, CONTAINERD);
            let status = sandbox.status();
            (status.state, status.created_at) = (i32::from(!ready), created);
            status.metadata.as_mut().unwrap().attempt = attempt;
            sandbox
        });
        fake.state().sandboxes = made.collect();
        match (client.sandbox_of(&web()).await, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.sandbox.id, expected),
            (Err(e), Err(expected)) => {
                assert_eq!(e.kind(), expected, "{e}");
                let says = if expected == ErrorKind::NotReady {
                    "bb, made at 1970-01-01T00:00:00.000000002Z"
                } else {
                    "u2 and u1"
                };
                assert!(e.to_string().contains(says), "{e}");
            }
            (found, expected) => panic!("{sandboxes:?}: {found:?} instead of {expected:?}"),
        }
    }
}

#[tokio::test]
async fn the_sandboxes_of_many_pods_are_found_by_their_labels() {
    let fake = Fake::start();
    let labelled = |id, name, uid, app: &str, created| {
        let mut sandbox = sandbox(id, name, uid, "");
        sandbox.status().labels.insert("app".into(), app.into());
        sandbox.status().created_at = created;
        sandbox
    };
    let mut stopped = labelled("dd", "c", "u4", "x", 1);
    stopped.status().state = 1;
    fake.state().sandboxes = vec![
        labelled("bb", "b", "u2", "x", 1),
        labelled("a1", "a", "u1", "x", 1),
        labelled("a2", "a", "u1", "x", 2),
        labelled("cc", "z", "u3", "y", 1),
        stopped,
    ];
    let client = fake.client();
    let ids = async |labels: Labels| -> Vec<String> {
        client.ready_sandboxes(&labels).await.unwrap().found.into_iter().map(|sandbox| sandbox.id).collect()
    };
    for ignores_filters in [false, true] {
        fake.state().ignores_filters = ignores_filters;
        assert_eq!(ids("app=x".parse().unwrap()).await, ["a2", "bb"]);
        assert_eq!(ids(Labels::new().in_namespace("default")).await, ["a2", "bb", "cc"]);
        assert!(ids(Labels::new().in_namespace("other")).await.is_empty());
        let mut filter = Filter::default();
        filter.ready = Some(false);
        assert_eq!(client.sandboxes(&filter).await.unwrap().found.len(), 1);
    }
}

#[tokio::test]
async fn each_runtime_says_in_its_own_way_where_the_namespace_is() {
    let fake = Fake::start();
    let client = fake.client();
    let path = |path: &str| Ok(Location::Path(path.into()));
    let cni = "/var/run/netns/cni-06393a9e-7c48-ab4a-ef47-15578a1a2295";
    let crio = "/var/run/netns/7e9ab6a5-8a5a-4f0b-8a51-1a4e0b1d9c55";
    // What is said of the sandbox and of its one container.
    let cases = [
        (CONTAINERD, CONTAINERD_CONTAINER, path(cni)),
        (SHIM, "", path(cni)),
        (CRIO, "", path(crio)),
        (CRIO_SPOOFED, "", path(crio)),
        ("{}", CONTAINERD_CONTAINER, Ok(Location::Process(30501))),
        ("", DOCKERD, Ok(Location::Process(4242))),
        (r#"{"pid":1234}"#, "", Ok(Location::Process(1234))),
        (r#"{"pid":0}"#, r#"{"pid":0}"#, Err(ErrorKind::NoNamespace)),
        ("", r#"{"pid":7,"sandboxID":"another"}"#, Err(ErrorKind::NoNamespace)),
        ("", "", Err(ErrorKind::NoNamespace)),
        (r#"{"pid":5,"runtimeSpec":{"linux":{"namespaces":[{"type":"pid"}]}}}"#, "", Err(ErrorKind::NoNamespace)),
        ("not json", DOCKERD, Err(ErrorKind::Malformed)),
        (r#"{"pid":1,"netNamespaceClosed":true}"#, "", Err(ErrorKind::NotReady)),
    ];
    for (of_sandbox, of_container, expected) in cases {
        let id = if of_container == CONTAINERD_CONTAINER { id_of_containerds() } else { "5a7d0b" };
        fake.state().sandboxes = vec![sandbox(id, "web", "u1", of_sandbox)];
        fake.state().containers = vec![(id.to_owned(), container("cc", "web", of_container))];
        let status = client.sandbox(id).await.unwrap();
        let found = client.namespace_of(&status).await.map_err(|e| e.kind());
        assert_eq!(found, expected, "{of_sandbox} {of_container}");
    }
}

fn id_of_containerds() -> &'static str {
    "65787e1b13a7e617c1e78af3cf11caef8085b321b8fcabcb2cde0d4ab871865c"
}

#[tokio::test]
async fn a_sandbox_that_is_not_ready_or_says_too_much_has_no_namespace() {
    let fake = Fake::start();
    let client = fake.client();
    let broken = format!(r#"{{"pid":1,"x":"{}""#, "x".repeat(2 << 20));
    let big = format!("{broken}}}");
    let sandboxes = [("aa", CONTAINERD), ("bb", broken.as_str()), ("cc", big.as_str())];
    fake.state().sandboxes = sandboxes.map(|(id, info)| sandbox(id, id, id, info)).to_vec();
    fake.state().sandboxes[0].status().state = 1;
    for (id, expected) in [("aa", ErrorKind::NotReady), ("bb", ErrorKind::Malformed)] {
        let status = client.sandbox(id).await.unwrap();
        assert_eq!(client.namespace_of(&status).await.unwrap_err().kind(), expected);
    }
    let status = client.sandbox("cc").await.unwrap();
    assert_eq!(client.namespace_of(&status).await.unwrap(), Location::Process(1));
    // More than any message may have.
    fake.state().sandboxes[1] = sandbox("bb", "big", "u2", &"x".repeat(17 << 20));
    assert_eq!(client.sandbox("bb").await.unwrap_err().kind(), ErrorKind::Refused);

    fake.state().sandboxes[0].status().network.as_mut().unwrap().ip = "10.0.0.256".into();
    assert_eq!(client.sandbox("aa").await.unwrap_err().kind(), ErrorKind::Malformed);
    fake.state().sandboxes[0].status().id = "../aa".into();
    assert_eq!(client.sandbox("../aa").await.unwrap_err().kind(), ErrorKind::Malformed);
}

#[tokio::test]
async fn a_pod_in_the_nodes_network_says_so() {
    let fake = Fake::start();
    let mut of_node =
        sandbox("aa", "web", "u1", r#"{"pid":9,"runtimeSpec":{"linux":{"namespaces":[{"type":"pid"}]}}}"#);
    of_node.status().network = None;
    let namespaces = of_node.status().linux.as_mut().unwrap().namespaces.as_mut().unwrap();
    namespaces.options.as_mut().unwrap().network = fake::NamespaceMode::Node.into();
    fake.state().sandboxes = vec![of_node];
    let client = fake.client();
    let status = client.sandbox_of(&web()).await.unwrap();
    assert!(status.host_network && status.addresses.is_empty());
    assert_eq!(client.namespace_of(&status).await.unwrap(), Location::Process(9));
}

#[tokio::test]
async fn containers_and_the_runtime_are_described() {
    let fake = Fake::start();
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", "")];
    let mut ended = container("c1", "init", "");
    ended.status.as_mut().unwrap().state = fake::ContainerState::ContainerExited.into();
    ended.status.as_mut().unwrap().created_at = 1;
    fake.state().containers = vec![
        ("aa".to_owned(), container("c2", "app", "")),
        ("aa".to_owned(), ended),
        ("bb".to_owned(), container("c3", "app", "")),
    ];
    let client = fake.client();
    let sandbox = client.sandbox("aa").await.unwrap().sandbox;
    for ignores_filters in [false, true] {
        fake.state().ignores_filters = ignores_filters;
        let containers = client.containers(&sandbox).await.unwrap();
        let shown: Vec<_> = containers.found.iter().map(|c| (&*c.id, &*c.name, c.state)).collect();
        assert_eq!(shown, [("c1", "init", ContainerState::Exited), ("c2", "app", ContainerState::Running)]);
    }
    let version = client.version().await.unwrap();
    assert_eq!((&*version.runtime, &*version.version, &*version.api), ("fake", "1.2.3", "v1"));
    let conditions = client.status().await.unwrap();
    assert_eq!((&*conditions[0].kind, conditions[0].holds), ("NetworkReady", false));
    assert_eq!(client.container("c9").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn events_come_in_their_order_until_the_runtime_ends() {
    let fake = Fake::start();
    let status = sandbox("aa", "web", "u1", "").status;
    let event = |kind, pod_sandbox_status| fake::ContainerEventResponse {
        container_id: "cc".into(),
        container_event_type: kind,
        created_at: 5,
        pod_sandbox_status,
    };
    let mut config = Config::default();
    config.timeout = Duration::from_millis(200);
    let client = fake.client_with(config);
    for quiet in [Duration::ZERO, Duration::from_millis(400)] {
        fake.state().quiet = quiet;
        fake.state().events = vec![event(1, status.clone()), event(3, None), event(77, None)];
        let mut events = client.events().await.unwrap();
        if !quiet.is_zero() {
            tokio::time::timeout(quiet / 4, events.next()).await.expect_err("nothing is said yet");
        }
        for (change, has_sandbox) in [(Change::Started, true), (Change::Deleted, false), (Change::Other, false)] {
            let event = events.next().await.unwrap().unwrap();
            assert_eq!((&*event.id, event.change, event.sandbox.is_some()), ("cc", change, has_sandbox));
        }
        assert!(events.next().await.unwrap().is_none());
        assert!(events.next().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn every_fault_of_a_runtime_has_its_error() {
    let fake = Fake::start();
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", CONTAINERD)];
    let mut config = Config::default();
    config.timeout = Duration::from_millis(300);
    let client = fake.client_with(config);
    let cases = [
        (Fault::Hang, ErrorKind::Timeout, true),
        (Fault::Unimplemented, ErrorKind::Unsupported, false),
        (Fault::Fails, ErrorKind::Refused, false),
    ];
    for (fault, expected, retryable) in cases {
        fake.state().fault = Some(fault);
        let start = Instant::now();
        for error in [
            client.version().await.unwrap_err(),
            client.sandbox_of(&web()).await.unwrap_err(),
            client.events().await.unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.is_retryable()), (expected, retryable), "{error}");
            assert!(error.to_string().contains("cri.sock"), "{error}");
        }
        assert!(start.elapsed() < Duration::from_secs(9), "{fault:?}");
    }
    fake.state().fault = None;
    assert!(client.sandbox_of(&web()).await.is_ok(), "the client goes on");
}

#[tokio::test]
async fn a_runtime_that_is_not_there_is_unreachable_until_it_is() {
    let mut fake = Fake::start();
    let client = fake.client();
    fake.stop();
    let error = client.version().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unreachable, true), "{error}");
    assert!(error.to_string().contains("is it running"), "{error}");
    fake.listen();
    client.version().await.unwrap();
    fake.listen();
    let again = async || client.version().await.or(client.version().await);
    again().await.unwrap();
}

#[tokio::test]
async fn a_runtime_that_closes_or_talks_nonsense_is_no_hang() {
    let folder = tempfile::tempdir().unwrap();
    for answer in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0; 9], &[0xff; 4096]] {
        let socket = folder.path().join(format!("{}.sock", answer.len()));
        let listener = UnixListener::bind(&socket).unwrap();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 24];
                stream.read_exact(&mut request).await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
            }
        });
        let mut config = Config::default();
        config.timeout = Duration::from_secs(2);
        let client = Client::new(&socket.to_str().unwrap().parse().unwrap(), config);
        let error = client.version().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Refused), "{answer:?}: {error:?}");
        server.abort();
    }
}
