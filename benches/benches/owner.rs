//! Who had an address, in memory and in SQLite. `PODTRAIL_BENCH_INTERVALS` (default 10,000,000) says how many intervals; SQLite
//! is asked about as many, up to 10,000,000.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use podtrail_event::{Cluster, Pod, Subject, Timestamp};
use podtrail_ledger::{Change, ClaimRow, Coverage, Evidence, Index, Interval, Observation, PodRow, Source, Store};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// Addresses of a large cluster: a /16.
const ADDRESSES: u32 = 65_536;
/// Each interval is held for 50 s of each 60 s.
const PERIOD: i64 = 60;

fn ip(n: u32) -> IpAddr {
    Ipv4Addr::from(0x0af4_0000 + n % ADDRESSES).into()
}

fn interval(n: u32) -> Interval {
    let t = |s| Timestamp::from_second(1_700_000_000 + i64::from(n / ADDRESSES) * PERIOD + s);
    let mut interval = Interval::starting(t(0), t(2));
    interval.tighten(Evidence::HeldUntil(t(48)));
    interval.tighten(Evidence::EndedBy(t(50)));
    interval
}

fn question(rng: &mut SmallRng, intervals: u32) -> (IpAddr, Timestamp) {
    let rounds = i64::from(intervals.div_ceil(ADDRESSES));
    (ip(rng.random()), Timestamp::from_second(1_700_000_000 + rng.random_range(0..rounds * PERIOD)))
}

fn intervals() -> u32 {
    std::env::var("PODTRAIL_BENCH_INTERVALS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000_000)
}

fn in_memory(c: &mut Criterion) {
    let intervals = intervals();
    let coverage = Coverage::new([(Timestamp::MIN, Timestamp::MAX)], Duration::ZERO);
    let index = Index::build((0..intervals).map(|n| ("default", ip(n), interval(n), n)), coverage);
    let mut rng = SmallRng::seed_from_u64(1);
    c.bench_function(&format!("owner/index/{intervals}"), |b| {
        b.iter_batched(
            || question(&mut rng, intervals),
            |(ip, at)| black_box(index.owner("default", ip, at)),
            criterion::BatchSize::SmallInput,
        );
    });
}

/// The same question to the store.
fn in_store(c: &mut Criterion) {
    const INTERVALS: u32 = 1_000_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("ledger.db");
    let mut store = Store::open(&path, &Cluster::new("bench"), Duration::ZERO).expect("a new ledger");
    fill(&mut store, INTERVALS);
    let mut rng = SmallRng::seed_from_u64(1);
    c.bench_function(&format!("owner/store/{INTERVALS}"), |b| {
        b.iter_batched(
            || question(&mut rng, INTERVALS),
            |(ip, at)| black_box(store.owner("default", ip, at).expect("an answer")),
            criterion::BatchSize::SmallInput,
        );
    });
}

/// The same question to SQLite in memory, with the narrowest query that answers it.
fn in_sqlite(c: &mut Criterion) {
    let intervals = intervals().min(10_000_000);
    let mut rng = SmallRng::seed_from_u64(1);
    let db = rusqlite::Connection::open_in_memory().expect("a database");
    db.execute_batch("CREATE TABLE held (ip INTEGER, start INTEGER, until INTEGER, who INTEGER, PRIMARY KEY (ip, start)) WITHOUT ROWID; BEGIN")
        .expect("a table");
    let mut insert = db.prepare("INSERT INTO held VALUES (?1, ?2, ?3, ?4)").expect("an insert");
    let number = |ip: IpAddr| if let IpAddr::V4(v4) = ip { u32::from(v4) } else { 0 };
    // In the order of the key: quicker.
    for n in (0..ADDRESSES).flat_map(|first| (first..intervals).step_by(ADDRESSES as usize)) {
        let i = interval(n);
        let until = i.end_latest.map(Timestamp::as_nanosecond);
        insert.execute((number(ip(n)), i.start_latest.as_nanosecond(), until, n)).expect("a row");
    }
    drop(insert);
    db.execute_batch("COMMIT").expect("a commit");
    let mut select = db
        .prepare("SELECT who, until FROM held WHERE ip = ?1 AND start <= ?2 ORDER BY start DESC LIMIT 1")
        .expect("a query");
    c.bench_function(&format!("owner/bare sqlite/{intervals}"), |b| {
        b.iter_batched(
            || question(&mut rng, intervals),
            |(ip, at)| black_box(select.query_row((number(ip), at.as_nanosecond()), |row| row.get::<_, i64>(0)).ok()),
            criterion::BatchSize::SmallInput,
        );
    });
}

fn fill(store: &mut Store, intervals: u32) {
    let pod = Pod { uid: "bench".into(), namespace: "bench".into(), name: "bench".into(), ..Pod::default() };
    let row = PodRow { id: 1, version: 1, created: true, deleted: false, gone: None, pod };
    store.commit(&[Change::Pod(Box::new(row))]).expect("a commit");
    let claim = |n: u32| ClaimRow {
        id: i64::from(n) + 1,
        network: "default".to_owned(),
        ip: ip(n),
        subject: Subject::Pod,
        holder: 1,
        ordinal: 0,
        shared: false,
        interval: interval(n),
    };
    for first in (0..intervals).step_by(10_000) {
        let claims = (first..intervals.min(first + 10_000)).map(claim).collect();
        let observation = Observation { claims, ..Observation::default() };
        let change = Change::Observed(Timestamp::from_second(0), Source::List, Box::new(observation));
        store.commit(&[change]).expect("a commit");
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50);
    targets = in_memory, in_store, in_sqlite
}
criterion_main!(benches);
