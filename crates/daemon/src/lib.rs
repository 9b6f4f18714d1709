//! What every daemon needs once: logs, metrics, health, drain.
//!
//! A binary installs the logs, binds one address for `/livez`, `/readyz`, `/healthz` and `/metrics`, hands a [`Health`] to its loops,
//! and ends with one of the [`Exit`] codes when a signal asks it to.
//!
//! ```no_run
//! use std::{process::ExitCode, sync::Arc, time::Duration};
//!
//! use podtrail_daemon::{Exit, Failure, Health, LogArgs, bind, register_process_metrics, serve};
//! use prometheus_client::registry::Registry;
//!
//! #[derive(clap::Parser)]
//! struct Cli {
//!     #[command(flatten)]
//!     log: LogArgs,
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn run(cli: Cli) -> Result<Exit, Failure> {
//!     cli.log.install("info")?;
//!     let shutdown = podtrail_daemon::shutdown_signal()?;
//!     let mut registry = Registry::default();
//!     register_process_metrics(&mut registry);
//!     let health = Health::new();
//!     let watched = health.condition("watch", "no list was read yet");
//!     let commits = health.heartbeat("commit", Duration::from_secs(30));
//!     tokio::spawn(async move {
//!         watched.set_ready();
//!         loop {
//!             commits.beat();
//!             tokio::time::sleep(Duration::from_secs(1)).await;
//!         }
//!     });
//!     serve(bind("127.0.0.1:8080").await?, health, Arc::new(registry), shutdown).await?;
//!     Ok(Exit::Ok)
//! }
//!
//! fn main() -> ExitCode {
//!     podtrail_daemon::main(run)
//! }
//! ```
//!
//! # Main types
//!
//! - [`LogArgs`], [`LogFormat`], [`logs`]: log lines on standard error.
//! - [`Health`], with [`Heartbeat`] for "still moving" and [`Condition`] for "able to serve"; [`Report`] is what they say at an instant.
//! - [`bind`] and [`serve`]: the HTTP endpoints.
//! - [`shutdown_signal`], [`reopen_signal`]: SIGTERM and SIGINT, SIGHUP.
//! - [`main`], [`Failure`], [`Exit`], [`print_error`]: from a command line to how the process ends. [`Completions`]: a subcommand,
//!   and [`duration`]: a flag's value, that every binary has. [`escape`]: text from outside, safe to print.
//! - [`register_process_metrics`]: what the process costs.
//! - On Linux, `spawn` and `inherit`: a worker process that is handed open descriptors over a `Channel`, and dies with its parent.
//!
//! # What it does not do
//!
//! It speaks no TLS and asks for no credentials: bind an address that only the cluster reaches. It restarts nothing, and it installs
//! no global but the log subscriber, in [`logs`]. It is for binaries; the other crates do not depend on it.
//!
//! # Features
//!
//! None.

mod connection;
mod duration;
mod error;
mod exit;
mod health;
mod log;
mod process;
mod program;
mod serve;
mod signal;
mod text;
#[cfg(target_os = "linux")]
mod worker;

pub use duration::duration;
pub use error::{Error, ErrorKind, Result};
pub use exit::{Exit, print_error};
pub use health::{Condition, Health, Heartbeat, Report};
pub use log::{LogArgs, LogFormat, logs};
pub use process::register_process_metrics;
pub use program::{Completions, Failure, main};
pub use serve::{bind, serve};
pub use signal::{Reopen, reopen_signal, shutdown_signal};
pub use text::escape;
#[cfg(target_os = "linux")]
pub use worker::{Channel, Parcel, inherit, spawn};
