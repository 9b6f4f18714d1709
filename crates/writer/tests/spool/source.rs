//! What an outbox may expect of a source.

use std::future::ready;
use std::time::Duration;

use podtrail_writer::{
    Change, Error, OutboxConfig, Position, Rejection, Source as _, Spool, StartFrom, StateChange, run,
};

use crate::harness::{ROOMY, Scripted, at, both, item, kept, put, records};

async fn drain(spool: &Spool, writer: &Scripted) -> Vec<String> {
    let mut config = OutboxConfig::default();
    (config.max_rows, config.min_backoff) = (2, Duration::from_millis(1));
    let feed = spool.feed("sink", StartFrom::Start).unwrap();
    // Whether it gave up is seen in the calls.
    run(feed, writer.clone(), config, &(), ready(())).await.unwrap_or_default();
    std::mem::take(&mut writer.calls.lock().unwrap())
}

#[tokio::test]
async fn rows_come_in_order_within_the_bounds_that_are_asked_for() {
    for (spool, _folder) in both(ROOMY) {
        let mut feed = spool.feed("sink", StartFrom::Start).unwrap();
        assert_eq!(feed.read(0, None, 10).await.unwrap(), []);
        assert_eq!((feed.head().await.unwrap(), spool.write(&records([])).unwrap()), (0, 0));
        // Packs of one record, of a few and many of them.
        assert_eq!(spool.write(&records([1])).unwrap(), 1);
        assert_eq!(spool.write(&records(2..=5)).unwrap(), 5);
        assert_eq!(spool.write(&records(6..=20_000)).unwrap(), 20_000);
        assert_eq!(feed.head().await.unwrap(), 20_000);
        for (after, upto, limit, first, last) in [
            (0, None, 1, 1, 1),
            (0, None, 3, 1, 3),
            (3, None, 4, 4, 7),
            (3, Some(4), 100, 4, 4),
            (9_998, Some(12_000), 1000, 9_999, 10_998),
            (19_990, None, 1000, 19_991, 20_000),
            (19_990, Some(30_000), 10, 19_991, 20_000),
        ] {
            let seqs: Vec<_> = feed.read(after, upto, limit).await.unwrap().into_iter().map(|row| row.seq).collect();
            assert_eq!(seqs, (first..=last).collect::<Vec<_>>(), "after {after}, up to {upto:?}, {limit}");
        }
        assert_eq!(feed.read(5, Some(5), 10).await.unwrap(), []);
        assert_eq!(feed.read(20_000, None, 10).await.unwrap(), []);
        assert_eq!(kept(&mut feed, 0).await, (1..=20_000).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_new_sink_starts_where_it_is_asked_to_and_a_known_one_goes_on() {
    for (spool, _folder) in both(ROOMY) {
        spool.write(&records(1..=3)).unwrap();
        let mut all = spool.feed("all", StartFrom::Start).unwrap();
        let mut new = spool.feed("new", StartFrom::Now).unwrap();
        spool.write(&records(4..=5)).unwrap();
        assert_eq!(all.position().await.unwrap(), Position::default());
        assert_eq!(new.position().await.unwrap(), Position { seq: 3, ..Position::default() });

        new.freeze(5).await.unwrap();
        assert_eq!(new.position().await.unwrap(), Position { seq: 3, resume: None, frozen: Some(5) });
        new.commit(at(5)).await.unwrap();
        let mut again = spool.feed("new", StartFrom::Start).unwrap();
        assert_eq!(again.position().await.unwrap(), at(5));
        let sinks = spool.sinks().unwrap();
        assert_eq!(sinks, [("all".to_owned(), Position::default()), ("new".to_owned(), at(5))]);
    }
}

#[tokio::test]
async fn what_every_sink_has_got_is_deleted_and_nothing_else() {
    for (spool, _folder) in both(ROOMY) {
        spool.write(&records(1..=50_000)).unwrap();
        let full = spool.backlog();
        assert_eq!((full.records, full.bytes > 500_000), (50_000, true), "without sinks all is kept: {full:?}");
        let mut one = spool.feed("one", StartFrom::Start).unwrap();
        let mut two = spool.feed("two", StartFrom::Start).unwrap();
        one.commit(at(50_000)).await.unwrap();
        assert_eq!(spool.backlog(), full);
        two.commit(at(20_000)).await.unwrap();
        let half = spool.backlog();
        assert_eq!((half.records, half.bytes < full.bytes), (30_000, true), "{half:?}");
        assert_eq!(two.read(20_000, None, 1).await.unwrap()[0].items, [item(20_001)]);

        spool.write(&records([50_001])).unwrap();
        assert!(spool.forget_sink("two").unwrap() && !spool.forget_sink("two").unwrap());
        let rest = spool.backlog();
        assert_eq!((rest.records, rest.bytes < 150_000), (1, true), "{rest:?}");
        assert_eq!(kept(&mut one, 50_000).await, [50_001]);
        for forgotten in [two.freeze(1).await, two.commit(at(1)).await, two.position().await.map(drop)] {
            assert!(!forgotten.unwrap_err().is_retryable());
        }
        assert_eq!(spool.write(&records([50_002])).unwrap(), 50_002);
    }
}

#[tokio::test]
async fn dead_letters_are_kept_once_until_they_are_discarded() {
    for (spool, _folder) in both(ROOMY) {
        let mut feed = spool.feed("sink", StartFrom::Start).unwrap();
        let empty = spool.backlog().bytes;
        for n in [2, 1, 2, 3] {
            feed.dead_letter(n, &item(n), &format!("bad {n}")).await.unwrap();
        }
        feed.dead_letter(2, &item(9), "of the same row").await.unwrap();
        spool.forget_sink("sink").unwrap();
        let letters = spool.dead_letters("sink").unwrap();
        let seqs: Vec<_> = letters.iter().map(|letter| letter.seq).collect();
        assert_eq!(seqs, [1, 2, 2, 3]);
        let first = &letters[0];
        assert_eq!((&first.item, first.reason.as_str()), (&item(1), "bad 1"));
        assert_eq!(spool.dead_letters("other").unwrap(), []);
        assert_eq!(spool.discard_dead_letters("sink", 2).unwrap(), 3);
        assert_eq!(spool.discard_dead_letters("other", u64::MAX).unwrap(), 0);
        assert_eq!(spool.discard_dead_letters("sink", u64::MAX).unwrap(), 1);
        assert_eq!((spool.dead_letters("sink").unwrap(), spool.backlog().bytes), (vec![], empty));
    }
}

#[tokio::test]
async fn a_feed_wakes_for_new_records() {
    for (spool, _folder) in both(ROOMY) {
        let mut feed = spool.feed("sink", StartFrom::Start).unwrap();
        spool.write(&records([1])).unwrap();
        feed.changed(0).await.unwrap();
        let waiting = tokio::spawn(async move { feed.changed(1).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        spool.write(&records([2])).unwrap();
        waiting.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_outbox_delivers_in_order_sets_aside_and_tries_again() {
    for (spool, _folder) in both(ROOMY) {
        let writer = Scripted::default();
        spool.write(&records(1..=5)).unwrap();
        *writer.script.lock().unwrap() = vec![Error::retry("x", "down")];
        let calls = drain(&spool, &writer).await;
        let first = r#"1-2 {"n":1}+{"n":2} None"#;
        let expected = [first, first, r#"3-4 {"n":3}+{"n":4} Some("t2")"#, r#"5-5 {"n":5} Some("t4")"#];
        assert_eq!(calls, expected);

        spool.write(&records(6..=7)).unwrap();
        let bad = Rejection { id: item(6).id, reason: "bad".to_owned() };
        *writer.script.lock().unwrap() = vec![Error::rejected("x", vec![bad])];
        let calls = drain(&spool, &writer).await;
        assert_eq!(calls, [r#"6-7 {"n":6}+{"n":7} Some("t5")"#, r#"6-7 {"n":7} Some("t5")"#]);
        let letters = spool.dead_letters("sink").unwrap();
        assert_eq!((letters.len(), &letters[0].item), (1, &item(6)));
        assert_eq!(spool.backlog().records, 0);
    }
}

#[tokio::test]
async fn a_batch_in_flight_comes_again_as_it_was_also_from_the_file() {
    for (spool, folder) in both(ROOMY) {
        let writer = Scripted::default();
        spool.write(&records(1..=3)).unwrap();
        *writer.script.lock().unwrap() = vec![Error::fatal("x", "gone")];
        let before = drain(&spool, &writer).await;
        spool.write(&records(4..=6)).unwrap();
        let spool = match &folder {
            Some(folder) => {
                drop(spool);
                Spool::open(folder.path().join("spool.db"), ROOMY).unwrap()
            }
            None => spool,
        };
        let after = drain(&spool, &writer).await;
        assert_eq!(before, [r#"1-2 {"n":1}+{"n":2} None"#]);
        assert_eq!(after[..2], [before[0].as_str(), r#"3-4 {"n":3}+{"n":4} Some("t2")"#]);
    }
}

#[test]
fn state_is_put_deleted_and_shown_by_space_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    let spool = Spool::open(&path, ROOMY).unwrap();
    let mut change = records([1]);
    change.state = vec![put(u32::MAX, "z"), put(3, "c"), put(0, "a"), put(3, "d"), put(5, "e")];
    for space in [1, u32::MAX] {
        let mut other = put(0, space.to_le_bytes());
        other.space = space;
        change.state.push(other);
    }
    change.state.push(StateChange { space: 0, slot: 5, value: None });
    spool.write(&change).unwrap();
    drop(spool);

    let spool = Spool::open(&path, ROOMY).unwrap();
    let shown = |space| {
        let mut values = Vec::new();
        spool.state(space, |slot, value| values.push((slot, value.to_vec()))).unwrap();
        values
    };
    assert_eq!(shown(0), [(0, b"a".to_vec()), (3, b"d".to_vec()), (u32::MAX, b"z".to_vec())]);
    assert_eq!(shown(1), [(0, 1u32.to_le_bytes().to_vec())]);
    assert_eq!(shown(u32::MAX), [(0, u32::MAX.to_le_bytes().to_vec())]);
    assert_eq!(shown(2), []);
    assert_eq!((spool.get(0, 3).unwrap().as_deref(), spool.get(0, 5).unwrap()), (Some(&b"d"[..]), None));
    change.clear();
    assert!(change.is_empty());

    let memory = Spool::in_memory(ROOMY);
    memory.write(&Change { records: vec![], state: vec![put(1, "x")] }).unwrap();
    memory.state(0, |_, _| panic!("there is none")).unwrap();
    assert_eq!(memory.get(0, 1).unwrap(), None);
}
