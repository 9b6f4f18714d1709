//! Everything that is asked for once: confirmations, the cluster's UID, nodes; and the client itself.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures::StreamExt;
use podtrail_sim::{Fault, PodSpec, Verb};
use podtrail_watch::{Delta, ErrorKind, NodeBook, cluster_uid, confirm, nodes, selected};

use crate::harness::{Seen, Sim, config};

#[tokio::test]
async fn a_confirmation_finds_what_the_watch_was_never_told() {
    let sim = Sim::default().await;
    let pod = sim.start("lost", 7);
    let mut seen = Seen::new(sim.client.clone(), config(true), None);
    seen.catch_up(&sim).await;

    let here = confirm::pod(&sim.client, "default", "lost").await.unwrap();
    let found = here.found.unwrap();
    assert_eq!((found.pod.uid.as_str(), found.addresses[0].ip), (pod.uid(), IpAddr::from([10, 244, 0, 7])));
    assert!(here.sent <= here.received && here.rejected.is_empty());

    sim.cluster.inject(Fault::DropDeleted(1));
    sim.cluster.remove(&pod).unwrap();
    let gone = confirm::pod(&sim.client, "default", "lost").await.unwrap();
    assert_eq!(gone.found, None);

    let again = sim.start("lost", 8);
    let other = confirm::pod(&sim.client, "default", "lost").await.unwrap();
    assert_eq!(other.found.unwrap().pod.uid, again.uid());
}

#[tokio::test]
async fn a_confirmation_that_fails_says_whether_to_try_again() {
    let mut sim = Sim::default().await;
    for (code, again) in [(500, true), (429, true), (403, false)] {
        sim.cluster.inject(Fault::Status { on: Verb::Get, code, retry_after: None });
        let error = confirm::pod(&sim.client, "default", "p").await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Status(code), again), "{error}");
    }
    for (namespace, name) in [("", "p"), ("default", ""), ("default", ".."), (".", "p")] {
        let error = confirm::pod(&sim.client, namespace, name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unusable);
    }
    // What would lead elsewhere in a path is part of a name, and no pod has it.
    let odd = confirm::pod(&sim.client, "default", "../../nodes/node-1?x=1").await.unwrap();
    assert_eq!(odd.found, None);
    sim.stop().await;
    assert!(confirm::pod(&sim.client, "default", "p").await.unwrap_err().is_retryable());
}

