use std::time::Duration;

use podtrail_sim::Config;

use crate::client::{Next, bed};

#[tokio::test]
async fn discovery_and_health_are_served() {
    let bed = bed(Config::default()).await;
    for path in ["/readyz", "/livez", "/healthz"] {
        assert_eq!(bed.get(path).await.body, "ok", "{path}");
    }
    assert_eq!(bed.get("/version").await.json()["major"], "1");
    assert_eq!(bed.get("/api").await.json()["versions"][0], "v1");
    assert_eq!(bed.get("/apis").await.json()["kind"], "APIGroupList");
    let resources = bed.get("/api/v1").await.json()["resources"].clone();
    let named: Vec<_> =
        resources.as_array().unwrap().iter().map(|r| (r["name"].clone(), r["namespaced"].clone())).collect();
    assert_eq!(
        named,
        [("pods".into(), true.into()), ("nodes".into(), false.into()), ("namespaces".into(), false.into())]
    );
    for path in ["/", "/api/v1/services", "/apis/apps/v1/deployments", "/api/v1/namespaces/default/services"] {
        bed.get(path).await.is_status(404, "NotFound");
    }
}

#[tokio::test]
async fn objects_are_read_by_name() {
    let bed = bed(Config { cluster_uid: "11111111-2222-4333-a444-555555555555".into(), ..Config::default() }).await;
    let pod = bed.running("p", "10.244.0.9");
    let read = bed.get("/api/v1/namespaces/default/pods/p").await.json();
    assert_eq!((&read["kind"], &read["apiVersion"]), (&"Pod".into(), &"v1".into()));
    assert_eq!(read["metadata"]["uid"], pod.uid());
    let kube_system = bed.get("/api/v1/namespaces/kube-system").await.json();
    assert_eq!(kube_system["metadata"]["uid"], "11111111-2222-4333-a444-555555555555");
    let node = bed.get("/api/v1/nodes/n1").await.json();
    assert_eq!(node["status"]["addresses"][1], serde_json::json!({"type": "InternalIP", "address": "198.18.0.11"}));
    bed.cluster.set_node_addresses("n1", &[("InternalIP", "198.18.0.12")]).unwrap();
    let node = bed.get("/api/v1/nodes/n1").await.json();
    assert_eq!(node["status"]["addresses"].as_array().unwrap().len(), 1);
    bed.cluster.remove_node("n1").unwrap();
    for path in ["nodes/n1", "namespaces/none", "namespaces/default/pods/q", "namespaces/none/pods/p"] {
        bed.get(&format!("/api/v1/{path}")).await.is_status(404, "NotFound");
    }
    let requests = bed.cluster.requests();
    assert_eq!((requests.get, requests.other), (3, 5));
}

#[tokio::test]
async fn writes_are_refused_and_counted() {
    let bed = bed(Config::default()).await;
    bed.create("p");
    let version = bed.cluster.version();
    for (method, path) in [
        ("POST", "/api/v1/namespaces/default/pods"),
        ("PUT", "/api/v1/namespaces/default/pods/p"),
        ("PATCH", "/api/v1/nodes/n1"),
        ("DELETE", "/api/v1/namespaces/default/pods/p"),
        ("POST", "/apis/coordination.k8s.io/v1/leases"),
    ] {
        bed.request(method, path).await.is_status(403, "Forbidden");
    }
    assert_eq!(bed.cluster.requests().write, 5);
    assert_eq!(bed.cluster.version(), version);
    assert!(bed.cluster.pod("default", "p").is_some());
}

#[tokio::test]
async fn shutdown_ends_watches_cleanly_and_soon() {
    let bed = bed(Config::default()).await;
    let mut watch = bed.watch_now().await;
    bed.create("p");
    watch.sees(&[("ADDED", "p")]).await;
    bed.stop.send(()).unwrap();
    assert!(matches!(watch.next().await, Next::End));
    tokio::time::timeout(Duration::from_secs(5), bed.server).await.unwrap().unwrap().unwrap();
    assert_eq!(bed.cluster.open_watches(), 0);
}

#[tokio::test]
async fn dropping_the_server_ends_watches_too() {
    let bed = bed(Config::default()).await;
    let mut watch = bed.watch_now().await;
    bed.create("p");
    watch.sees(&[("ADDED", "p")]).await;
    bed.server.abort();
    assert!(matches!(watch.next().await, Next::End));
}
