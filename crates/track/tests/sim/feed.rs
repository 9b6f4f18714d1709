//! A sink's feed across restarts.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use podtrail_event::EventId;
use podtrail_sim::Config;
use podtrail_track::{Format, Sink};
use podtrail_watch::{Globs, NamespaceFilter};
use podtrail_writer::{Batch, Committed, Error, OutboxConfig, Position, Source as _, Writer};

use crate::harness::{World, config};

fn sink(tracked_by: &str) -> Sink {
    let (name, namespaces) = ("a".to_owned(), NamespaceFilter::default());
    Sink { name, namespaces, format: Format::Podtrail, tracked_by: tracked_by.to_owned(), from_now: false }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_in_flight_is_finished_with_the_settings_that_it_began_with() {
    let world = World::new(Config::default()).await;
    let session = world.start(config()).await;
    world.run("web-1", [10, 244, 0, 17]);
    world.settle("web-1").await;
    let mut feed = session.tracking.feed(sink("first")).unwrap();
    let begun = feed.position().await.unwrap();
    let rows = feed.read(begun.seq, None, 1000).await.unwrap();
    let last = rows.last().unwrap().seq;
    let token = Some(r#"{"v":1}"#.to_owned());
    feed.commit(Position { resume: token.clone(), ..begun.clone() }).await.unwrap();
    feed.freeze(last).await.unwrap();
    drop(feed);
    session.stop().await;

    let session = world.start_named(config(), "renamed").await;
    let others = NamespaceFilter { exclude: Globs::all(), ..NamespaceFilter::default() };
    let changes = [
        sink("second"),
        Sink { format: Format::PodTracker, ..sink("first") },
        Sink { namespaces: others, ..sink("first") },
    ];
    for changed in changes {
        let mut feed = session.tracking.feed(changed).unwrap();
        let position = feed.position().await.unwrap();
        assert_eq!(position, Position { resume: token.clone(), frozen: Some(last), ..begun });
        assert_eq!(feed.read(position.seq, position.frozen, 1000).await.unwrap(), rows);
    }
    // The next batch has the new settings.
    let mut feed = session.tracking.feed(sink("second")).unwrap();
    feed.position().await.unwrap();
    feed.commit(Position { seq: last, resume: token, frozen: None }).await.unwrap();
    world.run("web-2", [10, 244, 0, 18]);
    feed.changed(last).await.unwrap();
    let rows = feed.read(last, None, 1000).await.unwrap();
    let line = String::from_utf8_lossy(&rows.iter().find_map(|row| row.items.first()).unwrap().line).into_owned();
    assert!(line.contains("second") && line.contains("renamed"), "{line}");
    drop(feed);
    session.stop().await;
    world.finish();
}

/// Takes everything.
struct Taker(Arc<Mutex<Vec<EventId>>>);

#[async_trait]
impl Writer for Taker {
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<Committed, Error> {
        self.0.lock().unwrap().extend(batch.items.iter().map(|item| item.id));
        Ok(Committed::default())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_commits_what_was_seen_and_delivers_it() {
    let world = World::new(Config::default()).await;
    let session = world.start(config()).await;
    let taken = Arc::new(Mutex::new(Vec::new()));
    let outbox = session.tracking.outbox(sink("me"), Taker(taken.clone()), OutboxConfig::default()).unwrap();
    let delivering = tokio::spawn(outbox);
    world.stir(1);
    world.settle("the stir").await;
    session.stop().await;
    delivering.await.unwrap().unwrap();
    let recorded: Vec<_> = world.records().iter().map(|record| record.id()).collect();
    assert!(!recorded.is_empty(), "something was recorded");
    assert_eq!(*taken.lock().unwrap(), recorded);
    world.finish();
}
