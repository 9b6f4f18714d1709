//! What the proofs are made with.

mod agent;
mod disk;
mod lab;
mod lines;
mod traffic;
mod truth;

pub(crate) use agent::{Agent, command, wait};
pub(crate) use disk::Disk;
pub(crate) use lab::{Lab, Place, turn};
pub(crate) use lines::{Lines, now};
pub(crate) use traffic::{Datagrams, Traffic, ping, pour};
pub(crate) use truth::{Truth, compare};
