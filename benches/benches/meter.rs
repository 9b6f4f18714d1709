//! What it costs to meter 200,000 connections, in time and in memory: to hash what tells each from the others, and to observe it,
//! when every tenth has carried something.
#![expect(clippy::print_stdout, reason = "a benchmark reports there")]

use std::fs;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use podtrail_flow::{Counters, Identity, Meter, Step};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

const CONNECTIONS: u32 = 200_000;

/// Made when it is needed, as it comes from a message that was just received: a list of them would push out of the cache what
/// is measured.
fn identity(n: u32) -> Identity {
    Identity {
        netns: 1,
        zone: 0,
        protocol: 6,
        src: IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | n >> 4)),
        dst: IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)),
        ports: (1024 + (n & 15) as u16, 443),
        direction_zone: 0,
        id: n.wrapping_mul(0x9e37_79b9),
        start: Some(1_764_000_000_000_000_000 + u64::from(n) * 1_000_003),
    }
}

fn carried(bytes: u64) -> Counters {
    Counters { original_packets: bytes / 500, original_bytes: bytes, reply_packets: 1, reply_bytes: 60 }
}

/// Resident memory in bytes, as the kernel counts it.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of its own");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") * 1024
}

/// All connections once, so many hashed before the first of them is observed.
fn snapshot(meter: &mut Meter, order: &[u32], at_once: usize, round: &mut u64) {
    *round += 1;
    meter.begin();
    let mut counted = 0;
    let mut keys = Vec::with_capacity(at_once);
    for some in order.chunks(at_once) {
        keys.clear();
        keys.extend(some.iter().map(|n| black_box(identity(*n)).key()));
        for (n, key) in some.iter().zip(&keys) {
            let bytes = if *n % 10 == 0 { *round * 1000 } else { 1000 };
            counted += u32::from(matches!(meter.observe(*key, carried(bytes)), Step::Counted(_)));
        }
    }
    assert_eq!(counted, CONNECTIONS / 10);
    meter.end(true, |gone| panic!("{gone:?}"));
}

fn meter(c: &mut Criterion) {
    let mut order: Vec<u32> = (0..CONNECTIONS).collect();
    let before = resident();
    let mut meter = Meter::new(CONNECTIONS as usize);
    order.iter().for_each(|n| _ = meter.observe(identity(*n).key(), carried(1000)));
    let bytes = resident().saturating_sub(before);
    println!("meter/memory: {:.1} B resident for each of {CONNECTIONS}", bytes as f64 / f64::from(CONNECTIONS));

    let mut group = c.benchmark_group("meter");
    group.throughput(Throughput::Elements(u64::from(CONNECTIONS)));
    let mut round = 1;
    // As the kernel shows them again: in its own order, which was that of the first snapshot.
    group.bench_function("same order", |b| b.iter(|| snapshot(&mut meter, &order, 1, &mut round)));
    order.shuffle(&mut SmallRng::seed_from_u64(1));
    group.bench_function("random order", |b| b.iter(|| snapshot(&mut meter, &order, 1, &mut round)));
    group.bench_function("random order, 32 at once", |b| b.iter(|| snapshot(&mut meter, &order, 32, &mut round)));
    group.bench_function("hash alone", |b| {
        b.iter(|| order.iter().fold(0, |sum, n| sum ^ black_box(identity(*n)).key().to_bytes()[0]));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = meter
}
criterion_main!(benches);
