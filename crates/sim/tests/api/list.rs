use podtrail_sim::{Config, Fault, PodSpec};

use crate::client::{Bed, bed};

async fn five() -> Bed {
    let bed = bed(Config::default()).await;
    for i in 0..5 {
        bed.running(&format!("p{i}"), &format!("10.244.0.{i}"));
    }
    bed
}

fn token(page: &serde_json::Value) -> String {
    page["metadata"]["continue"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn pages_show_one_consistent_state() {
    let bed = five().await;
    let version = bed.cluster.version().to_string();
    let first = bed.get("/api/v1/pods?limit=2").await;
    assert_eq!(first.names(), ["p0", "p1"]);
    let first = first.json();
    assert_eq!(first["kind"], "PodList");
    assert_eq!(first["metadata"]["resourceVersion"], version.as_str());
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    assert!(first["items"][0].get("kind").is_none(), "items of a list carry no kind");

    bed.cluster.remove(&bed.cluster.pod("default", "p2").unwrap()).unwrap();
    bed.create("p9");

    let second = bed.get(&format!("/api/v1/pods?limit=2&continue={}", token(&first))).await;
    assert_eq!(second.names(), ["p2", "p3"]);
    let again = bed.get(&format!("/api/v1/pods?limit=2&continue={}", token(&first))).await;
    assert_eq!(again.names(), ["p2", "p3"], "a page can be asked for again");
    let last = bed.get(&format!("/api/v1/pods?limit=2&continue={}", token(&second.json()))).await;
    assert_eq!(last.names(), ["p4"]);
    assert_eq!(last.json()["metadata"]["resourceVersion"], version.as_str());
    assert!(last.json()["metadata"].get("continue").is_none());

    let requests = bed.cluster.requests();
    assert_eq!((requests.list, requests.page), (1, 3));
    assert_eq!(bed.get("/api/v1/pods").await.names(), ["p0", "p1", "p3", "p4", "p9"]);
}

#[tokio::test]
async fn the_server_may_send_smaller_pages_than_asked_for() {
    let bed = bed(Config { max_page: 2, ..Config::default() }).await;
    (0..4).for_each(|i| drop(bed.create(&format!("p{i}"))));
    assert_eq!(bed.get("/api/v1/pods?limit=500").await.names().len(), 2);
    bed.cluster.inject(Fault::ShortPage(1));
    assert_eq!(bed.get("/api/v1/pods?limit=500").await.names().len(), 1);
    assert_eq!(bed.get("/api/v1/pods?limit=500").await.names().len(), 2);
    assert_eq!(bed.get("/api/v1/pods").await.names().len(), 4);
}

#[tokio::test]
async fn a_list_cannot_be_continued_after_compaction_nor_with_a_false_token() {
    let bed = five().await;
    let first = bed.get("/api/v1/pods?limit=2").await.json();
    for wrong in ["x", "7.1", "0.99"] {
        bed.get(&format!("/api/v1/pods?limit=2&continue={wrong}")).await.is_status(410, "Expired");
    }
    bed.cluster.compact();
    bed.get(&format!("/api/v1/pods?limit=2&continue={}", token(&first))).await.is_status(410, "Expired");
    bed.cluster.inject(Fault::ExpiredPage);
    let first = bed.get("/api/v1/pods?limit=2").await.json();
    let next = format!("/api/v1/pods?limit=2&continue={}", token(&first));
    bed.get(&next).await.is_status(410, "Expired");
    assert_eq!(bed.get(&next).await.names(), ["p2", "p3"]);
}

#[tokio::test]
async fn selectors_choose_and_unknown_ones_are_refused() {
    let bed = bed(Config::default()).await;
    bed.cluster.add_namespace("other").unwrap();
    for (namespace, name, node, app) in
        [("default", "a", "n1", "x"), ("default", "b", "n2", "x"), ("other", "a", "n2", "y")]
    {
        let spec = PodSpec::new(namespace, name, node).label("app", app).label("tier", "t");
        bed.cluster.create(spec).unwrap();
    }
    for (target, count) in [
        ("pods", 3),
        ("namespaces/default/pods", 2),
        ("namespaces/def/pods", 0),
        ("pods?fieldSelector=spec.nodeName%3Dn2", 2),
        ("pods?fieldSelector=spec.nodeName=n2,metadata.name=a", 1),
        ("namespaces/other/pods?fieldSelector=metadata.name%3Da", 1),
        ("pods?labelSelector=app%3Dx", 2),
        ("pods?labelSelector=app%3Dx,tier%3Dt&fieldSelector=spec.nodeName%3Dn1", 1),
        ("pods?labelSelector=app%3Dz", 0),
        ("nodes?fieldSelector=metadata.name%3Dn1", 1),
        ("namespaces?labelSelector=kubernetes.io/metadata.name%3Dother", 1),
    ] {
        assert_eq!(bed.get(&format!("/api/v1/{target}")).await.names().len(), count, "{target}");
    }
    for target in [
        "pods?fieldSelector=status.phase%3DRunning",
        "pods?labelSelector=app%20in%20(x)",
        "pods?labelSelector=app",
        "nodes?fieldSelector=spec.nodeName%3Dn1",
        "pods?limit=few",
        "pods?watch=1&resourceVersion=new",
        "pods?watch=perhaps",
    ] {
        bed.get(&format!("/api/v1/{target}")).await.is_status(400, "BadRequest");
    }
    let page = bed.get("/api/v1/pods?limit=1&labelSelector=app%3Dx").await.json();
    assert!(page["metadata"].get("remainingItemCount").is_none(), "not known with selectors");
}

#[tokio::test]
async fn a_list_of_a_later_version_is_too_early() {
    let bed = five().await;
    let version = bed.cluster.version();
    bed.get(&format!("/api/v1/pods?resourceVersion={}", version + 1)).await.is_status(504, "Timeout");
    for version in [0, version - 3, version] {
        assert_eq!(bed.get(&format!("/api/v1/pods?resourceVersion={version}")).await.names().len(), 5);
    }
}

#[tokio::test]
async fn a_large_list_has_the_length_that_it_says() {
    let bed = bed(Config { managed_fields: 6_200, ..Config::default() }).await;
    assert!(podtrail_sim::populate(&bed.cluster, 300).unwrap().len() == 300);
    let list = bed.get("/api/v1/pods").await;
    assert_eq!(list.names().len(), 300);
    let bytes = list.body.len() / 300;
    assert!((8_500..9_500).contains(&bytes), "{bytes} bytes a pod");
    assert!(list.head.contains(&format!("content-length: {}\r\n", list.body.len())));
    let list = list.json();
    let ips: std::collections::HashSet<_> =
        (0..300).map(|i| list["items"][i]["status"]["podIPs"].to_string()).collect();
    assert_eq!(ips.len(), 300, "every pod has addresses of its own");
}