#[tokio::test]
async fn pods_are_selected_by_labels_and_node_over_all_pages() {
    let sim = Sim::default().await;
    sim.cluster.add_node("node-2", &[("Hostname", "node-2")]).unwrap();
    sim.cluster.add_namespace("shop").unwrap();
    for (namespace, node, count) in [("default", "node-1", 230), ("shop", "node-1", 2), ("default", "node-2", 3)] {
        for n in 0..count {
            let spec = PodSpec::new(namespace, &format!("web-{node}-{n}"), node).label("app", "web");
            sim.cluster.create(spec).unwrap();
        }
    }
    sim.start("other", 9);

    let count = async |namespace, labels, node| {
        let pods = selected(&sim.client, namespace, labels, node).await.unwrap();
        let names: BTreeSet<_> = pods.iter().map(|pod| pod.pod.uid.as_str()).collect();
        assert!(names.len() == pods.len() && pods.iter().all(|pod| pod.pod.node.as_deref() == Some(node)));
        pods.len()
    };
    assert_eq!(count(None, "app=web", "node-1").await, 232);
    assert_eq!(count(Some("shop"), "app=web", "node-1").await, 2);
    assert_eq!(count(Some("default"), "app=web", "node-2").await, 3);
    assert_eq!(count(Some("default"), "app=none", "node-2").await, 0);

    let error = selected(&sim.client, Some(".."), "app=web", "node-1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unusable);
    sim.cluster.inject(Fault::Status { on: Verb::List, code: 403, retry_after: None });
    let error = selected(&sim.client, None, "app=web", "node-1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Status(403));
}

#[tokio::test]
async fn the_cluster_is_named_by_its_kube_system_namespace() {
    let sim = Sim::default().await;
    assert_eq!(cluster_uid(&sim.client).await.unwrap(), sim.cluster.uid());
}

#[tokio::test]
async fn a_client_is_made_from_a_kubeconfig_and_does_not_retry_by_itself() {
    let sim = Sim::default().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: nowhere\n\
         clusters: [{{name: sim, cluster: {{server: \"http://{}\"}}}}, {{name: no, cluster: {{server: \"http://127.0.0.1:1\"}}}}]\n\
         users: [{{name: me, user: {{}}}}]\n\
         contexts: [{{name: there, context: {{cluster: sim, user: me}}}}, {{name: nowhere, context: {{cluster: no, user: me}}}}]\n",
        sim.address
    );
    std::fs::write(&path, text).unwrap();
    let client = podtrail_watch::client(Some(&path), Some("there")).await.unwrap();
    assert_eq!(cluster_uid(&client).await.unwrap(), sim.cluster.uid());

    sim.cluster.inject(Fault::Status { on: Verb::Get, code: 503, retry_after: None });
    let error = confirm::pod(&client, "default", "p").await.unwrap_err();
    assert_eq!((error.kind(), sim.cluster.requests().get), (ErrorKind::Status(503), 1));

    let nowhere = podtrail_watch::client(Some(&path), None).await.unwrap();
    assert_eq!(cluster_uid(&nowhere).await.unwrap_err().kind(), ErrorKind::Unreachable);
    for (path, context) in [(path.as_path(), Some("absent")), (&directory.path().join("absent"), None)] {
        let error = podtrail_watch::client(Some(path), context).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    }
}

#[tokio::test]
async fn nodes_are_watched_and_their_addresses_outlive_them() {
    let sim = Sim::default().await;
    let mut stream = nodes(sim.client.clone(), config(true), None);
    let mut book = NodeBook::default();
    let mut alive = 0;
    while alive < 3 {
        let delta = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.unwrap().unwrap();
        book.apply(&delta);
        if let Delta::Alive { .. } = delta {
            alive += 1;
            match alive {
                1 => sim
                    .cluster
                    .add_node("node-2", &[("InternalIP", "198.18.0.12"), ("InternalIP", "fd00::12")])
                    .unwrap(),
                2 => sim.cluster.remove_node("node-1").unwrap(),
                _ => {}
            }
        }
    }
    assert_eq!(book.live(), 1);
    assert_eq!(book.get("node-1").0["InternalIP"], ["198.18.0.11"]);
    assert_eq!(book.get("node-2").0["InternalIP"], ["198.18.0.12", "fd00::12"]);
}

#[tokio::test]
async fn what_a_watch_says_of_a_pod_is_all_there() {
    let sim = Sim::default().await;
    let spec = PodSpec::new("default", "full", "node-1").owner("ReplicaSet", "full-1").service_account("sa");
    let pod = sim.cluster.create(spec).unwrap();
    sim.cluster.run(&pod, &[IpAddr::from([10, 244, 0, 9])]).unwrap();
    let net = podtrail_sim::Attachment {
        network: "default/storage".into(),
        interface: "net1".into(),
        ips: vec![IpAddr::from([192, 0, 2, 9])],
    };
    sim.cluster.annotate_networks(&pod, &[net]).unwrap();
    sim.cluster.terminate(&pod, Duration::from_secs(30)).unwrap();
    let found = confirm::pod(&sim.client, "default", "full").await.unwrap();
    assert_eq!(found.rejected, []);
    let state = found.found.unwrap();
    let shown: Vec<_> = state.addresses.iter().map(|a| format!("{} {}", a.network, a.ip)).collect();
    assert_eq!(shown, ["default 10.244.0.9", "default/storage 192.0.2.9"]);
    assert_eq!(state.pod.owner.as_ref().map(|o| o.name.as_str()), Some("full-1"));
    assert_eq!(state.pod.service_account.as_deref(), Some("sa"));
    assert_eq!(state.grace, Some(Duration::from_secs(30)));
    assert!(state.pod.created.is_some() && state.scheduled.is_some() && state.kubelet_started.is_some());
    assert!(state.running_since.is_some() && state.finished.is_none());
    let requested = state.deletion_requested().unwrap();
    assert!(found.received.saturating_duration_since(requested) < Duration::from_secs(5));
}
