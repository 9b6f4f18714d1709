//! What was changed behind the ledger's back is found.

use podtrail_ledger::{Change, ErrorKind, Store};

use crate::ledger::{Place, claim, covered, interval, observed, pod, said, t, why};

/// Six pieces of evidence, three claims.
fn fill(place: &Place) {
    let mut store = place.open();
    let first = |held, end| claim(1, 1, "10.0.0.1", interval(10, held, end));
    let changes = [
        Change::Pod(Box::new(pod(1))),
        Change::Pod(Box::new(pod(2))),
        said(10, &[first(None, None)]),
        said(
            20,
            &[claim(2, 2, "10.0.0.2", interval(20, None, None)), claim(3, 2, "fd00::2", interval(20, None, None))],
        ),
        observed(30, podtrail_ledger::Observation { held: vec![(1, t(30)), (2, t(29))], ..Default::default() }),
        observed(40, podtrail_ledger::Observation::default()),
        said(50, &[first(Some(30), Some(50))]),
        observed(60, podtrail_ledger::Observation { held: vec![(3, t(60))], ..Default::default() }),
        covered(0, 60),
    ];
    store.commit(&changes).unwrap();
    let verified = store.verify().unwrap();
    assert_eq!((verified.evidence, verified.claims, verified.anchor), (6, 3, 0));
}

fn found_after(statements: &str) -> Option<String> {
    let place = Place::new();
    fill(&place);
    let db = place.sqlite();
    db.execute_batch(statements).unwrap();
    assert!(db.changes() > 0, "{statements} changes nothing");
    drop(db);
    match Store::open_read_only(place.path()).unwrap().verify() {
        Ok(_) => None,
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::Corrupt, "{statements}: {e}: {}", why(&e));
            Some(why(&e))
        }
    }
}

#[test]
fn any_change_of_the_evidence_is_found() {
    for (statements, want) in [
        ("UPDATE evidence SET body = replace(body, '10.0.0.1', '10.0.0.9') WHERE seq = 1", "evidence 1 is not"),
        ("UPDATE evidence SET body = body || ' ' WHERE seq = 4", "evidence 4 is not"),
        ("UPDATE evidence SET at = at + 1 WHERE seq = 6", "evidence 6 is not"),
        ("UPDATE evidence SET source = 'list' WHERE seq = 2", "evidence 2 is not"),
        ("UPDATE evidence SET hash = zeroblob(32) WHERE seq = 3", "evidence 3 is not"),
        ("UPDATE evidence SET hash = (SELECT hash FROM evidence WHERE seq = 2) WHERE seq = 3", "evidence 3 is not"),
        ("UPDATE evidence SET hash = x'00' WHERE seq = 6", ""),
        ("UPDATE evidence SET body = x'ff' WHERE seq = 5", ""),
        ("DELETE FROM evidence WHERE seq = 1", "evidence 1 is missing"),
        ("DELETE FROM evidence WHERE seq = 3", "evidence 3 is missing"),
        ("DELETE FROM evidence WHERE seq = 6", "after 5 is missing"),
        ("DELETE FROM evidence WHERE seq > 2", "after 2 is missing"),
        ("DELETE FROM evidence", "after 0 is missing"),
        (
            "UPDATE evidence SET seq = -seq WHERE seq IN (3, 4); UPDATE evidence SET seq = 7 + seq WHERE seq < 0",
            "evidence 3 is not",
        ),
        (
            "INSERT INTO evidence SELECT seq + 1, at, source, body, hash FROM evidence WHERE seq = 6",
            "evidence 7 is not",
        ),
        ("UPDATE evidence SET seq = 8 WHERE seq = 6", "evidence 6 is missing"),
        ("UPDATE head SET seq = 5, hash = (SELECT hash FROM evidence WHERE seq = 5)", "after 6"),
        ("UPDATE head SET hash = zeroblob(32)", "after 6"),
        ("UPDATE anchor SET seq = 2, hash = (SELECT hash FROM evidence WHERE seq = 2)", "evidence 3 is missing"),
        ("UPDATE anchor SET hash = zeroblob(32)", "begins"),
        ("UPDATE meta SET value = 'cluster-2' WHERE key = 'cluster-uid'", "begins"),
    ] {
        let found = found_after(statements).unwrap_or_else(|| panic!("not found: {statements}"));
        assert!(found.contains(want), "{statements}: {found}");
    }
}

#[test]
fn any_change_of_a_claim_is_found() {
    for column in [
        "network = 'ns/blue'",
        "key = x'00000000000000000000ffff0a000009'",
        "address = '10.0.0.9'",
        "address = 'nowhere'",
        "subject = 'node'",
        "subject = 'ghost'",
        "holder = 9",
        "ordinal = 1",
        "shared = 1",
        "start_earliest = start_earliest - 1",
        "start_latest = start_latest + 1",
        "end_earliest = end_earliest + 1",
        "end_latest = 7",
        "may_end = 1",
        "id = 8",
    ] {
        let statement = format!("UPDATE claims SET {column} WHERE id = 2");
        assert!(found_after(&statement).is_some(), "not found: {statement}");
    }
    for (statement, want) in [
        ("DELETE FROM claims WHERE id = 3", "claim 3 on fd00::2 is missing"),
        ("UPDATE claims SET end_latest = NULL WHERE id = 1", "claim 1 on 10.0.0.1 is not what"),
        (
            "INSERT INTO claims SELECT 4, network, key, address, subject, holder, ordinal, shared, start_earliest,
               start_latest, end_earliest, end_latest, may_end, said FROM claims WHERE id = 1",
            "claim 4 on 10.0.0.1 is not what",
        ),
    ] {
        let found = found_after(statement).unwrap_or_else(|| panic!("not found: {statement}"));
        assert!(found.contains(want), "{statement}: {found}");
    }
}
