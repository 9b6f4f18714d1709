use std::time::Duration;

use podtrail_sim::{Config, Fault, Outcome, PodSpec};

use crate::client::{Next, bed};

#[tokio::test]
async fn a_watch_resumes_after_the_version_given() {
    let bed = bed(Config::default()).await;
    let pod = bed.running("p", "10.244.0.1");
    let version = bed.cluster.version();
    bed.cluster.finish(&pod, Outcome::Succeeded).unwrap();
    bed.cluster.remove(&pod).unwrap();
    bed.create("q");
    let mut watch = bed.watch(&format!("resourceVersion={version}")).await;
    watch.sees(&[("MODIFIED", "p"), ("DELETED", "p"), ("ADDED", "q")]).await;
    bed.create("r");
    let frame = watch.frame().await;
    assert_eq!(frame["object"]["metadata"]["resourceVersion"], bed.cluster.version().to_string());
    assert_eq!(frame["object"]["kind"], "Pod");
    let requests = bed.cluster.requests();
    assert_eq!((requests.watch, requests.watched_from), (1, vec![version]));
}

#[tokio::test]
async fn a_watch_from_no_version_begins_with_the_state() {
    let bed = bed(Config::default()).await;
    bed.running("p", "10.244.0.1");
    for query in ["", "resourceVersion=0"] {
        let mut watch = bed.watch(query).await;
        watch.sees(&[("ADDED", "p")]).await;
    }
    let mut watch = bed.watch("").await;
    watch.sees(&[("ADDED", "p")]).await;
    bed.create("q");
    watch.sees(&[("ADDED", "q")]).await;
}

#[tokio::test]
async fn bookmarks_tell_the_version_of_other_changes_too() {
    let bed = bed(Config::default()).await;
    let mut watch = bed.watch(&format!("resourceVersion={}&allowWatchBookmarks=true", bed.cluster.version())).await;
    bed.cluster.add_node("n2", &[]).unwrap();
    loop {
        let frame = watch.frame().await;
        assert_eq!(frame["type"], "BOOKMARK");
        assert_eq!(frame["object"]["kind"], "Pod");
        if frame["object"]["metadata"]["resourceVersion"].as_str() == Some(&bed.cluster.version().to_string()) {
            break;
        }
    }
    assert_eq!(bed.cluster.sent(), bed.cluster.version());
    let mut silent = bed.watch(&format!("resourceVersion={}&timeoutSeconds=1", bed.cluster.version())).await;
    assert!(matches!(silent.next().await, Next::End), "no bookmarks unless allowed; the watch ends at its timeout");
}

#[tokio::test]
async fn selectors_apply_to_watches_and_label_changes_add_and_delete() {
    let bed = bed(Config::default()).await;
    let from = format!("resourceVersion={}", bed.cluster.version());
    let mut labelled = bed.watch(&format!("{from}&labelSelector=app%3Dx")).await;
    let mut on_node = bed.watch(&format!("{from}&fieldSelector=spec.nodeName%3Dn2")).await;
    let mut elsewhere = bed.watch_of("/api/v1/namespaces/kube-system/pods", &from).await;
    let pod = bed.create("p");
    bed.cluster.relabel(&pod, &[("app", "x")]).unwrap();
    bed.cluster.run(&pod, &["10.244.0.1".parse().unwrap()]).unwrap();
    bed.cluster.relabel(&pod, &[]).unwrap();
    bed.cluster.remove(&pod).unwrap();
    bed.cluster.create(PodSpec::new("kube-system", "q", "n2").label("app", "x")).unwrap();
    labelled.sees(&[("ADDED", "p"), ("MODIFIED", "p"), ("DELETED", "p"), ("ADDED", "q")]).await;
    on_node.sees(&[("ADDED", "q")]).await;
    elsewhere.sees(&[("ADDED", "q")]).await;
}

#[tokio::test]
async fn nodes_and_namespaces_are_watched_alike() {
    let bed = bed(Config::default()).await;
    let from = format!("resourceVersion={}", bed.cluster.version());
    let mut nodes = bed.watch_of("/api/v1/nodes", &from).await;
    let mut namespaces = bed.watch_of("/api/v1/namespaces", &from).await;
    bed.create("p");
    bed.cluster.set_node_addresses("n1", &[("InternalIP", "198.18.0.99")]).unwrap();
    bed.cluster.add_namespace("team").unwrap();
    bed.cluster.remove_node("n1").unwrap();
    nodes.sees(&[("MODIFIED", "n1"), ("DELETED", "n1")]).await;
    namespaces.sees(&[("ADDED", "team")]).await;
}

