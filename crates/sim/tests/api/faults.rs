use std::time::{Duration, Instant};

use podtrail_sim::{Config, Fault, Verb};

use crate::client::{Bed, Next, Watch, bed};

/// A bed on which `fault` hits the frame that adds `p`, and a watch from before it.
async fn hit_by(fault: Fault) -> (Bed, Watch, u64) {
    let bed = bed(Config::default()).await;
    let before = bed.cluster.version();
    let watch = bed.watch_now().await;
    bed.cluster.inject(fault);
    bed.create("p");
    (bed, watch, before)
}

/// Asserts that the fault is used up and that a client which resumes gets what it missed.
async fn resumes(bed: &Bed, from: u64) {
    assert_eq!(bed.cluster.faults_pending(), 0);
    bed.watch(&format!("resourceVersion={from}")).await.sees(&[("ADDED", "p")]).await;
}

#[tokio::test]
async fn cut_breaks_the_connection_in_the_middle_of_a_frame() {
    let (bed, mut watch, before) = hit_by(Fault::Cut).await;
    match watch.next().await {
        Next::Broken(bytes) => assert!(bytes > 500, "{bytes} bytes of a frame"),
        other => panic!("{other:?}"),
    }
    resumes(&bed, before).await;
}

#[tokio::test]
async fn end_garbage_and_error_frames_end_the_watch_cleanly() {
    let (bed, mut watch, before) = hit_by(Fault::End).await;
    assert!(matches!(watch.next().await, Next::End));
    resumes(&bed, before).await;

    let (bed, mut watch, before) = hit_by(Fault::Garbage).await;
    assert!(matches!(watch.next().await, Next::Garbage));
    assert!(matches!(watch.next().await, Next::End));
    resumes(&bed, before).await;

    let (bed, mut watch, before) = hit_by(Fault::ErrorFrame).await;
    let frame = watch.frame().await;
    assert_eq!((&frame["type"], &frame["object"]["code"]), (&"ERROR".into(), &500.into()));
    assert!(matches!(watch.next().await, Next::End));
    resumes(&bed, before).await;
}

#[tokio::test]
async fn split_delivers_the_frame_in_many_pieces() {
    let (bed, mut watch, _) = hit_by(Fault::Split(100)).await;
    watch.sees(&[("ADDED", "p")]).await;
    assert!(watch.chunks > 10, "{}", watch.chunks);
    let before = watch.chunks;
    bed.create("q");
    watch.sees(&[("ADDED", "q")]).await;
    assert_eq!(watch.chunks, before + 1);
}

#[tokio::test]
async fn a_delay_lets_bookmarks_of_earlier_versions_through_and_a_stall_does_not() {
    for (fault, bookmarks) in
        [(Fault::Delay(Duration::from_millis(300)), true), (Fault::Stall(Duration::from_millis(300)), false)]
    {
        let bed = bed(Config::default()).await;
        let before = bed.cluster.version();
        bed.cluster.inject(fault.clone());
        bed.create("p");
        let start = Instant::now();
        let mut watch = bed.watch(&format!("resourceVersion={before}&allowWatchBookmarks=true")).await;
        let mut seen = 0;
        loop {
            let frame = watch.frame().await;
            if frame["type"] == "ADDED" {
                break;
            }
            assert_eq!(frame["object"]["metadata"]["resourceVersion"], before.to_string());
            assert!(bed.cluster.sent() <= before);
            seen += 1;
        }
        assert!(start.elapsed() >= Duration::from_millis(300), "{fault:?}");
        assert_eq!(seen > 0, bookmarks, "{fault:?}: {seen} bookmarks");
    }
}

#[tokio::test]
async fn duplicates_and_replays_repeat_frames() {
    let (_bed, mut watch, _) = hit_by(Fault::Duplicate).await;
    let (one, two) = (watch.frame().await, watch.frame().await);
    assert_eq!(one, two);

    let bed = bed(Config::default()).await;
    let pod = bed.create("p");
    let old = bed.cluster.version();
    bed.create("q");
    let mut watch = bed.watch_now().await;
    bed.cluster.inject(Fault::Replay);
    bed.cluster.relabel(&pod, &[("a", "b")]).unwrap();
    let replayed = watch.frame().await;
    assert_eq!(replayed["object"]["metadata"]["resourceVersion"], old.to_string());
    assert_eq!(replayed["object"]["metadata"]["name"], "p");
    watch.sees(&[("MODIFIED", "p")]).await;
}

