//! One watch frame of a 9 KB pod: our borrowed decode against `serde_json::Value` and against the whole `Pod`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use k8s_openapi::api::core::v1::Pod;
use podtrail_sim::{Cluster, Config, PodSpec};
use podtrail_watch::PodLite;

/// A frame such as an API server sends, of about 9 KB.
fn frame() -> Vec<u8> {
    let cluster = Cluster::new(Config { managed_fields: 6200, ..Config::default() });
    cluster.add_node("node-1", &[("InternalIP", "198.18.0.11")]).expect("a new node");
    let spec = PodSpec::new("default", "web-1", "node-1").label("app", "web").annotation("note", "a benchmark");
    let pod = cluster.create(spec).expect("a new pod");
    cluster.run(&pod, &["10.244.0.10".parse().expect("an address")]).expect("a pending pod");
    cluster.frames().last().expect("two frames").to_vec()
}

fn decode(c: &mut Criterion) {
    let frame = frame();
    let mut group = c.benchmark_group("frame");
    group.throughput(Throughput::Bytes(frame.len() as u64));
    group.bench_function("PodLite", |b| b.iter(|| PodLite::frame(black_box(&frame)).expect("a frame")));
    group.bench_function("serde_json::Value", |b| {
        b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(&frame)).expect("a frame"));
    });
    group.bench_function("k8s_openapi::Pod", |b| {
        b.iter(|| serde_json::from_slice::<kube::api::WatchEvent<Pod>>(black_box(&frame)).expect("a frame"));
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
