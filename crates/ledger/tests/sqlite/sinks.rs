//! What is kept for sinks.

use std::time::Duration;

use podtrail_ledger::{Change, DeadLetter, Observation, Retention, SinkPosition};

use crate::ledger::{Place, observed, t};

const AGE: Retention = Retention { age: Some(Duration::from_secs(10)), size: None };

fn at(name: &str, seq: u64) -> Change {
    Change::Position(name.into(), SinkPosition { seq, ..SinkPosition::default() })
}

fn letter(sink: &str, seq: u64, id: &str) -> DeadLetter {
    DeadLetter { sink: sink.into(), seq, id: id.into(), reason: "too long".into(), line: format!("line {id}") }
}

fn pieces(n: i64) -> Vec<Change> {
    (1..=n).map(|at| observed(at, Observation::default())).collect()
}

#[test]
fn a_sink_that_is_forgotten_holds_nothing_back() {
    let place = Place::new();
    let mut store = place.open();
    let resume = SinkPosition { seq: 4, resume: Some("x".into()), frozen: Some(5) };
    let positions = [at("stdout:", 9), at("file:/old", 2), Change::Position("file:/new".into(), resume.clone())];
    store.commit(&[&pieces(9)[..], &positions].concat()).unwrap();
    let names =
        |store: &podtrail_ledger::Store| store.sinks().unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(&store), ["file:/new", "file:/old", "stdout:"]);
    assert_eq!(store.sinks().unwrap()[0].1, resume);
    assert_eq!((store.prune(&AGE, t(100)).unwrap().evidence, store.anchor().unwrap()), (2, 2));
    assert!(store.forget_sink("file:/old").unwrap());
    assert!(!store.forget_sink("file:/old").unwrap(), "it is not known any more");
    assert_eq!(
        (names(&store), store.position("file:/old").unwrap()),
        (vec!["file:/new".into(), "stdout:".into()], None)
    );
    assert_eq!((store.prune(&AGE, t(100)).unwrap().evidence, store.anchor().unwrap()), (2, 4));
    store.verify().unwrap();
    place.open_read_only().forget_sink("stdout:").unwrap_err();
}

#[test]
fn what_a_sink_refused_can_be_read_until_its_evidence_goes() {
    let place = Place::new();
    let mut store = place.open();
    let letters =
        [letter("a", 3, "z"), letter("a", 3, "b"), letter("a", 8, "c"), letter("b", 1, "d"), letter("b", 6, "e")];
    store.commit(&[pieces(9), letters.iter().cloned().map(Change::DeadLetter).collect()].concat()).unwrap();
    let [z, b, c, d, e] = letters;
    assert_eq!(store.dead_letters("a").unwrap(), [b, z, c.clone()], "by evidence, then by id");
    assert_eq!(store.dead_letters("b").unwrap(), [d, e.clone()]);
    assert_eq!(store.dead_letters("c").unwrap(), []);
    store.prune(&AGE, t(15)).unwrap();
    assert_eq!(store.anchor().unwrap(), 4);
    assert_eq!((store.dead_letters("a").unwrap(), store.dead_letters("b").unwrap()), (vec![c], vec![e]));
}
