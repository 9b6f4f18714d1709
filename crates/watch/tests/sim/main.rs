//! The streams against a simulated API server over loopback, with everything that can go wrong.

mod faults;
mod gaps;
mod harness;
mod requests;
