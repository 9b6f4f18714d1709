//! Deliver records to a backend: the writer contract, the outbox that keeps it, and one backend per feature.
//!
//! A [`Writer`] has one duty: deliver a frozen [`Batch`] and say [`Committed`], or fail with an [`Error`] that says
//! whether to try again, which records it will never take, or that it gives up. [`run`] is the outbox: it reads rows
//! from a [`Source`] (a ledger, a spool), freezes each batch there before it delivers it, and moves the position only
//! after the backend committed. A crash between any two steps delivers the same bytes again, with the token that the
//! writer gave for the batch before, so a writer that can tell what it already holds writes every record exactly once.
//!
#![cfg_attr(feature = "file", doc = "```")]
#![cfg_attr(not(feature = "file"), doc = "```ignore")]
//! use podtrail_writer::{File, FileConfig, WriterExt as _};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), podtrail_writer::Error> {
//! # let folder = tempfile::tempdir().unwrap();
//! let path = folder.path().join("events.ndjson");
//! let mut file = File::new(FileConfig::new(&path))?;
//! let lines = [r#"{"v":1,"n":1}"#.into(), r#"{"v":1,"n":2}"#.into()];
//!
//! file.deliver_lines(1, &lines, None).await?;
//! // The same batch again, as after a crash before the position was stored: nothing is written twice.
//! let again = file.deliver_lines(1, &lines, None).await?;
//! // The token of the last batch goes with the next.
//! file.deliver_lines(3, &[r#"{"v":1,"n":3}"#.into()], again.resume.as_deref()).await?;
//! assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
//! # Ok(())
//! # }
//! ```
//!
//! # Main types
//!
//! - [`Writer`], [`WriterExt`], [`Batch`], [`Item`], [`Committed`], [`Error`]: the contract of a backend.
//! - [`Source`], [`Position`], [`Row`], [`SourceError`]: where records come from and where a sink's position is kept.
//! - [`run`], [`OutboxConfig`], [`Observer`]: the outbox between the two.
//! - [`Fanout`]: several writers as one.
//! - `Spool`: a store of records, and of the saved state of whoever makes them, changed together; a source.
//! - [`Spec`]: a sink as people write it, such as `file:/var/log/pods.ndjson,max-size=64MiB,keep=7`; [`size`] reads the sizes in it.
//! - `OutboxMetrics`: what outboxes do, for Prometheus.
//!
//! # What it does not do
//!
//! It spawns no task and installs no signal handler: [`run`] returns a future, and blocking file work is awaited. It
//! does not choose which records a sink gets nor how they look: a [`Source`] hands over finished lines.
//!
//! # Features
//!
//! - `stdout` (default): `Lines` and `stdout`, lines to any asynchronous writer, at least once.
//! - `file` (default): `File`, lines to a file with rotation and gzip of closed parts, exactly once.
//! - `spool`: `Spool`, records and state in one SQLite file or, without state, in memory.
//! - `metrics`: `OutboxMetrics`, an observer for Prometheus.
//! - `conformance`: the suite that defines the contract, and `MemorySource`.

mod batch;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod fanout;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "stdout")]
mod lines;
#[cfg(feature = "metrics")]
mod metrics;
mod outbox;
mod source;
mod spec;
#[cfg(feature = "spool")]
mod spool;
mod units;
mod writer;

pub use batch::{Batch, Committed, Item};
pub use error::{Error, ErrorKind, Rejection};
pub use fanout::Fanout;
#[cfg(feature = "file")]
pub use file::{File, FileHandle};
#[cfg(feature = "stdout")]
pub use lines::{Lines, Stdout, stdout};
#[cfg(feature = "metrics")]
pub use metrics::OutboxMetrics;
pub use outbox::{Observer, OutboxConfig, run};
pub use source::{Position, Row, Source, SourceError};
pub use spec::{FileConfig, FsyncPolicy, Spec, SpecError, StartFrom, Target};
#[cfg(feature = "spool")]
pub use spool::{Backlog, Change, DeadLetter, Feed, Spool, SpoolError, SpoolErrorKind, StateChange};
pub use units::size;
pub use writer::{Writer, WriterExt};
