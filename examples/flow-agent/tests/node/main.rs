//! Proofs of `flow-agent run` on a node: network namespaces that the tests make, the kernel's connection tracking in them, and
//! what it says itself of each connection.
//!
//! They need root, and Debian's iproute2, nftables and conntrack; without them they say so and are skipped. What takes long is
//! ignored, and run by `cargo test --release -p flow-agent -- --ignored --nocapture`.

#![cfg(test)]
#![cfg(target_os = "linux")]

mod burst;
mod bytes;
mod frozen;
mod gaps;
mod harness;
mod kills;
mod odd;
mod operating;
#[path = "../../../../crates/netns/tests/skip/mod.rs"]
mod skip;
