//! Thousands of pods come and go while nobody looks, and their history is gone when somebody does.

use std::collections::BTreeSet;
use std::time::Duration;

use podtrail_event::{Subject, Timestamp};
use podtrail_ledger::Answer;
use podtrail_sim::{Churn, ChurnConfig, Config, Pod};

use crate::harness::{World, config, now};

/// Makes the churn happen for so long.
async fn churn(world: &World, churn: &mut Churn, length: Duration) {
    let until = now().saturating_add(length);
    while now() < until {
        churn.step(&world.cluster, now()).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_wrong_after_five_thousand_pods_have_come_and_gone_unseen() {
    let world = World::new(Config { log_capacity: 2000, ..Config::default() }).await;
    let ms = |from, to| Duration::from_millis(from)..Duration::from_millis(to);
    // Few addresses: each is used again and again.
    let quiet = ChurnConfig {
        addresses: 400,
        births_per_second: 100.0,
        lifetime: ms(500, 3000),
        pending: ms(5, 50),
        terminating: ms(5, 100),
        finished: ms(100, 1000),
        ..ChurnConfig::default()
    };
    let mut calm = Churn::new(1, quiet.clone());
    let steady: Vec<_> = (1..=20).map(|n| world.run(&format!("steady-{n}"), [10, 251, 0, n])).collect();
    let mut confirming = config();
    confirming.confirm_every = Duration::from_millis(500);
    confirming.confirm_rate = 500.0;
    let session = world.start(confirming).await;
    churn(&world, &mut calm, Duration::from_secs(4)).await;
    let before_the_gap = now().saturating_sub(Duration::from_millis(2500));
    session.stop().await;

    let born = |world: &World| world.cluster.truth().len() / 2;
    let before = born(&world);
    // What was there goes, and is not seen to go.
    let storm = ChurnConfig {
        namespaces: vec!["storm".to_owned()],
        addresses: 2000,
        births_per_second: 2500.0,
        lifetime: ms(20, 400),
        ..quiet
    };
    calm.drain(&world.cluster).unwrap();
    let (stay, go) = steady.split_at(10);
    go.iter().for_each(|pod| world.delete(pod));
    let mut storm = Churn::new(2, storm);
    while born(&world) - before < 5000 {
        churn(&world, &mut storm, Duration::from_millis(50)).await;
    }
    world.cluster.compact();
    let within_the_gap = now().saturating_sub(Duration::from_millis(1300));
    let session = world.start(config()).await;
    churn(&world, &mut storm, Duration::from_secs(1)).await;
    let up = now();
    storm.drain(&world.cluster).unwrap();
    let last = world.run("last", [10, 250, 0, 1]);
    world.settle("after the storm").await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    world.covered(now().saturating_sub(Duration::from_millis(1500))).await;
    session.stop().await;

    assert_eq!((world.gaps("pods"), world.gaps("nodes")), (1, 1));
    assert_eq!(world.lists(), 2);
    let live = world.store().live().unwrap();
    let known: BTreeSet<_> = live.pods.iter().map(|row| row.pod.uid.as_str()).collect();
    assert_eq!(known, stay.iter().chain([&last]).map(Pod::uid).collect(), "all others are released");
    assert_eq!(live.claims.iter().filter(|claim| claim.subject == Subject::Pod).count(), known.len());
    judge(&world, up);
    let store = world.store();
    let owner = |n: u8, at| store.owner("default", [10, 251, 0, n].into(), at).unwrap().answer;
    for n in 1..=20 {
        let stays = n <= 10;
        assert!(matches!(owner(n, before_the_gap), Answer::Certain(_)), "{n}: {:?}", owner(n, before_the_gap));
        assert_eq!(
            matches!(owner(n, within_the_gap), Answer::Certain(_)),
            stays,
            "{n}: {:?}",
            owner(n, within_the_gap)
        );
    }
    world.finish();
}

/// Asks for every address, about every change of it and between.
fn judge(world: &World, up: Timestamp) {
    let (truth, store) = (world.cluster.truth(), world.store());
    let (mut asked, mut wrong) = (0, Vec::new());
    for hold in truth.iter().filter(|hold| !hold.host_network).step_by(3) {
        let to = hold.to.unwrap_or(up);
        let middle = Timestamp::from_nanosecond(hold.from.as_nanosecond().midpoint(to.as_nanosecond()));
        for at in [hold.from, middle, to, to.saturating_add(Duration::from_millis(700))] {
            asked += 1;
            wrong.extend(world.judge(&store, hold.ip, at).err());
        }
    }
    assert!(asked > 10_000, "{asked}");
    assert!(wrong.is_empty(), "{} of {asked} answers are wrong, such as {}", wrong.len(), wrong[0]);
}
