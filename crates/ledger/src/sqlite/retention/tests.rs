use std::path::Path;

use podtrail_event::{Cluster, DEFAULT_NETWORK, Gap, Pod};

use super::*;
use crate::interval::{Evidence, Interval};
use crate::sqlite::change::{Change, PodRow};
use crate::sqlite::sinks::DeadLetter;

fn t(second: i64) -> Timestamp {
    Timestamp::from_second(second)
}

fn pod(id: i64, gone: Option<i64>) -> Change {
    let pod = Pod { uid: format!("pod-{id}"), name: format!("web-{id}"), ..Pod::default() };
    Change::Pod(Box::new(PodRow { id, version: 1, created: true, deleted: false, gone: gone.map(t), pod }))
}

fn claim(id: i64, start: i64, end: Option<i64>) -> ClaimRow {
    let mut interval = Interval::starting(t(start - 1), t(start));
    interval.tighten(Evidence::HeldUntil(t(start + 2)));
    end.map(|end| interval.tighten(Evidence::EndedBy(t(end))));
    let ip = [10, 0, 0, (id % 7) as u8].into();
    let (network, subject) = (DEFAULT_NETWORK.to_owned(), Subject::Pod);
    ClaimRow { id, network, ip, subject, holder: id, ordinal: 0, shared: id % 11 == 0, interval }
}

/// Pods that follow each other on seven addresses, one each ten seconds: some end, some are ended by the next, some live on,
/// some are gone without an end.
fn history(path: &Path) -> Store {
    let mut store = Store::open(path, &Cluster::new("c"), Duration::ZERO).unwrap();
    let observed = |at, observation| Change::Observed(t(at), Source::Watch, Box::new(observation));
    let said = |at, claim| observed(at, Observation { claims: vec![claim], ..Observation::default() });
    for n in 1..=150 {
        let at = n * 10;
        let mut changes = vec![pod(n, None), said(at, claim(n, at, None))];
        if n % 3 != 0 {
            changes.push(said(at + 5, claim(n, at, Some(at + 5))));
        }
        if n % 5 != 0 && n > 4 {
            changes.push(pod(n - 4, Some(at)));
        }
        let gap = Gap { source: "pods".into(), from: t(at + 6), to: t(at + 7), reason: "away".into() };
        changes.push(observed(at + 7, Observation { gap: Some((gap, n.to_string())), ..Observation::default() }));
        let letter = |seq: i64| DeadLetter {
            sink: format!("s{}", n % 2),
            seq: seq as u64,
            id: n.to_string(),
            reason: String::new(),
            line: String::new(),
        };
        changes.push(Change::DeadLetter(letter(2 * n)));
        for source in ["pods", "nodes"] {
            changes.push(Change::Covered { source, start: t(n / 50 * 500), until: t(at + 7), proven: t(at + 5) });
        }
        store.commit(&changes).unwrap();
    }
    store
}

/// All rows of the table, as text.
fn rows(store: &Store, sql: &str) -> Vec<String> {
    let mut statement = store.db.prepare(sql).unwrap();
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|n| Ok(format!("{:?}", row.get_ref(n)?))).collect();
    statement.query_map([], row).unwrap().map(|row: rusqlite::Result<Vec<String>>| row.unwrap().join(" ")).collect()
}

fn state(store: &Store, head: u64) -> Vec<Vec<String>> {
    let claims = "SELECT id, holder, start_earliest, start_latest, end_earliest, end_latest FROM claims ORDER BY id";
    let evidence = format!("SELECT * FROM evidence WHERE seq <= {head} ORDER BY seq");
    let tables = ["anchor", "pods", "nodes", "gaps", "coverage", "dead_letters"];
    let tables = tables.map(|table| rows(store, &format!("SELECT * FROM {table} ORDER BY 1, 2")));
    [vec![rows(store, claims), rows(store, &evidence)], tables.to_vec()].concat()
}

#[test]
fn many_short_steps_end_as_one_long_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention { age: Some(Duration::from_secs(600)), size: None };
    let mut ends = Vec::new();
    for most in [i64::MAX, 1000, 50, 7, 1] {
        let mut store = history(&dir.path().join(most.to_string()));
        let (head, mut steps, mut forgotten) = (store.head().unwrap(), 0, 0);
        loop {
            let pruned = store.prune_some(&retention, t(1510), most).unwrap();
            assert!(i128::from(pruned.evidence) <= i128::from(most), "{pruned:?} of {most}");
            // The claims of one address are looked at together.
            assert!(i128::from(pruned.claims) <= i128::from(most) + 30, "{pruned:?} of {most}");
            if steps % 10 == 0 || !pruned.more {
                store.verify().unwrap();
            }
            (steps, forgotten) = (steps + 1, forgotten + pruned.evidence);
            if !pruned.more {
                break;
            }
        }
        assert!(steps as i128 >= i128::from(forgotten) / i128::from(most), "{steps} of {most}");
        assert_eq!(store.prune_some(&retention, t(1510), most).unwrap(), Pruned::default(), "all was done");
        ends.push((most, state(&store, head)));
    }
    let (_, one) = ends.remove(0);
    assert!(one.iter().filter(|table| !table.is_empty()).count() == 7, "all but nodes have rows");
    for (most, many) in ends {
        assert_eq!(many, one, "by {most}");
    }
}
