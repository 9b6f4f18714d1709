//! Runs a tool in a pod's network namespace.

fn main() {}