#[tokio::test]
async fn oversize_frames_are_whole_and_no_api_server_would_have_taken_them() {
    for managed_fields in [0, 1000] {
        let bed = bed(Config { managed_fields, ..Config::default() }).await;
        let mut watch = bed.watch_now().await;
        bed.cluster.inject(Fault::Oversize);
        bed.create("p");
        let frame = watch.frame().await;
        assert_eq!((&frame["type"], &frame["object"]["metadata"]["name"]), (&"ADDED".into(), &"p".into()));
        assert!(frame.to_string().len() > 2 << 20);
        assert_eq!(frame["object"]["metadata"]["managedFields"].as_array().unwrap().len(), 1 + managed_fields / 1000);
    }
}

#[tokio::test]
async fn strange_frames_come_before_the_true_one() {
    let (bed, mut watch, before) = hit_by(Fault::OtherKind).await;
    let stray = watch.frame().await;
    assert_eq!(stray["object"]["kind"], "Service");
    assert_eq!(stray["object"]["metadata"]["resourceVersion"], before.to_string(), "believing it loses nothing");
    watch.sees(&[("ADDED", "p")]).await;

    bed.cluster.inject(Fault::UnknownType);
    bed.create("q");
    watch.sees(&[("RENAMED", "q"), ("ADDED", "q")]).await;
}

#[tokio::test]
async fn each_fault_in_a_burst_hits_one_frame() {
    let bed = bed(Config::default()).await;
    let before = bed.cluster.version();
    for fault in [Fault::Duplicate, Fault::Cut, Fault::Garbage] {
        bed.cluster.inject(fault);
    }
    assert_eq!(bed.cluster.faults_pending(), 3);
    bed.create("p");
    bed.create("q");
    bed.create("r");
    let mut watch = bed.watch(&format!("resourceVersion={before}")).await;
    watch.sees(&[("ADDED", "p"), ("ADDED", "p")]).await;
    assert!(matches!(watch.next().await, Next::Broken(_)));
    assert_eq!(bed.cluster.faults_pending(), 1, "what was never sent uses no fault");
    let mut watch = bed.watch(&format!("resourceVersion={}", before + 1)).await;
    assert!(matches!(watch.next().await, Next::Garbage));
    let mut watch = bed.watch(&format!("resourceVersion={}", before + 1)).await;
    watch.sees(&[("ADDED", "q"), ("ADDED", "r")]).await;
}

#[tokio::test]
async fn dropped_frames_are_never_told_of_but_the_list_knows() {
    let bed = bed(Config::default()).await;
    let (p, q) = (bed.create("p"), bed.create("q"));
    let before = bed.cluster.version();
    let mut watch = bed.watch_now().await;
    bed.cluster.inject(Fault::DropDeleted(1));
    bed.cluster.inject(Fault::DropModified(2));
    assert_eq!(bed.cluster.faults_pending(), 3);
    bed.cluster.remove(&p).unwrap();
    bed.cluster.run(&q, &["10.244.0.1".parse().unwrap()]).unwrap();
    bed.cluster.relabel(&q, &[("a", "b")]).unwrap();
    bed.cluster.relabel(&q, &[]).unwrap();
    watch.sees(&[("MODIFIED", "q")]).await;
    assert_eq!(bed.cluster.faults_pending(), 0);
    let mut again = bed.watch(&format!("resourceVersion={before}")).await;
    let frame = again.frame().await;
    assert_eq!(frame["object"]["metadata"]["resourceVersion"], bed.cluster.version().to_string());
    assert_eq!(bed.get("/api/v1/pods").await.names(), ["q"]);
}

#[tokio::test]
async fn an_injected_status_answers_one_request_of_its_sort() {
    let bed = bed(Config::default()).await;
    bed.create("p");
    let status = |on, code| Fault::Status { on, code, retry_after: (code == 429).then_some(Duration::from_secs(3)) };
    for (on, target) in [
        (Verb::List, "/api/v1/pods?limit=1"),
        (Verb::Watch, "/api/v1/pods?watch=1&timeoutSeconds=1"),
        (Verb::Get, "/api/v1/namespaces/default/pods/p"),
    ] {
        for (code, reason) in
            [(429, "TooManyRequests"), (500, "InternalError"), (503, "ServiceUnavailable"), (403, "Forbidden")]
        {
            bed.cluster.inject(status(on, code));
            assert_eq!(bed.get("/api/v1/nodes").await.code, 200, "only pod requests use faults");
            let answer = bed.get(target).await;
            answer.is_status(code, reason);
            assert_eq!(answer.head.contains("retry-after: 3\r\n"), code == 429, "{}", answer.head);
            assert_eq!(bed.cluster.faults_pending(), 0);
        }
        assert_eq!(bed.get(target).await.code, 200);
    }
    bed.cluster.inject(status(Verb::Get, 200));
    bed.get("/api/v1/namespaces/default/pods/p").await.is_status(500, "InternalError");
}
