//! Everything that can go wrong with a watch; afterwards the ledger has what the API shows.

use std::time::Duration;

use podtrail_sim::{Config, Fault, Verb};

use crate::harness::{World, config};

fn status(on: Verb, code: u16) -> Fault {
    Fault::Status { on, code, retry_after: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_a_watch_leaves_the_ledger_as_the_cluster_is() {
    let world = World::new(Config::default()).await;
    let session = world.start(config()).await;
    world.stir(0);
    world.settle("at first").await;
    let faults = [
        Fault::Cut,
        Fault::End,
        Fault::Garbage,
        Fault::ErrorFrame,
        Fault::Split(7),
        Fault::Delay(Duration::from_millis(200)),
        Fault::Stall(Duration::from_millis(300)),
        Fault::Duplicate,
        Fault::Replay,
        Fault::Oversize,
        Fault::OtherKind,
        Fault::UnknownType,
    ];
    for (round, fault) in (1..).zip(faults) {
        let name = format!("{fault:?}");
        world.cluster.inject(fault);
        world.stir(round);
        world.settle(&name).await;
        assert_eq!(world.cluster.faults_pending(), 0, "{name} was met");
    }
    for (round, code) in (101..).zip([429, 500, 503, 403]) {
        for fault in [Fault::End, status(Verb::Watch, code)] {
            world.cluster.inject(fault);
        }
        world.stir(round);
        world.settle(&code.to_string()).await;
    }
    // All of it without a relist, and so without a gap.
    assert_eq!((world.lists(), world.gaps("pods"), world.gaps("nodes")), (1, 0, 0));
    session.stop().await;
    world.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_of_losing_history_makes_one_gap_and_leaves_the_ledger_as_the_cluster_is() {
    for streaming in [false, true] {
        let world = World::new(Config { max_page: 3, ..Config::default() }).await;
        let mut config = config();
        config.watch.streaming_lists = streaming;
        let ways: [&[Fault]; 5] = [
            &[],
            &[Fault::GoneInStream],
            &[status(Verb::List, 500), status(Verb::List, 429)],
            &[Fault::ExpiredPage],
            &[Fault::ShortPage(1)],
        ];
        let session = world.start(config.clone()).await;
        world.stir(0);
        world.settle("at first").await;
        session.stop().await;
        for (round, faults) in (1..).zip(ways) {
            // A streaming list has no pages.
            let fits = |fault: &&Fault| !streaming || matches!(fault, Fault::GoneInStream);
            let missed = world.run(&format!("missed-{round}"), [10, 245, 0, round]);
            let session = world.start(config.clone()).await;
            world.settle("before").await;
            session.stop().await;
            world.delete(&missed);
            world.stir(round);
            world.cluster.compact();
            faults.iter().filter(fits).for_each(|fault| world.cluster.inject(fault.clone()));
            let session = world.start(config.clone()).await;
            world.settle(&format!("{faults:?}")).await;
            session.stop().await;
            assert_eq!(world.cluster.faults_pending(), 0, "{faults:?} were met");
            let gaps = usize::from(round);
            assert_eq!((world.gaps("pods"), world.gaps("nodes")), (gaps, gaps), "{faults:?}");
            let ends = world.store().pod_by_uid(missed.uid()).unwrap().unwrap();
            assert!(ends.gone.is_some() && ends.deleted, "{faults:?}: {ends:?}");
        }
        world.finish();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_resumes_by_watch_without_a_list() {
    let world = World::new(Config::default()).await;
    world.stir(0);
    for round in 1..6 {
        let session = world.start(config()).await;
        world.settle("running").await;
        world.stir(round * 2);
        world.settle("running on").await;
        session.stop().await;
        world.stir(round * 2 + 1);
    }
    let session = world.start(config()).await;
    world.settle("at last").await;
    session.stop().await;
    assert_eq!(world.lists(), 1);
    let from: Vec<u64> = world.cluster.requests().watched_from.into_iter().filter(|from| *from > 0).collect();
    assert!(from.is_sorted() && from.len() >= 5, "{from:?}");
    assert_eq!((world.gaps("pods"), world.gaps("nodes")), (0, 0));
    world.finish();
}