#[tokio::test]
async fn streaming_lists_end_with_a_marked_bookmark() {
    let bed = bed(Config::default()).await;
    bed.running("p", "10.244.0.1");
    bed.create("q");
    let streaming = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = bed.watch(streaming).await;
    assert_eq!(watch.event().await, ("ADDED".into(), "p".into()));
    assert_eq!(watch.event().await, ("ADDED".into(), "q".into()));
    let end = watch.frame().await;
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(end["object"]["metadata"]["resourceVersion"], bed.cluster.version().to_string());
    bed.create("r");
    watch.sees(&[("ADDED", "r")]).await;
    bed.get("/api/v1/pods?watch=1&sendInitialEvents=true").await.is_status(422, "Invalid");
}

#[tokio::test]
async fn streaming_lists_are_refused_where_they_are_off() {
    let bed = bed(Config { watch_list: false, ..Config::default() }).await;
    let target = "/api/v1/pods?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1";
    bed.get(target).await.is_status(422, "Invalid");
}

#[tokio::test]
async fn a_forgotten_version_is_gone_in_either_form() {
    let bed = bed(Config { log_capacity: 3, ..Config::default() }).await;
    let start = bed.cluster.version();
    for i in 0..4 {
        bed.create(&format!("p{i}"));
    }
    let target = format!("/api/v1/pods?watch=1&resourceVersion={start}");
    bed.get(&target).await.is_status(410, "Expired");
    bed.watch(&format!("resourceVersion={}", start + 1)).await.sees(&[("ADDED", "p1")]).await;

    bed.cluster.inject(Fault::GoneInStream);
    let mut watch = bed.watch(&format!("resourceVersion={start}")).await;
    let frame = watch.frame().await;
    assert_eq!((&frame["type"], &frame["object"]["code"]), (&"ERROR".into(), &410.into()));
    assert_eq!(frame["object"]["reason"], "Expired");
    assert!(matches!(watch.next().await, Next::End));
    bed.get(&target).await.is_status(410, "Expired");
}

#[tokio::test]
async fn compaction_ends_open_watches_with_410() {
    let bed = bed(Config::default()).await;
    let version = bed.cluster.version();
    let mut watch = bed.watch_now().await;
    bed.cluster.compact();
    let frame = watch.frame().await;
    assert_eq!((&frame["type"], &frame["object"]["code"]), (&"ERROR".into(), &410.into()));
    assert!(matches!(watch.next().await, Next::End));
    bed.get(&format!("/api/v1/nodes?watch=1&resourceVersion={version}")).await.is_status(410, "Expired");
    let list = bed.get("/api/v1/pods").await.json();
    let from = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = bed.watch(&format!("resourceVersion={from}")).await;
    bed.create("p");
    watch.sees(&[("ADDED", "p")]).await;
}

#[tokio::test]
async fn a_burst_larger_than_a_chunk_arrives_whole_and_in_order() {
    let bed = bed(Config { managed_fields: 6_200, ..Config::default() }).await;
    let mut watch = bed.watch_now().await;
    for i in 0..200 {
        bed.create(&format!("p{i}"));
    }
    for i in 0..200 {
        assert_eq!(watch.event().await, ("ADDED".into(), format!("p{i}")));
    }
    assert!(watch.chunks < 100, "{} chunks: frames share chunks", watch.chunks);
    while bed.cluster.sent() < bed.cluster.version() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn frames_that_a_selector_skips_do_not_stall_the_rest() {
    let bed = bed(Config { managed_fields: 6_200, ..Config::default() }).await;
    let from = bed.cluster.version();
    for i in 0..100 {
        bed.create(&format!("p{i}"));
    }
    let mut watch = bed.watch(&format!("resourceVersion={from}&fieldSelector=metadata.name%3Dp99")).await;
    watch.sees(&[("ADDED", "p99")]).await;
}
