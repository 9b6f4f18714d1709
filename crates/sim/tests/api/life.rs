use std::net::IpAddr;
use std::time::Duration;

use podtrail_event::Timestamp;
use podtrail_sim::{
    Attachment, Cluster, Config, DEFAULT_NETWORK, ErrorKind, Hold, ManualClock, Outcome, Pod, PodSpec, Skew,
};
use serde_json::{Value, json};

use crate::client::bed;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A cluster whose clock shows 100.7 s, and the clock.
fn cluster() -> (Cluster, ManualClock) {
    let clock = ManualClock::new(Timestamp::from_nanosecond(100_700_000_000));
    let cluster = Cluster::new(Config { clock: clock.clone().into(), ..Config::default() });
    cluster.add_node("n1", &[("InternalIP", "198.18.0.11")]).unwrap();
    (cluster, clock)
}

fn create(cluster: &Cluster, name: &str) -> Pod {
    cluster.create(PodSpec::new("default", name, "n1")).unwrap()
}

/// The object of the latest pod frame.
fn latest(cluster: &Cluster) -> Value {
    let frame: Value = serde_json::from_slice(cluster.frames().last().unwrap()).unwrap();
    frame["object"].clone()
}

fn condition(pod: &Value, kind: &str) -> (String, String) {
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|c| c["type"] == kind).unwrap();
    (found["status"].as_str().unwrap().into(), found["lastTransitionTime"].as_str().unwrap().into())
}

fn spans(holds: &[Hold]) -> Vec<(String, i64, Option<i64>)> {
    let ms = |at: Timestamp| at.as_nanosecond() / 1_000_000;
    holds.iter().map(|h| (h.ip.to_string(), ms(h.from), h.to.map(ms))).collect()
}

