//! Benchmarks of the podtrail crates: `cargo bench -p podtrail-benches`. How they are read is in `docs/PERFORMANCE.md`.
