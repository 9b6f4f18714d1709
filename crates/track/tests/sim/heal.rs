//! A watch that keeps something to itself.

use std::time::{Duration, Instant};

use podtrail_sim::{Config, Fault};

use crate::harness::{World, config, now};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silently_dropped_removals_and_changes_are_healed_by_confirmation() {
    let world = World::new(Config { bookmark_every: Duration::from_millis(500), ..Config::default() }).await;
    let pods: Vec<_> = (1..=20).map(|n| world.run(&format!("web-{n}"), [10, 244, 0, n])).collect();
    let mut config = config();
    config.confirm_every = Duration::from_secs(1);
    config.confirm_rate = 100.0;
    let session = world.start(config).await;
    world.settle("at first").await;

    // One is removed, one gets another address; the watch will never say so.
    world.cluster.inject(Fault::DropDeleted(1));
    world.cluster.inject(Fault::DropModified(1));
    let removed = now();
    world.cluster.remove(&pods[0]).unwrap();
    world.cluster.change_addresses(&pods[1], &[[10, 244, 1, 2].into()]).unwrap();
    assert_eq!(world.cluster.faults_pending(), 0);
    let started = Instant::now();
    world.settle("healing").await;
    assert!(started.elapsed() < Duration::from_secs(8), "it took {:?}", started.elapsed());

    assert_eq!(session.metric("podtrail_divergences_total"), 2.0);
    assert!(session.metric("podtrail_confirmations_total") >= 20.0);
    assert_eq!((world.lists(), world.gaps("pods")), (1, 0));
    // Coverage goes on, and what is said of the time of the lie is no lie.
    let then = now();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    world.covered(then.saturating_add(Duration::from_millis(100))).await;
    let store = world.store();
    let span = then.saturating_duration_since(removed).as_millis() as u64;
    for ms in (0..span + 50).step_by(50) {
        let at = removed.saturating_add(Duration::from_millis(ms));
        for ip in [[10, 244, 0, 1], [10, 244, 0, 2], [10, 244, 1, 2], [10, 244, 0, 3]] {
            world.judge(&store, ip.into(), at).unwrap();
        }
    }
    session.stop().await;
    world.finish();
}

/// Confirmations keep to their rate, whatever they find.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmations_do_not_exceed_their_rate() {
    let world = World::new(Config::default()).await;
    for n in 1..=100 {
        world.run(&format!("web-{n}"), [10, 244, 0, n]);
    }
    let mut config = config();
    config.confirm_every = Duration::from_millis(10);
    config.confirm_rate = 20.0;
    let session = world.start(config).await;
    world.settle("at first").await;
    // Thirty are gone, and the watch will never say so: each must be looked at twice.
    world.cluster.inject(Fault::DropDeleted(30));
    for n in 1..=30 {
        let pod = world.cluster.pod("default", &format!("web-{n}")).unwrap();
        world.cluster.remove(&pod).unwrap();
    }
    let (before, started) = (world.cluster.requests().get, Instant::now());
    tokio::time::sleep(Duration::from_secs(4)).await;
    let asked = (world.cluster.requests().get - before) as f64;
    let most = started.elapsed().as_secs_f64() * 20.0;
    assert!(asked <= most * 1.1 + 10.0, "{asked} in {:?}", started.elapsed());
    assert!(asked >= most * 0.4, "{asked} in {:?}", started.elapsed());
    session.stop().await;
    world.finish();
}