#[test]
fn a_pod_looks_as_a_real_one_through_its_life() {
    let (cluster, clock) = cluster();
    let spec = PodSpec::new("default", "web-1", "n1")
        .label("app", "we\"b")
        .annotation("note", "a\nb")
        .service_account("robot")
        .owner("ReplicaSet", "web")
        .grace(Duration::from_secs(7));
    let pod = cluster.create(spec).unwrap();
    let pending = latest(&cluster);
    assert_eq!(pending["metadata"]["creationTimestamp"], "1970-01-01T00:01:40Z");
    assert_eq!(pending["metadata"]["labels"], json!({"app": "we\"b"}));
    assert_eq!(pending["metadata"]["annotations"], json!({"note": "a\nb"}));
    let owner = &pending["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["name"], &owner["controller"]),
        (&json!("ReplicaSet"), &json!("web"), &json!(true))
    );
    assert_eq!(pending["spec"]["nodeName"], "n1");
    assert_eq!(pending["spec"]["serviceAccountName"], "robot");
    assert_eq!(pending["spec"]["terminationGracePeriodSeconds"], 7);
    assert!(pending["spec"].get("hostNetwork").is_none());
    assert_eq!(pending["status"]["phase"], "Pending");
    assert!(pending["status"].get("podIP").is_none());
    assert_eq!(condition(&pending, "PodScheduled").0, "True");

    clock.advance(Duration::from_secs(1));
    cluster.run(&pod, &[ip("10.244.0.5"), ip("fd00::5")]).unwrap();
    let running = latest(&cluster);
    let status = &running["status"];
    assert_eq!(status["phase"], "Running");
    assert_eq!(status["podIP"], "10.244.0.5");
    assert_eq!(status["podIPs"], json!([{"ip": "10.244.0.5"}, {"ip": "fd00::5"}]));
    assert_eq!(status["hostIP"], "198.18.0.11");
    assert_eq!(status["startTime"], "1970-01-01T00:01:41Z");
    for kind in ["PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"] {
        assert_eq!(condition(&running, kind), ("True".into(), "1970-01-01T00:01:41Z".into()), "{kind}");
    }
    let container = &status["containerStatuses"][0];
    assert_eq!(container["state"], json!({"running": {"startedAt": "1970-01-01T00:01:41Z"}}));
    assert!(container["containerID"].as_str().unwrap().starts_with("containerd://"));

    clock.advance(Duration::from_secs(2));
    cluster.change_addresses(&pod, &[ip("10.244.0.6")]).unwrap();
    let restarted = latest(&cluster);
    let again = &restarted["status"]["containerStatuses"][0];
    assert_eq!(again["restartCount"], 1);
    assert_eq!(again["lastState"]["terminated"]["finishedAt"], "1970-01-01T00:01:43Z");
    assert_ne!(again["containerID"], container["containerID"]);
    assert_eq!(restarted["status"]["startTime"], "1970-01-01T00:01:41Z");

    cluster.terminate(&pod, Duration::from_secs(7)).unwrap();
    let terminating = latest(&cluster);
    assert_eq!(terminating["metadata"]["deletionTimestamp"], "1970-01-01T00:01:50Z");
    assert_eq!(terminating["metadata"]["deletionGracePeriodSeconds"], 7);

    clock.advance(Duration::from_secs(1));
    cluster.finish(&pod, Outcome::Failed).unwrap();
    let finished = latest(&cluster);
    assert_eq!(finished["status"]["phase"], "Failed");
    assert_eq!(finished["status"]["podIP"], "10.244.0.6", "the object goes on showing the address");
    assert_eq!(condition(&finished, "Ready"), ("False".into(), "1970-01-01T00:01:44Z".into()));
    let ended = &finished["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&ended["exitCode"], &ended["finishedAt"]), (&json!(1), &json!("1970-01-01T00:01:44Z")));
    assert_eq!(ended["startedAt"], "1970-01-01T00:01:43Z");
}

#[test]
fn a_skewed_node_stamps_with_its_own_clock() {
    let (cluster, _) = cluster();
    cluster.skew_node("n1", Skew::Behind(Duration::from_secs(40)));
    let pod = create(&cluster, "p");
    cluster.run(&pod, &[ip("10.244.0.5")]).unwrap();
    let running = latest(&cluster);
    assert_eq!(running["metadata"]["creationTimestamp"], "1970-01-01T00:01:40Z");
    assert_eq!(running["status"]["startTime"], "1970-01-01T00:01:00Z");
    cluster.skew_node("n1", Skew::Ahead(Duration::from_secs(20)));
    cluster.finish(&pod, Outcome::Succeeded).unwrap();
    assert_eq!(condition(&latest(&cluster), "Ready").1, "1970-01-01T00:02:00Z");
    assert_eq!(cluster.truth()[0].to, Some(cluster.now()), "the truth is not skewed");
}

#[test]
fn the_truth_ends_when_the_sandbox_does() {
    type End = fn(&Cluster, &Pod, &ManualClock);
    let second = Duration::from_secs(1);
    let cases: [(&str, End, Option<i64>); 5] = [
        ("runs", |_, _, _| {}, None),
        ("terminates", |c, p, _| c.terminate(p, Duration::from_secs(5)).unwrap(), None),
        ("removed", |c, p, _| c.remove(p).unwrap(), Some(101_700)),
        (
            "finished, then removed",
            |c, p, clock| {
                c.finish(p, Outcome::Succeeded).unwrap();
                clock.advance(Duration::from_secs(9));
                c.remove(p).unwrap();
            },
            Some(101_700),
        ),
        (
            "deleted by force, then released",
            |c, p, clock| {
                c.force_delete(p).unwrap();
                assert_eq!(latest(c)["metadata"]["deletionGracePeriodSeconds"], 0);
                assert_eq!(c.truth()[0].to, None, "the sandbox outlives the object");
                clock.advance(Duration::from_secs(3));
                c.release(p).unwrap();
            },
            Some(104_700),
        ),
    ];
    for (name, end, to) in cases {
        let (cluster, clock) = cluster();
        let pod = create(&cluster, "p");
        assert_eq!(cluster.truth(), []);
        cluster.run(&pod, &[ip("10.244.0.5")]).unwrap();
        clock.advance(second);
        end(&cluster, &pod, &clock);
        assert_eq!(spans(&cluster.truth()), [("10.244.0.5".into(), 100_700, to)], "{name}");
    }
}

#[test]
fn changed_and_secondary_addresses_are_holds_of_their_own() {
    let (cluster, clock) = cluster();
    let second = Duration::from_secs(1);
    let pod = create(&cluster, "p");
    cluster.run(&pod, &[ip("10.244.0.5"), ip("fd00::5")]).unwrap();
    clock.advance(second);
    let attachment = |ips: &[&str]| Attachment {
        network: "default/storage".into(),
        interface: "net1".into(),
        ips: ips.iter().map(|text| ip(text)).collect(),
    };
    cluster.annotate_networks(&pod, &[attachment(&["192.0.2.1", "192.0.2.2"])]).unwrap();
    let annotation = latest(&cluster)["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"].clone();
    let status: Value = serde_json::from_str(annotation.as_str().unwrap()).unwrap();
    assert_eq!((&status[0]["default"], &status[0]["ips"]), (&json!(true), &json!(["10.244.0.5", "fd00::5"])));
    assert_eq!(status[1]["name"], "default/storage");
    assert_eq!(status[1]["ips"], json!(["192.0.2.1", "192.0.2.2"]));
    clock.advance(second);
    cluster.annotate_networks(&pod, &[attachment(&["192.0.2.2"])]).unwrap();
    cluster.change_addresses(&pod, &[ip("10.244.0.7"), ip("fd00::5")]).unwrap();
    clock.advance(second);
    cluster.finish(&pod, Outcome::Succeeded).unwrap();
    let want = [
        ("10.244.0.5", 100_700, 102_700),
        ("fd00::5", 100_700, 103_700),
        ("192.0.2.1", 101_700, 102_700),
        ("192.0.2.2", 101_700, 103_700),
        ("10.244.0.7", 102_700, 103_700),
    ];
    assert_eq!(spans(&cluster.truth()), want.map(|(ip, from, to)| (ip.to_owned(), from, Some(to))));
    let at = |network, address, ms: i64| {
        let holds = cluster.owner_at(network, ip(address), Timestamp::from_nanosecond(ms * 1_000_000));
        holds.iter().map(|h| h.uid.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(at(DEFAULT_NETWORK, "10.244.0.5", 100_700), [pod.uid()]);
    assert_eq!(at(DEFAULT_NETWORK, "10.244.0.5", 100_699), [""; 0]);
    assert_eq!(at(DEFAULT_NETWORK, "10.244.0.5", 102_700), [""; 0], "the end is not held");
    assert_eq!(at("default/storage", "192.0.2.1", 102_000), [pod.uid()]);
    assert_eq!(at(DEFAULT_NETWORK, "192.0.2.1", 102_000), [""; 0]);
}

#[test]
fn the_same_name_is_another_incarnation_and_host_network_pods_share_an_address() {
    let (cluster, clock) = cluster();
    let pods: Vec<_> = (0..2)
        .map(|i| {
            let spec = PodSpec::new("kube-system", &format!("proxy-{i}"), "n1").host_network();
            cluster.create_running(spec, &[ip("198.18.0.11")]).unwrap()
        })
        .collect();
    assert_eq!(latest(&cluster)["spec"]["hostNetwork"], true);
    let users = cluster.owner_at(DEFAULT_NETWORK, ip("198.18.0.11"), clock.now());
    assert_eq!(users.len(), 2);
    assert!(users.iter().all(|hold| hold.host_network));
    cluster.remove(&pods[0]).unwrap();
    let next = cluster.create(PodSpec::new("kube-system", "proxy-0", "n1")).unwrap();
    assert_ne!(next.uid(), pods[0].uid());
    assert_eq!(cluster.run(&pods[0], &[ip("10.244.0.1")]).unwrap_err().kind(), ErrorKind::NotFound);
    cluster.run(&next, &[ip("10.244.0.1")]).unwrap();
}

#[test]
fn operations_that_make_no_sense_are_refused_and_change_nothing() {
    let (cluster, _) = cluster();
    let pod = create(&cluster, "p");
    let one = [ip("10.244.0.1")];
    let version = cluster.version();
    let refused = [
        (cluster.create(PodSpec::new("default", "p", "n1")).map(drop), ErrorKind::AlreadyExists),
        (cluster.add_namespace("default"), ErrorKind::AlreadyExists),
        (cluster.add_node("n1", &[]), ErrorKind::AlreadyExists),
        (cluster.remove_node("n2"), ErrorKind::NotFound),
        (cluster.set_node_addresses("n2", &[]), ErrorKind::NotFound),
        (cluster.run(&pod, &[]), ErrorKind::NoAddress),
        (cluster.finish(&pod, Outcome::Failed), ErrorKind::WrongPhase),
        (cluster.change_addresses(&pod, &one), ErrorKind::WrongPhase),
        (cluster.annotate_networks(&pod, &[]), ErrorKind::WrongPhase),
        (cluster.release(&pod), ErrorKind::WrongPhase),
    ];
    for (i, (result, kind)) in refused.into_iter().enumerate() {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), kind, "{i}: {error}");
        assert!(!error.is_retryable());
    }
    assert_eq!(cluster.version(), version);
    cluster.run(&pod, &one).unwrap();
    assert_eq!(cluster.run(&pod, &one).unwrap_err().kind(), ErrorKind::WrongPhase);
    cluster.remove(&pod).unwrap();
    assert_eq!(cluster.remove(&pod).unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn the_truth_can_be_left_out() {
    let bed = bed(Config { keep_truth: false, ..Config::default() }).await;
    bed.running("p", "10.244.0.1");
    assert_eq!(bed.cluster.truth(), []);
    assert_eq!(bed.get("/api/v1/pods").await.names(), ["p"]);
}
