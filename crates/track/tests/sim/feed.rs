//! A sink's feed across restarts.

use podtrail_sim::Config;
use podtrail_track::{Format, Sink};
use podtrail_watch::{Globs, NamespaceFilter};
use podtrail_writer::{Position, Source as _};

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
    let mut feed = session.feed(sink("first"));
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
        let mut feed = session.feed(changed);
        let position = feed.position().await.unwrap();
        assert_eq!(position, Position { resume: token.clone(), frozen: Some(last), ..begun });
        assert_eq!(feed.read(position.seq, position.frozen, 1000).await.unwrap(), rows);
    }
    // The next batch has the new settings.
    let mut feed = session.feed(sink("second"));
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
